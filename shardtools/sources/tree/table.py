"""The files of a tree before their shape is known: one row each in a temporary Arrow file.

Owns the first of the two passes of listing: splits, classes and keys follow from all names together, so names are
stored once and read again. The price is some 60 bytes a file on disk, until the listing is made, and 8 bytes in memory.
"""

from __future__ import annotations

import itertools
import secrets
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from shardtools.hashes import hash_text, repeated_rows

ROOT = -1
"""In place of an archive's number: the file is an object of its own below the root."""

FILE, RANGE, ZIPPED, FORWARD, LINK, DANGLING, BESIDE, FOLDER = range(8)
"""Forms: an object of its own; a byte range of an archive; a member of a zip; a byte range of what a compressed tar
unpacks to; a link of an archive or a device, which has no bytes; a link to what is not there; an image beside the
archives that are read; a folder, which is no sample but may be a class."""

_ROWS_PER_BATCH = 16_384


class TreeFile(NamedTuple):
    """One file of a tree.

    Attributes:
        archive: Number of the archive that it lies in, or `ROOT`.
        path: Below the archive's root (an inner tar is a folder of its name) or the source's.
        form: How its bytes are read: `FILE`, `RANGE`, `ZIPPED` or `FORWARD`; or why it has none. A `FOLDER`'s path ends
            in "/".
        offset: Where they begin in the archive (bytes); of a zip's member, where its local header does.
        num_bytes: Its length.
        span: Bytes to read from there; of a zip's member, header, packed bytes and what follows them.
        crc: CRC-32 of its content, where the archive says it; 0 elsewhere.
        num_frames: Frames of a video that is read as pictures; 0 of other files.
    """

    archive: int
    path: str
    form: int
    offset: int
    num_bytes: int
    span: int
    crc: int = 0
    num_frames: int = 0


FILE_COLUMNS = (
    ("archive", pa.int32()),
    ("path", pa.string()),
    ("form", pa.int8()),
    ("offset", pa.int64()),
    ("num_bytes", pa.int64()),
    ("span", pa.int64()),
    ("crc", pa.uint32()),
)
"""Where a file lies, as this table and the listing that is made of it both hold it."""

_SCHEMA = pa.schema([*FILE_COLUMNS, ("num_frames", pa.int32())])


class TreeTable:
    """Takes files, then gives them back in their order; a context manager whose file is gone at its end."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"tree-{secrets.token_hex(8)}.arrow"
        self._rows: list[TreeFile] = []
        self._hashes = array("Q")
        self._num_folders = 0
        self._is_finished = False

    def __enter__(self) -> TreeTable:
        self._writer: Any = pa.ipc.new_file(str(self._path), _SCHEMA)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_finished:
            self._writer.close()
        self._path.unlink(missing_ok=True)

    def __len__(self) -> int:
        """Number of files; folders are none."""
        return len(self._hashes) - self._num_folders

    def add(self, file: TreeFile) -> None:
        """Appends a file."""
        self._rows.append(file)
        self._num_folders += file.form == FOLDER
        self._hashes.append(hash_text(f"{file.archive}/{file.path}"))
        if len(self._rows) == _ROWS_PER_BATCH:
            self._flush()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=_SCHEMA))
        self._rows = []

    def finish(self) -> None:
        """Writes the rest; from now on the files can be read."""
        if self._rows:
            self._flush()
        self._writer.close()
        self._is_finished = True

    def files(self) -> Iterator[TreeFile]:
        """All files, in the order they came."""
        with pa.memory_map(str(self._path)) as mapped, pa.ipc.open_file(mapped) as reader:
            for number in range(reader.num_record_batches):
                columns = [column.to_pylist() for column in reader.get_batch(number).columns]
                yield from map(TreeFile._make, zip(*columns, strict=True))

    def repeated(self) -> tuple[TreeFile, TreeFile] | None:
        """Two files of one archive with one path, if there are any."""
        # Hashes first, in memory; the texts are read again only for the few that share one.
        wanted = set(itertools.chain.from_iterable(repeated_rows(np.frombuffer(self._hashes, np.uint64))))
        if not wanted:
            return None
        seen: dict[tuple[int, str], TreeFile] = {}
        for file in self._pick(wanted):
            # A tar that was appended to names its folders again.
            if file.form == FOLDER:
                continue
            first = seen.setdefault((file.archive, file.path), file)
            if first is not file:
                return first, file
        return None

    def _pick(self, numbers: Iterable[int]) -> Iterator[TreeFile]:
        chosen = set(numbers)
        return (file for number, file in enumerate(self.files()) if number in chosen)
