"""Attacked images between the ranks that make them and the dataset that they become.

Owns the files they wait in, beside the batches of the overlay: `work/images-000012.arrow`, written before its batch, so
that a batch which is there has its images; they go with `work/` at the commit. The price: uncompressed pixels on the
disk of the overlay while the run lasts, 150 kB for 224 x 224.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shardtools.arrays import UInt8s, from_texts
from shardtools.dataset import Dataset
from shardtools.errors import DatasetError, NotFoundError, first_line
from shardtools.evaluation.attacks.plan import AttackPlan
from shardtools.storage import Storage
from shardtools.writing import write_samples

_NO_CLASS = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parent:
    """What is taken over from the image that was attacked."""

    split: str
    class_index: int
    sha256: str
    source_path: str


def add_images(storage: Storage, batch: int, keys: Sequence[str], images: UInt8s) -> None:
    """Makes the attacked images of a batch durable.

    Args:
        storage: Of the overlay's own folder.
        batch: Its number.
        keys: Of those that were attacked, n.
        images: uint8 [n, H, W, 3].
    """
    pixels = [image.tobytes() for image in np.ascontiguousarray(images)]
    table = pa.table({"key": from_texts(keys), "pixels": pa.array(pixels, pa.binary())})
    table = table.replace_schema_metadata({"side": str(images.shape[1])})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    storage.write(_path(batch), sink.getvalue())


def write_attacked(storage: Storage, plan: AttackPlan, dataset: Dataset, out: str) -> str:
    """Writes the attacked images of a run whose batches are all there as a dataset; returns its address.

    Images keep their key, split and class. `source_path` is the key of the image that was attacked, `source_sha256` its
    digest, `corruption` the attack.

    Raises:
        DatasetError: Images of a batch are gone.
        PlanMismatchError: The dataset there is another.
        RunError: It was stopped; the same command goes on.
    """
    parents, classes = _parents(dataset)
    keys = [key for key, _ in _images(storage, plan, with_pixels=False)]
    found = [parents[key] for key in keys]
    attack = plan.attack
    against = (plan.source or plan.model).name
    result = write_samples(
        (pixels for _, pixels in _images(storage, plan, with_pixels=True)),
        [None if one.class_index == _NO_CLASS else one.class_index for one in found],
        out,
        keys=keys,
        split=[one.split for one in found],
        classes=classes,
        provenance={
            "source_path": [one.source_path for one in found],
            "source_sha256": [one.sha256 for one in found],
            "corruption": [f"{attack.attack} eps {attack.eps:.6g} against {against}"] * len(found),
        },
        origin="attacked",
        label_source="parent",
    )
    return result.url


def _images(storage: Storage, plan: AttackPlan, *, with_pixels: bool) -> Iterator[tuple[str, UInt8s]]:
    """Key and pixels of each attacked image, in the order of the plan."""
    for batch in range(plan.num_batches):
        path = _path(batch)
        try:
            with pa.ipc.open_stream(storage.read(path)) as stream:
                table = stream.read_all()
        except (NotFoundError, pa.ArrowException, OSError) as error:
            raise DatasetError(
                f"{storage.object_url(path)} is gone or damaged ({first_line(error)}): run the same command again with "
                "--replace"
            ) from None
        side = int(table.schema.metadata[b"side"])
        empty = np.empty((0, 0, 3), np.uint8)
        for key, pixels in zip(table["key"].to_pylist(), table["pixels"], strict=True):
            if with_pixels:
                yield key, np.frombuffer(pixels.as_buffer(), np.uint8).reshape(side, -1, 3)
            else:
                yield key, empty


def _parents(dataset: Dataset) -> tuple[dict[str, _Parent], list[str]]:
    """Key -> what its image was; and the names of the classes by number."""
    from shardtools.sql import query

    rows = query(
        "select key, split, class_index, wnid, sha256 from samples where status = 'ok'",
        (dataset.storage.url,),
    ).to_pylist()
    names: dict[int, str] = {}
    parents = {}
    for row in rows:
        number = _NO_CLASS if row["class_index"] is None else int(row["class_index"])
        if number != _NO_CLASS and row["wnid"]:
            names[number] = str(row["wnid"])
        parents[row["key"]] = _Parent(
            split=row["split"],
            class_index=number,
            sha256=row["sha256"],
            source_path=row["key"],
        )
    # A number between two that no image has needs a name too, which no class has.
    return parents, [names.get(number, f"class-{number}") for number in range(max(names, default=-1) + 1)]


def _path(batch: int) -> str:
    return f"work/images-{batch:06d}.arrow"
