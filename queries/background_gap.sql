-- How much does each type of background cost a model on a rendered dataset, and which photograph costs most?
--
-- Overlays:
--   predictions  `shardtools predict MODEL DATASET`
-- Parameters:
--   $wnid (text, default none)  only objects of this class
-- Returns:
--   dataset             address of the dataset, as it was given
--   background_type     home, city, grass, sky, water, or the user's own
--   num_photos          photographs of the type
--   num_images          images judged before them, nothing but the background varied
--   accuracy            part of them whose class is the model's first, 0 to 1
--   canonical_accuracy  the same of the canonical images of the same objects; null where there is none
--   gap                 accuracy minus that: negative, where the type costs some
--   worst_background    the photograph with the least accuracy
--   worst_accuracy      its accuracy

with judged as (
    select
        samples.dataset,
        samples.wnid,
        samples.varied,
        samples.is_canonical,
        samples.background_type,
        samples.background,
        samples.wnid || '/' || samples.object_id as object,
        predictions.rank = 1 as is_right
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
        object,
        avg(is_right::double) as accuracy
    from wanted
    where is_canonical
    group by dataset, object
),

photos as (
    select
        wanted.dataset,
        wanted.background_type,
        wanted.background,
        count(*) as num_images,
        count_if(wanted.is_right) as num_right,
        avg(wanted.is_right::double) as accuracy,
        sum(canonical.accuracy) as canonical_right,
        count(canonical.accuracy) as num_canonical
    from wanted
    left join canonical on wanted.dataset = canonical.dataset and wanted.object = canonical.object
    where wanted.varied = 'background'
    group by wanted.dataset, wanted.background_type, wanted.background
),

types as (
    select
        dataset,
        background_type,
        count(*) as num_photos,
        sum(num_images)::bigint as num_images,
        sum(num_right) / sum(num_images) as accuracy,
        sum(canonical_right) / nullif(sum(num_canonical), 0) as canonical_accuracy,
        arg_min(background, (accuracy, background)) as worst_background,
        min(accuracy) as worst_accuracy
    from photos
    group by dataset, background_type
),

compared as (
    select
        *,
        accuracy - canonical_accuracy as gap
    from types
),

answer as (
    select
        dataset,
        background_type,
        num_photos,
        num_images,
        accuracy,
        canonical_accuracy,
        gap,
        worst_background,
        worst_accuracy
    from compared
    order by dataset asc, gap asc, background_type asc
)

select * from answer
