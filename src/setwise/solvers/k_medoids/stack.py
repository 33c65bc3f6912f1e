"""Stacks of k-medoids problems: what a set costs, and which member serves each point."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from setwise import kernels
from setwise.constraints import Constraints

#: Sums closer than this share of their size are equal: what tells them apart is rounding, which differs
#: from one processor to the next.
ROUNDING = 1e-12


@dataclass
class Stack:
    """B weighted k-medoids problems of the same shape, worked on together.

    The cost of a set S of candidates is ``Σ_{j∈S} fixed_j + Σ_i min_{j∈S} cost_ij`` (AMPO Eq. 8 with the
    weights folded into the rows and no fixed costs).

    Parameters
    ----------
    cost : ndarray of shape (B, N, M), float64
        What point i costs when candidate j serves it, at least 0. A point that does not count (padding) has
        a row of zeros.
    free : ndarray of shape (B, M), bool
        Which candidates may be chosen.
    fixed : ndarray of shape (B, M), float64, optional
        What choosing a candidate costs by itself; any sign. Default 0.
    constraints : Constraints, optional
        Must-have candidates and quotas, for a stack of one.
    """

    cost: NDArray[np.float64]
    free: NDArray[np.bool_]
    fixed: NDArray[np.float64] | None = None
    constraints: Constraints | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.cost = np.ascontiguousarray(self.cost)  # the order of its sums goes by that of its memory

    def __len__(self) -> int:
        return len(self.cost)

    @property
    def include(self) -> NDArray[np.int64]:
        """Candidates that must be chosen."""
        return np.empty(0, np.int64) if self.constraints is None else self.constraints.include

    @property
    def codes(self) -> NDArray[np.int64] | None:
        """The group of each candidate, where there are quotas."""
        return None if self.constraints is None else self.constraints.codes

    @cached_property
    def own(self) -> NDArray[np.float64]:
        """What choosing each candidate costs by itself, (B, M); infinite where it is not free."""
        closed = np.where(self.free, 0.0, np.inf)
        return closed if self.fixed is None else closed + self.fixed

    @cached_property
    def sizes(self) -> NDArray[np.float64]:
        """The size of the largest fixed cost of each problem, (B,)."""
        return np.zeros(len(self)) if self.fixed is None else np.abs(self.fixed).max(axis=1)

    @property
    def compiled(self) -> bool:
        """Whether the compiled kernels know the problem, and are used."""
        return kernels.available() and (self.constraints is None or not self.constraints.any)

    def some(self, rows: NDArray[np.int64]) -> Stack:
        """Return the stack of some of the problems."""
        fixed = None if self.fixed is None else self.fixed[rows]
        return Stack(self.cost[rows], self.free[rows], fixed, self.constraints)

    def near(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what each point costs when each member of a set serves it, shape (B, k, N)."""
        return self.cost[np.arange(len(self))[:, None], :, places]

    def totals(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the cost of a set of each problem, shape (B,)."""
        served = row_sums(self.near(places).min(axis=1))
        if self.fixed is not None:
            served = served + row_sums(self.fixed[np.arange(len(self))[:, None], places])
        return served

    def cheaper(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which sets cost less than others by more than rounding, shape (B,)."""
        costs = self.totals(other)
        return np.asarray(self.totals(one) < costs - ROUNDING * np.abs(costs))

    def allowed(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which candidates may join the sets so far, shape (B, M)."""
        open_ = self.free.copy()
        np.put_along_axis(open_, places, False, axis=1)
        if self.codes is not None and self.constraints is not None:
            held = np.bincount(self.codes[places[0]], minlength=int(self.codes.max()) + 1)
            open_[0, held[self.codes] >= self.constraints.quota] = False
        return open_


def servers(near: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the member that serves each point, its cost, and the cost of the second cheapest.

    Parameters
    ----------
    near : ndarray of shape (B, k, N)

    Returns
    -------
    first : ndarray of shape (B, N), int64
        Position in the set.
    least, second : ndarray of shape (B, N), float64
        `second` is infinite where k = 1.
    """
    first = near.argmin(axis=1)
    least = near.min(axis=1)
    others = near.copy()
    others[np.arange(len(near))[:, None], first, np.arange(near.shape[2])] = np.inf
    return first, least, others.min(axis=1)


def first_least(scores: NDArray[np.float64], size: NDArray[np.float64] | float) -> NDArray[np.int64]:
    """Return where scores are least along the last axis, the first place of those equal but for rounding.

    Parameters
    ----------
    scores : ndarray of shape (..., M)
    size : ndarray that goes with shape (...), or float
        Of the sums that the scores come from.
    """
    bar = scores.min(axis=-1) + ROUNDING * size
    return np.asarray((scores <= bar[..., None]).argmax(axis=-1))


def first_of_copies(stack: Stack, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return sets in which of candidates at distance 0 from each other the first are taken, lowest first.

    Parameters
    ----------
    stack : Stack
        Points and candidates are the same, and every free one counts.
    places : ndarray of shape (B, k), int64
    """
    same = (stack.cost == 0.0) & stack.free[:, :, None] & stack.free[:, None, :]
    leaders = same.argmax(axis=1)
    result = places.copy()
    for row in np.flatnonzero(((leaders != np.arange(leaders.shape[1])) & stack.free).any(axis=1)).tolist():
        own = leaders[row, places[row]]
        for leader in np.unique(own).tolist():
            slots = np.flatnonzero(own == leader)
            result[row, slots] = np.flatnonzero(stack.free[row] & (leaders[row] == leader))[: len(slots)]
    return result


def column_sums(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums over points of a (B, N, M) array, (B, M), from the first to the last."""
    return np.asarray(np.einsum("bij->bj", table))


def row_sums(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums over the last axis, from the first to the last: the same bits everywhere."""
    return np.asarray(np.add.accumulate(table, axis=-1)[..., -1])
