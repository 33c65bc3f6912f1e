"""k-means for stacks of small problems, from inner products alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.solvers.k_medoids.stack import ROUNDING, first_least

#: Rounds of reassignment at most; small problems settle in a handful.
ROUNDS = 100


def cluster(
    products: NDArray[np.float64], free: NDArray[np.bool_], k: int, draws: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return which of k clusters each point of each problem is in: Lloyd's rounds from k-means++.

    Centers are means of points, so every distance to one follows from inner products of points: a round is
    one product of (k, N) by (N, N) a problem, whatever the dimension.

    Parameters
    ----------
    products : ndarray of shape (B, N, N), float64
        Inner products of the points.
    free : ndarray of shape (B, N), bool
        Which points there are, at least k a problem.
    draws : ndarray of shape (k,), float64 in [0, 1)
        What k-means++ draws the centers with; the same for every problem.

    Returns
    -------
    ndarray of shape (B, N), int64
        -1 where there is no point. A cluster is empty only where fewer than k points are distinct.
    """
    squares = np.diagonal(products, axis1=1, axis2=2)
    largest = np.where(free, squares, 0.0).max(axis=1, keepdims=True)
    labels = _nearest_seed(products, squares, free, k, draws, ROUNDING * largest)
    numbers = np.arange(k)[None, :, None]
    for _ in range(ROUNDS):
        mine = (labels[:, None, :] == numbers).astype(np.float64)
        sizes = mine.sum(axis=2)
        mine /= np.maximum(sizes, 1.0)[:, :, None]
        inner = mine @ products
        apart = np.vecdot(mine, inner)[:, :, None] - 2.0 * inner
        apart[sizes == 0] = np.inf
        found = np.where(free, first_least(apart.transpose(0, 2, 1), largest), -1)
        for problem in np.flatnonzero((sizes == 0).any(axis=1)).tolist():
            _refill(found[problem], apart[problem] + squares[problem], k)
        if np.array_equal(found, labels):
            break
        labels = found
    return labels


def _nearest_seed(
    products: NDArray[np.float64],
    squares: NDArray[np.float64],
    free: NDArray[np.bool_],
    k: int,
    draws: NDArray[np.float64],
    margin: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return the nearest of k points drawn with probability by squared distance to those drawn before.

    The first of those whose squared distances differ by less than a margin, of shape (B, 1).
    """
    rows = np.arange(len(free))
    least = np.full(free.shape, np.inf)
    labels = np.where(free, 0, -1)
    left = free.copy()
    chance = free.astype(np.float64)
    for number in range(k):
        heap = np.cumsum(chance, axis=1)
        pick = (heap > draws[number] * heap[:, -1:]).argmax(axis=1)
        pick = np.where(chance[rows, pick] > 0, pick, left.argmax(axis=1))
        left[rows, pick] = False
        apart = squares + squares[rows, pick][:, None] - 2.0 * products[rows, pick]
        np.maximum(apart, 0.0, out=apart)
        apart[apart <= 1e-12 * (squares + squares[rows, pick][:, None])] = 0.0
        nearer = free & (apart < least - margin)
        labels[nearer] = number
        least = np.where(nearer, apart, least)
        chance = np.where(left, least, 0.0)
    return labels


def _refill(labels: NDArray[np.int64], apart: NDArray[np.float64], k: int) -> None:
    """Give each empty cluster of one problem the point farthest from its center, if there is one apart."""
    own = np.where(labels >= 0, apart[labels, np.arange(len(labels))], 0.0)
    noise = 1e-12 * max(float(np.abs(own).max()), 1e-300)
    for empty in np.setdiff1d(np.arange(k), labels).tolist():
        sizes = np.bincount(labels[labels >= 0], minlength=k)
        own[(labels >= 0) & (sizes[labels] < 2)] = 0.0
        far = int(first_least(-own, own.max()))
        if own[far] <= noise:
            return
        labels[far], own[far] = empty, 0.0


def lowest_of_each(labels: NDArray[np.int64], scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the member of least score of each cluster, shape (B, k): always k distinct points.

    Ties go to the lowest position. Where a cluster is empty, the least of those not chosen yet joins.

    Parameters
    ----------
    labels : ndarray of shape (B, N), int64
    scores : ndarray of shape (B, N)
        Infinite where there is no point.
    """
    found = np.where(labels[:, None, :] == np.arange(k)[None, :, None], scores[:, None, :], np.inf)
    places = found.argmin(axis=2)
    empty = ~np.isfinite(found.min(axis=2))
    for problem in np.flatnonzero(empty.any(axis=1)).tolist():
        rest = scores[problem].copy()
        rest[places[problem, ~empty[problem]]] = np.inf
        order = np.argsort(rest, kind="stable")
        places[problem, empty[problem]] = order[: int(empty[problem].sum())]
    return np.asarray(places)
