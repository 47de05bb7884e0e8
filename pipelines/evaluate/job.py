"""Predicts the images of datasets, batch by batch, in one process of many.

    shardtools predict lite0 DATASET                                             (starts the processes itself)
    torchrun --nproc-per-node 8 -m shardtools predict RUN DATASET
    accelerate launch --num_processes 8 -m shardtools predict timm:vit_small_patch16_224 DATASET --weights FILE

Hardware: any. Metric: images a second.

Owns the loop: a run of neighboring batches a process, each written as soon as it is computed, so that a run that was
killed goes on with the batches that are not there. What logits mean is computed and written in a thread beside the next
forward pass. The price: one batch more in memory.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from shardtools.arrays import Float32s
from shardtools.corruption import CORRUPTION_VERSION
from shardtools.dataset import Dataset, open_dataset
from shardtools.evaluation import ModelFacts
from shardtools.evaluation.predictions import (
    ALL_LOGITS_BYTES,
    Done,
    Prediction,
    PredictionPlan,
    PredictionWriter,
    PredictOptions,
    PredictResult,
    Variant,
    batches_per_part,
    prediction_table,
    predictions_storage,
    variants_of,
)
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
from shardtools.manifest import digest
from shardtools.pipelines.batches.on_device import AUTOCAST, DeviceBatches, Normalizer
from shardtools.pipelines.batches.planned import (
    evaluation_options,
    neighbors,
    padded,
    share,
)
from shardtools.pipelines.evaluate.images import RowImages, decoded_at_once, plain_batches, variant_batches
from shardtools.pipelines.evaluate.labels import map_labels
from shardtools.pipelines.evaluate.models import Classifier, load_classifier
from shardtools.pipelines.evaluate.targets import first_claims, output_of_rows, seen_as
from shardtools.pipelines.ranks import Rank, count_ranks, device_type, join_run, launched_world_size
from shardtools.words import rough_size

_BATCHES_BESIDE = 2
_ROW_BYTES = 128
"""Of a row without all of its logits, roughly."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Target:
    """One dataset of a run."""

    plan: PredictionPlan
    batches: DeviceBatches
    writer: PredictionWriter
    done: Done
    num_threads: int

    @property
    def batches_left(self) -> list[int]:
        """Batches that are not there yet."""
        return self.done.batches_left(self.plan)


