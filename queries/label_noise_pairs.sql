-- Which classes are mistaken for which others in the labels?
--
-- Overlays:
--   label_noise  `shardtools audit DATASET`
-- Parameters:
--   $min_probability (number, default 0.5)  only labels that are wrong with at least this probability
--   $min_samples (integer, default 1)       only pairs with at least this many of them
-- Returns:
--   dataset                 address of the dataset, as it was given
--   given_wnid              class name as given
--   suggested_wnid          another class, which is suggested
--   num_suspects            samples
--   mean_noise_probability  mean probability that their label is wrong
--   share                   part of the given class's judged samples, 0 to 1
--   example_key             the most suspect of them

with judged as (
    select
        dataset,
        key,
        given_wnid,
        suggested_wnid,
        noise_probability,
        vote,
        count(*) over (partition by dataset, given_wnid) as num_given
    from overlays.label_noise
    where noise_probability is not null
),

pairs as (
    select
        dataset,
        given_wnid,
        suggested_wnid,
        count(*) as num_suspects,
        avg(noise_probability) as mean_noise_probability,
        count(*) / any_value(num_given) as share,
        arg_max(key, vote) as example_key
    from judged
    where noise_probability >= $min_probability and suggested_wnid <> given_wnid
    group by dataset, given_wnid, suggested_wnid
),

ordered as (
    select *
    from pairs
    where num_suspects >= $min_samples
    order by num_suspects desc, share desc, dataset asc, given_wnid asc, suggested_wnid asc
)

select * from ordered
