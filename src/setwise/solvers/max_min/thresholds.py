"""max-min: sets by thresholds of distance, exchanges, and a bound that no set exceeds.

A set whose members are all at least δ apart is worth its relevance and at least what δ is. For each
threshold greedy selection takes the most relevant that is as far from those taken (GIST, Fahrbach et al.,
NeurIPS 2025). The same thresholds bound every set: of candidates that are pairwise closer than δ (a clique)
a set with a least distance of δ has one at most, so that its relevance is at most the sum over k cliques of
the largest in each. Intervals of thresholds are halved where they allow most, until none allows more than
the best set found.

In a metric, two of a ball of radius δ/2 are closer than δ: what greedy selection takes at δ/2 is at least
as relevant as any set of distance δ. It is therefore worth at least half the best (Theorem 3.1 there);
1 - cos is half a squared distance, and its part is a quarter.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from setwise.bounded import Bounded
from setwise.feasible import Feasible
from setwise.solvers.branching import Tree
from setwise.solvers.max_min.moves import MaxMinForm, pick_apart

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: At most so many thresholds are looked at.
MOST = 4096

#: Nodes that branch and bound looks at, at one threshold.
NODES = 20_000


@dataclass(frozen=True)
class Outside:
    """Candidates that are not held: none scores more than `score`, and any set has a least distance of at
    most `apart`. With `needed`, only sets with one of them are bounded."""

    score: float = -np.inf
    apart: float = np.inf
    needed: bool = False


@dataclass(order=True)
class Interval:
    """Thresholds from one level to another, and what no set in between exceeds."""

    less: float
    first: int = field(compare=False)
    last: int = field(compare=False)
    relevance: float = field(compare=False)
    exact: bool = field(compare=False, default=False)


class Thresholds:
    """The search over thresholds: keeps the best set found, and bounds the rest.

    Parameters
    ----------
    chosen : ndarray of int64, optional
        The best set known.
    outside : Outside
        What is not held.
    program : int
        Up to so many candidates a linear program helps to bound.
    exact : bool
        Whether a threshold's best set is searched for where its bound is not enough.
    picks : bool
        Whether sets are looked for, beside the bound.
    """

    def __init__(
        self,
        form: MaxMinForm,
        chosen: Rows | None,
        *,
        outside: Outside,
        program: int = 0,
        exact: bool = False,
        picks: bool = True,
    ) -> None:
        self.form, self.outside, self.program = form, outside, program
        self.exact, self.picks = exact, picks
        self.best, self.value = chosen, -np.inf if chosen is None else form.value(chosen)
        held = form.held
        self.above, others = form.above, bool(np.isfinite(outside.score))
        self.plain = form.plain and not others  # what is held is all that a set can be of
        if others:  # others may be at any distance, and farther than any two held
            self.above = np.append(form.levels[1:], max(float(form.levels[-1]), outside.apart))
        self.coin = 0.0
        if held.feasible.costs is not None:  # what a unit of cost is worth, whatever the distances
            self.coin = max(0.0, held.feasible.bound(form.scores).coin)

    def consider(self, chosen: Rows | None) -> None:
        """Take a set for the best where it is."""
        if chosen is None:
            return
        value = self.form.value(chosen)
        if self.best is None or value > self.value + self.form.off(self.value):
            self.best, self.value = chosen, value

    def run(self, most: int) -> float:
        """Look at up to so many thresholds; return a bound on every set."""
        form, problem = self.form, self.form.held.problem
        last = len(form.levels) - 1
        heap = [self._interval(0, last, self._relevance(0), False)]
        looked = 0
        while True:
            top = heap[0]
            good = not self.plain or top.less >= 0.0 or self.value >= -top.less * form.objective.metric_part
            if -top.less <= self.value + form.off(self.value) or problem.is_late:
                break
            if looked >= MOST or (looked >= most and good):
                break
            looked += 1
            heapq.heappop(heap)
            if top.first == top.last:
                if not self.exact or top.exact:
                    heapq.heappush(heap, top)
                    break
                found = self._searched(top)
                heapq.heappush(heap, self._interval(top.first, top.last, found, True))
                continue
            middle = (top.first + top.last + 1) // 2
            heapq.heappush(heap, self._interval(top.first, middle - 1, top.relevance, False))
            relevance = min(top.relevance, self._relevance(middle))
            heapq.heappush(heap, self._interval(middle, top.last, relevance, False))
        problem.count("thresholds", looked)
        return max(-heap[0].less, self.value if not self.outside.needed else -np.inf)

    def _interval(self, first: int, last: int, relevance: float, exact: bool) -> Interval:
        """Return an interval with its bound: the relevance that its least threshold allows, and its most."""
        return Interval(-(relevance + self.form.per * float(self.above[last])), first, last, relevance, exact)

    def _relevance(self, place: int) -> float:
        """Return a bound on the summed scores of every set that is so far apart; pick such a set, too."""
        form, level = self.form, float(self.form.levels[place])
        if level > form.reach(form.held.feasible.include):
            return -np.inf
        upper = self._by_cliques(level)
        if self.picks or self.plain:
            closer = pick_apart(form, level * form.objective.metric_part * (1 - 1e-9))
            if self.plain:  # the balls around those taken hold all candidates, and a set has one of each
                summed = -np.inf if closer is None else float(form.scores[closer].sum())
                upper = min(upper, summed + form.off(summed))
            if self.picks:
                self.consider(closer)
                self.consider(pick_apart(form, level))
        if len(form.held) <= self.program and form.held.whole and not np.isfinite(self.outside.score):
            upper = min(upper, self._relaxed(form.beyond(level), level).upper)
        return upper

    def _relaxed(self, feasible: Feasible, level: float) -> Bounded:
        """Return the bound of the linear program on the sets that are so far apart."""
        return feasible.bound(self.form.scores, *self._box(level))

    def _box(self, level: float) -> tuple[Vector, Vector]:
        """Return what is held in, and what may be: nothing closer to what was shown."""
        lower, upper = np.zeros(len(self.form.held)), (self.form.away >= level).astype(np.float64)
        lower[self.form.held.feasible.include] = 1.0
        return lower, np.maximum(lower, upper)

    def _by_cliques(self, level: float) -> float:
        """Return a bound on the summed scores: the best of each of k sets of candidates that are closer.

        With a budget B, each candidate pays its cost at a price λ >= 0: Σ s <= λB + Σ (s - λc).
        """
        form, feasible, outside = self.form, self.form.held.feasible, self.outside
        scores, total = form.scores, 0.0
        if feasible.costs is not None:
            scores, total = scores - self.coin * feasible.costs, self.coin * feasible.budget
        leading = _leading(scores, form.apart < level, form.away >= level)
        taken = [outside.score] if outside.needed else []
        leader, fewest = next(leading, -np.inf), form.fewest(level)
        while len(taken) < feasible.most:
            best = max(leader, outside.score)
            if best == -np.inf and len(taken) < fewest:
                return -np.inf  # so many are not that far apart
            if best == -np.inf or (best <= 0.0 and len(taken) >= fewest):
                break
            taken.append(best)
            if best == leader:
                leader = next(leading, -np.inf)
        total += sum(taken)
        return total + form.off(total)

    def _searched(self, interval: Interval) -> float:
        """Return the most that summed scores can be at a threshold, by branch and bound."""
        form, level = self.form, float(self.form.levels[interval.first])
        feasible = form.beyond(level)
        if interval.relevance == -np.inf:
            return -np.inf

        def worth(chosen: Rows) -> float:
            return float(form.scores[chosen].sum())

        def below(lower: Vector, upper: Vector, _parent: _Node, _enough: float) -> _Node:
            return _node(feasible.bound(form.scores, lower, upper), lower)

        lower, upper = self._box(level)
        root = _node(feasible.bound(form.scores, lower, upper), lower)
        floor = self.value - form.per * level
        tree = Tree(feasible, worth, lambda one: one, below, form.scores, form.off(self.value))
        chosen, most, nodes = tree.search(
            None, root, limit=NODES, ends=form.held.problem.ends, floor=floor, upper=upper
        )
        form.held.problem.count("nodes", nodes)
        self.consider(chosen)
        return min(interval.relevance, most)


def _leading(scores: Vector, close: Mask, left: Mask) -> Iterator[float]:
    """Yield the best score of each of sets of candidates that are pairwise close, falling.

    The best that is left takes in those close to it and to each other, the best of them first.
    """
    order = np.argsort(-scores, kind="stable")
    for place in order[left[order]].tolist():
        if not left[place]:
            continue
        yield float(scores[place])
        left[place] = False
        following = order[(close[place] & left)[order]]
        while len(following):
            joins = following[0]
            left[joins] = False
            following = following[1:][close[joins, following[1:]]]


@dataclass(frozen=True)
class _Node:
    """A node of the search at one threshold; see `branching.Bounding`."""

    x: Vector
    upper: float
    ahead: Bounded


def _node(ahead: Bounded, lower: Vector) -> _Node:
    return _Node(lower if ahead.x is None else ahead.x, ahead.upper, ahead)
