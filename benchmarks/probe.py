"""Linear classifiers of many settings: trained together, one by one, and by L-BFGS beside scikit-learn.

    python -m benchmarks.probe --json
    python -m benchmarks.probe --quick
    python -m benchmarks.probe --device cuda --rows 256000 --dim 2048 --classes 1000 --trials 10 --epochs 2 --alone 2

Hardware: one core, or a GPU with `--device cuda`. Time: nine minutes on a quiet core, `--quick` half of one. Expected:
trained together at least twice as fast a trial as one by one on a core (10 times on a GPU, at half of the bare matrix
product's rate), with the same accuracies; L-BFGS within a tenth of a point of scikit-learn for each C, or nearer to the
minimum. The last line is one JSON object.

Contenders go in turns, round by round; figures are medians over the rounds, of CPU time on a CPU, of the clock on a
GPU. `together` is `train_wide`, `alone` torch's linear layer, cross-entropy, backward pass and SGD on the same
protocol, `product` the bare matrix product of a batch with the weights of all trials. Features are made: clusters that
overlap, of unit rows, and 10,000 others to judge by.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from shardtools.arrays import Float32s, Int64s
from shardtools.evaluation.probes import fit
from shardtools.pipelines.probes.rows import padded_width
from shardtools.pipelines.probes.wide import BATCH_SIZE, MOMENTUM, rate_factor, train_wide

BARS = {"cpu": 2.0, "cuda": 10.0}
SHARE_OF_PRODUCT = 0.5
POINTS = 0.1
TOLERANCE = 1e-8
"""Of scikit-learn, in float64: at its own, 1e-4, it stops points of accuracy short of the minimum."""


def table(num_rows: int, dim: int, num_classes: int, seed: int) -> tuple[Float32s, Int64s]:
    """Unit rows [N, D] of one world for every seed, and their classes; features are positive, as a ReLU's are."""
    centers = np.random.default_rng(7).normal(size=(num_classes, dim)).astype(np.float32)
    rng = np.random.default_rng([8, seed])
    labels = np.arange(num_rows) % num_classes
    features = rng.standard_normal((num_rows, dim), np.float32)
    for start in range(0, num_rows, BATCH_SIZE):
        part = features[start : start + BATCH_SIZE]
        np.maximum(0.2 * centers[labels[start : start + BATCH_SIZE]] + part, 0, out=part)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return features, labels


