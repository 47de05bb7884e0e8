"""The audit of a dataset's labels: every score side by side, a calibrated vote, and what to expect of it.

Owns the order of work and the table. Everything happens in the canonical order of rows and is handed back in the order
given. The price of calibrating on the dataset itself: the models run once more for each planted rate, from a warm
start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.arrays import Float32s, Float64s, Int64s
from shardtools.audits.labels.scores.calibration import Calibration, Cut, Interval, calibrate, cuts
from shardtools.audits.labels.scores.checking import (
    check_copies,
    check_dataset,
    check_fit,
    check_groups,
    check_margins,
    check_probabilities,
)
from shardtools.audits.labels.scores.clarity import Clarity, all_against, by_clarity
from shardtools.audits.labels.scores.confident import confident_joint, confident_scores
from shardtools.audits.labels.scores.dynamics import area_under_margin, margin_log_odds
from shardtools.audits.labels.scores.evidence import (
    NEAREST,
    Encoded,
    Pass,
    encode,
    evidence_names,
    nearest_votes,
    of_groups,
    run_pass,
)
from shardtools.audits.labels.scores.folds import canonical_order, stratified_folds
from shardtools.audits.labels.scores.linear import log_of, one_hot
from shardtools.audits.labels.scores.neighbors import class_votes, cosine_doubts, rank_margins, vote_margins
from shardtools.audits.labels.scores.options import AuditOptions
from shardtools.audits.labels.scores.planting import Planted, plant, plant_hard
from shardtools.audits.labels.scores.projection import log_ratios, project
from shardtools.audits.labels.scores.ranging import Estimators, with_range
from shardtools.audits.labels.scores.voting import Said, Vote, blend_votes, learn_vote, lesson, plain_opinions
from shardtools.features.checking import Features

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
    "brought_doubt": "1 minus the given label's probability by the models brought, on average (only with those)",
    "encoder_agreement": "the smaller linear_doubt of two encoders: both say so (only with two encoders)",
    "vote": "all of these, weighed as planted noise teaches; sort by it",
    "noise_probability": "calibrated probability that the given label is wrong",
}
"""Column -> meaning; larger is always more suspect."""
_MODELS = ("linear", "kernel", "narrow", "wide", "brought")
"""Evidence that is a model's log odds."""
_SLIGHT, _GREAT = 0.06, 0.12
"""Average precision gained on planted labels by what was learnt: nothing special below, decisive above."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audit:
    """What an audit found.

    Attributes:
        table: A row a sample in the order given: `row`, `given_label`, the columns of `SCORES`, `suggested_label`,
            `suggested_probability`, and `neighbors`, the rows of the 10 nearest others.
        noise_rate: Share of wrong labels.
        cuts: What to expect of taking the most suspect labels, at several numbers and thresholds, rising.
        confident_noise_rate: Noise rate as confident learning has it, for comparison.
        estimators: That, and what the other estimators say; where they part, the noise rate is a range.
        transition: P(given | true) as the mixture has it, [C, C].
        vote_weights: Evidence -> its mean weight in the vote, in units of its standard deviation.
    """

    table: pa.Table
    noise_rate: Interval
    cuts: list[Cut]
    confident_noise_rate: float
    estimators: Estimators
    transition: Float64s
    vote_weights: dict[str, float]


def audit_labels(
    features: Features | Sequence[Features],
    labels: npt.ArrayLike,
    *,
    probabilities: npt.NDArray[Any] | Sequence[npt.ArrayLike] = (),
    copies: npt.ArrayLike | None = None,
    num_classes: int | None = None,
    training_margins: npt.ArrayLike | None = None,
    cut_counts: Sequence[int] = (),
    options: AuditOptions | None = None,
) -> Audit:
    """Scores every label of a dataset.

    Args:
        features: [N, D] of any floating type, memory-mapped or not; or several encoders', each [N, D]. None, (), where
            there are probabilities: neighbours are then sought among these.
        labels: Given labels, 0 to C - 1, [N].
        probabilities: Of a model that has not seen the sample it judges (out of fold), [N, C]; or of several, each
            [N, C].
        copies: A number for each picture, the same for exact copies, [N]; `None` knows copies by equal features.
        num_classes: C; one more than the largest label if not given.
        training_margins: Margins of a training on these labels, [N, epochs], NaN where not seen.
        cut_counts: Numbers of samples k at which precision is estimated, beside the usual ones.
        options: How to work.

    Raises:
        OptionError: Features that are not finite or do not fit the labels, a class with fewer than 2 samples, labels
            out of range, or fewer samples than folds.
    """
    options = options or AuditOptions()
    audited = _audited(features, labels, probabilities, copies, num_classes, training_margins, options)
    ordered = audited.labels
    found = run_pass(audited.encoded, ordered, audited.folds, audited.num_classes, brought=audited.brought)
    # One pass over the labels as given has found what seems wrong; noise planted in the likeness of that now teaches
    # how far each kind of evidence can be trusted.
    vote, calibration, estimators, plantings = _learn(audited, found, options)
    votes, columns = vote.votes, _scores(audited, found)
    if audited.areas is not None:
        # The training saw the given labels, so its word cannot be learnt with the others: it is added to their verdict.
        added = margin_log_odds(audited.areas, calibration.probabilities)
        votes = votes + added
        calibration = _with_margins(calibration, votes, added)
        columns["training_doubt"] = -audited.areas
    if audited.brought:
        own = [model[np.arange(len(ordered)), ordered] for model in audited.brought]
        columns["brought_doubt"] = 1 - np.exp(own).mean(axis=0)
    columns |= {"vote": votes, "noise_probability": calibration.probabilities}
    columns |= _suggestions(found.posterior, ordered, calibration.probabilities)
    usual = [max(1, round(calibration.noise_rate.estimate * len(ordered) * share)) for share in (0.25, 0.5, 1.0, 1.5)]
    counts, confidence = (*cut_counts, *usual), options.confidence
    names = evidence_names(len(audited.encoded), len(audited.brought))
    return Audit(
        table=_table(columns, audited),
        noise_rate=calibration.noise_rate,
        cuts=cuts(votes, calibration, plantings, vote.planted_votes, counts=counts, confidence=confidence),
        confident_noise_rate=estimators.confident_learning,
        estimators=estimators,
        transition=found.mixtures[0].transition,
        vote_weights=dict(zip(names, vote.weights.mean(axis=0).tolist(), strict=True)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Audited:
    """What is audited, checked. Rows stand in canonical order, so that the order given changes no result.

    Attributes:
        order: Row in the order given of each row here, [N].
        labels: Given labels, [N].
        folds: Of each row, [N].
        num_classes: C.
        encoded: One or more encoders' samples.
        by_features: Whether those are of features, not of the probabilities brought.
        brought: Log probabilities of models fitted elsewhere, each [N, C].
        areas: Under the margins of a training, where there was one, [N].
    """

    order: Int64s
    labels: Int64s
    folds: Int64s
    num_classes: int
    encoded: list[Encoded]
    by_features: bool
    brought: list[Float32s]
    areas: Float64s | None


def _audited(
    features: Features | Sequence[Features],
    labels: npt.ArrayLike,
    probabilities: npt.NDArray[Any] | Sequence[npt.ArrayLike],
    copies: npt.ArrayLike | None,
    num_classes: int | None,
    training_margins: npt.ArrayLike | None,
    options: AuditOptions,
) -> _Audited:
    """Checks what `audit_labels` was given, all of it before anything is computed."""
    encoders: list[Features] = [features] if isinstance(features, np.ndarray) else list(features)
    brought = check_probabilities(probabilities)
    by_features = bool(encoders)
    if not encoders and brought:
        encoders = [log_ratios(brought)]
        # Sure models give many pictures the same probabilities: equal ones are no sign of a copy.
        copies = np.arange(len(encoders[0])) if copies is None else copies
    given, count = check_dataset(encoders, labels, num_classes or (brought[0].shape[1] if brought else None), options)
    check_fit(brought, len(given), count)
    numbers = None if copies is None else check_copies(copies, len(given))
    margins = None if training_margins is None else check_margins(training_margins, len(given))
    order, groups = canonical_order(encoders, given, options.seed, numbers)
    check_groups(groups)
    ordered = given[order]
    projected = (project(one, order, options.num_dimensions) for one in encoders)
    return _Audited(
        order=order,
        labels=ordered,
        folds=stratified_folds(ordered, groups, options.num_folds),
        num_classes=count,
        encoded=[encode(one, groups, options.num_neighbors) for one in projected],
        by_features=by_features,
        brought=[log_of(one[order]) for one in brought],
        areas=None if margins is None else area_under_margin(margins[order]),
    )


def _learn(
    audited: _Audited, found: Pass, options: AuditOptions
) -> tuple[Vote, Calibration, Estimators, list[Planted]]:
    """Plants noise at each rate, runs the models again, and learns vote and calibration from what is known."""
    labels, folds, brought = audited.labels, audited.folds, audited.brought
    plantings = [
        plant(labels, found.posterior, found.mixtures[0].transition, rate=rate, seed=(options.seed, 7, index))
        for index, rate in enumerate(options.planted_rates)
    ]
    probabilities = found.mixtures[0].true_probabilities(found.models)
    hard = plant_hard(labels, probabilities, found.posterior, rate=options.hard_rate, seed=(options.seed, 8))
    *passes, hard_pass = (
        run_pass(audited.encoded, planted.labels, folds, audited.num_classes, brought=brought, before=found)
        for planted in (*plantings, hard)
    )
    doubts = [one.doubts for one in passes]
    names = evidence_names(len(audited.encoded), len(brought))
    anchor = names.index("second_mixture")
    own = learn_vote(found.doubts, folds, plantings, doubts, believed=found.believed, anchor=anchor)
    wider = learn_vote(
        found.doubts, folds, [*plantings, hard], [*doubts, hard_pass.doubts], believed=found.believed, anchor=anchor
    )
    clarity = by_clarity(probabilities, labels)
    estimators, model_doubts = _estimate(found, labels, brought, clarity)
    models, kernels = (
        [index for index, name in enumerate(names) if name.startswith(kind)] for kind in (_MODELS, "kernel")
    )
    tables = [Said(doubts=one.doubts, margins=one.margins, near=one.near) for one in (found, *passes)]
    opinions = plain_opinions(tables, models=models, kernels=kernels, by_features=audited.by_features)
    # Where noise follows the class, what planted noise taught; the less is told of that, the more what models just say.
    # Planted in the likeness of noise between few pairs of classes, it teaches so much that it decides once more.
    taught = float(np.clip((lesson(own, opinions, plantings, found.believed) - _SLIGHT) / (_GREAT - _SLIGHT), 0, 1))
    share = (1 - estimators.follows_class) * (1 - estimators.told * (2 + taught) / 3)
    vote = blend_votes(own, wider, opinions, columns=models, share=share)
    calibration = calibrate(
        vote.votes,
        plantings,
        vote.planted_votes,
        mixture_doubts=found.believed,
        confidence=options.confidence,
        seed=options.seed,
    )
    ranged = with_range(calibration, vote.votes, model_doubts, estimators, clarity, confidence=options.confidence)
    return vote, ranged, estimators, plantings


def _estimate(
    found: Pass, labels: Int64s, brought: Sequence[Float32s], clarity: Clarity
) -> tuple[Estimators, Float64s]:
    """What share of labels is wrong by each estimator, and how much the models doubt each label on average, [N]."""
    disagreement = min(float((model.argmax(axis=1) != labels).mean()) for model in found.models)
    own = np.mean([np.exp(model[np.arange(len(labels)), labels].astype(np.float64)) for model in found.models], axis=0)
    joint = confident_joint(np.exp(brought[0] if brought else found.linear[0]), labels)
    estimators = Estimators(
        mixture=float(found.believed.mean()),
        confident_learning=joint.noise_rate,
        disagreement=disagreement,
        agreed=min(all_against(models, labels) for models in found.of_encoders()),
        clear=clarity.noise,
        clear_labels=clarity.noise * len(labels) / len(clarity.contradicted),
        unexpected=clarity.unexpected,
    )
    return estimators, 1 - own


def _with_margins(calibration: Calibration, votes: Float64s, added: Float64s) -> Calibration:
    """A calibration of the evidence and a training's word, which is added to the log odds of each label, [N]."""
    order = np.argsort(votes, kind="stable")

    def weighed(probabilities: Float64s) -> Float64s:
        odds = probabilities / np.maximum(1 - probabilities, 1e-9) * np.exp(added)
        rising = np.empty_like(odds)
        # Rising with the vote again, so that a threshold is a cut.
        rising[order] = np.maximum.accumulate((odds / (1 + odds))[order])
        return rising

    lows, middle, highs = map(weighed, (calibration.lows, calibration.probabilities, calibration.highs))
    # The training moves the rate as it moves the mean probability.
    rate = calibration.noise_rate
    changes = [
        float(new.mean()) / max(float(old.mean()), 1e-12)
        for new, old in (
            (lows, calibration.lows),
            (middle, calibration.probabilities),
            (highs, calibration.highs),
        )
    ]
    low, estimate, high = (
        min(1.0, value * change) for value, change in zip((rate.low, rate.estimate, rate.high), changes, strict=True)
    )
    return replace(
        calibration,
        probabilities=middle,
        lows=lows,
        highs=highs,
        noise_rate=Interval(low=min(low, estimate), estimate=estimate, high=max(high, estimate)),
    )


