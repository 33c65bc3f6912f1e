"""Greedy scores of the log-determinant."""

from __future__ import annotations

import math

import numpy as np

from setwise.objectives import LogDet
from setwise.objectives.log_det import NOISE
from setwise.solvers.problem import Problem
from setwise.solvers.scores.base import SMALL, FallingScores, Rows, Vector
from setwise.vectors import Floats


class LogDetScores(FallingScores):
    """(1 - t) r + t · log of the residual d².

    A small pool's d² comes from its kernel's Cholesky columns; a large one's, under cosine, from an
    orthonormal basis of the chosen rows. Rounding in single precision is allowed for.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        assert isinstance(problem.objective, LogDet)
        self.objective = problem.objective
        self.linear = problem.objective.metric == "cosine"
        self.basis = np.zeros((problem.k, problem.vectors.d))
        self.spanned = 0
        self.left: Vector | None = None  # d² of all candidates, given the first `seen` members
        self.allowed = 3e-6 if self.linear and problem.vectors.dtype == np.float32 else 0.0
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

    def _solved(self, rows: Floats) -> Vector | None:
        """Return d² of a few rows by one small factorisation; None where the members are dependent."""
        if not self.members:
            return np.ones(len(rows))
        members = self.stack()
        try:
            factor = np.linalg.cholesky(members @ members.T)
        except np.linalg.LinAlgError:
            return None
        if float(factor.diagonal().min()) < NOISE:
            return None
        # Row by row, so that equal rows get equal residuals wherever they stand.
        across = np.stack([members @ row for row in rows], axis=1) if len(rows) <= 512 else members @ rows.T
        found = np.linalg.solve(factor, across)
        return np.asarray(1.0 - np.square(found).sum(axis=0))

    def _residuals(self, rows: Floats) -> Vector:
        """Return d² of some rows from scratch."""
        if not self.members:
            return np.ones(len(rows))
        along = self._columns(rows)
        return np.asarray(1.0 - np.vecdot(along, along).astype(np.float64))

    def after_first(self, base: Vector, column: Floats) -> Vector:
        self.noise = 3e-6 if column.dtype == np.float32 else 0.0
        return self._score(base, 1.0 + self.noise - column * column)

    def start_front(self, column: Floats) -> None:
        self.by_basis = False
        self.columns = np.zeros((self.problem.k, len(column)))
        self.columns[0] = column
        self.residual = 1.0 - self.columns[0] * self.columns[0]

    def start_pool(self) -> None:
        size, count = len(self.rows), len(self.members)
        self.by_basis = self.linear and size > SMALL
        single = self.linear and self.rows.dtype == np.float32
        self.noise = 3e-6 if single else 0.0
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
        if self.t == 0.0 or not self.members:
            return best
        least = float(self.residual[place]) - self.noise
        return float(self.base[place]) + self.t * math.log(least) if least > NOISE else -np.inf

    def _score(self, base: Vector, residual: Vector) -> Vector:
        """Return base + t log d², -inf where d² is noise."""
        if self.t == 0.0 or not self.members:
            return np.array(base)
        if float(residual.min()) > NOISE:
            return np.asarray(base + self.t * np.log(residual))
        with np.errstate(divide="ignore"):
            return np.asarray(base + self.t * np.log(np.where(residual > NOISE, residual, 0.0)))

    def pool(self) -> Vector:
        if self.t == 0.0 or not self.members:
            return self.base.copy()
        # Residuals that are noise are not masked here: one that comes first is found out by `surely`.
        scores: Vector = np.maximum(self.residual, NOISE * 1e-3)
        scores += self.noise
        np.log(scores, out=scores)
        scores *= self.t
        scores += self.base
        return scores

    def score_rows(self, ids: Rows) -> Vector:
        scores = np.empty(len(ids))
        for start in range(0, len(ids), 4096):
            part = ids[start : start + 4096]
            base = (1 - self.t) * self.problem.relevance.values[part]
            # Single precision sees d² to about this much: a bound has to allow for it.
            rows = self.vectors.rows(part)
            if self.left is None:
                residual = self._residuals(rows) + self.allowed
            else:  # what the members since the last pass leave
                along = rows @ self._span()[self.seen : len(self.members)].T.astype(rows.dtype)
                residual = self.left[part] - np.vecdot(along, along)
            scores[start : start + 4096] = self._score(base, residual)
        return scores

    def renew(self) -> None:
        assert self.known is not None
        known, base = self.known, (1 - self.t) * self.problem.relevance.values
        self.problem.count("passes")
        if self.linear:
            if self.left is None:
                self.left = np.full(self.problem.n, 1.0 + self.allowed)
            left, fresh = self.left, self._span()[self.seen : len(self.members)]
            if len(fresh) == 1:
                along = self.vectors.scan(fresh[0])
                left -= along * along
            else:

                def take(start: int, stop: int, products: Floats) -> None:
                    left[start:stop] -= np.vecdot(products, products)

                self.vectors.products(fresh, take)
            np.minimum(known, self._score(base, left), out=known)
        else:
            self.stack()  # once, before the workers ask for it

            def measure(start: int, stop: int, block: Floats) -> None:
                score = self._score(base[start:stop], self._residuals(block))
                np.minimum(known[start:stop], score, out=known[start:stop])

            self.vectors.map_blocks(measure)
        self.seen = len(self.members)

    def exact(self, ids: Rows) -> Vector:
        rows = self.vectors.rows(ids, np.float64)
        residual = self._solved(rows) if self.linear and len(self.members) <= 64 else None
        if residual is None:
            residual = self._residuals(rows)
        return self._score((1 - self.t) * self.problem.relevance.at(ids), residual)
