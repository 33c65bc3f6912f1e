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
from setwise.containers import as_matrix
from setwise.facets import FacetRelevance
from setwise.objectives import MaxSum, Objective, Wishes
from setwise.objectives.scores import Scores
from setwise.queries import as_queries
from setwise.relevance import Relevance
from setwise.request import Certify, Request
from setwise.top import top_k
from setwise.vectors import Floats, Vectors

#: Up to this many candidates, a pool may be all of them.
POOLED = 8192

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
    open : bool
        Whether there are candidates beside these, which may join.
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
    open: bool = field(init=False, default=False)

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
