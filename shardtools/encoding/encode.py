"""From a sample to the same sample in fewer bytes, or in raw pixels.

Owns the decision what is encoded anew, and the one rule of it: bytes are kept wherever the options do not ask for
others, and also where other ones would not be fewer. The result depends on the sample, the options and the versions of
Pillow and libjpeg-turbo alone; what chance decides comes from (seed, key). The price of a pure function a sample: an
image that `sources` has decoded as its check is decoded again here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from typing import Any

from shardtools.encoding.options import DEFAULT_QUALITY, EncodingOptions
from shardtools.encoding.picture import load_picture, raw_pixels, save_jpeg, shrink
from shardtools.sample import STATUS_OK, Sample
from shardtools.sources import ImageFacts, Rejection, check_image, rejection_of

RAW = "raw"
"""The `image_format` of rows of 8-bit RGB pixels."""

_JPEG_MODES = ("L", "RGB")
_CHANCES = 1 << 64


def encode_sample(sample: Sample, options: EncodingOptions) -> Sample:
    """The sample as the options want it.

    A sample without bytes, and one whose bytes are kept, comes back as it is. Otherwise `image_bytes`, `image_format`,
    `width`, `height` and `mode` are the new image's, and the provenance says what it was made from (`source_sha256`,
    `source_num_bytes`, `source_width`, `source_height`) and with which `jpeg_quality`. An image that turns out to be
    damaged becomes a record of that, with status "undecodable".

    Pixels stay as stored: EXIF's orientation is not applied but written to the new JPEG, as is an ICC profile that fits
    its colours. See `picture` for what becomes of CMYK, transparency and 16 bits.
    """
    content = sample.image_bytes
    if content is None or sample.status != STATUS_OK or not options.changes:
        return sample
    facts = _facts(sample, content)
    if isinstance(facts, Rejection):
        return _rejected(sample, facts)
    size = fit_size(facts.width, facts.height, max_side=options.max_side, min_side=options.min_side)
    target = choose_format(facts, size, sample.key, options)
    if target is None:
        return sample
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd EXIF and large pictures; neither keeps them from being encoded.
            warnings.simplefilter("ignore")
            return _encoded(sample, content, facts, size, target, options)
    except MemoryError:
        raise
    except Exception as error:
        # See `check_image`: decoders fail with whatever the bytes make them trip over.
        return _rejected(sample, rejection_of(error, content))


def fit_size(width: int, height: int, *, max_side: int | None = None, min_side: int | None = None) -> tuple[int, int]:
    """Width and height in pixels after the limits, in the same proportion and rounded to whole pixels, at least 1.

    The shorter side is reduced to `min_side`, then the longer one to `max_side`; nothing is enlarged.
    """
    shorter, longer = min(width, height), max(width, height)
    wanted, of = shorter, shorter
    if min_side is not None and shorter > min_side:
        wanted, of = min_side, shorter
    if max_side is not None and longer * wanted > max_side * of:
        wanted, of = max_side, longer
    if wanted == of:
        return width, height
    # Half a pixel is rounded up, in whole numbers, so that no machine rounds differently.
    return max(1, (2 * width * wanted + of) // (2 * of)), max(1, (2 * height * wanted + of) // (2 * of))


def choose_format(facts: ImageFacts, size: tuple[int, int], key: str, options: EncodingOptions) -> str | None:
    """What an image becomes: "jpg", "raw", or `None` for the bytes that it has.

    Args:
        facts: What it is.
        size: Width and height that it is to have.
        key: The sample's, for what chance decides.
        options: See there.
    """
    is_resized = size != (facts.width, facts.height)
    mode = options.write_mode
    chosen = options.probability is None or _chance(options.seed, key) < options.probability
    if mode == "keep":
        is_asked = chosen and (options.quality is not None or options.compress_probability is not None)
        return "jpg" if is_resized or is_asked else None
    if mode == "smart":
        is_large = options.smart_threshold is not None and 3 * size[0] * size[1] > options.smart_threshold
        mode = "jpg" if is_large else RAW
    elif mode == "proportion":
        mode = "jpg" if chosen else RAW
    is_there = facts.image_format == RAW if mode == RAW else _is_plain_jpeg(facts) and options.quality is None
    return None if is_there and not is_resized else mode


def _encoded(
    sample: Sample, content: bytes, facts: ImageFacts, size: tuple[int, int], target: str, options: EncodingOptions
) -> Sample:
    is_raw = facts.image_format == RAW
    picture = load_picture(content, size=size, raw_size=(facts.width, facts.height) if is_raw else None)
    image = shrink(picture, size)
    provenance: dict[str, Any] = {
        "source_sha256": hashlib.sha256(content).hexdigest(),
        "source_num_bytes": len(content),
        "source_width": facts.width,
        "source_height": facts.height,
        "jpeg_quality": None,
    }
    if target == RAW:
        encoded, mode = raw_pixels(image), "RGB"
    else:
        quality = options.quality or DEFAULT_QUALITY
        encoded = save_jpeg(image, quality, orientation=facts.exif_orientation, icc_profile=picture.icc_profile)
        mode = image.mode
        provenance["jpeg_quality"] = quality
        # Encoded in vain: the bytes that are there are not more. They stay, unless another size or format was asked
        # for.
        may_stay = options.write_mode == "keep" or _is_plain_jpeg(facts)
        if may_stay and size == (facts.width, facts.height) and len(encoded) >= len(content):
            return sample
    return dataclasses.replace(
        sample,
        image_bytes=encoded,
        image_format=_member_name(target, sample),
        width=size[0],
        height=size[1],
        mode=mode,
        provenance={**sample.provenance, **provenance},
    )


def _facts(sample: Sample, content: bytes) -> ImageFacts | Rejection:
    if sample.image_format != RAW:
        return check_image(content, decode=False)
    width, height = sample.width or 0, sample.height or 0
    if len(content) != 3 * width * height or not content:
        return Rejection("undecodable", f"{len(content)} bytes are not {width} x {height} RGB pixels")
    return ImageFacts(RAW, width, height, "RGB", sample.provenance.get("exif_orientation"))


def _is_plain_jpeg(facts: ImageFacts) -> bool:
    """Whether every JPEG decoder gives RGB pixels of it; FFCV's and DALI's do not of CMYK."""
    return facts.image_format == "jpg" and facts.mode in _JPEG_MODES


def _member_name(target: str, sample: Sample) -> str:
    """The new image's extension, another one where a member beside it has that already."""
    name = target
    while name in sample.extra_members:
        name = f"image.{name}"
    return name


def _chance(seed: int, key: str) -> float:
    """A number from 0 to 1 (exclusive) that depends on seed and key alone."""
    digest = hashlib.sha256(f"{seed}:compress:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / _CHANCES


def _rejected(sample: Sample, rejection: Rejection) -> Sample:
    return dataclasses.replace(
        sample,
        image_bytes=None,
        image_format=None,
        width=None,
        height=None,
        mode=None,
        status=rejection.status,
        reason=rejection.reason,
        extra_members={},
    )
