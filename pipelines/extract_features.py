"""Extracts features of a dataset's images, part by part, in one process of many.

    shardtools features DATASET --encoder lite0                                  (starts the processes itself)
    torchrun --nproc-per-node 8 -m shardtools.pipelines.extract_features DATASET --encoder timm:vit_small_patch16_224
    --weights vit.safetensors
    accelerate launch --num_processes 8 -m shardtools.pipelines.extract_features DATASET --encoder RUN

Hardware: any. Metric: images a second.

Owns the loop: a run of neighbouring parts a process, batches that begin where a part begins and are padded at the end,
so that a feature does not depend on the number of processes or restarts. The price: a process that was killed makes the
part in hand again.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from shardtools.arrays import Int64s
from shardtools.dataset import acquire, open_dataset
from shardtools.errors import OptionError, RunError, ShardtoolsError
from shardtools.features import EncoderFacts, FeatureOptions, FeatureResult, FeatureWriter, Job, make_plan
from shardtools.features.launch import Tally, begin, finish, open_target
from shardtools.features.layout import Skipped
from shardtools.features.writer import features_storage
from shardtools.loader import CenterCropOptions, LoaderOptions, OrderOptions, ResizeOptions
from shardtools.pipelines.channel import end_with_error, open_channel
from shardtools.pipelines.common import Rank, fork_ranks, join_world, translate_slurm
from shardtools.pipelines.feature_encoders import FeatureEncoder, load_feature_encoder
from shardtools.pipelines.train_data import DeviceBatches, DeviceImages, Normaliser
from shardtools.processes import Progress, die_with_parent, stop_on_sigterm

_GRACE = 20.0
_AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}

Floats = npt.NDArray[np.float32]


def run_rank(job: Job, world: Rank, report: Progress, stop: threading.Event) -> None:
    """Extracts this process's share of the parts; ends after the batch in hand when `stop` is set.

    Raises:
        ShardtoolsError: The encoder cannot be loaded, the storage fails, or a feature is not finite.
    """
    options = job.options
    encoder = load_feature_encoder(options)
    threads = options.threads or max(1, (os.cpu_count() or 1) // _on_this_machine(world.world_size))
    batches = DeviceBatches(loader_options(options, encoder.facts, threads), world.device, decoder=options.decoder)
    try:
        dataset = open_dataset(options.dataset)
        num_rows = len(batches.loader.table)
        plan = make_plan(
            dataset,
            options.features_name,
            encoder.facts,
            num_rows=num_rows,
            batch_size=options.batch_size,
            split=options.split,
        )
        writer = FeatureWriter(features_storage(dataset, options.features_name, options.out), plan)
        left = [number for number in range(plan.num_parts) if number not in job.done]
        if world.rank == 0:
            rows = sum(len(plan.rows_of(number)) for number in left)
            report({"event": "plan", "rows_to_make": rows, "tasks": len(left), "num_processes": world.world_size})
        Extractor(encoder, batches, writer, world.device, report, stop).run(share(left, world.rank, world.world_size))
    finally:
        batches.loader.close()


def share(parts: Sequence[int], rank: int, world_size: int) -> Sequence[int]:
    """A run of neighbours for each process, as even as can be."""
    return parts[len(parts) * rank // world_size : len(parts) * (rank + 1) // world_size]


def loader_options(options: FeatureOptions, facts: EncoderFacts, threads: int) -> LoaderOptions:
    """Every image once, in the manifest's order, as the encoder wants to see it."""
    size, kind = facts.image_size, facts.interpolation
    crop = (
        CenterCropOptions(size=size, resize=facts.resize, interpolation=kind)
        if facts.crop == "center"
        else ResizeOptions(height=size, width=size, interpolation=kind)
    )
    return LoaderOptions(
        datasets=(options.dataset,),
        split=options.split,
        crop=crop,
        batch_size=options.batch_size,
        order=OrderOptions(shuffle="none"),
        last="short",
        num_threads=threads,
    )


