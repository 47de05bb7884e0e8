"""The search for settings: Optuna's TPE, in batches that are evaluated together, killed and resumed at will.

Owns every call of Optuna, and the journal: one JSON file, published anew with all trials whenever a batch has been
evaluated. What the sampler draws for a trial is a function of the seed, the trial's number and the trials before its
batch, and of nothing that lives in memory: a search that was killed goes on with the settings that it would have had.
The price: a kill costs the batch that was being evaluated, since batches are evaluated together and recorded together.

The published protocols search one trial after the other (`batch=1`). In a batch, later trials see the earlier ones as
running, without a value, and keep away from them (Optuna's `constant_liar`).
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from shardtools.documents import Document, Format
from shardtools.errors import OptionError, PlanMismatchError, RunError, StorageError
from shardtools.evaluation.probes.options import NUM_TRIALS, TRIALS_TOGETHER
from shardtools.extras import require
from shardtools.storage import open_storage
from shardtools.words import counted

if TYPE_CHECKING:
    import optuna

Objective = Callable[[Sequence[Mapping[str, float]]], Sequence[float]]
"""Settings of some trials -> the value of each, greater is better; one that is not finite marks a trial as failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Where a setting is looked for.

    Attributes:
        low: The least value, itself included.
        high: The greatest value, itself included.
        log: Whether factors count rather than differences.
    """

    low: float
    high: float
    log: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise OptionError(f"a range has two finite ends, the lower first, found {self.low} to {self.high}")
        if self.log and self.low <= 0:
            raise OptionError(f"a range of factors begins above 0, found {self.low}: give log=False or a positive end")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One set of settings, evaluated.

    Attributes:
        number: From 0, in the order of asking.
        settings: Value of each setting by its name.
        value: What the objective gave; `None` for a trial that failed.
    """

    number: int
    settings: Mapping[str, float]
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """What a search found.

    Attributes:
        settings: Of the trial of the greatest value; of equal ones, the first.
        value: Its value.
        number: Its number.
        trials: All of them, in the order of asking.
    """

    settings: Mapping[str, float]
    value: float
    number: int
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """What settles the trials of a search, beside the objective."""

    space: Mapping[str, Range]
    num_trials: int
    batch: int
    seed: int
    multivariate: bool
    group: bool
    constant_liar: bool

    def __post_init__(self) -> None:
        if not self.space:
            raise OptionError("a search needs at least one setting with a range, found none")
        for name, value, least in (
            ("num_trials", self.num_trials, 1),
            ("batch", self.batch, 1),
            ("seed", self.seed, 0),
        ):
            if value < least:
                raise OptionError(f"{name} is at least {least}, found {value}")
        if self.group and not self.multivariate:
            raise OptionError("group=True groups the settings of multivariate=True, found multivariate=False")


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal(Document):
    """The content of a journal."""

    format: ClassVar[Format] = Format(
        name="shardtools-search",
        version=1,
        what="the journal of a search",
        remedy="remove it, and the search begins anew",
    )

    plan: SearchPlan
    trials: tuple[Trial, ...]


def search(
    objective: Objective,
    space: Mapping[str, Range],
    *,
    num_trials: int = NUM_TRIALS,
    batch: int = TRIALS_TOGETHER,
    seed: int,
    multivariate: bool = True,
    group: bool = True,
    constant_liar: bool = True,
    journal: str | os.PathLike[str],
) -> Best:
    """Looks for the settings of the greatest value.

    Args:
        objective: Gives the values of the trials of a batch; a search that is resumed hands it the same batches.
        space: The range of each setting.
        num_trials: How many are evaluated.
        batch: How many are asked for together; 1 is the published, sequential search.
        seed: Of the sampler, not negative.
        multivariate: Whether settings are drawn together (Optuna's `multivariate`).
        group: Whether they are grouped by the trials that have them (Optuna's `group`).
        constant_liar: Whether trials of a batch keep away from one another.
        journal: The file that the trials are kept in, on a disk or an object store; one that is there is gone on with.

    Raises:
        OptionError: The search is impossible as asked for, or the objective gave another number of values.
        PlanMismatchError: The journal is of another search.
        DatasetError: It is no journal, or damaged.
        RunError: Optuna is missing, or every trial failed.
    """
    plan = SearchPlan(
        space=dict(sorted(space.items())),
        num_trials=num_trials,
        batch=batch,
        seed=seed,
        multivariate=multivariate,
        group=group,
        constant_liar=constant_liar,
    )
    where = os.fspath(journal)
    trials = _read(where, plan)
    study = None
    while len(trials) < num_trials:
        # Optuna is loaded when a trial is missing: a finished search is read without it.
        study = study or _study(plan, trials)
        asked = [_ask(study, plan, number) for number in range(len(trials), min(len(trials) + batch, num_trials))]
        values = objective([settings for _, settings in asked])
        if len(values) != len(asked):
            raise OptionError(f"an objective gives a value a trial, {len(asked)} here, found {len(values)}")
        for (asked_trial, settings), value in zip(asked, values, strict=True):
            kept = float(value) if math.isfinite(value) else None
            trials.append(Trial(number=asked_trial.number, settings=settings, value=kept))
            _tell(study, asked_trial, kept)
        _write(where, Journal(plan=plan, trials=tuple(trials)))
    return _best(trials, where)


