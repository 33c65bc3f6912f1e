"""log-det: relevance plus the log-determinant of the chosen items' kernel (a DPP's log-likelihood)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from setwise import checks
from setwise.objectives.base import Objective, Terms, euclidean, in_turn
from setwise.objectives.scores import ONE_BY_ONE, SMALL, FallingScores, Rows, Vector
from setwise.vectors import Floats, Vectors

#: A residual below this is rounding noise: the chosen items span what the kernel can tell apart.
NOISE = 1e-6

#: A member with a residual below this part of `NOISE` adds no direction of its own.
DEPENDENT = NOISE * 1e-3


@final
class LogDet(Objective):
    """(1 - t) Σ r + t log det of the kernel of the set (Chen et al. 2018; CCBQP's DPP baseline).

    The kernel is the cosine Gram matrix, or under euclidean the Gaussian exp(-dist² / bandwidth). It has
    unit diagonal, so one item's residual d² is 1 before anything is chosen.

    Parameters
    ----------
    diversity : float
        t, in [0, 1].
    metric : {"cosine", "euclidean"}
    bandwidth : float, optional
        Of the Gaussian kernel, above 0. Default: the mean squared distance between two candidates
        (`fitted` measures it).

    Raises
    ------
    TypeError
        A parameter is of another type than these.
    ValueError
        `diversity` is outside [0, 1], `metric` unknown, or `bandwidth` not above 0.
    """

    name: ClassVar[str] = "log-det"
    summed: ClassVar[bool] = True
    ordered: ClassVar[bool] = False
    shortage: ClassVar[str] = (
        "the kernel's rank: the residual of every other candidate is rounding noise; ask for fewer, or pass "
        "vectors of higher rank"
    )

    def __init__(
        self, diversity: float = 0.2, *, metric: str = "cosine", bandwidth: float | None = None
    ) -> None:
        super().__init__(diversity, metric=metric)
        self.bandwidth = None if bandwidth is None else checks.positive("bandwidth", bandwidth)

    def fitted(self, vectors: Vectors) -> LogDet:
        """Return this objective, or where it has no bandwidth a copy that has the candidates' own."""
        if self.metric != "euclidean" or self.bandwidth is not None:
            return self
        total = np.zeros(vectors.d)
        offset = vectors.rows(np.array([0]), np.float64)[0]
        squares = 0.0
        for start in range(0, vectors.n, 4096):
            rows = vectors.rows(slice(start, min(vectors.n, start + 4096)), np.float64) - offset
            total += rows.sum(axis=0)
            squares += float(np.vecdot(rows, rows).sum())
        mean = total / vectors.n
        spread = 2.0 * (squares / vectors.n - float(mean @ mean))
        return LogDet(self.diversity, metric=self.metric, bandwidth=spread if spread > 0 else 1.0)

    def kernel(self, left: Floats, right: Floats) -> Floats:
        """Return the kernel between every two rows (of unit length under cosine), shape (…, a, b)."""
        if self.metric == "cosine":
            return left @ right.mT
        if self.bandwidth is None:
            raise ValueError("bandwidth: needed for the Gaussian kernel; pass one, or call fitted")
        distances = euclidean(left, right)
        distances *= distances
        distances /= -self.bandwidth
        return np.asarray(np.exp(distances, out=distances))

    def relevance_weight(self, k: int) -> float:
        return (1 - self.diversity) * k

    def terms(self, vectors: ArrayLike, relevance: ArrayLike) -> Terms:
        """See `Objective.terms`. Relevance is summed; the second term is the log-determinant."""
        return self.evaluate(self.rows(vectors), np.asarray(relevance, np.float64))[1]

    def gains(self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike) -> Vector:
        """Return (1 - t) r + t log d², d² the residual given the chosen; -inf where nothing is left."""
        score = (1 - self.diversity) * np.asarray(relevance, np.float64)
        members = self.rows(chosen)
        if len(members) == 0 or self.diversity == 0:
            return score
        residual = _residuals(self.kernel(members, np.concatenate([members, self.rows(vectors)])))
        return score + self.diversity * _log(residual[len(members) :])

    def evaluate(self, rows: Floats, relevance: Vector) -> tuple[Vector, Terms]:
        """See `Objective.evaluate`; under cosine for many sets at once, of shape (…, k, d)."""
        t, k = self.diversity, relevance.shape[-1]
        kernel = self.kernel(rows, rows)
        kernel[..., np.arange(k), np.arange(k)] = 1.0
        try:
            residual = np.square(np.diagonal(np.linalg.cholesky(kernel), axis1=-2, axis2=-1))
        except np.linalg.LinAlgError:
            residual = np.zeros(relevance.shape)
        if residual.min() > NOISE:
            return self.summarize(residual, relevance)
        total = relevance.sum(axis=-1)
        if relevance.ndim > 1:  # one of many sets is dependent: each by itself
            each = [self.evaluate(*one) for one in zip(rows, relevance, strict=True)]
            value, total, spread = np.array([own for _, own in each]).T
            return np.stack([gains for gains, _ in each]), Terms(value, total, spread)
        residual = _residuals(kernel)
        spread = float(np.log(residual).sum()) if residual.min() > DEPENDENT else -np.inf
        weighed = t * spread if t > 0 else 0.0
        gains = (1 - t) * relevance
        if t > 0:
            gains += t * _log(residual)
        return gains, Terms((1 - t) * total + weighed, total, spread)

    def summarize(self, residual: Vector, relevance: Vector) -> tuple[Vector, Terms]:
        """Return what `evaluate` does, given each member's residual when it joined, none of them noise."""
        t, total, logarithm = self.diversity, relevance.sum(axis=-1), np.log(residual)
        spread = logarithm.sum(axis=-1)
        return (1 - t) * relevance + t * logarithm, Terms((1 - t) * total + t * spread, total, spread)

    def arrange(self, rows: Floats, relevance: Vector, indices: Rows, first: int) -> Rows:
        k = len(rows)
        kernel = self.kernel(rows, rows)
        np.fill_diagonal(kernel, 1.0)
        base, residual, columns = (1 - self.diversity) * relevance, np.ones(k), np.zeros((k, k))

        def scores(taken: list[int]) -> Vector:
            if taken and residual[(place := taken[-1])] > NOISE:
                step = len(taken) - 1
                column = (kernel[place] - columns[:step, place] @ columns[:step]) / np.sqrt(residual[place])
                columns[step] = column
                np.subtract(residual, column * column, out=residual)
            return base + self.diversity * _log(residual) if self.diversity > 0 else base

        return in_turn(relevance, indices, first, scores)


def _residuals(kernel: Floats) -> Vector:
    """Return d² of s members, each given those before it, and of m others given them all (Cholesky).

    ``kernel`` is that between the members, and them and the others, shape (s, s + m).
    """
    size = len(kernel)
    columns, residual = np.zeros(kernel.shape), np.ones(kernel.shape[1])
    for step in range(size):
        if residual[step] > DEPENDENT:  # else it adds no direction
            column = kernel[step] - columns[:step, step] @ columns[:step]
            columns[step] = column / math.sqrt(residual[step])
            residual[step + 1 :] -= np.square(columns[step, step + 1 :])
    return residual


def _log(residual: Vector) -> Vector:
    """Return the logarithm of residuals, -inf where they are rounding noise."""
    if residual.size and float(residual.min()) > NOISE:
        return np.asarray(np.log(residual))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.where(residual > NOISE, residual, 0.0)))


