"""Figures of one model's answers: accuracies, gaps, their change, slopes.

Owns what each setting is summed up by. Every figure is held against the model without variation, which is the first of
the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shardtools.evaluation.variation.fitting import Answers
from shardtools.evaluation.variation.gaps import (
    CANONICAL_COLUMN,
    Counts,
    Resampling,
    Statistic,
    less,
    mean_of,
    slope_of,
    sum_of,
)
from shardtools.evaluation.variation.result import (
    ACCURACY,
    AVERAGE,
    CHANGE,
    DIFFERENCE,
    FROM_BASELINE,
    GAP,
    OTHERS,
    OWN,
    SEEN,
    SLOPE,
    TRAIN,
    UNSEEN,
    VariationFigure,
)
from shardtools.evaluation.variation.world import CANONICAL, World

Figures = Iterator[VariationFigure]


class Figuring:
    """Figures of one model's answers."""

    def __init__(self, world: World, answers: Sequence[Answers], resampling: Resampling) -> None:
        """Takes what was answered; the first is of the model without variation."""
        self._world, self._answers, self._resampling = world, answers, resampling
        self.baseline = answers[0].counts
        self._column = {name: 1 + number for number, name in enumerate(world.sets)}

    def canonical(self) -> Figures:
        """Accuracies and gaps of the model without variation (table 1)."""
        of_training = self._answers[0].trained
        if of_training.of.any():
            trained = Resampling.plain(of_training.accuracy(CANONICAL_COLUMN), len(self._world.objects))
            yield VariationFigure(metric=ACCURACY, estimate=trained, measured=TRAIN)
        yield from self._figure(ACCURACY, self.baseline.accuracy(CANONICAL_COLUMN), measured=CANONICAL)
        yield from self._sets(self.baseline, varied="", share=None)

    def shares(self) -> Figures:
        """Accuracies, gaps and their change at each share, and slopes over shares (figures 4, 5, 6, A14)."""
        yield from self.canonical()
        for name in dict.fromkeys(one.trial.varied for one in self._answers[1:]):
            yield from self._curve(name)
        yield from self._slopes()

    def classes(self) -> Figures:
        """Gaps of classes that were seen varying and of those that were not (table 3)."""
        yield from self.canonical()
        parts: dict[str, list[Statistic]] = {SEEN: [], UNSEEN: [], DIFFERENCE: []}
        for name in dict.fromkeys(one.trial.varied for one in self._answers[1:]):
            seen, unseen = self.seen_and_unseen(name)
            column = self._column[name]
            own = {SEEN: seen.gap(column), UNSEEN: unseen.gap(column)}
            own[DIFFERENCE] = less(own[UNSEEN], own[SEEN])
            for group, counts in ((SEEN, seen), (UNSEEN, unseen)):
                for measured, place in ((CANONICAL, CANONICAL_COLUMN), (name, column)):
                    yield from self._figure(
                        ACCURACY, counts.accuracy(place), varied=name, group=group, measured=measured
                    )
            for group, statistic in own.items():
                parts[group].append(statistic)
                yield from self._figure(GAP, statistic, varied=name, group=group, measured=name)
        if len(parts[SEEN]) > 1:
            for group, statistics in parts.items():
                yield from self._figure(GAP, mean_of(statistics), varied=AVERAGE, group=group, measured=OWN)

    def seen_and_unseen(self, name: str) -> tuple[Counts, Counts]:
        """Answers to objects of classes that were seen varying in a factor, and of those that were not, all draws."""
        both: tuple[list[Counts], list[Counts]] = ([], [])
        for one in self._answers[1:]:
            if one.trial.varied == name and one.trial.seen is not None:
                is_seen = one.trial.seen[self._world.class_of]
                both[0].append(one.counts.only(is_seen))
                both[1].append(one.counts.only(~is_seen))
        return sum_of(both[0]), sum_of(both[1])

    def _at(self, name: str, share: int) -> Counts:
        return sum_of(one.counts for one in self._answers if (one.trial.varied, one.trial.share) == (name, share))

    def _share_of(self, name: str, share: int) -> float:
        found = [one.share for one in self._answers if (one.trial.varied, one.trial.share) == (name, share)]
        return sum(found) / len(found)

    def _shares(self, name: str) -> list[int]:
        return list(dict.fromkeys(one.trial.share for one in self._answers if one.trial.varied == name))

    def _curve(self, name: str) -> Figures:
        for share in self._shares(name):
            counts = self._at(name, share)
            yield from self._figure(
                ACCURACY, counts.accuracy(CANONICAL_COLUMN), varied=name, share=share, measured=CANONICAL
            )
            yield from self._sets(counts, varied=name, share=share)
            changes = {}
            for measured, column in self._column.items():
                changes[measured] = less(counts.gap(column), self.baseline.gap(column))
                from_baseline = less(counts.accuracy(column), self.baseline.accuracy(CANONICAL_COLUMN))
                for metric, statistic in ((CHANGE, changes[measured]), (FROM_BASELINE, from_baseline)):
                    yield from self._figure(metric, statistic, varied=name, share=share, measured=measured)
            others = [changes[factor] for factor in self._world.factors if factor != name]
            for measured, several in ((OTHERS, others), (AVERAGE, [changes[one] for one in self._world.factors])):
                if several:
                    yield from self._figure(CHANGE, mean_of(several), varied=name, share=share, measured=measured)

    def _sets(self, counts: Counts, *, varied: str, share: int | None) -> Figures:
        for measured, column in self._column.items():
            yield from self._figure(ACCURACY, counts.accuracy(column), varied=varied, share=share, measured=measured)
        for measured, column in self._column.items():
            yield from self._figure(GAP, counts.gap(column), varied=varied, share=share, measured=measured)
        several = [counts.gap(self._column[factor]) for factor in self._world.factors]
        yield from self._figure(GAP, mean_of(several), varied=varied, share=share, measured=AVERAGE)

    def _slopes(self) -> Figures:
        diagonal = []
        for name in dict.fromkeys(one.trial.varied for one in self._answers[1:]):
            shares = self._shares(name)
            over = [0.0, *(self._share_of(name, share) for share in shares)]
            counts = [self.baseline, *(self._at(name, share) for share in shares)]
            for measured, column in self._column.items():
                statistic = slope_of(over, [one.gap(column) for one in counts])
                if measured == name:
                    diagonal.append(statistic)
                yield from self._figure(SLOPE, statistic, varied=name, measured=measured)
        if len(diagonal) > 1:
            yield from self._figure(SLOPE, mean_of(diagonal), varied=AVERAGE, measured=OWN)

    def _figure(
        self,
        metric: str,
        statistic: Statistic,
        *,
        varied: str = "",
        share: int | None = None,
        measured: str = "",
        group: str = "",
    ) -> Figures:
        estimate = self._resampling.estimate(statistic)
        if estimate is not None:
            yield VariationFigure(
                metric=metric, estimate=estimate, varied=varied, share=share, measured=measured, group=group
            )
