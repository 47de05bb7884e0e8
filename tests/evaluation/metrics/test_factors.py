"""Error ratios by hand, and ResNet-50's on ImageNet-X from its published accuracies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import Share, error_ratio, error_ratios, factor_shares, worst_factor
from shardtools.evaluation.published import read_rows

CORRECT = [True, True, False, False]
FACTORS = {"pose": [True, True, False, False], "dark": [False, False, True, True], "style": [False] * 4}


def test_by_hand() -> None:
    assert factor_shares(CORRECT, FACTORS) == {"pose": Share(2, 2), "dark": Share(0, 2), "style": Share(0, 0)}
    assert error_ratios(CORRECT, FACTORS) == {"pose": 0.0, "dark": 2.0, "style": None}
    assert worst_factor(CORRECT, FACTORS) == ("dark", 0.0)


def test_resnet50_on_imagenet_x() -> None:
    rows = {row["factor"]: row for row in read_rows("imagenet_x_resnet50")}
    accuracy = float(rows["all"]["accuracy"])
    ratios = {
        name: (error_ratio(float(row["accuracy"]), accuracy), float(row["published_error_ratio"]))
        for name, row in rows.items()
        if name != "all"
    }
    assert set(ratios) == {"pose", "subcategory"}
    for found, published in ratios.values():
        assert found == pytest.approx(published, abs=1e-3)
    # The accuracy is that of a whole number of the 46,110 images that count.
    assert accuracy * 46_110 == pytest.approx(round(accuracy * 46_110), abs=0.03)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_a_factor_of_all_makes_no_difference(pairs: list[tuple[bool, bool]]) -> None:
    correct, is_on = map(np.array, zip(*pairs, strict=True))
    found = error_ratios(correct, {"all": np.ones(len(pairs), bool), "on": is_on, "off": ~is_on})
    if correct.all():
        assert set(found.values()) == {None}
        return
    assert found["all"] == pytest.approx(1)
    # The ratios of a factor and of its absence average to one, weighted by their images.
    weighted = [(found[name] or 0) * np.mean(values) for name, values in (("on", is_on), ("off", ~is_on))]
    assert sum(weighted) == pytest.approx(1)


def test_what_has_no_ratio() -> None:
    assert error_ratio(0.5, 1.0) is None and error_ratio(float("nan"), 0.5) is None
    with pytest.raises(OptionError, match="there are none"):
        error_ratios([], {})
    with pytest.raises(OptionError, match="factor pose is known of 1 samples, answers of 2"):
        error_ratios([True, False], {"pose": [True]})
    with pytest.raises(OptionError, match="no factor is on"):
        worst_factor([True], {"pose": [False]})