class Contenders:
    """Each gives seconds a trial and the accuracies of its trials."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given, self._device = given, torch.device(given.device)
        self._features, self._labels = table(given.rows, given.dim, given.classes, 0)
        self._test, self._test_labels = table(10_000, given.dim, given.classes, 1)
        self._rates = np.geomspace(0.3, 30, given.trials).tolist()
        self._decays = np.geomspace(1e-8, 1e-5, given.trials).tolist()
        self.chosen = np.linspace(0, given.trials - 1, given.alone).astype(int).tolist()

    def together(self) -> tuple[float, list[float]]:
        """All trials as one."""
        given, started = self._given, self._now()
        found = train_wide(
            self._features,
            self._labels,
            given.classes,
            rates=self._rates,
            decays=self._decays,
            epochs=given.epochs,
            seed=1,
            device=self._device,
            precision=given.precision,
        )
        seconds = (self._now() - started) / given.trials
        return seconds, found.accuracies(self._test, self._test_labels).tolist()

    def alone(self) -> tuple[float, list[float]]:
        """The chosen trials, one after the other; features lie on the device."""
        given, started = self._given, self._now()
        features, labels = (torch.from_numpy(one).to(self._device) for one in (self._features, self._labels))
        layers = [self._trained(features, labels, self._rates[one], self._decays[one]) for one in self.chosen]
        seconds = (self._now() - started) / given.alone
        test, test_labels = (torch.from_numpy(one).to(self._device) for one in (self._test, self._test_labels))
        with torch.inference_mode():
            return seconds, [float((layer(test).argmax(dim=1) == test_labels).float().mean()) for layer in layers]

    def _trained(self, features: torch.Tensor, labels: torch.Tensor, rate: float, decay: float) -> torch.nn.Linear:
        given = self._given
        torch.manual_seed(1)
        layer = torch.nn.Linear(given.dim, given.classes).to(self._device)
        optimizer = torch.optim.SGD(layer.parameters(), lr=rate, momentum=MOMENTUM, weight_decay=decay)
        for epoch in range(given.epochs):
            for group in optimizer.param_groups:
                group["lr"] = rate * rate_factor(epoch, given.epochs)
            # The permutations of `train_wide`, so that accuracies can be compared trial by trial.
            order = torch.from_numpy(np.random.default_rng([1, epoch]).permutation(len(features)))
            for rows in order.to(self._device).split(BATCH_SIZE):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(layer(features[rows]), labels[rows])
                loss.backward()
                optimizer.step()
                # The published program looks at each loss.
                if not np.isfinite(loss.item()):
                    break
        return layer

    def product(self) -> float:
        """Operations a second of the bare matrix product."""
        given = self._given
        dtype = torch.bfloat16 if given.precision == "bf16" else torch.float32
        batch = torch.randn(BATCH_SIZE, padded_width(given.dim), device=self._device, dtype=dtype)
        weights = torch.randn(batch.shape[1], given.trials * given.classes, device=self._device, dtype=dtype)
        out = batch @ weights
        repeats = 200 if self._device.type == "cuda" else 2
        started = self._now()
        for _ in range(repeats):
            torch.mm(batch, weights, out=out)
        return 2.0 * batch.numel() * weights.shape[1] * repeats / (self._now() - started)

    def lbfgs(self, values: list[float]) -> dict[str, list[dict[str, float]]]:
        """Ours and scikit-learn's, for each C in turn: seconds of a fit, accuracy, and what it left of the loss."""
        found: dict[str, list[dict[str, float]]] = {"lbfgs": [], "scikit-learn": []}
        # Of about unit variance, as a network gives them: this protocol takes no norms.
        features, test = (np.float32(self._given.dim**0.5) * one for one in (self._features, self._test))
        double = features.astype(np.float64)
        for C in values:
            started = time.process_time()
            ours = fit(features, self._labels, self._given.classes, C)
            middle = time.process_time()
            theirs = LogisticRegression(C=C, max_iter=5000, tol=TOLERANCE).fit(double, self._labels)
            ended = time.process_time()
            for name, seconds, weights, intercept in (
                ("lbfgs", middle - started, ours.weights.astype(np.float64), ours.intercept.astype(np.float64)),
                ("scikit-learn", ended - middle, theirs.coef_, theirs.intercept_),
            ):
                accuracy = float(((test @ weights.T + intercept).argmax(axis=1) == self._test_labels).mean())
                logits = double @ weights.T + intercept
                losses = logsumexp(logits, axis=1) - logits[np.arange(len(logits)), self._labels]
                loss = float(losses.sum() + np.vdot(weights, weights) / (2 * C))
                found[name].append({"seconds": seconds, "accuracy": accuracy, "loss": loss})
        return found

    def operations(self) -> float:
        """Of a trial trained together, in the form that takes fewer."""
        given = self._given
        columns = min(2 * padded_width(given.dim), given.rows if given.precision == "fp32" else given.rows**2)
        return 2.0 * given.rows * columns * given.classes * given.epochs

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Runs all contenders in turns."""
    contenders = Contenders(given)
    values = np.geomspace(1e-5, 1e6, given.values).tolist() if given.values else []
    seconds: dict[str, list[float]] = {}
    rates, accuracies = [], dict[str, list[float]]()
    for _ in range(given.rounds):
        found = {"together": contenders.together(), "alone": contenders.alone()}
        rates.append(contenders.product())
        for name, (taken, reached) in found.items():
            seconds.setdefault(name, []).append(taken)
            accuracies[name] = reached
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    ratio, rate = medians["alone"] / medians["together"], statistics.median(rates)
    share = contenders.operations() / medians["together"] / rate
    pairs = zip([accuracies["together"][one] for one in contenders.chosen], accuracies["alone"], strict=True)
    report: dict[str, Any] = {
        "seconds_a_trial": {name: round(taken, 4) for name, taken in medians.items()},
        "best_accuracy": {name: round(max(reached), 4) for name, reached in accuracies.items()},
        "points_apart": round(100 * max(abs(one - other) for one, other in pairs), 3),
        "together_over_alone": round(ratio, 2),
        "product_gflops": round(rate / 1e9, 1),
        "share_of_product": round(share, 3),
        "bars": {"together_over_alone": BARS[given.device], "met": ratio >= BARS[given.device]},
    }
    if given.device == "cuda":
        report["bars"] |= {"share_of_product": SHARE_OF_PRODUCT, "rate_met": share >= SHARE_OF_PRODUCT}
    if values:
        report |= of_lbfgs(contenders.lbfgs(values))
    return report


def of_lbfgs(found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """What L-BFGS came to; where the accuracies differ, the lower loss says who is nearer to the minimum."""
    pairs = list(zip(found["lbfgs"], found["scikit-learn"], strict=True))
    points = [100 * abs(one["accuracy"] - other["accuracy"]) for one, other in pairs]
    lower = [one["loss"] < other["loss"] for one, other in pairs]
    return {
        "lbfgs_seconds": {name: round(sum(one["seconds"] for one in of), 2) for name, of in found.items()},
        "lbfgs_points_apart": [round(one, 3) for one in points],
        "lbfgs_loss_over_scikit_learn": [round(one["loss"] / other["loss"], 6) for one, other in pairs],
        "lbfgs_met": all(apart <= POINTS or nearer for apart, nearer in zip(points, lower, strict=True)),
    }


def main() -> None:
    """Parses the options and prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--alone", type=int, help="trials that are trained one by one (default: all)")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--values", type=int, default=20, help="of C for L-BFGS and scikit-learn; 0 leaves them out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "tf32", "bf16"), default="fp32")
    parser.add_argument("--quick", action="store_true", help="20 epochs, 4 trials one by one, 4 values of C")
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object")
    given = parser.parse_args()
    if given.quick:
        given.epochs, given.alone, given.values = 20, 4, min(given.values, 4)
    given.alone = given.trials if given.alone is None else min(given.alone, given.trials)
    torch.set_num_threads(1)
    report = measure(given) | {
        **{
            name: getattr(given, name) for name in ("rows", "dim", "classes", "trials", "epochs", "device", "precision")
        },
        "machine": platform.processor() or platform.machine(),
    }
    print(json.dumps(report) if given.json else json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
