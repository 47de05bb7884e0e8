"""Generation in one process: what is in the rows, what a failed image becomes, clones, retries, other families."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from shardtools.dataset import open_dataset, read_status
from shardtools.errors import ModelError, OptionError, PlanError, PlanMismatchError, PromptError, TaxonomyError
from shardtools.generation import SCHEDULERS, GenerateOptions, begin, prepare, resolve_model
from shardtools.pipelines.generate.engine import Engine
from shardtools.pipelines.generate.finishing import judge_image
from shardtools.storage import open_storage
from tests.helpers import tiny_models
from tests.helpers.generated_datasets import files, generate_here, options


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="session")
def checked_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.stable_diffusion(tmp_path_factory.mktemp("safe"), safety_checker=True)


@pytest.fixture(scope="session")
def dataset(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images, left as they are by every test."""
    out = tmp_path_factory.mktemp("made") / "dataset"
    generate_here(options(model, out))
    return out


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for table in open_dataset(out).tables() for row in table.to_pylist()]


def test_every_row_says_how_its_image_was_made(dataset: Path) -> None:
    made = rows(dataset)
    assert len(made) == 20 and {row["status"] for row in made} == {"ok"}
    sandal = next(row for row in made if row["key"] == "n04133789_0000001")
    assert sandal["prompt"] == "sandal, a shoe consisting of a sole fastened by straps to the foot"
    assert (sandal["class_index"], sandal["replica"], sandal["prompt_template"]) == (5, 1, "c, d_c")
    assert (sandal["scheduler"], sandal["guidance_scale"], sandal["num_inference_steps"]) == ("PNDMScheduler", 2.0, 2)
    assert (sandal["source"], sandal["label_source"], sandal["attempt"]) == ("generated", "prompt", 1)
    assert set(json.loads(sandal["library_versions"])) == {"torch", "diffusers", "transformers", "pillow"}
    assert len({row["seed"] for row in made}) == 20


def test_rows_point_at_their_bytes(dataset: Path) -> None:
    for row in rows(dataset):
        content = (dataset / row["shard"]).read_bytes()[row["member_offset"] :][: row["num_bytes"]]
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (row["width"], row["height"]), row["mode"])


def test_shards_are_adjacent_members_with_fixed_times(dataset: Path) -> None:
    with tarfile.open(dataset / "shards" / "train-000000.tar") as archive:
        members = archive.getmembers()
    assert [member.name.partition(".")[2] for member in members] == ["cls", "jpg", "json"] * 4
    assert {(member.mtime, member.mode, member.uid) for member in members} == {(0, 0o444, 0)}


def test_a_second_run_makes_the_same_bytes(model: Path, dataset: Path, tmp_path: Path) -> None:
    generate_here(options(model, tmp_path / "again"))
    assert files(tmp_path / "again") == files(dataset)


def test_an_image_does_not_depend_on_the_padding(model: Path, tmp_path: Path) -> None:
    """Five rows in batches of four: the fifth is padded, with itself."""
    wanted = options(model, tmp_path / "a", classes="n04133789", images_per_class=5, samples_per_shard=8)
    generate_here(wanted)
    prepared = prepare(wanted)
    row = prepared.plan.shard_rows(0)[4]
    engine = Engine(prepared.model.path, prepared.plan.options.generator, torch.device("cpu"))
    latents = engine.denoise([row.prompt] * 4, [row.seed] * 4)
    image = engine.decode(latents[:1]).images[0]
    content = judge_image(image, finite=True, quality=95)[2]
    made = rows(tmp_path / "a")[4]
    assert content == (tmp_path / "a" / made["shard"]).read_bytes()[made["member_offset"] :][: made["num_bytes"]]


def test_a_larger_scale_adds_clones(model: Path, dataset: Path, tmp_path: Path) -> None:
    generate_here(options(model, tmp_path / "grown"))
    before = files(tmp_path / "grown")
    generate_here(options(model, tmp_path / "grown", scale=3))
    grown = files(tmp_path / "grown")
    generate_here(options(model, tmp_path / "fresh", scale=3))
    assert grown == files(tmp_path / "fresh")
    assert all(grown[name] == content for name, content in before.items() if name.startswith(("shards/", "manifest/")))
    assert len(rows(tmp_path / "grown")) == len({row["seed"] for row in rows(tmp_path / "grown")}) == 60
    # A smaller scale finds everything there.
    assert generate_here(options(model, tmp_path / "grown")).scale == 3


def test_like_copies_the_counts_of_a_dataset(model: Path, tmp_path: Path) -> None:
    first = options(model, tmp_path / "a", classes="n04133789,n02774152", images_per_class=3)
    generate_here(first)
    generate_here(options(model, tmp_path / "b", classes="n02774152", images_per_class=None, like=str(tmp_path / "a")))
    assert Counter(row["wnid"] for row in rows(tmp_path / "b")) == {"n02774152": 3}
    with pytest.raises(PlanError, match="no images of 9 of 10 classes"):
        prepare(options(model, tmp_path / "c", images_per_class=None, like=str(tmp_path / "b")))


