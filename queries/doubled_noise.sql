-- Which generated images start from the same noise, and so repeat each other's picture?
--
-- Parameters:
--   $same_prompt (text, default yes)  yes: only images with the same prompt too; no: all that share their noise
--   $min_images (integer, default 2)  only groups of at least this many images
-- Returns:
--   seed          seed of the initial noise, 0 to 2**63 - 1
--   prompt        the text given to the generator; the first of them where they differ
--   num_images    images that start from this noise
--   num_prompts   different prompts among them
--   num_settings  different generators, schedulers, steps, guidance and sizes among them
--   num_datasets  datasets that they lie in
--   num_different  different images among them, by digest
--   places        dataset and key of each

with images as (
    select
        dataset,
        key,
        seed,
        prompt,
        sha256,
        concat_ws(' ', model_digest, scheduler, num_inference_steps, guidance_scale, width, height) as settings,
        if($same_prompt = 'no', null, prompt) as grouped_prompt
    from samples
    where status = 'ok' and seed is not null
),

grouped as (
    select
        seed,
        min(prompt) as prompt,
        count(*) as num_images,
        count(distinct prompt) as num_prompts,
        count(distinct settings) as num_settings,
        count(distinct dataset) as num_datasets,
        count(distinct sha256) as num_different,
        list(dataset || ' ' || key order by dataset, key) as places
    from images
    group by seed, grouped_prompt
),

doubled as (
    select *
    from grouped
    where num_images >= $min_images
    order by num_images desc, seed asc, prompt asc
)

select * from doubled
