"""Checks that adapters share: queries, row numbers, widths and unit length."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from setwise import checks
from setwise.ids import as_ids, counts_rows, in_order_of, listed_beside
from setwise.vectors import check_metric

#: How far from 1 a length may lie that counts as 1: twice the rounding of half precision.
UNIT = 1e-3

#: How far a score may be from that of the vector before one of the two is taken for wrong, relative to the
#: length of the query (and, under euclidean, of the vector).
CLOSE = 1e-4

Checked = TypeVar("Checked")


def as_whole(ids: Any, name: str) -> NDArray[np.int64]:
    """Return ids as int64 of shape (m,). Raises TypeError: one is no whole number."""
    rows = np.asanyarray(ids if hasattr(ids, "__len__") else list(ids))  # a masked array stays one
    if rows.size == 0:
        return np.empty(0, np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iuO":
        raise TypeError(f"{name}: expected row numbers, got {rows.dtype} of shape {rows.shape}")
    found = as_ids(rows, name)
    if found.dtype == object:
        raise TypeError(f"{name}: expected row numbers, got {found.tolist()[0]!r}")
    return found


def as_positions(
    ids: Any, size: int, name: str, *, missing: type[Exception] = ValueError
) -> NDArray[np.int64]:
    """Return row numbers as int64, all of them rows there are.

    Raises TypeError: one is no whole number; ValueError (or `missing`): one is negative, or not below
    ``size``.
    """
    rows = as_whole(ids, name)
    bad = np.flatnonzero((rows < 0) | (rows >= size))
    if len(bad):
        raise missing(f"{name}: {rows[bad[0]]} is not one of the {size} rows")
    return rows


def as_mask(filter: Any, ids: Callable[[], Any], size: int, beside: Any = None) -> NDArray[np.bool_] | None:
    """Return a filter that is a mask in the order of an index's rows, shape (n,); None for any other.

    Parameters
    ----------
    filter : object
        Of a pandas column the labels say which ids it is for.
    ids : callable
        Returns those of all rows, as an array.
    size : int
        How many rows there are.
    beside : object, optional
        The frame that the rows came in.

    Raises TypeError: it is a masked array; ValueError: it is a mask of another length, lacks an id, or is
    neither True nor False somewhere.
    """
    if getattr(getattr(filter, "dtype", None), "kind", "") == "b" and hasattr(filter, "iloc"):
        filter = listed_beside(filter, beside, "filter")
        if hasattr(filter, "iloc") and not counts_rows(filter.index, len(filter)):
            filter = in_order_of(filter, ids(), "filter")
    if isinstance(filter, np.ma.MaskedArray):
        raise TypeError("filter: masked arrays cannot be used; fill the masked entries")
    values = np.asarray(filter)
    if values.dtype == object and values.ndim and any(map(_is_bool, values.flat)):
        for row, one in enumerate(values.flat):
            if not _is_bool(one):
                raise ValueError(f"filter: row {row} is {checks.brief(one, 40)}, neither True nor False")
        values = values.astype(np.bool_)
    if values.dtype != np.bool_:
        return None
    if values.shape != (size,):
        raise ValueError(f"filter: expected a mask of {size} rows, got shape {values.shape}")
    return values


def _is_bool(one: Any) -> bool:
    return isinstance(one, bool | np.bool_)


def narrowed(raw: NDArray[Any], dtype: DTypeLike, *, first: int = 0) -> Iterator[NDArray[Any]]:
    """Yield rows in another floating type, block by block.

    Parameters
    ----------
    raw : ndarray of shape (n, d)
    dtype : dtype
    first : int
        Number of the first row, for messages.

    Raises ValueError: a finite number is beyond what the type can hold.
    """
    for start in range(0, len(raw), 16_384):
        block = raw[start : start + 16_384]
        with np.errstate(over="ignore"):
            found = block.astype(dtype)
        lost = np.isinf(found) & np.isfinite(block)
        if lost.any():
            row = first + start + int(np.flatnonzero(lost.any(axis=1))[0])
            raise ValueError(f"storage: row {row} has a number beyond what {found.dtype} holds")
        yield found


def check_unit(
    lengths: NDArray[Any], ids: Sequence[Any] | NDArray[Any], place: str, *, tolerance: float = UNIT
) -> None:
    """Refuse vectors whose length is not 1, from a store that ranks by inner product.

    Raises ValueError: a length is further from 1 than the tolerance: the id, the length and the mend.
    """
    off = np.abs(np.asarray(lengths, np.float64) - 1.0)
    if len(off) and not off.max() <= tolerance:
        worst = int(np.nan_to_num(off, nan=np.inf).argmax())
        one = ids.tolist()[worst] if isinstance(ids, np.ndarray) else ids[worst]
        raise ValueError(
            f"{place}: the vector of id {one!r} has length {float(lengths[worst]):.4g}, and inner "
            "products rank like cosines only where lengths are 1: store unit vectors, or rank by cosine"
        )


def scores_of(
    query: NDArray[np.float64], vectors: NDArray[Any], metric: str, *, dtype: DTypeLike = np.float64
) -> NDArray[np.float64]:
    """Return vectors' scores for a query, as `Index.search` defines them.

    Parameters
    ----------
    query : ndarray of shape (d,), float64
        Of any length.
    vectors : ndarray of shape (m, d)
        Of any length; not zero under cosine.
    metric : {"cosine", "euclidean"}
    dtype : {float64, float32}
        What is computed in.

    Returns
    -------
    ndarray of shape (m,), float64
        Inner products with the unit vectors, or minus distances.
    """
    rows, probe = np.asarray(vectors, dtype), query.astype(dtype)
    if metric != "cosine":
        rows = rows - probe
        return np.asarray(-np.sqrt(squares_of(rows)), np.float64)
    squares = squares_of(rows)
    if squares.dtype != rows.dtype:  # too short or too long for it
        rows, probe = rows.astype(np.float64), query
    return np.asarray((rows @ probe) / np.sqrt(squares), np.float64)


def squares_of(vectors: NDArray[Any]) -> NDArray[Any]:
    """Return the squares of vectors' lengths; in float64 where single precision cannot hold them."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares: NDArray[Any] = np.vecdot(vectors, vectors)
    if len(squares) and not (squares.min() > 1e-30 and squares.max() < 1e30):
        wide = np.asarray(vectors, np.float64)
        squares = np.vecdot(wide, wide)
    return squares


