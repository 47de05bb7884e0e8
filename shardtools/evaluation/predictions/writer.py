"""Writing predictions: batches in any order by any number of processes, seen as an overlay from the commit on.

Owns the order of writes that `batch_plan.py` draws. A batch exists when its file does, a part when the file with its
digest does; only then do the batches of the part go. Killed anywhere, a run loses the batch that each process had in
hand. The price of one file a batch: two flushes to the disk, which the caller may leave to a thread.
"""

from __future__ import annotations

import io
import re
from dataclasses import asdict, dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from shardtools.dataset import Dataset
from shardtools.documents import FieldError, build, json_bytes, read_json
from shardtools.errors import DatasetError, NotFoundError, first_line
from shardtools.evaluation.predictions.batch_plan import BatchPlan
from shardtools.evaluation.predictions.rows import ALL_LOGITS, KEY
from shardtools.manifest import digest
from shardtools.overlays import OVERLAY_FILE, OverlayColumn, OverlayInfo, OverlayPart, overlay_folder
from shardtools.storage import Storage, open_storage
from shardtools.words import counted

PlanT = TypeVar("PlanT", bound=BatchPlan)

WORK = "work/"
_PLAN_FILE = WORK + "plan.json"
_BATCH = re.compile(r"work/batch-(\d{6})\.arrow")
_PART = re.compile(r"work/part-(\d{6})\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class _PartFile:
    """What stands beside a part: what the commit says of it, and its columns."""

    part: OverlayPart
    columns: tuple[OverlayColumn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What of a plan is written: numbers of parts, and of batches whose part is not; whether all is committed."""

    parts: frozenset[int] = frozenset()
    batches: frozenset[int] = frozenset()
    is_committed: bool = False

    def parts_left(self, plan: BatchPlan) -> list[int]:
        """Parts that are to be written, rising."""
        return [] if self.is_committed else [part for part in range(plan.num_parts) if part not in self.parts]

    def batches_left(self, plan: BatchPlan) -> list[int]:
        """Batches that are to be computed, rising."""
        parts = self.parts_left(plan)
        return [batch for part in parts for batch in plan.batches_of(part) if batch not in self.batches]


def predictions_storage(dataset: Dataset, name: str, out: str | None = None) -> Storage:
    """The place of a dataset's predictions: their own folder in it, or `out`."""
    return open_storage(dataset.storage.object_url(overlay_folder(name)) if out is None else out)


def claim(storage: Storage, plan: BatchPlan, *, replace: bool = False) -> Done:
    """Begins a plan or goes on with it; for one process, before the others write.

    Args:
        storage: Of the predictions' own folder.
        plan: What is to be written.
        replace: Whether finished predictions, or a run of another plan, are removed first. A run of this plan goes on.

    Returns:
        What is there of it.

    Raises:
        PlanMismatchError: The folder holds predictions of another plan.
        DatasetError: It holds another overlay.
        AccessError: It cannot be written.
    """
    kind = type(plan)
    committed = _committed_plan(storage, kind, replace=replace)
    if committed is not None and not replace:
        plan.check(committed, where=storage.url)
        # Of a run that was killed after its commit.
        _clear_work(storage)
        return Done(is_committed=True)
    if storage.exists(OVERLAY_FILE):
        clear_predictions(storage)
    content = plan.to_json()
    try:
        found = storage.read(_PLAN_FILE)
    except NotFoundError:
        # Batches without a plan are of another one, whose removal was killed halfway.
        clear_predictions(storage)
        storage.write(_PLAN_FILE, content)
        return Done()
    if found != content:
        if not replace:
            plan.check(kind.from_json(found, where=storage.object_url(_PLAN_FILE)), where=storage.url)
        clear_predictions(storage)
        storage.write(_PLAN_FILE, content)
    return written(storage)


def _committed_plan(storage: Storage, kind: type[PlanT], *, replace: bool) -> PlanT | None:
    try:
        content = storage.read(OVERLAY_FILE)
    except NotFoundError:
        return None
    where = storage.object_url(OVERLAY_FILE)
    # What is to be replaced need not be intact.
    return None if replace else kind.of_overlay(OverlayInfo.from_json(content, where=where), where=where)


def read_plan(storage: Storage, kind: type[PlanT]) -> PlanT | None:
    """The plan of a run that is not committed; `None` where there is none."""
    try:
        return kind.from_json(storage.read(_PLAN_FILE), where=storage.object_url(_PLAN_FILE))
    except NotFoundError:
        return None


def written(storage: Storage) -> Done:
    """What is there of a plan that is not committed."""
    paths = [stored.path for stored in storage.list(WORK)]
    parts = [_PART.fullmatch(path) for path in paths]
    batches = [_BATCH.fullmatch(path) for path in paths]
    return Done(
        parts=frozenset(int(found[1]) for found in parts if found is not None),
        batches=frozenset(int(found[1]) for found in batches if found is not None),
    )


class PredictionWriter:
    """Writes batches and parts of one plan; several processes may each have one, for batches and parts of their own."""

    def __init__(self, storage: Storage, plan: BatchPlan) -> None:
        self._storage, self.plan = storage, plan

    def add_batch(self, batch: int, table: pa.Table) -> None:
        """Makes the rows of a batch (0-based) durable.

        Raises:
            DatasetError: Rows are missing.
            NoSpaceError: The disk is full.
        """
        asked = len(self.plan.rows_of(batch))
        if table.num_rows != asked:
            raise DatasetError(f"batch {batch} of {self.plan.name}: expected {asked} rows, found {table.num_rows}")
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        self._storage.write(_batch_path(batch), sink.getvalue())

    def finish_part(self, part: int) -> None:
        """Makes a part (0-based) of its batches, which are all there.

        Raises:
            DatasetError: A batch is gone or damaged.
            NoSpaceError: The disk is full.
        """
        batches = self.plan.batches_of(part)
        table = pa.concat_tables(self._read_batch(batch) for batch in batches).combine_chunks()
        sink = io.BytesIO()
        # Random numbers have no words that come again: a dictionary of them is looked for in vain.
        dictionaries = [name for name in table.schema.names if name not in (KEY, ALL_LOGITS)]
        pq.write_table(table, sink, compression="zstd", use_dictionary=dictionaries)
        content = sink.getvalue()
        sha256 = digest(content)
        path = f"part-{part:06d}-{sha256[:8]}.parquet"
        facts = _PartFile(
            part=OverlayPart(path=path, num_rows=table.num_rows, num_bytes=len(content), sha256=sha256),
            columns=tuple(OverlayColumn(name=field.name, type=str(field.type)) for field in table.schema),
        )
        self._storage.write(path, content)
        # This makes the part exist: killed before it, the part is put together again.
        self._storage.write(_part_path(part), json_bytes(asdict(facts)))
        for batch in batches:
            self._storage.delete(_batch_path(batch))

    def _read_batch(self, batch: int) -> pa.Table:
        path = _batch_path(batch)
        try:
            with pa.ipc.open_stream(self._storage.read(path)) as stream:
                return stream.read_all()
        except (NotFoundError, pa.ArrowException, OSError) as error:
            raise DatasetError(
                f"{self._storage.object_url(path)} is gone or damaged ({first_line(error)}): remove it and run the "
                "same command again"
            ) from None


def commit_predictions(storage: Storage, kind: type[BatchPlan]) -> OverlayInfo | None:
    """Makes the parts one overlay, if all are there; `None` while some are missing.

    Raises:
        DatasetError: No run has begun, or a part is gone.
    """
    plan = read_plan(storage, kind)
    if plan is None:
        raise DatasetError(f"{storage.object_url(_PLAN_FILE)} is gone: run the same command again")
    sizes = {stored.path: stored.num_bytes for stored in storage.list()}
    parts = []
    for number in range(plan.num_parts):
        if _part_path(number) not in sizes:
            return None
        file = _read_part(storage, _part_path(number))
        if sizes.get(file.part.path) != file.part.num_bytes:
            raise DatasetError(
                f"{storage.object_url(file.part.path)}: expected {file.part.num_bytes} bytes, found "
                f"{sizes.get(file.part.path)}: remove {_part_path(number)} beside it and run the same command again"
            )
        parts.append(file)
    info = OverlayInfo(
        name=plan.name,
        made_by=plan.made_by,
        settings=plan.settings(),
        dataset_sha256=plan.dataset_sha256,
        dataset_num_rows=plan.dataset_num_rows,
        unique=plan.unique,
        columns=parts[0].columns,
        parts=tuple(file.part for file in parts),
    )
    storage.write(OVERLAY_FILE, info.to_json())
    _clear_work(storage)
    listed = {part.path for part in info.parts}
    # A part that was computed twice, by a device that does not give the same bits.
    for path in sizes:
        if path.startswith("part-") and path.endswith(".parquet") and path not in listed:
            storage.delete(path)
    return info


def is_committed(storage: Storage, kind: type[BatchPlan]) -> bool:
    """Whether the overlay is whole, by now; commits it where all parts are there."""
    if read_plan(storage, kind) is None:
        return storage.exists(OVERLAY_FILE)
    return commit_predictions(storage, kind) is not None


def unfinished(storage: Storage, kind: type[BatchPlan], *, stopped: bool) -> str:
    """What to say of a run that left batches; `stopped` tells whether it was asked to."""
    plan = read_plan(storage, kind)
    if plan is None:
        return f"stopped before the first batch in {storage.url}: run the same command again"
    left = len(written(storage).batches_left(plan))
    how = "stopped" if stopped else "ended"
    return (
        f"{how} with {plan.num_batches - left} of {counted(plan.num_batches, 'batch', 'batches')} in {storage.url}: "
        "run the same command again, it resumes"
    )


def clear_predictions(storage: Storage) -> None:
    """Removes predictions from their folder, the commit first; files of other programs stay."""
    storage.delete(OVERLAY_FILE)
    _clear_work(storage)
    for stored in storage.list():
        if stored.path.startswith("part-") and stored.path.endswith(".parquet"):
            storage.delete(stored.path)


def _clear_work(storage: Storage) -> None:
    """Removes what only a run needs; the plan first, for without it nothing else is looked at."""
    for path in sorted((stored.path for stored in storage.list(WORK)), key=lambda path: (path != _PLAN_FILE, path)):
        storage.delete(path)


def _read_part(storage: Storage, path: str) -> _PartFile:
    try:
        return build(_PartFile, read_json(storage.read(path)))
    except (FieldError, ValueError):
        raise DatasetError(f"{storage.object_url(path)} is damaged: remove it and run the same command again") from None


def _batch_path(batch: int) -> str:
    return f"{WORK}batch-{batch:06d}.arrow"


def _part_path(part: int) -> str:
    return f"{WORK}part-{part:06d}.json"
