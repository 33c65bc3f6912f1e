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


class Scores(ABC):
    """Scores of candidates as the next member, given those chosen.

    `base` is the pool's relevance part; entries of candidates that may no longer be chosen are -inf.
    `ids` are the pool's rows, None for all.
    """

    base: Vector
    ids: NDArray[np.int64] | None
    rows: Floats

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.vectors = problem.vectors
        self.t = problem.objective.diversity
        self.members: list[NDArray[np.float64]] = []
        self.ids = None

    def load(self, ids: NDArray[np.int64] | None) -> None:
        """Make these candidates the pool."""
        self.ids = ids
        every = slice(0, self.problem.n)
        self.rows = self.vectors.rows(every if ids is None else ids, self.row_dtype())
        values = self.problem.relevance.values
        self.base = (1 - self.t) * (values if ids is None else values[ids])
        self.start_pool()

    def row_dtype(self) -> np.dtype[np.floating]:
        """Return the precision that the pool's rows are kept in."""
        return self.vectors.dtype

    def stack(self) -> NDArray[np.float64]:
        """Return the chosen rows, shape (s, d), float64."""
        return np.array(self.members)

    def first_by_relevance(self) -> bool:
        """Whether the next pick is the first at diversity 1, where scores say nothing: the most relevant."""
        return not self.members and self.t == 1.0 and not isinstance(self.problem.objective, LogDet)

    def first_pool(self) -> Vector:
        """Return the pool's scores for the first pick."""
        if not self.first_by_relevance():
            return self.base.copy()
        values = self.problem.relevance.values
        return np.where(np.isneginf(self.base), -np.inf, values if self.ids is None else values[self.ids])

    def first_exact(self, ids: NDArray[np.int64]) -> Vector:
        """Return what decides the first pick, in float64."""
        return (1.0 if self.first_by_relevance() else 1 - self.t) * self.problem.relevance.at(ids)

    def choose(self, row: int) -> None:
        """Take a candidate into the set."""
        member = self.vectors.rows(np.array([row]), np.float64)[0]
        self.members.append(member)
        self.follow(member)

    @abstractmethod
    def follow(self, member: NDArray[np.float64]) -> None:
        """Update the pool for a new member (if a pool is loaded)."""

    @abstractmethod
    def start_pool(self) -> None:
        """Compute the pool's state from the members."""

    @abstractmethod
    def pool(self) -> Vector:
        """Return the pool's scores, as exact as the pool's precision."""

    @abstractmethod
    def bounds(self) -> Vector:
        """Return an upper bound on the score of every candidate, a new array of shape (n,)."""

    @abstractmethod
    def exact(self, ids: NDArray[np.int64]) -> Vector:
        """Return the scores of some candidates in float64, from scratch."""

    def slack(self) -> float:
        """Return by how much a bound may have risen since `bounds`: 0 where scores only fall."""
        return 0.0

    def is_current(self) -> bool:
        """Whether `bounds` gives the present scores (to rounding) rather than older bounds."""
        return True

    def tighten(self, ids: NDArray[np.int64]) -> float:
        """Bring the bounds of some candidates up to date and return the largest of their scores."""
        raise NotImplementedError

    def renew(self) -> None:
        """Bring the bounds of all candidates up to date."""
        raise NotImplementedError