def scale_of(query: NDArray[np.float64], vectors: NDArray[Any], metric: str) -> float:
    """Return what scores are rounded by: the query's length and, under euclidean, that of a vector."""
    length = float(np.sqrt(query @ query))
    return length if metric == "cosine" else length + float(np.sqrt(squares_of(vectors).max(initial=0.0)))


def compare(
    who: str,
    ids: Sequence[Any] | NDArray[Any],
    told: NDArray[np.float64],
    true: NDArray[np.float64],
    most: float,
    mend: str = "",
) -> float:
    """Return how far scores are at most from those of the vectors; refuse them where that is too far.

    Parameters
    ----------
    who : str
        Says the scores, in the message: ``index: FAISS``.
    ids : sequence
    told, true : ndarrays of shape (m,)
        What was said, and what the vectors have.
    most : float
        How far is too far.
    mend : str
        The end of the message.

    Raises
    ------
    ValueError
        A score is further from its vector's than ``most``: the id and both are named.
    """
    off = np.abs(told - true)
    if len(off) == 0:
        return 0.0
    if not off.max() <= most:
        worst = int(np.nan_to_num(off, nan=np.inf).argmax())
        one = ids.tolist()[worst] if isinstance(ids, np.ndarray) else ids[worst]
        raise ValueError(f"{who} scores id {one!r} {told[worst]:.6g}, its vector has {true[worst]:.6g}{mend}")
    return float(off.max())


@contextmanager
def within(seconds: float | None, interrupt: Callable[[], object]) -> Iterator[None]:
    """Context that calls ``interrupt`` where what is done in it takes longer than so many seconds."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def optional(check: Callable[..., Checked], name: str, value: Any, **limits: Any) -> Checked | None:
    """Return a checked value, or None where none was given."""
    return None if value is None else check(name, value, **limits)


def first_line(error: BaseException) -> str:
    """Return the first line of a store's message, or the name of the error."""
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


def ranked_by(name: str, given: str | None, ways: Mapping[str, str], metric: str) -> str:
    """Return what a database is to rank by: what was given, or the metric's first way.

    Parameters
    ----------
    name : str
        Of the argument.
    given : str, optional
    ways : mapping of str to str
        What the database knows, and the metric of each.
    metric : {"cosine", "euclidean"}

    Raises TypeError: the metric or the way is no string; ValueError: one of them is unknown, or the way is of
    the other metric.
    """
    check_metric(metric)
    if given is None:
        return next(way for way, ranks in ways.items() if ranks == metric)
    if ways[checks.choice(name, given, ways)] != metric:
        raise ValueError(f"{name}: {given} ranks by {ways[given]}, not {metric}")
    return given
