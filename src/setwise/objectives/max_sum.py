"""max-sum: mean relevance plus mean pairwise distance."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from setwise import checks
from setwise.objectives.base import NEAR, Objective, Terms, euclidean, euclidean_error, from_cosines, in_turn
from setwise.objectives.scores import PoolScores, Rows, Vector
from setwise.rounding import dot_error
from setwise.vectors import Floats, Vectors


class MaxSum(Objective):
    """(1 - t) * mean relevance + t * mean distance between two members (MUSS Eq. 2, CCBQP Eq. 2).

    Up to scale and constant the two papers' objectives are this one; the second term is ILAD, the
    intra-list average distance. A set of one has relevance alone.

    Solvers work on its summed form f(x) = (1-t)(k-1) r·x + t xᵀWx, with W the distances and a zero diagonal:
    k(k-1) times the value on sets.

    Parameters
    ----------
    diversity : float
        t, in [0, 1].
    sharpness : int
        1, or an even number p >= 2: under cosine the distance is 1 - cos^p. 1 is the papers'; larger even
        numbers see near-duplicates only, and keep the similarity matrix positive semidefinite (Schur).
    metric : {"cosine", "euclidean"}
        Under euclidean the distance is the L2 norm of the difference.

    Raises
    ------
    TypeError
        A parameter is of another type than these.
    ValueError
        `diversity` is outside [0, 1], `metric` unknown, `sharpness` neither 1 nor even, or above 1 under
        euclidean.
    """

    name: ClassVar[str] = "max-sum"
    has_sharpness: ClassVar[bool] = True
    ordered: ClassVar[bool] = False

    def __init__(self, diversity: float = 0.2, *, sharpness: int = 1, metric: str = "cosine") -> None:
        super().__init__(diversity, metric=metric)
        self.sharpness = check_sharpness(sharpness, metric)

    @property
    def low_rank(self) -> bool:
        """Whether summed distances follow from the sum of the members: W = 11ᵀ - EEᵀ (cosine, p = 1)."""
        return self.metric == "cosine" and self.sharpness == 1

    @property
    def reach(self) -> float:
        """No distance is larger: 2 under cosine, 1 with an even sharpness, infinite under euclidean."""
        if self.metric == "euclidean":
            return np.inf
        return 2.0 if self.sharpness == 1 else 1.0

    def distance_error(self, d: int, dtype: Any, reach: float) -> float:
        """Return how far a computed distance of two rows may be off.

        Parameters
        ----------
        d : int
            Entries of a row.
        dtype : dtype
            The rows'.
        reach : float
            No distance is larger.
        """
        if self.metric == "euclidean":
            return euclidean_error(d, reach)
        unit = self.sharpness * dot_error(d, dtype)
        if dtype != np.float64 or reach > self.sharpness * NEAR:
            return unit
        # All come from differences: what lengths are off by counts with the root of the distance.
        return unit * reach + 4 * float(np.finfo(np.float64).eps) * math.sqrt(reach)

    @property
    def linear_gradient(self) -> bool:
        return self.low_rank and self.diversity > 0.0

    def relevance_decides(self, k: int) -> bool:
        return k == 1 or self.diversity == 0.0

    def similarity(self, cosines: Floats) -> Floats:
        """Return cos^sharpness, in place where the sharpness is above 1."""
        power = self.sharpness
        if power == 1:
            return cosines
        result: Floats | None = None
        base = cosines
        while power:
            if power & 1:
                result = base.copy() if result is None else np.multiply(result, base, out=result)
            power >>= 1
            if power:
                base = np.multiply(base, base, out=base)
        return base if result is None else result

    def distances(self, left: Floats, right: Floats) -> Floats:
        """Return the distance between every two rows, shape (…, a, b).

        Parameters
        ----------
        left, right : ndarray of shape (…, a, d) and (…, b, d)
            Of unit length under cosine; more than two dimensions under cosine alone.
        """
        if self.metric == "euclidean":
            return euclidean(left, right)
        return from_cosines(left @ right.mT, left, right, self.similarity, self.sharpness)

    def pull(
        self,
        rows: Floats,
        members: Floats,
        weights: Vector,
        same: tuple[Any, ...],
        *,
        close: bool = True,
    ) -> Vector:
        """Return the summed distances W x of some rows to weighed members, shape (…, n), float64.

        Parameters
        ----------
        rows, members : ndarray of shape (…, n, d) and (…, m, d)
        weights : ndarray of shape (…, m)
            x at the members.
        same : tuple of index arrays
            Where in an array of shape (…, n, m) a row is itself the member.
        close : bool
            Whether rows in float64 may differ in digits that their products have lost.
        """
        if self.low_rank and close and rows.dtype == np.float64:
            # 1 - e·e' = ½|e - e'|², from the center of the members: little is lost where rows are much alike.
            center = members.mean(axis=-2, keepdims=True)
            away, others = rows - center, members - center
            inner = (away @ (weights[..., None, :] @ others).mT)[..., 0]
            own = weights.sum(axis=-1, keepdims=True) * np.vecdot(away, away)
            theirs = np.vecdot(weights, np.vecdot(others, others))
            return np.asarray((own + theirs[..., None]) / 2 - inner)
        if self.low_rank:
            total = (weights.astype(rows.dtype, copy=False)[..., None, :] @ members)[..., 0, :]
            along = (rows @ total[..., None])[..., 0].astype(np.float64)
            return np.asarray(weights.sum(axis=-1, keepdims=True) - along)
        found = self.distances(rows, members)
        found[same] = 0.0
        return np.asarray((found @ weights[..., None])[..., 0], np.float64)

    def pull_all(self, vectors: Vectors, ids: Rows, weights: Vector) -> Vector:
        """Return `pull` for all candidates and members among them, in one pass over the data.

        Returns
        -------
        ndarray of shape (n,), float64, exact to the working dtype's rounding (at `ids`, but for sharpness 1,
        to float64's)
        """
        rows = vectors.rows(ids, np.float64)
        total = weights.sum()
        if self.low_rank:
            pulled = vectors.scan(weights @ rows).astype(np.float64)
            return np.asarray(np.subtract(total, pulled, out=pulled))
        pulled = np.empty(vectors.n)
        if self.metric == "cosine":

            def take(start: int, stop: int, products: Floats) -> None:
                pulled[start:stop] = total - self.similarity(products) @ weights

            vectors.products(rows, take)
        else:

            def measure(start: int, stop: int, block: Floats) -> None:
                pulled[start:stop] = self.distances(block, rows) @ weights

            vectors.map_blocks(measure)
        pulled[ids] = self.pull(rows, rows, weights, np.diag_indices(len(ids)))
        return pulled

    def pair_sum(self, rows: Floats) -> float:
        """Return the sum of the distances between every two of some rows, each counted twice."""
        if self.low_rank:
            away = rows - rows.mean(axis=0, dtype=np.float64)
            return len(rows) * float(np.vecdot(away, away).sum())
        found = self.distances(rows, rows).astype(np.float64, copy=False)
        np.fill_diagonal(found, 0.0)
        return float(found.sum())

    def relevance_weight(self, k: int) -> float:
        return 1 - self.diversity

    def terms(self, vectors: ArrayLike, relevance: ArrayLike) -> Terms:
        """See `Objective.terms`."""
        return self.evaluate(self.rows(vectors), np.asarray(relevance, np.float64))[1]

    def gains(self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike) -> Vector:
        """Return (1 - t) r_j + t * mean distance to the chosen (MUSS Alg. 1, divided by their number)."""
        score = (1 - self.diversity) * np.asarray(relevance, np.float64)
        members = self.rows(chosen)
        if len(members):
            score = score + self.diversity * self.distances(self.rows(vectors), members).mean(axis=1)
        return score

    def evaluate(self, rows: Floats, relevance: Vector) -> tuple[Vector, Terms]:
        """See `Objective.evaluate`; under cosine for many sets at once, of shape (…, k, d)."""
        k = relevance.shape[-1]
        sums = (self.distances(rows, rows) * _earlier(k)).sum(axis=-1) if k > 1 else np.zeros(relevance.shape)
        return self.summarize(sums, relevance)

    def summarize(self, sums: Vector, relevance: Vector) -> tuple[Vector, Terms]:
        """Return what `evaluate` does, given the sum of each member's distances to those before it."""
        k, t = relevance.shape[-1], self.diversity
        gains = (1 - t) * relevance
        if k > 1:
            gains[..., 1:] += sums[..., 1:] * (t / _before(k))
        return gains, self.worth(sums, relevance)

    def worth(self, sums: Vector, relevance: Vector) -> Terms:
        """Return what a set is worth: the second of what `summarize` returns."""
        k, t = relevance.shape[-1], self.diversity
        mean = np.add.reduce(relevance, axis=-1) / k
        if k == 1:
            return Terms((1 - t) * mean, mean, np.zeros_like(mean)[()])
        spread = 2.0 * np.add.reduce(sums, axis=-1) / (k * (k - 1))
        return Terms((1 - t) * mean + t * spread, mean, spread)

    def arrange(self, rows: Floats, relevance: Vector, indices: Rows, first: int) -> Rows:
        between = self.distances(rows, rows)
        np.fill_diagonal(between, 0.0)
        base, summed = (1 - self.diversity) * relevance, np.zeros(len(rows))

        def scores(taken: list[int]) -> Vector:
            if not taken:
                return relevance  # the first is the most relevant, at diversity 1 too
            np.add(summed, between[:, taken[-1]], out=summed)
            return base + (self.diversity / len(taken)) * summed

        return in_turn(relevance, indices, first, scores)

    def __repr__(self) -> str:
        return f"MaxSum(diversity={self.diversity}, sharpness={self.sharpness}, metric={self.metric!r})"


