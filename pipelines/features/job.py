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
from collections.abc import Sequence

import numpy as np
import torch

from shardtools.arrays import Float32s
from shardtools.dataset import open_dataset
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
from shardtools.loader import LoaderOptions
from shardtools.pipelines.batches.on_device import AUTOCAST, DeviceBatches, Normalizer
from shardtools.pipelines.batches.planned import (
    PlannedImages,
    evaluation_options,
    images_from,
    neighbors,
    padded,
    share,
)
from shardtools.pipelines.encoders.trained import FeatureEncoder, load_feature_encoder
from shardtools.pipelines.ranks import Rank, count_ranks, device_type, join_run, launched_world_size


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


def loader_options(options: FeatureOptions, facts: EncoderFacts, threads: int) -> LoaderOptions:
    """Every image once, in the manifest's order, as the encoder wants to see it."""
    return evaluation_options(
        options.dataset,
        split=options.split,
        crop=facts.crop,
        image_size=facts.image_size,
        resize=facts.resize,
        interpolation=facts.interpolation,
        batch_size=options.batch_size,
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
        for first, last in neighbors(parts):
            number, keys, features, skipped = first, list[str](), list[Float32s](), list[Skipped]()
            stream = images_from(self._batches, self._plan.rows_of(first).start)
            with contextlib.closing(stream):
                for batch in stream:
                    if self._stop.is_set():
                        break
                    end = batch.start + len(batch)
                    features.append(self._features(batch)[batch.is_read])
                    found = self._batches.loader.table.key_strings(np.arange(batch.start, end))
                    keys += [key for place, key in enumerate(found) if place not in batch.unread]
                    skipped += self._skipped(batch, found)
                    images += len(batch)
                    self._report(Batch(rows=len(batch)))
                    if end == self._plan.rows_of(number).stop:
                        self._writer.add(number, keys, np.concatenate(features), skipped)
                        self._report(TaskDone(task=number, facts=TaskFacts(rows=len(keys))))
                        number, keys, features, skipped = number + 1, [], [], []
                        if number > last:
                            break
        reason: EndReason = "stopped" if self._stop.is_set() else "done"
        self._report(Ended(reason=reason, images=images, seconds=round(time.perf_counter() - started, 3)))

    def _features(self, batch: PlannedImages) -> Float32s:
        pixels = padded(batch.images, self._plan.batch_size)
        kind = AUTOCAST[self._encoder.facts.precision]
        with torch.inference_mode(), torch.autocast(self._device.type, dtype=kind, enabled=kind is not None):
            found = self._encoder(self._normalize.one(pixels))[: len(batch)]
        values: Float32s = found.float().cpu().numpy()
        return values

    def _skipped(self, batch: PlannedImages, keys: Sequence[str]) -> list[Skipped]:
        """Images that could not be read, whose places others took."""
        found = [Skipped(key=keys[place], reason=reason) for place, reason in batch.unread.items()]
        for one in found:
            self._report(Notice(text=f"no feature of {one.key!r}: {one.reason}"))
        return found


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


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
