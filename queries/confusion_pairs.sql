-- Which classes are taken for which others, by the nearest class of their samples?
--
-- Parameters:
--   $min_samples (integer, default 1)  only pairs with at least this many samples
-- Returns:
--   dataset       address of the dataset, as it was given
--   wnid          class name
--   nearest_wnid  another class, which is nearest
--   num_samples   samples of the class that are nearest to it
--   mean_margin   mean of their margins, below 0
--   example_key   the sample with the least margin
--   share         part of the class's samples, 0 to 1

with judged as (
    select
        samples.dataset,
        samples.key,
        samples.wnid,
        nearest.nearest_wnid,
        nearest.margin
    from samples
    inner join overlays.nearest_class as nearest
        on samples.dataset = nearest.dataset and samples.key = nearest.key
),

totals as (
    select
        dataset,
        wnid,
        count(*) as num_samples
    from judged
    group by dataset, wnid
),

confused as (
    select
        dataset,
        wnid,
        nearest_wnid,
        count(*) as num_samples,
        avg(margin) as mean_margin,
        arg_min(key, margin) as example_key
    from judged
    where wnid <> nearest_wnid
    group by dataset, wnid, nearest_wnid
),

shares as (
    select
        confused.dataset,
        confused.wnid,
        confused.nearest_wnid,
        confused.num_samples,
        confused.mean_margin,
        confused.example_key,
        confused.num_samples / totals.num_samples as share
    from confused
    inner join totals on confused.dataset = totals.dataset and confused.wnid = totals.wnid
),

frequent as (
    select *
    from shares
    where num_samples >= $min_samples
    order by dataset asc, share desc, num_samples desc, wnid asc, nearest_wnid asc
)

select * from frequent
