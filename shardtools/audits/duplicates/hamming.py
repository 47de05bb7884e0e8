"""All pairs of 256-bit hashes within a Hamming distance, exactly, without comparing all with all.

Owns the search: multi-index hashing (Norouzi, Punjani, Fleet: "Fast Exact Search in Hamming Space with Multi-Index
Hashing", 2014, section 2). The bits are dealt to m chunks; two hashes at most r bits apart have a chunk that differs in
at most floor(r / m) bits, so looking up each chunk with that many bits turned finds every pair: nothing is missed, and
what is found is compared in full. The price: hashes that share chunks without being near (all of one kind of picture)
are compared in vain, and from a radius of some 60 on, nearly everything is; then all are compared with all in blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s, UInt8s, UInt64s
from shardtools.audits.duplicates.options import HASH_BITS
from shardtools.errors import OptionError

HASH_BYTES = HASH_BITS // 8
MAX_PAIRS = 100_000_000

_WORDS = 4
_CANDIDATES_AT_A_TIME = 1 << 21
_MAX_FLIPS = 2
_MAX_CHUNK_BITS = 64
# Nanoseconds, measured: a candidate's comparison, a chunk's look-up, and a comparison in blocks.
_CANDIDATE, _LOOKUP, _COMPARISON = 15.0, 60.0, 6.0
# Odd, so that multiplying by it deals the bits in another order: neighbouring frequencies go to different chunks.
_STRIDE = 89


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PositionPairs:
    """Pairs of rows, in the order of `left`, then `right`.

    Attributes:
        left: int64 [P].
        right: int64 [P].
        distance: Bits, or 1 - cosine, float32 [P].
    """

    left: Int64s
    right: Int64s
    distance: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.left)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchMethod:
    """How a search goes: number of chunks (0 compares all with all) and the bits that are turned in each."""

    num_chunks: int
    num_flips: int


def hamming_pairs(hashes: UInt8s, radius: int) -> PositionPairs:
    """All pairs of different rows that are at most `radius` bits apart, each once, the smaller row left.

    Args:
        hashes: uint8 [N, 32].
        radius: 0 to 256 bits.

    Raises:
        OptionError: Another shape or type, a radius out of range, or more than `MAX_PAIRS` pairs.
    """
    _check(hashes, radius)
    method = choose_method(len(hashes), len(hashes), radius)
    return _search(_words(hashes), _words(hashes), radius, method, is_self=True)


def hamming_join(hashes: UInt8s, others: UInt8s, radius: int) -> PositionPairs:
    """All pairs of a row of `hashes` (left) and a row of `others` (right) that are at most `radius` bits apart.

    Raises:
        OptionError: As `hamming_pairs`.
    """
    _check(hashes, radius)
    _check(others, radius)
    method = choose_method(len(hashes), len(others), radius)
    return _search(_words(hashes), _words(others), radius, method, is_self=False)


def hamming_distances(hashes: UInt8s, others: UInt8s) -> Int64s:
    """Bits in which rows of the same number differ, [N]."""
    return np.asarray(np.bitwise_count(hashes ^ others).sum(axis=1, dtype=np.int64))


@cache
def choose_method(num_hashes: int, num_others: int, radius: int) -> SearchMethod:
    """The cheapest way by a model of its cost for hashes whose bits are even and independent."""
    costs = {SearchMethod(num_chunks=0, num_flips=0): num_hashes * num_others * _COMPARISON}
    for num_flips in range(_MAX_FLIPS + 1):
        # The fewest chunks of which one has at most `num_flips` of the `radius` bits.
        num_chunks = max(radius // (num_flips + 1) + 1, HASH_BITS // _MAX_CHUNK_BITS)
        if num_chunks > HASH_BITS:
            continue
        bits = HASH_BITS // num_chunks
        num_masks = sum(math.comb(bits, count) for count in range(min(num_flips, bits) + 1))
        candidates = num_hashes * num_others * num_masks / 2.0**bits
        costs[SearchMethod(num_chunks=num_chunks, num_flips=num_flips)] = num_chunks * (
            candidates * _CANDIDATE + num_masks * num_hashes * _LOOKUP
        )
    return min(costs, key=lambda method: costs[method])


def _check(hashes: UInt8s, radius: int) -> None:
    if hashes.ndim != 2 or hashes.shape[1] != HASH_BYTES or hashes.dtype != np.uint8:
        raise OptionError(f"hashes are uint8 [N, {HASH_BYTES}], found {hashes.dtype} {list(hashes.shape)}")
    if not 0 <= radius <= HASH_BITS:
        raise OptionError(f"radius is 0 to {HASH_BITS} bits, found {radius}")


def _words(hashes: UInt8s) -> UInt64s:
    return np.ascontiguousarray(hashes).view(np.uint64).reshape(len(hashes), _WORDS)


def _search(left: UInt64s, right: UInt64s, radius: int, method: SearchMethod, *, is_self: bool) -> PositionPairs:
    found: list[tuple[Int64s, Int64s, Int64s]] = []
    num_pairs = 0
    # Each pair of a table with itself comes both ways; the limit is looked at as pairs come in, while they fit.
    for pairs in _by_chunks(left, right, radius, method) if method.num_chunks else _in_blocks(left, right, radius):
        kept = pairs[0] < pairs[1] if is_self else np.ones(len(pairs[0]), np.bool_)
        found.append((pairs[0][kept], pairs[1][kept], pairs[2][kept]))
        num_pairs += len(found[-1][0])
        if num_pairs > MAX_PAIRS:
            raise OptionError(f"more than {MAX_PAIRS} pairs are at most {radius} bits apart: give a smaller radius")
    columns = [np.concatenate([part[column] for part in found] or [np.zeros(0, np.int64)]) for column in range(3)]
    order = np.lexsort((columns[1], columns[0]))
    return PositionPairs(left=columns[0][order], right=columns[1][order], distance=columns[2][order].astype(np.float32))


def _in_blocks(left: UInt64s, right: UInt64s, radius: int) -> Iterator[tuple[Int64s, Int64s, Int64s]]:
    # As many rows as keep the table of distances within the same bound as candidates have.
    rows = max(_CANDIDATES_AT_A_TIME // max(len(right), 1), 1)
    for start in range(0, len(left), rows):
        block = left[start : start + rows]
        distance = np.zeros((len(block), len(right)), np.uint16)
        for word in range(_WORDS):
            distance += np.bitwise_count(block[:, word, None] ^ right[None, :, word])
        first, second = np.nonzero(distance <= radius)
        yield first + start, second, distance[first, second].astype(np.int64)


def _by_chunks(
    left: UInt64s, right: UInt64s, radius: int, method: SearchMethod
) -> Iterator[tuple[Int64s, Int64s, Int64s]]:
    chunks = np.array_split(np.arange(HASH_BITS) * _STRIDE % HASH_BITS, method.num_chunks)
    masks = [_chunk_mask(bits) for bits in chunks]
    for number, bits in enumerate(chunks):
        # This chunk of all hashes as one number: equal numbers, or numbers a few bits apart, make candidates.
        asked, held = _chunk_values(left, bits), _chunk_values(right, bits)
        asked_order, held_order = np.argsort(asked), np.argsort(held)
        asked, values = asked[asked_order], held[held_order]
        # Sorted, what is compared lies together, and neighbours ask for neighbours.
        left_sorted, right_sorted = left[asked_order], right[held_order]
        distinct, starts, counts = np.unique(values, return_index=True, return_counts=True)
        # Every way to turn up to `num_flips` bits of the asked side: whoever is that near in this chunk has just this
        # number.
        for flips in _flip_masks(len(bits), method.num_flips):
            wanted = asked ^ flips
            place = np.minimum(np.searchsorted(distinct, wanted), max(len(distinct) - 1, 0))
            hits = np.flatnonzero(distinct[place] == wanted) if len(distinct) else np.zeros(0, np.int64)
            # Common numbers (plain pictures) give very many candidates: a bounded lot is compared before the next is
            # laid out.
            for first, second in _expand(hits, starts[place[hits]], counts[place[hits]]):
                near, distance = _compare(left_sorted, right_sorted, first, second, radius)
                first, second = first[near], second[near]
                # A pair that an earlier chunk found as well was yielded there. That is computed, for a set of all pairs
                # seen would be larger than the hashes.
                new = ~_found_before(left_sorted[first] ^ right_sorted[second], masks[:number], method.num_flips)
                yield asked_order[first[new]], held_order[second[new]], distance[new]


def _compare(left: UInt64s, right: UInt64s, first: Int64s, second: Int64s, radius: int) -> tuple[Int64s, Int64s]:
    """Which of the candidates are near, and their distances; half of the bits rule out nearly all others."""
    half = np.bitwise_count(left[first, 0] ^ right[second, 0]) + np.bitwise_count(left[first, 1] ^ right[second, 1])
    near = np.flatnonzero(half <= radius)
    other = np.bitwise_count(left[first[near], 2:] ^ right[second[near], 2:]).sum(axis=1, dtype=np.int64)
    distance = half[near] + other
    close = distance <= radius
    return near[close], distance[close]


def _found_before(difference: UInt64s, masks: list[UInt64s], num_flips: int) -> npt.NDArray[np.bool_]:
    """Whether an earlier chunk found the pair already, [P]."""
    found = np.zeros(len(difference), np.bool_)
    for mask in masks:
        found |= np.bitwise_count(difference & mask).sum(axis=1, dtype=np.int64) <= num_flips
    return found


def _expand(rows: Int64s, starts: Int64s, counts: Int64s) -> Iterator[tuple[Int64s, Int64s]]:
    """Each row beside `counts` places from its `starts` on, a bounded number at a time."""
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(rows):
        before = ends[begin - 1] if begin else 0
        # As many rows as fit into a lot, and one at least, however long its run.
        end = max(int(np.searchsorted(ends, before + _CANDIDATES_AT_A_TIME, side="right")), begin + 1)
        some = counts[begin:end]
        offsets = np.arange(int(some.sum())) - np.repeat(np.cumsum(some) - some, some)
        yield np.repeat(rows[begin:end], some), np.repeat(starts[begin:end], some) + offsets
        begin = end


def _chunk_values(words: UInt64s, bits: npt.NDArray[Any]) -> UInt64s:
    values = np.zeros(len(words), np.uint64)
    for place, bit in enumerate(bits.tolist()):
        values |= ((words[:, bit // 64] >> np.uint64(bit % 64)) & np.uint64(1)) << np.uint64(place)
    return values


def _chunk_mask(bits: npt.NDArray[Any]) -> UInt64s:
    mask = np.zeros(_WORDS, np.uint64)
    for bit in bits.tolist():
        mask[bit // 64] |= np.uint64(1) << np.uint64(bit % 64)
    return mask


def _flip_masks(num_bits: int, num_flips: int) -> list[np.uint64]:
    return [
        np.uint64(sum(1 << bit for bit in turned))
        for count in range(min(num_flips, num_bits) + 1)
        for turned in combinations(range(num_bits), count)
    ]
