"""Greedy selection, lazy and exact: the picks of the full scan at a fraction of its passes.

Each step takes the candidate of best score given those chosen. A pool of the best-scored candidates is
kept up step by step; the rest are known by upper bounds, and are looked at again only when the pool's
best no longer beats them. Near-ties are settled in float64, by lowest index.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.objectives.base import TIE
from setwise.objectives.scores import SMALL, Scores
from setwise.solvers import compiled
from setwise.solvers.problem import Problem, Solved
from setwise.top import top_k

#: Candidates whose scores differ by less than this are compared again in float64.
NEAR = 4e-6

#: A pool that did not last this many picks is followed by one twice as large, up to this part of all.
LASTS = 16
LARGEST = 16

#: A small problem's front: at most this many candidates.
FRONT = 96

#: Bounds are brought up to date one by one for at most this part of all candidates; else for all at once.
TIGHTEN = 24


def by_greedy(problem: Problem) -> Solved:
    """Select k candidates greedily; see `pick_greedily`."""
    return _picked(problem, problem.constraints.include)


def pick_greedily(problem: Problem, first: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Select k candidates greedily, exactly as scanning all of them at each step would.

    This is MUSS's Algorithm 1 for max-sum, Carbonell and Goldstein's rule for mmr, and Chen et al.'s (2018)
    MAP inference for log-det. The first is the one of best score alone. Must-have rows come first, in their
    order.

    Parameters
    ----------
    first : ndarray of int64, optional
        Rows that come first, instead of the must-have rows.

    Returns
    -------
    ndarray of int64
        Rows in selection order: k, or fewer where no other candidate may be chosen (for log-det the kernel's
        rank is reached); a warning says so.
    """
    return _picked(problem, problem.constraints.include if first is None else first).chosen


def _picked(problem: Problem, first: NDArray[np.int64]) -> Solved:
    """Return what `pick_greedily` selects, by a kernel where one knows the problem."""
    found = compiled.pick_greedily(problem, first)
    problem.stats["kernel"] = "numpy" if found is None else "compiled"
    if found is None:
        found = Solved(_pick(problem, first.tolist()), ordered=True, sufficient=True)
    problem.stats.setdefault("pool_size", problem.n)
    if (count := len(found.chosen)) < problem.k and not problem.open:
        checks.warn(
            f"{problem.objective.name}: only {count} of the {problem.k} asked for are selected, "
            f"{problem.objective.shortage}"
        )
    return found


def _pick(problem: Problem, chosen: list[int]) -> NDArray[np.int64]:
    """Select k candidates of which some are chosen already."""
    scores = problem.scores()
    for row in chosen:
        scores.choose(row)
    if len(chosen) < problem.k:
        _Run(problem, scores, chosen).take()
    return np.array(chosen, np.int64)


