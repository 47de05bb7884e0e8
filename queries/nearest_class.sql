-- Which samples are nearer to another class than to their own?
--
-- Parameters:
--   $max_margin (number, default 0)  only samples with at most this margin; 2 shows all
--   $wnid (text, default none)       only samples of this class
-- Returns:
--   dataset             address of the dataset, as it was given
--   key                 of the sample
--   wnid                class name
--   nearest_wnid        class whose mean is nearest
--   knn_wnid            class with most of the nearest neighbours
--   margin              cosine to the own class less that to the nearest other one
--   own_similarity      cosine to the own class's mean
--   nearest_similarity  cosine to the nearest class's mean
--   own_rank            1 where the own class is the nearest
--   knn_own_share       share of the nearest neighbours that are of the own class, 0 to 1
--   prompt              the text given to the generator; null for real images

with judged as (
    select
        samples.dataset,
        samples.key,
        samples.wnid,
        nearest.nearest_wnid,
        nearest.knn_wnid,
        nearest.margin,
        nearest.own_similarity,
        nearest.similarity as nearest_similarity,
        nearest.own_rank,
        nearest.knn_own_share,
        samples.prompt
    from samples
    inner join overlays.nearest_class as nearest
        on samples.dataset = nearest.dataset and samples.key = nearest.key
),

doubtful as (
    select *
    from judged
    where margin <= $max_margin and ($wnid::text is null or wnid = $wnid)
    order by margin asc, dataset asc, key asc
)

select * from doubtful
