-- Which labels are likely wrong, and what may they be instead?
--
-- Overlays:
--   label_noise  `shardtools audit DATASET`
-- Parameters:
--   $min_probability (number, default 0.5)  only labels that are wrong with at least this probability
--   $wnid (text, default none)              only samples with this given class name
--   $max_samples (integer, default 100)     at most this many, the most suspect first
-- Returns:
--   dataset                address of the dataset, as it was given
--   key                    of the sample
--   split                  its split
--   given_wnid             class name it was given
--   suggested_wnid         the likeliest one; the given one where no other is likelier
--   noise_probability      that the given label is wrong, 0 to 1
--   suggested_probability  that the suggested label is right, 0 to 1
--   vote                   all evidence, weighed; larger is more suspect
--   linear_doubt           1 minus the linear model's probability of the given label
--   knn_doubt              share of the nearest neighbours with another label
--   simifeat_vote          votes of the strongest other class minus those of the given one
--   prototype_margin       nearness to another class's mean minus that to the own
--   training_doubt         minus the area under the margin of a training; null without one
--   encoder_agreement      the smaller linear_doubt of two encoders; null with one
--   neighbors             keys of the nearest other samples, the nearest first

with judged as (
    select
        noise.dataset,
        noise.key,
        samples.split,
        noise.given_wnid,
        noise.suggested_wnid,
        noise.noise_probability,
        noise.suggested_probability,
        noise.vote,
        noise.linear_doubt,
        noise.knn_doubt,
        noise.simifeat_vote,
        noise.prototype_margin,
        noise.training_doubt,
        noise.encoder_agreement,
        noise.neighbors
    from overlays.label_noise as noise
    inner join samples on noise.dataset = samples.dataset and noise.key = samples.key
),

suspects as (
    select *
    from judged
    where noise_probability >= $min_probability and ($wnid::text is null or given_wnid = $wnid)
    order by noise_probability desc, vote desc, dataset asc, key asc
    limit $max_samples
)

select * from suspects
