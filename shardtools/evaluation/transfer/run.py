"""`shardtools eval transfer`: features of models are probed on every set, and what comes of it is put together.

Owns the order, set by set and there model by model, and that one that fails stops no other: it is named with its
reason. Probes resume by themselves, so a killed measurement goes on with the same command; analyses are made anew, as
they take a pass over the features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from statistics import fmean

from shardtools.dataset import open_dataset
from shardtools.errors import OptionError, RunError, ShardtoolsError, StoppedError
from shardtools.evaluation.analysis import AnalyzeOptions, analyze, singular_values
from shardtools.evaluation.probes import ProbeOptions, ProbeResult
from shardtools.evaluation.results import Result, read_results
from shardtools.evaluation.transfer.applied import APPLIED, apply_classifiers
from shardtools.evaluation.transfer.measured import TOP1, Analyzed, Failed, Measured, Transfer
from shardtools.evaluation.transfer.options import TransferOptions, TransferSet, transfer_set
from shardtools.evaluation.transfer.probing import Prober, Shown
from shardtools.execution import ignore
from shardtools.features import check_same_encoder, open_features


def measure_transfer(
    options: TransferOptions, *, report: Callable[[str], None] = lambda _line: None, shown: Shown | None = None
) -> Transfer:
    """Probes each model on each set.

    Args:
        options: Which.
        report: Called with a line before each.
        shown: Shows what a probe, or an extraction, is doing.

    Raises:
        OptionError: `training` is neither a dataset nor a set in `beside`, or `apply` names what cannot be applied to.
        SourceError: A file of results is none.
        StoppedError: It was asked to stop; called again it goes on.
        RunError: Nothing at all could be measured.
    """
    prober = Prober(options=options, report=report, shown=shown or (lambda _noun: nullcontext(ignore)))
    beside = tuple(read_results(options.beside))
    training = _training(options, beside)
    _check_applied(options, training)
    work = _Work(prober=prober)
    for request in options.requests:
        for model in options.models:
            work.measure(model, request)
    if training is not None and training.dataset:
        for model in options.models:
            work.train(model, training)
    if not work.measured:
        one = work.failed[0]
        raise RunError(f"nothing could be measured: {one.set_name}, {one.model}: {one.reason}")
    return Transfer(
        models=options.models,
        sets=tuple(one.name for one in options.requests),
        training=None if training is None else training.name,
        trained={} if training is None else _trained(training.name, options.models, work.measured, beside),
        measured=tuple(work.measured),
        failed=tuple(work.failed),
        analyzed=tuple(work.analyzed),
        applied=tuple(work.applied),
        beside=beside,
        remarks=tuple(work.remarks),
    )


@dataclass(slots=True, kw_only=True)
class _Work:
    """What was found so far."""

    prober: Prober
    measured: list[Measured] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    analyzed: list[Analyzed] = field(default_factory=list)
    applied: list[Result] = field(default_factory=list)
    remarks: dict[str, None] = field(default_factory=dict)

    def measure(self, model: str, request: TransferSet) -> None:
        """A model on a transfer set."""
        with self._named(model, request.name):
            measured, found, wanted = self.prober.probe(model, request)
            self.measured.append(measured)
            self._remark(request.name, found.notes)
            if self.prober.options.analyze:
                self.analyzed.append(_analyzed(model, request, wanted.features))

    def train(self, model: str, training: TransferSet) -> None:
        """A model on the set that it was trained for, and the classifiers of that on other pictures."""
        with self._named(model, training.name):
            measured, found, wanted = self.prober.probe(model, training)
            self.measured.append(measured)
            self._remark(training.name, found.notes)
            for request in self.prober.options.applied:
                with self._named(model, request.name):
                    self._apply(model, training, request, found, wanted)

    def _apply(
        self, model: str, training: TransferSet, request: TransferSet, found: ProbeResult, wanted: ProbeOptions
    ) -> None:
        store = open_features(request.dataset, self.prober.features(model, request.dataset))
        learnt = open_features(training.dataset, wanted.features)
        check_same_encoder(
            store.info.encoder, learnt.info.encoder, where=store.where, whose=f"those of {training.dataset}"
        )
        rows, notes = apply_classifiers(
            found,
            store,
            request.dataset,
            request.name,
            model=model,
            training=training.name,
        )
        self.applied += rows
        self._remark(request.name, notes)

    def _remark(self, name: str, notes: Sequence[str]) -> None:
        self.remarks |= dict.fromkeys(f"{name}: {note}" for note in notes)

    @contextmanager
    def _named(self, model: str, name: str) -> Iterator[None]:
        """Takes down what fails; a run that was asked to stop ends."""
        try:
            yield
        except StoppedError:
            raise
        except ShardtoolsError as error:
            self.failed.append(Failed(model=model, set_name=name, reason=str(error)))
            self.prober.report(f"{name}, {model}: {error}")


def _analyzed(model: str, request: TransferSet, features: str) -> Analyzed:
    """The features of all images of a set, as figure 5.6 takes them of its small sets."""
    [analysis] = analyze(AnalyzeOptions(datasets=(request.dataset,), features=features))
    store = open_features(request.dataset, features)
    return Analyzed(
        model=model,
        set_name=request.name,
        analysis=analysis,
        shares=singular_values(store.array()).shares,
        url=store.where,
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


def _check_applied(options: TransferOptions, training: TransferSet | None) -> None:
    unknown = next((one.name for one in options.applied if one.name not in APPLIED), None)
    if unknown is not None:
        raise OptionError(f"--apply knows the sets {', '.join(APPLIED)}, found {unknown!r}: give NAME=DATASET")
    if options.applied and training is not None and not training.dataset:
        raise OptionError(
            f"--apply needs the classifiers of --training, and {training.name} is a set in results: give "
            f"--training {training.name}=DATASET"
        )


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
