-- Which formats and resolutions do the images have, and how large are they?
--
-- Parameters:
--   $min_images (integer, default 1)  only groups of at least this many images
-- Returns:
--   dataset       address of the dataset, as it was given
--   image_format  jpg, png, webp, ...
--   mode          pixel layout: RGB, L, CMYK, ...
--   width         pixels
--   height        pixels
--   num_images    images
--   min_bytes     smallest image
--   median_bytes  half of the images are at most this large
--   max_bytes     largest image
--   num_bytes     bytes of all of them

with images as (
    select
        dataset,
        image_format,
        mode,
        width,
        height,
        num_bytes
    from samples
    where status = 'ok'
),

grouped as (
    select
        dataset,
        image_format,
        mode,
        width,
        height,
        count(*) as num_images,
        min(num_bytes) as min_bytes,
        quantile_disc(num_bytes, 0.5) as median_bytes,
        max(num_bytes) as max_bytes,
        sum(num_bytes)::bigint as num_bytes
    from images
    group by dataset, image_format, mode, width, height
),

frequent as (
    select *
    from grouped
    where num_images >= $min_images
    order by dataset asc, num_images desc, image_format asc, mode asc, width asc, height asc
)

select * from frequent
