"""The learning rate of each optimiser step.

Owns the curves: linear warm-up, then half a cosine or steps down, anew for each step or each epoch. Each is a function
of the step alone, so a resumed run needs no state of a scheduler; the price is that the number of steps is fixed when
the run starts.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from shardtools.errors import OptionError
from shardtools.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRate:
    """Learning rate by optimiser step.

    After a linear warm-up it falls along half a cosine (thesis, chapters 4 and 5) or, with `fall_steps` or `falls`, is
    multiplied by `fall_factor` every so many steps of the run, or at these, the warm-up's included: "at epochs 30, 60
    and 80" of Goyal et al., "Accurate, Large Minibatch SGD" (2017), section 5.1, means epochs of the run too.

    Step 0 gets 0 where there is a warm-up (it moves no weight, only fills SGD's momentum) and `peak` where there is
    none; step `warmup_steps` is the first at `peak`; the cosine reaches `min_lr` at `total_steps`, one step after the
    last.

    Attributes:
        peak: Highest rate.
        warmup_steps: Steps below it at the start, 0 or more, fewer than `total_steps`.
        total_steps: Optimiser steps of the whole run, at least 1.
        min_lr: What the cosine ends at and the least rate of steps down, 0 to `peak`.
        fall_steps: Steps between two falls, at least 1; `None` for the cosine or `falls`.
        falls: The first steps of a lower rate in their order, each at least 1; empty for the cosine or `fall_steps`.
        fall_factor: What each fall multiplies the rate by, above 0 and at most 1.
        held_steps: Steps that share the rate of their first one, at least 1: 1 for a rate a step, the steps of an epoch
            for a scheduler that is asked once an epoch (seed 003's training code, sample_train.py).

    Raises:
        OptionError: A value is out of range.
    """

    peak: float
    warmup_steps: int
    total_steps: int
    min_lr: float = 0.0
    fall_steps: int | None = None
    falls: tuple[int, ...] = ()
    fall_factor: float = 0.1
    held_steps: int = 1

    def __post_init__(self) -> None:
        if self.total_steps < 1:
            raise OptionError(f"a schedule has at least 1 step, found {self.total_steps}")
        if not 0 <= self.warmup_steps < self.total_steps:
            raise OptionError(f"warmup_steps is 0 to {self.total_steps - 1} (steps - 1), found {self.warmup_steps}")
        if not 0 <= self.min_lr <= self.peak:
            raise OptionError(f"min_lr is 0 to the peak ({self.peak}), found {self.min_lr}")
        if self.fall_steps is not None and self.fall_steps < 1:
            raise OptionError(f"fall_steps is at least 1, found {self.fall_steps}: take None for the cosine")
        if list(self.falls) != sorted(self.falls) or min(self.falls, default=1) < 1:
            raise OptionError(f"falls are steps of at least 1 in their order, found {self.falls}")
        if self.held_steps < 1:
            raise OptionError(f"held_steps is at least 1, found {self.held_steps}")
        if not 0 < self.fall_factor <= 1:
            raise OptionError(f"fall_factor is above 0 and at most 1, found {self.fall_factor}")

    @classmethod
    def of(cls, recipe: Recipe, steps_per_epoch: int) -> LearningRate:
        """The schedule of a recipe.

        Args:
            recipe: How to train.
            steps_per_epoch: Optimiser steps of an epoch, at least 1.

        Raises:
            OptionError: There are no steps, or the recipe's peak is below its `min_lr`.
        """
        total = recipe.epochs * steps_per_epoch
        # Rounding up must not swallow the last step of a run of few steps.
        warmup = min(round(recipe.warmup_epochs * steps_per_epoch), max(total - 1, 0))
        at: tuple[int, ...] = ()
        every = None
        if recipe.schedule == "step" and recipe.step_at:
            # Two falls of a short run may be at one step, which is then one fall of both factors.
            at = tuple(max(round(epoch * steps_per_epoch), 1) for epoch in recipe.step_at)
        elif recipe.schedule == "step":
            every = max(round(recipe.step_epochs * steps_per_epoch), 1)
        return cls(
            peak=recipe.peak_lr,
            warmup_steps=warmup,
            total_steps=total,
            min_lr=recipe.min_lr,
            fall_steps=every,
            falls=at,
            fall_factor=recipe.step_factor,
            held_steps=steps_per_epoch if recipe.rate_by == "epoch" else 1,
        )

    def __call__(self, step: int) -> float:
        """Rate of a step.

        Args:
            step: 0-based, counted over the whole run; a cosine stays at `min_lr` from `total_steps` on.

        Raises:
            OptionError: The step is below 0.
        """
        if step < 0:
            raise OptionError(f"a step is at least 0, found {step}")
        step -= step % self.held_steps
        if step < self.warmup_steps:
            return self.peak * step / self.warmup_steps
        if self.fall_steps is not None:
            return max(self.peak * self.fall_factor ** (step // self.fall_steps), self.min_lr)
        if self.falls:
            return max(self.peak * self.fall_factor ** bisect_right(self.falls, step), self.min_lr)
        done = min((step - self.warmup_steps) / (self.total_steps - self.warmup_steps), 1.0)
        return self.min_lr + (self.peak - self.min_lr) * 0.5 * (1.0 + math.cos(math.pi * done))
