"""Greedy selection with wishes, for any objective.

A member is taken only where the set can still be made feasible with it: a feasible set that holds all
members so far is kept beside them, and exchanged as they come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from setwise.objectives.base import TIE
from setwise.solvers.held import Held, hold
from setwise.solvers.problem import Problem, Solved

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]


def by_greedy(problem: Problem) -> Solved:
    """Select greedily by gain; with costs also by gain per cost, and keep the better set."""
    held = hold(problem)
    sets = [pick(held, _gains_of(held), cost) for cost in costs_of(held)]
    return _found(held, first_best(sets, [worth(held, chosen) for chosen in sets]))


def top(problem: Problem) -> Solved:
    """Select by relevance alone, whatever else is feasible."""
    held = hold(problem)
    values = held.relevance
    sets = [pick(held, lambda _: values, cost, stops=False) for cost in costs_of(held)]
    sums = [float(values[chosen].sum()) for chosen in sets]
    return replace(_found(held, first_best(sets, sums)), ordered=False)


def first_best(sets: list[Rows], values: list[float]) -> Rows:
    """Return the first set of the largest value; a value that is higher by rounding alone is none."""
    best = max(values)
    return next(
        one for one, value in zip(sets, values, strict=True) if value >= best - TIE * (1.0 + abs(best))
    )


def costs_of(held: Held) -> list[Vector | None]:
    """Return what gains are divided by: nothing, and where there are any the costs."""
    costs = held.feasible.costs
    return [None] if costs is None else [None, costs]


def pick(
    held: Held,
    gains: Callable[[Rows], Vector],
    costs: Vector | None = None,
    *,
    stops: bool = True,
) -> Rows:
    """Return the members that greedy selection takes, as positions in order.

    Parameters
    ----------
    gains : callable (positions of the members) -> ndarray of shape (m,)
    costs : ndarray of shape (m,), optional
        Gains are divided by these; what is not above 0 is multiplied, so that dear losses are the last.
    stops : bool
        Whether members that gain nothing are left out where sets may have any size.
    """
    feasible, sized = held.feasible, held.problem.constraints.sized
    chosen = feasible.include
    known = feasible.best(np.zeros(len(held))) if feasible.demanding else None
    refused = np.zeros(len(held), bool)
    first: Vector = held.relevance
    while len(chosen) < feasible.most:
        open_ = feasible.open(chosen) & ~refused
        if not open_.any():
            break
        value = gains(chosen)
        if stops and not sized:
            able = open_ & (value > 0.0)
            if not able.any() and known is not None and not feasible.keeps(chosen):
                able = open_ & np.isin(np.arange(len(held)), known)
            open_ = able
            if not open_.any():
                break
        score = value if costs is None else np.where(value > 0, value / costs, value * costs)
        score = np.where(open_, score, -np.inf)
        place = int(score.argmax())
        if score[place] == -np.inf:
            break
        if not len(chosen):  # of equal gain the most relevant is first
            near = score >= score[place] - 1e-15 * abs(score[place])
            place = int(np.where(near, first, -np.inf).argmax())
        if known is not None:
            grown = feasible.grow(chosen, known, place)
            if grown is None:
                refused |= feasible.equals(place)
                continue
            known = grown
        chosen = np.append(chosen, place)
    if known is not None and not feasible.keeps(chosen):
        chosen = np.concatenate([chosen, np.setdiff1d(known, chosen)])
    return chosen


def worth(held: Held, chosen: Rows) -> float:
    """Return the objective's value of a set of positions."""
    objective = held.problem.objective
    return (
        float(objective.evaluate(held.rows[chosen], held.relevance[chosen])[1].value) if len(chosen) else 0.0
    )


def _gains_of(held: Held) -> Callable[[Rows], Vector]:
    """Return the objective's gains beside some members."""
    objective = held.problem.objective

    def gains(chosen: Rows) -> Vector:
        return objective.checked_gains(held.rows, held.relevance, held.rows[chosen], held.ids)

    return gains


def _found(held: Held, chosen: Rows) -> Solved:
    """Return a set in selection order."""
    return Solved(held.ids[chosen], ordered=True, sufficient=held.whole)
