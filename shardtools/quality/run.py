"""The quality pass: every image of a dataset is read once, measured, and becomes a row of the overlay `quality`.

Owns the order of work and what becomes of images that cannot be measured: a row with a status and the reason. Rows come
in the order of the loader's table, a fixed number a part, and every part is committed; so a stopped run goes on after
the last part, and the result is the same. The price: until it is finished, readers see the rows so far (`is_complete`).
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.dataset import open_dataset
from shardtools.decode import Decoder, DecodeStatus
from shardtools.errors import DatasetError
from shardtools.loader import LoaderOptions, OrderOptions, ResizeOptions, SampleTable, read_all
from shardtools.loader.decoding import BatchDecoder
from shardtools.loader.reading import BatchReader
from shardtools.loader.reading_batch import RawBatch
from shardtools.loader.reading_options import ReadOptions
from shardtools.overlays import Overlay, OverlayInfo, OverlayWriter, find_overlay, fits, open_overlay_at
from shardtools.overlays.layout import OVERLAY_FILE
from shardtools.quality.measures import Measures, measure
from shardtools.quality.options import MADE_BY, OVERLAY_NAME, QualityOptions
from shardtools.quality.pdq import HASH_BYTES, SIDE
from shardtools.storage import open_storage, read_ahead

_IMAGES_AT_A_TIME = 8
"""What is measured at once: its intermediate arrays then stay in a core's cache."""

_BATCHES_PER_THREAD = 2

MEASURES = tuple(field.name for field in fields(Measures) if field.name != "hashes")

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        *((name, pa.float32()) for name in MEASURES),
        ("pdq", pa.binary(HASH_BYTES)),
        ("pdq_mirrored", pa.binary(HASH_BYTES)),
        ("pdq_quality", pa.uint8()),
    ]
)
"""Columns of the overlay. `status` is ok, undecodable or unreadable; measures are null where it is not ok."""

Progress = Callable[[int, int], None]
"""Called with the images done and their total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityResult:
    """What a run did.

    Attributes:
        info: The overlay's commit.
        num_images: Rows of the overlay: images of the dataset.
        num_measured: Images that this run read.
        num_failed: Images of these that could not be measured.
    """

    info: OverlayInfo
    num_images: int
    num_measured: int
    num_failed: int


def measure_dataset(options: QualityOptions, progress: Progress | None = None) -> QualityResult:
    """Measures all images of a dataset, or those that an earlier run left, and writes the overlay `quality`.

    Raises:
        DatasetError: The dataset is not finished, or an overlay that is there is of another version of it.
        PlanMismatchError: The overlay to go on with was made by other options or another decoder.
        OptionError: The dataset has no image.
        ShardError: A whole shard cannot be read.
        AccessError: The place of the overlay cannot be written.
    """
    table = read_all([options.dataset])
    decoders = [Decoder(options.decode_options()) for _ in range(options.threads)]
    found = None if options.replace else _existing(options)
    if found is not None and is_complete(found.info) and fits(found.info, open_dataset(options.dataset)):
        return QualityResult(info=found.info, num_images=len(table), num_measured=0, num_failed=0)
    num_done = 0 if found is None else found.info.num_rows
    num_failed = 0
    with OverlayWriter(
        options.dataset,
        OVERLAY_NAME,
        made_by=MADE_BY,
        settings=_settings(table, decoders[0]),
        replace=options.replace,
        resume_parts=None if options.replace else len(found.info.parts) if found else 0,
        out=options.out,
    ) as writer:
        info = None if found is None else found.info
        if progress is not None:
            progress(num_done, len(table))
        for start in range(num_done, len(table), options.rows_per_part):
            part = range(start, min(start + options.rows_per_part, len(table)))
            rows = _measure_rows(table, part, options, decoders, progress)
            num_failed += int(rows["pdq"].null_count)
            writer.add(rows)
            info = writer.commit()
    if info is None:
        raise DatasetError(f"{options.dataset} has no image to measure: check the dataset")
    return QualityResult(info=info, num_images=len(table), num_measured=len(table) - num_done, num_failed=num_failed)


def is_complete(info: OverlayInfo) -> bool:
    """Whether the overlay has a row for each image of its dataset, or its run was stopped."""
    return info.num_rows == info.settings.get("num_images")


def _existing(options: QualityOptions) -> Overlay | None:
    if options.out is None:
        return find_overlay(open_dataset(options.dataset), OVERLAY_NAME)
    storage = open_storage(options.out)
    is_there = any(stored.path == OVERLAY_FILE for stored in storage.list())
    return open_overlay_at(options.out) if is_there else None


def _settings(table: SampleTable, decoder: Decoder) -> dict[str, Any]:
    """What decides on the numbers; a decoder that makes the same pixels is the same."""
    facts = decoder.facts()
    return {
        "hash": "pdq",
        "side": SIDE,
        "interpolation": facts["interpolation"],
        "allow_scaled": facts["allow_scaled"],
        "num_images": len(table),
    }


def _measure_rows(
    table: SampleTable, part: range, options: QualityOptions, decoders: list[Decoder], progress: Progress | None
) -> pa.Table:
    """The rows of one part, in the table's order."""
    loading = LoaderOptions(
        datasets=(options.dataset,),
        crop=ResizeOptions(height=SIDE, width=SIDE),
        order=OrderOptions(shuffle="none"),
        read=ReadOptions(max_bad_share=1.0),
    )
    idle: queue.SimpleQueue[BatchDecoder] = queue.SimpleQueue()
    for decoder in decoders:
        idle.put(BatchDecoder(loading, table, decoder))
    steps = (
        np.arange(start, min(start + options.batch_size, part.stop), dtype=np.int64)
        for start in range(part.start, part.stop, options.batch_size)
    )

    def work(raw: RawBatch) -> pa.Table:
        decoder = idle.get()
        try:
            return _measure_batch(raw, decoder, table)
        finally:
            idle.put(decoder)

    batches, num_done = [], part.start
    with BatchReader(table, loading.read) as reader:
        calls = (partial(work, raw) for raw in reader.batches(steps))
        for batch in read_ahead(calls, len(decoders) * _BATCHES_PER_THREAD, num_threads=len(decoders)):
            batches.append(batch)
            num_done += batch.num_rows
            if progress is not None:
                progress(num_done, len(table))
    return pa.concat_tables(batches)


