"""Baselines: the most relevant, a random draw, the most relevant of each cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.solvers.problem import Problem
from setwise.vectors import Floats, top_k

#: k-means sees at most this many rows a cluster.
ROWS_A_CLUSTER = 256


def top(problem: Problem) -> NDArray[np.int64]:
    """Return the k most relevant that the constraints allow, must-have rows first."""
    return _include_first(problem, most_relevant(problem))


def most_relevant(problem: Problem) -> NDArray[np.int64]:
    """Return the most relevant set that the constraints allow, near-ties compared in float64."""
    values, constraints = problem.relevance.values, problem.constraints
    chosen = constraints.best(values)
    margin = 4 * problem.relevance.error
    if margin == 0.0:
        return chosen
    edge = values >= values[chosen].min() - margin
    edge[constraints.include] = True
    rows = np.flatnonzero(edge)
    return np.asarray(rows[constraints.best(problem.relevance.at(rows), rows)])


def random(problem: Problem) -> NDArray[np.int64]:
    """Return k candidates drawn uniformly (within the constraints) from the seed, must-have rows first."""
    draw = np.random.default_rng(problem.seed).random(problem.n)
    return _include_first(problem, problem.constraints.best(draw))


def clustering(problem: Problem) -> NDArray[np.int64]:
    """Return the most relevant of each of k k-means clusters; empty clusters are made up by relevance.

    k-means runs on at most 256 k rows drawn from the seed, on the unit sphere under cosine.
    """
    from setwise.extras.faiss import faiss

    vectors, k = problem.vectors, problem.k
    size = min(problem.n, ROWS_A_CLUSTER * k)
    picked = np.sort(np.random.default_rng(problem.seed).permutation(problem.n)[:size])
    wide = vectors.rows(picked, np.float64)
    peak = float(np.abs(wide).max()) or 1.0  # k-means works in float32, whose range the rows may exceed
    rows = np.ascontiguousarray(wide / peak, dtype=np.float32)
    means = faiss.Kmeans(
        vectors.d,
        k,
        niter=20,
        seed=1 + problem.seed % (2**31 - 2),
        spherical=vectors.metric == "cosine",
        min_points_per_centroid=1,
        max_points_per_centroid=ROWS_A_CLUSTER,
    )
    means.train(rows)
    centroids: Floats = np.asarray(np.asarray(means.centroids, np.float64) * peak, dtype=vectors.dtype)
    labels = np.empty(problem.n, np.int64)
    lengths = np.vecdot(centroids, centroids) / 2

    def nearest(start: int, stop: int, products: Floats) -> None:
        labels[start:stop] = (products - lengths).argmax(axis=1)

    vectors.products(centroids, nearest)
    values = problem.relevance.values
    order = np.lexsort((np.arange(problem.n), -values, labels))
    ordered = labels[order]
    leaders = order[np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])]
    if len(leaders) < k:
        rest = values.copy()
        rest[leaders] = -np.inf
        leaders = np.concatenate([leaders, top_k(rest, k - len(leaders))])
    problem.stats["clusters"] = len(np.unique(labels))
    return np.asarray(leaders[np.argsort(-values[leaders], kind="stable")])


def _include_first(problem: Problem, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a set with the must-have rows moved to the front, in their order."""
    include = problem.constraints.include
    if len(include) == 0:
        return chosen
    return np.concatenate([include, chosen[~np.isin(chosen, include)]])
