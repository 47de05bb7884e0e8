"""What a measurement gives: figures with their meaning as fields, and as rows of results.

Owns the names of splits: `train`, `canonical`, a set ("pose", "pose+size", "all") or `average` where nothing varies;
"SETTING/VARIED/SHARE/MEASURED" in the others. The price: who wants a part of that text reads `VariationFigure` instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from shardtools.evaluation.results import Result
from shardtools.evaluation.variation.gaps import Estimate

STUDY = "natural-variation"

ACCURACY, GAP = "top1_accuracy", "variation_gap"
CHANGE, FROM_BASELINE = "variation_gap_change", "variation_gap_from_baseline"
SLOPE, SPEARMAN = "slope", "spearman"

TRAIN, AVERAGE, OTHERS, OWN = "train", "average", "others", "own"
SEEN, UNSEEN, DIFFERENCE = "seen", "unseen", "difference"
SIMILARITY = "similarity"

_ERRORS = 1.96
"""Standard errors to either side in an interval of 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariationFigure:
    """A figure of one model.

    Attributes:
        metric: A name in `shardtools.evaluation.metrics.METRICS`.
        estimate: Its value, interval and deviation over folds.
        varied: What varied in training; "" for nothing.
        share: Percent that varied, as it was asked for; `None` where there is none: no share, or a slope over shares.
        measured: What is judged: "train", "canonical", a set, "average" over factors, "others" than the varied one.
        group: Of the classes: "seen" varying, "unseen", "difference" of the two (unseen less seen), or a bin of
            similarity; "" for all.
    """

    metric: str
    estimate: Estimate
    varied: str = ""
    share: int | None = None
    measured: str = ""
    group: str = ""

    @property
    def split(self) -> str:
        """What a row of results says under `split`, without the setting."""
        share = "" if self.share is None else f"{self.share}%"
        return "/".join(filter(None, (self.varied, share, self.group, self.measured)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityPoint:
    """A class that was not seen varying, in one draw of half of the classes.

    Attributes:
        varied: The factor.
        repeat: Number of the draw.
        wnid: The class.
        nearest: The varying class that is nearest.
        similarity: Of the two.
        gap: Of the class's held-out objects: accuracy with the factor varied less canonical accuracy, -1 to 1.
    """

    varied: str
    repeat: int
    wnid: str
    nearest: str
    similarity: float
    gap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityBin:
    """Points of like similarity.

    Attributes:
        varied: The factor; "" for all.
        least: Similarity.
        greatest: Similarity.
        gap: Mean of the points' gaps.
        standard_error: Of that mean, points taken as independent; `None` of one point.
        num_points: How many.
    """

    varied: str
    least: float
    greatest: float
    gap: float
    standard_error: float | None
    num_points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVariation:
    """Everything that was measured of one model.

    Attributes:
        model: Its name.
        source: Its features or predictions.
        protocol: How, in words.
        figures: In the order of a table.
        points: In the setting `classes`, a point a class that was not seen varying, factor and draw.
        bins: Mean gaps of them, by similarity.
        similarity: What their similarity is, in words; "" where there are no points.
        notes: What a reader should know, a line each.
    """

    model: str
    source: str
    protocol: str
    figures: tuple[VariationFigure, ...]
    points: tuple[SimilarityPoint, ...] = ()
    bins: tuple[SimilarityBin, ...] = ()
    similarity: str = ""
    notes: tuple[str, ...] = ()

    def figure(
        self, metric: str, *, measured: str = "", varied: str = "", share: int | None = None, group: str = ""
    ) -> Estimate | None:
        """One figure; `None` where it was not measured."""
        wanted = (metric, varied, share, measured, group)
        for one in self.figures:
            if (one.metric, one.varied, one.share, one.measured, one.group) == wanted:
                return one.estimate
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariationResult:
    """All that `measure` found.

    Attributes:
        setting: What varied in training.
        dataset: Name of what it was measured on.
        sets: Sets of variation that were judged, in their order.
        factors: Those of them that are single factors.
        seed: Of the split and the draws.
        models: One for each name of features or predictions.
    """

    setting: str
    dataset: str
    sets: tuple[str, ...]
    factors: tuple[str, ...]
    seed: int
    models: tuple[ModelVariation, ...] = field(repr=False)

    @property
    def results(self) -> list[Result]:
        """All figures as rows of results."""
        return [row for model in self.models for row in self._rows(model)]

    @property
    def notes(self) -> list[str]:
        """What a reader should know, a line each; what holds for several models is said once."""
        return list(dict.fromkeys(note for model in self.models for note in model.notes))

    def _rows(self, model: ModelVariation) -> Iterator[Result]:
        for one in model.figures:
            plain = one.split if self.setting == "canonical" else f"{self.setting}/{one.split}"
            yield Result(
                study=STUDY,
                model=model.model,
                dataset=self.dataset,
                split=plain,
                protocol=model.protocol,
                metric=one.metric,
                value=one.estimate.value,
                seed=self.seed,
                low=one.estimate.low,
                high=one.estimate.high,
                source=model.source,
            )
        for bin_ in model.bins:
            error = bin_.standard_error
            between = f"{SIMILARITY} {bin_.least:.2f} to {bin_.greatest:.2f}"
            yield Result(
                study=STUDY,
                model=model.model,
                dataset=self.dataset,
                split=f"{self.setting}/{bin_.varied or AVERAGE}/{UNSEEN}/{between}",
                protocol=model.protocol,
                metric=GAP,
                value=bin_.gap,
                seed=self.seed,
                low=None if error is None else bin_.gap - _ERRORS * error,
                high=None if error is None else bin_.gap + _ERRORS * error,
                source=model.source,
            )
