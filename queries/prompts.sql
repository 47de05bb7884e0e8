-- Which prompts were used for each class, and how often?
--
-- Parameters:
--   $wnid (text, default none)           only this class
--   $min_images (integer, default 1)     only prompts with at least this many images
-- Returns:
--   dataset      address of the dataset, as it was given
--   wnid         class name
--   prompt       the text given to the generator
--   num_rows     rows, with and without an image
--   num_images   rows with an image

with prompted as (
    select
        dataset,
        wnid,
        prompt,
        status
    from samples
    where prompt is not null and ($wnid::text is null or wnid = $wnid)
),

counted as (
    select
        dataset,
        wnid,
        prompt,
        count(*) as num_rows,
        count(*) filter (where status = 'ok') as num_images
    from prompted
    group by dataset, wnid, prompt
),

frequent as (
    select *
    from counted
    where num_images >= $min_images
    order by dataset asc, wnid asc, num_images desc, prompt asc
)

select * from frequent
