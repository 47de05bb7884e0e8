"""One image with its label and its provenance: the unit that flows from sources and generators into shards.

Owns no I/O. The price of one plain record: the provenance of generated images rides along as a mapping whose names are
checked against the manifest's schema when the row is built, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STATUS_OK = "ok"
"""The one status of a sample that has bytes in a shard; every other status is a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image, or the record that there is none.

    Attributes:
        key: Unique in its dataset; see `shards.names.check_key` for the characters it may hold.
        image_bytes: The encoded image, verbatim; `None` where `status` is not "ok".
        image_format: File extension without a dot: "jpg", "png", "webp", ...; `None` without bytes.
        width: Pixels; `None` where unknown.
        height: Pixels; `None` where unknown.
        mode: Pillow's name of the pixel layout ("RGB", "L", "CMYK", ...); `None` where unknown.
        wnid: Class name: a WordNet id ("n03595614") or the user's own.
        class_index: 0-based label; `None` where there is none, or there may be several.
        class_indexes: 0-based labels, rising, of an image that may have several; `None` for one with one class at most.
        label_source: Where the label comes from: "prompt", "folder", "cls", "idx", ...
        source: "real", "generated", "rendered", "corrupted" (made worse on purpose) or "attacked" (so that a
            network errs).
        status: "ok", or why there are no bytes ("black", "nan", "undecodable", "unsafe", ...).
        reason: One line of detail for a status that is not "ok"; or what of an ok one's prompt was not read.
        provenance: Further manifest columns (`source_path`, `prompt`, `seed`, ...): see `manifest.PROVENANCE_COLUMNS`.
        extra_members: Extension -> payload of further members, copied verbatim beside the image; one named
            "cls" or "json"
            stands in for the one that would be made.
    """

    key: str
    image_bytes: bytes | None
    image_format: str | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    wnid: str | None = None
    class_index: int | None = None
    class_indexes: tuple[int, ...] | None = None
    label_source: str | None = None
    source: str = "real"
    status: str = STATUS_OK
    reason: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    extra_members: Mapping[str, bytes] = field(default_factory=dict)
