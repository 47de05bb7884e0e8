-- Which classes have rows without an image, and why?
--
-- Parameters:
--   $min_failed (integer, default 1)  only groups of at least this many rows
-- Returns:
--   dataset        address of the dataset, as it was given
--   wnid           class name; null where the source did not tell
--   status         why there is no image: black, nan, undecodable, unsafe, ...
--   num_failed     rows of this class with this status
--   example_key    one of them
--   reason         what is recorded for that one
--   share          part of the class's rows, 0 to 1

with per_class as (
    select
        dataset,
        wnid,
        count(*) as num_rows
    from samples
    group by dataset, wnid
),

failed as (
    select
        dataset,
        wnid,
        status,
        count(*) as num_failed,
        min(key) as example_key,
        arg_min(reason, key) as reason
    from samples
    where status <> 'ok'
    group by dataset, wnid, status
),

shares as (
    select
        failed.dataset,
        failed.wnid,
        failed.status,
        failed.num_failed,
        failed.example_key,
        failed.reason,
        failed.num_failed / per_class.num_rows as share
    from failed
    inner join per_class
        on
            failed.dataset = per_class.dataset
            and failed.wnid is not distinct from per_class.wnid
),

frequent as (
    select *
    from shares
    where num_failed >= $min_failed
    order by dataset asc, num_failed desc, wnid asc, status asc
)

select * from frequent
