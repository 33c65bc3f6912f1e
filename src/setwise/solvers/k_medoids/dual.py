"""Lower bounds on the cost of any set, by Lagrangian dual ascent over stacks of problems.

The bound is that of the linear relaxation of AMPO's Problem P (Eq. 9; ARCHITECTURE.md, section 4).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from setwise.kernels import medoids
from setwise.solvers.k_medoids.search import swap
from setwise.solvers.k_medoids.stack import Stack, column_sums, row_sums, servers

#: Distance between bound and cost, relative to the cost, that is rounding of sums: the set is proven best.
PROVEN = 1e-14

#: Steps between two looks at which sets are proven.
LOOK = 5

#: The first steps are this much of Polyak's length; it is halved after so many steps without a better bound.
LENGTH = 1.5
PATIENCE = 5

#: Where the best bound starts: below any, and far enough from the end of the range to compute with.
LOWEST = -1e300

#: How much of the last direction a step keeps.
INERTIA = 0.3


class Dual(NamedTuple):
    """A bound on the cost of any set of each problem, and the prices that prove it.

    Attributes
    ----------
    lower : ndarray of shape (B,), float64
        At most the cost of the set that it was asked for.
    prices : ndarray of shape (B, N), float64
        What each point pays at most.
    """

    lower: NDArray[np.float64]
    prices: NDArray[np.float64]


def ascend(
    stack: Stack, places: NDArray[np.int64], *, steps: int, prices: NDArray[np.float64] | None = None
) -> Dual:
    """Bound the cost of the best set of each problem from below.

    Relaxing 'each point is served once' with prices λ gives, for any λ, the bound
    ``L(λ) = Σ λ_i + min_S Σ_{j∈S} t_j`` with the terms ``t_j = fixed_j + Σ_i min(cost_ij - λ_i, 0)``: the k
    least count. The largest such bound is that of the linear relaxation (Cornuejols, Fisher and Nemhauser
    1977); deflected subgradient steps (Camerini, Fratta and Maffioli 1975) of Polyak's length climb toward
    it. Every step's bound is valid and the best one counts.

    A set is proven best before its bound meets its cost where any other candidate's term exceeds every
    member's by more than is missing: no set with another candidate can then be cheaper. No bound is below
    that of prices of 0, the cheapest set's fixed costs.

    Parameters
    ----------
    places : ndarray of shape (B, k), int64
        A set of each problem: where the prices start, and the cost that the steps aim at.
    steps : int
        At most this many.
    prices : ndarray of shape (B, N), optional
        Where to start instead.
    """
    if stack.compiled:
        return Dual(*medoids.ascend(stack.cost, stack.own, stack.sizes, places, steps, prices))
    if prices is None:
        _, least, second = servers(stack.near(places))
        # Between what a point pays its own member and what the next would ask: nobody else is tempted yet.
        prices = np.where(np.isfinite(second), 0.5 * (least + second), least)
    target = stack.totals(places)
    free = stack.own
    floor = row_sums(np.take_along_axis(free, cheapest(stack, free, places.shape[1]), axis=1))
    lower = np.full(len(stack), -np.inf)
    found = prices.copy()
    active = np.flatnonzero(target - floor > PROVEN * np.abs(target))
    climb = _Climb(stack, places, prices, target)
    if len(active) < len(stack):
        climb = climb.some(active)
    for step in range(steps if len(active) else 0):
        climb.step()
        if (step + 1) % LOOK and step + 1 < steps:
            continue
        proven = climb.proven()
        lower[active], found[active] = climb.best, climb.best_prices
        lower[active[proven]] = target[active[proven]]
        left = np.flatnonzero(~proven)
        if len(left) == 0:
            break
        if len(left) < len(active):  # a later look might not prove them again
            climb, active = climb.some(left), active[left]
    plain = lower < floor
    found[plain] = 0.0
    return Dual(np.minimum(np.where(plain, floor, lower), target), found)


class _Climb:
    """Subgradient ascent for the problems that are not done."""

    def __init__(
        self,
        stack: Stack,
        places: NDArray[np.int64],
        prices: NDArray[np.float64],
        target: NDArray[np.float64],
    ) -> None:
        self.stack, self.places, self.prices, self.target = stack, places, prices, target
        count = len(stack)
        self.rows = np.arange(count)[:, None]
        self.best = np.full(count, LOWEST)
        self.best_prices = prices
        self.length = np.full(count, LENGTH)
        self.idle = np.zeros(count, np.int64)
        self.direction = np.zeros_like(prices)
        self.work = np.empty_like(stack.cost)
        self.counts = stack.cost.any(axis=2)  # a point that costs nothing anywhere has no price

    def some(self, rows: NDArray[np.int64]) -> _Climb:
        """Return the ascent of some of the problems."""
        other = _Climb(self.stack.some(rows), self.places[rows], self.prices[rows], self.target[rows])
        for name in ("best", "best_prices", "length", "idle", "direction"):
            setattr(other, name, getattr(self, name)[rows])
        return other

    def step(self) -> None:
        """Take the bound at the prices, and move them."""
        stack, prices = self.stack, self.prices
        k = self.places.shape[1]
        # t_j + Σ λ_i = fixed_j + Σ_i min(cost_ij, λ_i); so L(λ) is the k least of these less (k - 1) Σ λ_i.
        added = column_sums(np.minimum(stack.cost, prices[:, :, None], out=self.work))
        added += stack.own
        chosen = cheapest(stack, added, k)
        lower = row_sums(added[self.rows, chosen]) - (k - 1) * row_sums(prices)
        gained = lower > self.best + 1e-4 * (self.target - self.best)
        better = lower > self.best
        if better.all():
            self.best, self.best_prices = lower, prices
        elif better.any():
            self.best = np.where(better, lower, self.best)
            self.best_prices = np.where(better[:, None], prices, self.best_prices)
        self.idle += 1
        self.idle[gained] = 0
        # A subgradient of L at λ: 1 less how many members of the minimizing set cost the point less than λ_i.
        served = np.add.reduce(stack.near(chosen) < prices[:, None, :], axis=1, dtype=np.int32)
        self.direction *= INERTIA
        self.direction += (1.0 - served) * self.counts
        # Polyak's step, (cost known - L) / |direction|², times `length`.
        reach = self.length * np.maximum(self.target - lower, 0.0)
        reach /= row_sums(self.direction * self.direction) + 1e-300
        prices = prices + reach[:, None] * self.direction
        self.prices = np.maximum(prices, 0.0, out=prices)
        # Held, Wolfe and Crowder 1974: no better bound for a while: half the length, from the best λ.
        tired = self.idle >= PATIENCE
        if tired.any():
            self.length[tired] *= 0.5
            self.idle[tired] = 0
            self.prices[tired] = self.best_prices[tired]
            self.direction[tired] = 0.0

    def proven(self) -> NDArray[np.bool_]:
        """Return which sets are proven best, (B,)."""
        missing = self.target - self.best
        margin = PROVEN * np.abs(self.target)
        done = missing <= margin
        if self.stack.codes is not None:
            return np.asarray(done)  # quotas: exchanging one term for another is not always allowed
        # Exchanging a member for another candidate adds the difference of their terms to L at least.
        added = terms(self.stack, self.best_prices, self.work)
        members = added[self.rows, self.places]
        if len(self.stack.include):
            members[:, np.isin(self.places[0], self.stack.include)] = -np.inf
        added[self.rows, self.places] = np.inf
        return np.asarray(done | (added.min(axis=1) - members.max(axis=1) > missing + margin))


def terms(
    stack: Stack, prices: NDArray[np.float64], work: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return what choosing each candidate adds to the bound at some prices, (B, M); inf where not free."""
    found = column_sums(np.minimum(stack.cost, prices[:, :, None], out=work))
    found -= row_sums(prices)[:, None]
    found += stack.own
    return found


def cheapest(stack: Stack, added: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the feasible set of least summed terms of each problem, the least first, shape (B, k)."""
    if stack.constraints is not None and stack.constraints.any:
        return stack.constraints.best(-added[0])[None]
    return np.argsort(added, axis=1, kind="stable")[:, :k]


def improved(stack: Stack, places: NDArray[np.int64], climbed: Dual) -> NDArray[np.int64]:
    """Return the better of each set and what exchanges make of the set that the prices point at."""
    count, k = places.shape
    result = places.copy()
    total = stack.totals(places)
    open_ = np.flatnonzero(climbed.lower < total - PROVEN * np.abs(total))
    if len(open_) == 0:
        return result
    part = stack if len(open_) == count else stack.some(open_)
    pointed = cheapest(part, terms(part, climbed.prices[open_]), k)
    found, _ = swap(part, np.ascontiguousarray(pointed))
    better = part.totals(found) < total[open_] - PROVEN * np.abs(total[open_])
    result[open_[better]] = found[better]
    return result
