"""What tars hold, read from their headers: DALI's index files, and the counts and digests that wids wants.

Owns the text of an index: "v1.2" and the number of samples, then a line a sample with extension, offset of the payload
(bytes), length (bytes) and name of each member in the order of the tar, as NVIDIA's wds2idx of DALI 2.4 writes it. Such
a line is split at blanks; the price is that a tar whose keys have blanks gets version 1.1, which has no names, and one
whose extensions have blanks gets no index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from shardtools.errors import DatasetError
from shardtools.hashes import stream_digest
from shardtools.manifest import ShardFile
from shardtools.shards import TarSample, read_members, read_samples
from shardtools.storage import Storage, read_ahead

_TARS_AHEAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TarFacts:
    """One tar: path, samples, the bytes of its index (`None` where its names cannot be in one), md5 if asked for."""

    path: str
    num_samples: int
    index: bytes | None
    md5: str | None


def index_path(shard_path: str) -> str:
    """Path of a tar's index: "shards/train-000000.idx"."""
    return f"{shard_path.removesuffix('.tar')}.idx"


def read_tars(
    storage: Storage, shards: Sequence[ShardFile], num_samples: Callable[[str], int], *, md5: bool
) -> Iterator[TarFacts]:
    """Facts of each tar, in order; a few are read at a time.

    Args:
        storage: The dataset.
        shards: Its tars.
        num_samples: Path -> samples that the manifest says are in it.
        md5: Whether to read all of each tar.

    Raises:
        DatasetError: A tar does not hold as many samples as the manifest says, or is not as long as the commit says.
        ShardError: A tar is damaged.
    """
    calls = (partial(_read_tar, storage, shard, num_samples(shard.path), md5=md5) for shard in shards)
    return read_ahead(calls, _TARS_AHEAD)


def _read_tar(storage: Storage, shard: ShardFile, expected: int, *, md5: bool) -> TarFacts:
    where = storage.object_url(shard.path)
    with storage.open(shard.path) as stream:
        # The length first: it costs no read, where the headers of another tar would be read to their end.
        num_bytes = stream.seek(0, 2)
        if num_bytes != shard.num_bytes:
            raise DatasetError(
                f"{where} has {num_bytes} bytes, dataset.json says {shard.num_bytes}: run shardtools verify"
            )
        samples = list(read_samples(read_members(stream, where=where), where=where))
        digest = stream_digest(stream, partial(hashlib.md5, usedforsecurity=False)) if md5 else None
    if len(samples) != expected:
        raise DatasetError(
            f"{where} holds {len(samples)} samples, the manifest has {expected} rows for it: run shardtools verify"
        )
    return TarFacts(path=shard.path, num_samples=len(samples), index=dali_index(samples), md5=digest)


def dali_index(samples: Sequence[TarSample]) -> bytes | None:
    """The content of an index; `None` where an extension has a blank or the tar is empty, which DALI cannot read."""
    if not samples or any(_has_blank(extension) for sample in samples for extension in sample.members):
        return None
    with_names = not any(_has_blank(sample.key) for sample in samples)
    lines = [f"{'v1.2' if with_names else 'v1.1'} {len(samples)}"]
    for sample in samples:
        words: list[str] = []
        for extension, member in sample.members.items():
            words += [extension, str(member.offset), str(member.num_bytes)]
            words += [member.name] if with_names else []
        lines.append(" ".join(words))
    return ("\n".join(lines) + "\n").encode()


def _has_blank(text: str) -> bool:
    """Whether a C++ stream would split the text, or Python would; an empty one would be lost."""
    return text.split() != [text]
