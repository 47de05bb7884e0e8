"""The questions about generated images, on overlays whose values are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shardtools.overlays import write_overlay
from shardtools.sql import find_query, query
from tests.helpers.sql_datasets import fashion_images, make_dataset

NUM_SAMPLES = 12
FAILED = (4, 9)
OFF_CLASS = (0, 1)
BLANK = (3,)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two datasets that start from the same noise; the first is audited."""
    folder = tmp_path_factory.mktemp("generated")
    images = fashion_images(NUM_SAMPLES + 1)
    make_dataset(folder / "one", images=images[:NUM_SAMPLES])
    make_dataset(folder / "two", images=images[1:])
    keys = [f"sample{number:04d}" for number in range(NUM_SAMPLES) if number not in FAILED]
    numbers = [int(key[-4:]) for key in keys]
    quality = pa.table({"key": keys, "color_spread": [0.001 if number in BLANK else 0.2 for number in numbers]})
    nearest = pa.table(
        {
            "key": keys,
            "is_own": [number not in OFF_CLASS for number in numbers],
            "own_class_distance": [0.2] * len(keys),
            "reference_class_distance": [0.4] * len(keys),
        }
    )
    for name, table in (("quality", quality), ("nearest_class", nearest)):
        write_overlay(folder / "one", name, [table], made_by="test", settings={})
    return str(folder / "one"), str(folder / "two")


def ask(name: str, *urls: str, **parameters: Any) -> list[dict[str, Any]]:
    asked = find_query(name)
    return list(query(asked.sql, urls, asked.bind(parameters)).to_pylist())


def test_the_faults_of_each_scene_are_counted(generated: tuple[str, str]) -> None:
    rows = {row["scene"]: row for row in ask("generated_audit", generated[0])}
    # Odd samples have a scene. Flagged are 0, 3, 6, 9; retried is 1.
    expected = {
        None: {"num_rows": 6, "num_rejected": 1, "num_retried": 0, "num_flagged": 2, "num_blank": 0},
        "kitchen": {"num_rows": 6, "num_rejected": 1, "num_retried": 1, "num_flagged": 2, "num_blank": 1},
    }
    assert {scene: {name: row[name] for name in expected[scene]} for scene, row in rows.items()} == expected
    assert [rows[scene]["num_off_class"] for scene in (None, "kitchen")] == [1, 1]
    assert rows[None]["share_off_class"] == pytest.approx(1 / 5)
    assert rows[None]["distance_ratio"] == pytest.approx(0.5)
    # Good are 2, 8, 10 without a scene, and 5, 7, 11 with one.
    assert rows[None]["share_good"] == rows["kitchen"]["share_good"] == pytest.approx(3 / 6)


def test_other_thresholds_and_classes_may_be_asked_for(generated: tuple[str, str]) -> None:
    assert sum(row["num_blank"] for row in ask("generated_audit", generated[0], blank=0.0005)) == 0
    assert sum(row["num_rows"] for row in ask("generated_audit", generated[0], wnid="n03595614")) == 6
    assert ask("generated_audit", generated[0], min_rows=7) == []


def test_noise_that_was_used_twice_is_found(generated: tuple[str, str]) -> None:
    rows = ask("doubled_noise", *generated)
    assert len(rows) == NUM_SAMPLES - len(FAILED)
    assert {(row["num_images"], row["num_datasets"], row["num_prompts"]) for row in rows} == {(2, 2, 1)}
    assert {row["num_different"] for row in rows} == {2}
    assert [row["seed"] for row in rows] == sorted(row["seed"] for row in rows)
    assert ask("doubled_noise", generated[0]) == []
    assert ask("doubled_noise", *generated, min_images=3) == []


def test_the_same_noise_under_other_prompts_is_another_question(tmp_path: Path) -> None:
    make_dataset(tmp_path / "one", images=fashion_images(2), num_shards=1)
    url = str(tmp_path / "one")
    assert ask("doubled_noise", url, same_prompt="no") == []
