"""Linear probing, then fine-tuning: a head that begins as a probe's classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation.probes import Linear
from shardtools.evaluation.probes.weights import WeightFacts, weights_content
from shardtools.pipelines.train.heads import fill_head
from shardtools.pipelines.train.models import build_classifier
from tests.helpers.training_runs import RECIPE, Here, options, write_drawings

PLAIN = replace(RECIPE, head="linear", projector_layers=None, augmentation="plain")
NAMES = {0: "class0", 1: "class1", 2: "class2"}


def probe(path: Path, classes: tuple[str, ...], *, dim: int = 128, l2: bool = False, scale: float = 1.0) -> Linear:
    """A file of random weights, as a probe writes it."""
    random = np.random.default_rng(len(classes))
    made = Linear(
        weights=scale * random.normal(size=(len(classes), dim)).astype(np.float32),
        intercept=scale * random.normal(size=len(classes)).astype(np.float32),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(weights_content(made, WeightFacts(classes=classes, encoder="0" * 64, l2=l2)))
    return made


def test_outputs_are_found_by_the_names_of_their_classes(tmp_path: Path) -> None:
    classes = ("class2", "other", "class0", "class1")
    made = probe(tmp_path / "run" / "weights" / "all-seed22.safetensors", classes)
    model = build_classifier(PLAIN, 3, seed=0).eval()
    fill_head(model, NAMES, str(tmp_path / "run"))
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, features = model(images), model.features(images)
    assert np.allclose(logits.numpy(), made.logits(features.numpy())[:, [2, 3, 0]], atol=1e-4)
    # An output that no class of the data has is as it was drawn, and a class without a name is called by its number.
    wide, drawn = build_classifier(PLAIN, 5, seed=0), build_classifier(PLAIN, 5, seed=0)
    probe(tmp_path / "numbers.safetensors", ("1", "4"))
    fill_head(wide, {1: None, 4: None}, str(tmp_path / "numbers.safetensors"))
    same = (wide.head.weight == drawn.head.weight).all(1)  # type: ignore[union-attr,operator]
    assert same.tolist() == [True, False, True, True, False]


def test_a_run_starts_from_the_head_and_goes_on_from_its_own(tmp_path: Path) -> None:
    dataset = write_drawings(tmp_path / "dataset", tmp_path / "source", count=32)
    # Of large weights, so that the first loss is large.
    probe(tmp_path / "head.safetensors", ("class1", "class0", "class2"), scale=50.0)
    recipe = replace(PLAIN, epochs=1, base_lr=1e-4)
    wanted = options(dataset, tmp_path / "run", recipe=recipe, init_head=str(tmp_path / "head.safetensors"))
    plain = options(dataset, tmp_path / "plain", recipe=recipe)
    assert wanted.result() == {**plain.result(), "init_head": str(tmp_path / "head.safetensors")}
    assert Here(wanted).losses()[0] > 10 * Here(plain).losses()[0]


def test_what_is_no_head(tmp_path: Path) -> None:
    model = build_classifier(PLAIN, 3, seed=0)

    def refused(said: str, path: Path, kind: type[Exception] = OptionError, to: object = model) -> None:
        with pytest.raises(kind, match=said) as caught:
            fill_head(to, NAMES, str(path))  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)

    good = tmp_path / "good.safetensors"
    probe(good, tuple(NAMES.values()))
    projected = build_classifier(replace(PLAIN, projector_layers=0), 3, seed=0)
    for other in (projected, build_classifier(replace(PLAIN, head="cosine"), 3, seed=0)):
        refused("a head of linear outputs behind the encoder: set head=linear, no projector", good, to=other)
    refused("expected the folder of a probe's run with weights/, or one of its .safetensors files", tmp_path / "no")
    refused("found neither: `shardtools probe` makes it", tmp_path)
    for seed in (22, 37):
        probe(tmp_path / "two" / "weights" / f"all-seed{seed}.safetensors", tuple(NAMES.values()))
    refused(r"classifiers of 2 measurements \(all-seed22.safetensors, all-seed37.safetensors\)", tmp_path / "two")
    probe(tmp_path / "l2.safetensors", tuple(NAMES.values()), l2=True)
    refused(r"features of length 1, and a head sees them as they are: .* --no-l2", tmp_path / "l2.safetensors")
    probe(tmp_path / "dim.safetensors", tuple(NAMES.values()), dim=64)
    refused("features of 128 dimensions, which the encoder gives, found 64", tmp_path / "dim.safetensors")
    probe(tmp_path / "few.safetensors", ("class1", "cat"))
    refused(r"found none of class0, class2 \(2 are missing\)", tmp_path / "few.safetensors")
    (tmp_path / "text.safetensors").write_text("none")
    refused("holds no classifier of a probe", tmp_path / "text.safetensors", DatasetError)
    save_file({"fc.weight": np.zeros((3, 128), np.float32)}, tmp_path / "fc.safetensors")
    refused("holds no classifier of a probe", tmp_path / "fc.safetensors", DatasetError)
