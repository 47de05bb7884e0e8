-- How often is a model right about rendered objects at each value of the factor that varies?
--
-- Overlays:
--   predictions  `shardtools predict MODEL DATASET`
-- Parameters:
--   $factor (text, default none)  only this one: pose, size, position, lighting or background
-- Returns:
--   dataset             address of the dataset, as it was given
--   pose_axis           what a pose turns about: roll, pitch or yaw
--   factor              the one factor that varies
--   value               its value: degrees, size, half-frames, hue or the photograph
--   num_images          images with it
--   accuracy            part of them that the model is right about, 0 to 1
--   canonical_accuracy  that of the canonical images of the same dataset
--   gap                 accuracy less canonical accuracy

with judged as (
    select
        samples.dataset,
        samples.pose_axis,
        samples.varied,
        samples.grid,
        (predictions.rank = 1)::int as is_right,
        case samples.varied
            when 'pose' then samples.pose
            when 'size' then samples.size
            when 'position' then samples.position
            when 'lighting' then samples.hue
        end as number,
        coalesce(number::text, samples.background) as value
    from samples
    inner join overlays.predictions as predictions
        on samples.dataset = predictions.dataset and samples.key = predictions.key
    where predictions.rank is not null and samples.object_id is not null
),

canonical as (
    select
        dataset,
        avg(is_right) as canonical_accuracy
    from judged
    where grid = 'canonical'
    group by dataset
),

grouped as (
    select
        dataset,
        pose_axis,
        varied as factor,
        number,
        value,
        count(*) as num_images,
        avg(is_right) as accuracy
    from judged
    where
        varied in ('pose', 'size', 'position', 'lighting', 'background')
        and ($factor::text is null or varied = $factor)
    group by dataset, pose_axis, varied, number, value
),

compared as (
    select
        grouped.dataset,
        grouped.pose_axis,
        grouped.factor,
        grouped.value,
        grouped.num_images,
        grouped.accuracy,
        canonical.canonical_accuracy,
        grouped.accuracy - canonical.canonical_accuracy as gap
    from grouped
    left join canonical on grouped.dataset = canonical.dataset
    order by grouped.dataset asc, grouped.factor asc, grouped.number asc, grouped.value asc
)

select * from compared
