"""What is made of predictions of each kind of set: figures that follow by hand, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardtools.errors import DatasetError, OptionError, ShardtoolsError
from shardtools.evaluation import ModelFacts
from shardtools.evaluation.published import CORRUPTIONS, alexnet_errors
from shardtools.evaluation.sets import TEST_SETS, Judgement, SetInputs, SetView, judge_set
from shardtools.evaluation.sets.factors import FACTORS
from shardtools.evaluation.sets.sequences import sequences_of
from shardtools.taxonomy import load_classes

IMAGENET = tuple(one.wnid for one in load_classes("imagenet-1k"))
A = tuple(one.wnid for one in load_classes("imagenet-a"))
NO_FILES = SetInputs()


def view_of_logits(logits: Any, wnids: list[str | None], classes: tuple[str, ...], **more: Any) -> SetView:
    """What predictions of these logits would be."""
    logits = np.asarray(logits, np.float32)
    powers = np.exp(logits.astype(np.float64))
    labels = np.array([classes.index(wnid) if wnid in classes else -1 for wnid in wnids])
    order = np.argsort(-logits, axis=1, kind="stable")
    rank = np.where(labels >= 0, np.argmax(order == labels[:, None], axis=1) + 1, 0)
    num = len(wnids)
    defaults: dict[str, Any] = {
        "dataset": "photos",
        "source": "photos/overlays/predictions_x",
        "model": ModelFacts(name="x", weights_sha256="0" * 64, num_outputs=len(classes), classes=classes),
        "keys": [f"key{number}" for number in range(num)],
        "wnids": wnids,
        "paths": [f"path{number}" for number in range(num)],
        "labels": labels,
        "classes": order[:, :5],
        "confidence": (powers.max(axis=1) / powers.sum(axis=1)),
        "rank": rank,
        "logits": logits,
        "corruption": [""] * num,
        "severity": np.zeros(num, np.int64),
        "frame": np.full(num, -1),
    }
    return SetView(**(defaults | more))


def value(found: Judgement, metric: str, *, how: str | None = None, split: str = "") -> float:
    (figure,) = [
        one for one in found.figures if one.metric == metric and one.split == split and (how is None or one.how == how)
    ]
    return figure.value


def has_all(found: Judgement, name: str) -> bool:
    """Whether all is measured that the set says of itself, its first metric first."""
    metrics = TEST_SETS[name].metrics
    return set(metrics) <= {one.metric for one in found.figures} and found.figures[0].metric == metrics[0]


def refused(kind: type[ShardtoolsError], match: str, *given: Any) -> None:
    with pytest.raises(kind, match=match) as error:
        judge_set(*given)
    assert "\n" not in str(error.value)


def test_imagenet_a_is_judged_among_its_classes_and_among_all() -> None:
    inside, other = A[0], next(wnid for wnid in IMAGENET if wnid not in A)
    logits = np.zeros((2, 1000))
    logits[:, IMAGENET.index(inside)] = 5
    # In the second picture a class that ImageNet-A does not have is likelier.
    logits[1, IMAGENET.index(other)] = 9
    found = judge_set(TEST_SETS["a"], view_of_logits(logits, [inside, inside], IMAGENET), NO_FILES)
    assert has_all(found, "a")
    assert value(found, "top1_accuracy", how="200 classes") == 1.0
    assert value(found, "top1_accuracy", how="all 1000 classes") == 0.5
    assert value(found, "rms_calibration_error", how="200 classes") == pytest.approx(1 - np.exp(5) / (np.exp(5) + 199))
    assert [one.how for one in found.figures if one.is_main] == ["200 classes", "all 1000 classes"]


def test_a_model_of_some_classes_is_judged_on_these_and_the_rest_is_counted() -> None:
    classes = A[:3]
    view = view_of_logits(np.eye(3)[[0, 1, 2, 0]], [A[0], A[1], A[0], A[100]], classes)
    found = judge_set(TEST_SETS["a"], view, NO_FILES)
    assert value(found, "top1_accuracy", how="3 of 200 classes") == pytest.approx(2 / 3)
    assert found.notes == ("1 picture of classes that the model does not know left out",)


def test_classes_that_do_not_fit_are_refused() -> None:
    logits = np.zeros((1, 1000))
    outside = next(wnid for wnid in IMAGENET if wnid not in A)
    refused(DatasetError, "none of A's 200", TEST_SETS["a"], view_of_logits(logits, [outside], IMAGENET), NO_FILES)
    own = view_of_logits(np.zeros((1, 2)), [A[0]], ("mine", "yours"))
    refused(OptionError, "knows none of 1 class", TEST_SETS["plain"], own, NO_FILES)
    refused(DatasetError, "numbers of folders", TEST_SETS["plain"], view_of_logits(logits, ["17"], IMAGENET), NO_FILES)
    refused(DatasetError, "without wnids", TEST_SETS["plain"], view_of_logits(logits, [None], IMAGENET), NO_FILES)
    unknown = replace(own, model=replace(own.model, classes=None))
    refused(OptionError, "outputs have no wnids", TEST_SETS["plain"], unknown, NO_FILES)
    short = replace(view_of_logits(logits, [A[0]], IMAGENET), logits=None)
    refused(DatasetError, "needs all logits: predict again with .* --logits all", TEST_SETS["a"], short, NO_FILES)


def test_real_labels_by_the_key(tmp_path: Path) -> None:
    file = tmp_path / "real.json"
    file.write_text(json.dumps([[3, 5], []]))
    logits = np.zeros((2, 1000))
    logits[:, 5] = 1
    keys = [f"ILSVRC2012_val_{number:08d}" for number in (1, 2)]
    view = view_of_logits(logits, [IMAGENET[0]] * 2, IMAGENET, keys=keys)
    found = judge_set(TEST_SETS["real"], view, SetInputs(real_labels=str(file)))
    assert value(found, "top1_accuracy") == 1.0
    assert has_all(found, "real")
    assert found.notes == ("1 picture without a ReaL label left out",)


def test_factors_of_annotated_pictures(tmp_path: Path) -> None:
    lines = []
    for number in range(1, 5):
        row = {"file_name": f"ILSVRC2012_val_{number:08d}.JPEG"} | {factor: 0 for factor in FACTORS}
        lines.append(json.dumps(row | {"pose": int(number <= 2), "style": int(number == 1)}))
    file = tmp_path / "x.jsonl"
    file.write_text("\n".join(lines))
    logits = np.zeros((5, 1000))
    logits[[0, 2, 3], 7] = 1
    keys = [f"n01_ILSVRC2012_val_{number:08d}" for number in range(1, 6)]
    view = view_of_logits(logits, [IMAGENET[7]] * 5, IMAGENET, keys=keys)
    found = judge_set(TEST_SETS["x"], view, SetInputs(factors=str(file)))
    assert value(found, "top1_accuracy") == 0.75
    assert has_all(found, "x")
    assert value(found, "error_ratio", split="factor/pose") == 2.0
    assert value(found, "error_ratio", split="factor/style") == 0.0
    assert found.notes == ("the worst factor is pose, with 50.0 %", "1 picture without annotation left out")
    refused(OptionError, "--imagenet-x FILE", TEST_SETS["x"], view, NO_FILES)


def test_backgrounds_by_the_map(tmp_path: Path) -> None:
    file = tmp_path / "in_to_in9.json"
    file.write_text(json.dumps({str(index): -1 for index in range(1000)} | {"7": 0, "8": 1}))
    logits = np.zeros((3, 1000))
    logits[[0, 1, 2], [7, 8, 9]] = 1
    view = view_of_logits(logits, ["00_dog", "00_dog", "01_bird"], IMAGENET)
    files = SetInputs(in9_map=str(file))
    found = judge_set(TEST_SETS["in9"], view, files, "mixed_rand")
    assert value(found, "top1_accuracy", split="mixed_rand") == pytest.approx(1 / 3)
    refused(OptionError, "name which: --on in9:mixed_same", TEST_SETS["in9"], view, files)
    refused(OptionError, "--in9-map FILE", TEST_SETS["in9"], view, NO_FILES, "mixed_rand")


def corrupted_view(classes: tuple[str, ...], corruptions: tuple[str, ...], wrong: int) -> SetView:
    """One picture a class, corruption and severity, and one clean; `wrong` of the classes are mistaken everywhere."""
    cells = [("", 0), *((name, level) for name in corruptions for level in range(1, 6))]
    rows = [(number, *cell) for cell in cells for number in range(len(classes))]
    logits = np.zeros((len(rows), len(classes)), np.float32)
    for row, (number, name, _) in enumerate(rows):
        logits[row, (number + 1) % len(classes) if name and number < wrong else number] = 1
    return view_of_logits(
        logits,
        [classes[number] for number, _, _ in rows],
        classes,
        corruption=[name for _, name, _ in rows],
        severity=np.array([level for _, _, level in rows]),
    )


def test_errors_of_own_classes_have_a_plain_mean() -> None:
    view = corrupted_view(("n1", "n2", "n3", "n4"), ("fog", "snow"), 1)
    found = judge_set(TEST_SETS["c"], view, NO_FILES)
    assert value(found, "mean_error", how="2 corruptions") == 0.25
    assert value(found, "clean_error") == 0.0
    assert value(found, "error", split="fog/5") == 0.25
    assert found.notes == (
        "no mCE: AlexNet's errors, by which it is divided, are of the choice among ImageNet's 1,000 classes",
    )
    severe = replace(view, severity=np.where(view.severity == 5, 6, view.severity))
    refused(OptionError, "severities are 1 to 5, found 1 to 6", TEST_SETS["c"], severe, NO_FILES)
    clean = replace(view, corruption=[""] * len(view))
    refused(DatasetError, "no picture has a corruption", TEST_SETS["c"], clean, NO_FILES)


def test_errors_of_imagenet_are_divided_by_alexnets() -> None:
    # 1,000 classes by 75 cells are many rows: their ranks are written down instead of 75 million logits.
    num = 1000
    cells = [("", 0), *((name, level) for name in CORRUPTIONS for level in range(1, 6))]
    small = view_of_logits(np.zeros((1, num)), [IMAGENET[0]], IMAGENET)
    view = replace(
        small,
        keys=["key"] * num * len(cells),
        paths=[],
        wnids=list(IMAGENET) * len(cells),
        labels=np.tile(np.arange(num), len(cells)),
        rank=np.concatenate([np.where(np.arange(num) < (100 if name else 50), 2, 1) for name, _ in cells]),
        corruption=[name for name, _ in cells for _ in range(num)],
        severity=np.repeat([level for _, level in cells], num),
        logits=None,
    )
    found = judge_set(TEST_SETS["c"], view, NO_FILES)
    wanted = np.mean([0.5 / errors.sum() for errors in alexnet_errors().values()])
    assert value(found, "mean_corruption_error") == pytest.approx(
        np.mean([0.5 / alexnet_errors()[name].sum() for name in CORRUPTIONS])
    )
    assert wanted > 0
    assert value(found, "mean_error") == pytest.approx(0.1)
    assert value(found, "clean_error") == pytest.approx(0.05)
    assert has_all(found, "c")
    assert found.figures[0].metric == "mean_corruption_error" and found.figures[0].is_main
    assert found.notes == ()


def test_flips_of_sequences() -> None:
    answers = {"tilt": [0, 0, 1, 1], "gaussian_noise": [0, 1, 0, 0]}
    rows = [(name, frame, answer) for name, all_ in answers.items() for frame, answer in enumerate(all_)]
    logits = np.eye(6)[[answer for _, _, answer in rows]]
    view = view_of_logits(
        logits,
        ["n0"] * 8,
        tuple(f"n{number}" for number in range(6)),
        corruption=[name for name, _, _ in rows],
        frame=np.array([frame for _, frame, _ in rows]),
        paths=["a.mp4"] * 8,
    )
    found = judge_set(TEST_SETS["p"], view, NO_FILES)
    assert value(found, "flip_probability", split="tilt") == pytest.approx(1 / 3)
    assert value(found, "flip_probability", split="gaussian_noise") == pytest.approx(1 / 3)
    assert value(found, "flip_probability", how="2 perturbations") == pytest.approx(1 / 3)
    assert value(found, "top5_distance", split="tilt") > 0
    assert has_all(found, "p")
    assert value(found, "zipf_distance", split="tilt") > 0


@pytest.mark.parametrize(
    ("frames", "match"), [([0, 1, 3], "frame 2 of tilt of a.mp4 is missing"), ([0, 1, 1], "comes twice")]
)
def test_a_missing_frame_is_refused(frames: list[int], match: str) -> None:
    with pytest.raises(DatasetError, match=match) as error:
        sequences_of(["tilt"] * 3, ["a.mp4"] * 3, np.array(frames), dataset="p")
    assert "\n" not in str(error.value)
    with pytest.raises(DatasetError, match="is in no sequence"):
        sequences_of([""], ["a.jpg"], np.array([0]), dataset="p")


def test_shape_bias_names_its_decision_and_counts_what_agrees() -> None:
    classes = ("n1", "n2", "n3", "n4")
    cues = [("n1", "n2"), ("n1", "n2"), ("n1", "n3"), ("n4", "n4")]
    logits = np.eye(4)[[0, 1, 3, 3]]
    view = view_of_logits(logits, [shape for shape, _ in cues], classes, cues=cues)
    found = judge_set(TEST_SETS["cue-conflict"], view, NO_FILES)
    for decision in ("max", "mean", "sum"):
        assert value(found, "shape_bias", how=decision) == 0.5
        assert value(found, "cue_accuracy", how=decision) == pytest.approx(2 / 3)
    assert has_all(found, "cue-conflict")
    assert found.notes == ("1 picture whose shape and texture agree left out",)
    silhouettes = judge_set(TEST_SETS["silhouettes"], view, NO_FILES)
    assert value(silhouettes, "top1_accuracy", how="2 categories, max") == 0.75
