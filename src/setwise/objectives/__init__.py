"""Objectives: what a good set is. Each gives a set's value and a candidate's gain, and never searches."""

from __future__ import annotations

from setwise import checks
from setwise.objectives.base import Objective, Terms
from setwise.objectives.coverage import Coverage, reward_weights
from setwise.objectives.facets import Facets
from setwise.objectives.log_det import LogDet
from setwise.objectives.max_marginal import MaxMarginal
from setwise.objectives.max_min import MaxMin
from setwise.objectives.max_sum import MaxSum
from setwise.objectives.wished import Wishes

__all__ = [
    "KINDS",
    "NAMES",
    "Coverage",
    "Facets",
    "LogDet",
    "MaxMarginal",
    "MaxMin",
    "MaxSum",
    "Objective",
    "Terms",
    "Wishes",
    "has_sharpness",
    "make",
    "reward_weights",
]

#: The objectives by name.
KINDS: dict[str, type[Objective]] = {
    one.name: one for one in (MaxSum, MaxMarginal, LogDet, Coverage, MaxMin, Facets)
}

#: Names that `make` (and so `setwise.select`) takes.
NAMES = tuple(KINDS)


def make(
    objective: str | Objective, *, diversity: float = 0.2, sharpness: int = 1, metric: str = "cosine"
) -> Objective:
    """Return an objective by name, or the object itself (whose own parameters then count).

    Raises
    ------
    TypeError
        `objective` is neither a name nor an `Objective`, or one whose class has no name; a parameter is of
        another type than the objective takes.
    ValueError
        The name is unknown, or an object of another class has it; a parameter is out of its range.
    """
    if isinstance(objective, Objective):
        return _named(objective)
    kind = KINDS[checks.choice("objective", objective, NAMES)]
    if kind.has_sharpness:
        return kind(diversity, metric=metric, sharpness=sharpness)  # type: ignore[call-arg]
    if sharpness != 1:
        raise ValueError(f"sharpness: only max-sum has one; leave it at 1 for {kind.name}")
    return kind(diversity, metric=metric)


def has_sharpness(objective: str | Objective) -> bool:
    """Return whether an objective, given as `make` takes it, is one by name whose sharpness is to be set."""
    return isinstance(objective, str) and objective in KINDS and KINDS[objective].has_sharpness


def _named(objective: Objective) -> Objective:
    """Return an object that is whole, and whose name tells what it is."""
    kind = type(objective).__name__
    name = getattr(objective, "name", None)
    if not isinstance(name, str) or not name:
        raise TypeError(f"objective: {kind} has no name; give the class one, as in name = 'my-objective'")
    if not hasattr(objective, "diversity") or not hasattr(objective, "metric"):
        raise TypeError(f"objective: {kind} has no diversity or metric; call super().__init__ in its own")
    if name in KINDS and not isinstance(objective, KINDS[name]):
        raise ValueError(f"objective: {kind} has the name {name!r} of another; give it one of its own")
    return objective
