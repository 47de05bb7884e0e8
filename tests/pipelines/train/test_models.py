"""Encoders, projector, heads, the order of crops, and what decays."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from shardtools.errors import OptionError
from shardtools.pipelines.encoders.lite import load_lite
from shardtools.pipelines.encoders.trained import initial_weights
from shardtools.pipelines.train.models import (
    Classifier,
    CosineSoftmax,
    LinearHead,
    Projector,
    build_classifier,
    crop_labels,
    make_encoder,
    num_crops,
    parameter_groups,
)
from shardtools.pipelines.train.ocm import OnlineClassMeans
from shardtools.training.recipe import Recipe

RECIPE = Recipe(
    name="small",
    encoder="resnet-micro",
    head="cosine",
    projector_layers=1,
    projector_hidden=16,
    projector_bottleneck=8,
    memory_size=12,
)


def pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- encoders ----


def test_lite_starts_from_its_packages_weights() -> None:
    path = initial_weights("lite0", "lite0")
    encoder = make_encoder("lite0", weights=path)
    images = pixels(1, 3, 64, 64)
    expected = load_lite("lite0").eval().extract_features(images).mean((2, 3))  # type: ignore[operator]
    assert encoder.feature_dim == 1280 and all(one.requires_grad for one in encoder.parameters())
    assert torch.equal(encoder.eval()(images), expected)
    drawn = make_encoder("lite0").state_dict()
    assert not torch.equal(drawn["network._conv_stem.weight"], encoder.state_dict()["network._conv_stem.weight"])


def test_a_run_is_started_from(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    before = build_classifier(RECIPE, 3, seed=1)
    with pytest.raises(OptionError, match=r"expected the folder of a training run with run\.json"):
        initial_weights("resnet-micro", str(run))
    (run / "run.json").write_text(json.dumps({"options": {"recipe": asdict(RECIPE)}}))
    with pytest.raises(OptionError, match=r"has no model\.safetensors yet"):
        initial_weights("resnet-micro", str(run))
    save_file(before.state_dict(), run / "model.safetensors")
    after = build_classifier(RECIPE, 5, seed=2, weights=initial_weights("resnet-micro", str(run)))
    assert torch.equal(after.encoder.network.stem.weight, before.encoder.network.stem.weight)  # type: ignore[union-attr]
    with pytest.raises(OptionError, match="is a run of encoder resnet-micro, the recipe has lite0: give --set enc"):
        initial_weights("lite0", str(run))
    with pytest.raises(OptionError, match="--init lite0 are weights of another network than the recipe's encoder"):
        initial_weights("resnet-micro", "lite0")


@pytest.mark.parametrize(
    ("name", "side", "dim"),
    [
        ("resnet18", 32, 512),
        ("convnext_tiny", 32, 768),
        ("efficientnet_b0", 32, 1280),
        ("mobilenet_v3_small", 32, 576),
        ("densenet121", 32, 1024),
        ("squeezenet1_1", 32, 512),
        ("shufflenet_v2_x0_5", 32, 1024),
        ("alexnet", 64, 256),
        ("vgg11_bn", 32, 512),
        ("googlenet", 64, 1024),
        ("swin_t", 64, 768),
        ("vit_b_16", 224, 768),
        ("timm:test_resnet", 32, 96),
        ("timm:test_vit", 32, 64),
        ("timm:mobilenetv3_small_050", 32, 1024),
    ],
)
def test_encoder_gives_features_of_the_width_it_states(name: str, side: int, dim: int) -> None:
    # On a device of shapes without numbers: some of these have 100 M parameters.
    with torch.device("meta"):
        encoder = make_encoder(name)
        features = encoder(torch.empty(2, 3, side, side))
    assert encoder.feature_dim == dim
    assert features.shape == (2, dim)


def test_regnet_whose_widths_are_computed_by_torch() -> None:
    encoder = make_encoder("regnet_y_400mf").eval()
    with torch.no_grad():
        assert encoder(pixels(2, 3, 32, 32)).shape == (2, encoder.feature_dim) == (2, 440)


def test_local_crops_go_through_a_vision_transformer_of_timm() -> None:
    encoder = make_encoder("timm:test_vit").eval()
    with torch.no_grad():
        assert encoder(pixels(2, 3, 160, 160)).shape == encoder(pixels(2, 3, 96, 96)).shape == (2, 64)


def test_features_are_what_the_networks_own_classifier_gets() -> None:
    torch.manual_seed(0)
    encoder = make_encoder("resnet18").eval()
    whole = torchvision.models.resnet18(weights=None).eval()
    whole.load_state_dict(encoder.network.state_dict(), strict=False)
    images = pixels(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(whole.fc(encoder(images)), whole(images))


def test_micro_resnet_is_small_and_takes_local_crops() -> None:
    torch.manual_seed(0)
    encoder = make_encoder("resnet-micro")
    assert 200_000 < sum(parameter.numel() for parameter in encoder.parameters()) < 400_000
    assert encoder(pixels(2, 3, 32, 32)).shape == encoder(pixels(2, 3, 16, 16)).shape == (2, 128)
    # Every second norm of a block starts at 0, so a block starts as its shortcut.
    stages = encoder.network.get_submodule("stages.0")
    features = functional.relu(pixels(2, 32, 8, 8))
    assert torch.equal(stages(features), features)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet51", "did you mean resnet5"),
        ("timm:resnet181", "did you mean timm:resnet18"),
        ("fasterrcnn_resnet50_fpn", "an encoder is a classification model"),
        ("timm:resnet18.nobody", "timm refuses it: Invalid pretrained tag"),
    ],
)
def test_unknown_encoder(name: str, said: str) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        make_encoder(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_from_a_file_with_or_without_classifier(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    whole = torchvision.models.mobilenet_v3_small(weights=None)
    trained = Classifier(make_encoder("mobilenet_v3_small"), None, LinearHead(576, 3))
    trained.encoder.network.load_state_dict(whole.state_dict(), strict=False)
    states = {
        "whole": whole.state_dict(),
        "parallel": {f"module.{name}": tensor for name, tensor in whole.state_dict().items()},
        "encoder": trained.encoder.network.state_dict(),
        "trained": {name: tensor for name, tensor in trained.state_dict().items() if name.startswith("encoder.")},
    }
    for name, state in states.items():
        path = tmp_path / f"{name}{suffix}"
        if suffix == ".pth":
            torch.save({"state_dict": state} if name == "parallel" else state, path)
        else:
            save_file(state, path)
        loaded = make_encoder("mobilenet_v3_small", weights=str(path)).network.state_dict()
        assert all(torch.equal(tensor, whole.state_dict()[key]) for key, tensor in loaded.items()), name


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    state = make_encoder("resnet-micro").network.state_dict()

    def refused(said: str, where: Path = path) -> None:
        with pytest.raises(OptionError, match=said) as caught:
            make_encoder("resnet-micro", weights=str(where))
        assert "\n" not in str(caught.value)

    refused("expected a local file, found none")
    save_file({name: tensor for name, tensor in state.items() if name != "stem.weight"}, path)
    refused("the file lacks 1 tensor, first stem.weight")
    save_file(state | {"stages.9.weight": torch.zeros(1)}, path)
    refused("has, beyond those of the network, 1 tensor, first stages.9.weight")
    save_file(state | {"stem.weight": torch.zeros(32, 1, 3, 3)}, path)
    refused(r"stem.weight is \[32, 3, 3, 3\] in the network, found \[32, 1, 3, 3\]")
    path.write_bytes(b"nothing of the kind")
    refused("found neither")
    objects = tmp_path / "objects.pth"
    torch.save({"network": make_encoder("resnet-micro")}, objects)
    refused(r"without other objects, found neither \(UnpicklingError\)", objects)
    torch.save({"epoch": 3}, objects)
    refused("found other values", objects)


# ---- projector and heads ----


def test_projector_by_hand() -> None:
    torch.manual_seed(0)
    projector = Projector(3, 1, 4, 2).eval()
    features = torch.tensor([[3.0, 0.0, 4.0]])
    hidden = torch.tensor([[0.6, 0.0, 0.8]]) @ projector.hidden[0][0].weight.T
    # A fresh batch norm in evaluation divides by the root of 1 + eps.
    expected = functional.gelu(hidden / (1 + 1e-5) ** 0.5) @ projector.bottleneck.weight.T
    assert torch.allclose(projector(features), expected, atol=1e-7)
    assert torch.allclose(projector(features), projector(5 * features), atol=1e-7)


def test_projector_layers_and_first_weights() -> None:
    torch.manual_seed(0)
    projector = Projector(64, 3, 128, 16)
    kinds = [type(layer) for block in projector.hidden for layer in block]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.GELU] * 3
    assert projector.bottleneck.bias is None
    for layer in (projector.bottleneck, projector.hidden[1][0]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert all(not block[0].bias.any() for block in projector.hidden)


def test_projector_of_no_hidden_layer_and_its_normalizations() -> None:
    torch.manual_seed(0)
    features = 7 * pixels(4, 6)
    raw = Projector(6, 0, 99, 3, normalize_input=False)
    assert torch.equal(raw(features), features @ raw.bottleneck.weight.T)
    raw.normalize_output = True
    assert torch.allclose(raw(features).norm(dim=1), torch.ones(4))


def test_cosine_softmax_by_hand() -> None:
    head = CosineSoftmax(2, 3, temperature=0.1)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, -5.0], [3.0, 4.0]]))
    logits = head(torch.tensor([[10.0, 0.0], [-0.6, 0.8]]))
    assert torch.allclose(logits, torch.tensor([[10.0, 0.0, 6.0], [-6.0, -8.0, 2.8]]), atol=1e-6)
    logits.sum().backward()
    # Only the direction of a row matters: its gradient is at a right angle to it.
    assert head.weight.grad is not None
    assert torch.allclose((head.weight.grad * head.weight).sum(1), torch.zeros(3), atol=1e-5)


# ---- classifier ----


class _Mean(nn.Module):
    """Features that tell which crop they are of: the mean of each colour."""

    feature_dim = 3

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


def test_rows_are_ordered_by_crop_then_by_image() -> None:
    classifier = Classifier(_Mean(), None, nn.Identity())  # type: ignore[arg-type]
    # Crop k of image n holds 10 * k + n; two global crops of 8 pixels, three local ones of 4.
    crops = torch.arange(5.0) * 10 + torch.arange(4.0)[:, None]
    images = [
        crops[:, :2, None, None, None].expand(4, 2, 3, 8, 8),
        crops[:, 2:, None, None, None].expand(4, 3, 3, 4, 4),
    ]
    rows = classifier(images)[:, 0].tolist()
    assert rows == [10.0 * crop + image for crop in range(5) for image in range(4)]
    labels = torch.tensor([7, 8, 9, 6])
    assert num_crops(images) == 5
    assert crop_labels(labels, images).tolist() == [7, 8, 9, 6] * 5
    assert crop_labels(labels, images[0][:, 0]).tolist() == [7, 8, 9, 6]


def test_multi_crop_goes_through_the_head_at_once() -> None:
    classifier = build_classifier(RECIPE, 5, seed=0)
    images = [pixels(2, 1, 3, 32, 32), pixels(2, 3, 3, 16, 16, seed=1)]
    batches: list[int] = []
    projector = classifier.projector
    assert projector is not None
    projector.register_forward_hook(lambda _module, inputs, _output: batches.append(len(inputs[0])))
    assert classifier(images).shape == (8, 5)
    assert batches == [8]
    assert classifier.eval()(images[0][:, 0]).shape == (2, 5)
    assert torch.equal(classifier.features(images[0][:, 0]), classifier.encoder(images[0][:, 0]))


@pytest.mark.parametrize("head", ["linear", "cosine", "ocm"])
def test_every_head_trains_in_bfloat16_channels_last_and_compiled(head: str) -> None:
    classifier = build_classifier(replace(RECIPE, head=head), 4, seed=0)
    classifier = classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = pixels(4, 3, 16, 16).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = classifier(images)
        # A whole graph, without the seconds that making code of it takes.
        compiled = torch.compile(classifier.head, backend="eager", fullgraph=True)
        embeddings = pixels(4, 8, seed=2)
        assert torch.equal(compiled(embeddings), classifier.head(embeddings))
    # Logits of cosines are not rounded: they are up to 10, where bfloat16 has steps of 1/16.
    assert logits.dtype is (torch.bfloat16 if head == "linear" else torch.float32)
    functional.cross_entropy(logits.float(), torch.tensor([0, 1, 2, 3])).backward()
    for name, parameter in classifier.named_parameters():
        assert (parameter.grad is not None) is parameter.requires_grad, name
        assert parameter.requires_grad is not name.startswith("head.average"), name


@pytest.mark.parametrize("head", ["linear", "cosine", "ocm"])
def test_biases_and_norms_do_not_decay(head: str) -> None:
    classifier = build_classifier(replace(RECIPE, head=head), 4, seed=0)
    decaying, others = parameter_groups(classifier, 1e-4)
    assert (decaying["weight_decay"], others["weight_decay"]) == (1e-4, 0.0)
    names = {id(parameter): name for name, parameter in classifier.named_parameters() if parameter.requires_grad}
    decaying_names = [names.pop(id(parameter)) for parameter in decaying["params"]]
    other_names = [names.pop(id(parameter)) for parameter in others["params"]]
    assert not names
    assert "encoder.network.stem.weight" in decaying_names
    assert "projector.bottleneck.weight" in decaying_names
    assert ("head.weight" in decaying_names) is (head != "ocm")
    assert {"encoder.network.bn.weight", "projector.hidden.0.0.bias", "projector.hidden.0.1.weight"} <= {*other_names}
    assert not any(name.endswith("bias") for name in decaying_names)


def test_a_seed_makes_the_model_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, two = (build_classifier(replace(RECIPE, head="ocm"), 4, seed=3).state_dict() for _ in range(2))
    other = build_classifier(replace(RECIPE, head="ocm"), 4, seed=4).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["encoder.network.stem.weight"], other["encoder.network.stem.weight"])
    assert not torch.equal(one["head.memory"], other["head.memory"])


def test_projector_of_each_head() -> None:
    plain = build_classifier(replace(RECIPE, projector_layers=None, head="linear"), 4, seed=0)
    assert plain.projector is None
    assert isinstance(plain.head, LinearHead)
    assert plain.head.weight.shape == (4, 128)
    for head, kind in (("linear", LinearHead), ("cosine", CosineSoftmax), ("ocm", OnlineClassMeans)):
        built = build_classifier(replace(RECIPE, head=head), 4, seed=0)
        assert isinstance(built.head, kind)
        assert built.projector is not None
        assert built.projector.normalize_input is (head != "linear")
    with pytest.raises(OptionError, match="at least 1 class"):
        build_classifier(RECIPE, 0)
