-- How many images has each class?
--
-- Parameters:
--   $split (text, default none)  only the rows of this split
-- Returns:
--   dataset      address of the dataset, as it was given
--   class_index  label; an image of several labels counts for each
--   wnid         class name
--   num_rows     rows, with and without an image
--   num_images   rows with an image
--   num_bytes    bytes of these images

with labels as (
    select
        dataset,
        split,
        class_index,
        wnid,
        status,
        num_bytes
    from samples
    where class_indexes is null
    union all
    select
        dataset,
        split,
        unnest(class_indexes) as class_index,
        wnid,
        status,
        num_bytes
    from samples
    where class_indexes is not null
),

chosen as (
    select
        dataset,
        class_index,
        wnid,
        status,
        num_bytes
    from labels
    where $split::text is null or split = $split
),

counted as (
    select
        dataset,
        class_index,
        wnid,
        count(*) as num_rows,
        count(*) filter (where status = 'ok') as num_images,
        coalesce(sum(num_bytes), 0)::bigint as num_bytes
    from chosen
    group by dataset, class_index, wnid
),

ordered as (
    select *
    from counted
    order by dataset asc, class_index asc, wnid asc
)

select * from ordered
