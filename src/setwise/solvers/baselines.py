"""Baselines: the most relevant, a random draw, the most relevant of each cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.cluster import k_means
from setwise.solvers.problem import Problem


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
    """Return the most relevant of each of k k-means clusters (see `setwise.cluster.k_means`), best first.

    Of equally relevant ones the lowest row.
    """
    labels = k_means(problem.vectors, problem.k, seed=problem.seed).labels
    order = np.lexsort((np.arange(problem.n), -problem.relevance.values, labels))
    leaders = order[np.searchsorted(labels[order], np.arange(problem.k))]
    problem.stats["clusters"] = problem.k
    return np.asarray(leaders[np.argsort(-problem.relevance.values[leaders], kind="stable")])


def _include_first(problem: Problem, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a set with the must-have rows moved to the front, in their order."""
    include = problem.constraints.include
    if len(include) == 0:
        return chosen
    return np.concatenate([include, chosen[~np.isin(chosen, include)]])
