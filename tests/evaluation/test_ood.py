"""`eval ood` on predictions that are there, and a cue-conflict set made of cut-outs: from files to the table."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from shardtools.cli import cli
from shardtools.errors import DatasetError, OptionError, ShardtoolsError, SourceError
from shardtools.evaluation.predictions import PredictOptions, predictions_name
from shardtools.evaluation.published import cue_categories
from shardtools.evaluation.sets import (
    CUE_OVERLAY,
    CueConflictOptions,
    OodOptions,
    evaluate_ood,
    make_cue_conflict,
)
from shardtools.evaluation.sets.making import draw_cue, pair
from shardtools.evaluation.sets.run import prediction_options, shown_names
from shardtools.overlays import open_overlay
from shardtools.sql import query
from shardtools.taxonomy import load_classes
from shardtools.writing import write_samples
from tests.helpers.feature_datasets import make_labeled
from tests.helpers.ood_datasets import as_is, model_facts, with_predictions

A = [one.wnid for one in load_classes("imagenet-a")]
OTHER = "n01440764"


def table_of(*on: str, **options: object) -> list[tuple[str, str, str, float]]:
    found = evaluate_ood(OodOptions(models=("lite0",), on=on, predict=False, **options))  # type: ignore[arg-type]
    return [(one.title, one.metric, one.how, round(found.figure("lite0", one).value, 4)) for one in found.columns]  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four images of two classes of ImageNet-A, judged by a model that knows one class more."""
    labels = [0, 1, 0, 1]
    url = make_labeled(tmp_path_factory.mktemp("photos") / "a", labels, names=A[:2])
    classes = [OTHER, *A[:2]]
    # Right; right only among the classes of the set; wrong; right.
    logits = np.array([[0, 5, 0], [5, 0, 4], [0, 1, 5], [0, 0, 5]])
    with_predictions(url, model_facts(classes), logits, name="predictions_lite0", wnids=[A[label] for label in labels])
    return url


def test_a_table_of_predictions_that_are_there(photos: str) -> None:
    assert table_of(f"a={photos}") == [
        ("A", "top1_accuracy", "2 of 200 classes", 0.75),
        ("A", "top1_accuracy", "all 3 classes", 0.5),
    ]
    assert table_of(f"plain:Mine={photos}") == [("Mine", "top1_accuracy", "all 3 classes", 0.5)]


def test_the_command_prints_json_and_files(photos: str, tmp_path: Path) -> None:
    arguments = ["eval", "ood", "lite0", "--on", f"a={photos}", "--no-predict"]
    files = ["--json", "--markdown", str(tmp_path / "t.md"), "--results", str(tmp_path / "r.csv")]
    ran = CliRunner().invoke(cli, [*arguments, *files])
    assert ran.exit_code == 0, ran.output
    rows = json.loads(ran.stdout)["results"]
    assert {row["protocol"] for row in rows} == {
        "resize 256 and crop 224 bilinear; 2 of 200 classes",
        "resize 256 and crop 224 bilinear; all 3 classes",
    }
    assert (tmp_path / "t.md").read_text().startswith("| model | A top-1 (2 of 200 classes) |")
    assert len((tmp_path / "r.csv").read_text().splitlines()) == len(rows) + 1
    ran = CliRunner().invoke(cli, arguments)
    assert ran.stdout.splitlines()[1].split() == [
        "A",
        "top-1",
        "2",
        "of",
        "200",
        "classes",
        "75.00",
        "30.06",
        "to",
        "95.44",
    ]


def test_what_does_not_fit_is_one_line(photos: str, tmp_path: Path) -> None:
    numbers = make_labeled(tmp_path / "numbers", [0, 1], names=["0", "1"])
    with_predictions(numbers, model_facts(["0", "1"]), np.eye(2), name="predictions_lite0", wnids=["0", "1"])
    mine = make_labeled(tmp_path / "mine", [0, 1], names=["cat", "dog"])
    with_predictions(mine, model_facts(A[:3]), np.eye(3)[:2], name="predictions_lite0", wnids=["cat", "dog"])
    for on, kind, match in (
        (f"plain={numbers}", DatasetError, "numbers of folders are no wnids"),
        (f"a={mine}", DatasetError, "are none of A's 200"),
        (f"plain={mine}", OptionError, "knows none of 2 classes"),
        (f"sketch={tmp_path / 'nothing'}", ShardtoolsError, "is no dataset"),
        (f"c={photos}", DatasetError, "has no predictions 'predictions_lite0_as_is'"),
    ):
        with pytest.raises(kind, match=match) as error:
            table_of(on)
        assert "\n" not in str(error.value)


def test_sets_of_other_weights_are_not_one_model(photos: str, tmp_path: Path) -> None:
    other = make_labeled(tmp_path / "other", [0, 1], names=A[:2])
    facts = replace(model_facts(A[:2]), weights_sha256="f" * 64)
    with_predictions(other, facts, np.eye(2), name="predictions_lite0", wnids=A[:2])
    with pytest.raises(DatasetError, match=r"was made with other weights .*both are taken for lite0: predict again"):
        table_of(f"a={photos}", f"plain:Other={other}")


