"""Extracts features of a dataset's images, part by part, in one process of many.

    shardtools features DATASET --encoder lite0                                  (starts the processes itself)
    torchrun --nproc-per-node 8 -m shardtools features DATASET --encoder timm:vit_small_patch16_224 --weights FILE
    accelerate launch --num_processes 8 -m shardtools features DATASET --encoder RUN

Hardware: any. Metric: images a second.

Owns the loop: a run of neighbouring parts a process, batches that begin where a part begins and are padded at the end,
so that a feature does not depend on the number of processes or restarts. The price: a process that was killed makes the
part in hand again.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from shardtools.arrays import Float32s, Int64s
from shardtools.dataset import open_dataset
from shardtools.errors import OptionError
from shardtools.execution import (
    GRACE_SECONDS,
    Batch,
    Ended,
    EndReason,
    Notice,
    Planned,
    Progress,
    Ready,
    TaskDone,
    TaskFacts,
    ranks_on_this_machine,
    run_as_rank,
    serve,
    stop_on_sigterm,
)
from shardtools.features import (
    EncoderFacts,
    Extraction,
    FeatureOptions,
    FeatureResult,
    FeatureWriter,
    Job,
    Skipped,
    features_storage,
    make_plan,
)
from shardtools.loader import CenterCropOptions, LoaderOptions, OrderOptions, ResizeOptions
from shardtools.pipelines.batches.on_device import DeviceBatches, DeviceImages, Normalizer
from shardtools.pipelines.encoders.trained import FeatureEncoder, load_feature_encoder
from shardtools.pipelines.ranks import Rank, count_ranks, device_type, join_run, launched_world_size

_AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def run_rank(job: Job, world: Rank, report: Progress, stop: threading.Event) -> None:
    """Extracts this process's share of the parts; ends after the batch in hand when `stop` is set.

    Raises:
        ShardtoolsError: The encoder cannot be loaded, the storage fails, or a feature is not finite.
    """
    options = job.options
    encoder = load_feature_encoder(options)
    threads = options.threads or max(1, (os.cpu_count() or 1) // ranks_on_this_machine(world.world_size))
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
            report(Planned(rows_to_make=rows, num_tasks=len(left), num_processes=world.world_size))
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
        self._normalize = Normalizer(_three(encoder.facts.mean), _three(encoder.facts.std), device)
        self._device, self._report, self._stop = device, report, stop

    def run(self, parts: Sequence[int]) -> None:
        """Writes the parts, one after the other."""
        started, images = time.perf_counter(), 0
        self._report(Ready())
        for first, last in _runs(parts):
            number, keys, features, skipped = first, list[str](), list[Float32s](), list[Skipped]()
            for batch, start in self._read(self._plan.rows_of(first).start):
                if self._stop.is_set():
                    break
                count = len(batch.rows)
                good = batch.rows == np.arange(start, start + count)
                features.append(self._features(batch)[good])
                keys += [key for key, is_good in zip(batch.keys, good.tolist(), strict=True) if is_good]
                skipped += self._skipped(batch, np.arange(start, start + count)[~good])
                images += count
                self._report(Batch(rows=count))
                if start + count == self._plan.rows_of(number).stop:
                    self._writer.add(number, keys, np.concatenate(features), skipped)
                    self._report(TaskDone(task=number, facts=TaskFacts(rows=len(keys))))
                    number, keys, features, skipped = number + 1, [], [], []
                    if number > last:
                        break
        reason: EndReason = "stopped" if self._stop.is_set() else "done"
        self._report(Ended(reason=reason, images=images, seconds=round(time.perf_counter() - started, 3)))

    def _read(self, start: int) -> Iterator[tuple[DeviceImages, int]]:
        """Batches from a row on, each with the number of its first row."""
        loader = self._batches.loader
        loader.load_state(replace(loader.state(), epoch=0, num_delivered=start))
        with contextlib.closing(self._batches.epoch(0)) as epoch:  # type: ignore[type-var]  # it is a generator
            for batch in epoch:
                yield batch, start
                start += len(batch.rows)

    def _features(self, batch: DeviceImages) -> Float32s:
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
            found = self._encoder(self._normalize.one(pixels))[: len(batch.rows)]
        values: Float32s = found.float().cpu().numpy()
        return values

    def _skipped(self, batch: DeviceImages, rows: Int64s) -> list[Skipped]:
        """Images that could not be read, whose places others took."""
        found = []
        for key in self._batches.loader.table.key_strings(rows):
            lines = [line for line in batch.replaced if line.startswith(f"sample {key!r} replaced by ")]
            reason = lines[0].partition(": ")[2] if lines else "it could not be read"
            self._report(Notice(text=f"no feature of {key!r}: {reason}"))
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


def _join(options: FeatureOptions, world_size: int) -> Rank:
    return join_run(device_type(options.device), options.compute_threads, world_size)


def run_launched(options: FeatureOptions, progress: Progress) -> FeatureResult:
    """One process of a run that torchrun, accelerate or Slurm started.

    Args:
        options: The same in all of them.
        progress: Called with the messages of this one; in the first, at the end, with what the others made.

    Raises:
        ShardtoolsError: See `features.extract_features`.
    """
    stop = stop_on_sigterm()
    world = _join(options, launched_world_size())

    def work(job: Job, report: Progress) -> None:
        run_rank(job, world, report, stop)

    result = run_as_rank(Extraction(options, progress), world, work, stop)
    world.leave()
    return result


def run_fork(job: Job, num_ranks: int, report: Progress, stop: threading.Event) -> None:
    """A rank that this package's own launcher forked."""
    run_rank(job, _join(job.options, num_ranks), report, stop)


if __name__ == "__main__":
    serve(run_fork, lambda job, asked: count_ranks(asked, job.options.device), grace_seconds=GRACE_SECONDS)
