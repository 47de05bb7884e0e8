"""Names of keys, shards and manifest parts.

Owns what a key may be: the intersection of what WebDataset, USTAR, object stores and file systems all take. The price:
some keys of other people's tars are refused and must be renamed on the way in.
"""

from __future__ import annotations

import re

from shardtools.errors import ShardError

MAX_MEMBER_NAME_BYTES = 100
"""USTAR's name field. Longer names need extensions that not every reader follows."""

_SPLIT_PATTERN = re.compile(r"[a-z][a-z0-9]*")
_BAD_KEY_CHARACTER = re.compile(r"[/\\.\x00-\x1f\x7f]")


def check_key(key: str, *, where: str = "") -> str:
    """Returns `key` if it may name a sample.

    A key has no dot (WebDataset ends the key at the first one), no path separator, no control character, is valid
    UTF-8, and leaves room for an extension in a 100-byte member name.

    Args:
        key: The stem of the sample's members.
        where: Said in the error: the file the key was found in.

    Raises:
        ShardError: The key may not be used.
    """
    place = f" in {where}" if where else ""
    bad = _BAD_KEY_CHARACTER.search(key)
    if not key or bad:
        found = f"{bad.group()!r} in {key!r}" if bad else "an empty key"
        raise ShardError(f"a key has no '.', '/', '\\' or control character, found {found}{place}: rename the sample")
    if key.startswith("__"):
        raise ShardError(
            f"a key does not start with '__' (WebDataset skips such members), found {key!r}{place}: rename it"
        )
    try:
        num_bytes = len(key.encode())
    except UnicodeEncodeError:
        raise ShardError(f"a key is valid UTF-8, found {key!r}{place}: rename the sample") from None
    if num_bytes > MAX_MEMBER_NAME_BYTES - len(".jpeg") - 4:
        raise ShardError(
            f"a key has at most {MAX_MEMBER_NAME_BYTES - 9} bytes, found {num_bytes} in {key!r}{place}: shorten it"
        )
    return key


def check_split(split: str) -> str:
    """Returns `split` if it is lower-case letters and digits.

    Raises:
        ShardError: It is not.
    """
    if not _SPLIT_PATTERN.fullmatch(split):
        raise ShardError(f"a split is named by lower-case letters and digits (train, val), found {split!r}")
    return split


def part_name(split: str, shard_index: int, attempt: int = 1) -> str:
    """Stem of a shard: "train-000012", or "train-000012-attempt2" for images made again."""
    suffix = "" if attempt == 1 else f"-attempt{attempt}"
    return f"{split}-{shard_index:06d}{suffix}"


def part_path(split: str, shard_index: int) -> str:
    """Path of a manifest part in its dataset: "manifest/train-000012.parquet"."""
    return f"manifest/{part_name(split, shard_index)}.parquet"


def parse_part_path(path: str) -> tuple[str, int]:
    """Split and shard index of "manifest/train-000012.parquet".

    Raises:
        ShardError: The path is not a manifest part's.
    """
    match = re.fullmatch(r"manifest/([a-z][a-z0-9]*)-(\d{6,})\.parquet", path)
    if match is None:
        raise ShardError(f"expected a manifest part such as manifest/train-000000.parquet, found {path}: move it away")
    return match.group(1), int(match.group(2))
