"""k-means partitions of vectors: built once, streamed, with radii and room for new points.

Whatever threads do, and however rows are cut into blocks or shards, the same centers give the same
partition and the same centroids.
"""

from __future__ import annotations

import math
import threading as locks
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.centers import learn_centers, sampled_rows
from setwise.vectors import Floats, Vectors

#: Clusters that are made where nothing is said of them.
CLUSTERS = 200


@dataclass(frozen=True, eq=False)
class Clusters:
    """A partition of n rows into l clusters, none of them empty.

    Attributes
    ----------
    centroids : ndarray of shape (l, d), of the type that the vectors are computed in
        Means of the members; of unit length under cosine.
    labels : ndarray of shape (n,), int32
        The cluster of every row.
    radii : ndarray of shape (l,), float64
        Largest distance of a member to its centroid (r of MUSS, Lemma 5, is the largest of these).
    metric : {"cosine", "euclidean"}
    quality_weight : float
        w_c, where clusters were made of [x, sqrt(w_c) · quality] (MUSS, Appendix C); 0 for vectors alone.
    joint : ndarray of shape (l, d + 1), of that type, or None
        With a weight above 0, the means of those.
    """

    centroids: Floats
    labels: NDArray[np.int32]
    radii: NDArray[np.float64]
    metric: str
    quality_weight: float = 0.0
    joint: Floats | None = None

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

    def assign(
        self, rows: NDArray[Any], quality: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the nearest cluster of each row (of unit length under cosine), and its distance.

        Parameters
        ----------
        rows : ndarray of shape (m, d)
        quality : ndarray of shape (m,), optional
            Needed where clusters were made of vectors and quality: the nearest is then that of
            [x, sqrt(w_c) · quality], under the Euclidean distance, as when they were made.

        Returns
        -------
        labels : ndarray of shape (m,), int32
            Ties by lowest cluster.
        distances : ndarray of shape (m,), float64
            Of the vectors to the centroids.

        Raises
        ------
        ValueError
            The quality is needed and not given.
        """
        if self.joint is None:
            return nearest(rows, self.centroids, self.metric)
        if quality is None:
            raise ValueError("quality: clusters were made of vectors and quality, so rows need theirs")
        extra = (np.sqrt(self.quality_weight) * quality).astype(rows.dtype)
        labels, _ = nearest(np.hstack([rows, extra[:, None]]), self.joint, "euclidean")
        return labels, distances(rows, self.centroids, labels, self.metric)


def count_of(clusters: int | None, n: int) -> int:
    """Return how many clusters to make of n rows: by default `CLUSTERS`, or n / 5 where that is fewer.

    Raises TypeError: the number is no integer; ValueError: it is below 1 or above n.
    """
    if clusters is None:
        return min(CLUSTERS, max(1, n // 5))
    count = checks.integer("clusters", clusters, least=1)
    if count > n:
        raise ValueError(f"clusters: {count} are more than the {n} items; ask for at most that")
    return count


def k_means(
    vectors: Vectors,
    clusters: int | None,
    *,
    quality: NDArray[np.float64] | None = None,
    quality_weight: float = 0.0,
    seed: int = 0,
) -> Clusters:
    """Partition vectors by k-means (Lloyd, by FAISS, from k-means++) on a sample, and assign every row.

    Parameters
    ----------
    vectors : Vectors
        Any size; only the sample is held in memory beside them.
    clusters : int, optional
        1 to n; see `count_of`.
    quality : ndarray of shape (n,), optional
        Clusters are made of [x, sqrt(quality_weight) · quality] (MUSS, Appendix C).
    quality_weight : float
        At least 0.

    Raises TypeError: the number of clusters or the seed is no integer; ValueError: more clusters than rows,
    fewer than 1, a seed below 0, or a weight below 0 or without quality; ImportError: FAISS is not installed.
    """
    count = count_of(clusters, vectors.n)
    quality_weight = checks.finite("quality_weight", quality_weight)
    if quality_weight < 0.0:
        raise ValueError(f"quality_weight: {quality_weight} is below 0")
    if quality_weight and quality is None:
        raise ValueError("quality_weight: needs quality")
    extra = None
    if quality is not None and quality_weight:
        with np.errstate(over="ignore"):
            extra = (np.sqrt(quality_weight) * quality).astype(vectors.dtype)
        if not np.isfinite(extra).all():
            raise ValueError(f"quality_weight: {quality_weight:g} times a quality is beyond {extra.dtype}")
    picked = sampled_rows(vectors.n, count, checks.integer("seed", seed, least=0))
    sample = vectors.rows(picked)
    if extra is not None:
        sample = np.hstack([sample, extra[picked, None]])
    spherical = vectors.metric == "cosine" and extra is None
    centers = learn_centers(sample, count, spherical=spherical, seed=seed)
    labels = fill_empty(vectors.rows, _assign_all(vectors, centers, extra), count)
    step = grid(vectors.n, vectors.metric, sample)
    return _described(vectors, labels, count, step, quality_weight, extra)


def by_labels(vectors: Vectors, labels: NDArray[np.int32]) -> Clusters:
    """Return the clusters that labels of every row make, numbered from 0 without gaps, in two passes."""
    count = int(labels.max()) + 1
    sample = vectors.rows(sampled_rows(vectors.n, count, 0))
    return _described(vectors, labels, count, grid(vectors.n, vectors.metric, sample), 0.0, None)


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


def nearest(rows: Floats, centers: Floats, metric: str) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the nearest center of each row, and its distance; of equally near ones the lowest."""
    own = centers.astype(rows.dtype)
    moved = rows
    if metric == "euclidean":  # what all have in common would drown in rounding what they differ by
        shift = own.mean(axis=0)
        own, moved = own - shift, rows - shift
    likeness = moved @ own.T
    squares = np.vecdot(own, own)
    reach = squares.max() ** 0.5
    terms = reach * np.sqrt(np.vecdot(moved, moved))
    if metric == "euclidean":  # |x - c|² = |x|² - 2 (x·c - |c|²/2)
        likeness -= squares / 2
        terms += reach**2 / 2
    # A kernel rounds a row's products by where the row stands: what differs by that is equal.
    rounding = 4 * np.finfo(rows.dtype).eps * terms
    likely = likeness >= likeness.max(axis=1, keepdims=True) - rounding[:, None]
    labels = likely.argmax(axis=1).astype(np.int32)
    return labels, distances(rows, centers, labels, metric)


def distances(rows: Floats, centers: Floats, labels: NDArray[np.int32], metric: str) -> NDArray[np.float64]:
    """Return the distance of each row to its own center, shape (m,), float64."""
    found: NDArray[np.float64]
    if metric == "cosine":
        found = np.maximum(1.0 - np.vecdot(rows, centers[labels]).astype(np.float64), 0.0)
    else:
        delta = rows.astype(np.float64) - centers[labels]
        found = np.sqrt(np.vecdot(delta, delta))
    return found


def _assign_all(vectors: Vectors, centers: Floats, extra: Floats | None) -> NDArray[np.int32]:
    """Return the nearest center of every row, in one pass."""
    labels = np.empty(vectors.n, np.int32)
    metric = vectors.metric if extra is None else "euclidean"

    def assign(start: int, stop: int, block: NDArray[Any]) -> None:
        rows = block if extra is None else np.hstack([block, extra[start:stop, None]])
        labels[start:stop] = nearest(rows, centers, metric)[0]

    vectors.map_blocks(assign)
    return labels


def fill_empty(
    rows_of: Callable[[NDArray[np.int64]], Floats], labels: NDArray[np.int32], count: int
) -> NDArray[np.int32]:
    """Give every empty cluster half of the largest one, along the direction in which that one is widest.

    Parameters
    ----------
    rows_of : callable
        Returns the vectors of some rows.
    labels : ndarray of shape (n,), int32
        Written to.
    count : int
        At most n.
    """
    sizes = np.bincount(labels, minlength=count)
    for empty in np.flatnonzero(sizes == 0).tolist():
        largest = int(sizes.argmax())
        rows = np.flatnonzero(labels == largest)
        held = np.asarray(rows_of(rows[:: max(1, len(rows) // 4096)]), np.float64)
        # The two ends of the direction in which the members differ most from their mean.
        away = held - held.mean(axis=0)
        far = away[int(np.vecdot(away, away).argmax())]
        along = np.concatenate(
            [np.asarray(rows_of(rows[a : a + 8192]), np.float64) @ far for a in range(0, len(rows), 8192)]
        )
        moved = rows[np.argsort(along, kind="stable")[len(rows) // 2 :]]
        labels[moved] = empty
        sizes[largest] -= len(moved)
        sizes[empty] = len(moved)
    return labels


def grid(n: int, metric: str, sample: Floats) -> float:
    """Return the step to which rows are rounded before they are summed: float64 sums on it are exact.

    An exact sum is the same whatever the order and the blocks in which it is made. The rounding is beyond
    what centroids keep: at 2^20 rows, 2^-30 of the largest number; 3 bits are left for rows that exceed the
    sample's.
    """
    peak = 1.0 if metric == "cosine" else float(np.abs(sample).max()) or 1.0
    return math.ldexp(1.0, max(math.frexp(peak)[1] + math.frexp(n)[1] - 50, -1074))


def sums_of(
    labels: NDArray[np.int32], rows: Floats, step: float
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the clusters that some rows are of, and the rows' sums in each, on a `grid` of this step."""
    order = np.argsort(labels, kind="stable")
    present, first = np.unique(labels[order], return_index=True)
    rounded = np.rint(rows[order].astype(np.float64) / step) * step
    return present, np.add.reduceat(rounded, first, axis=0)


def centroids_of(
    sums: NDArray[np.float64], sizes: NDArray[np.int64], metric: str, dtype: np.dtype[Any]
) -> Floats:
    """Return the means of clusters, of unit length under cosine, shape (l, d)."""
    means = sums / sizes[:, None]
    if metric == "cosine":
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        means = means / np.where(lengths > 0.0, lengths, 1.0)
    return means.astype(dtype)


def _described(
    vectors: Vectors,
    labels: NDArray[np.int32],
    count: int,
    step: float,
    quality_weight: float,
    extra: Floats | None,
) -> Clusters:
    """Return clusters with their members' means and radii, in two passes."""
    sums = np.zeros((count, vectors.d))
    lock = locks.Lock()

    def add(start: int, stop: int, block: NDArray[Any]) -> None:
        present, found = sums_of(labels[start:stop], block, step)
        with lock:
            sums[present] += found

    vectors.map_blocks(add)
    sizes = np.bincount(labels, minlength=count)
    centroids = centroids_of(sums, sizes, vectors.metric, vectors.dtype)
    radii = np.zeros(count)

    def measure(start: int, stop: int, block: NDArray[Any]) -> None:
        part = labels[start:stop]
        away = distances(block, centroids, part, vectors.metric)
        with lock:
            np.maximum.at(radii, part, away)

    vectors.map_blocks(measure)
    joint = None
    if extra is not None:
        means = np.bincount(labels, extra, minlength=count) / sizes
        joint = np.column_stack([sums / sizes[:, None], means]).astype(vectors.dtype)
    return Clusters(centroids, labels, radii, vectors.metric, float(quality_weight), joint)
