"""The classes that a dataset knows: which labels an edit may give, and the class names that go with them.

Owns the range of labels. It is what the dataset's rows show, because nothing else in a dataset names its classes; the
price is that a class without a single row needs `--classes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shardtools.errors import QueryError
from shardtools.sql import query
from shardtools.taxonomy import load_classes

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class KnownClasses:
    """class_index -> names of that class, by the rows and by the class set; one name, or `None`, where it is clear."""

    names: Mapping[int, frozenset[str | None]]

    def name(self, class_index: int, *, key: str, url: str) -> str | None:
        """The class name of a label.

        Raises:
            QueryError: No sample has the label, or samples with it have several class names.
        """
        names = self.names.get(class_index)
        if names is None:
            last = max(self.names, default=-1)
            raise QueryError(
                f"key {key!r} is to get class_index {class_index}, {url} has {len(self.names)} classes from "
                f"{min(self.names, default=0)} to {last}: correct it, or give --classes with the set that has it"
            )
        clear = sorted(name for name in names if name is not None)
        if len(clear) > 1:
            raise QueryError(
                f"key {key!r} is to get class_index {class_index}, which has several class names in {url} "
                f"({', '.join(clear[:_SHOWN])}): give --classes with the one that is meant"
            )
        return clear[0] if clear else None


def read_classes(url: str, classes: str | None) -> KnownClasses:
    """The classes of a dataset's rows and of a class set, whose names win.

    Raises:
        TaxonomyError: There is no such class set.
    """
    names: dict[int, set[str | None]] = {}
    pairs = query("select distinct class_index, wnid from samples where class_index is not null", [url])
    for class_index, wnid in zip(pairs["class_index"].to_pylist(), pairs["wnid"].to_pylist(), strict=True):
        names.setdefault(class_index, set()).add(wnid)
    for one in load_classes(classes) if classes is not None else ():
        names[one.class_index] = {one.wnid}
    return KnownClasses({index: frozenset(of_index) for index, of_index in names.items()})
