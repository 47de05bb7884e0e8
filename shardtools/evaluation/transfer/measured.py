"""What a transfer measurement came to, and the figures that are made of it: log odds, means over sets, rows of results.

Owns what a mean is of. A model has one over the sets that were asked for when it was measured on all of them; a mean
over fewer would be of other sets than its neighbor's. Sets that make up the thesis's 13 or ten are filed under a name
of their own ("transfer-13"), so that a mean stands beside a published one of the same sets and of no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from shardtools.arrays import Float64s
from shardtools.evaluation.analysis import FeatureAnalysis
from shardtools.evaluation.metrics import log_odds
from shardtools.evaluation.results import TRANSFER_SETS, Result

STUDY = "transfer"
MEAN = "transfer"
"""Dataset that a mean over sets of one's own is filed under."""

TOP1, LOG_ODDS = "top1_accuracy", "log_odds"
ANALYSES = ("sparsity", "intra_class_distance", "redundancy", "coding_length")
"""Metrics of features: those of figures 4.5, 4.6 and 5.6 of the thesis."""

FEATURES_SPLIT = "features/all"
"""`split` of rows that tell of features: a part, so that a table shows them only where that is asked for."""

_SOURCE = "shardtools eval transfer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A model on a set.

    Attributes:
        model: Name of its features.
        set_name: Of the set.
        solver: Of its classifiers.
        rows: Of results, one a seed and metric.
        accuracy: Top-1, mean over seeds, 0 to 1.
        deviation: Of the population of seeds.
        num_seeds: How many.
    """

    model: str
    set_name: str
    solver: str
    rows: tuple[Result, ...] = field(repr=False)
    accuracy: float
    deviation: float
    num_seeds: int

    @property
    def log_odds(self) -> float | None:
        """Natural logarithm of right over wrong, of the mean over seeds; `None` at 0 and 1, where it is infinite."""
        return float(log_odds(self.accuracy)) if 0 < self.accuracy < 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A model on a set that could not be measured.

    Attributes:
        model: Name of its features.
        set_name: Of the set.
        reason: One line.
    """

    model: str
    set_name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analyzed:
    """The features of a set.

    Attributes:
        model: Their name.
        set_name: Of the set.
        analysis: The four measures.
        shares: Singular values divided by their sum, largest first, [d].
        url: Folder of the features.
    """

    model: str
    set_name: str
    analysis: FeatureAnalysis
    shares: Float64s = field(repr=False)
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMean:
    """A model over sets.

    Attributes:
        dataset: As results file it: "transfer-13", "transfer-10", or `MEAN`.
        sets: What it is of.
        accuracy: Mean of the sets' accuracies, 0 to 1.
        log_odds: Mean of their log odds; `None` where one is infinite.
    """

    dataset: str
    sets: tuple[str, ...]
    accuracy: float
    log_odds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """All that `measure_transfer` found.

    Attributes:
        models: In the order asked for.
        sets: Names of the transfer sets, likewise.
        training: Name of the set that models were trained for; `None` for none.
        trained: Model -> accuracy there, 0 to 1.
        measured: Models on sets, the training set among them where it was probed.
        failed: Those that could not be.
        analyzed: Features of sets.
        applied: Rows of the training set's classifiers on other pictures of its classes.
        beside: Rows of results that were given.
        remarks: Of probes and analyses, a line each.
    """

    models: tuple[str, ...]
    sets: tuple[str, ...]
    training: str | None
    trained: Mapping[str, float]
    measured: tuple[Measured, ...]
    failed: tuple[Failed, ...]
    analyzed: tuple[Analyzed, ...]
    applied: tuple[Result, ...] = field(repr=False)
    beside: tuple[Result, ...] = field(repr=False)
    remarks: tuple[str, ...]

    def on(self, model: str, set_name: str) -> Measured | None:
        """A model on a set; `None` where it was not measured."""
        return next((one for one in self.measured if (one.model, one.set_name) == (model, set_name)), None)

    def means(self, model: str) -> list[SetMean]:
        """A model's means: over the thesis's sets where all of them are there, and over all that were asked for."""
        found = {name: one for name in self.sets if (one := self.on(model, name)) is not None}
        wanted = {name: sets for name, sets in TRANSFER_SETS.items() if set(sets) <= set(found)}
        if set(self.sets) == set(found) and not any(set(sets) == set(found) for sets in wanted.values()):
            wanted[MEAN] = self.sets
        return [_mean(name, [found[one] for one in sets]) for name, sets in wanted.items()]

    def main_mean(self, model: str) -> SetMean | None:
        """Its mean over the sets that were asked for; `None` where one is missing."""
        return next((one for one in self.means(model) if set(one.sets) == set(self.sets)), None)

    @property
    def results(self) -> list[Result]:
        """All figures as rows of results."""
        return [row for model in self.models for row in self._rows(model)]

    @property
    def notes(self) -> list[str]:
        """What a reader should know, a line each: failures first."""
        lines = [f"{one.set_name}, {one.model}: {one.reason}" for one in self.failed]
        for model in self.models:
            missing = [name for name in self.sets if self.on(model, name) is None]
            if missing:
                lines.append(f"{model}: no mean over sets, {', '.join(missing)} missing")
            for one in self.measured:
                if one.model == model and one.log_odds is None and one.set_name in self.sets:
                    lines.append(
                        f"{one.set_name}, {model}: an accuracy of {one.accuracy:.0%} has infinite log odds, so their "
                        "mean is left out: a set with more test images tells more"
                    )
        return list(dict.fromkeys([*lines, *self.remarks]))

    def _rows(self, model: str) -> Iterator[Result]:
        for one in self.measured:
            if one.model != model:
                continue
            yield from one.rows
            if one.log_odds is not None and one.set_name in self.sets:
                yield _row(one.model, one.set_name, LOG_ODDS, one.log_odds, "of the mean over seeds")
        yield from (row for row in self.applied if row.model == model)
        for mean in self.means(model):
            protocol = "mean of sets" if mean.dataset in TRANSFER_SETS else f"mean of {', '.join(mean.sets)}"
            yield _row(model, mean.dataset, TOP1, mean.accuracy, protocol)
            if mean.log_odds is not None:
                yield _row(model, mean.dataset, LOG_ODDS, mean.log_odds, protocol)
        for found in self.analyzed:
            if found.model == model:
                for metric in ANALYSES:
                    value = getattr(found.analysis, metric)
                    if value is not None:
                        row = _row(model, found.set_name, metric, value, "of all images, length 1", found.url)
                        yield replace(row, split=FEATURES_SPLIT)


def _mean(dataset: str, found: Sequence[Measured]) -> SetMean:
    odds = [one.log_odds for one in found]
    return SetMean(
        dataset=dataset,
        sets=tuple(one.set_name for one in found),
        accuracy=fmean(one.accuracy for one in found),
        log_odds=None if None in odds else fmean(value for value in odds if value is not None),
    )


def _row(model: str, dataset: str, metric: str, value: float, protocol: str, source: str = _SOURCE) -> Result:
    return Result(
        study=STUDY, model=model, dataset=dataset, metric=metric, value=value, protocol=protocol, source=source
    )
