"""Training sets as an overlay that a view of the loader reads."""

from pathlib import Path

import pytest

from shardtools.errors import AlreadyExistsError
from shardtools.evaluation.variation import VariationOptions, save_training_sets
from shardtools.loader import Loader, LoaderOptions, OrderOptions
from shardtools.sql import query
from tests.helpers.planted_gaps import planted_rows
from tests.helpers.rendered_datasets import make_rendered


def test_training_sets_are_views_of_the_dataset(tmp_path: Path) -> None:
    url = make_rendered(tmp_path / "rooms", planted_rows())
    options = VariationOptions(
        datasets=(url,), setting="samples", factors=("pose",), shares=(25, 50), num_folds=2, images=4
    )
    num_rows = save_training_sets(options, "shares")
    rows = query("select * from overlays.shares", [url]).to_pylist()
    # In each of two folds six objects: their canonical picture in all three sets, and one and two that vary.
    assert len(rows) == num_rows == 2 * 6 * (1 + 2 + 3)
    weights: dict[tuple[str, int, int], float] = {}
    for row in rows:
        which = (row["varied"], row["share"], row["fold"])
        weights[which] = weights.get(which, 0) + row["weight"]
    assert weights == {
        (varied, share, fold): 6 for varied, share in (("", 0), ("pose", 25), ("pose", 50)) for fold in (0, 1)
    }
    held = [{row["key"][:12] for row in rows if row["fold"] == fold} for fold in (0, 1)]
    assert not held[0] & held[1]
    view = "select key, weight from overlays.shares where fold = 0 and varied = 'pose' and share = 50"
    wanted = LoaderOptions(datasets=(url,), view=view, order=OrderOptions(shuffle="weighted"), batch_size=6)
    with Loader(wanted) as loader:
        keys = {key for batch in loader.epoch(0) for key in batch.keys}
    assert keys <= {row["key"] for row in rows if (row["fold"], row["share"]) == (0, 50)}
    assert len(keys) > 3
    with pytest.raises(AlreadyExistsError):
        save_training_sets(options, "shares")
    assert save_training_sets(options, "shares", replace=True) == num_rows
