"""Studies in this process: the jobs that need torch run here, which has it."""

from __future__ import annotations

import threading

import pytest

from shardtools.execution import ignore
from shardtools.features import FeatureOptions
from shardtools.features.launch import Extraction
from shardtools.pipelines.features.job import run_rank as extract
from shardtools.pipelines.ranks import join_world
from shardtools.pipelines.studies import steps, training
from shardtools.pipelines.train.job import run_rank as train
from shardtools.training import TrainOptions, TrainResult
from shardtools.training.launch import Training


def run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features and trainings of all studies."""
    monkeypatch.setattr(steps, "extract_features", _extract)
    monkeypatch.setattr(training, "train", _train)


def _extract(wanted: FeatureOptions) -> None:
    launch = Extraction(wanted, ignore)
    extract(launch.begin(), join_world("cpu", 1), launch.hear, threading.Event())
    launch.finish(stopped=False)


def _train(wanted: TrainOptions) -> TrainResult:
    launch = Training(wanted, ignore)
    job = launch.begin()
    assert job is not None
    train(job, join_world("cpu", 1), launch.hear, threading.Event())
    return launch.finish(stopped=False)