class LogDetScores(FallingScores):
    """(1 - t) r + t · log of the residual d².

    A small pool's d² comes from its kernel's Cholesky columns; a large one's, under cosine, from an
    orthonormal basis of the chosen rows. Rounding in single precision is allowed for.
    """

    front_until = 0.15
    objective: LogDet

    def begin(self) -> None:
        super().begin()
        self.linear = self.objective.metric == "cosine"
        self.basis = np.zeros((self.k, self.vectors.d))
        self.spanned = 0
        self.left: Vector | None = None  # d² of all candidates, given the first `seen` members
        self.allowed = 3e-6 if self.linear and self.vectors.dtype == np.float32 else 0.0
        self.by_basis = False
        self.noise = 0.0
        self.residual = np.empty(0)
        self.columns = np.empty((0, 0))

    def lead(self, ids: Rows | None = None) -> Vector:
        found = super().lead(ids)
        return np.zeros(len(found)) if self.t == 1.0 else found  # all are alike: the first

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
            if left <= DEPENDENT:
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
            if length * length > DEPENDENT:
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
        """Return d² of a few rows by one small factorization; None where the members are dependent."""
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
        single = len(rows) <= ONE_BY_ONE
        across = np.stack([members @ row for row in rows], axis=1) if single else members @ rows.T
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
        self.columns = np.zeros((self.k, len(column)))
        self.columns[0] = column
        self.residual = 1.0 - self.columns[0] * self.columns[0]

    def start_pool(self) -> None:
        size, count = len(self.rows), len(self.members)
        self.by_basis = self.linear and size > SMALL
        single = self.linear and self.rows.dtype == np.float32
        self.noise = 3e-6 if single else 0.0
        self.residual = np.ones(size)
        if not self.by_basis:
            self.columns = np.zeros((self.k, size))
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
        return np.asarray(base + self.t * _log(residual))

    def pool(self) -> Vector:
        if self.t == 0.0 or not self.members:
            return self.base.copy()
        # Residuals that are noise are not masked here: one that comes first is found out by `surely`.
        scores: Vector = np.maximum(self.residual, DEPENDENT)
        scores += self.noise
        np.log(scores, out=scores)
        scores *= self.t
        scores += self.base
        return scores

    def score_rows(self, ids: Rows) -> Vector:
        scores = np.empty(len(ids))
        for start in range(0, len(ids), 4096):
            part = ids[start : start + 4096]
            base = (1 - self.t) * self.relevance.values[part]
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
        known, base = self.known, (1 - self.t) * self.relevance.values
        self.count("passes")
        if self.linear:
            if self.left is None:
                self.left = np.full(self.vectors.n, 1.0 + self.allowed)
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
        return self._score((1 - self.t) * self.relevance.at(ids), residual)

    def limit(self, relevance: float, most_similar: Callable[[Vector], float]) -> float:
        # A residual is at most 1, its logarithm at most 0. Under euclidean the kernel's bandwidth is that
        # of the candidates seen.
        return (1 - self.t) * relevance if self.linear or not self.members else np.inf


LogDet.scoring = LogDetScores
