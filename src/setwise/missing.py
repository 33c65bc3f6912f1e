"""Vectors that cannot be used, and the one policy for them wherever vectors come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks, frames
from setwise.containers import as_matrix, to_numpy
from setwise.ids import as_list

#: What may be done with a candidate whose vector or score cannot be used: refuse it; leave it out, with a
#: warning; or place it after those chosen, while there are fewer than k.
MISSING = ("raise", "drop", "append")

#: Other words for them, such as those of the frameworks.
_SYNONYMS = {"error": "raise", "warn": "drop"}

#: Bytes of rows that are looked at at once.
_BLOCK = 1 << 22


def check_missing(missing: Any, allowed: Sequence[str] = MISSING) -> str:
    """Return a policy's name; "error" is "raise", and "warn" is "drop".

    Raises TypeError: it is no string; ValueError: it is unknown, or not among those allowed.
    """
    known = _SYNONYMS.get(missing, missing) if isinstance(missing, str) else missing
    if known == "append" and "append" not in allowed:
        raise ValueError(
            "missing: an index cannot append what no search finds; pass 'drop', or append to the result"
        )
    return checks.choice("missing", known, allowed)


def unusable(rows: NDArray[Any], metric: str) -> NDArray[np.bool_]:
    """Return which rows have NaN or Inf or, under cosine, no direction, shape (n,)."""
    found = np.zeros(len(rows), np.bool_)
    step = max(1, _BLOCK // max(1, rows.shape[1] * 8))
    for start in range(0, len(rows), step):
        block = np.asarray(rows[start : start + step], np.float64)
        found[start : start + step] = ~np.isfinite(block).all(axis=1)
        if metric == "cosine":
            found[start : start + step] |= ~block.any(axis=1)
    return found


def matrix_with_gaps(data: Any, name: str = "vectors") -> NDArray[Any]:
    """Return what `as_matrix` does, with rows of NaN for those that are null, or not as long as most.

    Raises TypeError, ValueError: as `as_matrix`, for what is wrong with other than single rows.
    """
    try:
        return as_matrix(data, name)
    except ValueError:
        held = data if frames.kind_of(data, name) is None else frames.vectors_in(data, name)
        if held is None:  # all columns are numbers
            columns = [frames.column(data, one, name) for one in frames.column_names(data)]
            held = np.column_stack([listed_numbers(one) for one in columns])
        rows = [_row_or_none(item, f"{name}: row {row}") for row, item in enumerate(as_list(held))]
        widths = Counter(len(row) for row in rows if row is not None and len(row))
        if not widths:
            raise
    width = widths.most_common(1)[0][0]
    gap = np.full(width, np.nan, np.float32)
    return as_matrix([gap if row is None or len(row) != width else row for row in rows], name)


def _row_or_none(item: Any, place: str) -> NDArray[Any] | None:
    """Return a row as an array; None where it is null, or an entry is."""
    try:
        row = None if checks.is_null(item) else to_numpy(item, place, flat=True)
    except ValueError:
        return None
    return row if row is not None and row.ndim == 1 else None


class Usable:
    """Candidates, and which of them cannot be used.

    Parameters
    ----------
    vectors : array-like of shape (n, d)
    relevance : array-like of shape (n,), optional
        One that is None or NaN cannot be used.
    metric : {"cosine", "euclidean"}
    missing : {"drop", "append"}
    include, exclude : sequence of int
        Rows that must be chosen, and that may not, usable or not.

    Attributes
    ----------
    vectors : ndarray of shape (n, d)
    relevance : ndarray of shape (n,), float64, or None
        -inf, which is never selected, where it cannot be used.
    barred : ndarray of int64
        Rows that may not be chosen: those excluded, and those that cannot be used.
    left : ndarray of int64
        Rows to append; none where they are to be dropped.

    Raises TypeError: they are no numbers; ValueError: no row can be used, or not one that must be chosen.

    Warns
    -----
    UserWarning
        Rows are dropped.
    """

    def __init__(
        self,
        vectors: Any,
        relevance: Any,
        metric: str,
        missing: str,
        include: Sequence[int] | NDArray[Any] = (),
        exclude: Sequence[int] | NDArray[Any] = (),
    ) -> None:
        self.vectors = matrix_with_gaps(vectors)
        bad = unusable(self.vectors, metric)
        self.relevance: NDArray[np.float64] | None = None
        if relevance is not None:
            listed = listed_numbers(relevance)
            self.relevance = np.array(to_numpy(listed, "relevance", flat=True), np.float64)
            if self.relevance.shape == bad.shape:  # else it is refused where it is checked
                bad |= np.isnan(self.relevance)
                self.relevance[bad] = -np.inf
        lost = np.flatnonzero(bad)
        excluded = np.asarray(exclude, np.int64).reshape(-1)
        self.barred = np.union1d(excluded, lost)
        drop = check_missing(missing) == "drop"
        self.left = lost[:0] if drop else np.setdiff1d(lost, excluded)
        if len(lost) == len(bad):
            raise ValueError(
                f"vectors: none of the {len(bad)} candidates can be used (the first {self._why(0)})"
            )
        for row in np.asarray(include, np.int64).reshape(-1).tolist():
            if row in lost:
                raise ValueError(f"include: row {row} cannot be used, it {self._why(row)}")
        if len(lost) and drop:
            rows = (
                f"{len(lost)} candidates cannot be used and are"
                if len(lost) > 1
                else "1 candidate cannot be used and is"
            )
            checks.warn(f"vectors: {rows} left out (row {lost[0]} {self._why(int(lost[0]))})")

    def most(self, k: int | None, wishes: Sequence[str] = ()) -> int | None:
        """Return how many to choose of those that can be used, where others follow: at most all.

        Raises ValueError: others follow, and there are wishes, which they might not keep.
        """
        if not len(self.left):
            return k
        if wishes or k is None:
            raise ValueError(f"missing: those appended need not keep {wishes[0]}; pass missing='drop'")
        return min(k, len(self.vectors) - len(self.barred))

    def _why(self, row: int) -> str:
        """Return why a row cannot be used."""
        return _reason(np.asarray(self.vectors[row]), "cosine", self.vectors.shape[1]) or "has no relevance"


def listed_numbers(values: Any) -> Any:
    """Return a sequence or a column of numbers as a list, NaN for null; arrays and tables as they are."""
    dtype = getattr(values, "dtype", None)
    numbers = getattr(dtype, "kind", "O") != "O" and not hasattr(dtype, "pyarrow_dtype")
    if (numbers and not isinstance(values, np.ma.MaskedArray)) or getattr(values, "ndim", 1) != 1:
        return values
    plain = isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__")
    return values if plain else [np.nan if checks.is_null(one) else one for one in as_list(values)]


def reasons(vectors: Sequence[Any], metric: str = "cosine", d: int | None = None) -> list[str | None]:
    """Return why each vector cannot be used, None where it can.

    Parameters
    ----------
    vectors : sequence of array-like
        None for one that is not there.
    metric : {"cosine", "euclidean"}
        Under cosine a vector of zeros has no direction.
    d : int, optional
        The width they need; by default that of most of them.
    """
    rows = [None if vector is None else np.asarray(vector) for vector in vectors]
    if d is None:
        widths = Counter(row.size for row in rows if row is not None and row.size)
        d = widths.most_common(1)[0][0] if widths else 0
    return [_reason(row, metric, d) for row in rows]


def _reason(row: NDArray[Any] | None, metric: str, d: int) -> str | None:
    """Return why one vector cannot be used."""
    if row is None:
        return "is missing"
    if row.size == 0:
        return "is empty"
    if row.dtype.kind not in "fiu":
        return None  # what is no number is an error of its own
    if row.shape != (d,):
        return f"has shape {row.shape} where others have {(d,)}"
    if not np.isfinite(row).all():
        return "has NaN or Inf"
    if metric == "cosine" and not row.any():
        return "is all zero"
    return None
