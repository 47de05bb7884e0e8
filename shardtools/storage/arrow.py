"""Parquet files behind a `Storage`, for engines that scan them: by name in DuckDB, as an Arrow dataset elsewhere.

Owns reading Parquet where DuckDB itself cannot: its S3 extension is a download, and its file functions expand wild
cards. Only the footers and the column chunks that a query needs are fetched, by ranged reads. The price: bytes pass
through Python, so a local folder is left to DuckDB wherever that is safe.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.fs as pafs

from shardtools.errors import ShardtoolsError
from shardtools.quoting import quoted_text
from shardtools.storage.base import RangedStream, Storage, StoredObject

if TYPE_CHECKING:
    import pyarrow.dataset as pads


class StorageHandler(pafs.FileSystemHandler):  # type: ignore[misc]  # pyarrow is published without types
    """The part of Arrow's file system contract that scanning named files needs; nothing can be written or listed.

    Attributes:
        failure: The first error of the storage, which Arrow and DuckDB would hand on as a text without its class.
    """

    def __init__(self, storage: Storage, files: Sequence[StoredObject]) -> None:
        self._storage = storage
        self._sizes = {file.path: file.num_bytes for file in files}
        self.failure: ShardtoolsError | None = None

    def read_range(self, path: str, offset: int, num_bytes: int) -> bytes:
        """Bytes of a file; called from Arrow's threads."""
        try:
            return self._storage.read_range(path, offset, num_bytes)
        except ShardtoolsError as error:
            self.failure = self.failure or error
            raise OSError(str(error)) from error

    def open_input_file(self, path: str) -> Any:
        return pa.PythonFile(RangedStream(partial(self.read_range, path), self._sizes[path]), mode="r")

    def open_input_stream(self, path: str) -> Any:
        return self.open_input_file(path)

    def get_file_info(self, paths: list[str]) -> list[Any]:
        return [pafs.FileInfo(path, pafs.FileType.File, size=self._sizes[path]) for path in paths]

    def get_type_name(self) -> str:
        return "shardtools"

    def normalize_path(self, path: str) -> str:
        return path

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("Parquet files are opened for reading, by name")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse


def scan_storage(
    storage: Storage, files: Sequence[StoredObject], schema: pa.Schema
) -> tuple[pads.Dataset, StorageHandler]:
    """The rows of `files` (Parquet files of `storage`) as one dataset, and the handler that knows what failed.

    Nothing is read yet: all files have the columns of `schema`, and the sizes are those of the listing.
    """
    # Imports pandas where it is installed, which takes seconds that local folders need not wait for.
    import pyarrow.dataset as pads

    handler = StorageHandler(storage, files)
    file_system = pafs.PyFileSystem(handler)
    parquet = pads.ParquetFileFormat()
    fragments = [parquet.make_fragment(file.path, file_system, file_size=file.num_bytes) for file in files]
    return pads.FileSystemDataset(fragments, schema, parquet, file_system), handler


def local_source(storage: Storage, files: Sequence[StoredObject], *, by_name: bool = False) -> str | None:
    """The files as DuckDB's SQL names them; `None` where it must be given `scan_storage` instead.

    Args:
        storage: Where they are.
        files: Parquet files of it.
        by_name: Whether some may lack columns, which are null in their rows; then all are opened at once.
    """
    local_paths = [storage.local_path(file.path) for file in files]
    # DuckDB would take a folder called "run[1]" for a pattern and read "run1" instead.
    if not files or any(path is None or glob.has_magic(str(path)) for path in local_paths):
        return None
    names = ", ".join(quoted_text(str(path)) for path in local_paths)
    return f"read_parquet([{names}], hive_partitioning = false, union_by_name = {str(by_name).lower()})"
