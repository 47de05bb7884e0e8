"""Vertical flips, torchvision's policies, and the order of colours: by the sample alone, and by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import transforms

from shardtools.evaluation import ModelOptions
from shardtools.features import FeatureOptions
from shardtools.loader import Draws
from shardtools.pipelines.batches.on_device import Normalizer
from shardtools.pipelines.encoders.trained import load_feature_encoder
from shardtools.pipelines.evaluate.models import load_classifier
from shardtools.pipelines.train.augment import Augmenter
from shardtools.pipelines.train.models import build_classifier
from shardtools.storage import open_storage
from shardtools.training import TrainOptions, write_run_file
from shardtools.training.messages import CheckpointWritten
from shardtools.training.recipe import Recipe
from tests.helpers.training_runs import RECIPE, Here, options, write_drawings

OWN = Recipe(name="own", augmentation="plain")
KEYS = np.array([3, 2**63 + 5, 77, 123456789012345678], np.uint64)


def drawings(count: int = 4, side: int = 24) -> torch.Tensor:
    made = torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return made.contiguous(memory_format=torch.channels_last)


def augmented(recipe: Recipe, images: torch.Tensor, keys: np.ndarray, *, seed: int = 0, epoch: int = 0) -> torch.Tensor:
    found = images.clone()
    Augmenter(recipe, seed)(found, epoch, keys)
    return found


@pytest.mark.parametrize("policy", ["randaugment", "augmix"])
def test_a_policy_is_torchvisions_and_of_the_sample_alone(policy: str) -> None:
    recipe, images = replace(OWN, policy=policy), drawings()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    found = augmented(recipe, images, KEYS)
    assert torch.equal(torch.get_rng_state(), before), "what networks drop at random is as without it"
    assert found.stride() == images.stride() and not torch.equal(found, images)

    theirs = transforms.RandAugment() if policy == "randaugment" else transforms.AugMix()
    seeds = (Draws(seed=0, epoch=0, keys=KEYS).uniform("policy", 1)[:, 0] * 2**53).astype(np.int64)
    for image, seed, ours in zip(images, seeds.tolist(), found, strict=True):
        torch.manual_seed(seed)
        assert torch.equal(theirs(image), ours)
    # Another batch, another order, one sample alone; not in another epoch or run.
    back = augmented(recipe, images.flip(0), KEYS[::-1].copy())
    assert torch.equal(back.flip(0), found)
    assert torch.equal(augmented(recipe, images[2:3], KEYS[2:3])[0], found[2])
    assert not torch.equal(augmented(recipe, images, KEYS, epoch=1), found)
    assert not torch.equal(augmented(recipe, images, KEYS, seed=1), found)


def test_a_policy_sees_what_the_network_sees() -> None:
    order = [2, 1, 0]
    images = drawings()
    recipe = replace(OWN, policy="randaugment")
    expected = augmented(recipe, images[:, order], KEYS)[:, order]
    assert torch.equal(augmented(replace(recipe, channels="bgr"), images, KEYS), expected)
    turned = augmented(replace(recipe, channels="gbr"), images, KEYS)
    assert torch.equal(turned, augmented(recipe, images[:, [1, 2, 0]], KEYS)[:, [2, 0, 1]])


def test_vertical_flips_turn_their_share_of_images() -> None:
    keys = np.arange(1, 401, dtype=np.uint64)
    images = drawings(400, 4)
    found = augmented(replace(OWN, vertical_flip=0.3), images, keys)
    flipped = [bool(torch.equal(ours, image.flip(1))) for ours, image in zip(found, images, strict=True)]
    kept = [bool(torch.equal(ours, image)) for ours, image in zip(found, images, strict=True)]
    assert all(one != other for one, other in zip(flipped, kept, strict=True))
    assert 0.2 < np.mean(flipped) < 0.4
    assert torch.equal(augmented(replace(OWN, vertical_flip=1.0), images, keys), images.flip(2))
    # Each view of a sample on its own, and none that is not asked for.
    views = [images.view(100, 4, 3, 4, 4).clone(), images[:100].view(100, 1, 3, 4, 4).clone()]
    both = [one.clone() for one in views]
    Augmenter(replace(OWN, augmentation="multi-crop", vertical_flip=0.5), 0)(both, 0, keys[:100])
    turned = torch.cat([(ours != was).flatten(2).any(2) for ours, was in zip(both, views, strict=True)], 1)
    assert turned.shape == (100, 5) and 0.4 < turned.float().mean() < 0.6 and len(turned.unique(dim=0)) > 10


def test_the_order_of_colours_is_the_networks(tmp_path: Path) -> None:
    """OpenCV's order with means by place, as seed 003's training code has it; the same in all that use the run."""
    dataset = write_drawings(tmp_path / "dataset", tmp_path / "source", count=32)
    recipe = replace(
        RECIPE,
        head="linear",
        projector_layers=None,
        augmentation="plain",
        epochs=1,
        channels="bgr",
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
    )
    wanted = options(dataset, tmp_path / "run", recipe=recipe)
    run = Here(wanted)
    write_run_file(open_storage(run.out), wanted, {})
    pixels = drawings(3, 16)
    by_place = pixels[:, [2, 1, 0]].double() / 255
    seen = (by_place - torch.tensor(recipe.mean).view(3, 1, 1)) / torch.tensor(recipe.std).view(3, 1, 1)

    ours = load_classifier(ModelOptions(model=str(run.out)))
    plain = build_classifier(replace(recipe, channels="rgb"), 3).eval()
    weights = ours.network.state_dict()
    assert weights.pop("encoder.channels").tolist() == [2, 1, 0]
    plain.load_state_dict(weights)
    encoder = load_feature_encoder(FeatureOptions(dataset=dataset, encoder=str(run.out)))
    with torch.no_grad():
        for network, expected in ((ours, plain(seen.float())), (encoder, plain.features(seen.float()))):
            facts = network.facts
            assert (facts.mean, facts.std) == ((0.3, 0.2, 0.1), (0.6, 0.5, 0.4))
            found = network(Normalizer(facts.mean, facts.std, torch.device("cpu")).one(pixels))
            assert torch.allclose(found, expected, atol=1e-5)
    other = build_classifier(replace(recipe, channels="gbr"), 3, seed=0).encoder
    assert other.channels is not None and other.channels.tolist() == [1, 2, 0]
    red, green, blue = torch.full((1, 1, 4, 4), 1.0), torch.full((1, 1, 4, 4), 2.0), torch.full((1, 1, 4, 4), 3.0)
    other.network = torch.nn.Identity()
    assert torch.equal(other(torch.cat([red, green, blue], 1)), torch.cat([green, blue, red], 1))


def test_a_stop_changes_nothing_of_what_is_drawn(tmp_path: Path) -> None:
    dataset = write_drawings(tmp_path / "dataset", tmp_path / "source", count=48)
    recipe = replace(
        RECIPE,
        head="linear",
        projector_layers=None,
        augmentation="plain",
        channels="bgr",
        vertical_flip=0.5,
        policy="randaugment",
        mixup=0.8,
        cutmix=1.0,
        optimizer="adamw",
        base_lr=0.01,
    )

    def asked(name: str) -> TrainOptions:
        wanted = replace(options(dataset, tmp_path / name, recipe=replace(recipe, mixup=0.0, cutmix=0.0)), record=False)
        return replace(wanted, recipe=recipe, checkpoint_steps=2)

    whole = Here(asked("whole"))
    stopped = Here(asked("run"), stop_at=lambda message: isinstance(message, CheckpointWritten))
    assert stopped.checkpoints()[-1] < 6
    resumed = Here(asked("run"))
    assert resumed.weights() == whole.weights() and resumed.losses() == whole.losses()
