"""Rows of features as batches on the device that computes: resident there, or fetched batch by batch.

Owns how features become what is multiplied: l2 norms, the type, a column of ones for the bias, and columns of zeros up
to a width that matrix products like. Features that lie in a file stay there; a batch reads its rows in order. The price
of fetching: each epoch reads all rows once more, at the speed of the disk where they do not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from shardtools.arrays import Int64s


class RowSource(Protocol):
    """Features [N, D] that are read when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""

    @property
    def ndim(self) -> int:
        """2."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, rows: slice | Int64s, /) -> npt.NDArray[Any]:
        """Some rows, floating [n, D]; asked for by one thread, which may not be the main one."""


Features = npt.NDArray[Any] | torch.Tensor | RowSource
"""[N, D], floating: an array, a memory-mapped file, a tensor, or what reads rows."""

_ALIGNED = 16
_ROWS_PER_COPY = 4096
_SHARE_OF_FREE_MEMORY = 0.5


def index_tensor(rows: Int64s, device: torch.device) -> torch.Tensor:
    """Which rows, on a device."""
    return torch.from_numpy(rows).to(device, non_blocking=True)


def padded_width(dim: int) -> int:
    """Columns that a row takes: its features, a one, and zeros up to the next whole number of cache lines."""
    return -(-(dim + 1) // _ALIGNED) * _ALIGNED


class Rows:
    """Features [N, D] as batches [n, `padded_width`] on a device.

    Attributes:
        num_rows: N.
        dim: D.
        width: Columns of a batch: the features, one of ones, the rest zeros.
    """

    def __init__(
        self,
        features: Features,
        *,
        device: torch.device,
        dtype: torch.dtype,
        normalize: bool,
        resident: bool | None = None,
    ) -> None:
        """Copies the features to the device where they fit.

        Args:
            features: See `Features`.
            device: Where batches are wanted.
            dtype: Type of a batch.
            normalize: Whether rows are divided by their l2 norm; a row of zeros stays.
            resident: Whether all rows are kept on the device. `None`: on a GPU where they take at most half of the
                memory that is free, on a CPU never, since they lie in its memory or in a file anyway.
        """
        self.num_rows, self.dim = int(features.shape[0]), int(features.shape[1])
        self.width = padded_width(self.dim)
        self._features, self._device, self._dtype, self._normalize = features, device, dtype, normalize
        if resident is None:
            resident = device.type == "cuda" and self._fits()
        self._all = self._copied() if resident else None

    def all(self) -> torch.Tensor:
        """Every row, [N, width]; copied where they are not resident."""
        return self._copied() if self._all is None else self._all

    def batches(self, orders: Sequence[Int64s]) -> Iterator[torch.Tensor]:
        """The rows of each of `orders`, [n, width], in turn."""
        if self._all is not None:
            for order in orders:
                yield self._all[index_tensor(order, self._device)]
            return
        # A thread reads the next batch while the device works on this one.
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._read, orders[0])
            for following in [*orders[1:], None]:
                batch = ahead.result()
                if following is not None:
                    ahead = reader.submit(self._read, following)
                yield batch.to(self._device, non_blocking=True)

    def _read(self, order: Int64s) -> torch.Tensor:
        """Rows where the features are; pinned for a GPU to copy, which torch's allocator then waits for."""
        source = self._features.device if isinstance(self._features, torch.Tensor) else torch.device("cpu")
        pinned = source.type == "cpu" and self._device.type == "cuda"
        found = torch.empty(len(order), self.width, dtype=self._dtype, device=source, pin_memory=pinned)
        self._fill(found, self._block(order))
        return found

    def _fits(self) -> bool:
        free = int(torch.cuda.mem_get_info(self._device)[0])
        return self.num_rows * self.width * self._dtype.itemsize <= _SHARE_OF_FREE_MEMORY * free

    def _copied(self) -> torch.Tensor:
        found = torch.empty(self.num_rows, self.width, dtype=self._dtype, device=self._device)
        for start in range(0, self.num_rows, _ROWS_PER_COPY):
            part = found[start : start + _ROWS_PER_COPY]
            self._fill(part, self._block(slice(start, start + _ROWS_PER_COPY)))
        return found

    def _block(self, rows: slice | Int64s) -> torch.Tensor:
        """Some features as they are given, as a tensor."""
        if isinstance(self._features, torch.Tensor):
            return self._features[rows if isinstance(rows, slice) else index_tensor(rows, self._features.device)]
        # A copy even of a slice: a file may be mapped for reading only, and tensors cannot say that.
        return torch.from_numpy(np.array(self._features[rows]))

    def _fill(self, memory: torch.Tensor, block: torch.Tensor) -> None:
        if self._normalize:
            # In a type that holds their squares, which float16 does not.
            block = block.to(torch.float64 if self._dtype == torch.float64 else torch.float32)
            norms = torch.linalg.vector_norm(block, dim=1, keepdim=True)
            block = block / torch.where(norms > 0, norms, 1)
        memory[:, : self.dim] = block
        memory[:, self.dim] = 1
        memory[:, self.dim + 1 :] = 0
