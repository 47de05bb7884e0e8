"""One sample in hand: an image and what its owner knows of it, held to what a dataset can hold.

Owns the messages for what cannot: each names the image by its position, says what was expected and found, and how to
mend it. Pixels are taken as 8-bit grey or RGB and nothing is guessed or rescaled; the price is that floats, channels
first and transparency are the caller's to convert.
"""

from __future__ import annotations

import json
import math
import operator
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.errors import OptionError, ShardError, SourceError
from shardtools.manifest import PROVENANCE_COLUMNS, SCHEMA
from shardtools.shards import check_key, check_split
from shardtools.sources.image.check import MAX_SAMPLE_BYTES
from shardtools.taxonomy import load_classes
from shardtools.words import counted

ENCODED, GRAY, RGB = 0, 1, 3
"""Bytes a pixel of an array; 0 stands for the bytes of an encoded image."""

MAX_PIXELS = MAX_SAMPLE_BYTES // 3
"""Pixels of one array; Pillow, and so most readers, warns of more."""

_MAX_CLASS_INDEX = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSample:
    """One image and what its owner knows of it; `open_samples` checks the values.

    Attributes:
        image: Pixels, [H, W] grey or [H, W, 3] RGB uint8; or the bytes of an encoded image, which are kept.
        label: 0-based class index; `None` where there is none; a tuple, list or set of them for an image that may have
            several or none.
        key: Unique among all samples; `None` makes one of the split and the position in it, "train_00000".
        split: Lower-case letters and digits.
        provenance: Manifest column of `manifest.PROVENANCE_COLUMNS` -> value; one that is `None` is left out.
    """

    image: npt.NDArray[np.uint8] | bytes
    label: int | Collection[int] | None = None
    key: str | None = None
    split: str = "train"
    provenance: Mapping[str, Any] = field(default_factory=dict)


def payload_of(image: object, number: int) -> tuple[memoryview, tuple[int, int | None, int | None]]:
    """Bytes of an image, and bytes a pixel, height, width (pixels); (ENCODED, None, None) for encoded bytes.

    Raises:
        SourceError: It is neither pixels that a dataset can hold nor bytes.
    """
    if isinstance(image, bytes | bytearray):
        return memoryview(image).cast("B"), (ENCODED, None, None)
    if not isinstance(image, np.ndarray):
        raise SourceError(
            f"image {number}: expected a NumPy array or the bytes of an encoded image, found {type(image).__name__}: "
            "convert it"
        )
    is_gray = image.ndim == 2
    if image.dtype != np.uint8 or not (is_gray or (image.ndim == 3 and image.shape[2] == RGB)):
        raise SourceError(
            f"image {number}: expected uint8 of shape [height, width] or [height, width, 3], found {image.dtype} "
            f"{list(image.shape)}: {_advice(image)}"
        )
    height, width = image.shape[:2]
    if not 0 < height * width <= MAX_PIXELS:
        raise SourceError(
            f"image {number}: expected 1 to {MAX_PIXELS} pixels, found {width}x{height}: resize it or leave it out"
        )
    return np.ascontiguousarray(image).data.cast("B"), (GRAY if is_gray else RGB, height, width)


def _advice(image: npt.NDArray[Any]) -> str:
    if image.dtype != np.uint8:
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            return "it holds NaN or infinity, find out why"
        return "scale it to 0 to 255 and give .astype(np.uint8)"
    if image.ndim == 3 and image.shape[0] == RGB:
        return "give channels last, .transpose(1, 2, 0)"
    if image.ndim == 3 and image.shape[2] in (1, 4):
        return f"give {'[..., 0]' if image.shape[2] == 1 else '[..., :3]'} of it"
    return "give one picture at a time"


def label_of(label: object, number: int, wnids: Sequence[str] | None) -> int | tuple[int, ...] | None:
    """A label as a plain integer; NumPy's and PyTorch's whole numbers are taken, floats and truth values are not.

    Several in a collection come back rising, each once.

    Raises:
        SourceError: It is no class index.
    """
    if label is None:
        return None
    if isinstance(label, tuple | list | set | frozenset):
        return tuple(sorted({_class_index(one, number, wnids) for one in label}))
    return _class_index(label, number, wnids)


def _class_index(label: object, number: int, wnids: Sequence[str] | None) -> int:
    try:
        found = -1 if isinstance(label, bool | np.bool_) else operator.index(label)  # type: ignore[arg-type]
    except TypeError:
        found = -1
    last = _MAX_CLASS_INDEX if wnids is None else len(wnids) - 1
    if not 0 <= found <= last:
        what = (
            "a whole number from 0"
            if wnids is None
            else f"one of {counted(len(wnids), 'class', 'classes')}, a whole number from 0"
        )
        raise SourceError(
            f"label of image {number}: expected {what} to {last}, or None, found {label!r}: give its class index"
        )
    return found


def key_of(given: GivenSample, number: int, counts: Mapping[str, int]) -> str:
    """The sample's key, or one made of its split and how many of that came before.

    Raises:
        SourceError: The key or the split may not be used.
    """
    try:
        if not isinstance(given.split, str):
            raise ShardError(f"a split is a text, found {given.split!r}")
        check_split(given.split)
        if given.key is None:
            return f"{given.split}_{counts.get(given.split, 0):05d}"
        if not isinstance(given.key, str):
            raise ShardError(f"a key is a text, found {given.key!r}: give str(...) of it")
        return check_key(str(given.key))
    except ShardError as error:
        raise SourceError(f"image {number}: {error}") from None


def provenance_of(given: Mapping[str, Any], number: int) -> str | None:
    """The values as the manifest's types hold them, as JSON; `None` where there are none.

    Raises:
        SourceError: A name is no column, or a value is not of its type.
    """
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in PROVENANCE_COLUMNS:
            raise SourceError(
                f"image {number}: provenance {name!r} is no column of the manifest: expected one of "
                f"{', '.join(PROVENANCE_COLUMNS)}; keep other facts in an overlay"
            )
        arrow_type = SCHEMA.field(name).type
        try:
            held = pa.scalar(value, arrow_type).as_py()
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            held = math.nan
        if isinstance(held, float) and not math.isfinite(held):
            raise SourceError(f"image {number}: provenance {name} is {arrow_type}, found {value!r}: give such a value")
        if held is not None:
            values[name] = held
    return json.dumps(values, sort_keys=True) if values else None


def class_names(classes: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Class names in the order of the labels, of a list of names or a specification; `None` where none were given.

    Raises:
        OptionError: A name is empty, no text, or comes twice.
        TaxonomyError: The specification names no classes.
    """
    if classes is None:
        return None
    if isinstance(classes, str):
        return tuple(one.wnid for one in load_classes(classes))
    names = list(classes)
    if not names:
        raise OptionError("classes: expected names in the order of the labels, found none: leave classes out")
    for name, count in Counter(names).items():
        if not isinstance(name, str) or not name or not name.isprintable():
            raise OptionError(f"classes: expected names of printable characters, found {name!r}: rename it")
        if count > 1:
            raise OptionError(f"classes: {name!r} comes {count} times, one class has one label: name it once")
    return tuple(map(str, names))
