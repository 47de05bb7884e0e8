"""The draws of a probe: how many of each class, and on what they depend."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from shardtools.evaluation.probes.splitting import draw_balanced, draw_parts
from shardtools.loader import hash_keys

labelings = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda found: np.array(found, np.int64))


def hashes(labels: np.ndarray) -> np.ndarray:
    return hash_keys(pa.array([f"image-{number}" for number in range(len(labels))]))


@given(labels=labelings, seed=st.integers(0, 2**32 - 1), shots=st.none() | st.integers(1, 9))
def test_a_fifth_of_each_class_validates_and_the_rest_is_learnt_from(
    labels: np.ndarray, seed: int, shots: int | None
) -> None:
    drawn = draw_parts(hashes(labels), labels, seed=seed, shots=shots)
    assert not set(drawn.train) & set(drawn.validation)
    for label in np.unique(labels):
        count = int((labels == label).sum())
        # At least one of two and more; an image that is alone in its class is learnt from.
        fifth = max(int(0.2 * count), 1) if count > 1 else 0
        assert (labels[drawn.validation] == label).sum() == fifth
        assert (labels[drawn.train] == label).sum() == min(shots or count, count - fifth)
        assert (labels[drawn.final] == label).sum() == min(shots or count, count)


@given(labels=labelings, seed=st.integers(0, 99), dropped=st.integers(0, 4))
def test_a_subset_of_classes_draws_alike(labels: np.ndarray, seed: int, dropped: int) -> None:
    keys, kept = hashes(labels), np.flatnonzero(labels != dropped)
    whole, part = (draw_parts(keys[rows], labels[rows], seed=seed, shots=2) for rows in (np.arange(len(labels)), kept))
    for name in ("train", "validation", "final"):
        of_whole = getattr(whole, name)
        assert np.array_equal(of_whole[labels[of_whole] != dropped], kept[getattr(part, name)])


def test_fewer_shots_lie_in_more_and_seeds_differ() -> None:
    labels = np.arange(300) % 3
    one, four = (draw_parts(hashes(labels), labels, seed=22, shots=shots) for shots in (1, 4))
    assert set(one.train) < set(four.train)
    assert set(one.final) < set(four.final)
    assert set(one.train) != set(one.final)
    other = draw_parts(hashes(labels), labels, seed=37, shots=4)
    assert set(other.validation) != set(four.validation)
    assert set(other.train) != set(four.train)


def test_a_split_that_validates_is_taken_as_it_is_and_learnt_from_at_the_end() -> None:
    labels, given = np.arange(12) % 2, np.arange(12) >= 8
    drawn = draw_parts(hashes(labels), labels, seed=22, shots=None, given=given)
    assert drawn.train.tolist() == list(range(8))
    assert drawn.validation.tolist() == list(range(8, 12))
    assert drawn.final.tolist() == list(range(12))


def test_balanced_classes_have_so_many_images_each() -> None:
    labels = np.repeat([0, 1, 2], [9, 5, 6])
    kept = draw_balanced(hashes(labels), labels, 5)
    assert np.bincount(labels[kept]).tolist() == [5, 5, 5]