def _measure_batch(raw: RawBatch, decoder: BatchDecoder, table: SampleTable) -> pa.Table:
    [images], statuses = decoder.decode(raw, np.zeros(len(raw), np.int64))
    reasons: list[str | None] = [None] * len(raw)
    status = np.full(len(raw), "ok", dtype=object)
    for index in np.flatnonzero(statuses != DecodeStatus.OK).tolist():
        status[index], reasons[index] = "undecodable", DecodeStatus(int(statuses[index])).name.lower().replace("_", " ")
    unread = {found.row: found.reason for found in raw.replacements}
    for index in np.flatnonzero(raw.replaced).tolist():
        # Another picture stands in its place, which has a row of its own.
        status[index], reasons[index] = "unreadable", unread.get(int(raw.asked[index]))
    sizes = np.stack([table.width[raw.asked], table.height[raw.asked]], axis=1)
    measured = [
        measure(images[start : start + _IMAGES_AT_A_TIME, 0], sizes[start : start + _IMAGES_AT_A_TIME])
        for start in range(0, len(raw), _IMAGES_AT_A_TIME)
    ]
    missing = status != "ok"
    columns: dict[str, Any] = {
        "key": pa.array(table.key_strings(raw.asked), pa.string()),
        "status": pa.array(status.tolist(), pa.string()),
        "reason": pa.array(reasons, pa.string()),
    }
    for name in MEASURES:
        columns[name] = pa.array(np.concatenate([getattr(one, name) for one in measured]), mask=missing)
    hashes = [one.hashes for one in measured]
    columns["pdq"] = _binary(np.concatenate([one.hashes for one in hashes]), missing)
    columns["pdq_mirrored"] = _binary(np.concatenate([one.mirrored for one in hashes]), missing)
    columns["pdq_quality"] = pa.array(np.concatenate([one.quality for one in hashes]), mask=missing)
    return pa.table(columns, schema=SCHEMA)


def _binary(hashes: npt.NDArray[np.uint8], missing: npt.NDArray[np.bool_]) -> pa.Array:
    rows = [None if gone else content.tobytes() for content, gone in zip(hashes, missing.tolist(), strict=True)]
    return pa.array(rows, pa.binary(HASH_BYTES))
