"""coverage: relevance minus the distance at which the chosen stand for all candidates (k-medoids)."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise.containers import to_numpy
from setwise.objectives.base import Objective, Terms, euclidean, from_cosines, in_turn
from setwise.threads import run_ranges
from setwise.vectors import Floats, Vectors

#: Rows whose distances to the members are held at once.
BLOCK = 2048

#: A set is put in order by at most so many distances.
ORDERED = 1 << 24

#: Sums closer than this share of their size are equal: what tells them apart is rounding.
ROUNDING = 1e-12


@final
class Coverage(Objective):
    """(1 - t) * mean relevance - t * the weighted mean distance of a candidate to its nearest member.

    The second term is the cost of weighted k-medoids, ``Σ_i w_i min_{j∈S} d_ij / Σ_i w_i`` (AMPO Eq. 8 up to
    scale), with its sign turned so that higher is better. A good set represents all candidates: each has a
    member near it. The relevance of the members counts by itself, through the first term; `weights` say how
    much each candidate wants to be represented. With `reward_weights` and diversity 1 this is AMPO's.

    What a set covers are the candidates it is chosen from: `setwise.select` fits the objective to them, and
    `fitted` does so by hand.

    Parameters
    ----------
    diversity : float
        t, in [0, 1]: 0 = relevance alone, 1 = coverage alone.
    metric : {"cosine", "euclidean"}
        The distance is 1 - cosine, or the L2 norm of the difference.
    weights : array-like of shape (n,), optional
        One number a candidate, at least 0 and not all 0. Default: all the same.

    Raises
    ------
    TypeError
        A parameter is of another type than these.
    ValueError
        `diversity` is outside [0, 1], `metric` unknown, a weight below 0 or not finite, or all of them 0.
    """

    name: ClassVar[str] = "coverage"
    of_all: ClassVar[bool] = True

    def __init__(self, diversity: float = 0.2, *, metric: str = "cosine", weights: Any = None) -> None:
        super().__init__(diversity, metric=metric)
        self.weights = None if weights is None else _checked(weights)
        self._candidates: Vectors | None = None

    def fitted(self, vectors: Vectors) -> Coverage:
        """Return this objective for sets that are to cover these candidates.

        Raises
        ------
        ValueError
            There is not one weight a candidate.
        """
        if self.weights is not None and len(self.weights) != vectors.n:
            raise ValueError(
                f"weights: expected {vectors.n} numbers, one a candidate, got {len(self.weights)}"
            )
        other = copy.copy(self)
        other._candidates = vectors
        return other

    @property
    def candidates(self) -> Vectors:
        """What is to be covered."""
        if self._candidates is None:
            raise ValueError("candidates: coverage is of something; call fitted(Vectors(...)) first")
        return self._candidates

    @property
    def shares(self) -> NDArray[np.float64]:
        """Each candidate's weight over the sum of all, shape (n,)."""
        if self.weights is None:
            return np.full(self.candidates.n, 1.0 / self.candidates.n)
        return np.asarray(self.weights / self.weights.sum())

    def distances(self, left: Floats, right: Floats) -> NDArray[np.float64]:
        """Return the distance between every two rows (of unit length under cosine), (a, b), at least 0."""
        if self.metric == "euclidean":
            return euclidean(left, right)
        found = from_cosines(left @ right.T, left, right)
        return np.asarray(np.maximum(found, 0.0, out=found))

    def relevance_weight(self, k: int) -> float:
        return 1 - self.diversity

    def terms(self, vectors: ArrayLike, relevance: ArrayLike) -> Terms:
        """See `Objective.terms`; the second term is minus the mean distance to the nearest member."""
        return self.evaluate(self.rows(vectors), np.asarray(relevance, np.float64))[1]

    def costs(self, rows: Floats) -> NDArray[np.float64]:
        """Return the coverage cost of every prefix of a set, shape (k,), float64, in one pass."""
        vectors, shares = self.candidates, self.shares

        def part(start: int, stop: int) -> NDArray[np.float64]:
            total = np.zeros(len(rows))
            for first in range(start, stop, BLOCK):
                last = min(stop, first + BLOCK)
                block = self.distances(vectors.rows(slice(first, last), np.float64), rows)
                total += shares[first:last] @ np.minimum.accumulate(block, axis=1, out=block)
            return total

        return np.asarray(np.sum(run_ranges(part, vectors.n, vectors.workers, least=BLOCK), axis=0))

    def gains(
        self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike, k: int | None = None
    ) -> NDArray[np.float64]:
        """Return what each candidate adds as the next member: (1 - t) r / k + t * the fall of the cost.

        The first member has no cost to fall from: minus the whole of it. The gains of a set's members, in
        order, so sum up to its value.

        Parameters
        ----------
        vectors, relevance, chosen
            See `Objective.gains`.
        k : int, optional
            Size that the set will have. Default: that of the chosen and one.
        """
        candidates, members = self.rows(vectors), self.rows(chosen)
        size = 1 + len(members) if k is None else k
        known, shares = self.candidates, self.shares
        fall = np.zeros(len(candidates))
        for start in range(0, known.n, BLOCK):
            rows = known.rows(slice(start, min(known.n, start + BLOCK)), np.float64)
            part = shares[start : start + BLOCK]
            near = self.distances(rows, candidates)
            if len(members) == 0:
                fall -= part @ near
                continue
            held = self.distances(rows, members).min(axis=1)
            fall += part @ (held[:, None] - np.minimum(near, held[:, None]))
        own = (1 - self.diversity) / size * np.asarray(relevance, np.float64)
        return np.asarray(own + self.diversity * fall)

    def evaluate(self, rows: Floats, relevance: NDArray[np.float64]) -> tuple[NDArray[np.float64], Terms]:
        """See `Objective.evaluate`; a gain is what a member added, so that they sum up to the value."""
        k, t = len(rows), self.diversity
        costs = self.costs(rows)
        gains = (1 - t) / k * relevance - t * np.diff(costs, prepend=0.0)
        mean, cost = float(relevance.sum()) / k, float(costs[-1])
        return gains, Terms((1 - t) * mean - t * cost, mean, -cost)

    def arrange(
        self,
        rows: Floats,
        relevance: NDArray[np.float64],
        indices: NDArray[np.int64],
        first: int,
    ) -> NDArray[np.int64]:
        """See `Objective.arrange`; by distances to all candidates, or to an even sample of them."""
        k, n, shares = len(rows), self.candidates.n, self.shares
        size = min(n, max(256, ORDERED // k))
        points = np.arange(size) * n // size
        cost = np.empty((size, k))
        for start in range(0, size, BLOCK):
            part = points[start : start + BLOCK]
            cost[start : start + BLOCK] = self.distances(self.candidates.rows(part, np.float64), rows)
        cost *= (self.diversity * shares[points] * (n / size))[:, None]
        own = (1 - self.diversity) / k * relevance

        def scores(taken: list[int]) -> NDArray[np.float64]:
            if taken:
                np.minimum(cost, cost[:, taken[-1:]], out=cost)
            return np.asarray(own - cost.sum(axis=0))

        rounding = ROUNDING * float(cost.sum(axis=0).max() + np.abs(own).max())
        return in_turn(relevance, indices, first, scores, rounding)


def reward_weights(rewards: ArrayLike) -> NDArray[np.float64]:
    """Return AMPO's weights ``exp(mean r - r)``: the lower the reward, the more a response counts (Eq. 6).

    Parameters
    ----------
    rewards : array-like of shape (n,)
        On a scale of order 1; AMPO's is [0, 1].
    """
    values = np.asarray(rewards, np.float64)
    return np.asarray(np.exp(values.mean() - values))


def _checked(weights: Any) -> NDArray[np.float64]:
    """Return weights as float64."""
    array = to_numpy(weights, "weights")
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise TypeError(f"weights: expected one number a candidate, got {array.dtype} of shape {array.shape}")
    values = array.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(bad):
        raise ValueError(f"weights: row {bad[0]} is {values[bad[0]]}; weights are finite and at least 0")
    if not values.sum() > 0:
        raise ValueError("weights: all are 0, there is nothing to cover")
    return values
