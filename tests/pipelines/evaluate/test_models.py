"""Opening classifiers: runs, Lite networks, timm, torchvision, files, folders, dual encoders; and what is refused."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save, save_file
from torch import nn

from shardtools.errors import OptionError, PromptError, RunError, TaxonomyError
from shardtools.evaluation import ModelFacts, ModelOptions
from shardtools.features import FeatureOptions
from shardtools.pipelines.encoders.trained import load_feature_encoder
from shardtools.pipelines.evaluate.models import Classifier, load_classifier
from shardtools.taxonomy import load_classes
from tests.helpers.hub_server import hub_with
from tests.helpers.model_files import WNIDS, run_folder
from tests.helpers.text_encoders import clip, siglip

IMAGENET = tuple(entry.wnid for entry in load_classes("imagenet-1k"))
FASHION = "n03595614,n04489008,n04021028"
TINY = "timm:test_vit"
"""371,000 parameters, images of 160 pixels."""


def opened(model: str | Path, **changes: Any) -> Classifier:
    return load_classifier(ModelOptions(model=str(model), **changes))


def images(side: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A small network of timm with random weights, and its file."""
    torch.manual_seed(0)
    network = timm.create_model("test_vit").eval()
    path = tmp_path_factory.mktemp("timm") / "tiny.safetensors"
    save_file(network.state_dict(), path)
    return network, path


@pytest.mark.parametrize("head", ["ocm", "linear", "cosine"])
def test_a_run_gives_its_own_logits_and_the_names_of_its_classes(head: str, tmp_path: Path) -> None:
    folder, network = run_folder(tmp_path / "run", head=head)
    found = opened(folder)
    pixels = images(16)
    assert torch.equal(found(pixels), network(pixels))
    assert found.facts.classes == WNIDS and found.facts.num_outputs == 3
    assert (found.facts.image_size, found.facts.resize, found.facts.interpolation) == (16, 16, "bilinear")
    assert not any(parameter.requires_grad for parameter in found.parameters()) and not found.training
    # The file alone means the same; other weights do not.
    assert opened(folder / "model.safetensors").facts == found.facts
    other, _ = run_folder(tmp_path / "other", head=head, seed=1)
    changed = opened(folder, weights=str(other / "model.safetensors")).facts
    assert changed.weights_sha256 != found.facts.weights_sha256
    assert replace(changed, weights_sha256=found.facts.weights_sha256) == found.facts


def test_outputs_of_a_run_that_stand_for_nothing(tmp_path: Path) -> None:
    folder, _ = run_folder(tmp_path / "gap", {0: WNIDS[0], 2: WNIDS[2]})
    assert opened(folder).facts.classes == (WNIDS[0], "", WNIDS[2])
    assert opened(folder).facts.output_of == {WNIDS[0]: 0, WNIDS[2]: 2}
    nameless, _ = run_folder(tmp_path / "nameless", {0: None, 1: None, 2: None})
    assert opened(nameless).facts.classes is None
    assert opened(nameless, classes=FASHION).facts.classes == WNIDS
    with pytest.raises(OptionError, match=r"has 3 outputs, found 100 classes in imagenet-100: give --classes"):
        opened(nameless, classes="imagenet-100")


