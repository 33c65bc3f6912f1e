"""The optimal plan of regularised transport, in closed form: KNN-Uniform, KNN-KDE and KNN-TV of TSDS.

Each query gives its mass to its nearest candidates, to each at most an even share. One number decides how far
every query reaches: the limit s on the candidates' weights 1/ρ in a neighbourhood. The paper finds it by a
heap over all candidates of all queries. The cost of reaching further, c(s), only grows with s, so it is found
here by bisection over prefix sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.objectives.transport import Transport

#: Breakpoints that are few enough to be sorted and tried one by one.
FEW = 8_192


@dataclass(frozen=True, eq=False)
class Plan:
    """A transport plan over the queries' neighbours, nearest first.

    Attributes
    ----------
    starts : ndarray of shape (M + 1,), int64
        Query i's entries are ``starts[i]`` to ``starts[i + 1]``; they are its first neighbours.
    mass : ndarray of shape (entries,), float64
        γ; all sum to 1.
    limit : float
        s*: the weight of a neighbourhood (NaN for "tv", which has none).
    whole : ndarray of shape (M,), int64
        Neighbours that a query gives a full share: K_i.
    remainder : float
        Mass that fell on the (K_i + 1)th neighbours.
    even : bool
        Whether it is the plan in proportion to 1/ρ over all candidates.
    complete : bool
        False where the neighbours ran out before the limit was found.
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
        found: NDArray[Any] = table[:, :columns][np.arange(columns) < counts[:, None]]
        return found


def capped(
    distances: NDArray[np.floating],
    weights: NDArray[np.floating],
    goal: Transport,
    *,
    least_total: float,
    total: float | None,
) -> Plan:
    """Return the optimal plan under G∞ or G_KDE (TSDS Theorems 3.1 and 3.2, completed).

    Where the theorem's assumption fails (s* > s̄/2), its formula is not optimal. The value is convex in G, and
    linear between the plan at s̄/2 and the even one, so that the better of those two is optimal then.

    Parameters
    ----------
    distances : ndarray of shape (M, L)
        To each query's L nearest candidates, ascending.
    weights : ndarray of shape (M, L)
        Theirs, 1/ρ, in (0, 1]; all 1 for G∞. May be a broadcast view.
    goal : Transport
    least_total : float
        A lower bound of s̄, the weights of all candidates.
    total : float or None
        s̄ itself, given if and only if the L neighbours are all the candidates.
    """
    prefix = _prefix(weights)
    limit, crossed = _limit(distances, weights, prefix, goal)
    complete = crossed or total is not None
    if total is None:
        fits = True if limit <= 0.5 * least_total else None
        return _filled(prefix, limit, complete=complete, fits=fits)
    if limit <= 0.5 * total or goal.diversity == 0.0:
        return _filled(prefix, limit, complete=True, fits=limit <= 0.5 * total)
    half = _filled(prefix, 0.5 * total, complete=True, fits=False)
    m = len(distances)
    shares = np.asarray(weights, np.float64) / (m * total)
    cost_even = float((shares * distances).sum())
    cost_half = float((half.mass * half.entries(distances)).sum())
    if goal.combined(cost_half, 1.0 / total) < goal.combined(cost_even, 0.0):
        return half
    whole = np.full(m, distances.shape[1])
    starts = np.arange(m + 1) * distances.shape[1]
    shares *= (1.0 / m) / shares.sum(axis=1, keepdims=True)
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


def _prefix(weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the running sums of weights along each row; of a row that repeats, once."""
    if weights.strides[0] == 0:
        return np.broadcast_to(np.cumsum(weights[0], dtype=np.float64), weights.shape)
    return np.cumsum(weights, axis=1, dtype=np.float64)


def _limit(
    distances: NDArray[np.floating],
    weights: NDArray[np.floating],
    prefix: NDArray[np.float64],
    goal: Transport,
) -> tuple[float, bool]:
    """Return s*, the breakpoint past which reaching further costs too much, and whether there is one."""
    m, reach = distances.shape
    alpha, most = 1.0 - goal.diversity, float(prefix[:, -1].min())
    if goal.diversity == 0.0:
        return float(prefix[:, 0].min()), True
    if alpha == 0.0:
        return most, False
    paid = np.cumsum(weights * distances, axis=1, dtype=np.float64)
    rows = np.arange(m)

    def too_dear(limit: float) -> bool:
        """Tell whether α/C c(s) ≥ (1 - α) M just past s; c from each query's next neighbour's distance."""
        whole = _count(prefix, limit)
        last = np.maximum(whole - 1, 0)
        following = distances[rows, np.minimum(whole, reach - 1)]
        cost = following * prefix[rows, last] - paid[rows, last]
        return bool(alpha * cost[whole > 0].sum() >= goal.diversity * m * goal.scale)

    low, high = 0.0, most
    for _ in range(200):
        if int((_count(prefix, high) - _count(prefix, low)).sum()) <= max(FEW, 4 * m):
            break
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if too_dear(middle):
            high = middle
        else:
            low = middle
    points = _between(prefix, low, high)
    points = points[points < most]
    first, last = 0, len(points)
    while first < last:
        middle_point = (first + last) // 2
        if too_dear(float(points[middle_point])):
            last = middle_point
        else:
            first = middle_point + 1
    if first < len(points):
        return float(points[first]), True
    return (most, False) if high >= most else (high, True)


def _count(prefix: NDArray[np.float64], limit: float) -> NDArray[np.int64]:
    """Return how many of each row's running sums are at most ``limit``, shape (M,)."""
    m, reach = prefix.shape
    if prefix.strides[0] == 0:
        return np.full(m, np.searchsorted(prefix[0], limit, side="right"))
    rows = np.arange(m)
    low, high = np.zeros(m, np.int64), np.full(m, reach)
    for _ in range(reach.bit_length()):
        middle = (low + high) >> 1
        below = (low < high) & (prefix[rows, np.minimum(middle, reach - 1)] <= limit)
        low = np.where(below, middle + 1, low)
        high = np.where(below, high, middle)
    return low


def _between(prefix: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Return the distinct running sums in (low, high], ascending."""
    if prefix.strides[0] == 0:
        prefix = prefix[:1]
    starts, stops = _count(prefix, low), _count(prefix, high)
    counts = stops - starts
    rows = np.repeat(np.arange(len(prefix)), counts)
    columns = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.unique(prefix[rows, np.repeat(starts, counts) + columns])


def _filled(prefix: NDArray[np.float64], limit: float, *, complete: bool, fits: bool | None) -> Plan:
    """Return the plan that gives each neighbour 1/(M s ρ), nearest first, until 1/M is spent."""
    m, reach = prefix.shape
    whole = _count(prefix, limit)
    spent = np.where(whole > 0, prefix[np.arange(m), np.maximum(whole - 1, 0)], 0.0)
    partly = (spent < limit) & (whole < reach)
    counts = whole + partly
    starts = np.concatenate([[0], np.cumsum(counts)])
    # Differences of the running sums, capped: a row's sum is the limit, however its weights were rounded.
    columns = int(counts.max())
    edges = np.minimum(prefix[:, :columns], limit)
    steps = np.diff(edges, axis=1, prepend=0.0)
    mass = steps[np.arange(columns) < counts[:, None]] / (m * limit)
    remainder = float(mass[starts[1:][partly] - 1].sum())
    return Plan(starts, mass, limit, whole, remainder, even=False, complete=complete, fits=fits)
