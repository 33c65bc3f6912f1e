"""Greedy choice and best exchanges for stacks of k-medoids problems (AMPO Algorithm 4 and Appendix E)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.kernels import medoids
from setwise.solvers.k_medoids.stack import ROUNDING, Stack, column_sums, first_least, servers

#: An exchange must lower the cost by more than this, as in AMPO's Appendix E ...
LEAST_GAIN = 1e-12

#: ... and by more than this much of it, below which a difference of sums is rounding.
RELATIVE_GAIN = 1e-14


def greedy(stack: Stack, k: int, first: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Choose k candidates of each problem one by one, each the one that lowers the cost most.

    Ties go to the lowest position. Time: O(k N M) a problem.

    Parameters
    ----------
    stack : Stack
    k : int
    first : ndarray of shape (B, m), int64, optional
        Candidates that come first. Default: must-have ones.

    Returns
    -------
    ndarray of shape (B, k), int64
        In the order they were chosen.
    """
    if stack.compiled:
        return medoids.greedy(stack.cost, stack.own, stack.sizes, k, first)
    count = len(stack)
    if first is None:
        first = np.broadcast_to(stack.include, (count, len(stack.include)))
    places = np.empty((count, k), np.int64)
    rows = np.arange(count)
    least: NDArray[np.float64] | None = None
    work = np.empty_like(stack.cost)
    quotas = stack.codes is not None
    own = stack.own.copy()
    for step in range(k):
        if step < first.shape[1]:
            pick = first[:, step]
        else:
            served = stack.cost if least is None else np.minimum(stack.cost, least[:, :, None], out=work)
            sums = column_sums(served)
            scores = sums + own
            if quotas:
                scores[~stack.allowed(places[:, :step])] = np.inf
            pick = first_least(scores, stack.sizes + sums[rows, scores.argmin(axis=1)])
        places[:, step] = pick
        own[rows, pick] = np.inf
        column = stack.cost[rows, :, pick]
        least = column if least is None else np.minimum(least, column)
    return places


def arrange(stack: Stack, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each set in the order in which greedy selection would take its members, shape (B, k).

    Every prefix then covers as well as a greedy choice among the members can.

    Parameters
    ----------
    places : ndarray of shape (B, k), int64
    """
    places = np.sort(places, axis=1)
    cost = np.ascontiguousarray(stack.near(places).transpose(0, 2, 1))
    fixed = None if stack.fixed is None else np.take_along_axis(stack.fixed, places, axis=1)
    members = Stack(cost, np.ones(places.shape, bool), fixed)
    return np.take_along_axis(places, greedy(members, places.shape[1]), axis=1)


def swap(stack: Stack, places: NDArray[np.int64], *, most: int = 1000) -> tuple[NDArray[np.int64], int]:
    """Improve sets by best single exchanges until none lowers the cost: local minima.

    At each step every problem makes the exchange that lowers its cost most (AMPO's Appendix E), found from
    each point's cheapest and second cheapest member (FasterPAM, Schubert and Rousseeuw 2021): with the
    point's cost then at most ``low`` when a candidate joins, and ``high`` when its own member leaves as well,
    an exchange changes the cost by a sum over all points and one over the leaver's. O(N M) a step and
    problem, beside one product of (M, N) by (N, k).

    Parameters
    ----------
    stack : Stack
    places : ndarray of shape (B, k), int64
        Where to start; satisfies the constraints.
    most : int
        At most this many exchanges a problem.

    Returns
    -------
    places : ndarray of shape (B, k), int64
    swaps : int
        Exchanges made in all.
    """
    if stack.compiled:
        return medoids.exchange(stack.cost, stack.own, stack.sizes, places, most)
    places = places.copy()
    k = places.shape[1]
    active = np.arange(len(stack))
    part, current = stack, places.copy()
    work = _Workspace(stack, k)
    swaps = 0
    for _ in range(most):
        change, total = work.changes(part, current)
        change = change.reshape(len(part), -1)
        # As good as the best, but for rounding, and better than staying.
        least = np.maximum(LEAST_GAIN, RELATIVE_GAIN * total)
        bar = np.minimum(change.min(axis=1) + ROUNDING * total, -least)
        good = change <= bar[:, None]
        moved = np.flatnonzero(good.any(axis=1))
        if len(moved) == 0:
            break
        leaver, joiner = np.divmod(good[moved].argmax(axis=1), part.cost.shape[2])
        current[moved, leaver] = joiner
        places[active[moved]] = current[moved]
        swaps += len(moved)
        if len(moved) <= 0.7 * len(part):
            part, current, active = part.some(moved), current[moved], active[moved]
            work = _Workspace(part, k)
        # Problems that are done and still in the stack are looked at again, to the same end.
    return places, swaps


class _Workspace:
    """Arrays that a search writes to again and again."""

    def __init__(self, stack: Stack, k: int) -> None:
        count, points, _ = stack.cost.shape
        self.low = np.empty_like(stack.cost)
        self.high = np.empty_like(stack.cost)
        self.mine = np.zeros((count, k, points))
        self.rows = np.arange(count)[:, None]
        self.columns = np.arange(points)

    def changes(
        self, stack: Stack, places: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return by how much each exchange changes the cost, (B, k, M), and the size of those sums, (B,).

        Infinite where the exchange is not allowed.
        """
        # FasterPAM's terms, by the nearest and second nearest member of each point o. When x joins:
        # ΔTD⁺(x) = Σ_o min(d(o, x) - d_near(o), 0). When member m leaves as well, a point of m's pays
        # min(d(o, x), d_second(o)) in place of min(d(o, x), d_near(o)): the sum of these differences over m's
        # points is one product.
        first, least, second = servers(stack.near(places))
        total = least.sum(axis=1)
        low = np.minimum(stack.cost, least[:, :, None], out=self.low)
        high = np.minimum(stack.cost, second[:, :, None], out=self.high)
        np.subtract(high, low, out=high)
        self.mine.fill(0.0)
        self.mine[self.rows, first, self.columns] = 1.0
        change = self.mine @ high
        joins = column_sums(low)
        joins -= total[:, None]
        if stack.fixed is not None:
            joins += stack.fixed
            change -= stack.fixed[self.rows, places][:, :, None]
            total += stack.sizes
        joins[~stack.free] = np.inf
        joins[self.rows, places] = np.inf
        change += joins[:, None, :]
        self._constrain(stack, places, change)
        return change, total

    @staticmethod
    def _constrain(stack: Stack, places: NDArray[np.int64], change: NDArray[np.float64]) -> None:
        """Rule out exchanges that lose a must-have candidate or break a quota."""
        if stack.constraints is None:
            return
        change[0, np.isin(places[0], stack.include)] = np.inf
        codes = stack.codes
        if codes is not None:
            own = codes[places[0]]
            held = np.bincount(own, minlength=int(codes.max()) + 1)
            full = held[codes] >= stack.constraints.quota
            change[0, full[None, :] & (codes[None, :] != own[:, None])] = np.inf
