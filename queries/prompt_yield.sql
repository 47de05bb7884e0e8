-- Which share of the images is nearest to its own class, by template, scene and guidance?
--
-- Parameters:
--   $wnid (text, default none)         only images of this class
--   $min_images (integer, default 1)   only groups of at least this many images
-- Returns:
--   dataset          address of the dataset, as it was given
--   prompt_template  the template the prompts were made from
--   scene            the scene that filled `b`; null where there was none
--   guidance_scale   classifier-free guidance
--   num_images       images
--   num_own          those whose nearest class is their own
--   share_own        part of the images, 0 to 1
--   mean_margin      mean margin to the nearest other class
--   worst_wnid       the class with the least mean margin

with judged as (
    select
        samples.dataset,
        samples.wnid,
        samples.prompt_template,
        samples.scene,
        samples.guidance_scale,
        nearest.is_own,
        nearest.margin
    from samples
    inner join overlays.nearest_class as nearest
        on samples.dataset = nearest.dataset and samples.key = nearest.key
    where
        samples.prompt_template is not null
        and nearest.is_own is not null
),

by_class as (
    select
        dataset,
        prompt_template,
        scene,
        guidance_scale,
        wnid,
        count(*) as num_images,
        count(*) filter (where is_own) as num_own,
        avg(margin) as mean_margin,
        sum(margin) as sum_margin,
        count(margin) as num_margins
    from judged
    where $wnid::text is null or wnid = $wnid
    group by dataset, prompt_template, scene, guidance_scale, wnid
),

grouped as (
    select
        dataset,
        prompt_template,
        scene,
        guidance_scale,
        sum(num_images)::bigint as num_images,
        sum(num_own)::bigint as num_own,
        sum(num_own) / sum(num_images) as share_own,
        sum(sum_margin) / nullif(sum(num_margins), 0) as mean_margin,
        arg_min(wnid, mean_margin) as worst_wnid
    from by_class
    group by dataset, prompt_template, scene, guidance_scale
),

frequent as (
    select *
    from grouped
    where num_images >= $min_images
    order by dataset asc, share_own asc, num_images desc, prompt_template asc, scene asc, guidance_scale asc
)

select * from frequent
