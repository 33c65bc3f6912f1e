"""What the adapters of databases share: checked queries, and answers checked and put into shape."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.containers import as_queries
from setwise.index.base import Found, Ids, Index

#: Vectors that ``sample`` draws.
SAMPLED = 2000

#: Counting scans most databases: a larger count is kept for the life of the index.
COUNT_KEPT = 100_000

#: How far from 1 a length may lie that counts as 1: twice the rounding of half precision.
UNIT = 1e-3


@dataclass(frozen=True, eq=False)
class Hits:
    """What the database answered to one query, best first.

    Attributes
    ----------
    ids : list of int or str
    scores : ndarray of shape (m,), float64
        Cosine of the query with each (cosine), or minus the distance (euclidean), as the database says.
    rows : list of array-like, or ndarray of shape (m, d), or None
        The vectors, where they were asked for.
    """

    ids: list[Any]
    scores: NDArray[np.float64]
    rows: Any = None


class StoreIndex(Index):
    """An index over a table of a database; adapters say how to search it and how to read it.

    Under cosine the database is asked about the direction of a query, which it may rank by cosine or
    by inner product, and the query's length is put back here. ``fetch`` computes scores from the fetched
    vectors in float64, so that a quantised index or half precision changes which rows are found but never
    what they are said to score.

    Attributes
    ----------
    integers : bool
        Whether ids are int64; else they are strings.
    place : str
        What messages call the store: ``collection 'articles'``.
    unit : bool
        Whether stored vectors must have length 1, because the database ranks by inner product.
    timeout : float or None
        Seconds a call may take.
    """

    integers: bool
    place: str
    unit: bool = False
    timeout: float | None = None
    _counted: int | None = None
    _sampled: Found | None = None

    # ------------------------------------------------------------------ what an adapter answers

    @abstractmethod
    def _count(self) -> int:
        """Count the stored vectors."""

    @abstractmethod
    def _find(
        self, queries: NDArray[np.float64], k: int, filter: Any, exclude: list[Any], rows: bool
    ) -> list[Hits]:
        """Search for the k best of each query, which is of unit length under cosine."""

    @abstractmethod
    def _read(self, ids: list[Any], field: str | None) -> Iterable[tuple[Any, Any]]:
        """Return (id, vector), or (id, field), of those ids that are stored, in any order."""

    @abstractmethod
    def _draw(self, count: int) -> tuple[list[Any], list[Any]] | None:
        """Return ids and vectors of about ``count`` rows drawn over the whole store, or None."""

    # ------------------------------------------------------------------ the protocol

    @property
    def size(self) -> int:
        """Number of stored vectors; a count above 100,000 is kept for the life of the index."""
        if self._counted is None:
            count = self._count()
            if count < COUNT_KEPT:
                return count
            self._counted = count
        return self._counted

    def search(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> tuple[NDArray[np.float64], Ids]:
        """Find the k best for each query; see `Index.search`.

        Raises
        ------
        ValueError
            A query or the filter cannot be used, or the store holds an id twice.
        ConnectionError, TimeoutError
            The database does not answer, or not in time.
        """
        rows, lengths = self._directions(queries)
        k = checks.integer("k", k, least=1)
        answers = self._find(rows, k, filter, self.ids_of(exclude), False)
        found = []
        for hits, length in zip(answers, lengths, strict=True):
            self._check_unique(hits.ids)
            bad = np.flatnonzero(~np.isfinite(hits.scores))
            if len(bad):
                raise ValueError(f"{self.place}: {self._no_direction(hits.ids[bad[0]])}")
            order = np.argsort(-hits.scores, kind="stable")
            found.append((self._array(hits.ids)[order], hits.scores[order] * length))
        return self._padded(found, k)

    def fetch(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> list[Found]:
        """Search, and fetch the vectors of what is found, in one round trip; see `Index.fetch`.

        Raises
        ------
        ValueError
            As ``search``; or a stored vector cannot be used, which the message names.
        ConnectionError, TimeoutError
            The database does not answer, or not in time.
        """
        rows, _ = self._directions(queries)
        k = checks.integer("k", k, least=1)
        answers = self._find(rows, k, filter, self.ids_of(exclude), True)
        return self._finish(queries, answers)

    def vectors(self, ids: Sequence[Any] | Ids) -> NDArray[np.float32]:
        """Return stored vectors, float32 of shape (m, d), in the order of the ids.

        Raises
        ------
        KeyError
            An id is not stored, or has no vector; the message names it.
        ValueError
            The store holds an id twice, or a vector that cannot be used.
        ConnectionError, TimeoutError
            The database does not answer, or not in time.
        """
        wanted, known = self._look_up(ids, None)
        return self._matrix(wanted, [known[one] for one in wanted])

    def values(self, ids: Sequence[Any] | Ids, field: str) -> list[Any]:
        """Return a stored field of some vectors, in the order of the ids.

        Raises
        ------
        KeyError
            An id is not stored; the message names it.
        ValueError
            The store has no such field.
        ConnectionError, TimeoutError
            The database does not answer, or not in time.
        """
        wanted, known = self._look_up(ids, field)
        return [known[one] for one in wanted]

    def sample(self) -> Found | None:
        """Return about 2000 vectors drawn over the whole store, scores 0; drawn once and kept."""
        if self._sampled is None:
            drawn = self._draw(SAMPLED)
            if drawn is None or not drawn[0]:
                return None
            ids, rows = drawn
            self._check_unique(ids)
            self._sampled = Found(self._array(ids), np.zeros(len(ids)), self._matrix(ids, rows))
        return self._sampled

    # ------------------------------------------------------------------ questions

    def ids_of(self, ids: Sequence[Any] | Ids, name: str = "exclude") -> list[Any]:
        """Return ids as the store's own kind: ints, or strings.

        Raises
        ------
        TypeError
            An id cannot be one of this store.
        """
        return [self._id(one, name) for one in (ids.tolist() if isinstance(ids, np.ndarray) else ids)]

    def _id(self, one: Any, name: str) -> Any:
        """Return one id as the store's own kind."""
        if self.integers:
            whole = isinstance(one, int | np.integer) and not isinstance(one, bool)
            if whole and -(2**63) <= one < 2**63:
                return int(one)
            raise TypeError(f"{name}: {one!r} is no id of {self.place}, whose ids are integers")
        if isinstance(one, str):
            return str(one)
        raise TypeError(f"{name}: {one!r} is no id of {self.place}, whose ids are strings")

    def _directions(self, queries: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Check queries; return them divided by their lengths under cosine, and those lengths (else 1)."""
        rows = as_queries(queries, self.dim, "query")
        if self.metric != "cosine":
            return rows, np.ones(len(rows))
        unit = as_queries(rows, self.dim, "query", metric="cosine")
        return unit, np.vecdot(rows, unit)

    def _look_up(self, ids: Sequence[Any] | Ids, field: str | None) -> tuple[list[Any], dict[Any, Any]]:
        """Return the ids, and what the store holds for each."""
        try:
            wanted = self.ids_of(ids, "ids")
        except TypeError as error:
            raise KeyError(str(error)) from None
        known: dict[Any, Any] = {}
        for one, value in self._read(list(dict.fromkeys(wanted)), field) if wanted else ():
            if one in known:
                self._check_unique([one, one])
            known[one] = value
        for one in wanted:
            if one not in known:
                raise KeyError(f"ids: {one!r} is not stored in {self.place}, or has no vector")
        return wanted, known

    # ------------------------------------------------------------------ answers

    def _finish(self, queries: NDArray[Any], answers: list[Hits]) -> list[Found]:
        """Turn what the database answered into what the protocol promises."""
        return [
            self._found(query, hits)
            for query, hits in zip(as_queries(queries, self.dim, "query"), answers, strict=True)
        ]

    def _padded(
        self, found: list[tuple[Ids, NDArray[np.float64]]], k: int
    ) -> tuple[NDArray[np.float64], Ids]:
        """Put ids and scores of several queries into tables of width k."""
        scores = np.full((len(found), k), -np.inf)
        ids: Ids = np.full((len(found), k), -1, np.int64) if self.integers else np.full((len(found), k), None)
        for one, (names, values) in enumerate(found):
            ids[one, : len(names)] = names
            scores[one, : len(names)] = values
        return scores, ids

    def _found(self, query: NDArray[np.float64], hits: Hits) -> Found:
        """Check one answer, and score its vectors in float64."""
        self._check_unique(hits.ids)
        rows = self._matrix(hits.ids, hits.rows)
        scores = self._scores(query, rows)
        order = np.argsort(-scores, kind="stable")
        return Found(self._array(hits.ids)[order], scores[order], rows[order])

    def _scores(self, query: NDArray[np.float64], rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score vectors for a query as the protocol defines it."""
        wide = rows.astype(np.float64)
        if self.metric == "cosine":
            return np.asarray((wide @ query) / np.sqrt(np.vecdot(wide, wide)))
        wide -= query
        return np.asarray(-np.sqrt(np.vecdot(wide, wide)))

    def _array(self, ids: list[Any]) -> Ids:
        """Ids as an int64 or object array."""
        if self.integers:
            return np.array(ids, dtype=np.int64)
        array = np.empty(len(ids), dtype=object)
        array[:] = ids
        return array

    def _matrix(self, ids: list[Any], rows: Any) -> NDArray[np.float32]:
        """Stack fetched vectors, and check that they can be used."""
        if len(ids) == 0:
            return np.empty((0, self.dim), np.float32)
        if not isinstance(rows, np.ndarray):
            for one, row in zip(ids, rows, strict=True):
                if np.shape(row) != (self.dim,):
                    raise ValueError(
                        f"{self.place}: the vector of id {one!r} has shape {np.shape(row)}, "
                        f"others have {self.dim} dimensions; filter one width or the other out"
                    )
        matrix = np.asarray(rows, dtype=np.float32)
        squares = np.vecdot(matrix.astype(np.float64), matrix)
        bad = np.flatnonzero(~np.isfinite(squares))
        if len(bad):
            raise ValueError(f"{self.place}: the vector of id {ids[bad[0]]!r} has NaN or Inf; filter it out")
        if self.metric == "cosine" and not squares.all():
            raise ValueError(f"{self.place}: {self._no_direction(ids[int(squares.argmin())])}")
        if self.unit:
            off = np.abs(np.sqrt(squares) - 1)
            worst = int(off.argmax())
            if off[worst] > UNIT:
                length = float(np.sqrt(squares[worst]))
                raise ValueError(
                    f"{self.place}: the vector of id {ids[worst]!r} has length {length:.4g}; "
                    "inner products rank like cosines only where lengths are 1: "
                    "store unit vectors, or use the cosine distance"
                )
        return matrix

    def _check_unique(self, ids: list[Any]) -> None:
        """Refuse an id that came up twice."""
        if len(set(ids)) < len(ids):
            seen: set[Any] = set()
            for one in ids:
                if one in seen:
                    raise ValueError(f"{self.place}: id {one!r} is stored twice; ids must be unique")
                seen.add(one)

    @staticmethod
    def _no_direction(one: Any) -> str:
        return f"the vector of id {one!r} is all zero and has no direction under cosine; filter it out"
