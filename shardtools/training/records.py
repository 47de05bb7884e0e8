"""What a run noted of each sample: loss, margin, prediction, an epoch a time.

Owns the notes in memory and their files. A note takes 32 bytes, so an epoch of 1.28 million samples takes 41 MB, and
the notes of an unfinished epoch travel with the checkpoint. The price: notes are of the weights at the moment that a
sample was seen, augmented as it was then, not of one state of the network.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from shardtools.arrays import from_int64
from shardtools.loader import SampleTable
from shardtools.overlays import OVERLAY_FILE, OverlayWriter, open_overlay_at

COLUMNS: dict[str, npt.DTypeLike] = {
    "row": np.int64,
    "step": np.int64,
    "label": np.int32,
    "predicted": np.int32,
    "loss": np.float32,
    "margin": np.float32,
}
"""Column -> type. `row` is the row of the loader's table, `margin` the logit of the label minus the largest other."""


class Records:
    """The notes of one epoch."""

    def __init__(self) -> None:
        self._parts: list[dict[str, npt.NDArray[Any]]] = []

    def __len__(self) -> int:
        return sum(len(part["row"]) for part in self._parts)

    def add(self, **columns: npt.NDArray[Any]) -> None:
        """Notes of a step, one array a column."""
        self._parts.append({name: np.asarray(columns[name], dtype) for name, dtype in COLUMNS.items()})

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """All notes in the order of (step, row), which no number of processes changes."""
        merged = {
            name: np.concatenate([np.empty(0, kind), *(p[name] for p in self._parts)]) for name, kind in COLUMNS.items()
        }
        order = np.lexsort((merged["row"], merged["step"]))
        return {name: values[order].astype(COLUMNS[name], copy=False) for name, values in merged.items()}

    def clear(self) -> None:
        """Begins another epoch."""
        self._parts.clear()

    def save(self, path: Path) -> None:
        """Writes the notes as Parquet, whole or not at all."""
        _write_table(pa.table(self.columns()), path)

    def load(self, path: Path) -> None:
        """Takes the notes of a checkpoint in place of those held."""
        table = pq.read_table(path)
        self._parts = [{name: table[name].to_numpy() for name in COLUMNS}] if table.num_rows else []


class RecordsOverlay:
    """The notes of all finished epochs, as overlays that SQL reads: `records/` in the run's folder.

    One for each dataset of the run: `records/`, or `records-0/`, `records-1/`, ... where there are several. `draw` is
    0 for the first time that an epoch takes a sample, 1 for the second, ...: weighted sampling, a ratio, and samples in
    the place of damaged ones take some more than once.
    """

    def __init__(self, run: Path, table: SampleTable, settings: Mapping[str, Any], *, num_epochs: int) -> None:
        """Opens what is there, to go on behind its first epochs.

        Args:
            run: Folder of the run.
            table: Of the loader.
            settings: What the run was asked for.
            num_epochs: Epochs that are done; what was written of later ones is written anew, and those of which
                nothing was written (no notes were asked for then) get a part without rows.
        """
        self._table = table
        names = (
            [f"records-{number}" for number in range(len(table.datasets))] if len(table.datasets) > 1 else ["records"]
        )
        self._writers = [
            OverlayWriter(
                url,
                "training",
                made_by="shardtools train",
                settings=settings,
                unique=("key", "epoch", "draw"),
                resume_parts=min(num_epochs, _count_parts(run / name)),
                out=run / name,
            )
            for name, url in zip(names, table.datasets, strict=True)
        ]
        for epoch in range(min(len(writer.parts) for writer in self._writers), num_epochs):
            self.add(epoch, Records())

    def add(self, epoch: int, records: Records) -> None:
        """Writes the notes of an epoch, 0-based; readers see them when it returns."""
        columns = records.columns()
        rows = columns.pop("row")
        columns["correct"] = columns["predicted"] == columns["label"]
        columns["draw"] = _count_before(rows)
        dataset = np.asarray(self._table.dataset)[rows]
        for number, writer in enumerate(self._writers):
            own = np.flatnonzero(dataset == number)
            keys = self._table.keys.take(from_int64(rows[own])).cast(pa.string())
            epochs = np.full(len(own), epoch, np.int32)
            found = {"key": keys, "epoch": epochs, **{name: values[own] for name, values in columns.items()}}
            if len(writer.parts) == epoch:
                writer.add(pa.table(found))
                writer.commit()

    def close(self) -> None:
        """Ends writing."""
        for writer in self._writers:
            writer.__exit__(None, None, None)


def _count_parts(folder: Path) -> int:
    """Epochs of an overlay that is there; 0 where there is none."""
    return len(open_overlay_at(folder).info.parts) if (folder / OVERLAY_FILE).exists() else 0


def _count_before(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """How often each value came before, [N]: 0 for the first, 1 for the second, ..."""
    order = np.argsort(rows, kind="stable")
    is_first = np.diff(rows[order], prepend=-1) != 0
    starts = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
    found = np.empty(len(rows), np.int32)
    found[order] = np.arange(len(rows)) - starts
    return found


def _write_table(table: pa.Table, path: Path) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
