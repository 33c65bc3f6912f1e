"""Queries: checked vectors, as many as the caller brought."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.containers import to_numpy


def as_queries(
    queries: Any, d: int, name: str = "queries", *, metric: str | None = None
) -> NDArray[np.float64]:
    """Return one query, or many, as float64 rows, shape (m, d).

    Parameters
    ----------
    queries : array-like of shape (d,) or (m, d)
    d : int
        Their width.
    name : str
        The argument's name in messages; of many queries the bad one is named by its row.
    metric : {"cosine", "euclidean"}, optional
        Under cosine they are made of unit length. None leaves their lengths as they are.

    Raises TypeError: they are not numbers; ValueError: one is of another width than d, has an entry that is
    NaN, Inf or (under euclidean) beyond 1e150, or is zero under cosine.
    """
    array = to_numpy(queries, name, flat=True)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: dtype {array.dtype} cannot be used; pass floats or integers")
    rows = (array[None] if array.ndim == 1 else array).astype(np.float64)
    if rows.ndim != 2 or rows.shape[1] != d:
        raise ValueError(f"{name}: expected {d} numbers as in the vectors' rows, got shape {array.shape}")
    peaks = np.abs(rows).max(axis=1, initial=0.0)

    def refuse(bad: NDArray[np.bool_], why: str) -> None:
        if bad.any():
            raise ValueError(f"{name if len(rows) == 1 else f'{name}[{int(bad.argmax())}]'}: {why}")

    refuse(~np.isfinite(peaks), "has NaN or Inf; pass finite numbers")
    if metric == "euclidean":
        refuse(peaks > 1e150, "has entries beyond 1e150; rescale it and the vectors")
    if metric == "cosine":
        refuse(peaks == 0, "all zero has no direction under cosine; pass another, or metric='euclidean'")
        rows /= peaks[:, None]
        rows /= np.sqrt(np.vecdot(rows, rows))[:, None]
    return rows


def as_query(query: Any, d: int, metric: str) -> NDArray[np.float64]:
    """Return one query as d float64 numbers; see `as_queries`."""
    rows = as_queries(query, d, "query", metric=metric)
    if len(rows) != 1:
        raise ValueError(f"query: expected {d} numbers as in the vectors' rows, got shape {rows.shape}")
    row: NDArray[np.float64] = rows[0]
    return row
