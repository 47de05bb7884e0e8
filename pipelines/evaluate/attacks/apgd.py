"""Auto-PGD: descent with momentum that halves its steps where they stop paying (Croce and Hein 2020, section 3).

Owns algorithm 1 of "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks"
in the maximum norm: k iterations take k gradients and one forward pass, as k of `pgd` do. The price beside it: the best
point so far and its gradient are kept, three images of memory more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch

from shardtools.evaluation.attacks import AttackSettings
from shardtools.pipelines.evaluate.attacks.ball import Ball, ball_around
from shardtools.pipelines.evaluate.attacks.contract import Found, Images, LossFunction, Victim, succeeds
from shardtools.pipelines.evaluate.attacks.pgd import start
from shardtools.pipelines.evaluate.attacks.restarts import attack_in_turns

_MOMENTUM = 0.75
_RISES = 0.75
_FIRST_PERIOD, _SHORTER, _LEAST_PERIOD = 0.22, 0.03, 0.06
"""alpha; rho; p_1 and how periods shrink, and to what: section 3.1."""


def apgd(victim: Victim, images: Images, settings: AttackSettings) -> Found:
    """Auto-PGD with the losses and restarts of the settings."""
    return attack_in_turns(victim, images, settings, _attempt)


def checkpoints(num_steps: int) -> list[int]:
    """The iterations after which steps may be halved: w_j = ceil(p_j N), each once, the first of them 0."""
    shares, marks = [0.0, _FIRST_PERIOD], [0, math.ceil(_FIRST_PERIOD * num_steps)]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - _SHORTER, _LEAST_PERIOD))
        # A sum of decimals that is a whole number but for its last bit is that number.
        marks.append(math.ceil(round(shares[-1] * num_steps, 9)))
    return sorted({mark for mark in marks if mark <= num_steps})


@dataclass(slots=True, kw_only=True, eq=False)
class _State:
    """Where the images that still withstand are; all tensors begin with [n].

    Attributes:
        rows: Their numbers in the batch.
        pixels: x(k).
        last_pixels: x(k - 1).
        gradient: Sign of the gradient at x(k).
        loss: f(x(k)).
        best_pixels: x_max.
        best_gradient: Sign of the gradient there.
        best_loss: f_max.
        best_fools: Whether the network errs at x_max.
        step: eta.
        rises: Iterations since the last checkpoint that raised the loss.
        marked_step: eta at the last checkpoint.
        marked_loss: f_max at the last checkpoint.
    """

    rows: torch.Tensor
    pixels: torch.Tensor
    last_pixels: torch.Tensor
    gradient: torch.Tensor
    loss: torch.Tensor
    best_pixels: torch.Tensor
    best_gradient: torch.Tensor
    best_loss: torch.Tensor
    best_fools: torch.Tensor
    step: torch.Tensor
    rises: torch.Tensor
    marked_step: torch.Tensor
    marked_loss: torch.Tensor

    def of(self, kept: torch.Tensor) -> _State:
        """Some of them, by number."""
        return _State(**{one.name: getattr(self, one.name)[kept] for one in fields(self)})

    def advance(self, ball: Ball, momentum: float) -> None:
        """From x(k) to x(k + 1): a step, and a part of the way that was gone before."""
        moved = self.gradient.mul(self.step[:, None, None, None]).add_(self.pixels)
        # z - x, then the two shares of the way, in the memory of z.
        way = ball.project_(moved).sub_(self.pixels).mul_(momentum)
        way.add_(self.pixels - self.last_pixels, alpha=1 - momentum).add_(self.pixels)
        self.last_pixels, self.pixels = self.pixels, ball.project_(way)

    def judge(self, loss: torch.Tensor, fools: torch.Tensor, gradient: torch.Tensor | None) -> None:
        """Takes in what the network says of x(k + 1); there is no gradient after the last step."""
        self.rises += (loss > self.loss).int()
        self.loss = loss
        # A point that fools the network beats one that does not, whatever the loss.
        better = fools & ~self.best_fools | (fools == self.best_fools) & (loss > self.best_loss)
        rows = better.nonzero()[:, 0]
        self.best_loss, self.best_fools = torch.where(better, loss, self.best_loss), self.best_fools | fools
        self.best_pixels[rows] = self.pixels[rows]
        if gradient is not None:
            self.gradient = gradient.sign_()
            self.best_gradient[rows] = self.gradient[rows]

    def check(self, period: int) -> None:
        """A checkpoint: images whose loss rose too seldom, or not at all, go on from their best with half the step."""
        seldom = self.rises < _RISES * period
        stuck = (self.step == self.marked_step) & (self.best_loss == self.marked_loss)
        self.marked_step, self.marked_loss = self.step, self.best_loss
        rows = (seldom | stuck).nonzero()[:, 0]
        self.step = torch.where(seldom | stuck, self.step / 2, self.step)
        self.pixels[rows], self.gradient[rows] = self.best_pixels[rows], self.best_gradient[rows]
        self.loss = torch.where(seldom | stuck, self.best_loss, self.loss)
        self.rises = torch.zeros_like(self.rises)


def _attempt(victim: Victim, images: Images, settings: AttackSettings, loss: LossFunction, operation: str) -> Found:
    """One start with one loss."""
    ball = ball_around(images.pixels, settings.eps)
    pixels = ball.project_(start(images, settings, operation))
    found = Found(
        pixels=pixels.clone(),
        success=torch.zeros(len(images), dtype=torch.bool, device=pixels.device),
        steps=torch.full((len(images),), settings.num_steps, dtype=torch.int32, device=pixels.device),
        loss=torch.empty(len(images), device=pixels.device),
    )
    state, marks = _begin(victim, images, settings, loss, pixels), checkpoints(settings.num_steps)
    for number in range(1, settings.num_steps + 1):
        # Images that are wrong already leave: first the start's, then those of each step.
        if settings.early_stop and state.best_fools.any():
            _put(found, state.of(state.best_fools.nonzero()[:, 0]), number - 1)
            kept = (~state.best_fools).nonzero()[:, 0]
            if not len(kept):
                return found
            state, images, ball = state.of(kept), images.of(kept), ball.of(kept)
        state.advance(ball, 1.0 if number == 1 else _MOMENTUM)
        if number == settings.num_steps:
            logits = victim.logits(state.pixels, images.keys)
            state.judge(loss(logits, images), succeeds(logits, images, settings), None)
            break
        values, logits, gradient = victim.gradient(state.pixels, images, loss)
        state.judge(values, succeeds(logits, images, settings), gradient)
        if number in marks:
            state.check(number - marks[marks.index(number) - 1])
    _put(found, state, settings.num_steps)
    return found


def _begin(
    victim: Victim, images: Images, settings: AttackSettings, loss: LossFunction, pixels: torch.Tensor
) -> _State:
    values, logits, gradient = victim.gradient(pixels, images, loss)
    gradient.sign_()
    step = torch.full_like(values, settings.step)
    return _State(
        rows=torch.arange(len(images), device=pixels.device),
        pixels=pixels,
        last_pixels=pixels,
        gradient=gradient,
        loss=values,
        best_pixels=pixels.clone(),
        best_gradient=gradient.clone(),
        best_loss=values,
        best_fools=succeeds(logits, images, settings),
        step=step,
        rises=torch.zeros_like(values, dtype=torch.int32),
        marked_step=step,
        marked_loss=values,
    )


def _put(found: Found, state: _State, steps: int) -> None:
    """Writes the results of the images of a state; those that stopped have taken fewer steps."""
    rows = state.rows
    found.put(
        rows,
        Found(
            pixels=state.best_pixels,
            success=state.best_fools,
            steps=torch.full_like(rows, steps, dtype=torch.int32),
            loss=state.best_loss,
        ),
    )