def test_a_path_to_no_model_is_said_before_torch_is_loaded(photos: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="nothing is not there: MODEL is the folder of a training run"):
        evaluate_ood(OodOptions(models=(str(tmp_path / "nothing"),), on=(f"plain={photos}",)))


def test_long_names_of_predictions_stay_apart() -> None:
    options = OodOptions(models=("lite0",), on=("plain=d",), split="x" * 70)
    names = {
        prediction_options("timm:" + "resnet" * 9 + end, options.requests[0], options).overlay_name for end in "abc"
    }
    names |= {predictions_name("n" * 70 + end) for end in "abc"}
    assert len(names) == 6 and {len(name) for name in names} == {64}
    assert predictions_name("lite0") == "predictions_lite0"


def cutout(path: Path, size: tuple[int, int] = (30, 40)) -> None:
    pixels = np.zeros((*size, 4), np.uint8)
    pixels[5:25, 10:30] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def texture(path: Path, color: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 16), color).save(path)


@pytest.fixture(scope="module")
def cues(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("cues")
    for name, color in (("airplane", (255, 0, 0)), ("bear", (0, 255, 0)), ("cat", (0, 0, 255))):
        cutout(folder / "cutouts" / name / "one.png")
        texture(folder / "textures" / name / "one.png", color)
    options = CueConflictOptions(
        cutouts=str(folder / "cutouts"),
        textures=str(folder / "textures"),
        out=str(folder / "set"),
        textures_per_cutout=2,
        size=32,
    )
    assert make_cue_conflict(options) == 6
    return options.out


def test_a_made_set_says_what_each_picture_was_made_of(cues: str) -> None:
    rows = {row["key"]: row for row in open_overlay(cues, CUE_OVERLAY).read().to_pylist()}
    samples = query("select key, wnid, source, source_path, width, height from samples", (cues,)).to_pylist()
    assert len(rows) == 6
    for row in samples:
        made = rows[row["key"]]
        assert row["key"] == f"{made['shape']}1-{made['texture']}1"
        assert (row["wnid"], row["source"], row["width"], row["height"]) == (made["shape"], "rendered", 32, 32)
        assert row["source_path"] == made["cutout_path"]
        assert made["shape"] != made["texture"]
        assert len(made["texture_sha256"]) == 64


def test_a_made_set_is_judged(cues: str, tmp_path: Path) -> None:
    # One class of each of the sixteen categories; every picture is taken for its texture, but one.
    categories = list(cue_categories())
    classes = [wnids[0] for wnids in cue_categories().values()]
    keys = sorted(row["key"] for row in query("select key from samples", (cues,)).to_pylist())
    answers = [key.partition("-")[2][:-1] for key in keys]
    answers[0] = keys[0].partition("1-")[0]
    logits = np.eye(16)[[categories.index(name) for name in answers]]
    with_predictions(
        cues, as_is(model_facts(classes, image_size=32)), logits, name="predictions_lite0_as_is", wnids=[None] * 6
    )
    assert table_of(f"cue-conflict={cues}") == [
        ("Cue conflict", "shape_bias", decision, round(1 / 6, 4)) for decision in ("max", "mean", "sum")
    ]
    assert table_of(f"silhouettes={cues}")[0] == ("Silhouettes", "top1_accuracy", "16 categories, max", round(1 / 6, 4))


def predicted(on: str, **options: object) -> PredictOptions:
    wanted = OodOptions(models=("lite0",), on=(on,), **options)  # type: ignore[arg-type]
    return prediction_options("lite0", wanted.requests[0], wanted)


def test_each_set_is_predicted_in_its_own_way() -> None:
    as_it_is = predicted("edges=x")
    assert (as_it_is.model.crop, as_it_is.labels_by, as_it_is.logits) == ("resize", "none", "all")
    assert as_it_is.overlay_name == "predictions_lite0_as_is"
    cut = predicted("edges=x", force_resize=True)
    assert (cut.model.crop, cut.model.force_resize, cut.overlay_name) == (None, True, "predictions_lite0_resized")
    # Photographs are taken as the model takes them, also where they are corrupted on the way.
    here = predicted("c=x", on_the_fly=True, seed=3)
    assert (here.model.crop, here.corruption, here.seed) == (None, ("none", "imagenet-c"), 3)
    assert (predicted("c=x").model.crop, predicted("c=x").corruption) == ("resize", ())
    assert predicted("imagenet=x", split="val").overlay_name == "predictions_lite0_val"
    assert predicted("imagenet=x", split="Held-out A").overlay_name == "predictions_lite0_held_out_a"
    assert predicted("imagenet=x", replace=True).replace and not predicted("imagenet=x").replace
    with pytest.raises(OptionError, match="--replace makes predictions anew and --no-predict makes none"):
        predicted("imagenet=x", replace=True, predict=False)
    published = predicted("a=x", protocol="seed001")
    assert (published.model.protocol, published.model.protocol_set) == ("seed001", "a")
    assert (published.model.crop, published.overlay_name) == (None, "predictions_lite0_seed001_a")
    with pytest.raises(OptionError, match=r"protocol seed001 has the sets imagenet, a, .* found 'r'") as error:
        predicted("r=x", protocol="seed001")
    assert "\n" not in str(error.value)


def test_models_of_one_name_have_predictions_of_their_own() -> None:
    wanted = OodOptions(models=("runs/one/best", "runs/two/best", "runs/other"), on=("imagenet=x",))
    names = [prediction_options(model, wanted.requests[0], wanted).overlay_name for model in wanted.models]
    assert names == ["predictions_one_best", "predictions_two_best", "predictions_other"]


def test_what_was_written_corrupted_is_not_corrupted_again(tmp_path: Path) -> None:
    url = str(tmp_path / "fogged")
    grey = np.full((8, 8, 3), 128, np.uint8)
    write_samples([grey], [0], url, keys=["a-fog-1"], provenance={"corruption": ["fog"]}, num_processes=1)
    with pytest.raises(DatasetError, match=r"'a-fog-1' is corrupted already \(fog\): leave --on-the-fly out"):
        evaluate_ood(OodOptions(models=("lite0",), on=(f"c={url}",), on_the_fly=True))


def test_files_of_the_right_size_are_not_resized_again(cues: str) -> None:
    classes = [wnids[0] for wnids in cue_categories().values()]
    twice = model_facts(classes, image_size=32, resize=36)
    with_predictions(cues, twice, np.eye(16)[:6], name="twice", wnids=[None] * 6)
    with pytest.raises(OptionError, match="cut out already") as error:
        table_of(f"edges={cues}", name="twice")
    assert "\n" not in str(error.value)
    assert table_of(f"edges={cues}", name="twice", force_resize=True)[0][0] == "Edges"


def test_pairs_depend_on_the_seed_and_spread_over_categories() -> None:
    cutouts = {"airplane": [Path("a")], "bear": [Path("b")]}
    textures = {"airplane": [Path("x")], "cat": [Path("y"), Path("z")], "dog": [Path("v")]}
    drawn = pair(cutouts, textures, per_cutout=2, seed=1)
    assert drawn == pair(cutouts, dict(reversed(textures.items())), per_cutout=2, seed=1)
    assert [one.texture for one in drawn if one.shape == "airplane"] in (["cat", "dog"], ["dog", "cat"])
    assert {one.texture for one in drawn if one.shape == "bear"} <= {"airplane", "cat", "dog"}
    assert len({tuple(one.key for one in pair(cutouts, textures, per_cutout=2, seed=seed)) for seed in range(8)}) > 1
    # More than there are categories: the second files of a category come after the first of all.
    assert len(pair(cutouts, textures, per_cutout=9, seed=1)) == 3 + 4


def test_a_texture_fills_the_outline() -> None:
    cut = np.zeros((40, 60, 4), np.uint8)
    cut[10:20, 10:50] = 255
    drawn = draw_cue(cut, np.full((9, 12, 3), (10, 20, 30), np.uint8), size=50, fill=0.8, background=200)
    inside = (drawn == (10, 20, 30)).all(axis=2)
    assert (inside.any(axis=1).sum(), inside.any(axis=0).sum()) == (10, 40)
    assert (drawn[~inside] == 200).all()
    for opacity, match in ((0, "transparent everywhere"), (255, "opaque everywhere")):
        cut[..., 3] = opacity
        with pytest.raises(SourceError, match=match):
            draw_cue(cut, np.zeros((4, 4, 3), np.uint8), size=50, fill=0.8, background=200)


def test_sets_that_cannot_be_made_are_one_line(tmp_path: Path) -> None:
    cutout(tmp_path / "cutouts" / "bear" / "one.png")
    texture(tmp_path / "textures" / "bear" / "one.png", (1, 2, 3))
    for cutouts, textures, match in (
        ("nothing", "textures", "is no folder"),
        ("cutouts", "textures", "no texture of another category"),
    ):
        options = CueConflictOptions(
            cutouts=str(tmp_path / cutouts), textures=str(tmp_path / textures), out=str(tmp_path / "out")
        )
        with pytest.raises(ShardtoolsError, match=match) as error:
            make_cue_conflict(options)
        assert "\n" not in str(error.value)


def test_names_of_runs_are_short_unless_two_are_alike() -> None:
    assert shown_names(("lite0", "runs/one", "timm/x/")) == {"lite0": "lite0", "runs/one": "one", "timm/x/": "x"}
    assert shown_names(("a/one", "b/one")) == {"a/one": "a/one", "b/one": "b/one"}
