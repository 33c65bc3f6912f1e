"""Frank-Wolfe on a growing, verified pool, then exchanges: the default for max-sum.

Small problems: the paper's Frank-Wolfe and greedy, each polished by exchanges, the better kept. Larger
ones: the concave relaxation is maximized by fully corrective Frank-Wolfe, first over a sample and the
most relevant, then over pools that one pass over all candidates proposes. Its solution is nearly a set;
rounding and exchanges make it one. The pass that proposes a pool also bounds the best possible value and
tells which candidates can be in a better set: when all of those are in the pool, the rest is proven not
to matter. (ARCHITECTURE.md, section 1.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.kernels.pools import Alone, Exchanged, Proof
from setwise.solvers import bounds, compiled, frank_wolfe, greedy, pairs, polished, relaxation, swap
from setwise.solvers.bounds import Bound
from setwise.solvers.pools import Pool, Whole
from setwise.solvers.problem import POOLED, Problem
from setwise.solvers.relaxation import Relaxed
from setwise.top import top_k

#: Up to this many, a start without the relaxation is as good and faster.
TINY = 2048

#: In small pools, with bounded effort: relaxation steps.
SMALL_ROUNDS = 3

#: The relaxation's point is as good as any when it is within so many tolerances of the bound at sight.
FREE = 3

#: Distances of which rounding rows to `pools.GRID` is a small part.
COARSE = 1e-3


@dataclass
class Incumbent:
    """A set, and what is known about it.

    Attributes
    ----------
    chosen : ndarray of shape (k,), int64
        Rows of the candidates.
    pool_sufficient : bool
        Whether no candidate outside the pool can be in a better set.
    bound : Bound, optional
        On the summed form, with what proves it.
    point : (ids, weights), optional
        The relaxation's solution.
    numbers : ndarray of shape (k,), float64, optional
        As of `Solved`: the set is in selection order then.
    alone : Alone, optional
        What relevance alone may prove it by.
    """

    chosen: NDArray[np.int64]
    pool_size: int
    pool_sufficient: bool
    bound: Bound | None = None
    point: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None
    numbers: NDArray[np.float64] | None = None
    alone: Alone | None = None

    def take_in(self, problem: Problem, proof: Proof) -> None:
        """Note the point that compiled kernels have found, and its bound but for rows of double precision."""
        self.point = proof.ids, proof.weights
        if problem.vectors.dtype == np.float32:
            self.bound = bounds.of_proof(problem, proof)


def search(problem: Problem, *, tolerance: float, passes: int, exact: bool = True) -> Incumbent:
    """Find a set for max-sum.

    Parameters
    ----------
    tolerance : float
        Relative gap between the relaxation's bound and its point at which the bound counts as tight.
    passes : int
        At most this many passes over all candidates.
    exact : bool
        Whether to solve the relaxation's quadratic programs exactly: tighter bounds, more work.
    """
    found = _search(problem, tolerance, passes, exact)
    if problem.k == 2 and not problem.effort:  # else whoever proves how good it is looks at pairs
        pair = pairs.best_of(problem, found.chosen)
        if pair.chosen is not found.chosen:
            return Incumbent(pair.chosen, found.pool_size, found.pool_sufficient)
    return found


def _search(problem: Problem, tolerance: float, passes: int, exact: bool) -> Incumbent:
    """Find a set; see `search`."""
    if problem.n <= TINY:
        return search_small(problem, SMALL_ROUNDS if exact and problem.effort is True else 0, tolerance)
    if problem.n <= POOLED:
        pool = Pool(problem)
        relaxed = relax(pool, tolerance=tolerance, exact=exact)
        more = [] if polished.is_guided(problem) else [frank_wolfe.ascend(pool)]
        chosen = polished.of_point(pool, relaxed, more)[0]
        return Incumbent(chosen, len(pool), True, point=(pool.ids[relaxed.local], relaxed.weights))
    return search_large(problem, tolerance=tolerance, passes=passes, exact=exact)


def search_small(problem: Problem, rounds: int = 0, tolerance: float = 0.0) -> Incumbent:
    """Find a set with every candidate in the pool, without the relaxation.

    Compiled kernels may take `rounds` of that as well, to that tolerance, while they hold the pool.
    """
    with_greedy = polished.has_greedy_start(problem.k)
    found = compiled.search_small(problem, with_greedy=with_greedy, rounds=rounds, tolerance=tolerance)
    if found is not None:
        problem.stats.update(stats_of(found))
        known = incumbent(problem, found)
    else:
        known = Incumbent(_search_pool(Pool(problem, coarse=True)), problem.n, True)
    rounded = problem.vectors.dtype == np.float64 and problem.max_sum().metric == "cosine"
    return _refined(problem, known) if rounded else known


def _search_pool(pool: Pool) -> NDArray[np.int64]:
    """Return the rows of the best set from Frank-Wolfe and greedy selection, each polished by exchanges."""
    starts = [frank_wolfe.ascend(pool)]
    if pool.problem.constraints.any:
        starts.append(pool.best(pool.linear))
    return polished.best(pool, starts, with_greedy=polished.has_greedy_start(pool.problem.k))[0]


def _refined(problem: Problem, known: Incumbent) -> Incumbent:
    """Return a set that was found among rounded rows after exchanges in double precision.

    Where all rows are so close that rounding may have decided, the search begins anew without it.
    """
    pool = Pool(problem)
    chosen = polished.best(pool, [pool.locate(known.chosen)])[0]
    worth = pool.value(pool.locate(chosen)) - problem.k * float(pool.linear.min())
    if worth < COARSE * pool.weight * problem.scale():
        chosen = _search_pool(pool)
    if np.array_equal(np.sort(chosen), np.sort(known.chosen)):
        return known
    return replace(known, chosen=chosen, numbers=None)


def stats_of(found: Exchanged) -> dict[str, Any]:
    """Return the statistics of what compiled kernels found."""
    stats = {"kernel": "compiled", "frank_wolfe_steps": found.steps, "swaps": found.swaps}
    return stats if found.proof is None else {**stats, "relaxations": 1}


def incumbent(problem: Problem, found: Exchanged) -> Incumbent:
    """Return what compiled kernels found among all candidates."""
    known = Incumbent(found.chosen, problem.n, True, numbers=found.numbers, alone=found.alone)
    if found.proof is not None:
        known.take_in(problem, found.proof)
    return known


def search_large(problem: Problem, *, tolerance: float, passes: int, exact: bool) -> Incumbent:
    """Find a set with pools that passes over all candidates propose."""
    whole, guided = Whole(problem), polished.is_guided(problem)
    k = problem.k
    values = problem.relevance.values
    close = leading(problem)
    # The first pool, without a pass: the most relevant, and where diversity may favor others a sample of all.
    proposed = [problem.most_relevant(min(problem.n, max(1024, 4 * k)))]
    if problem.constraints.any:
        proposed.append(problem.constraints.best(values))
    if whole.objective.reach > 1.0:
        proposed.append(problem.vectors.sample(min(16384, max(4096, problem.n // 48)), values))
    apart = some_of_each(problem, close)
    proposed.append(apart)
    ids = np.unique(np.concatenate(proposed))
    pool = Pool(problem, ids)
    relaxed = relax(pool, tolerance=5e-3 if passes > 1 else 1e-2, exact=False)
    point = (pool.ids[relaxed.local], relaxed.weights)
    if passes == 1:
        if guided:
            return _one_pass(whole, point, apart, tolerance, close)
        passes = 2
    best: NDArray[np.int64] | None = None
    best_value = -np.inf
    tightest = bounds.bound_at_sight(problem) if guided else None
    most = np.inf if tightest is None else tightest.upper
    sufficient = False
    for number in range(passes):
        if best is not None and problem.is_late:
            break
        problem.tell(f"pass {number + 1} over {problem.n:,} candidates")
        # Reduced-cost fixing: a candidate matters if its gradient is within the gap of the k-th largest. The
        # gap is not known before there is a set; 2 % of the point's value is more than it usually is.
        floor = float(np.partition(relaxed.gradient, len(pool) - k)[len(pool) - k])
        floor -= max(0.0, relaxed.bound - (best_value if best is not None else 0.98 * relaxed.value))
        gradient = whole.gradient_above(*point, floor, 4 * close)
        leaders = top_k(gradient, min(problem.n, close))
        bound = bounds.concave_bound(whole, *point, gradient, leaders)
        if tightest is None or bound.upper < tightest.upper:
            tightest = bound
        # The next pool: what is tempting at the point, what it is made of, the best set, and the survivors.
        ids = np.union1d(np.union1d(leaders, point[0]), apart)
        if best is not None:
            ids = np.union1d(ids, best)
            survivors = tightest.survivors(best_value)
            few = len(survivors) <= 4 * close
            tight = tightest.upper - relaxed.value <= tolerance * abs(relaxed.value)
            if tight and few and bool(np.isin(survivors, pool.ids).all()):
                sufficient = True
                break
            if few:
                ids = np.union1d(ids, survivors)
            elif tight and number > 1 and bool(np.isin(leaders[: close // 2], pool.ids).all()):
                break  # the next pool is all but the last one
        if problem.constraints.any:  # the leaders alone need not hold a feasible set
            ids = np.union1d(ids, problem.constraints.best(gradient))
        pool = Pool(problem, ids)
        rounds = 25 if passes > 3 else 8
        relaxed = relax(pool, tolerance=tolerance, start=point, exact=exact, rounds=rounds, most=most)
        point = (pool.ids[relaxed.local], relaxed.weights)
        starts = [] if best is None else [pool.locate(best)]
        chosen, value = polished.of_point(pool, relaxed, starts)
        if best is None or value > best_value:
            best, best_value = chosen, value
        # Sufficient: whatever could be in a better set has been looked at.
        survivors = tightest.survivors(best_value)
        sufficient = len(survivors) <= 4 * close and bool(np.isin(survivors, pool.ids).all())
        gap = tightest.upper - relaxed.value
        if sufficient and gap <= tolerance * abs(relaxed.value):
            break
        if is_free(relaxed, most, tolerance):
            best, pool = _exchanged(whole, best, pool, apart, passes - number - 1)
            break
        if number > 0 and gap <= tolerance * abs(relaxed.value) and len(survivors) > 4 * close:
            break  # the bound is as tight as it gets, and leaves too many to look at
    assert best is not None
    if not sufficient and not guided:
        # Relevance prunes little here, and two passes may not have seen what matters.
        first = problem.constraints.include if len(problem.constraints.include) else problem.most_relevant(1)
        rivals = [best, greedy.pick_greedily(problem, first), frank_wolfe.over_all(problem)]
        pool = Pool(problem, np.unique(np.concatenate([pool.ids, *rivals])))
        best = polished.best(pool, [pool.locate(rival) for rival in rivals])[0]
    return Incumbent(best, len(pool), sufficient, tightest, point)


def leading(problem: Problem) -> int:
    """Return how many candidates of largest gradient join a pool."""
    return max(2048, 8 * problem.k)


def _exchanged(
    whole: Whole, best: NDArray[np.int64], pool: Pool, apart: NDArray[np.int64], passes: int
) -> tuple[NDArray[np.int64], Pool]:
    """Return a pool's set after exchanges within others that passes at it propose, and the last pool.

    Where the relaxation is as good as it may be, whatever the rows are, its gradient is the same for all.
    """
    problem = whole.problem
    close = leading(problem)
    for _ in range(passes):
        if problem.is_late:
            break
        problem.tell(f"a pass over {problem.n:,} candidates for exchanges")
        gradient = whole.gradient(best, np.ones(problem.k))
        pool = Pool(problem, np.union1d(np.union1d(top_k(gradient, min(problem.n, close)), apart), best))
        chosen = polished.best(pool, [pool.locate(best)])[0]
        if np.array_equal(np.sort(chosen), np.sort(best)):
            break
        best = chosen
    return best, pool


def _one_pass(
    whole: Whole,
    point: tuple[NDArray[np.int64], NDArray[np.float64]],
    apart: NDArray[np.int64],
    tolerance: float,
    close: int,
) -> Incumbent:
    """Find a set in the pool that one pass at a point proposes, with nothing proven."""
    problem = whole.problem
    problem.tell(f"a pass over {problem.n:,} candidates")
    gradient = whole.gradient(*point)
    parts = [top_k(gradient, min(problem.n, close)), point[0], apart]
    if problem.constraints.any:  # the leaders alone need not hold a feasible set
        parts.append(problem.constraints.best(gradient))
    pool = Pool(problem, np.unique(np.concatenate(parts)))
    relaxed = relax(pool, tolerance=tolerance, start=point, exact=False, rounds=8)
    return Incumbent(polished.of_point(pool, relaxed)[0], len(pool), False)


def some_of_each(problem: Problem, most: int) -> NDArray[np.int64]:
    """Return rows of each relevance where few are distinct, as among many copies of few candidates.

    A pool of the leaders alone would hold the copies of a few of them. A set may hold k copies of one: there
    are as many of each, or where that were more than `most` rows, fewer.
    """
    values, few = problem.relevance.values, min(POOLED, problem.n // 2)
    if len(np.unique(values[: 2 * few])) > few or len(levels := np.unique(values)) > few:
        return np.empty(0, np.int64)
    rows = problem.by_content(np.arange(problem.n))
    rows = rows[np.argsort(values[rows], kind="stable")]
    counts = np.unique(values[rows], return_counts=True)[1]
    nth = np.arange(problem.n) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows[nth < min(problem.k, max(1, most // len(levels)))]


def exchange(problem: Problem, start: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return a set (by default greedy's) polished by single exchanges; passes over all candidates propose
    outsiders."""
    whole = Whole(problem)
    close = leading(problem)
    if start is not None:
        best = start
    elif problem.n <= POOLED:
        pool = Pool(problem)
        return polished.best(pool, polished.greedy_starts(pool))[0]
    else:
        best = problem.constraints.best(problem.relevance.values)
        pool = Pool(problem, np.union1d(problem.most_relevant(close), best))
        best = polished.best(pool, polished.greedy_starts(pool))[0]
    for _ in range(50):
        gradient = whole.gradient(best, np.ones(problem.k))
        gaining = swap.improving(whole, best, gradient)
        if len(gaining) == 0:
            break
        pool = Pool(problem, np.union1d(gaining[:close], best))
        best = polished.best(pool, [pool.locate(best)])[0]
    return best


