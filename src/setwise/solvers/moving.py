"""Moves that improve a set, for any value: one for one, and without a size one less or one more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from setwise.solvers.held import Held

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Rounds of moves, and the best of them that are tried for whether they are feasible.
ROUNDS, TRIED = 100, 256

#: A move must raise the value by more than this part of it, below which a difference is rounding.
ROUNDING = 1e-12


class Valued(Protocol):
    """What sets of the candidates held are worth."""

    held: Held

    def value(self, chosen: Rows) -> float:
        """Return what a set is worth."""

    def beside(self, chosen: Rows) -> Vector:
        """Return what a set is worth with each candidate besides, shape (m,)."""

    def in_place_of(self, chosen: Rows, slots: list[int]) -> Iterator[Vector]:
        """Yield what a set is worth with each candidate in place of a member, for some members, (m,)."""


def improved(form: Valued, chosen: Rows) -> Rows:
    """Improve a set by the best feasible move of all, until none does."""
    feasible, sized = form.held.feasible, form.held.problem.constraints.sized
    for _ in range(ROUNDS):
        here = form.value(chosen)
        least, found = here + ROUNDING * (1.0 + abs(here)), None
        movable = np.flatnonzero(~np.isin(chosen, feasible.include)).tolist()
        starts = [np.delete(chosen, slot) for slot in movable]
        trials = zip(starts, form.in_place_of(chosen, movable), strict=True)
        for start, values in trials if sized else [*trials, (chosen, form.beside(chosen))]:
            values[chosen] = -np.inf
            better = np.flatnonzero(values > least)
            leading = better[np.argsort(-values[better], kind="stable")[:TRIED]]
            for comes in leading.tolist():
                if feasible.keeps(after := np.append(start, comes)):
                    found, least = after, float(values[comes])
                    break
        for after in () if sized else starts:
            if (value := form.value(after)) > least and feasible.keeps(after):
                found, least = after, value
        if found is None:
            break
        chosen = found
        form.held.problem.count("swaps")
    return chosen
