"""How well the audit finds planted wrong labels, against cleanlab on the same probabilities and folds.

    OMP_NUM_THREADS=2 python -m benchmarks.audit --json

Hardware: two CPU cores, 3 GB of memory. Time: about an hour of CPU for all of it, ten minutes of it for the features of
10,000 images (kept in `--cache`); `--datasets fashion` takes half of that, `--quick` one seed. Expected: a mean gain of
at least 0.02 (figures: docs/benchmarks.md).

`cleanlab` is the best of four, setting by setting and seed by seed: its label quality scores by self-confidence,
normalised margin and confidence-weighted entropy, and confident learning (`find_label_issues`, what it prunes first,
each part by self-confidence). All are given our linear model's out-of-fold probabilities, whose penalty was chosen by
log loss; scikit-learn's LogisticRegression at its defaults, fitted to the same folds, does worse (`--sklearn`).

`precision_at_errors` is the share of planted labels among as many samples as were planted; `estimated` is what the
audit expects at the same cut without knowing which. `gain` is about average precision. The bar counts the first four
settings on Fashion-MNIST; `by instance`, digits and clusters are there to see where it bends.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from benchmarks.audit_data import NOISES, Known, clusters, digits, fashion
from shardtools.audits.labels.scores import SCORES, AuditOptions, audit_labels
from shardtools.audits.labels.scores.evidence import best_strength
from shardtools.audits.labels.scores.folds import canonical_order, stratified_folds
from shardtools.audits.labels.scores.linear import one_hot
from shardtools.audits.labels.scores.projection import project

BAR = ("symmetric 5 %", "symmetric 20 %", "symmetric 40 %", "asymmetric 20 %")
PEERS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
SHARES = (0.25, 0.5, 1.0, 1.5)
Report = dict[str, Any]


def probabilities(known: Known, labels: np.ndarray, options: AuditOptions) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold probabilities by the library's linear model in its folds, and the folds, in the order of rows."""
    order, groups = canonical_order([known.features], labels, options.seed)
    folds = stratified_folds(labels[order], groups, options.num_folds)
    projected = project(known.features, order, options.num_dimensions)
    _, (best, _) = best_strength(projected, one_hot(labels[order], int(labels.max()) + 1), folds)
    probs = np.empty_like(best)
    probs[order] = np.exp(best)
    placed = np.empty_like(folds)
    placed[order] = folds
    return probs / probs.sum(axis=1, keepdims=True), placed


def cleanlab_scores(labels: np.ndarray, probs: np.ndarray) -> dict[str, np.ndarray]:
    """What cleanlab makes of probabilities; larger is more suspect."""
    scores = {name: -get_label_quality_scores(labels, probs, method=name, adjust_pred_probs=False) for name in PEERS}
    found = find_label_issues(labels, probs, filter_by="prune_by_noise_rate", n_jobs=1)
    scores["confident_learning"] = found.astype(np.float64) + (1 - probs[np.arange(len(labels)), labels]) / 2
    return scores


