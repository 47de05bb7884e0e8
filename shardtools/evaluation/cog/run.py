"""`shardtools cog run`: a linear classifier a level, a model, a number of images and a seed; all of them probes.

Owns the order, and the names of rows. A probe keeps what it finished in its dataset, so a killed run goes on with the
same command, and further models, levels and numbers of images are added to what is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from shardtools.errors import OptionError
from shardtools.evaluation.cog.naming import dataset_of
from shardtools.evaluation.cog.options import CogOptions
from shardtools.evaluation.cog.parts import level_view, overlay_levels
from shardtools.evaluation.probes import ProbeOptions, run_probe
from shardtools.evaluation.results import Result
from shardtools.execution import Progress, ignore

STUDY = "cog"


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
        progress: Told what is done, and of every setting that was tried.

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
                rows[features] += [replace(row, study=STUDY, dataset=dataset_of(one.name)) for row in found.results]
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
        yield _Set(name=name, options=_probe(options, features, name, dataset))
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
        probe = _probe(options, features, name, options.dataset)
        yield _Set(name=name, options=replace(probe, train_view=train, test_view=test))


def _probe(options: CogOptions, features: str, level: str, dataset: str) -> ProbeOptions:
    return ProbeOptions(
        dataset=dataset,
        features=features,
        train_split=options.train_split,
        test_split=options.test_split,
        solver=options.solver,
        seeds=options.seeds,
        num_trials=options.num_trials,
        batch=options.batch,
        faithful=options.faithful,
        balanced=options.balanced,
        epochs=options.epochs,
        copies=options.copies,
        device=options.device,
        threads=options.threads,
        replace=options.replace,
        name=_run_name(level, features, options.solver),
    )


def _run_name(level: str, features: str, solver: str) -> str:
    """Name of a probe's run, in letters that it may have."""
    plain = re.sub(r"[^a-z0-9]+", "_", f"{level}_{features.rstrip('/').rpartition('/')[2]}_{solver}".lower())
    return f"cog_{plain.strip('_')}"[:64]


def _with_names(rows: Mapping[str, list[Result]]) -> list[Result]:
    """Rows of all features with the encoder's name, or, where several are of one encoder, with the features' own."""
    encoders = {features: {row.model for row in own} for features, own in rows.items()}
    named = []
    for features, own in rows.items():
        others = {name for other, names in encoders.items() if other != features for name in names}
        named += [replace(row, model=features) if row.model in others else row for row in own]
    return named
