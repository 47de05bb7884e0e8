"""One model on one set: its features, the probe's options, the probe.

Owns how a transfer measurement asks for a probe. The price of a name made of features and solver: a measurement by
other splits or more trials is refused by the probe that is there, with what differs, and asks for another `name`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError, NotFoundError
from shardtools.evaluation.probes import ProbeOptions, ProbeResult, over_seeds, run_probe
from shardtools.evaluation.transfer.measured import STUDY, TOP1, Measured
from shardtools.evaluation.transfer.options import TransferOptions, TransferSet
from shardtools.evaluation.transfer.splits import choose_solver, choose_splits
from shardtools.execution import Progress
from shardtools.features import FEATURE_PROTOCOLS, FeatureOptions, extract_features, feature_names, open_features
from shardtools.quoting import shell_word

Shown = Callable[[str], AbstractContextManager[Progress]]
"""Makes what shows the messages of one run: called with what it counts ("images", "trials")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prober:
    """What all models and sets share.

    Attributes:
        options: Of the measurement.
        report: Called with a line before each probe.
        shown: Shows what it is doing.
    """

    options: TransferOptions
    report: Callable[[str], None]
    shown: Shown

    def probe(self, model: str, request: TransferSet) -> tuple[Measured, ProbeResult, ProbeOptions]:
        """One model on one set.

        Raises:
            ShardtoolsError: It has no such features, or nothing to test on; or as `run_probe` does.
        """
        wanted = self.probe_options(model, request)
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
        return measured, found, wanted

    def probe_options(self, model: str, request: TransferSet) -> ProbeOptions:
        """Of one model on one set; its features are there afterwards."""
        options, url = self.options, request.dataset
        splits = choose_splits(
            {name: totals.num_images for name, totals in open_dataset(url).commit.splits.items()},
            train=options.train_split,
            test=options.test_split,
            where=url,
        )
        solver = choose_solver(options.solver, splits.num_train)
        features = self.features(model, url)
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
            precision=options.precision,
            num_processes=options.num_processes,
            threads=options.threads,
            replace=options.replace,
            name=_run_name(options.name, features, solver),
            out=None if options.out is None else f"{options.out.rstrip('/')}/{request.name}/{features}",
        )

    def features(self, model: str, url: str) -> str:
        """Name of a model's features in a dataset, made where they are missing and that is asked for.

        Raises:
            NotFoundError: They are missing.
            DatasetError: They are there and were made by another protocol than is asked for.
        """
        there, name = feature_names(open_dataset(url)), self.options.features_name(model)
        if name in there:
            self._check_protocol(url, name)
            return name
        if not self.options.extract:
            raise NotFoundError(
                f"{url} has no features {model!r} (it has {', '.join(there) or 'none'}): run shardtools features "
                f"{shell_word(url)} --encoder ENCODER --name {shell_word(model)}, or give encoders and --extract"
            )
        self.report(f"{model} on {url}: features")
        with self.shown("images") as progress:
            wanted = FeatureOptions(
                dataset=url, encoder=model, protocol=self.options.protocol, device=self.options.device
            )
            extract_features(wanted, progress=progress)
        return name

    def _check_protocol(self, url: str, name: str) -> None:
        if self.options.protocol is None:
            return
        # The side is not asked for: some networks take one size alone.
        wanted, made = FEATURE_PROTOCOLS[self.options.protocol], open_features(url, name).info.encoder
        if (made.crop, made.resize, made.interpolation) != ("center", made.image_size, wanted.interpolation):
            raise DatasetError(
                f"{url}: protocol {self.options.protocol} cuts the centre out of a shorter side of the same length, "
                f"{wanted.interpolation}; features {name!r} are {made.crop}, {made.image_size} of {made.resize}, "
                f"{made.interpolation}: extract them under another name (shardtools features --protocol)"
            )


def _run_name(first: str, features: str, solver: str) -> str:
    """Of a probe, in letters that overlays of its predictions may have."""
    return re.sub(r"[^a-z0-9]+", "_", f"{first}_{features}_{solver}".lower()).strip("_")[:64]
