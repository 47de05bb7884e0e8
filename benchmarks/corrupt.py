"""How long corruptions take an image and a core, and how near they are to the published ones.

    python -m benchmarks.corrupt --reference-python /tmp/reference/bin/python --json

Hardware: one core; photos of Debian's wallpapers (see benchmarks/corpus.py). Time: about 12 minutes, most of it for the
published glass blur. Expected: mean of the fifteen at most 2.0 ms, none above 8, the 75 variants of a photo in at most
150 ms; corruptions without chance within 1 of 255 or 50 dB, means of the others within .5 of 255 and deviations within
1 %. The last line is one JSON object.

The reference (benchmarks/corrupt_peer.py says what it needs) runs in a process of its own, in turns with ours, on the
same crops of 224 pixels; times are CPU times, medians over the rounds. Each image is compared at one severity, so a
fifth of the images stands for each. What is drawn is compared by the means and deviations of all values, with the
standard error that the draws leave. Frost is compared too, though its pictures are others.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.corpus import find_photos
from benchmarks.corrupt_peer import Moments, moments_of
from benchmarks.peer_process import Ask, peer_process
from shardtools.corruption import CORRUPTIONS, SEVERITIES, corrupt, sample_seed

SIDE = 224
NEEDS = "imagecorruptions 1.1.2 and imagenet-c 0.0.3"
BARS = {"mean_ms": 2.0, "slowest_ms": 8.0, "variants_ms": 150.0}
MAIN = tuple(name for name, corruption in CORRUPTIONS.items() if corruption.group != "extra")
WITHOUT_CHANCE = (
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
    "gaussian_blur",
    "saturate",
)
DRAWS = {"snow": 10, "frost": 20, "fog": 100, "elastic_transform": 8, "spatter": 8}
"""Draws an image, where whole images differ from draw to draw; one where every value is drawn."""


def make_crops(count: int) -> np.ndarray:
    """Crops of photographs, uint8 [count, 224, 224, 3]: each of one to four times that side, scaled down."""
    photos = find_photos()
    crops = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for index, path in enumerate(photos):
        if index >= count:
            break
        with Image.open(path) as opened:
            photo = opened.convert("RGB")
        for number in range(index, count, len(photos)):
            rng = np.random.default_rng([224, number])
            side = SIDE * min(rng.uniform(1, 4), min(photo.size) / SIDE)
            left, top = rng.uniform(0, photo.width - side), rng.uniform(0, photo.height - side)
            box = (left, top, left + side, top + side)
            crops[number] = np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=box))
    return crops


def seeds_of(name: str, severity: int, count: int, draw: int = 0) -> np.ndarray:
    """A seed an image, uint64 [count]."""
    return np.array([sample_seed(draw, str(index), name, severity) for index in range(count)], np.uint64)


def our_seconds(crops: np.ndarray, name: str, severity: int) -> float:
    """CPU seconds an image, of the whole row in one call with one thread."""
    seeds, out = seeds_of(name, severity, len(crops)), np.empty_like(crops)
    started = time.process_time()
    corrupt(crops, name, severity, seeds=seeds, out=out)
    return (time.process_time() - started) / len(crops)


def variant_seconds(crop: np.ndarray) -> float:
    """CPU seconds of the 75 variants of one image, one call each."""
    started = time.process_time()
    for name in MAIN:
        for severity in SEVERITIES:
            corrupt(crop, name, severity, seeds=sample_seed(0, "crop", name, severity))
    return time.process_time() - started


def measure_speed(crops: np.ndarray, images: Path, ask: Ask | None, rounds: int) -> dict[str, Any]:
    """Milliseconds an image by corruption, of both sides in turns, and of the 75 variants."""
    ours: dict[tuple[str, int], list[float]] = {}
    theirs: dict[tuple[str, int], list[float]] = {}
    variants: list[float] = []
    variant_seconds(crops[0])
    for number in range(rounds):
        variants.append(variant_seconds(crops[number % len(crops)]))
        for name in CORRUPTIONS:
            for severity in SEVERITIES:
                ours.setdefault((name, severity), []).append(our_seconds(crops[:20], name, severity))
                if ask is None:
                    continue
                # Glass blur takes a second an image.
                count = 1 if name == "glass_blur" else 4
                request = {"job": "seconds", "images": str(images), "name": name, "severity": severity, "count": count}
                theirs.setdefault((name, severity), []).append(ask(request)["seconds"])
    return speed_report(_milliseconds(ours), _milliseconds(theirs), statistics.median(variants) * 1000)


def _milliseconds(seconds: dict[tuple[str, int], list[float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for (name, _), values in seconds.items():
        found.setdefault(name, []).append(round(statistics.median(values) * 1000, 3))
    return found


def speed_report(ours: dict[str, list[float]], theirs: dict[str, list[float]], variants_ms: float) -> dict[str, Any]:
    """Tables by corruption and severity, means of the fifteen, and what is met."""

    def mean(table: dict[str, list[float]]) -> float:
        return round(statistics.mean(statistics.mean(table[name]) for name in MAIN), 3)

    report: dict[str, Any] = {
        "ms": ours,
        "mean_ms": mean(ours),
        "slowest_ms": max(max(values) for values in ours.values()),
        "variants_ms": round(variants_ms, 1),
    }
    report["met"] = {name: report[name] <= bar for name, bar in BARS.items()}
    if theirs:
        report["reference_ms"] = {name: round(statistics.mean(values), 2) for name, values in theirs.items()}
        report["reference_mean_ms"] = mean(theirs)
        report["times"] = round(report["reference_mean_ms"] / report["mean_ms"], 1)
        # The published glass blur is a loop in Python, which anyone in a hurry would compile.
        without = [sum(statistics.mean(t[name]) for name in MAIN if name != "glass_blur") for t in (theirs, ours)]
        report["times_without_glass_blur"] = round(without[0] / without[1], 1)
    return report


def compare_exactly(crops: np.ndarray, images: Path, ask: Ask, name: str) -> dict[str, Any]:
    """Largest difference and least PSNR over all images; met where either is within its bar."""
    largest, least_psnr, differing = 0, math.inf, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for severity in SEVERITIES:
            out = str(Path(folder) / "out.npy")
            request = {"job": "images", "images": str(images), "name": name, "severity": severity, "out": out}
            ask(request | {"first": severity - 1, "step": len(SEVERITIES)})
            chosen = crops[severity - 1 :: len(SEVERITIES)]
            found = corrupt(chosen, name, severity, seeds=seeds_of(name, severity, len(chosen)))
            difference = np.abs(np.load(out).astype(int) - found)
            largest = max(largest, int(difference.max()))
            differing += float((difference > 0).mean()) / len(SEVERITIES)
            errors = np.square(difference).mean(axis=(1, 2, 3))
            least_psnr = min(least_psnr, *(10 * math.log10(255**2 / error) for error in errors if error > 0), math.inf)
    return {
        "largest_difference": largest,
        "share_differing": round(differing, 6),
        "least_psnr": None if least_psnr == math.inf else round(least_psnr, 1),
        "met": largest <= 1 or least_psnr >= 50,
    }


def compare_drawn(crops: np.ndarray, images: Path, ask: Ask, name: str) -> dict[str, Any]:
    """Means and deviations over all images and draws, the worst severity of each."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for severity in SEVERITIES:
            out, draws = str(Path(folder) / "out.npy"), DRAWS.get(name, 1)
            request = {"job": "moments", "images": str(images), "name": name, "severity": severity, "out": out}
            ask(request | {"first": severity - 1, "step": len(SEVERITIES), "draws": draws, "seed": severity})
            rows.append(
                _compare_moments(crops[severity - 1 :: len(SEVERITIES)], name, severity, Moments(*np.load(out)))
            )
    worst_mean = max(rows, key=lambda row: abs(row["mean"]))
    worst_deviation = max(rows, key=lambda row: abs(row["deviation"] - 1))
    return {
        "mean_difference": round(worst_mean["mean"], 3),
        "its_standard_error": round(worst_mean["error"], 3),
        "deviation_ratio": round(worst_deviation["deviation"], 4),
        "change_ratio": round(max((row["change"] for row in rows), key=lambda ratio: abs(ratio - 1)), 4),
        "met": abs(worst_mean["mean"]) <= 0.5 and abs(worst_deviation["deviation"] - 1) <= 0.01,
    }


