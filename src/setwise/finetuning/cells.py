"""Cells that rows which are near fall into, or into one beside."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from setwise.centers import learn_centers, sampled_rows
from setwise.finetuning.repository_vectors import BLOCK

#: Near pairs that are held at once.
PAIRS = 1 << 20

#: Width up to which the directions come from the rows' covariance.
WIDE = 1_024

#: Where rows reach more than this share of the cells, those are no help. Rows of a product, of either kind.
OPEN, RUN = 0.15, 4_096


class Cells:
    """Rows of few coordinates by their nearest center, and which pairs of rows are near.

    Parameters
    ----------
    low : ndarray of shape (n, p), float32
    """

    def __init__(self, low: NDArray[np.float32], seed: int) -> None:
        from setwise.extras.faiss import faiss

        n = len(low)
        count = int(np.clip(2.0 * n**0.5, 1, min(4_096, max(1, n // 40))))
        sample = low[sampled_rows(n, count, seed, most=64)]
        self._centers = learn_centers(sample, count, spherical=False, seed=seed, iterations=6, apart=False)
        squares, labels = faiss.knn(low, self._centers, 1)
        self.labels = labels[:, 0].astype(np.int32)
        self._order = np.argsort(self.labels, kind="stable")
        self._low = _augmented(low, self._order)
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(labels[:, 0], minlength=count))])
        self._radii = np.zeros(count, np.float32)
        np.maximum.at(self._radii, labels[:, 0], np.sqrt(np.maximum(squares[:, 0], 0.0)))
        lengths = np.vecdot(self._centers, self._centers)
        apart = lengths[:, None] + lengths - 2.0 * (self._centers @ self._centers.T)
        self._apart = 2.0 * np.sqrt(np.maximum(apart, 1e-30))
        self._lengths = lengths

    def of(self, rows: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return each row's cell, that of its nearest center."""
        from setwise.extras.faiss import faiss

        return np.asarray(faiss.knn(rows, self._centers, 1)[1][:, 0], np.int32)

    def near(
        self, probes: NDArray[np.float32], bound: float
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield pairs (probe, row) at a squared distance of at most ``bound``, by the rows' cells.

        A row of another cell lies beyond the plane halfway between both centers, so that it is at least as
        far as that plane: (|q - c|² - |q - own|²) / (2 |c - own|). And it lies within its cell's radius of
        its center, so at least |q - c| - radius away. Cells nearer than ``bound`` by both are looked at, with
        room for what float32 rounds.
        """
        reach = float(np.sqrt(bound))
        squares = np.vecdot(probes, probes)
        most = (self._radii * (1.0 + 1e-4) + reach) ** 2 + 1e-4 * bound
        step = max(1_024, 16_000_000 // len(self._centers))
        for start in range(0, len(probes), step):
            some = slice(start, min(start + step, len(probes)))
            to_center = probes[some] @ self._centers.T
            to_center *= -2.0
            to_center += squares[some, None]
            to_center += self._lengths
            own = to_center.argmin(axis=1)
            furthest = self._apart[own]
            furthest *= reach * (1.0 + 1e-4)
            furthest += (to_center[np.arange(len(own)), own] + 1e-4 * bound)[:, None]
            reached = to_center <= furthest
            if reached.mean() > OPEN:  # cells tell little apart here: all rows, in larger products
                parts = [(0, len(self._low), np.arange(len(reached)))]
            else:
                cells, which = np.nonzero(np.ascontiguousarray(reached.T))
                within = to_center[which, cells] <= most[cells]
                cells, which = cells[within], which[within]
                cuts = np.searchsorted(cells, np.arange(len(self._centers) + 1))
                parts = [
                    (int(begin), int(end), which[first:last])
                    for begin, end, first, last in zip(
                        self._starts[:-1], self._starts[1:], cuts[:-1], cuts[1:], strict=True
                    )
                    if last > first
                ]
            for low, high, which in parts:
                for begin in range(low, high, RUN):
                    end = min(begin + RUN, high)
                    few = max(1, PAIRS // (end - begin))
                    for first in range(0, len(which), few):
                        these = which[first : first + few] + start
                        i, j = _close(probes[these], squares[these], self._low[begin:end], bound)
                        yield these[i], self._order[begin + j]


def _augmented(rows: NDArray[np.float32], order: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return rows in an order, each with its squared length beside: one product compares distances."""
    found = np.empty((len(rows), rows.shape[1] + 1), np.float32)
    for start in range(0, len(rows), BLOCK):  # with no second copy of them all
        some = rows[order[start : start + BLOCK]]
        found[start : start + len(some), :-1] = some
        found[start : start + len(some), -1] = np.vecdot(some, some)
    return found


def _close(
    left: NDArray[np.float32], squares: NDArray[np.float32], right: NDArray[np.float32], bound: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of rows at a squared distance of at most ``bound``; ``right`` as `_augmented`."""
    doubled = np.full((len(left), left.shape[1] + 1), -1.0, np.float32)
    np.multiply(left, 2.0, out=doubled[:, :-1])
    near = doubled @ right.T >= (squares - np.float32(bound))[:, None]
    flat = np.flatnonzero(near)
    return flat // near.shape[1], flat % near.shape[1]


def directions(spread: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the directions of most variance of centered rows, orthonormal, shape (d, count)."""
    d = spread.shape[1]
    if count == d:
        return np.eye(d)
    if d <= WIDE:
        return np.asarray(eigh(spread.T @ spread, subset_by_index=(d - count, d - 1))[1])
    some = spread[:WIDE]  # of wider rows the directions that fewer of them span, from the smaller Gram matrix
    n = len(some)
    _, left = eigh(some @ some.T, subset_by_index=(n - count, n - 1))
    return np.asarray(np.linalg.qr(some.T @ left)[0])
