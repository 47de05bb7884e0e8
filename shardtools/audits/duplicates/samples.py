"""The samples that are compared: what manifests and `quality` overlays say of all images of all datasets.

Owns the one SQL statement that reads them, and the refusal of datasets without hashes. About 200 bytes a row are in
memory; the order, and with it every number of a group, is that of the given datasets and of the keys in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import Int64s, UInt8s
from shardtools.audits.duplicates.options import DuplicatesOptions
from shardtools.audits.quality import HASH_BYTES, OVERLAY_NAME, is_complete
from shardtools.dataset import Dataset, open_dataset
from shardtools.errors import DatasetError
from shardtools.overlays import Overlay, find_overlay, fits, open_overlay_at
from shardtools.quoting import shell_word

# Copies are numbered only where there is more than one, which needs no digest in memory.
_SAMPLES = """
with copies as (
    select sha256, row_number() over (order by sha256) - 1 as copy
    from samples where status = 'ok' and sha256 is not null
    group by sha256 having count(*) > 1
)
select s.dataset, s.key, s.split, s.wnid, s.source, c.copy, {object} as object, {view} as view{columns}
from samples as s left join copies as c on s.sha256 = c.sha256{join}
where s.status = 'ok'
"""
# Pictures of one rendered object in one split of one dataset; and those of them that are one picture by design.
_OBJECT = "case when s.source = 'rendered' then hash(s.dataset, s.split, s.mesh_sha256, s.pose_axis, s.camera) end"
_VIEW = """case when s.source = 'rendered' then hash(
    s.dataset, s.split, s.mesh_sha256, s.pose_axis, s.camera, s.pose - 360 * floor(s.pose / 360), s.size, s.position,
    s.hue - floor(s.hue), s.background_sha256
) end"""
_HASH_COLUMNS = ", q.pdq, q.pdq_mirrored, q.pdq_quality"
_HASH_JOIN = f" left join overlays.{OVERLAY_NAME} as q on s.dataset = q.dataset and s.key = q.key"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """All images, in the order of datasets and keys.

    Attributes:
        datasets: Addresses, as they were given.
        keys: Text [N].
        splits: Text [N].
        dataset: Number in `datasets`, int64 [N].
        place: Number of the pair of dataset and split, int64 [N].
        label: Number of the class name, -1 where there is none, int64 [N]; the same in all datasets.
        preference: Which of a group is kept: smaller is preferred, int64 [N]; see `_preference`.
        copy: Number of the set of images with the same bytes, -1 where there is one only, int64 [N].
        rendered_object: Number of the rendered object and its place, -1 for other images, int64 [N].
        rendered_view: Number of the set of its pictures that a grid makes twice by design (poses of -180 and 180
            degrees, hues of 0 and 1, the canonical picture in several grids), -1 likewise, int64 [N].
        hashes: uint8 [N, 32], or `None` where they were not asked for.
        mirrored: uint8 [N, 32], or `None`.
        has_hash: Whether the row has a hash that is good enough to compare, bool [N].
    """

    datasets: tuple[str, ...]
    keys: pa.ChunkedArray
    splits: pa.ChunkedArray
    dataset: Int64s
    place: Int64s
    label: Int64s
    preference: Int64s
    copy: Int64s
    rendered_object: Int64s
    rendered_view: Int64s
    hashes: UInt8s | None
    mirrored: UInt8s | None
    has_hash: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.copy)


def read_samples(options: DuplicatesOptions) -> Samples:
    """Reads the images of all datasets.

    Raises:
        DatasetError: A dataset is not finished, or has no hashes though they are needed.
        OptionError: A dataset is given twice.
    """
    # Takes a second where pandas is installed, which `--help` need not wait for.
    from shardtools.sql import query

    opened = [open_dataset(url) for url in options.datasets]
    if options.uses_hashes:
        _check_hashes(options.datasets, opened, [open_overlay_at(url) for url in options.overlays])
    sql = _SAMPLES.format(
        object=_OBJECT,
        view=_VIEW,
        columns=_HASH_COLUMNS if options.uses_hashes else "",
        join=_HASH_JOIN if options.uses_hashes else "",
    )
    rows = query(sql, options.datasets, overlays=options.overlays if options.uses_hashes else ())
    numbers = pc.index_in(rows["dataset"], value_set=pa.array(options.datasets))
    # Datasets in the order they were given, whatever SQL made of it: of a pair, the earlier one is `a`.
    order = pc.sort_indices(
        pa.table({"dataset": numbers, "key": rows["key"]}), sort_keys=[("dataset", "ascending"), ("key", "ascending")]
    )
    rows, dataset = rows.take(order), _integers(numbers.take(order))
    split = _codes(rows["split"])
    has_hash = np.zeros(len(rows), np.bool_)
    if options.uses_hashes:
        has_hash = _integers(rows["pdq_quality"]) >= options.min_quality
    return Samples(
        datasets=options.datasets,
        keys=rows["key"],
        splits=rows["split"],
        dataset=dataset,
        # Splits are numbered over all datasets, from -1 (none) on: two more than the largest number keeps datasets
        # apart.
        place=dataset * (int(split.max(initial=0)) + 2) + split + 1,
        label=_codes(rows["wnid"]),
        preference=_preference(rows["split"], rows["source"]),
        copy=_integers(rows["copy"]),
        rendered_object=_codes(rows["object"]),
        rendered_view=_codes(rows["view"]),
        hashes=_hashes(rows["pdq"]) if options.uses_hashes else None,
        mirrored=_hashes(rows["pdq_mirrored"]) if options.uses_hashes else None,
        has_hash=has_hash & (_integers(rows["pdq_quality"]) >= 0) if options.uses_hashes else has_hash,
    )


def _check_hashes(urls: Sequence[str], opened: Sequence[Dataset], elsewhere: Sequence[Overlay]) -> None:
    for url, dataset in zip(urls, opened, strict=True):
        found = find_overlay(dataset, OVERLAY_NAME)
        found = found or next((one for one in elsewhere if fits(one.info, dataset)), None)
        if found is None:
            raise DatasetError(
                f"{url} has no overlay {OVERLAY_NAME!r}, which holds the perceptual hashes: run `shardtools quality "
                f"{shell_word(url)}` first, or look for --kind exact only"
            )
        if not is_complete(found.info):
            raise DatasetError(
                f"overlay {OVERLAY_NAME} at {found.url} is not finished ({found.info.num_rows} of "
                f"{found.info.settings.get('num_images')} images): run `shardtools quality "
                f"{shell_word(url)}` again, it goes on"
            )


def _preference(splits: pa.ChunkedArray, sources: pa.ChunkedArray) -> Int64s:
    """Test before validation before others before training images, and real before made ones.

    A leak is cut out of the training or the generated set, so that scores stay comparable.
    """
    ranks = {"test": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "train": 3}
    split = [ranks.get(name, 2) for name in splits.to_pylist()]
    is_made = np.array([source != "real" for source in sources.to_pylist()], np.int64)
    return np.array(split, np.int64) * 2 + is_made


def _codes(values: pa.ChunkedArray) -> Int64s:
    """A number for each different value, -1 for null."""
    return _integers(values.combine_chunks().dictionary_encode().indices)


def _integers(column: pa.Array | pa.ChunkedArray) -> Int64s:
    """Null as -1."""
    return np.asarray(pc.fill_null(column.cast(pa.int64()), -1).to_numpy(), np.int64)


def _hashes(column: pa.ChunkedArray) -> UInt8s:
    content = b"".join(pc.fill_null(column.cast(pa.binary()), bytes(HASH_BYTES)).to_pylist())
    return np.frombuffer(content, np.uint8).reshape(-1, HASH_BYTES)
