-- How do real and generated images compare, class by class, over all given datasets?
--
-- Parameters: none
-- Returns:
--   wnid                  class name
--   num_real              real images
--   num_generated         generated images
--   mean_bytes_real       mean size of a real image
--   mean_bytes_generated  mean size of a generated image
--   generated_per_real    generated images for one real image; null without a real image

with images as (
    select
        wnid,
        source,
        num_bytes
    from samples
    where status = 'ok' and source in ('real', 'generated')
),

counted as (
    select
        wnid,
        count(*) filter (where source = 'real') as num_real,
        count(*) filter (where source = 'generated') as num_generated,
        avg(num_bytes) filter (where source = 'real') as mean_bytes_real,
        avg(num_bytes) filter (where source = 'generated') as mean_bytes_generated
    from images
    group by wnid
),

compared as (
    select
        wnid,
        num_real,
        num_generated,
        mean_bytes_real,
        mean_bytes_generated,
        num_generated / nullif(num_real, 0) as generated_per_real
    from counted
    order by wnid asc
)

select * from compared
