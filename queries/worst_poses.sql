-- At which poses is each class of a rendered dataset recognized least?
--
-- Overlays:
--   predictions  `shardtools predict MODEL DATASET`
-- Parameters:
--   $wnid (text, default none)  only this class
--   $step (number, default 30)  degrees of a bin, whose middles are multiples of it
--   $max_poses (integer, default 3)  so many of each class, the worst
-- Returns:
--   dataset      address of the dataset, as it was given
--   wnid         class name
--   pose_axis    roll, pitch or yaw
--   pose         middle of the bin in degrees, above -180 to 180
--   num_images   images judged, of all objects of the class, nothing but pose varied
--   accuracy     part of them whose class is the model's first, 0 to 1
--   gap          that minus the class's accuracy on its canonical images; null where there is none
--   taken_for    the class that is found most often instead; null where none is, or where outputs have no names
--   example_key  the image with the least margin
--   mean_margin  mean of the logit of their own class minus the greatest other one

with judged as (
    select
        samples.dataset,
        samples.key,
        samples.wnid,
        samples.varied,
        samples.is_canonical,
        samples.pose_axis,
        samples.pose,
        predictions.predicted_wnid,
        predictions.margin,
        predictions.rank = 1 as is_right
    from samples
    inner join overlays.predictions as predictions
        on samples.dataset = predictions.dataset and samples.key = predictions.key
    where predictions.rank is not null and samples.object_id is not null
),

wanted as (
    select *
    from judged
    where $wnid::text is null or wnid = $wnid
),

canonical as (
    select
        dataset,
        wnid,
        avg(is_right::double) as accuracy
    from wanted
    where is_canonical
    group by dataset, wnid
),

binned as (
    select
        *,
        round(pose / $step) * $step as middle
    from wanted
    where varied = 'pose'
),

turned as (
    select
        *,
        -- A whole turn is none: -180 and 180 degrees are one picture.
        middle - 360 * ceil((middle - 180) / 360) as bin
    from binned
),

counted as (
    select
        dataset,
        wnid,
        pose_axis,
        bin,
        count(*) as num_images,
        avg(is_right::double) as accuracy,
        avg(margin) as mean_margin,
        mode(case when not is_right then predicted_wnid end) as taken_for,
        arg_min(key, margin) as example_key
    from turned
    group by dataset, wnid, pose_axis, bin
),

ranked as (
    select
        counted.*,
        counted.accuracy - canonical.accuracy as gap,
        row_number() over (
            partition by counted.dataset, counted.wnid, counted.pose_axis
            order by counted.accuracy asc, counted.mean_margin asc, counted.bin asc
        ) as place
    from counted
    left join canonical on counted.dataset = canonical.dataset and counted.wnid = canonical.wnid
),

answer as (
    select
        dataset,
        wnid,
        pose_axis,
        bin as pose,
        num_images,
        accuracy,
        gap,
        taken_for,
        example_key,
        mean_margin
    from ranked
    where place <= $max_poses
    order by dataset asc, wnid asc, pose_axis asc, place asc
)

select * from answer
