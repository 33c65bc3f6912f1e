"""Moves that improve a set, for any value: one for one, and without a size one less or one more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from setwise.solvers.held import Held

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Rounds of moves, and the best of them that are tried for whether they are feasible.
ROUNDS, TRIED = 100, 256


class Valued(Protocol):
    """What sets of the candidates held are worth."""

    held: Held

    def value(self, chosen: Rows) -> float:
        """Return what a set is worth."""

    def off(self, value: float) -> float:
        """Return what a value, and others near it, may be off by."""

    def beside(self, chosen: Rows) -> Vector:
        """Return what a set is worth with each candidate besides, shape (m,)."""

    def in_place_of(
        self, chosen: Rows, slots: list[int], least: Callable[[], float]
    ) -> Iterator[tuple[int, Vector]]:
        """Yield what a set is worth with each candidate in place of a member, (m,), with the member's slot.

        Of some members; those without which no set is worth more than `least` says by then may be left out.
        """


def improved(form: Valued, chosen: Rows) -> Rows:
    """Improve a set by the best feasible move of all, until none does."""
    for _ in range(ROUNDS):
        found = _moved(form, chosen)
        if found is None:
            break
        chosen = found
        form.held.problem.count("swaps")
    return chosen


def _moved(form: Valued, chosen: Rows) -> Rows | None:
    """Return a set after the best feasible move; None where none improves it."""
    feasible, sized = form.held.feasible, form.held.problem.constraints.sized
    here = form.value(chosen)
    least, found = here + form.off(here), None
    movable = np.flatnonzero(~np.isin(chosen, feasible.include)).tolist()
    trials = form.in_place_of(chosen, movable, lambda: least)
    for slot, values in trials:
        start = np.delete(chosen, slot)
        after, worth = _best_of(form, start, values, chosen, least)
        found, least = (found, least) if after is None else (after, worth)
    if not sized:
        after, worth = _best_of(form, chosen, form.beside(chosen), chosen, least)
        found, least = (found, least) if after is None else (after, worth)
        for start in (np.delete(chosen, slot) for slot in movable):
            if (worth := form.value(start)) > least and feasible.keeps(start):
                found, least = start, worth
    return found


def _best_of(
    form: Valued, start: Rows, values: Vector, chosen: Rows, least: float
) -> tuple[Rows | None, float]:
    """Return a set with the best that may join `start` to be worth more than `least`, and its value."""
    values[chosen] = -np.inf
    better = np.flatnonzero(values > least)
    for comes in better[np.argsort(-values[better], kind="stable")[:TRIED]].tolist():
        if form.held.feasible.keeps(after := np.append(start, comes)):
            return after, float(values[comes])
    return None, least
