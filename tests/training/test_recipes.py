"""Recipes: the files that ship, what may be changed, what is refused, and the ranges of options."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from shardtools.errors import OptionError
from shardtools.loader import MultiCropOptions, dino_multi_crop
from shardtools.training import Recipe, TrainOptions, find_recipe, list_recipes, load_recipe
from shardtools.training.data import training_crop

NAMES = ["fine-tune", "imagenet-sd", "micro", "micro-multi-crop", "pytorch", "real-world", "t-rex", "t-rex-star"]


def options(**changes: Any) -> TrainOptions:
    values = {"datasets": ("photos",), "out": "run", "recipe": Recipe(name="own")}
    return TrainOptions(**{**values, **changes})


def test_the_shipped_recipes_load_under_their_names() -> None:
    assert [one.name for one in list_recipes()] == NAMES
    assert [load_recipe(name).name for name in NAMES] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_header_says_command_hardware_time_and_metric(name: str) -> None:
    text = find_recipe(name).text
    header = text[: text.index("\n\n")]

    assert all(line.startswith("#") for line in header.splitlines())
    assert f"--recipe {name}" in header and "shardtools train " in header
    assert "# Hardware: " in header and re.search("# Time", header) and re.search("[Mm]etric: ", header)
    assert max(map(len, text.splitlines())) <= 120


def test_what_the_thesis_states() -> None:
    """Table C.1 and section 5.5 of the thesis; only t-ReX has other scales than DINO and the table's common ones."""
    star, rex, generated = load_recipe("t-rex-star"), load_recipe("t-rex"), load_recipe("imagenet-sd")

    for recipe in (star, rex, generated):
        assert (recipe.epochs, recipe.batch_size, recipe.warmup_epochs, recipe.momentum) == (100, 256, 10.0, 0.9)
        assert (recipe.peak_lr, recipe.weight_decay, recipe.sync_batch_norm) == (0.1, 1e-4, True)
        assert (recipe.augmentation, recipe.image_size, recipe.num_local, recipe.local_size) == (
            "multi-crop",
            224,
            8,
            96,
        )
    assert (rex.scale, rex.local_scale, rex.projector_layers) == (0.25, 0.05, 3)
    assert (star.scale, star.local_scale, star.projector_layers) == (0.4, 0.05, 1)
    for recipe in (star, rex):
        assert (recipe.head, recipe.memory_size, recipe.temperature, recipe.min_lr) == ("ocm", 8192, 0.1, 1e-6)
        assert (recipe.projector_hidden, recipe.projector_bottleneck) == (2048, 256)
    assert generated.head == "linear" and generated.projector_layers is None
    # Chapter 5 says DINO's pipeline; the small form and the defaults have its shares of the image too.
    for recipe in (generated, load_recipe("micro-multi-crop"), Recipe(name="own")):
        crop = training_crop(recipe)
        assert isinstance(crop, MultiCropOptions)
        assert (crop.global_crop.scale, crop.local_crop.scale) == ((0.4, 1.0), (0.05, 0.4))
        assert (recipe.head, recipe.projector_layers) == ("linear", None)
    whole = dino_multi_crop()
    assert training_crop(generated) == whole and training_crop(star) == whole != training_crop(rex)


def test_what_torchvision_states() -> None:
    """The defaults of its references/classification/train.py, on 8 GPUs of 32 images."""
    recipe = load_recipe("pytorch")
    assert (recipe.encoder, recipe.epochs, recipe.batch_size, recipe.peak_lr) == ("resnet50", 90, 256, 0.1)
    assert (recipe.schedule, recipe.step_epochs, recipe.step_factor, recipe.warmup_epochs) == ("step", 30.0, 0.1, 0.0)
    assert (recipe.momentum, recipe.weight_decay, recipe.scale, recipe.flip) == (0.9, 1e-4, 0.08, 0.5)
    others = [load_recipe(name).schedule for name in NAMES if name != "pytorch"]
    assert set(others) == {"cosine"}


