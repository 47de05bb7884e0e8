"""Answers out of logits: the likeliest class and how likely, of all outputs or of some.

Owns restriction: a test set of 200 classes is judged on the 200 outputs that stand for them, and the probability is the
softmax over those alone (ImageNet-A's and ImageNet-R's own code). The price is that an unrestricted figure and a
restricted one of one network are not the same thing, so the protocol of a result names which it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError


def likeliest(
    logits: npt.ArrayLike, outputs: npt.ArrayLike | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The likeliest output of each sample, and its probability.

    Args:
        logits: `[N, C]`, of any floating type.
        outputs: Numbers of those that count, int `[K]`; `None` for all.

    Returns:
        Number of the output (of all `C`), int64 `[N]`, the first of equals in the order of `outputs`; and the softmax
        over those that count, float64 `[N]`.

    Raises:
        OptionError: A logit that counts is not finite, or an output is not there.
    """
    found = checked_logits(logits)
    numbers = np.arange(found.shape[1]) if outputs is None else np.asarray(outputs, np.int64)
    if numbers.size == 0 or numbers.min() < 0 or numbers.max() >= found.shape[1]:
        given = f"{numbers.min()} to {numbers.max()}" if numbers.size else "none"
        raise OptionError(
            f"outputs to restrict to are 0 to {found.shape[1] - 1}, found {given}: is it the network that was meant?"
        )
    counted = found if outputs is None else found[:, numbers]
    best = np.argmax(counted, axis=1)
    # The largest is 1 / sum(exp(others - largest)): no logit is large enough to overflow.
    highest = counted[np.arange(len(counted)), best][:, None]
    probability = 1 / np.exp(counted.astype(np.float64) - highest).sum(axis=1)
    return numbers[best], probability


def checked_logits(logits: npt.ArrayLike) -> npt.NDArray[Any]:
    """Logits as an array `[N, C]` of finite numbers.

    Raises:
        OptionError: They are none.
    """
    found = np.asarray(logits)
    if found.ndim != 2 or found.shape[1] == 0:
        raise OptionError(f"logits are a table of samples by outputs, found one of shape {list(found.shape)}")
    is_bad = ~np.isfinite(found).all(axis=1)
    if is_bad.any():
        raise OptionError(
            f"{int(is_bad.sum())} of {len(found)} samples have a logit that is not finite, the first in row "
            f"{int(np.flatnonzero(is_bad)[0])}: the network or its precision is at fault; predict again in float32"
        )
    return found
