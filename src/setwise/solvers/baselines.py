"""Baselines: the most relevant, a random draw, the most relevant of each cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.cluster import k_means
from setwise.solvers.problem import Problem, Solved


def top(problem: Problem) -> Solved:
    """Find the k most relevant that the constraints allow."""
    return Solved(most_relevant(problem))


def most_relevant(problem: Problem) -> NDArray[np.int64]:
    """Return the most relevant set that the constraints allow, near-ties compared in float64."""
    values, constraints = problem.relevance.raw, problem.constraints
    chosen = constraints.best(values)
    margin = 4 * problem.relevance.error
    if margin == 0.0:
        return chosen
    edge = values >= values[chosen].min() - margin
    edge[constraints.include] = True
    rows = np.flatnonzero(edge)
    return np.asarray(rows[constraints.best(problem.relevance.given(rows), rows)])


def random(problem: Problem) -> Solved:
    """Find k candidates drawn uniformly (within the constraints) from the seed."""
    draw = np.random.default_rng(problem.seed).random(problem.n)
    return Solved(problem.constraints.best(draw), drawn=True)


def clustering(problem: Problem) -> Solved:
    """Find the most relevant of each of k k-means clusters (see `setwise.cluster.k_means`).

    Of equally relevant ones the lowest row.
    """
    labels = k_means(problem.vectors, problem.k, seed=problem.seed).labels
    order = np.lexsort((np.arange(problem.n), -problem.relevance.values, labels))
    problem.stats["clusters"] = problem.k
    return Solved(order[np.searchsorted(labels[order], np.arange(problem.k))])
