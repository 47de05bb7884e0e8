"""The benchmark of corruptions, with our own corruptions as the reference: that it measures and notices differences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import corrupt as benchmark
from benchmarks import corrupt_peer
from shardtools.corruption import CORRUPTIONS, corrupt
from tests.helpers.scenes import scenes

Corrupted = Callable[[np.ndarray, str, int], np.ndarray]


@pytest.fixture
def crops() -> np.ndarray:
    return scenes(10, 32, 32)


@pytest.fixture
def images(crops: np.ndarray, tmp_path: Path) -> Path:
    np.save(tmp_path / "crops.npy", crops)
    return tmp_path / "crops.npy"


def asked(corrupted: Corrupted) -> benchmark.Ask:
    """The other side without its process; requests and answers pass through JSON all the same."""

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        return dict(json.loads(json.dumps(corrupt_peer.answer(json.loads(json.dumps(request)), corrupted))))

    return ask


def ours(image: np.ndarray, name: str, severity: int) -> np.ndarray:
    return corrupt(image, name, severity, seeds=np.random.randint(2**31))


def brighter(image: np.ndarray, name: str, severity: int) -> np.ndarray:
    return np.clip(ours(image, name, severity).astype(int) + 4, 0, 255).astype(np.uint8)


def test_speed_of_both_sides_is_in_one_report(crops: np.ndarray, images: Path) -> None:
    report = benchmark.measure_speed(crops, images, asked(ours), rounds=1)
    assert set(report["ms"]) == set(report["reference_ms"]) == set(CORRUPTIONS)
    assert report["times"] == pytest.approx(report["reference_mean_ms"] / report["mean_ms"], abs=0.06)
    assert report["met"] == {"mean_ms": True, "slowest_ms": True, "variants_ms": True}
    slow = benchmark.speed_report({name: [9.0] * 5 for name in CORRUPTIONS}, {}, 151.0)
    assert slow["mean_ms"] == 9.0 and not any(slow["met"].values()) and "reference_ms" not in slow


def test_the_same_corruptions_are_alike(crops: np.ndarray, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(benchmark.DRAWS, "spatter", 3)
    ask = asked(ours)
    assert benchmark.compare_exactly(crops, images, ask, "contrast") == {
        "largest_difference": 0,
        "share_differing": 0.0,
        "least_psnr": None,
        "met": True,
    }
    found = benchmark.compare_drawn(crops, images, ask, "speckle_noise")
    assert abs(found["mean_difference"]) < 2 and found["deviation_ratio"] == pytest.approx(1, abs=0.03)
    assert benchmark.compare_drawn(crops, images, ask, "spatter")["its_standard_error"] > 0


def test_a_difference_is_noticed(crops: np.ndarray, images: Path) -> None:
    ask = asked(brighter)
    exact = benchmark.compare_exactly(crops, images, ask, "contrast")
    assert exact["largest_difference"] == 4 and exact["least_psnr"] == pytest.approx(36.1, abs=0.1) and not exact["met"]
    drawn = benchmark.compare_drawn(crops, images, ask, "gaussian_noise")
    assert drawn["mean_difference"] < -2 and not drawn["met"]
