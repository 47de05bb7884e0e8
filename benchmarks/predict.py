"""What `shardtools predict` costs beside the bare forward pass over tensors in memory.

    python benchmarks/corpus.py /tmp/corpus --images 128
    shardtools write /tmp/corpus /tmp/photos
    python -m benchmarks.predict --data /tmp/photos --json

Hardware: one core, or a GPU with `--device cuda`. Expected: at least 90 % of the bare forward pass with Lite0. The last
line is one JSON object.

Contenders go in turns, round by round; figures are medians over the rounds, in images a second: of CPU time on a CPU,
of the clock on a GPU. `bare` sends the same batches through the network as floats that lie on the device. `predict`
reads, decodes, resizes and normalizes them, says what the logits mean and makes every batch durable; `top` does so
without keeping all logits, `variants` with `--variants` severities of Gaussian noise for each image.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

from shardtools.evaluation import ModelOptions
from shardtools.evaluation.predictions import PredictOptions
from shardtools.execution import Ended, Message, Ready
from shardtools.pipelines.batches.on_device import AUTOCAST
from shardtools.pipelines.evaluate.job import run_rank
from shardtools.pipelines.evaluate.models import load_classifier
from shardtools.pipelines.ranks import Rank

BAR = 0.9


class Contenders:
    """Each gives images a second."""

    def __init__(self, data: str, model: str, device: str, batch_size: int, num_threads: int) -> None:
        self._data, self._model = data, ModelOptions(model=model)
        self._device, self._batch_size, self._threads = torch.device(device), batch_size, num_threads
        self._clock = time.perf_counter if self._device.type == "cuda" else time.process_time
        self._classifier = load_classifier(self._model).to(self._device).to(memory_format=torch.channels_last)

    def bare(self, num_images: int) -> float:
        """The forward pass alone, over as many full batches as predicting takes."""
        side = self._classifier.facts.image_size
        images = torch.randn(self._batch_size, 3, side, side, device=self._device)
        images = images.contiguous(memory_format=torch.channels_last)
        kind = AUTOCAST[self._classifier.facts.precision]
        self._wait()
        started = self._clock()
        with torch.inference_mode(), torch.autocast(self._device.type, dtype=kind, enabled=kind is not None):
            for _ in range(-(-num_images // self._batch_size)):
                self._classifier(images)
        self._wait()
        return num_images / (self._clock() - started)

    def predict(self, folder: Path, **changes: Any) -> tuple[float, int]:
        """All of `shardtools predict` but starting and loading; also how many rows that were."""
        options = PredictOptions(
            datasets=(self._data,),
            model=self._model,
            out=str(folder),
            batch_size=self._batch_size,
            threads=self._threads,
            labels_by="none",
            **changes,
        )
        times: list[float] = []
        rows: list[int] = []

        def hear(message: Message) -> None:
            if isinstance(message, Ready | Ended):
                self._wait()
                times.append(self._clock())
            if isinstance(message, Ended):
                rows.append(message.images)

        run_rank(options, Rank(rank=0, world_size=1, device=self._device), hear, threading.Event())
        return rows[0] / (times[1] - times[0]), rows[0]

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def measure(contenders: Contenders, rounds: int, num_variants: int) -> dict[str, float]:
    """Contender -> images a second."""
    severities = tuple(range(1, num_variants + 1))
    asked: dict[str, dict[str, Any]] = {
        "predict": {"logits": "all"},
        "top": {"logits": "top"},
        "variants": {"corruption": ("gaussian_noise",), "severity": severities},
    }
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        num_images = 0
        for name, changes in asked.items():
            with tempfile.TemporaryDirectory() as folder:
                speed, rows = contenders.predict(Path(folder) / "predictions", **changes)
            found.setdefault(name, []).append(speed)
            num_images = num_images or rows
        found.setdefault("bare", []).append(contenders.bare(num_images))
    return {name: statistics.median(speeds) for name, speeds in found.items()}


def main() -> None:
    """Parses the options and prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="a dataset of photos; whole batches of them make a fair figure")
    parser.add_argument("--model", default="lite0")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1, help="that decode")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", type=int, default=2, help="severities of the corrupted contender")
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object")
    given = parser.parse_args()
    torch.set_num_threads(1)
    contenders = Contenders(given.data, given.model, given.device, given.batch_size, given.threads)
    medians = measure(contenders, given.rounds, given.variants)
    shares = {name: round(speed / medians["bare"], 3) for name, speed in medians.items() if name != "bare"}
    report = {
        "images_per_second": {name: round(speed, 2) for name, speed in medians.items()},
        "share_of_bare": shares,
        "bar": {"share_of_bare": BAR, "met": shares["predict"] >= BAR},
        "model": given.model,
        "device": given.device,
        "machine": platform.processor() or platform.machine(),
    }
    print(json.dumps(report) if given.json else json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
