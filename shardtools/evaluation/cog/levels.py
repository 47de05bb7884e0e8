"""Levels: groups of concepts, less and less alike to the seen ones (thesis, section 3.3.3).

Owns how a ranked list is cut. Where more concepts are there than the levels take, what is left over lies between the
levels in gaps as equal as whole numbers allow, so that the first level begins at the most and the last ends at the
least similar concept. The thesis has small gaps over the full span, too, and does not say where; so with the same 5,146
concepts, levels made here may differ from the published ones at their edges, by the 146 that lie in gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from shardtools.errors import OptionError
from shardtools.evaluation.cog.ranking import Concept
from shardtools.words import counted

NUM_LEVELS = 5
LEVEL_SIZE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A level.

    Attributes:
        name: "L1", "L2", ...; "R1", ... where its concepts were drawn.
        concepts: In the order of the ranking; by wnid where there is none.
    """

    name: str
    concepts: tuple[Concept, ...]

    @property
    def wnids(self) -> tuple[str, ...]:
        """Of its concepts, sorted: the order of the labels (naver/cog)."""
        return tuple(sorted(concept.wnid for concept in self.concepts))


def cut_levels(ranked: Sequence[Concept], *, num_levels: int = NUM_LEVELS, size: int = LEVEL_SIZE) -> tuple[Level, ...]:
    """The levels of a ranked list: L1 of the first, to the last.

    Args:
        ranked: Concepts, the most similar first.
        num_levels: How many levels.
        size: Concepts a level.

    Raises:
        OptionError: There are fewer concepts than the levels take, or a number is below one.
    """
    if num_levels < 1 or size < 1:
        raise OptionError(f"levels are one or more, of one concept or more, found {num_levels} of {size}")
    spare = len(ranked) - num_levels * size
    if spare < 0:
        raise OptionError(
            f"{counted(num_levels, 'level')} of {counted(size, 'concept')} need {num_levels * size}, found "
            f"{len(ranked)}: take fewer or smaller levels, or more concepts"
        )
    starts = [number * size + number * spare // max(num_levels - 1, 1) for number in range(num_levels)]
    return tuple(
        Level(name=f"L{number}", concepts=tuple(ranked[start : start + size]))
        for number, start in enumerate(starts, start=1)
    )


def cut_again(levels: Sequence[Level], ranked: Sequence[Concept]) -> tuple[Level, ...]:
    """The same concepts, ranked by another measure, in as many levels of the same sizes (thesis, section 3.5.2).

    Args:
        levels: The levels whose concepts are taken; no concept is in two of them.
        ranked: The same concepts by the other measure.

    Raises:
        OptionError: They are not the same concepts.
    """
    known = [concept.wnid for level in levels for concept in level.concepts]
    if sorted(known) != sorted(concept.wnid for concept in ranked):
        raise OptionError(
            f"expected the {len(known)} concepts of the levels ranked again, found {len(ranked)}: rank those of the "
            "levels"
        )
    found, start = [], 0
    for level in levels:
        stop = start + len(level.concepts)
        found.append(replace(level, concepts=tuple(ranked[start:stop])))
        start = stop
    return tuple(found)


def random_levels(
    concepts: Iterable[str], *, num_levels: int = 15, size: int = LEVEL_SIZE, seed: int
) -> tuple[Level, ...]:
    """Levels R1, R2, ... of concepts drawn without regard to similarity, each anew (the line of figure 3.7).

    Args:
        concepts: wnids to draw from.
        num_levels: How many; the thesis has 15 splits.
        size: Concepts of each; none comes twice within a level, but a concept may be in several levels.
        seed: Of the draw: a level's concepts depend on it, the level's number and the concepts alone.

    Raises:
        OptionError: There are fewer concepts than a level takes.
    """
    pool = sorted(set(concepts))
    if not 1 <= size <= len(pool):
        raise OptionError(
            f"a level of {counted(size, 'concept')} is drawn from {len(pool)}: give more, or a smaller size"
        )
    found = []
    for number in range(1, num_levels + 1):
        generator = np.random.Generator(np.random.PCG64([seed, number]))
        drawn = sorted(generator.choice(len(pool), size, replace=False).tolist())
        found.append(Level(name=f"R{number}", concepts=tuple(Concept(wnid=pool[place]) for place in drawn)))
    return tuple(found)


def check_levels(levels: Sequence[Level], seen: Iterable[str] = (), *, where: str = "the levels") -> None:
    """Refuses levels that cannot be measured.

    Args:
        levels: Any.
        seen: wnids of seen concepts.
        where: What they are, for messages.

    Raises:
        OptionError: There is none, one is empty or of one concept, a name comes twice, a concept twice in a level, or
            one is a seen concept.
    """
    if not levels:
        raise OptionError(f"{where} are none: give at least one")
    names = [level.name for level in levels]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"{where}: {name} comes twice: name each level once")
    were_seen = set(seen)
    for level in levels:
        if len(level.concepts) < 2:
            raise OptionError(
                f"{where}: level {level.name} has {counted(len(level.concepts), 'concept')}, expected two at least: "
                "a classifier tells them apart"
            )
        wnids = level.wnids
        twice = next((one for one, other in pairwise(wnids) if one == other), None)
        if twice is not None:
            raise OptionError(f"{where}: {twice} is in level {level.name} twice: name it once")
        both = sorted(were_seen.intersection(wnids))
        if both:
            raise OptionError(
                f"{where}: {both[0]} of level {level.name} is among the seen concepts ({len(both)} of {len(wnids)} "
                "are): leave it out, or say what was seen (--seen)"
            )
