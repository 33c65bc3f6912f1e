"""MUSS over shards: clusters of all items, and selection inside those that are kept, wherever rows lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from setwise import cluster as clustering
from setwise.catalog.request import CatalogRequest
from setwise.catalog.shards.reading import Columns, Shard, StoredShard, store
from setwise.centers import learn_centers, sampled_rows
from setwise.engine import Engine
from setwise.objectives import Objective
from setwise.solvers.levels import select_clusters, select_greedily
from setwise.top import top_k
from setwise.vectors import Floats, Vectors


@dataclass(frozen=True, eq=False)
class ShardItems:
    """What enters the last step: where each item is, its quality and its vector.

    Attributes
    ----------
    shards, rows : ndarray of shape (u,), int64
        The shard, and the row there.
    quality : ndarray of shape (u,), float64
    vectors : ndarray of shape (u, d)
    clusters : ndarray of shape (u,), int32, or None
    """

    shards: NDArray[np.int64]
    rows: NDArray[np.int64]
    quality: NDArray[np.float64]
    vectors: NDArray[Any]
    clusters: NDArray[np.int32] | None = None


@dataclass(frozen=True, eq=False)
class ShardClusters:
    """Clusters of items over shards.

    Attributes
    ----------
    centroids : ndarray of shape (l, d)
        Means of the members, or as given; of unit length under cosine.
    sizes : ndarray of shape (l,), int64
    medians : ndarray of shape (l,), float64
        Of the members' qualities.
    kept : ndarray of shape (m,), int64
        The clusters selected from.
    radii : ndarray of shape (m,), float64
        Of the kept ones: the largest distance of a member to its centroid.
    """

    centroids: Floats
    sizes: NDArray[np.int64]
    medians: NDArray[np.float64]
    kept: NDArray[np.int64]
    radii: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.centroids)


class _Rows:
    """The rows of all shards, counted through."""

    def __init__(self, stored: list[StoredShard]) -> None:
        self.stored = stored
        self.starts = np.cumsum([0, *[one.n for one in stored]])
        self.n = int(self.starts[-1])

    def parts(self, rows: NDArray[np.int64]) -> list[tuple[StoredShard, NDArray[np.int64]]]:
        """Return ascending rows as (shard, its rows), for those shards that have any."""
        cuts = np.searchsorted(rows, self.starts)
        return [
            (one, rows[a:b] - start)
            for one, start, a, b in zip(self.stored, self.starts[:-1], cuts[:-1], cuts[1:], strict=True)
            if b > a
        ]

    def unit(self, rows: NDArray[np.int64], metric: str) -> NDArray[Any]:
        """Return ascending rows, checked, of unit length under cosine."""
        found = [one.checked(ids, metric) for one, ids in self.parts(rows)]
        return np.concatenate([one.rows(slice(0, one.n)) for one in found])


def clustered_items(
    engine: Engine,
    shards: list[Shard],
    columns: Columns,
    request: CatalogRequest,
    clusters: int | NDArray[Any] | None,
    folder: str,
) -> tuple[ShardItems, ShardClusters]:
    """Return what MUSS's levels yield for the last step (Algorithm 2, lines 1 to 6), and the clusters.

    Parameters
    ----------
    shards : list of Shard
    request : CatalogRequest
        Its ``clusters`` are those to keep.
    clusters : int, array-like of shape (l, d) or None
        How many to make (see `count_of`), or their centroids.
    folder : str
        For the vectors of Parquet shards; every worker reads and writes it.

    Raises FileNotFoundError: a worker does not find the folder; TypeError, ValueError: a shard lacks a column
    or has bad rows (with its path), shards are of different widths, or more is asked for than there is.
    """
    metric = request.metric
    work = [(one, str(Path(folder) / f"{number}.npy"), columns) for number, one in enumerate(shards)]
    # Nothing is copied of .npy shards: not worth a worker.
    spooled = any(not one.path.endswith(".npy") for one in shards)
    read = engine.map(store, work) if spooled else [store(one) for one in work]
    rows = _Rows([stored for stored, _ in read])
    quality = np.concatenate([known for _, known in read])
    for one in rows.stored:
        if one.d != rows.stored[0].d:
            raise ValueError(
                f"shards: {one.source} has vectors of {one.d} entries, {rows.stored[0].source} of "
                f"{rows.stored[0].d}; encode them alike"
            )
    if request.size > rows.n:
        raise ValueError(f"k: {request.size} is more than the {rows.n} items; ask for at most that")
    labels, centroids = _partition(engine, rows, request, clusters)
    members = clustering.rows_of_parts(labels, len(centroids))
    sizes = np.array([len(part) for part in members])
    m = request.levels.clusters_kept(len(centroids), "kept")
    inside = request.levels.items_inside(request.size, m, int(sizes.max()))
    medians = clustering.medians_of(members, quality)
    kept = select_clusters(centroids, medians, m, request.cluster_diversity, metric)
    found = engine.map(
        select_cluster,
        [
            (rows.parts(members[one]), quality[members[one]], centroids[one], inside, request.of_items)
            for one in kept.tolist()
        ],
    )
    taken = [members[one][places] for one, (places, _, _) in zip(kept.tolist(), found, strict=True)]
    vectors = [held for _, held, _ in found]
    if request.top_up:
        best = np.sort(top_k(quality, request.size))
        taken.append(best)
        vectors += [one.rows(ids) for one, ids in rows.parts(best)]
    union, first = np.unique(np.concatenate(taken), return_index=True)
    request.levels.check_yield(len(union), request.size)
    which = np.searchsorted(rows.starts, union, side="right") - 1
    held = np.concatenate(vectors)[first]
    radii = np.array([radius for _, _, radius in found])
    return (
        ShardItems(which, union - rows.starts[which], quality[union], held, labels[union]),
        ShardClusters(centroids, sizes, medians, kept, radii),
    )


def _partition(
    engine: Engine, rows: _Rows, request: CatalogRequest, clusters: int | NDArray[Any] | None
) -> tuple[NDArray[np.int32], Floats]:
    """Return the cluster of every row, and the centroids: given, or by k-means as `k_means` makes them."""
    metric, seed = request.metric, request.seed
    if clusters is not None and np.ndim(clusters):
        centers = _as_centroids(clusters, rows.stored[0].d, metric)
        found = engine.map(assign_shard, [(one, centers, None, None, metric) for one in rows.stored])
        labels = np.concatenate([own for own, _ in found])
        filled = np.bincount(labels, minlength=len(centers)) > 0
        return (np.cumsum(filled) - 1).astype(np.int32)[labels], centers[filled]
    count = clustering.count_of(cast("int | None", clusters), rows.n)
    sample = rows.unit(sampled_rows(rows.n, count, seed), metric)
    step = clustering.grid(rows.n, metric, sample)
    centers = learn_centers(sample, count, spherical=metric == "cosine", seed=seed)
    found = engine.map(assign_shard, [(one, centers, None, step, metric) for one in rows.stored])
    labels = np.concatenate([own for own, _ in found])
    if np.bincount(labels, minlength=count).min() == 0:
        labels = clustering.fill_empty(lambda ids: rows.unit(ids, metric), labels, count)
        parts = np.split(labels, rows.starts[1:-1])
        again = [(one, centers, part, step, metric) for one, part in zip(rows.stored, parts, strict=True)]
        found = engine.map(assign_shard, again)
    sums = np.sum([sums for _, sums in found], axis=0)
    sizes = np.bincount(labels, minlength=count)
    return labels, clustering.centroids_of(sums, sizes, metric, sample.dtype)


def _as_centroids(given: Any, d: int, metric: str) -> Floats:
    """Return given centroids, checked, of unit length under cosine.

    Raises TypeError: they are no numbers; ValueError: one is not finite, or zero under cosine, or they are of
    another width than the shards' vectors.
    """
    held = Vectors(given, metric, name="clusters")
    if held.d != d:
        raise ValueError(f"clusters: centroids have {held.d} entries, the shards' vectors {d}")
    return held.rows(slice(0, held.n))


def assign_shard(
    work: tuple[StoredShard, Floats, NDArray[np.int32] | None, float | None, str],
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the cluster of each row of a shard, and the rows' sums in each cluster, block by block.

    ``work`` is the shard, the centers, the rows' clusters where they are known already, the step of the
    `grid` to sum on or None for no sums, and the metric.
    """
    stored, centers, known, step, metric = work
    labels = np.empty(stored.n, np.int32) if known is None else known
    sums = np.zeros(centers.shape)
    for start, block in stored.blocks(metric):

        def add(a: int, b: int, part: NDArray[Any], start: int = start) -> None:
            if known is None:
                labels[start + a : start + b] = clustering.nearest(part, centers, metric)[0]
            if step is not None:
                present, found = clustering.sums_of(labels[start + a : start + b], part, step)
                sums[present] += found

        block.map_blocks(add)
    return labels, sums


