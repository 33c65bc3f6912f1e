"""Exact copies among rows: found by a hash of their values, and counted as one row of a multiplicity."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Columns that are hashed of every row; the others only where these are the same.
FEW = 16

#: Values that are hashed or compared at once.
_VALUES = 1 << 20


@dataclass(frozen=True, eq=False)
class Fold:
    """Which rows are copies of which.

    Attributes
    ----------
    group : ndarray of shape (n,), int64
        The number of each row's values among the different ones.
    kept : ndarray of shape (m,), int64
        The lowest row of each of the m different ones, ascending.
    counts : ndarray of shape (m,), int64
        How many rows each stands for.
    weights : ndarray of shape (n,), float64, optional
        In proportion to which copies share mass; by default evenly.
    """

    group: NDArray[np.int64]
    kept: NDArray[np.int64]
    counts: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, lowest: NDArray[np.int64]) -> Fold:
        """Return the fold of what `lowest_copies` has found."""
        kept, group, counts = np.unique(lowest, return_inverse=True, return_counts=True)
        return cls(group, kept, counts)

    def unfolded(self, mass: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the rows that have a part of some mass over the different ones, and that part."""
        rows = np.flatnonzero((mass > 0.0)[self.group])
        return rows, mass[self.group[rows]] * self._shares(rows)

    def _shares(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the part of its copies' mass that each row gets."""
        if self.weights is None:
            return np.asarray(1.0 / self.counts[self.group[rows]])
        whole = np.bincount(self.group, self.weights)
        return np.asarray(self.weights[rows] / whole[self.group[rows]])

    def entries(
        self, mass: NDArray[np.float64], ids: NDArray[np.int64], starts: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Return a plan's entries over the different rows as entries over all rows; see `Match.entries`."""
        members = np.argsort(self.group, kind="stable")
        sizes = self.counts[ids]
        edges = np.concatenate([[0], np.cumsum(sizes)])
        within = np.arange(edges[-1]) - np.repeat(edges[:-1], sizes)
        first = (np.cumsum(self.counts) - self.counts)[ids]
        rows = members[np.repeat(first, sizes) + within]
        return np.repeat(mass, sizes) * self._shares(rows), rows, edges[starts]


def lowest_copies(
    blocks: Iterable[tuple[int, NDArray[Any]]],
    rows: Callable[[NDArray[np.int64]], NDArray[Any]],
    n: int,
    d: int,
) -> NDArray[np.int64]:
    """Return, for every row, the lowest row of the same values.

    One pass over all rows, in memory of some numbers a row and of one block.

    Parameters
    ----------
    blocks : iterable of (int, ndarray of shape (b, d))
        All rows in order, with the number of each block's first.
    rows : callable
        Gives rows by number.
    n, d : int
        Rows, and their width.
    """
    some = np.unique(np.linspace(0, d - 1, min(d, FEW)).astype(np.int64))
    keys = np.empty(n, np.uint64)
    for start, block in blocks:
        keys[start : start + len(block)] = _hash(block[:, some])
    lowest = np.arange(n)
    _, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    alike = np.flatnonzero(sizes[group] > 1)
    del group, sizes
    if not len(alike):
        return lowest
    step = max(1, _VALUES // d)
    parts = range(0, len(alike), step)
    full = np.concatenate([_hash(rows(alike[start : start + step])) for start in parts])
    _, first, group = np.unique(full, return_index=True, return_inverse=True)
    lowest[alike] = alike[first[group]]
    copies = np.flatnonzero(lowest != np.arange(n))
    for start in range(0, len(copies), step):
        part = copies[start : start + step]
        same = (rows(part) == rows(lowest[part])).all(axis=1)
        # Two rows that merely share a hash are no copies.
        lowest[part[~same]] = part[~same]
    return lowest


def _hash(block: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each row: a random odd multiplier a column, mixed before and after.

    Values of any type count by what they are in float64; -0 counts as 0.
    """
    words = (np.ascontiguousarray(block, np.float64) + 0.0).view(np.uint64)
    rng = np.random.default_rng(0x5E7)
    multipliers = rng.integers(2**63, size=words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    words ^= words >> np.uint64(32)
    words *= multipliers
    words ^= words >> np.uint64(29)
    found: NDArray[np.uint64] = words.sum(axis=1, dtype=np.uint64)
    return found
