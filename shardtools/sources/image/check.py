"""What an image's bytes are, or why they are none.

Owns the one place where bytes of unknown origin meet a decoder, and the statuses "undecodable", "not-an-image" and
"too-large". What a loader would not deliver is refused (`decode.judging`). Nothing is ever re-encoded: the image that
is decoded here is thrown away. The price of the full check is most of the time of writing a dataset; for JPEG it is cut
by decoding at one eighth of the size, which still reads every coefficient of the file. The header check asks a decoder
only about what `header.py` cannot read itself.
"""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shardtools.errors import first_line
from shardtools.sample import Sample
from shardtools.sources.image.header import ImageFacts as ImageFacts
from shardtools.sources.image.header import exif_orientation, png_exif, read_header

if TYPE_CHECKING:
    from PIL import Image

MAX_SAMPLE_BYTES = 256 * 1024 * 1024
"""A larger file is recorded and left out, so that one odd file cannot fill the memory."""

IMAGE_EXTENSIONS = {
    "jpg": "jpg",
    "jpeg": "jpg",
    "jpe": "jpg",
    "jfif": "jpg",
    "png": "png",
    "webp": "webp",
    "gif": "gif",
    "bmp": "bmp",
    "tif": "tiff",
    "tiff": "tiff",
    "ppm": "ppm",
    "pgm": "ppm",
    "pbm": "ppm",
    "pnm": "ppm",
    "avif": "avif",
    "jp2": "jp2",
    "j2k": "jp2",
}
"""Lower-case file extension -> the `image_format` it stands for."""

_PILLOW_FORMATS = {
    "JPEG": "jpg",
    "MPO": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tiff",
    "PPM": "ppm",
    "AVIF": "avif",
    "JPEG2000": "jp2",
}
"""Pillow's format -> `image_format`. Only these are tried: some of Pillow's others (EPS) start programs."""

_MAGIC = re.compile(
    rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|GIF8|BM....\0\0\0\0|II\*\0|MM\0\*|P[1-6]\s"
    rb"|....ftypavi[fs]|\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    re.DOTALL,
)
NUM_MAGIC_BYTES = 16
_MAX_REASON_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a file gives no image: a status and one line of detail."""

    status: str
    reason: str


def check_image(content: bytes, *, decode: bool) -> ImageFacts | Rejection:
    """Reads an image's header and, if asked for, all of it.

    Args:
        content: The encoded image.
        decode: Whether to decode the pixels too; without it a file that is cut off behind its header passes. Of
            several frames the first is decoded.
    """
    from PIL import Image

    from shardtools.decode import judge_header, judge_jpeg

    if not content:
        return Rejection("undecodable", "the file is empty")
    if not decode and (read := read_header(content)) is not None:
        return read
    try:
        with warnings.catch_warnings():
            # Large or odd images are kept as they are; a decompression bomb of over twice the limit raises.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=pillow_formats()) as image:
                facts, complaint = _facts(image, content), judge_header(image, content)
                if complaint is None and decode:
                    if facts.image_format == "jpg":
                        complaint = judge_jpeg(image, content)
                    else:
                        image.load()
                        # Some formats know their size and mode for certain only now.
                        facts, complaint = _facts(image, content), judge_header(image, content)
                if complaint is not None:
                    return Rejection("undecodable", complaint)
    except MemoryError:
        raise
    except Exception as error:
        # Decoders fail with whatever the bytes make them trip over: OSError, ValueError, struct.error, zlib.error, ...
        return rejection_of(error, content)
    return facts


def rejection_of(error: Exception, content: bytes) -> Rejection:
    """What a decoder's failure on these bytes is recorded as."""
    return Rejection("undecodable", _reason(error, content))


def _facts(image: Image.Image, content: bytes) -> ImageFacts:
    image_format = _PILLOW_FORMATS[image.format or ""]
    # No word of TIFF's tag: Pillow turns those pixels itself, and gives their size as turned.
    exif = png_exif(content) if image_format == "png" else image.info.get("exif")
    return ImageFacts(image_format, image.width, image.height, image.mode, exif_orientation(exif))


@functools.cache
def pillow_formats() -> tuple[str, ...]:
    """Names of the formats that may be opened, as Pillow calls them; those that this build of it lacks are left out."""
    from PIL import Image

    Image.init()
    return tuple(name for name in _PILLOW_FORMATS if name in Image.OPEN)


def _reason(error: Exception, content: bytes) -> str:
    """The decoder's complaint in one line that is the same on every run (some hold a memory address)."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"no image format begins with the bytes {content[:8].hex(' ')}, or its header is damaged"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", first_line(error))[:_MAX_REASON_CHARACTERS]


def looks_like_image(beginning: bytes) -> bool:
    """Whether a file without an image's extension begins like an image (its first `NUM_MAGIC_BYTES` bytes)."""
    return _MAGIC.match(beginning) is not None


def too_large(num_bytes: int) -> Rejection | None:
    """A rejection for what would not fit into memory."""
    if num_bytes <= MAX_SAMPLE_BYTES:
        return None
    return Rejection("too-large", f"{num_bytes} bytes, at most {MAX_SAMPLE_BYTES} are read")


def extension_of(name: str) -> str:
    """Lower-case extension of a file name without the dot, "" where it has none."""
    stem, dot, extension = name.rpartition("/")[2].rpartition(".")
    return extension.lower() if dot and stem else ""


def make_sample(
    found: bytes | Rejection,
    *,
    decode: bool,
    extension: str,
    extra_members: Mapping[str, bytes] | None = None,
    **labels: Any,
) -> Sample:
    """A sample with the bytes as they are, or a record of why there are none.

    An image under another format's extension is kept, its `image_format` is what the bytes are, and `reason` says so.

    Args:
        found: The encoded image, or a rejection known already.
        decode: See `check_image`.
        extension: Lower-case extension that the image had in its source.
        extra_members: See `Sample`; one that has the image's own new extension makes the image keep its old one.
        labels: Further fields of `Sample`: key, wnid, class_index, label_source, source, provenance. An image that
            EXIF says to turn gets `exif_orientation` in its provenance.
    """
    if isinstance(found, Rejection):
        return Sample(image_bytes=None, status=found.status, reason=found.reason, **labels)
    facts = check_image(found, decode=decode)
    if isinstance(facts, Rejection):
        return Sample(image_bytes=None, status=facts.status, reason=facts.reason, **labels)
    suffix = extension.rpartition(".")[2]
    is_misnamed = suffix != "" and IMAGE_EXTENSIONS.get(suffix) != facts.image_format
    members = extra_members or {}
    if facts.exif_orientation is not None:
        labels["provenance"] = {**labels.get("provenance", {}), "exif_orientation": facts.exif_orientation}
    return Sample(
        image_bytes=found,
        image_format=extension if facts.image_format in members else facts.image_format,
        width=facts.width,
        height=facts.height,
        mode=facts.mode,
        reason=f"named .{extension}, the bytes are {facts.image_format}" if is_misnamed else None,
        extra_members=members,
        **labels,
    )
