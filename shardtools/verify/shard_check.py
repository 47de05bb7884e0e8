"""One shard, byte by byte: its digest, the structure of a tar, its members against the manifest's rows.

Owns the reading of a whole shard. The digest alone finds any altered byte; the rest says where it is. The price of
saying so: a shard is read twice, from the page cache, or for an object store from a temporary copy of one shard a
worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

from shardtools.errors import NotFoundError, ShardError, StorageError
from shardtools.hashes import stream_digest
from shardtools.manifest import ShardFile
from shardtools.shards import Member, TarSample, read_members, read_samples
from shardtools.storage import Storage, scratch_file
from shardtools.verify.image_check import check_image, shown
from shardtools.verify.report import Problem

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """What one shard showed: problems, images that were decoded, bytes that were read."""

    problems: tuple[Problem, ...]
    num_images: int
    num_bytes: int


def check_shard(
    storage: Storage,
    shard: ShardFile,
    rows: Sequence[Mapping[str, Any]] | None,
    *,
    part: str,
    known: Mapping[str, str],
) -> ShardResult:
    """Reads a whole shard and compares it with its facts and rows.

    Args:
        storage: The dataset.
        shard: Path, length and digest that are expected.
        rows: The rows whose bytes it holds; `None` where they are lost.
        part: The manifest part that speaks for it.
        known: sha256 -> path of the dataset's shards, to recognise a content that has another's name.
    """
    check = _ShardCheck(storage, shard, part)
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(storage.open(shard.path))
            if not storage.is_local:
                stream = _copy(stream, stack.enter_context(scratch_file()))
        except NotFoundError:
            check.add(
                "shard-missing",
                f"{check.url} is missing, expected {shard.num_bytes} bytes: restore it, or for a generated dataset run "
                "shardtools verify --repair",
            )
            return check.result(0, 0)
        size, found = _digest(stream)
        # Before the content is looked at: against another shard's rows every image would be wrong.
        twin = known.get(found)
        if found != shard.sha256 and twin is not None and twin != shard.path:
            check.add(
                "shard-swapped", f"{check.url} holds the content of {twin}: give the two shards their own names back"
            )
            return check.result(0, size)
        num_images = check.content(stream, size, rows)
        # After the content: whether the images are intact says where the damage is.
        if size != shard.num_bytes or found != shard.sha256:
            check.altered(size, found, rows_known=rows is not None)
        return check.result(num_images, size)


class _ShardCheck:
    """Collects the problems of one shard."""

    def __init__(self, storage: Storage, shard: ShardFile, part: str) -> None:
        self._shard = shard
        self._part = part
        self._problems: list[Problem] = []
        self.url = storage.object_url(shard.path)

    def add(self, kind: str, message: str, *, key: str | None = None, byte_offset: int | None = None) -> None:
        self._problems.append(
            Problem(
                kind=kind, message=message, path=self._shard.path, part=self._part, key=key, byte_offset=byte_offset
            )
        )

    def result(self, num_images: int, num_bytes: int) -> ShardResult:
        return ShardResult(problems=tuple(self._problems), num_images=num_images, num_bytes=num_bytes)

    def altered(self, size: int, found: str, *, rows_known: bool) -> None:
        """Adds the problem of the whole file, before those inside it."""
        shard = self._shard
        if size != shard.num_bytes:
            what = f"expected {shard.num_bytes} bytes, found {size}"
        else:
            what = f"expected sha256 {shown(shard.sha256)}, found {shown(found)}"
        if rows_known and not self._problems:
            what += " (the images are intact: the damage is in a json member, a header's free bytes or the padding)"
        message = f"{self.url}: {what}: restore it, or for a generated dataset run shardtools verify --repair"
        self._problems.insert(0, Problem(kind="shard-altered", message=message, path=shard.path, part=self._part))

    def content(self, stream: BinaryIO, size: int, rows: Sequence[Mapping[str, Any]] | None) -> int:
        """Structure, members and images; returns the number of images that were read."""
        # Other formats than tars are held against their digests alone: whatever is altered shows in one of them.
        samples, whole = self._samples(stream) if self._shard.path.endswith(".tar") else ([], False)
        if rows is None:
            return 0
        by_key = {sample.key: (index, sample) for index, sample in enumerate(samples)}
        num_images = 0
        for row in sorted(rows, key=lambda row: (row["member_offset"] or 0, row["key"])):
            if whole:
                self._check_member(stream, row, by_key.get(row["key"]))
            end = row["member_offset"] + row["num_bytes"]
            if end > size:
                self.add(
                    "image-altered",
                    f"image of {row['key']!r} ends at byte {end} of {self.url}, which has {size}: repair or restore "
                    "the shard",
                    key=row["key"],
                    byte_offset=row["member_offset"],
                )
                continue
            stream.seek(row["member_offset"])
            self._problems.extend(check_image(stream.read(row["num_bytes"]), row, url=self.url, part=self._part))
            num_images += 1
        row_keys = {row["key"] for row in rows}
        for sample in samples:
            if sample.key not in row_keys:
                offset = min(member.offset for member in sample.members.values())
                self.add(
                    "shard-members",
                    f"sample {sample.key!r} at byte {offset} of {self.url} has no row in {self._part}: repair or "
                    "restore the shard",
                    key=sample.key,
                    byte_offset=offset,
                )
        return num_images

    def _samples(self, stream: BinaryIO) -> tuple[list[TarSample], bool]:
        """The samples up to the first structural damage, and whether there is none."""
        samples: list[TarSample] = []
        try:
            for sample in read_samples(_members(stream, self.url), where=self.url):
                samples.append(sample)
        except ShardError as error:
            self.add("shard-structure", str(error))
            return samples, False
        return samples, True

    def _check_member(self, stream: BinaryIO, row: Mapping[str, Any], found: tuple[int, TarSample] | None) -> None:
        key, offset = row["key"], row["member_offset"]
        if found is None:
            self.add(
                "shard-members",
                f"row {key!r} points to byte {offset} of {self.url}, which has no sample of that key: repair or "
                "restore the shard",
                key=key,
                byte_offset=offset,
            )
            return
        index, sample = found
        image = sample.members.get(row["image_format"] or "")
        expected = (row["sample_index"], row["image_format"], offset, row["num_bytes"])
        have = (index, row["image_format"], image.offset, image.num_bytes) if image else (index, sorted(sample.members))
        if expected != have:
            self.add(
                "shard-members",
                f"row {key!r}: expected sample index, format, offset, bytes {expected}, found {have} in {self.url}: "
                "repair or restore the shard",
                key=key,
                byte_offset=offset,
            )
        self._check_label(stream, row, sample.members.get("cls"))

    def _check_label(self, stream: BinaryIO, row: Mapping[str, Any], member: Member | None) -> None:
        if member is None or row["class_index"] is None:
            return
        stream.seek(member.offset)
        content = stream.read(member.num_bytes)
        if content.strip() != str(row["class_index"]).encode():
            self.add(
                "label",
                f"row {row['key']!r} has class_index {row['class_index']}, its cls member at byte {member.offset} of "
                f"{self.url} says {content[:20].decode(errors='replace')!r}: repair or restore the shard",
                key=row["key"],
                byte_offset=member.offset,
            )


def _members(stream: BinaryIO, url: str) -> Iterator[Member]:
    """Members of a tar; whatever the tar reader stumbles over in damaged headers is a `ShardError`."""
    try:
        yield from read_members(stream, where=url)
    except (ValueError, OverflowError, EOFError, OSError) as error:
        raise ShardError(
            f"{url} is no intact tar ({type(error).__name__}: {error}): repair or restore the shard"
        ) from None


def _copy(source: BinaryIO, target: Any) -> BinaryIO:
    """A seekable copy on this machine's disk."""
    while chunk := source.read(_READ_BYTES):
        target.write(chunk)
    stream: BinaryIO = target
    return stream


