"""Coverage from solver to certificate: the set, and the bound on the best one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.certificate import Certificate, bounded, unbounded
from setwise.constraints import Constraints
from setwise.objectives import Coverage
from setwise.solvers import baselines
from setwise.solvers.k_medoids import dual, exact, large, search
from setwise.solvers.k_medoids.stack import Stack, first_least
from setwise.solvers.problem import Problem, Solved
from setwise.threads import one_blas_thread, run_ranges
from setwise.top import top_k
from setwise.vectors import Floats, Vectors

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

#: With full effort, the exact program is tried up to this many candidates.
PROGRAM = 512

#: What sums may be off by, relative to their largest terms.
ROUNDING = 1e-14

#: What a cosine distance may be off by.
UNIT = 8 * float(np.finfo(np.float64).eps)

#: Rows that are measured at once.
BLOCK = 1024


class MedoidsKnown(NamedTuple):
    """What a solver knows of a problem whose distances are all held.

    stack : the problem; order : which candidate each of its positions is; lower : no set costs less (-inf:
    none known); improve : whether a better set that the proof comes across replaces the one found.
    """

    stack: Stack
    order: NDArray[np.int64]
    lower: float = -np.inf
    improve: bool = False


def by_greedy(problem: Problem) -> Solved:
    """Find a set by adding the candidate that lowers the cost most."""
    return _search(problem, exchanges=False)


def by_exchanges(problem: Problem) -> Solved:
    """Find a set by greedy selection, then best single exchanges."""
    return _search(problem, exchanges=True)


def by_default(problem: Problem) -> Solved:
    """Find a set by exchanges; its proof may improve it."""
    found = _search(problem, exchanges=True)
    return found if found.known is None else replace(found, known=found.known._replace(improve=True))


def exactly(problem: Problem) -> Solved:
    """Find the best set by an integer program.

    Raises ValueError: there are more candidates than it can search.
    """
    word = problem.request.solver_word
    if problem.n > exact.LARGEST:
        raise ValueError(
            f"{word}: 'exact' can search {exact.LARGEST} candidates, got {problem.n}; use 'swap', "
            "or select among fewer"
        )
    if _is_decided(problem):
        return Solved(baselines.most_relevant(problem))
    order = problem.by_content(np.arange(problem.n))
    stack = stack_of(problem, order)
    found = exact.best_set(stack, problem.k, limit=problem.request.time_limit)
    problem.stats.update(points=problem.n, variables=found.variables)
    if found.lower < float(stack.totals(found.places[None])[0]) - 1e-6 * abs(found.lower):
        checks.warn(
            f"{word}: 'exact' stopped after {problem.request.time_limit:g} seconds without a "
            "proof; the certificate says how close the set is to the best one"
        )
    return Solved(order[found.places], known=MedoidsKnown(stack, order, found.lower))


def certify(problem: Problem, solved: Solved) -> Solved:
    """Bound the best possible value, and certify a set.

    For the default solver, a better set that the proof comes across replaces the given one.
    """
    value, t = problem.value(solved.chosen), problem.objective.diversity
    size = (1 - t) * float(np.abs(problem.relevance.values).max())
    if _is_decided(problem):
        best = problem.value(baselines.most_relevant(problem))
        return replace(solved, certificate=_certificate(value, best, abs(best), problem.n, True))
    if problem.n <= DENSE:
        order = problem.by_content(np.arange(problem.n))
        known = solved.known or MedoidsKnown(stack_of(problem, order), order)
        return _certified(problem, solved, known, value, size)
    # Relevance alone bounds the value: a cost is never below 0.
    if t == 1.0:
        return replace(solved, certificate=unbounded(problem.n, False))
    upper = (1 - t) * float(problem.relevance.at(baselines.most_relevant(problem)).mean())
    return replace(solved, certificate=_certificate(value, upper, size + abs(value), problem.n, False))


def _is_decided(problem: Problem) -> bool:
    """Return whether relevance decides, or there is no choice."""
    return problem.objective.diversity == 0.0 or problem.k == problem.n


def stack_of(problem: Problem, order: NDArray[np.int64]) -> Stack:
    """Return a problem as a stack of one whose cost is what the value lacks of a constant. Memory: O(n²).

    Ties go to the lowest position: candidates stand in an order that their rows' numbers have no part in.
    """
    objective = coverage_of(problem)
    rows = problem.vectors.rows(order, np.float64)
    cost = objective.distances(rows, rows)
    np.fill_diagonal(cost, 0.0)
    cost *= (objective.diversity * objective.shares[order])[:, None]
    fixed = _lacking(problem, problem.relevance.at(order))
    among = _constraints(problem, order)
    return Stack(cost[None], np.ones((1, problem.n), bool), fixed[None], among)


def _lacking(problem: Problem, relevance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each candidate's own part of the value lacks of the largest, at least 0.

    Cosines next to 1 differ by little of themselves; sums of what they lack keep the digits that tell sets
    apart.
    """
    return np.asarray((1 - problem.objective.diversity) / problem.k * (relevance.max() - relevance))


