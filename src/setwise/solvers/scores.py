"""The scores that greedy selection keeps up: exact in the pool, upper bounds for the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from setwise.objectives import LogDet, MaxMarginal, MaxSum
from setwise.objectives.log_det import NOISE
from setwise.solvers.problem import Problem
from setwise.vectors import Floats

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Up to this many candidates, all of them are the pool.
SMALL = 4096


class Scores(ABC):
    """Scores of candidates as the next member, given those chosen.

    Attributes
    ----------
    base : ndarray
        The pool's relevance part; -inf for candidates that may no longer be chosen.
    ids : ndarray of int64 or None
        The pool's rows, ascending; None for all candidates.
    members : list of int
        The chosen rows.
    """

    base: Vector
    rows: Floats

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.vectors = problem.vectors
        self.t = problem.objective.diversity
        self.members: list[int] = []
        self.ids: Rows | None = None
        self._stack = np.empty((0, problem.vectors.d))

    def load(self, ids: Rows | None) -> None:
        """Make these candidates the pool."""
        self.ids = ids
        self.rows = self.vectors.rows(slice(0, self.problem.n) if ids is None else ids)
        values = self.problem.relevance.values
        self.base = (1 - self.t) * (values if ids is None else values[ids])
        self.start_pool()

    def stack(self) -> Vector:
        """Return the chosen rows, shape (s, d), float64."""
        if len(self._stack) < len(self.members):
            new = self.vectors.rows(np.array(self.members[len(self._stack) :]), np.float64)
            self._stack = np.concatenate([self._stack, new])
        return self._stack

    def choose(self, row: int, place: int | None = None) -> None:
        """Take a candidate into the set; `place` is its position in the loaded pool."""
        self.members.append(row)
        self.follow(place)

    @abstractmethod
    def between(self, left: Floats, right: Floats) -> Floats:
        """Return the objective's pairwise numbers: distances, similarities or the kernel."""

    def column(self, place: int) -> Floats:
        """Return the pairwise numbers of the pool with one of its members."""
        if self.vectors.metric == "cosine":
            return self.rows @ self.rows[place]
        found: Floats = self.between(self.rows, self.rows[place : place + 1])[:, 0]
        return found

    @abstractmethod
    def follow(self, place: int | None) -> None:
        """Update the state for the newest member, at this place in the pool (None: no pool is loaded)."""

    @abstractmethod
    def start_pool(self) -> None:
        """Compute the pool's state from the members."""

    @abstractmethod
    def pool(self) -> Vector:
        """Return the pool's scores, as exact as the pool's precision, as a new array."""

    @abstractmethod
    def bounds(self) -> Vector:
        """Return an upper bound on the score of every candidate, a new array of shape (n,)."""

    @abstractmethod
    def exact(self, ids: Rows) -> Vector:
        """Return the scores of some candidates in float64, from scratch."""

    def surely(self, place: int, best: float) -> float:
        """Return what the pool's best is at least worth, rounding allowed for."""
        return best

    def slack(self) -> float:
        """Return by how much a bound may have risen since `bounds`: 0 where scores only fall."""
        return 0.0

    def is_current(self) -> bool:
        """Whether `bounds` gives the present scores (to rounding) rather than older bounds."""
        return True

    def tighten(self, ids: Rows) -> float:
        """Bring the bounds of some candidates up to date and return the largest of their scores."""
        raise NotImplementedError

    def renew(self) -> None:
        """Bring the bounds of all candidates up to date."""
        raise NotImplementedError

    def first_by_relevance(self) -> bool:
        """Whether the next pick is the first at diversity 1, where scores say nothing: the most relevant."""
        return self.t == 1.0 and not self.members

    def first_pool(self) -> Vector:
        """Return the pool's scores for the first pick."""
        if not self.first_by_relevance():
            return self.base.copy()
        values = self.problem.relevance.values
        return np.where(np.isneginf(self.base), -np.inf, values if self.ids is None else values[self.ids])

    def first_exact(self, ids: Rows) -> Vector:
        """Return what decides the first pick, in float64."""
        return (1.0 if self.first_by_relevance() else 1 - self.t) * self.problem.relevance.at(ids)