def check_row(storage: Storage, row: Mapping[str, Any], part: str) -> tuple[int, list[Problem]]:
    """Reads one image by its recorded place: bytes read, and its problems.

    A missing shard is not said here for each of its rows: the listing has said it already.
    """
    place = {"path": row["shard"], "part": part, "key": row["key"], "byte_offset": row["member_offset"]}
    try:
        payload = storage.read_range(row["shard"], row["member_offset"], row["num_bytes"])
    except NotFoundError:
        return 0, []
    except StorageError as error:
        return 0, [Problem(kind="image-altered", message=str(error), **place)]
    return len(payload), list(check_image(payload, row, url=storage.object_url(row["shard"]), part=part))


def check_image_file(storage: Storage, row: Mapping[str, Any], part: str) -> tuple[int, list[Problem]]:
    """The same for an image that is a file of its own, which may be missing or longer than it was."""
    url = storage.object_url(row["shard"])
    place = {"path": row["shard"], "part": part, "key": row["key"]}
    try:
        payload = storage.read(row["shard"])
    except NotFoundError:
        message = f"{url} is missing, expected {row['num_bytes']} bytes: restore it, or write the dataset again"
        return 0, [Problem(kind="shard-missing", message=message, **place)]
    return len(payload), list(check_image(payload, row, url=url, part=part))


def check_file(storage: Storage, file: ShardFile, *, part: str | None) -> Problem | None:
    """The problem of a file as a whole, if there is one: an index, or a joined shard, whose rows are checked apart."""
    remedy = "restore it, or run the job that made the dataset again"
    facts: dict[str, Any] = {"path": file.path, "part": part}
    url = storage.object_url(file.path)
    try:
        with storage.open(file.path) as stream:
            size, found = _digest(stream)
    except NotFoundError:
        message = f"{url} is missing, expected {file.num_bytes} bytes: {remedy}"
        return Problem(kind="shard-missing", message=message, **facts)
    if (size, found) == (file.num_bytes, file.sha256):
        return None
    what = f"{file.num_bytes} bytes with sha256 {shown(file.sha256)}, found {size} with {shown(found)}"
    return Problem(kind="shard-altered", message=f"{url}: expected {what}: {remedy}", **facts)


def _digest(stream: BinaryIO) -> tuple[int, str]:
    """Length and sha256 of everything in the stream."""
    sha256 = stream_digest(stream)
    return stream.tell(), sha256
