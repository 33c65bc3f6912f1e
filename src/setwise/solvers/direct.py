"""Greedy selection without a problem: one call of a kernel checks, measures and selects from candidates."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import kernels, solvers
from setwise.certificate import unbounded
from setwise.containers import as_matrix, as_query
from setwise.objectives import Objective
from setwise.relevance import WIDEST_SPAN, Relevance, or_never
from setwise.request import Request
from setwise.selection import Selection
from setwise.solvers import compiled
from setwise.solvers.problem import POOLED, Problem
from setwise.solvers.reasons import Reasoner
from setwise.vectors import THREAD_WORK


def is_direct(request: Request) -> bool:
    """Return whether a request is for greedy selection of a size, with nothing else to keep or to prove."""
    goal = request.goal
    return (
        request.plain
        and compiled.know(goal)
        and solvers.is_greedy(goal.name, request.solver)
        and (not request.certify or goal.name not in solvers.PROOFS)
    )


def select(
    request: Request, vectors: Any, relevance: Any, query: Any, pose: Callable[..., Problem], began: float
) -> Selection | None:
    """Return what `setwise.select` does; None where a problem is to be posed, or something to be refused.

    Parameters
    ----------
    request : Request
    vectors, relevance, query
        As for `setwise.select`.
    pose : callable (request, vectors, relevance=, query=) -> Problem
        What explanations need.
    began : float
        When, in `time.perf_counter`'s seconds.
    """
    if not is_direct(request) or (relevance is not None and query is not None):
        return None
    goal, k = request.goal, request.size
    data = as_matrix(vectors)
    n, d = data.shape
    if not k <= n <= POOLED or data.size >= THREAD_WORK or not kernels.readable(data):
        return None
    given, probe, wide = None, None, False
    if relevance is not None:
        given, never = or_never(relevance, n)
        least, most = kernels.span(given)
        if len(never):
            return None
        wide = most - least > WIDEST_SPAN and 0 < goal.diversity < 1
        counted = given - least  # see `Relevance.from_least`
    else:
        counted = np.zeros(n)
        if query is not None:
            probe = as_query(query, d, "cosine")
    counts, [indices], numbers = compiled.pick_measured(goal, data, counted, k, queries=probe)
    if counts[0] < k or not compiled.are_summarized(goal, numbers).all():
        return None
    if wide and given is not None:
        Relevance(given, None).warn_if_wide()
    return Selection.of(
        partial(_terms, goal, numbers[0], (counted if given is None else given)[indices]),
        indices=indices,
        certificate=unbounded(n, True) if request.certify else None,
        solver=solvers.label_of(goal.name, request.solver),
        seconds=time.perf_counter() - began,
        stats={"kernel": "compiled", "pool_size": n},
        reasoner=Reasoner(partial(pose, request, data, relevance=given, query=query), indices),
    )


def _terms(goal: Objective, numbers: NDArray[np.float64], relevance: NDArray[np.float64]) -> dict[str, Any]:
    """Return what a set is worth: fields of `Selection`."""
    gains, terms = goal.summarize(numbers, relevance)
    return {
        "gains": gains,
        "value": float(terms.value),
        "relevance": float(terms.relevance),
        "diversity": float(terms.spread),
    }
