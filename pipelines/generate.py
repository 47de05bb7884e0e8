"""Makes the images of a plan, shard by shard, in one process of many.

    shardtools gen-sd --prompt "c, d_c"                                         (starts the processes itself)
    torchrun --nproc-per-node 8 -m shardtools.pipelines.generate --model CompVis/stable-diffusion-v1-4 --classes
    imagenet-100 ...
    accelerate launch --num_processes 8 -m shardtools.pipelines.generate ...
    srun --ntasks 8 --gpus-per-task 1 python -m shardtools.pipelines.generate ...

Hardware: any; measured on two CPU cores (docs/benchmarks.md). Metric: images per second; share of time outside the
denoiser and the decoder (benchmarks/generate.py).

Owns the loop: encode prompts, denoise a batch, hand the latents to a second thread that decodes, checks, encodes JPEG
and writes the shard while the next batch is denoised. Batches are fixed by the plan and padded, so an image does not
depend on who made it or after how many restarts. The price: one batch of latents waits in memory.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from shardtools.dataset import CommittedShard, EventLog
from shardtools.errors import RunError, ShardtoolsError
from shardtools.generation.preparing import Job
from shardtools.pipelines.channel import end_with_error, open_channel
from shardtools.plan import PlanRow
from shardtools.processes import Progress, die_with_parent, stop_on_sigterm
from shardtools.storage import open_storage


def run_rank(job: Job, rank: int, world_size: int, device: Any, report: Progress, stop: threading.Event) -> None:
    """Makes every `world_size`-th task of the job from `rank` on; ends after the shard in hand when `stop` is set.

    Raises:
        ShardtoolsError: The model cannot be loaded, or the storage fails for good.
    """
    from shardtools.pipelines.engine import Engine
    from shardtools.pipelines.finishing import Finisher

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
        report({"event": "batch", "images": count})

    def on_shard(shard: CommittedShard) -> None:
        speed = round(num_images / (time.perf_counter() - started), 3)
        log.add(
            "shard",
            shard_index=shard.shard_index,
            rows=shard.num_rows,
            images=shard.num_images,
            images_per_second=speed,
        )
        report(
            {
                "event": "shard",
                "shard_index": shard.shard_index,
                "rows": shard.num_rows,
                "images": shard.num_images,
                "bytes": shard.num_bytes,
            }
        )

    log.add("ready", device=str(device))
    report({"event": "ready"})
    with Finisher(job, storage, engine, on_batch=on_batch, on_shard=on_shard) as finisher:
        for shard_index in tasks:
            if stop.is_set():
                break
            finisher.begin(shard_index)
            for rows in finisher.batches(shard_index):
                finisher.put(rows, denoise_batch(engine, rows, job.plan.options.generator.batch_size))
            finisher.end()
    facts = {
        "reason": "stopped" if stop.is_set() else "done",
        "images": num_images,
        "seconds": round(time.perf_counter() - started, 3),
        "denoiser_seconds": round(engine.denoiser_seconds, 3),
        "vae_seconds": round(engine.vae_seconds, 3),
    }
    log.add("end", **facts)
    log.flush()
    report({"event": "end", **facts})


def denoise_batch(engine: Any, rows: Sequence[PlanRow], batch_size: int) -> Any:
    """Latents of a batch.

    A short batch is padded with its last row, because an image's bits depend on the batch's size.
    """
    padded = [*rows, *[rows[-1]] * (batch_size - len(rows))]
    return engine.denoise([row.prompt for row in padded], [row.seed for row in padded])[: len(rows)]


def run_launched(options: Any) -> int:
    """One rank of a job that torchrun, accelerate or Slurm started: rank 0 prepares, all generate, rank 0 commits.

    Returns:
        Number of rows made by this run over all ranks.
    """
    from accelerate.utils import broadcast_object_list

    from shardtools.dataset import acquire
    from shardtools.generation.launch import commit_if_whole
    from shardtools.generation.preparing import begin, prepare
    from shardtools.pipelines.common import join_world

    prepared = prepare(options)
    generator = prepared.plan.options.generator
    world = join_world(generator.device, generator.threads_per_process)
    stop = stop_on_sigterm()
    storage = open_storage(options.out)
    message: list[Any] = [None]
    lease = None
    if world.rank == 0:
        try:
            lease = acquire(storage, purpose="gen-sd")
            lease.__enter__()
            message = [begin(prepared, storage, retry_failed=options.retry_failed)]
        except ShardtoolsError as error:
            message = [error]
    if world.world_size > 1:
        broadcast_object_list(message)
    try:
        if isinstance(message[0], ShardtoolsError):
            raise message[0]
        job: Job = message[0]
        run_rank(job, world.rank, world.world_size, world.device, _print_progress if world.rank == 0 else _ignore, stop)
        _wait_for_all(world.world_size)
        if world.rank == 0:
            commit_if_whole(prepared, storage)
        return len(job.tasks)
    finally:
        if lease is not None:
            lease.__exit__(None, None, None)


def _wait_for_all(world_size: int) -> None:
    if world_size == 1:
        return
    from accelerate import PartialState

    try:
        PartialState().wait_for_everyone()
        PartialState().destroy_process_group()
    except RuntimeError as error:
        raise RunError(
            f"another process of the job died ({str(error).splitlines()[0]}): run the same command again"
        ) from None


def _print_progress(message: dict[str, Any]) -> None:
    if message["event"] in ("shard", "end"):
        print(json.dumps(message), file=sys.stderr, flush=True)


def _ignore(_message: dict[str, Any]) -> None:
    pass


def workers_main(world_size: int, parent_pid: int) -> None:
    """Child of `generation.launch`.

    A pickled job on standard input, JSON lines on standard output, `world_size` ranks.
    """
    from shardtools.pipelines import common

    die_with_parent(parent_pid)
    stop = stop_on_sigterm()
    report = open_channel()
    job: Job = pickle.load(sys.stdin.buffer)
    importlib.import_module("shardtools.pipelines.finishing")
    importlib.import_module("shardtools.pipelines.engine")
    code = common.fork_ranks(world_size, lambda rank: _run_worker(job, report, stop), report, stop)
    sys.exit(code)


def _run_worker(job: Job, report: Progress, stop: threading.Event) -> None:
    """One forked rank; ends the process with exit code 1 after reporting an error."""
    from shardtools.pipelines import common

    try:
        generator = job.plan.options.generator
        world = common.join_world(generator.device, generator.threads_per_process)
        report({"event": "joined", "num_processes": world.world_size})
        run_rank(job, world.rank, world.world_size, world.device, report, stop)
    except BaseException as error:
        end_with_error(error, report)


def main() -> None:
    """Entry for other launchers: the options of `shardtools gen-sd`."""
    from shardtools.cli import main as cli_main

    cli_main(["gen-sd", *sys.argv[1:]])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--workers"]:
        workers_main(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
