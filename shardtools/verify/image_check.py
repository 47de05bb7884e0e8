"""One image against its manifest row: digest, decoding, size.

Owns what "intact" means for an image; whether bytes decode is asked of the same code that took them in. The price of
decoding every image: up to a few milliseconds each, in threads, since Pillow and sha256 work without the interpreter's
lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shardtools.manifest import digest
from shardtools.sources import Rejection
from shardtools.sources import check_image as read_image
from shardtools.verify.report import Problem

ROW_COLUMNS = (
    "key",
    "shard",
    "sample_index",
    "member_offset",
    "num_bytes",
    "sha256",
    "image_format",
    "width",
    "height",
    "mode",
    "class_index",
    "status",
)
"""Columns that a row is checked by."""

PLACE_COLUMNS = ("shard", "sample_index", "member_offset", "num_bytes", "sha256")
"""Columns that say where a row's bytes are; null where its status is not ok."""


def check_image(payload: bytes, row: Mapping[str, Any], *, url: str, part: str) -> Iterator[Problem]:
    """Problems of one image.

    Args:
        payload: Bytes of the image's member as they are in the shard.
        row: Its manifest row, with `ROW_COLUMNS`.
        url: Where the shard is, for messages.
        part: The row's manifest part.
    """
    where = f"image of {row['key']!r} at byte {row['member_offset']} of {url}"
    place: dict[str, Any] = {
        "path": row["shard"],
        "part": part,
        "key": row["key"],
        "byte_offset": row["member_offset"],
    }
    found = digest(payload)
    if found != row["sha256"]:
        yield Problem(
            kind="image-altered",
            message=f"{where}: expected sha256 {shown(row['sha256'])}, found {shown(found)}: repair or restore the "
            "shard",
            **place,
        )
        return
    if row["image_format"] == "raw":
        # Rows of pixels have nothing to decode; their digest has been compared, their size is the rest.
        yield from _check_raw(payload, row, where, place)
        return
    facts = read_image(payload, decode=True)
    if isinstance(facts, Rejection):
        yield Problem(
            kind="image-undecodable",
            message=f"{where}: expected an image that decodes, found: {facts.reason}: its bytes are as recorded, so it "
            "was stored like this: leave it out, or replace it at the source",
            **place,
        )
        return
    size = (facts.width, facts.height, facts.mode)
    recorded = (row["width"], row["height"], row["mode"])
    if any(want is not None and want != have for want, have in zip(recorded, size, strict=True)):
        yield Problem(
            kind="image-size",
            message=f"{where}: expected width, height, mode {recorded}, found {size}: the row is wrong, write the "
            "dataset again",
            **place,
        )


def _check_raw(payload: bytes, row: Mapping[str, Any], where: str, place: Mapping[str, Any]) -> Iterator[Problem]:
    expected = row["width"] * row["height"] * 3
    if len(payload) != expected:
        yield Problem(
            kind="image-size",
            message=f"{where}: expected {expected} bytes of RGB pixels, found {len(payload)}: the row is wrong, write "
            "the dataset again",
            **place,
        )


def check_status(row: Mapping[str, Any], *, url: str, part: str) -> Problem | None:
    """The problem of a row whose status and bytes contradict each other, if they do; `url` is the part's."""
    is_ok = row["status"] == "ok"
    wrong = [name for name in PLACE_COLUMNS if (row[name] is None) == is_ok]
    if not wrong:
        return None
    expected = "all of them set" if is_ok else "none of them set"
    return Problem(
        kind="status",
        message=f"row {row['key']!r} of {url} has status {row['status']!r}: expected {', '.join(PLACE_COLUMNS)}: "
        f"{expected}, found the opposite in {', '.join(wrong)}: the manifest was written wrongly, make the dataset "
        "again",
        path=part,
        part=part,
        key=row["key"],
    )


def shown(sha256: str | None) -> str:
    """The first digits of a digest."""
    return f"{sha256[:12]}..." if sha256 else "none"
