"""Small pictures of just the samples on the page, out of the ranges of their shards.

Owns the reading and the limit in bytes. Each image's range is read by itself, in threads; the price is one request an
image on an object store, where neighbours could share one, for no byte more than is shown.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from shardtools.encoding.picture import load_picture, shrink
from shardtools.errors import NotFoundError, StorageError
from shardtools.execution import Batch, Doing, Progress, ignore
from shardtools.storage import Storage

_BATCH = 256
"""Images read together: those first in the order of wishes stay first where the limit ends them."""

_LOCAL_THREADS = 2
_REMOTE_THREADS = 16
_MAX_STORAGE_FAILURES = 16
"""An object store that fails this often is down, and each further image would wait for it."""

_SMALL_PIXELS = 64
_QUALITY, _SMALL_QUALITY = 72, 88
"""WebP's; a picture of few pixels shows each artefact, and costs little."""


@dataclass(slots=True, kw_only=True)
class Thumbnails:
    """Pictures by key.

    Attributes:
        pictures: WebP in base64, each once however many keys have it.
        numbers: Key -> its place in `pictures`.
        failures: Key -> why it has no picture.
        num_left_out: Pictures that the limit left out.
    """

    pictures: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    num_left_out: int = 0


def make_thumbnails(
    storage: Storage,
    rows: Mapping[str, Mapping[str, Any]],
    wishes: Sequence[tuple[str, int]],
    *,
    max_bytes: int,
    progress: Progress = ignore,
) -> Thumbnails:
    """Reads and shrinks images until the limit is reached.

    Args:
        storage: The dataset's.
        rows: Key -> manifest row with shard, member_offset, num_bytes, image_format, width and height.
        wishes: (key, longer side in pixels), the most wanted first; a key that comes twice is made once.
        max_bytes: Of all pictures in base64.
        progress: Called with `Doing`, and with `Batch` for the pictures that were read.

    Raises:
        StorageError: The storage keeps failing.
    """
    found = Thumbnails()
    pixels: dict[str, int] = {}
    for key, side in wishes:
        if key in rows and rows[key]["shard"] is not None:
            # Wishes come in order of weight, so the first for a key, a card of its own, wins over a later small
            # neighbour.
            pixels.setdefault(key, side)
    progress(Doing(text="shrinking pictures", total=len(pixels), noun="pictures"))
    numbers: dict[str, int] = {}
    num_bytes = num_storage_failures = 0
    threads = _LOCAL_THREADS if storage.is_local else _REMOTE_THREADS
    # Filters belong to the whole process: set here, where no thread runs yet, and put back when none does any more.
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore")
        for keys in _batches(list(pixels), rows):
            results = pool.map(lambda key: _make(storage, rows[key], pixels[key]), keys)
            for key, result in zip(keys, results, strict=True):
                if isinstance(result, Exception):
                    found.failures[key] = f"{type(result).__name__}: {result}"
                    # An object that is not there fails at once and says nothing about the store; neither do bytes that
                    # do not decode.
                    num_storage_failures += isinstance(result, StorageError) and not isinstance(result, NotFoundError)
                    if num_storage_failures > _MAX_STORAGE_FAILURES:
                        raise result
                    continue
                # The same picture again costs nothing, so it is shown also where the room is used up.
                if result in numbers:
                    found.numbers[key] = numbers[result]
                elif num_bytes + len(result) > max_bytes:
                    found.num_left_out += 1
                else:
                    num_bytes += len(result) + len('"",')
                    numbers[result] = found.numbers[key] = len(found.pictures)
                    found.pictures.append(result)
            progress(Batch(rows=len(keys)))
            # Only now, at the end of a batch: it lies in the order of files, and smaller pictures behind the first that
            # did not fit were still taken. What was never read counts as left out too.
            if found.num_left_out:
                found.num_left_out = len(pixels) - len(found.numbers) - len(found.failures)
                break
    return found


def _batches(keys: list[str], rows: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    """Keys in the order of wishes, each batch of them in the order of files."""
    for start in range(0, len(keys), _BATCH):
        yield _by_place(keys[start : start + _BATCH], rows)


def _by_place(keys: Iterable[str], rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return sorted(keys, key=lambda key: (rows[key]["shard"], rows[key]["member_offset"] or 0))


def _make(storage: Storage, row: Mapping[str, Any], side: int) -> str | Exception:
    """The picture in base64, or why there is none."""
    try:
        content = storage.read_range(row["shard"], row["member_offset"], row["num_bytes"])
        return base64.b64encode(thumbnail(content, row, side)).decode()
    except MemoryError:
        raise
    except Exception as error:
        # Decoders fail with whatever the bytes make them trip over: OSError, ValueError, struct.error, ...
        return error


def thumbnail(content: bytes, row: Mapping[str, Any], side: int) -> bytes:
    """A WebP of an image, its longer side at most `side` pixels; a smaller image keeps its size.

    Args:
        content: The image's payload.
        row: Its manifest row: image_format, width and height.
        side: Pixels.

    Raises:
        Exception: Whatever Pillow raises for damaged bytes.
    """
    is_raw = row["image_format"] == "raw"
    wanted = _fit(row["width"], row["height"], side) if row["width"] and row["height"] else None
    picture = load_picture(content, size=wanted, raw_size=(row["width"], row["height"]) if is_raw else None)
    right, bottom = round(picture.box[2]), round(picture.box[3])
    image = shrink(picture, wanted or _fit(right, bottom, side))
    stream = io.BytesIO()
    quality = _SMALL_QUALITY if max(image.size) <= _SMALL_PIXELS else _QUALITY
    image.convert("RGB").save(stream, "WEBP", quality=quality, method=4)
    return stream.getvalue()


def _fit(width: int, height: int, side: int) -> tuple[int, int]:
    scale = min(side / max(width, height), 1.0)
    return max(round(width * scale), 1), max(round(height * scale), 1)