class MaxSumScores(Scores):
    """(1 - t) r + t · mean distance to the chosen."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.objective: MaxSum = problem.max_sum()
        self.total = np.zeros(self.vectors.d)  # sum of the members, to the pool's precision
        self.sums: Vector | None = None  # summed distances of all candidates to the first `seen` members
        self.seen = 0
        self.centre = np.zeros(self.vectors.d)
        self.least_mean = 0.0
        self.summed = np.empty(0)

    def between(self, left: Floats, right: Floats) -> Floats:
        return self.objective.distances(left, right)

    def follow(self, place: int | None) -> None:
        if place is None:
            self.total += self.stack()[-1]
        else:
            self.total += self.rows[place]
            if self.vectors.metric == "cosine":
                self.summed += 1.0
                self.summed -= self.objective.similarity(self.column(place))
            else:
                self.summed += self.column(place)

    def start_pool(self) -> None:
        if not self.members:
            self.summed = np.zeros(len(self.rows))
        elif self.objective.low_rank:
            self.summed = len(self.members) - (self.rows @ self.total.astype(self.rows.dtype)).astype(
                np.float64
            )
        else:
            members = self.stack().astype(self.rows.dtype)
            self.summed = self.objective.distances(self.rows, members).sum(axis=1, dtype=np.float64)

    def pool(self) -> Vector:
        if not self.members:
            return self.first_pool()
        scores: Vector = self.summed * (self.t / len(self.members))
        scores += self.base
        return scores

    def bounds(self) -> Vector:
        """Return the present scores of all: one pass."""
        if self.first_by_relevance():
            return self.problem.relevance.values.copy()
        scores: Vector = (1 - self.t) * self.problem.relevance.values
        count = len(self.members)
        if not count or self.t == 0.0:
            return scores
        self.problem.count("passes")
        if self.objective.low_rank:
            self.centre = self.total / count
            scores += self.t
            scores -= self.t * self.vectors.scan(self.centre)
        else:
            if self.sums is None:
                self.sums = np.zeros(self.problem.n)
            self._add_sums(self.sums, self.stack()[self.seen :])
            mean = self.sums / count
            self.least_mean = float(mean.min())
            scores += self.t * mean
        self.seen = count
        return scores

    def _add_sums(self, sums: Vector, members: Vector) -> None:
        """Add every candidate's distances to some members."""
        if len(members) == 0:
            return
        objective = self.objective
        if objective.metric == "cosine":

            def take(start: int, stop: int, products: Floats) -> None:
                sums[start:stop] += len(members) - objective.similarity(products).sum(axis=1)

            self.vectors.products(members, take)
        else:

            def measure(start: int, stop: int, block: Floats) -> None:
                sums[start:stop] += objective.distances(block, members).sum(axis=1)

            self.vectors.map_blocks(measure)

    def slack(self) -> float:
        """Return how far any mean distance may have risen since the last pass, times t."""
        count = len(self.members)
        if self.seen == 0:
            return np.inf if count and self.t > 0 else 0.0
        if self.objective.low_rank:
            moved = self.total / count - self.centre
            return self.t * float(np.sqrt(moved @ moved))
        missed = count - self.seen
        if missed == 0:
            return 0.0
        if self.objective.metric == "cosine":
            return self.t * missed / count * (1.0 - self.least_mean)
        # A candidate at mean distance m from the old members is at most m + (the new member's own mean
        # distance from them) from a new one, so its mean rises by at most this.
        members = self.stack()
        across = self.objective.distances(members[self.seen :], members[: self.seen]).mean(axis=1)
        return self.t * float(across.sum()) / count

    def exact(self, ids: Rows) -> Vector:
        if not self.members:
            return self.first_exact(ids)
        scores = (1 - self.t) * self.problem.relevance.at(ids)
        rows = self.vectors.rows(ids, np.float64)
        if self.objective.low_rank:
            scores += self.t * (1.0 - np.vecdot(rows, self.stack().sum(axis=0)) / len(self.members))
        else:
            scores += self.t * _each(self.between, rows, self.stack(), self.vectors.metric).mean(axis=1)
        return scores


