"""How near a class is to the nearest one that was seen varying, and how its gap goes with that (seed 002, figure 7).

Owns the measure of nearness: cosines of text features where there are any (the paper has word vectors of spaCy 2, of a
model it does not name), else Wu and Palmer's similarity in WordNet's tree. Classes of one draw share their classifier,
and draws share classes: a point is no independent sample, so Spearman's interval draws classes again.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from shardtools.arrays import Float64s
from shardtools.errors import OptionError
from shardtools.evaluation.metrics import spearman
from shardtools.evaluation.variation.fitting import Answers
from shardtools.evaluation.variation.gaps import CANONICAL_COLUMN, Estimate
from shardtools.evaluation.variation.result import SimilarityBin, SimilarityPoint
from shardtools.evaluation.variation.world import World
from shardtools.features import open_class_texts
from shardtools.quoting import shell_word
from shardtools.taxonomy import find_synset, load_classes

WU_PALMER = "Wu and Palmer's, in WordNet's tree"

_NUM_DRAWS = 200


def class_similarities(wnids: Sequence[str], text_features: str | None) -> tuple[Float64s, str]:
    """Similarity of every two classes, [C, C], and in words what it is.

    Args:
        wnids: Of the classes.
        text_features: A folder that `shardtools text-features` wrote; `None` takes WordNet's tree.

    Raises:
        OptionError: The folder lacks a class.
        DatasetError: It holds no text features.
        TaxonomyError: A class is not in WordNet, or WordNet is needed and not installed.
    """
    if text_features is None:
        return np.array([[wu_palmer(one, other) for other in wnids] for one in wnids]), WU_PALMER
    texts = open_class_texts(text_features)
    place = {wnid: number for number, wnid in enumerate(texts.wnids)}
    lost = [wnid for wnid in wnids if wnid not in place]
    if lost:
        raise OptionError(
            f"{text_features} has no text of class {lost[0]}: make it with `shardtools text-features --classes "
            f"{shell_word(','.join(wnids))} --encoder ENCODER --out {shell_word(text_features)}`"
        )
    unit = texts.features[[place[wnid] for wnid in wnids]].astype(np.float64)
    return unit @ unit.T, f"cosine of texts by {texts.encoder.name}"


def wu_palmer(one: str, other: str) -> float:
    """Twice the depth of the deepest common ancestor over the depths of both through it, 0 to 1 (Wu and Palmer 1994).

    Depths count nodes from the root, along the longest way down to the ancestor and the shortest from there. Between
    ancestors nltk chooses by the shortest way down, which is another one for about one pair in twenty of ImageNet-1K;
    `shardtools cog` does as nltk. By the longest, a class is as like itself as can be.

    Raises:
        TaxonomyError: One is not in WordNet, or WordNet is needed and not installed.
    """
    above, above_other = _ancestors(one), _ancestors(other)
    common = above.keys() & above_other.keys()
    nearest = min(common, key=lambda wnid: (-_depth(wnid), above[wnid] + above_other[wnid], wnid))
    depth = _depth(nearest)
    return 2 * depth / (2 * depth + above[nearest] + above_other[nearest])


def _ancestors(wnid: str) -> dict[str, int]:
    """Itself and all that is above it, with the least number of steps."""
    found, level = {wnid: 0}, [wnid]
    while level:
        level = [parent for one in level for parent in _parents(one) if parent not in found]
        steps = max(found.values()) + 1
        found.update(dict.fromkeys(level, steps))
    return found


@functools.cache
def _depth(wnid: str) -> int:
    """Nodes on the longest way from the root."""
    return 1 + max((_depth(parent) for parent in _parents(wnid)), default=0)


@functools.cache
def _parents(wnid: str) -> tuple[str, ...]:
    synset = find_synset(wnid)
    if synset is not None:
        return synset.hypernym_wnids
    [found] = load_classes(wnid)
    return found.hypernym_wnids


def similarity_points(world: World, answers: Sequence[Answers], similarities: Float64s) -> Iterator[SimilarityPoint]:
    """A point for each factor, draw, and class that was not seen varying.

    Args:
        world: The pictures.
        answers: Of trials that have `seen`; others are passed over.
        similarities: Of classes, [C, C].
    """
    for one in answers:
        seen = one.trial.seen
        if seen is None:
            continue
        column = 1 + world.sets.index(one.trial.varied)
        right, of = (_by_class(world, table) for table in (one.counts.right, one.counts.of))
        for number in np.flatnonzero(~seen).tolist():
            if not of[number, column] or not of[number, CANONICAL_COLUMN]:
                continue
            accuracy = right[number] / np.maximum(of[number], 1)
            nearest = int(np.where(seen, similarities[number], -np.inf).argmax())
            yield SimilarityPoint(
                varied=one.trial.varied,
                repeat=one.trial.repeat,
                wnid=world.wnids[number],
                nearest=world.wnids[nearest],
                similarity=float(similarities[number, nearest]),
                gap=float(accuracy[column] - accuracy[CANONICAL_COLUMN]),
            )


def _by_class(world: World, table: Float64s) -> Float64s:
    found = np.zeros((len(world.wnids), table.shape[1]))
    np.add.at(found, world.class_of, table)
    return found


def similarity_bins(points: Sequence[SimilarityPoint], num_bins: int) -> list[SimilarityBin]:
    """Mean gap by quantiles of similarity, of each factor and of all; the bounds are those of all points.

    Args:
        points: At least one.
        num_bins: How many; fewer where similarities are equal.
    """
    similarity = np.array([one.similarity for one in points])
    edges = np.unique(np.quantile(similarity, np.linspace(0, 1, num_bins + 1)))
    found = []
    names = list(dict.fromkeys(one.varied for one in points))
    for name in [*names, ""] if len(names) > 1 else names:
        own = [one for one in points if name in ("", one.varied)]
        place = np.searchsorted(edges[1:-1], [one.similarity for one in own], side="right")
        for number in range(max(len(edges) - 1, 1)):
            gaps = np.array([one.gap for one, at in zip(own, place.tolist(), strict=True) if at == number])
            if not len(gaps):
                continue
            error = float(gaps.std(ddof=1) / np.sqrt(len(gaps))) if len(gaps) > 1 else None
            found.append(
                SimilarityBin(
                    varied=name,
                    least=float(edges[number]),
                    greatest=float(edges[min(number + 1, len(edges) - 1)]),
                    gap=float(gaps.mean()),
                    standard_error=error,
                    num_points=len(gaps),
                )
            )
    return found


def similarity_correlation(points: Sequence[SimilarityPoint], *, seed: int) -> Estimate | None:
    """Spearman's correlation of similarity and gap, classes drawn again; `None` where either is the same everywhere."""
    whole = _spearman(points)
    if whole is None:
        return None
    by_class: dict[str, list[SimilarityPoint]] = {}
    for one in points:
        by_class.setdefault(one.wnid, []).append(one)
    wnids = sorted(by_class)
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = []
    for _ in range(_NUM_DRAWS):
        chosen = generator.integers(len(wnids), size=len(wnids)).tolist()
        value = _spearman([one for number in chosen for one in by_class[wnids[number]]])
        if value is not None:
            drawn.append(value)
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn else (None, None)
    return Estimate(value=whole, low=None if low is None else float(low), high=None if high is None else float(high))


def _spearman(points: Sequence[SimilarityPoint]) -> float | None:
    similarity, gap = [one.similarity for one in points], [one.gap for one in points]
    if len(set(similarity)) < 2 or len(set(gap)) < 2:
        return None
    return spearman(similarity, gap)
