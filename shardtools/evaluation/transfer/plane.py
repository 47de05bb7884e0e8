"""The plane of accuracy in training against transfer, and which models stand on its envelope (figure 4.7).

Owns the envelope: the part of the convex hull from the model that transfers best to the one that is best in training,
which no mix of two others beats on both axes. The price: a model that is best on neither axis and lies under the line
between two others is not on it, although no single one beats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardtools.evaluation.results import reference_results
from shardtools.evaluation.transfer.measured import LOG_ODDS, TOP1, Transfer

_REFERENCE, _DATASET = "trex", "transfer-13"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanePoint:
    """A model.

    Attributes:
        model: Its name.
        training: Accuracy on the set that it was trained for, 0 to 1.
        transfer: Mean log odds over the transfer sets.
        is_published: Whether it is the thesis's.
    """

    model: str
    training: float
    transfer: float
    is_published: bool = False


def upper_hull(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the points on the envelope, by rising x.

    Args:
        points: (x, y). Of equal ones the first counts; points on a line between two others are not on the envelope.
    """
    first = {point: number for number, point in reversed(list(enumerate(points)))}
    chain: list[tuple[float, float]] = []
    for point in sorted(first):
        # A turn to the left, or none, puts the middle one under the line of its neighbors.
        while len(chain) >= 2 and _turn(chain[-2], chain[-1], point) >= 0:
            chain.pop()
        chain.append(point)
    if not chain:
        return []
    # What lies before the highest point is beaten by it on both axes.
    highest = max(chain, key=lambda point: (point[1], point[0]))
    return [first[point] for point in chain[chain.index(highest) :]]


def plane_points(found: Transfer) -> list[PlanePoint]:
    """Own models that have both figures, then the thesis's where own means are of its 13 sets and of ImageNet."""
    own = []
    for model in found.models:
        mean, training = found.main_mean(model), found.trained.get(model)
        if mean is not None and mean.log_odds is not None and training is not None:
            own.append((PlanePoint(model=model, training=training, transfer=mean.log_odds), mean.dataset))
    points = [point for point, _ in own]
    if own and found.training == "imagenet" and all(dataset == _DATASET for _, dataset in own):
        points += published_points()
    return points


def published_points() -> list[PlanePoint]:
    """The models of tables D.1 and 4.1."""
    rows = reference_results(_REFERENCE)
    odds = {row.model: row.value for row in rows if (row.dataset, row.metric) == (_DATASET, LOG_ODDS)}
    seen = {row.model: row.value for row in rows if (row.dataset, row.split, row.metric) == ("imagenet", "", TOP1)}
    return [
        PlanePoint(model=model, training=seen[model], transfer=value, is_published=True)
        for model, value in odds.items()
    ]


def _turn(first: tuple[float, float], second: tuple[float, float], third: tuple[float, float]) -> float:
    """Above 0 where the way from the first over the second to the third turns left."""
    return (second[0] - first[0]) * (third[1] - first[1]) - (second[1] - first[1]) * (third[0] - first[0])
