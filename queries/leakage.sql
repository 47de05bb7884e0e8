-- Which images of one split are copies or near copies of images of another split, within a dataset or across datasets?
--
-- Overlays:
--   duplicate_pairs  `shardtools duplicates DATASET...` with the same datasets
-- Parameters:
--   $split (text, default none)  only pairs with an image of this split: test
--   $max_distance (number, default none)  only pairs at most this far apart
-- Returns:
--   dataset        address of the one image's dataset, as it was given
--   split          its split
--   key            the one image
--   other_dataset  address of the other image's dataset, as it was given to `shardtools duplicates`
--   other_split    its split
--   other_key      the other image
--   kind           exact: the same bytes; perceptual, mirrored: hashes; embedding: features
--   distance       bits of 256 in which the hashes differ; 1 - cosine of features; 0 for the same bytes
--   same_label     whether both have the same class name
--   num_pairs      pairs between these two splits of these two datasets

with leaks as (
    select
        dataset,
        split,
        key,
        other_dataset,
        other_split,
        other_key,
        kind,
        distance,
        same_label
    from overlays.duplicate_pairs
    where
        split <> other_split
        and ($split::text is null or $split in (split, other_split))
        and ($max_distance::double is null or distance <= $max_distance)
),

counted as (
    select
        *,
        count(*) over (partition by dataset, split, other_dataset, other_split) as num_pairs
    from leaks
),

ordered as (
    select *
    from counted
    order by distance asc, dataset asc, split asc, key asc, other_dataset asc, other_key asc
)

select * from ordered
