"""The envelope of training against transfer: by hand, as a hull, and that of the thesis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, QhullError

from shardtools.evaluation.published import read_rows
from shardtools.evaluation.transfer import published_points, upper_hull


def test_the_envelope_of_table_d1_is_the_thesiss() -> None:
    """Figure 4.7 marks six models with stars; table D.1 has them as those on the convex hull."""
    rows = read_rows("trex_transfer")
    points = [(float(row["imagenet"]), float(row["mean_log_odds"])) for row in rows]
    found = {rows[number]["model"] for number in upper_hull(points)}
    assert found == {row["model"] for row in rows if row["group"] == "ours_convex_hull"} and len(found) == 6


def test_by_hand() -> None:
    assert upper_hull([]) == []
    assert upper_hull([(1, 1)]) == [0]
    assert upper_hull([(1, 1), (1, 1)]) == [0]
    # One that is best on both axes stands alone.
    assert upper_hull([(0, 0), (2, 2), (1, 3), (3, 4)]) == [3]
    # The middle one is above the line of the others, on it, below it.
    assert upper_hull([(0, 2), (1.5, 1.5), (2, 0)]) == [0, 1, 2]
    assert upper_hull([(0, 2), (1, 1), (2, 0)]) == [0, 2]
    assert upper_hull([(0, 2), (0.9, 0.9), (2, 0)]) == [0, 2]
    # Of models with one accuracy in training only the one that transfers best counts.
    assert upper_hull([(2, 0), (2, 1), (0, 3), (0, 2)]) == [2, 1]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=4, max_size=25, unique=True))
def test_it_is_the_upper_right_of_scipys_hull(points: list[tuple[int, int]]) -> None:
    found = [points[number] for number in upper_hull(points)]
    # No point lies above or right of it in both ways.
    for x, y in found:
        assert not any(other[0] >= x and other[1] >= y and other != (x, y) for other in points)
    try:
        vertices = {points[number] for number in ConvexHull(np.array(points)).vertices}
    except QhullError:
        return
    wanted = {
        (x, y)
        for x, y in vertices
        if not any(other[0] >= x and other[1] >= y and other != (x, y) for other in vertices)
    }
    assert set(found) == wanted


def test_published_points_are_those_of_tables_d1_and_4_1() -> None:
    points = {one.model: (one.training, one.transfer) for one in published_points()}
    assert len(points) == 21 and points["t-ReX"] == (0.78, 1.357)
    assert points["Base"] == pytest.approx((0.766, 0.1))
