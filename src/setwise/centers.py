"""Centers of clusters, learned by k-means from a sample of the rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from setwise.threads import one_blas_thread
from setwise.vectors import Floats

#: k-means learns from at most this many rows a cluster; all are assigned.
ROWS_A_CLUSTER = 256


#: Rows a cluster that the first centers are drawn from, and rows that they are drawn from in any case.
ROWS_A_START, ROWS_TO_START = 32, 4096


#: Lloyd iterations.
ITERATIONS = 20


def sampled_rows(n: int, clusters: int, seed: int, most: int = ROWS_A_CLUSTER) -> NDArray[np.int64]:
    """Return the rows that k-means learns from, at most ``most`` a cluster, ascending."""
    size = min(n, most * clusters)
    return np.sort(np.random.default_rng(seed).permutation(n)[:size])


def learn_centers(
    sample: Floats,
    clusters: int,
    *,
    spherical: bool,
    seed: int,
    iterations: int = ITERATIONS,
    apart: bool = True,
) -> Floats:
    """Return the centers that Lloyd's iterations from k-means++ find in a sample, shape (clusters, d).

    Parameters
    ----------
    sample : ndarray of shape (m, d)
        All of it is used.
    clusters : int
        At most m.
    spherical : bool
        Keep centers at unit length; rows are of unit length then.
    apart : bool
        Whether to start from rows that are far apart (k-means++), which takes as long as the rest; else from
        rows drawn at random.

    Raises ImportError: FAISS is not installed.
    """
    from setwise.extras.faiss import faiss

    # FAISS computes in float32: what differs between rows has to be in its first digits, and in its range.
    shift = np.zeros(1) if spherical else sample.mean(axis=0, dtype=np.float64)
    rows = sample - shift.astype(sample.dtype)
    peak = 1.0 if spherical else float(np.abs(rows).max()) or 1.0
    rows /= rows.dtype.type(peak)
    means = faiss.Kmeans(
        rows.shape[1],
        clusters,
        niter=iterations,
        seed=1 + int(seed) % (2**31 - 2),  # FAISS takes Python's integers alone
        spherical=spherical,
        min_points_per_centroid=1,
        max_points_per_centroid=len(rows),
    )
    rows = np.ascontiguousarray(rows, np.float32)
    drawn = rows[sampled_rows(len(rows), 1, seed, most=max(ROWS_TO_START, ROWS_A_START * clusters))]
    with one_blas_thread():
        if apart:
            first = _first_centers(drawn, clusters, seed)
        else:
            first = drawn[sampled_rows(len(drawn), clusters, seed, most=1)]
        means.train(rows, init_centroids=first)
    centers: Floats = np.asarray(means.centroids, np.float64).reshape(clusters, -1) * peak + shift
    return centers.astype(sample.dtype)


def _first_centers(rows: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.float32]:
    """Return rows that are far apart, shape (clusters, d): greedy k-means++.

    Each is the best of a few that are drawn with probability by squared distance to those before it.

    References
    ----------
    Arthur and Vassilvitskii, k-means++: the advantages of careful seeding, 2007, section 5.
    """
    rng = np.random.default_rng(seed)
    squares = np.vecdot(rows, rows)
    trials = 2 + int(math.log(clusters))
    least = np.full(len(rows), np.inf, np.float32)
    chosen = np.zeros(len(rows), bool)
    for number in range(clusters):
        heap = np.cumsum(np.where(chosen, 0.0, least if number else 1.0), dtype=np.float64)
        if heap[-1] > 0.0:
            picks = np.searchsorted(heap[:-1], rng.random(trials if number else 1) * heap[-1], side="right")
        else:  # what is left are copies
            picks = np.flatnonzero(~chosen)[:1]
        apart = np.maximum(squares - 2.0 * (rows[picks] @ rows.T) + squares[picks][:, None], 0.0)
        np.minimum(apart, least, out=apart)
        best = int(apart.sum(axis=1, dtype=np.float64).argmin())
        least = apart[best]
        chosen[picks[best]] = True
    return rows[chosen]