def run_rank(options: PredictOptions, world: Rank, report: Progress, stop: threading.Event) -> None:
    """Computes this process's share of the batches; ends after the batch in hand when `stop` is set.

    Raises:
        ShardtoolsError: The model cannot be loaded or does not fit, the storage fails, or a logit is not finite.
    """
    model = load_classifier(options.model)
    threads = options.threads or max(1, (os.cpu_count() or 1) // ranks_on_this_machine(world.world_size))
    with contextlib.ExitStack() as stack:
        # All datasets before the first forward pass: one that does not fit is refused at once.
        targets = [_open_target(options, url, model.facts, world, threads, report) for url in options.datasets]
        for target in targets:
            stack.callback(target.batches.loader.close)
        if world.rank == 0:
            rows = sum(len(target.plan.rows_of(batch)) for target in targets for batch in target.batches_left)
            parts = sum(len(target.done.parts_left(target.plan)) for target in targets)
            report(Planned(rows_to_make=rows, num_tasks=parts, num_processes=world.world_size))
        report(Ready())
        started, images = time.perf_counter(), 0
        for target in targets:
            images += Predictor(model, target, world, report, stop).run()
        reason: EndReason = "stopped" if stop.is_set() else "done"
        report(Ended(reason=reason, images=images, seconds=round(time.perf_counter() - started, 3)))


def _open_target(
    options: PredictOptions, url: str, facts: ModelFacts, world: Rank, threads: int, report: Progress
) -> _Target:
    facts, taken = seen_as(options.model, options.split, url, facts)
    labels, notes = map_labels(facts, url, options.split, options.labels_by)
    variants = variants_of(options.corruption, options.severity)
    loading = evaluation_options(
        url,
        split=options.split,
        crop=facts.crop,
        image_size=facts.image_size,
        resize=facts.resize,
        interpolation=facts.interpolation,
        batch_size=decoded_at_once(options.batch_size, len(variants)),
        num_threads=threads,
    )
    # Pixels are changed by the CPU, so there they are decoded.
    device, decoder = (torch.device("cpu"), "cpu") if variants else (world.device, options.decoder)
    batches = DeviceBatches(loading, device, decoder=decoder)
    dataset = open_dataset(url)
    plan, kept = make_plan(options, dataset, facts, labels, num_images=len(batches.loader.table))
    storage = predictions_storage(dataset, plan.name, options.out)
    done = first_claims(world, storage, plan, replace=options.replace)
    if world.rank == 0 and not done.is_committed:
        for note in (*taken, *notes, *kept):
            report(Notice(text=note))
    writer = PredictionWriter(storage, plan)
    return _Target(plan=plan, batches=batches, writer=writer, done=done, num_threads=threads)


def make_plan(
    options: PredictOptions, dataset: Dataset, facts: ModelFacts, labels: Mapping[int, int], *, num_images: int
) -> tuple[PredictionPlan, tuple[str, ...]]:
    """What a run writes for one dataset, and lines for the user on what was decided."""
    variants = variants_of(options.corruption, options.severity)
    num_rows = num_images * max(len(variants), 1)
    all_bytes = num_rows * facts.num_outputs * np.dtype(np.float16).itemsize
    keeps_all = options.logits == "all" if options.logits else all_bytes <= ALL_LOGITS_BYTES
    row_bytes = _ROW_BYTES + (all_bytes // num_rows if keeps_all else 0)
    plan = PredictionPlan(
        name=options.overlay_name,
        model=facts,
        dataset_sha256=digest(dataset.content),
        dataset_num_rows=dataset.commit.num_rows,
        split=options.split,
        num_images=num_images,
        labels_by=options.labels_by,
        labels=tuple(sorted(labels.items())),
        keeps_all=keeps_all,
        batch_size=options.batch_size,
        batches_per_part=batches_per_part(num_rows, options.batch_size, row_bytes),
        variants=variants or (Variant(),),
        has_variants=bool(variants),
        # What was said of corruptions decides on nothing where there are none.
        seed=options.seed if variants else 0,
        clean=options.clean,
        corruption_version=CORRUPTION_VERSION if variants else 0,
    )
    if options.logits is not None:
        return plan, ()
    size = rough_size(all_bytes)
    kept = (
        f"all logits are kept, {size} as float16 (--logits top keeps five)"
        if keeps_all
        else f"the five greatest logits are kept; all of them would be {size} (--logits all)"
    )
    return plan, (f"{dataset.storage.url}: {kept}",)


class Predictor:
    """One process's work on one dataset."""

    def __init__(
        self, model: Classifier, target: _Target, world: Rank, report: Progress, stop: threading.Event
    ) -> None:
        self._model = model.to(world.device).to(memory_format=torch.channels_last)
        self._target, self._plan, self._world = target, target.plan, world
        self._normalize = Normalizer(model.facts.mean, model.facts.std, world.device)
        self._report, self._stop = report, stop
        self._labels = output_of_rows(target.plan, target.batches.loader.table.class_index)
        self._missing: dict[int, set[int]] = {}

    def run(self) -> int:
        """Computes what is missing of this process's parts; returns the number of rows."""
        done, plan = self._target.done, self._plan
        parts = share(done.parts_left(plan), self._world.rank, self._world.world_size)
        self._missing = {part: set(plan.batches_of(part)) - done.batches for part in parts}
        # Killed between its last batch and itself.
        for part in [part for part, missing in self._missing.items() if not missing]:
            self._finish(part)
        batches = sorted(batch for missing in self._missing.values() for batch in missing)
        rows = 0
        with ThreadPoolExecutor(1, "shardtools-predictions") as thread:
            kept: deque[Future[None]] = deque()
            for first, last in neighbors(batches):
                if self._stop.is_set():
                    break
                for images in self._images(first, last):
                    kept.append(thread.submit(self._keep, self._forward(images.images), images))
                    rows += len(images.rows)
                    # So that logits do not gather where the disk is slower than the network; and to hear of an error.
                    if len(kept) > _BATCHES_BESIDE:
                        kept.popleft().result()
            for one in kept:
                one.result()
        return rows

    def _images(self, first: int, last: int) -> Iterator[RowImages]:
        """The images of neighboring batches, until the run is to stop."""
        target, plan = self._target, self._plan
        if plan.has_variants:
            device = self._world.device
            stream = variant_batches(target.batches, plan, first, last, device=device, num_threads=target.num_threads)
        else:
            stream = plain_batches(target.batches, plan, first, last)
        with contextlib.closing(stream):
            for images in stream:
                if self._stop.is_set():
                    return
                yield images

    def _forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits of a full batch, on the device."""
        kind = AUTOCAST[self._model.facts.precision]
        with torch.inference_mode(), torch.autocast(self._world.device.type, dtype=kind, enabled=kind is not None):
            found: torch.Tensor = self._model(self._normalize.one(padded(pixels, self._plan.batch_size)))
        return found

    def _keep(self, logits: torch.Tensor, images: RowImages) -> None:
        """Makes a batch durable; in a thread, for one batch after the other."""
        keys, batch = self._target.batches.loader.table.key_strings(images.rows), images.batch
        for place, reason in images.unread.items():
            # Of all variants of an image the first one tells.
            if place == 0 or images.rows[place] != images.rows[place - 1]:
                self._report(Notice(text=f"no prediction of {keys[place]!r}: {reason}"))
        values: Float32s = logits[: len(keys)].float().cpu().numpy()
        table = prediction_table(
            keys,
            self._labels[images.rows],
            values,
            keep_all=self._plan.keeps_all,
            output_names=self._plan.model.classes,
            variants=images.variants,
            unread=images.unread,
        )
        self._target.writer.add_batch(batch, table)
        self._report(Batch(rows=len(keys)))
        part = batch // self._plan.batches_per_part
        self._missing[part].discard(batch)
        if not self._missing[part]:
            self._finish(part)

    def _finish(self, part: int) -> None:
        self._target.writer.finish_part(part)
        del self._missing[part]
        rows = sum(len(self._plan.rows_of(batch)) for batch in self._plan.batches_of(part))
        self._report(TaskDone(task=part, facts=TaskFacts(rows=rows)))


def _join(options: PredictOptions, world_size: int) -> Rank:
    return join_run(device_type(options.device), options.compute_threads, world_size)


def run_launched(options: PredictOptions, progress: Progress) -> tuple[PredictResult, ...]:
    """One process of a run that torchrun, accelerate or Slurm started.

    Args:
        options: The same in all of them.
        progress: Called with the messages of this one; in the first, at the end, with what the others made.

    Raises:
        ShardtoolsError: See `predictions.predict`.
    """
    stop = stop_on_sigterm()
    world = _join(options, launched_world_size())

    def work(job: PredictOptions, report: Progress) -> None:
        run_rank(job, world, report, stop)

    result = run_as_rank(Prediction(options, progress), world, work, stop)
    world.leave()
    return result


def run_fork(options: PredictOptions, num_ranks: int, report: Progress, stop: threading.Event) -> None:
    """A rank that this package's own launcher forked."""
    run_rank(options, _join(options, num_ranks), report, stop)


if __name__ == "__main__":
    serve(run_fork, lambda options, asked: count_ranks(asked, options.device), grace_seconds=GRACE_SECONDS)
