"""The training loop of one process: batches in, optimiser steps out, and everything that must survive a kill.

Owns the order within a step (forward and backward passes, the memory of class means, clipping, the optimiser), what is
noted of it, and what a checkpoint holds. The loop is the same on one CPU core and on many GPUs; the price is one number
that all processes exchange a step, so that they stop after the same one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from shardtools.errors import RunError
from shardtools.pipelines.batches.on_device import DeviceBatches, DeviceImages, Normalizer
from shardtools.pipelines.train.augment import Augmenter
from shardtools.pipelines.train.checkpoint import (
    Checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    save_checkpoint,
)
from shardtools.pipelines.train.losses import LossWatch, sample_losses
from shardtools.pipelines.train.mixing import Mixing, draw_mixing, mixed_losses
from shardtools.pipelines.train.models import Classifier, crop_labels, num_crops
from shardtools.pipelines.train.ocm import OnlineClassMeans
from shardtools.pipelines.train.selection import Selection
from shardtools.pipelines.train.watch import Watch
from shardtools.training import TrainOptions
from shardtools.training.records import Records
from shardtools.training.schedule import LearningRate

RECORDS_FILE = "records.parquet"


@dataclass(slots=True, kw_only=True)
class Parts:
    """What a trainer is put together from.

    Attributes:
        options: What was asked for.
        accelerator: Precision, gradients over processes.
        classifier: The model as it is.
        model: The same, wrapped for processes and compiled where asked.
        optimizer: Wrapped by the accelerator.
        schedule: Step -> learning rate.
        batches: Of this process.
        normalize: Pixels -> what the model sees.
        augment: What is done to pixels behind the loader.
        watch: Metrics.
        selection: Which weights are kept.
        stop: Set when the run was asked to stop.
        cpu_group: The processes, over their CPUs; `None` for one process.
        sets: uint8 [rows, C], 1 where a row of the loader's table has a class; `None` for one label a sample.
    """

    options: TrainOptions
    accelerator: Accelerator
    classifier: Classifier
    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LearningRate
    batches: DeviceBatches
    normalize: Normalizer
    augment: Augmenter
    watch: Watch
    selection: Selection
    stop: threading.Event
    cpu_group: torch.distributed.ProcessGroup | None
    sets: torch.Tensor | None = None

    def targets(self, batch: DeviceImages) -> torch.Tensor:
        """What the images of a batch are: labels, int64 [N], or sets of classes, float32 [N, C]."""
        return batch.labels if self.sets is None else self.sets[batch.rows].to(batch.labels.device).float()


@dataclass(slots=True)
class Trainer:
    """Steps and checkpoints of one process.

    Attributes:
        parts: See there.
        step: Optimiser steps done.
        images: Training images seen by all processes.
        records: Notes of this epoch, complete in the first process only.
    """

    parts: Parts
    step: int = 0
    images: int = 0
    records: Records = field(default_factory=Records)
    _losses: LossWatch = field(default_factory=LossWatch)
    _notes: list[torch.Tensor] = field(default_factory=list)

    def train_epoch(self, epoch: int) -> bool:
        """The steps of an epoch, or of the rest of it.

        Returns:
            Whether all were done; false where the run was asked to stop.

        Raises:
            RunError: A loss is not a number.
        """
        options, watch = self.parts.options, self.parts.watch
        self.parts.model.train()
        waiting_since = time.perf_counter()
        for batch in self.parts.batches.epoch(epoch):
            waited = time.perf_counter() - waiting_since
            self.parts.augment(batch.images, epoch, self.parts.batches.loader.table.key_hash[batch.rows])
            self._take_step(batch)
            waiting_since = time.perf_counter()
            rate = self.parts.schedule(self.step - 1)
            watch.after_step(self.step, loss=self._losses.latest, lr=rate, num_images=len(batch.rows), waited=waited)
            for line in batch.replaced:
                watch.notice(line)
            if self.step % options.log_steps == 0:
                self._log()
            if self.parts.batches.is_epoch_over:
                # Its evaluation and its notes belong to it: whoever resumes from here must not do them again.
                del batch
                continue
            # All processes meet here after every step, so none may leave on its own.
            if self.is_to_stop():
                return False
            if options.checkpoint_steps is not None and self.step % options.checkpoint_steps == 0:
                self.checkpoint()
            del batch
        self._log()
        return True

    def _take_step(self, batch: DeviceImages) -> None:
        parts = self.parts
        for group in parts.optimizer.param_groups:
            group["lr"] = parts.schedule(self.step)
        num_passes = parts.options.accumulation
        mixing = draw_mixing(parts.options.recipe, parts.options.seed, self.step)
        total = torch.zeros((), device=batch.labels.device)
        for number in range(num_passes):
            is_last = number == num_passes - 1
            with contextlib.nullcontext() if is_last else parts.accelerator.no_sync(parts.model):
                total += self._pass(_part_of(batch, number, num_passes), mixing) / num_passes
        # Before the weights change: on a CPU a bad loss is found here, on a GPU two steps later.
        self._losses.add(self.step, batch.keys, total)
        if isinstance(parts.classifier.head, OnlineClassMeans):
            # As the released code does: after the logits were made, before the optimiser's step.
            images = batch.images[0][:, 0] if isinstance(batch.images, list) else batch.images
            with parts.accelerator.autocast():
                parts.classifier.head.update(parts.classifier, parts.normalize.one(images), batch.labels)
        if parts.options.recipe.clip_norm is not None:
            parts.accelerator.clip_grad_norm_(parts.model.parameters(), parts.options.recipe.clip_norm)
        parts.optimizer.step()
        parts.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.images += len(batch.rows) * parts.accelerator.num_processes

    def _pass(self, batch: DeviceImages, mixing: Mixing | None) -> torch.Tensor:
        """Forward and backward; the mean loss of the images."""
        parts = self.parts
        with parts.accelerator.autocast():
            images, share = parts.normalize(batch.images), 1.0
            if mixing is not None and isinstance(images, torch.Tensor):
                images, share = mixing.images(images)
            logits = parts.model(images)

        def losses_of(targets: torch.Tensor) -> torch.Tensor:
            """The loss of each image, the mean of its crops."""
            smoothing = parts.options.recipe.label_smoothing
            of_crops = crop_labels(targets, batch.images)
            losses = sample_losses(logits, of_crops, is_sets=parts.sets is not None, smoothing=smoothing)
            return losses.view(num_crops(batch.images), -1).mean(0)

        # With "sampling" the order has spent them.
        weights = batch.weights if parts.options.weighted == "loss" else None
        if mixing is not None:
            by_image = mixed_losses(losses_of, parts.targets(batch), weights, share)
            loss = by_image.mean()
        else:
            by_image = losses_of(parts.targets(batch))
            loss = by_image.mean() if weights is None else (by_image * weights).mean()
        parts.accelerator.backward(loss / parts.options.accumulation)
        if parts.options.record:
            self._note(batch, logits.detach().float()[: len(batch.rows)], by_image.detach())
        return loss.detach()

    def _note(self, batch: DeviceImages, logits: torch.Tensor, losses: torch.Tensor) -> None:
        """Keeps what the first crop's logits say, on the device until it is fetched."""
        label = batch.labels[:, None]
        own = logits.gather(1, label)[:, 0]
        others = logits.scatter(1, label, -torch.inf).amax(1)
        rows = torch.from_numpy(batch.rows).to(losses.device)
        step = torch.full_like(rows, self.step)
        columns = (rows, step, batch.labels, logits.argmax(1), losses, own - others)
        self._notes.append(torch.stack([column.double() for column in columns], 1))

    def _fetch_notes(self) -> None:
        """Gathers the notes of all processes in the first one."""
        if not self._notes:
            return
        notes = self.parts.accelerator.gather(torch.cat(self._notes)).cpu().numpy()
        self._notes.clear()
        if self.parts.accelerator.is_main_process:
            names = ("row", "step", "label", "predicted", "loss", "margin")
            self.records.add(**{name: notes[:, column] for column, name in enumerate(names)})

    def _log(self) -> None:
        total, count = self._losses.take_sum()
        if not count:
            return
        sums = torch.tensor([total, count], dtype=torch.float64, device=self.parts.accelerator.device)
        if self.parts.accelerator.num_processes > 1:
            torch.distributed.all_reduce(sums)
        total, count = sums.tolist()
        self.parts.watch.log_step(self.step, loss=total / count)
        self._fetch_notes()

    def is_to_stop(self) -> bool:
        """Whether any process was asked to stop; all processes call it after the same step."""
        if self.parts.accelerator.num_processes == 1:
            return self.parts.stop.is_set()
        # Over the CPUs: asking a GPU would wait for its work.
        wish = torch.tensor(float(self.parts.stop.is_set()))
        torch.distributed.all_reduce(wish, group=self.parts.cpu_group)
        return bool(wish.item())

    def checkpoint(self) -> None:
        """Writes a checkpoint; all processes call it after the same step.

        Raises:
            RunError: A loss or a weight is not a number.
            NoSpaceError: The disk is full.
        """
        # This checkpoint pushes out an older one, so what would poison it is looked for first.
        self._losses.look_at_all()
        self._check_weights()
        self._fetch_notes()
        accelerator, options = self.parts.accelerator, self.parts.options
        states: list[str | None] = [None] * accelerator.num_processes
        own = torch.get_rng_state().numpy().tobytes().hex()
        if accelerator.num_processes > 1:
            torch.distributed.all_gather_object(states, own)
        else:
            states = [own]
        kept = self.parts.selection.kept
        if accelerator.is_main_process:
            save_checkpoint(
                Path(options.out),
                Checkpoint(
                    step=self.step,
                    images=self.images,
                    model=self.parts.classifier.state_dict(),
                    optimizer=optimizer_tensors(self.parts.optimizer),
                    loader=self.parts.batches.state_dict(),
                    settings=options.result(),
                    random_states=[state for state in states if state is not None],
                    scaler=accelerator.scaler.state_dict() if accelerator.scaler is not None else {},
                    kept=None if kept is None else kept.facts(),
                    kept_model={} if kept is None or kept.step == self.step else kept.weights,
                ),
                keep=options.keep_checkpoints,
                extra=self._save_records if options.record else None,
            )
        self.parts.watch.checkpoint(self.step)
        accelerator.wait_for_everyone()

    def _check_weights(self) -> None:
        """A loss that is a number can have a gradient that is none: found before it replaces a good checkpoint."""
        parameters = [one.detach() for one in self.parts.classifier.parameters()]
        if not torch.stack([one.isfinite().all() for one in parameters]).all():
            raise RunError(
                f"weights after step {self.step} are not numbers; the checkpoint before it is kept: lower base_lr, "
                "lengthen warmup_epochs or set clip_norm"
            )

    def _save_records(self, folder: Path) -> None:
        self.records.save(folder / RECORDS_FILE)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from a checkpoint, also one of another number of processes."""
        accelerator = self.parts.accelerator
        # First: data that has changed says so better than weights that do not fit its classes.
        self.parts.batches.load_state_dict(checkpoint.loader)
        self.parts.classifier.load_state_dict(checkpoint.model)
        load_optimizer_tensors(self.parts.optimizer, checkpoint.optimizer)
        if checkpoint.scaler and accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(checkpoint.scaler)
        # With another number of processes there is no state for each; what a network drops at random then differs.
        if len(checkpoint.random_states) == accelerator.num_processes:
            state = bytearray.fromhex(checkpoint.random_states[accelerator.process_index])
            torch.set_rng_state(torch.frombuffer(state, dtype=torch.uint8).clone())
        if self.parts.options.record and accelerator.is_main_process and checkpoint.path is not None:
            self._load_records(checkpoint.path / RECORDS_FILE)
        self.parts.selection.restore(checkpoint)
        self.step, self.images = checkpoint.step, checkpoint.images

    def _load_records(self, path: Path) -> None:
        if path.exists():
            self.records.load(path)
        # Only in the middle of an epoch is anything lost.
        elif self.parts.batches.loader.state().num_delivered:
            self.parts.watch.notice("no notes were taken of this epoch so far: its records begin here")


def _part_of(batch: DeviceImages, number: int, count: int) -> DeviceImages:
    """One of `count` equal parts of a batch."""
    if count == 1:
        return batch
    size = len(batch.rows) // count
    part = slice(number * size, (number + 1) * size)
    images = [views[part] for views in batch.images] if isinstance(batch.images, list) else batch.images[part]
    return DeviceImages(
        images=images,
        labels=batch.labels[part],
        weights=None if batch.weights is None else batch.weights[part],
        keys=batch.keys[part],
        rows=batch.rows[part],
        replaced=(),
    )
