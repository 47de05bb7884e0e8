"""Overlays for reading: which there are, what they hold, and their rows.

Owns finding an overlay, in its dataset or in a folder of its own. An overlay of another version of the dataset is
refused where it is opened; the price is one small file read before the first row.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from shardtools.dataset import Dataset, open_dataset
from shardtools.errors import DatasetError, NotFoundError, first_line
from shardtools.hashes import stream_digest
from shardtools.overlays.overlay_file import OVERLAY_FILE, OVERLAYS_FOLDER, OverlayInfo, check_name, overlay_folder
from shardtools.overlays.versions import check_fits
from shardtools.storage import Storage, StoredObject, open_storage

ROWS_PER_BATCH = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """An overlay to read.

    Attributes:
        storage: Where it is.
        folder: Its folder there: "overlays/NAME/", or "" where it has a place of its own.
        info: Its commit.
        content: The bytes of its `overlay.json`.
    """

    storage: Storage
    folder: str
    info: OverlayInfo
    content: bytes

    @property
    def url(self) -> str:
        """Where it is, for messages."""
        return self.storage.object_url(self.folder).rstrip("/")

    def files(self) -> list[StoredObject]:
        """The parts, all of them there: one listing finds a missing one before a query half-answers.

        Raises:
            DatasetError: A part is missing or has another length.
        """
        sizes = {stored.path: stored.num_bytes for stored in self.storage.list(self.folder)}
        for part in self.info.parts:
            size = sizes.get(self.folder + part.path)
            if size != part.num_bytes:
                found = "nothing" if size is None else f"{size} bytes"
                raise DatasetError(
                    f"{self.storage.object_url(self.folder + part.path)}: expected {part.num_bytes} bytes, found "
                    f"{found}: restore it, or write overlay {self.info.name} again"
                )
        return [StoredObject(self.folder + part.path, part.num_bytes) for part in self.info.parts]

    def schema(self) -> pa.Schema:
        """Names and Arrow types of the columns, from the first part.

        Raises:
            DatasetError: The part is missing or damaged.
        """
        for _, file in self._open_parts(*(part.path for part in self.info.parts[:1])):
            return file.schema_arrow.remove_metadata()
        raise DatasetError(f"{self.url} lists no parts: write overlay {self.info.name} again")

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows, in the order of writing, at most `ROWS_PER_BATCH` at a time.

        Args:
            columns: Names of the columns to read; `None` reads all.

        Raises:
            DatasetError: A part is missing or damaged, or there is no such column.
        """
        wanted = self._columns(columns)
        for where, file in self._open_parts(*(part.path for part in self.info.parts)):
            try:
                yield from file.iter_batches(ROWS_PER_BATCH, columns=wanted, use_threads=False)
            except (pa.ArrowException, OSError) as error:
                raise _damaged(where, error) from None

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows as one table; arguments and errors as `batches`."""
        wanted = self._columns(columns)
        whole = self.schema()
        schema = pa.schema([whole.field(name) for name in wanted])
        return pa.Table.from_batches((batch.select(wanted) for batch in self.batches(columns)), schema=schema)

    def check_digests(self) -> None:
        """Reads every part once and compares its sha256.

        Raises:
            DatasetError: A part is missing or was altered.
        """
        self.files()
        for part in self.info.parts:
            with self.storage.open(self.folder + part.path) as stream:
                found = stream_digest(stream)
            if found != part.sha256:
                raise DatasetError(
                    f"{self.storage.object_url(self.folder + part.path)} was altered: expected sha256 "
                    f"{part.sha256[:16]}..., found {found[:16]}...: restore it, or write overlay {self.info.name} again"
                )

    def _columns(self, columns: Sequence[str] | None) -> list[str]:
        names = [column.name for column in self.info.columns]
        unknown = next((name for name in columns or () if name not in names), None)
        if unknown is not None:
            raise DatasetError(f"overlay {self.info.name} has no column {unknown!r}: it has {', '.join(names)}")
        return names if columns is None else list(columns)

    def _open_parts(self, *paths: str) -> Iterator[tuple[str, pq.ParquetFile]]:
        for path in paths:
            where = self.storage.object_url(self.folder + path)
            try:
                with self.storage.open(self.folder + path) as stream, pq.ParquetFile(stream) as file:
                    yield where, file
            except NotFoundError:
                raise DatasetError(
                    f"{where} is missing though the overlay lists it: restore it, or write overlay {self.info.name} "
                    "again"
                ) from None
            except pa.ArrowException as error:
                raise _damaged(where, error) from None


def open_overlay(dataset_url: str | os.PathLike[str], name: str, *, any_version: bool = False) -> Overlay:
    """Opens an overlay of a dataset.

    Args:
        dataset_url: A folder or s3:// address.
        name: The overlay's name in the dataset; or, with a "/" in it, the folder or address of an overlay elsewhere.
        any_version: Whether one that was written for another version of the dataset may be opened.

    Raises:
        DatasetError: There is no such overlay, it is damaged, or it was written for another version of the dataset.
        OptionError: No overlay can have that name.
    """
    dataset = open_dataset(dataset_url)
    overlay = open_overlay_at(name) if "/" in name else _open(dataset.storage, overlay_folder(check_name(name)))
    if overlay is None:
        there = ", ".join(overlay_names(dataset.storage)) or "none"
        raise DatasetError(
            f"{dataset.storage.url} has no overlay {name!r}: it has {there}; `shardtools overlay import` makes one"
        )
    if not any_version:
        check_fits(overlay.info, dataset, where=overlay.url)
    return overlay


def open_overlay_at(url: str | os.PathLike[str]) -> Overlay:
    """Opens the overlay in a folder of its own, of whatever dataset.

    Raises:
        DatasetError: There is none, or it is damaged.
    """
    storage = open_storage(url)
    overlay = _open(storage, "")
    if overlay is None:
        raise DatasetError(f"{storage.url} is no overlay: it has no {OVERLAY_FILE}: check the path")
    return overlay


def find_overlay(dataset: Dataset, name: str) -> Overlay | None:
    """The overlay of that name in an open dataset, of whatever version; `None` where there is none."""
    return _open(dataset.storage, overlay_folder(name))


def list_overlays(dataset_url: str | os.PathLike[str]) -> list[Overlay]:
    """The overlays of a dataset, by name, also those of other versions of it.

    Raises:
        DatasetError: There is no dataset, or the file of an overlay is damaged.
    """
    storage = open_dataset(dataset_url, incomplete=True).storage
    found = [_open(storage, overlay_folder(name)) for name in overlay_names(storage)]
    return [overlay for overlay in found if overlay is not None]


def remove_overlay(dataset_url: str | os.PathLike[str], name: str) -> int:
    """Removes an overlay of a dataset, also a damaged one or one that was never committed.

    Returns:
        The number of files removed.

    Raises:
        DatasetError: There is nothing under that name.
    """
    storage = open_dataset(dataset_url, incomplete=True).storage
    folder = overlay_folder(check_name(name))
    paths = [stored.path for stored in storage.list(folder)]
    if not paths:
        there = ", ".join(overlay_names(storage)) or "none"
        raise DatasetError(f"{storage.url} has no overlay {name!r}: it has {there}")
    # The commit first: parts without one do not exist for any reader.
    for path in sorted(paths, key=lambda path: path != folder + OVERLAY_FILE):
        storage.delete(path)
    return len(paths)


def overlay_names(storage: Storage) -> list[str]:
    """Names of all committed overlays of a dataset."""
    parts = [stored.path.removeprefix(OVERLAYS_FOLDER).split("/") for stored in storage.list(OVERLAYS_FOLDER)]
    return sorted(names[0] for names in parts if len(names) == 2 and names[1] == OVERLAY_FILE)


def _open(storage: Storage, folder: str) -> Overlay | None:
    path = folder + OVERLAY_FILE
    try:
        content = storage.read(path)
    except NotFoundError:
        return None
    info = OverlayInfo.from_json(content, where=storage.object_url(path))
    # SQL finds an overlay by its folder, so the two names must be one.
    if folder and folder != overlay_folder(info.name):
        raise DatasetError(
            f"{storage.object_url(path)} is of an overlay called {info.name}: rename the folder to that name"
        )
    return Overlay(storage=storage, folder=folder, info=info, content=content)


def _damaged(where: str, error: Exception) -> DatasetError:
    return DatasetError(
        f"{where} is no intact Parquet file ({first_line(error)}): restore it, or write the overlay again"
    )
