"""What cannot draw is refused before anything is written: pipelines, schedulers, classes, pickles, long prompts."""

from __future__ import annotations

import json
import pickle
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPTokenizer

from shardtools.dataset import open_dataset
from shardtools.errors import ModelError, OptionError, RunError
from shardtools.generation import EMBEDDED_MODEL, GenerateOptions, begin, prepare, resolve_model
from shardtools.generation.fitting import FLOW_SCHEDULERS, NOISE_SCHEDULERS, check_pipeline
from shardtools.generation.launch import Generation
from shardtools.generation.prompt_lengths import prompt_reader
from shardtools.storage import open_storage
from tests.helpers import tiny_models
from tests.helpers.generated_datasets import generate_here, options


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "my model"))


def refusal(kind: type[Exception], model: Path | str, out: Path, **changes: Any) -> str:
    with pytest.raises(kind) as caught:
        prepare(options(Path(model), out, **changes))
    assert "\n" not in str(caught.value)
    assert not out.exists()
    return str(caught.value)


# Schedulers and pipelines.


@pytest.mark.parametrize(
    "scheduler",
    [
        "FlowMatchEulerDiscreteScheduler",
        "UnCLIPScheduler",
        "DDIMInverseScheduler",
        "NoSuchScheduler",
        "VQDiffusionScheduler",
    ],
)
def test_a_scheduler_that_cannot_draw_is_refused(model: Path, tmp_path: Path, scheduler: str) -> None:
    message = refusal(OptionError, model, tmp_path / "out", scheduler=scheduler)
    assert f"--scheduler {scheduler} cannot draw from the model model" in message
    assert "ddim" in message and "PNDMScheduler" in message


@pytest.mark.parametrize("scheduler", ["ddpm", "DEISMultistepScheduler", "LCMScheduler"])
def test_schedulers_that_fit_are_taken(model: Path, tmp_path: Path, scheduler: str) -> None:
    assert prepare(options(model, tmp_path / "out", scheduler=scheduler)).plan.num_rows == 20


def test_the_schedulers_are_those_of_diffusers() -> None:
    for name in (*NOISE_SCHEDULERS, *FLOW_SCHEDULERS):
        assert hasattr(diffusers, name), name


def test_a_flow_model_takes_no_scheduler_of_a_noise_model(copy: Path, tmp_path: Path) -> None:
    index = copy / "model_index.json"
    content = json.loads(index.read_text()) | {"scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}
    index.write_text(json.dumps(content))
    assert "expected one of FlowMatchEuler" in refusal(OptionError, copy, tmp_path / "out", scheduler="euler")


@pytest.mark.parametrize(
    "change",
    [
        {"_class_name": "StableDiffusionImg2ImgPipeline"},
        {"_class_name": "StableDiffusionInpaintPipeline"},
        {"_class_name": "StableVideoDiffusionPipeline"},
        {"_class_name": "DDPMPipeline", "tokenizer": [None, None]},
        {"_class_name": "StableDiffusionPipeline", "unet": [None, None]},
        {"_class_name": ["pipeline", "MyPipeline"]},
    ],
    ids=lambda change: str(change["_class_name"]),
)
def test_a_pipeline_that_cannot_draw_from_a_text_is_refused(copy: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    index = copy / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | change))
    message = refusal(ModelError, copy, tmp_path / "out")
    assert "choose" in message


def test_known_pipelines_pass() -> None:
    parts = {name: ["transformers", "X"] for name in ("tokenizer", "text_encoder", "vae", "unet")}
    for name in (
        "StableDiffusionPipeline",
        "StableDiffusionXLPipeline",
        "StableDiffusion3Pipeline",
        "PixArtAlphaPipeline",
    ):
        check_pipeline(Path("model"), {"_class_name": name, **parts})


# Weights.


def as_pickle(folder: Path) -> Path:
    """The safetensors of a part of a pipeline as the pickle of an older one."""
    [weights] = folder.glob("*.safetensors")
    target = weights.with_name({"model.safetensors": "pytorch_model.bin"}.get(weights.name, f"{weights.stem}.bin"))
    torch.save(load_file(weights), target)
    weights.unlink()
    return target


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_pickle_is_refused_with_the_way_to_convert_it(model: Path, copy: Path, tmp_path: Path, part: str) -> None:
    as_pickle(copy / part)
    message = refusal(ModelError, copy, tmp_path / "out")
    assert (
        f"expected weights as .safetensors, found {'diffusion_' * (part == 'unet')}pytorch_model.bin, a pickle"
        in message
    )
    assert "weights_only=False" not in message and "use_safetensors" not in message
    # The command is run as it stands, and what it makes is what was there.
    command = shlex.split(message.partition("convert it once: ")[2])
    assert command[0] == "python"
    subprocess.run([sys.executable, *command[1:]], check=True)
    assert prepare(options(copy, tmp_path / "out")).plan.num_rows == 20
    [made], [original] = (folder.glob("*.safetensors") for folder in (copy / part, model / part))
    assert made.name == original.name
    assert all(torch.equal(value, load_file(original)[name]) for name, value in load_file(made).items())


