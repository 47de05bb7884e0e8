-- How often does each scene occur, and with how many classes?
--
-- Parameters: none
-- Returns:
--   dataset      address of the dataset, as it was given
--   scene        the scene that filled `b` in the prompt
--   num_images   rows with an image
--   num_failed   rows without one
--   num_classes  classes that were placed in it

with placed as (
    select
        dataset,
        scene,
        wnid,
        status
    from samples
    where scene is not null
),

counted as (
    select
        dataset,
        scene,
        count(*) filter (where status = 'ok') as num_images,
        count(*) filter (where status <> 'ok') as num_failed,
        count(distinct wnid) as num_classes
    from placed
    group by dataset, scene
),

ordered as (
    select *
    from counted
    order by dataset asc, scene asc
)

select * from ordered