class MaxSumScores(Scores):
    """(1 - t) r + t · mean distance to the chosen."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.objective: MaxSum = problem.max_sum()
        self.total = np.zeros(self.vectors.d)
        self.sums: Vector | None = None  # summed distances of all candidates to the first `seen` members
        self.seen = 0
        self.centre = np.zeros(self.vectors.d)
        self.least_mean = 0.0
        self.summed: Vector | None = None

    def follow(self, member: NDArray[np.float64]) -> None:
        self.total = self.total + member
        if self.summed is not None:
            self.summed += self.objective.distances(self.rows, member[None].astype(self.rows.dtype))[:, 0]

    def start_pool(self) -> None:
        if not self.members:
            self.summed = np.zeros(len(self.rows))
        elif self.objective.low_rank:
            self.summed = len(self.members) - (self.rows @ self.total.astype(self.rows.dtype)).astype(np.float64)
        else:
            members = self.stack().astype(self.rows.dtype)
            self.summed = self.objective.distances(self.rows, members).sum(axis=1, dtype=np.float64)

    def pool(self) -> Vector:
        assert self.summed is not None
        if not self.members:
            return self.first_pool()
        return self.base + (self.t / len(self.members)) * self.summed

    def bounds(self) -> Vector:
        """Return the present scores of all: one pass."""
        if self.first_by_relevance():
            return self.problem.relevance.values.copy()
        scores = (1 - self.t) * self.problem.relevance.values
        count = len(self.members)
        if not count:
            return scores
        if self.t == 0.0:
            return scores
        self.problem.count("passes")
        if self.objective.low_rank:
            self.centre = self.total / count
            scores += self.t * (1.0 - self.vectors.scan(self.centre).astype(np.float64))
        else:
            if self.sums is None:
                self.sums = np.zeros(self.problem.n)
            self._add_sums(self.sums, self.stack()[self.seen :])
            mean = self.sums / count
            self.least_mean = float(mean.min())
            scores += self.t * mean
        self.seen = count
        return scores

    def _add_sums(self, sums: Vector, members: NDArray[np.float64]) -> None:
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
            return np.inf if count else 0.0
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

    def exact(self, ids: NDArray[np.int64]) -> Vector:
        if not self.members:
            return self.first_exact(ids)
        scores = (1 - self.t) * self.problem.relevance.at(ids)
        if self.members:
            rows = self.vectors.rows(ids, np.float64)
            count = len(self.members)
            if self.objective.low_rank:
                scores += self.t * (1.0 - np.vecdot(rows, self.total) / count)
            else:
                scores += self.t * _each(self.objective.distances, rows, self.stack(), self.vectors.metric).mean(axis=1)
        return scores


class MaxMarginalScores(Scores):
    """(1 - t) r - t · largest similarity to the chosen. Only falls, so old scores are bounds."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        assert isinstance(problem.objective, MaxMarginal)
        self.objective = problem.objective
        self.nearest: NDArray[np.floating] | None = None
        self.known: Vector | None = None
        self.seen = 0

    def follow(self, member: NDArray[np.float64]) -> None:
        if self.nearest is not None:
            found = self.objective.similarities(self.rows, member[None].astype(self.rows.dtype))[:, 0]
            np.maximum(self.nearest, found, out=self.nearest)

    def start_pool(self) -> None:
        if self.members:
            members = self.stack().astype(self.rows.dtype)
            self.nearest = self.objective.similarities(self.rows, members).max(axis=1)
        else:
            self.nearest = np.full(len(self.rows), -np.inf, self.rows.dtype)

    def pool(self) -> Vector:
        assert self.nearest is not None
        if not self.members:
            return self.first_pool()
        if self.t == 0.0:
            return self.base.copy()
        return self.base - self.t * self.nearest

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

    def tighten(self, ids: NDArray[np.int64]) -> float:
        assert self.known is not None
        rows = self.vectors.rows(ids)
        similar = self.objective.similarities(rows, self.stack().astype(rows.dtype)).max(axis=1)
        score = (1 - self.t) * self.problem.relevance.values[ids] - self.t * similar
        open_ = np.isfinite(self.known[ids])
        self.known[ids] = np.minimum(self.known[ids], score)
        return float(score[open_].max()) if open_.any() else -np.inf

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

    def exact(self, ids: NDArray[np.int64]) -> Vector:
        if not self.members:
            return self.first_exact(ids)
        scores = (1 - self.t) * self.problem.relevance.at(ids)
        if self.members:
            rows = self.vectors.rows(ids, np.float64)
            scores -= self.t * _each(self.objective.similarities, rows, self.stack(), self.vectors.metric).max(axis=1)
        return scores


