"""The best set of a pool after exchanges: from the relaxation, rounded, greedy selection, or other starts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.objectives.base import TIE
from setwise.solvers import compiled, swap
from setwise.solvers.pools import Pool
from setwise.solvers.problem import Problem
from setwise.solvers.relaxation import Relaxed

#: Sets up to this size also get a greedy start, which costs k steps; sets 16 times as large do in small
#: problems and where distances have no low rank, whose relaxation is a poorer guide.
GREEDY_START = 12


def is_guided(problem: Problem) -> bool:
    """Return whether the relaxation's solution is a good guide to a set: where W has low rank.

    Elsewhere more of its weights are fractions, and other starts are worth what they cost.
    """
    return problem.max_sum().low_rank


def has_greedy_start(k: int) -> bool:
    """Return whether greedy selection's set is a start, too, in small problems."""
    return k <= 16 * GREEDY_START


def of_point(
    pool: Pool, relaxed: Relaxed, more: list[NDArray[np.int64]] | None = None
) -> tuple[NDArray[np.int64], float]:
    """Return the best set, as rows, from the relaxation's heaviest and other starts, and its summed form."""
    heavy = np.full(len(pool), -1.0)
    heavy[relaxed.local] = relaxed.weights
    # Ties among the weightless are broken by the gradient; what rounding alone sets apart is a tie.
    spread = float(np.abs(relaxed.gradient).max()) or 1.0
    heavy = np.round(heavy, 7) + 1e-9 * np.round(relaxed.gradient / spread, 9)
    most = GREEDY_START if is_guided(pool.problem) else 16 * GREEDY_START
    starts = [pool.best(heavy), *(more or [])]
    return best(pool, starts, with_greedy=pool.problem.k <= most or is_coarse(pool))


def best(
    pool: Pool, starts: list[NDArray[np.int64]], *, with_greedy: bool = False
) -> tuple[NDArray[np.int64], float]:
    """Polish each start by exchanges, and greedy selection's sets if asked to; return the rows of the best
    set, ties by the earlier start, and its summed form."""
    found = compiled.polish(pool, starts, with_greedy)
    if found is not None:
        return found
    kept = pool.locate(pool.problem.constraints.include)
    winner, best_value = starts[0], -np.inf
    done: set[bytes] = set()
    for start in [*starts, *(greedy_starts(pool) if with_greedy else [])]:
        key = np.sort(start).tobytes()
        if key in done:
            continue
        done.add(key)
        chosen = swap.polish(pool, start, kept=kept)
        done.add(np.sort(chosen).tobytes())
        value = pool.value(chosen)
        if value > best_value + 1e-12 * abs(value):
            winner, best_value = chosen, value
    return pool.ids[winner], best_value


def greedy_starts(pool: Pool) -> list[NDArray[np.int64]]:
    """Return the sets that greedy selection picks within a pool, as positions.

    Ties go by content; where relevance has few levels, and so decides little, by row as well, as those of
    greedy selection over all do.
    """
    order = np.arange(len(pool))
    return [_pick(pool, ties) for ties in ([order, np.argsort(pool.ids)] if is_coarse(pool) else [order])]


def is_coarse(pool: Pool) -> bool:
    """Return whether relevance has few levels, as among copies: it decides little, and Frank-Wolfe less."""
    return 1 < len(np.unique(pool.relevance)) <= len(pool) // 2


def _pick(pool: Pool, ties: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return greedy selection's set, as positions, given the order of all positions that breaks ties."""
    problem = pool.problem
    constraints = problem.constraints
    taken = list(pool.locate(constraints.include))
    base = pool.linear / max(problem.k - 1, 1)
    summed = np.zeros(len(pool))
    if taken:
        summed = pool.pull(np.array(taken), np.ones(len(taken)))
    open_ = base.copy()
    open_[taken] = -np.inf
    while len(taken) < problem.k:
        if constraints.codes is not None:
            open_[constraints.blocked(pool.ids[taken], pool.ids)] = -np.inf
        # The first is the most relevant, at diversity 1 too.
        score = open_ + (pool.weight / len(taken)) * summed if taken else pool.relevance
        lead = score[ties]
        best = float(lead.max())
        place = int(ties[(lead >= best - TIE * (1.0 + abs(best))).argmax()])
        taken.append(place)
        open_[place] = -np.inf
        if len(taken) < problem.k:
            summed += pool.pull(np.array([place]), np.ones(1))
    return np.array(taken, np.int64)
