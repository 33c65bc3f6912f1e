"""Greedy selection, lazy and exact: the picks of the full scan at a fraction of its passes.

Each step takes the candidate of best score given those chosen. A pool of the best-scored candidates is
kept up step by step; the rest are known by upper bounds, and are looked at again only when the pool's
best no longer beats them. Near-ties are settled in float64, by lowest index.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from setwise.objectives import LogDet, MaxMarginal, MaxSum
from setwise.solvers.problem import Problem
from setwise.solvers.scores import LogDetScores, MaxMarginalScores, MaxSumScores, Scores
from setwise.vectors import top_k

#: Candidates whose scores differ by less than this are compared again in float64.
NEAR = 4e-6

#: Scores this close in float64 count as equal.
TIE = 4e-15

#: Up to this many candidates, all of them are the pool.
SMALL = 4096


class Greedy(NamedTuple):
    """Rows in selection order, and the score of each when it was chosen."""

    indices: NDArray[np.int64]
    gains: NDArray[np.float64]


def scores_of(problem: Problem) -> Scores:
    """Return the scores that greedy selection keeps up for the problem's objective."""
    objective = problem.objective
    if isinstance(objective, MaxSum):
        return MaxSumScores(problem)
    if isinstance(objective, MaxMarginal):
        return MaxMarginalScores(problem)
    if isinstance(objective, LogDet):
        return LogDetScores(problem)
    raise TypeError(f"greedy has no scores for {objective!r}")


def solve(problem: Problem) -> Greedy:
    """Select k candidates greedily, exactly as scanning all of them at each step would.

    The first is the one of best score alone: the most relevant. Must-have rows come first, in their order.

    Parameters
    ----------
    problem : Problem
        Objective max-sum (MUSS Alg. 1), mmr (Carbonell and Goldstein) or log-det (Chen et al. 2018).

    Returns
    -------
    Greedy
        Fewer than k for log-det where the kernel's rank is reached; a warning says so.
    """
    scores = scores_of(problem)
    chosen: list[int] = []
    gains: list[float] = []
    for row in problem.constraints.include:
        gains.append(0.0 if scores.first_by_relevance() else float(scores.exact(np.array([row]))[0]))
        scores.choose(int(row))
        chosen.append(int(row))
    if len(chosen) < problem.k:
        run = _Run(problem, scores, chosen, gains)
        if problem.n <= SMALL:
            run.take_all()
        else:
            run.take_lazily()
    problem.stats.setdefault("pool_size", problem.n)
    if len(chosen) < problem.k:
        warnings.warn(
            f"log-det: only {len(chosen)} of the {problem.k} asked for are selected, the kernel's rank: the residual "
            "of every other candidate is rounding noise; ask for fewer, or pass a vector space of higher rank",
            UserWarning,
            stacklevel=2,
        )
    return Greedy(np.array(chosen, np.int64), np.array(gains))


class _Run:
    """The loop over steps; fills the two lists."""

    def __init__(self, problem: Problem, scores: Scores, chosen: list[int], gains: list[float]) -> None:
        self.problem, self.scores = problem, scores
        self.chosen, self.gains = chosen, gains
        self.grouped = problem.constraints.codes is not None
        self.near = NEAR + 4 * problem.relevance.error

    def take_all(self) -> None:
        """Select with every candidate in the pool."""
        scores = self.scores
        scores.load(None)
        self._close(np.array(self.chosen, np.int64))
        while len(self.chosen) < self.problem.k:
            current = scores.pool()
            if not self._take(current, float(current.max())):
                return

    def take_lazily(self) -> None:
        """Select from a pool, refreshed when candidates outside it may be better."""
        problem, scores = self.problem, self.scores
        size = max(2048, 8 * problem.k)
        bound = np.inf
        fresh = False
        taken = 0
        while len(self.chosen) < problem.k:
            problem.tell(f"greedy: {len(self.chosen)} of {problem.k}")
            current = scores.pool() if bound < np.inf else np.array([-np.inf])
            best = float(current.max())
            if not fresh and best < bound + scores.slack() + self.near:
                if bound < np.inf and taken < 4:
                    size = min(2 * size, max(size, problem.n // 16))
                bound = self._refresh(size)
                fresh, taken = True, 0
                continue
            if not self._take(current, best):
                return
            fresh = False
            taken += 1

    def _refresh(self, size: int) -> float:
        """Make the best-scored candidates the pool, and return the best score bound of the rest."""
        problem, scores = self.problem, self.scores
        problem.count("refreshes")
        taken = np.array(self.chosen, np.int64)
        asked = size
        while True:
            bounds = scores.bounds()
            bounds[taken] = -np.inf
            if self.grouped:
                bounds[problem.constraints.blocked(taken)] = -np.inf
            ids = np.sort(top_k(bounds, min(asked, problem.n)))
            rest = float(bounds[ids].min()) if len(ids) < problem.n else -np.inf
            if scores.is_current():
                top = float(bounds[ids].max())
                break
            top = scores.tighten(ids)
            if top >= rest + self.near:
                break
            asked *= 4
            if asked > problem.n // 4:
                scores.renew()
                asked = size
        if rest > top - self.near:  # more near-ties than the pool holds: they all come in
            ids = np.flatnonzero(bounds >= top - self.near)
            bounds[ids] = -np.inf
            rest = float(bounds.max())
        scores.load(ids)
        self._close(taken)
        problem.stats["pool_size"] = max(problem.stats.get("pool_size", 0), len(ids))
        return rest

    def _take(self, current: NDArray[np.float64], best: float) -> bool:
        """Choose the best of the pool; False if nothing is left to choose."""
        if best == -np.inf:
            return False
        near = np.flatnonzero(current >= best - self.near)
        ids = self.scores.ids
        rows = near if ids is None else ids[near]
        exact = self.scores.exact(rows)
        top = exact.max()
        if top == -np.inf:
            return False
        position = int(np.flatnonzero(exact >= top - TIE * (1.0 + abs(top)))[0])
        row = int(rows[position])
        self.chosen.append(row)
        self.gains.append(0.0 if self.scores.first_by_relevance() else float(exact[position]))
        if len(self.chosen) < self.problem.k:
            self.scores.choose(row)
            self._close(np.array([row]))
        return True

    def _close(self, rows: NDArray[np.int64]) -> None:
        """Take chosen rows, and those they leave no room for, out of the pool."""
        ids = self.scores.ids
        base = self.scores.base
        if len(rows) == 0:
            return
        if ids is None:
            base[rows] = -np.inf
        else:
            places = np.searchsorted(ids, rows)
            places = places[(places < len(ids)) & (ids[np.minimum(places, len(ids) - 1)] == rows)]
            base[places] = -np.inf
        if self.grouped:
            base[self.problem.constraints.blocked(np.array(self.chosen, np.int64), ids)] = -np.inf
