"""`shardtools eval transfer`: features of models are probed on every set, and what comes of it is put together.

Owns the order, set by set and there model by model, and that one that fails stops no other: it is named with its
reason. Probes resume by themselves, so a killed measurement goes on with the same command; analyses are made anew, as
they take a pass over the features.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from statistics import fmean

from shardtools.dataset import open_dataset
from shardtools.errors import NotFoundError, OptionError, RunError, ShardtoolsError, StoppedError
from shardtools.evaluation.analysis import AnalyzeOptions, analyze, singular_values
from shardtools.evaluation.probes import ProbeOptions, over_seeds, run_probe
from shardtools.evaluation.results import Result, read_results
from shardtools.evaluation.transfer.measured import STUDY, TOP1, Analyzed, Failed, Measured, Transfer
from shardtools.evaluation.transfer.options import TransferOptions, TransferSet, transfer_set
from shardtools.evaluation.transfer.splits import choose_solver, choose_splits
from shardtools.execution import Progress, ignore
from shardtools.features import FeatureOptions, extract_features, feature_names, open_features
from shardtools.quoting import shell_word

Shown = Callable[[str], AbstractContextManager[Progress]]
"""Makes what shows the messages of one run: called with what it counts ("images", "trials")."""


def measure_transfer(
    options: TransferOptions, *, report: Callable[[str], None] = lambda _line: None, shown: Shown | None = None
) -> Transfer:
    """Probes each model on each set.

    Args:
        options: Which.
        report: Called with a line before each.
        shown: Shows what a probe, or an extraction, is doing.

    Raises:
        OptionError: `training` is neither a dataset nor a set in `beside`.
        SourceError: A file of results is none.
        StoppedError: It was asked to stop; called again it goes on.
        RunError: Nothing at all could be measured.
    """
    work = _Work(options=options, report=report, shown=shown or (lambda _noun: nullcontext(ignore)))
    beside = tuple(read_results(options.beside))
    training = _training(options, beside)
    measured, failed, analyzed, remarks = [], [], [], dict[str, None]()
    for request in (*options.requests, *((training,) if training is not None and training.dataset else ())):
        for model in options.models:
            try:
                one, notes = work.probe(model, request)
                measured.append(one)
                remarks |= dict.fromkeys(f"{request.name}: {note}" for note in notes)
                if options.analyze and request in options.requests:
                    analyzed.append(work.analyze(model, request))
            except StoppedError:
                raise
            except ShardtoolsError as error:
                failed.append(Failed(model=model, set_name=request.name, reason=str(error)))
                report(f"{request.name}, {model}: {error}")
    if not measured:
        raise RunError(f"nothing could be measured: {failed[0].set_name}, {failed[0].model}: {failed[0].reason}")
    return Transfer(
        models=options.models,
        sets=tuple(one.name for one in options.requests),
        training=None if training is None else training.name,
        trained={} if training is None else _trained(training.name, options.models, [*measured], beside),
        measured=tuple(measured),
        failed=tuple(failed),
        analyzed=tuple(analyzed),
        beside=beside,
        remarks=tuple(remarks),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What all models and sets share."""

    options: TransferOptions
    report: Callable[[str], None]
    shown: Shown

    def probe(self, model: str, request: TransferSet) -> tuple[Measured, tuple[str, ...]]:
        """One model on one set, and notes."""
        wanted = self._probe_options(model, request)
        self.report(f"{model} on {request.name}: {wanted.solver}")
        with self.shown("trials") as progress:
            found = run_probe(wanted, progress=progress)
        # A probe calls a model by its encoder and a set by its folder.
        rows = tuple(replace(row, study=STUDY, model=model, dataset=request.name) for row in found.results)
        [top1] = [one for one in over_seeds(rows) if one.row.metric == TOP1]
        measured = Measured(
            model=model,
            set_name=request.name,
            solver=wanted.solver,
            rows=rows,
            accuracy=top1.row.value,
            deviation=top1.deviation,
            num_seeds=top1.num_seeds,
        )
        return measured, found.notes

    def _probe_options(self, model: str, request: TransferSet) -> ProbeOptions:
        options, url = self.options, request.dataset
        splits = choose_splits(
            {name: totals.num_images for name, totals in open_dataset(url).commit.splits.items()},
            train=options.train_split,
            test=options.test_split,
            where=url,
        )
        solver = choose_solver(options.solver, splits.num_train)
        features = self._features(model, url)
        return ProbeOptions(
            dataset=url,
            features=features,
            solver=solver,
            train_split=splits.train[0],
            train_view=splits.train_view,
            test_split=splits.test,
            seeds=options.seeds,
            num_trials=options.num_trials,
            batch=options.batch,
            faithful=options.faithful,
            labels_by=options.labels_by,
            copies=options.copies,
            device=options.device,
            threads=options.threads,
            replace=options.replace,
            name=_run_name(options.name, features, solver),
            out=None if options.out is None else f"{options.out.rstrip('/')}/{request.name}/{features}",
        )

    def _features(self, model: str, url: str) -> str:
        """Name of a model's features in a dataset, made where they are missing and that is asked for."""
        there = feature_names(open_dataset(url))
        wanted = FeatureOptions(dataset=url, encoder=model)
        name = wanted.features_name if self.options.extract else model
        if name in there:
            return name
        if not self.options.extract:
            raise NotFoundError(
                f"{url} has no features {model!r} (it has {', '.join(there) or 'none'}): run shardtools features "
                f"{shell_word(url)} --encoder ENCODER --name {shell_word(model)}, or give encoders and --extract"
            )
        self.report(f"{model} on {url}: features")
        with self.shown("images") as progress:
            extract_features(replace(wanted, device=self.options.device), progress=progress)
        return name

    def analyze(self, model: str, request: TransferSet) -> Analyzed:
        """The features of all images of a set, as figure 5.6 takes them of its small sets."""
        name = self._features(model, request.dataset)
        [analysis] = analyze(AnalyzeOptions(datasets=(request.dataset,), features=name))
        store = open_features(request.dataset, name)
        return Analyzed(
            model=model,
            set_name=request.name,
            analysis=analysis,
            shares=singular_values(store.array()).shares,
            url=store.storage.url,
        )


