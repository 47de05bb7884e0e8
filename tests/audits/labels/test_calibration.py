"""The audit as a whole: finds planted noise, says how sure it is, and depends on nothing but data and seed."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

from shardtools.audits.labels.scores import SCORES, Audit, AuditOptions, audit_labels
from shardtools.errors import OptionError

NUM_CLASSES = 4
QUICK = AuditOptions(planted_rates=(0.1, 0.2), num_neighbors=20)


@functools.cache
def noisy(rate: float = 0.15, num_samples: int = 1500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, given labels, true labels: four blobs, near in pairs, labels flipped to any other class."""
    rng = np.random.default_rng(11)
    true = rng.integers(0, NUM_CLASSES, num_samples)
    centers = np.zeros((NUM_CLASSES, 12))
    centers[:, :3] = [[2, 2, 0], [2, -1, 2], [-2, 1.5, -2], [-2, -2, 1]]
    features = (centers[true] + rng.normal(size=(num_samples, 12))).astype(np.float16)
    flipped = rng.random(num_samples) < rate
    labels = np.where(flipped, (true + rng.integers(1, NUM_CLASSES, num_samples)) % NUM_CLASSES, true)
    return features, labels, true


@functools.cache
def audited() -> Audit:
    features, labels, _ = noisy()
    return audit_labels(features, labels, options=QUICK, cut_counts=(75, 150, 225))


def column(audit: Audit, name: str) -> np.ndarray:
    return np.asarray(audit.table[name])


def test_the_table_has_every_score_side_by_side() -> None:
    features, labels, _ = noisy()
    table = audited().table
    absent = {"training_doubt", "encoder_agreement", "brought_doubt"}
    assert set(table.column_names) == {
        *(set(SCORES) - absent), "row", "given_label", "suggested_label", "suggested_probability", "neighbors",
    }  # fmt: skip
    assert table.num_rows == len(features)
    assert table["given_label"].to_pylist() == labels.tolist()
    assert all(np.isfinite(column(audited(), name)).all() for name in set(SCORES) - absent)


def test_planted_noise_is_found_and_its_true_label_suggested() -> None:
    _, labels, true = noisy()
    wrong = labels != true
    order = np.argsort(-column(audited(), "vote"))
    assert wrong[order[: wrong.sum()]].mean() > 0.85
    assert wrong[order[:50]].all()
    sure = wrong & (column(audited(), "noise_probability") > 0.9)
    assert sure.sum() > 100
    assert (column(audited(), "suggested_label")[sure] == true[sure]).mean() > 0.9
    # Every score on its own is evidence: better than chance by far.
    for name in set(SCORES) - {"training_doubt", "encoder_agreement", "brought_doubt"}:
        ranks = np.argsort(np.argsort(column(audited(), name)))
        assert ranks[wrong].mean() > ranks[~wrong].mean() + 0.25 * len(labels), name


def test_estimated_precision_and_noise_rate_are_near_the_true_ones() -> None:
    _, labels, true = noisy()
    wrong = labels != true
    order = np.argsort(-column(audited(), "vote"), kind="stable")
    found = {cut.num_samples: cut for cut in audited().cuts}
    assert {75, 150, 225} <= set(found)
    for count in (75, 150, 225):
        actual = wrong[order[:count]].mean()
        # Beyond the number of wrong labels, 208, the share taken of each kind counts too: less is known.
        assert found[count].precision.estimate == pytest.approx(actual, abs=0.05 if count < 208 else 0.08)
        assert found[count].precision.low <= actual <= found[count].precision.high
    rate = audited().noise_rate
    assert rate.low <= wrong.mean() <= rate.high
    assert rate.estimate == pytest.approx(wrong.mean(), abs=0.03)


def test_cuts_trade_precision_for_recall() -> None:
    cuts = audited().cuts
    assert [cut.num_samples for cut in cuts] == sorted(cut.num_samples for cut in cuts)
    for narrow, wide in itertools.pairwise(cuts):
        assert narrow.precision.estimate >= wide.precision.estimate
        assert narrow.recall.estimate <= wide.recall.estimate
        assert narrow.threshold >= wide.threshold
        assert all(narrow.planted_recall[kind] <= wide.planted_recall[kind] for kind in narrow.planted_recall)
    for cut in cuts:
        assert cut.precision.low <= cut.precision.estimate <= cut.precision.high
        assert cut.recall.low <= cut.recall.estimate <= cut.recall.high


