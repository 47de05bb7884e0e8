-- How much less often is a model right where the photograph behind the object is another one, by its type?
--
-- Overlays:
--   predictions  `shardtools predict MODEL DATASET`
-- Parameters:
--   $wnid (text, default none)  only objects of this class
-- Returns:
--   dataset             address of the dataset, as it was given
--   background_type     sky, water, city, home, grass, or the user's own
--   num_backgrounds     photographs of it
--   num_images          images with one of them, nothing else varying
--   accuracy            part of them that the model is right about, 0 to 1
--   canonical_accuracy  that of the canonical images of the same objects
--   gap                 accuracy less canonical accuracy

with judged as (
    select
        samples.dataset,
        samples.wnid,
        samples.background,
        samples.background_type,
        samples.varied,
        samples.grid,
        (predictions.rank = 1)::int as is_right
    from samples
    inner join overlays.predictions as predictions
        on samples.dataset = predictions.dataset and samples.key = predictions.key
    where predictions.rank is not null and samples.object_id is not null
),

wanted as (
    select *
    from judged
    where $wnid::text is null or wnid = $wnid
),

canonical as (
    select
        dataset,
        avg(is_right) as canonical_accuracy
    from wanted
    where grid = 'canonical'
    group by dataset
),

grouped as (
    select
        dataset,
        background_type,
        count(distinct background) as num_backgrounds,
        count(*) as num_images,
        avg(is_right) as accuracy
    from wanted
    where varied = 'background'
    group by dataset, background_type
),

compared as (
    select
        grouped.*,
        canonical.canonical_accuracy,
        grouped.accuracy - canonical.canonical_accuracy as gap
    from grouped
    left join canonical on grouped.dataset = canonical.dataset
    order by grouped.dataset asc, gap asc, grouped.background_type asc
)

select * from compared
