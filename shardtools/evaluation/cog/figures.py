"""Figures of models on levels, own and published, out of rows of results.

Owns what one number of a table or a picture is: the mean over seeds, with the deviation of the population of seeds, as
appendix B of the thesis prints it. Rows of one model that were measured in another way (other trials, another run) are
a model of their own, so that no two protocols are averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from statistics import fmean, pstdev

from shardtools.errors import OptionError
from shardtools.evaluation.cog.naming import Place, is_cog, place_of, shots_of
from shardtools.evaluation.cog.options import ReportOptions
from shardtools.evaluation.published import read_rows
from shardtools.evaluation.results import Joined, Result, TableOptions, join_results, read_results, reference_results

OWN = ""
METRIC, DEVIATION = "top1_accuracy", "top1_deviation"
WHOLE = 0
"""Number of images that stands for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """An accuracy.

    Attributes:
        value: The mean over seeds, 0 to 1.
        deviation: Of the population of seeds; `None` of one seed.
    """

    value: float
    deviation: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class CogModel:
    """A model.

    Attributes:
        group: `OWN`, or the name of published figures.
        name: Its name.
        figures: (Set, images a concept; `WHOLE` for all) -> accuracy.
    """

    group: str
    name: str
    figures: Mapping[tuple[str, int], Figure] = field(repr=False)

    @property
    def category(self) -> str:
        """Of published models (thesis, table 3.2): "architecture", "self-supervision", ...; else ""."""
        return categories().get(self.name, "") if self.group != OWN else ""


@dataclass(frozen=True, kw_only=True, eq=False)
class CogFigures:
    """What tables and pictures are made of.

    Attributes:
        models: Own ones, then published ones in their order.
        places: Sets, the seen concepts first, then levels by measure and number.
        shots: Images a concept, few first, `WHOLE` last.
        baseline: The model that others are compared with.
    """

    models: tuple[CogModel, ...]
    places: tuple[Place, ...]
    shots: tuple[int, ...]
    baseline: CogModel

    def difference(self, model: CogModel, key: tuple[str, int]) -> float | None:
        """Accuracy less the baseline's, -1 to 1; `None` where one of them has none."""
        own, other = model.figures.get(key), self.baseline.figures.get(key)
        return None if own is None or other is None else own.value - other.value


@cache
def categories() -> Mapping[str, str]:
    """Published model -> its category, without the reference that others are compared with."""
    return {row["model"]: row["category"] for row in read_rows("cog_models") if row["category"] != "reference"}


def report_figures(options: ReportOptions) -> CogFigures:
    """The figures of files and of published models.

    Raises:
        OptionError: There is no figure of a level, or no such baseline.
        SourceError: A file is no table of results.
    """
    joined: list[Joined] = []
    if options.results:
        joined += join_results(TableOptions(results=options.results, parts=True))
    for name in dict.fromkeys(options.references):
        rows = [row for row in reference_results(name) if _is_wanted(row.model, options)]
        joined += [Joined(group=name, result=row) for row in rows]
    return cog_figures(joined, baseline=options.baseline)


def own_figures(results: Iterable[Result], *, baseline: str | None = None) -> CogFigures:
    """The figures of rows that were just measured."""
    return cog_figures([Joined(group=OWN, result=row) for row in results], baseline=baseline)


def cog_figures(joined: Iterable[Joined], *, baseline: str | None = None) -> CogFigures:
    """Puts rows together; those of other sets and metrics are left aside.

    Args:
        joined: Own rows and published ones.
        baseline: Name of a model, own ones first; `None` takes the first model.

    Raises:
        OptionError: There is no figure of a level, or no such baseline.
    """
    values: dict[tuple[str, str], dict[tuple[str, int], list[float]]] = {}
    deviations: dict[tuple[str, str], dict[tuple[str, int], float]] = {}
    ways: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for one in joined:
        row, shots = one.result, shots_of(one.result.split)
        if shots is None or not is_cog(row.dataset) or row.metric not in (METRIC, DEVIATION):
            continue
        if row.metric == DEVIATION:
            deviations.setdefault((one.group, row.model), {})[row.dataset, shots] = row.value
            continue
        known = ways.setdefault((one.group, row.model, row.dataset), [])
        if (row.protocol, row.source) not in known:
            known.append((row.protocol, row.source))
        number = known.index((row.protocol, row.source))
        name = row.model if not number else f"{row.model} ({row.source})"
        values.setdefault((one.group, name), {}).setdefault((row.dataset, shots), []).append(row.value)
    if not values:
        raise OptionError(
            "there is no accuracy on a level (top1_accuracy on imagenet or cog-...): `shardtools cog run --results "
            "FILE` writes some, --reference cog has published ones"
        )
    models = tuple(
        CogModel(
            group=group,
            name=name,
            figures={key: _figure(found, deviations.get((group, name), {}).get(key)) for key, found in own.items()},
        )
        for (group, name), own in sorted(values.items(), key=lambda item: item[0][0] != OWN)
    )
    keys = {key for model in models for key in model.figures}
    return CogFigures(
        models=models,
        places=tuple(sorted({place_of(dataset) for dataset, _ in keys}, key=_order)),
        shots=tuple(sorted({shots for _, shots in keys}, key=lambda shots: (shots == WHOLE, shots))),
        baseline=_baseline(models, baseline),
    )


def fine_tuned_figures(address: str) -> Mapping[str, Mapping[str, float]]:
    """Model -> set -> accuracy of models that were trained on each level, mean over rows that differ in the seed.

    Args:
        address: A file of results: models as own rows name them, sets "imagenet", "cog-l1", ..., top1_accuracy.

    Raises:
        OptionError: There is none.
        SourceError: The file is no table of results.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for row in read_results([address]):
        if row.metric == METRIC and not row.split and is_cog(row.dataset):
            found.setdefault(row.model, {}).setdefault(row.dataset, []).append(row.value)
    if not found:
        raise OptionError(
            f"{address} has no top1_accuracy on imagenet or a level (cog-l1, ...): a row a model and level is needed"
        )
    return {model: {dataset: fmean(own) for dataset, own in sets.items()} for model, sets in found.items()}


def _figure(values: list[float], deviation: float | None) -> Figure:
    spread = pstdev(values) if len(values) > 1 else deviation
    return Figure(value=fmean(values), deviation=spread)


def _baseline(models: tuple[CogModel, ...], name: str | None) -> CogModel:
    if name is None:
        return models[0]
    found = next((model for model in models if model.name == name), None)
    if found is None:
        names = ", ".join(model.name for model in models[:8])
        raise OptionError(
            f"--baseline is a model that has figures ({names}{', ...' * (len(models) > 8)}), found {name!r}"
        )
    return found


def _order(place: Place) -> tuple[bool, bool, str, int, str]:
    """Seen concepts, levels by Lin's measure, by others, drawn ones."""
    return place.number > 0, place.measure not in ("", "lin"), place.measure, place.number, place.dataset


def _is_wanted(model: str, options: ReportOptions) -> bool:
    is_named = any(text.lower() in model.lower() for text in options.models)
    return not options.models or is_named or model == options.baseline
