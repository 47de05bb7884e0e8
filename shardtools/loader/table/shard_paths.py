"""The shards of a table by number.

Owns the form: Arrow strings, because in the layout without shards every image is a file of its own, and a million paths
as Python objects would take ten times as much. The price is a search among the pieces for each look-up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, overload

import pyarrow as pa

from shardtools.arrays import from_texts


class ShardPaths(Sequence[tuple[int, str]]):
    """Number of the dataset and path in it, of each shard."""

    def __init__(self, shards: Iterable[tuple[int, str]] = ()) -> None:
        self._datasets: list[int] = []
        self._paths: list[pa.Array] = []
        self._starts = [0]
        for dataset, group in groupby(shards, key=lambda shard: shard[0]):
            self.extend(dataset, from_texts([path for _, path in group]))

    def extend(self, dataset: int, paths: pa.Array) -> int:
        """Adds shards of a dataset; gives the number of the first."""
        first = len(self)
        self._datasets.append(dataset)
        self._paths.append(paths)
        self._starts.append(first + len(paths))
        return first

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, number: int) -> tuple[int, str]: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[tuple[int, str]]: ...
    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[index] for index in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(f"shards are 0 to {len(self) - 1}, found {number}")
        piece = bisect_right(self._starts, number) - 1
        return self._datasets[piece], self._paths[piece][int(number) - self._starts[piece]].as_py()

    def __iter__(self) -> Iterator[tuple[int, str]]:
        for dataset, paths in zip(self._datasets, self._paths, strict=True):
            for path in paths:
                yield dataset, path.as_py()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # it grows
