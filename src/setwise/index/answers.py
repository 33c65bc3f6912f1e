"""What databases answer: checked, and scored in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.ids import as_ids
from setwise.index.base import Found, Ids
from setwise.index.checking import UNIT, check_unit, compare, scale_of, scores_of
from setwise.missing import reasons
from setwise.queries import as_queries


@dataclass(frozen=True, eq=False)
class Reply:
    """What the database answered to one query, best first.

    Attributes
    ----------
    ids : list of int or str
    scores : ndarray of shape (m,), float64
        Cosine of the query with each (cosine), or minus the distance (euclidean), as the database says.
    vectors : list of array-like, or ndarray of shape (m, d), or None
        Where they were asked for.
    """

    ids: list[Any]
    scores: NDArray[np.float64]
    vectors: Any = None


class Answers:
    """What a store does with answers; it says what they are about, as `StoreIndex` has it."""

    place: str
    dim: int
    metric: str
    ids: str
    exact: bool
    unit: bool
    missing: str

    def _unusable(self, answers: list[Reply]) -> dict[Any, str]:
        """Return the ids of found vectors that cannot be used, each with why; none if they are refused."""
        if self.missing == "raise":
            return {}
        return {
            one: why
            for answer in answers
            for one, why in zip(answer.ids, reasons(answer.vectors, self.metric, self.dim), strict=True)
            if why is not None
        }

    def _tell_of(self, lost: Mapping[Any, str]) -> None:
        """Warn of vectors that are left out, if there are any."""
        if lost:
            first, why = next(iter(lost.items()))
            checks.warn(
                f"{self.place}: {len(lost)} vectors cannot be used and are left out (the first: id {first!r} "
                f"{why}); missing='raise' refuses them"
            )

    def _finish(self, queries: NDArray[Any], answers: list[Reply]) -> list[Found]:
        """Turn what the database answered into what the protocol promises."""
        return [
            self._found(query, answer)
            for query, answer in zip(as_queries(queries, self.dim, "query"), answers, strict=True)
        ]

    def _padded(
        self, found: list[tuple[Ids, NDArray[np.float64]]], k: int
    ) -> tuple[NDArray[np.float64], Ids]:
        """Put ids and scores of several queries into tables of width k."""
        scores = np.full((len(found), k), -np.inf)
        whole = self.ids == "integers" and all(names.dtype != object for names, _ in found)
        ids: Ids = np.full((len(found), k), -1, np.int64) if whole else np.full((len(found), k), None)
        for one, (names, values) in enumerate(found):
            ids[one, : len(names)] = names
            scores[one, : len(names)] = values
        return scores, ids

    def _found(self, query: NDArray[np.float64], answer: Reply) -> Found:
        """Check one answer, and score its vectors in float64; an exact database ranks by those scores."""
        self._check_ids(answer.ids)
        rows = self._matrix(answer.ids, answer.vectors)
        scores = scores_of(query, rows, self.metric)
        floor: float | None = None
        if self.exact and len(rows):
            told = answer.scores * (float(np.sqrt(query @ query)) if self.metric == "cosine" else 1.0)
            most = UNIT * scale_of(query, rows, self.metric)
            mend = "; an exact index ranks by that, and one that does not is made with exact=False"
            off = compare(f"{self.place}: the database", answer.ids, told, scores, most, mend)
            floor = float(told.min()) + off  # it ranks by what it says, and may be off so much elsewhere
        order = np.argsort(-scores, kind="stable")
        return Found(self._array(answer.ids)[order], scores[order], rows[order], floor)

    def _array(self, ids: list[Any]) -> Ids:
        """Ids as an int64 array, or an object array of strings or of integers beyond that."""
        if self.ids == "integers":
            return as_ids(ids)
        array = np.empty(len(ids), dtype=object)
        array[:] = ids
        return array

    def _matrix(self, ids: list[Any], rows: Any) -> NDArray[Any]:
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
        double = getattr(rows[0], "dtype", None) == np.float64
        matrix = np.asarray(rows, dtype=np.float64 if double else np.float32)
        squares = np.vecdot(matrix.astype(np.float64), matrix)
        bad = np.flatnonzero(~np.isfinite(squares))
        if len(bad):
            raise ValueError(f"{self.place}: the vector of id {ids[bad[0]]!r} has NaN or Inf; filter it out")
        if self.metric == "cosine" and not squares.all():
            raise ValueError(f"{self.place}: {self._no_direction(ids[int(squares.argmin())])}")
        if self.unit:
            check_unit(np.sqrt(squares), ids, self.place)
        return matrix

    def _check_ids(self, ids: list[Any]) -> None:
        """Refuse a row without an id, and an id that came up twice."""
        if None in ids:
            raise ValueError(f"{self.place}: a row has a vector and no id; give it one, or filter it out")
        if len(set(ids)) < len(ids):
            twice = next(one for place, one in enumerate(ids) if one in ids[:place])
            raise ValueError(f"{self.place}: id {twice!r} is stored twice; ids must be unique")

    @staticmethod
    def _no_direction(one: Any) -> str:
        return f"the vector of id {one!r} is all zero and has no direction under cosine; filter it out"
