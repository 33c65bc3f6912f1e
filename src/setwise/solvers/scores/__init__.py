"""The scores that greedy selection keeps up, one module an objective."""

from __future__ import annotations

from setwise.objectives import LogDet, MaxMarginal, MaxSum
from setwise.solvers.problem import Problem
from setwise.solvers.scores.base import SMALL, FallingScores, Scores
from setwise.solvers.scores.log_det import LogDetScores
from setwise.solvers.scores.max_marginal import MaxMarginalScores
from setwise.solvers.scores.max_sum import MaxSumScores

__all__ = [
    "SMALL",
    "FallingScores",
    "LogDetScores",
    "MaxMarginalScores",
    "MaxSumScores",
    "Scores",
    "scores_of",
]


def scores_of(problem: Problem) -> Scores:
    """Return the scores to keep up for a problem's objective."""
    objective = problem.objective
    if isinstance(objective, MaxSum):
        return MaxSumScores(problem)
    if isinstance(objective, MaxMarginal):
        return MaxMarginalScores(problem)
    if isinstance(objective, LogDet):
        return LogDetScores(problem)
    raise TypeError(f"objective: greedy selection does not know {objective!r}")
