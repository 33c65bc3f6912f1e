"""Best exchange of one member for one outsider, until none improves the set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.solvers.pools import Pool, Whole
from setwise.solvers.problem import TIED
from setwise.vectors import Floats

#: An exchange must improve the summed form by more than this part of what distances add to its gradient, and
#: this part of what relevance does: the former is computed in single precision, the latter is not.
PRECISION, EXACT = 4e-7, 4e-15

#: So many outsiders of largest gradient are tried first: what they gain, few of the others can.
FRONT = 192


def polish(
    pool: Pool, chosen: NDArray[np.int64], *, most: int = 1000, kept: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return a set, shape (k,), improved within a pool by best single exchanges, to a local maximum.

    Exchanging member i for outsider j changes the summed form by g_j - g_i - 2t·W_ij, with g its gradient
    at the set. Distances are not negative, so only outsiders whose gradient exceeds the least inside can
    gain: few, once the set is good.

    Parameters
    ----------
    chosen : ndarray of shape (k,), int64
        Positions in the pool; satisfies the constraints.
    most : int
        At most this many exchanges.
    kept : ndarray of int64, optional
        Positions that must stay.
    """
    chosen = chosen.copy()
    k = len(chosen)
    if k == len(pool):
        return chosen
    constraints = pool.problem.constraints
    codes = None if constraints.codes is None else constraints.codes[pool.ids]
    movable = np.ones(k, bool) if kept is None or len(kept) == 0 else ~np.isin(chosen, kept)
    if not movable.any():
        return chosen
    gradient = pool.gradient(chosen, np.ones(k))
    inside = np.zeros(len(pool), bool)
    inside[chosen] = True
    least_gain = 0.0
    tie = TIED * float(np.abs(gradient[chosen]).max())
    double = 2 * pool.weight
    table = _Distances(pool, chosen)

    def gains(outside: NDArray[np.int64], leaving: NDArray[np.float64]) -> Floats:
        """Return what f gains where outsiders come for each member, shape (m, k)."""
        change = table.of(outside) * -double
        change += gradient[outside, None]
        change -= leaving
        _bar_full(change, codes, outside, chosen, constraints.quota)
        return change

    for _ in range(most):
        # A set of copies hides nothing; what the next one hides must not pass for a gain.
        least_gain = max(least_gain, least_of(gradient[chosen], pool.linear[chosen]))
        leaving = np.where(movable, gradient[chosen], np.inf)
        outside = ((gradient > leaving.min() + least_gain) & ~inside).nonzero()[0]
        if len(outside) == 0:
            break
        if len(outside) > FRONT:  # no gain is above the difference of gradients
            front = outside[np.argpartition(-gradient[outside], FRONT)[:FRONT]]
            least = max(float(gains(front, leaving).max()), least_gain) - tie
            outside = outside[gradient[outside] - leaving.min() >= least]
        change = gains(outside, leaving)
        # Of exchanges that tie, but for rounding, the first.
        row, slot = divmod(int((change >= change.max() - tie).argmax()), k)
        if not change[row, slot] > least_gain:
            break
        comes, goes = int(outside[row]), int(chosen[slot])
        gradient += double * pool.pull_change(comes, goes)
        table.exchange(slot, comes)
        inside[goes], inside[comes] = False, True
        chosen[slot] = comes
        pool.problem.count("swaps")
    return chosen


def improving(
    whole: Whole,
    chosen: NDArray[np.int64],
    gradient: NDArray[np.float64],
    *,
    among: NDArray[np.int64] | None = None,
    margin: float = 0.0,
) -> NDArray[np.int64]:
    """Return the candidates that improve a set when exchanged for its best member to lose, most first.

    Parameters
    ----------
    whole : Whole
        All candidates.
    chosen : ndarray of shape (k,), int64
        Rows of the set.
    gradient : ndarray of shape (n,)
        Of the summed form at the set.
    among : ndarray of int64, optional
        Look at these candidates alone.
    margin : float
        Rounding to allow for in the gradient.
    """
    problem, k = whole.problem, len(chosen)
    constraints = problem.constraints
    codes = constraints.codes
    margin = margin + least_of(gradient[chosen], whole.linear[chosen])
    leaving = np.where(np.isin(chosen, constraints.include), np.inf, gradient[chosen])
    suspects = np.arange(problem.n) if among is None else among
    suspects = suspects[gradient[suspects] > leaving.min() + margin]
    inside = np.zeros(problem.n, bool)
    inside[chosen] = True
    suspects = suspects[~inside[suspects]]
    members = problem.vectors.rows(chosen)
    gains = np.empty(len(suspects))
    for start in range(0, len(suspects), 8192):
        part = suspects[start : start + 8192]
        change = problem.max_sum().distances(problem.vectors.rows(part), members) * (-2.0 * whole.weight)
        change = change + gradient[part, None] - leaving
        _bar_full(change, codes, part, chosen, constraints.quota)
        gains[start : start + 8192] = change.max(axis=1) if k else -np.inf
    better = np.flatnonzero(gains > margin)
    return np.asarray(suspects[better[np.argsort(-gains[better], kind="stable")]])


def _bar_full(
    change: Floats,
    codes: NDArray[np.int64] | None,
    outside: NDArray[np.int64],
    chosen: NDArray[np.int64],
    quota: int,
) -> None:
    """Let no outsider of a group that is full come but for a member of it."""
    if codes is not None:
        held = np.bincount(codes[chosen], minlength=int(codes.max()) + 1)
        full = held[codes[outside]] >= quota
        change[full[:, None] & (codes[outside][:, None] != codes[chosen])] = -np.inf


def least_of(gradient: NDArray[np.float64], linear: NDArray[np.float64]) -> float:
    """Return what an exchange must improve the summed form by, given the gradient's and its linear part."""
    return PRECISION * float(np.abs(gradient - linear).max()) + EXACT * float(np.abs(linear).max())


class _Distances:
    """Distances of outsiders to the members, computed when first asked for and kept up."""

    def __init__(self, pool: Pool, chosen: NDArray[np.int64]) -> None:
        self.pool = pool
        self.members = pool.rows[chosen]
        self.where = np.full(len(pool), -1, np.int64)
        self.known = np.empty(0, np.int64)
        self.table = np.empty((0, len(chosen)), pool.rows.dtype)

    def of(self, outside: NDArray[np.int64]) -> Floats:
        """Return the distances of some outsiders to each member, shape (m, k)."""
        missing = outside[self.where[outside] < 0]
        if len(missing):
            new = self.pool.objective.distances(self.pool.rows[missing], self.members)
            self.where[missing] = len(self.known) + np.arange(len(missing))
            self.known = np.concatenate([self.known, missing])
            self.table = np.concatenate([self.table, new])
        return self.table[self.where[outside]]

    def exchange(self, slot: int, comes: int) -> None:
        """Put another candidate in a member's place."""
        self.members[slot] = self.pool.rows[comes]
        rows, some = self.pool.rows, 2 * len(self.known) < len(self.pool)  # else a copy costs more than all
        to = self.pool.objective.distances(rows[self.known] if some else rows, self.members[slot : slot + 1])
        self.table[:, slot] = to[:, 0] if some else to[self.known, 0]
        self.table[self.where[comes], slot] = 0.0