def _best(trials: Sequence[Trial], where: str) -> Best:
    found = max(trials, key=lambda one: -math.inf if one.value is None else one.value)
    if found.value is None:
        raise RunError(
            f"{where}: {counted(len(trials), 'trial')} and none with a finite value: look at the features and the "
            "ranges, then remove this file"
        )
    return Best(settings=found.settings, value=found.value, number=found.number, trials=tuple(trials))


def _split(where: str) -> tuple[str, str]:
    """Folder and name of a file."""
    folder, _, name = where.rpartition("/")
    if not name:
        raise StorageError(f"a journal is a file, found {where!r}: give it a name")
    return folder or ("/" if where.startswith("/") else "."), name


def _read(where: str, plan: SearchPlan) -> list[Trial]:
    """The trials that are there; none without a journal."""
    folder, name = _split(where)
    storage = open_storage(folder)
    if not storage.exists(name):
        return []
    found = Journal.from_json(storage.read(name), where=where)
    for field in ("space", "num_trials", "batch", "seed", "multivariate", "group", "constant_liar"):
        before, now = getattr(found.plan, field), getattr(plan, field)
        if before != now:
            raise PlanMismatchError(
                f"{where} is the journal of a search with {field} {before}, asked for {now}: ask as before, "
                "or remove it"
            )
    if [one.number for one in found.trials] != list(range(len(found.trials))) or len(found.trials) > plan.num_trials:
        raise Journal.format.damaged(where, "its trials are not numbered from 0")
    return list(found.trials)


def _write(where: str, journal: Journal) -> None:
    folder, name = _split(where)
    open_storage(folder).write(name, journal.to_json())


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna without its lines on the standard error and without its word that `group` is an experiment."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _study(plan: SearchPlan, trials: Sequence[Trial]) -> optuna.Study:
    """A study in memory that knows the trials of before."""
    require("a search for settings", ("optuna",), extra="audit")
    import optuna

    with _quiet():
        study = optuna.create_study(direction="maximize")
        for one in trials:
            state = optuna.trial.TrialState.FAIL if one.value is None else optuna.trial.TrialState.COMPLETE
            study.add_trial(
                optuna.trial.create_trial(
                    state=state, value=one.value, params=dict(one.settings), distributions=_distributions(plan)
                )
            )
    return study


def _ask(study: optuna.Study, plan: SearchPlan, number: int) -> tuple[optuna.Trial, dict[str, float]]:
    """The next trial and its settings."""
    import optuna

    with _quiet():
        # A sampler a trial: what it draws then depends on no draw before.
        study.sampler = optuna.samplers.TPESampler(
            seed=int(np.random.SeedSequence([plan.seed, number]).generate_state(1)[0]),
            multivariate=plan.multivariate,
            group=plan.group,
            constant_liar=plan.constant_liar,
        )
        trial = study.ask(_distributions(plan))
    return trial, {name: float(trial.params[name]) for name in plan.space}


def _tell(study: optuna.Study, trial: optuna.Trial, value: float | None) -> None:
    import optuna

    with _quiet():
        if value is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)


def _distributions(plan: SearchPlan) -> dict[str, Any]:
    import optuna

    return {
        name: optuna.distributions.FloatDistribution(one.low, one.high, log=one.log) for name, one in plan.space.items()
    }
