"""Random numbers that are a function of what they are for, never of who asks or when.

Owns the one hash behind order and augmentation: the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", 2014; constants of D. Stafford's variant 13), applied to whole arrays. NumPy's own
generators may change their streams between releases (NEP 19), and a stream would have to be read in order; the price
is that the numbers are good for shuffling and cropping, not for cryptography.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa

from shardtools.arrays import Float64s, Int64s, UInt64s, text_parts

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_WORD = 8


def mix(values: UInt64s) -> UInt64s:
    """A bijection of 64-bit numbers in which each input bit flips each output bit half of the time; 0 stays 0."""
    mixed = values ^ (values >> np.uint64(30))
    mixed *= _FIRST
    mixed ^= mixed >> np.uint64(27)
    mixed *= _SECOND
    mixed ^= mixed >> np.uint64(31)
    return mixed


@lru_cache(maxsize=1024)
def stream_key(seed: int, epoch: int, operation: str) -> int:
    """The 64-bit number that all draws of one operation in one epoch start from: blake2b over the three."""
    block = hashlib.blake2b(f"{seed}:{epoch}:{operation}".encode(), digest_size=8).digest()
    return int.from_bytes(block, "little")


def hash_counters(counters: UInt64s, stream: int) -> UInt64s:
    """One number for each counter; within a stream, distinct counters give distinct numbers."""
    return mix(counters * _GOLDEN + np.uint64(stream))


def to_unit(bits: UInt64s) -> Float64s:
    """The upper 53 bits as a number in 0 (included) to 1 (excluded)."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Uniform numbers for the samples of a batch, each a function of (seed, epoch, key, operation, draw number).

    Attributes:
        seed: The run's.
        epoch: 0-based.
        keys: A 64-bit hash for each sample (`hash_keys`), [N]; see also `for_views` and `for_repeats`.
    """

    seed: int
    epoch: int
    keys: UInt64s

    def uniform(self, operation: str, num_draws: int) -> Float64s:
        """Numbers in 0 (included) to 1 (excluded), [N, num_draws]; more draws do not change the first ones."""
        stream = stream_key(self.seed, self.epoch, operation)
        states = mix(self.keys ^ np.uint64(stream))
        counters = np.arange(1, num_draws + 1, dtype=np.uint64) * _GOLDEN
        return to_unit(mix(states[:, None] + counters))

    def for_views(self, names: Sequence[str]) -> Draws:
        """Draws for several views of each sample, each independent of the others: those of the first view first."""
        views = np.array([stream_key(self.seed, self.epoch, f"view {name}") for name in names], np.uint64)
        return replace(self, keys=mix(self.keys ^ views[:, None]).ravel())

    def for_rows(self, rows: Int64s) -> Draws:
        """The draws of some of the samples."""
        return replace(self, keys=self.keys[rows])

    def for_repeats(self, repeats: Int64s) -> Draws:
        """Draws for samples that an epoch may deliver more than once.

        Args:
            repeats: What tells one delivery of a key from another, [N], at least 0; 0 leaves the draws as they are.
        """
        return replace(self, keys=self.keys ^ mix(repeats.astype(np.uint64)))


def hash_keys(keys: pa.Array) -> UInt64s:
    """A 64-bit hash of each key, [N].

    The UTF-8 bytes, padded with zeros to little-endian words of 8 bytes, go through `mix` word by word.

    Args:
        keys: Arrow strings without nulls.
    """
    ends, text = text_parts(keys)
    content = np.concatenate((text, np.zeros(_WORD, np.uint8)))
    starts, lengths = ends[:-1], np.diff(ends)
    # A word may start at any byte: loads that are not aligned beat gathering byte by byte eightfold.
    words = np.ndarray((len(content) - _WORD + 1,), "<u8", content, strides=(1,))
    hashes = mix(lengths.astype(np.uint64) + _GOLDEN)
    for begin in range(0, int(lengths.max(initial=0)), _WORD):
        # Keys that are over drop out. What a word holds behind the end of its key is cut off, and the last key has
        # padding.
        rows = np.flatnonzero(lengths > begin)
        unused_bits = 8 * np.maximum(_WORD - (lengths[rows] - begin), 0).astype(np.uint64)
        found = words[starts[rows] + begin].astype(np.uint64) << unused_bits >> unused_bits
        hashes[rows] = mix((hashes[rows] ^ found) + _GOLDEN)
    return hashes
