-- In which generated classes do the images resemble each other more than real ones do?
--
-- Parameters:
--   $max_ratio (number, default 0.8)  only classes whose distance is at most this part of the real one; 9 shows all
-- Returns:
--   dataset             address of the dataset, as it was given
--   wnid                class name
--   num_samples         samples with a distance
--   class_distance      mean distance of two samples of the class, 0 to 2
--   reference_distance  the same of the reference's class; null where `nearest` ran without --reference
--   closest_key         the sample that is nearest to the others
--   num_prompts         different prompts among the samples
--   ratio               class_distance divided by reference_distance; null without it

with measured as (
    select
        samples.dataset,
        samples.key,
        samples.wnid,
        samples.prompt,
        nearest.own_class_distance,
        nearest.reference_class_distance
    from samples
    inner join overlays.nearest_class as nearest
        on samples.dataset = nearest.dataset and samples.key = nearest.key
    where nearest.own_class_distance is not null
),

grouped as (
    select
        dataset,
        wnid,
        count(*) as num_samples,
        avg(own_class_distance) as class_distance,
        avg(reference_class_distance) as reference_distance,
        arg_min(key, own_class_distance) as closest_key,
        count(distinct prompt) as num_prompts
    from measured
    group by dataset, wnid
),

compared as (
    select
        dataset,
        wnid,
        num_samples,
        class_distance,
        reference_distance,
        closest_key,
        num_prompts,
        class_distance / nullif(reference_distance, 0) as ratio
    from grouped
),

collapsed as (
    select *
    from compared
    where coalesce(ratio <= $max_ratio, true)
    order by dataset asc, ratio asc nulls last, class_distance asc, wnid asc
)

select * from collapsed
