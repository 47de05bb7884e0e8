"""`shardtools quality`, `shardtools duplicates` and their queries, as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shardtools.cli.duplicates import LEAK_EXIT_CODE
from shardtools.cli.duplicates import command as duplicates
from shardtools.cli.quality import command as quality
from shardtools.cli.query import command as query
from shardtools.errors import DatasetError, QueryError
from tests.audits.test_duplicates import HOSTILE, write_split
from tests.audits.test_quality import scene
from tests.helpers.pictures import encode, write_files

PICTURE = scene(1, (120, 90))


@pytest.fixture
def datasets(tmp_path: Path) -> tuple[str, str]:
    test = {f"{HOSTILE.replace('/', '_')}/one.jpg": encode(PICTURE, "JPEG"), "cat/two.jpg": encode(scene(2), "JPEG")}
    train = {"cat/near.jpg": encode(PICTURE.resize((80, 60)), "JPEG"), "cat/other.jpg": encode(scene(3), "JPEG")}
    return (
        write_split(write_files(tmp_path / "test-files", test), tmp_path / "real", "test"),
        write_split(write_files(tmp_path / "train-files", train), tmp_path / "made", "train"),
    )


def run(command: object, *args: str) -> Result:
    result = CliRunner().invoke(command, args, standalone_mode=False)  # type: ignore[arg-type]
    if result.exception is not None:
        raise result.exception
    return result


def test_from_pixels_to_a_leak(datasets: tuple[str, str], tmp_path: Path) -> None:
    for url in datasets:
        result = run(quality, url, "--threads", "1")
        assert f"wrote 2 rows to {url}/overlays/quality" in result.stderr
    assert "has all 2 images already" in run(quality, datasets[0]).stderr
    record = json.loads(run(quality, datasets[0], "--replace", "--json").stdout)
    assert (record["num_images"], record["num_measured"], record["num_failed"]) == (2, 2, 0)

    pairs = tmp_path / "pairs.parquet"
    found = run(duplicates, *datasets, "--fail-on-leak", "--pairs", str(pairs))
    assert found.return_value == LEAK_EXIT_CODE == 3
    assert pairs.exists()
    [leak] = [line for line in found.stdout.splitlines() if line.startswith("leak: ")]
    assert "one (test of " in leak
    assert "cat_near (train of " in leak
    assert "perceptual, distance" in leak
    assert leak.endswith("other label")
    assert found.stdout.splitlines()[-1] == "1 pair lies across splits"

    assert run(duplicates, *datasets, "--no-overlay").return_value == 0
    exact = run(duplicates, *datasets, "--kind", "exact", "--fail-on-leak", "--no-overlay")
    assert exact.return_value == 0
    assert exact.stdout.splitlines() == ["4 images: 0 pairs in 0 groups", "no pair lies across splits"]
    record = json.loads(run(duplicates, *datasets, "--json").stdout)
    assert (record["num_pairs"], record["num_groups"], record["num_leaks"]) == (1, 1, 1)
    assert record["leaks"][0]["key_b"] == "cat_near"
    assert [row["other_key"] for row in json.loads(run(query, "leakage", *datasets, "--json").stdout)] == ["cat_near"]


def test_the_queries_of_manifests_alone(datasets: tuple[str, str]) -> None:
    rows = json.loads(run(query, "class-imbalance", *datasets, "--json").stdout)
    assert [(row["split"], row["wnid"], row["num_images"]) for row in rows if row["wnid"] == "cat"] == [
        ("train", "cat", 2),
        ("test", "cat", 1),
    ]
    [made, real] = sorted(
        json.loads(run(query, "shard-health", *datasets, "--json").stdout), key=lambda row: row["dataset"]
    )
    assert (made["num_classes"], made["largest_share"], real["num_classes"]) == (1, 1, 2)
    assert (made["num_images"], made["num_gaps"], made["num_doubled"], made["image_ratio"]) == (2, 0, 0, 1)


def test_one_clear_line_where_an_overlay_is_missing(datasets: tuple[str, str]) -> None:
    with pytest.raises(DatasetError, match=r"run `shardtools quality .*` first"):
        run(duplicates, *datasets)
    with pytest.raises(QueryError, match=r"query image_quality reads the overlay 'quality', which .* has not: run"):
        run(query, "image-quality", datasets[0])
    run(quality, datasets[1], "--threads", "1")
    note = run(query, "image-quality", *datasets).stderr.splitlines()[0]
    assert note == f"{datasets[0]} has no overlay 'quality': `shardtools quality DATASET` makes it"
