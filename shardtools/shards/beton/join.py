"""Several `.beton` files made one, as the processes of a run each write their own.

Owns the moving of payloads. All of a file's move by one distance, a multiple of its page size, so that none comes to
cross a page and a manifest's offsets need one addition. The price is a gap of less than a page between two files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from shardtools.errors import ShardError
from shardtools.shards.beton.format import SCALAR_TYPES, BetonHeader, encode_header, pointers, round_up
from shardtools.shards.beton.reader import Beton

_COPY_BYTES = 8 << 20


def join_betons(inputs: Sequence[Beton], stream: BinaryIO) -> list[int]:
    """Writes one `.beton` with the samples of all inputs in their order; the same inputs give the same bytes.

    Args:
        inputs: At least one, all with the same fields. The pages may differ in size: the largest is taken.
        stream: Seekable, open for writing, empty at first; neither closed nor flushed here.

    Returns:
        For each input the bytes to add to an offset in it to get the offset in the joined file.

    Raises:
        ShardError: The fields differ, or some of them cannot be read.
        StorageError: An input cannot be read.
    """
    _check_alike(inputs)
    header, shifts = _plan(inputs)
    stream.seek(0)
    stream.write(encode_header(header))
    # All rows first: in the joined file they are one table, and the payloads of all inputs lie behind it.
    for one, shift in zip(inputs, shifts, strict=True):
        _copy_rows(one, shift, stream)
    for one, shift in zip(inputs, shifts, strict=True):
        _copy_payloads(one, shift, stream)
    stream.seek(header.table_start)
    num_samples = 0
    for one, shift in zip(inputs, shifts, strict=True):
        for _, rows in one.allocations.pieces():
            rows["sample_id"] += np.uint64(num_samples)
            rows["ptr"] += np.uint64(shift)
            stream.write(rows.tobytes())
        num_samples += one.num_samples
    return shifts


def _check_alike(inputs: Sequence[Beton]) -> None:
    if not inputs:
        raise ValueError("expected at least one .beton to join")
    first = inputs[0]
    for one in inputs:
        if one.skipped:
            raise ShardError(
                f"{one.where} has fields that cannot be read ({', '.join(one.skipped)}), so it cannot be joined: keep "
                "it as it is"
            )
        if one.fields != first.fields:
            raise ShardError(
                f"{one.where} has fields {_names(one)}, {first.where} has {_names(first)}: join files of the same "
                "fields"
            )


def _names(beton: Beton) -> str:
    return ", ".join(f"{one.name} ({one.type.name.lower()})" for one in beton.fields)


def _plan(inputs: Sequence[Beton]) -> tuple[BetonHeader, list[int]]:
    """The header of the joined file and how far each input's payloads move."""
    num_samples = sum(one.num_samples for one in inputs)
    page_bytes = max(one.page_bytes for one in inputs)
    first = inputs[0]
    end = first.metadata_start + num_samples * first.metadata.dtype.itemsize
    shifts: list[int] = []
    for one in inputs:
        has_payloads = one.data_stop > one.data_start
        # Never back: addresses of empty payloads, which may lie anywhere, stay at least 0.
        shift = max(0, round_up(end - one.data_start, one.page_bytes)) if has_payloads else 0
        shifts.append(shift)
        end = max(end, one.data_stop + shift)
    table_start = round_up(end, page_bytes) if any(one.allocations.num_rows for one in inputs) else end
    header = BetonHeader(page_bytes=page_bytes, num_samples=num_samples, table_start=table_start, fields=first.fields)
    return header, shifts


def _copy_rows(beton: Beton, shift: int, stream: BinaryIO) -> None:
    for _, rows in beton.metadata.pieces():
        for number, one in enumerate(beton.fields):
            if one.type not in SCALAR_TYPES:
                addresses = pointers(rows, number, one.type)
                addresses += np.uint64(shift)
        stream.write(rows.tobytes())


def _copy_payloads(beton: Beton, shift: int, stream: BinaryIO) -> None:
    if beton.data_stop == beton.data_start:
        return
    stream.seek(beton.data_start + shift)
    for start in range(beton.data_start, beton.data_stop, _COPY_BYTES):
        num_bytes = min(_COPY_BYTES, beton.data_stop - start)
        stream.write(beton.storage.read_range(beton.path, start, num_bytes))
