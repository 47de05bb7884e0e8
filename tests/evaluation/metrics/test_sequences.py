"""ImageNet-P on sequences by hand, and the short ways against the long ones of the paper's definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import (
    PERTURBATIONS,
    flip_probability,
    mean_normalized,
    top5_distance,
    zipf_distance,
)


def in_full(logits: np.ndarray, *, is_noise: bool, step: int) -> tuple[float, float]:
    """Top-5 and Zipf distance over full rankings, pair by pair: the cost of each place under a permutation."""
    number = logits.shape[2]
    top5 = np.minimum(np.arange(number), 5)
    zipf = 1 / np.arange(1, number + 1)
    distances: list[tuple[float, float]] = []
    for sequence in logits:
        ranks = [rankdata(-frame, method="ordinal").astype(int) for frame in sequence]
        for start in range(step):
            own = ranks[start::step]
            for before, frame in zip([own[0]] * len(own) if is_noise else own, own[1:], strict=False):
                sigma = frame[np.argsort(before)]
                distances.append(
                    (
                        float(np.abs(top5 - top5[sigma - 1])[:5].sum()),
                        float((np.abs(zipf - zipf[sigma - 1]) * zipf).sum()),
                    )
                )
    means = np.mean(distances, axis=0)
    return float(means[0]), float(means[1])


def test_flips_by_hand() -> None:
    still, once, back = [7, 7, 7, 7], [7, 7, 8, 8], [7, 8, 7, 8]
    assert flip_probability([still], is_noise=False) == 0
    assert flip_probability([still, once], is_noise=False) == pytest.approx((0 + 1 / 3) / 2)
    assert flip_probability([back], is_noise=False) == 1
    # With the first frame: two of three differ; the second frame apart, in both phases none does.
    assert flip_probability([back], is_noise=True) == pytest.approx(2 / 3)
    assert flip_probability([back], is_noise=False, step=2) == 0


def test_the_distance_of_five_by_hand() -> None:
    classes = [[[0, 1, 2, 3, 4], [1, 0, 2, 3, 4]]]
    assert top5_distance(classes, is_noise=False) == 2
    assert top5_distance([[[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]], is_noise=False) == 5 + 4 + 3 + 2 + 1


def test_zipfs_distance_by_hand() -> None:
    # The first two change places: (1 - 1/2) / 1 + (1 - 1/2) / 2.
    assert zipf_distance([[[3.0, 2.0, 1.0], [2.0, 3.0, 1.0]]], is_noise=False) == pytest.approx(0.75)


@given(st.integers(0, 2**32), st.booleans(), st.integers(1, 3))
def test_the_short_ways_are_the_long_ones(seed: int, is_noise: bool, step: int) -> None:
    step = 1 if is_noise else step
    logits = np.random.default_rng(seed).normal(size=(2, 6, 9)).round(1)
    classes = np.argsort(-logits, axis=2, kind="stable")[:, :, :5]
    top5, zipf = in_full(logits, is_noise=is_noise, step=step)
    assert top5_distance(classes, is_noise=is_noise, step=step) == pytest.approx(top5)
    assert zipf_distance(logits, is_noise=is_noise, step=step) == pytest.approx(zipf)


@given(st.integers(0, 2**32))
def test_new_names_of_classes_change_nothing(seed: int) -> None:
    generator = np.random.default_rng(seed)
    classes = np.argsort(generator.random((3, 5, 12)), axis=2)[:, :, :5]
    renamed = generator.permutation(12)[classes]
    assert top5_distance(renamed, is_noise=False) == top5_distance(classes, is_noise=False)
    assert flip_probability(renamed[:, :, 0], is_noise=False) == flip_probability(classes[:, :, 0], is_noise=False)
    assert 0 <= top5_distance(classes, is_noise=False) <= 15


def test_means_over_the_ten() -> None:
    alexnet = dict.fromkeys(PERTURBATIONS, 0.2)
    assert mean_normalized({**dict.fromkeys(PERTURBATIONS, 0.1), "spatter": 9}, alexnet) == pytest.approx(0.5)
    with pytest.raises(OptionError, match="the network has no figure for scale"):
        mean_normalized(dict.fromkeys(PERTURBATIONS[:-1], 0.1), alexnet)
    with pytest.raises(OptionError, match="the reference has no figure for gaussian_noise"):
        mean_normalized(alexnet, {})
    with pytest.raises(OptionError, match="figure for snow is 0"):
        mean_normalized(alexnet, {**alexnet, "snow": 0.0})


@pytest.mark.parametrize(
    ("frames", "is_noise", "step"), [([[1]], False, 1), ([[1, 2]], False, 2), ([[1, 2, 3]], True, 2), ([], False, 1)]
)
def test_frames_that_cannot_be_compared(frames: list[list[int]], is_noise: bool, step: int) -> None:
    with pytest.raises(OptionError, match=f"more than {step} frames"):
        flip_probability(frames, is_noise=is_noise, step=step)


def test_arrays_of_another_shape() -> None:
    with pytest.raises(OptionError, match="frames, 5"):
        top5_distance(np.zeros((2, 3, 4), int), is_noise=False)
    with pytest.raises(OptionError, match="frames, outputs"):
        zipf_distance(np.zeros((2, 3)), is_noise=False)
    with pytest.raises(OptionError, match="not finite"):
        zipf_distance(np.full((1, 3, 4), np.nan), is_noise=False)
