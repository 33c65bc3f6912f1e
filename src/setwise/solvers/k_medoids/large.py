"""Greedy choice and exchanges for one k-medoids problem whose table of costs is large."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setwise.constraints import Constraints
from setwise.solvers.k_medoids.search import LEAST_GAIN
from setwise.solvers.k_medoids.stack import ROUNDING, first_least
from setwise.top import top_k
from setwise.vectors import Floats

#: Candidates whose exchanges are worked out together.
BLOCK = 256

#: Costs of candidates alone that differ by less than this share of the largest put them in no order.
ORDERED = 1e-10

#: Stale candidates that a greedy step measures again together.
FRONT = 64


@dataclass
class CostTable:
    """What each point costs when a candidate serves it, candidate by candidate.

    Parameters
    ----------
    cost : ndarray of shape (n, m), float32 or float64
        Of n candidates serving m points, weights folded in.
    fixed : ndarray of shape (n,), float64
        What choosing a candidate costs by itself.
    """

    cost: Floats
    fixed: NDArray[np.float64]
    constraints: Constraints

    def open(self, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which candidates may join those chosen, shape (n,)."""
        may = np.ones(len(self.cost), bool)
        may[chosen] = False
        codes = self.constraints.codes
        if codes is not None:
            held = np.bincount(codes[chosen], minlength=int(codes.max()) + 1)
            may &= held[codes] < self.constraints.quota
        return may


def greedy(table: CostTable, k: int) -> NDArray[np.int64]:
    """Choose k candidates one by one, each the one that lowers the cost most; must-have ones first.

    What a candidate saves can only fall as the set grows (the cost is supermodular), so an old figure
    bounds the present one, and only the front of the candidates is measured again at each step.
    """
    chosen = list(table.constraints.include.tolist())
    size = float(np.abs(table.fixed).max())
    if not chosen:
        sums = table.cost.sum(axis=1, dtype=np.float64)
        chosen.append(int(first_least(sums + table.fixed, size + sums.min())))
    least = table.cost[chosen].min(axis=0)
    saved = np.empty(len(table.cost))
    for start in range(0, len(saved), BLOCK):
        saved[start : start + BLOCK] = _saved(table, slice(start, start + BLOCK), least)
    fresh = np.full(len(saved), len(chosen))
    while len(chosen) < k:
        may = table.open(np.array(chosen))
        score = np.where(may, saved - table.fixed, -np.inf)
        margin = ROUNDING * (size + float(least.sum(dtype=np.float64)))
        while True:
            # As good as the best, but for rounding: the first of them is taken once all are fresh.
            equal = np.flatnonzero(score >= score.max() - margin)
            stale = equal[fresh[equal] < len(chosen)]
            if len(stale) == 0:
                best = int(equal[0])
                break
            front = np.append(top_k(score, min(FRONT, len(score))), stale)
            stale = np.unique(front[(fresh[front] < len(chosen)) & may[front]])
            saved[stale] = _saved(table, stale, least)
            score[stale] = saved[stale] - table.fixed[stale]
            fresh[stale] = len(chosen)
        chosen.append(best)
        least = np.minimum(least, table.cost[best])
    return np.array(chosen, np.int64)


def _saved(table: CostTable, rows: NDArray[np.int64] | slice, least: Floats) -> NDArray[np.float64]:
    """Return by how much some candidates lower what is paid at present."""
    return np.asarray((least - np.minimum(table.cost[rows], least)).sum(axis=1, dtype=np.float64))


def swap(
    table: CostTable, places: NDArray[np.int64], *, most: int = 100_000
) -> tuple[NDArray[np.int64], int]:
    """Improve a set by single exchanges until none lowers the cost: a local minimum.

    Candidates are taken in blocks, and of each block the best exchange is made at once where it helps, as
    in FasterPAM (Schubert and Rousseeuw 2021), whose nearest and second nearest members it keeps. It ends
    when all candidates in a row have been looked at to no end. Their order is that of the cost of each
    alone, so that it does not depend on the order of the data. O(n m) a sweep beside products of blocks.

    Returns
    -------
    places : ndarray of shape (k,), int64
    swaps : int
    """
    places = places.copy()
    n, k = len(table.cost), len(places)
    constraints = table.constraints
    kept = np.isin(places, constraints.include)
    near = np.ascontiguousarray(table.cost[places].T)
    first, least, second = _servers(near)
    sums = table.cost.sum(axis=1, dtype=np.float64)
    size = float(np.abs(table.fixed).max() + sums.max()) or 1.0
    order = np.argsort(np.rint((sums + table.fixed) / (ORDERED * size)), kind="stable")
    swaps = quiet = start = 0
    # What exchanges promise is a sum in the table's precision: less than this of it is rounding.
    margin = max(LEAST_GAIN, 8 * float(np.finfo(table.cost.dtype).eps) * float(least.sum(dtype=np.float64)))
    while quiet < n and swaps < most:
        stop = min(n, start + BLOCK)
        rows = order[start:stop]
        block = table.cost[rows]
        low = np.minimum(block, least)
        high = np.minimum(block, second) - low
        # Not a product of matrices: its float32 sums would be another processor's choice.
        change = np.array([np.bincount(first, weights=row, minlength=k) for row in high], np.float64)
        change += (low - least).sum(axis=1, dtype=np.float64)[:, None]
        change += table.fixed[rows, None] - table.fixed[places]
        change[:, kept] = np.inf
        change[np.isin(rows, places)] = np.inf
        if constraints.codes is not None:
            own, codes = constraints.codes[places], constraints.codes[rows]
            held = np.bincount(own, minlength=int(constraints.codes.max()) + 1)
            change[(held[codes] >= constraints.quota)[:, None] & (codes[:, None] != own)] = np.inf
        row, slot = divmod(int(first_least(change.ravel(), size)), k)
        if change[row, slot] < -margin:
            places[slot] = rows[row]
            near[:, slot] = block[row]
            first, least, second = _servers(near)
            swaps += 1
            quiet = 0
        else:
            quiet += stop - start
        start = stop % n
    return places, swaps


def _servers(near: Floats) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return the cheapest member of each point, its cost, and the second cheapest's (infinite for k = 1)."""
    first = near.argmin(axis=1)
    if near.shape[1] == 1:
        return first, near[:, 0], np.full(len(near), np.inf, near.dtype)
    two = np.partition(near, 1, axis=1)
    return first, two[:, 0], two[:, 1]
