-- How many labels of each class are likely wrong, and which class are they mostly instead?
--
-- Overlays:
--   label_noise  `shardtools audit DATASET`
-- Parameters:
--   $min_probability (number, default 0.5)  a label counts as suspect from this probability on
-- Returns:
--   dataset         address of the dataset, as it was given
--   given_wnid      class name as given
--   num_samples     samples that were judged
--   num_suspects    those that are wrong with at least that probability
--   expected_wrong  sum of the probabilities: how many wrong labels to expect
--   noise_rate      expected_wrong over num_samples, 0 to 1
--   mostly_wnid     class that is suggested most for its suspects; null without any
--   example_key     the most suspect sample
--   num_mostly      suspects for which mostly_wnid is suggested

with judged as (
    select
        dataset,
        key,
        given_wnid,
        suggested_wnid,
        noise_probability,
        vote
    from overlays.label_noise
    where noise_probability is not null
),

pairs as (
    select
        dataset,
        given_wnid,
        suggested_wnid,
        count(*) as num_suspects
    from judged
    where noise_probability >= $min_probability and suggested_wnid <> given_wnid
    group by dataset, given_wnid, suggested_wnid
),

mostly as (
    select
        dataset,
        given_wnid,
        arg_max(suggested_wnid, num_suspects) as mostly_wnid,
        max(num_suspects) as num_mostly
    from pairs
    group by dataset, given_wnid
),

classes as (
    select
        dataset,
        given_wnid,
        count(*) as num_samples,
        count(*) filter (where noise_probability >= $min_probability) as num_suspects,
        sum(noise_probability) as expected_wrong,
        avg(noise_probability) as noise_rate,
        arg_max(key, vote) as example_key
    from judged
    group by dataset, given_wnid
),

described as (
    select
        classes.dataset,
        classes.given_wnid,
        classes.num_samples,
        classes.num_suspects,
        classes.expected_wrong,
        classes.noise_rate,
        mostly.mostly_wnid,
        classes.example_key,
        coalesce(mostly.num_mostly, 0) as num_mostly
    from classes
    left join mostly on classes.dataset = mostly.dataset and classes.given_wnid = mostly.given_wnid
),

ordered as (
    select *
    from described
    order by noise_rate desc, dataset asc, given_wnid asc
)

select * from ordered
