-- Which shards stand out: few or small images, gaps, doubled places, one class only, many retries?
--
-- Parameters:
--   $min_ratio (number, default 0)  only shards whose images or bytes differ from the median by this factor or more
-- Returns:
--   dataset          address of the dataset, as it was given
--   split            split of the shard
--   shard            its path in the dataset
--   num_images       images in it
--   num_bytes        bytes of these images
--   median_bytes     half of its images are at most this large
--   num_classes      classes in it
--   num_gaps         places before its last image that hold none: rejected images, or rows that are lost
--   num_doubled      places that more than one row claims
--   num_copies       images that another image of the datasets equals byte for byte
--   num_retried      images that took more than one attempt
--   image_ratio      its images over the median of its split's shards
--   byte_ratio       its median image over the median of its split's shards
--   largest_share    share of its most frequent class, 0 to 1

with images as (
    select
        dataset,
        split,
        shard,
        sample_index,
        num_bytes,
        wnid,
        attempt,
        count(*) over (partition by sha256) > 1 and sha256 is not null as is_copy
    from samples
    where status = 'ok'
),

counted as (
    select
        dataset,
        shard,
        wnid,
        count(*) as num_images
    from images
    group by dataset, shard, wnid
),

classes as (
    select
        dataset,
        shard,
        max(num_images) as largest_class
    from counted
    group by dataset, shard
),

shards as (
    select
        dataset,
        split,
        shard,
        count(*) as num_images,
        sum(num_bytes)::bigint as num_bytes,
        median(num_bytes) as median_bytes,
        count(distinct wnid) as num_classes,
        (max(sample_index) + 1 - count(distinct sample_index))::bigint as num_gaps,
        count(sample_index) - count(distinct sample_index) as num_doubled,
        count(*) filter (where is_copy) as num_copies,
        count(*) filter (where attempt > 1) as num_retried
    from images
    group by dataset, split, shard
),

compared as (
    select
        shards.dataset,
        shards.split,
        shards.shard,
        shards.num_images,
        shards.num_bytes,
        shards.median_bytes,
        shards.num_classes,
        shards.num_gaps,
        shards.num_doubled,
        shards.num_copies,
        shards.num_retried,
        shards.num_images / median(shards.num_images) over place as image_ratio,
        shards.median_bytes / median(shards.median_bytes) over place as byte_ratio,
        classes.largest_class / shards.num_images as largest_share
    from shards
    inner join classes on shards.dataset = classes.dataset and shards.shard = classes.shard
    window place as (partition by shards.dataset, shards.split)
),

chosen as (
    select *
    from compared
    where
        greatest(image_ratio, 1 / image_ratio, byte_ratio, 1 / byte_ratio) >= $min_ratio
        or num_doubled > 0
),

ordered as (
    select *
    from chosen
    order by greatest(image_ratio, 1 / image_ratio, byte_ratio, 1 / byte_ratio) desc, dataset asc, shard asc
)

select * from ordered
