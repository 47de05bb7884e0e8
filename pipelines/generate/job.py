"""Makes the images of a plan, shard by shard, in one process of many.

    shardtools gen-sd --prompt "c, d_c"                                         (starts the processes itself)
    torchrun --nproc-per-node 8 -m shardtools gen-sd --model CompVis/stable-diffusion-v1-4 --classes imagenet-100 ...
    accelerate launch --num_processes 8 -m shardtools gen-sd ...
    srun --ntasks 8 --gpus-per-task 1 shardtools gen-sd ...

Hardware: any; measured on two CPU cores (docs/benchmarks.md). Metric: images per second; share of time outside the
denoiser and the decoder (benchmarks/generate.py).

Owns the loop: encode prompts, denoise a batch, hand the latents to a second thread that decodes, checks, encodes JPEG
and writes the shard while the next batch is denoised. Batches are fixed by the plan and padded, so an image does not
depend on who made it or after how many restarts. The price: one batch of latents waits in memory.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from shardtools.dataset import CommittedShard
from shardtools.execution import (
    Batch,
    Ended,
    EndReason,
    EventLog,
    Joined,
    Progress,
    Ready,
    TaskDone,
    TaskFacts,
    run_as_rank,
    serve,
    stop_on_sigterm,
)
from shardtools.generation import GenerateOptions, GenerateResult, Generation, Job
from shardtools.generation.plan import PlanRow
from shardtools.storage import open_storage


def run_rank(job: Job, rank: int, world_size: int, device: Any, report: Progress, stop: threading.Event) -> None:
    """Makes every `world_size`-th task of the job from `rank` on; ends after the shard in hand when `stop` is set.

    Raises:
        ShardtoolsError: The model cannot be loaded, or the storage fails for good.
    """
    from shardtools.pipelines.generate.engine import Engine
    from shardtools.pipelines.generate.finishing import Finisher

    storage = open_storage(job.url)
    log = EventLog(storage, f"{job.run_id}-rank{rank:04d}")
    log.add("start", num_processes=world_size, num_tasks=len(job.tasks), pid=os.getpid())
    tasks = job.tasks[rank::world_size]
    if not tasks:
        log.add("end", reason="no task")
        log.flush()
        return
    engine = Engine(job.model_path, job.plan.options.generator, device)
    started = time.perf_counter()
    num_images = 0

    def on_batch(count: int) -> None:
        nonlocal num_images
        num_images += count
        report(Batch(rows=count))

    def on_shard(shard: CommittedShard) -> None:
        speed = round(num_images / (time.perf_counter() - started), 3)
        log.add(
            "shard",
            shard_index=shard.shard_index,
            rows=shard.num_rows,
            images=shard.num_images,
            images_per_second=speed,
        )
        facts = TaskFacts(rows=shard.num_rows, images=shard.num_images, num_bytes=shard.num_bytes)
        report(TaskDone(task=job.tasks.index(shard.shard_index), facts=facts))

    log.add("ready", device=str(device))
    report(Ready())
    reason: EndReason = "done"
    with Finisher(job, storage, engine, on_batch=on_batch, on_shard=on_shard) as finisher:
        for shard_index in tasks:
            if stop.is_set():
                reason = "stopped"
                break
            finisher.begin(shard_index)
            for rows in finisher.batches(shard_index):
                finisher.put(rows, denoise_batch(engine, rows, job.plan.options.generator.batch_size))
            finisher.end()
    seconds = round(time.perf_counter() - started, 3)
    shares = {"denoiser_seconds": round(engine.denoiser_seconds, 3), "vae_seconds": round(engine.vae_seconds, 3)}
    log.add("end", reason=reason, images=num_images, seconds=seconds, **shares)
    log.flush()
    report(Ended(reason=reason, images=num_images, seconds=seconds, details=shares))


def denoise_batch(engine: Any, rows: Sequence[PlanRow], batch_size: int) -> Any:
    """Latents of a batch.

    A short batch is padded with its last row, because an image's bits depend on the batch's size.
    """
    padded = [*rows, *[rows[-1]] * (batch_size - len(rows))]
    return engine.denoise([row.prompt for row in padded], [row.seed for row in padded])[: len(rows)]


def run_launched(options: GenerateOptions, progress: Progress) -> GenerateResult:
    """One rank of a job that torchrun, accelerate or Slurm started: the first prepares and commits, all generate.

    Args:
        options: The same in all ranks.
        progress: Called with the messages of this rank; in the first one, at the end, with what the others made.

    Raises:
        ShardtoolsError: See `generation.generate`.
    """
    from shardtools.pipelines.ranks import join_world, launched_world_size

    launch = Generation(options, progress, num_ranks=launched_world_size())
    generator = launch.prepared.plan.options.generator
    stop = stop_on_sigterm()
    world = join_world(generator.device, generator.threads_per_process)

    def work(job: Job, report: Progress) -> None:
        run_rank(job, world.rank, world.world_size, world.device, report, stop)

    result = run_as_rank(launch, world, work, stop)
    world.leave()
    return result


def _run_fork(job: Job, _num_ranks: int, report: Progress, stop: threading.Event) -> None:
    """A rank that this package's own launcher forked."""
    from shardtools.pipelines.ranks import join_world

    generator = job.plan.options.generator
    world = join_world(generator.device, generator.threads_per_process)
    report(Joined(num_processes=world.world_size))
    run_rank(job, world.rank, world.world_size, world.device, report, stop)


def _preload(_job: Job, num_ranks: int) -> int:
    """Imports once what all forks need."""
    import shardtools.pipelines.generate.engine
    import shardtools.pipelines.generate.finishing  # noqa: F401  # imported for the forks

    return num_ranks


if __name__ == "__main__":
    serve(_run_fork, _preload)
