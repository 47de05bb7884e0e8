"""Labels and keys of the rows of Parquet files, checked over all of them before any image is read.

Owns what an integer or a text in a label column means, and which column names the samples. The price of knowing that
before the first shard is written: the columns of labels and keys are read once more than the images are.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.errors import ShardError, SourceError
from shardtools.hashes import hash_text, repeated_rows
from shardtools.shards import check_key
from shardtools.sources.labels import Label, label_folders
from shardtools.sources.parquet.columns import Columns
from shardtools.taxonomy import ImageClass

MAX_CLASSES = 100_000
"""More different texts than these in a label column are captions, not class names."""

_MAX_CLASS_INDEX = 2**31 - 1
_WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLabels:
    """What the values of a label column mean.

    Attributes:
        by_index: Integer -> label; `None` where any integer is a label and its own name.
        by_text: Class name -> label; empty for integers.
        has_names: Whether -1 stands for "no label", as it does for Hugging Face's class labels.
    """

    by_index: tuple[Label, ...] | None
    by_text: Mapping[str, Label]
    has_names: bool

    @property
    def last(self) -> int:
        """The largest integer that is a label."""
        return _MAX_CLASS_INDEX if self.by_index is None else len(self.by_index) - 1

    def find(self, value: Any, where: str) -> Label | None:
        """The label of a row; `None` where it has none.

        Raises:
            SourceError: The value is no label.
        """
        if value is None or (self.has_names and value == -1):
            return None
        if isinstance(value, str):
            if value in self.by_text:
                return self.by_text[value]
        elif isinstance(value, int) and 0 <= value <= self.last:
            return self.by_index[value] if self.by_index is not None else Label(str(value), value)
        raise SourceError(f"{where}: expected {self._expected()}, found {value!r}: set the label right")

    def _expected(self) -> str:
        return f"one of {len(self.by_text)} class names" if self.by_text else f"a label from 0 to {self.last}"

    def digest(self) -> str:
        """sha256 over names and indexes, for the plan's fingerprint."""
        # By `repr`: another name of `Label` or of its fields would change the plan of every dataset that is half made.
        return hashlib.sha256(repr((self.by_index, sorted(self.by_text.items()))).encode()).hexdigest()


def label_rows(
    columns: Columns, texts: Iterable[str], classes: Sequence[ImageClass] | None, *, where: str
) -> RowLabels:
    """The meaning of a label column.

    Class names in text are numbered in sorted order, or are themselves the number where all are integers. A class set
    numbers them by its wnids and first names. Integers that Hugging Face's metadata name take the names; where those
    are wnids, a class set numbers them, otherwise it must have as many classes as there are names.

    Args:
        columns: Of the files.
        texts: The different texts of a text column.
        classes: The class set given by the user, if any.
        where: The source, for messages.

    Raises:
        SourceError: Names and class set do not fit together.
    """
    if columns.label_is_text:
        known = sorted(set(texts))
        by_text = label_folders(known, None, where=where) if classes is None else _in_set(known, classes, where)
        return RowLabels(by_index=None, by_text=by_text, has_names=False)
    names = columns.label_names
    if classes is None:
        labels = tuple(Label(name, index) for index, name in enumerate(names)) if names else None
    # Wnids say which class is meant, so the set may order them otherwise; names in words do not, and are only counted.
    elif names and all(_WNID.fullmatch(name) for name in names):
        by_name = _in_set(names, classes, where)
        labels = tuple(by_name[name] for name in names)
    elif names and len(names) != len(classes):
        raise SourceError(
            f"{where} names {len(names)} classes, --classes has {len(classes)}: give the set the labels belong to, or "
            "drop --classes"
        )
    else:
        labels = tuple(Label(one.wnid, one.class_index) for one in classes)
    return RowLabels(by_index=labels, by_text={}, has_names=bool(names))


def _in_set(names: Sequence[str], classes: Sequence[ImageClass], where: str) -> dict[str, Label]:
    """Labels by wnid, or by a first lemma that only one class of the set has."""
    by_lemma: dict[str, list[ImageClass]] = {}
    for one in classes:
        by_lemma.setdefault(one.lemmas[0], []).append(one)
    known = {lemma: Label(found[0].wnid, found[0].class_index) for lemma, found in by_lemma.items() if len(found) == 1}
    # Wnids last: they win over a lemma of the same text.
    known |= {one.wnid: Label(one.wnid, one.class_index) for one in classes}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SourceError(
            f"{where} has {len(unknown)} of {len(names)} class names outside the {len(classes)} classes given by "
            f"--classes ({', '.join(repr(name[:40]) for name in unknown[:3])}): give the set they belong to, or drop "
            "--classes"
        )
    return {name: known[name] for name in names}


def collect_texts(texts: set[str], column: pa.Array, where: str) -> None:
    """Adds the different texts of a batch of a label column.

    Raises:
        SourceError: There are more than `MAX_CLASSES`, or one is not UTF-8.
    """
    try:
        texts.update(text for text in pc.unique(_decoded(column)).to_pylist() if text is not None)
    except UnicodeDecodeError:
        raise SourceError(f"{where}: the label column holds text that is not UTF-8: write it again") from None
    if len(texts) > MAX_CLASSES:
        raise SourceError(
            f"{where}: expected class names in the label column, found more than {MAX_CLASSES} different texts: "
            "rename the column if it holds captions"
        )


def check_integers(labels: RowLabels, column: pa.Array, first: int, where: str) -> None:
    """Refuses a batch of a label column that holds a number out of range, and names the row.

    Raises:
        SourceError: It does.
    """
    # Bounds first: going through the values is for the message only.
    bounds = pc.min_max(column)
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    if low is None or ((-1 if labels.has_names else 0) <= low and high <= labels.last):
        return
    for position, value in enumerate(column.to_pylist()):
        labels.find(value, f"{where}:row {first + position}")


class KeyCheck:
    """Whether one column can name all samples: eight bytes a row are kept.

    Args:
        refuses: Whether a text that cannot be a key is an error, or only noted in `is_usable`.
    """

    def __init__(self, *, refuses: bool) -> None:
        self.is_usable = True
        self._refuses = refuses
        self._hashes = array("Q")

    def add(self, keys: Iterable[str | None], first: int, where: str) -> None:
        """Takes the keys of a batch.

        Raises:
            SourceError: One is null or may not be used, and `refuses`.
        """
        if not self.is_usable:
            return
        for number, key in enumerate(keys, first):
            try:
                check_key(key or "", where=f"{where}:row {number}")
            except ShardError as error:
                if self._refuses:
                    raise SourceError(str(error)) from None
                # Given up for good: one row without a name is enough for keys by position.
                self.is_usable = False
                return
            self._hashes.append(hash_text(key or ""))

    def repeated(self) -> tuple[int, int] | None:
        """Numbers of two rows, counted over all that were added, with one key."""
        groups = repeated_rows(np.frombuffer(self._hashes, np.uint64))
        return (groups[0][0], groups[0][1]) if groups else None


def stem_of(path: str | None) -> str | None:
    """A file's name without folder and extension."""
    if path is None:
        return None
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def key_of(text: str | None, *, flatten: bool) -> str | None:
    """A key column's text, its folders joined by "__" where that is wanted."""
    return text if text is None or not flatten else "__".join(part for part in text.split("/") if part)


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
