"""Grids: which values the factors have together (seed 002, section 3.2 and its appendix on the rendered images).

Owns the order of the pictures of one object. Grids are tables that all objects share, but for the random combinations,
which are a permutation of all there are, so that none comes twice: a Feistel network keyed by the object, with random
access and no table. The price is some ten hashes a draw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, product
from math import prod
from typing import Any, NamedTuple

from shardtools.rendering.factors import FACTORS, FactorValues

_FIELDS = {factor: "hue" if factor == "lighting" else factor for factor in FACTORS}
"""Factor -> field of `FactorValues`."""

_ROUNDS = 4


class Cell(NamedTuple):
    """One picture of an object: the factors that the grid varies here, and the values of all."""

    varied: tuple[str, ...]
    values: FactorValues


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The values that a grid takes.

    Attributes:
        canonical: Where a factor does not vary.
        values: Factor -> its values in order, of all five.
    """

    canonical: FactorValues
    values: Mapping[str, tuple[Any, ...]]

    @property
    def num_combinations(self) -> int:
        """Of all factors."""
        return prod(len(self.values[factor]) for factor in FACTORS)


def spaced(low: float, high: float, count: int) -> tuple[float, ...]:
    """`count` numbers at even distances from `low` to `high`, both included: [count].

    Each is the number nearest to the exact one of the decimals as they were typed, so that 0.2 to 1.2 in hundredths
    meets 1.0 itself.
    """
    first, span = Fraction(repr(low)), Fraction(repr(high)) - Fraction(repr(low))
    return tuple(float(first + span * Fraction(place, count - 1)) for place in range(count))


def varied_cells(axes: Axes, varying: Sequence[str], num_varied: int) -> tuple[Cell, ...]:
    """The cells of all sets of so many of some factors, the others canonical: 4 V + B for one of all at a time."""
    return tuple(
        _cell(axes, factors, chosen)
        for factors in combinations(varying, num_varied)
        for chosen in product(*(axes.values[factor] for factor in factors))
    )


def drawn_cell(axes: Axes, stream: int, index: int) -> Cell:
    """The random combination of all factors at a place of the order that a stream names.

    Args:
        axes: The values.
        stream: Names the order: a hash of whose draws they are.
        index: 0 to `axes.num_combinations` - 1; different ones give different combinations.
    """
    place, chosen = permuted(index, axes.num_combinations, stream), []
    for factor in reversed(FACTORS):
        place, digit = divmod(place, len(axes.values[factor]))
        chosen.append(axes.values[factor][digit])
    return _cell(axes, FACTORS, tuple(reversed(chosen)))


def permuted(index: int, size: int, stream: int) -> int:
    """Where a permutation of 0 to `size` - 1 puts `index`; `stream` names the permutation.

    A Feistel network on the bits of the next power of two; what falls outside goes round again (Black and Rogaway,
    "Ciphers with Arbitrary Finite Domains", 2002, section 3).
    """
    right_bits = max((size - 1).bit_length() // 2, 1)
    left_bits = max((size - 1).bit_length() - right_bits, 1)
    while True:
        index = _mixed(index, left_bits, right_bits, stream)
        if index < size:
            return index


def _mixed(index: int, left_bits: int, right_bits: int, stream: int) -> int:
    """A bijection of the numbers of `left_bits + right_bits` bits: the halves are changed in turn, by each other."""
    left, right = index >> right_bits, index & ((1 << right_bits) - 1)
    for number in range(_ROUNDS):
        if number % 2:
            right ^= _hash(stream, number, left) & ((1 << right_bits) - 1)
        else:
            left ^= _hash(stream, number, right) & ((1 << left_bits) - 1)
    return (left << right_bits) | right


def _hash(stream: int, number: int, half: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{stream}:{number}:{half}".encode(), digest_size=8).digest(), "big")


def _cell(axes: Axes, factors: tuple[str, ...], chosen: tuple[Any, ...]) -> Cell:
    changes = {_FIELDS[factor]: value for factor, value in zip(factors, chosen, strict=True)}
    return Cell(factors, replace(axes.canonical, **changes))
