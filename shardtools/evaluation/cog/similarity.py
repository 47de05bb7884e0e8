"""How alike concepts are: Lin's, Wu and Palmer's and Jiang and Conrath's measure of every pair at once.

Owns the way to a whole table of pairs. Common ancestors are few, so instead of asking each of 14 million pairs for
its lowest common subsumer, each ancestor is written into the rectangle of what lies under it, general ones first and
special ones over them: what stands at the end is the best. Values are those of NLTK's functions of the same names, to
the last digits. The price: candidates go through in blocks, so that a table of any length fits into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from shardtools.arrays import Float64s, Int64s
from shardtools.errors import OptionError
from shardtools.evaluation.cog.hierarchy import Hierarchy
from shardtools.evaluation.cog.options import MEASURES
from shardtools.taxonomy import load_synset

_BLOCK = 2048


@dataclass(frozen=True, kw_only=True, eq=False)
class _Under:
    """What lies at or under an ancestor.

    Attributes:
        place: Of the ancestor, in the graph.
        rows: Places among the candidates, int64.
        columns: Places among the seen ones, int64.
    """

    place: int
    rows: Int64s
    columns: Int64s


def similarities(hierarchy: Hierarchy, measure: str, candidates: Sequence[str], seen: Sequence[str]) -> Float64s:
    """Similarity of each candidate with each seen concept, float64 [N, M].

    Args:
        hierarchy: A graph that holds all of them; its concepts are the corpus of the information content.
        measure: "lin" (0 to 1), "wu-palmer" (above 0, up to 1) or "jiang-conrath" (0 to infinity).
        candidates: wnids, N.
        seen: wnids, M.

    Raises:
        OptionError: There is no such measure, or a concept is not in the graph.
    """
    if measure not in _FILLED:
        raise OptionError(f"expected a measure of WordNet ({', '.join(_FILLED)}), found {measure!r}")
    rows = [hierarchy.place(wnid) for wnid in candidates]
    columns = [hierarchy.place(wnid) for wnid in seen]
    return _FILLED[measure](hierarchy, rows, columns)


def blocks(
    hierarchy: Hierarchy, measure: str, candidates: Sequence[str], seen: Sequence[str]
) -> Iterator[tuple[int, Float64s]]:
    """The same, some candidates at a time: the first one's place, and the rows."""
    for start in range(0, len(candidates), _BLOCK):
        yield start, similarities(hierarchy, measure, candidates[start : start + _BLOCK], seen)


def _common(hierarchy: Hierarchy, rows: Sequence[int], columns: Sequence[int]) -> list[_Under]:
    """The ancestors that some candidate and some seen concept have in common."""
    under_rows, under_columns = _under(hierarchy, rows), _under(hierarchy, columns)
    return [
        _Under(place=place, rows=np.array(own), columns=np.array(under_columns[place]))
        for place, own in under_rows.items()
        if place in under_columns
    ]


def _under(hierarchy: Hierarchy, places: Sequence[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for number, place in enumerate(places):
        for up in hierarchy.above[place]:
            found.setdefault(up, []).append(number)
    return found


def _subsumer_information(hierarchy: Hierarchy, rows: Sequence[int], columns: Sequence[int]) -> Float64s:
    """Information content of the most informative common subsumer of each pair, [N, M]."""
    found = np.zeros((len(rows), len(columns)))
    information = hierarchy.information
    for one in sorted(_common(hierarchy, rows, columns), key=lambda one: (information[one.place], one.place)):
        found[np.ix_(one.rows, one.columns)] = information[one.place]
    return found


def _lin(hierarchy: Hierarchy, rows: Sequence[int], columns: Sequence[int]) -> Float64s:
    """Twice the information of the common subsumer over that of both (Lin 1998; thesis, equation 3.1)."""
    both = hierarchy.information[list(rows)][:, None] + hierarchy.information[list(columns)]
    shared = _subsumer_information(hierarchy, rows, columns)
    # Only the root with itself has no information at all.
    return np.divide(2 * shared, both, out=np.ones_like(both), where=both > 0)


def _jiang_conrath(hierarchy: Hierarchy, rows: Sequence[int], columns: Sequence[int]) -> Float64s:
    """One over the information that is not shared (Jiang and Conrath 1997), infinite of a concept with itself.

    0 with the root, whose information is none, as NLTK has it.
    """
    of_rows, of_columns = hierarchy.information[list(rows)][:, None], hierarchy.information[list(columns)]
    distance = of_rows + of_columns - 2 * _subsumer_information(hierarchy, rows, columns)
    is_same = np.array(rows)[:, None] == np.array(columns)
    found = np.divide(1, distance, out=np.full_like(distance, np.inf), where=~is_same & (distance != 0))
    found[((of_rows == 0) | (of_columns == 0)) & ~is_same] = 0
    return found


def _wu_palmer(hierarchy: Hierarchy, rows: Sequence[int], columns: Sequence[int]) -> Float64s:
    """Twice the depth of the common subsumer over the depths of both through it (Wu and Palmer 1994).

    Read as NLTK reads it, because concepts have several parents: the subsumer whose shortest way from the root is the
    longest, the candidate itself where it is one of several such, else the first by name; its own depth along its
    longest way, in nodes; the ways down from it as the shortest ways between the two.
    """
    found = np.zeros((len(rows), len(columns)))
    least, most = hierarchy.depths
    common = _common(hierarchy, rows, columns)
    names = {one.place: load_synset(hierarchy.wnids[one.place]).name for one in common}
    common.sort(key=lambda one: names[one.place], reverse=True)
    common.sort(key=lambda one: int(least[one.place]))
    candidates: dict[int, list[int]] = {}
    for number, place in enumerate(rows):
        candidates.setdefault(place, []).append(number)
    for _, equals in groupby(common, key=lambda one: int(least[one.place])):
        group = list(equals)
        own = [
            _Under(place=one.place, rows=np.array(candidates[one.place]), columns=one.columns)
            for one in group
            if one.place in candidates
        ]
        for one in [*group, *own]:
            depth = 2.0 * (int(most[one.place]) + 1)
            down = _ways(hierarchy, [rows[row] for row in one.rows.tolist()], one.place)
            other = _ways(hierarchy, [columns[column] for column in one.columns.tolist()], one.place)
            found[np.ix_(one.rows, one.columns)] = depth / (depth + down[:, None] + other)
    return found


def _ways(hierarchy: Hierarchy, places: Sequence[int], subsumer: int) -> Int64s:
    """Steps of the shortest way between each concept and its subsumer, which may lead over what is above both."""
    ups = hierarchy.above[subsumer]
    return np.array(
        [min(steps + ups[up] for up, steps in hierarchy.above[place].items() if up in ups) for place in places],
        np.int64,
    )


_FILLED: dict[str, Callable[[Hierarchy, Sequence[int], Sequence[int]], Float64s]] = {
    "lin": _lin,
    "wu-palmer": _wu_palmer,
    "jiang-conrath": _jiang_conrath,
}
assert set(_FILLED) < set(MEASURES)
