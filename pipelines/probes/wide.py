"""Linear classifiers of many settings, trained together: one wide matrix product instead of many narrow ones.

Owns the protocol of ImageNet-CoG's logistic regression (Sariyildiz et al., "Concept Generalization in Visual
Representation Learning", 2021, section 4 and its published program): cross-entropy, momentum, decay on weight and bias,
batches of 1,024 with a short last one, a new permutation an epoch, the rate on a cosine that is set at the end of each
epoch. All trials of a call share the first weights and the permutations, which the seed settles, and differ in rate and
decay; what comes out is what each would have come to alone, but for rounding. Nothing is evaluated on the way.

The price: trials of a call take as long as the longest, and their coefficients lie in memory together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from shardtools.arrays import Bools, Float32s, Float64s, Int64s
from shardtools.errors import OptionError
from shardtools.evaluation.probes import EPOCHS, PRECISIONS
from shardtools.pipelines.probes.coefficients import Coefficients, Settings, form_for
from shardtools.pipelines.probes.rows import Features, Rows, index_tensor

BATCH_SIZE = 1024
MOMENTUM = 0.9

_LOGITS_AT_A_TIME = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WideResult:
    """T trained classifiers, on the device that they were trained on.

    Attributes:
        weights: [T, C, D].
        biases: [T, C].
        diverged: Whether the loss was no longer finite, bool [T]; such a trial has learnt nothing.
        normalize: Whether rows are divided by their l2 norm before they are multiplied.
    """

    weights: torch.Tensor
    biases: torch.Tensor
    diverged: Bools
    normalize: bool

    def logits(self, features: Features) -> Float32s:
        """Of every trial, float32 [T, N, C], of features [N, D]."""
        found = [block.permute(1, 0, 2).to("cpu", torch.float32).numpy() for _, block in self._blocks(features)]
        return np.concatenate(found, axis=1)

    def predictions(self, features: Features) -> Int64s:
        """The likeliest class by every trial, int64 [T, N]; of equal ones the lower."""
        return np.concatenate([block.argmax(dim=2).T.cpu().numpy() for _, block in self._blocks(features)], axis=1)

    def accuracies(self, features: Features, labels: Int64s) -> Float64s:
        """Share of rows whose likeliest class is their label, [T]; 0 of a trial that diverged."""
        if len(labels) != len(features):
            raise OptionError(f"expected a label for each of {len(features)} features, found {len(labels)}")
        hits = np.zeros(len(self.weights), np.int64)
        for start, block in self._blocks(features):
            of_block = torch.from_numpy(labels[start : start + len(block)]).to(block.device)
            hits += (block.argmax(dim=2) == of_block.unsqueeze(1)).sum(dim=0).cpu().numpy()
        return np.where(self.diverged, 0.0, hits / len(labels))

    def _blocks(self, features: Features) -> Iterator[tuple[int, torch.Tensor]]:
        """First row and logits [n, T, C] of blocks of rows, in order."""
        num_trials, num_classes, dim = self.weights.shape
        if features.ndim != 2 or features.shape[1] != dim or len(features) == 0:
            raise OptionError(f"these classifiers take features [N, {dim}], found {tuple(features.shape)}")
        device, dtype = self.weights.device, self.weights.dtype
        rows = Rows(features, device=device, dtype=dtype, normalize=self.normalize, resident=False)
        columns = self.weights.new_zeros(rows.width, num_trials * num_classes)
        columns[:dim] = self.weights.reshape(-1, dim).T
        columns[dim] = self.biases.reshape(-1)
        step = max(1, min(4096, _LOGITS_AT_A_TIME // columns.shape[1]))
        starts = range(0, rows.num_rows, step)
        orders = [np.arange(start, min(start + step, rows.num_rows)) for start in starts]
        for start, batch in zip(starts, rows.batches(orders), strict=True):
            yield start, (batch @ columns).view(len(batch), num_trials, num_classes)


def train_wide(
    features: Features,
    labels: Int64s,
    num_classes: int,
    *,
    rates: Sequence[float],
    decays: Sequence[float],
    epochs: int = EPOCHS,
    batch_size: int = BATCH_SIZE,
    momentum: float = MOMENTUM,
    seed: int,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    precision: str = "fp32",
    normalize: bool = False,
    on_epoch: Callable[[int], None] | None = None,
) -> WideResult:
    """Trains a linear classifier for each pair of a rate and a decay.

    Args:
        features: [N, D], finite: an array, a memory-mapped file or a tensor.
        labels: Class of each, 0 to `num_classes` - 1, [N].
        num_classes: C; a class may have one sample or none.
        rates: Learning rate of each trial at the start, positive, [T].
        decays: Weight decay of each trial, not negative, [T].
        epochs: How often all rows are seen.
        batch_size: Rows of a step; all, where there are fewer.
        momentum: From 0 to below 1.
        seed: Of the first weights, which are those of torch's linear layer, and of the permutations.
        device: That computes.
        dtype: Of the weights, float32 or float64.
        precision: One of `evaluation.probes.PRECISIONS`; the last two are for float32.
        normalize: Whether rows are divided by their l2 norm, which CoG does.
        on_epoch: Told the number of each epoch, from 0, when it is done; training ends with what it raises.

    Raises:
        OptionError: Shapes do not fit, a label or a setting is out of range.
    """
    _check(features, labels, num_classes, rates, decays, momentum, dtype)
    _check_run(epochs, batch_size, precision, dtype)
    place, num_trials = torch.device(device), len(rates)
    low = torch.bfloat16 if precision == "bf16" else None
    rows = Rows(features, device=place, dtype=low or dtype, normalize=normalize)
    first = _first_weights(rows, num_classes, seed).to(place, dtype)
    settings = Settings(rates, decays, momentum, num_classes, first)
    answers = torch.from_numpy(labels).to(place)
    memory = first.new_empty(2, min(batch_size, rows.num_rows), num_trials, num_classes)
    with _products(precision, place):
        form = form_for(rows, first, settings, low=low, exact=precision == "fp32")
        for epoch in range(epochs):
            orders = _orders(rows.num_rows, batch_size, seed, epoch)
            _descend(form, answers, orders, rate_factor(epoch, epochs), memory)
            if on_epoch is not None:
                on_epoch(epoch)
            # What is not finite stays so, and soon all of its trial is, while other trials never see it.
            if not form.some().isfinite().view(num_trials, num_classes).all(dim=1).any():
                break
        solved = form.solved().view(rows.width, num_trials, num_classes)
    return _result(solved, rows.dim, normalize)


def _result(solved: torch.Tensor, dim: int, normalize: bool) -> WideResult:
    """Out of the coefficients [P, T, C], of which `dim` are weights and the next one is the bias."""
    finite = solved.isfinite().all(dim=0).all(dim=1)
    return WideResult(
        weights=solved[:dim].permute(1, 2, 0).contiguous(),
        biases=solved[dim].clone(),
        diverged=~finite.cpu().numpy(),
        normalize=normalize,
    )


def rate_factor(epoch: int, epochs: int) -> float:
    """What rates are multiplied by in an epoch, counted from 0.

    The published program sets the rate at the end of each epoch, to that of the epoch which ends: so the first two run
    at the full rate and none at zero.
    """
    return 0.5 * (1 + math.cos(math.pi * max(0, epoch - 1) / epochs))


def _orders(num_rows: int, batch_size: int, seed: int, epoch: int) -> list[Int64s]:
    """The rows of each batch of an epoch: a permutation, cut; the last batch may be short."""
    order = np.random.default_rng([seed, epoch]).permutation(num_rows)
    # The rows of a batch are a set: in the order of the file, so that reading goes forwards.
    return [np.sort(order[start : start + batch_size]) for start in range(0, num_rows, batch_size)]


def _descend(
    form: Coefficients, labels: torch.Tensor, orders: Sequence[Int64s], factor: float, memory: torch.Tensor
) -> None:
    """An epoch.

    Args:
        form: Is moved.
        labels: Of all rows, int64 [N].
        orders: Rows of each batch.
        factor: Of the rates.
        memory: For logits and residuals, [2, B, T, C].
    """
    for order, batch in zip(orders, form.batches(orders), strict=True):
        rows = index_tensor(order, labels.device)
        logits, residuals = memory[:, : len(order)]
        form.logits(batch, rows, logits.flatten(1))
        # The gradient of the cross-entropy by the logits: probabilities less one at the label.
        torch.softmax(logits, dim=2, out=residuals)
        index = labels[rows].view(-1, 1, 1).expand(-1, residuals.shape[1], 1)
        residuals.scatter_add_(2, index, residuals.new_full((1, 1, 1), -1).expand_as(index))
        form.step(batch, rows, residuals.flatten(1), factor)


def _first_weights(rows: Rows, num_classes: int, seed: int) -> torch.Tensor:
    """The start of torch.nn.Linear(D, C) under a seed, as columns [P, C]; the bias is the row after the weights."""
    generator = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(rows.dim)
    found = torch.zeros(rows.width, num_classes)
    found[: rows.dim] = torch.empty(num_classes, rows.dim).uniform_(-bound, bound, generator=generator).T
    found[rows.dim] = torch.empty(num_classes).uniform_(-bound, bound, generator=generator)
    return found


@contextmanager
def _products(precision: str, device: torch.device) -> Iterator[None]:
    """Products of float32 in TF32 on a GPU, or not, whatever was set before."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _check_run(epochs: int, batch_size: int, precision: str, dtype: torch.dtype) -> None:
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:
            raise OptionError(f"{name} is at least 1, found {value}")
    if precision not in PRECISIONS or (precision != "fp32" and dtype != torch.float32):
        raise OptionError(
            f"precision is one of {', '.join(PRECISIONS)}, the last two of float32, found {precision!r} of {dtype}"
        )


