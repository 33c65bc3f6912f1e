"""k-means partitions of vectors: built once, streamed, with radii and room for new points."""

from __future__ import annotations

import threading as locks
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.vectors import Vectors

#: k-means learns from at most this many rows a cluster; all are assigned.
ROWS_A_CLUSTER = 256

#: Lloyd iterations.
ITERATIONS = 20


@dataclass(frozen=True, eq=False)
class Clusters:
    """A partition of n rows into l clusters, none of them empty.

    Attributes
    ----------
    centroids : ndarray of shape (l, d), float32
        Means of the members; of unit length under cosine.
    labels : ndarray of shape (n,), int32
        The cluster of every row.
    radii : ndarray of shape (l,), float64
        Largest distance of a member to its centroid (r of MUSS, Lemma 5, is the largest of these).
    metric : {"cosine", "euclidean"}
    """

    centroids: NDArray[np.float32]
    labels: NDArray[np.int32]
    radii: NDArray[np.float64]
    metric: str

    def __len__(self) -> int:
        return len(self.centroids)

    def sizes(self) -> NDArray[np.int64]:
        """Return the number of members of each cluster, shape (l,)."""
        return np.bincount(self.labels, minlength=len(self))

    def members(self) -> list[NDArray[np.int64]]:
        """Return the rows of each cluster, ascending."""
        return rows_of_parts(self.labels, len(self))

    def medians(self, quality: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return each cluster's quality: its members' median (MUSS, step 1), shape (l,)."""
        return medians_of(self.members(), quality)

    def quality_radii(self, quality: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far a member's quality is from its cluster's at most, shape (l,)."""
        medians = self.medians(quality)
        away = np.abs(quality - medians[self.labels])
        found = np.zeros(len(self))
        np.maximum.at(found, self.labels, away)
        return found

    def assign(self, rows: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the nearest cluster of each row (of unit length under cosine), and its distance.

        Parameters
        ----------
        rows : ndarray of shape (m, d)

        Returns
        -------
        labels : ndarray of shape (m,), int32
            Ties by lowest cluster.
        distances : ndarray of shape (m,), float64
        """
        return _nearest(rows, self.centroids, self.metric)


def k_means(
    vectors: Vectors,
    clusters: int,
    *,
    quality: NDArray[np.float64] | None = None,
    quality_weight: float = 0.0,
    seed: int = 0,
) -> Clusters:
    """Partition vectors by k-means (Lloyd, by FAISS) on a sample, and assign every row in one pass.

    Parameters
    ----------
    vectors : Vectors
        Any size; only the sample is held in memory beside them.
    clusters : int
        1 to n.
    quality : ndarray of shape (n,), optional
        Clusters are made of [x, sqrt(quality_weight) · quality] (MUSS, Appendix C).
    quality_weight : float
        At least 0.
    seed : int

    Returns
    -------
    Clusters

    Raises
    ------
    TypeError, ValueError
        More clusters than rows, or a weight below 0 or without quality.
    """
    import faiss

    count = checks.integer("clusters", clusters, least=1)
    if count > vectors.n:
        raise ValueError(f"clusters: {count} are more than the {vectors.n} items; ask for at most that")
    if not quality_weight >= 0.0:
        raise ValueError(f"quality_weight: {quality_weight} is below 0")
    if quality_weight and quality is None:
        raise ValueError("quality_weight: needs quality")
    extra = None
    if quality is not None and quality_weight:
        extra = (np.sqrt(quality_weight) * quality).astype(np.float32)
    rng = np.random.default_rng(checks.integer("seed", seed, least=0))
    size = min(vectors.n, ROWS_A_CLUSTER * count)
    picked = np.sort(rng.permutation(vectors.n)[:size])
    learnt = np.asarray(vectors.rows(picked), np.float32)
    if extra is not None:
        learnt = np.hstack([learnt, extra[picked, None]])
    means = faiss.Kmeans(
        learnt.shape[1],
        count,
        niter=ITERATIONS,
        seed=1 + seed % (2**31 - 2),
        spherical=vectors.metric == "cosine" and extra is None,
        min_points_per_centroid=1,
        max_points_per_centroid=ROWS_A_CLUSTER,
    )
    means.train(np.ascontiguousarray(learnt))
    centres = np.asarray(means.centroids, np.float32).reshape(count, -1)
    labels = _assign_all(vectors, centres, extra)
    labels = _fill_empty(vectors, labels, count)
    return _described(vectors, labels, count)


def rows_of_parts(labels: NDArray[np.int32], count: int) -> list[NDArray[np.int64]]:
    """Return the rows of each part of a partition, ascending."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.cumsum(np.bincount(labels, minlength=count))[:-1])


def medians_of(parts: list[NDArray[np.int64]], quality: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each part's median quality."""
    return np.array([np.median(quality[rows]) for rows in parts])


def random_partition(n: int, parts: int, seed: int = 0) -> NDArray[np.int32]:
    """Return labels of a random partition into parts of equal size, to one (DGDS; MUSS's rand.B)."""
    labels = np.arange(n, dtype=np.int32) % parts
    return np.random.default_rng(seed).permutation(labels)


def _nearest(
    rows: NDArray[Any], centres: NDArray[np.float32], metric: str
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the nearest centre of each row, and its distance."""
    products = rows @ centres.T.astype(rows.dtype)
    if metric == "cosine":
        labels = products.argmax(axis=1)
        found = 1.0 - products[np.arange(len(rows)), labels].astype(np.float64)
        return labels.astype(np.int32), np.maximum(found, 0.0)
    squares = np.vecdot(centres, centres).astype(np.float64)
    labels = (squares - 2.0 * products).argmin(axis=1)
    delta = rows.astype(np.float64) - centres[labels]
    return labels.astype(np.int32), np.sqrt(np.vecdot(delta, delta))


def _assign_all(
    vectors: Vectors, centres: NDArray[np.float32], extra: NDArray[np.float32] | None
) -> NDArray[np.int32]:
    """Return the nearest centre of every row, in one pass."""
    labels = np.empty(vectors.n, np.int32)
    metric = vectors.metric if extra is None else "euclidean"

    def assign(start: int, stop: int, block: NDArray[Any]) -> None:
        rows = block if extra is None else np.hstack([block, extra[start:stop, None]])
        labels[start:stop] = _nearest(rows, centres, metric)[0]

    vectors.map_blocks(assign)
    return labels


def _fill_empty(vectors: Vectors, labels: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """Give every empty cluster half of the largest one, split at random rows of it."""
    sizes = np.bincount(labels, minlength=count)
    for empty in np.flatnonzero(sizes == 0).tolist():
        largest = int(sizes.argmax())
        rows = np.flatnonzero(labels == largest)
        held = np.asarray(vectors.rows(rows[:: max(1, len(rows) // 4096)]), np.float64)
        # The two ends of the direction in which the members differ most from their mean.
        away = held - held.mean(axis=0)
        far = away[int(np.vecdot(away, away).argmax())]
        along = np.concatenate(
            [
                np.asarray(vectors.rows(rows[a : a + 8192]), np.float64) @ far
                for a in range(0, len(rows), 8192)
            ]
        )
        moved = rows[np.argsort(along, kind="stable")[len(rows) // 2 :]]
        labels[moved] = empty
        sizes[largest] -= len(moved)
        sizes[empty] = len(moved)
    return labels


def _described(vectors: Vectors, labels: NDArray[np.int32], count: int) -> Clusters:
    """Return clusters with their members' means and radii, in two passes."""
    sums = np.zeros((count, vectors.d))
    lock = locks.Lock()

    def add(start: int, stop: int, block: NDArray[Any]) -> None:
        part = labels[start:stop]
        order = np.argsort(part, kind="stable")
        present, first = np.unique(part[order], return_index=True)
        found = np.add.reduceat(block[order].astype(np.float64), first, axis=0)
        with lock:
            sums[present] += found

    vectors.map_blocks(add)
    means = sums / np.bincount(labels, minlength=count)[:, None]
    if vectors.metric == "cosine":
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        means = means / np.where(lengths > 0.0, lengths, 1.0)
    centroids = means.astype(np.float32)
    radii = np.zeros(count)

    def measure(start: int, stop: int, block: NDArray[Any]) -> None:
        part = labels[start:stop]
        if vectors.metric == "cosine":
            away = 1.0 - np.vecdot(block, centroids[part]).astype(np.float64)
        else:
            delta = block.astype(np.float64) - centroids[part]
            away = np.sqrt(np.vecdot(delta, delta))
        with lock:
            np.maximum.at(radii, part, away)

    vectors.map_blocks(measure)
    return Clusters(centroids, labels, radii, vectors.metric)
