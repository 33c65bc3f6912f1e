"""Exchanges for any objective, which is known by its gains and its value alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.objectives.scores import ScoresByGains
from setwise.solvers.greedy import pick_greedily
from setwise.solvers.problem import Problem, Solved
from setwise.top import top_k

#: At most so many rounds over the members.
ROUNDS = 50

#: Candidates that are tried in a member's place: those of largest gain beside the others.
TRIED = 16

#: An exchange must raise the value by more than this part of it, below which a difference is rounding.
LEAST_GAIN = 1e-12


def by_exchanges(problem: Problem) -> Solved:
    """Select greedily, then exchange members one by one until that raises the value no more.

    Each member in turn makes room for the best of the `TRIED` candidates of largest gain beside the others.
    Must-have rows stay, and no group gets above its quota. Time: the gains of all candidates, k times a
    round.
    """
    chosen = pick_greedily(problem)
    best = _value(problem, chosen)
    for _ in range(ROUNDS):
        before = best
        for slot in range(len(problem.constraints.include), len(chosen)):
            for comes in _tempting(problem, np.delete(chosen, slot)).tolist():
                trial = np.append(np.delete(chosen, slot), comes)
                value = _value(problem, trial)
                if value > best + LEAST_GAIN * max(1.0, abs(best)):
                    chosen[slot], best = comes, value
                    problem.count("swaps")
        if best == before:
            break
    return Solved(chosen)


def _tempting(problem: Problem, members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the candidates of largest gain beside some members, falling; of equals the first."""
    scores = ScoresByGains(problem.objective, problem.vectors, problem.relevance, problem.k, problem.count)
    scores.members = members.tolist()
    gains = scores.bounds()
    gains[problem.constraints.blocked(members)] = -np.inf
    gains[members] = -np.inf
    leaders = top_k(gains, min(TRIED, problem.n))
    return leaders[gains[leaders] > -np.inf]


def _value(problem: Problem, chosen: NDArray[np.int64]) -> float:
    """Return the value of a set in selection order."""
    include = problem.constraints.include
    chosen = np.concatenate([include, np.sort(chosen[~np.isin(chosen, include)])])
    rows, relevance = problem.vectors.rows(chosen, np.float64), problem.relevance.at(chosen)
    order = problem.objective.arrange(rows, relevance, chosen, len(include))
    return float(problem.objective.terms(rows[order], relevance[order]).value)
