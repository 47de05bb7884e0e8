-- How often is a model right at each value of each factor of a rendered dataset, and how far is that from canonical?
--
-- Overlays:
--   predictions  `shardtools predict MODEL DATASET`
-- Parameters:
--   $factor (text, default none)  only pose, size, position, lighting or background
--   $wnid (text, default none)  only objects of this class
-- Returns:
--   dataset             address of the dataset, as it was given
--   factor              which one varies, all others canonical
--   value               its value: degrees, size, half-frames, hue (white: no hue) or the photograph
--   num_images          images judged: of a class among the model's outputs
--   accuracy            part of them whose class is the model's first, 0 to 1
--   canonical_accuracy  the same of the canonical images of the same objects; null where there is none
--   gap                 accuracy minus that: negative, where the value costs some

with judged as (
    select
        samples.dataset,
        samples.wnid,
        samples.varied as factor,
        samples.is_canonical,
        samples.background,
        samples.wnid || '/' || samples.object_id as object,
        predictions.rank = 1 as is_right,
        case samples.varied
            when 'pose' then samples.pose
            when 'size' then samples.size
            when 'position' then samples.position
            when 'lighting' then samples.hue
        end as number
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

alone as (
    select *
    from wanted
    where
        factor in ('pose', 'size', 'position', 'lighting', 'background')
        and ($factor::text is null or factor = $factor)
),

valued as (
    select
        alone.dataset,
        alone.factor,
        alone.number,
        alone.is_right,
        canonical.accuracy as canonical_accuracy,
        case
            when alone.factor = 'background' then alone.background
            when alone.number is null then 'white'
            else round(alone.number, 6)::text
        end as shown
    from alone
    left join canonical on alone.dataset = canonical.dataset and alone.object = canonical.object
),

counted as (
    select
        dataset,
        factor,
        shown,
        any_value(number) as number,
        count(*) as num_images,
        avg(is_right::double) as accuracy,
        avg(canonical_accuracy) as canonical_accuracy
    from valued
    group by dataset, factor, shown
),

answer as (
    select
        dataset,
        factor,
        shown as value,
        num_images,
        accuracy,
        canonical_accuracy,
        accuracy - canonical_accuracy as gap
    from counted
    order by dataset asc, factor asc, number asc, shown asc
)

select * from answer
