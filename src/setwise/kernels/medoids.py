"""Weighted k-medoids by compiled code: what `setwise.solvers.k_medoids` does without constraints.

All take costs (B, N, M) in C order, each candidate's own (B, M), infinite where it may not be chosen, and the
size of the largest own cost (B,), in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import kernels

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


def distances(rows: NDArray[Any], free: Numbers) -> tuple[Numbers, Numbers, float]:
    """Return inner products around a middle, distances, and the largest square of a length.

    As `setwise.preference.responses.batches.distances_of`, of rows (B, N, d) without gaps of which those with
    a nonzero number in (B, N) are free.
    """
    count, n, d = rows.shape
    products, apart = np.empty((count, n, n)), np.empty((count, n, n))
    most: float = kernels.native().distances(rows.reshape(-1, d), count, free, products, apart)
    return products, apart, most


GREEDY, EXCHANGE, ASCEND = range(3)


def greedy(cost: Numbers, own: Numbers, sizes: Numbers, k: int, first: Places | None = None) -> Places:
    """Choose k candidates of each problem one by one, after those (B, m) that come first, if any do."""
    places = np.zeros((len(cost), k), np.int64)
    given = 0
    if first is not None:
        given = first.shape[1]
        places[:, :given] = first
    _run(GREEDY, cost, own, sizes, places, given)
    return places


def exchange(cost: Numbers, own: Numbers, sizes: Numbers, places: Places, most: int) -> tuple[Places, int]:
    """Improve sets (B, k) by at most so many exchanges each; return them, and how many were made in all."""
    places = np.array(places, np.int64, order="C")
    return places, _run(EXCHANGE, cost, own, sizes, places, most)


def ascend(
    cost: Numbers, own: Numbers, sizes: Numbers, places: Places, steps: int, start: Numbers | None
) -> tuple[Numbers, Numbers]:
    """Return a bound (B,) on the cost of any set of each problem, and the prices (B, N) that prove it."""
    prices = np.empty(cost.shape[:2]) if start is None else np.array(start, np.float64, order="C")
    lower = np.empty(len(cost))
    _run(ASCEND, cost, own, sizes, np.ascontiguousarray(places), steps, prices, start is not None, lower)
    return lower, prices


def _run(
    task: int,
    cost: Numbers,
    own: Numbers,
    sizes: Numbers,
    places: Places,
    number: int,
    prices: Numbers | None = None,
    given: bool = False,
    lower: Numbers | None = None,
) -> int:
    own = np.ascontiguousarray(own)
    made: int = kernels.native().medoids(
        task, cost, own, sizes, places, places.shape[1], number, prices, given, lower
    )
    return made
