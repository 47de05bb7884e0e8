"""Which changes of the pixels a user asks for: names of corruptions and of their groups, and severities.

Owns the short names. The price of naming the untouched image "none" beside them: one row more an image, and every
comparison with the clean accuracy is within one overlay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardtools.corruption import CORRUPTION_SETS, CORRUPTIONS, SEVERITIES
from shardtools.errors import OptionError

CLEAN = "none"
"""`corruption` of pixels as they are, with severity 0, in an overlay that has corrupted ones beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What is done to an image's pixels before the forward pass; `CLEAN` and 0 for nothing."""

    corruption: str = CLEAN
    severity: int = 0


def variants_of(corruptions: Sequence[str], severities: Sequence[int]) -> tuple[Variant, ...]:
    """The variants of every image, in the order of the names; severities rise.

    Args:
        corruptions: Names of corruptions, "imagenet-c" for the fifteen, "extra" for the four others, "none" for the
            image as it is; empty for no variants.
        severities: 1 to 5 each.

    Raises:
        OptionError: There is no such corruption or severity.
    """
    wrong = next((one for one in severities if one not in SEVERITIES), None)
    if wrong is not None or not severities:
        raise OptionError(f"--severity is 1 to 5, several with commas between them, found {wrong}")
    names = [name for given in corruptions for name in _names(given)]
    found: list[Variant] = []
    for name in dict.fromkeys(names):
        levels = [0] if name == CLEAN else sorted(set(severities))
        found += [Variant(corruption=name, severity=level) for level in levels]
    return tuple(found)


def _names(given: str) -> tuple[str, ...]:
    if given in CORRUPTION_SETS:
        return CORRUPTION_SETS[given]
    if given != CLEAN and given not in CORRUPTIONS:
        raise OptionError(
            f"--corruption is {', '.join(CORRUPTION_SETS)}, {CLEAN} or one of {', '.join(CORRUPTIONS)}, found {given!r}"
        )
    return (given,)
