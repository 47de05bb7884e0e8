-- In which poses is a model wrong most often about the objects of a class?
--
-- Overlays:
--   predictions  `shardtools predict MODEL DATASET`
-- Parameters:
--   $wnid (text, default none)         only objects of this class
--   $min_images (integer, default 1)   only poses with at least this many images
-- Returns:
--   dataset      address of the dataset, as it was given
--   wnid         class name
--   pose_axis    what a pose turns about: roll, pitch or yaw
--   pose         degrees
--   num_images   images in that pose, nothing else varying
--   accuracy     part of them that the model is right about, 0 to 1
--   taken_for    the class that most of the others are taken for; null where all are right, or outputs have no names
--   example_key  the image whose class is ranked last

with judged as (
    select
        samples.dataset,
        samples.key,
        samples.wnid,
        samples.pose_axis,
        samples.pose,
        predictions.rank,
        predictions.predicted_wnid
    from samples
    inner join overlays.predictions as predictions
        on samples.dataset = predictions.dataset and samples.key = predictions.key
    where predictions.rank is not null and samples.varied = 'pose'
),

grouped as (
    select
        dataset,
        wnid,
        pose_axis,
        pose,
        count(*) as num_images,
        avg((rank = 1)::int) as accuracy,
        mode(predicted_wnid) filter (where rank > 1) as taken_for,
        arg_max(key, rank) as example_key
    from judged
    where $wnid::text is null or wnid = $wnid
    group by dataset, wnid, pose_axis, pose
),

worst as (
    select *
    from grouped
    where num_images >= $min_images
    order by accuracy asc, dataset asc, wnid asc, pose asc
)

select * from worst
