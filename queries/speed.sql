-- How fast was each generating process, and where did its time go?
--
-- Parameters: none
-- Returns:
--   dataset              address of the dataset, as it was given
--   log                  run and rank of the process
--   started              first line of its log (UTC)
--   seconds              first to last line
--   num_shards           shards it committed
--   num_images           images it committed
--   images_per_second    over its making of images, as its last line says
--   share_outside_model  part of that time outside the denoiser and the VAE, 0 to 1; null until it ended
--   ending               done, stopped, no task; null while it runs, or if it was killed

with facts as (
    select
        dataset,
        log,
        time,
        event,
        (facts ->> 'images')::bigint as images,
        (facts ->> 'images_per_second')::double as images_per_second,
        (facts ->> 'seconds')::double as work_seconds,
        (facts ->> 'denoiser_seconds')::double + (facts ->> 'vae_seconds')::double as model_seconds,
        facts ->> 'reason' as reason
    from events
),

processes as (
    select
        dataset,
        log,
        min(time) as started,
        epoch(max(time) - min(time)) as seconds,
        count(*) filter (where event = 'shard') as num_shards,
        coalesce(sum(images) filter (where event = 'shard'), 0)::bigint as num_images,
        arg_max(images_per_second, time) as images_per_second,
        1 - max(model_seconds) / max(nullif(work_seconds, 0)) filter (where event = 'end') as share_outside_model,
        max(reason) filter (where event = 'end') as ending
    from facts
    group by dataset, log
),

ordered as (
    select *
    from processes
    order by dataset asc, started asc, log asc
)

select * from ordered