def _training(options: TransferOptions, beside: Sequence[Result]) -> TransferSet | None:
    """The set that models were trained for; without a dataset where `beside` has its figures."""
    if options.training is None:
        return None
    named = sorted({row.dataset for row in beside if row.metric == TOP1})
    if options.training in named:
        return TransferSet(name=options.training, dataset="")
    found = transfer_set(options.training)
    if any(found.name == one.name for one in options.requests):
        raise OptionError(f"--training {found.name} is among --sets: a set is one of the two, leave it out of one")
    if not _is_dataset(found.dataset):
        has = f"--beside has {', '.join(named)}" if named else "no results are given (--beside)"
        raise OptionError(
            f"--training is a dataset or the name of a set in results: {found.dataset!r} is no dataset, and {has}"
        )
    return found


def _is_dataset(url: str) -> bool:
    """Whether there is a dataset, finished or not."""
    try:
        open_dataset(url, incomplete=True)
    except ShardtoolsError:
        return False
    return True


def _trained(
    name: str, models: Sequence[str], measured: Sequence[Measured], beside: Sequence[Result]
) -> dict[str, float]:
    """Model -> its accuracy in training: probed here, or the mean of its rows on the whole set in given results."""
    found = {one.model: one.accuracy for one in measured if one.set_name == name}
    for model in models:
        rows = [
            row.value for row in beside if (row.model, row.dataset, row.split, row.metric) == (model, name, "", TOP1)
        ]
        if rows:
            found.setdefault(model, fmean(rows))
    return found


def _run_name(first: str, features: str, solver: str) -> str:
    """Of a probe, in letters that overlays of its predictions may have."""
    return re.sub(r"[^a-z0-9]+", "_", f"{first}_{features}_{solver}".lower()).strip("_")[:64]
