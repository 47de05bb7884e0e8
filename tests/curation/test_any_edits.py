"""Any edits are followed, and undone: a property of every layout."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.verify import verify
from tests.helpers.curated_datasets import LAYOUTS, apply_here, images, make_dataset, make_photos, rows, undo_here


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("datasets")
    photos = make_photos(folder / "photos")
    return {layout: make_dataset(photos, folder / layout, layout) for layout in LAYOUTS}


_CHANGES = st.dictionaries(
    st.integers(0, 23),
    st.tuples(st.sampled_from(["drop", "relabel", "reweight"]), st.integers(0, 2), st.sampled_from([0.0, 0.25, 7.0])),
    min_size=1,
    max_size=23,
)


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=2)
@given(wanted=_CHANGES)
def test_any_edits_are_followed_and_undone(
    layout: str, datasets: dict[str, str], wanted: dict[int, tuple[str, int, float]]
) -> None:
    dataset = datasets[layout]
    old, pictures = rows(dataset), images(dataset)
    keys = sorted(pictures)
    edits = [
        {"key": keys[number], "action": action, "class_index": label, "weight": weight}
        for number, (action, label, weight) in wanted.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "edits.json")
        file.write_text(json.dumps({"format": "shardtools-edits", "format_version": 1, "edits": edits}))
        out, back = f"{folder}/out", f"{folder}/back"
        apply_here(dataset, str(file), out)
        new, left = rows(out), images(out)
        for key, row in old.items():
            action, label, _ = wanted.get(keys.index(key), ("", 0, 0.0)) if key in pictures else ("", 0, 0.0)
            status = "pruned" if action == "drop" else row["status"]
            expected = label if action == "relabel" else row["class_index"]
            assert (new[key]["status"], new[key]["class_index"]) == (status, expected)
            assert left.get(key) == (pictures.get(key) if status == "ok" else None)
        assert verify(out).problems == ()
        undo_here(out, dataset, back)
        assert (rows(back), images(back)) == (old, pictures)
