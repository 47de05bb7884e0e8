"""Concepts in the order of how alike they are to the nearest seen one (thesis, equation 3.2).

Owns the order. Similarities that differ in the last digits alone, which another machine may compute otherwise, are
equal, and equal ones stand by wnid. So the same concepts give the same list everywhere; the price is that a true
difference below 1e-12 is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from shardtools.arrays import Float64s
from shardtools.errors import OptionError
from shardtools.evaluation.cog.hierarchy import Hierarchy, open_hierarchy
from shardtools.evaluation.cog.options import MEASURES
from shardtools.evaluation.cog.similarity import blocks
from shardtools.evaluation.cog.vectors import Vectors
from shardtools.taxonomy import load_classes

CORPUS = "imagenet-21k"
"""Concepts whose numbers make the information content, with their parents up to the root (thesis, section 3.3.3)."""

_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """An unseen concept.

    Attributes:
        wnid: Its synset.
        similarity: To the nearest seen concept; `None` where nothing was measured.
        nearest: wnid of that one; of several equally near ones the first.
    """

    wnid: str
    similarity: float | None = None
    nearest: str | None = None


def corpus_hierarchy(*concepts: Sequence[str]) -> Hierarchy:
    """The graph of ImageNet-21K with further concepts in it: the corpus that the thesis takes.

    Args:
        concepts: Lists of wnids that it must hold too.

    Raises:
        TaxonomyError: One is no noun of WordNet 3.0, or WordNet is needed and not installed.
    """
    corpus = _corpus()
    further = [wnid for own in concepts for wnid in own if wnid not in corpus.places]
    return open_hierarchy([*corpus.wnids, *further]) if further else corpus


@cache
def _corpus() -> Hierarchy:
    return open_hierarchy(entry.wnid for entry in load_classes(CORPUS))


def rank_concepts(
    candidates: Sequence[str],
    seen: Sequence[str],
    *,
    measure: str = "lin",
    hierarchy: Hierarchy | None = None,
    vectors: Vectors | None = None,
) -> tuple[Concept, ...]:
    """The candidates, the most alike to a seen concept first.

    Args:
        candidates: wnids of unseen concepts.
        seen: wnids of seen ones.
        measure: A name of `MEASURES`.
        hierarchy: The graph, whose concepts are the corpus; `None` takes `corpus_hierarchy` of all of them.
        vectors: Of the texts, for "text".

    Raises:
        OptionError: There is no such measure, a list is empty, a concept is among both, or has no vector.
        TaxonomyError: A concept is no noun of WordNet 3.0.
    """
    check_measure(measure, vectors)
    wanted, were_seen = sorted(set(candidates)), sorted(set(seen))
    if not wanted or not were_seen:
        empty = "candidate" if not wanted else "seen concept"
        raise OptionError(f"ranking needs candidates and seen concepts, found no {empty}: name some")
    both = sorted(set(wanted) & set(were_seen))
    if both:
        raise OptionError(
            f"{both[0]} is among the seen concepts and the candidates ({len(both)} are): unseen concepts are no seen "
            "ones, leave it out"
        )
    if measure != "text" and hierarchy is None:
        hierarchy = corpus_hierarchy(wanted, were_seen)
    best, nearest = np.empty(len(wanted)), np.empty(len(wanted), np.int64)
    for start, block in _blocks(wanted, were_seen, measure, hierarchy, vectors):
        rounded = np.round(block, _DIGITS)
        rows = slice(start, start + len(block))
        nearest[rows] = rounded.argmax(axis=1)
        best[rows] = rounded[np.arange(len(block)), nearest[rows]]
    # A stable sort leaves equal ones as they are: by wnid.
    return tuple(
        Concept(wnid=wanted[row], similarity=float(best[row]), nearest=were_seen[int(nearest[row])])
        for row in np.argsort(-best, kind="stable").tolist()
    )


def check_measure(measure: str, vectors: Vectors | None) -> None:
    """Refuses a measure that there is not, and texts without vectors.

    Raises:
        OptionError: So it is.
    """
    if measure not in MEASURES:
        raise OptionError(f"no measure of similarity is called {measure!r}: there are {', '.join(MEASURES)}")
    if measure == "text" and vectors is None:
        raise OptionError(
            "texts are compared by vectors: give --vectors, a folder of `shardtools text-features` or a .npy with its "
            "wnids beside it"
        )


def _blocks(
    candidates: Sequence[str],
    seen: Sequence[str],
    measure: str,
    hierarchy: Hierarchy | None,
    vectors: Vectors | None,
) -> Iterator[tuple[int, Float64s]]:
    if measure == "text":
        assert vectors is not None
        yield 0, vectors.cosines(candidates, seen)
    else:
        assert hierarchy is not None
        yield from blocks(hierarchy, measure, candidates, seen)
