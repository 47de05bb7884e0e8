-- Which images occur more than once, within a dataset or across datasets?
--
-- What a grid of rendered pictures shows twice by design (poses of -180 and 180 degrees, the canonical picture) counts
-- once.
--
-- Parameters:
--   $min_copies (integer, default 2)  only images that occur at least this often
-- Returns:
--   sha256        digest of the image's bytes
--   num_copies    how often it occurs
--   num_datasets  in how many datasets
--   num_classes   under how many class names: more than 1 is a label conflict
--   wnids         these class names
--   places        dataset and key of the first ten
--   wasted_bytes  bytes that one copy would save

with images as (
    select
        dataset,
        key,
        sha256,
        wnid,
        num_bytes
    from samples
    where sha256 is not null and source is distinct from 'rendered'
    union all
    select
        dataset,
        min(key) as key,
        sha256,
        wnid,
        min(num_bytes) as num_bytes
    from samples
    where sha256 is not null and source = 'rendered'
    group by
        dataset, split, sha256, wnid, mesh_sha256, pose_axis, camera, pose - 360 * floor(pose / 360),
        size, position, hue - floor(hue), background_sha256
),

repeated as (
    select sha256
    from images
    group by sha256
    having count(*) >= greatest($min_copies, 2)
),

copies as (
    select images.*
    from images
    inner join repeated on images.sha256 = repeated.sha256
),

grouped as (
    select
        sha256,
        count(*) as num_copies,
        count(distinct dataset) as num_datasets,
        count(distinct wnid) as num_classes,
        list_sort(list(distinct wnid)) as wnids,
        list_sort(list(dataset || ' ' || key))[1:10] as places,
        (sum(num_bytes) - max(num_bytes))::bigint as wasted_bytes
    from copies
    group by sha256
),

ordered as (
    select *
    from grouped
    order by num_copies desc, sha256 asc
)

select * from ordered
