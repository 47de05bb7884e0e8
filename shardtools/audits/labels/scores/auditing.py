"""The audit of a dataset's labels: every score side by side, a calibrated vote, and what to expect of it.

Owns the order of work and the table. Everything happens in the canonical order of rows and is handed back in the order
given. The price of calibrating on the dataset itself: the models run once more for each planted rate, from a warm
start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.arrays import Float32s, Float64s, Int64s
from shardtools.audits.labels.scores.calibration import Calibration, Cut, Interval, calibrate, cuts
from shardtools.audits.labels.scores.checking import check_dataset, check_margins
from shardtools.audits.labels.scores.confident import confident_joint, confident_scores
from shardtools.audits.labels.scores.dynamics import area_under_margin, margin_log_odds
from shardtools.audits.labels.scores.evidence import Encoded, Pass, evidence_names, run_pass
from shardtools.audits.labels.scores.folds import canonical_order, stratified_folds
from shardtools.audits.labels.scores.linear import one_hot
from shardtools.audits.labels.scores.neighbors import class_votes, cosine_doubts, rank_margins, vote_margins
from shardtools.audits.labels.scores.options import AuditOptions
from shardtools.audits.labels.scores.planting import plant
from shardtools.audits.labels.scores.projection import project
from shardtools.audits.labels.scores.voting import Vote, learn_vote
from shardtools.features.checking import Features
from shardtools.features.neighbors import knn_graph

SCORES = {
    "linear_doubt": "1 minus the linear model's out-of-fold probability of the given label (self-confidence)",
    "linear_margin": "largest out-of-fold probability of another class minus the given label's",
    "confident_learning": "linear_doubt, plus 1 where confident learning prunes the sample by noise rate",
    "kernel_doubt": "1 minus the kernel model's out-of-fold probability of the given label",
    "knn_doubt": "share of the 10 nearest neighbours with another label",
    "knn_weighted_doubt": "the same over all neighbours found, nearer ones counting more",
    "simifeat_vote": "votes of the strongest other class minus the given one's; above 0 SimiFeat-V calls it wrong",
    "simifeat_rank": "rank within the label minus SimiFeat-R's cut at the mixture's rates; above 0 it calls it wrong",
    "prototype_margin": "cosine to the nearest other class mean minus that to the own, means trimmed",
    "mixture_doubt": "probability that the label is wrong by the noise-aware mixture of linear model and neighbours",
    "second_doubt": "the same after models were fitted again to what the mixture believes",
    "training_doubt": "minus the area under the margin of a training (only where margins are given)",
    "encoder_agreement": "the smaller linear_doubt of two encoders: both say so (only with two encoders)",
    "vote": "all of these, weighed as planted noise teaches; sort by it",
    "noise_probability": "calibrated probability that the given label is wrong",
}
"""Column -> meaning; larger is always more suspect."""
_SIMIFEAT_NEIGHBORS = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audit:
    """What an audit found.

    Attributes:
        table: A row a sample in the order given: `row`, `given_label`, the columns of `SCORES`, `suggested_label`,
            `suggested_probability`, and `neighbors`, the rows of the 10 nearest others.
        noise_rate: Share of wrong labels.
        cuts: What to expect of taking the most suspect labels, at several numbers and thresholds, rising.
        confident_noise_rate: Noise rate as confident learning has it, for comparison.
        transition: P(given | true) as the mixture has it, [C, C].
        vote_weights: Evidence -> its mean weight in the vote, in units of its standard deviation.
    """

    table: pa.Table
    noise_rate: Interval
    cuts: list[Cut]
    confident_noise_rate: float
    transition: Float64s
    vote_weights: dict[str, float]


def audit_labels(
    features: Features | Sequence[Features],
    labels: npt.ArrayLike,
    *,
    num_classes: int | None = None,
    training_margins: npt.ArrayLike | None = None,
    cut_counts: Sequence[int] = (),
    options: AuditOptions | None = None,
) -> Audit:
    """Scores every label of a dataset.

    Args:
        features: [N, D] of any floating type, memory-mapped or not; or several encoders', each [N, D].
        labels: Given labels, 0 to C - 1, [N].
        num_classes: C; one more than the largest label if not given.
        training_margins: Margins of a training on these labels, [N, epochs], NaN where not seen.
        cut_counts: Numbers of samples k at which precision is estimated, beside the usual ones.
        options: How to work.

    Raises:
        OptionError: Features that are not finite or do not fit the labels, a class with fewer than 2 samples, labels
            out of range, or fewer samples than folds.
    """
    options = options or AuditOptions()
    encoders: list[Features] = [features] if isinstance(features, np.ndarray) else list(features)
    given, count = check_dataset(encoders, labels, num_classes, options)
    margins = None if training_margins is None else check_margins(training_margins, len(given))
    # From here to `_table` rows stand in canonical order, so that the order given changes no result.
    order, groups = canonical_order(encoders, given, options.seed)
    ordered = given[order]
    folds = stratified_folds(ordered, groups, options.num_folds)
    encoded = [_encode(one, order, options) for one in encoders]
    found = run_pass(encoded, ordered, folds, count)
    # One pass over the labels as given has found what seems wrong; noise planted in the likeness of that now teaches
    # how far each kind of evidence can be trusted.
    vote, calibration, plantings = _learn(encoded, ordered, folds, count, found, options)
    votes, probabilities = vote.votes, calibration.probabilities
    if margins is not None:
        # The training saw the given labels, so its word cannot be learnt with the others: it is added to their verdict.
        areas = area_under_margin(margins[order])
        added = margin_log_odds(areas, probabilities)
        votes = votes + added
        odds = probabilities / np.maximum(1 - probabilities, 1e-9) * np.exp(added)
        probabilities = odds / (1 + odds)
        # Rising with the vote again, so that a threshold is a cut.
        calibration = _rising(calibration, votes, probabilities)
        probabilities = calibration.probabilities
    columns, confident_rate = _scores(encoded, ordered, count, found)
    if margins is not None:
        columns["training_doubt"] = -areas
    columns |= {"vote": votes, "noise_probability": probabilities}
    columns |= _suggestions(found.posterior, ordered, probabilities)
    usual = [max(1, round(calibration.noise_rate.estimate * len(given) * share)) for share in (0.25, 0.5, 1.0, 1.5)]
    return Audit(
        table=_table(columns, encoded[0], order, ordered),
        noise_rate=calibration.noise_rate,
        cuts=cuts(
            votes,
            calibration,
            plantings,
            vote.planted_votes,
            counts=(*cut_counts, *usual),
            confidence=options.confidence,
        ),
        confident_noise_rate=confident_rate,
        transition=found.mixtures[0].transition,
        vote_weights=dict(zip(evidence_names(len(encoded)), vote.weights.mean(axis=0).tolist(), strict=True)),
    )


def _encode(features: Features, order: Int64s, options: AuditOptions) -> Encoded:
    projected = project(features, order, options.num_dimensions)
    neighbors = knn_graph(projected, min(options.num_neighbors, len(projected) - 1))
    return Encoded(features=projected, neighbors=neighbors)


def _learn(
    encoded: Sequence[Encoded], labels: Int64s, folds: Int64s, num_classes: int, found: Pass, options: AuditOptions
) -> tuple[Vote, Calibration, list[Any]]:
    """Plants noise at each rate, runs the models again, and learns vote and calibration from what is known."""
    plantings, doubts = [], []
    for index, rate in enumerate(options.planted_rates):
        planted = plant(labels, found.posterior, found.mixtures[0].transition, rate=rate, seed=(options.seed, 7, index))
        plantings.append(planted)
        doubts.append(run_pass(encoded, planted.labels, folds, num_classes, found).doubts)
    vote = learn_vote(
        found.doubts,
        folds,
        plantings,
        doubts,
        believed=found.believed,
        anchor=evidence_names(len(encoded)).index("second_mixture"),
    )
    calibration = calibrate(
        vote.votes,
        plantings,
        vote.planted_votes,
        mixture_doubts=found.believed,
        confidence=options.confidence,
        seed=options.seed,
    )
    return vote, calibration, plantings


def _rising(calibration: Calibration, votes: Float64s, probabilities: Float64s) -> Calibration:
    order = np.argsort(votes, kind="stable")
    rising = np.empty_like(probabilities)
    rising[order] = np.maximum.accumulate(probabilities[order])
    scale = calibration.scale
    return Calibration(
        probabilities=rising,
        noise_rate=calibration.noise_rate,
        scale=scale,
        ratios=rising / max(scale.estimate, 1e-9),
        believed=rising,
    )


def _scores(
    encoded: Sequence[Encoded], labels: Int64s, num_classes: int, found: Pass
) -> tuple[dict[str, npt.NDArray[Any]], float]:
    """Each score on its own, of the first encoder where there are two, and confident learning's noise rate."""
    rows = np.arange(len(labels))
    probs = np.exp(found.linear[0])
    doubt = 1 - probs[rows, labels]
    others = probs.copy()
    others[rows, labels] = -1
    joint = confident_joint(probs, labels)
    targets = one_hot(labels, num_classes)
    near = encoded[0].neighbors
    count = near.rows.shape[1]
    votes = class_votes(near, targets, num_neighbors=min(_SIMIFEAT_NEIGHBORS, count))
    wide = class_votes(near, targets, num_neighbors=count, by_distance=True)
    doubts = cosine_doubts(votes, labels)
    first = 1 - found.posterior[rows, labels]
    rates = np.array([first[labels == label].mean() for label in range(num_classes)])
    names = evidence_names(len(encoded))
    columns: dict[str, npt.NDArray[Any]] = {
        "linear_doubt": doubt,
        "linear_margin": others.max(axis=1) - probs[rows, labels],
        "confident_learning": confident_scores(probs, labels, joint),
        "kernel_doubt": 1 / (1 + np.exp(-found.doubts[:, names.index("kernel_0")])),
        "knn_doubt": 1 - votes[rows, labels],
        "knn_weighted_doubt": 1 - wide[rows, labels],
        "simifeat_vote": vote_margins(votes, labels),
        "simifeat_rank": rank_margins(doubts, labels, rates),
        "prototype_margin": found.doubts[:, names.index("prototype_0")],
        "mixture_doubt": first,
        "second_doubt": 1 / (1 + np.exp(-found.doubts[:, names.index("second_mixture")])),
    }
    if len(encoded) > 1:
        own = np.stack([1 - np.exp(model[rows, labels]) for model in found.linear])
        columns["encoder_agreement"] = own.min(axis=0)
    return columns, joint.noise_rate


