"""Shares of right answers by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import (
    Share,
    background_gap,
    top_k_accuracy,
)


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


def test_the_gap_of_backgrounds() -> None:
    assert background_gap(0.825, 0.753) == pytest.approx(0.072)