def is_free(relaxed: Relaxed, most: float, tolerance: float) -> bool:
    """Return whether a point is worth, but for `FREE` tolerances, the most that any is, whatever the rows."""
    return most - relaxed.value <= FREE * tolerance * abs(relaxed.value)


def relax(
    pool: Pool,
    *,
    tolerance: float,
    start: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None,
    exact: bool = True,
    rounds: int = 25,
    leaders: int = relaxation.LEADERS,
    most: float = np.inf,
) -> Relaxed:
    """Maximize the relaxation over a pool, must-have rows held at one.

    ``start`` is in rows; no point is worth more than ``most``.
    """
    problem = pool.problem
    fixed = pool.locate(problem.constraints.include) if len(problem.constraints.include) else None
    local = None if start is None else (pool.locate(start[0]), start[1])
    found = compiled.relax(
        pool,
        local,
        tolerance=relaxation.nearly(tolerance) if exact else tolerance,
        rounds=rounds,
        leaders=leaders,
    )
    if found is not None and is_free(found, most, tolerance):
        exact = False
    if found is None or (exact and found.gap > tolerance):
        found = relaxation.maximize(
            pool,
            problem.k,
            fixed=fixed,
            start=local,
            tolerance=tolerance,
            exact=exact,
            after=found,
            rounds=rounds,
            leaders=leaders,
        )
    problem.count("relaxations")
    return found
