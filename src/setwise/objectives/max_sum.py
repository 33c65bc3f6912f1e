"""max-sum: mean relevance plus mean pairwise distance."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise.objectives.base import Objective, Terms, euclidean
from setwise.vectors import Floats


class MaxSum(Objective):
    """(1 - t) * mean relevance + t * mean distance between two members (MUSS Eq. 2, CCBQP Eq. 2).

    Up to scale and constant the two papers' objectives are this one; the second term is ILAD, the
    intra-list average distance. A set of one has relevance alone.

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
    TypeError, ValueError
        A parameter is out of its range, or a sharpness above 1 with the Euclidean metric.
    """

    name: ClassVar[str] = "max-sum"

    def __init__(self, diversity: float = 0.2, *, sharpness: int = 1, metric: str = "cosine") -> None:
        super().__init__(diversity, metric=metric)
        self.sharpness = check_sharpness(sharpness, metric)

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
        """Return the distance between every two rows, shape (a, b).

        Parameters
        ----------
        left, right : ndarray of shape (a, d) and (b, d)
            Of unit length under cosine.
        """
        if self.metric == "euclidean":
            return euclidean(left, right)
        found = self.similarity(left @ right.T)
        np.subtract(1, found, out=found)
        return found

    @property
    def low_rank(self) -> bool:
        """Whether summed distances follow from the sum of the members alone (cosine, sharpness 1)."""
        return self.metric == "cosine" and self.sharpness == 1

    def terms(self, vectors: ArrayLike, relevance: ArrayLike) -> Terms:
        """See `Objective.terms`."""
        return self.terms_of_rows(self.rows(vectors), np.asarray(relevance, np.float64))

    def terms_of_rows(self, rows: Floats, relevance: NDArray[np.float64]) -> Terms:
        """Return the terms of a set given as float64 rows, of unit length under cosine."""
        k = len(rows)
        mean = float(relevance.sum()) / k
        if k == 1:
            return Terms((1 - self.diversity) * mean, mean, 0.0)
        if self.low_rank:
            total = rows.sum(axis=0)
            spread = 1.0 - (float(total @ total) - k) / (k * (k - 1))
        else:
            distances = self.distances(rows, rows)
            np.fill_diagonal(distances, 0.0)
            spread = float(distances.sum()) / (k * (k - 1))
        return Terms((1 - self.diversity) * mean + self.diversity * spread, mean, spread)

    def gains(self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike) -> NDArray[np.float64]:
        """Return (1 - t) r_j + t * mean distance to the chosen (MUSS Alg. 1, divided by their number)."""
        score = (1 - self.diversity) * np.asarray(relevance, np.float64)
        members = self.rows(chosen)
        if len(members):
            score = score + self.diversity * self.distances(self.rows(vectors), members).mean(axis=1)
        return score

    def gradient(
        self, vectors: ArrayLike, relevance: ArrayLike, weights: ArrayLike, k: int
    ) -> NDArray[np.float64]:
        """Return the gradient of f(x) = (1-t)(k-1) r·x + t Σ_ij x_i x_j d_ij, on sets k(k-1) times the value.

        Parameters
        ----------
        vectors : array-like of shape (n, d)
        relevance : array-like of shape (n,)
        weights : array-like of shape (n,)
            The point x, of sum k.
        k : int
            Size of the set.

        Returns
        -------
        ndarray of shape (n,), float64
        """
        rows = self.rows(vectors)
        x = np.asarray(weights, np.float64)
        linear = (1 - self.diversity) * (k - 1) * np.asarray(relevance, np.float64)
        if self.low_rank:
            pulled = x.sum() - rows @ (rows.T @ x)
        else:
            support = np.flatnonzero(x)
            distances = self.distances(rows, rows[support])
            distances[support, np.arange(len(support))] = 0.0
            pulled = distances @ x[support]
        return np.asarray(linear + 2 * self.diversity * pulled, np.float64)

    def __repr__(self) -> str:
        return f"MaxSum(diversity={self.diversity}, sharpness={self.sharpness}, metric={self.metric!r})"


def check_sharpness(sharpness: Any, metric: str) -> int:
    """Return a usable sharpness: 1 or an even integer, 1 under euclidean."""
    if isinstance(sharpness, bool) or not isinstance(sharpness, int | np.integer):
        raise TypeError(f"sharpness: expected 1 or an even integer, got {sharpness!r}")
    if sharpness != 1 and (sharpness < 2 or sharpness % 2):
        raise ValueError(f"sharpness: {sharpness} is neither 1 nor an even integer (2, 4, 8, 16)")
    if sharpness != 1 and metric != "cosine":
        raise ValueError("sharpness: above 1 is a power of the cosine; pass metric='cosine' or sharpness=1")
    return int(sharpness)
