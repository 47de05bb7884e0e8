"""Which images a classifier is searched on, chosen by, and fitted to.

Owns the draws of ImageNet-CoG and t-ReX (thesis, section 3.3.4; naver/cog and naver/trex): a fifth of
each class, rounded down, validates; the few-shot search keeps some of the other four fifths, the last fit some of all.
A draw is a number out of (seed, what for, key) and the images of a class with the least numbers are taken, so that it
does not depend on the other classes, and of two few-shot sets the smaller lies in the larger. The price: the images
are not those that the published programs draw.

A class with two images and more has one at least in validation (naver/trex; naver/cog takes none below five, and then
none for training either); an image that is alone in its class is trained on and validates nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shardtools.arrays import Bools, Float64s, Int64s, UInt64s
from shardtools.loader import Draws

_FIFTH = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Rows of the training images, rising, int64.

    Attributes:
        train: That each setting is fitted to.
        validation: That it is judged on; no row of `train`.
        final: That the last classifier is fitted to; any rows.
    """

    train: Int64s
    validation: Int64s
    final: Int64s


def draw_parts(
    key_hashes: UInt64s, labels: Int64s, *, seed: int, shots: int | None, given: Bools | None = None
) -> Drawn:
    """The images of one measurement.

    Args:
        key_hashes: `hash_keys` of the training images, [N].
        labels: Their classes, from 0, [N].
        seed: Of the draws.
        shots: Images a class that are learnt from; `None` takes all. A class that has fewer gives what it has.
        given: Which of them validate, [N]; `None` draws them.
    """
    draws = Draws(seed=seed, epoch=0, keys=key_hashes)
    validates = _fifth(labels, draws) if given is None else given
    train, final = ~validates, np.ones(len(labels), np.bool_)
    if shots is not None:
        train = _fewest(labels, draws, "probe shots", train, shots)
        # Drawn anew, of validation's too: the settings are found, and all images may be learnt from.
        final = _fewest(labels, draws, "probe final shots", final, shots)
    return Drawn(train=np.flatnonzero(train), validation=np.flatnonzero(validates), final=np.flatnonzero(final))


def draw_balanced(key_hashes: UInt64s, labels: Int64s, count: int) -> Bools:
    """`count` images of each class, bool [N]; the same for all seeds, as they are another set to learn from."""
    draws = Draws(seed=0, epoch=0, keys=key_hashes)
    return _fewest(labels, draws, "probe balanced", np.ones(len(labels), np.bool_), count)


def _fifth(labels: Int64s, draws: Draws) -> Bools:
    counts = np.bincount(labels)
    wanted = np.where(counts < 2, 0, np.maximum(counts // _FIFTH, 1))
    places = _places(labels, draws.uniform("probe validation", 1)[:, 0])
    return np.asarray(places < wanted[labels])


def _fewest(labels: Int64s, draws: Draws, operation: str, among: Bools, count: int) -> Bools:
    """At most `count` images a class of those that are `among`, bool [N]."""
    found = np.zeros(len(labels), np.bool_)
    rows = np.flatnonzero(among)
    if len(rows):
        numbers = draws.for_rows(rows).uniform(operation, 1)[:, 0]
        found[rows[_places(labels[rows], numbers) < count]] = True
    return found


def _places(labels: Int64s, numbers: Float64s) -> Int64s:
    """Place of each image in its class by rising number, from 0, [N]."""
    order = np.lexsort((numbers, labels))
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    places = np.empty(len(labels), np.int64)
    places[order] = np.arange(len(labels)) - starts[labels[order]]
    return places
