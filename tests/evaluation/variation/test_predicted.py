"""Gaps of models that are not fitted here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation.variation import VariationOptions, measure
from tests.helpers.ood_datasets import model_facts, with_predictions
from tests.helpers.planted_gaps import planted_rows
from tests.helpers.rendered_datasets import WNIDS, make_rendered

OTHER = "n01440764"


def with_answers(folder: Path, classes: list[str], **changes: Any) -> str:
    """Right but where pose is 90, where the answer is another class; where size is 0.5 it is one of no object."""
    rows = sorted(planted_rows(), key=lambda row: row["key"])
    url = make_rendered(folder, rows)
    logits = np.zeros((len(rows), len(classes)))
    for number, row in enumerate(rows):
        right = classes.index(row["wnid"]) if row["wnid"] in classes else 0
        wrong = (right + 1) % (len(classes) - 1)
        logits[number, wrong if row["pose"] == 90.0 else right] = 5
        if row["size"] == 0.5:
            logits[number, -1] = 9
    names = [row["wnid"] for row in rows]
    with_predictions(url, model_facts(classes), logits, name="predictions_mine", wnids=names, **changes)
    return url


def measured(url: str, **options: Any) -> Any:
    return measure(VariationOptions(datasets=(url,), predictions=("predictions_mine",), **options))


def test_predictions_are_judged_as_they_are(tmp_path: Path) -> None:
    url = with_answers(tmp_path / "all", [*WNIDS[:3], OTHER], keep_all=False)
    [model] = measured(url).models
    assert model.model == "mine"
    assert model.protocol == "as trained, among all 4 outputs; all objects"
    assert model.figure("variation_gap", measured="pose").value == pytest.approx(-1 / 3)
    assert model.figure("variation_gap", measured="size").value == pytest.approx(-1 / 2)
    assert model.figure("top1_accuracy", measured="train") is None


def test_with_all_logits_a_model_answers_among_the_classes_there_are(tmp_path: Path) -> None:
    [model] = measured(with_answers(tmp_path / "kept", [*WNIDS[:3], OTHER])).models
    assert "among 3 classes" in model.protocol
    assert model.figure("variation_gap", measured="size").value == pytest.approx(0)


def test_objects_of_a_fold_and_those_it_learns_from(tmp_path: Path) -> None:
    url = with_answers(tmp_path / "fold", [*WNIDS[:3], OTHER])
    [model] = measured(url, num_folds=2, fold=1).models
    assert model.protocol.endswith("fold 1, 6 objects")
    assert model.figure("top1_accuracy", measured="train").value == 1
    with pytest.raises(OptionError, match="--fold is 0 to 1"):
        measured(url, num_folds=2, fold=2)
    with pytest.raises(OptionError, match="nothing is fitted"):
        measured(url, setting="samples")


def test_classes_unknown_to_the_model_are_left_out_and_said(tmp_path: Path) -> None:
    result = measured(with_answers(tmp_path / "two", [*WNIDS[:2], OTHER]))
    assert result.notes == [
        "predictions_mine: 52 pictures without an answer, or of a class unknown to the model",
        "predictions_mine: 4 objects left out, whose canonical picture is among them",
    ]
    assert result.models[0].figure("top1_accuracy", measured="canonical").value == 1
    with pytest.raises(DatasetError, match="no label that the model knows"):
        measured(with_answers(tmp_path / "none", [OTHER, "n01443537"]))
