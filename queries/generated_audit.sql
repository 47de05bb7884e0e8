-- What went wrong in generation, by template, scene and guidance: blank, flagged, off the class, too much alike?
--
-- Overlays:
--   nearest_class  `shardtools nearest DATASET --reference REAL`
--   quality        `shardtools quality DATASET`
-- Parameters:
--   $wnid (text, default none)       only this class
--   $min_rows (integer, default 1)   only groups of at least this many rows
--   $blank (number, default 0.015)   as in image_quality
-- Returns:
--   dataset           address of the dataset, as it was given
--   prompt_template   the template the prompts were made from
--   scene             the scene that filled `b`; null where there was none
--   guidance_scale    classifier-free guidance
--   num_rows          images that were asked for
--   num_rejected      those without bytes: black, nan, unsafe, ...
--   num_retried       images that took more than one attempt
--   num_flagged       images that the safety checker flagged
--   num_blank         images whose colours spread less than $blank about one colour
--   num_off_class     images that are nearest to another class than their own
--   share_off_class   part of the images that were looked at, 0 to 1
--   distance_ratio    mean distance within a class over that of the real class: null without --reference
--   share_good        part of the rows with bytes that are neither flagged, blank nor off their class, 0 to 1

with chosen as (
    select *
    from samples
    where
        prompt_template is not null
        and ($wnid::text is null or wnid = $wnid)
),

qualities as (
    select
        dataset,
        key,
        (color_spread < $blank) as is_blank
    from overlays.quality
),

judged as (
    select
        samples.dataset,
        samples.prompt_template,
        samples.scene,
        samples.guidance_scale,
        nearest.own_class_distance as distance,
        nearest.reference_class_distance as real_distance,
        samples.status = 'ok' as has_image,
        coalesce(samples.attempt > 1, false) as is_retried,
        coalesce(samples.nsfw_detected, false) as is_flagged,
        coalesce(qualities.is_blank, false) as is_blank,
        not nearest.is_own as is_off_class
    from chosen as samples
    left join qualities
        on samples.dataset = qualities.dataset and samples.key = qualities.key
    left join overlays.nearest_class as nearest
        on samples.dataset = nearest.dataset and samples.key = nearest.key
),

grouped as (
    select
        dataset,
        prompt_template,
        scene,
        guidance_scale,
        count(*) as num_rows,
        count(*) filter (where not has_image) as num_rejected,
        count(*) filter (where is_retried) as num_retried,
        count(*) filter (where is_flagged) as num_flagged,
        count(*) filter (where is_blank) as num_blank,
        count(*) filter (where is_off_class) as num_off_class,
        avg(is_off_class::integer) as share_off_class,
        avg(distance) / nullif(avg(real_distance) filter (where distance is not null), 0) as distance_ratio,
        count(*) filter (where has_image and not is_flagged and not is_blank and not coalesce(is_off_class, false))
        / count(*) as share_good
    from judged
    group by dataset, prompt_template, scene, guidance_scale
),

frequent as (
    select *
    from grouped
    where num_rows >= $min_rows
    order by dataset asc, share_good asc, num_rows desc, prompt_template asc, scene asc, guidance_scale asc
)

select * from frequent
