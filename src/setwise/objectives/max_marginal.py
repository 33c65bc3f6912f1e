"""mmr: maximal marginal relevance."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise.objectives.base import Objective, Terms, euclidean, in_turn
from setwise.objectives.scores import FallingScores, Rows, Vector
from setwise.vectors import Floats


class MaxMarginal(Objective):
    """argmax (1 - t) r_i - t * max over the chosen of sim(i, u) (Carbonell and Goldstein 1998).

    The first chosen is the most relevant. Every chosen item counts, not the last alone. Under euclidean
    the similarity is minus the L2 distance, which makes it the 'min distance' rule of MUSS and CCBQP.
    The value of a set in selection order is the mean of its scores.

    Parameters
    ----------
    diversity : float
        t, in [0, 1].
    metric : {"cosine", "euclidean"}
    """

    name: ClassVar[str] = "mmr"

    def similarities(self, left: Floats, right: Floats) -> Floats:
        """Return the similarity between every two rows (of unit length under cosine), shape (…, a, b)."""
        if self.metric == "euclidean":
            return -euclidean(left, right)
        return left @ right.mT

    def relevance_weight(self, k: int) -> float:
        return 1 - self.diversity

    def terms(self, vectors: ArrayLike, relevance: ArrayLike) -> Terms:
        """See `Objective.terms`; depends on the order."""
        return self.evaluate(self.rows(vectors), np.asarray(relevance, np.float64))[1]

    def gains(self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike) -> Vector:
        """Return each candidate's marginal relevance."""
        score = (1 - self.diversity) * np.asarray(relevance, np.float64)
        members = self.rows(chosen)
        if len(members):
            score = score - self.diversity * self.similarities(self.rows(vectors), members).max(axis=1)
        return score

    def evaluate(self, rows: Floats, relevance: Vector) -> tuple[Vector, Terms]:
        """See `Objective.evaluate`; under cosine for many sets at once, of shape (…, k, d)."""
        similar = self.similarities(rows, rows)
        similar[..., _not_earlier(relevance.shape[-1])] = -np.inf
        return self.summarize(similar.max(axis=-1), relevance)

    def summarize(self, nearest: Vector, relevance: Vector) -> tuple[Vector, Terms]:
        """Return what `evaluate` does, given each member's largest similarity to one before it."""
        k, t = relevance.shape[-1], self.diversity
        gains = (1 - t) * relevance
        mean = relevance.sum(axis=-1) / k
        if k == 1:
            return gains, Terms((1 - t) * mean, mean, np.zeros_like(mean)[()])
        nearest = nearest[..., 1:]
        gains[..., 1:] -= t * nearest
        spread = -nearest.sum(axis=-1) / k
        return gains, Terms((1 - t) * mean + t * spread, mean, spread)

    def arrange(self, rows: Floats, relevance: Vector, indices: Rows, first: int) -> Rows:
        similar = self.similarities(rows, rows)
        base, nearest = (1 - self.diversity) * relevance, np.full(len(rows), -np.inf)

        def scores(taken: list[int]) -> Vector:
            if not taken:
                return relevance  # the first is the most relevant, at diversity 1 too
            np.maximum(nearest, similar[:, taken[-1]], out=nearest)
            return base - self.diversity * nearest

        return in_turn(relevance, indices, first, scores)


class MaxMarginalScores(FallingScores):
    """(1 - t) r - t · largest similarity to the chosen."""

    objective: MaxMarginal
    nearest: Floats

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
        return np.asarray((1 - self.t) * self.relevance.values[ids] - self.t * similar)

    def renew(self) -> None:
        assert self.known is not None
        known, t, base = self.known, self.t, (1 - self.t) * self.relevance.values
        members = self.stack()[self.seen :]
        if self.seen == 0:
            known[:] = np.inf
        self.count("passes")
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
        scores = (1 - self.t) * self.relevance.at(ids)
        rows = self.vectors.rows(ids, np.float64)
        scores -= self.t * self.row_by_row(rows, self.stack()).max(axis=1)
        return scores

    def limit(self, relevance: float, most_similar: Callable[[Vector], float]) -> float:
        t, query = self.t, self.relevance.query
        if not self.members:
            return (1 - t) * relevance
        if self.vectors.metric != "cosine":
            # At distance D from the query and at most D + D1 from the first member.
            least = self.relevance.least
            first = float(self.relevance.values[self.members[0]]) + least
            return np.inf if t > 0.5 else (2 * t - 1) * -(relevance + least) - t * first - (1 - t) * least
        least = (1 - t) * relevance + t
        if query is None:
            return least
        rows = self.stack()
        for row in [*rows[:4], rows.mean(axis=0)]:  # a score is at most that for any mixture of members
            least = min(least, most_similar((1 - t) * query - t * row))
        return least

    def directions(self) -> list[Vector]:
        query = self.relevance.query
        if self.vectors.metric != "cosine" or query is None:
            return []
        rows = self.stack()
        wanted = [(1 - self.t) * query - self.t * row for row in (rows[0], rows.mean(axis=0))]
        return [weights for weights in wanted if float(weights @ weights) > 1e-12]


MaxMarginal.scoring = MaxMarginalScores


@lru_cache(maxsize=8)
def _not_earlier(k: int) -> NDArray[np.bool_]:
    """Return the mask of pairs (i, j) with j not before i."""
    return ~np.tri(k, k, -1, dtype=bool)
