-- Which images are copies or near copies of each other?
--
-- Overlays:
--   duplicate_pairs  `shardtools duplicates DATASET...` with the same datasets
-- Parameters:
--   $kind (text, default none)  only this kind: exact, perceptual, mirrored, embedding
--   $max_distance (number, default none)  only pairs at most this far apart
-- Returns:
--   dataset        address of the one image's dataset, as it was given
--   key            the one image
--   split          its split
--   wnid           its class name
--   other_dataset  address of the other image's dataset, as it was given to `shardtools duplicates`
--   other_key      the other image
--   other_split    its split
--   kind           exact: the same bytes; perceptual, mirrored: hashes; embedding: features
--   distance       bits of 256 in which the hashes differ; 1 - cosine of features; 0 for the same bytes
--   same_label     whether both have the same class name

with pairs as (
    select
        dataset,
        key,
        split,
        other_dataset,
        other_key,
        other_split,
        kind,
        distance,
        same_label
    from overlays.duplicate_pairs
    where
        ($kind::text is null or kind = $kind)
        and ($max_distance::double is null or distance <= $max_distance)
),

labeled as (
    select
        pairs.dataset,
        pairs.key,
        pairs.split,
        samples.wnid,
        pairs.other_dataset,
        pairs.other_key,
        pairs.other_split,
        pairs.kind,
        pairs.distance,
        pairs.same_label
    from pairs
    inner join samples on pairs.dataset = samples.dataset and pairs.key = samples.key
),

ordered as (
    select *
    from labeled
    order by distance asc, dataset asc, key asc, other_dataset asc, other_key asc
)

select * from ordered
