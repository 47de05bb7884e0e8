-- Which images does a model surely take for a class of its own that they are not labeled as?
--
-- Overlays:
--   predictions  `shardtools probe OTHER --features NAME --apply DATASET`, or `shardtools predict MODEL DATASET`
-- Parameters:
--   $above (number, default 0.99)  only images with a greater probability
-- Returns:
--   dataset         address of the dataset, as it was given
--   key             the image
--   split           its split
--   wnid            its class name
--   predicted_wnid  the class that it is taken for
--   probability     of that class, 0 to 1
--   all_images      images that were judged, of these datasets together

with judged as (
    select
        dataset,
        key,
        predicted_wnid,
        rank,
        probabilities[1] as probability,
        count(*) over () as all_images
    from overlays.predictions
    where reason is null
),

sure as (
    select *
    from judged
    -- An image that is labeled so is no stranger; one of a class that the model lacks has no rank.
    where probability > $above::double and rank is distinct from 1
),

strangers as (
    select
        sure.dataset,
        sure.key,
        samples.split,
        samples.wnid,
        sure.predicted_wnid,
        sure.probability,
        sure.all_images
    from sure
    inner join samples on sure.dataset = samples.dataset and sure.key = samples.key
),

ordered as (
    select *
    from strangers
    order by probability desc, dataset asc, key asc
)

select * from ordered
