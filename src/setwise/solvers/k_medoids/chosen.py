"""Coverage from solver to certificate: the set, and the bound on the best one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.certificate import Certificate, bounded, unbounded
from setwise.objectives import Coverage
from setwise.solvers import baselines
from setwise.solvers.k_medoids import dual, exact, large, search
from setwise.solvers.k_medoids.stack import Stack, arrange, first_least
from setwise.solvers.max_sum import Proven
from setwise.solvers.problem import Problem
from setwise.threads import one_blas_thread, run_ranges
from setwise.vectors import Floats, Vectors, top_k

#: Up to this many candidates every distance between two is held (n² numbers) ...
DENSE = 2048

#: ... and up to this many each step makes the best exchange of all; beyond, of a block of candidates.
BEST_EXCHANGE = 512

#: Beyond `DENSE`, candidates are measured against a sample of points: so many distances in all, where the
#: sample stays within these sizes.
DISTANCES = 1 << 25
FEWEST, MOST = 512, 2048

#: Steps of dual ascent, by effort.
STEPS = {True: 60, "full": 600}

#: With full effort, the exact program is tried up to this many candidates, for so many seconds.
PROGRAM = 512
SECONDS = 20.0

#: Rows that are measured at once.
BLOCK = 1024

#: The set is put in order by at most so many distances.
ORDERED = 1 << 24


def solve(problem: Problem, solver: str, certify: Any) -> tuple[Proven, str]:
    """Run a solver on a coverage problem and certify its set as far as asked.

    Parameters
    ----------
    problem : Problem
        Its objective is coverage.
    solver : str
        A name that serves coverage.
    certify : False, True or "full"

    Returns
    -------
    Proven, and the name of the solver

    Raises
    ------
    ValueError
        More candidates than "exact" can search.
    """
    if solver == "exact" and problem.n > exact.LARGEST:
        raise ValueError(
            f"solver: 'exact' can search {exact.LARGEST} candidates, got {problem.n}; use solver='swap', "
            "or select among fewer"
        )
    label = "swap" if solver == "auto" else solver
    if label in ("greedy", "swap", "exact") and (
        problem.objective.diversity == 0.0 or problem.k == problem.n
    ):
        chosen = baselines.top(problem)
        best = _value(problem, chosen)
        proof = _certificate(best, best, abs(best), problem.n, True) if certify else None
        return Proven(_ordered(problem, chosen), proof, True), label
    if problem.n > DENSE:
        return _solve_sampled(problem, label, certify), label
    stack = stack_of(problem)
    chosen, lower = _solve_dense(problem, stack, label)
    certificate = None
    if certify:
        effort: Any = "full" if certify == "full" else True
        chosen, certificate = _certified(problem, stack, chosen, lower, effort, improve=solver == "auto")
    kept = len(problem.constraints.include)
    if kept:
        include = problem.constraints.include
        chosen = np.concatenate([include, chosen[~np.isin(chosen, include)]])
    return Proven(arrange(stack, chosen[None], kept)[0], certificate, True), label


def stack_of(problem: Problem) -> Stack:
    """Return a problem as a stack of one whose cost is minus the value. Memory: O(n²)."""
    objective = coverage_of(problem)
    rows = problem.vectors.rows(slice(0, problem.n), np.float64)
    cost = objective.distances(rows, rows)
    np.fill_diagonal(cost, 0.0)
    cost *= (objective.diversity * objective.shares)[:, None]
    fixed = -(1 - objective.diversity) / problem.k * problem.relevance.at(np.arange(problem.n))
    return Stack(cost[None], np.ones((1, problem.n), bool), fixed[None], problem.constraints)


def coverage_of(problem: Problem) -> Coverage:
    """Return a problem's objective, which must be coverage."""
    if not isinstance(problem.objective, Coverage):
        raise TypeError(f"this solver is for coverage, not {problem.objective.name}")
    return problem.objective


def _solve_dense(problem: Problem, stack: Stack, solver: str) -> tuple[NDArray[np.int64], float]:
    """Return a set found with all distances at hand, and a bound on any set's cost (-inf: none yet)."""
    problem.stats["points"] = problem.n
    k = problem.k
    if solver in ("top-k", "random", "clustering", "k-means"):
        return _baseline(problem, solver), -np.inf
    if solver == "exact":
        found = exact.solve(stack, k)
        problem.stats["variables"] = found.variables
        if found.lower < float(stack.totals(found.places[None])[0]) - 1e-6 * abs(found.lower):
            checks.warn(
                f"solver: 'exact' stopped after {exact.LIMIT:.0f} seconds of search without a proof; the "
                "certificate says how close the set is to the best one"
            )
        return found.places, found.lower
    if problem.n <= BEST_EXCHANGE:
        places = search.greedy(stack, k)
        if solver == "swap":
            places, swaps = search.swap(stack, places)
            problem.count("swaps", swaps)
        return places[0], -np.inf
    table = large.Table(np.ascontiguousarray(stack.cost[0].T), _fixed(stack), problem.constraints)
    return _search_table(problem, table, solver), -np.inf


