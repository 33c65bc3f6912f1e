"""What an objective is: a value for a set and gains for candidates. It never searches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise import checks
from setwise.vectors import Floats, as_matrix, check_metric


class Terms(NamedTuple):
    """A set's value and its two terms; value = (1 - diversity) * relevance + diversity * spread."""

    value: float
    relevance: float
    spread: float


class Objective(ABC):
    """A trade-off between relevance and diversity.

    Parameters
    ----------
    diversity : float
        In [0, 1]: 0 = relevance alone, 1 = diversity alone.
    metric : {"cosine", "euclidean"}

    Raises
    ------
    TypeError, ValueError
        A parameter is out of its range or unknown.
    """

    name: ClassVar[str]

    def __init__(self, diversity: float = 0.2, *, metric: str = "cosine") -> None:
        self.diversity = checks.fraction("diversity", diversity)
        self.metric = check_metric(metric)

    @abstractmethod
    def terms(self, vectors: ArrayLike, relevance: ArrayLike) -> Terms:
        """Return the value of a set and its two terms, in float64.

        Parameters
        ----------
        vectors : array-like of shape (k, d)
            The members, in selection order.
        relevance : array-like of shape (k,)
        """

    @abstractmethod
    def gains(self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike) -> NDArray[np.float64]:
        """Return each candidate's score as the next member of a set.

        Parameters
        ----------
        vectors : array-like of shape (m, d)
            Candidates.
        relevance : array-like of shape (m,)
        chosen : array-like of shape (s, d)
            The members so far, in selection order; s may be 0.

        Returns
        -------
        ndarray of shape (m,), float64
        """

    def value(self, vectors: ArrayLike, relevance: ArrayLike) -> float:
        """Return the value of a set; see `terms`."""
        return self.terms(vectors, relevance).value

    def rows(self, vectors: Any) -> NDArray[np.float64]:
        """Return vectors as float64 rows, of unit length under cosine."""
        array = np.asarray(vectors)
        if array.size == 0:
            return np.empty((0, 1))
        rows = as_matrix(array).astype(np.float64)
        if self.metric == "cosine":
            rows /= np.sqrt(np.vecdot(rows, rows))[:, None]
        return rows

    def __repr__(self) -> str:
        return f"{type(self).__name__}(diversity={self.diversity}, metric={self.metric!r})"


def euclidean(left: Floats, right: Floats) -> NDArray[np.float64]:
    """Return the L2 distance between every two rows, shape (a, b), float64.

    The rows are moved by a common offset first, so that little is lost where they are far from the origin.
    Around a single row on the left nothing is lost at all.
    """
    offset = left[0] if len(left) == 1 else right[0]
    a = np.asarray(left, np.float64) - offset
    b = np.asarray(right, np.float64) - offset
    squares = a @ b.T
    squares *= -2.0
    squares += np.vecdot(a, a)[:, None]
    squares += np.vecdot(b, b)
    # Where rows are much closer to each other than to the offset, little of the square is left: again, by
    # differences.
    near = squares < 1e-6 * (np.vecdot(a, a)[:, None] + np.vecdot(b, b))
    if near.any():
        rows, columns = near.nonzero()
        for start in range(0, len(rows), 65_536):
            i, j = rows[start : start + 65_536], columns[start : start + 65_536]
            delta = a[i] - b[j]
            squares[i, j] = np.vecdot(delta, delta)
    np.maximum(squares, 0.0, out=squares)
    found: NDArray[np.float64] = np.sqrt(squares, out=squares)
    return found
