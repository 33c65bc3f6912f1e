"""log-det: relevance plus the log-determinant of the chosen items' kernel (a DPP's log-likelihood)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise.objectives.base import Objective, Terms, euclidean
from setwise.vectors import Floats, Vectors

#: A residual below this is rounding noise: the chosen items span what the kernel can tell apart.
NOISE = 1e-6


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
        Of the Gaussian kernel, > 0. Default: the mean squared distance between two candidates
        (`fit` measures it).
    """

    name: ClassVar[str] = "log-det"

    def __init__(
        self, diversity: float = 0.2, *, metric: str = "cosine", bandwidth: float | None = None
    ) -> None:
        super().__init__(diversity, metric=metric)
        if bandwidth is not None:
            if isinstance(bandwidth, bool) or not isinstance(bandwidth, int | float | np.number):
                raise TypeError(f"bandwidth: expected a number above 0, got {bandwidth!r}")
            if not (np.isfinite(bandwidth) and bandwidth > 0):
                raise ValueError(f"bandwidth: {bandwidth} is not above 0")
        self.bandwidth = bandwidth

    def fit(self, vectors: Vectors) -> None:
        """Set the Gaussian kernel's bandwidth from all candidates, if it needs one and has none."""
        if self.metric != "euclidean" or self.bandwidth is not None:
            return
        total = np.zeros(vectors.d)
        offset = vectors.rows(np.array([0]), np.float64)[0]
        squares = 0.0
        for start in range(0, vectors.n, 4096):
            rows = vectors.rows(slice(start, min(vectors.n, start + 4096)), np.float64) - offset
            total += rows.sum(axis=0)
            squares += float(np.vecdot(rows, rows).sum())
        mean = total / vectors.n
        spread = 2.0 * (squares / vectors.n - float(mean @ mean))
        self.bandwidth = spread if spread > 0 else 1.0

    def fitted(self, vectors: Vectors) -> LogDet:
        """Return this objective, or where it has no bandwidth a copy that has the candidates' own."""
        if self.metric != "euclidean" or self.bandwidth is not None:
            return self
        other = LogDet(self.diversity, metric=self.metric)
        other.fit(vectors)
        return other

    def kernel(self, left: Floats, right: Floats) -> Floats:
        """Return the kernel between every two rows (of unit length under cosine), shape (a, b)."""
        if self.metric == "cosine":
            found: Floats = left @ right.T
            return found
        if self.bandwidth is None:
            raise ValueError("bandwidth: needed for the Gaussian kernel; pass one, or call fit")
        distances = euclidean(left, right)
        distances *= distances
        distances /= -self.bandwidth
        return np.asarray(np.exp(distances, out=distances))

    def terms(self, vectors: ArrayLike, relevance: ArrayLike) -> Terms:
        """See `Objective.terms`. Relevance is summed; the second term is the log-determinant."""
        return self.terms_of_rows(self.rows(vectors), np.asarray(relevance, np.float64))

    def terms_of_rows(self, rows: Floats, relevance: NDArray[np.float64]) -> Terms:
        """Return the terms of a set given as float64 rows, of unit length under cosine."""
        total = float(relevance.sum())
        gram = self.kernel(rows, rows)
        np.fill_diagonal(gram, 1.0)
        sign, logarithm = np.linalg.slogdet(gram)
        spread = float(logarithm) if sign > 0 else -np.inf
        weighed = self.diversity * spread if self.diversity > 0 else 0.0
        return Terms((1 - self.diversity) * total + weighed, total, spread)

    def gains(self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike) -> NDArray[np.float64]:
        """Return (1 - t) r + t log d², d² the residual given the chosen; -inf where nothing is left."""
        score = (1 - self.diversity) * np.asarray(relevance, np.float64)
        members = self.rows(chosen)
        if len(members) == 0 or self.diversity == 0:
            return score
        candidates = self.rows(vectors)
        gram = self.kernel(members, members)
        np.fill_diagonal(gram, 1.0)
        factor = np.linalg.cholesky(gram + 1e-12 * np.eye(len(gram)))
        cross = np.linalg.solve(factor, self.kernel(members, candidates))
        residual = 1.0 - np.einsum("ij,ij->j", cross, cross)
        with np.errstate(divide="ignore"):
            return np.asarray(score + self.diversity * np.log(np.where(residual > NOISE, residual, 0.0)))
