"""Greedy scores of maximal marginal relevance."""

from __future__ import annotations

import numpy as np

from setwise.objectives import MaxMarginal
from setwise.solvers.problem import Problem
from setwise.solvers.scores.base import FallingScores, Rows, Vector, row_by_row
from setwise.vectors import Floats


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

    def after_first(self, base: Vector, column: Floats) -> Vector:
        return np.asarray(base - self.t * column)

    def start_front(self, column: Floats) -> None:
        self.nearest = column

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
        return np.asarray(self.nearest * -self.t + self.base)

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
        scores -= self.t * row_by_row(self.between, rows, self.stack(), self.vectors.metric).max(axis=1)
        return scores
