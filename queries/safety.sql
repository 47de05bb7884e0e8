-- What did the pipeline's safety checker say, class by class?
--
-- Parameters:
--   $min_flagged (integer, default 0)  only classes with at least this many flagged images
-- Returns:
--   dataset      address of the dataset, as it was given
--   wnid         class name
--   num_checked  images that the checker saw
--   num_flagged  images that it flagged
--   share        flagged part of the checked ones, 0 to 1
--   num_dropped  flagged images that were left out (--safety drop)

with checked as (
    select
        dataset,
        wnid,
        nsfw_detected,
        status
    from samples
    where nsfw_detected is not null
),

counted as (
    select
        dataset,
        wnid,
        count(*) as num_checked,
        count(*) filter (where nsfw_detected) as num_flagged,
        avg(nsfw_detected::integer) as share,
        count(*) filter (where status = 'unsafe') as num_dropped
    from checked
    group by dataset, wnid
),

flagged as (
    select *
    from counted
    where num_flagged >= $min_flagged
    order by dataset asc, share desc, wnid asc
)

select * from flagged
