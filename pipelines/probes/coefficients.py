"""The coefficients of many linear classifiers while stochastic gradient descent moves them.

Owns the arithmetic of a step, in two forms that are equal but for rounding. `Weights` keeps the weights, [P, T * C]: a
step of n rows costs 4 n P T C operations. `Combinations` keeps, for each of the N rows, how much of it the weights are
made of, [N, T * C]: gradients are sums of rows, so with the products of all pairs of rows at hand a step costs
2 n N T C and the second matrix product is gone. It is for few rows, N below 2 P: few shots, small sets.

A step is torch.optim.SGD's: the decay times the coefficient is added to the gradient, of the bias too; the momentum
times what was moved by before is added to that (no dampening, no Nesterov); the rate times the sum is taken off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from shardtools.arrays import Int64s
from shardtools.pipelines.probes.rows import Rows, index_tensor

LARGEST_PRODUCTS = 1 << 30
"""Bytes that the products of all pairs of rows may take."""


class Coefficients(Protocol):
    """T classifiers of C classes, moved together; the columns of one never touch those of another."""

    def batches(self, orders: Sequence[Int64s]) -> Iterator[torch.Tensor]:
        """What is multiplied with the coefficients for each of `orders`, [n, ...], good until the next is asked for.

        Args:
            orders: The rows of each batch, of those that are trained on.
        """

    def logits(self, batch: torch.Tensor, rows: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Writes [n, T * C] into `out`.

        Args:
            batch: One of `batches`.
            rows: Which rows these are, int64 [n].
            out: Memory, [n, T * C].
        """

    def step(self, batch: torch.Tensor, rows: torch.Tensor, residuals: torch.Tensor, factor: float) -> None:
        """One step of descent.

        Args:
            batch: One of `batches`.
            rows: Which rows these are, int64 [n].
            residuals: Probabilities less one at the label, [n, T * C]; the gradient is their mean over rows.
            factor: Of the rates, by the schedule.
        """

    def some(self) -> torch.Tensor:
        """One coefficient of each class and classifier, [T * C]; not finite an epoch after another is not, at most."""

    def solved(self) -> torch.Tensor:
        """The weights, [P, T * C]."""


class Settings:
    """What sets the T classifiers apart, as factors of T * C columns, and what they share.

    Attributes:
        rates: [T].
        decays: [T].
        momentum: One for all.
        num_classes: C.
    """

    def __init__(
        self, rates: Sequence[float], decays: Sequence[float], momentum: float, num_classes: int, like: torch.Tensor
    ) -> None:
        """`like` says the type and the device."""
        self.rates, self.decays = (
            torch.tensor(values, dtype=torch.float64, device=like.device) for values in (rates, decays)
        )
        self.momentum, self.num_classes = momentum, num_classes
        self._like = like
        self.columns_of_decays = self.columns(self.decays)

    def columns(self, values: torch.Tensor) -> torch.Tensor:
        """A value a classifier as one a column, [T * C]."""
        return values.repeat_interleave(self.num_classes).to(self._like.dtype)


