"""Mixup and CutMix: shares of the right distribution, pixels and losses by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional

from shardtools.errors import OptionError
from shardtools.loader import Draws
from shardtools.pipelines.train.losses import sample_losses
from shardtools.pipelines.train.mixing import Mixing, draw_beta, draw_mixing, mixed_losses
from shardtools.training.recipe import Recipe
from tests.helpers.training_runs import options

OWN = Recipe(name="own", augmentation="plain")


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_shares_have_the_beta_distribution(alpha: float) -> None:
    drawn = [draw_beta(alpha, Draws(seed=3, epoch=0, keys=np.array([number], np.uint64))) for number in range(1500)]
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_a_tiny_alpha_is_a_coin() -> None:
    drawn = [draw_beta(1e-5, Draws(seed=0, epoch=0, keys=np.array([number], np.uint64))) for number in range(100)]
    assert 30 < sum(one > 0.5 for one in drawn) < 70 and all(min(one, 1 - one) < 1e-9 for one in drawn)


def test_a_step_is_mixed_in_one_way_by_its_number_alone() -> None:
    assert draw_mixing(OWN, 0, 5) is None
    recipe = replace(OWN, mixup=0.4)
    assert draw_mixing(recipe, 0, 5) == draw_mixing(recipe, 0, 5) != draw_mixing(recipe, 0, 6)
    assert draw_mixing(recipe, 1, 5) != draw_mixing(recipe, 0, 5)
    assert all(draw_mixing(recipe, 0, step).center is None for step in range(20))  # type: ignore[union-attr]
    cut = [draw_mixing(replace(OWN, cutmix=1.0), 0, step) for step in range(20)]
    assert all(one is not None and one.center is not None for one in cut)
    both = [draw_mixing(replace(OWN, mixup=0.4, cutmix=1.0), 0, step) for step in range(100)]
    assert 30 < sum(one is not None and one.center is None for one in both) < 70


def test_mixed_pixels_by_hand() -> None:
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, 4, 6)
    mixed, share = Mixing(share=0.75).images(images)
    assert share == 0.75 and mixed[:, 0, 0, 0].tolist() == [0.5, 0.75, 1.75]
    # A quarter of the area around the middle: half of each side, rows 1 and 2, columns 2 and 3 (int(1.5) = 1 each way).
    mixed, share = Mixing(share=0.75, center=(0.5, 0.5)).images(images)
    assert share == pytest.approx(1 - 4 / 24)
    box = torch.zeros(4, 6)
    box[1:3, 2:4] = 1
    assert torch.equal(mixed[0, 0], 2 * box) and torch.equal(mixed[1, 1], 1 - box) and torch.equal(mixed[2, 0], 2 - box)
    # What lies outside is cut off.
    corner, share = Mixing(share=0.0, center=(0.0, 0.0)).images(images)
    assert share == pytest.approx(1 - 6 / 24) and float((corner[0, 0] == 2).float().mean()) == 6 / 24


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)), st.integers(1, 9), st.integers(1, 9))
def test_the_share_is_that_of_the_pixels(share: float, center: tuple[float, float], height: int, width: int) -> None:
    images = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1).expand(2, 3, height, width)
    mixed, found = Mixing(share=share, center=center).images(images)
    assert float(mixed[0].mean()) == pytest.approx(found, abs=1e-6) and 0 <= found <= 1


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_soft_targets(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(5, 4, generator=generator), torch.tensor([0, 3, 3, 1, 2])
    whole = functional.one_hot(labels, 4).float()
    soft = 0.3 * whole + 0.7 * whole.roll(1, 0)
    expected = functional.cross_entropy(logits, soft, reduction="none", label_smoothing=smoothing)

    def losses(targets: torch.Tensor) -> torch.Tensor:
        return sample_losses(logits, targets, smoothing=smoothing)

    assert torch.allclose(mixed_losses(losses, labels, None, 0.3), expected, atol=1e-6)
    weights = torch.tensor([1.0, 0.0, 2.0, 1.0, 1.0])
    weighted = mixed_losses(losses, labels, weights, 0.3)
    by_hand = 0.3 * 2.0 * losses(labels)[2] + 0.7 * 0.0 * losses(labels.roll(1, 0))[2]
    assert float(weighted[2]) == pytest.approx(float(by_hand), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mixup": -0.1}, "mixup is a number of at least 0, found -0.1"),
        ({"mixup": 0.2, "augmentation": "multi-crop"}, "mixup and cutmix take one crop an image, found augmentation"),
        ({"policy": "augmix", "augmentation": "multi-crop"}, "policy 'augmix' take one crop an image"),
        ({"cutmix": 1.0, "head": "ocm", "projector_layers": 0}, "head 'ocm' remembers it as of one: take another head"),
        ({"policy": "autoaugment"}, "policy is one of none, randaugment, augmix"),
        ({"channels": "grey"}, "channels is one of rgb, rbg, grb, gbr, brg, bgr, found 'grey'"),
        ({"vertical_flip": 2.0}, "vertical_flip is 0 to 1, found 2.0"),
    ],
)
def test_what_is_not_mixed(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        replace(OWN, **changes)


def test_notes_of_one_sample_are_not_taken_of_two(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="mixup and cutmix show it two in one: leave record out"):
        options("photos", tmp_path, recipe=replace(OWN, mixup=0.2))
