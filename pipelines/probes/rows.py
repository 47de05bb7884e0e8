"""Rows of features as batches on the device that computes: resident there, or fetched batch by batch.

Owns how features become what is multiplied: l2 norms, the type, a column of ones for the bias, and columns of zeros up
to a width that matrix products like. Features that lie in a file stay there; a batch reads its rows in order. The price
of fetching: each epoch reads all rows once more, at the speed of the disk where they do not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from shardtools.arrays import Int64s

Features = npt.NDArray[np.floating[Any]] | torch.Tensor
"""[N, D], floating; an array, a memory-mapped file or a tensor."""

_ALIGNED = 16
_ROWS_PER_COPY = 4096
_SHARE_OF_FREE_MEMORY = 0.5


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
        self.num_rows, self.dim = features.shape
        self.width = padded_width(self.dim)
        self._features, self._device, self._dtype, self._normalize = features, device, dtype, normalize
        if resident is None:
            resident = device.type == "cuda" and self._fits()
        self._all = self._copied() if resident else None

    def all(self) -> torch.Tensor:
        """Every row, [N, width]; copied where they are not resident."""
        return self._copied() if self._all is None else self._all

    def batches(self, orders: Sequence[Int64s]) -> Iterator[torch.Tensor]:
        """The rows of each of `orders`, [n, width]; a batch is good until the next is asked for."""
        if self._all is not None:
            for order in orders:
                yield self._all[torch.from_numpy(order).to(self._device)]
        elif self._device.type == "cpu":
            memory = torch.empty(max(map(len, orders)), self.width, dtype=self._dtype)
            for order in orders:
                yield self._filled(memory[: len(order)], order)
        else:
            yield from self._fetched(orders)

    def _fetched(self, orders: Sequence[Int64s]) -> Iterator[torch.Tensor]:
        """Batches through pinned memory; a thread fills the next while the device works on this one."""

        def filled(order: Int64s) -> torch.Tensor:
            # torch's allocator gives this memory to nobody else before the copy from it is done.
            return self._filled(torch.empty(len(order), self.width, dtype=self._dtype, pin_memory=True), order)

        with ThreadPoolExecutor(1) as filler:
            ahead = filler.submit(filled, orders[0])
            for following in [*orders[1:], None]:
                batch = ahead.result()
                if following is not None:
                    ahead = filler.submit(filled, following)
                yield batch.to(self._device, non_blocking=True)

    def _fits(self) -> bool:
        free, _ = torch.cuda.mem_get_info(self._device)
        return self.num_rows * self.width * self._dtype.itemsize <= _SHARE_OF_FREE_MEMORY * free

    def _copied(self) -> torch.Tensor:
        found = torch.empty(self.num_rows, self.width, dtype=self._dtype, device=self._device)
        for start in range(0, self.num_rows, _ROWS_PER_COPY):
            part = found[start : start + _ROWS_PER_COPY]
            self._fill(part, self._block(slice(start, start + _ROWS_PER_COPY)))
        return found

    def _filled(self, memory: torch.Tensor, order: Int64s) -> torch.Tensor:
        self._fill(memory, self._block(order))
        return memory

    def _block(self, rows: slice | Int64s) -> torch.Tensor:
        """Some features as they are given, as a tensor."""
        if isinstance(self._features, torch.Tensor):
            return self._features[rows if isinstance(rows, slice) else torch.from_numpy(rows)]
        # A copy even of a slice: a file may be mapped for reading only, and tensors cannot say that.
        return torch.from_numpy(np.array(self._features[rows]))

    def _fill(self, memory: torch.Tensor, block: torch.Tensor) -> None:
        memory[:, : self.dim] = block
        if self._normalize:
            # Of the features in a type that holds their squares.
            wide = block if block.dtype in (torch.float32, torch.float64) else block.float()
            norms = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
            memory[:, : self.dim] = wide / torch.where(norms > 0, norms, 1)
        memory[:, self.dim] = 1
        memory[:, self.dim + 1 :] = 0
