"""The folder of a published set: which files it has, and its small files as lines, tables, JSON and .mat.

Owns the messages for a list that is missing or damaged: each names the file, the line where there is one, and what to
do.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.documents import read_json
from shardtools.errors import NotFoundError, SourceError, first_line
from shardtools.sources.top_level import FILE, find_all
from shardtools.storage import Storage
from shardtools.words import counted


class SetFolder:
    """A set's own folder; its files are listed once, when first asked for.

    Attributes:
        storage: Rooted at the folder.
        download: What to fetch where a file is missing.
    """

    def __init__(self, storage: Storage, download: str) -> None:
        self.storage = storage
        self.download = download
        self._sizes: dict[str, int] | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Path -> length (bytes) of every file that is not hidden, sorted by path."""
        if self._sizes is None:
            self._sizes = {one.path: one.num_bytes for one in find_all(self.storage) if one.what == FILE}
        return self._sizes

    def first_of(self, paths: Sequence[str]) -> str:
        """The first of the paths that is a file.

        Raises:
            SourceError: None is.
        """
        for path in paths:
            if self.storage.exists(path):
                return path
        raise self.missing(paths)

    def missing(self, paths: Sequence[str]) -> SourceError:
        """The error for a list that none of the paths is."""
        return SourceError(f"{self.storage.url} has no {' or '.join(paths)}: {self.download}")

    def read(self, path: str) -> bytes:
        """A small file.

        Raises:
            SourceError: It is not there.
        """
        try:
            return self.storage.read(path)
        except NotFoundError:
            raise self.missing([path]) from None

    def lines(self, path: str) -> Iterator[tuple[str, str]]:
        """Place (file and line) and text of each line that is not empty.

        Raises:
            SourceError: The file is missing, or no text.
        """
        where = self.storage.object_url(path)
        try:
            text = self.read(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise SourceError(f"{where}, byte {error.start}: expected text in UTF-8: fetch it again") from None
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield f"{where}, line {number}", line.strip()

    def table(self, path: str, columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Place and values of some columns of each row of a .csv file.

        Raises:
            SourceError: The file is missing or no text, has no such column, or a row is too short.
        """
        rows = ((place, next(csv.reader([line]))) for place, line in self.lines(path))
        where, header = next(rows, (self.storage.object_url(path), []))
        unknown = [name for name in columns if name not in header]
        if unknown:
            raise SourceError(
                f"{where}: expected the columns {', '.join(columns)}, found {', '.join(header) or 'nothing'}: fetch it "
                "again"
            )
        places = [header.index(name) for name in columns]
        for where, row in rows:
            if len(row) <= max(places):
                raise SourceError(f"{where}: expected {len(header)} values, found {len(row)}: fetch it again")
            yield where, [row[place] for place in places]

    def json(self, path: str) -> dict[str, Any]:
        """A JSON object.

        Raises:
            SourceError: The file is missing, or holds something else.
        """
        where = self.storage.object_url(path)
        try:
            content = read_json(self.read(path))
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{where} is no JSON ({first_line(error)}): fetch it again") from None
        if not isinstance(content, dict):
            raise SourceError(f"{where}: expected a JSON object, found {type(content).__name__}: fetch it again")
        return content

    def mat(self, path: str, name: str) -> npt.NDArray[Any]:
        """The elements of one variable of a .mat file, [N]: numbers, texts or records.

        Raises:
            SourceError: The file is missing or damaged, has no such variable, or SciPy is not installed.
        """
        where = self.storage.object_url(path)
        try:
            from scipy.io import loadmat
        except ImportError:
            raise SourceError(f"{where}: reading a .mat file needs SciPy: pip install scipy") from None
        content = self.read(path)
        try:
            return np.atleast_1d(loadmat(io.BytesIO(content), squeeze_me=True)[name]).reshape(-1)
        except Exception as error:
            # SciPy's reader fails with whatever the bytes make it trip over.
            raise SourceError(
                f"{where}: expected the variable {name!r}, it cannot be read ({type(error).__name__}): fetch it again"
            ) from None

    def number(self, text: object, place: str, *, least: int, last: int) -> int:
        """A whole number of a list.

        Raises:
            SourceError: It is none from `least` to `last`.
        """
        try:
            found = int(str(text))
        except ValueError:
            found = least - 1
        if not least <= found <= last:
            raise SourceError(
                f"{place}: expected a whole number from {least} to {last}, found {text!r}: fetch it again"
            )
        return found

    def one_of(self, name: str, numbers: dict[str, int], place: str) -> int:
        """The label of a class name.

        Raises:
            SourceError: There is no such class.
        """
        if name not in numbers:
            known = counted(len(numbers), "class", "classes")
            raise SourceError(f"{place}: expected one of {known}, found {name!r}: fetch it again")
        return numbers[name]
