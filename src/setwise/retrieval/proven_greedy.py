"""Whether greedy picks among the candidates seen are those of a scan over all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.solvers.problem import Problem
from setwise.solvers.unseen import Unseen


def is_proven(problem: Problem, chosen: NDArray[np.int64], rest: Unseen) -> bool:
    """Return whether the greedy picks are those of a scan over all candidates, unseen ones included."""
    if rest.exhausted:
        return True
    if len(chosen) < problem.k:  # those seen add nothing more (log-det's rank); an unseen one may
        return False
    scores = problem.scores()
    for step, row in enumerate(chosen.tolist()):
        if step >= len(problem.constraints.include):
            gain = float(scores.exact(np.array([row]))[0])
            if gain < scores.limit(rest.relevance(problem), rest.most_similar):
                return False
        scores.choose(row)
    return True


def worth_searching(problem: Problem, chosen: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Return what to search for to find, and to bound, what would score best beside the picks."""
    scores = problem.scores()
    for row in chosen.tolist():
        scores.choose(row)
    return scores.directions()
