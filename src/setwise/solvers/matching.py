"""The optimal plan of regularized transport, in closed form: KNN-Uniform, KNN-KDE and KNN-TV of TSDS.

Each query gives its mass to its nearest candidates, to each at most an even share (Theorems 3.1 and 3.2).
One number decides how far every query reaches: the limit s* on the candidates' weights 1/ρ in a neighborhood.
With α = 1 - diversity it is the largest breakpoint s = s_k^i at which

    α/C c(s) < (1 - α) M,   c(s) = Σ_i Σ_{l<k} (d_i(k) - d_i(l)) / ρ_i(l)   where s_{k-1}^i < s <= s_k^i:

what it costs to reach further against what it gains in evenness. Algorithm 2 finds it by a heap over the
next candidates of all queries. But c(s) never falls, so it is found here by bisection over running sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import kernels
from setwise.kernels import transport
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
        return table[:, :columns][np.arange(columns) < counts[:, None]]


class Sums:
    """Running sums over each query's neighbors, nearest first, made as far out as they are asked for.

    They serve every diversity: s_k^i = Σ 1/ρ and Σ d/ρ over query i's first k neighbors (TSDS Theorem 3.2).

    Parameters
    ----------
    distances : ndarray of shape (M, L)
        To each query's L nearest candidates, ascending.
    even : bool
        Whether every candidate weighs 1 (G∞). Else `extend` gives the weights, as far out as needed.
    workers : int
        Threads.

    Attributes
    ----------
    reach : int
        Neighbors of each query whose weights are known; all L where every candidate weighs 1.
    """

    def __init__(self, distances: NDArray[np.floating], *, even: bool, workers: int = 1) -> None:
        self.distances, self.even = distances, even
        self._workers = workers
        self._made = 0
        self.reach = distances.shape[1] if even else 0
        if even:
            row = np.arange(1.0, distances.shape[1] + 1.0)
            self._weight: NDArray[np.float64] = np.broadcast_to(row, distances.shape)
        else:  # columns that are never asked for take no memory
            self._each = np.empty(distances.shape)
            self._weight, self._paid = np.empty(distances.shape), np.empty(distances.shape)

    def __len__(self) -> int:
        return len(self.distances)

    @property
    def compiled(self) -> bool:
        """Whether the compiled kernels find limits: they follow the sums, and write none of them down."""
        return (
            kernels.available()
            and not self.even
            and self.distances.dtype == np.float64
            and kernels.readable(self.distances)
        )

    def extend(self, weights: NDArray[np.floating | np.integer]) -> None:
        """Take the weights 1/ρ, above 0, of the next neighbors of every query, shape (M, more).

        A neighbor that stands for several candidates at its place weighs what they do together.
        """
        reach = self.reach + weights.shape[1]
        if weights.shape == self._each.shape:
            self._each = np.ascontiguousarray(weights, np.float64)
        else:
            self._each[:, self.reach : reach] = weights
        self.reach = reach

    def weight(self, columns: int) -> NDArray[np.float64]:
        """Return Σ 1/ρ up to each of the first columns, (M, columns); of weights of 1 a broadcast view."""
        self._make(columns)
        return self._weight[:, :columns]

    def each(self, columns: int) -> NDArray[np.float64]:
        """Return 1/ρ of the first columns, (M, columns)."""
        return (
            np.broadcast_to(np.ones(columns), (len(self), columns)) if self.even else self._each[:, :columns]
        )

    def paid(self, columns: int) -> NDArray[np.float64]:
        """Return Σ d/ρ up to each of the first columns, (M, columns); where not every candidate weighs 1."""
        self._make(columns)
        return self._paid[:, :columns]

    def _make(self, columns: int) -> None:
        """Go on with the sums from the last column they were made to."""
        if self.even or columns <= self._made:
            return
        before = self._made

        def part(first: int, last: int) -> None:
            step = 1 + 16_384 // (columns - before)  # few enough rows to stay in cache
            for row in range(first, last, step):
                some = slice(row, min(row + step, last))
                new = some, slice(before, columns)
                weight, paid = self._weight[new], self._paid[new]
                np.multiply(self._each[new], self.distances[new], out=paid)
                weight[:] = self._each[new]
                if before:
                    weight[:, 0] += self._weight[some, before - 1]
                    paid[:, 0] += self._paid[some, before - 1]
                np.cumsum(weight, axis=1, out=weight)
                np.cumsum(paid, axis=1, out=paid)

        run_ranges(part, len(self), self._workers, least=1 + 32_768 // (columns - before))
        self._made = columns


def capped(sums: Sums, goal: Transport, *, least_total: float, total: float | None) -> Plan:
    """Return the optimal plan under G∞ or G_KDE (TSDS Theorems 3.1 and 3.2, completed).

    The theorems assume s* <= s̄/2, with s̄ = Σ 1/ρ over all candidates: up to there G = 1/s - 1/s̄. Beyond
    it the entries without mass are the farthest from even, G stays at 1/s̄, and reaching further only costs.
    The value is convex in G, and linear between the plan at s̄/2 and the even one, where G = 0: the better of
    those two is optimal then.

    Parameters
    ----------
    least_total : float
        A lower bound of s̄.
    total : float or None
        s̄ itself, given if and only if the L neighbors are all the candidates.
    """
    limit, crossed = _limit(sums, goal)
    if total is None:
        fits = True if limit <= 0.5 * least_total else None
        return _filled(sums, limit, complete=crossed, fits=fits)
    if limit <= 0.5 * total or goal.diversity == 0.0:
        return _filled(sums, limit, complete=True, fits=limit <= 0.5 * total)
    half = _filled(sums, 0.5 * total, complete=True, fits=False)
    m, n = sums.distances.shape
    shares = np.diff(sums.weight(n), axis=1, prepend=0.0)  # the even plan: γ = 1/(M s̄ ρ) for every candidate
    shares *= (1.0 / m) / shares.sum(axis=1, keepdims=True)
    cost_even = float((shares * sums.distances).sum())
    cost_half = float((half.mass * half.entries(sums.distances)).sum())
    if goal.combined(cost_half, 1.0 / total) < goal.combined(cost_even, 0.0):
        return half
    whole, starts = np.full(m, n), np.arange(m + 1) * n
    return Plan(starts, shares.ravel(), total, whole, 0.0, even=True, complete=True, fits=False)


def total_variation(
    distances: NDArray[np.floating], times: NDArray[np.int64], goal: Transport, n: int, *, everything: bool
) -> Plan:
    """Return the optimal plan under G_TV (TSDS Theorem A.1).

    Every candidate nearer than d_i(1) + (1 - α) C / α gets the even 1/(M N), and the nearest takes what is
    left. (Algorithm 3 halves that threshold, which is not optimal.)

    Parameters
    ----------
    distances : ndarray of shape (M, L)
        To each query's L nearest candidates, ascending.
    times : ndarray of shape (M, L)
        How many candidates each of these is, at the same place.
    n : int
        All candidates.
    everything : bool
        Whether the L neighbors are all of them.
    """
    m, reach = distances.shape
    alpha = 1.0 - goal.diversity
    threshold = np.inf if alpha == 0.0 else goal.diversity * goal.scale / alpha
    further = distances - distances[:, :1]
    kept = np.maximum((further < threshold).sum(axis=1), 1)
    starts = np.concatenate([[0], np.cumsum(kept)])
    mass = times[np.arange(reach) < kept[:, None]] / (m * n)
    mass[starts[:-1]] += 1.0 / m - np.add.reduceat(mass, starts[:-1])
    complete = everything or bool((kept < reach).all())
    even = everything and bool((kept == reach).all())
    return Plan(starts, mass, float("nan"), kept, 0.0, even=even, complete=complete, fits=True)


def _limit(sums: Sums, goal: Transport) -> tuple[float, bool]:
    """Return s*, and whether reaching past it is known to cost too much (else the neighbors ran out)."""
    alpha = 1.0 - goal.diversity
    if goal.diversity == 0.0:  # c(s) < 0 at no s: all goes to the nearest
        return float(sums.weight(1).min()), True
    if alpha == 0.0:  # every s: as far as the neighbors go
        return float(sums.weight(sums.reach)[:, -1].min()), False
    bound = goal.diversity * len(sums) * goal.scale / alpha  # c(s) < (1 - α) M C / α
    if sums.even:
        return _shared_limit(sums.distances, bound)
    if sums.compiled:
        return transport.limit(sums.each(sums.reach), sums.distances, sums.reach, bound)
    return _bisected(sums, bound)


def _shared_limit(distances: NDArray[np.floating], bound: float) -> tuple[float, bool]:
    """Find s* where every candidate weighs 1: the K of Theorem 3.1, by Σ_i Σ_{l<=k} (d_i(k+1) - d_i(l)).

    That takes the sums of the distances' columns alone: of as many columns as the answer needs, and at most
    as many again.
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

    Only so many columns are summed as the answer needs, and at most half as many again.
    """
    distances, reach = sums.distances, sums.reach
    m = len(sums)
    rows = np.arange(m)
    columns = min(64, reach)

    def too_dear(whole: NDArray[np.int64]) -> bool:
        """Tell whether c reaches the bound just past an s up to which so many neighbors K_i are whole.

        There neighbor K_i + 1 is the next: c_i = d_i(K_i + 1) s_K^i - Σ_{l<=K} d_i(l) / ρ_i(l).
        """
        last = np.maximum(whole - 1, 0)
        following = distances[rows, np.minimum(whole, reach - 1)]
        cost = following * prefix[rows, last] - paid[rows, last]
        return bool(cost[whole > 0].sum() >= bound)

    # Columns until s* lies below every query's last sum.
    while True:
        prefix, paid = sums.weight(columns), sums.paid(columns)
        most = float(prefix[:, -1].min())
        below, above = np.zeros(m, np.int64), np.full(m, columns)
        if too_dear(_count(prefix, np.nextafter(most, 0.0), below, above)):
            break
        if columns == reach:
            return most, False
        columns = min(columns + columns // 2, reach)
    # Bisection on s, until few breakpoints lie between what is cheap and what is too dear.
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
    # The breakpoints s_k^i in between, sorted, and bisection among them: past s* it is too dear for the first
    # time.
    sizes = above - below
    where = np.repeat(rows, sizes)
    places = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    points = np.unique(prefix[where, np.repeat(below, sizes) + places])
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
    """Return K_i, how many of each row's running sums are at most ``limit``, known to be in [least, most].

    A binary search in every row at once.
    """
    m, reach = prefix.shape
    if prefix.strides[0] == 0:  # one row stands for all
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
    """Return the plan of Theorem 3.2: γ = 1/(M s ρ) for the K_i nearest, and the rest of 1/M for the next."""
    m, reach = len(sums), sums.reach
    if sums.even and limit == int(limit):  # Theorem 3.1: nothing is left over
        size = int(limit)
        starts, whole = np.arange(m + 1) * size, np.full(m, size)
        mass = np.full(m * size, 1.0 / (m * size))
        return Plan(starts, mass, limit, whole, 0.0, even=False, complete=complete, fits=fits)
    whole, spent = _inside(sums, limit)
    partly = (spent < limit) & (whole < reach)
    counts = whole + partly
    starts = np.concatenate([[0], np.cumsum(counts)])
    columns = int(counts.max())
    mass = sums.each(columns)[np.arange(columns) < counts[:, None]]
    mass[starts[1:][partly] - 1] = limit - spent[partly]
    mass /= m * limit
    remainder = float(mass[starts[1:][partly] - 1].sum())
    return Plan(starts, mass, limit, whole, remainder, even=False, complete=complete, fits=fits)


def _inside(sums: Sums, limit: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return K_i, how many of each query's neighbors weigh at most a limit together, and their weight."""
    m, reach = len(sums), sums.reach
    if sums.compiled:
        return transport.inside(sums.each(reach), reach, limit)
    columns = min(64, reach)
    while columns < reach and sums.weight(columns)[:, -1].min() < limit:
        columns = min(columns + columns // 2, reach)
    prefix = sums.weight(columns)
    whole = _count(prefix, limit, np.zeros(m, np.int64), np.full(m, columns))
    return whole, np.where(whole > 0, prefix[np.arange(m), np.maximum(whole - 1, 0)], 0.0)
