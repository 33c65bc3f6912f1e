"""max-min: relevance, and the distance of the two members that are closest."""

from __future__ import annotations

import copy
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise.objectives.base import Terms, euclidean, from_cosines, in_turn
from setwise.objectives.max_marginal import MaxMarginal
from setwise.objectives.scores import Rows, Vector
from setwise.objectives.wished import Wishes
from setwise.vectors import Floats


@final
class MaxMin(MaxMarginal):
    """(1 - t) * mean relevance + t * the least distance of two members (max-min diversification).

    The value of Gonzalez (1985) at t = 1, and of GIST (Fahrbach et al., NeurIPS 2025) with the utility a sum.
    Under cosine the distance is 1 - cos, under euclidean the L2 norm. A set of one has relevance alone.
    Greedy selection takes the candidate of largest (1 - t) r + t * distance to the nearest chosen one: at
    t = 1 the farthest from all.

    Beside what was shown, distances to that count too. A set of any size (with a budget) is worth
    (1 - t) Σ r + t κ * the least distance: κ times the value at the reference size κ.

    Parameters
    ----------
    diversity : float
        t, in [0, 1].
    metric : {"cosine", "euclidean"}
    """

    name: ClassVar[str] = "max-min"
    ordered: ClassVar[bool] = False

    #: Of the request; None where there are none.
    wishes: Wishes | None = None

    @property
    def metric_part(self) -> float:
        """What part of a distance two in one ball of that radius are closer than, by the triangle inequality.

        A half for L2 norms; a quarter for 1 - cos, which is half the square of one.
        """
        return 0.25 if self.metric == "cosine" else 0.5

    def apart(self, left: Floats, right: Floats) -> NDArray[np.float64]:
        """Return the distance of every two rows, shape (a, b), float64."""
        if self.metric == "euclidean":
            return euclidean(left, right)
        return np.asarray(from_cosines(left @ right.T, left, right), np.float64)

    def to_shown(self, rows: Floats) -> Vector:
        """Return each row's distance to the nearest of what was shown; infinite where nothing was."""
        if self.wishes is None or not len(self.wishes.shown):
            return np.full(len(rows), np.inf)
        return np.asarray(self.apart(rows, self.wishes.shown).min(axis=1))

    def weights(self, k: int) -> tuple[float, float]:
        """Return what a unit of relevance of one member, and of the least distance, add to a set's value."""
        t, wishes = self.diversity, self.wishes
        if wishes is None or wishes.sized:
            return (1 - t) / max(k, 1), t
        return 1 - t, t * wishes.size

    def relevance_weight(self, k: int) -> float | None:  # type: ignore[override]
        return 1 - self.diversity if self.wishes is None or self.wishes.sized else None

    def relevance_decides(self, k: int) -> bool:
        return self.wishes is None and (self.diversity == 0.0 or k == 1)

    def gains(self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike) -> Vector:
        """Return each candidate's relevance and its distance to the nearest chosen or shown one, weighted."""
        rows, members = self.rows(vectors), self.rows(chosen)
        near = self.to_shown(rows)
        if len(members):
            near = np.minimum(near, self.apart(rows, members).min(axis=1))
        score = (1 - self.diversity) * np.asarray(relevance, np.float64)
        return score + self.diversity * np.where(np.isinf(near), 0.0, near)

    def evaluate(self, rows: Floats, relevance: Vector) -> tuple[Vector, Terms]:
        """See `Objective.evaluate`."""
        count = len(rows)
        if count == 0:
            return np.empty(0), Terms(0.0, 0.0, 0.0)
        away = self.to_shown(rows)
        between = self.apart(rows, rows)
        between[np.triu_indices(count)] = np.inf  # to those before alone
        near = np.minimum(between.min(axis=1), away)
        least = float(near.min())
        near[np.isinf(near)] = 0.0
        spread = 0.0 if np.isinf(least) else least
        sized = self.wishes is None or self.wishes.sized
        mean = float(relevance.sum()) / (count if sized else 1)
        stretch = 1.0 if self.wishes is None or sized else self.wishes.size
        value = (1 - self.diversity) * mean + self.diversity * stretch * spread
        gains = (1 - self.diversity) * relevance + self.diversity * near
        return gains, Terms(value, mean, stretch * spread)

    def arrange(self, rows: Floats, relevance: Vector, indices: Rows, first: int) -> Rows:
        between, near = self.apart(rows, rows), self.to_shown(rows)
        base = (1 - self.diversity) * relevance

        def scores(taken: list[int]) -> Vector:
            if taken:
                np.minimum(near, between[:, taken[-1]], out=near)
            elif not np.isfinite(near).all():
                return relevance  # the first is the most relevant, at diversity 1 too
            return np.asarray(base + self.diversity * near)

        return in_turn(relevance, indices, first, scores)


def _with_wishes(objective: MaxMin, wishes: Wishes) -> MaxMin:
    """Return the objective for a request with wishes."""
    wished = copy.copy(objective)
    wished.wishes = wishes
    return wished


MaxMin.wishing = _with_wishes
