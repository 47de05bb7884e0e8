"""`shardtools analyze`: the library's numbers, of a split or of all, for one dataset or several."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shardtools.cli import main
from shardtools.errors import OptionError
from shardtools.evaluation.analysis import (
    AnalyzeOptions,
    analyze,
    coding_length,
    intra_class_distance,
    mean_analysis,
    redundancy,
    sparsity,
)
from tests.helpers.feature_datasets import make_labeled, with_features

LABELS = [0, 0, 1, 1, 1, 2, None, None]


def made(folder: Path, labels: list[int | None], seed: int, **encoder: str) -> tuple[str, np.ndarray]:
    url = make_labeled(folder, labels)
    features = np.random.default_rng(seed).normal(size=(len(labels), 5)).astype(np.float16)
    with_features(url, features, **encoder)
    return url, features


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return (caught.value.code, *capsys.readouterr())


def test_every_measure_is_that_of_the_library(tmp_path: Path) -> None:
    url, features = made(tmp_path / "a", LABELS, 0)
    [found] = analyze(AnalyzeOptions(datasets=(url,)))

    assert (found.dataset, found.features, found.encoder) == (url, "own", "test")
    assert (found.num_samples, found.num_classes) == (8, 2)
    assert found.sparsity == sparsity(features)
    assert found.redundancy == pytest.approx(redundancy(features))
    assert found.coding_length == pytest.approx(coding_length(features))
    # Without the class of one sample and those without a class.
    assert found.intra_class_distance == pytest.approx(intra_class_distance(features[:5], [0, 0, 1, 1, 1]).mean)


def test_a_measure_that_cannot_be_taken_is_none(tmp_path: Path) -> None:
    url, _ = made(tmp_path / "a", [None], 0)
    [found] = analyze(AnalyzeOptions(datasets=(url,)))
    assert (found.num_classes, found.intra_class_distance, found.redundancy) == (0, None, None)
    assert found.coding_length > 0


def test_the_mean_counts_each_dataset_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = made(tmp_path / "a", LABELS, 0)[0], made(tmp_path / "b", LABELS[:5], 1)[0]
    found = analyze(AnalyzeOptions(datasets=(first, second)))
    mean = mean_analysis(found)
    assert mean.coding_length == pytest.approx((found[0].coding_length + found[1].coding_length) / 2)
    assert (
        mean_analysis([found[0], *analyze(AnalyzeOptions(datasets=(made(tmp_path / "c", [None], 0)[0],)))]).redundancy
        is None
    )

    code, out, err = run(capsys, "analyze", first, second)
    assert code == 0
    header, *rows = out.splitlines()
    assert header.split() == ["dataset", "samples", "classes", "sparsity", "distance", "redundancy", "coding"]
    assert [row.split()[0] for row in rows] == [first, second, "mean"]
    assert rows[2].split()[-1] == f"{mean.coding_length:.2f}" and "8 features of 5 numbers" in err
    [record] = json.loads(run(capsys, "analyze", first, "--json")[1])
    assert record["coding_length"] == found[0].coding_length


def test_a_split_is_taken_alone_and_an_unknown_one_refused(tmp_path: Path) -> None:
    url, features = made(tmp_path / "a", LABELS, 0)
    [found] = analyze(AnalyzeOptions(datasets=(url,), split="train"))
    assert found.num_samples == len(features)
    with pytest.raises(OptionError, match="no features of split 'val', found train"):
        analyze(AnalyzeOptions(datasets=(url,), split="val"))


def test_what_cannot_be_compared_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url, other = made(tmp_path / "a", LABELS, 0)[0], made(tmp_path / "b", LABELS, 1, weights_sha256="1" * 64)[0]
    for arguments, words in (
        ([url, other], "weights"),
        ([url, url], "given twice"),
        ([url, "--features", "none"], "none"),
        ([make_labeled(tmp_path / "c", LABELS)], "has no features"),
    ):
        code, out, err = run(capsys, "analyze", *arguments)
        assert code in (1, 2) and not out and words in err and err.count("\n") == 1
