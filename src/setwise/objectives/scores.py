"""The scores that greedy selection keeps up: exact in the pool, upper bounds for the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from setwise.vectors import Floats, Vectors

if TYPE_CHECKING:
    from setwise.objectives.base import Objective
    from setwise.relevance import Relevance

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Up to this many candidates, all of them are the pool.
SMALL = 4096

#: Up to this many rows are scored one by one, so that equal rows get equal scores wherever they stand.
ONE_BY_ONE = 512

#: Rows whose gains are asked for at once.
BLOCK = 8192


class Scores(ABC):
    """Scores of candidates as the next member, given those chosen.

    Parameters
    ----------
    vectors : Vectors
        All candidates.
    k : int
        Size that the set will have.
    count : callable (str)
        Told of each pass over all candidates: "passes".

    Attributes
    ----------
    base : ndarray
        The pool's relevance part; -inf for candidates that may no longer be chosen.
    ids : ndarray of int64 or None
        The pool's rows, ascending; None for all candidates.
    members : list of int
        The chosen rows.
    """

    #: The largest diversity at which the leaders after the first pick are likely to hold the rest of the set.
    front_until: ClassVar[float] = 0.0

    base: Vector

    def __init__(
        self,
        objective: Objective,
        vectors: Vectors,
        relevance: Relevance,
        k: int,
        count: Callable[[str], None],
    ) -> None:
        self.objective, self.t = objective, objective.diversity
        self.vectors, self.relevance, self.k, self.count = vectors, relevance, k, count
        self.begin()

    def begin(self) -> None:
        """Start with no member and no pool."""
        self.members: list[int] = []
        self.ids: Rows | None = None
        self.loaded = False
        self._stack = np.empty((0, self.vectors.d))

    @abstractmethod
    def load(self, ids: Rows | None) -> None:
        """Make these candidates the pool."""

    @abstractmethod
    def pool(self) -> Vector:
        """Return the pool's scores, as exact as the pool's precision, as a new array."""

    @abstractmethod
    def bounds(self) -> Vector:
        """Return an upper bound on the score of every candidate, a new array of shape (n,)."""

    @abstractmethod
    def exact(self, ids: Rows) -> Vector:
        """Return the scores of some candidates in float64, from scratch."""

    def choose(self, row: int, place: int | None = None) -> None:
        """Take a candidate into the set; `place` is its position in the loaded pool."""
        self.members.append(row)

    def stack(self) -> Vector:
        """Return the chosen rows, shape (s, d), float64."""
        if len(self._stack) < len(self.members):
            new = self.vectors.rows(np.array(self.members[len(self._stack) :]), np.float64)
            self._stack = np.concatenate([self._stack, new])
        return self._stack

    def lead(self, ids: Rows | None = None) -> Vector:
        """Return what decides the first pick: of all candidates, or of some in float64."""
        return self.relevance.values if ids is None else self.relevance.at(ids)

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

    def front(self, first: int) -> Vector:
        """Return the scores of all after the first pick (cosine alone), shape (n,), for `take_front`."""
        raise NotImplementedError

    def take_front(self, ids: Rows) -> None:
        """Make a few candidates the pool, after `front`, with all their pairwise numbers."""
        raise NotImplementedError

    def limit(self, relevance: float, most_similar: Callable[[Vector], float]) -> float:
        """Return an upper bound on the score of candidates of which little is known.

        Parameters
        ----------
        relevance : float
            None of them is more relevant.
        most_similar : callable (ndarray of shape (d,)) -> float
            Returns what no inner product of one of them with a vector exceeds.
        """
        return np.inf

    def directions(self) -> list[Vector]:
        """Return what to search for to find, and to bound, what would score best beside the members."""
        return []


class ScoresByGains(Scores):
    """Scores of an objective that is known by its gains alone: all candidates are looked at for each pick."""

    known: Vector
    seen = -1

    def load(self, ids: Rows | None) -> None:
        self.ids, self.loaded = ids, True
        self.base = np.zeros(self.vectors.n if ids is None else len(ids))

    def pool(self) -> Vector:
        if self.seen < len(self.members):
            self.bounds()
        return np.where(
            np.isneginf(self.base), -np.inf, self.known if self.ids is None else self.known[self.ids]
        )

    def bounds(self) -> Vector:
        self.count("passes")
        self.known = np.concatenate(
            [
                self._gains(np.arange(a, min(a + BLOCK, self.vectors.n)))
                for a in range(0, self.vectors.n, BLOCK)
            ]
        )
        self.seen = len(self.members)
        return self.known.copy()

    def slack(self) -> float:
        return 0.0 if self.seen == len(self.members) else np.inf

    def exact(self, ids: Rows) -> Vector:
        if len(ids) > ONE_BY_ONE:
            return self._gains(ids)
        return np.concatenate([self._gains(ids[place : place + 1]) for place in range(len(ids))])

    def lead(self, ids: Rows | None = None) -> Vector:
        return self.bounds() if ids is None else self.exact(ids)

    def _gains(self, ids: Rows) -> Vector:
        """Return the gains of some candidates."""
        rows = self.vectors.rows(ids, np.float64)
        return self.objective.checked_gains(rows, self.relevance.at(ids), self.stack(), ids)


class PoolScores(Scores):
    """Scores from pairwise numbers (distances, similarities or a kernel) of a pool that is held in memory."""

    rows: Floats
    #: What each of `rows` is to be multiplied by to be of unit length; None where they are.
    scale: Floats | None
    #: The pairwise numbers of a small pool, where all were computed at once.
    gram: Floats | None = None

    def load(self, ids: Rows | None) -> None:
        self.ids = ids
        self.loaded = True
        self.gram = None
        if ids is None:
            self._take_all_rows(only_columns=not self.members and self.vectors.n <= SMALL)
        else:
            self.rows, self.scale = self.vectors.rows(ids), None
        values = self.relevance.values
        self.base = (1 - self.t) * (values if ids is None else values[ids])
        self.start_pool()

    def _take_all_rows(self, *, only_columns: bool) -> None:
        """Hold every row; where only columns are asked of them, as given and beside their scale."""
        plain = self.vectors.plain() if only_columns else None
        if plain is None:
            self.rows, self.scale = self.vectors.rows(slice(0, self.vectors.n)), None
        else:
            self.rows, self.scale = plain

    def choose(self, row: int, place: int | None = None) -> None:
        super().choose(row, place)
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

    def first_by_relevance(self) -> bool:
        """Whether the next pick is the first at diversity 1, where scores say nothing: the most relevant."""
        return self.t == 1.0 and not self.members

    def first_pool(self) -> Vector:
        """Return the pool's scores for the first pick."""
        if not self.first_by_relevance():
            return self.base.copy()
        values = self.relevance.values
        return np.where(np.isneginf(self.base), -np.inf, values if self.ids is None else values[self.ids])

    def first_exact(self, ids: Rows) -> Vector:
        """Return what decides the first pick, in float64."""
        return (1.0 if self.first_by_relevance() else 1 - self.t) * self.relevance.at(ids)

    def row_by_row(self, rows: Floats, members: Vector) -> Vector:
        """Return pairwise numbers row by row, so that equal rows get equal numbers wherever they stand.

        Under euclidean they are those of differences of rows, where nothing cancels, and the origin.
        """
        if len(rows) > ONE_BY_ONE:
            return np.asarray(self.between(rows, members), np.float64)
        if self.vectors.metric == "euclidean":
            origin = np.zeros((1, rows.shape[1]))
            return np.stack([np.asarray(self.between(origin, members - row), np.float64)[0] for row in rows])
        return np.concatenate([np.asarray(self.between(row[None], members), np.float64) for row in rows])


class FallingScores(PoolScores):
    """Scores that only fall as the set grows (once it is not empty), so that old ones are bounds."""

    front_until = 0.35

    known: Vector | None = None
    seen = 0

    def bounds(self) -> Vector:
        if self.first_by_relevance():
            return self.relevance.values.copy()
        if self.known is None or self._first_look():
            self.known = (1 - self.t) * self.relevance.values
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
        self._take_all_rows(only_columns=True)
        self.first = self.column(first)
        self.base = (1 - self.t) * self.relevance.values
        return self.after_first(self.base, self.first)

    def take_front(self, ids: Rows) -> None:
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