def _suggestions(posterior: Float32s, labels: Int64s, probabilities: Float64s) -> dict[str, npt.NDArray[Any]]:
    """The likeliest class when the given label has 1 - noise probability and the others share the rest."""
    rows = np.arange(len(labels))
    others = posterior.astype(np.float64)
    others[rows, labels] = 0
    best = others.argmax(axis=1)
    shares = probabilities * others[rows, best] / np.maximum(others.sum(axis=1), 1e-30)
    changed = shares > 1 - probabilities
    return {
        "suggested_label": np.where(changed, best, labels),
        "suggested_probability": np.where(changed, shares, 1 - probabilities),
    }


def _table(columns: dict[str, npt.NDArray[Any]], encoded: Encoded, order: Int64s, labels: Int64s) -> pa.Table:
    """Columns in the order that was given."""
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    arrays: dict[str, pa.Array] = {"row": pa.array(np.arange(len(order))), "given_label": pa.array(labels[places])}
    for name, column in columns.items():
        kind = np.int64 if name == "suggested_label" else np.float32
        arrays[name] = pa.array(column[places].astype(kind), from_pandas=name == "training_doubt")
    shown = min(_SIMIFEAT_NEIGHBORS, encoded.neighbors.rows.shape[1])
    near = order[encoded.neighbors.rows[places, :shown]]
    arrays["neighbors"] = pa.FixedSizeListArray.from_arrays(pa.array(near.ravel()), shown)
    return pa.table(arrays)
