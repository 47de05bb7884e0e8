"""Test sets: restriction by wnid, the ways from fine classes to categories, labels, maps and factors of others."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import DatasetError, OptionError, ShardtoolsError
from shardtools.evaluation.metrics import METRICS
from shardtools.evaluation.sets import TEST_SETS, read_pair, restrict
from shardtools.evaluation.sets.backgrounds import group_of, output_groups, read_map
from shardtools.evaluation.sets.cue_conflict import output_categories, positions
from shardtools.evaluation.sets.factors import FACTORS, factors_of, read_factors
from shardtools.evaluation.sets.real_labels import count_real, read_real_labels
from shardtools.evaluation.sets.restricting import check_wnids
from shardtools.taxonomy import load_classes

IMAGENET = [one.wnid for one in load_classes("imagenet-1k")]


def one_line(error: pytest.ExceptionInfo[ShardtoolsError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_sets_have_classes_and_known_metrics() -> None:
    for name, one in TEST_SETS.items():
        assert one.name == name
        assert set(one.metrics) <= set(METRICS)
        if one.class_set is not None:
            wnids = [image_class.wnid for image_class in load_classes(one.class_set)]
            assert set(wnids) <= set(IMAGENET)
            assert len(wnids) == (200 if one.is_restricted else 1000)


@given(st.integers(0, 2**32), st.integers(2, 12), st.integers(1, 8))
def test_restriction_is_argmax_and_softmax_over_some_columns(seed: int, num_outputs: int, num_classes: int) -> None:
    rng = np.random.default_rng(seed)
    # Few values, so that there are ties.
    logits = rng.integers(-2, 3, (7, num_outputs)).astype(np.float16)
    names = [f"n{number:08d}" for number in range(num_outputs)]
    chosen = sorted({int(rng.integers(num_outputs)) for _ in range(num_classes)})
    shuffled = [names[number] for number in rng.permutation(chosen)]
    found = restrict(logits, names, [*shuffled, "n99999999"])
    assert found.outputs.tolist() == chosen
    labels = rng.integers(-1, num_outputs, 7)
    ranks = found.rank(labels)
    for row in range(7):
        wanted = max(chosen, key=lambda number: (logits[row, number], -number))
        assert found.predicted[row] == wanted
        powers = np.exp(logits[row, chosen].astype(np.float64))
        assert found.confidence[row] == pytest.approx(powers.max() / powers.sum())
        order = sorted(chosen, key=lambda number: (-logits[row, number], number))
        known = int(labels[row]) in chosen
        assert ranks[row] == (order.index(int(labels[row])) + 1 if known else len(chosen) + 1)
    assert found.knows(labels).tolist() == [int(label) in chosen for label in labels]


def test_restriction_is_refused_in_one_line() -> None:
    logits = np.zeros((2, 3), np.float32)
    with pytest.raises(OptionError, match="knows none of 2 classes") as error:
        restrict(logits, ["n1", "n2", "n3"], ["n8", "n9"])
    one_line(error)
    with pytest.raises(OptionError, match="outputs have no wnids") as error:
        restrict(logits, None, ["n8"])
    one_line(error)
    with pytest.raises(OptionError, match="expected 2 logits") as error:
        restrict(logits, ["n1", "n2"], ["n1"])
    one_line(error)
    logits[1, 0] = np.nan
    with pytest.raises(OptionError, match="1 of 2 samples have a logit that is not finite") as error:
        restrict(logits, ["n1", "n2", "n3"], ["n1"])
    one_line(error)


def test_numbers_of_folders_are_no_classes() -> None:
    check_wnids(["n01440764", None], "photos")
    with pytest.raises(DatasetError, match="numbers of folders are no wnids") as error:
        check_wnids(["10", "2", "0"], "v2")
    one_line(error)
    with pytest.raises(DatasetError, match="labels are numbers without wnids") as error:
        check_wnids([None, None], "v2")
    one_line(error)


@pytest.mark.parametrize(
    "name",
    ["airplane1-bicycle2", "a/b/airplane1-bicycle2.png", "airplane_airplane1-bicycle2", "train_x_airplane1-bicycle2"],
)
def test_names_of_cue_conflicts(name: str) -> None:
    assert read_pair(name) == ("airplane", "bicycle")


@pytest.mark.parametrize("name", ["airplane1", "airplane1_bicycle2", "1-2", "airplane-bicycle"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DatasetError, match="expected a name such as airplane1-bicycle2") as error:
        read_pair(name)
    one_line(error)


def test_categories_are_made_of_outputs() -> None:
    categories = {"one": ["n1"], "two": ["n2", "n3"]}
    assert output_categories(["n3", "n9", "n1"], categories).tolist() == [1, -1, 0]
    with pytest.raises(OptionError, match="category two: the model knows none of 2 classes") as error:
        output_categories(["n1"], categories)
    one_line(error)
    with pytest.raises(DatasetError, match="shape 'three' is none of the 2 categories") as error:
        positions(["one", "three"], categories, "shape")
    one_line(error)


def test_any_real_label_is_right_and_pictures_without_one_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "real.json"
    file.write_text(json.dumps([[3, 5], [], [1]]))
    names = [f"n0144_ILSVRC2012_val_{number:08d}" for number in (3, 1, 2, 1)]
    classes = [IMAGENET[number] for number in (5, 1, 0)]
    counts = count_real(names, np.array([1, 0, 0, 2]), classes, read_real_labels(file), IMAGENET)
    assert (counts.num_right, counts.num_judged, counts.num_empty) == (2, 3, 1)
    with pytest.raises(DatasetError, match="ILSVRC2012_val_00000001 to 00000003") as error:
        count_real(["ILSVRC2012_val_00000004"], np.array([0]), classes, read_real_labels(file), IMAGENET)
    one_line(error)
    file.write_text("[[1000]]")
    with pytest.raises(DatasetError, match="class indexes 0 to 999") as error:
        read_real_labels(file)
    one_line(error)


def test_the_map_to_nine_classes_is_the_users(tmp_path: Path) -> None:
    file = tmp_path / "in_to_in9.json"
    file.write_text(json.dumps({str(index): -1 for index in range(1000)} | {"7": 0, "8": 1}))
    classes = [IMAGENET[number] for number in (8, 9, 7)]
    assert output_groups([*classes, "own"], read_map(file), IMAGENET).tolist() == [1, -1, 0, -1]
    assert [group_of(name) for name in ("00_dog", "08_fish", "02_wheeled vehicle")] == [0, 8, 2]
    with pytest.raises(DatasetError, match="folder of ImageNet-9") as error:
        group_of("dog")
    one_line(error)
    file.write_text(json.dumps({"0": 1}))
    with pytest.raises(DatasetError, match=r"in_to_in9.json of MadryLab") as error:
        read_map(file)
    one_line(error)


def test_factors_are_read_by_the_files_name_without_prototypes(tmp_path: Path) -> None:
    rows = [{"file_name": f"ILSVRC2012_val_{number:08d}.JPEG", "class": 1} for number in range(3)]
    lines = [
        json.dumps(row | {factor: int(factor == FACTORS[row_number]) for factor in FACTORS})
        for row_number, row in enumerate(rows)
    ]
    file, prototypes = tmp_path / "x.jsonl", tmp_path / "prototypical_paths.csv"
    file.write_text("\n".join(lines))
    prototypes.write_text("file_name,other\nval/ILSVRC2012_val_00000002.JPEG,1\n")
    known, on = factors_of(
        ["n0144_ILSVRC2012_val_00000001", "val/x/ILSVRC2012_val_00000002.JPEG"], read_factors(file, prototypes)
    )
    assert known.tolist() == [True, False]
    assert on[0].nonzero()[0].tolist() == [1]
    assert not on[1].any()
    file.write_text('{"file_name": "a"}')
    with pytest.raises(DatasetError, match="line 1: expected a JSON object") as error:
        read_factors(file)
    one_line(error)
