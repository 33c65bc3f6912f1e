"""max-sum's best pair: all sets of two are few enough to look at, and exchanges may end far from the best."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from setwise.objectives.base import TIE
from setwise.solvers import bounds
from setwise.solvers.pools import Whole
from setwise.solvers.problem import Problem
from setwise.top import top_k

#: At most so many products of entries are summed, a pair counting as many at least; of more candidates than
#: that allows the most promising are looked at.
WORK, LEAST = 2**27, 64

#: Candidates that stand for all where the most promising are found, and rows of a block of pairs.
SAMPLE, BLOCK = 64, 256


@dataclass(frozen=True)
class Pair:
    """The best pair known.

    chosen : ndarray of shape (2,), int64; value : what it is worth; best : whether no pair is worth more.
    """

    chosen: NDArray[np.int64]
    value: float
    best: bool


def best_of(problem: Problem, known: NDArray[np.int64], among: NDArray[np.int64] | None = None) -> Pair:
    """Return the best feasible pair, or the best that could be found.

    Parameters
    ----------
    problem : Problem
        Its k is 2.
    known : ndarray of shape (2,), int64
        A feasible pair.
    among : ndarray of int64, optional
        No other candidates are in a better one. Default: all.
    """
    objective, constraints, t = problem.max_sum(), problem.constraints, problem.objective.diversity
    value = problem.value(known)
    if len(constraints.include) == 2:
        return Pair(known, value, True)
    half = (1 - t) / 2 * problem.relevance.values
    rows = np.arange(problem.n) if among is None else among
    fixed = constraints.include
    partner = float(half[fixed if len(fixed) else rows].max(initial=-np.inf))
    allowed = t * bounds.reach_of(problem) + (1 - t) * problem.relevance.error + bounds.rounding(problem)
    rows = np.union1d(rows[half[rows] + partner + allowed >= value], known)
    most = isqrt(WORK // max(LEAST, problem.vectors.d))
    whole = len(fixed) > 0 or len(rows) <= most
    if not whole:
        rows = np.union1d(rows[top_k(_promise(problem)[rows], most)], known)
    rows = problem.by_content(rows)
    exact, half = problem.vectors.rows(rows, np.float64), (1 - t) / 2 * problem.relevance.at(rows)
    places = np.arange(len(rows))
    lone = constraints.codes is not None and constraints.quota == 1
    best, pair = -np.inf, rows[:0]
    firsts = places if len(fixed) == 0 else np.flatnonzero(np.isin(rows, fixed))
    for start in range(0, len(firsts), BLOCK):
        part = firsts[start : start + BLOCK]
        after = 0 if len(fixed) else start  # a pair is looked at once
        worth = t * objective.distances(exact[part], exact[after:])
        worth += half[part, None] + half[after:]
        barred = places[after:] <= part[:, None] if len(fixed) == 0 else places == part[:, None]
        if lone:
            assert constraints.codes is not None
            codes = constraints.codes[rows]
            barred = barred | (codes[part, None] == codes[after:])
        worth[barred] = -np.inf
        most_here = float(worth.max())
        if most_here > best + TIE * abs(most_here):
            one, other = divmod(int((worth >= most_here - TIE * abs(most_here)).argmax()), worth.shape[1])
            best, pair = most_here, rows[[part[one], after + other]]
    problem.count("pairs", len(firsts) * len(rows))
    if len(pair) and (better := problem.value(pair)) > value + bounds.rounding(problem):
        return Pair(pair, better, whole)
    return Pair(known, value, whole)


def _promise(problem: Problem) -> NDArray[np.float64]:
    """Return by how much each candidate tempts: its relevance, and how far it is from a sample of all."""
    sample = problem.vectors.sample(SAMPLE, problem.relevance.values)
    if len(sample) == 0:
        sample = problem.most_relevant(1)
    return Whole(problem).gradient(sample, np.full(len(sample), 1 / len(sample)))
