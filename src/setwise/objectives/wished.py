"""Objectives with further wishes: sets of any size, what was shown before, a least gain.

A set of any size is worth the sum of what its members are, each beside the others (the per-item form):
for max-sum G(S) = Σ_{i∈S} u_i - t/(κ-1) Σ_{i≠j∈S} s_ij with s = 1 - d and u_i = (1-t) r_i + t - min_gain,
which is κ
times its value on sets of the reference size κ. What was shown counts as members that are never returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise.objectives.base import Objective, Terms, in_turn
from setwise.objectives.max_sum import MaxSum
from setwise.vectors import Floats, Vectors

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Wishes:
    """What changes an objective.

    Attributes
    ----------
    size : float
        The reference size κ: k where given, else the budget over the mean cost, at least 2.
    sized : bool
        Whether sets have exactly that size; else they may have any.
    min_gain : float
        What a member must add, taken off what it is worth.
    shown : ndarray of shape (h, d), float64
        Rows of what was shown, of unit length under cosine.
    weight : float
        What a shown one counts, a member counting 1.
    """

    size: float
    sized: bool
    min_gain: float
    shown: Vector
    weight: float


class Wished(Objective):
    """An objective with wishes: known by its gains, each beside what was shown and the members before.

    Where sets have a size, the value is the objective's own: its terms, or beside what was shown the mean of
    the gains (log-det: their sum). Else it is the sum of the gains, each t larger: a member that repeats
    nothing is then worth (1-t) r + t, as in max-sum.
    """

    name: ClassVar[str] = "wished"

    def __init__(self, of: Objective, wishes: Wishes) -> None:
        super().__init__(of.diversity, metric=of.metric)
        self.of, self.wishes = of, wishes
        self.extra = 0.0 if wishes.sized else of.diversity - wishes.min_gain

    def fitted(self, vectors: Vectors) -> Wished:
        return Wished(self.of.fitted(vectors), self.wishes)

    def relevance_weight(self, k: int) -> float | None:
        return self.of.relevance_weight(k) if self.wishes.sized else None

    def gains(self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike) -> Vector:
        """See `Objective.gains`."""
        members, shown = self.rows(chosen), self.wishes.shown
        if len(shown):
            members = np.concatenate([shown, members]) if len(members) else shown
        elif not len(members):
            members = np.empty((0, np.shape(vectors)[1]))
        found = self.of.checked_gains(np.asarray(vectors), np.asarray(relevance, np.float64), members)
        return found + self.extra

    def terms(self, vectors: ArrayLike, relevance: ArrayLike) -> Terms:
        """See `Objective.terms`."""
        return self.evaluate(self.rows(vectors), np.asarray(relevance, np.float64))[1]

    def evaluate(self, rows: Floats, relevance: Vector) -> tuple[Vector, Terms]:
        """See `Objective.evaluate`."""
        wishes, t = self.wishes, self.diversity
        if wishes.sized and not len(wishes.shown):
            return self.of.evaluate(rows, relevance)
        each = [self.gains(rows[i : i + 1], relevance[i : i + 1], rows[:i]) for i in range(len(rows))]
        gains = np.concatenate([np.empty(0), *each])
        over = 1.0 if self.of.summed or not wishes.sized else float(max(len(rows), 1))
        value, mean = float(gains.sum()) / over, float(relevance.sum()) / over
        less = 0.0 if wishes.sized else wishes.min_gain * len(rows)
        return gains, Terms(value, mean, (value + less - (1 - t) * mean) / t if t else 0.0)


class MaxSumWished(Objective):
    """max-sum in its per-item form; its value is over κ where sets have that size, and so max-sum's own."""

    name: ClassVar[str] = "max-sum, per item"

    def __init__(self, of: MaxSum, wishes: Wishes) -> None:
        super().__init__(of.diversity, metric=of.metric)
        self.of, self.wishes = of, wishes
        alone = wishes.sized and wishes.size <= 1  # a set of one has no distances
        self.apart = 0.0 if alone else 1.0
        #: What a pair costs, times its similarity; each pair counts twice.
        self.pair = 0.0 if alone else self.diversity / (wishes.size - 1)
        self.over = wishes.size if wishes.sized else 1.0

    def relevance_weight(self, k: int) -> float | None:
        return 1 - self.diversity if self.wishes.sized else None

    @property
    def concave(self) -> bool:
        """Whether similarities are positive semidefinite, so that the relaxation bounds every set."""
        return self.metric == "cosine"

    def similarity(self, left: Floats, right: Floats) -> Floats:
        """Return 1 - the distance between every two rows, shape (a, b)."""
        if self.metric == "cosine":
            return self.of.similarity(left @ right.T)
        return np.asarray(1.0 - self.of.distances(left, right))

    def seen_before(self, rows: Floats) -> Vector:
        """Return each row's summed similarity to what was shown: to the κ - 1 most similar, times the weight.

        No more than that: a candidate has no more neighbors in a set of κ either.
        """
        shown = self.wishes.shown
        if not len(shown):
            return np.zeros(len(rows))
        near = np.asarray(self.similarity(rows, shown), np.float64)
        most = max(1, round(self.wishes.size) - 1)
        if len(shown) > most:
            near = np.partition(near, len(shown) - most, axis=1)[:, len(shown) - most :]
        return np.asarray(self.wishes.weight * near.sum(axis=1))

    def alone(self, rows: Floats, relevance: Vector) -> Vector:
        """Return u, what each is worth as the only member."""
        worth = (1 - self.diversity) * relevance + self.diversity * self.apart - self.wishes.min_gain
        if len(self.wishes.shown):
            step = self.diversity / max(1.0, self.wishes.size - 1)
            worth = worth - 2 * step * self.seen_before(rows)
        return np.asarray(worth, np.float64)

    def gains(self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike) -> Vector:
        """Return what each adds to a set: u less 2t/(κ-1) times its summed similarity to the members."""
        rows, members = self.rows(vectors), self.rows(chosen)
        worth = self.alone(rows, np.asarray(relevance, np.float64))
        if len(members):
            worth -= 2 * self.pair * np.asarray(self.similarity(rows, members), np.float64).sum(axis=1)
        return worth

    def terms(self, vectors: ArrayLike, relevance: ArrayLike) -> Terms:
        """See `Objective.terms`."""
        return self.evaluate(self.rows(vectors), np.asarray(relevance, np.float64))[1]

    def evaluate(self, rows: Floats, relevance: Vector) -> tuple[Vector, Terms]:
        """See `Objective.evaluate`."""
        count, t = len(rows), self.diversity
        if count == 0:
            return np.empty(0), Terms(0.0, 0.0, 0.0)
        gains = self.alone(rows, relevance)
        if count > 1:
            near = np.asarray(self.similarity(rows, rows), np.float64)
            gains -= 2 * self.pair * (near * np.tri(count, count, -1)).sum(axis=1)
        value, mean = float(gains.sum()) / self.over, float(relevance.sum()) / self.over
        less = self.wishes.min_gain * count / self.over
        return gains, Terms(value, mean, (value + less - (1 - t) * mean) / t if t else 0.0)

    def arrange(self, rows: Floats, relevance: Vector, indices: Rows, first: int) -> Rows:
        near = np.asarray(self.similarity(rows, rows), np.float64)
        worth = self.alone(rows, relevance)

        def scores(taken: list[int]) -> Vector:
            if taken:
                np.subtract(worth, 2 * self.pair * near[:, taken[-1]], out=worth)
            return worth

        return in_turn(relevance, indices, first, scores)


Objective.wishing = Wished
MaxSum.wishing = MaxSumWished