def select_cluster(
    work: tuple[list[tuple[StoredShard, NDArray[np.int64]]], NDArray[np.float64], Floats, int, Objective],
) -> tuple[NDArray[np.int64], NDArray[Any], float]:
    """Select inside one cluster, whose rows lie in several shards; what a worker runs.

    Parameters
    ----------
    work : tuple
        (its rows by shard, their qualities, its centroid, k', the objective).

    Returns
    -------
    places : ndarray of int64
        Positions in the cluster, in selection order.
    vectors : ndarray of shape (at most k', d)
        As they are stored.
    radius : float
    """
    parts, quality, centroid, inside, objective = work
    dtype = np.result_type(*[one.dtype for one, _ in parts])
    raw, at = np.empty((len(quality), parts[0][0].d), dtype), 0
    for one, ids in parts:
        raw[at : at + len(ids)] = one.rows(ids)
        at += len(ids)
    held = Vectors(raw, objective.metric)
    places = select_greedily(held, quality, inside, objective)
    everyone = np.zeros(held.n, np.int32)
    far: list[float] = []

    def measure(a: int, b: int, block: NDArray[Any]) -> None:
        away = clustering.distances(block, centroid[None], everyone[a:b], objective.metric)
        far.append(float(away.max()))

    held.map_blocks(measure)
    return places, held.raw[places], max(far)
