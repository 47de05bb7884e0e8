"""Names of levels in rows of results, and what such a name says.

Owns both ways: "IN-1K" is the set "imagenet", "L3" the set "cog-l3", "text-L3" (ranked by another measure) the set
"cog-text-l3", "R7" (drawn) the set "cog-r7". Any other name is a set of seen concepts, which stands before the levels.
A few images a concept are a part of a set, "shots/4" under `split`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SEEN = "IN-1K"

_SEEN_SET = "imagenet"
_LEVEL = re.compile(r"cog-(?:(?P<measure>[a-z][a-z-]*)-)?l(?P<number>\d+)")
_RANDOM = re.compile(r"cog-r(?P<number>\d+)")
_SHOTS = re.compile(r"shots/(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """Where a set stands among others.

    Attributes:
        measure: What its concepts were ranked by, "random", or "" for a set of seen concepts.
        number: Of the level, from 1; 0 for a set of seen concepts.
        dataset: Name of the set.
    """

    measure: str
    number: int
    dataset: str

    @property
    def title(self) -> str:
        """As people read it: "IN-1K", "L3", "text-L3", "R7"."""
        if self.dataset == _SEEN_SET:
            return SEEN
        if not self.number:
            return self.dataset.removeprefix("cog-")
        if self.measure == "random":
            return f"R{self.number}"
        return f"L{self.number}" if self.measure == "lin" else f"{self.measure}-L{self.number}"


def dataset_of(level: str) -> str:
    """Name of the set in rows of results of a level, or of the seen concepts."""
    return _SEEN_SET if level.upper() == SEEN else f"cog-{level.lower()}"


def place_of(dataset: str) -> Place:
    """What the name of a set says."""
    if found := _LEVEL.fullmatch(dataset):
        return Place(measure=found["measure"] or "lin", number=int(found["number"]), dataset=dataset)
    if found := _RANDOM.fullmatch(dataset):
        return Place(measure="random", number=int(found["number"]), dataset=dataset)
    return Place(measure="", number=0, dataset=dataset)


def is_cog(dataset: str) -> bool:
    """Whether a row of this set is of a level or of seen concepts."""
    return dataset == _SEEN_SET or dataset.startswith("cog-")


def shots_of(split: str) -> int | None:
    """Images a concept that a row was learnt from, 0 for all; `None` where the row is of something else."""
    if not split or split == "shots/all":
        return 0
    found = _SHOTS.fullmatch(split)
    return int(found[1]) if found else None
