"""Shares of right answers by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import (
    Share,
    accuracy_by_group,
    background_gap,
    top_k_accuracy,
    worst_groups_accuracy,
)

ANSWERS = st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=40)


def test_the_label_is_among_the_likeliest() -> None:
    rank = [1, 2, 1, 6, 5]
    assert top_k_accuracy(rank, 1) == Share(2, 5)
    assert top_k_accuracy(rank, 5) == Share(4, 5)


@given(st.lists(st.integers(1, 10), min_size=1))
def test_more_places_never_lose(rank: list[int]) -> None:
    shares = [top_k_accuracy(rank, k).num for k in range(1, 11)]
    assert shares == sorted(shares) and shares[-1] == len(rank)


@pytest.mark.parametrize(("rank", "k"), [([], 1), ([0, 1], 1), ([1], 0)])
def test_ranks_that_are_none(rank: list[int], k: int) -> None:
    with pytest.raises(OptionError, match="ranks from 1 on"):
        top_k_accuracy(rank, k)


def test_groups_by_hand() -> None:
    found = accuracy_by_group([True, False, True, True], ["sea", "sea", "sky", "sea"])
    assert found == {"sea": Share(2, 3), "sky": Share(1, 1)}
    assert worst_groups_accuracy([True, False, True, True], ["sea", "sea", "sky", "sea"], num_worst=1) == Share(2, 3)
    assert worst_groups_accuracy([True, False, True, True], ["sea", "sea", "sky", "sea"]) == Share(3, 4)


@given(ANSWERS)
def test_groups_hold_every_sample_once(answers: list[tuple[bool, int]]) -> None:
    correct, groups = map(np.array, zip(*answers, strict=True))
    found = accuracy_by_group(correct, groups)
    assert sum(share.of for share in found.values()) == len(answers)
    assert sum(share.num for share in found.values()) == correct.sum()
    # Each number of worst groups adds a better one.
    means = [worst_groups_accuracy(correct, groups, num_worst=n).value for n in range(1, len(found) + 1)]
    assert np.all(np.diff(means) >= -1e-12)


def test_groups_of_other_samples() -> None:
    with pytest.raises(OptionError, match="2 answers and 1 groups"):
        accuracy_by_group([True, False], ["sea"])
    with pytest.raises(OptionError, match="worst 100 of 0"):
        worst_groups_accuracy([], [])


def test_the_gap_of_backgrounds() -> None:
    assert background_gap(0.825, 0.753) == pytest.approx(0.072)
