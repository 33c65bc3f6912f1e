"""max-sum for many relevances over the same vectors: pools of a few hundred, passes that serve all of them.

The most relevant make each problem's first pool. Its set, or the point of its relaxation, proposes through
one pass over all candidates, the same for all problems, who else may matter; those join, and where a proof
is wanted the pass bounds what is outside (ARCHITECTURE.md, section 1).
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from setwise.objectives import MaxSum
from setwise.solvers import auto, bounds, frank_wolfe, pairs, polished, relaxation, swap
from setwise.solvers.max_sum import certificate_of
from setwise.solvers.pools import Pool, Whole
from setwise.solvers.problem import POOLED, Problem, Solved
from setwise.top import top_k
from setwise.vectors import Floats, Vectors

#: Candidates of a pool: at least this many, and this many times k.
SIZE, TIMES = 192, 8

#: At most this many candidates that may be in a better set are tried one by one.
LARGEST = 2048

#: At most this many passes, where a proof is wanted.
PASSES = 3

#: Relative gap between the relaxation's bound and its point that is good enough, and steps at most.
TOLERANCE, ROUNDS = 1e-3, 4

Rows = NDArray[np.int64]
Point = tuple[Rows, NDArray[np.float64]]


def serves(problem: Problem) -> bool:
    """Return whether a problem is one that pools of a few hundred are likely to settle.

    Its candidates are many and its set is small, nothing is wished but the set's size and what is barred,
    and relevance tells its leaders apart.
    """
    k, goal = problem.k, problem.objective
    plain = goal.name == "max-sum" and goal.metric == "cosine" and problem.request.solver == "auto"
    if problem.request.wishes or problem.constraints.any:
        return False
    if not plain or goal.relevance_decides(k) or problem.effort == "full":
        return False
    if problem.n <= POOLED or TIMES * k > LARGEST:
        return False
    values = problem.relevance.values
    leaders = values[top_k(values, _size(k))]
    return len(np.unique(leaders)) > len(leaders) // 2


def search(problems: list[Problem], base: Vectors) -> list[Solved]:
    """Find a set for each problem, and bound it where that is asked for.

    Branch and bound is left out: it costs each problem many times what the passes do. Each problem `serves`,
    and has the same objective, k and effort; its vectors are ``base``, or some rows of it.
    """
    work = [_One(problem, base) for problem in problems]
    going = work
    for _ in range(PASSES if problems[0].effort else 1):
        for one in going:
            one.relax()
        _pass(going, base)
        for one in going:
            one.grow()
            one.solve()
        going = [one for one in going if one.problem.effort and not one.proven()]
    return [one.solved() for one in work]


def _size(k: int) -> int:
    """Return how many candidates a pool begins with."""
    return max(SIZE, TIMES * k)


class _One:
    """One problem on its way: its pool, the best set so far, a point of the relaxation, a bound."""

    def __init__(self, problem: Problem, base: Vectors) -> None:
        self.problem, self.whole = problem, Whole(problem)
        self.ids: Rows = np.sort(top_k(problem.relevance.values, _size(problem.k)))
        self.best: Rows = np.empty(0, np.int64)
        self.value, self.settled = -np.inf, False
        self.point: Point = (top_k(problem.relevance.values, problem.k), np.ones(problem.k))
        self.bound: bounds.Bound | None = None
        self.gradient: NDArray[np.float64] = np.empty(0)
        # The rows of the base that the problem's candidates are, where they are not all.
        kept, whole = problem.vectors.kept, base.kept
        self.rows = kept
        if kept is not None and whole is not None:
            self.rows = None if kept is whole else np.searchsorted(whole, kept)

    def relax(self) -> None:
        """Maximize the relaxation over the pool; its point is where the next pass looks from."""
        pool = Pool(self.problem, np.union1d(self.ids, self.best))
        relaxed = auto.relax(
            pool,
            tolerance=TOLERANCE,
            start=self.point,
            exact=False,
            rounds=ROUNDS,
            leaders=relaxation.SMALL_LEADERS,
        )
        self.point = pool.ids[relaxed.local], relaxed.weights

    def solve(self) -> None:
        """Find the best set in the pool, from Frank-Wolfe, the relaxation's heaviest, and the best so far."""
        pool = Pool(self.problem, self.ids)
        heavy = np.zeros(len(pool))
        heavy[pool.locate(self.point[0])] = self.point[1]
        starts = [frank_wolfe.ascend(pool), pool.best(heavy)]
        if len(self.best):
            starts.append(pool.locate(self.best))
        chosen, _ = polished.best(pool, starts)
        value = self.problem.value(chosen)
        if value > self.value:
            self.best, self.value, self.settled = chosen, value, False

    def grow(self) -> None:
        """Let join what the gradient proposes, and bound what any set is worth, where that is wanted."""
        problem, k = self.problem, self.problem.k
        leaders = top_k(self.gradient, _size(k))
        parts = [self.ids, leaders, self.best, self.point[0]]
        if problem.effort:
            bound = bounds.concave_bound(self.whole, *self.point, self.gradient, leaders)
            if self.bound is None or bound.upper < self.bound.upper:
                self.bound = bound
        self.ids = np.unique(np.concatenate(parts))

    @property
    def survivors(self) -> Rows:
        """What may be in a set better than the best."""
        assert self.bound is not None
        return self.bound.survivors(self.value * self.problem.scale())

    def proven(self) -> bool:
        """Return whether no exchange for a candidate that may be in a better set improves the best."""
        if self.settled:
            return True
        rest = self.survivors
        if len(rest) > LARGEST:
            return False
        outside, ones = np.setdiff1d(rest, self.best), np.ones(self.problem.k)
        if len(outside) == 0:
            return True
        gradient = np.full(self.problem.n, -np.inf)
        looked = np.concatenate([self.best, outside])
        gradient[looked] = self.whole.gradient_at(looked, self.best, ones)
        better = swap.improving(self.whole, self.best, gradient, among=outside)
        self.ids = np.union1d(self.ids, better)
        self.settled = len(better) == 0
        return self.settled

    def solved(self) -> Solved:
        """Return the set, and what is proven of it."""
        problem = self.problem
        if problem.k == 2:
            pair = pairs.best_of(problem, self.best, self.survivors if problem.effort else None)
            if pair.chosen is not self.best:
                self.best, self.value, self.settled = pair.chosen, pair.value, pair.best
        if not problem.effort:
            return Solved(self.best)
        assert self.bound is not None
        rest, upper = self.survivors, self.bound.upper / problem.scale()
        if (problem.k == 2 and pair.best) or np.isin(rest, self.best).all():
            upper = self.value  # nothing else may be in a better set
        certificate = certificate_of(problem, self.value, upper, len(self.ids), self.proven())
        return Solved(self.best, certificate=certificate)


def _pass(work: list[_One], base: Vectors) -> None:
    """Find the gradient of every problem over all candidates."""
    if not work:
        return
    goal = cast(MaxSum, work[0].problem.objective)
    if not goal.low_rank:
        for one in work:
            points, weights = one.point
            floor = float(one.whole.gradient_at(points, points, weights).min())
            one.gradient = one.whole.gradient_above(points, weights, floor - 0.02 * abs(floor))
        return
    summed = np.stack(
        [weights @ one.problem.vectors.rows(ids, np.float64) for one in work for ids, weights in [one.point]]
    )
    pulled = np.empty((len(work), base.n), base.dtype)

    def keep(start: int, stop: int, products: Floats) -> None:
        pulled[:, start:stop] = products.T

    base.products(summed, keep)
    for one, products in zip(work, pulled, strict=True):
        along = products if one.rows is None else products[one.rows]
        total = float(one.point[1].sum())
        one.gradient = one.whole.linear + 2 * one.whole.weight * (total - along.astype(np.float64))
        one.problem.count("passes")
