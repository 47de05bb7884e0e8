"""What a classifier reaches on a whole split, shared among the processes.

Owns the pass over the images and what is kept of the logits: sums alone for loss and top-1, an answer or the scores of
each sample for a metric of all of them together. The price of such a metric: every process gets what all have found, so
that all of them decide alike which epoch was the best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from shardtools.arrays import Float64s
from shardtools.pipelines.batches.on_device import DeviceBatches, DeviceImages, Normalizer
from shardtools.pipelines.train.losses import sample_losses
from shardtools.pipelines.train.measures import kept_of, measure_answers, measure_sets

_TOP = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What was found.

    Attributes:
        values: "loss" (mean over the samples), "images"; of one label a sample "top1" and "top5" in percent (5 of fewer
            classes: 100); and the metric that was asked for by its name, as a part of one.
        thresholds: The score that makes each class an answer, [C], where samples have sets of classes.
    """

    values: dict[str, float]
    thresholds: Float64s | None = None

    def named(self, prefix: str) -> dict[str, float]:
        """The values by the names that metrics have in files: "val_top1"."""
        return {f"{prefix}_{name}": value for name, value in self.values.items()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """A split to evaluate on.

    Attributes:
        name: In messages: "val of photos".
        batches: Of this process, with `last="short"`.
        num_classes: C, outputs of the classifier.
        sets: bool [rows, C], the classes of each row of the loader's table; `None` for one label a sample.
    """

    name: str
    batches: DeviceBatches
    num_classes: int
    sets: torch.Tensor | None = None

    def targets(self, batch: DeviceImages) -> torch.Tensor:
        """What the images of a batch are: labels, int64 [N], or sets of classes, float32 [N, C]."""
        return batch.labels if self.sets is None else self.sets[batch.rows].to(batch.labels.device).float()


def evaluate(
    model: nn.Module,
    split: Split,
    normalize: Normalizer,
    autocast: torch.autocast,
    device: torch.device,
    *,
    metric: str,
    thresholds: Float64s | None = None,
    group: torch.distributed.ProcessGroup | None = None,
) -> Evaluation:
    """One pass over the samples of all processes; every sample counts once.

    Args:
        model: Images to logits; put into evaluation mode for the pass and back.
        split: What to read.
        normalize: See `Normalizer`.
        autocast: Precision of the forward pass.
        device: Of the model.
        metric: One of `VAL_METRICS`.
        thresholds: Of another split, where samples have sets of classes; `None` tunes them on this one.
        group: The processes over their CPUs; `None` for one process.

    Raises:
        OptionError: The metric has no value on this split.
    """
    sums = torch.zeros(4, dtype=torch.float64, device=device)
    given: list[np.ndarray] = []
    found: list[np.ndarray] = []
    was_training = model.training
    model.eval()
    with torch.inference_mode(), autocast:
        for batch in split.batches.epoch(0):
            # The last step may leave this process nothing.
            if not len(batch.rows):
                continue
            logits = model(normalize(batch.images)).float()
            targets = split.targets(batch)
            sums += torch.stack(_counts(logits, targets, is_sets=split.sets is not None))
            if split.sets is not None or metric != "top1":
                given.append(targets.cpu().numpy())
                found.append(kept_of(metric, logits, is_sets=split.sets is not None).cpu().numpy())
    model.train(was_training)
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(sums)
    loss, top1, top5, count = sums.tolist()
    values = {"loss": loss / count, "images": count}
    if split.sets is None:
        values = {"top1": 100 * top1 / count, "top5": 100 * top5 / count, **values}
        if metric != "top1":
            labels, kept = _of_all(given, group), _of_all(found, group)
            values[metric] = measure_answers(metric, labels, kept, split.num_classes, where=split.name)
        return Evaluation(values=values)
    sets, scores = _of_all(given, group) > 0, _of_all(found, group)
    more, thresholds = measure_sets(metric, sets, scores, thresholds, where=split.name)
    return Evaluation(values={**values, **more}, thresholds=thresholds)


def _of_all(parts: list[np.ndarray], group: torch.distributed.ProcessGroup | None) -> np.ndarray:
    """The rows of all processes, in the order of ranks."""
    own = np.concatenate(parts) if parts else None
    everyone: list[np.ndarray | None] = [own]
    if group is not None:
        everyone = [None] * torch.distributed.get_world_size(group)
        torch.distributed.all_gather_object(everyone, own, group=group)
    return np.concatenate([rows for rows in everyone if rows is not None])


def _counts(logits: torch.Tensor, targets: torch.Tensor, *, is_sets: bool) -> list[torch.Tensor]:
    """Sum of the losses, samples right at once and among five (none of sets), samples."""
    loss = sample_losses(logits, targets, is_sets=is_sets).sum()
    top1 = top5 = torch.zeros((), device=logits.device)
    if not is_sets:
        best = logits.topk(min(_TOP, logits.shape[1])).indices == targets[:, None]
        top1, top5 = best[:, 0].sum(), best.sum()
    return [value.double() for value in (loss, top1, top5, torch.tensor(len(targets), device=logits.device))]