def test_a_permutation_of_rows_permutes_the_scores() -> None:
    features, labels, _ = noisy()
    shuffled = np.random.default_rng(3).permutation(len(labels))
    again = audit_labels(features[shuffled], labels[shuffled], options=QUICK, cut_counts=(75, 150, 225))
    for name in (*SCORES, "suggested_label", "suggested_probability"):
        if name in again.table.column_names:
            np.testing.assert_array_equal(column(again, name), column(audited(), name)[shuffled], err_msg=name)
    near = np.array(audited().table["neighbors"].to_pylist())
    np.testing.assert_array_equal(shuffled[np.array(again.table["neighbors"].to_pylist())], near[shuffled])
    assert again.cuts == audited().cuts
    assert again.noise_rate == audited().noise_rate


def test_clean_labels_have_few_suspects() -> None:
    features, _, true = noisy()
    found = audit_labels(features, true, options=QUICK)
    assert found.noise_rate.estimate < 0.05
    assert (column(found, "noise_probability") > 0.9).mean() < 0.05


def test_training_margins_and_a_second_encoder_are_columns_and_count() -> None:
    features, labels, true = noisy(num_samples=400)
    wrong = labels != true
    rng = np.random.default_rng(8)
    margins = np.where(wrong, -1.0, 1.0)[:, None] + rng.normal(size=(400, 5))
    margins[7] = np.nan
    other = (features.astype(np.float32) @ rng.normal(size=(12, 9))).astype(np.float32)
    found = audit_labels([features, other], labels, training_margins=margins, options=QUICK)
    doubts = found.table["training_doubt"].to_pylist()
    assert doubts[7] is None
    assert doubts[8] == pytest.approx(-margins[8].mean())
    assert (column(found, "encoder_agreement") <= column(found, "linear_doubt") + 1e-6).all()
    assert {"linear_0", "linear_1"} <= set(found.vote_weights)
    order = np.argsort(-column(found, "vote"))
    assert wrong[order[: wrong.sum()]].mean() > 0.85
    # The probability still rises with the vote.
    assert (np.diff(column(found, "noise_probability")[order]) <= 1e-6).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (np.where(np.arange(len(x))[:, None] == 3, np.nan, x), y), "found nan at row 3, column 0"),
        (lambda x, y: (x, np.where(np.arange(len(y)) == 9, 5, y)), "found fewer in 2: 4 .0., 5 .1."),
        (lambda x, y: (x, np.where(np.arange(len(y)) == 2, -1, y)), "labels are 0 to 3, found -1 at row 2"),
        (lambda x, y: (x[:4], y[:4]), "at least 5 samples, found 4"),
        (lambda x, y: (x[:8], np.arange(8) % 2), "more than 10 samples, found 8"),
        (lambda x, y: (x, y[:-1]), "one for each of 1500 samples"),
        (lambda x, y: (x, y.astype(np.float32)), "labels are whole numbers"),
        (lambda x, y: (x, np.zeros(len(y), int)), "at least 2 classes, found 1"),
        (lambda x, y: ([x, x[:-1]], y), "found .1500, 1499. rows"),
        (lambda x, y: ([], y), "at least one encoder"),
    ],
)
def test_what_cannot_be_audited_is_refused_in_one_line(change: object, message: str) -> None:
    features, labels, _ = noisy()
    changed_features, changed_labels = change(features, labels)  # type: ignore[operator]
    with pytest.raises(OptionError, match=message) as caught:
        audit_labels(changed_features, changed_labels, options=QUICK)
    assert "\n" not in str(caught.value)


def test_labels_beyond_the_number_of_classes_and_bad_margins_are_refused() -> None:
    features, labels, _ = noisy()
    with pytest.raises(OptionError, match="labels are 0 to 2, found 3 at row"):
        audit_labels(features, labels, num_classes=3, options=QUICK)
    with pytest.raises(OptionError, match=r"training margins are an array .1500, epochs., found .1500,."):
        audit_labels(features, labels, training_margins=np.zeros(1500), options=QUICK)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"num_folds": 1}, "num_folds"),
        ({"num_dimensions": 0}, "num_dimensions"),
        ({"num_neighbors": 5}, "num_neighbors"),
        ({"planted_rates": (0.1, 0.9)}, "planted_rates"),
        ({"planted_rates": ()}, "planted_rates"),
        ({"confidence": 1.0}, "confidence"),
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        AuditOptions(**wrong)  # type: ignore[arg-type]
