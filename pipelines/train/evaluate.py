"""Accuracy and loss of a classifier on a whole split, shared among the processes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from shardtools.pipelines.batches.on_device import DeviceBatches, Normalizer

_TOP = 5


def evaluate(
    model: nn.Module, batches: DeviceBatches, normalize: Normalizer, autocast: torch.autocast, device: torch.device
) -> dict[str, float]:
    """One pass over the samples of all processes; every sample counts once.

    Args:
        model: Images to logits; put into evaluation mode for the pass and back.
        batches: Of this process, with `last="short"`.
        normalize: See `Normalizer`.
        autocast: Precision of the forward pass.
        device: Of the model.

    Returns:
        "val_top1" and "val_top5" in percent (5 of fewer classes: 100), "val_loss" (mean cross entropy), "val_images".
    """
    sums = torch.zeros(4, dtype=torch.float64, device=device)
    was_training = model.training
    model.eval()
    with torch.inference_mode(), autocast:
        for batch in batches.epoch(0):
            # The last step may leave this process nothing.
            if len(batch.rows):
                logits = model(normalize(batch.images)).float()
                sums += torch.stack(_counts(logits, batch.labels))
    model.train(was_training)
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(sums)
    loss, top1, top5, count = sums.tolist()
    return {
        "val_top1": 100 * top1 / count,
        "val_top5": 100 * top5 / count,
        "val_loss": loss / count,
        "val_images": count,
    }


def _counts(logits: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
    best = logits.topk(min(_TOP, logits.shape[1])).indices == labels[:, None]
    loss = functional.cross_entropy(logits, labels, reduction="sum")
    return [
        value.double()
        for value in (loss, best[:, 0].sum(), best.sum(), torch.tensor(len(labels), device=logits.device))
    ]
