"""Random images of a dataset: the same ones for the same seed.

Owns the draw. Rows are drawn by their number over all parts, so that only the parts that hold them are read; the price
is a second draw where many rows have no image.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from shardtools.dataset import PartEntry
from shardtools.manifest import Part, digest
from shardtools.sample import STATUS_OK
from shardtools.storage import Storage
from shardtools.verify.part_check import load_part
from shardtools.verify.report import Problem
from shardtools.verify.shard_check import check_row
from shardtools.verify.state import State

_SPARE = 64


def part_entries(state: State) -> list[PartEntry]:
    """The parts of a commit, or without one those that can be read, with what they hold now."""
    if state.info is not None:
        return list(state.info.parts)
    found = []
    for path in state.part_paths:
        part, _ = load_part(state.storage, path, None)
        if part is not None:
            sha256 = digest(state.storage.read(path))
            found.append(PartEntry(path=path, sha256=sha256, num_rows=part.table.num_rows))
    return found


def draw_rows(
    storage: Storage, entries: Sequence[PartEntry], count: int, seed: int
) -> list[tuple[str, Part, list[int]]]:
    """Draws rows with an image.

    Args:
        storage: The dataset.
        entries: The parts that are intact.
        count: Rows wanted; all of them where there are fewer.
        seed: Of the draw.

    Returns:
        (path of the part, the part, row numbers within it) in the order of parts.
    """
    ends = list(accumulate(entry.num_rows for entry in entries))
    total = ends[-1] if ends else 0
    wanted = min(total, 2 * count + _SPARE)
    while True:
        # More than wanted, as some rows have no image. A larger draw begins anew with the same seed.
        drawn = random.Random(seed).sample(range(total), wanted)
        by_part: dict[int, list[int]] = {}
        for number in drawn:
            by_part.setdefault(bisect_right(ends, number), []).append(number)
        parts: dict[int, Part] = {}
        usable: set[int] = set()
        for index, numbers in by_part.items():
            part, _ = load_part(storage, entries[index].path, entries[index])
            if part is None:
                continue
            statuses = part.table["status"].to_pylist()
            first = ends[index] - entries[index].num_rows
            good = [number for number in numbers if statuses[number - first] == STATUS_OK]
            usable.update(good)
            if good:
                parts[index] = part
        if len(usable) >= count or wanted == total:
            break
        wanted = min(total, 4 * wanted)
    chosen = [number for number in drawn if number in usable][:count]
    found = []
    for index in sorted({bisect_right(ends, number) for number in chosen}):
        first = ends[index] - entries[index].num_rows
        inside = sorted(number - first for number in chosen if bisect_right(ends, number) == index)
        found.append((entries[index].path, parts[index], inside))
    return found


def check_rows(storage: Storage, drawn: Sequence[tuple[str, Part, list[int]]]) -> Iterator[tuple[int, list[Problem]]]:
    """Reads each drawn image by its recorded place; yields (bytes read, problems) an image."""
    for path, part, numbers in drawn:
        for row in part.table.take(numbers).to_pylist():
            yield check_row(storage, row, path)