def _compare_moments(chosen: np.ndarray, name: str, severity: int, theirs: Moments) -> dict[str, float]:
    draws = theirs.means.shape[1]
    seeds = [seeds_of(name, severity, len(chosen), draw) for draw in range(draws)]
    ours = moments_of(
        chosen, draws, lambda index, draw: corrupt(chosen[index], name, severity, seeds=int(seeds[draw][index]))
    )
    within = [moments.means.var(axis=1, ddof=1).mean() if draws > 1 else 0.0 for moments in (ours, theirs)]
    return {
        "mean": float(ours.means.mean() - theirs.means.mean()),
        "error": math.sqrt(sum(within) / ours.means.size),
        "deviation": _deviation(ours) / _deviation(theirs),
        "change": math.sqrt(ours.changes.mean() / theirs.changes.mean()),
    }


def _deviation(moments: Moments) -> float:
    return math.sqrt(moments.squares.mean() - moments.means.mean() ** 2)


def compare(crops: np.ndarray, images: Path, ask: Ask, names: Sequence[str]) -> dict[str, Any]:
    """How near these corruptions are to the published ones."""
    found = {}
    for name in names:
        comparison = compare_exactly if name in WITHOUT_CHANCE else compare_drawn
        found[name] = comparison(crops, images, ask, name)
    return found


def main() -> None:
    """Parses the options and prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reference-python", help="an interpreter that has the published packages")
    parser.add_argument("--only", choices=["speed", "parity"], help="one half of the figures")
    parser.add_argument("--images", type=int, default=200, help="crops to compare")
    parser.add_argument(
        "--names", nargs="+", choices=CORRUPTIONS, default=[*CORRUPTIONS], help="corruptions to compare"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object")
    given = parser.parse_args()
    if given.only == "parity" and given.reference_python is None:
        parser.error("--only parity compares with --reference-python")
    crops = make_crops(given.images)
    report: dict[str, Any] = {"machine": platform.processor() or platform.machine()}
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "crops.npy"
        np.save(images, crops)
        if given.reference_python is None:
            report["speed"] = measure_speed(crops, images, None, given.rounds)
        else:
            with peer_process(given.reference_python, "corrupt_peer.py", needs=NEEDS) as ask:
                if given.only != "parity":
                    report["speed"] = measure_speed(crops, images, ask, given.rounds)
                if given.only != "speed":
                    report["parity"] = compare(crops, images, ask, given.names)
    print(json.dumps(report) if given.json else json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
