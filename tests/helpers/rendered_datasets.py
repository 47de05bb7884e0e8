"""Rendered datasets that a test chooses: the factor columns as `shardtools render` has them, and one small picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shardtools.dataset import PlanFile, ShardWriter, commit_dataset, store_plan_file
from shardtools.evaluation.variation.world import World
from shardtools.rendering import FACTORS, ObjectName
from shardtools.sample import Sample
from shardtools.shards import part_path
from shardtools.storage import open_storage
from tests.helpers.pictures import jpeg

CANONICAL: dict[str, Any] = {"pose": 0.0, "size": 1.0, "position": 0.0, "hue": None, "background": "home/0"}
"""Column of each factor, in the order of `FACTORS`, and its canonical value."""

VALUES: dict[str, tuple[Any, ...]] = {
    "pose": (-90.0, 0.0, 90.0),
    "size": (0.5, 1.0),
    "position": (-0.3, 0.0, 0.3),
    "lighting": (0.25, 0.75),
    "background": ("home/0", "sky/0"),
}
"""Factor -> its values in a small single grid; all but lighting's hold the canonical one."""

COLUMN_OF = dict(zip(FACTORS, CANONICAL, strict=True))


WNIDS = ("n02818832", "n03001627", "n04256520", "n04379243")
"""Bed, chair, sofa, table."""


def object_names(num_classes: int, num_objects: int) -> list[tuple[str, str]]:
    """(wnid, object id) of the first of `WNIDS`, with equally many objects each."""
    return [(wnid, f"o{place}") for wnid in WNIDS[:num_classes] for place in range(num_objects)]


def rows_of(objects: Sequence[tuple[str, str]], grid: str, values: dict[str, Any] = VALUES) -> Iterator[dict[str, Any]]:
    """Factor columns of each picture, object by object.

    Args:
        objects: (wnid, object id).
        grid: "canonical"; "single", with a picture a value of each factor; or "all", where `values` are combinations.
        values: Factor -> values; of "all" {"all": tuples of five values}.
    """
    for wnid, object_id in objects:
        for index, (varied, changes) in enumerate(_grid(grid, values)):
            own = {**CANONICAL, **changes}
            yield {
                "key": f"{wnid}_{object_id}_{grid}_{index:04d}",
                "wnid": wnid,
                "object_id": object_id,
                "grid": grid,
                "varied": varied,
                "is_canonical": own == CANONICAL,
                "mesh_sha256": f"{wnid}{object_id}",
                **own,
            }


def _grid(grid: str, values: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if grid == "canonical":
        yield "", {}
    elif grid == "all":
        for combination in values["all"]:
            yield "+".join(FACTORS), dict(zip(CANONICAL, combination, strict=True))
    else:
        for factor, own in values.items():
            for value in own:
                yield factor, {COLUMN_OF[factor]: value}


def make_rendered(folder: Path, rows: Sequence[dict[str, Any]]) -> str:
    """Writes a dataset in one shard."""
    storage = open_storage(folder)
    facts: dict[str, Any] = {"kind": "real", "plan_id": "plan-1", "scale": 1}
    store_plan_file(storage, PlanFile(**facts, settings={}, notes={}, num_shards=1, num_rows=len(rows)))
    wnids = sorted({row["wnid"] for row in rows})
    picture = jpeg(0)
    with ShardWriter(storage, split="train", shard_index=0) as writer:
        for row in rows:
            provenance = {name: value for name, value in row.items() if name not in ("key", "wnid")}
            writer.add(
                Sample(
                    key=row["key"],
                    image_bytes=picture,
                    image_format="jpg",
                    width=48,
                    height=36,
                    mode="RGB",
                    wnid=row["wnid"],
                    class_index=wnids.index(row["wnid"]),
                    label_source="mesh",
                    source="rendered",
                    status="ok",
                    provenance=provenance,
                )
            )
        writer.commit()
    commit_dataset(storage, **facts, part_paths=[part_path("train", 0)])
    return str(folder)


def objects_only(sizes: Sequence[int], meshes: dict[int, str] | None = None) -> World:
    """A world of objects without pictures.

    Args:
        sizes: Objects of each class.
        meshes: Number of an object -> digest of its mesh; the others' are unknown.
    """
    objects = [(f"n{number + 1:08d}", f"o{place}") for number, size in enumerate(sizes) for place in range(size)]
    empty = np.empty(0, np.int64)
    return World(
        datasets=("here",),
        wnids=tuple(f"n{number + 1:08d}" for number in range(len(sizes))),
        objects=tuple(ObjectName(*name) for name in objects),
        sets=(),
        class_of=np.repeat(np.arange(len(sizes)), sizes),
        mesh_of=tuple((meshes or {}).get(number, "") for number in range(len(objects))),
        canonical_row=np.zeros(len(objects), np.int64),
        dataset_of=empty,
        keys=pa.array([], pa.large_string()),
        object_of=empty,
        set_of=empty,
        is_canonical=np.empty(0, bool),
    )
