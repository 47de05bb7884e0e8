"""What decides on a logit, what may be asked of a model, how images are prepared, all without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation import ModelFacts, ModelOptions, check_files, check_resize, image_sizes
from shardtools.evaluation.protocols import SEED001
from tests.helpers.training_runs import NUM_IMAGES, write_drawings

FACTS = ModelFacts(name="lite0", weights_sha256="ab", num_outputs=3, classes=("n1", "", "n2"))


@given(
    num_outputs=st.integers(1, 5),
    has_classes=st.booleans(),
    size=st.integers(1, 900),
    enlarge=st.none() | st.integers(1, 900),
    crop=st.sampled_from(["center", "resize"]),
    mean=st.lists(st.floats(-1, 1), min_size=3, max_size=3),
)
def test_facts_come_back(
    num_outputs: int, has_classes: bool, size: int, enlarge: int | None, crop: str, mean: list[float]
) -> None:
    facts = ModelFacts(
        name="n",
        weights_sha256="cd",
        num_outputs=num_outputs,
        classes=tuple(f"n{number}" for number in range(num_outputs)) if has_classes else None,
        crop=crop,
        image_size=size,
        enlarge=enlarge,
        mean=tuple(mean),
    )
    again = ModelFacts.from_dict(facts.to_dict(), where="here")
    assert again == facts and again.fingerprint == facts.fingerprint
    assert replace(facts, resize=facts.resize + 1).fingerprint != facts.fingerprint


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"num_outputs": 4}, "has 4 outputs, found 3 classes"),
        ({"num_outputs": 0, "classes": None}, "at least 1 output, found 0"),
        ({"classes": ("n1", "n1", "")}, "class n1 stands for two outputs"),
        ({"crop": "left"}, "crop is one of center, resize, found 'left'"),
        ({"precision": "int8"}, "precision is one of fp32, bf16, fp16"),
        ({"std": (1.0, 0.0, 1.0)}, "std above 0"),
        ({"enlarge": 0}, "sides are at least 1 pixel"),
    ],
)
def test_facts_that_contradict_each_other_are_refused(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(OptionError, match=line):
        replace(FACTS, **changes)
    with pytest.raises(DatasetError, match=r"plan.json: expected the facts of a model, found another content \("):
        ModelFacts.from_dict({**FACTS.to_dict(), **changes}, where="plan.json")


def test_facts_of_another_release_are_one_line() -> None:
    with pytest.raises(DatasetError, match=r"found another content \(zoom is unknown\)"):
        ModelFacts.from_dict({**FACTS.to_dict(), "zoom": 1}, where="plan.json")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model": ""}, "MODEL is a name, a folder or a file, found an empty one"),
        ({"crop": "left"}, "--crop is one of center, resize"),
        ({"image_size": 0}, "--image-size is 1 to 16384, found 0"),
        ({"std": (1.0, 1.0, -1.0)}, "std is three numbers above 0"),
        ({"mean": (float("nan"), 0.0, 0.0)}, "mean is three numbers"),
        ({"pretrained": True, "weights": "w.pth"}, r"--weights w\.pth gives them: leave one out"),
        ({"prompt_templates": ("a c", "a c")}, "prompt templates are different ones"),
        ({"lemmas": "some"}, "--lemmas is one of all, first"),
        ({"protocol": "seed009"}, "--protocol is one of seed001"),
        ({"protocol": "seed001"}, "prepares each set otherwise: give --protocol-set, one of imagenet, a, c, p, sketch"),
        ({"protocol": "seed001", "protocol_set": "v2"}, "has the sets imagenet, .* found 'v2'"),
        ({"protocol_set": "a"}, "is a set of a protocol: give --protocol too"),
        ({"protocol": "seed001", "protocol_set": "a", "resize": 9}, "says how images are prepared, found resize=9 too"),
    ],
)
def test_options_that_contradict_each_other_are_refused(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(OptionError, match=line) as caught:
        ModelOptions(**{"model": "lite0", **changes})
    assert "\n" not in str(caught.value)


def test_squares_that_were_cut_out_are_taken_as_they_are() -> None:
    own = replace(FACTS, image_size=224, resize=256)
    whole = check_resize(own, {(224, 224): 50}, where="c", asked=False)
    assert whole == replace(own, crop="resize", resize=224)
    # Photographs, large squares of a generator, and a few small squares among others: as the model was trained.
    for sizes in ({(500, 375): 9, (224, 224): 3}, {(512, 512): 5}, {(256, 256): 5}, {}):
        assert check_resize(own, sizes, where="d", asked=False) == own


@pytest.mark.parametrize(
    ("sizes", "asked", "count"),
    [
        ({(224, 224): 50}, True, "50 images of 50 are 224 x 224"),
        ({(28, 28): 1}, False, "1 image of 1 are 28 x 28"),
        ({(240, 240): 5, (224, 224): 2}, False, "5 images of 7 are 240 x 240"),
        ({(224, 224): 5, (300, 200): 1}, False, "5 images of 6 are 224 x 224"),
    ],
)
def test_a_second_resize_and_cut_is_refused_unless_forced(
    sizes: dict[tuple[int, int], int], asked: bool, count: str
) -> None:
    own = replace(FACTS, image_size=224, resize=256)
    with pytest.raises(OptionError, match=rf"c: {count} pixels.*enlarge them to 256 and cut 224.*--force-resize"):
        check_resize(own, sizes, where="c", asked=asked)
    assert check_resize(own, sizes, where="c", asked=asked, force=True) == own
    # What cuts nothing off a square is no trap.
    for harmless in (replace(own, crop="resize"), replace(own, resize=224)):
        assert check_resize(harmless, sizes, where="c", asked=True) == harmless


def test_a_protocol_of_files_as_they_are_takes_no_photographs() -> None:
    wanted = ModelOptions(model="resnet50", protocol="seed001", protocol_set="cue-conflict")
    check_files(wanted, {(224, 224): 5}, where="cc")
    with pytest.raises(OptionError, match=r"cc: .*squares of 224 pixels, found 2 images of 7 of another size: leave"):
        check_files(wanted, {(224, 224): 5, (500, 375): 2}, where="cc")
    for fine in (replace(wanted, protocol_set="sketch"), ModelOptions(model="lite0")):
        check_files(fine, {(500, 375): 2}, where="d")


def test_sizes_of_a_dataset(tmp_path: Path) -> None:
    dataset = write_drawings(tmp_path / "dataset", tmp_path / "source")
    sizes = image_sizes(dataset)
    assert sum(sizes.values()) == NUM_IMAGES and image_sizes(dataset, "train") == sizes
    assert image_sizes(dataset, "val") == {}


def test_seed_001_prepares_each_set_in_its_own_way() -> None:
    """Facts of its scripts; see `seed001.py`."""
    assert len(SEED001.models) == 27
    said = {
        (model, name): SEED001.step(model, name)
        for model in ("resnet50", "resnext101_32x8d_wsl", "tf_efficientnet_b0", "tf_efficientnet_b5")
        for name in ("a", "sketch", "cue-conflict", "adversarial")
    }
    short = {
        key: (step.crop, step.resize, step.image_size, step.interpolation, step.enlarge) for key, step in said.items()
    }
    for model in ("resnet50", "resnext101_32x8d_wsl"):
        # One model, two interpolations.
        assert short[model, "a"] == ("center", 256, 224, "bilinear", None)
        assert short[model, "sketch"] == ("center", 256, 224, "bicubic", None)
        assert short[model, "cue-conflict"] == ("resize", 224, 224, "bicubic", None)
        assert short[model, "adversarial"] == ("center", 224, 224, "bicubic", None)
    assert short["tf_efficientnet_b5", "a"] == ("center", 456, 456, "bicubic", None)
    assert short["tf_efficientnet_b5", "sketch"] == ("center", 256, 224, "bicubic", 456)
    assert short["tf_efficientnet_b5", "cue-conflict"] == ("resize", 456, 456, "bicubic", None)
    assert short["tf_efficientnet_b0", "sketch"] == ("center", 256, 224, "bicubic", None)
    assert SEED001.step("tf_efficientnet_l2_ns_475_224", "adversarial").image_size == 224


def test_seed_001_says_which_network_a_model_is() -> None:
    assert SEED001.find("timm:tf_efficientnet_l2.ns_jft_in1k_475")[0] == "tf_efficientnet_l2_ns_475"
    assert SEED001.find("timm:tf_efficientnet_b5.ra_in1k")[0] == "tf_efficientnet_b5"
    assert SEED001.find("resnet50.IMAGENET1K_V1")[0] == "resnet50"
    nowhere = [name for name, model in SEED001.models.items() if model.network is None or not model.is_published]
    assert nowhere == ["moco_v2", "resnext101_32x48d_wsl"]
    assert all(SEED001.models[name].note for name in nowhere)


@pytest.mark.parametrize(
    ("model", "set_name", "line"),
    [
        ("lite0", "a", "protocol seed001 has 27 models .* found 'lite0': leave --protocol out"),
        ("moco_v2", "imagenet", "does not say how imagenet is prepared for moco_v2 .its validation script refuses"),
        ("tf_efficientnet_b0", "c", "does not say how c is prepared .* takes the ResNeXt models alone"),
        ("resnet50", "p", "does not say how p is prepared .* takes the ResNeXt models alone"),
    ],
)
def test_what_seed_001_did_not_run_is_one_line(model: str, set_name: str, line: str) -> None:
    with pytest.raises(OptionError, match=line):
        SEED001.step(model, set_name)
