"""Where datasets live: local folders and object stores behind one contract.

Owns the meaning of a dataset's address. The price of opening lazily: `open_storage` touches neither disk nor network,
so a wrong address shows at the first read or write; `Storage.check_writable` asks for that on purpose.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shardtools.errors import StorageError
from shardtools.storage.ahead import REQUESTS_IN_FLIGHT, read_ahead
from shardtools.storage.base import Storage, StoredObject
from shardtools.storage.copying import copy_object
from shardtools.storage.local import explained
from shardtools.storage.process import is_running, this_process

__all__ = [
    "REQUESTS_IN_FLIGHT",
    "Storage",
    "StoredObject",
    "copy_object",
    "explained",
    "is_running",
    "open_storage",
    "read_ahead",
    "this_process",
]

_SUPPORTED = "a folder, file:///folder or s3://bucket/prefix"


def open_storage(url: str | os.PathLike[str]) -> Storage:
    """Return the storage at `url`: a folder, "file:///folder" or "s3://bucket/prefix".

    Raises:
        StorageError: The address is empty, malformed, or of another kind.
    """
    text = os.fspath(url)
    if text == "" or "\0" in text:
        raise StorageError(f"bad address {text!r}: expected {_SUPPORTED}")
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", text)
    if scheme is None or isinstance(url, Path):
        from shardtools.storage.local import LocalStorage

        return LocalStorage(Path(text))
    if scheme[1] == "file":
        from shardtools.storage.local import LocalStorage

        return LocalStorage(_file_url_path(text))
    if scheme[1] == "s3":
        from shardtools.storage.s3 import S3Storage

        return S3Storage(text)
    raise StorageError(f"{scheme[1]}:// is not supported: expected {_SUPPORTED}")


def _file_url_path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not url.startswith("file://") or parts.query or parts.fragment:
        raise StorageError(f"bad address {url!r}: expected file:///folder, an absolute path on this machine")
    return Path(unquote(parts.path))
