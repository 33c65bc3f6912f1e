"""Small pools without a problem: one call of a kernel checks, measures and selects from candidates."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import kernels, solvers
from setwise.certificate import unbounded
from setwise.constraints import Constraints
from setwise.objectives import Objective
from setwise.queries import as_query
from setwise.relevance import WIDEST_SPAN, Relevance, as_numbers
from setwise.request import Request
from setwise.selection import Selection
from setwise.solvers import auto, compiled, max_sum, polished
from setwise.solvers.described import describe
from setwise.solvers.problem import POOLED, Problem
from setwise.solvers.reasons import Reasoner
from setwise.vectors import THREAD_WORK, Vectors


def is_direct(request: Request) -> bool:
    """Return whether a request is for greedy selection of a size, with nothing else to keep or to prove."""
    goal = request.goal
    return (
        request.plain
        and compiled.know(goal)
        and solvers.is_greedy(goal.name, request.solver)
        and (not request.certify or goal.name not in solvers.PROOFS)
    )


def by_exchanges(request: Request, data: NDArray[Any], least: int, most: int) -> bool:
    """Return whether the default solver for max-sum is asked for, and compiled for pools of these sizes.

    Of pairs more than these exchanges are looked at; see `solvers.pairs`.
    """
    goal, k = request.goal, request.k or 0
    if goal.name != "max-sum" or request.solver != "auto" or request.certify == "full":
        return False
    if not 2 < k < least or most > auto.TINY:
        return False
    return data.dtype != np.float64 and not goal.relevance_decides(k) and compiled.knows(goal, data)


def select(
    request: Request,
    data: NDArray[Any],
    relevance: Any,
    query: Any,
    pose: Callable[..., Problem],
    began: float,
) -> Selection | None:
    """Return what `setwise.select` does; None where a problem is to be posed, or something to be refused.

    Parameters
    ----------
    request : Request
    data : ndarray of shape (n, d)
        As `as_matrix` returns them.
    relevance, query
        As for `setwise.select`.
    pose : callable (request, vectors, relevance=, query=) -> Problem
        What explanations need.
    began : float
        When, in `time.perf_counter`'s seconds.
    """
    if not request.plain or not kernels.available() or (relevance is not None and query is not None):
        return None
    goal, k = request.goal, request.size
    n, d = data.shape
    if not k <= n <= POOLED or data.size >= THREAD_WORK or not kernels.readable(data):
        return None
    greedily = is_direct(request)
    if not greedily and (relevance is query or not by_exchanges(request, data, n, n)):
        return None
    given, probe, wide = None, None, False
    if relevance is not None:
        given = as_numbers(relevance, n)
        least, most = kernels.span(given)
        if not isfinite(most - least):
            return None
        wide = most - least > WIDEST_SPAN and 0 < goal.diversity < 1
        counted = given - least  # see `Relevance.from_least`
    else:
        counted = np.zeros(n)
        if query is not None:
            probe = as_query(query, d, "cosine")
    label = solvers.label_of(goal.name, request.solver)
    if greedily:
        counts, [indices], [numbers] = compiled.pick_measured(goal, data, counted, k, queries=probe)
        if counts[0] < k or not compiled.are_summarized(goal, numbers):
            return None
        stats = {"kernel": "compiled", "pool_size": n}
    else:
        found = compiled.exchange_measured(
            goal,
            data,
            counted,
            probe,
            k=k,
            with_greedy=polished.has_greedy_start(k),
            rounds=auto.SMALL_ROUNDS if request.certify else 0,
            tolerance=max_sum.TOLERANCE[request.certify],
        )
        if found is None or found.numbers is None:
            return None
        indices, numbers = found.chosen, found.numbers
        stats = auto.stats_of(found)
        if request.certify:
            measured = Vectors(data, measured=(found.squares, None if probe is None else counted))
            known = Relevance(counted if given is None else given, measured, probe)
            if wide:
                known.warn_if_wide()
            problem = Problem(measured, known, request, Constraints(n, request), stats=stats)
            solved = max_sum.certify(problem, max_sum.solved(auto.incumbent(problem, found)))
            return describe(problem, solved, label, began)
    if wide and given is not None:
        Relevance(given, None).warn_if_wide()
    return Selection.of(
        partial(_terms, goal, numbers, counted if given is None else given, indices),
        indices=indices,
        certificate=unbounded(n, True) if request.certify else None,
        solver=label,
        seconds=time.perf_counter() - began,
        stats=stats,
        reasoner=Reasoner(partial(pose, request, data, relevance=given, query=query), indices),
    )


def _terms(
    goal: Objective, numbers: NDArray[np.float64], relevance: NDArray[np.float64], chosen: NDArray[np.int64]
) -> dict[str, Any]:
    """Return what a set is worth: fields of `Selection`."""
    gains, terms = goal.summarize(numbers, relevance[chosen])
    return {
        "gains": gains,
        "value": float(terms.value),
        "relevance": float(terms.relevance),
        "diversity": float(terms.spread),
    }
