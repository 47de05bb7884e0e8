"""Trains a classifier on the shards of datasets, in one process of many.

    shardtools train DATASET --recipe imagenet-sd --out RUN                     (starts the processes itself)
    torchrun --nproc-per-node 8 -m shardtools train DATASET --recipe t-rex --out RUN
    accelerate launch --num_processes 8 -m shardtools train DATASET --recipe t-rex --out RUN

Hardware: any; see the header of each recipe (shardtools/training/recipes). Metric: top-1 on the evaluation's split;
images a second and the share of the time that steps wait for data (benchmarks/train.py).

Owns the processes: how many, which device each has, what becomes of an error in one of them.
"""

from __future__ import annotations

import os
import threading

import torch

from shardtools.errors import RunError, first_line
from shardtools.execution import (
    GRACE_SECONDS,
    Progress,
    ranks_on_this_machine,
    run_as_rank,
    serve,
    stop_on_sigterm,
)
from shardtools.pipelines.ranks import Rank, count_ranks, device_type, join_run, launched_world_size
from shardtools.training import Training, TrainOptions, TrainResult
from shardtools.training.data import Share

_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "ALLOC_FAILED")
"""Of torch's own allocator, CUDA, the C++ library, cuDNN and cuBLAS."""


def run_rank(options: TrainOptions, world: Rank, report: Progress, stop: threading.Event) -> None:
    """Trains as one process of a run that has been joined, until all epochs are done or `stop` is set.

    Raises:
        ShardtoolsError: The data, the options or the storage are at fault, or a loss is no number.
        RunError: There is too little memory.
    """
    from shardtools.pipelines.train.run import Run

    threads = options.threads or max(1, (os.cpu_count() or 1) // ranks_on_this_machine(world.world_size))
    share = Share(rank=world.rank, world_size=world.world_size, threads=threads)
    try:
        run = Run(options, share, world.device, report, stop)
        try:
            run.train()
        finally:
            run.close()
    except (RuntimeError, MemoryError) as error:
        if _is_out_of_memory(error):
            raise _out_of_memory(options, world, error) from None
        raise


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in text for words in _OUT_OF_MEMORY)


def _out_of_memory(options: TrainOptions, world: Rank, error: BaseException) -> RunError:
    recipe = options.recipe
    per_pass = recipe.batch_size // (world.world_size * options.accumulation)
    crops = 1 + recipe.num_local if recipe.augmentation == "multi-crop" else 1
    size = f"{per_pass} images x {crops} crops of up to {recipe.image_size} pixels"
    return RunError(
        f"out of memory on {world.device} with {size} in one pass (batch_size {recipe.batch_size}, {world.world_size} "
        f"processes, accumulation {options.accumulation}): raise --accumulation, take more processes, or lower "
        f"--set batch_size ({first_line(error)[:200]})"
    )


def _join(options: TrainOptions, world_size: int) -> Rank:
    device = device_type(options.device)
    threads = options.compute_threads
    if threads is None:
        threads = max(1, (os.cpu_count() or 1) // ranks_on_this_machine(world_size)) if device == "cpu" else 1
    return join_run(device, threads, world_size, is_exact=device == "cpu")


def run_launched(options: TrainOptions, progress: Progress) -> TrainResult:
    """One process of a run that torchrun, accelerate or Slurm started.

    Args:
        options: The same in all of them.
        progress: Called with the messages of the first one.

    Raises:
        ShardtoolsError: See `training.train`.
    """
    stop = stop_on_sigterm()
    world = _join(options, launched_world_size())

    def work(job: TrainOptions, report: Progress) -> None:
        run_rank(job, world, report, stop)

    result = run_as_rank(Training(options, progress), world, work, stop)
    world.leave()
    return result


def run_fork(options: TrainOptions, num_ranks: int, report: Progress, stop: threading.Event) -> None:
    """A rank that this package's own launcher forked."""
    run_rank(options, _join(options, num_ranks), report, stop)


def preload(options: TrainOptions, asked: int) -> int:
    """Imports once what all forks need, and says how many there are to be."""
    import shardtools.pipelines.train.run  # noqa: F401  # imported for the forks

    return count_ranks(asked, options.device)


if __name__ == "__main__":
    serve(run_fork, preload, grace_seconds=GRACE_SECONDS)
