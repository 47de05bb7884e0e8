-- Which images does a model take for another class, how surely, and what were they made from?
--
-- Overlays:
--   predictions  `shardtools predict MODEL DATASET`
-- Parameters:
--   $wnid (text, default none)  only images of this class
-- Returns:
--   dataset          address of the dataset, as it was given
--   key              the image
--   split            its split
--   wnid             its class name
--   predicted_wnid   the class that the model finds likeliest; null where it is not known what its outputs are
--   probability      of that class, 0 to 1
--   rank             of the image's own class among all outputs, 2 or more
--   margin           logit of its own class minus the greatest one, below 0
--   source           real, generated, ...
--   prompt           what it was made from
--   prompt_template  its template
--   scene            its scene
--   guidance_scale   its guidance

with wrong as (
    select
        dataset,
        key,
        predicted_wnid,
        rank,
        margin,
        probabilities[1] as probability
    from overlays.predictions
    where rank > 1
),

explained as (
    select
        wrong.dataset,
        wrong.key,
        samples.split,
        samples.wnid,
        wrong.predicted_wnid,
        wrong.probability,
        wrong.rank,
        wrong.margin,
        samples.source,
        samples.prompt,
        samples.prompt_template,
        samples.scene,
        samples.guidance_scale
    from wrong
    inner join samples on wrong.dataset = samples.dataset and wrong.key = samples.key
),

ordered as (
    select *
    from explained
    where $wnid::text is null or wnid = $wnid
    order by probability desc, dataset asc, key asc
)

select * from ordered
