"""The quality pass: every image of a dataset is read once, measured, and becomes a row of the overlay `quality`.

Owns the order of work and what becomes of images that cannot be measured: a row with a status and the reason. Rows come
in the order of the loader's table, a fixed number a part, and every part is committed; so a stopped run goes on after
the last part, and the result is the same. The price: until it is finished, readers see the rows so far (`is_complete`).
"""

from __future__ import annotations

import queue
import uuid
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.audits.quality.measures import Measures, measure
from shardtools.audits.quality.options import MADE_BY, OVERLAY_NAME, QualityOptions
from shardtools.audits.quality.pdq import HASH_BYTES, SIDE
from shardtools.dataset import open_dataset
from shardtools.decode import Decoder, DecodeStatus
from shardtools.errors import DatasetError
from shardtools.execution import (
    Batch,
    Executor,
    Planned,
    Progress,
    Ready,
    TaskDone,
    TaskFacts,
    Work,
    ignore,
    in_task_order,
    run_in_threads,
)
from shardtools.loader import LoaderOptions, OrderOptions, ResizeOptions, SampleTable, read_all
from shardtools.loader.crops.decoding import BatchDecoder
from shardtools.loader.reading.batch import RawBatch
from shardtools.loader.reading.options import ReadOptions
from shardtools.loader.reading.reader import BatchReader
from shardtools.overlays import OVERLAY_FILE, Overlay, OverlayInfo, OverlayWriter, find_overlay, fits, open_overlay_at
from shardtools.storage import open_storage, read_ahead

_IMAGES_AT_A_TIME = 8
"""What is measured at once: its intermediate arrays then stay in a core's cache."""

_BATCHES_PER_THREAD = 2

MEASURES = tuple(one.name for one in fields(Measures) if one.name != "hashes")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """The parts of the overlay that are to be measured; an `execution.Job`.

    Attributes:
        run_id: Of no log: the overlay itself tells what is done.
        options: What was asked for.
        table: The dataset's images.
        tasks: Rows of each part.
    """

    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    options: QualityOptions
    table: SampleTable
    tasks: tuple[range, ...]

    @property
    def url(self) -> str:
        """The dataset."""
        return self.options.dataset

    def close(self) -> None:
        """Nothing stays open."""


def measure_dataset(
    options: QualityOptions, progress: Progress | None = None, *, run: Executor = run_in_threads
) -> QualityResult:
    """Measures all images of a dataset, or those that an earlier run left, and writes the overlay `quality`.

    Args:
        options: Which dataset, and how much at a time.
        progress: Called with `Planned`, `Ready` and, as images are done, `Batch`.
        run: Measures the parts, one after the other: a part has threads of its own.

    Raises:
        DatasetError: The dataset is not finished, or an overlay that is there is of another version of it.
        PlanMismatchError: The overlay to go on with was made by other options or another decoder.
        OptionError: The dataset has no image.
        ShardError: A whole shard cannot be read.
        AccessError: The place of the overlay cannot be written.
    """
    show = progress or ignore
    table = read_all([options.dataset])
    # Decoders are checked here: an option that none of them has stops the run before it reads an image.
    decoder = Decoder(options.decode_options())
    found = None if options.replace else _existing(options)
    # Everything is there, for this version of the dataset: nothing is opened for writing.
    if found is not None and is_complete(found.info) and fits(found.info, open_dataset(options.dataset)):
        return QualityResult(info=found.info, num_images=len(table), num_measured=0, num_failed=0)
    num_done = 0 if found is None else found.info.num_rows
    starts = range(num_done, len(table), options.rows_per_part)
    tasks = tuple(range(start, min(start + options.rows_per_part, len(table))) for start in starts)
    job = _Job(options=options, table=table, tasks=tasks)
    num_failed = 0
    info = None if found is None else found.info
    with OverlayWriter(
        options.dataset,
        OVERLAY_NAME,
        made_by=MADE_BY,
        settings=_settings(table, decoder),
        replace=options.replace,
        # Parts are committed in the order of the table, so the rows that are there are a prefix, and their number is
        # where to go on.
        resume_parts=None if options.replace else len(found.info.parts) if found else 0,
        out=options.out,
    ) as writer:

        def take(done: TaskDone) -> None:
            nonlocal info, num_failed
            rows: pa.Table = done.facts.result
            num_failed += int(rows["pdq"].null_count)
            writer.add(rows)
            info = writer.commit()

        show(Planned(rows=len(table), rows_to_make=len(table) - num_done, num_tasks=len(tasks), num_processes=1))
        show(Ready())
        run(Work(job=job, make_task=_measure_part, keeps_log=False), 1, in_task_order(take, show), lambda: False)
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


def _measure_part(job: _Job, part: range, report: Progress) -> TaskFacts:
    """The rows of one part, in the table's order."""
    options, table = job.options, job.table
    loading = LoaderOptions(
        datasets=(options.dataset,),
        crop=ResizeOptions(height=SIDE, width=SIDE),
        order=OrderOptions(shuffle="none"),
        read=ReadOptions(max_bad_share=1.0),
    )
    # A decoder serves one thread at a time: threads take one that is idle and put it back.
    idle: queue.SimpleQueue[BatchDecoder] = queue.SimpleQueue()
    for _ in range(options.threads):
        idle.put(BatchDecoder(loading, table, Decoder(options.decode_options())))
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

    batches, num_threads = [], options.threads
    with BatchReader(table, loading.read) as reader:
        calls = (partial(work, raw) for raw in reader.batches(steps))
        for batch in read_ahead(calls, num_threads * _BATCHES_PER_THREAD, num_threads=num_threads):
            batches.append(batch)
            report(Batch(rows=batch.num_rows))
    return TaskFacts(rows=len(part), result=pa.concat_tables(batches))


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
