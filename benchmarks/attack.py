"""What an attack costs beside its bare passes, and how strong it is beside foolbox's at equal steps.

    python -m benchmarks.attack --json

Hardware: one core. Expected: ten steps of PGD take at most 1.15 times ten forward passes with the gradient of the
image. The last line is one JSON object.

EfficientNet-Lite0 and the 20 ImageNet photographs that foolbox brings, squeezed to `--side`. Contenders go in turns,
round by round; figures are medians over the rounds, in milliseconds of CPU time an image. `bare` is k forward passes
and gradients of the image with frozen parameters, and nothing else; no contender stops early. The strength is measured
once, with starts drawn from one seed, at radii that leave some photographs standing.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foolbox
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from shardtools.evaluation.attacks import attack_settings
from shardtools.pipelines.encoders.lite import load_lite
from shardtools.pipelines.evaluate.attacks import ATTACKS, Victim, check_inside, prepare

BAR = 1.15
_RADII = (0.25, 0.5, 1.0)


class Lite0(nn.Module):
    """EfficientNet-Lite0 on pixels of 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.network = load_lite("lite0")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images [N, 3, H, W] to logits [N, 1000]."""
        logits: torch.Tensor = self.network((images - 127 / 255) / (128 / 255))
        return logits


def photos(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The photographs of foolbox, float32 [20, 3, S, S] of 0 to 1, and their classes, int64 [20]."""
    images, labels = [], []
    for path in sorted((Path(foolbox.__file__).parent / "data").glob("imagenet_*.jpg")):
        found = re.fullmatch(r"imagenet_\d+_(\d+)", path.stem)
        assert found is not None
        labels.append(int(found[1]))
        with Image.open(path) as image:
            images.append(np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div(255).contiguous(), torch.tensor(labels)


class Contenders:
    """Each attacks all photographs with as many steps and returns the attacked ones."""

    def __init__(self, side: int, batch: int) -> None:
        self.network = Lite0().eval().requires_grad_(False)
        self.pixels, self.labels = photos(side)
        self._batch = batch
        self._judge = foolbox.PyTorchModel(self.network, bounds=(0, 1), device="cpu")

    def bare(self, steps: int, eps: float) -> torch.Tensor:
        """Forward passes and gradients alone."""

        def passes(pixels: torch.Tensor, labels: torch.Tensor, first: int) -> torch.Tensor:
            for _ in range(steps):
                leaf = pixels.detach().requires_grad_()
                torch.autograd.grad(functional.cross_entropy(self.network(leaf), labels, reduction="sum"), leaf)
            return pixels

        return self._batches(passes)

    def foolbox(self, steps: int, eps: float) -> torch.Tensor:
        """The projected gradient descent of foolbox gradient descent, with our step."""
        torch.manual_seed(0)
        attack = foolbox.attacks.LinfPGD(abs_stepsize=eps / 4, steps=steps)
        return self._batches(lambda pixels, labels, first: attack(self._judge, pixels, labels, epsilons=eps)[1])

    def own(self, attack: str, steps: int, eps: float, **given: Any) -> torch.Tensor:
        """One of ours; every result is held against the ball and the box."""
        settings = attack_settings(attack, eps=eps, num_steps=steps, **given)

        def attacked(pixels: torch.Tensor, labels: torch.Tensor, first: int) -> torch.Tensor:
            victim, keys = Victim(self.network), [f"photo-{first + number}" for number in range(len(pixels))]
            found = ATTACKS[attack](victim, prepare(victim, pixels, labels.tolist(), keys, settings), settings)
            check_inside(found.pixels, pixels, eps, keys)
            return found.pixels

        return self._batches(attacked)

    def outcome(self, attacked: torch.Tensor) -> dict[str, float]:
        """Share of wrong photographs and mean cross-entropy."""
        with torch.no_grad():
            logits = torch.cat([self.network(some) for some in attacked.split(self._batch)])
        return {
            "wrong": round(float((logits.argmax(1) != self.labels).float().mean()), 3),
            "loss": round(float(functional.cross_entropy(logits, self.labels)), 3),
        }

    def _batches(self, attack: Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]) -> torch.Tensor:
        found = []
        for first in range(0, len(self.pixels), self._batch):
            pixels, labels = self.pixels[first : first + self._batch], self.labels[first : first + self._batch]
            found.append(attack(pixels, labels, first))
        return torch.cat(found)


def costs(contenders: Contenders, steps: int, rounds: int) -> dict[str, float]:
    """Contender -> CPU milliseconds an image; clean predictions and checks are in ours."""
    eps = 4 / 255
    runs: dict[str, Callable[[], torch.Tensor]] = {
        "bare": lambda: contenders.bare(steps, eps),
        "pgd": lambda: contenders.own("pgd", steps, eps, early_stop=False),
        "apgd": lambda: contenders.own("apgd", steps, eps, early_stop=False, loss="ce"),
        "foolbox": lambda: contenders.foolbox(steps, eps),
        "pgd-seed": lambda: contenders.own("pgd-seed", steps, 0.06),
    }
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.process_time()
            images = len(run())
            found.setdefault(name, []).append(1000 * (time.process_time() - started) / images)
    return {name: round(statistics.median(values), 1) for name, values in found.items()}


def strengths(contenders: Contenders, steps: int) -> dict[str, dict[str, dict[str, float]]]:
    """Radius in levels -> contender -> outcome; ours take all steps, as foolbox does."""
    found = {"0": {"clean": contenders.outcome(contenders.pixels)}}
    for levels in _RADII:
        eps = levels / 255
        found[str(levels)] = {
            "foolbox pgd": contenders.outcome(contenders.foolbox(steps, eps)),
            "pgd": contenders.outcome(contenders.own("pgd", steps, eps, early_stop=False)),
            "apgd ce": contenders.outcome(contenders.own("apgd", steps, eps, early_stop=False, loss="ce")),
            "apgd dlr": contenders.outcome(contenders.own("apgd", steps, eps, early_stop=False, loss="dlr")),
        }
    return found


def main() -> None:
    """Parses the options and prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object")
    given = parser.parse_args()
    torch.set_num_threads(1)
    contenders = Contenders(given.side, given.batch)
    medians = costs(contenders, given.steps, given.rounds)
    strength = strengths(contenders, given.steps)
    ratio = round(medians["pgd"] / medians["bare"], 3)
    weaker = [
        radius
        for radius, found in strength.items()
        if "foolbox pgd" in found and found["apgd ce"]["wrong"] < found["foolbox pgd"]["wrong"]
    ]
    report = {
        "cpu_ms_per_image": medians,
        "pgd_over_bare": ratio,
        "foolbox_over_bare": round(medians["foolbox"] / medians["bare"], 3),
        "strength": strength,
        "bars": {
            "pgd_over_bare": {"at_most": BAR, "met": ratio <= BAR},
            "apgd_no_weaker_than_foolbox_pgd": {"met": not weaker},
        },
        "steps": given.steps,
        "machine": platform.processor() or platform.machine(),
    }
    print(json.dumps(report) if given.json else json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
