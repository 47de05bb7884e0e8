"""Logits as metrics take them: a table of finite numbers.

Owns their check, at the price of one pass over them: NaN compares as neither larger nor smaller, so that without it a
broken network would give figures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError


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
