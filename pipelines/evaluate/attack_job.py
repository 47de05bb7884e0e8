"""Attacks a model with a dataset's images, batch by batch, in one process of many.

    shardtools eval attack lite0 DATASET --attack pgd-seed                        (starts the processes itself)
    torchrun --nproc-per-node 8 -m shardtools eval attack RUN DATASET --attack apgd
    accelerate launch --num_processes 8 -m shardtools eval attack timm:resnet50 DATASET --weights FILE

Hardware: any. Metric: images a second.

Owns the loop over batches that the plan fixes, each written as soon as it is made. All images of a batch are attacked
together and judged once more at the end; the price is that the last of them are attacked in small company.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from shardtools.arrays import Int32s
from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError, PlanMismatchError
from shardtools.evaluation import ModelFacts, ModelOptions
from shardtools.evaluation.attacks import (
    Attacked,
    Attacking,
    AttackOptions,
    AttackPlan,
    AttackResult,
    add_images,
    attack_table,
)
from shardtools.evaluation.predictions import Done, PredictionWriter, batches_per_part, predictions_storage
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
from shardtools.pipelines.batches.on_device import DeviceBatches
from shardtools.pipelines.batches.planned import PlannedImages, evaluation_options, images_from, neighbors, share
from shardtools.pipelines.evaluate.attacks import ATTACKS, Victim, check_inside, distances, prepare, to_bytes
from shardtools.pipelines.evaluate.attacks.contract import succeeds
from shardtools.pipelines.evaluate.attacks.losses import check_outputs
from shardtools.pipelines.evaluate.attacks.pixels import PixelNetwork
from shardtools.pipelines.evaluate.labels import map_labels
from shardtools.pipelines.evaluate.models import Classifier, load_classifier
from shardtools.pipelines.evaluate.targets import first_claims, output_of_rows, seen_as
from shardtools.pipelines.ranks import Rank, count_ranks, device_type, join_run, launched_world_size
from shardtools.storage import Storage

_ROW_BYTES = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Target:
    """The dataset of a run."""

    plan: AttackPlan
    batches: DeviceBatches
    storage: Storage
    done: Done


def run_rank(options: AttackOptions, world: Rank, report: Progress, stop: threading.Event) -> None:
    """Attacks this process's share of the batches; ends after the batch in hand when `stop` is set.

    Raises:
        ShardtoolsError: A model cannot be loaded or does not fit, the storage fails, or a logit is not finite.
    """
    model = load_classifier(options.model)
    # Of a second loss that is found out after hours with the first.
    check_outputs(options.settings(), model.facts.num_outputs)
    source = None
    if options.source is not None:
        source = load_classifier(
            ModelOptions(model=options.source, weights=options.source_weights, precision=options.model.precision)
        )
        _check_same_outputs(source.facts, model.facts)
    target = _open_target(options, model.facts, None if source is None else source.facts, world, report)
    with contextlib.closing(target.batches.loader):
        if world.rank == 0:
            left = target.done.batches_left(target.plan)
            rows = sum(len(target.plan.rows_of(batch)) for batch in left)
            parts = len(target.done.parts_left(target.plan))
            report(Planned(rows_to_make=rows, num_tasks=parts, num_processes=world.world_size))
        report(Ready())
        started = time.perf_counter()
        images = Attacker(model, source, target, world, report, stop).run()
        reason: EndReason = "stopped" if stop.is_set() else "done"
        report(Ended(reason=reason, images=images, seconds=round(time.perf_counter() - started, 3)))


def _check_same_outputs(source: ModelFacts, model: ModelFacts) -> None:
    """An image that is led to an output of one network is judged by the same output of the other.

    Raises:
        PlanMismatchError: They have other outputs.
    """
    known = source.classes is not None and model.classes is not None
    if source.num_outputs != model.num_outputs or (known and source.classes != model.classes):
        raise PlanMismatchError(
            f"--source {source.name} has {source.num_outputs} outputs and MODEL {model.name} {model.num_outputs}, "
            "expected the same classes in the same order: take a source that was trained on the same classes"
        )


def _open_target(
    options: AttackOptions, facts: ModelFacts, source: ModelFacts | None, world: Rank, report: Progress
) -> _Target:
    url, dataset = options.dataset, open_dataset(options.dataset)
    facts, taken = seen_as(options.model, options.split, url, facts)
    labels, notes = map_labels(facts, url, options.split, options.labels_by)
    if not labels:
        raise DatasetError(f"{url} has no labels, and an attack leads away from them: attack a dataset that has some")
    batches = DeviceBatches(
        evaluation_options(
            url,
            split=options.split,
            crop=facts.crop,
            image_size=facts.image_size,
            resize=facts.resize,
            interpolation=facts.interpolation,
            # Of each that is read every `stride`-th is attacked.
            batch_size=options.batch_size * options.stride,
            num_threads=options.threads or max(1, (os.cpu_count() or 1) // ranks_on_this_machine(world.world_size)),
        ),
        world.device,
    )
    num_images = -(-len(batches.loader.table) // options.stride)
    plan = AttackPlan(
        name=options.overlay_name,
        model=facts,
        dataset_sha256=digest(dataset.content),
        dataset_num_rows=dataset.commit.num_rows,
        split=options.split,
        num_images=num_images,
        labels_by=options.labels_by,
        labels=tuple(sorted(labels.items())),
        batch_size=options.batch_size,
        batches_per_part=batches_per_part(num_images, options.batch_size, _ROW_BYTES),
        attack=options.settings(),
        source=source,
        every=options.stride,
        keeps_images=options.out is not None,
    )
    storage = predictions_storage(dataset, plan.name)
    done = first_claims(world, storage, plan, replace=options.replace)
    if world.rank == 0 and not done.is_committed:
        for note in (*taken, *notes):
            report(Notice(text=note))
    return _Target(plan=plan, batches=batches, storage=storage, done=done)


class Attacker:
    """One process's work on one dataset."""

    def __init__(
        self,
        model: Classifier,
        source: Classifier | None,
        target: _Target,
        world: Rank,
        report: Progress,
        stop: threading.Event,
    ) -> None:
        self._judge = Victim(_on(world.device, model))
        self._victim = self._judge if source is None else Victim(_on(world.device, source))
        self._target, self._plan, self._world = target, target.plan, world
        self._attack = ATTACKS[target.plan.attack.attack]
        self._writer = PredictionWriter(target.storage, target.plan)
        self._report, self._stop = report, stop
        self._labels = output_of_rows(target.plan, target.batches.loader.table.class_index)

    def run(self) -> int:
        """Attacks what is missing of this process's parts; returns the number of rows."""
        done, plan, rows = self._target.done, self._plan, 0
        for part in share(done.parts_left(plan), self._world.rank, self._world.world_size):
            missing = sorted(set(plan.batches_of(part)) - done.batches)
            for first, last in neighbors(missing):
                for batch, images in self._images(first, last):
                    rows += self._keep(batch, images)
            if self._stop.is_set():
                break
            self._writer.finish_part(part)
            made = sum(len(plan.rows_of(batch)) for batch in plan.batches_of(part))
            self._report(TaskDone(task=part, facts=TaskFacts(rows=made)))
        return rows

    def _images(self, first: int, last: int) -> Iterator[tuple[int, PlannedImages]]:
        """The images of neighboring batches with those in between, until the run is to stop."""
        stream = images_from(self._target.batches, self._plan.rows_of(first).start * self._plan.every)
        with contextlib.closing(stream):
            for batch, images in zip(range(first, last + 1), stream, strict=False):
                if self._stop.is_set():
                    return
                yield batch, images

    def _keep(self, batch: int, images: PlannedImages) -> int:
        """Attacks a batch and makes its rows durable; returns their number."""
        every = self._plan.every
        rows = np.arange(images.start, images.start + len(images), every)
        keys, labels = self._target.batches.loader.table.key_strings(rows), self._labels[rows]
        reasons = {place // every: why for place, why in images.unread.items() if place % every == 0}
        for place, reason in reasons.items():
            self._report(Notice(text=f"no attack of {keys[place]!r}: {reason}"))
        for place in np.flatnonzero(labels < 0).tolist():
            reasons.setdefault(place, "it has no label that is an output of the model")
        places = np.array([place for place in range(len(keys)) if place not in reasons], np.int64)
        attacked = self._attacked(batch, images.images[::every], places, keys, labels)
        self._writer.add_batch(batch, attack_table(keys, labels, attacked, reasons))
        self._report(Batch(rows=len(keys)))
        return len(keys)

    def _attacked(
        self, batch: int, pixels: torch.Tensor, places: np.typing.NDArray[np.int64], keys: list[str], labels: Int32s
    ) -> Attacked:
        """What becomes of the images at `places`; their pixels are made durable where they are kept."""
        settings, names = self._plan.attack, [keys[place] for place in places.tolist()]
        if not names:
            if self._plan.keeps_images:
                none = np.empty((0, *pixels.shape[2:], 3), np.uint8)
                add_images(self._target.storage, batch, [], none)
            return _nobody(keeps_images=self._plan.keeps_images, aims=settings.target == "random")
        clean = pixels[torch.from_numpy(places).to(pixels.device)]
        images = prepare(self._victim, clean.float().div_(255), labels[places].tolist(), names, settings)
        found = self._attack(self._victim, images, settings)
        check_inside(found.pixels, images.pixels, settings.eps, names)
        linf, l2 = distances(found.pixels, images.pixels)
        logits = self._judge.logits(found.pixels, names)
        before = images.logits if self._victim is self._judge else self._judge.logits(images.pixels, names)
        stored_class = None
        if self._plan.keeps_images:
            stored = to_bytes(found.pixels, clean, settings.eps)
            check_inside(stored.float().div_(255), images.pixels, settings.eps + _LEVEL_ERROR, names)
            stored_class = _integers(self._judge.logits(stored.float().div_(255), names).argmax(1))
            add_images(self._target.storage, batch, names, stored.permute(0, 2, 3, 1).cpu().numpy())
        return Attacked(
            places=places,
            target=_integers(images.targets) if settings.target == "random" else None,
            clean_class=_integers(before.argmax(1)),
            attacked_class=_integers(logits.argmax(1)),
            success=succeeds(logits, images, settings).cpu().numpy(),
            steps=_integers(found.steps),
            linf=linf.cpu().numpy(),
            l2=l2.cpu().numpy(),
            confidence=logits.softmax(1).amax(1).cpu().numpy(),
            stored_class=stored_class,
        )


_LEVEL_ERROR = 1e-7
"""That 1/255 is no float32: what a level is off."""


def _on(device: torch.device, classifier: Classifier) -> PixelNetwork:
    return PixelNetwork(classifier).to(device).to(memory_format=torch.channels_last)


def _integers(values: torch.Tensor) -> Int32s:
    found: Int32s = values.to(torch.int32).cpu().numpy()
    return found


def _nobody(*, keeps_images: bool, aims: bool) -> Attacked:
    """Of a batch in which no image can be attacked."""
    none, real = np.empty(0, np.int32), np.empty(0, np.float64)
    return Attacked(
        places=np.empty(0, np.int64),
        target=none if aims else None,
        clean_class=none,
        attacked_class=none,
        success=np.empty(0, np.bool_),
        steps=none,
        linf=real,
        l2=real,
        confidence=np.empty(0, np.float32),
        stored_class=none if keeps_images else None,
    )


def _join(options: AttackOptions, world_size: int) -> Rank:
    return join_run(device_type(options.device), options.compute_threads, world_size)


def run_launched(options: AttackOptions, progress: Progress) -> AttackResult:
    """One process of a run that torchrun, accelerate or Slurm started.

    Args:
        options: The same in all of them.
        progress: Called with the messages of this one; in the first, at the end, with what the others made.

    Raises:
        ShardtoolsError: See `attacks.attack`.
    """
    stop = stop_on_sigterm()
    world = _join(options, launched_world_size())

    def work(job: AttackOptions, report: Progress) -> None:
        run_rank(job, world, report, stop)

    result = run_as_rank(Attacking(options, progress), world, work, stop)
    world.leave()
    return result


def run_fork(options: AttackOptions, num_ranks: int, report: Progress, stop: threading.Event) -> None:
    """A rank that this package's own launcher forked."""
    run_rank(options, _join(options, num_ranks), report, stop)


if __name__ == "__main__":
    serve(run_fork, lambda options, asked: count_ranks(asked, options.device), grace_seconds=GRACE_SECONDS)
