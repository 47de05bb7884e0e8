"""The benchmark of probes, on a table of a few rows."""

import json
import sys

import pytest

from benchmarks.probe import main


def test_contenders_learn_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = "probe --rows 90 --dim 24 --classes 3 --trials 3 --alone 2 --epochs 4 --values 2 --rounds 1 --json"
    monkeypatch.setattr(sys, "argv", words.split())
    main()
    report = json.loads(capsys.readouterr().out)
    assert set(report["seconds_a_trial"]) == {"together", "alone"}
    assert report["points_apart"] < 0.1 and report["best_accuracy"]["together"] > 0.4
    assert report["together_over_alone"] > 0 and 0 < report["share_of_product"] < 1
    assert len(report["lbfgs_points_apart"]) == 2
    assert all(0.9 < ratio < 1.0001 for ratio in report["lbfgs_loss_over_scikit_learn"][:1])