def test_a_changed_option_is_refused_by_name(model: Path, dataset: Path) -> None:
    before = files(dataset)
    with pytest.raises(PlanMismatchError, match=r"guidance_scale is 2.0 there, 7.5 here"):
        generate_here(options(model, dataset, guidance_scale=7.5))
    with pytest.raises(PlanMismatchError, match='prompt is "c, d_c" there, "c" here'):
        generate_here(options(model, dataset, prompt_template="c"))
    assert files(dataset) == before


def test_a_dataset_whose_scenes_were_dealt_by_class_goes_on_when_asked_to(model: Path, tmp_path: Path) -> None:
    """As an earlier release began it: its plan names no order of scenes."""
    storage = open_storage(tmp_path / "a")
    asked = {"prompt_template": "c inside b", "images_per_class": 2}
    old = prepare(options(model, tmp_path / "a", scene_order="by-class", **asked))
    assert "scene_order" not in old.plan_file.settings
    begin(old, storage, retry_failed=False)
    new = prepare(options(model, tmp_path / "a", **asked))
    with pytest.raises(
        PlanMismatchError, match=r"begun with scene_order 'by-class'.* go on with --scene-order by-class"
    ):
        begin(new, storage, retry_failed=False)
    assert begin(old, storage, retry_failed=False).plan_id == old.plan_file.plan_id != new.plan_file.plan_id


def test_a_folder_with_other_files_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(PlanMismatchError, match=r"holds other files \(thesis.txt"):
        generate_here(options(model, tmp_path))


def broken_copy(model: Path, out: Path, value: float) -> Path:
    """The same pipeline with a decoder whose last bias is `value`: real NaN or real black images."""
    for path in model.rglob("*"):
        target = out / path.relative_to(model)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    weights = out / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["decoder.conv_out.bias"] = torch.full_like(tensors["decoder.conv_out.bias"], value)
    save_file(tensors, weights, metadata={"format": "pt"})
    return out


@pytest.mark.parametrize(("value", "status"), [(float("nan"), "nan"), (-100.0, "black")])
def test_failed_images_are_rows(model: Path, tmp_path: Path, value: float, status: str) -> None:
    info = generate_here(options(broken_copy(model, tmp_path / "model", value), tmp_path / "out"))
    assert info.statuses == {status: 20} and info.num_images == 0 and info.shards == ()
    assert all(row["sha256"] is None and row["shard"] is None and row["reason"] for row in rows(tmp_path / "out"))
    assert read_status(str(tmp_path / "out")).statuses == {status: 20}


def test_the_safety_checkers_verdict_is_a_column(checked_model: Path, tmp_path: Path) -> None:
    generate_here(options(checked_model, tmp_path / "record"))
    recorded = {row["key"]: row for row in rows(tmp_path / "record")}
    flagged = {key for key, row in recorded.items() if row["nsfw_detected"]}
    assert 0 < len(flagged) < 20 and all(row["status"] == "ok" for row in recorded.values())
    generate_here(options(checked_model, tmp_path / "off", safety="off"))
    unchecked = {row["key"]: row for row in rows(tmp_path / "off")}
    assert all(row["nsfw_detected"] is None for row in unchecked.values())
    assert {key: row["sha256"] for key, row in recorded.items()} == {
        key: row["sha256"] for key, row in unchecked.items()
    }
    dropped = generate_here(options(checked_model, tmp_path / "drop", safety="drop"))
    assert dropped.statuses == {"ok": 20 - len(flagged), "unsafe": len(flagged)}
    assert {row["key"] for row in rows(tmp_path / "drop") if row["status"] == "unsafe"} == flagged


def test_failed_images_are_made_again_with_other_seeds(checked_model: Path, tmp_path: Path) -> None:
    wanted = options(checked_model, tmp_path / "out", safety="drop")
    generate_here(wanted)
    before = {row["key"]: row for row in rows(tmp_path / "out")}
    shards = {path.name: path.read_bytes() for path in (tmp_path / "out" / "shards").iterdir()}
    info = generate_here(options(checked_model, tmp_path / "out", safety="drop", retry_failed=True))
    after = {row["key"]: row for row in rows(tmp_path / "out")}
    failed = {key for key, row in before.items() if row["status"] != "ok"}
    assert list(before) == list(after) and info.num_rows == 20
    assert all(after[key] == before[key] for key in before if key not in failed)
    assert all(after[key]["attempt"] == 2 and after[key]["seed"] != before[key]["seed"] for key in failed)
    assert any(after[key]["status"] == "ok" for key in failed)
    assert len({row["seed"] for row in [*before.values(), *(after[key] for key in failed)]}) == 20 + len(failed)
    assert all((tmp_path / "out" / "shards" / name).read_bytes() == content for name, content in shards.items())
    generate_here(options(checked_model, tmp_path / "out", safety="drop", retry_failed=True))
    assert len({row["key"] for row in rows(tmp_path / "out")}) == 20


