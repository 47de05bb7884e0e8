"""The tables of appendix B of the thesis: accuracy by level and by images a concept, and how far above a baseline.

Owns their form: percent with one decimal, mean +- deviation of the seeds; differences in points. What the thesis calls
relative to ResNet-50 is read as a difference, which is what its text quotes ("a 3-4% accuracy gain").
"""

from __future__ import annotations

from dataclasses import dataclass

from shardtools.evaluation.cog.figures import OWN, WHOLE, CogFigures, CogModel
from shardtools.evaluation.results import Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table and what it shows."""

    title: str
    block: Block


def cog_tables(found: CogFigures) -> list[Table]:
    """All images by level, then a table a set by images a concept, where few were learnt from; each also relative."""
    tables = []
    if WHOLE in found.shots:
        keys = {place.title: (place.dataset, WHOLE) for place in found.places}
        tables += _both(found, "top-1 in %, all images", keys)
    if any(shots != WHOLE for shots in found.shots):
        for place in found.places:
            keys = {_shots_title(shots): (place.dataset, shots) for shots in found.shots}
            tables += _both(found, f"{place.title}: top-1 in % by images a concept", keys)
    return tables


def _both(found: CogFigures, title: str, keys: dict[str, tuple[str, int]]) -> list[Table]:
    absolute = Table(title=title, block=_block(found, keys, relative=False))
    if len(found.models) == 1:
        return [absolute]
    compared = title.replace("top-1 in %", f"points above {found.baseline.name}")
    return [absolute, Table(title=compared, block=_block(found, keys, relative=True))]


def _block(found: CogFigures, keys: dict[str, tuple[str, int]], *, relative: bool) -> Block:
    # A column that nobody has a figure for (a level without few-shot rows) is left out.
    kept = {title: key for title, key in keys.items() if any(key in model.figures for model in found.models)}
    models = [model for model in found.models if any(key in model.figures for key in kept.values())]
    has_groups = any(model.group != OWN for model in models)
    header = [*(["from"] if has_groups else []), "model", *kept]
    rows = [
        [
            *([model.group or "own"] if has_groups else []),
            model.name,
            *(_difference(found, model, key) if relative else _accuracy(model, key) for key in kept.values()),
        ]
        for model in models
    ]
    return Block(header=header, rows=rows, num_names=len(header) - len(kept))


def _accuracy(model: CogModel, key: tuple[str, int]) -> str:
    figure = model.figures.get(key)
    if figure is None:
        return "-"
    text = f"{100 * figure.value:.1f}"
    return text if figure.deviation is None else f"{text} +- {100 * figure.deviation:.1f}"


def _difference(found: CogFigures, model: CogModel, key: tuple[str, int]) -> str:
    difference = found.difference(model, key)
    return "-" if difference is None else f"{100 * difference:+.1f}"


def _shots_title(shots: int) -> str:
    return "all" if shots == WHOLE else str(shots)
