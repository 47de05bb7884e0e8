"""How many images a second one core measures and hashes (`shardtools quality`).

    python benchmarks/corpus.py --out /tmp/corpus
    shardtools write /tmp/corpus /tmp/photos
    python -m benchmarks.quality --data /tmp/photos --json

Hardware: one core. Expected: at least 300 images/s on the corpus's photos of half a megapixel. The last line is one
JSON object.

Every contender measures the same images of the dataset with one thread, in turn, round by round; figures are medians
over the rounds, in images a second of CPU time. `ours` is the default, `full` decodes every pixel, `pillow` decodes
with Pillow. `decode` reads and decodes as `ours` does and measures nothing: what is left for measures is in between.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from shardtools.audits.quality import SIDE, QualityOptions, measure_dataset
from shardtools.loader import Loader, LoaderOptions, OrderOptions, ResizeOptions

BAR = 300.0


def contenders(data: str) -> dict[str, Callable[[Path], int]]:
    """Name -> measures the dataset into a folder and says how many images that were."""

    def measured(folder: Path, *, allow_scaled: bool = True, backend: str = "auto") -> int:
        options = QualityOptions(
            dataset=data, num_threads=1, allow_scaled=allow_scaled, backend=backend, out=str(folder)
        )
        return measure_dataset(options).num_measured

    return {
        "ours": measured,
        "full": lambda folder: measured(folder, allow_scaled=False),
        "pillow": lambda folder: measured(folder, backend="pillow"),
        "decode": lambda folder: decoded(data),
    }


def decoded(data: str) -> int:
    """Reads and decodes all images at the side that is measured."""
    options = LoaderOptions(
        datasets=(data,),
        crop=ResizeOptions(height=SIDE, width=SIDE, interpolation="area"),
        batch_size=32,
        order=OrderOptions(shuffle="none"),
        last="short",
        num_threads=1,
        allow_scaled=True,
    )
    with Loader(options) as loader:
        return sum(len(batch.keys) for batch in loader.epoch(0))


def main() -> None:
    """Parses the options and prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="a dataset of photos")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object")
    given = parser.parse_args()
    speeds: dict[str, list[float]] = {}
    for number in range(given.rounds):
        for name, run in contenders(given.data).items():
            with tempfile.TemporaryDirectory() as folder:
                started = time.process_time()
                count = run(Path(folder) / "quality")
                speeds.setdefault(name, []).append(count / (time.process_time() - started))
            if not given.json:
                print(f"round {number + 1} {name}: {speeds[name][-1]:.0f} images/s of CPU time")
    medians = {name: round(statistics.median(found), 1) for name, found in speeds.items()}
    report = {
        "images_per_cpu_second": medians,
        "over_pillow": round(medians["ours"] / medians["pillow"], 2),
        "share_of_decoding": round(medians["ours"] / medians["decode"], 2),
        "bar": {"ours": BAR, "met": medians["ours"] >= BAR},
        "machine": platform.processor() or platform.machine(),
    }
    print(json.dumps(report) if given.json else json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