class FallingScores(Scores):
    """Scores that only fall as the set grows (once it is not empty), so that old ones are bounds."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.known: Vector | None = None
        self.seen = 0

    def bounds(self) -> Vector:
        if self.first_by_relevance():
            return self.problem.relevance.values.copy()
        if self.known is None or self._first_look():
            self.known = (1 - self.t) * self.problem.relevance.values
            if self._first_look():
                self.renew()
        return self.known.copy()

    def _first_look(self) -> bool:
        """Whether bounds predate every member: they then bound nothing where similarities are negative."""
        return self.seen == 0 and bool(self.members) and self.t > 0.0

    def slack(self) -> float:
        return np.inf if self._first_look() else 0.0

    def is_current(self) -> bool:
        return self.seen == len(self.members) or self.t == 0.0

    def tighten(self, ids: Rows) -> float:
        assert self.known is not None
        score = self.score_rows(ids)
        open_ = np.isfinite(self.known[ids])
        self.known[ids] = np.minimum(self.known[ids], score)
        return float(score[open_].max()) if open_.any() else -np.inf

    @abstractmethod
    def score_rows(self, ids: Rows) -> Vector:
        """Return the scores of some candidates, exact to the working precision."""


class MaxMarginalScores(FallingScores):
    """(1 - t) r - t · largest similarity to the chosen."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        assert isinstance(problem.objective, MaxMarginal)
        self.objective = problem.objective
        self.nearest: Floats = np.empty(0)

    def between(self, left: Floats, right: Floats) -> Floats:
        return self.objective.similarities(left, right)

    def follow(self, place: int | None) -> None:
        if place is not None:
            np.maximum(self.nearest, self.column(place), out=self.nearest)

    def start_pool(self) -> None:
        if self.members:
            members = self.stack().astype(self.rows.dtype)
            self.nearest = self.objective.similarities(self.rows, members).max(axis=1)
        else:
            self.nearest = np.full(len(self.rows), -np.inf, self.rows.dtype)

    def pool(self) -> Vector:
        if not self.members:
            return self.first_pool()
        if self.t == 0.0:
            return self.base.copy()
        scores: Vector = self.nearest * -self.t
        return scores + self.base

    def score_rows(self, ids: Rows) -> Vector:
        rows = self.vectors.rows(ids)
        similar = self.objective.similarities(rows, self.stack().astype(rows.dtype)).max(axis=1)
        return np.asarray((1 - self.t) * self.problem.relevance.values[ids] - self.t * similar)

    def renew(self) -> None:
        assert self.known is not None
        known, t, base = self.known, self.t, (1 - self.t) * self.problem.relevance.values
        members = self.stack()[self.seen :]
        if self.seen == 0:
            known[:] = np.inf
        self.problem.count("passes")
        if len(members) == 1 and self.objective.metric == "cosine":
            np.minimum(known, base - t * self.vectors.scan(members[0]), out=known)
        elif self.objective.metric == "cosine":

            def take(start: int, stop: int, products: Floats) -> None:
                score = base[start:stop] - t * products.max(axis=1)
                np.minimum(known[start:stop], score, out=known[start:stop])

            self.vectors.products(members, take)
        else:

            def measure(start: int, stop: int, block: Floats) -> None:
                score = base[start:stop] - t * self.objective.similarities(block, members).max(axis=1)
                np.minimum(known[start:stop], score, out=known[start:stop])

            self.vectors.map_blocks(measure)
        self.seen = len(self.members)

    def exact(self, ids: Rows) -> Vector:
        if not self.members:
            return self.first_exact(ids)
        scores = (1 - self.t) * self.problem.relevance.at(ids)
        rows = self.vectors.rows(ids, np.float64)
        scores -= self.t * _each(self.between, rows, self.stack(), self.vectors.metric).max(axis=1)
        return scores


