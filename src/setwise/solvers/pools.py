"""What solvers work on: a pool's distances held close, or all candidates of low rank."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from setwise.solvers.problem import POOLED, Problem
from setwise.vectors import Floats

#: Products of multiples of this, which are multiples of its square, add up to less than 2 without rounding.
GRID = 2.0**-26


class Pool:
    """Candidates held close for max-sum: their rows in memory, and the summed form of the objective.

    The summed form is f(x) = linear·x + weight · xᵀWx with W the pairwise distances (zero diagonal),
    linear = (1-t)(k-1) r and weight = t: k(k-1) times the value on sets. Memory: O(size · d).

    Parameters
    ----------
    ids : ndarray of int64, ascending, optional
        Which candidates; all of them by default. `self.ids` holds them in the pool's own order, by content.
    coarse : bool
        Whether rows of double precision, too, are held as those of single precision are.

    Attributes
    ----------
    ascending : ndarray of shape (size,), int64
        The candidates; `places` says where in `ids` each is.
    rows : ndarray of shape (size, d), float64
        In the order of `ids`. Unit rows of single precision are rounded to multiples of `GRID`: the products
        of two such rows and their sums are exact then, whatever the processor's instructions and the order
        in which it adds, so that no solver takes another turn elsewhere.
    """

    def __init__(
        self, problem: Problem, ids: NDArray[np.int64] | None = None, *, coarse: bool = False
    ) -> None:
        self.problem = problem
        self.objective = problem.max_sum()
        self.ascending = np.arange(problem.n) if ids is None else ids
        self.ids = problem.by_content(self.ascending)
        self.places = np.argsort(self.ids)
        single = problem.vectors.dtype == np.float32
        self._gridded = (single or coarse) and self.objective.metric == "cosine"
        self.relevance = problem.relevance.values[self.ids]
        self.linear = (1 - self.objective.diversity) * (problem.k - 1) * self.relevance
        self.weight = self.objective.diversity

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Where in `ascending` each of `ids` is."""
        order = np.empty(len(self), np.int64)
        order[self.places] = np.arange(len(self))
        return order

    @cached_property
    def rows(self) -> Floats:
        """The rows; read when they are first asked for, as compiled kernels read them where they lie."""
        rows: Floats = self.problem.vectors.rows(self.ids, np.float64)
        if self._gridded:
            rows *= 1 / GRID
            np.rint(rows, out=rows)
            rows *= GRID
        return rows

    def __len__(self) -> int:
        return len(self.ids)

    def distances(self, local: NDArray[np.int64]) -> Floats:
        """Return W's columns of some members (positions in the pool), shape (size, m)."""
        found = self.objective.distances(self.rows, self.rows[local])
        found[local, np.arange(len(local))] = 0.0
        return found

    def block(self, local: NDArray[np.int64]) -> Floats:
        """Return W among some members, shape (m, m)."""
        rows = self.rows[local]
        found = self.objective.distances(rows, rows)
        np.fill_diagonal(found, 0.0)
        return found

    def pull_evenly(self) -> NDArray[np.float64]:
        """Return W x for x = k/size everywhere (cosine with sharpness 1 alone)."""
        k = self.problem.k
        return np.asarray(k - self.rows @ (self.rows.sum(axis=0) * (k / len(self))))

    def best(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the feasible set of largest summed scores, as positions, largest first."""
        return self.problem.constraints.best(scores, self.ids)

    def most_relevant(self) -> NDArray[np.int64]:
        """Return the feasible set of most relevance, as positions; ties by content."""
        return self.best(self.relevance)

    def radius(self) -> float:
        """Return the largest distance from the mean row (euclidean alone)."""
        away = self.rows - self.rows.mean(axis=0, dtype=np.float64)
        return float(np.sqrt(np.vecdot(away, away).max()))

    def pull(self, local: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return W x for an x that is nonzero at some members only, shape (size,), float64."""
        own = (local, np.arange(len(local)))
        return self.objective.pull(self.rows, self.rows[local], weights, own, close=not self._gridded)

    def pull_change(self, comes: int, goes: int) -> NDArray[np.float64]:
        """Return by how much W x changes when one member of a set comes for another, shape (size,)."""
        return self.pull(np.array([comes, goes]), np.array([1.0, -1.0]))

    def gradient(self, local: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient of the summed form at a point given by its support, shape (size,)."""
        return np.asarray(self.linear + 2 * self.weight * self.pull(local, weights))

    def locate(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of candidates in the pool."""
        return np.asarray(self.places[np.searchsorted(self.ascending, ids)])

    def value(self, local: NDArray[np.int64]) -> float:
        """Return the summed form f of a set of members, in the pool's precision."""
        spread = self.objective.pair_sum(self.rows[local])
        return float(self.linear[local].sum()) + self.weight * spread


class Whole:
    """All candidates, read in passes: the same summed form as `Pool`, without holding rows.

    Parameters
    ----------
    problem : Problem
        Its objective is max-sum.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.objective = problem.max_sum()
        self.weight = self.objective.diversity
        self.linear = (1 - self.weight) * (problem.k - 1) * problem.relevance.values
        self._last: tuple[NDArray[np.float64], float, NDArray[np.float64]] | None = None

    def __len__(self) -> int:
        return self.problem.n

    def pull(self, ids: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return W x for an x that is nonzero at some candidates only, in one pass; see `MaxSum.pull_all`."""
        self.problem.count("passes")
        return self.objective.pull_all(self.problem.vectors, ids, weights)

    def gradient_at(
        self, rows_of: NDArray[np.int64], ids: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the gradient at some candidates alone, in float64 throughout, shape (m,)."""
        support = self.problem.vectors.rows(ids, np.float64)
        relevance = self.problem.relevance.at(rows_of)
        linear = (1 - self.weight) * (self.problem.k - 1) * relevance
        pulled = np.empty(len(rows_of))
        order = np.argsort(ids)
        for start in range(0, len(rows_of), 4096):
            part = rows_of[start : start + 4096]
            near = order[np.searchsorted(ids, part, sorter=order).clip(max=len(ids) - 1)]
            own = np.flatnonzero(ids[near] == part)
            rows = self.problem.vectors.rows(part, np.float64)
            pulled[start : start + 4096] = self.objective.pull(rows, support, weights, (own, near[own]))
        return linear + 2 * self.weight * pulled

    def gradient_among(
        self, some: NDArray[np.int64], members: NDArray[np.float64], total: float
    ) -> NDArray[np.float64]:
        """Return the gradient at some candidates, ascending, for a Σ x_i e_i (cosine, sharpness 1 alone)."""
        along = self.problem.vectors.restricted(some).scan(members).astype(np.float64)
        return np.asarray((total - along) * (2 * self.weight) + self.linear[some])

    def gradient_above(
        self, ids: NDArray[np.int64], weights: NDArray[np.float64], floor: float, few: int = POOLED
    ) -> NDArray[np.float64]:
        """Return the gradient where it may exceed a floor, and an upper bound elsewhere.

        Those of the best feasible set are no bounds. Bounds exceed the floor only where more than `few`
        candidates do.

        With an even sharpness distances are at most 1, so relevance alone bounds the gradient and most
        candidates need not be read at all. With sharpness 1, of candidates whose gradient at another point is
        known those are read that it can have risen enough for: by at most 2t times what Σ x_i e_i has moved.
        """
        if self.objective.low_rank:
            members, total = weights @ self.problem.vectors.rows(ids, np.float64), float(weights.sum())
            found = None if self._last is None else self._moved(members, total, floor, few, *self._last)
            if found is None:
                found = self.gradient(ids, weights)
                self._last = members, total, found
            return found
        objective, vectors = self.objective, self.problem.vectors
        if objective.reach == 1.0:
            gradient = self.linear + 2 * self.weight * float(weights.sum())
            near = np.union1d(np.flatnonzero(gradient > floor), ids)
            if len(near) <= len(self) // 4:
                rows = vectors.rows(ids)
                for start in range(0, len(near), 8192):
                    part = near[start : start + 8192]
                    distances = objective.distances(vectors.rows(part), rows)
                    gradient[part] = self.linear[part] + 2 * self.weight * (distances @ weights)
                wide, own = rows.astype(np.float64), np.diag_indices(len(ids))
                among = objective.pull(wide, wide, weights, own)
                gradient[ids] = self.linear[ids] + 2 * self.weight * among
                return gradient
        return self.gradient(ids, weights)

    def _moved(
        self,
        members: NDArray[np.float64],
        total: float,
        floor: float,
        few: int,
        before: NDArray[np.float64],
        weighed: float,
        gradient: NDArray[np.float64],
    ) -> NDArray[np.float64] | None:
        """Return `gradient_above` from the gradient at another point; None where a pass is cheaper."""
        away, n = members - before, len(self)
        rise = 2 * self.weight * float(np.sqrt(away @ away)) * (1 + 1e-9)
        upper = gradient + (2 * self.weight * (total - weighed) + rise)
        most = n // 8
        if few >= most:
            return None
        level = float(np.partition(upper, n - few)[n - few])
        if level > floor:
            if np.count_nonzero(upper > floor) <= most:
                level = floor
            elif np.count_nonzero(upper > floor + 2 * rise) <= few:
                return None  # how many can be in a better set is not known
        read = upper > level
        near = np.flatnonzero(read)
        upper[near] = self.gradient_among(near, members, total)
        return upper if read[self.best(upper)].all() else None

    def pull_evenly(self) -> NDArray[np.float64]:
        """Return W x for x = k/n everywhere (cosine with sharpness 1 alone), in two passes."""
        vectors = self.problem.vectors
        self.problem.count("passes", 2)
        return self.problem.k * (1.0 - vectors.scan(vectors.mean()).astype(np.float64))

    def best(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the feasible set of largest summed scores, largest first."""
        return self.problem.constraints.best(scores)

    def most_relevant(self) -> NDArray[np.int64]:
        """Return the feasible set of most relevance; ties by content, where there are no constraints."""
        if self.problem.constraints.any:
            return self.best(self.problem.relevance.values)
        return self.problem.most_relevant(self.problem.k)

    def radius(self) -> float:
        """Return the largest distance from the mean row (euclidean alone), in two passes, and then kept."""
        return self.problem.vectors.radius()

    def gradient(self, ids: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient of the summed form at a point given by its support, shape (n,)."""
        gradient = self.pull(ids, weights)
        gradient *= 2 * self.weight
        gradient += self.linear
        return gradient
