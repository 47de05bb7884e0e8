"""Arrays, labels and what else is known of them become a dataset.

Owns the table's form of samples in hand: a column of images and columns beside it, each with one value an image. What
comes one sample at a time goes through `sources.open_samples`. The price of the columns: a generator of images needs
labels that are known apart from it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.encoding import EncodingOptions
from shardtools.errors import SourceError
from shardtools.execution import Progress
from shardtools.options import default_of
from shardtools.sources import GivenSample, SourceOptions, open_samples
from shardtools.storage import scratch_folder
from shardtools.writing.options import WriteOptions
from shardtools.writing.run import WriteResult, write_dataset

_END = object()


def write_samples(
    images: npt.NDArray[np.uint8] | Iterable[npt.NDArray[np.uint8] | bytes],
    labels: Iterable[int | Collection[int] | None] | None,
    out: str | os.PathLike[str],
    *,
    keys: Iterable[str] | None = None,
    split: str | Iterable[str] = "train",
    classes: str | Sequence[str] | None = None,
    provenance: Mapping[str, Iterable[Any]] | None = None,
    origin: str = "real",
    label_source: str = "given",
    encoding: EncodingOptions | None = None,
    layout: str = "tar",
    append: bool = False,
    samples_per_shard: int = default_of(WriteOptions, "samples_per_shard"),
    num_processes: int | None = None,
    progress: Progress | None = None,
) -> WriteResult:
    """Writes images in hand as a dataset, in their order, and only the shards that are not there yet.

    Pixels become lossless PNGs, or what `encoding` asks for. Encoded images keep their bytes; those that cannot be
    decoded become rows that say why.

    Args:
        images: Pixels, uint8 [N, H, W, 3] RGB or [N, H, W] grey; or one after the other, [H, W, 3], [H, W] or the bytes
            of an encoded image, of any sizes. Read once.
        labels: 0-based class index of each image, `None` for an image without one, a list of them for one that may have
            several; `None` where no image has one.
        out: The dataset: a folder or s3://bucket/prefix.
        keys: Unique name of each image; `None` makes "train_00000", "train_00001", ...
        split: One split for all images, or one for each.
        classes: Class names in the order of the labels, or a specification for `taxonomy.load_classes`; `None` takes
            the label's number for its name.
        provenance: Manifest column of `manifest.PROVENANCE_COLUMNS` -> a value for each image, `None` for none.
        origin: The manifest's column `source`: "real", "generated", "rendered", "corrupted" or "attacked".
        label_source: The manifest's column of that name.
        encoding: Whether and how images are encoded anew; `EncodingOptions(write_mode="jpg", quality=90)` makes JPEGs.
        layout: See `WriteOptions`.
        append: See `WriteOptions`.
        samples_per_shard: See `WriteOptions`.
        num_processes: See `WriteOptions`.
        progress: Called with each message of each process.

    Raises:
        SourceError: An image, label, key, split or value is none, or two columns have different lengths.
        OptionError: An option is out of range.
        PlanMismatchError: The dataset there is of other images, labels, keys or options; the message names them.
        NoSpaceError: `$TMPDIR` has no room for the images, which wait there.
        RunError: The run was stopped or killed; called again with the same samples it resumes.
    """
    encoding = encoding or EncodingOptions()
    # Options are checked before a long spill; where the samples come from is known after it.
    options = WriteOptions(
        source=SourceOptions(source="samples"),
        out=os.fspath(out),
        encoding=encoding,
        layout=layout,
        append=append,
        samples_per_shard=samples_per_shard,
        num_processes=num_processes,
    )
    given = join_columns(images, labels=labels, keys=keys, split=split, provenance=provenance)
    with scratch_folder() as folder:
        source = open_samples(
            given,
            folder,
            classes=classes,
            origin=origin,
            label_source=label_source,
            # Only "keep" may keep it; all others encode it anew, and compressing it first would be for nothing.
            lossless="png" if encoding.write_mode == "keep" else "ppm",
        )
        return write_dataset(replace(options, source=source), progress=progress)


def join_columns(
    images: npt.NDArray[np.uint8] | Iterable[npt.NDArray[np.uint8] | bytes],
    *,
    labels: Iterable[int | Collection[int] | None] | None,
    keys: Iterable[str] | None,
    split: str | Iterable[str],
    provenance: Mapping[str, Iterable[Any]] | None,
) -> Iterator[GivenSample]:
    """The samples of a table; see `write_samples`. Lengths that are known are compared at once, others at the end.

    Raises:
        SourceError: A column is not as long as the images, or is no column.
    """
    columns: dict[str, Iterable[Any]] = {f"provenance {name}": values for name, values in (provenance or {}).items()}
    names = tuple(columns)
    columns |= {} if labels is None else {"labels": labels}
    columns |= {} if keys is None else {"keys": keys}
    columns |= {} if isinstance(split, str) else {"split": split}
    _check_columns(images, columns)

    def joined() -> Iterator[GivenSample]:
        for row in _rows({"images": images, **columns}):
            yield GivenSample(
                image=row["images"],
                label=row.get("labels"),
                key=row.get("keys"),
                split=row.get("split", split),
                provenance={name.removeprefix("provenance "): row[name] for name in names},
            )

    return joined()


def _check_columns(images: Iterable[Any], columns: Mapping[str, Iterable[Any]]) -> None:
    if isinstance(images, np.ndarray) and images.dtype != object and images.ndim not in (3, 4):
        raise SourceError(
            f"images: expected shape [N, height, width, 3] or [N, height, width], found {list(images.shape)}: give "
            "images[np.newaxis] for a single one"
        )
    for name, values in columns.items():
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):
            raise SourceError(f"{name}: expected one value an image, found {values!r}: give a list or an array")
        if isinstance(values, np.ndarray) and values.ndim != 1:
            raise SourceError(f"{name}: expected shape [N], one value an image, found {list(values.shape)}")
        if isinstance(images, Sized) and isinstance(values, Sized) and len(images) != len(values):
            raise SourceError(f"{len(images)} images, {len(values)} values in {name}: give one value an image")


def _rows(columns: Mapping[str, Iterable[Any]]) -> Iterator[dict[str, Any]]:
    """Rows of columns that begin with the images, until all of them end.

    Raises:
        SourceError: One of them ends earlier.
    """
    iterators = {name: iter(values) for name, values in columns.items()}
    number = 0
    while True:
        row = {name: next(values, _END) for name, values in iterators.items()}
        ended = [name for name, value in row.items() if value is _END]
        if len(ended) == len(row):
            return
        if ended:
            raise SourceError(f"{ended[0]} end after {number}, others go on: give one value an image in each column")
        yield row
        number += 1
