"""Candidates held close for a request with wishes: rows in float64, and which sets of them are feasible."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from setwise.feasible import Feasible, Infeasible
from setwise.objectives.base import euclidean
from setwise.solvers.problem import Problem
from setwise.threads import run_ranges
from setwise.top import top_k
from setwise.vectors import Floats

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
Found = TypeVar("Found")

#: Up to this many candidates are held, all their pairs at hand.
HELD = 2048

#: Cosines are sums: those that differ by no more than this are equal.
ROUNDING = 1e-12

#: What sums over the candidates held may be off by, relative to the largest that their terms could make.
SUMS = 1e-13

#: Rows read at a time.
BLOCK = 4096


class Held:
    """Some candidates, in an order that their rows' numbers have no part in.

    Parameters
    ----------
    problem : Problem
        With wishes.
    ids : ndarray of int64

    Attributes
    ----------
    ids : ndarray of shape (m,), int64
    rows : ndarray of shape (m, d), float64
    relevance : ndarray of shape (m,), float64
    feasible : Feasible
        Over positions here.
    whole : bool
        Whether these are all candidates that may be chosen.
    """

    def __init__(self, problem: Problem, ids: Rows, whole: bool) -> None:
        self.problem, self.whole = problem, whole
        self.ids = problem.by_content(ids)
        self.rows = np.asarray(problem.vectors.rows(self.ids, np.float64), np.float64)
        self.relevance = problem.relevance.of_rows(self.rows, self.ids)
        alike = None
        if problem.request.max_similarity is not None:
            alike = self.rows @ self.rows.T > problem.request.max_similarity + ROUNDING
            np.fill_diagonal(alike, False)
        self.feasible: Feasible = problem.constraints.among(self.ids, alike)

    def __len__(self) -> int:
        return len(self.ids)

    def locate(self, rows: Rows) -> Rows:
        """Return the positions of some candidates that are held."""
        order = np.argsort(self.ids)
        return np.asarray(order[np.searchsorted(self.ids, rows, sorter=order)])


def hold(problem: Problem) -> Held:
    """Return the candidates to choose among: all, or where they are many those worth most by themselves.

    Raises Infeasible: no set is feasible; the message names what bars it, and how many members are possible.
    """
    open_ = np.flatnonzero(~barred(problem))
    missing = np.setdiff1d(problem.constraints.include, open_)
    if len(missing):
        raise ValueError(
            f"include: row {missing[0]} is one that was shown, or more similar to it than may be"
        )
    if len(open_) <= HELD:
        held = Held(problem, open_, True)
    else:
        held = Held(problem, _leaders(problem, open_), False)
    problem.stats["pool_size"] = len(held)
    if held.feasible.best(np.zeros(len(held))) is None:
        raise Infeasible(_why_not(held))
    return held


def of_blocks(problem: Problem, work: Callable[[Rows, Floats], Found]) -> list[Found]:
    """Return what some work makes of each block of candidates, given their numbers and rows, in order."""

    def part(start: int, stop: int) -> list[Found]:
        blocks = (np.arange(first, min(stop, first + BLOCK)) for first in range(start, stop, BLOCK))
        return [
            work(ids, np.asarray(problem.vectors.rows(slice(int(ids[0]), int(ids[-1]) + 1), np.float64)))
            for ids in blocks
        ]

    parts = run_ranges(part, problem.n, problem.vectors.workers, least=BLOCK)
    return [one for some in parts for one in some]


def barred(problem: Problem) -> Mask:
    """Return which candidates are ones that were shown, or too similar to one, shape (n,)."""
    most, shown, cosine = problem.request.max_similarity, problem.shown, problem.vectors.metric == "cosine"
    if not len(shown):
        return np.zeros(problem.n, bool)

    def gone(_ids: Rows, rows: Floats) -> Mask:
        if not cosine:
            return np.asarray(
                euclidean(rows, shown).min(axis=1) <= ROUNDING * (1.0 + np.abs(rows).max(axis=1))
            )
        near = (rows @ shown.T).max(axis=1)
        return np.asarray((near >= 1.0 - ROUNDING) | (near > (np.inf if most is None else most + ROUNDING)))

    return np.concatenate(of_blocks(problem, gone))


def alone(problem: Problem) -> Vector:
    """Return what each candidate is worth as the only member, shape (n,), float64."""
    none = np.empty((0, problem.vectors.d))

    def worth(ids: Rows, rows: Floats) -> Vector:
        return problem.objective.checked_gains(rows, problem.told(ids, rows), none, ids)

    problem.count("passes")
    return np.concatenate(of_blocks(problem, worth))


def _leaders(problem: Problem, open_: Rows) -> Rows:
    """Return the candidates that are worth most by themselves, with what the constraints need."""
    constraints, worth = problem.constraints, alone(problem)
    parts = [constraints.include, open_[top_k(worth[open_], HELD)]]
    if constraints.codes is not None:
        parts.append(constraints.best(worth))
    if constraints.costs is not None:
        least = float(worth[open_].min())
        parts.append(open_[top_k((worth[open_] - min(least, 0.0)) / constraints.costs[open_], HELD // 2)])
    room = constraints.k
    if constraints.costs is not None:
        room = min(room, int(constraints.budget / float(constraints.costs.mean())) + 1)
    for one in constraints.limits:  # each label that some are needed of, or that all may not exceed
        order = open_[np.lexsort((-worth[open_], one.codes[open_]))]
        codes = one.codes[order]
        starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
        rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
        leading = order[rank < np.maximum(1, one.least[codes])]
        needed = one.least[one.codes[leading]] > 0
        others = leading[~needed]
        parts += [leading[needed], others[top_k(worth[others], min(len(others), 2 * room))]]
    if problem.request.max_similarity is not None:
        parts.append(_unlike(problem, open_, worth))
    return np.unique(np.concatenate(parts))


def _unlike(problem: Problem, open_: Rows, worth: Vector) -> Rows:
    """Return candidates no two of which are too similar: of the rest always the one worth most, up to k."""
    most = problem.request.max_similarity
    assert most is not None
    left = np.full(problem.n, -np.inf)
    left[open_] = worth[open_]
    chosen: list[int] = []
    for row in problem.constraints.include.tolist():
        chosen.append(row)
    taken = 0
    while len(chosen) < problem.k or taken < len(chosen):
        if taken == len(chosen):
            row = int(left.argmax())
            if left[row] == -np.inf:
                break
            chosen.append(row)
        row = chosen[taken]
        taken += 1
        near = problem.vectors.scan(problem.vectors.rows(np.array([row]), np.float64)[0])
        left[near > most] = -np.inf
        left[row] = -np.inf
    return np.array(chosen, np.int64)


def _why_not(held: Held) -> str:
    """Return why no set is feasible: which wish bars it, and how many members are possible."""
    problem, feasible = held.problem, held.feasible
    asked = [
        problem.request.argument(name)
        for name in ("max_similarity", "limits", "shown", "budget")
        if name in problem.request.wishes
    ]
    names, beside = asked[0], asked[1:]
    loose = Feasible(
        len(held),
        0,
        feasible.most,
        feasible.include,
        [one._replace(least=np.zeros_like(one.least)) for one in feasible.limits],
        feasible.costs,
        feasible.budget,
        feasible.alike,
    )
    largest = loose.best(np.ones(len(held)))
    among = "" if held.whole else f" among the {len(held):,} candidates looked at"
    more = f" with {' and '.join(beside)}" if beside else ""
    if largest is None:
        if "max_similarity" in problem.request.wishes:
            return f"include: its rows are more similar than {names} allows{among}"
        return f"include: no set that has its rows keeps {names}{more}{among}"
    if len(largest) < feasible.least:
        return (
            f"{names}: only {len(largest)} of the {problem.k} asked for are possible{more}{among}; ask for "
            f"at most {len(largest)}, or loosen it"
        )
    return (
        f"{names}: no set keeps it{more}{among}; sets of {len(largest)} are possible without the least of "
        "each limit"
    )
