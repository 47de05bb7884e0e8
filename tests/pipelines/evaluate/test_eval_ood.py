"""`eval ood` with a network: what is missing is predicted, corrupted on the fly, judged; and predicted only once."""

from pathlib import Path
from typing import Any

import pytest

from shardtools.evaluation.predictions import PredictOptions
from shardtools.evaluation.sets import OodOptions, evaluate_ood, run
from tests.helpers.feature_datasets import make_labeled
from tests.helpers.model_files import WNIDS, run_folder
from tests.helpers.prediction_runs import Here


def test_what_is_missing_is_predicted_and_corrupted_on_the_fly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []

    def predict_here(wanted: PredictOptions, **_: Any) -> None:
        done.append(Here(wanted).done().images)

    monkeypatch.setattr(run, "predict", predict_here)
    model = str(run_folder(tmp_path / "micro")[0])
    photos = make_labeled(tmp_path / "photos", [0, 1, 2, 1], names=WNIDS)
    options = OodOptions(
        models=(model,),
        on=(f"c={photos},plain={photos}",),
        on_the_fly=True,
        corruption=("none", "pixelate", "contrast"),
        device="cpu",
        threads=1,
        batch_size=8,
    )
    table = evaluate_ood(options)
    assert done == [4 * (1 + 2 * 5), 4]
    found = {(row.dataset, row.split, row.metric): row for row in table.results}
    assert found["imagenet-c", "", "mean_error"].protocol.endswith("2 corruptions")
    # Clean pictures are the same ones, whichever run they came out of.
    assert found["imagenet-c", "", "clean_error"].value == pytest.approx(1 - found["photos", "", "top1_accuracy"].value)
    assert ("imagenet-c", "pixelate/5", "error") in found
    assert table.models == ["micro"]
    assert table.notes == [
        "c: no mCE: AlexNet's errors, by which it is divided, are of the choice among ImageNet's 1,000 classes"
    ]
    assert evaluate_ood(options).results == table.results
    assert done[2:] == [0, 0]
