"""The optimal plan of regularised transport, in closed form: KNN-Uniform, KNN-KDE and KNN-TV of TSDS.

Each query gives its mass to its nearest candidates, to each at most an even share. One number decides how far
every query reaches: the limit s on the candidates' weights 1/ρ in a neighborhood. The paper finds it by a
heap over all candidates of all queries. The cost of reaching further, c(s), only grows with s, so it is found
here by bisection over prefix sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.objectives.transport import Transport
from setwise.threads import run_ranges

#: Breakpoints that are few enough to be sorted and tried one by one.
FEW = 8_192


@dataclass(frozen=True, eq=False)
class Plan:
    """A transport plan over the queries' neighbors, nearest first.

    Attributes
    ----------
    starts : ndarray of shape (M + 1,), int64
        Query i's entries are ``starts[i]`` to ``starts[i + 1]``; they are its first neighbors.
    mass : ndarray of shape (entries,), float64
        γ; all sum to 1.
    limit : float
        s*: the weight of a neighborhood (NaN for "tv", which has none).
    whole : ndarray of shape (M,), int64
        Neighbors that a query gives a full share: K_i.
    remainder : float
        Mass that fell on the (K_i + 1)th neighbors.
    even : bool
        Whether it is the plan in proportion to 1/ρ over all candidates.
    complete : bool
        False where the neighbors ran out before the limit was found.
    fits : bool or None
        Whether the theorem's assumption holds (s* ≤ s̄ / 2); None where too little is known to tell.
    """

    starts: NDArray[np.int64]
    mass: NDArray[np.float64]
    limit: float
    whole: NDArray[np.int64]
    remainder: float
    even: bool
    complete: bool
    fits: bool | None

    def entries(self, table: NDArray[Any]) -> NDArray[Any]:
        """Return the entries' values of a table of shape (M, L), nearest first, in the order of ``mass``."""
        counts = np.diff(self.starts)
        columns = int(counts.max())
        if columns == counts.min():
            return np.ascontiguousarray(table[:, :columns]).reshape(-1)
        found: NDArray[Any] = table[:, :columns][np.arange(columns) < counts[:, None]]
        return found


