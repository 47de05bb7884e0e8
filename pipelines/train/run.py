"""A training run in one process, from its options to its last file.

Owns what is put together and in which order: data, model, optimiser, checkpoint, epochs, evaluations, final weights.
The processes of a run do the same and differ in their share of each batch; the first one writes.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object
from safetensors import SafetensorError
from torch import nn
from torch.distributed import ProcessGroup

from shardtools.arrays import Float64s
from shardtools.errors import OptionError, RunError
from shardtools.execution import EndReason, Notice, Progress
from shardtools.pipelines.batches.on_device import DeviceBatches, Normalizer
from shardtools.pipelines.encoders.trained import initial_weights
from shardtools.pipelines.train.augment import Augmenter
from shardtools.pipelines.train.checkpoint import (
    Checkpoint,
    newest_checkpoint,
    not_written,
    save_tensors,
    sync_folder,
)
from shardtools.pipelines.train.evaluate import Evaluation, Split, evaluate
from shardtools.pipelines.train.heads import fill_head
from shardtools.pipelines.train.loop import Parts, Trainer
from shardtools.pipelines.train.measures import check_measurable
from shardtools.pipelines.train.models import Classifier, build_classifier, make_optimizer
from shardtools.pipelines.train.selection import Kept, Selection
from shardtools.pipelines.train.sync_batch_norm import convert_sync_batch_norm
from shardtools.pipelines.train.watch import Watch
from shardtools.training import ClassPlan, TrainOptions, plan_classes
from shardtools.training.data import Share, check_labels, evaluation_loader, training_loader
from shardtools.training.messages import TrainingEnded, TrainingReady
from shardtools.training.records import RecordsOverlay
from shardtools.training.run_file import MODEL_FILE
from shardtools.training.schedule import LearningRate
from shardtools.training.sets import class_sets

CLASSES_FILE = "classes.json"
_MIXED_PRECISION = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
_PATIENCE = timedelta(days=7)
"""A process may wait for another that reads from a store which is away."""


class Run:
    """One process's part of a run. `train` once, then `close`."""

    def __init__(
        self, options: TrainOptions, share: Share, device: torch.device, report: Progress, stop: threading.Event
    ) -> None:
        """Reads the tables of samples, builds the model and goes back to the newest checkpoint.

        Args:
            options: What to train.
            share: Of this process.
            device: Where the model is.
            report: Takes the messages of the launcher.
            stop: Set when the run is to end after the step in hand.

        Raises:
            ShardtoolsError: Data or options are at fault, or the checkpoint is of another run.
        """
        if options.recipe.precision == "fp16" and device.type == "cpu":
            raise OptionError(
                "precision fp16 needs a GPU, found device cpu: take --set precision=fp32, or --set precision=bf16"
            )
        self._options, self._device, self._report = options, device, report
        self._started = time.perf_counter()
        self._records: RecordsOverlay | None = None
        run = Path(options.out)
        run.mkdir(parents=True, exist_ok=True)
        plan = plan_classes(options)
        classes = {number: str(name) for number, name in sorted(plan.names.items())}
        num_classes = max(classes, default=-1) + 1
        self._batches = DeviceBatches(training_loader(options, share, plan), device, decoder=options.decoder)
        self._sets = self._read_labels(self._batches, num_classes, ", ".join(options.datasets))
        self._val = self._open_split(options.val_split, share, plan) if options.val is not None else None
        self._test = self._open_split(options.test_split, share, plan) if options.test_split is not None else None
        self._normalize = Normalizer(options.recipe.mean_by_color, options.recipe.std_by_color, device)
        steps_per_epoch = len(self._batches.loader)
        weights = None if options.init is None else initial_weights(options.recipe.encoder, options.init)
        model = build_classifier(options.recipe, num_classes, seed=options.seed, weights=weights)
        if options.init_head is not None:
            fill_head(model, plan.names, options.init_head)
        # Of what a network drops at random, in each process its own.
        torch.manual_seed(options.seed * 65_536 + share.rank)
        checkpoint = newest_checkpoint(run, options.result())
        _check_same_start(share, checkpoint, run)
        watch = Watch(
            options,
            report,
            is_main=share.rank == 0,
            world_size=share.world_size,
            first_step=checkpoint.step if checkpoint else 0,
            steps_per_epoch=steps_per_epoch,
        )
        self._trainer = Trainer(self._parts(model, steps_per_epoch, watch, stop))
        if checkpoint is not None:
            self._trainer.restore(checkpoint)
        self._watch, self._is_main, self._classes = watch, share.rank == 0, classes
        watch.ready(self._facts(steps_per_epoch, num_classes, share, checkpoint))
        for note in plan.notes if self._is_main else ():
            report(Notice(text=note))

    def _facts(
        self, steps_per_epoch: int, num_classes: int, share: Share, checkpoint: Checkpoint | None
    ) -> TrainingReady:
        return TrainingReady(
            steps_per_epoch=steps_per_epoch,
            epochs=self._options.recipe.epochs,
            first_step=self._trainer.step,
            images_per_step=self._options.recipe.batch_size,
            num_processes=share.world_size,
            classes=num_classes,
            samples=len(self._batches.loader.table),
            resumed_from=checkpoint.step if checkpoint else None,
            decoder=self._batches.decoder,
            device=str(self._device),
        )

    def _open_split(self, split: str, share: Share, plan: ClassPlan) -> Split:
        options, num_classes = self._options, max(plan.names) + 1
        where = f"{split} of {options.val}"
        found = DeviceBatches(evaluation_loader(options, share, plan, split), self._device, decoder=options.decoder)
        sets = self._read_labels(found, num_classes, where)
        labels = np.asarray(found.loader.table.class_index, np.int64)
        has = None if sets is None else sets.numpy() > 0
        check_measurable(options.metric, labels, has, num_classes, where=where)
        return Split(name=where, batches=found, num_classes=num_classes, sets=sets)

    def _read_labels(self, batches: DeviceBatches, num_classes: int, what: str) -> torch.Tensor | None:
        """The sets of classes of each row of a loader's table; `None` where each has one label, which is checked."""
        if self._options.recipe.head == "sigmoid":
            return torch.from_numpy(class_sets(batches.loader.table, num_classes, what))
        check_labels(batches.loader.table, num_classes, what)
        return None

    def _parts(self, model: Classifier, steps_per_epoch: int, watch: Watch, stop: threading.Event) -> Parts:
        options, recipe = self._options, self._options.recipe
        accelerator = Accelerator(
            mixed_precision=_MIXED_PRECISION[recipe.precision],
            cpu=self._device.type == "cpu",
            # Running statistics are shared by synchronised batch norms, and memories of class means are alike anyway.
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        is_alone = accelerator.num_processes == 1
        if recipe.sync_batch_norm and not is_alone:
            model = convert_sync_batch_norm(model, self._device.type)
        model = model.to(self._device)
        if options.channels_last:
            model = model.to(memory_format=torch.channels_last)
        wrapped, optimizer = accelerator.prepare(model, make_optimizer(model, recipe))
        return Parts(
            options=options,
            accelerator=accelerator,
            classifier=model,
            model=cast(nn.Module, torch.compile(wrapped)) if options.compile else wrapped,
            optimizer=optimizer,
            schedule=LearningRate.of(recipe, steps_per_epoch),
            batches=self._batches,
            normalize=self._normalize,
            augment=Augmenter(recipe, options.seed),
            watch=watch,
            selection=Selection(options),
            stop=stop,
            cpu_group=None if is_alone else _group_of_cpus(),
            sets=self._sets,
        )

    def train(self) -> None:
        """The epochs that are left; evaluations, checkpoints, and the weights at the end."""
        options, trainer = self._options, self._trainer
        first_images = trainer.images
        epochs = options.recipe.epochs
        epoch = self._batches.next_epoch
        while epoch < epochs:
            if not trainer.train_epoch(epoch):
                trainer.checkpoint()
                self._end("stopped", epoch, first_images)
                return
            # Before the checkpoint, which is of the next epoch already: a run that resumes from it does not evaluate
            # again. Killed in between, it goes back to an earlier one, and the metrics with it.
            self._after_epoch(epoch)
            epoch += 1
            trainer.checkpoint()
            # After the last epoch only the weights are left to write.
            if epoch < epochs and trainer.is_to_stop():
                self._end("stopped", epoch, first_images)
                return
        self._finish()
        self._end("done", epochs, first_images)

    def _after_epoch(self, epoch: int) -> None:
        options, trainer = self._options, self._trainer
        is_last = epoch + 1 == options.recipe.epochs
        if self._val is not None and (is_last or (epoch + 1) % options.val_every == 0):
            if trainer.parts.cpu_group is not None and not options.recipe.sync_batch_norm:
                # Each process has running statistics of its own; those of the first one are kept.
                for buffer in trainer.parts.classifier.buffers():
                    torch.distributed.broadcast(buffer, 0)
            found = self._evaluate(self._val)
            self._watch.evaluation(trainer.step, found.named("val"))
            trainer.parts.selection.consider(trainer.parts.classifier, found, epoch=epoch + 1, step=trainer.step)
        if options.record and self._is_main:
            self._overlay(epoch).add(epoch, trainer.records)
        trainer.records.clear()
        self._watch.restart_clock()

    def _evaluate(self, split: Split, thresholds: Float64s | None = None) -> Evaluation:
        parts = self._trainer.parts
        return evaluate(
            parts.classifier,
            split,
            self._normalize,
            parts.accelerator.autocast(),
            self._device,
            metric=self._options.metric,
            thresholds=thresholds,
            group=parts.cpu_group,
        )

    def _finish(self) -> None:
        """The weights that are kept, tested where that was asked for, and written."""
        options, parts, kept = self._options, self._trainer.parts, self._trainer.parts.selection.kept
        parts.classifier.load_state_dict(parts.selection.weights_now(parts.classifier))
        values: dict[str, float] = {} if kept is None else dict(kept.values)
        if self._test is not None:
            # Thresholds are those of the evaluation: a test decides on nothing.
            values |= self._evaluate(self._test, None if kept is None else kept.limits()).named("test")
        self._write_model(kept)
        if kept is not None and (options.select == "best" or self._test is not None):
            self._watch.selected(self._trainer.step, kept.epoch, values)

    def _overlay(self, epoch: int) -> RecordsOverlay:
        """Where notes go, opened with the first epoch that this run ends."""
        if self._records is None:
            options = self._options
            table = self._batches.loader.table
            self._records = RecordsOverlay(Path(options.out), table, options.result(), num_epochs=epoch)
        return self._records

    def _write_model(self, kept: Kept | None) -> None:
        """The weights, and what their outputs stand for."""
        if not self._is_main:
            return
        run = Path(self._options.out)
        partial = run / f".{MODEL_FILE}.partial"
        facts = {"classes": self._classes, "loader": self._batches.loader.facts(), "versions": _versions()}
        if kept is not None:
            facts["kept"] = kept.facts()
        try:
            save_tensors(self._trainer.parts.classifier.state_dict(), partial)
            # As other files are: safetensors makes it the owner's alone.
            partial.chmod(0o644)
            (run / CLASSES_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
            # Last: where there are weights, there is also what their outputs stand for.
            os.replace(partial, run / MODEL_FILE)
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            raise not_written(str(run / MODEL_FILE), error) from None
        sync_folder(run)

    def _end(self, reason: EndReason, epochs: int, first_images: int) -> None:
        if self._is_main:
            self._report(
                TrainingEnded(
                    reason=reason,
                    epochs=epochs,
                    steps=self._trainer.step,
                    images=self._trainer.images - first_images,
                    seconds=round(time.perf_counter() - self._started, 3),
                )
            )

    def close(self) -> None:
        """Ends reading and writing."""
        if self._records is not None:
            self._records.close()
        self._watch.close()
        self._batches.loader.close()
        for split in (self._val, self._test):
            if split is not None:
                split.batches.loader.close()


def _check_same_start(share: Share, checkpoint: Checkpoint | None, run: Path) -> None:
    """That all processes go on from the same step: machines may see different folders under one name.

    Raises:
        RunError: They do not.
    """
    if share.world_size == 1:
        return
    steps = gather_object([None if checkpoint is None else checkpoint.step])
    other = next((rank for rank, step in enumerate(steps) if step != steps[0]), None)
    if other is not None:
        words = ["no checkpoint" if steps[rank] is None else f"step {steps[rank]}" for rank in (0, other)]
        raise RunError(
            f"{run}: process 0 finds {words[0]} and process {other} {words[1]}: the run's folder lies on a disk that "
            "all machines of the run share"
        )


def _group_of_cpus() -> ProcessGroup:
    return cast(ProcessGroup, torch.distributed.new_group(backend="gloo", timeout=_PATIENCE))


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names: Sequence[str] = ("shardtools", "torch", "torchvision", "accelerate", "numpy")
    return {name: version(name) for name in names}