#: The largest sharpness: a power at which single precision tells nothing but equal directions apart.
SHARPEST = 2**31


def check_sharpness(sharpness: Any, metric: str) -> int:
    """Return a usable sharpness: 1 or an even integer, 1 under euclidean."""
    if isinstance(sharpness, bool) or not isinstance(sharpness, int | np.integer):
        raise TypeError(f"sharpness: expected 1 or an even integer, got {checks.brief(sharpness)}")
    if sharpness != 1 and (sharpness < 2 or sharpness % 2):
        raise ValueError(f"sharpness: {sharpness} is neither 1 nor an even integer (2, 4, 8, 16)")
    if sharpness > SHARPEST:
        raise ValueError(f"sharpness: it is more than {SHARPEST:,}, where only exact copies are alike")
    if sharpness != 1 and metric != "cosine":
        raise ValueError("sharpness: above 1 is a power of the cosine; pass metric='cosine' or sharpness=1")
    return int(sharpness)


class MaxSumScores(PoolScores):
    """(1 - t) r + t · mean distance to the chosen."""

    objective: MaxSum

    def begin(self) -> None:
        super().begin()
        self.total = np.zeros(self.vectors.d)  # sum of the members, to the pool's precision
        self.sums: Vector | None = None  # summed distances of all candidates to the first `seen` members
        self.seen = 0
        self.center = np.zeros(self.vectors.d)
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
            return self.relevance.values.copy()
        scores: Vector = (1 - self.t) * self.relevance.values
        count = len(self.members)
        if not count or self.t == 0.0:
            return scores
        self.count("passes")
        if self.objective.low_rank:
            self.center = self.total / count
            scores += self.t
            scores -= self.t * self.vectors.scan(self.center)
        else:
            if self.sums is None:
                self.sums = np.zeros(self.vectors.n)
            if self.seen < count:
                new = np.array(self.members[self.seen :])
                self.sums += self.objective.pull_all(self.vectors, new, np.ones(len(new)))
            mean = self.sums / count
            self.least_mean = float(mean.min())
            scores += self.t * mean
        self.seen = count
        return scores

    def slack(self) -> float:
        """Return how far any mean distance may have risen since the last pass, times t."""
        count = len(self.members)
        if self.seen == 0:
            return np.inf if count and self.t > 0 else 0.0
        if self.objective.low_rank:
            # A mean distance is 1 - e·(mean of the members), and |e| = 1.
            moved = self.total / count - self.center
            return self.t * float(np.sqrt(moved @ moved))
        missed = count - self.seen
        if missed == 0:
            return 0.0
        if self.objective.metric == "cosine":
            return self.t * missed / count * (self.objective.reach - self.least_mean)
        # A candidate at mean distance m from the old members is at most m + (the new member's own mean
        # distance from them) from a new one, so its mean rises by at most this.
        members = self.stack()
        across = self.objective.distances(members[self.seen :], members[: self.seen]).mean(axis=1)
        return self.t * float(across.sum()) / count

    def exact(self, ids: Rows) -> Vector:
        if not self.members:
            return self.first_exact(ids)
        scores = (1 - self.t) * self.relevance.at(ids)
        rows = self.vectors.rows(ids, np.float64)
        if self.objective.low_rank:
            scores += self.t * (1.0 - np.vecdot(rows, self.stack().sum(axis=0)) / len(self.members))
        else:
            scores += self.t * self.row_by_row(rows, self.stack()).mean(axis=1)
        return scores


MaxSum.scoring = MaxSumScores


@lru_cache(maxsize=8)
def _before(k: int) -> Vector:
    """Return how many members come before each but the first."""
    return np.arange(1.0, k)


@lru_cache(maxsize=8)
def _earlier(k: int) -> Vector:
    """Return the pairs (i, j) with j before i, as ones."""
    return np.tri(k, k, -1)
