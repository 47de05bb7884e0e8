"""How far a dataset is: read from its files alone, also while a run is writing.

Owns no state. The price: the speed and the time left come from the event logs, which lag a few seconds behind.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import pyarrow.compute as pc

from shardtools.dataset.appends import num_rows_planned, num_shards_planned
from shardtools.dataset.commit_file import DATASET_FILE
from shardtools.dataset.opening import list_parts, open_dataset
from shardtools.dataset.plan_file import read_plan_file
from shardtools.errors import DatasetError
from shardtools.execution import read_events
from shardtools.manifest import decode_part
from shardtools.storage import Storage, open_storage

RUNNING_WITHIN_SECONDS = 60.0
"""A run whose last event is older than this is taken for ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetStatus:
    """Progress of one dataset.

    Attributes:
        url: Where it is.
        kind: One of `KINDS`.
        committed: Whether `dataset.json` is there and lists every part.
        num_shards: Committed shards.
        num_shards_planned: Shards that make it whole; `None` where only the source's end tells.
        num_rows: Committed rows.
        num_rows_planned: Rows that make it whole; `None` likewise.
        statuses: Status -> committed rows.
        num_bytes: Total of the committed image payloads.
        images_per_second: Over the processes now running; `None` where none runs.
        seconds_left: Estimated; `None` where unknown.
        num_processes: Processes of the latest run.
        last_event_time: Unix seconds; `None` without a log.
    """

    url: str
    kind: str
    committed: bool
    num_shards: int
    num_shards_planned: int | None
    num_rows: int
    num_rows_planned: int | None
    statuses: dict[str, int]
    num_bytes: int
    images_per_second: float | None
    seconds_left: float | None
    num_processes: int | None
    last_event_time: float | None


def read_status(url: str) -> DatasetStatus:
    """Reads the status of the dataset at `url`.

    Raises:
        DatasetError: There is no dataset.
        FormatVersionError: Written by another format version.
    """
    storage = open_storage(url)
    plan = read_plan_file(storage)
    paths = list_parts(storage)
    if plan is None and not paths:
        raise DatasetError(f"{storage.url} is no dataset: it has neither plan.json nor manifest parts: check the path")
    info = open_dataset(url).info if storage.exists(DATASET_FILE) else None
    # More parts than the commit lists are those of an append that is under way, so they are counted one by one.
    committed = info is not None and len(info.parts) == len(paths)
    if info is not None and committed:
        statuses, num_bytes = Counter(info.statuses), sum(split.num_bytes for split in info.splits.values())
    else:
        statuses, num_bytes = _count(storage, paths)
    num_rows = sum(statuses.values())
    latest, speed = _latest_run(list(read_events(storage)))
    planned = num_rows_planned(storage, plan)
    return DatasetStatus(
        url=storage.url,
        kind=plan.kind if plan else "real",
        committed=committed and (planned is None or num_rows == planned),
        num_shards=len(paths),
        num_shards_planned=num_shards_planned(storage, plan),
        num_rows=num_rows,
        num_rows_planned=planned,
        statuses=dict(sorted(statuses.items())),
        num_bytes=num_bytes,
        images_per_second=speed,
        seconds_left=(planned - num_rows) / speed if planned is not None and speed else None,
        num_processes=latest[1] if latest else None,
        last_event_time=latest[0] if latest else None,
    )


def _count(storage: Storage, paths: list[str]) -> tuple[Counter[str], int]:
    """Rows by status and bytes of images over the given parts."""
    statuses: Counter[str] = Counter()
    num_bytes = 0
    for path in paths:
        table = decode_part(storage.read(path), where=storage.object_url(path)).table
        statuses.update(table["status"].to_pylist())
        num_bytes += pc.sum(table["num_bytes"]).as_py() or 0
    return statuses, num_bytes


def _latest_run(events: list[dict[str, object]]) -> tuple[tuple[float, int] | None, float | None]:
    """(last time, processes) of the latest run, and its images per second while it runs."""
    if not events:
        return None, None
    last = max(events, key=lambda event: float(str(event["time"])))
    # The log of a rank is named by its run, so this takes the ranks of the run that wrote last, and no earlier ones.
    run = str(last["log"]).split("-rank")[0]
    speeds: dict[str, float] = {}
    num_processes = 1
    for event in events:
        if str(event["log"]).split("-rank")[0] != run:
            continue
        num_processes = int(str(event.get("num_processes", num_processes)))
        if "images_per_second" in event:
            speeds[str(event["log"])] = float(str(event["images_per_second"]))
        # A process that has ended adds nothing to the speed.
        if event["event"] == "end":
            speeds.pop(str(event["log"]), None)
    last_time = float(str(last["time"]))
    running = time.time() - last_time < RUNNING_WITHIN_SECONDS and speeds
    return (last_time, num_processes), (sum(speeds.values()) if running else None)