def _search_table(problem: Problem, table: large.Table, solver: str) -> NDArray[np.int64]:
    """Return the set that greedy selection, and exchanges if asked for, find in a table of costs."""
    chosen = large.greedy(table, problem.k)
    if solver == "swap":
        chosen, swaps = large.swap(table, chosen)
        problem.count("swaps", swaps)
    return chosen


def _fixed(stack: Stack) -> NDArray[np.float64]:
    return np.zeros(stack.cost.shape[2]) if stack.fixed is None else stack.fixed[0]


def _baseline(problem: Problem, solver: str) -> NDArray[np.int64]:
    """Return a baseline's set; k-means is AMPO-CoreSet: the most relevant member of each cluster."""
    if solver == "top-k":
        return baselines.top(problem)
    if solver == "random":
        return baselines.random(problem)
    return baselines.clustering(problem)


def _certified(
    problem: Problem,
    stack: Stack,
    chosen: NDArray[np.int64],
    lower: float,
    effort: Any,
    *,
    improve: bool,
) -> tuple[NDArray[np.int64], Certificate]:
    """Bound the best possible value; where `improve`, a better set met on the way replaces the given one."""
    places = chosen[None]
    cost = float(stack.totals(places)[0])
    best = places
    if not np.isfinite(lower):
        if not improve:
            best = search.swap(stack, places)[0] if problem.n <= BEST_EXCHANGE else places
        climbed = dual.ascend(stack, best, steps=STEPS[effort])
        lower = float(climbed.lower[0])
        if improve and problem.n <= BEST_EXCHANGE:
            best = dual.improved(stack, best, climbed)
        if effort == "full" and problem.n <= PROGRAM and lower < cost - dual.PROVEN * abs(cost):
            found = exact.solve(stack, problem.k, best[0], limit=SECONDS)
            best, lower = found.places[None], max(lower, found.lower)
    if improve and stack.cheaper(best, places)[0]:
        chosen, cost = best[0], float(stack.totals(best)[0])
    objective = coverage_of(problem)
    size = float(stack.cost.sum(axis=1).max()) + (1 - objective.diversity) * float(
        np.abs(problem.relevance.values).max()
    )
    return chosen, _certificate(-cost, -lower, size, problem.n, True)


def _certificate(value: float, upper: float, size: float, pool: int, sufficient: bool) -> Certificate:
    """Return a certificate from a value, a bound on the best one, and the size of the value's terms."""
    rounding = 1e-7 * max(abs(value), 1e-3 * size)
    return bounded(value, upper, size=size, rounding=rounding, pool_size=pool, sufficient=sufficient)


def _value(problem: Problem, chosen: NDArray[np.int64]) -> float:
    """Return the value of a set in float64."""
    rows = problem.vectors.rows(chosen, np.float64)
    return coverage_of(problem).terms_of_rows(rows, problem.relevance.at(chosen)).value


def _solve_sampled(problem: Problem, solver: str, certify: Any) -> Proven:
    """Solve with all candidates, measured against a sample of points (OneBatchPAM, de Mathelin et al. 2025).

    Each point stands for the candidates nearest to it; exchanges then settle the set by all points. Relevance
    alone bounds the value: a cost is never below 0.
    """
    if solver in ("greedy", "swap"):
        chosen = _search_table(problem, _sampled_table(problem), solver)
        if solver == "swap":
            chosen = _settle(problem, chosen)
    else:
        chosen = _baseline(problem, solver)
    certificate = None
    if certify:
        t = problem.objective.diversity
        value = _value(problem, chosen)
        certificate = unbounded(problem.n, False)
        if t < 1.0:
            best = baselines.most_relevant(problem)
            upper = (1 - t) * float(problem.relevance.at(best).mean())
            size = (1 - t) * float(np.abs(problem.relevance.values).max()) + abs(value)
            certificate = _certificate(value, upper, size, problem.n, False)
    return Proven(_ordered(problem, chosen), certificate, True)


