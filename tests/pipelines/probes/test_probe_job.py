"""Stochastic gradient descent as a probe's solver, in this process and in one of its own."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shardtools.errors import StoppedError
from shardtools.evaluation.probes import Part, ProbeOptions, prepare, read_probed, run_probe
from shardtools.evaluation.probes import solving as solving_module
from shardtools.execution import Batch, Message, ignore
from shardtools.pipelines.probes.solver import WideSolver
from tests.helpers.probe_datasets import balanced_pictures, make_probed


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_probed(tmp_path_factory.mktemp("probe") / "photos", balanced_pictures(60, 40, 3), noise=0.9)


def solver(*, stopped: bool = False) -> WideSolver:
    return WideSolver(epochs=20, device=torch.device("cpu"), precision="fp32", show=ignore, is_stopped=lambda: stopped)


def parts(dataset: str) -> tuple[Part, Part]:
    options = ProbeOptions(dataset=dataset, features="own")
    probed = prepare(options, read_probed(options)).probed
    return Part(probed.train, np.arange(60)), Part(probed.test, np.arange(40))


def test_settings_together_are_each_alone_and_one_that_diverges_has_no_accuracy(dataset: str) -> None:
    train, test = parts(dataset)
    settings = [{"rate": 1.0, "decay": 1e-6}, {"rate": 1e30, "decay": 1e-4}, {"rate": 10.0, "decay": 1e-12}]
    found = solver().accuracies(train, test, 3, settings, seed=22)
    assert math.isnan(found[1])
    assert solver().fit(train, 3, settings[1], seed=22) is None
    for one in (0, 2):
        classifier = solver().fit(train, 3, settings[one], seed=22)
        assert classifier is not None
        # Features of length 1, which NumPy and torch divide alike.
        assert (classifier.predict(test.ready()) == test.labels).mean() == found[one] > 0.5


def test_features_that_stay_on_the_disk_are_the_same(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"rate": 1.0, "decay": 1e-6}
    in_memory = solver().fit(parts(dataset)[0], 3, settings, seed=22)
    monkeypatch.setattr(solving_module, "fits_in_memory", lambda rows: False)
    on_disk = solver().fit(parts(dataset)[0], 3, settings, seed=22)
    assert in_memory is not None
    assert on_disk is not None
    assert np.array_equal(in_memory.weights, on_disk.weights)


def test_a_stop_ends_after_the_epoch(dataset: str) -> None:
    train, test = parts(dataset)
    with pytest.raises(StoppedError, match="stopped"):
        solver(stopped=True).accuracies(train, test, 3, [{"rate": 1.0, "decay": 0.0}], seed=22)


def test_a_process_of_its_own_measures(dataset: str, tmp_path: Path) -> None:
    told: list[Message] = []
    options = ProbeOptions(
        dataset=dataset, features="own", seeds=(22, 37), num_trials=4, batch=2, epochs=20, out=str(tmp_path)
    )
    result = run_probe(options, progress=told.append)
    assert sum(one.rows for one in told if isinstance(one, Batch)) == 2 * (4 + 1) * 20
    assert all(cell.accuracy > 0.5 and set(cell.settings) == {"rate", "decay"} for cell in result.cells)
    assert "linear sgd, 20 epochs, best of 4, 2 at once, l2" in result.results[0].protocol
    # What is there is read without a process.
    told.clear()
    assert run_probe(replace(options, seeds=(37,)), progress=told.append).cells == result.cells[1:]
    assert not any(isinstance(one, Batch) for one in told)
