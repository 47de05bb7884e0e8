"""Copies of whole objects from one place to another, by whoever is nearest to the bytes.

Owns the choice: inside of one bucket the store copies by itself, on one machine the kernel does (and on file systems
that can, shares the blocks until one side is written), anything else is streamed. The price: no digest is computed on
the way, so a copy is as damaged as what it was made from; `verify` tells.
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from shardtools.errors import StorageError
from shardtools.quoting import shell_word
from shardtools.storage.base import Storage
from shardtools.storage.local import explained
from shardtools.storage.s3_config import make_store, parse_s3_url, read_config

if TYPE_CHECKING:
    from obstore.store import S3Store

_COPY_BYTES = 8 << 20
_CANNOT_COPY = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)


def copy_object(
    source: Storage, path: str, target: Storage, *, num_bytes: int | None = None, link: bool = False
) -> None:
    """Publishes an object of one storage under the same path in another, replacing what is there.

    Args:
        source: Where it is.
        path: Its path, there and here.
        target: Where it goes.
        num_bytes: Its length as recorded; `None` takes any.
        link: Whether a local file becomes a second name of the same file, where both lie on one file system.

    Raises:
        NotFoundError: There is no such object.
        StorageError: It has another length, or cannot be read or written.
    """
    found = source.size(path)
    if num_bytes is not None and found != num_bytes:
        raise StorageError(
            f"{source.object_url(path)}: expected {num_bytes} bytes as recorded, found {found}: run shardtools verify "
            f"{shell_word(source.url)}"
        )
    files = source.local_path(path), target.local_path(path)
    # The cheapest way first: within the bucket, as a second name of one file, by the kernel; through here only where
    # none of them works.
    if files[0] is None and files[1] is None and _copy_in_bucket(source, path, target):
        return
    if link and files[0] is not None and files[1] is not None and _link(files[0], files[1]):
        return
    with target.writer(path) as stream:
        if files[0] is not None and files[1] is not None and _copy_in_kernel(files[0], files[1], stream.fileno()):
            return
        stream.seek(0)
        with source.open(path) as content:
            shutil.copyfileobj(content, stream, _COPY_BYTES)


def _link(source: Path, target: Path) -> bool:
    with explained(target, "write"):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.resolve(), target)
        except FileExistsError:
            return target.samefile(source)
        except OSError as error:
            if error.errno in _CANNOT_LINK:
                return False
            raise
        descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network file systems cannot flush a folder.
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
        finally:
            os.close(descriptor)
    return True


def _copy_in_kernel(source: Path, target: Path, descriptor: int) -> bool:
    """Whether the kernel copied the file; what it wrote before it gave up is written over by the caller."""
    with explained(target, "write"), source.open("rb") as stream:
        left = os.fstat(stream.fileno()).st_size
        while left:
            try:
                copied = os.copy_file_range(stream.fileno(), descriptor, left)
            except OSError as error:
                if error.errno in _CANNOT_COPY:
                    return False
                raise
            # The file became shorter meanwhile: the stream tells.
            if copied == 0:
                return False
            left -= copied
    return True


def _copy_in_bucket(source: Storage, path: str, target: Storage) -> bool:
    """Whether the store copied the object by itself; a store that cannot, or will not, leaves it to a stream.

    S3's own copy takes up to 5 GiB.
    """
    from obstore.exceptions import BaseError

    (bucket, prefix), (target_bucket, target_prefix) = parse_s3_url(source.url), parse_s3_url(target.url)
    if bucket != target_bucket:
        return False
    try:
        _store(bucket).copy(f"{prefix}/{path}".lstrip("/"), f"{target_prefix}/{path}".lstrip("/"))
    except (BaseError, FileNotFoundError):
        # Streaming tries again with patience, and explains.
        return False
    return True


@functools.cache
def _store(bucket: str) -> S3Store:
    return make_store(read_config(os.environ), bucket, "")