def _constraints(problem: Problem, ids: NDArray[np.int64]) -> Constraints:
    """Return the constraints over some candidates, must-have ones among them, in terms of their positions."""
    place = np.empty(problem.n, np.int64)
    place[ids] = np.arange(len(ids))
    constraints = copy.copy(problem.constraints)
    constraints.include = place[constraints.include]
    constraints.codes = None if constraints.codes is None else constraints.codes[ids]
    return constraints


def coverage_of(problem: Problem) -> Coverage:
    """Return a problem's objective, as coverage's own solvers know it."""
    return cast(Coverage, problem.objective)


def _search(problem: Problem, *, exchanges: bool) -> Solved:
    """Find a set by greedy selection, and exchanges if asked for."""
    if _is_decided(problem):
        return Solved(baselines.most_relevant(problem))
    order = problem.by_content(np.arange(problem.n))
    if problem.n > DENSE:
        chosen = order[_search_table(problem, _sampled_table(problem, order), exchanges)]
        return Solved(_settle(problem, chosen, order) if exchanges else chosen)
    stack = stack_of(problem, order)
    problem.stats["points"] = problem.n
    if problem.n > BEST_EXCHANGE:
        fixed = np.zeros(problem.n) if stack.fixed is None else stack.fixed[0]
        table = large.CostTable(np.ascontiguousarray(stack.cost[0].T), fixed, _constraints(problem, order))
        return Solved(order[_search_table(problem, table, exchanges)], known=MedoidsKnown(stack, order))
    places = search.greedy(stack, problem.k)
    if exchanges:
        places, swaps = search.swap(stack, places)
        problem.count("swaps", swaps)
    return Solved(order[places[0]], known=MedoidsKnown(stack, order))


def _search_table(problem: Problem, table: large.CostTable, exchanges: bool) -> NDArray[np.int64]:
    """Return the set that greedy selection, and exchanges if asked for, find in a table of costs."""
    chosen = large.greedy(table, problem.k)
    if exchanges:
        chosen, swaps = large.swap(table, chosen)
        problem.count("swaps", swaps)
    return chosen


def _certified(problem: Problem, solved: Solved, known: MedoidsKnown, value: float, size: float) -> Solved:
    """Bound the best possible value with all distances at hand.

    `value` is the set's, and `size` that of the relevance part.
    """
    stack, order, lower, improve = known
    chosen, effort = solved.chosen, problem.effort
    places = np.argsort(order)[chosen][None]
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
            found = exact.best_set(stack, problem.k, best[0], limit=problem.request.time_limit)
            best, lower = found.places[None], max(lower, found.lower)
    if improve and stack.cheaper(best, places)[0]:
        chosen, before = order[best[0]], cost
        cost = float(stack.totals(best)[0])
        value += before - cost
    size += float(stack.cost.sum(axis=1).max())
    # Unit rows are rounded, and so are the distances of all but equal directions, whatever they are.
    off = problem.objective.diversity * UNIT if problem.vectors.metric == "cosine" else 0.0
    off += ROUNDING * size  # the bound is a sum, too
    certificate = _certificate(value, value + (cost - lower) + off, size, problem.n, True, off)
    return replace(solved, chosen=chosen, certificate=certificate)


