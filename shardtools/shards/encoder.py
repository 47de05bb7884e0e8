"""What every shard format is to its writer: samples in, one file out, and where each image lies in it.

Owns the contract between the dataset's shard writer and the formats. A format writes into a seekable file, because
most of them begin with a table that is known only at the end; the price is that their digest needs a second reading.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSample:
    """One sample as a format writes it.

    Attributes:
        key: Checked by `check_key`.
        image_bytes: The encoded image, or rows of RGB pixels (uint8, H * W * 3 bytes) where `image_format` is "raw".
        image_format: Extension without a dot.
        width: Pixels.
        height: Pixels.
        class_index: 0-based label; `None` where there is none.
        members: Further members, extension -> payload: "cls" (where there is a label), "json", and what the source
            had beside the image.
    """

    key: str
    image_bytes: bytes
    image_format: str
    width: int
    height: int
    class_index: int | None
    members: Mapping[str, bytes]


class ShardEncoder(ABC):
    """Writes the samples of one shard to a seekable binary stream that is empty at first.

    Args:
        stream: Open for writing; neither closed nor flushed here.
        max_samples: Most samples that will come (rows of the shard); some may be rejected on the way.
        fields: Members that are written beside image and label; a format that names its columns in a header needs to
            know them before the first sample. A member that is not among them is not written.
    """

    @abstractmethod
    def __init__(self, stream: BinaryIO, *, max_samples: int, fields: tuple[str, ...]) -> None: ...

    @abstractmethod
    def add(self, sample: ShardSample) -> int:
        """Appends a sample; returns the byte offset of its image's payload in the file.

        The payload lies there contiguously and unchanged.

        Raises:
            ShardError: The format cannot hold this sample.
        """

    @abstractmethod
    def finish(self) -> int:
        """Writes what completes the file; returns its length in bytes."""
