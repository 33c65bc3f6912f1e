"""Whether greedy picks among the candidates seen are those of a scan over all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.solvers.problem import Problem
from setwise.solvers.scores import scores_of
from setwise.solvers.unseen import Unseen

Vector = NDArray[np.float64]


def is_proven(problem: Problem, chosen: NDArray[np.int64], rest: Unseen) -> bool:
    """Return whether the greedy picks are those of a scan over all candidates, unseen ones included."""
    if rest.exhausted:
        return True
    gains = _gains(problem, chosen)
    first = len(problem.constraints.include)
    return all(gains[step] >= _limit(problem, chosen[:step], rest) for step in range(first, len(chosen)))


def _gains(problem: Problem, chosen: NDArray[np.int64]) -> Vector:
    """Return each pick's score when it was picked, in float64."""
    scores = scores_of(problem)
    gains = np.empty(len(chosen))
    for step, row in enumerate(chosen.tolist()):
        gains[step] = float(scores.exact(np.array([row]))[0])
        scores.choose(row)
    return gains


def _limit(problem: Problem, members: NDArray[np.int64], rest: Unseen) -> float:
    """Return an upper bound on the greedy score of any unseen candidate, given the members."""
    t = problem.objective.diversity
    relevance = (1 - t) * rest.relevance()
    if len(members) == 0:
        return relevance
    if problem.objective.name != "mmr":
        # A residual is at most 1, its logarithm at most 0. Under euclidean the kernel's bandwidth is that
        # of the candidates seen.
        return relevance if problem.vectors.metric == "cosine" else np.inf
    if problem.vectors.metric != "cosine":
        # At distance D from the query and at most D + D1 from the first member.
        if t > 0.5:
            return np.inf
        far = -rest.relevance()
        return (2 * t - 1) * far - t * float(problem.relevance.values[members[0]])
    rows = problem.vectors.rows(members, np.float64)
    query = problem.relevance.query
    assert query is not None
    least = relevance + t
    for row in [*rows[:4], rows.mean(axis=0)]:  # a score is at most that for any mixture of members
        least = min(least, rest.most_similar((1 - t) * query - t * row))
    return least


def worth_searching(problem: Problem, chosen: NDArray[np.int64]) -> list[Vector]:
    """Return what to search for to find, and to bound, what would score best beside the picks: next to the
    first of them, and next to them all."""
    if problem.objective.name != "mmr" or problem.vectors.metric != "cosine":
        return []
    t, query = problem.objective.diversity, problem.relevance.query
    assert query is not None
    rows = problem.vectors.rows(chosen, np.float64)
    wanted = [(1 - t) * query - t * row for row in (rows[0], rows.mean(axis=0))]
    return [weights for weights in wanted if float(weights @ weights) > 1e-12]
