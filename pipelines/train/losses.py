"""Losses of samples, and on their way from the device, looked at as soon as they are there.

Owns what a loss is and the check that it is a number. On a GPU a loss is copied while the next steps run, so nobody
waits for it; the price is that a bad one is found two steps later, and that nothing may be kept (no checkpoint) before
all were seen.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch.nn import functional

from shardtools.errors import RunError

_STEPS_BEHIND = 2


def sample_losses(
    logits: torch.Tensor, targets: torch.Tensor, *, is_sets: bool = False, smoothing: float = 0.0
) -> torch.Tensor:
    """The loss of each row, [N].

    Args:
        logits: [N, C].
        targets: Labels, int64 [N]; or shares of the classes, float [N, C], of mixed images.
        is_sets: Whether each class is asked for apart from the others: binary cross entropy, mean over the classes.
            Targets are then 0 to 1 a class, [N, C]. Else softmax cross entropy.
        smoothing: Share of the targets that all classes have alike; of cross entropy only.
    """
    if is_sets:
        return functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").mean(1)
    return functional.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=smoothing)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Loss:
    step: int
    keys: list[str]
    value: torch.Tensor
    copied: torch.cuda.Event | None


class LossWatch:
    """The losses of one process."""

    def __init__(self) -> None:
        self._waiting: deque[_Loss] = deque()
        self.latest = math.nan
        self._sum, self._count = 0.0, 0

    def add(self, step: int, keys: list[str], loss: torch.Tensor) -> None:
        """Takes the mean loss of a step, a tensor of no dimensions, and looks at those that have arrived.

        Raises:
            RunError: A loss is not a number; the message names its step and the batch.
        """
        copied = None
        if loss.is_cuda:
            value = torch.empty((), pin_memory=True).copy_(loss, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record()
        else:
            value = loss
        self._waiting.append(_Loss(step=step, keys=keys, value=value, copied=copied))
        # On a CPU each is there at once. On a GPU the oldest is waited for only when two newer ones are on their way.
        while self._waiting and (self._waiting[0].copied is None or len(self._waiting) > _STEPS_BEHIND):
            self._look(self._waiting.popleft())

    def look_at_all(self) -> None:
        """Waits for all losses and looks at them; see `add`."""
        while self._waiting:
            self._look(self._waiting.popleft())

    def take_sum(self) -> tuple[float, int]:
        """Sum and number of the losses seen since the last call."""
        self.look_at_all()
        found, self._sum, self._count = (self._sum, self._count), 0.0, 0
        return found

    def _look(self, loss: _Loss) -> None:
        if loss.copied is not None:
            loss.copied.synchronize()
        value = loss.value.item()
        if not math.isfinite(value):
            shown = ", ".join(loss.keys[:8])
            more = f" and {len(loss.keys) - 8} more" if len(loss.keys) > 8 else ""
            raise RunError(
                f"the loss of step {loss.step} is {value}: expected a number; its batch: {shown}{more}; the checkpoint "
                "before it is kept: look at these images, lower base_lr, lengthen warmup_epochs or set clip_norm"
            )
        self.latest = value
        self._sum += value
        self._count += 1
