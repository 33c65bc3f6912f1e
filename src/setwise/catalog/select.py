"""How a catalog's methods select: by levels over its partitions, or over all items at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise import cluster as clustering
from setwise.objectives import LogDet, MaxSum
from setwise.solvers import baselines, k_dpp, max_sum, multilevel
from setwise.solvers.problem import Problem
from setwise.vectors import Vectors

__all__ = ["LEVELS", "Settings", "by_levels", "check_yield", "clusters_kept", "items_inside", "over_all"]

#: The methods that select by levels.
LEVELS = ("muss", "dgds", "muss-random-clusters", "muss-random-partition")


@dataclass(frozen=True)
class Settings:
    """What a selection by levels is asked for; see `Catalog.select`.

    Attributes
    ----------
    method : str
        One of `LEVELS`.
    k : int
    goal : MaxSum
        With the diversity and the metric.
    clusters, per_cluster : int or None
        m and k' of the paper; None for their defaults.
    cluster_diversity : float
    top_up : bool
    final_quality_scale : float
    criterion : {"sum", "min"}
    seed : int
    threads : int
    workers : int, str or None
    """

    method: str
    k: int
    goal: MaxSum
    clusters: int | None
    per_cluster: int | None
    cluster_diversity: float
    top_up: bool
    final_quality_scale: float
    criterion: str
    seed: int
    threads: int
    workers: int | str | None


def by_levels(
    vectors: Vectors, quality: NDArray[np.float64], clusters: clustering.Clusters, asked: Settings
) -> tuple[multilevel.Levels, float | None]:
    """Run MUSS, DGDS or an ablation of them; return what was done and the paper's guarantee.

    Raises
    ------
    TypeError, ValueError
        More clusters or items of each than there are, or too few for k.
    """
    n, total, metric = vectors.n, len(clusters), vectors.metric
    if asked.method == "dgds":
        m = total if asked.clusters is None else checks.integer("clusters", asked.clusters, least=1)
        if m > n:
            raise ValueError(f"clusters: {m} parts are more than the {n} items")
        parts = clustering.rows_of_parts(clustering.random_partition(n, m, asked.seed), m)
    else:
        m = clusters_kept(asked.clusters, total)
        if asked.method == "muss-random-partition":
            parts = clustering.rows_of_parts(clustering.random_partition(n, total, asked.seed), total)
        else:
            parts = clusters.members()
    inside = items_inside(asked.per_cluster, asked.k, m, max(len(rows) for rows in parts))

    def kept() -> NDArray[np.int64]:
        if asked.method == "dgds":
            return np.arange(len(parts))
        if asked.method == "muss-random-clusters":
            return np.sort(np.random.default_rng(asked.seed).choice(total, m, replace=False))
        centres = clusters.centroids
        if asked.method == "muss-random-partition":
            centres = np.stack([vectors.rows(rows).mean(axis=0) for rows in parts]).astype(np.float32)
        medians = clustering.medians_of(parts, quality)
        return multilevel.select_clusters(centres, medians, m, asked.cluster_diversity, metric)

    def elsewhere(kept_parts: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        from setwise.engine.base import engine_for, shared_rows
        from setwise.engine.partition import select_part

        assert asked.workers is not None
        with engine_for(asked.workers) as engine, shared_rows(engine, vectors.raw) as shared:
            common = (inside, asked.criterion, asked.goal.diversity, metric)
            return engine.map(select_part, [(shared, rows, quality[rows], *common) for rows in kept_parts])

    levels = multilevel.solve(
        vectors,
        quality,
        asked.k,
        parts=parts,
        kept=kept,
        objective=multilevel.objective_of(asked.criterion, asked.goal.diversity, metric),
        per_cluster=inside,
        top_up=asked.top_up and asked.method != "dgds",
        final_quality_scale=asked.final_quality_scale,
        workers=asked.threads,
        elsewhere=None if asked.workers is None else elsewhere,
    )
    check_yield(levels.union, asked.k)
    bound = None
    if asked.method == "dgds":
        bound = 1.0 / 16.0
    elif asked.method == "muss":
        factor = multilevel.approximation_factor(asked.k, m, asked.goal.diversity, asked.cluster_diversity)
        bound = 1.0 / factor
    return levels, bound


def clusters_kept(asked: int | None, total: int) -> int:
    """Return m, the clusters to keep of so many: half of them by default.

    Raises
    ------
    TypeError, ValueError
        More than there are.
    """
    if asked is None:
        return max(1, total // 2)
    m = checks.integer("clusters", asked, least=1)
    if m > total:
        raise ValueError(f"clusters: {m} are more than the catalog's {total}; build it with more")
    return m


def items_inside(asked: int | None, k: int, m: int, largest: int) -> int:
    """Return k', the items to select in each of m parts: k/10 by default, and at least enough for k.

    Raises
    ------
    TypeError, ValueError
        More than the largest part has.
    """
    if asked is None:
        return max(1, k // 10, -(-k // m))
    inside = checks.integer("per_cluster", asked, least=1)
    if inside > largest:
        raise ValueError(f"per_cluster: {inside} is more than the largest cluster's {largest} items")
    return inside


def check_yield(union: int, k: int) -> None:
    """Refuse a union of fewer items than are to be selected.

    Raises
    ------
    ValueError
    """
    if union < k:
        raise ValueError(
            f"per_cluster: the kept clusters yield {union} items, fewer than k = {k}; take more "
            "clusters, more items of each, or top_up=True"
        )


def over_all(
    method: str, problem: Problem, quality: NDArray[np.float64], criterion: str
) -> tuple[NDArray[np.int64], bool]:
    """Select by a method that looks at all items; return the rows, and whether they stand in order."""
    vectors, diversity = problem.vectors, problem.objective.diversity
    if method == "greedy":
        objective = multilevel.objective_of(criterion, diversity, vectors.metric)
        return multilevel.select_greedily(vectors, quality, None, problem.k, objective), True
    if method == "frank-wolfe":
        return max_sum.solve_max_sum(problem, "auto", False).chosen, False
    if method == "clustering":
        return baselines.clustering(problem), False
    if method == "k-dpp":
        goal = LogDet(diversity, metric=vectors.metric)
        return k_dpp.solve(replace(problem, request=replace(problem.request, objective=goal))), False
    return (baselines.top(problem) if method == "top-k" else baselines.random(problem)), False
