"""Random numbers against the generator's published test vectors, noise against the distributions it draws from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shardtools._native import corrupt as core
from shardtools.corruption import CORRUPTIONS, SEVERITIES, corrupt

LEVELS = np.arange(256)


def ramp(repeats: int) -> np.ndarray:
    """Every level `repeats` times."""
    return np.repeat(LEVELS, repeats).astype(np.uint8).reshape(256, -1, 3)


def parameter(name: str, severity: int) -> float:
    return CORRUPTIONS[name].parameters[severity - 1][0]


@pytest.mark.parametrize("level", ["portable", "avx2"])
def test_bits_are_philox(level: str) -> None:
    """The first vector of the authors' own known answers: counter and key zero; sixteen counters lie side by side."""
    best = core.simd()
    if level == "avx2" and best == "portable":
        level = best
    bits = np.empty(128, np.uint32)
    core.simd(level)
    try:
        core.draw("bits", 0, bits)
    finally:
        core.simd(best)
    assert [hex(word) for word in bits[:64:16]] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
    assert len(set(bits.tolist())) == 128


def test_uniform_and_normal_numbers() -> None:
    values = np.empty(1 << 20, np.float32)
    core.draw("uniforms", 1, values)
    assert values.min() >= 0 and values.max() < 1
    assert stats.kstest(values, "uniform").pvalue > 0.01
    core.draw("normals", 2, values)
    assert stats.kstest(values, "norm").pvalue > 0.01
    assert abs(stats.kurtosis(values)) < 0.02 and abs(values).max() < 6
    # Those that are made of one pair of words, and neighbors, have nothing to do with each other.
    pairs = values.reshape(-1, 2, 32)
    assert abs(np.corrcoef(pairs[:, 0].ravel(), pairs[:, 1].ravel())[0, 1]) < 0.005
    assert abs(np.corrcoef(pairs[:, 0].ravel() ** 2, pairs[:, 1].ravel() ** 2)[0, 1]) < 0.005
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.005


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ["gaussian_noise", "speckle_noise"])
def test_normal_noise_has_the_mean_and_deviation_of_what_is_cut_off(name: str, severity: int) -> None:
    sigma = parameter(name, severity) * 255
    found = corrupt(ramp(6000), name, severity, seeds=9).reshape(256, -1)
    rng = np.random.default_rng(3)
    for level in (1, 40, 128, 200, 255):
        spread = sigma if name == "gaussian_noise" else sigma * level / 255
        expected = np.floor(np.clip(level + spread * rng.standard_normal(400_000), 0, 255))
        assert abs(found[level].mean() - expected.mean()) < 5 * expected.std() / np.sqrt(6000) + 1e-9
        assert found[level].std() == pytest.approx(expected.std(), rel=0.06, abs=0.01)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("clean", [False, True])
def test_shot_noise_counts_photons(severity: int, clean: bool) -> None:
    """The frequencies of all outcomes, against SciPy's Poisson distribution."""
    photons = parameter("shot_noise", severity)
    repeats = 12_000
    found = corrupt(ramp(repeats), "shot_noise", severity, seeds=4, clean=clean).reshape(256, -1)
    counts = np.arange(int(photons) + 1)
    scaled = counts / photons * 255
    outcomes = (np.floor(scaled + 0.5) if clean else np.floor(scaled)).astype(int)
    worst = 0.0
    for level in LEVELS[1:]:
        chances = stats.poisson.pmf(counts, level / 255 * photons)
        chances[-1] = stats.poisson.sf(counts[-1] - 1, level / 255 * photons)
        expected = np.bincount(outcomes, chances, 256) * repeats
        observed = np.bincount(found[level], minlength=256)
        assert observed[expected == 0].sum() == 0
        # Five standard errors, of 256 x 61 frequencies.
        error = np.abs(observed - expected) / np.sqrt(np.maximum(expected, 1))
        worst = max(worst, float(error.max()))
    assert worst < 6
    assert (found[0] == 0).all()


@pytest.mark.parametrize("severity", SEVERITIES)
def test_impulse_noise_leaves_the_others_alone(severity: int) -> None:
    share = parameter("impulse_noise", severity)
    image = np.full((400, 400, 3), 77, np.uint8)
    found = corrupt(image, "impulse_noise", severity, seeds=1)
    assert set(np.unique(found)) == {0, 77, 255}
    error = 5 * np.sqrt(share / found.size)
    assert (found == 0).mean() == pytest.approx(share / 2, abs=error)
    assert (found == 255).mean() == pytest.approx(share / 2, abs=error)


def test_noise_differs_from_value_to_value_and_from_seed_to_seed() -> None:
    image = np.full((2, 64, 64, 3), 128, np.uint8)
    for name in ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"):
        first, second = corrupt(image, name, 5, seeds=np.array([1, 2], np.uint64)).astype(float)
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.04
        assert abs(np.corrcoef(first[..., 0].ravel(), first[..., 1].ravel())[0, 1]) < 0.06