def _certificate(
    value: float, upper: float, size: float, pool: int, sufficient: bool, off: float = 0.0
) -> Certificate:
    """Return a certificate from a value, a bound on the best one, the size of the value's terms, and what
    the bound allows for."""
    rounding = ROUNDING * size + off
    return bounded(value, upper, size=size, rounding=rounding, pool_size=pool, sufficient=sufficient)


def _sampled_table(problem: Problem, order: NDArray[np.int64]) -> large.CostTable:
    """Return the cost of each candidate, in an order, serving each point of a sample. Memory: O(n · sample).

    Each point stands for the candidates nearest to it (OneBatchPAM, de Mathelin et al. 2025).
    """
    objective, vectors, n = coverage_of(problem), problem.vectors, problem.n
    place = np.argsort(order)
    size = min(n, max(FEWEST, min(MOST, DISTANCES // n), 4 * problem.k))
    # Evenly along a random direction: whatever the order of the data, and copies get no more than their due.
    direction = np.random.default_rng(problem.seed).standard_normal(vectors.d)
    along = np.empty(n)

    def project(part: slice, block: Floats) -> None:
        along[part] = np.vecdot(block, direction)

    _each_block(vectors, project)
    spread = order[np.argsort(along[order], kind="stable")]
    points = np.sort(place[spread[(2 * np.arange(size) + 1) * n // (2 * size)]])
    problem.stats["points"] = size
    rows = vectors.rows(order[points], np.float64)
    cost = np.empty((n, size), np.float32)
    nearest = np.empty(n, np.int64)

    def take(part: slice, block: Floats) -> None:
        found = objective.distances(block, rows)
        nearest[place[part]] = first_least(found, found.max(axis=1))
        cost[place[part]] = found

    _each_block(vectors, take)
    nearest[points] = np.arange(size)
    # A point serves itself for nothing, which would favor the sample over its like: as far as its neighbor.
    cost[points, np.arange(size)] = np.inf
    own = cost[points].min(axis=1)
    cost[points, np.arange(size)] = np.where(np.isfinite(own), own, 0.0)
    weights = np.bincount(nearest, weights=objective.shares[order], minlength=size) * objective.diversity
    cost *= weights.astype(np.float32)
    fixed = _lacking(problem, problem.relevance.values[order])
    return large.CostTable(cost, fixed, _constraints(problem, order))


def _settle(problem: Problem, chosen: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Improve a set by exchanges with the candidates around its members, measured against all points.

    A sample says which regions to take members from; which member of a region is best takes all of it.
    """
    objective, vectors, n, k = coverage_of(problem), problem.vectors, problem.n, problem.k
    around, place = max(1, min(MOST, DISTANCES // n) // k), np.argsort(order)

    def table(ids: NDArray[np.int64]) -> Floats:
        """Return the distances of some candidates to all, in the order."""
        rows, found = vectors.rows(ids, np.float64), np.empty((len(ids), n), np.float32)

        def take(part: slice, block: Floats) -> None:
            found[:, place[part]] = objective.distances(rows, block)

        _each_block(vectors, take)
        return found

    nearest = [top_k(-near, min(around, n)) for near in table(chosen)]
    some = np.unique(np.concatenate([*nearest, place[chosen]]))
    ids = order[some]
    cost = table(ids)
    cost[np.arange(len(ids)), some] = 0.0
    cost *= (objective.diversity * objective.shares[order]).astype(np.float32)
    fixed = _lacking(problem, problem.relevance.values[ids])
    held = large.CostTable(cost, fixed, _constraints(problem, ids))
    places, swaps = large.swap(held, np.searchsorted(some, place[chosen]))
    problem.count("swaps", swaps)
    return np.asarray(ids[places])


def _each_block(vectors: Vectors, take: Callable[[slice, Floats], None]) -> None:
    """Call ``take(part, rows)`` on all rows, in float64, whose rounding decides between no two candidates."""

    def some(start: int, stop: int) -> None:
        for first in range(start, stop, BLOCK):
            part = slice(first, min(stop, first + BLOCK))
            take(part, vectors.rows(part, np.float64))

    with one_blas_thread():
        run_ranges(some, vectors.n, vectors.workers, least=BLOCK)
