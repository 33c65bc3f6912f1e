"""Selection by levels: of partitions, inside each of them, and of what those yield (MUSS; DGDS).

Nguyen and Kan, MUSS, Algorithm 2; Ghadiri and Schmidt 2019, whose partitions are random and all kept.
ARCHITECTURE.md, section 7.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.catalog.items import Items, as_quality
from setwise.catalog.request import CatalogRequest
from setwise.cluster import medians_of, random_partition, rows_of_parts
from setwise.constraints import Constraints
from setwise.engine import engine_for, opened, shared_rows
from setwise.objectives import Objective
from setwise.relevance import Relevance
from setwise.request import Request
from setwise.solvers import greedy
from setwise.solvers.problem import Problem
from setwise.threads import one_blas_thread, run_ranges
from setwise.vectors import Floats, Vectors, top_k

Rows = NDArray[np.int64]


@dataclass
class Levels:
    """What a selection by levels did.

    Attributes
    ----------
    chosen : ndarray of shape (k,), int64
        Rows in selection order.
    partitions : int
        How many were selected from.
    union : int
        Candidates of the last step.
    seconds : dict
        Time of each stage: "clusters", "inside", "union".
    """

    chosen: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    partitions: int = 0
    union: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


def select_greedily(
    vectors: Vectors,
    quality: NDArray[np.float64],
    k: int,
    objective: Objective,
    rows: Rows | None = None,
    include: Rows | None = None,
) -> Rows:
    """Return k of some rows by greedy selection (MUSS Algorithm 1), in selection order.

    Parameters
    ----------
    vectors : Vectors
        All items.
    quality : ndarray of shape (n,)
        Of all items.
    k : int
        At most as many as there are; with fewer, all.
    objective : Objective
    rows : ndarray of int64, ascending, optional
        Which; by default all.
    include : ndarray of int64, optional
        Those of them that come first, in this order.
    """
    part, first = vectors, np.empty(0, np.int64) if include is None else include
    if rows is not None:
        part = Vectors(vectors.rows(rows), vectors.metric)
        quality, first = quality[rows], np.searchsorted(rows, first)
    request = Request(k=min(k, part.n), objective=objective, include=first)
    problem = Problem(part, Relevance(quality, part), request, Constraints(part.n, request))
    chosen = greedy.pick_greedily(problem)
    return chosen if rows is None else rows[chosen]


def select_clusters(
    centroids: Floats, medians: NDArray[np.float64], m: int, diversity: float, metric: str
) -> NDArray[np.int64]:
    """Return m clusters by greedy selection over centroids and median qualities (MUSS Alg. 2, line 3)."""
    if m >= len(centroids):
        return np.arange(len(centroids))
    # Members that cancel each other leave a centroid without a direction: it gets one.
    whole = Vectors(np.where(np.any(centroids, axis=1, keepdims=True), centroids, 1.0), metric)
    goal = Request(k=m, diversity=diversity, metric=metric).goal
    return select_greedily(whole, medians, m, goal)


def select_by_levels(items: Items, request: CatalogRequest) -> Levels:
    """Run MUSS, DGDS or an ablation of them.

    Raises
    ------
    ValueError
        More clusters, or items of each, are asked for than there are, or they yield fewer than k.
    """
    vectors, quality, seconds = items.vectors, items.quality, {}
    began = time.perf_counter()
    parts, kept = _partitions(items, request)
    inside = request.items_inside(len(kept), max(len(rows) for rows in parts))
    seconds["clusters"] = time.perf_counter() - began
    began = time.perf_counter()
    kept_parts = [parts[part] for part in kept.tolist()]
    objective = request.of_items
    with one_blas_thread():
        if request.processes is None:
            yields = run_ranges(
                lambda start, stop: [
                    select_greedily(vectors, quality, inside, objective, rows)
                    for rows in kept_parts[start:stop]
                ],
                len(kept_parts),
                request.workers,
            )
            found = [rows for part in yields for rows in part]
        else:
            with engine_for(request.processes) as engine, shared_rows(engine, vectors.raw) as shared:
                work = [
                    (shared, vectors.places(rows), quality[rows], inside, objective) for rows in kept_parts
                ]
                found = engine.map(select_part, work)
            if vectors.kept is not None:
                found = [np.searchsorted(vectors.kept, rows) for rows in found]
        seconds["inside"] = time.perf_counter() - began
        began = time.perf_counter()
        if request.top_up and request.method != "dgds":
            found.append(top_k(quality, request.size))
        first = np.asarray(request.include, np.int64)
        union = np.unique(np.concatenate([*found, first]))
        request.check_yield(len(union))
        scaled = quality * request.final_quality_scale
        chosen = select_greedily(vectors, scaled, request.size, objective, union, first)
    seconds["union"] = time.perf_counter() - began
    return Levels(chosen, len(kept), len(union), seconds)


def _partitions(items: Items, request: CatalogRequest) -> tuple[list[Rows], NDArray[np.int64]]:
    """Return the rows of each partition, and which of them are selected from."""
    n, total, seed = len(items), len(items.clusters), request.seed
    if request.method == "dgds":
        m = total if request.clusters is None else request.clusters
        if m > n:
            raise ValueError(f"clusters: {m} parts are more than the {n} items")
        return rows_of_parts(random_partition(n, m, seed), m), np.arange(m)
    m = request.clusters_kept(total)
    parts, centroids = items.clusters.members(), items.clusters.centroids
    if request.method == "muss-random-clusters":
        return parts, np.sort(np.random.default_rng(seed).choice(total, m, replace=False))
    if request.method == "muss-random-partition":
        parts = rows_of_parts(random_partition(n, total, seed), total)
        centroids = np.stack([items.vectors.rows(rows).mean(axis=0) for rows in parts])
    medians = medians_of(parts, items.quality)
    kept = select_clusters(centroids, medians, m, request.cluster_diversity, request.goal.metric)
    return parts, kept


def select_part(work: tuple[Any, Rows, NDArray[np.float64], int, Objective]) -> Rows:
    """Select greedily from some rows of a shared array; what a worker runs.

    Parameters
    ----------
    work : tuple
        (what `Engine.share` gave, the rows ascending, their qualities, k', the objective).

    Returns
    -------
    ndarray of shape (at most k',), int64
        Rows of the shared array, in selection order.
    """
    shared, rows, quality, inside, objective = work
    held = Vectors(np.asarray(opened(shared)[rows]), objective.metric)
    return np.asarray(rows[select_greedily(held, quality, inside, objective)])


def select_inside(
    vectors: Vectors, quality: Any, inside: int, top: int, objective: Objective
) -> NDArray[np.int64]:
    """Return what a partition yields, rows ascending: its greedy selection and its best by quality.

    Parameters
    ----------
    vectors : Vectors
        Of the partition.
    quality : array-like of shape (n,)
    inside : int
        Items to select greedily, all of a smaller partition.
    top : int
        The best by quality that join them.
    objective : Objective

    Raises
    ------
    TypeError
        Qualities are no numbers.
    ValueError
        One is below 0, NaN or infinite.
    """
    known = as_quality(quality, vectors.n, never=False)
    chosen = select_greedily(vectors, known, inside, objective)
    return np.union1d(chosen, top_k(known, min(top, len(known))))
