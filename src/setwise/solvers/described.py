"""A set as what every call returns: in selection order, valued in float64."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from setwise.selection import Selection
from setwise.solvers.problem import Problem, Solved
from setwise.solvers.reasons import Reasoner
from setwise.solvers.ties import first_of_equals
from setwise.vectors import Floats


def describe(problem: Problem, found: Solved, solver: str, began: float) -> Selection:
    """Return a set as a `Selection`: in selection order, valued in float64.

    ``solver`` is what it is said to be found by, ``began`` when, in `time.perf_counter`'s seconds.
    """
    chosen = found.chosen
    if found.numbers is None:
        chosen, rows = _in_order(problem, found)
        gains, terms = problem.objective.evaluate(rows, problem.told(chosen, rows, given=True))
    else:
        gains, terms = problem.objective.summarize(found.numbers, problem.relevance.given(chosen))
    value, certificate = float(terms.value), found.certificate if problem.request.certify else None
    if certificate is not None and problem.relevance.least:
        weight = problem.objective.relevance_weight(len(chosen))
        assert weight is not None  # else nothing is taken off
        certificate = certificate.moved(weight * problem.relevance.least)
    return Selection(
        indices=problem.vectors.places(chosen),
        gains=gains,
        value=value,
        relevance=float(terms.relevance),
        diversity=float(terms.spread),
        certificate=None if certificate is None else certificate.at_least(value),
        solver=solver,
        seconds=time.perf_counter() - began,
        stats=problem.stats,
        reasoner=Reasoner.knowing(problem, chosen),
    )


def _in_order(problem: Problem, found: Solved) -> tuple[NDArray[np.int64], Floats]:
    """Return a set in selection order, of equal candidates the first; and its rows, float64."""
    chosen, include = found.chosen, problem.constraints.include
    if len(include) and not found.ordered:
        chosen = np.concatenate([include, chosen[~np.isin(chosen, include)]])
    if not found.drawn:
        chosen = first_of_equals(problem, chosen)
    rows = problem.vectors.rows(chosen, np.float64)
    if not found.ordered:
        order = problem.objective.arrange(rows, problem.told(chosen, rows), chosen, len(include))
        chosen, rows = first_of_equals(problem, chosen[order], among_themselves=True), rows[order]
    return chosen, rows