class Sums:
    """Running sums over each query's neighbors, nearest first, made as far out as they are asked for.

    They serve every diversity.

    Parameters
    ----------
    distances : ndarray of shape (M, L)
        To each query's L nearest candidates, ascending.
    weights : ndarray of shape (M, L), or None
        Theirs, 1/ρ, in (0, 1]; None = all 1 (G∞).
    workers : int
        Threads.
    """

    def __init__(
        self, distances: NDArray[np.floating], weights: NDArray[np.floating] | None, *, workers: int = 1
    ) -> None:
        self.distances = distances
        self._workers = workers
        self.even = weights is None
        self._weights = weights
        self._made = 0
        if weights is None:
            row = np.arange(1.0, distances.shape[1] + 1.0)
            self._weight: NDArray[np.float64] = np.broadcast_to(row, distances.shape)
        else:
            self._weight, self._paid = np.empty(distances.shape), np.empty(distances.shape)

    def __len__(self) -> int:
        return len(self.distances)

    def weight(self, columns: int | None = None) -> NDArray[np.float64]:
        """Return Σ 1/ρ up to each of the first columns, (M, columns); of weights of 1 a broadcast view."""
        columns = self.distances.shape[1] if columns is None else columns
        self._make(columns)
        return self._weight[:, :columns]

    def each(self, columns: int) -> NDArray[np.floating]:
        """Return 1/ρ of the first columns, (M, columns)."""
        if self._weights is None:
            return np.broadcast_to(np.ones(columns), (len(self), columns))
        return self._weights[:, :columns]

    def paid(self, columns: int) -> NDArray[np.float64]:
        """Return Σ d/ρ up to each of the first columns, (M, columns); where weights were given."""
        self._make(columns)
        return self._paid[:, :columns]

    def _make(self, columns: int) -> None:
        if self._weights is None or columns <= self._made:
            return
        given, before = self._weights, self._made

        def part(first: int, last: int) -> None:
            step = 1 + 16_384 // (columns - before)  # few enough rows to stay in cache
            for row in range(first, last, step):
                some = slice(row, min(row + step, last))
                new = some, slice(before, columns)
                weight, paid = self._weight[new], self._paid[new]
                np.multiply(given[new], self.distances[new], out=paid)
                weight[:] = given[new]
                if before:
                    weight[:, 0] += self._weight[some, before - 1]
                    paid[:, 0] += self._paid[some, before - 1]
                np.cumsum(weight, axis=1, out=weight)
                np.cumsum(paid, axis=1, out=paid)

        run_ranges(part, len(self), self._workers, least=1 + 32_768 // (columns - before))
        self._made = columns


def capped(sums: Sums, goal: Transport, *, least_total: float, total: float | None) -> Plan:
    """Return the optimal plan under G∞ or G_KDE (TSDS Theorems 3.1 and 3.2, completed).

    Where the theorem's assumption fails (s* > s̄/2), its formula is not optimal. The value is convex in G, and
    linear between the plan at s̄/2 and the even one, so that the better of those two is optimal then.

    Parameters
    ----------
    sums : Sums
    goal : Transport
    least_total : float
        A lower bound of s̄, the weights of all candidates.
    total : float or None
        s̄ itself, given if and only if the L neighbors are all the candidates.
    """
    limit, crossed = _limit(sums, goal)
    complete = crossed or total is not None
    if total is None:
        fits = True if limit <= 0.5 * least_total else None
        return _filled(sums, limit, complete=complete, fits=fits)
    if limit <= 0.5 * total or goal.diversity == 0.0:
        return _filled(sums, limit, complete=True, fits=limit <= 0.5 * total)
    half = _filled(sums, 0.5 * total, complete=True, fits=False)
    m, reach = sums.distances.shape
    shares = np.diff(sums.weight(), axis=1, prepend=0.0)
    shares *= (1.0 / m) / shares.sum(axis=1, keepdims=True)
    cost_even = float((shares * sums.distances).sum())
    cost_half = float((half.mass * half.entries(sums.distances)).sum())
    if goal.combined(cost_half, 1.0 / total) < goal.combined(cost_even, 0.0):
        return half
    whole, starts = np.full(m, reach), np.arange(m + 1) * reach
    return Plan(starts, shares.ravel(), total, whole, 0.0, even=True, complete=True, fits=False)


def total_variation(distances: NDArray[np.floating], goal: Transport, n: int) -> Plan:
    """Return the optimal plan under G_TV (TSDS Theorem A.1; Algorithm 3 halves the threshold, and is not).

    Parameters
    ----------
    distances : ndarray of shape (M, L)
        To each query's L nearest candidates, ascending.
    goal : Transport
    n : int
        All candidates.
    """
    m, reach = distances.shape
    alpha = 1.0 - goal.diversity
    threshold = np.inf if alpha == 0.0 else goal.diversity * goal.scale / alpha
    further = distances - distances[:, :1]
    kept = np.maximum((further < threshold).sum(axis=1), 1)
    starts = np.concatenate([[0], np.cumsum(kept)])
    mass = np.full(int(starts[-1]), 1.0 / (m * n))
    mass[starts[:-1]] = 1.0 / m - (kept - 1) / (m * n)
    complete = reach == n or bool((kept < reach).all())
    even = bool((kept == n).all())
    return Plan(starts, mass, float("nan"), kept, 0.0, even=even, complete=complete, fits=True)


def _limit(sums: Sums, goal: Transport) -> tuple[float, bool]:
    """Return s*, the breakpoint past which reaching further costs too much, and whether there is one."""
    alpha = 1.0 - goal.diversity
    if goal.diversity == 0.0:
        return float(sums.weight(1).min()), True
    if alpha == 0.0:
        return float(sums.weight()[:, -1].min()), False
    bound = goal.diversity * len(sums) * goal.scale / alpha
    return _shared_limit(sums.distances, bound) if sums.even else _bisected(sums, bound)


def _shared_limit(distances: NDArray[np.floating], bound: float) -> tuple[float, bool]:
    """Find s* where every candidate weighs 1 (the paper's K): c from the distances' column sums.

    Only so many columns are read as the answer needs, and as many again.
    """
    reach = distances.shape[1]
    columns = min(32, reach)
    sums = distances[:, :columns].sum(axis=0, dtype=np.float64)
    while True:
        dear = sums[1:] * np.arange(1, columns) - np.cumsum(sums)[:-1] >= bound
        if dear.any():
            return float(dear.argmax() + 1), True
        if columns == reach:
            return float(reach), False
        grown = min(2 * columns, reach)
        sums = np.concatenate([sums, distances[:, columns:grown].sum(axis=0, dtype=np.float64)])
        columns = grown


def _bisected(sums: Sums, bound: float) -> tuple[float, bool]:
    """Find s* by bisection, then among the few breakpoints that are left.

    Only so many columns are summed as the answer needs, and half as many again.
    """
    distances = sums.distances
    m, reach = distances.shape
    rows = np.arange(m)
    columns = min(64, reach)

    def too_dear(whole: NDArray[np.int64]) -> bool:
        """Tell whether C/α c(s) reaches the bound just past s, where so many neighbors are whole."""
        last = np.maximum(whole - 1, 0)
        following = distances[rows, np.minimum(whole, reach - 1)]
        cost = following * prefix[rows, last] - paid[rows, last]
        return bool(cost[whole > 0].sum() >= bound)

    while True:
        prefix, paid = sums.weight(columns), sums.paid(columns)
        most = float(prefix[:, -1].min())
        below, above = np.zeros(m, np.int64), np.full(m, columns)
        if too_dear(_count(prefix, np.nextafter(most, 0.0), below, above)):
            break
        if columns == reach:
            return most, False
        columns = min(columns + columns // 2, reach)
    low, high = 0.0, most
    while int((above - below).sum()) > max(FEW, 4 * m):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        counts = _count(prefix, middle, below, above)
        if too_dear(counts):
            high, above = middle, counts
        else:
            low, below = middle, counts
    sizes = above - below
    where = np.repeat(rows, sizes)
    columns = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    points = np.unique(prefix[where, np.repeat(below, sizes) + columns])
    points = points[points < most]
    first, last = 0, len(points)
    while first < last:
        place = (first + last) // 2
        counts = _count(prefix, float(points[place]), below, above)
        if too_dear(counts):
            last, above = place, counts
        else:
            first, below = place + 1, counts
    return float(points[first]), True  # the last is too dear, as what is just below ``most``


def _count(
    prefix: NDArray[np.float64], limit: float, least: NDArray[np.int64], most: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return how many of each row's running sums are at most ``limit``, known to be in [least, most]."""
    m, reach = prefix.shape
    if prefix.strides[0] == 0:
        return np.full(m, np.searchsorted(prefix[0], limit, side="right"))
    rows = np.arange(m)
    low, high = least, most
    for _ in range(int((most - least).max()).bit_length()):
        middle = (low + high) >> 1
        below = (low < high) & (prefix[rows, np.minimum(middle, reach - 1)] <= limit)
        low = np.where(below, middle + 1, low)
        high = np.where(below, high, middle)
    return low


def _filled(sums: Sums, limit: float, *, complete: bool, fits: bool | None) -> Plan:
    """Return the plan that gives each neighbor 1/(M s ρ), nearest first, until 1/M is spent."""
    m, reach = sums.distances.shape
    if sums.even and limit == int(limit):
        size = int(limit)
        starts, whole = np.arange(m + 1) * size, np.full(m, size)
        mass = np.full(m * size, 1.0 / (m * size))
        return Plan(starts, mass, limit, whole, 0.0, even=False, complete=complete, fits=fits)
    columns = min(64, reach)
    while columns < reach and sums.weight(columns)[:, -1].min() < limit:
        columns = min(columns + columns // 2, reach)
    prefix = sums.weight(columns)
    whole = _count(prefix, limit, np.zeros(m, np.int64), np.full(m, columns))
    spent = np.where(whole > 0, prefix[np.arange(m), np.maximum(whole - 1, 0)], 0.0)
    partly = (spent < limit) & (whole < reach)
    counts = whole + partly
    starts = np.concatenate([[0], np.cumsum(counts)])
    columns = int(counts.max())
    mass = sums.each(columns)[np.arange(columns) < counts[:, None]]
    mass[starts[1:][partly] - 1] = limit - spent[partly]
    mass /= m * limit
    remainder = float(mass[starts[1:][partly] - 1].sum())
    return Plan(starts, mass, limit, whole, remainder, even=False, complete=complete, fits=fits)
