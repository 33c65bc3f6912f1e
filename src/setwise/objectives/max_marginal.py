"""mmr: maximal marginal relevance."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise.objectives.base import Objective, Terms, euclidean
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
        """Return the similarity between every two rows (of unit length under cosine), shape (a, b)."""
        if self.metric == "euclidean":
            return -euclidean(left, right)
        found: Floats = left @ right.T
        return found

    def terms(self, vectors: ArrayLike, relevance: ArrayLike) -> Terms:
        """See `Objective.terms`; depends on the order."""
        return self.terms_of_rows(self.rows(vectors), np.asarray(relevance, np.float64))

    def terms_of_rows(self, rows: Floats, relevance: NDArray[np.float64]) -> Terms:
        """Return the terms of a sequence given as float64 rows, of unit length under cosine."""
        k = len(rows)
        mean = float(relevance.mean())
        spread = 0.0
        if k > 1:
            spread = -float(nearest_earlier(self.similarities(rows, rows)).sum()) / k
        return Terms((1 - self.diversity) * mean + self.diversity * spread, mean, spread)

    def gains(self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike) -> NDArray[np.float64]:
        """Return each candidate's marginal relevance."""
        score = (1 - self.diversity) * np.asarray(relevance, np.float64)
        members = self.rows(chosen)
        if len(members):
            score = score - self.diversity * self.similarities(self.rows(vectors), members).max(axis=1)
        return score


def nearest_earlier(similar: Floats) -> Floats:
    """Return each later member's largest similarity to one before it, shape (k - 1,); spoils the argument."""
    similar[_not_earlier(len(similar))] = -np.inf
    found: Floats = similar[1:].max(axis=1)
    return found


@lru_cache(maxsize=8)
def _not_earlier(k: int) -> NDArray[np.bool_]:
    """Return the mask of pairs (i, j) with j not before i."""
    return ~np.tri(k, k, -1, dtype=bool)
