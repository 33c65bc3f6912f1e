"""MUSS and DGDS: greedy selection of clusters, inside clusters, and of what those yield."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setwise.constraints import Constraints
from setwise.objectives import MaxMarginal, MaxSum, Objective
from setwise.relevance import Relevance
from setwise.request import Request
from setwise.solvers import greedy
from setwise.solvers.problem import Problem
from setwise.solvers.ties import first_of_equals
from setwise.threads import one_blas_thread, run_ranges
from setwise.vectors import Vectors, top_k

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Levels:
    """What a multilevel selection did.

    Attributes
    ----------
    chosen : ndarray of shape (k,), int64
        Rows in selection order.
    partitions : ndarray of int64
        The partitions that were kept.
    union : int
        Candidates of the last step.
    seconds : dict
        Time of each stage: "clusters", "inside", "union".
    """

    chosen: Rows
    partitions: NDArray[np.int64]
    union: int
    seconds: dict[str, float]


def objective_of(criterion: str, diversity: float, metric: str) -> Objective:
    """Return what greedy maximises: mean distance to the chosen ("sum"), or the least one ("min").

    The least distance to the chosen is 1 minus the largest similarity under cosine: maximal marginal
    relevance, up to a constant.
    """
    if criterion == "sum":
        return MaxSum(diversity, metric=metric)
    return MaxMarginal(diversity, metric=metric)


def select_greedily(
    vectors: Vectors,
    quality: NDArray[np.float64],
    rows: Rows | None,
    k: int,
    objective: Objective,
) -> Rows:
    """Return ALG1 of some rows: k of them by greedy selection (MUSS Algorithm 1), in selection order.

    Parameters
    ----------
    vectors : Vectors
        All items.
    quality : ndarray of shape (n,)
        Of all items.
    rows : ndarray of int64, ascending, or None
        Which; None for all.
    k : int
        At most as many as there are; with fewer, all.
    objective : Objective
    """
    part = vectors
    if rows is not None:
        part = Vectors(vectors.rows(rows), vectors.metric)
        quality = quality[rows]
    request = Request(k=min(k, part.n), objective=objective)
    problem = Problem(part, Relevance(quality, part), request, Constraints(part.n, request))
    chosen = first_of_equals(problem, greedy.solve(problem))
    return chosen if rows is None else rows[chosen]


def select_clusters(
    centroids: NDArray[np.float32], quality: NDArray[np.float64], m: int, diversity: float, metric: str
) -> NDArray[np.int64]:
    """Return m clusters by greedy selection over centroids and median qualities (MUSS Alg. 2, line 3)."""
    if m >= len(centroids):
        return np.arange(len(centroids))
    whole = Vectors(np.where(np.any(centroids, axis=1, keepdims=True), centroids, 1.0), metric)
    return select_greedily(whole, quality, None, m, MaxSum(diversity, metric=metric))


def solve(
    vectors: Vectors,
    quality: NDArray[np.float64],
    k: int,
    *,
    parts: list[Rows],
    kept: Callable[[], NDArray[np.int64]],
    objective: Objective,
    per_cluster: int,
    top_up: bool,
    final_quality_scale: float,
    workers: int,
    elsewhere: Callable[[list[Rows]], list[Rows]] | None = None,
) -> Levels:
    """Select inside the kept partitions, and then from the union of what those yield.

    Parameters
    ----------
    vectors : Vectors
    quality : ndarray of shape (n,)
    k : int
    parts : list of ndarray of int64
        The rows of every partition: clusters (MUSS) or random ones (DGDS).
    kept : callable
        Returns the partitions to keep; timed as the stage "clusters".
    objective : Objective
        Of the greedy selections at the level of items.
    per_cluster : int
        Items selected in each kept partition (k').
    top_up : bool
        Whether the k items of highest quality join the union (version 2).
    final_quality_scale : float
        Quality's factor in the last step (version 1: 0.5).
    workers : int
        Threads over partitions.
    elsewhere : callable, optional
        Selects inside the kept partitions instead of threads: gets their rows, returns each one's selection.
    """
    seconds: dict[str, float] = {}
    began = time.perf_counter()
    chosen_parts = kept()
    seconds["clusters"] = time.perf_counter() - began
    began = time.perf_counter()
    found: list[Rows] = [np.empty(0, np.int64)] * len(chosen_parts)

    def inside(start: int, stop: int) -> None:
        for place in range(start, stop):
            rows = parts[int(chosen_parts[place])]
            found[place] = select_greedily(vectors, quality, rows, per_cluster, objective)

    with one_blas_thread():
        if elsewhere is None:
            run_ranges(inside, len(chosen_parts), workers)
        else:
            found = elsewhere([parts[int(part)] for part in chosen_parts])
        seconds["inside"] = time.perf_counter() - began
        began = time.perf_counter()
        if top_up:
            found.append(top_k(quality, min(k, vectors.n)))
        union = np.unique(np.concatenate(found))
        chosen = select_greedily(vectors, quality * final_quality_scale, union, k, objective)
    seconds["union"] = time.perf_counter() - began
    return Levels(chosen, chosen_parts, len(union), seconds)


def approximation_factor(k: int, m: int, diversity: float, cluster_diversity: float) -> float:
    """Return α of MUSS's Theorem 8 (version 2): F >= F* / α - r β / α; inf where it says nothing.

    α = 10 k(k-1)(1-λ) / (m(m-1)(1-λ_c)) + 4, with 1-λ the diversity and 1-λ_c the clusters'; k >= m.
    """
    if m < 2 or cluster_diversity <= 0.0 or k < m:
        return float("inf")
    return 10.0 * k * (k - 1) * diversity / (m * (m - 1) * cluster_diversity) + 4.0
