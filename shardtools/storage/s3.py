"""A dataset's root as a prefix in a bucket of an S3-compatible object store.

Owns patience: every request is tried again, with growing pauses, while the store is gone or overloaded, and never when
it refuses. The price of exactly-once: a put-if-absent is one request, so it holds the object in memory, 5 GiB at most.
The price of obstore, small and fast: its threads do not survive a fork, so worker processes must be spawned.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import random
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeVar

from shardtools.errors import AlreadyExistsError, NotFoundError, StorageError
from shardtools.storage.base import (
    TEMPORARY_FOLDER,
    RangedStream,
    Storage,
    StoredObject,
    check_path,
    check_prefix,
    check_range,
    short_read,
)
from shardtools.storage.local import ExplainingFile, explained
from shardtools.storage.s3_config import S3Config, make_store, parse_s3_url, read_config, read_retry_seconds
from shardtools.storage.s3_failures import explain_failure, read_failure

if TYPE_CHECKING:
    from obstore.store import S3Store

_PART_BYTES = 8 * 1024 * 1024
"""Bytes of one part of a large upload; S3 takes at least 5 MiB and at most 10,000 parts."""
_PART_CONCURRENCY = 4
_READ_AHEAD_BYTES = 4 * 1024 * 1024
_COMPARE_BYTES = 1024 * 1024
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_RANGE_IS_PAST_END = 416
_CHECK_SECONDS = 10.0
"""Patience of `check_writable`: a wrong endpoint should not take a minute to be named."""

_T = TypeVar("_T")
_Objects: TypeAlias = list[StoredObject]  # inside the class, `list` is its method
_logger = logging.getLogger(__name__)

# The process in which obstore started its threads; `None` before. A forked child has the memory but not the threads.
_obstore_pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredRange:
    """The answer to a request for a range.

    Attributes:
        content: In the memory that it arrived in; empty where the object ends before the range does.
        object_bytes: Length of the whole object.
        e_tag: The object's version; `None` where the store has none.
    """

    content: memoryview
    object_bytes: int
    e_tag: str | None


class S3Storage(Storage):
    """Objects below "s3://bucket/prefix", with endpoint and credentials from the environment of each process."""

    is_local = False

    def __init__(self, url: str) -> None:
        self._bucket, self._prefix = parse_s3_url(url)
        self.url = f"s3://{self._bucket}/{self._prefix}".rstrip("/")
        self._store: tuple[S3Store, S3Config] | None = None
        self._bucket_is_known = False

    def __reduce__(self) -> tuple[type[S3Storage], tuple[str]]:
        # Only the address travels to other processes; each makes its own store from its own environment.
        return S3Storage, (self.url,)

    def read(self, path: str) -> bytes:
        check_path(path)
        return self._try("read", path, lambda store: store.get(path).bytes().to_bytes())

    def read_range(self, path: str, offset: int, num_bytes: int) -> bytes:
        check_path(path)
        check_range(offset, num_bytes)
        content = b"" if num_bytes == 0 else self.read_version(path, offset, num_bytes, e_tag=None)
        if len(content) != num_bytes:
            raise short_read(self.object_url(path), offset, num_bytes, len(content))
        return content

    def size(self, path: str) -> int:
        check_path(path)
        return self._try("read", path, lambda store: store.head(path)["size"])

    def exists(self, path: str) -> bool:
        try:
            self.size(path)
        except NotFoundError:
            self._check_bucket()
            return False
        return True

    def list(self, prefix: str = "") -> list[StoredObject]:
        return [stored for stored in self._list(check_prefix(prefix)) if not stored.path.startswith(TEMPORARY_FOLDER)]

    def write(self, path: str, content: bytes, *, if_absent: bool = False) -> None:
        self._put(check_path(path), io.BytesIO(content), if_absent=if_absent)

    @contextlib.contextmanager
    def writer(self, path: str, *, if_absent: bool = False) -> Iterator[BinaryIO]:
        check_path(path)
        stream = _open_spool()
        try:
            yield stream
            self._put(path, stream, if_absent=if_absent)
        finally:
            # After a full disk, closing tries to write again and fails again.
            with contextlib.suppress(StorageError, OSError):
                stream.close()

    def open(self, path: str) -> BinaryIO:
        check_path(path)
        meta = self._try("read", path, lambda store: store.head(path))

        def read_range(offset: int, num_bytes: int) -> bytes:
            content = self.read_version(path, offset, num_bytes, e_tag=meta["e_tag"])
            if len(content) != num_bytes:
                raise short_read(self.object_url(path), offset, num_bytes, len(content))
            return content

        return io.BufferedReader(RangedStream(read_range, meta["size"]), _READ_AHEAD_BYTES)

    def delete(self, path: str) -> None:
        check_path(path)
        self._delete(path)

    def local_path(self, path: str) -> Path | None:
        check_path(path)
        return None

    def check_writable(self) -> None:
        path = f"{TEMPORARY_FOLDER}write-check-{secrets.token_hex(8)}"
        self._put(path, io.BytesIO(b"write check"), if_absent=False, patience_seconds=_CHECK_SECONDS)
        self._delete(path)

    def clean_temporary(self) -> None:
        for stored in self._list(TEMPORARY_FOLDER):
            self._delete(stored.path)

    def _list(self, prefix: str) -> _Objects:
        def list_all(store: S3Store) -> _Objects:
            found = (meta for chunk in store.list(prefix or None) for meta in chunk)
            return [StoredObject(meta["path"], meta["size"]) for meta in found if meta["path"]]

        return sorted(self._try("list", prefix, list_all), key=lambda stored: stored.path)

    def _delete(self, path: str) -> None:
        with contextlib.suppress(NotFoundError):
            self._try("delete", path, lambda store: store.delete(path))

    def _put(self, path: str, content: BinaryIO, *, if_absent: bool, patience_seconds: float = math.inf) -> None:
        num_tries = 0

        def put(store: S3Store) -> None:
            nonlocal num_tries
            num_tries += 1
            content.seek(0)
            store.put(
                path,
                content,
                mode="create" if if_absent else "overwrite",
                chunk_size=_PART_BYTES,
                max_concurrency=_PART_CONCURRENCY,
            )

        try:
            self._try("write", path, put, patience_seconds=patience_seconds)
        except AlreadyExistsError:
            # An earlier try may have arrived though its answer got lost: then what is there is ours.
            if num_tries == 1 or not self._holds(path, content):
                raise

    def _holds(self, path: str, content: BinaryIO) -> bool:
        if self.size(path) != content.seek(0, os.SEEK_END):
            return False
        content.seek(0)
        with self.open(path) as stored:
            while piece := content.read(_COMPARE_BYTES):
                if stored.read(len(piece)) != piece:
                    return False
        return True

    def read_version(self, path: str, offset: int, num_bytes: int, *, e_tag: str | None) -> bytes:
        """Return what the range holds, less if the object ends before it does, of the version `e_tag` if given.

        Raises:
            NotFoundError: Nothing is stored under that path.
            StorageError: Another version is.
        """
        span = (offset, offset + num_bytes)

        def get(store: S3Store) -> bytes:
            try:
                result = store.get(path, options={"range": span, "if_match": e_tag} if e_tag else {"range": span})
            except Exception as error:
                if read_failure(error).status == _RANGE_IS_PAST_END:
                    return b""
                raise
            return result.bytes().to_bytes()

        return self._try("read", path, get)

    def get_range(
        self,
        path: str,
        offset: int,
        num_bytes: int,
        *,
        e_tag: str | None = None,
        patience_seconds: float = math.inf,
        sleep: Callable[[float], object] = time.sleep,
    ) -> StoredRange:
        """Return a range without copying it; a range past the object's end is not transferred.

        Args:
            path: Which object.
            offset: First byte, 0-based.
            num_bytes: At least 1.
            e_tag: The version that is expected, if any.
            patience_seconds: For how long a store that does not answer is asked again; never longer than
                `RETRY_VARIABLE` says.
            sleep: Waits between tries, in seconds; it may raise to give up.

        Raises:
            NotFoundError: Nothing is stored under that path.
            StorageError: Another version is, or the store does not answer.
        """
        check_path(path)
        span = (offset, offset + num_bytes)

        def get(store: S3Store) -> StoredRange:
            result = None
            try:
                result = store.get(path, options={"range": span, "if_match": e_tag} if e_tag else {"range": span})
                meta = result.meta
            except Exception as error:
                if read_failure(error).status != _RANGE_IS_PAST_END:
                    raise
                meta = store.head(path)
            fits = meta["size"] >= offset + num_bytes
            if fits and result is None:
                # It has grown since it was asked for the range.
                result = store.get(path, options={"range": span, "if_match": e_tag} if e_tag else {"range": span})
                meta = result.meta
            content = memoryview(result.bytes()) if fits and result is not None else memoryview(b"")
            return StoredRange(content=content, object_bytes=meta["size"], e_tag=meta["e_tag"])

        return self._try("read", path, get, patience_seconds=patience_seconds, sleep=sleep)

    def _check_bucket(self) -> None:
        # A request for one object's size cannot tell a missing object from a missing bucket; a listing can.
        if not self._bucket_is_known:
            self._try("list", "", lambda store: next(iter(store.list(TEMPORARY_FOLDER, chunk_size=1)), None))
            self._bucket_is_known = True

    def _try(
        self,
        action: str,
        path: str,
        request: Callable[[S3Store], _T],
        *,
        patience_seconds: float = math.inf,
        sleep: Callable[[float], object] = time.sleep,
    ) -> _T:
        from obstore.exceptions import BaseError

        store, config = self._opened()
        patience_seconds = min(patience_seconds, read_retry_seconds(os.environ))
        start = time.monotonic()
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return request(store)
            except (BaseError, FileNotFoundError) as error:
                failure = read_failure(error)
            tried_seconds = time.monotonic() - start
            if not failure.is_transient or tried_seconds >= patience_seconds:
                raise explain_failure(
                    failure,
                    action=action,
                    object_url=self.object_url(path),
                    bucket=self._bucket,
                    config=config,
                    tried_seconds=tried_seconds,
                )
            if pause_seconds == _FIRST_PAUSE_SECONDS:
                _logger.warning("%s: %s, trying again for up to %.0f s", config.name, failure.detail, patience_seconds)
            # Jitter, so that many processes do not come back at the same moment.
            sleep(min(patience_seconds - tried_seconds, pause_seconds * random.uniform(0.5, 1.0)))
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _opened(self) -> tuple[S3Store, S3Config]:
        global _obstore_pid
        if _obstore_pid not in (None, os.getpid()):
            raise StorageError(
                f"cannot use {self.url} in a forked process whose parent used an object store already: "
                'start processes with multiprocessing.get_context("spawn")'
            )
        if self._store is None:
            config = read_config(os.environ)
            self._store = (make_store(config, self._bucket, self._prefix), config)
        _obstore_pid = os.getpid()
        return self._store


def _open_spool() -> io.BufferedRandom:
    """Return a temporary local file without a name, so that a killed process leaves nothing behind."""
    with explained(Path(os.environ.get("TMPDIR", "/tmp")), "write"):
        descriptor, name = tempfile.mkstemp(prefix="shardtools-")
        os.unlink(name)
    return io.BufferedRandom(ExplainingFile(descriptor, "r+b", shown_as=Path(name)))
