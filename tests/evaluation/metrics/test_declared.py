"""Names of metrics and how their values are printed."""

from __future__ import annotations

import pytest

from shardtools.evaluation.metrics import METRICS, Calibration, printed_value


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("top1_accuracy", 0.76386, "76.39"),
        ("mean_corruption_error", 1.0, "100.00"),
        ("error_ratio", 2.5424, "2.542"),
        ("of_my_own", 0.5, "0.500"),
        ("aurra", None, "-"),
    ],
)
def test_values_as_people_read_them(metric: str, value: float | None, text: str) -> None:
    assert printed_value(metric, value) == text


def test_what_is_measured_of_calibration_has_a_name() -> None:
    assert set(Calibration.__slots__) <= set(METRICS)


def test_every_metric_says_what_it_is() -> None:
    for name, facts in METRICS.items():
        assert name == name.lower() and facts.meaning and facts.better in ("higher", "lower", "")
    titles = [facts.short for facts in METRICS.values()]
    assert len(set(titles)) == len(titles)
