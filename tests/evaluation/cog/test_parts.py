"""Images of levels for training and testing: drawn, published, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardtools.errors import AlreadyExistsError, DatasetError, OptionError
from shardtools.evaluation.cog import Concept, Level, PartOptions, level_rows, level_view, overlay_levels, write_parts
from shardtools.loader import read_view
from shardtools.overlays import write_overlay
from shardtools.sql import query
from tests.helpers.cog_worlds import FAR, NEAR, levels, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_world(tmp_path_factory.mktemp("world") / "in21k", images=6)


def parts_of(url: str, overlay: str) -> dict[tuple[str, str], str]:
    rows = query(f'select level, key, part from overlays."{overlay}"', [url]).to_pylist()
    return {(row["level"], row["key"]): row["part"] for row in rows}


def options(**changes: Any) -> PartOptions:
    return PartOptions(**{"num_train": 3, "num_test": 2, **changes})


def test_caps_hold_for_each_concept_and_labels_count_a_levels_wnids(world: str) -> None:
    found = write_parts(world, levels(), options())
    assert [(one.num_train, one.num_test, one.num_unused, one.fewest) for one in found] == [(9, 6, 3, 3)] * 2
    rows = query(
        "select level, wnid, class_index, part, count(*) as num from overlays.cog_levels group by all order by all",
        [world],
    ).to_pylist()
    assert {(row["level"], row["wnid"], row["class_index"]) for row in rows} == {
        (name, wnid, index) for name, wnids in (("L1", NEAR), ("L2", sorted(FAR))) for index, wnid in enumerate(wnids)
    }
    assert {(row["part"], row["num"]) for row in rows} == {("test", 2), ("train", 3), ("unused", 1)}
    assert overlay_levels(world, "cog_levels") == ["L1", "L2"]
    header, cells = level_rows(levels(), found)
    assert (header[-1], cells[0]) == ("fewest train", ["L1", "3", "-", "-", "9", "6", "3", "3"])


def test_an_image_has_the_same_part_in_every_level_and_other_seeds_draw_others(world: str) -> None:
    both = Level(name="R1", concepts=tuple(Concept(wnid=wnid) for wnid in (NEAR[0], FAR[1])))
    write_parts(world, levels(), options(name="one"))
    write_parts(world, (*levels(), both), options(name="two"))
    write_parts(world, levels(), options(name="three", seed=1))
    one, two, three = (parts_of(world, name) for name in ("one", "two", "three"))
    by_key = {key: part for (level, key), part in two.items() if level != "R1"}
    assert by_key == {key: part for (_, key), part in one.items()}
    assert all(part == by_key[key] for (level, key), part in two.items() if level == "R1")
    assert sum(level == "R1" for level, _ in two) == 12
    assert one != three


def test_views_are_what_the_loader_reads(world: str) -> None:
    write_parts(world, levels(), options(name="views"))
    train = read_view([world], level_view("views", "L2", "train"))
    test = read_view([world], level_view("views", "L2", "test"))
    assert (len(train), len(test)) == (9, 6)
    assert sorted(set(train.class_index.tolist())) == [0, 1, 2]
    assert not set(train.keys.to_pylist()) & set(test.keys.to_pylist())


def test_an_overlay_is_replaced_on_request_alone(world: str) -> None:
    write_parts(world, levels(), options(name="again"))
    with pytest.raises(AlreadyExistsError, match="--replace"):
        write_parts(world, levels(), options(name="again"))
    write_parts(world, levels()[:1], options(name="again", replace=True))
    assert overlay_levels(world, "again") == ["L1"]


def published(folder: Path, content: dict[str, dict[str, list[str]]]) -> str:
    path = folder / "split.pkl"
    arrays = {wnid: {part: np.array(paths) for part, paths in parts.items()} for wnid, parts in content.items()}
    path.write_bytes(pickle.dumps(arrays, protocol=4))
    return str(path)


def test_published_images_are_found_by_concept_and_name(world: str, tmp_path: Path) -> None:
    keys: dict[str, list[str]] = {}
    for row in query("select wnid, key from samples order by key", [world]).to_pylist():
        keys.setdefault(row["wnid"], []).append(row["key"])
    # The dataset lacks one of the published images, the list one of the dataset's.
    content = {
        wnid: {"train": [f"/{wnid}/{key}.JPEG" for key in (*own[:3], "gone")], "test": [f"{wnid}/{own[3]}.JPEG"]}
        for wnid, own in keys.items()
    }
    found = write_parts(world, levels(), options(name="published", parts=published(tmp_path, content)))
    assert [(one.num_train, one.num_test, one.num_unused, one.num_missing) for one in found] == [(9, 3, 6, 3)] * 2
    assert parts_of(world, "published")["L1", keys[NEAR[0]][3]] == "test"
    with pytest.raises(OptionError, match="has no images of 3 concepts, n07925423 the first"):
        write_parts(world, levels(), options(parts=published(tmp_path, {wnid: content[wnid] for wnid in NEAR})))
    content[NEAR[1]]["train"] = [f"{NEAR[1]}/gone.JPEG"]
    with pytest.raises(
        DatasetError, match=r"n01534582, a concept of level L1, .* for training: is it the same release"
    ):
        write_parts(world, levels(), options(name="other", parts=published(tmp_path, content)))


@pytest.mark.parametrize(
    ("wnids", "changes", "error", "message"),
    [
        (
            NEAR,
            {"num_test": 6},
            DatasetError,
            "n01514752, a concept of level L1, has 6 images .* none is left to train",
        ),
        ((*NEAR, "n02084071"), {}, DatasetError, "has no image of n02084071, a concept of level L1"),
        ((), {}, OptionError, "level L1 has 0 concepts"),
    ],
)
def test_concepts_without_images_are_refused_and_nothing_is_written(
    world: str, wnids: tuple[str, ...], changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    level = Level(name="L1", concepts=tuple(Concept(wnid=wnid) for wnid in wnids))
    with pytest.raises(error, match=message):
        write_parts(world, [level], options(name="refused", **changes))
    with pytest.raises(DatasetError, match="has no overlay 'refused'"):
        overlay_levels(world, "refused")


def test_an_overlay_of_something_else_holds_no_levels(world: str) -> None:
    import pyarrow as pa

    key = query("select key from samples limit 1", [world])
    write_overlay(world, "marks", [key.append_column("mark", pa.array([1]))], made_by="me", settings={})
    with pytest.raises(DatasetError, match="holds no levels: `shardtools cog levels --from"):
        overlay_levels(world, "marks")