def test_what_seed_003_states() -> None:
    """Its grid's common values, and the released training code (sample_train.py)."""
    recipe = load_recipe("real-world")
    assert (recipe.epochs, recipe.batch_size, recipe.image_size, recipe.eval_resize) == (30, 128, 256, 256)
    assert (recipe.scale, recipe.flip, recipe.vertical_flip, recipe.warmup_epochs) == (0.65, 0.5, 0.0, 0.0)
    assert (recipe.rate_by, recipe.decay_all, recipe.step_at) == ("epoch", True, (15.0, 20.0, 25.0))
    assert (recipe.peak_lr, recipe.decay) == (1e-4, 1.0), "weight_decay is what a step takes off, at any rate"
    sgd = ["optimizer=sgd", "nesterov=true", "decay_over_rate=false", "base_lr=0.1", "weight_decay=1e-3"]
    other = load_recipe("real-world", [*sgd, "schedule=step"])
    assert (other.peak_lr, other.decay, other.momentum, other.step_factor) == (0.1, 1e-3, 0.9, 0.1)
    assert load_recipe("real-world", ["schedule=step", "epochs=50", "step_at=20,30,40"]).step_at == (20, 30, 40)


def test_the_small_recipes_fit_small_images_on_a_cpu() -> None:
    plain, crops = load_recipe("micro"), load_recipe("micro-multi-crop")

    assert (plain.image_size, plain.precision, plain.augmentation) == (32, "fp32", "plain")
    same = dataclasses.asdict(crops) | {"name": "micro", "augmentation": "plain"}
    for name in ("scale", "num_local", "local_size", "local_scale"):
        same[name] = getattr(plain, name)
    assert same == dataclasses.asdict(plain), "the two differ in their crops alone"


def test_values_are_changed_as_their_types() -> None:
    changed = load_recipe(
        "micro",
        [
            "epochs=3",
            "base_lr=1e-2",
            "clip_norm=2",
            "mean=0.5, 0.5,0.5",
            "sync_batch_norm=yes",
            "head=cosine",
            "epochs=4",
        ],
    )

    assert (changed.epochs, changed.base_lr, changed.clip_norm) == (4, 0.01, 2.0)
    assert (changed.mean, changed.sync_batch_norm, changed.head) == ((0.5, 0.5, 0.5), True, "cosine")
    assert load_recipe("micro", {"clip_norm": "none"}).clip_norm is None
    assert load_recipe("T_REX_star") == load_recipe("t-rex-star")


def test_the_warm_up_keeps_its_share_unless_it_is_given() -> None:
    assert load_recipe("imagenet-sd", ["epochs=5"]).warmup_epochs == 0.5
    assert load_recipe("imagenet-sd", ["epochs=5", "warmup_epochs=2"]).warmup_epochs == 2.0
    assert load_recipe("pytorch", ["epochs=5"]).warmup_epochs == 0.0


def test_steps_of_the_rate_keep_their_share_where_there_are_some() -> None:
    assert load_recipe("pytorch", ["epochs=9"]).step_epochs == 3.0
    assert load_recipe("pytorch", ["epochs=9", "step_epochs=4"]).step_epochs == 4.0
    assert load_recipe("pytorch", ["epochs=9", "schedule=cosine"]).step_epochs == 30.0
    assert load_recipe("imagenet-sd", ["epochs=10", "schedule=step"]).step_epochs == 3.0
    assert load_recipe("imagenet-sd", ["epochs=10"]).step_epochs == 30.0


def test_epochs_of_falls_are_typed_and_keep_their_share() -> None:
    typed = load_recipe("pytorch", ["epochs=30", "step_at=15,20,25"])
    assert typed.step_at == (15.0, 20.0, 25.0)
    assert load_recipe("pytorch", ["step_at="]).step_at == ()
    with pytest.raises(OptionError, match="step_at is numbers, found '15;20'"):
        load_recipe("pytorch", ["step_at=15;20"])