def _check(
    features: Features,
    labels: Int64s,
    num_classes: int,
    rates: Sequence[float],
    decays: Sequence[float],
    momentum: float,
    dtype: torch.dtype,
) -> None:
    if features.ndim != 2 or 0 in features.shape:
        raise OptionError(f"features are [N, D] with one row at least, found {tuple(features.shape)}")
    if labels.shape != (len(features),) or labels.dtype != np.int64:
        raise OptionError(
            f"expected an int64 label for each of {len(features)} features, found {labels.dtype} {labels.shape}"
        )
    if not 0 <= labels.min() <= labels.max() < num_classes:
        raise OptionError(f"labels are 0 to {num_classes - 1}, found {labels.min()} to {labels.max()}")
    if not rates or len(rates) != len(decays):
        raise OptionError(f"a trial has a rate and a decay, found {len(rates)} rates and {len(decays)} decays")
    if not all(0 < rate < math.inf for rate in rates) or not all(0 <= decay < math.inf for decay in decays):
        raise OptionError(f"rates are positive, decays not negative, all finite, found {rates} and {decays}")
    if not 0 <= momentum < 1:
        raise OptionError(f"momentum is from 0 to below 1, found {momentum}")
    if dtype not in (torch.float32, torch.float64):
        raise OptionError(f"weights are float32 or float64, found {dtype}")