def _sampled_table(problem: Problem) -> large.Table:
    """Return the cost of each candidate serving each point of a sample. Memory: n times the sample."""
    objective, vectors, n = coverage_of(problem), problem.vectors, problem.n
    size = min(n, max(FEWEST, min(MOST, DISTANCES // n), 4 * problem.k))
    # Evenly along a random direction: whatever the order of the data, and copies get no more than their due.
    direction = np.random.default_rng(problem.seed).standard_normal(vectors.d)
    along = np.empty(n)

    def project(part: slice, block: Floats) -> None:
        along[part] = np.vecdot(block, direction)

    _each_block(vectors, project)
    points = np.sort(np.argsort(along, kind="stable")[(2 * np.arange(size) + 1) * n // (2 * size)])
    problem.stats["points"] = size
    rows = vectors.rows(points, np.float64)
    cost = np.empty((n, size), np.float32)
    nearest = np.empty(n, np.int64)

    def take(part: slice, block: Floats) -> None:
        found = objective.distances(block, rows)
        nearest[part] = first_least(found, found.max(axis=1))
        cost[part] = found

    _each_block(vectors, take)
    nearest[points] = np.arange(size)
    # A point serves itself for nothing, which would favour the sample over its like: as far as its neighbor.
    cost[points, np.arange(size)] = np.inf
    own = cost[points].min(axis=1)
    cost[points, np.arange(size)] = np.where(np.isfinite(own), own, 0.0)
    weights = np.bincount(nearest, weights=objective.shares, minlength=size) * objective.diversity
    cost *= weights.astype(np.float32)
    fixed = -(1 - objective.diversity) / problem.k * problem.relevance.values
    return large.Table(cost, fixed, problem.constraints)


def _settle(problem: Problem, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Improve a set by exchanges with the candidates around its members, measured against all points.

    A sample says which regions to take members from; which member of a region is best takes all of it.
    """
    objective, vectors, n, k = coverage_of(problem), problem.vectors, problem.n, problem.k
    around = max(1, min(MOST, DISTANCES // n) // k)

    def table(ids: NDArray[np.int64]) -> Floats:
        """Return the distances of some candidates to all."""
        rows, found = vectors.rows(ids, np.float64), np.empty((len(ids), n), np.float32)

        def take(part: slice, block: Floats) -> None:
            found[:, part] = objective.distances(rows, block)

        _each_block(vectors, take)
        return found

    nearest = [top_k(-near, min(around, n)) for near in table(chosen)]
    ids = np.unique(np.concatenate([*nearest, chosen]))
    cost = table(ids)
    cost[np.arange(len(ids)), ids] = 0.0
    cost *= (objective.diversity * objective.shares).astype(np.float32)
    fixed = -(1 - objective.diversity) / k * problem.relevance.values[ids]
    constraints = copy.copy(problem.constraints)
    constraints.include = np.searchsorted(ids, constraints.include)
    constraints.codes = None if constraints.codes is None else constraints.codes[ids]
    places, swaps = large.swap(large.Table(cost, fixed, constraints), np.searchsorted(ids, chosen))
    problem.count("swaps", swaps)
    return ids[places]


def _each_block(vectors: Vectors, take: Callable[[slice, Floats], None]) -> None:
    """Call ``take(part, rows)`` on all rows, in float64, whose rounding decides between no two candidates."""

    def some(start: int, stop: int) -> None:
        for first in range(start, stop, BLOCK):
            part = slice(first, min(stop, first + BLOCK))
            take(part, vectors.rows(part, np.float64))

    with one_blas_thread():
        run_ranges(some, vectors.n, vectors.workers, least=BLOCK)


def _ordered(problem: Problem, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a set in selection order, by its distances to all candidates or an even sample of them."""
    objective, n, k = coverage_of(problem), problem.n, problem.k
    include = problem.constraints.include
    chosen = np.concatenate([include, np.sort(chosen[~np.isin(chosen, include)])])
    size = min(n, max(256, ORDERED // k))
    points = np.arange(size) * n // size
    members = problem.vectors.rows(chosen, np.float64)
    cost = np.empty((size, k))
    for start in range(0, size, DENSE):
        part = points[start : start + DENSE]
        cost[start : start + DENSE] = objective.distances(problem.vectors.rows(part, np.float64), members)
    cost *= (objective.diversity * objective.shares[points] * (n / size))[:, None]
    fixed = -(1 - objective.diversity) / k * problem.relevance.at(chosen)
    small = Stack(cost[None], np.ones((1, k), bool), fixed[None])
    return np.asarray(chosen[arrange(small, np.arange(k)[None], len(include))[0]])
