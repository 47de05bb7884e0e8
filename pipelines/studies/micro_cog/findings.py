"""What the thesis found beside what is found here, and whether so few concepts can tell.

Owns the list and the verdicts. A difference is taken fold by fold, so that its interval (Student's, of 95 %) holds what
another choice of held-out objects does; a verdict is given only where it leaves zero out. It says nothing of another
choice of concepts: six of a kind are few, and the levels' own difficulty is what the networks that know all of them
(the encoders) lose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from shardtools.arrays import Float64s
from shardtools.evaluation.results import Block, Result, block_markdown
from shardtools.pipelines.studies.micro_cog.plan import StudyOptions
from shardtools.pipelines.studies.student import student_interval

METRIC = "top1_accuracy"
SEEN, LEVELS, AGAIN, DRAWN = "cog-seen-", "cog-l", "cog-wu-palmer-l", "cog-r"
HOLDS, NOT, OPEN = "holds", "does not hold", "open"


class Figures:
    """Accuracies by model, set and fold."""

    def __init__(self, options: StudyOptions, rows: Iterable[Result]) -> None:
        """Takes the rows of all images; those of few are in the tables only."""
        self.options = options
        self._values = {
            (row.model, row.dataset, row.seed): row.value for row in rows if row.metric == METRIC and not row.split
        }

    def of(self, model: str, kind: str) -> Float64s:
        """Accuracies of a model on the sets of a kind, in their order, [folds, sets]."""
        numbers = sorted(
            {
                int(dataset.removeprefix(kind))
                for _, dataset, _ in self._values
                if dataset.startswith(kind) and dataset.removeprefix(kind).isdigit()
            }
        )
        return np.array(
            [[self._values[model, f"{kind}{number}", fold] for number in numbers] for fold in range(self.options.folds)]
        )

    def control(self, kind: str) -> Float64s:
        """The same of the networks that know all concepts, their mean."""
        known = [self.of(encoder, kind) for encoder in self.options.encoders]
        return np.asarray(np.mean(known, axis=0), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A finding of the thesis.

    Attributes:
        text: What it says, as a difference in points.
        where: Section or figure.
        direction: Sign of what it says.
        values: What is found here, points, a fold each; empty where it cannot be measured.
    """

    text: str
    where: str
    direction: int
    values: tuple[float, ...]

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the mean; `None` where nothing was measured."""
        return student_interval(self.values) if len(self.values) > 1 else None

    @property
    def verdict(self) -> str:
        """`OPEN` where zero lies in the interval."""
        found = self.interval
        if found is None:
            return "not measured here"
        if found[0] <= 0 <= found[1]:
            return OPEN
        return HOLDS if (found[0] > 0) == (self.direction > 0) else NOT


def judge(options: StudyOptions, rows: Iterable[Result]) -> list[Finding]:
    """All findings."""
    figures = Figures(options, rows)
    return [
        *(one for head in options.heads for one in _distance(figures, f"own-{head}")),
        *_measures(figures),
        *_projector(figures),
    ]


def findings_table(findings: Sequence[Finding]) -> str:
    """As Markdown."""
    rows = []
    for one in findings:
        ends = one.interval
        here = "-" if ends is None else f"{fmean(one.values):+.1f} ({ends[0]:+.1f} to {ends[1]:+.1f})"
        rows.append([one.text, one.where, here, one.verdict])
    header = ["finding of the thesis", "where", "here, points (95 % over folds)", "verdict"]
    return block_markdown(Block(header=header, rows=rows, num_names=2))


def _distance(figures: Figures, model: str) -> Iterator[Finding]:
    """What a network that has seen other concepts loses, less what those lose that have seen these."""
    seen, levels = figures.of(model, SEEN), figures.of(model, LEVELS)
    seen_control, levels_control = figures.control(SEEN), figures.control(LEVELS)
    yield _finding(
        f"{model}: the farthest level less the seen concepts", "figure 3.4", -1, levels[:, -1] - seen.mean(axis=1)
    )
    yield _finding(
        f"{model}: the same, less what the encoders lose there",
        "figure 3.6",
        -1,
        (levels[:, -1] - seen.mean(axis=1)) - (levels_control[:, -1] - seen_control.mean(axis=1)),
    )
    places = np.arange(levels.shape[1])
    slopes = np.polyfit(places, (levels - levels_control).T, 1)[0]
    yield _finding(f"{model}: less the encoders, from one level to the next farther", "figure 3.6", -1, slopes)


def _measures(figures: Figures) -> Iterator[Finding]:
    """Whether levels by Lin's similarity part more than other levels of the same concepts."""
    for head in figures.options.heads[:1]:
        model = f"own-{head}"
        lin, other = (figures.of(model, kind) - figures.control(kind) for kind in (LEVELS, AGAIN))
        yield _finding(
            f"{model}, less the encoders: the fall over the levels by Lin's measure, less by Wu and Palmer's",
            "figure 3.7",
            -1,
            (lin[:, -1] - lin[:, 0]) - (other[:, -1] - other[:, 0]),
        )
        drawn = figures.of(model, DRAWN) - figures.control(DRAWN)
        yield _finding(
            f"{model}, less the encoders: the farthest level less levels drawn at random",
            "figure 3.7",
            -1,
            lin[:, -1] - drawn.mean(axis=1),
        )


def _projector(figures: Figures) -> Iterator[Finding]:
    if not {"linear", "projector"} <= set(figures.options.heads):
        return
    for kind, where in ((SEEN, "seen concepts"), (LEVELS, "unseen concepts, all levels")):
        gain = figures.of("own-projector", kind) - figures.of("own-linear", kind)
        yield _finding(f"a projector less none, {where}", "table 4.1", 1, gain.mean(axis=1))


def _finding(text: str, where: str, direction: int, shares: Iterable[float]) -> Finding:
    return Finding(text=text, where=where, direction=direction, values=tuple(100 * float(one) for one in shares))
