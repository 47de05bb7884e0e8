"""Whether the audit's range of the noise rate holds the truth where labels are wrong as people make them wrong.

    OMP_NUM_THREADS=1 python -m benchmarks.audit_ranges --seeds 1

Hardware: one CPU core. Time: about ten seconds a set, eight minutes a seed. Expected: at least 90 % of the ranges hold
the truth, each narrower than a factor of 4 (figures: docs/audit.md).

Human-like noise follows the sample: `margin` gives the samples of least margin (by a linear model of the true labels)
their second class, `soft margin` draws them nearly so, `annotators` draws each label from a weak network's softmax with
the true class raised, `weak network` takes its out-of-fold predictions for labels, `by instance` is that of `audit.py`.
`given P` audits out-of-fold probabilities of a linear model, without features. `symmetric` and `asymmetric` follow the
class. The rule was chosen on seed 0, so measure with others.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from benchmarks.audit_data import FASHION, Known, asymmetric, by_instance, digits, fashion, symmetric
from shardtools.audits.labels.scores import SCORES, AuditOptions, audit_labels
from shardtools.audits.labels.scores.linear import fit, log_probabilities, one_hot

NUM_IMAGES = 2000
FIRST = 30
"""Labels of the cut that is shown: as many as a person looks at."""
RATES = (0.05, 0.1, 0.2, 0.4)
LIKE_PEOPLE = ("margin", "soft margin", "annotators", "weak network", "by instance")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Base:
    """Features with true labels, and what a weak network sees."""

    name: str
    features: np.ndarray
    labels: np.ndarray
    weak: np.ndarray


def bases(cache: Path) -> list[Base]:
    """Digits, small grey pictures, and those in EfficientNet-Lite0's features where they are kept."""
    found = digits()
    pixels = np.frombuffer(gzip.decompress((FASHION / "train-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    pictures = pixels.reshape(-1, 28, 28)[:NUM_IMAGES].astype(np.float32) / 255
    labels = np.frombuffer(gzip.decompress((FASHION / "train-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    labels = labels[:NUM_IMAGES].astype(np.int64)
    made = [
        Base(name="digits", features=found.features, labels=found.labels, weak=found.features),
        Base(name="fashion pixels", features=_pooled(pictures, 2), labels=labels, weak=_pooled(pictures, 4)),
    ]
    if cache.exists():
        features = fashion(cache, NUM_IMAGES).features.astype(np.float32)
        made.append(Base(name="fashion lite0", features=features, labels=labels, weak=_pooled(pictures, 4)))
    return made


def _pooled(pictures: np.ndarray, side: int) -> np.ndarray:
    count = 28 // side
    return pictures.reshape(len(pictures), count, side, count, side).mean(axis=(2, 4)).reshape(len(pictures), -1)


def out_of_fold(features: np.ndarray, labels: np.ndarray, seed: int, *, share: float = 1.0) -> np.ndarray:
    """Log probabilities by linear models of the other four fifths, or of a share of them."""
    rng = np.random.default_rng((seed, 77))
    folds = rng.integers(0, 5, len(features))
    scaled = ((features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)).astype(np.float32)
    found = np.empty((len(labels), int(labels.max()) + 1), np.float32)
    for fold in range(5):
        rows = rng.permutation(np.flatnonzero(folds != fold))
        rows = rows[: max(60, int(share * len(rows)))]
        targets = one_hot(labels[rows], found.shape[1])
        found[folds == fold] = log_probabilities(scaled[folds == fold], fit(scaled[rows], targets, strength=0.02))
    return found


def by_margin(strong: np.ndarray, labels: np.ndarray, rate: float, seed: int, softness: float) -> np.ndarray:
    """The share of least margin, with Gumbel noise of some spreads of it, gets its second class."""
    at = np.arange(len(labels))
    others = strong.copy()
    others[at, labels] = -np.inf
    margins = strong[at, labels] - others.max(axis=1)
    noise = np.random.default_rng((seed, 5)).gumbel(size=len(labels))
    rows = np.argsort(margins + softness * margins.std() * noise)[: round(rate * len(labels))]
    given = labels.copy()
    given[rows] = others.argmax(axis=1)[rows]
    return given


def by_annotators(weak: np.ndarray, labels: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """Draws from the weak network's softmax at temperature 2, the true class raised until the rate is right."""
    at, low, high = np.arange(len(labels)), -20.0, 40.0
    for _ in range(60):
        raised = weak.astype(np.float64) / 2
        raised[at, labels] += (low + high) / 2
        probs = np.exp(raised - raised.max(axis=1, keepdims=True))
        probs /= probs.sum(axis=1, keepdims=True)
        low, high = ((low + high) / 2, high) if 1 - probs[at, labels].mean() > rate else (low, (low + high) / 2)
    edges = probs.cumsum(axis=1)
    drawn = np.random.default_rng((seed, 6)).random(len(labels))[:, None] * edges[:, -1:]
    return np.asarray(np.minimum((drawn >= edges).sum(axis=1), probs.shape[1] - 1), np.int64)


def sets(base: Base, seed: int) -> Iterator[tuple[str, str, np.ndarray, bool]]:
    """Kind of noise, name, given labels, and whether probabilities are audited in place of features."""
    known = Known(name=base.name, features=base.features, labels=base.labels)
    strong, weak = out_of_fold(base.features, base.labels, seed), out_of_fold(base.weak, base.labels, seed, share=0.08)
    for rate in RATES:
        yield "margin", f"{rate:.0%}", by_margin(strong, base.labels, rate, seed, 0.0), False
        yield "soft margin", f"{rate:.0%}", by_margin(strong, base.labels, rate, seed, 0.7), rate == 0.1
        yield "annotators", f"{rate:.0%}", by_annotators(weak, base.labels, rate, seed), rate == 0.2
    yield "weak network", "", weak.argmax(axis=1), False
    for rate in (0.1, 0.2, 0.4):
        yield "by instance", f"{rate:.0%}", by_instance(known, rate, seed), False
    for rate in (0.05, 0.2, 0.4):
        yield "symmetric", f"{rate:.0%}", symmetric(known, rate, seed), False
    yield "asymmetric", "20%", asymmetric(known, 0.2, seed), False


def measure(
    base: Base, kind: str, name: str, given: np.ndarray, seed: int, *, as_probabilities: bool
) -> dict[str, Any]:
    """One audit."""
    wrong = given != base.labels
    options = AuditOptions(seed=seed)
    if as_probabilities:
        probs = np.exp(out_of_fold(base.features, given, seed + 50))
        found = audit_labels((), given, probabilities=probs, cut_counts=(FIRST,), options=options)
    else:
        found = audit_labels(base.features, given, cut_counts=(FIRST,), options=options)
    rate = found.noise_rate
    average = {
        score: float(average_precision_score(wrong, np.asarray(found.table[score])))
        for score in SCORES
        if score in found.table.column_names
    }
    order = np.argsort(-np.asarray(found.table["vote"]), kind="stable")
    first = next(cut for cut in found.cuts if cut.num_samples == FIRST)
    precisions = [float(wrong[order[: cut.num_samples]].mean()) for cut in found.cuts]
    return {
        "base": base.name,
        "kind": kind,
        "set": name + (", given P" if as_probabilities else ""),
        "true": float(wrong.mean()),
        "low": rate.low,
        "estimate": rate.estimate,
        "high": rate.high,
        "holds": bool(rate.low <= wrong.mean() <= rate.high),
        "factor": rate.high / rate.low,
        "told": found.estimators.told,
        "follows_class": found.estimators.follows_class,
        "average_precision": average,
        "cuts_held": float(
            np.mean([c.precision.low <= p <= c.precision.high for c, p in zip(found.cuts, precisions, strict=True)])
        ),
        "cuts_width": float(np.mean([cut.precision.high - cut.precision.low for cut in found.cuts])),
        "first": float(wrong[order[:FIRST]].mean()),
        "first_low": first.precision.low,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints a line a set, and one JSON object last."""
    parser = argparse.ArgumentParser(description="Ranges of the label audit on human-like noise.")
    parser.add_argument("--seeds", default="1", help="with commas")
    parser.add_argument("--bases", default="digits,fashion pixels,fashion lite0", help="with commas")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/shardtools-audit/fashion-lite0.npy"))
    chosen = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    for seed in map(int, chosen.seeds.split(",")):
        for base in bases(chosen.cache):
            if base.name not in chosen.bases.split(","):
                continue
            for kind, name, given, as_probabilities in sets(base, seed):
                row = measure(base, kind, name, given, seed, as_probabilities=as_probabilities)
                rows.append(row)
                scores = row["average_precision"]
                singles = {
                    score: value for score, value in scores.items() if score not in ("vote", "noise_probability")
                }
                best = max(singles, key=singles.__getitem__)
                print(
                    f"{base.name:15} {kind:13} {row['set']:13} true {row['true']:.3f} [{row['low']:.3f} "
                    f"{row['estimate']:.3f} {row['high']:.3f}] {'holds' if row['holds'] else 'MISSES'} vote "
                    f"{scores['vote']:.3f} best {best} {singles[best]:.3f} cuts {row['cuts_held']:.2f} first {FIRST}: "
                    f"{row['first']:.2f}, at least {row['first_low']:.2f}",
                    flush=True,
                )
    print(json.dumps({"summary": summary(rows)}))


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of both kinds of noise: ranges that hold, the widest, and the vote beside single scores."""
    found = {}
    for name, chosen in (
        ("like people", [row for row in rows if row["kind"] in LIKE_PEOPLE]),
        ("by class", [row for row in rows if row["kind"] not in LIKE_PEOPLE]),
    ):
        if not chosen:
            continue
        votes = np.array([row["average_precision"]["vote"] for row in chosen])
        names = set.intersection(*(set(row["average_precision"]) for row in chosen)) - {"vote", "noise_probability"}
        means = {one: float(np.mean([row["average_precision"][one] for row in chosen])) for one in names}
        best = np.array(
            [max(value for one, value in row["average_precision"].items() if one in names) for row in chosen]
        )
        found[name] = {
            "sets": len(chosen),
            "hold": float(np.mean([row["holds"] for row in chosen])),
            "widest_factor": max(row["factor"] for row in chosen),
            "median_factor": float(np.median([row["factor"] for row in chosen])),
            "cuts_held": float(np.mean([row["cuts_held"] for row in chosen])),
            "cuts_width": float(np.mean([row["cuts_width"] for row in chosen])),
            "first": float(np.mean([row["first"] for row in chosen])),
            "first_low": float(np.mean([row["first_low"] for row in chosen])),
            "estimate_off_by": float(np.mean([abs(row["estimate"] - row["true"]) for row in chosen])),
            "vote": float(votes.mean()),
            "best_single_on_average": max(means.items(), key=lambda item: item[1]),
            "vote_minus_best_of_each_set": float((votes - best).mean()),
            "least": float((votes - best).min()),
            "sets_below_by_005": int(((votes - best) < -0.005).sum()),
        }
    return found


if __name__ == "__main__":
    main()
