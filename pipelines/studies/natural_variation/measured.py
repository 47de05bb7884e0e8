"""What was measured, as files: one a measurement, and all figures as one table of results.

Owns `measured/*.json`. A file appears whole or not at all, so a measurement is done or to be done again; the price is
that a kill costs the one in hand, seconds to minutes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from shardtools.errors import DatasetError, NotFoundError
from shardtools.evaluation.results import Result, write_results
from shardtools.evaluation.variation import Estimate, VariationResult
from shardtools.pipelines.studies.natural_variation.plan import MAIN
from shardtools.storage import Storage

MEASURED_FOLDER = "measured/"
RESULTS_FILE = "results.parquet"

ACCURACY, GAP, CHANGE, SLOPE = "top1_accuracy", "variation_gap", "variation_gap_change", "slope"
SPEARMAN = "spearman"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Which figure: fields of `VariationFigure`, and the measurement that it is of."""

    world: str
    setting: str
    metric: str
    varied: str = ""
    share: int | None = None
    measured: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Gaps of classes of like similarity to the nearest one that was seen varying; see `SimilarityBin`."""

    varied: str
    least: float
    greatest: float
    gap: float
    standard_error: float | None
    num_points: int


@dataclass(slots=True, kw_only=True)
class Measured:
    """All figures of a study.

    Attributes:
        figures: Model -> figure -> its value, shares of -1 to 1.
        bins: (World, model) -> bins of similarity.
        similarity: What similarity is, in words.
        notes: What a reader should know.
    """

    figures: dict[str, dict[Key, Estimate]] = field(default_factory=dict)
    bins: dict[tuple[str, str], list[Bin]] = field(default_factory=dict)
    similarity: str = ""
    notes: list[str] = field(default_factory=list)

    def get(self, model: str, key: Key) -> Estimate | None:
        """A figure of a model; `None` where it was not measured."""
        return self.figures.get(model, {}).get(key)

    def mean(self, models: Sequence[str], key: Key) -> Estimate | None:
        """Mean over models; the ends of its interval are the means of theirs.

        All models are judged on the same objects. Taking their errors as one is the widest that the mean's can be.
        """
        return mean_estimate([self.get(model, key) for model in models])

    def shares(self, world: str, setting: str, varied: str) -> list[int]:
        """Shares that a factor was varied in, rising."""
        keys = (key for own in self.figures.values() for key in own)
        return sorted(
            {
                key.share
                for key in keys
                if (key.world, key.setting, key.varied) == (world, setting, varied) and key.share is not None
            }
        )


def mean_estimate(found: Sequence[Estimate | None]) -> Estimate | None:
    """See `Measured.mean`; `None` where one is missing."""
    there = [one for one in found if one is not None]
    if not there or len(there) < len(found):
        return None
    ends = [
        None if any(end is None for end in own) else math.fsum(own) / len(own)  # type: ignore[arg-type]
        for own in ([one.low for one in there], [one.high for one in there])
    ]
    return Estimate(value=math.fsum(one.value for one in there) / len(there), low=ends[0], high=ends[1])


def difference(one: Estimate, other: Estimate) -> Estimate:
    """One figure less another, the interval by the method of variance estimates recovery (Zou and Donner 2008).

    It takes the errors as independent. Figures of the same objects go up and down together, so the interval is too
    wide rather than too narrow.
    """
    value = one.value - other.value
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Estimate(value=value)
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value=value, low=low, high=high)


def has_measured(storage: Storage, name: str) -> bool:
    """Whether a measurement is done."""
    return storage.exists(f"{MEASURED_FOLDER}{name}.json")


def store(storage: Storage, name: str, world: str, result: VariationResult) -> None:
    """Writes a measurement."""
    content = {
        "world": world,
        "setting": result.setting,
        "models": [asdict(model) for model in result.models],
        # The main world's rows have the name that published ones have, so that both stand side by side.
        "results": [
            asdict(replace(row, dataset="rendered" if world == MAIN else f"rendered {world}")) for row in result.results
        ],
    }
    storage.write(f"{MEASURED_FOLDER}{name}.json", (json.dumps(content, indent=1) + "\n").encode())


def read_measured(storage: Storage, names: Iterable[str]) -> Measured:
    """Reads measurements, in their order.

    Raises:
        DatasetError: A file is damaged, or is not there.
    """
    found = Measured()
    for name in names:
        content = _read(storage, name)
        world, setting = content["world"], content["setting"]
        for model in content["models"]:
            own = found.figures.setdefault(model["model"], {})
            for figure in model["figures"]:
                fields = {key: value for key, value in figure.items() if key != "estimate"}
                # A later setting measures the model without variation again: the same figure.
                own.setdefault(Key(world=world, setting=setting, **fields), Estimate(**figure["estimate"]))
            if model["bins"]:
                found.bins[world, model["model"]] = [Bin(**one) for one in model["bins"]]
                found.similarity = model["similarity"]
            found.notes += [note for note in model["notes"] if note not in found.notes]
    return found


def write_table(storage: Storage, out: Path, names: Iterable[str]) -> int:
    """All figures as `results.parquet`, which `shardtools sql --results` reads; the number of rows."""
    rows: dict[tuple[Any, ...], Result] = {}
    for name in names:
        for row in _read(storage, name)["results"]:
            one = Result(**row)
            key = (one.model, one.dataset, one.split, one.protocol, one.metric, one.source)
            rows.setdefault(key, one)
    return write_results(rows.values(), out / RESULTS_FILE)


def _read(storage: Storage, name: str) -> dict[str, Any]:
    path = f"{MEASURED_FOLDER}{name}.json"
    try:
        found = json.loads(storage.read(path))
    except (ValueError, NotFoundError):
        found = None
    if not isinstance(found, dict) or "models" not in found:
        raise DatasetError(
            f"{storage.object_url(path)}: expected a measurement, found another content: remove the file, the same "
            "command measures again"
        )
    return found
