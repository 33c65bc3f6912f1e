"""The scores that greedy selection keeps up: exact in the pool, upper bounds for the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from setwise.solvers.problem import Problem
from setwise.vectors import Floats

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Up to this many candidates, all of them are the pool.
SMALL = 4096


class Scores(ABC):
    """Scores of candidates as the next member, given those chosen.

    Attributes
    ----------
    base : ndarray
        The pool's relevance part; -inf for candidates that may no longer be chosen.
    ids : ndarray of int64 or None
        The pool's rows, ascending; None for all candidates.
    members : list of int
        The chosen rows.
    """

    base: Vector
    rows: Floats
    #: What each of `rows` is to be multiplied by to be of unit length; None where they are.
    scale: Floats | None

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.vectors = problem.vectors
        self.t = problem.objective.diversity
        self.members: list[int] = []
        self.ids: Rows | None = None
        self.loaded = False
        self.gram: Floats | None = (
            None  # the pairwise numbers of a small pool, where all were computed at once
        )
        self._stack = np.empty((0, problem.vectors.d))

    def load(self, ids: Rows | None) -> None:
        """Make these candidates the pool."""
        self.ids = ids
        self.loaded = True
        self.gram = None
        if ids is None:
            self._take_all_rows(only_columns=not self.members and self.problem.n <= SMALL)
        else:
            self.rows, self.scale = self.vectors.rows(ids), None
        values = self.problem.relevance.values
        self.base = (1 - self.t) * (values if ids is None else values[ids])
        self.start_pool()

    def _take_all_rows(self, *, only_columns: bool) -> None:
        """Hold every row; where only columns are asked of them, as given and beside their scale."""
        plain = self.vectors.plain() if only_columns else None
        if plain is None:
            self.rows, self.scale = self.vectors.rows(slice(0, self.problem.n)), None
        else:
            self.rows, self.scale = plain

    def stack(self) -> Vector:
        """Return the chosen rows, shape (s, d), float64."""
        if len(self._stack) < len(self.members):
            new = self.vectors.rows(np.array(self.members[len(self._stack) :]), np.float64)
            self._stack = np.concatenate([self._stack, new])
        return self._stack

    def choose(self, row: int, place: int | None = None) -> None:
        """Take a candidate into the set; `place` is its position in the loaded pool."""
        self.members.append(row)
        self.follow(place)

    @abstractmethod
    def between(self, left: Floats, right: Floats) -> Floats:
        """Return the objective's pairwise numbers: distances, similarities or the kernel."""

    def column(self, place: int) -> Floats:
        """Return the pairwise numbers of the pool with one of its members."""
        if self.gram is not None:
            column: Floats = self.gram[place]
            return column
        if self.vectors.metric == "cosine":
            found: Floats = self.rows @ self.rows[place]
            if self.scale is not None:
                found *= self.scale
                found *= self.scale[place]
            return found
        found = self.between(self.rows, self.rows[place : place + 1])[:, 0]
        return found

    @abstractmethod
    def follow(self, place: int | None) -> None:
        """Update the state for the newest member, at this place in the pool (None: no pool is loaded)."""

    @abstractmethod
    def start_pool(self) -> None:
        """Compute the pool's state from the members."""

    @abstractmethod
    def pool(self) -> Vector:
        """Return the pool's scores, as exact as the pool's precision, as a new array."""

    @abstractmethod
    def bounds(self) -> Vector:
        """Return an upper bound on the score of every candidate, a new array of shape (n,)."""

    @abstractmethod
    def exact(self, ids: Rows) -> Vector:
        """Return the scores of some candidates in float64, from scratch."""

    def surely(self, place: int, best: float) -> float:
        """Return what the pool's best is at least worth, rounding allowed for."""
        return best

    def slack(self) -> float:
        """Return by how much a bound may have risen since `bounds`: 0 where scores only fall."""
        return 0.0

    def is_current(self) -> bool:
        """Whether `bounds` gives the present scores (to rounding) rather than older bounds."""
        return True

    def tighten(self, ids: Rows) -> Vector:
        """Bring the bounds of some candidates up to date; return them, -inf for those out of the game."""
        raise NotImplementedError

    def renew(self) -> None:
        """Bring the bounds of all candidates up to date."""
        raise NotImplementedError

    def first_by_relevance(self) -> bool:
        """Whether the next pick is the first at diversity 1, where scores say nothing: the most relevant."""
        return self.t == 1.0 and not self.members

    def first_pool(self) -> Vector:
        """Return the pool's scores for the first pick."""
        if not self.first_by_relevance():
            return self.base.copy()
        values = self.problem.relevance.values
        return np.where(np.isneginf(self.base), -np.inf, values if self.ids is None else values[self.ids])

    def first_exact(self, ids: Rows) -> Vector:
        """Return what decides the first pick, in float64."""
        return (1.0 if self.first_by_relevance() else 1 - self.t) * self.problem.relevance.at(ids)


class FallingScores(Scores):
    """Scores that only fall as the set grows (once it is not empty), so that old ones are bounds."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.known: Vector | None = None
        self.seen = 0

    def bounds(self) -> Vector:
        if self.first_by_relevance():
            return self.problem.relevance.values.copy()
        if self.known is None or self._first_look():
            self.known = (1 - self.t) * self.problem.relevance.values
            if self._first_look():
                self.renew()
        return self.known.copy()

    def _first_look(self) -> bool:
        """Whether bounds predate every member: they then bound nothing where similarities are negative."""
        return self.seen == 0 and bool(self.members) and self.t > 0.0

    def slack(self) -> float:
        return np.inf if self._first_look() else 0.0

    def is_current(self) -> bool:
        return self.seen == len(self.members) or self.t == 0.0

    def tighten(self, ids: Rows) -> Vector:
        assert self.known is not None
        self.known[ids] = np.minimum(self.known[ids], self.score_rows(ids))
        return self.known[ids]

    def front(self, first: int) -> Vector:
        """Return the scores of all after the first pick (cosine alone), shape (n,), for `take_front`."""
        self._take_all_rows(only_columns=True)
        self.first = self.column(first)
        self.base = (1 - self.t) * self.problem.relevance.values
        return self.after_first(self.base, self.first)

    def take_front(self, ids: Rows) -> None:
        """Make a few candidates the pool, after `front`, with all their pairwise numbers."""
        self.ids, self.base = ids, self.base[ids]
        self.rows, self.scale = self.vectors.rows(ids), None
        self.gram = self.rows @ self.rows.T
        self.start_front(self.first[ids])

    @abstractmethod
    def after_first(self, base: Vector, column: Floats) -> Vector:
        """Return scores once the first is chosen, given the pairwise numbers with it."""

    @abstractmethod
    def start_front(self, column: Floats) -> None:
        """Start the pool's state from the pairwise numbers with the first member."""

    @abstractmethod
    def score_rows(self, ids: Rows) -> Vector:
        """Return the scores of some candidates, exact to the working precision."""


def row_by_row(
    measure: Callable[[Floats, Floats], Floats], rows: Floats, members: Vector, metric: str
) -> Vector:
    """Return pairwise numbers row by row, so that equal rows get equal numbers wherever they stand.

    Under euclidean `measure` gets differences of rows, where nothing cancels, and the origin.
    """
    if len(rows) > 512:
        return np.asarray(measure(rows, members), np.float64)
    if metric == "euclidean":
        origin = np.zeros((1, rows.shape[1]))
        return np.stack([np.asarray(measure(origin, members - row), np.float64)[0] for row in rows])
    return np.concatenate([np.asarray(measure(row[None], members), np.float64) for row in rows])
