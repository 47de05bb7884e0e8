"""`shardtools cog run`: a linear classifier a level, a model, a number of images and a seed; all of them probes.

Owns the order, and the names of rows. A probe keeps what it finished in its dataset, so a killed run goes on with the
same command, and further models, levels and numbers of images are added to what is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from shardtools.errors import OptionError
from shardtools.evaluation.cog.naming import dataset_of
from shardtools.evaluation.cog.options import CogOptions
from shardtools.evaluation.cog.parts import level_view, overlay_levels
from shardtools.evaluation.probes import ProbeOptions, run_probe
from shardtools.evaluation.results import Result
from shardtools.execution import Progress, ignore
from shardtools.options import default_of

STUDY = "cog"

# What a run says of its probes itself; all else that both have goes through.
_OWN = ("dataset", "features", "name", "shots")
_SHARED = tuple(
    one.name for one in fields(ProbeOptions) if one.name in {own.name for own in fields(CogOptions)} - set(_OWN)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CogResult:
    """What a run came to.

    Attributes:
        results: Rows, a seed each: level by level, and there model by model.
        baseline: The model that others are compared with.
        notes: What a reader should know, a line each.
    """

    results: tuple[Result, ...]
    baseline: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    """A level or the seen concepts: its name, and which images are trained and tested on."""

    name: str
    options: ProbeOptions


def run_cog(options: CogOptions, *, progress: Progress = ignore) -> CogResult:
    """Measures each model on each level, with all images and with a few.

    Args:
        options: Which, and how.
        progress: Told what is done, and of every epoch (sgd) or setting (lbfgs).

    Raises:
        OptionError: The overlay has no such level, or no model is the baseline.
        DatasetError: A dataset or its features do not fit, a concept is in the test part alone, or an image that is
            judged would be learnt from.
        PlanMismatchError: A probe of that name was made otherwise.
        RunError: The run was stopped; the same call goes on.
    """
    rows: dict[str, list[Result]] = {features: [] for features in options.features}
    notes: dict[str, None] = {}
    for features in options.features:
        for one in _sets(options, features):
            # What is learnt from all images comes first: those figures are the ones that most people want.
            wanted = ([()] if options.whole else []) + ([options.shots] if options.shots else [])
            for number, shots in enumerate(wanted):
                # Both are one run of the probe, which is begun anew once at the most.
                asked = replace(one.options, shots=shots, replace=options.replace and number == 0)
                found = run_probe(asked, progress=progress)
                rows[features] += [_named(row, one.name) for row in found.results]
                notes |= dict.fromkeys(f"{one.name}, {features}: {note}" for note in found.notes)
    named = _with_names(rows)
    models = list(dict.fromkeys(row.model for row in named))
    if options.baseline is not None and options.baseline not in models:
        raise OptionError(
            f"--baseline is one of the models that were measured ({', '.join(models)}), found {options.baseline!r}"
        )
    return CogResult(results=tuple(named), baseline=options.baseline or models[0], notes=tuple(notes))


def _sets(options: CogOptions, features: str) -> Iterator[_Set]:
    for text in options.levels:
        name, _, dataset = text.partition("=")
        yield _Set(name=name, options=_probe(options, features, dataset, name))
    if options.dataset is None:
        return
    there = overlay_levels(options.dataset, options.overlay)
    strange = [name for name in options.only if name not in there]
    if strange:
        raise OptionError(
            f"overlay {options.overlay} of {options.dataset} has no level {strange[0]!r}: it has {', '.join(there)}"
        )
    for name in options.only or there:
        train, test = (level_view(options.overlay, name, part, labels=False) for part in ("train", "test"))
        # Levels of two overlays of a dataset may have one name.
        overlay = "" if options.overlay == default_of(CogOptions, "overlay") else options.overlay
        probe = _probe(options, features, options.dataset, overlay, name)
        yield _Set(name=name, options=replace(probe, train_view=train, test_view=test))


def _probe(options: CogOptions, features: str, dataset: str, *names: str) -> ProbeOptions:
    shared: dict[str, Any] = {name: getattr(options, name) for name in _SHARED}
    parts = (options.name, *names, features.rstrip("/").rpartition("/")[2], options.solver)
    # In letters that a name may have.
    plain = "_".join(filter(None, (re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in parts)))
    return ProbeOptions(dataset=dataset, features=features, name=plain[:64], **shared)


def _named(row: Result, level: str) -> Result:
    """A probe's row as one of a level: which images it is of is said by the level, not by the protocol."""
    return replace(row, study=STUDY, dataset=dataset_of(level), protocol=row.protocol.partition("; ")[0])


def _with_names(rows: Mapping[str, list[Result]]) -> list[Result]:
    """Rows of all features with the encoder's name, or, where several are of one encoder, with the features' own."""
    encoders = {features: {row.model for row in own} for features, own in rows.items()}
    named = []
    for features, own in rows.items():
        others = {name for other, names in encoders.items() if other != features for name in names}
        named += [replace(row, model=features) if row.model in others else row for row in own]
    return named
