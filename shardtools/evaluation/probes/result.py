"""What a probe found: rows of results, and their mean and deviation over seeds.

Owns the names of rows: `split` is empty where all images are learnt from, "shots/4" where four of each class are. The
deviation is the population's, as naver/cog and naver/trex print it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean, pstdev

from shardtools.evaluation.metrics import Share
from shardtools.evaluation.probes.plan import Cell, ProbePlan
from shardtools.evaluation.results import Result

STUDY = "probe"
TOP1, CLASS_MEAN = "top1_accuracy", "mean_class_accuracy"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What a run came to.

    Attributes:
        url: Its folder.
        results: Two rows a measurement: top-1 and the mean over classes, in the order of shots and seeds asked for.
        cells: The measurements.
        overlays: Addresses of the predictions that were asked for.
        num_measured: Measurements that this run made; the others were there.
        notes: What a reader should know, a line each.
    """

    url: str
    results: tuple[Result, ...]
    cells: tuple[Cell, ...]
    overlays: tuple[str, ...]
    num_measured: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverSeeds:
    """Rows that differ in the seed alone.

    Attributes:
        row: One of them, without value, interval and seed: its value is the mean.
        deviation: Of the population of seeds; 0 of one seed.
        num_seeds: How many.
    """

    row: Result
    deviation: float
    num_seeds: int


def results_of_cells(plan: ProbePlan, cells: Iterable[Cell], dataset: str, source: str) -> list[Result]:
    """Rows of results.

    Args:
        plan: Of the run.
        cells: Its measurements.
        dataset: Name of what is tested on.
        source: Where the run is.
    """
    found = []
    for cell in cells:
        low, high = Share(cell.num_right, cell.num_test).interval
        row = Result(
            study=STUDY,
            model=plan.encoder,
            dataset=dataset,
            split=shots_split(cell.shots),
            protocol=protocol_words(plan),
            metric=TOP1,
            value=cell.accuracy,
            seed=cell.seed,
            low=low,
            high=high,
            source=source,
        )
        found += [row, replace(row, metric=CLASS_MEAN, value=cell.class_accuracy, low=None, high=None)]
    return found


def shots_split(shots: int | None) -> str:
    """`split` of rows with so many images a class."""
    return "" if shots is None else f"shots/{shots}"


def protocol_words(plan: ProbePlan) -> str:
    """How it was measured, in words that differ where figures do not compare."""
    parts = [f"linear {plan.solver}"]
    if plan.epochs:
        parts.append(f"{plan.epochs} epochs")
    parts.append(f"best of {plan.num_trials}, {plan.trials_together} at once")
    parts.append("l2" if plan.l2 else "no l2")
    if plan.balanced:
        parts.append(f"{plan.balanced} images a class")
    if plan.copies == "keep":
        parts.append("copies kept")
    return f"{', '.join(parts)}; {plan.train}, tested on {plan.test}"


def over_seeds(results: Iterable[Result]) -> list[OverSeeds]:
    """Means over seeds, in the order of the first rows."""
    groups: dict[Result, list[float]] = {}
    for row in results:
        groups.setdefault(replace(row, value=0.0, seed=None, low=None, high=None), []).append(row.value)
    return [
        OverSeeds(row=replace(row, value=fmean(values)), deviation=pstdev(values), num_seeds=len(values))
        for row, values in groups.items()
    ]