class LogDetScores(FallingScores):
    """(1 - t) r + t · log of the residual d².

    A small pool's d² comes from its kernel's Cholesky columns; a large one's, under cosine, from an
    orthonormal basis of the chosen rows. Rounding in single precision is allowed for.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        assert isinstance(problem.objective, LogDet)
        self.objective = problem.objective
        self.objective.fit(problem.vectors)
        self.linear = problem.objective.metric == "cosine"
        self.basis = np.zeros((problem.k, problem.vectors.d))
        self.spanned = 0
        self.by_basis = False
        self.noise = 0.0
        self.residual = np.empty(0)
        self.columns = np.empty((0, 0))

    def first_by_relevance(self) -> bool:
        return False

    def between(self, left: Floats, right: Floats) -> Floats:
        return self.objective.kernel(left, right)

    def follow(self, place: int | None) -> None:
        if place is None:
            return
        step = len(self.members) - 1
        if self.by_basis:
            along = self.rows @ self._span()[step].astype(self.rows.dtype)
        else:
            left = float(self.residual[place])
            if left <= NOISE * 1e-3:
                return
            along = self.columns[step]
            np.subtract(self.column(place), self.columns[:step, place] @ self.columns[:step], out=along)
            along *= 1.0 / left**0.5
        self.residual -= along * along

    def _span(self) -> Vector:
        """Return an orthonormal basis of the members (zero rows where one adds nothing)."""
        members = self.stack()
        for place in range(self.spanned, len(members)):
            rest, before = members[place], self.basis[:place]
            for _ in range(2):  # twice is enough (Giraud et al. 2005)
                rest = rest - (before @ rest) @ before
            length = float(np.sqrt(rest @ rest))
            if length * length > NOISE * 1e-3:
                self.basis[place] = rest / length
        self.spanned = len(members)
        return self.basis

    def _columns(self, rows: Floats) -> Floats:
        """Return the Cholesky columns of some rows against the members, shape (m, s)."""
        count = len(self.members)
        if self.linear:
            return np.asarray(rows @ self._span()[:count].T.astype(rows.dtype))
        from scipy.linalg import solve_triangular

        members = self.stack()
        gram = self.objective.kernel(members, members)
        np.fill_diagonal(gram, 1.0 + 1e-12)
        factor = np.linalg.cholesky(gram)
        found = solve_triangular(factor, self.objective.kernel(members, rows), lower=True, check_finite=False)
        return np.asarray(found.T)

    def _residuals(self, rows: Floats) -> Vector:
        """Return d² of some rows from scratch."""
        if not self.members:
            return np.ones(len(rows))
        along = self._columns(rows)
        return np.asarray(1.0 - np.vecdot(along, along).astype(np.float64))

    def start_pool(self) -> None:
        size, count = len(self.rows), len(self.members)
        self.by_basis = self.linear and size > SMALL
        single = self.linear and self.rows.dtype == np.float32
        self.noise = (3e-6 if self.by_basis else 1e-5) if single else 0.0
        self.residual = np.ones(size)
        if not self.by_basis:
            self.columns = np.zeros((self.problem.k, size))
            if count:
                self.columns[:count] = self._columns(self.rows).T
                self.residual -= np.square(self.columns[:count]).sum(axis=0)
        elif count:
            self.residual = self._residuals(self.rows)

    def surely(self, place: int, best: float) -> float:
        """Return the best's score with rounding allowed for downwards; `pool` allows for it upwards."""
        if self.noise == 0.0 or self.t == 0.0 or not self.members:
            return best
        least = float(self.residual[place]) - self.noise
        return float(self.base[place]) + self.t * float(np.log(least)) if least > NOISE else -np.inf

    def _score(self, base: Vector, residual: Vector) -> Vector:
        """Return base + t log d², -inf where d² is noise."""
        if self.t == 0.0 or not self.members:
            return np.array(base)
        if float(residual.min()) > NOISE:
            return np.asarray(base + self.t * np.log(residual))
        with np.errstate(divide="ignore"):
            return np.asarray(base + self.t * np.log(np.where(residual > NOISE, residual, 0.0)))

    def pool(self) -> Vector:
        return self._score(self.base, self.residual + self.noise if self.noise else self.residual)

    def score_rows(self, ids: Rows) -> Vector:
        residual = self._residuals(self.vectors.rows(ids, np.float64))
        return self._score((1 - self.t) * self.problem.relevance.values[ids], residual)

    def renew(self) -> None:
        assert self.known is not None
        known, base = self.known, (1 - self.t) * self.problem.relevance.values
        allowed = 3e-6 if self.vectors.dtype == np.float32 else 0.0
        self.problem.count("passes")
        if self.linear:
            self._span()
        if self.linear and len(self.members) == 1:
            along = self.vectors.scan(self.basis[0]).astype(np.float64)
            np.minimum(known, self._score(base, 1.0 - along * along + allowed), out=known)
        else:

            def measure(start: int, stop: int, block: Floats) -> None:
                score = self._score(base[start:stop], self._residuals(block) + allowed)
                np.minimum(known[start:stop], score, out=known[start:stop])

            self.vectors.map_blocks(measure)
        self.seen = len(self.members)

    def exact(self, ids: Rows) -> Vector:
        residual = self._residuals(self.vectors.rows(ids, np.float64))
        return self._score((1 - self.t) * self.problem.relevance.at(ids), residual)


def _each(measure: Callable[[Floats, Floats], Floats], rows: Vector, members: Vector, metric: str) -> Vector:
    """Return pairwise numbers row by row, so that equal rows get equal numbers wherever they stand.

    Under euclidean `measure` gets differences of rows, where nothing cancels, and the origin.
    """
    if len(rows) > 512:
        return np.asarray(measure(rows, members), np.float64)
    if metric == "euclidean":
        origin = np.zeros((1, rows.shape[1]))
        return np.stack([np.asarray(measure(origin, members - row), np.float64)[0] for row in rows])
    return np.concatenate([np.asarray(measure(row[None], members), np.float64) for row in rows])