class _Run:
    """The loop over steps; fills the list of chosen rows."""

    def __init__(self, problem: Problem, scores: Scores, chosen: list[int]) -> None:
        self.problem, self.scores, self.chosen = problem, scores, chosen
        self.grouped = problem.constraints.codes is not None
        self.near = NEAR + 4 * problem.relevance.error

    def take(self) -> None:
        """Select from a pool, refreshed when candidates outside it may be better."""
        problem, scores = self.problem, self.scores
        size = max(2048, 8 * problem.k)
        bound, fresh, short, since = np.inf, False, 0, 0
        if problem.n <= max(SMALL, size):
            if self._front_fits():
                self._take_first()
                if self._take_from_front():
                    return
            bound = self._take_in_all()
        if not self.chosen:
            self._take_first()
        while len(self.chosen) < problem.k:
            if problem.progress is not None:
                problem.tell(f"greedy: {len(self.chosen)} of {problem.k}")
            if bound == np.inf:
                bound, fresh = self._refresh(size), True
                since = len(self.chosen)
            current = scores.pool()
            if not fresh and bound > -np.inf:
                place = int(current.argmax())
                best = float(current[place])
                if best > -np.inf:
                    best = scores.surely(place, best)
                if best < bound + scores.slack() + self.near:
                    short += len(self.chosen) - since < LASTS
                    if short > 0:
                        size = min(2 * size, max(size, problem.n // LARGEST))
                    bound = np.inf
                    continue
            if not self._take(current):
                return
            fresh = False

    def _take_first(self) -> None:
        """Choose the candidate of best score while nothing is chosen."""
        scores = self.scores
        values = scores.lead()
        place = int(values.argmax())
        near = values >= values[place] - self.near
        if np.count_nonzero(near) > 1:
            places = near.nonzero()[0]
            exact = scores.lead(places)
            place = int(places[(exact >= exact.max() - TIE * (1.0 + abs(float(exact.max())))).argmax()])
        self.chosen.append(place)
        if len(self.chosen) < self.problem.k:
            loaded = scores.loaded
            scores.choose(place, place if loaded else None)
            if loaded:
                scores.base[place] = -np.inf
                if self.grouped:
                    self._block()

    def _front_fits(self) -> bool:
        """Return whether a front is likely to last: relevance leads, and it is a small part of all."""
        problem, scores = self.problem, self.scores
        if self.chosen or self.grouped or problem.vectors.metric != "cosine":
            return False
        if 12 * problem.k > min(problem.n, 4 * FRONT):
            return False
        return 0.0 < scores.t <= scores.front_until

    def _take_from_front(self) -> bool:
        """Select from the few candidates that the first pick leaves best, their pairs computed at once.

        Scores that only fall are bounded by those after the first pick. Returns False when the front
        does not last; what was chosen then stays chosen.
        """
        problem, scores = self.problem, self.scores
        size = 3 * problem.k
        if len(self.chosen) == problem.k:
            return True
        after = scores.front(self.chosen[0])
        after[self.chosen[0]] = -np.inf
        order = np.argpartition(after, problem.n - size - 1)
        rest = float(after[order[problem.n - size - 1]])
        scores.take_front(np.sort(order[problem.n - size :]))
        while len(self.chosen) < problem.k:
            current = scores.pool()
            place = int(current.argmax())
            best = float(current[place])
            if best == -np.inf or scores.surely(place, best) < rest + self.near or not self._take(current):
                return False
        return True

    def _take_in_all(self) -> float:
        """Make every candidate the pool; nothing bounds from outside."""
        self.scores.load(None)
        if self.chosen:
            self._close()
        return -np.inf

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
            present = scores.tighten(ids)
            top = float(present.max())
            lasting = np.count_nonzero(present >= rest + self.near)
            if lasting >= min(LASTS, problem.k - len(self.chosen)):
                break
            asked *= 4
            if asked > problem.n // TIGHTEN:
                scores.renew()
                asked = size
        if rest > top - self.near:  # more near-ties than the pool holds: they all come in
            ids = np.flatnonzero(bounds >= top - self.near)
            outside = bounds.copy()
            outside[ids] = -np.inf
            rest = float(outside.max())
        scores.load(ids)
        scores.base[np.isneginf(bounds[ids])] = -np.inf
        problem.stats["pool_size"] = max(problem.stats.get("pool_size", 0), len(ids))
        return rest

    def _take(self, current: NDArray[np.float64]) -> bool:
        """Choose the best of the pool; False if nothing is left to choose."""
        scores = self.scores
        place = int(current.argmax())
        best = float(current[place])
        if best == -np.inf:
            return False
        least = scores.surely(place, best) - self.near
        current[place] = -np.inf
        if current.max() >= least:
            current[place] = best
            places = ((current >= least) & (current > -np.inf)).nonzero()[0]
            exact = scores.exact(places if scores.ids is None else scores.ids[places])
            top = exact.max()
            if top == -np.inf:
                current[places] = -np.inf
                return self._take(current)
            place = int(places[(exact >= top - TIE * (1.0 + abs(top))).argmax()])
        row = place if scores.ids is None else int(scores.ids[place])
        self.chosen.append(row)
        if len(self.chosen) < self.problem.k:
            scores.choose(row, place)
            scores.base[place] = -np.inf
            if self.grouped:
                self._block()
        return True

    def _close(self) -> None:
        """Take chosen rows, and those they leave no room for, out of a pool of all candidates."""
        self.scores.base[self.chosen] = -np.inf
        if self.grouped:
            self._block()

    def _block(self) -> None:
        """Take candidates of full groups out of the pool."""
        chosen = np.array(self.chosen, np.int64)
        self.scores.base[self.problem.constraints.blocked(chosen, self.scores.ids)] = -np.inf
