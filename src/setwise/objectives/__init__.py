"""Objectives: what a good set is. Each gives a set's value and a candidate's gain, and never searches."""

from __future__ import annotations

from setwise import checks
from setwise.objectives.base import Objective, Terms
from setwise.objectives.coverage import Coverage, reward_weights
from setwise.objectives.log_det import LogDet
from setwise.objectives.max_marginal import MaxMarginal
from setwise.objectives.max_sum import MaxSum

__all__ = [
    "NAMES",
    "Coverage",
    "LogDet",
    "MaxMarginal",
    "MaxSum",
    "Objective",
    "Terms",
    "make",
    "reward_weights",
]

#: Names that `make` (and so `setwise.select`) takes.
NAMES = ("max-sum", "mmr", "log-det", "coverage")


def make(
    objective: str | Objective, *, diversity: float = 0.2, sharpness: int = 1, metric: str = "cosine"
) -> Objective:
    """Return an objective by name, or the object itself (whose own parameters then count).

    Raises
    ------
    TypeError, ValueError
        An unknown name, or a parameter that the objective cannot use.
    """
    if isinstance(objective, Objective):
        return objective
    name = checks.choice("objective", objective, NAMES)
    if name == "max-sum":
        return MaxSum(diversity, sharpness=sharpness, metric=metric)
    if sharpness != 1:
        raise ValueError(f"sharpness: only max-sum has one; leave it at 1 for {name}")
    kinds: dict[str, type[Objective]] = {"mmr": MaxMarginal, "log-det": LogDet, "coverage": Coverage}
    return kinds[name](diversity, metric=metric)
