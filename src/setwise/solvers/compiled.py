"""The solvers that compiled kernels have: the same sets, in the same order, as NumPy's.

What a kernel does not know (another metric, an objective of one's own, many candidates, rows that it cannot
read) is left to NumPy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise import kernels
from setwise.objectives import LogDet, MaxMarginal, MaxSum
from setwise.relevance import Relevance
from setwise.solvers.problem import POOLED, Problem

#: Relevance that is off by no more is as good as exact.
ROUNDING = 1e-12


def knows(problem: Problem) -> bool:
    """Return whether kernels can read a problem's candidates: few, under cosine."""
    return problem.vectors.squares is not None and problem.n <= POOLED


def _precisely(relevance: Relevance, n: int) -> NDArray[np.float64]:
    """Return the relevance of every candidate in float64 precision."""
    return relevance.values if relevance.error <= ROUNDING else relevance.at(np.arange(n))


def pick_greedily(problem: Problem, first: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return what `greedy.pick_greedily` selects; None where no kernel knows the problem."""
    objective, vectors = problem.objective, problem.vectors
    if not knows(problem) or type(objective) not in (MaxSum, MaxMarginal, LogDet):
        return None
    assert vectors.squares is not None
    chosen, _ = kernels.greedy(
        vectors.raw,
        vectors.kept,
        vectors.squares,
        _precisely(problem.relevance, problem.n),
        objective=objective.name,
        diversity=objective.diversity,
        sharpness=getattr(objective, "sharpness", 1),
        k=problem.k,
        first=first,
        groups=problem.constraints.codes,
        quota=problem.constraints.quota,
    )
    return chosen
