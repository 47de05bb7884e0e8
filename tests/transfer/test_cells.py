"""Cells: the grid of seed 003, and digests that no name decides on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shardtools.errors import DatasetError, OptionError
from shardtools.transfer import Augmentation, Grid, Study, StudyModel, StudySet, list_cells, read_study
from shardtools.transfer.heads import head_notes
from shardtools.writing import write_samples


def test_the_grid_is_seed_003s(study: Path) -> None:
    cells = list_cells(read_study(str(study)))
    recipes = [cell.recipe for cell in cells]

    assert len({cell.digest for cell in cells}) == len(cells) == 80
    assert {(one.optimizer, one.schedule, one.rate_by, one.nesterov, one.decay_over_rate) for one in recipes} == {
        ("sgd", "cosine", "epoch", True, False),
        ("sgd", "step", "epoch", True, False),
        ("adamw", "cosine", "epoch", False, True),
        ("adamw", "step", "epoch", False, True),
    }
    assert {one.peak_lr for one in recipes if one.optimizer == "sgd"} == {0.1, 0.01, 0.001, 0.0001}
    assert {one.peak_lr for one in recipes if one.optimizer == "adamw"} == {0.01, 0.001, 0.0001, 0.00001}
    # Divided by the rate, so that a step takes the same off the weights at every rate.
    assert {round(one.decay * one.peak_lr, 12) for one in recipes if one.optimizer == "adamw"} == {
        0.001,
        0.0001,
        0.00001,
        0.000001,
        0,
    }
    assert {one.step_at for one in recipes if one.schedule == "step"} == {(15, 20, 25)}


def small(drawings: str, **changes: object) -> Study:
    study = Study(
        models=(StudyModel(name="a", encoder="resnet-micro"),),
        sets=(StudySet(name="drawings", dataset=drawings),),
        grid=Grid(optimizers=("sgd",), schedules=("cosine",), sgd_rates=(0.1,), decays=(0.0, 1e-3)),
        recipe="micro",
    )
    return replace(study, **changes)  # type: ignore[arg-type]


def digests(study: Study) -> list[str]:
    return [cell.digest for cell in list_cells(study)]


def test_names_and_order_change_no_cell(drawings: str) -> None:
    study = small(drawings)
    renamed = replace(study, models=(replace(study.models[0], name="b"),), pretraining="clothes", above=0.5)
    longer = replace(study, grid=replace(study.grid, decays=(1e-4, 1e-3, 0.0)), seeds=(0, 1))

    assert digests(renamed) == digests(study)
    assert set(digests(study)) < set(digests(longer)) and len(digests(longer)) == 6


def test_what_decides_on_a_figure_changes_the_cell(drawings: str) -> None:
    study = small(drawings)
    on, model = study.sets[0], study.models[0]
    others = [
        replace(study, epochs=31),
        replace(study, seeds=(1,)),
        replace(study, changes=(("label_smoothing", "0.1"),)),
        replace(study, models=(replace(model, init="weights.bin"),)),
        replace(study, models=(replace(model, probe="clip"),)),
        replace(study, sets=(replace(on, test_split="test"),)),
        replace(study, sets=(replace(on, val_split="test"),)),
        replace(study, sets=(replace(on, metric="kappa"),)),
    ]

    assert not any(set(digests(study)) & set(digests(other)) for other in others)


def test_later_changes_win(drawings: str) -> None:
    study = small(drawings, changes=(("scale", "0.1"), ("flip", "0.1"), ("label_smoothing", "0.1")))
    study = replace(
        study,
        models=(replace(study.models[0], changes=(("scale", "0.2"), ("flip", "0.2"))),),
        sets=(replace(study.sets[0], changes=(("flip", "0.3"),)),),
        augmentations=(Augmentation(name="upright", changes=(("flip", "0.0"),)),),
    )
    found = [(cell.augmentation, cell.recipe) for cell in list_cells(study)]

    assert {(name, one.scale, one.flip, one.label_smoothing) for name, one in found} == {
        ("default", 0.2, 0.3, 0.1),
        ("upright", 0.2, 0.0, 0.1),
    }


def test_what_no_cell_can_be_is_refused(drawings: str, tmp_path: Path) -> None:
    study = small(drawings)
    model, on = study.models[0], study.sets[0]
    with pytest.raises(OptionError, match=r"two cells are one training: a on drawings.*, and b on drawings"):
        list_cells(replace(study, models=(model, replace(model, name="b"))))
    with pytest.raises(OptionError, match=r"set drawings: .* has no images of split 'tset' \(test_split\), expected"):
        list_cells(replace(study, sets=(replace(on, test_split="tset"),)))
    with pytest.raises(DatasetError, match=r"set drawings: .* is no dataset"):
        list_cells(replace(study, sets=(replace(on, dataset=str(tmp_path / "none")),)))
    with pytest.raises(
        OptionError, match=r"sets \(drawings\).changes: recipe micro: no key is called 'imagesize'; did"
    ):
        list_cells(replace(study, sets=(replace(on, changes=(("imagesize", "64"),)),)))
    with pytest.raises(OptionError, match=r"models \(a\).changes: weight_decay is not the recipe's here: give grid"):
        list_cells(replace(study, models=(replace(model, changes=(("weight_decay", "1"),)),)))


def test_a_model_may_have_epochs_of_its_own(drawings: str) -> None:
    """As networks from nothing in seed 003."""
    study = small(drawings, grid=Grid(optimizers=("sgd",), sgd_rates=(0.1,), decays=(0.0,)))
    nothing = StudyModel(name="b", encoder="resnet-micro", epochs=50, step_at=(20, 30, 40))
    found = [cell.recipe for cell in list_cells(replace(study, models=(*study.models, nothing)))]

    assert [(one.schedule, one.epochs, one.step_at) for one in found] == [
        ("cosine", 30, ()),
        ("step", 30, (15, 20, 25)),
        ("cosine", 50, ()),
        ("step", 50, (20, 30, 40)),
    ]
    with pytest.raises(OptionError, match="model b: step_at falls at epoch 25 of 20"):
        replace(study, models=(replace(nothing, epochs=20, step_at=()),))


def test_a_head_of_other_pictures_is_told(drawings: str) -> None:
    study = small(drawings)
    on = replace(study.sets[0], changes=(("channels", "bgr"),))
    study = replace(study, models=(*study.models, replace(study.models[0], name="b", probe="clip")))

    assert head_notes(list_cells(study)) == ()
    assert head_notes(list_cells(replace(study, sets=(on,)))) == (
        "b on drawings: the head begins as a probe of features of rgb pictures, the training sees bgr",
    )


def test_the_head_fits_the_labels(drawings: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r'set drawings: images of .* have one label each, .*: put head = "linear"'):
        list_cells(small(drawings, changes=(("head", "sigmoid"),)))
    flat, url = np.zeros((8, 8, 3), np.uint8), str(tmp_path / "proteins")
    write_samples([flat] * 4, [[0, 1], [1], [0], []], url, split=["train", "val"] * 2, num_processes=1)
    study = small(url, sets=(StudySet(name="proteins", dataset=url, metric="macro_f1"),))
    with pytest.raises(OptionError, match=r'have several labels each, .*: put head = "sigmoid"'):
        list_cells(study)
    assert len(list_cells(replace(study, changes=(("head", "sigmoid"),)))) == 2