def test_a_run_that_is_not_whole_is_one_line(tmp_path: Path) -> None:
    folder, _ = run_folder(tmp_path / "run")
    (folder / "classes.json").unlink()
    with pytest.raises(OptionError, match=r"classes.json: expected the classes of the run's outputs, found none"):
        opened(folder)
    folder, _ = run_folder(tmp_path / "other")
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(OptionError, match=r"expected the weights of a resnet-micro with 3 outputs, found others"):
        opened(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(OptionError, match=r"has no model.safetensors yet: let the training finish"):
        opened(folder)
    with pytest.raises(OptionError, match=r"expected the folder of a training run with run.json, found none"):
        opened(tmp_path)


@pytest.mark.parametrize(("name", "side", "expected"), [("lite0", 224, 17), ("lite1", 240, 19), ("lite2", 260, 18)])
def test_lite_networks_know_photographs(name: str, side: int, expected: int) -> None:
    found = opened(name)
    facts = found.facts
    assert (facts.image_size, facts.resize, facts.interpolation) == (side, side + 32, "bicubic")
    assert facts.classes == IMAGENET
    # The package is only looked for: importing it warns of its age.
    package = importlib.util.find_spec("foolbox")
    assert package is not None and package.origin is not None
    photos = sorted((Path(package.origin).parent / "data").glob("imagenet_*"))
    right = 0
    for path in photos:
        with Image.open(path) as photo:
            pixels = np.asarray(photo.convert("RGB").resize((side, side), Image.Resampling.BICUBIC), np.float32)
        normal = (torch.from_numpy(pixels).permute(2, 0, 1)[None] - 127) / 128
        with torch.inference_mode():
            right += int(found(normal).argmax()) == int(path.stem.rpartition("_")[2])
    assert len(photos) == 20 and right == expected


def test_a_lite_network_is_the_same_for_features() -> None:
    features = load_feature_encoder(FeatureOptions(dataset="d", encoder="lite1"))
    facts = opened("lite1").facts
    assert (features.facts.feature_dim, features.facts.image_size) == (1280, 240)
    assert (features.facts.resize, features.facts.mean, features.facts.std) == (facts.resize, facts.mean, facts.std)
    assert features(images(240, 1)).shape == (1, 1280)


def test_a_network_of_timm_is_prepared_as_timm_does(tiny: tuple[nn.Module, Path]) -> None:
    network, path = tiny
    found = opened(TINY, weights=str(path))
    config: dict[str, Any] = timm.data.resolve_model_data_config(network, use_test_size=True)
    size = config["input_size"][-1]
    facts = found.facts
    assert (facts.image_size, facts.resize) == (size, int(size / config["crop_pct"]))
    assert (facts.interpolation, facts.mean, facts.std) == (config["interpolation"], config["mean"], config["std"])
    assert facts.classes == IMAGENET and facts.name == TINY
    pixels = images(size)
    with torch.inference_mode():
        assert torch.equal(found(pixels), network(pixels))


def test_a_file_with_other_outputs_makes_a_network_with_as_many(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3).eval()
    path = tmp_path / "three.pth"
    # As DDP and others' training scripts leave it.
    torch.save({"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, path)
    found = opened("timm:test_resnet", weights=str(path))
    assert (found.facts.num_outputs, found.facts.classes) == (3, None)
    assert opened("timm:test_resnet", weights=str(path), classes=FASHION).facts.classes == WNIDS
    with torch.inference_mode():
        assert torch.equal(found(images(64)), network(images(64)))
    with pytest.raises(OptionError, match="has 3 outputs, found 1000 classes in imagenet-1k"):
        opened("timm:test_resnet", weights=str(path), classes="imagenet-1k")
    with pytest.raises(TaxonomyError, match="imagenet-1"):
        opened("timm:test_resnet", weights=str(path), classes="imagenet-1")
    headless = {name: value for name, value in network.state_dict().items() if not name.startswith("fc.")}
    save_file(headless, tmp_path / "headless.safetensors")
    with pytest.raises(OptionError, match=r"have no classifier for model timm:test_resnet \(expected fc.weight\)"):
        opened("timm:test_resnet", weights=str(tmp_path / "headless.safetensors"))
    with pytest.raises(OptionError, match=r"do not fit model timm:test_vit: the file lacks \d+ tensors, first"):
        save_file({"head.weight": torch.zeros(3, 64)}, tmp_path / "other.safetensors")
        opened(TINY, weights=str(tmp_path / "other.safetensors"))


def test_a_folder_that_timm_saved_brings_its_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3).eval()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {
        "architecture": "test_resnet",
        "num_classes": 3,
        "label_names": list(WNIDS),
        "pretrained_cfg": {**network.default_cfg, "input_size": [3, 48, 48], "crop_pct": 0.9, "num_classes": 3},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    facts = opened(tmp_path).facts
    assert facts.classes == WNIDS and (facts.image_size, facts.resize) == (48, 53)
    assert opened(tmp_path / "model.safetensors").facts == facts
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(OptionError, match=r"its weights \(model.safetensors or pytorch_model.bin\), found no weights"):
        opened(tmp_path)


def test_a_network_of_torchvision_is_prepared_as_its_weights_say(tmp_path: Path) -> None:
    from torchvision import models

    torch.manual_seed(0)
    network = models.mobilenet_v3_small().eval()
    # Under the name that torchvision publishes, and under one of its own.
    published = tmp_path / models.MobileNet_V3_Small_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    torch.save(network.state_dict(), published)
    own = tmp_path / "own.safetensors"
    save_file(network.state_dict(), own)
    found = opened(published)
    assert found.facts.name == "mobilenet_v3_small.IMAGENET1K_V1"
    assert opened("mobilenet_v3_small", weights=str(published)).facts == found.facts
    assert opened("mobilenet_v3_small.IMAGENET1K_V1", weights=str(own)).facts == found.facts
    by_name = opened("mobilenet_v3_small", weights=str(own)).facts
    assert by_name == replace(found.facts, name="mobilenet_v3_small")
    assert (by_name.resize, by_name.image_size, by_name.interpolation) == (256, 224, "bilinear")
    assert by_name.classes == IMAGENET
    with torch.inference_mode():
        assert torch.equal(found(images(64, 1)), network(images(64, 1)))
    with pytest.raises(OptionError, match=r"own.safetensors: the file does not say which network it is of"):
        opened(own)
    with pytest.raises(OptionError, match="torchvision has the weights IMAGENET1K_V1 of it"):
        opened("mobilenet_v3_small.IMAGENET1K_V9", weights=str(own))


class _Code:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (print, ("this ran",))


def test_code_in_a_file_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"head.weight": _Code()}, tmp_path / "code.pth")
    torch.save(timm.create_model("test_resnet"), tmp_path / "whole.pth")
    for name in ("code.pth", "whole.pth"):
        with pytest.raises(OptionError, match=r"found neither .*weights_only=False\)\.state_dict\(\), NEW") as caught:
            opened("timm:test_resnet", weights=str(tmp_path / name))
        assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("model", "changes", "line"),
    [
        ("timm:test_vit", {}, "has no weights on this machine, and predictions of random weights say nothing"),
        ("resnet18", {}, r"'resnet18' has no weights on this machine.*--weights FILE, or --pretrained"),
        ("timm:test_vi", {"weights": "x"}, "did you mean timm:test_vi"),
        ("resnet51", {}, "found 'resnet51'; did you mean resnet"),
        ("timm:test_vit", {"weights": "gone.pth"}, "weights gone.pth: expected a local file, found none"),
        ("timm:hf-hub:a/b", {}, "lies on the hub: give --pretrained, or the folder that it was copied to"),
        ("clip:gone", {}, "expected a folder of transformers with config.json"),
        ("resnet50", {"weights": __file__, "pretrained": True}, "--pretrained fetches weights, and --weights"),
        (__file__, {"pretrained": True}, "is a file of weights: leave --weights and --pretrained out"),
    ],
)
def test_what_is_no_model_is_one_line(model: str, changes: dict[str, Any], line: str) -> None:
    with pytest.raises(OptionError, match=line) as caught:
        opened(model, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", ["timm:resnet18.a1_in1k", "timm:hf-hub:timm/resnet18.a1_in1k", "resnet18"])
def test_published_weights_without_a_network_are_one_line(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the port of discard, where nobody listens
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    # What was asked for before in this process knows the proxies of then.
    monkeypatch.setattr("urllib.request._opener", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RunError, match=r"weights cannot be fetched \(URLError: .*refused>\): give --weights") as caught:
        opened(model, pretrained=True)
    assert "\n" not in str(caught.value)


def test_published_weights_are_fetched_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    network = timm.create_model("test_resnet").eval()
    path = "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"
    with hub_with(path, save(network.state_dict()), tmp_path, monkeypatch) as asked:
        found = opened("timm:test_resnet.r160_in1k", pretrained=True)
        again = opened("timm:test_resnet.r160_in1k", pretrained=True)
    with torch.inference_mode():
        assert torch.equal(found(images(64)), network(images(64)))
    assert again.facts == found.facts and found.facts.classes == IMAGENET
    assert [line for line in asked if line.startswith("GET /timm")] == [f"GET {path}"]


def test_an_image_size_that_the_network_does_not_take_is_one_line(tiny: tuple[nn.Module, Path]) -> None:
    path = str(tiny[1])
    with pytest.raises(
        OptionError, match=r"timm:test_vit does not take images of 150 pixels \(.*\): leave --image-size"
    ):
        opened(TINY, weights=path, image_size=150)


def test_a_dual_encoder_is_a_classifier_by_its_texts(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, CLIPModel

    folder = Path(clip(tmp_path / "clip"))
    prompts = ("a photo of a c", "the red c")
    found = opened(folder, classes=FASHION, prompt_templates=prompts, lemmas="first")
    assert found.facts.name == "clip:clip" and found.facts.classes == WNIDS and found.facts.image_size == 16
    model, words = CLIPModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    pixels = images(16)
    texts = []
    for entry in load_classes(FASHION):
        filled = words(
            [f"a photo of a {entry.lemmas[0]}", f"the red {entry.lemmas[0]}"], padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            out = model.get_text_features(input_ids=filled["input_ids"], attention_mask=filled["attention_mask"])
        texts.append(nn.functional.normalize(getattr(out, "pooler_output", out), dim=1).mean(0))
    with torch.inference_mode():
        out = model.get_image_features(pixel_values=pixels)
    seen = nn.functional.normalize(getattr(out, "pooler_output", out), dim=1)
    expected = model.logit_scale.exp() * seen @ nn.functional.normalize(torch.stack(texts), dim=1).T
    torch.testing.assert_close(found(pixels), expected.detach(), rtol=1e-4, atol=1e-4)

    # A lower precision is the tower's alone: the cosines are not rounded to a few bits before they are scaled.
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        half = found(pixels)
    assert half.dtype == torch.float32 and not torch.equal(half, half.bfloat16().float())
    assert not torch.equal(half, found(pixels))
    torch.testing.assert_close(half, expected.detach(), rtol=0.1, atol=0.2)

    # The texts are part of the model, their order is that of the outputs.
    other = opened(f"clip:{folder}", classes=FASHION, prompt_templates=prompts[:1], lemmas="first")
    assert other.facts.weights_sha256 != found.facts.weights_sha256
    turned = opened(folder, classes="n04021028,n04489008,n03595614", prompt_templates=prompts, lemmas="first")
    torch.testing.assert_close(turned(pixels), found(pixels).flip(1))
    with pytest.raises(PromptError, match="names no class"):
        opened(folder, classes=FASHION, prompt_templates=("a photo",))
    with pytest.raises(OptionError, match=r"1 of 3 class texts are longer than the 12 tokens .* --lemmas first"):
        opened(folder, classes=FASHION, lemmas="all")
    with pytest.raises(OptionError, match="brings its weights"):
        opened(folder, weights=__file__)


def test_siglip_adds_its_bias(tmp_path: Path) -> None:
    from transformers import SiglipModel

    folder = Path(siglip(tmp_path / "siglip"))
    model = SiglipModel.from_pretrained(folder)
    with torch.no_grad():
        model.logit_bias.fill_(-3.0)
        model.logit_scale.fill_(-50.0)  # so that nothing is left of the cosines
    model.save_pretrained(folder)
    found = opened(folder, classes=FASHION, lemmas="first")
    assert found.facts.crop == "resize"
    torch.testing.assert_close(found(images(16)), torch.full((2, 3), -3.0))


def test_a_square_is_enlarged_as_pillow_enlarges_it() -> None:
    facts = ModelFacts(name="n", weights_sha256="", num_outputs=1, image_size=24, resize=24, enlarge=37)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (24, 24, 3), np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((37, 37), Image.Resampling.BICUBIC), np.float32) / 255
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (facts.mean, facts.std))
    shown = (torch.from_numpy(pixels).permute(2, 0, 1).float() / 255 - mean) / std
    seen = Classifier(nn.Identity(), facts)(shown[None])[0] * std + mean
    # What is left is Pillow's rounding, after each of its two passes.
    assert np.abs(seen.permute(1, 2, 0).numpy() - expected).max() < 1.1 / 255


def test_a_protocol_prepares_the_images(tiny: tuple[nn.Module, Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_b0").eval()
    path = str(tmp_path / "b0.safetensors")
    save_file(network.state_dict(), path)
    seed = {"weights": path, "protocol": "seed001"}
    sketch = opened("tf_efficientnet_b0_ns", protocol_set="sketch", **seed).facts
    assert sketch.name == "timm:tf_efficientnet_b0.ns_jft_in1k"
    assert (sketch.crop, sketch.resize, sketch.image_size, sketch.interpolation) == ("center", 256, 224, "bicubic")
    assert sketch.enlarge is None
    adversarial = opened("timm:tf_efficientnet_b0.ns_jft_in1k", protocol_set="a", **seed).facts
    assert (adversarial.resize, adversarial.image_size) == (224, 224)
    with pytest.raises(OptionError, match=r"protocol seed001 has 27 models .* found 'lite0': leave --protocol out"):
        opened("lite0", protocol="seed001", protocol_set="a")
    with pytest.raises(OptionError, match=r"moco_v2 of protocol seed001 is a ResNet-50 of MoCo v2 .*--weights FILE"):
        opened("moco_v2", protocol="seed001", protocol_set="a")
    with pytest.raises(
        OptionError, match=r"resnext101_32x48d_wsl of protocol seed001 is a ResNeXt-101 32x48d, which only"
    ):
        opened("resnext101_32x48d_wsl", protocol="seed001", protocol_set="a")
