"""The solvers that compiled kernels have: the same sets, in the same order, as NumPy's.

What a kernel does not know (another metric, an objective of one's own, many candidates, rows that it cannot
read) is left to NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import kernels
from setwise.kernels import pools
from setwise.kernels.pools import Exchanged, Proof
from setwise.objectives import LogDet, MaxMarginal, MaxSum, Objective
from setwise.objectives.log_det import NOISE
from setwise.relevance import Relevance
from setwise.rounding import dot_error
from setwise.solvers.bounds import gradient_error, rounding_margin
from setwise.solvers.pools import Pool
from setwise.solvers.problem import POOLED, Problem, Solved
from setwise.solvers.relaxation import SMALL_LEADERS, Relaxed
from setwise.threads import run_ranges
from setwise.vectors import FINE

#: Up to so many distances, of a pool's candidates to the members of a set, are held.
ROOM = 2**22

#: Relevance that is off by no more is as good as exact.
ROUNDING = 1e-12


def knows(objective: Objective, rows: NDArray[Any]) -> bool:
    """Return whether kernels know an objective, and can read the candidates: floats, under cosine."""
    return know(objective) and kernels.readable(rows)


def know(objective: Objective) -> bool:
    """Return whether kernels that are used know an objective."""
    known = type(objective) in (MaxSum, MaxMarginal, LogDet) and objective.metric == "cosine"
    return known and kernels.available()


def _precisely(relevance: Relevance, n: int) -> NDArray[np.float64]:
    """Return the relevance of every candidate in float64 precision."""
    return relevance.values if relevance.error <= ROUNDING else relevance.at(np.arange(n))


def pick_greedily(problem: Problem, first: NDArray[np.int64]) -> Solved | None:
    """Return what `greedy.pick_greedily` selects; None where no kernel knows the problem."""
    objective, vectors = problem.objective, problem.vectors
    if vectors.squares is None or problem.n > POOLED or not know(objective) or problem.request.wishes:
        return None
    counts, chosen, numbers = pools.greedy(
        vectors.raw,
        vectors.squares,
        _precisely(problem.relevance, problem.n),
        objective=objective.name,
        diversity=objective.diversity,
        sharpness=getattr(objective, "sharpness", 1),
        k=problem.k,
        kept=vectors.kept,
        first=first,
        groups=problem.constraints.codes,
        quota=problem.constraints.quota,
    )
    count = int(counts[0])
    known = count == problem.k and (type(objective) is not LogDet or numbers.min() > NOISE)
    return Solved(chosen[0, :count], ordered=True, sufficient=True, numbers=numbers[0] if known else None)


def are_summarized(objective: Objective, numbers: NDArray[np.float64]) -> Any:
    """Return of which pools an objective's `summarize` knows what these numbers are worth."""
    if not isinstance(objective, LogDet):
        return np.True_
    return numbers.min(axis=-1) > NOISE