def _scores(audited: _Audited, found: Pass) -> dict[str, npt.NDArray[Any]]:
    """Each score on its own, of the first encoder where there are two."""
    labels, num_classes, encoder = audited.labels, audited.num_classes, audited.encoded[0]
    rows = np.arange(len(labels))
    probs = np.exp(found.linear[0])
    doubt = 1 - probs[rows, labels]
    others = probs.copy()
    others[rows, labels] = -1
    joint = confident_joint(probs, labels)
    targets = one_hot(labels, num_classes)
    votes = nearest_votes(encoder, targets)
    voting = of_groups(targets, encoder.groups)
    wide = class_votes(encoder.neighbors, voting, num_neighbors=encoder.neighbors.rows.shape[1], by_distance=True)
    doubts = cosine_doubts(votes, labels)
    first = 1 - found.posterior[rows, labels]
    rates = np.array([first[labels == label].mean() for label in range(num_classes)])
    names = evidence_names(len(audited.encoded))
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
    if len(audited.encoded) > 1:
        own = np.stack([1 - np.exp(model[rows, labels]) for model in found.linear])
        columns["encoder_agreement"] = own.min(axis=0)
    return columns


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


def _table(columns: dict[str, npt.NDArray[Any]], audited: _Audited) -> pa.Table:
    """Columns in the order that was given."""
    order, labels, encoded = audited.order, audited.labels, audited.encoded[0]
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    arrays: dict[str, pa.Array] = {"row": pa.array(np.arange(len(order))), "given_label": pa.array(labels[places])}
    for name, column in columns.items():
        kind = np.int64 if name == "suggested_label" else np.float32
        arrays[name] = pa.array(column[places].astype(kind), from_pandas=name == "training_doubt")
    shown = min(NEAREST, encoded.neighbors.rows.shape[1])
    near = order[encoded.neighbors.rows[places, :shown]]
    arrays["neighbors"] = pa.FixedSizeListArray.from_arrays(pa.array(near.ravel()), shown)
    return pa.table(arrays)
