"""ImageNet-C's sums by hand, and against RobustBench's published ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import (
    corruption_errors,
    errors_by_corruption,
    mean_corruption_error,
    mean_error,
    relative_mean_corruption_error,
)
from shardtools.evaluation.published import CORRUPTIONS, alexnet_errors, read_rows, robustbench_errors

PUBLISHED = {row["model"]: row for row in read_rows("robustbench_imagenet_c_published")}

ERRORS = st.fixed_dictionaries({name: st.lists(st.floats(0.01, 1), min_size=5, max_size=5) for name in CORRUPTIONS[:3]})


@pytest.mark.parametrize(("model", "published"), PUBLISHED.items())
def test_the_published_means(model: str, published: dict[str, str]) -> None:
    found = robustbench_errors()
    # Two decimals are printed.
    mce = 100 * mean_corruption_error(found[model], found["AlexNet"])
    assert mce == pytest.approx(float(published["corruptions_mce"]), abs=0.0051)
    accuracy = 100 * (1 - mean_error(found[model]))
    assert accuracy == pytest.approx(float(published["corruptions_acc"]), abs=0.0051)


def test_there_are_twelve() -> None:
    assert len(PUBLISHED) == 12 and set(PUBLISHED) == set(robustbench_errors())
    named = {"Standard_R50": "76.38", "Hendrycks2020AugMix": "64.17", "AlexNet": "100.0"}
    assert {name: PUBLISHED[name]["corruptions_mce"] for name in named} == named


def test_another_alexnet_is_another_figure() -> None:
    # Over 50,000 images it errs a little differently than over RobustBench's 5,000.
    found = robustbench_errors()
    assert mean_corruption_error(found["AlexNet"]) == pytest.approx(0.9997, abs=1e-4)
    assert mean_corruption_error(found["Hendrycks2020Many"]) == pytest.approx(0.6005, abs=1e-4)


def test_relative_means_of_robustbench() -> None:
    found = robustbench_errors()
    clean = {model: 1 - float(row["clean_acc"]) / 100 for model, row in PUBLISHED.items()}
    relative = {
        model: relative_mean_corruption_error(found[model], clean[model], found["AlexNet"], clean["AlexNet"])
        for model in found
    }
    assert relative["AlexNet"] == pytest.approx(1)
    # The paper's finding: a ResNet-50 errs less everywhere, but loses as much as AlexNet by a corruption.
    assert 1 < relative["Standard_R50"] < 1.1 and relative["Hendrycks2020AugMix"] < 0.9


def test_alexnets_means_are_the_benchmarks() -> None:
    # Percentages of Hendrycks and Dietterich's table for AlexNet, as google-research/augmix has them.
    means = {name: values.mean() for name, values in alexnet_errors().items()}
    assert means["gaussian_noise"] == pytest.approx(0.886428, abs=1e-6)
    assert means["jpeg_compression"] == pytest.approx(0.606500, abs=1e-6)
    assert tuple(means) == CORRUPTIONS


def test_by_hand() -> None:
    # .1 of .5 and .3 of .6: a fifth and a half.
    reference = {"snow": [0.5] * 5, "fog": [0.6] * 5}
    errors = {"fog": [0.3] * 5, "snow": [0.1] * 5}
    assert corruption_errors(errors, reference) == pytest.approx({"fog": 0.5, "snow": 0.2})
    assert mean_error(errors) == pytest.approx(0.2)


def test_the_relative_mean_by_hand() -> None:
    # 20 points more than clean, where AlexNet has 50 more.
    errors = {name: [0.3] * 5 for name in CORRUPTIONS}
    reference = {name: [0.9] * 5 for name in CORRUPTIONS}
    assert relative_mean_corruption_error(errors, 0.1, reference, 0.4) == pytest.approx(0.2 / 0.5)
    assert relative_mean_corruption_error(alexnet_errors(), 1 - 0.56522) == pytest.approx(1)


def test_an_extra_corruption_is_left_aside() -> None:
    errors = {**alexnet_errors(), "spatter": np.zeros(5)}
    assert mean_corruption_error(errors) == pytest.approx(1)
    assert mean_error(errors) < mean_error(alexnet_errors())


@given(ERRORS, st.floats(0.1, 1))
def test_half_the_errors_are_half_the_figure(errors: dict[str, list[float]], factor: float) -> None:
    scaled = {name: factor * np.array(values) for name, values in errors.items()}
    for name, value in corruption_errors(errors).items():
        assert corruption_errors(scaled)[name] == pytest.approx(factor * value)
    assert corruption_errors(errors, errors) == pytest.approx(dict.fromkeys(errors, 1.0))
    assert mean_error(scaled) == pytest.approx(factor * mean_error(errors))


def test_errors_of_answers() -> None:
    corruption = np.repeat(["snow", "fog"], 10)
    severity = np.tile(np.repeat(np.arange(1, 6), 2), 2)
    correct = np.tile([True, False], 10)
    correct[:2] = False
    found = errors_by_corruption(correct, corruption, severity)
    assert {name: values.tolist() for name, values in found.items()} == {"fog": [0.5] * 5, "snow": [1, *[0.5] * 4]}


@pytest.mark.parametrize(
    ("severity", "message"),
    [([1, 2, 3, 4, 6], "severities are 1 to 5, found 1 to 6"), ([1, 2, 3, 4, 4], "fog has no sample of severity 5")],
)
def test_severities_that_are_none(severity: list[int], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        errors_by_corruption([True] * 5, ["fog"] * 5, severity)


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ({"fog": [0.1] * 5}, "14 are missing"),
        ({**alexnet_errors(), "fog": [0.1] * 4}, "fog has errors"),
        ({**alexnet_errors(), "fog": [10, 20, 30, 40, 50]}, "expected five of 0 to 1"),
        ({**alexnet_errors(), "fog": [np.nan] * 5}, "expected five of 0 to 1"),
    ],
)
def test_what_makes_no_mean(errors: dict[str, list[float]], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        mean_corruption_error(errors)


def test_a_reference_that_cannot_divide() -> None:
    with pytest.raises(OptionError, match="no errors for spatter"):
        corruption_errors({"spatter": [0.1] * 5})
    with pytest.raises(OptionError, match="does not err"):
        corruption_errors({"fog": [0.1] * 5}, {"fog": [0.0] * 5})
    with pytest.raises(OptionError, match="at least one"):
        mean_error({})
