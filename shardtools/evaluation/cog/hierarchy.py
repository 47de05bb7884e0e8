"""Concepts and all that is above them in WordNet, as one graph.

Owns the graph that the funnel and the measures of similarity walk: synsets, their parents (hypernyms and instance
hypernyms), the least number of steps to each ancestor, and how many concepts lie under each. Shipped classes come from
the shipped table, so nothing is downloaded for them; the price is that the graph of ImageNet-21K is put together anew
by each process (half a second).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from shardtools.arrays import Float64s, Int64s
from shardtools.errors import OptionError
from shardtools.taxonomy import load_synset


@dataclass(frozen=True, kw_only=True, eq=False)
class Hierarchy:
    """A part of WordNet that is closed under parents.

    Attributes:
        wnids: Of all concepts, sorted; C of them.
        parents: Places of the direct parents of each, in WordNet's order.
        above: Places of each concept and of all its ancestors -> least number of steps up to there.
    """

    wnids: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...] = field(repr=False)
    above: tuple[Mapping[int, int], ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.wnids)

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Wnid -> place."""
        return {wnid: number for number, wnid in enumerate(self.wnids)}

    def place(self, wnid: str) -> int:
        """Where a concept is.

        Raises:
            OptionError: It is not in the graph.
        """
        found = self.places.get(wnid)
        if found is None:
            raise OptionError(f"{wnid} is not among the {len(self)} concepts of the graph: open it with this one too")
        return found

    def ancestors(self, wnids: Iterable[str]) -> set[str]:
        """All that is above any of them, themselves only where one is above another."""
        return {self.wnids[up] for wnid in wnids for up in self._strictly_above(self.place(wnid))}

    def direct_parents(self, wnids: Iterable[str]) -> set[str]:
        """The parents of all of them."""
        return {self.wnids[up] for wnid in wnids for up in self.parents[self.place(wnid)]}

    def is_under(self, wnid: str, root: str) -> bool:
        """Whether a concept is another one, or below it."""
        return root in self.places and self.places[root] in self.above[self.place(wnid)]

    @cached_property
    def num_under(self) -> Int64s:
        """Concepts at or under each, int64 [C]; one that is under another by two ways counts once."""
        counts = np.zeros(len(self), np.int64)
        for above in self.above:
            counts[list(above)] += 1
        return counts

    @cached_property
    def information(self) -> Float64s:
        """Information content of each, float64 [C], 0 at the root (thesis, section 3.3.3, after Resnik 1995).

        -log p, where p is the share of all concepts of the graph that lie at or under it.
        """
        return np.asarray(np.log(len(self)) - np.log(self.num_under), np.float64)

    @cached_property
    def depths(self) -> tuple[Int64s, Int64s]:
        """Steps from the root to each along the shortest and along the longest way, int64 [C] each."""
        least, most = np.zeros(len(self), np.int64), np.zeros(len(self), np.int64)
        # An ancestor has more concepts at or under it than what is below it, so parents come first.
        for number in np.argsort(-self.num_under, kind="stable").tolist():
            ways = list(self.parents[number])
            if ways:
                least[number], most[number] = 1 + least[ways].min(), 1 + most[ways].max()
        return least, most

    def _strictly_above(self, place: int) -> Iterator[int]:
        return (up for up in self.above[place] if up != place)


def open_hierarchy(wnids: Iterable[str]) -> Hierarchy:
    """The graph of concepts and of all that is above them.

    Args:
        wnids: Of the concepts; one that the shipped table does not hold is looked for in WordNet 3.0.

    Raises:
        TaxonomyError: One is no noun of WordNet 3.0, or WordNet is needed and not installed.
    """
    parents: dict[str, tuple[str, ...]] = {}
    pending = list(dict.fromkeys(wnids))
    while pending:
        wnid = pending.pop()
        if wnid not in parents:
            parents[wnid] = load_synset(wnid).hypernym_wnids
            pending += parents[wnid]
    names = tuple(sorted(parents))
    places = {wnid: number for number, wnid in enumerate(names)}
    ups = tuple(tuple(places[up] for up in parents[wnid]) for wnid in names)
    return Hierarchy(wnids=names, parents=ups, above=_above(ups))


def _above(parents: Sequence[tuple[int, ...]]) -> tuple[Mapping[int, int], ...]:
    """Of each concept: itself and all that is above it, with the least number of steps."""
    found: list[dict[int, int] | None] = [None] * len(parents)

    def of(place: int) -> dict[int, int]:
        own = found[place]
        if own is None:
            own = {place: 0}
            for parent in parents[place]:
                for up, steps in of(parent).items():
                    if steps + 1 < own.get(up, len(parents) + 1):
                        own[up] = steps + 1
            found[place] = own
        return own

    # WordNet's nouns are at most 20 levels deep, so the recursion is not.
    return tuple(of(place) for place in range(len(parents)))
