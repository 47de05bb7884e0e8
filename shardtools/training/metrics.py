"""`metrics.jsonl`: what a run measured, one JSON object a line, appended as it goes.

    {"kind": "step", "step": 50, "epoch": 0.5, "loss": 2.3, "lr": 0.01, "images_per_second": 912.0, "data_wait": 0.02}
    {"kind": "epoch", "step": 100, "epoch": 1.0, ...}
    {"kind": "evaluation", "step": 100, "epoch": 1.0, "val_top1": 31.2, "val_top5": 80.4, "val_loss": 1.9}
    {"kind": "selected", "step": 900, "epoch": 9.0, "best_epoch": 7, "val_top1": 55.1, "test_top1": 54.0, ...}

Owns the file. A line counts once its line break is there, so a kill costs at most the line in hand; a run that goes
back to a checkpoint cuts what lies after it. The price of appending without a flush to the disk: a machine that loses
power may lose the last lines, as it loses the steps after the last checkpoint.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.documents import read_json
from shardtools.errors import DatasetError, NoSpaceError, NotFoundError, OptionError

METRICS_FILE = "metrics.jsonl"
KINDS = ("step", "epoch", "evaluation", "selected")
"""A line is about some steps, a whole epoch, an evaluation, or the weights that were kept at the end."""

Columns = dict[str, npt.NDArray[np.float64]]
"""Name -> one value a line, NaN where a line has none."""

_OWN = ("kind", "step", "epoch")


class MetricsLog:
    """Appends to one run's file. One process writes it, with the run's lease held."""

    def __init__(self, run: str | os.PathLike[str]) -> None:
        """Opens the file, makes it if there is none, and cuts a line that a kill left unfinished.

        Args:
            run: Folder of the run.

        Raises:
            DatasetError: A line is none of this format's.
        """
        self._path = Path(run) / METRICS_FILE
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            content = self._path.read_bytes()
            _parse(content, self._path)
            os.ftruncate(self._file, content.rfind(b"\n") + 1)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    def add(self, kind: str, *, step: int, epoch: float, **values: float | None) -> None:
        """Writes one line.

        Args:
            kind: One of `KINDS`.
            step: Optimiser steps done in the run so far.
            epoch: Epochs done so far, with fractions: `step / steps_per_epoch`.
            **values: What was measured; what is not finite is written as null.

        Raises:
            OptionError: The kind is unknown.
            NoSpaceError: The disk is full.
        """
        if kind not in KINDS:
            raise OptionError(f"a line of metrics is one of {', '.join(KINDS)}, found {kind!r}")
        numbers = {name: _number(value) for name, value in values.items()}
        line = (json.dumps({"kind": kind, "step": step, "epoch": round(epoch, 6), **numbers}) + "\n").encode()
        before = os.fstat(self._file).st_size
        if os.write(self._file, line) < len(line):
            os.ftruncate(self._file, before)
            raise NoSpaceError(f"{self._path}: the disk is full: make room and run the same command again")

    def rewind(self, step: int) -> int:
        """Cuts all lines after a step: the run goes on from there.

        Args:
            step: The checkpoint's; its own lines stay.

        Returns:
            Number of lines cut.
        """
        content = self._path.read_bytes()
        lines = _parse(content, self._path)
        kept = next((number for number, (_, line) in enumerate(lines) if line["step"] > step), len(lines))
        if kept < len(lines):
            # Steps never fall within a file, so all that is wanted lies in front.
            os.ftruncate(self._file, lines[kept][0])
        return len(lines) - kept


def read_metrics(path: str | os.PathLike[str]) -> dict[str, Columns]:
    """All lines as columns, while the run writes or after it.

    Args:
        path: The file, or the folder of the run.

    Returns:
        Kind -> columns, in the order of steps; "step" and "epoch" are always there. Where two lines are of one kind and
        step (a run was killed between a checkpoint and the end of its epoch), the last counts.

    Raises:
        NotFoundError: There is no such file.
        DatasetError: A line is none of this format's.
    """
    file = Path(path) / METRICS_FILE if Path(path).is_dir() else Path(path)
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"{file}: expected the metrics of a run, found no such file: name a run's --out") from None
    latest = {(line["kind"], line["step"]): line for _, line in _parse(content, file)}
    return {kind: _columns([line for (found, _), line in latest.items() if found == kind]) for kind in KINDS}


def _number(value: float | None) -> float | None:
    """As it is written: whole numbers whole, others with eight digits."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.8g}")


def _columns(lines: list[dict[str, Any]]) -> Columns:
    names = dict.fromkeys(["step", "epoch", *(name for line in lines for name in line if name not in _OWN)])
    # `None` becomes NaN in an array of floats.
    return {name: np.array([line.get(name) for line in lines], np.float64) for name in names}


def _parse(content: bytes, path: Path) -> list[tuple[int, dict[str, Any]]]:
    """(Offset, line) of every line that has its line break."""
    found = []
    offset = 0
    for number, text in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            line = read_json(text)
            sound = line["kind"] in KINDS and isinstance(line["step"], int) and isinstance(line["epoch"], int | float)
        except (ValueError, TypeError, KeyError):
            sound = False
        if not sound:
            raise DatasetError(
                f"{path}: expected a line of metrics, found {text[:40]!r} in line {number}: remove that line"
            )
        found.append((offset, line))
        offset += len(text) + 1
    return found
