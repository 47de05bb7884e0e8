"""Trains a classifier on the shards of datasets, in one process of many.

    shardtools train DATASET --recipe imagenet-sd --out RUN                     (starts the processes itself)
    torchrun --nproc-per-node 8 -m shardtools.pipelines.train DATASET --recipe t-rex --out RUN
    accelerate launch --num_processes 8 -m shardtools.pipelines.train DATASET --recipe t-rex --out RUN

Hardware: any; see the header of each recipe (shardtools/training/recipes). Metric: top-1 on the evaluation's split;
images a second and the share of the time that steps wait for data (benchmarks/train.py).

Owns the processes: how many, which device each has, what becomes of an error in one of them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import re
import sys
import threading
from typing import Any

import torch

from shardtools.dataset import acquire
from shardtools.errors import OptionError, RunError, ShardtoolsError
from shardtools.pipelines.channel import end_with_error, open_channel
from shardtools.pipelines.common import Rank, fork_ranks, join_world, translate_slurm
from shardtools.processes import Progress, die_with_parent, stop_on_sigterm
from shardtools.storage import open_storage
from shardtools.training.data import Share
from shardtools.training.launch import Story, open_run
from shardtools.training.options import TrainOptions
from shardtools.training.record import read_finished

_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "ALLOC_FAILED")
"""Of torch's own allocator, CUDA, the C++ library, cuDNN and cuBLAS."""

_GRACE = 20.0
"""Seconds that processes get to end once one has died: they may wait for it in an exchange that never comes."""


def run_rank(options: TrainOptions, world: Rank, report: Progress, stop: threading.Event) -> None:
    """Trains as one process of a run that has been joined, until all epochs are done or `stop` is set.

    Raises:
        ShardtoolsError: The data, the options or the storage are at fault, or a loss is no number.
        RunError: There is too little memory.
    """
    from shardtools.pipelines.train_run import Run

    threads = options.threads or max(1, (os.cpu_count() or 1) // on_this_machine(world.world_size))
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


def on_this_machine(world_size: int) -> int:
    """Processes of the run that share this machine's cores, as the launcher says; else all of them."""
    # Slurm's is like "8(x2)" or "8,4".
    slurm = re.match(r"\d+", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    return int(os.environ.get("LOCAL_WORLD_SIZE") or (slurm[0] if slurm else world_size))


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in text for words in _OUT_OF_MEMORY)


def _out_of_memory(options: TrainOptions, world: Rank, error: BaseException) -> RunError:
    recipe = options.recipe
    per_pass = recipe.batch_size // (world.world_size * options.accumulation)
    crops = 1 + recipe.num_local if recipe.augmentation == "multi-crop" else 1
    first_line = f" ({str(error).splitlines()[0][:200]})" if str(error) else ""
    size = f"{per_pass} images x {crops} crops of up to {recipe.image_size} pixels"
    return RunError(
        f"out of memory on {world.device} with {size} in one pass (batch_size {recipe.batch_size}, {world.world_size} "
        f"processes, accumulation {options.accumulation}): raise --accumulation, take more processes, or lower "
        f"--set batch_size{first_line}"
    )


def _device_type(options: TrainOptions) -> str:
    if options.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cuda" and not torch.cuda.is_available():
        raise OptionError("device 'cuda' was asked for, found no CUDA device that torch can use: take --device cpu")
    return options.device


def _join(options: TrainOptions, world_size: int) -> Rank:
    device = _device_type(options)
    threads = options.compute_threads
    if threads is None:
        threads = max(1, (os.cpu_count() or 1) // on_this_machine(world_size)) if device == "cpu" else 1
    world = join_world(device, threads, is_exact=device == "cpu")
    if world.world_size != world_size:
        raise RunError(f"expected {world_size} processes, found {world.world_size}: start them with one launcher")
    return world


def workers_main(world_size: int, parent_pid: int) -> None:
    """Child of `training.launch`: pickled options on standard input, JSON lines on standard output.

    Args:
        world_size: Processes to make; 0 for one a GPU, or one on a CPU.
        parent_pid: The launcher.
    """
    die_with_parent(parent_pid)
    stop = stop_on_sigterm()
    report = open_channel()
    options: TrainOptions = pickle.load(sys.stdin.buffer)
    # Imported once, before the fork.
    importlib.import_module("shardtools.pipelines.train_run")
    # Counting GPUs does not start CUDA, which a fork would not survive.
    num_ranks = world_size or (max(1, torch.cuda.device_count()) if options.device != "cpu" else 1)
    sys.exit(fork_ranks(num_ranks, lambda rank: run_worker(options, num_ranks, report, stop), report, stop, _GRACE))


def run_worker(options: TrainOptions, num_ranks: int, report: Progress, stop: threading.Event) -> None:
    """One forked process; ends it with exit code 1 after reporting an error."""
    try:
        run_rank(options, _join(options, num_ranks), report, stop)
    except BaseException as error:
        end_with_error(error, report)


def run_launched(options: TrainOptions, progress: Progress) -> None:
    """One process of a run that torchrun, accelerate or Slurm started: the first one holds the folder and tells.

    Raises:
        ShardtoolsError: In all processes, where the first one cannot begin.
        RunError: The run was stopped.
    """
    from accelerate.utils import broadcast_object_list

    translate_slurm(os.environ)
    world = _join(options, int(os.environ.get("WORLD_SIZE", "1")))
    stop = stop_on_sigterm()
    is_main = world.rank == 0
    begun: list[Any] = [None]
    with contextlib.ExitStack() as stack:
        storage = open_storage(options.out)
        if is_main:
            try:
                open_run(options)
                stack.enter_context(acquire(storage, purpose="train"))
                begun = [read_finished(storage, options)]
            except ShardtoolsError as error:
                begun = [error]
        if world.world_size > 1:
            broadcast_object_list(begun)
        if isinstance(begun[0], ShardtoolsError):
            raise begun[0]
        if begun[0] is None:
            story = Story(options, storage, progress)
            run_rank(options, world, story.hear if is_main else _ignore, stop)
            if is_main:
                story.finish(stopped=stop.is_set())
        elif is_main:
            progress({"event": "finished", "epochs": begun[0].epochs, "steps": begun[0].steps})
        if world.world_size > 1:
            torch.distributed.destroy_process_group()


def _ignore(_message: dict[str, Any]) -> None:
    pass


def main() -> None:
    """Entry for other launchers: the options of `shardtools train`."""
    from shardtools.cli import main as cli_main

    cli_main(["train", *sys.argv[1:]])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--workers"]:
        workers_main(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