class Extractor:
    """One process's work on one plan."""

    def __init__(
        self,
        encoder: FeatureEncoder,
        batches: DeviceBatches,
        writer: FeatureWriter,
        device: torch.device,
        report: Progress,
        stop: threading.Event,
    ) -> None:
        self._encoder = encoder.to(device).to(memory_format=torch.channels_last)
        self._batches, self._writer, self._plan = batches, writer, writer.plan
        self._normalise = Normaliser(_three(encoder.facts.mean), _three(encoder.facts.std), device)
        self._device, self._report, self._stop = device, report, stop

    def run(self, parts: Sequence[int]) -> None:
        """Writes the parts, one after the other."""
        started, images = time.perf_counter(), 0
        self._report({"event": "ready"})
        for first, last in _runs(parts):
            number, keys, features, skipped = first, list[str](), list[Floats](), list[Skipped]()
            for batch, start in self._read(self._plan.rows_of(first).start):
                if self._stop.is_set():
                    break
                count = len(batch.rows)
                good = batch.rows == np.arange(start, start + count)
                features.append(self._features(batch)[good])
                keys += [key for key, is_good in zip(batch.keys, good.tolist(), strict=True) if is_good]
                skipped += self._skipped(batch, np.arange(start, start + count)[~good])
                images += count
                self._report({"event": "batch", "images": count})
                if start + count == self._plan.rows_of(number).stop:
                    self._writer.add(number, keys, np.concatenate(features), skipped)
                    self._report({"event": "part", "part": number, "rows": len(keys)})
                    number, keys, features, skipped = number + 1, [], [], []
                    if number > last:
                        break
        reason = "stopped" if self._stop.is_set() else "done"
        seconds = round(time.perf_counter() - started, 3)
        self._report({"event": "end", "reason": reason, "images": images, "seconds": seconds})

    def _read(self, start: int) -> Iterator[tuple[DeviceImages, int]]:
        """Batches from a row on, each with the number of its first row."""
        loader = self._batches.loader
        loader.load_state(replace(loader.state(), epoch=0, num_delivered=start))
        with contextlib.closing(self._batches.epoch(0)) as epoch:  # type: ignore[type-var]  # it is a generator
            for batch in epoch:
                yield batch, start
                start += len(batch.rows)

    def _features(self, batch: DeviceImages) -> Floats:
        pixels = batch.images
        if not isinstance(pixels, torch.Tensor):
            raise OptionError("features are of one crop an image, found several")
        missing = self._plan.batch_size - len(pixels)
        if missing:
            # A feature's last bits depend on the size of the batch.
            pixels = torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)])
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        kind = _AUTOCAST[self._encoder.facts.precision]
        with torch.inference_mode(), torch.autocast(self._device.type, dtype=kind, enabled=kind is not None):
            found = self._encoder(self._normalise.one(pixels))[: len(batch.rows)]
        values: Floats = found.float().cpu().numpy()
        return values

    def _skipped(self, batch: DeviceImages, rows: Int64s) -> list[Skipped]:
        """Images that could not be read, whose places others took."""
        found = []
        for key in self._batches.loader.table.key_strings(rows):
            lines = [line for line in batch.replaced if line.startswith(f"sample {key!r} replaced by ")]
            reason = lines[0].partition(": ")[2] if lines else "it could not be read"
            self._report({"event": "notice", "text": f"no feature of {key!r}: {reason}"})
            found.append(Skipped(key=key, reason=reason))
        return found


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def _runs(parts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of neighbours among rising numbers."""
    breaks = [place for place, (one, two) in enumerate(pairwise(parts), 1) if two != one + 1]
    for start, stop in pairwise([0, *breaks, len(parts)]):
        if stop > start:
            yield parts[start], parts[stop - 1]


def _on_this_machine(world_size: int) -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(world_size)))


def _join(options: FeatureOptions, world_size: int) -> Rank:
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise OptionError("device 'cuda' was asked for, found no CUDA device that torch can use: take --device cpu")
    world = join_world(device, options.compute_threads)
    if world.world_size != world_size:
        raise RunError(f"expected {world_size} processes, found {world.world_size}: start them with one launcher")
    return world


def workers_main(world_size: int, parent_pid: int) -> None:
    """Child of `features.launch`: a pickled job on standard input, JSON lines on standard output.

    Args:
        world_size: Processes to make; 0 for one a GPU, or one a core.
        parent_pid: The launcher.
    """
    die_with_parent(parent_pid)
    stop = stop_on_sigterm()
    report = open_channel()
    job: Job = pickle.load(sys.stdin.buffer)
    # Counting GPUs does not start CUDA, which a fork would not survive.
    gpus = torch.cuda.device_count() if job.options.device != "cpu" else 0
    num_ranks = world_size or gpus or os.cpu_count() or 1
    sys.exit(fork_ranks(num_ranks, lambda rank: run_worker(job, num_ranks, report, stop), report, stop, _GRACE))


def run_worker(job: Job, num_ranks: int, report: Progress, stop: threading.Event) -> None:
    """One forked process; ends it with exit code 1 after reporting an error."""
    try:
        run_rank(job, _join(job.options, num_ranks), report, stop)
    except BaseException as error:
        end_with_error(error, report)


def run_launched(options: FeatureOptions, progress: Progress) -> FeatureResult | None:
    """One process of a run that torchrun, accelerate or Slurm started: the first one holds the folder and commits.

    Returns:
        What came of it, in the first process; `None` in the others.

    Raises:
        ShardtoolsError: In all processes, where the first one cannot begin.
        RunError: The run was stopped, or another process died.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    translate_slurm(os.environ)
    world = _join(options, int(os.environ.get("WORLD_SIZE", "1")))
    stop = stop_on_sigterm()
    tally = Tally(progress if world.rank == 0 else lambda message: None)
    begun: list[Any] = [None]
    with contextlib.ExitStack() as stack:
        storage = features_storage(open_dataset(options.dataset), options.features_name, options.out)
        if world.rank == 0:
            try:
                stack.enter_context(acquire(open_target(options), purpose="features"))
                begun = [begin(options, storage)]
            except ShardtoolsError as error:
                begun = [error]
        if world.world_size > 1:
            broadcast_object_list(begun)
        if isinstance(begun[0], ShardtoolsError):
            raise begun[0]
        run_rank(begun[0], world, tally.hear, stop)
        if world.world_size > 1:
            try:
                PartialState().wait_for_everyone()
                PartialState().destroy_process_group()
            except RuntimeError as error:
                line = str(error).splitlines()[0]
                raise RunError(f"another process of the run died ({line}): run the same command again") from None
        return finish(options, storage, tally, stopped=stop.is_set()) if world.rank == 0 else None


def main() -> None:
    """Entry for other launchers: the options of `shardtools features`."""
    from shardtools.cli import main as cli_main

    cli_main(["features", *sys.argv[1:]])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--workers"]:
        workers_main(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
