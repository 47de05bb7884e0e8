"""What became of cells: one file a finished cell, in the folder of the study.

    OUT/cells/1f0c2a...9e/cell.json     settings, status, the best epoch and its values; there once the cell is done
                          run/          the training, as `shardtools train` writes it
                          lease/        empty unless a process trains the cell

Owns the files. `cell.json` is published with put-if-absent after the training, so a cell is done exactly once however
many processes and machines try; a failed one has its reason there, and is not tried again unless it is asked for. The
price: a study of nine thousand cells is as many folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from shardtools.documents import Document, Format
from shardtools.errors import AlreadyExistsError, NotFoundError, OptionError
from shardtools.storage import Storage
from shardtools.transfer.cells import Cell

DONE, FAILED = "done", "failed"

_FOLDER, _FILE = "cells", "cell.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Document):
    """What became of a cell.

    Attributes:
        settings: What decided on it.
        status: "done" or "failed".
        reason: Why it failed; empty where it did not.
        epoch: The best epoch by the validation split, from 1; `None` where it failed.
        val: The metric on the validation split after that epoch, as `evaluation.metrics` has it.
        test: Likewise on the split that is reported.
        seconds: Wall time of the whole training, reckoned from the part that this process did; `None` where that was
            none.
    """

    format: ClassVar[Format] = Format(
        name="shardtools-transfer-cell",
        version=1,
        what="a cell of a study",
        remedy="remove its folder, and the cell is trained again",
    )

    settings: Mapping[str, Any]
    status: str
    reason: str = ""
    epoch: int | None = None
    val: float | None = None
    test: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.status not in (DONE, FAILED):
            raise OptionError(f"status is {DONE} or {FAILED}, found {self.status!r}")
        if self.status == DONE and (self.val is None or self.test is None or self.epoch is None):
            raise OptionError("a cell that is done has an epoch and its values on validation and test")


def cell_folder(cell: Cell) -> str:
    """Where a cell lies in the folder of its study."""
    return f"{_FOLDER}/{cell.digest}"


def read_outcome(storage: Storage, cell: Cell) -> Outcome | None:
    """What became of a cell; `None` where it is not done.

    Raises:
        DatasetError: The file is damaged.
    """
    path = f"{cell_folder(cell)}/{_FILE}"
    try:
        content = storage.read(path)
    except NotFoundError:
        return None
    return Outcome.from_json(content, where=storage.object_url(path))


def read_outcomes(storage: Storage, cells: Iterable[Cell]) -> dict[str, Outcome]:
    """Digest -> what became of it, of the cells that are done or failed."""
    found = ((cell.digest, read_outcome(storage, cell)) for cell in cells)
    return {digest: outcome for digest, outcome in found if outcome is not None}


def publish_outcome(storage: Storage, cell: Cell, outcome: Outcome) -> bool:
    """Says what became of a cell, once; returns whether this call did."""
    try:
        storage.write(f"{cell_folder(cell)}/{_FILE}", outcome.to_json(), if_absent=True)
    except AlreadyExistsError:
        return False
    return True


def forget_failure(storage: Storage, cell: Cell) -> None:
    """Lets a failed cell be tried again."""
    storage.delete(f"{cell_folder(cell)}/{_FILE}")
