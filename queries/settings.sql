-- With which generation settings were the images made?
--
-- Parameters: none
-- Returns:
--   dataset              address of the dataset, as it was given
--   model_id             folder name or hub id of the pipeline
--   model_digest         sha256 over the pipeline's files
--   scheduler            class name of the diffusers scheduler
--   num_inference_steps  denoising steps
--   guidance_scale       classifier-free guidance
--   negative_prompt      null where none was given
--   prompt_template      the template the prompts were made from
--   batch_size           images denoised together
--   threads_per_process  CPU threads of one generating process
--   dtype                float32, float16, bfloat16
--   device               cpu, or the accelerator's name
--   library_versions     JSON: torch, diffusers, transformers, pillow
--   num_rows             rows, with and without an image
--   num_images           rows with an image
--   num_retried          rows that took more than one attempt

with generated as (
    select
        dataset,
        model_id,
        model_digest,
        scheduler,
        num_inference_steps,
        guidance_scale,
        negative_prompt,
        prompt_template,
        batch_size,
        threads_per_process,
        dtype,
        device,
        library_versions,
        status,
        attempt
    from samples
    where plan_id is not null
),

grouped as (
    select
        dataset,
        model_id,
        model_digest,
        scheduler,
        num_inference_steps,
        guidance_scale,
        negative_prompt,
        prompt_template,
        batch_size,
        threads_per_process,
        dtype,
        device,
        library_versions,
        count(*) as num_rows,
        count(*) filter (where status = 'ok') as num_images,
        count(*) filter (where attempt > 1) as num_retried
    from generated
    group by all
),

ordered as (
    select *
    from grouped
    order by dataset asc, num_rows desc, model_id asc, scheduler asc, device asc, library_versions asc
)

select * from ordered
