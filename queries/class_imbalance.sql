-- Which classes have too few or too many images, and which are missing in a split?
--
-- Parameters:
--   $split (text, default none)  only this split
--   $min_ratio (number, default 1)  only classes that differ from the median by this factor or more, and missing ones
-- Returns:
--   dataset          address of the dataset, as it was given
--   split            split
--   wnid             class name
--   num_images       images of the class in the split; 0 where it is missing
--   share            of the split's images, 0 to 1
--   to_median        images over the median of the split's classes
--   to_largest       images over those of the split's largest class
--   inverse_weight   weight that makes all classes count alike, 1 on average; null where it is missing

with images as (
    select
        dataset,
        split,
        wnid
    from samples
    where status = 'ok' and wnid is not null
),

splits as (
    select distinct
        dataset,
        split
    from images
),

classes as (
    select distinct
        dataset,
        wnid
    from images
),

counted as (
    select
        splits.dataset,
        splits.split,
        classes.wnid,
        count(images.wnid) as num_images
    from splits
    inner join classes on splits.dataset = classes.dataset
    left join images
        on splits.dataset = images.dataset and splits.split = images.split and classes.wnid = images.wnid
    group by splits.dataset, splits.split, classes.wnid
),

compared as (
    select
        dataset,
        split,
        wnid,
        num_images,
        num_images / sum(num_images) over place as share,
        num_images / nullif(median(num_images) over place, 0) as to_median,
        num_images / max(num_images) over place as to_largest,
        sum(num_images) over place / (count(*) filter (where num_images > 0) over place * nullif(num_images, 0))
            as inverse_weight
    from counted
    window place as (partition by dataset, split)
),

chosen as (
    select *
    from compared
    where
        ($split::text is null or split = $split)
        and (num_images = 0 or greatest(to_median, 1 / to_median) >= $min_ratio)
),

ordered as (
    select *
    from chosen
    order by dataset asc, split asc, num_images asc, wnid asc
)

select * from ordered
