"""What max-sum knows of max-min: the least distance of two members is at most the mean one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setwise.constraints import Constraints
from setwise.request import Request
from setwise.solvers import max_sum, unseen
from setwise.solvers.problem import Problem, Solved


@dataclass(frozen=True)
class ByMean:
    """max-sum over the candidates of a problem, by size alone.

    Sets of any k candidates are bounded, so those that keep wishes are, too; distances to what was shown
    only make the least distance less.
    """

    problem: Problem
    found: Solved

    @classmethod
    def of(cls, problem: Problem) -> ByMean | None:
        """Return it for a problem whose objective is max-min; None where there is no such bound."""
        asked = problem.request
        if problem.k < 2 or not problem.constraints.sized or problem.vectors.metric != "cosine":
            return None
        request = Request(
            k=problem.k, diversity=asked.goal.diversity, certify=True, seed=asked.seed, threads=asked.threads
        )
        plain = Problem(problem.vectors, problem.relevance, request, Constraints(problem.n, request))
        return cls(plain, max_sum.by_default(plain))

    @property
    def chosen(self) -> NDArray[np.int64]:
        """The set whose mean distance counts."""
        return self.found.chosen

    def bound(self, rest: unseen.Unseen | None = None) -> float:
        """Return what no set is worth more than, of these candidates and the `rest`."""
        if rest is None:
            found = max_sum.certify(self.problem, self.found)
        else:
            found = unseen.certify(self.problem, self.found, rest, improve=False, scope="all")
        proof = found.certificate
        return np.inf if proof is None or proof.upper_bound is None else proof.upper_bound
