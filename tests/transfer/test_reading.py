"""Study files: what they say, and one line with the place of what is wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from shardtools.errors import OptionError
from shardtools.sources import find_set
from shardtools.transfer import Grid, read_study, study_of

MODEL = '[[models]]\nname = "r50"\nencoder = "resnet50"\n'
SET = '[[sets]]\nname = "leaves"\ndataset = "leaves"\n'


def refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(OptionError) as refused:
        read_study(str(path))
    message = str(refused.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_what_is_left_out_is_seed_003s(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(MODEL + SET)
    study = read_study(str(path))

    assert len(study.grid) == 2 * 2 * 4 * 5
    assert study.grid == Grid() and study.grid.step_at == (15, 20, 25)
    assert (study.epochs, study.seeds, study.recipe, study.above) == (30, (0,), "real-world", 0.7)
    assert [one.metric for one in study.sets] == ["accuracy"]


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        'recipe = "micro"\nepochs = 40\nseeds = [1, 2]\npretraining = "Clothes"\n[changes]\nbatch_size = 128\n'
        '[grid]\noptimizers = ["adamw"]\ndecays = [0, 1e-3]\nstep_at = [20, 30]\n'
        '[[models]]\nname = "clip"\nencoder = "timm:x"\ninit = "x.bin"\naccuracy = 0.8\nprobe = "clip"\n'
        '[[sets]]\nname = "eyes"\ndataset = "s3://b/eyes"\nmetric = "kappa"\nval_split = "test"\n'
        'changes = { channels = "bgr", vertical_flip = 0.5, mean = [0.5, 0.5, 0.5], sync_batch_norm = false }\n'
        '[[augmentations]]\nname = "augmix"\nmodels = ["clip"]\n'
    )
    study = read_study(str(path))

    assert study.changes == (("batch_size", "128"),)
    assert study.models[0].probe == "clip" and study.sets[0].val_split == "test"
    assert dict(study.sets[0].changes) == {
        "channels": "bgr",
        "vertical_flip": "0.5",
        "mean": "0.5,0.5,0.5",
        "sync_batch_norm": "false",
    }
    assert [one.name for one in study.augmentations_of(study.models[0], study.sets[0])] == ["default", "augmix"]
    assert len(study.grid) == 2 * 4 * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MODEL + SET + 'metrc = "kappa"\n', "no key is called sets[0] (leaves).metrc; did you mean metric?"),
        ("epoch = 3\n" + MODEL + SET, "no key is called epoch; did you mean epochs?"),
        (MODEL + SET + "[grid]\ndecay = [0]\n", "no key is called grid.decay; did you mean decays?"),
        (MODEL + SET + 'metric = "f1"\n', "metric is one of accuracy, kappa, macro_f1, roc_auc, found 'f1'"),
        (MODEL + SET + SET, "sets has 'leaves' twice"),
        (MODEL + MODEL + SET, "models has 'r50' twice"),
        (MODEL + "accuracy = 76.1\n" + SET, "76.1 % is 0.761"),
        (MODEL + 'accuracy = "76"\n' + SET, "models[0].accuracy is"),
        (MODEL, "write [[sets]]"),
        (MODEL + SET + 'val_split = "train"\n', "trains on 'train' and is judged by the same"),
        (MODEL + SET + "[grid]\nsgd_rates = [0]\n", "grid.sgd_rates is one or more numbers, each above 0"),
        (MODEL + SET + "[grid]\ndecays = [0, 0.0]\n", "grid.decays names a value twice"),
        ("epochs = 20\n" + MODEL + SET, "grid.step_at falls at epoch 25 of 20"),
        (MODEL + SET + '[[augmentations]]\nname = "mixed"\n', "augmentation mixed changes nothing"),
        (MODEL + SET + '[[augmentations]]\nname = "bgr"\nsets = ["leafs"]\n', "sets has no 'leafs', expected one of"),
        (MODEL + SET + "[changes]\nscale = {}\n", "changes.scale is a number"),
        ("models = 3\n" + SET, "models is a list of tables"),
        ("models = [", "expected TOML"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="expected a study, found No such file"):
        read_study(str(tmp_path / "nothing.toml"))


def test_channel_orders_are_augmentations() -> None:
    table = {"models": [{"name": "a", "encoder": "x"}], "sets": [{"name": "b", "dataset": "y"}]}
    study = study_of({**table, "augmentations": [{"name": name} for name in ("bgr", "grb", "randaugment")]})

    assert [one.all_changes for one in study.augmentations] == [
        (("channels", "bgr"),),
        (("channels", "grb"),),
        (("policy", "randaugment"),),
    ]


def test_the_file_of_the_page_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "study_transfer.md").read_text()
    study = study_of(tomllib.loads(page.split("```toml\n")[1].split("```")[0]))

    assert [model.name for model in study.models] == ["ResNet-50", "CLIP ViT-B/32", "ResNet-50, from nothing"]
    assert study.models[1].probe and study.augmentations[0].models == ("ResNet-50",)
    published = find_set("cct20-boxes")
    assert (study.sets[0].train_split, study.sets[0].test_split) == (*published.fit_splits, published.test_split)