class Weights:
    """The form for any number of rows."""

    def __init__(self, first: torch.Tensor, settings: Settings, rows: Rows, *, low: torch.dtype | None = None) -> None:
        """Starts all classifiers alike.

        Args:
            first: [P, C].
            settings: Of the classifiers.
            rows: That are trained on; of type `low`, where it is given.
            low: A type of fewer bits for what is multiplied; sums, weights and steps keep theirs.
        """
        self._weights = first.repeat(1, len(settings.rates))
        self._moves = torch.zeros_like(self._weights)
        self._settings, self._rows, self._low = settings, rows, low

    def batches(self, orders: Sequence[Int64s]) -> Iterator[torch.Tensor]:
        return self._rows.batches(orders)

    def logits(self, batch: torch.Tensor, rows: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        if self._low is None:
            return torch.mm(batch, self._weights, out=out)
        weights = self._weights.to(self._low)
        if batch.is_cuda:
            return torch.mm(batch, weights, out_dtype=torch.float32, out=out)
        # A CPU rehearses it: products of two bfloat16 are exact in float32.
        return torch.mm(batch.float(), weights.float(), out=out)

    def step(self, batch: torch.Tensor, rows: torch.Tensor, residuals: torch.Tensor, factor: float) -> None:
        settings = self._settings
        # The momentum and the mean over rows ride on the matrix product.
        beta, alpha = settings.momentum, 1 / len(batch)
        if self._low is None:
            self._moves.addmm_(batch.T, residuals, beta=beta, alpha=alpha)
        elif batch.is_cuda:
            moves, low = self._moves, residuals.to(self._low)
            torch.addmm(moves, batch.T, low, out_dtype=torch.float32, beta=beta, alpha=alpha, out=moves)
        else:
            self._moves.addmm_(batch.float().T, residuals.to(self._low).float(), beta=beta, alpha=alpha)
        self._moves.addcmul_(self._weights, settings.columns_of_decays)
        self._weights.addcmul_(self._moves, settings.columns(settings.rates * factor), value=-1)

    def some(self) -> torch.Tensor:
        return self._weights[0]

    def solved(self) -> torch.Tensor:
        return self._weights


class Combinations:
    """The form for few rows: weights are the first ones, faded, and sums of rows."""

    def __init__(self, first: torch.Tensor, settings: Settings, rows: Rows) -> None:
        """Starts all classifiers alike.

        Args:
            first: [P, C].
            settings: Of the classifiers.
            rows: That are trained on.
        """
        num_trials, num_classes = len(settings.rates), first.shape[1]
        self._first, self._rows, self._settings = first, rows.all(), settings
        self._products = self._rows @ self._rows.T
        self._first_logits = self._rows @ first
        self._shares = first.new_zeros(rows.num_rows, num_trials * num_classes)
        self._moves = torch.zeros_like(self._shares)
        # How much of the first weights is left: the decay acts on them as on the rest.
        self._left = torch.ones_like(settings.rates)
        self._leaving = torch.zeros_like(settings.rates)

    def batches(self, orders: Sequence[Int64s]) -> Iterator[torch.Tensor]:
        memory = self._products.new_empty(max(map(len, orders)), len(self._products))
        for order in orders:
            rows = index_tensor(order, self._products.device)
            yield torch.index_select(self._products, 0, rows, out=memory[: len(order)])

    def logits(self, batch: torch.Tensor, rows: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        by_trial = out.view(len(rows), len(self._left), -1)
        torch.mul(self._first_logits[rows].unsqueeze(1), self._left.to(out.dtype).unsqueeze(1), out=by_trial)
        return out.addmm_(batch, self._shares)

    def step(self, batch: torch.Tensor, rows: torch.Tensor, residuals: torch.Tensor, factor: float) -> None:
        settings = self._settings
        rates = settings.rates * factor
        self._moves.mul_(settings.momentum).addcmul_(self._shares, settings.columns_of_decays)
        self._moves.index_add_(0, rows, residuals, alpha=1 / len(rows))
        self._shares.addcmul_(self._moves, settings.columns(rates), value=-1)
        self._leaving.mul_(settings.momentum).addcmul_(self._left, settings.decays)
        self._left.addcmul_(self._leaving, rates, value=-1)

    def some(self) -> torch.Tensor:
        return self._shares[0]

    def solved(self) -> torch.Tensor:
        found = self._rows.T @ self._shares
        by_trial = found.view(len(found), len(self._left), -1)
        by_trial += self._first.unsqueeze(1) * self._left.to(found.dtype).unsqueeze(1)
        return found


def form_for(
    rows: Rows, first: torch.Tensor, settings: Settings, *, low: torch.dtype | None, exact: bool
) -> Weights | Combinations:
    """The form that takes fewer operations.

    Args:
        rows: All rows that are trained on.
        first: [P, C].
        settings: Of the classifiers.
        low: See `Weights`.
        exact: Whether products are as exact as the type; where they are not, errors of sums over rows would add up.
    """
    fits = rows.num_rows**2 * first.dtype.itemsize <= LARGEST_PRODUCTS
    if exact and fits and rows.num_rows < 2 * rows.width:
        return Combinations(first, settings, rows)
    return Weights(first, settings, rows, low=low)