def test_shares_of_a_file_that_names_the_epochs_of_its_falls(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('epochs = 30\nschedule = "step"\nstep_at = [15, 20, 25]\n')
    own = str(tmp_path / "own.toml")
    assert load_recipe(own, ["epochs=3"]).step_at == pytest.approx((1.5, 2.0, 2.5))
    assert load_recipe(own, ["epochs=3", "step_at=1"]).step_at == (1.0,)
    # No falls: they are as they stand, as the length of steps is.
    assert load_recipe(own, ["epochs=20", "schedule=cosine"]).step_at == (15.0, 20.0, 25.0)


def test_decay_over_the_rate() -> None:
    """Seed 003's AdamW: torch multiplies decay by the rate, so a step takes `weight_decay` off at every peak."""
    recipe = Recipe(name="own", base_lr=0.01, weight_decay=1e-3, decay_over_rate=True, batch_size=128)
    assert (recipe.peak_lr, recipe.decay) == (0.005, pytest.approx(0.2))
    assert Recipe(name="own", weight_decay=1e-3).decay == 1e-3


def test_a_file_of_the_user_is_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('encoder = "timm:resnet18"\nbase_lr = 1\nmean = [0, 0.5, 1]\nepochs = 20\n')

    assert load_recipe(str(tmp_path / "mine.toml")) == Recipe(
        name="mine", encoder="timm:resnet18", base_lr=1.0, mean=(0.0, 0.5, 1.0), epochs=20
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "no key is called 'epoch'; did you mean epochs"),
        ('name = "x"', "no key is called 'name'"),
        ('epochs = "3"', "epochs is a whole number, found '3'"),
        ("epochs = 3.0", "epochs is a whole number, found 3.0"),
        ("epochs = true", "epochs is a whole number, found True"),
        ("base_lr = true", "base_lr is a number, found True"),
        ("mean = [1, 2]", "mean is three numbers, found (1.0, 2.0)"),
        ('mean = "1,2,3"', "mean is three numbers, found '1,2,3'"),
        ("base_lr = nan", "base_lr is a number above 0, found nan"),
        ("epochs = ", "expected TOML"),
        ("[model]\nepochs = 3", "no key is called 'model'"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(text)

    with pytest.raises(OptionError) as error:
        load_recipe(str(tmp_path / "mine.toml"))
    assert message in str(error.value) and "\n" not in str(error.value) and "mine" in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epochs", "key=value, found 'epochs'"),
        ("epoch=3", "did you mean epochs"),
        ("epochs=3.5", "epochs is a whole number, found '3.5'"),
        ("epochs=none", "epochs is a whole number, found 'none'"),
        ("base_lr=inf", "base_lr is a number, found 'inf'"),
        ("clip_norm=x", "clip_norm is a number or none, found 'x'"),
        ("sync_batch_norm=maybe", "sync_batch_norm is true or false, found 'maybe'"),
        ("mean=1,2", "mean is three numbers"),
        ("precision=fp8", "precision is one of fp32, bf16, fp16, found 'fp8'"),
    ],
)
def test_a_wrong_change_is_one_line(change: str, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        load_recipe("micro", [change])


def test_unknown_recipes_give_near_names(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="did you mean imagenet-sd"):
        load_recipe("imagenet-ds")
    with pytest.raises(OptionError, match="there are fine-tune, imagenet-sd, micro, "):
        load_recipe("zzz")
    with pytest.raises(OptionError, match=r"no\.toml: expected a recipe, found No such file"):
        load_recipe(str(tmp_path / "no.toml"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "softmax"}, "head is one of linear, cosine, ocm"),
        ({"head": "ocm"}, "needs a projector"),
        ({"projector_layers": -1}, "projector_layers is a number of at least 0"),
        ({"scale": 0.0}, "scale is above 0 and at most 1.0, found 0.0"),
        ({"scale": 0.2, "local_scale": 0.3}, "local_scale is above 0 and at most 0.2"),
        ({"std": (0.2, 0.0, 0.2)}, "std is three numbers above 0"),
        ({"clip_norm": 0.0}, "clip_norm is a number above 0"),
        ({"weight_decay": float("inf")}, "weight_decay is a number of at least 0"),
        ({"min_lr": 0.2}, "min_lr is at most the rate after the warm-up (0.1)"),
        ({"epochs": 10}, "warmup_epochs is below epochs (10), found 10.0"),
        ({"eval_resize": 200}, "eval_resize is at least image_size (224), found 200"),
        ({"momentum": 1.5}, "momentum is 0 to 1, found 1.5"),
        ({"schedule": "linear"}, "schedule is one of cosine, step, found 'linear'"),
        ({"step_epochs": 0.0}, "step_epochs is a number above 0, found 0.0"),
        ({"step_factor": 2.0}, "step_factor is above 0 and at most 1.0, found 2.0"),
        ({"step_at": (20.0, 10.0)}, "step_at is rising epochs above 0, found (20.0, 10.0)"),
        ({"step_at": (0.0,)}, "step_at is rising epochs above 0, found (0.0,)"),
        ({"schedule": "step", "step_at": (50.0, 100.0)}, "step_at is epochs below 100, which the run ends with"),
        ({"optimizer": "adam"}, "optimizer is one of sgd, adamw, found 'adam'"),
        ({"optimizer": "adamw", "nesterov": True}, "nesterov is a form of the momentum of optimizer 'sgd'"),
        ({"momentum": 0.0, "nesterov": True}, "found optimizer 'sgd' with momentum 0.0: leave nesterov out"),
        ({"rate_by": "batch"}, "rate_by is one of step, epoch"),
    ],
)
def test_ranges_of_a_recipe(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        Recipe(name="own", **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": ()}, "a tuple of datasets, found ()"),
        ({"datasets": "photos"}, "a tuple of datasets, found 'photos'"),
        ({"device": "tpu"}, "device is one of auto, cpu, cuda, found 'tpu'"),
        ({"threads": 0}, "threads is at least 1, found 0"),
        ({"log_steps": 0}, "log_steps is at least 1, found 0"),
        ({"view": "select key from samples", "where": "width > 1"}, "give view, or where and relabel"),
        ({"ratio": (1, 2)}, "ratio has one number a dataset (1), found 2"),
        ({"datasets": ("a", "b"), "ratio": (1, 0)}, "each number of ratio is at least 1"),
        ({"weighted": "sampling"}, "give a view with a column `weight`"),
        ({"val_metric": "auc"}, "val_metric is one of top1, kappa, macro_f1, roc_auc, found 'auc'"),
        ({"select": "first"}, "select is one of last, best, found 'first'"),
        ({"select": "best"}, "select best needs an evaluation: give val"),
        ({"test_split": "test"}, "test_split needs an evaluation: give val"),
        ({"cache_folder": "cache"}, "cache_folder and cache_bytes belong together"),
    ],
)
def test_ranges_of_a_run(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        options(**changes)


def test_settings_of_earlier_releases_stay_what_they_are() -> None:
    """The fields that came later are left out at their default: a plan, a checkpoint, an overlay are as before."""
    late = {"optimizer", "nesterov", "step_at", "rate_by", "decay_all", "decay_over_rate"}
    late |= {"vertical_flip", "policy", "mixup", "cutmix", "channels"}
    names = {field.name for field in dataclasses.fields(Recipe)}
    assert Recipe(name="own").settings().keys() == names - late
    settings = Recipe(name="own", optimizer="adamw", step_at=(5.0,)).settings()
    assert settings.keys() == names - late | {"optimizer", "step_at"}
    result = options(recipe=Recipe(name="own", nesterov=True)).result()
    assert result["recipe.nesterov"] is True and "recipe.optimizer" not in result


def test_the_result_holds_what_changes_weights_and_nothing_else() -> None:
    same = options(num_processes=4, threads=3, log_steps=1, out="other", keep_checkpoints=3, val="photos")
    assert same.result() == options().result()

    # What decides on the epoch that is kept, and what is tested, belong to it where they are asked for.
    best = options(val="photos", select="best").result()
    assert best == {
        **options().result(),
        "select": "best",
        "val": "photos",
        "val_split": "val",
        "val_every": 1,
        "metric": "top1",
    }
    assert options(val="photos", test_split="x").result() == {**options().result(), "val": "photos", "test_split": "x"}
    for changes in ({"seed": 1}, {"datasets": ("b",)}, {"where": "true"}, {"recipe": Recipe(name="own", epochs=99)}):
        assert options(**changes).result() != options().result()