def pick_measured(
    objective: Objective, rows: NDArray[Any], relevance: NDArray[np.float64], k: int, **each: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return what the greedy kernel selects of rows that it measures itself; see `kernels.pools.greedy`."""
    return pools.greedy(
        rows,
        None,
        relevance,
        objective=objective.name,
        diversity=objective.diversity,
        sharpness=getattr(objective, "sharpness", 1),
        k=k,
        fine=FINE[rows.dtype != np.float64],
        **each,
    )


def pick_of_each(
    objective: Objective,
    rows: NDArray[Any],
    cuts: NDArray[np.int64],
    relevance: NDArray[np.float64],
    queries: NDArray[np.float64] | None,
    k: int,
    workers: int,
    *,
    with_greedy: bool | None = None,
) -> tuple[NDArray[Any], ...]:
    """Return what kernels select of many pools, measured on the way, on several threads.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Of all pools, one after the other. Kernels know both.
    cuts : ndarray of shape (p + 1,), int64
    relevance : ndarray of shape (n,), float64
        Written to where there are queries.
    queries : ndarray of shape (p, d), float64, optional
    with_greedy : bool, optional
        Of the default solver; None for greedy selection.
    """
    fine = FINE[rows.dtype != np.float64]

    def some(first: int, last: int) -> Any:
        part = slice(int(cuts[first]), int(cuts[last]))
        own = None if queries is None else queries[first:last]
        if with_greedy is not None and isinstance(objective, MaxSum):
            return pools.exchange_each(
                rows[part],
                relevance[part],
                cuts[first : last + 1] - cuts[first],
                k=k,
                diversity=objective.diversity,
                sharpness=objective.sharpness,
                with_greedy=with_greedy,
                fine=fine,
                queries=own,
            )
        return pick_measured(
            objective, rows[part], relevance[part], k, queries=own, cuts=cuts[first : last + 1] - cuts[first]
        )

    parts = zip(*run_ranges(some, len(cuts) - 1, workers), strict=True)
    return tuple(np.concatenate(part) for part in parts)


def search_small(problem: Problem, *, with_greedy: bool, rounds: int, tolerance: float) -> Exchanged | None:
    """Return what `auto.search_small` finds, as rows; None where no kernel knows the problem.

    ``rounds`` are of the relaxation, 0 for no bound; ``tolerance`` is its relative gap to stop at.
    """
    return _exchange(problem, with_greedy=with_greedy, rounds=rounds, tolerance=tolerance)


def relax_small(
    problem: Problem, chosen: NDArray[np.int64], *, rounds: int, tolerance: float
) -> Proof | None:
    """Return what the relaxation proves from a set; None where no kernel knows the problem."""
    found = _exchange(problem, chosen=chosen, rounds=rounds, tolerance=tolerance)
    if found is None:
        return None
    problem.count("relaxations")
    return found.proof


def relax(
    pool: Pool, start: tuple[NDArray[np.int64], NDArray[np.float64]] | None, **effort: Any
) -> Relaxed | None:
    """Return what `relaxation.maximize` finds, not exactly; None where no kernel knows the problem.

    ``start`` is in positions in the pool; ``effort`` is the rounds, leaders and tolerance.
    """
    order = pool.order
    first = order[: pool.problem.k]  # the most relevant
    within = None if start is None else (order[start[0]], start[1])
    found = _exchange(pool.problem, pool, chosen=first, start=within, **effort)
    if found is None or found.point is None:
        return None
    ids, weights, gradient, value, bound, rounds = found.point
    local = pool.places[ids]
    ascending = np.argsort(local)
    return Relaxed(local[ascending], weights[ascending], gradient[order], value, bound, rounds)


def polish(
    pool: Pool, starts: list[NDArray[np.int64]], with_greedy: bool
) -> tuple[NDArray[np.int64], float] | None:
    """Return what `polished.best` finds; None where no kernel knows the problem."""
    found = _exchange(pool.problem, pool, starts=pool.order[np.stack(starts)], with_greedy=with_greedy)
    if found is None:
        return None
    pool.problem.count("swaps", found.swaps)
    return pool.ascending[found.chosen], found.value


def exchange_measured(
    objective: Objective,
    rows: NDArray[Any],
    relevance: NDArray[np.float64],
    query: NDArray[np.float64] | None,
    **options: Any,
) -> Exchanged | None:
    """Return what `search_small` does of rows measured on the way; see `kernels.pools.exchange`."""
    assert isinstance(objective, MaxSum)
    margin = 0.0
    if options["rounds"]:
        error = 0.0 if query is None else dot_error(rows.shape[1], np.float64)
        margin = gradient_error(objective, options["k"], rows.shape[1], error)
    return pools.exchange(
        rows,
        relevance,
        query=query,
        diversity=objective.diversity,
        sharpness=objective.sharpness,
        fine=FINE[True],
        leaders=SMALL_LEADERS,
        margin=margin,
        **options,
    )


def _are_single(squares: NDArray[np.float64]) -> bool:
    """Return whether rows of these lengths can be screened in single precision."""
    least, most = kernels.span(squares)
    return FINE[True][0] < least and most < FINE[True][1]


def _exchange(
    problem: Problem,
    pool: Pool | None = None,
    *,
    rounds: int = 0,
    leaders: int = SMALL_LEADERS,
    **options: Any,
) -> Exchanged | None:
    """Return what the kernel finds among all candidates or in a pool; None where it cannot."""
    objective, vectors, values = problem.objective, problem.vectors, problem.relevance.values
    squares, kept = vectors.squares, vectors.kept
    if squares is None or problem.constraints.any:
        return None
    if problem.request.wishes or not isinstance(objective, MaxSum) or not know(objective):
        return None
    if pool is None:
        if problem.k >= problem.n or (vectors.dtype == np.float64 and not _are_single(squares)):
            return None
        order = problem.by_content(np.arange(problem.n))
    else:
        if vectors.dtype == np.float64 or not problem.k < len(pool) <= ROOM // problem.k:
            return None
        ids, order = pool.ascending, pool.order
        values, squares, kept = values[ids], squares[ids], vectors.places(ids)
        problem.stats["kernel"] = "compiled"
    return pools.exchange(
        vectors.raw,
        values,
        order=order,
        squares=squares,
        k=problem.k,
        diversity=objective.diversity,
        sharpness=objective.sharpness,
        kept=kept,
        rounds=rounds,
        leaders=leaders,
        margin=rounding_margin(problem) if rounds and pool is None else None,
        **options,
    )
