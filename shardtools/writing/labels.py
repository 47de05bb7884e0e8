"""Labels that a dataset has already, held against those of samples that are added to it.

Owns the rule that one class has one label: class folders counted anew would otherwise give old labels to other classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from shardtools.dataset import Dataset
from shardtools.errors import SourceError
from shardtools.sample import Sample


@dataclass(frozen=True, slots=True)
class KnownLabels:
    """Both directions between wnids and labels; empty for a new dataset."""

    by_wnid: Mapping[str, int] = field(default_factory=dict)
    by_index: Mapping[int, str] = field(default_factory=dict)

    def check(self, sample: Sample) -> None:
        """Refuses a label that contradicts the dataset's.

        Raises:
            SourceError: The class has another label there, or the label another class.
        """
        wnid, index = sample.wnid, sample.class_index
        if wnid is None or index is None:
            return
        if self.by_wnid.get(wnid, index) != index or self.by_index.get(index, wnid) != wnid:
            there = self.by_wnid.get(wnid)
            has = f"{wnid} is {there}" if there is not None else f"{index} is {self.by_index[index]}"
            raise SourceError(
                f"key {sample.key!r} has label {index} for class {wnid}, in the dataset {has}: give --classes, with "
                "the class set that the dataset was made with"
            )


def read_labels(dataset: Dataset) -> KnownLabels:
    """The labels of a dataset's rows."""
    by_wnid: dict[str, int] = {}
    for table in dataset.tables():
        pairs = table.select(["wnid", "class_index"]).group_by(["wnid", "class_index"]).aggregate([])
        by_wnid |= dict(_pairs(pairs))
    return KnownLabels(by_wnid, {index: wnid for wnid, index in by_wnid.items()})


def _pairs(table: pa.Table) -> list[tuple[str, int]]:
    columns = table["wnid"].to_pylist(), table["class_index"].to_pylist()
    return [(wnid, index) for wnid, index in zip(*columns, strict=True) if wnid is not None and index is not None]