class LogDetScores(Scores):
    """(1 - t) r + t · log of the residual d². Only falls, so old scores are bounds.

    Under cosine d² is what an orthonormal basis of the chosen rows leaves of a candidate; else it comes
    from the kernel's Cholesky factor, kept up row by row.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        assert isinstance(problem.objective, LogDet)
        self.objective = problem.objective
        self.objective.fit(problem.vectors)
        self.linear = problem.objective.metric == "cosine"
        self.basis: list[NDArray[np.float64]] = []
        self.factor = np.zeros((0, 0))
        self.residual: Vector | None = None
        self.columns: list[Vector] = []
        self.known: Vector | None = None
        self.seen = 0

    def row_dtype(self) -> np.dtype[np.floating]:
        return np.dtype(np.float64)

    def follow(self, member: NDArray[np.float64]) -> None:
        if self.linear:
            rest = member.copy()
            for _ in range(2):  # twice is enough (Giraud et al. 2005)
                for direction in self.basis:
                    rest -= (direction @ rest) * direction
            length = float(np.sqrt(rest @ rest))
            direction = rest / length if length * length > NOISE * 1e-3 else np.zeros_like(rest)
            self.basis.append(direction)
            if self.residual is not None:
                along = self.rows @ direction
                self.residual -= along * along
            return
        before = self.stack()[:-1]
        size = len(before)
        cross = self.objective.kernel(before, member[None])[:, 0] if size else np.zeros(0)
        row = _forward(self.factor, cross)
        corner = np.sqrt(max(1.0 - float(row @ row), 1e-15))
        grown = np.zeros((size + 1, size + 1))
        grown[:size, :size] = self.factor
        grown[size, :size] = row
        grown[size, size] = corner
        self.factor = grown
        if self.residual is not None:
            fresh = self.objective.kernel(self.rows, member[None])[:, 0]
            for column, entry in zip(self.columns, row, strict=True):
                fresh -= entry * column
            fresh /= corner
            self.columns.append(fresh)
            self.residual -= fresh * fresh

    def _residuals(self, rows: Floats) -> tuple[Vector, list[Vector]]:
        """Return d² of some rows from scratch (and, off the linear kernel, the Cholesky columns)."""
        if not self.members:
            return np.ones(len(rows)), []
        if self.linear:
            along = rows @ np.array(self.basis).T.astype(rows.dtype)
            return 1.0 - np.vecdot(along, along).astype(np.float64), []
        solved = _forward(self.factor, self.objective.kernel(self.stack(), rows))
        return 1.0 - np.einsum("ij,ij->j", solved, solved), list(solved)

    def start_pool(self) -> None:
        self.residual, self.columns = self._residuals(self.rows)

    def _score(self, base: Vector, residual: Vector, floor: float) -> Vector:
        """Return base + t log d², -inf where d² is noise."""
        if self.t == 0.0 or not self.members:
            return np.array(base)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = base + self.t * np.log(np.where(residual > floor, residual, 0.0))
        return np.asarray(found)

    def pool(self) -> Vector:
        assert self.residual is not None
        return self._score(self.base, self.residual, NOISE)

    def bounds(self) -> Vector:
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

    def tighten(self, ids: NDArray[np.int64]) -> float:
        assert self.known is not None
        residual, _ = self._residuals(self.vectors.rows(ids, np.float64))
        score = self._score((1 - self.t) * self.problem.relevance.values[ids], residual, NOISE)
        open_ = np.isfinite(self.known[ids])
        self.known[ids] = np.minimum(self.known[ids], score)
        return float(score[open_].max()) if open_.any() else -np.inf

    def renew(self) -> None:
        assert self.known is not None
        known, base = self.known, (1 - self.t) * self.problem.relevance.values
        self.problem.count("passes")

        def measure(start: int, stop: int, block: Floats) -> None:
            residual, _ = self._residuals(block)
            # Single precision sees d² to about this much: a bound has to allow for it.
            score = self._score(base[start:stop], residual + 2e-6, NOISE)
            np.minimum(known[start:stop], score, out=known[start:stop])

        if self.linear and len(self.members) == 1:
            along = self.vectors.scan(self.basis[0]).astype(np.float64)
            np.minimum(known, self._score(base, 1.0 - along * along + 2e-6, NOISE), out=known)
        else:
            self.vectors.map_blocks(measure)
        self.seen = len(self.members)

    def exact(self, ids: NDArray[np.int64]) -> Vector:
        residual, _ = self._residuals(self.vectors.rows(ids, np.float64))
        return self._score((1 - self.t) * self.problem.relevance.at(ids), residual, NOISE)


def _forward(factor: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve L y = right for a lower triangular L."""
    if len(factor) == 0:
        return right
    from scipy.linalg import solve_triangular

    return np.asarray(solve_triangular(factor, right, lower=True, check_finite=False))


def _each(
    measure: Callable[[Floats, Floats], Floats], rows: NDArray[np.float64], members: NDArray[np.float64], metric: str
) -> NDArray[np.float64]:
    """Return pairwise numbers row by row, so that equal rows get equal numbers wherever they stand.

    Under euclidean `measure` gets differences of rows, where nothing cancels, and the origin.
    """
    if len(rows) > 512:
        return np.asarray(measure(rows, members), np.float64)
    if metric == "euclidean":
        origin = np.zeros((1, rows.shape[1]))
        return np.stack([np.asarray(measure(origin, members - row), np.float64)[0] for row in rows])
    return np.concatenate([np.asarray(measure(row[None], members), np.float64) for row in rows])
