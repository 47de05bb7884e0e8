"""From pairs to groups, and from sets of equal images to few pairs.

Owns two pieces of arithmetic on row numbers. Groups are connected components (scipy's, in compiled code): a chain of
near copies is one group, so its ends may be further apart than the radius. Equal images are not paired all with all,
which for ten thousand black pictures would be fifty million pairs: each is paired with the first of each place.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from shardtools.arrays import Int64s


def connected_groups(num_rows: int, left: Int64s, right: Int64s) -> Int64s:
    """Group of each row, [num_rows]: -1 for rows of no pair, else numbered by the first row that is in it."""
    edges = coo_array((np.ones(len(left), np.bool_), (left, right)), shape=(num_rows, num_rows))
    _, labels = connected_components(edges, directed=False)
    sizes = np.bincount(labels, minlength=1)
    grouped = np.flatnonzero(sizes[labels] > 1)
    groups = np.full(num_rows, -1, np.int64)
    # The library numbers components as it likes; ours are numbered by the row where each begins.
    _, first, inverse = np.unique(labels[grouped], return_index=True, return_inverse=True)
    groups[grouped] = np.argsort(np.argsort(first))[inverse]
    return groups


def representatives(groups: Int64s, preference: Int64s) -> Int64s:
    """The preferred row of each group, [number of groups].

    Args:
        groups: As `connected_groups` gives them, [N].
        preference: Smaller is preferred; of equals the first row, [N].
    """
    rows = np.flatnonzero(groups >= 0)
    ordered = rows[np.lexsort((rows, preference[rows], groups[rows]))]
    _, first = np.unique(groups[ordered], return_index=True)
    return ordered[first]


class Clusters:
    """Sets of rows that are taken for equal: each has a number, its members, and the first member of each place."""

    def __init__(self, rows: Int64s, numbers: Int64s, places: Int64s) -> None:
        """Sorts the rows.

        Args:
            rows: The rows that are in a cluster, [M].
            numbers: The cluster of each, 0 to C - 1, [M].
            places: Dataset and split of each as a number, [M].
        """
        # Cluster by cluster and, within, place by place: the members of a cluster are then a run, and so are the first
        # ones of its places. Of a run its start is all that is kept.
        order = np.lexsort((rows, places, numbers))
        numbers, places = numbers[order], places[order]
        self._members = rows[order]
        new = np.ones(len(order), np.bool_)
        new[1:] = (numbers[1:] != numbers[:-1]) | (places[1:] != places[:-1])
        self._firsts = self._members[new]
        size = int(numbers[-1]) + 2 if len(numbers) else 1
        self._member_starts = np.searchsorted(numbers, np.arange(size))
        self._first_starts = np.searchsorted(numbers[new], np.arange(size))

    def pairs(self, left: Int64s, right: Int64s, others: Clusters | None = None) -> tuple[Int64s, Int64s, Int64s]:
        """Pairs of rows out of pairs of clusters: members of one with the first of each place of the other.

        Args:
            left: Clusters, [P].
            right: Clusters of `others`, [P].
            others: `None` for this object.

        Returns:
            The smaller and the larger row, and the number of the pair of clusters; a pair of rows may come twice.
        """
        second = others or self
        # Every member of the one beside each place of the other, and the reverse: so each row has a pair in every place
        # where there is one, without all with all.
        ones = _products(self._member_starts, second._first_starts, left, right)
        twos = _products(self._first_starts, second._member_starts, left, right)
        first = np.concatenate((self._members[ones[0]], self._firsts[twos[0]]))
        other = np.concatenate((second._firsts[ones[1]], second._members[twos[1]]))
        pair = np.concatenate((ones[2], twos[2]))
        different = first != other
        low, high = np.minimum(first, other)[different], np.maximum(first, other)[different]
        return low, high, pair[different]

    def own_pairs(self) -> tuple[Int64s, Int64s, Int64s]:
        """As `pairs`, within each cluster."""
        numbers = np.flatnonzero(np.diff(self._member_starts) > 1)
        return self.pairs(numbers, numbers)


def _products(left_starts: Int64s, right_starts: Int64s, left: Int64s, right: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Positions of all with all, for each pair of runs; and the number of the pair they are of."""
    num_left, num_right = np.diff(left_starts)[left], np.diff(right_starts)[right]
    sizes = num_left * num_right
    pair = np.repeat(np.arange(len(left)), sizes)
    offset = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    across = num_right[pair]
    return left_starts[left][pair] + offset // across, right_starts[right][pair] + offset % across, pair