def test_another_family_of_pipelines(tmp_path: Path) -> None:
    model = tiny_models.stable_diffusion_xl(tmp_path / "xl")
    info = generate_here(options(model, tmp_path / "out", guidance_scale=5.0, negative_prompt="blurry"))
    assert info.statuses == {"ok": 20}
    assert {row["scheduler"] for row in rows(tmp_path / "out")} == {"EulerDiscreteScheduler"}


@pytest.mark.parametrize(
    "change",
    [{"scheduler": "dpm++"}, {"dtype": "bfloat16"}, {"width": 24, "height": 8}, {"guidance_scale": 1.0}],
    ids=str,
)
def test_options_reach_the_pipeline(model: Path, dataset: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    generate_here(options(model, tmp_path / "out", **change))
    plain, changed = rows(dataset), rows(tmp_path / "out")
    assert [row["key"] for row in plain] == [row["key"] for row in changed]
    assert all(one["sha256"] != other["sha256"] for one, other in zip(plain, changed, strict=True))
    # Not every option has a column; all are in plan.json.
    for name in change.keys() & changed[0].keys():
        assert {row[name] for row in changed} == {SCHEDULERS.get(str(change[name]), change[name])}


def test_each_prompt_is_encoded_once(model: Path, tmp_path: Path) -> None:
    prepared = prepare(options(model, tmp_path / "out"))
    engine = Engine(prepared.model.path, prepared.plan.options.generator, torch.device("cpu"))
    calls: list[object] = []
    engine.pipe.text_encoder.register_forward_hook(lambda *arguments: calls.append(arguments))
    made = prepared.plan.shard_rows(0)
    for _ in range(2):
        engine.denoise([row.prompt for row in made], [row.seed for row in made])
    # Two encodings a prompt: the prompt itself and the empty one that guidance subtracts.
    assert len(calls) == 2 * len({row.prompt for row in made})


def test_judge_image_keeps_dark_pictures() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    assert judge_image(image, finite=True, quality=95)[0] == "black"
    image[3, 3] = 40
    assert judge_image(image, finite=True, quality=95)[0] == "ok"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": "no/such-model"}, ModelError, "no folder here and was not fetched"),
        ({"model": "nothing"}, ModelError, "neither a folder, a hub id"),
        ({"classes": "sandl.n.01"}, TaxonomyError, "sandl"),
        ({"classes": "imagenet-7"}, TaxonomyError, "imagenet-7"),
        ({"prompt_template": "a photo of nothing"}, PromptError, "names no class"),
        ({"prompt_template": "c, e_c"}, PromptError, "e_c"),
        ({"scenes": "places365"}, OptionError, "needs a template with b"),
        ({"scene_order": "by-class"}, OptionError, "--scene-order needs a template with b"),
        ({"num_processes": 0}, OptionError, "--num-processes is 1 to 1024, found 0"),
        ({"images_per_class": 0}, OptionError, "--images-per-class is 1 or more, found 0"),
        ({"like": "x"}, OptionError, "give one of them"),
        ({"scheduler": "fast"}, OptionError, "--scheduler is one of"),
        ({"batch_size": 0}, OptionError, "--batch-size is 1 to 4096, found 0"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_wrong_options_are_one_line(
    model: Path, tmp_path: Path, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        prepare(options(model, tmp_path / "out", **change))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_class_without_a_definition_is_named(model: Path, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("name,definition\nwidget,a small gadget\ngizmo,\n")
    with pytest.raises(PromptError, match="gizmo"):
        prepare(options(model, tmp_path / "out", classes=str(table)))
    assert (
        prepare(options(model, tmp_path / "out", classes=str(table), prompt_template="a photo of a c")).plan.num_rows
        == 4
    )


def test_a_model_folder_without_weights_is_named(model: Path, tmp_path: Path) -> None:
    bare = broken_copy(model, tmp_path / "bare", 0.0)
    (bare / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"unet holds no weights"):
        resolve_model(str(bare))
    (bare / "model_index.json").unlink()
    with pytest.raises(ModelError, match=r"holds no model_index.json"):
        resolve_model(str(bare))


def test_damaged_weights_are_one_line(model: Path, tmp_path: Path) -> None:
    bad = broken_copy(model, tmp_path / "bad", 0.0)
    weights = bad / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded as a diffusers pipeline") as caught:
        generate_here(options(bad, tmp_path / "out"))
    assert "\n" not in str(caught.value)


def test_the_digest_is_of_the_files_not_of_the_place(model: Path, tmp_path: Path) -> None:
    copy = broken_copy(model, tmp_path / "copy", 0.0)
    original = resolve_model(str(model))
    assert resolve_model(str(copy)).digest != original.digest
    (copy / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(
        (model / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()
    )
    (copy / "README.md").write_text("notes")
    assert resolve_model(str(copy)).digest == original.digest


def test_defaults_need_no_option_but_the_prompt() -> None:
    prepared = prepare(GenerateOptions(out="fashion-sd"))
    assert prepared.plan.num_rows == 160 and prepared.plan.num_shards == 8
    assert prepared.model.model_id == "fashion-sd"