class Program:
    """What a pickle may do while it is loaded."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self._mark, "was here"))


def test_a_pickle_beside_safetensors_is_never_loaded(copy: Path, tmp_path: Path) -> None:
    for part in ("unet", "vae", "text_encoder"):
        for name in ("diffusion_pytorch_model.bin", "pytorch_model.bin", "optimizer.bin"):
            (copy / part / name).write_bytes(pickle.dumps(Program(tmp_path / "mark")))
    assert generate_here(options(copy, tmp_path / "out", classes="n04133789", batch_size=2)).num_images == 2
    assert not (tmp_path / "mark").exists()


def test_folders_of_a_variant_load(model: Path, copy: Path, tmp_path: Path) -> None:
    wanted = {"classes": "n04133789", "batch_size": 2}
    for part, kinds in (("unet", 1), ("vae", 1), ("text_encoder", 1)):
        found = list((copy / part).glob("*.safetensors"))
        assert len(found) == kinds
        found[0].rename(found[0].with_name(f"{found[0].stem}.fp16.safetensors"))
    generate_here(options(copy, tmp_path / "variant", **wanted))
    generate_here(options(model, tmp_path / "plain", **wanted))
    rows = [
        [row["sha256"] for table in open_dataset(tmp_path / name).tables() for row in table.to_pylist()]
        for name in ("variant", "plain")
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 2


def test_a_folder_with_one_part_as_a_variant_loads(copy: Path, tmp_path: Path) -> None:
    [weights] = (copy / "unet").glob("*.safetensors")
    weights.rename(weights.with_name(f"{weights.stem}.fp16.safetensors"))
    assert generate_here(options(copy, tmp_path / "out", classes="n04133789", batch_size=2)).num_images == 2


# Classes of the embedded model.


@pytest.mark.parametrize("classes", ["imagenet-100", "n02123045", "n04133789,n02123045"])
def test_classes_that_the_embedded_model_was_never_taught_are_refused(tmp_path: Path, classes: str) -> None:
    for name in (EMBEDDED_MODEL, str(resolve_model(EMBEDDED_MODEL).path)):
        with pytest.raises(OptionError, match=r"it knows .*sandal.* name a model that knows them") as caught:
            prepare(GenerateOptions(out=str(tmp_path / "out"), model=name, classes=classes))
        assert "--model CompVis/stable-diffusion-v1-4" in str(caught.value)


def test_classes_that_it_knows_and_other_models_are_taken(model: Path, tmp_path: Path) -> None:
    for name, classes in ((EMBEDDED_MODEL, "fashion"), (EMBEDDED_MODEL, "n04133789"), (str(model), "imagenet-100")):
        wanted = GenerateOptions(
            out=str(tmp_path / "out"), model=name, classes=classes, prompt_template="c", lemmas="first"
        )
        assert prepare(wanted).notices == ()


def test_classes_with_texts_of_ones_own_are_taken_with_a_word(tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_text("name,definition\nred,a red thing\n")
    [notice] = prepare(GenerateOptions(out=str(tmp_path / "out"), classes=str(table))).notices
    assert "never taught the class (red)" in notice


# Prompts longer than the text encoder reads.


def test_cut_prompts_are_counted_named_and_in_their_rows(model: Path, tmp_path: Path) -> None:
    table = tmp_path / "long.csv"
    long = "very " * 100
    table.write_text(f"name,definition\nred,{long} red thing\nblue,{long} blue thing\ngreen,a green thing\n")
    wanted = options(model, tmp_path / "out", classes=str(table), prompt_template="d_c", images_per_class=1)
    [notice] = prepare(wanted).notices
    assert notice.startswith("2 of 3 prompts have more than the 77 tokens that the text encoder reads")
    assert "red (" in notice and "blue (" in notice and "green" not in notice
    assert "2 classes become the same as another (blue, red)" in notice
    generate_here(wanted)
    reasons = {row["wnid"]: row["reason"] for table in open_dataset(wanted.out).tables() for row in table.to_pylist()}
    assert reasons["green"] is None
    assert str(reasons["red"]).startswith("prompt cut: it has ") and "reads 77" in str(reasons["blue"])
    assert {row["status"] for table in open_dataset(wanted.out).tables() for row in table.to_pylist()} == {"ok"}


def test_prompts_that_fit_say_nothing(model: Path, tmp_path: Path) -> None:
    assert prepare(options(model, tmp_path / "out", prompt_template="c")).notices == ()


@pytest.mark.parametrize(
    "text", ["jersey, a pullover", "It's 12 o'clock; naïve <|endoftext|> café", "  a\n\tb  ", "日本", ""]
)
def test_tokens_are_those_of_transformers(model: Path, tmp_path: Path, text: str) -> None:
    """With one file as new tokenizers have it, and with CLIP's two as the pipelines of 2022 have them."""
    old = tmp_path / "old"
    (old / "text_encoder").mkdir(parents=True)
    shutil.copy(model / "text_encoder" / "config.json", old / "text_encoder")
    words = tiny_models.tokenizer(old / "tokenizer")
    # `CLIPTokenizer` itself reads these two files.
    (old / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 77}))
    expected = tuple(CLIPTokenizer.from_pretrained(model / "tokenizer")(text, verbose=False)["input_ids"])
    assert tuple(words(text, verbose=False)["input_ids"]) == expected
    for place in (model, old):
        reader = prompt_reader(place)
        assert reader is not None and reader.limit == 77
        assert reader.tokens([text]) == [expected]


# Runs that make nothing.


def test_a_run_in_which_every_image_fails_is_an_error(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardtools.pipelines.generate.finishing.BLACK_BELOW", 256)
    wanted = options(model, tmp_path / "my out", classes="n04133789", batch_size=2)
    assert generate_here(wanted).num_images == 0
    launch = Generation(wanted, lambda message: None)
    assert launch.begin() is None
    with pytest.raises(RunError, match=r"no image was made: all 2 rows of .* failed \(2 black\)") as caught:
        launch.finish(stopped=False)
    assert "shardtools query failures '" in str(caught.value)


def test_a_plan_that_has_made_nothing_gives_way(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for steps in (3, 2):
        prepared = prepare(options(model, out, num_inference_steps=steps))
        assert begin(prepared, open_storage(str(out)), retry_failed=False).plan_id == prepared.plan_file.plan_id
