"""What solvers work on: the whole problem, and a pool of its candidates held close."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from setwise.certificate import Certificate
from setwise.constraints import Constraints
from setwise.containers import as_matrix, as_queries
from setwise.facets import FacetRelevance
from setwise.objectives import MaxSum, Objective, Wishes
from setwise.objectives.scores import Scores
from setwise.relevance import Relevance
from setwise.request import Certify, Request
from setwise.vectors import Floats, Vectors, top_k

#: Up to this many candidates, a pool may be all of them.
POOLED = 8192

#: Products of multiples of this, which are multiples of its square, add up to less than 2 without rounding.
GRID = 2.0**-26

#: Numbers that differ by this part of the largest are told apart by rounding alone.
TIED = 2.0**-40


@dataclass
class Problem:
    """One selection to make.

    Attributes
    ----------
    vectors : Vectors
        The candidates.
    relevance : Relevance
        Counted from the least there is, where the objective allows it.
    request : Request
        What is asked for; solvers find further wishes here.
    constraints : Constraints
        The request's, over the candidates.
    objective : Objective
        The request's with its wishes, fitted to the candidates.
    shown : ndarray of shape (h, d), float64
        What was shown before, of unit length under cosine.
    facets : FacetRelevance, optional
        What the set should cover.
    progress : callable (text), optional
        Told what is being done, now and then.
    stats : dict
        Counts of the work done, filled in on the way.
    ends : float
        When a search for a proof that has no other end gives up, on the clock of `time.monotonic`.
    rounding : float, optional
        What `bounds.rounding` has found.
    """

    vectors: Vectors
    relevance: Relevance
    request: Request
    constraints: Constraints
    progress: Callable[[str], None] | None = None
    stats: dict[str, Any] = field(default_factory=dict)
    objective: Objective = field(init=False)
    ends: float = field(init=False, default=np.inf)
    shown: NDArray[np.float64] = field(init=False)
    facets: FacetRelevance | None = field(init=False, default=None)
    rounding: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.request.timed:
            self.ends = time.monotonic() + self.request.time_limit
        request, goal = self.request, self.request.goal
        self.shown = np.empty((0, self.vectors.d))
        if request.shown is not None and np.size(request.shown):
            rows = as_matrix(request.shown, "shown")
            self.shown = as_queries(rows, self.vectors.d, "shown", metric=goal.metric)
        if request.facets is not None:
            self.facets = FacetRelevance.of(request.facets, self.vectors)
        if request.wishes or goal.per_item:
            counted = self.shown if request.shown_weight else self.shown[:0]
            size = self.constraints.reference_size(request)
            gain = request.min_gain or 0.0
            goal = type(goal).wishing(goal, Wishes(size, request.sized, gain, counted, request.shown_weight))
        self.objective = goal.fitted(self.vectors)
        if self.objective.relevance_weight(self.constraints.k) is not None:
            self.relevance = self.relevance.from_least()

    @property
    def k(self) -> int:
        """Size of the set, 1 to n."""
        return self.constraints.k

    @property
    def seed(self) -> int:
        """Of everything random."""
        return self.request.seed

    @property
    def effort(self) -> Certify:
        """How much to do to prove how good the set is."""
        return self.request.certify

    @property
    def is_late(self) -> bool:
        """Whether a search for a proof has had its time."""
        return time.monotonic() >= self.ends

    @property
    def n(self) -> int:
        """Number of candidates."""
        return int(self.vectors.n)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a statistic."""
        self.stats[name] = self.stats.get(name, 0) + amount

    def tell(self, text: str) -> None:
        """Report progress, where somebody listens."""
        if self.progress is not None:
            self.progress(text)

    def told(
        self, ids: NDArray[np.int64], rows: Floats | None = None, *, given: bool = False
    ) -> NDArray[Any]:
        """Return what the objective is told of some candidates: relevance, and a column for each facet.

        Parameters
        ----------
        ids : ndarray of shape (m,), int64
        rows : ndarray of shape (m, d), float64, optional
            Their rows, where at hand.
        given : bool
            Whether relevance is as it was given, and not counted from the least.
        """
        if given:
            known = self.relevance.given(ids)
        else:
            known = self.relevance.at(ids) if rows is None else self.relevance.of_rows(rows, ids)
        return known if self.facets is None else np.column_stack([known, self.facets.at(ids, rows)])

    def value(self, chosen: NDArray[np.int64]) -> float:
        """Return the objective's value of a set in float64, with relevance counted as solvers do."""
        rows = self.vectors.rows(chosen, np.float64)
        return float(self.objective.evaluate(rows, self.told(chosen, rows))[1].value)

    def scores(self) -> Scores:
        """Return the scores that greedy selection keeps up."""
        scoring = self.objective.scoring
        return scoring(self.objective, self.vectors, self.relevance, self.k, self.count)

    def max_sum(self) -> MaxSum:
        """Return the objective, as max-sum's own solvers know it."""
        return cast(MaxSum, self.objective)

    def scale(self) -> float:
        """Return k(k-1), what the summed form f of max-sum is larger by than its value."""
        return float(self.k * (self.k - 1))

    def by_content(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return some candidates in an order that their rows' numbers have no part in: by falling relevance.

        Equal relevance goes by content, and where that is equal too, by row number. What is computed in this
        order is the same to the last bit however the data is ordered.
        """
        values = self.relevance.values[ids]
        order = np.argsort(-values, kind="stable")
        falling = values[order]
        if (falling[1:] == falling[:-1]).any():
            order = np.lexsort((self.vectors.along(ids), -values))
        return ids[order]

    def most_relevant(self, count: int) -> NDArray[np.int64]:
        """Return the rows of largest relevance, falling; of those that tie, by content."""
        values = self.relevance.values
        level = values[top_k(values, count)[-1]]
        return self.by_content(np.flatnonzero(values >= level))[:count]


@dataclass(frozen=True)
class Solved:
    """The set that a solver found.

    Attributes
    ----------
    chosen : ndarray of int64
        Rows of the candidates.
    ordered : bool
        Whether they stand in selection order.
    sufficient : bool
        Whether they are those of a scan over all candidates.
    drawn : bool
        Whether they are a draw: which of equal candidates comes is then part of it.
    known : object
        What the solver has learned, for the function that certifies its objective's sets.
    certificate : Certificate, optional
    numbers : ndarray of float64, optional
        What each member had when it joined those before it, for the objective's `summarize`. They stand in
        selection order then, and of equal candidates they are the first.
    """

    chosen: NDArray[np.int64]
    ordered: bool = False
    sufficient: bool = False
    drawn: bool = False
    known: Any = None
    certificate: Certificate | None = None
    numbers: NDArray[np.float64] | None = None

    def with_set(self, chosen: NDArray[np.int64]) -> Solved:
        """Return this with another set, in no order; this itself for its own."""
        if chosen is self.chosen:
            return self
        return replace(self, chosen=chosen, ordered=False, numbers=None)


class Pool:
    """Candidates held close for max-sum: their rows in memory, and the summed form of the objective.

    The summed form is f(x) = linear·x + weight · xᵀWx with W the pairwise distances (zero diagonal),
    linear = (1-t)(k-1) r and weight = t: k(k-1) times the value on sets. Memory: O(size · d).

    Parameters
    ----------
    ids : ndarray of int64, ascending, optional
        Which candidates; all of them by default. `self.ids` holds them in the pool's own order, by content.

    Attributes
    ----------
    rows : ndarray of shape (size, d), float64
        In the order of `ids`. Unit rows of single precision are rounded to multiples of `GRID`: the products
        of two such rows and their sums are exact then, whatever the processor's instructions and the order
        in which it adds, so that no solver takes another turn elsewhere.
    """

    def __init__(self, problem: Problem, ids: NDArray[np.int64] | None = None) -> None:
        self.problem = problem
        self.objective = problem.max_sum()
        self._ascending = np.arange(problem.n) if ids is None else ids
        self.ids = problem.by_content(self._ascending)
        self._places = np.argsort(self.ids)
        self.rows: Floats = problem.vectors.rows(self.ids, np.float64)
        self._gridded = problem.vectors.dtype == np.float32 and self.objective.metric == "cosine"
        if self._gridded:
            self.rows *= 1 / GRID
            np.rint(self.rows, out=self.rows)
            self.rows *= GRID
        self.relevance = problem.relevance.values[self.ids]
        self.linear = (1 - self.objective.diversity) * (problem.k - 1) * self.relevance
        self.weight = self.objective.diversity

    def __len__(self) -> int:
        return len(self.ids)

    def distances(self, local: NDArray[np.int64]) -> Floats:
        """Return W's columns of some members (positions in the pool), shape (size, m)."""
        found = self.objective.distances(self.rows, self.rows[local])
        found[local, np.arange(len(local))] = 0.0
        return found

    def block(self, local: NDArray[np.int64]) -> Floats:
        """Return W among some members, shape (m, m)."""
        rows = self.rows[local]
        found = self.objective.distances(rows, rows)
        np.fill_diagonal(found, 0.0)
        return found

    def pull_evenly(self) -> NDArray[np.float64]:
        """Return W x for x = k/size everywhere (cosine with sharpness 1 alone)."""
        k = self.problem.k
        return np.asarray(k - self.rows @ (self.rows.sum(axis=0) * (k / len(self))))

    def best(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the feasible set of largest summed scores, as positions, largest first."""
        return self.problem.constraints.best(scores, self.ids)

    def most_relevant(self) -> NDArray[np.int64]:
        """Return the feasible set of most relevance, as positions; ties by content."""
        return self.best(self.relevance)

    def radius(self) -> float:
        """Return the largest distance from the mean row (euclidean alone)."""
        away = self.rows - self.rows.mean(axis=0, dtype=np.float64)
        return float(np.sqrt(np.vecdot(away, away).max()))

    def pull(self, local: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return W x for an x that is nonzero at some members only, shape (size,), float64."""
        own = (local, np.arange(len(local)))
        return self.objective.pull(self.rows, self.rows[local], weights, own, close=not self._gridded)

    def pull_change(self, comes: int, goes: int) -> NDArray[np.float64]:
        """Return by how much W x changes when one member of a set comes for another, shape (size,)."""
        return self.pull(np.array([comes, goes]), np.array([1.0, -1.0]))

    def gradient(self, local: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient of the summed form at a point given by its support, shape (size,)."""
        return np.asarray(self.linear + 2 * self.weight * self.pull(local, weights))

    def locate(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of candidates in the pool."""
        return np.asarray(self._places[np.searchsorted(self._ascending, ids)])

    def value(self, local: NDArray[np.int64]) -> float:
        """Return the summed form f of a set of members, in the pool's precision."""
        spread = self.objective.pair_sum(self.rows[local])
        return float(self.linear[local].sum()) + self.weight * spread


class Whole:
    """All candidates, read in passes: the same summed form as `Pool`, without holding rows.

    Parameters
    ----------
    problem : Problem
        Its objective is max-sum.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.objective = problem.max_sum()
        self.weight = self.objective.diversity
        self.linear = (1 - self.weight) * (problem.k - 1) * problem.relevance.values

    def __len__(self) -> int:
        return self.problem.n

    def pull(self, ids: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return W x for an x that is nonzero at some candidates only, in one pass; see `MaxSum.pull_all`."""
        self.problem.count("passes")
        return self.objective.pull_all(self.problem.vectors, ids, weights)

    def gradient_at(
        self, rows_of: NDArray[np.int64], ids: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the gradient at some candidates alone, in float64 throughout, shape (m,)."""
        support = self.problem.vectors.rows(ids, np.float64)
        relevance = self.problem.relevance.at(rows_of)
        linear = (1 - self.weight) * (self.problem.k - 1) * relevance
        pulled = np.empty(len(rows_of))
        order = np.argsort(ids)
        for start in range(0, len(rows_of), 4096):
            part = rows_of[start : start + 4096]
            near = order[np.searchsorted(ids, part, sorter=order).clip(max=len(ids) - 1)]
            own = np.flatnonzero(ids[near] == part)
            rows = self.problem.vectors.rows(part, np.float64)
            pulled[start : start + 4096] = self.objective.pull(rows, support, weights, (own, near[own]))
        return linear + 2 * self.weight * pulled

    def gradient_above(
        self, ids: NDArray[np.int64], weights: NDArray[np.float64], floor: float
    ) -> NDArray[np.float64]:
        """Return the gradient where it may exceed a floor, and an upper bound at most that floor elsewhere.

        With an even sharpness distances are at most 1, so relevance alone bounds the gradient and most
        candidates need not be read at all.
        """
        objective, vectors = self.objective, self.problem.vectors
        if objective.reach == 1.0:
            gradient = self.linear + 2 * self.weight * float(weights.sum())
            near = np.union1d(np.flatnonzero(gradient > floor), ids)
            if len(near) <= len(self) // 4:
                rows = vectors.rows(ids)
                for start in range(0, len(near), 8192):
                    part = near[start : start + 8192]
                    distances = objective.distances(vectors.rows(part), rows)
                    gradient[part] = self.linear[part] + 2 * self.weight * (distances @ weights)
                wide, own = rows.astype(np.float64), np.diag_indices(len(ids))
                among = objective.pull(wide, wide, weights, own)
                gradient[ids] = self.linear[ids] + 2 * self.weight * among
                return gradient
        return self.gradient(ids, weights)

    def pull_evenly(self) -> NDArray[np.float64]:
        """Return W x for x = k/n everywhere (cosine with sharpness 1 alone), in two passes."""
        vectors = self.problem.vectors
        self.problem.count("passes", 2)
        pulled: NDArray[np.float64] = self.problem.k * (1.0 - vectors.scan(vectors.mean()).astype(np.float64))
        return pulled

    def best(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the feasible set of largest summed scores, largest first."""
        return self.problem.constraints.best(scores)

    def most_relevant(self) -> NDArray[np.int64]:
        """Return the feasible set of most relevance; ties by content, where there are no constraints."""
        if self.problem.constraints.any:
            return self.best(self.problem.relevance.values)
        return self.problem.most_relevant(self.problem.k)

    def radius(self) -> float:
        """Return the largest distance from the mean row (euclidean alone), in two passes, and then kept."""
        return self.problem.vectors.radius()

    def gradient(self, ids: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient of the summed form at a point given by its support, shape (n,)."""
        gradient = self.pull(ids, weights)
        gradient *= 2 * self.weight
        gradient += self.linear
        return gradient