def sklearn_probabilities(known: Known, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """scikit-learn's logistic regression at its defaults on standardised features."""
    features = known.features.astype(np.float32)
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    probs = np.empty((len(labels), int(labels.max()) + 1))
    for fold in range(folds.max() + 1):
        model = LogisticRegression(max_iter=300, tol=1e-3).fit(features[folds != fold], labels[folds != fold])
        probs[folds == fold] = model.predict_proba(features[folds == fold])
    return probs


def measure(known: Known, setting: str, seed: int, *, with_sklearn: bool) -> Report:
    """One dataset with one kind of noise, drawn once."""
    noise, rate = NOISES[setting]
    labels = noise(known, rate, seed)
    wrong = labels != known.labels
    errors = int(wrong.sum())
    options = AuditOptions(seed=seed)
    counts = [max(1, round(errors * share)) for share in SHARES]
    start = time.perf_counter()
    found = audit_labels(known.features, labels, cut_counts=counts, options=options)
    seconds = time.perf_counter() - start
    scores = {name: np.asarray(found.table[name]) for name in SCORES if name in found.table.column_names}
    probs, folds = probabilities(known, labels, options)
    peers = {f"cleanlab_{name}": score for name, score in cleanlab_scores(labels, probs).items()}
    if with_sklearn:
        fitted = sklearn_probabilities(known, labels, folds)
        peers |= {f"sklearn_cleanlab_{name}": score for name, score in cleanlab_scores(labels, fitted).items()}
    everything = scores | peers
    average = {name: float(average_precision_score(wrong, score)) for name, score in everything.items()}
    at_errors = {name: _precision(wrong, score, errors) for name, score in everything.items()}
    by_count = {cut.num_samples: cut for cut in found.cuts}
    suspects = np.asarray(found.table["suggested_label"])[wrong]
    return {
        "average_precision": average,
        "precision_at_errors": at_errors,
        "best_peer": max(average[name] for name in peers),
        "best_peer_at_errors": max(at_errors[name] for name in peers),
        "noise_rate": {
            "true": errors / len(labels),
            "estimated": found.noise_rate.estimate,
            "low": found.noise_rate.low,
            "high": found.noise_rate.high,
            "confident_learning": found.confident_noise_rate,
        },
        "precision_at": [
            {
                "k": count,
                "true": _precision(wrong, scores["vote"], count),
                "estimated": by_count[count].precision.estimate,
                "low": by_count[count].precision.low,
                "high": by_count[count].precision.high,
            }
            for count in counts
        ],
        "suggested_right": float((suspects == known.labels[wrong]).mean()),
        "seconds": seconds,
    }


def _precision(wrong: np.ndarray, score: np.ndarray, count: int) -> float:
    return float(wrong[np.argsort(-score, kind="stable")[:count]].mean())


def summarize(runs: Sequence[Report]) -> Report:
    """Means over seeds, and the worst of what has a bar."""
    names = runs[0]["average_precision"]
    gains = [run["average_precision"]["vote"] - run["best_peer"] for run in runs]
    misses = [abs(row["true"] - row["estimated"]) for run in runs for row in run["precision_at"]]
    return {
        "average_precision": {name: _mean([run["average_precision"][name] for run in runs]) for name in names},
        "precision_at_errors": {name: _mean([run["precision_at_errors"][name] for run in runs]) for name in names},
        "gain": _mean(gains),
        "least_gain": round(min(gains), 4),
        "gain_at_errors": _mean([run["precision_at_errors"]["vote"] - run["best_peer_at_errors"] for run in runs]),
        "estimated_precision_off_by": {"mean": _mean(misses), "most": round(max(misses), 4)},
        "precision_at": [run["precision_at"] for run in runs],
        "noise_rate": [run["noise_rate"] for run in runs],
        "suggested_right": _mean([run["suggested_right"] for run in runs]),
        "seconds": _mean([run["seconds"] for run in runs]),
    }


def _mean(values: Sequence[float]) -> float:
    return round(statistics.mean(values), 4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and prints a table and one JSON object."""
    parser = argparse.ArgumentParser(description="Quality of the label audit against cleanlab.")
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--sklearn", action="store_true", help="give cleanlab scikit-learn's probabilities too")
    parser.add_argument("--datasets", default="fashion,digits,clusters", help="some of fashion, digits, clusters")
    parser.add_argument("--settings", default=",".join(NOISES), help="some of the kinds of noise")
    parser.add_argument("--images", type=int, default=10_000, help="of Fashion-MNIST")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/shardtools-audit/fashion-lite0.npy"))
    chosen = parser.parse_args(arguments)
    makers = {"fashion": lambda: fashion(chosen.cache, chosen.images), "digits": digits, "clusters": clusters}
    seeds = range(1 if chosen.quick else 5)
    report: Report = {}
    for name in chosen.datasets.split(","):
        known = makers[name]()
        report[name] = {}
        for setting in chosen.settings.split(","):
            runs = [measure(known, setting, seed, with_sklearn=chosen.sklearn) for seed in seeds]
            report[name][setting] = summary = summarize(runs)
            if not chosen.json:
                _print(name, setting, summary)
    main_set = report.get("fashion", next(iter(report.values())))
    bar = [main_set[setting] for setting in BAR if setting in main_set] or list(main_set.values())
    line = {
        "mean_average_precision_gain": _mean([summary["gain"] for summary in bar]),
        "least_gain_of_a_setting": min(summary["gain"] for summary in bar),
        "estimated_precision_off_by_at_most": max(row["estimated_precision_off_by"]["most"] for row in bar),
        "seeds": len(seeds),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "datasets": report,
    }
    print(json.dumps(line))


def _print(name: str, setting: str, summary: Report) -> None:
    average = summary["average_precision"]
    print(f"{name}, {setting}: gain {summary['gain']:+.4f}, at #errors {summary['gain_at_errors']:+.4f}", flush=True)
    for score, value in sorted(average.items(), key=lambda item: -item[1]):
        print(f"    {score:40} {value:.4f}  {summary['precision_at_errors'][score]:.4f}")
    off = summary["estimated_precision_off_by"]
    rates = summary["noise_rate"][0]
    print(
        f"    estimated precision off by {off['mean']:.3f}, at most {off['most']:.3f}; noise rate"
        f" {rates['true']:.3f}, estimated {rates['low']:.3f} {rates['estimated']:.3f} {rates['high']:.3f};"
        f" suggestions right {summary['suggested_right']:.3f}; {summary['seconds']:.1f} s"
    )
    for row in summary["precision_at"][0]:
        print(f"      k {row['k']}: {row['true']:.3f}, est {row['low']:.3f} {row['estimated']:.3f} {row['high']:.3f}")


if __name__ == "__main__":
    main()
