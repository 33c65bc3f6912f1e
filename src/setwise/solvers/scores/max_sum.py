"""Greedy scores of max-sum."""

from __future__ import annotations

import numpy as np

from setwise.objectives import MaxSum
from setwise.solvers.problem import Problem
from setwise.solvers.scores.base import Rows, Scores, Vector, row_by_row
from setwise.vectors import Floats


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
        self.summed = np.empty(0)  # summed distances of the pool to the members, less `plus`
        self.plus = 0

    def between(self, left: Floats, right: Floats) -> Floats:
        return self.objective.distances(left, right)

    def follow(self, place: int | None) -> None:
        if place is None:
            self.total += self.stack()[-1]
        else:
            if self.ids is not None:
                self.total += self.rows[place]
            if self.vectors.metric == "cosine":
                self.summed -= self.objective.similarity(self.column(place))
                self.plus += 1
            else:
                self.summed += self.column(place)

    def start_pool(self) -> None:
        self.plus = 0
        if not self.members:
            self.summed = np.zeros(len(self.rows))
        elif self.objective.low_rank and self.ids is not None:
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
        if self.plus:
            scores += self.t * self.plus / len(self.members)
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
            scores += self.t * row_by_row(self.between, rows, self.stack(), self.vectors.metric).mean(axis=1)
        return scores
