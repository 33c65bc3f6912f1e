"""What an index promises, compared with what it returns: a certificate rests on nothing that is only said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.ids import as_ids
from setwise.index.base import Found, Ids, Index
from setwise.index.checking import CLOSE, compare, first_line, scale_of, scores_of, squares_of

#: What a score computed in single precision may be off by, relative to the length of the query; under
#: euclidean, relative to the distance.
ROUNDING, FAR_ROUNDING = 5e-6, 1e-5

#: How far, relatively, the numbers of a vector may be apart that is read twice and has not been changed.
SAME = 1e-5


class Moved(ValueError):
    """Two answers of an index do not fit together: it was written to between them, or breaks its promise.

    Parameters
    ----------
    row : (id, vector), optional
        What one answer had and the other lacks.
    """

    def __init__(self, message: str, row: tuple[Any, NDArray[Any]] | None = None) -> None:
        super().__init__(message)
        self.row = row


def has_moved(index: Index, found: Moved) -> bool:
    """Return whether an index may have been written to: what it left out is gone, or has changed."""
    if found.row is None:
        return True
    one, vector = found.row
    try:
        return not np.allclose(index.vectors([one])[0], vector, rtol=1e-6)
    except LookupError:
        return True


def is_known(index: Index) -> bool:
    """Return whether an index is one of setwise's own, whose tests compare its searches with scans."""
    return type(index).__module__.partition(".")[0] == __name__.partition(".")[0]


def sampled(index: Index, count: int) -> Found | None:
    """Return vectors drawn over an index; of one that is not setwise's own, looked up again.

    Raises
    ------
    Moved
        One is not stored, or with another vector.
    TypeError, ValueError
        It is no `Found`; a vector cannot be compared.
    """
    name, drawn = type(index).__name__, index.sample(count)
    if drawn is None:
        return None
    drawn = as_found(f"{name}.sample", drawn)
    check_vectors(name, drawn.ids, drawn.vectors, index.dim, index.metric)
    if is_known(index) or len(drawn) == 0:
        return drawn
    try:
        stored = np.asarray(index.vectors(drawn.ids))
    except LookupError as error:
        told = error.args[0] if error.args else "an id is gone"
        raise Moved(f"index: {name}.sample drew what {name}.vectors has not: {told}") from None
    check_vectors(name, drawn.ids, stored, index.dim, index.metric)
    other = are_other(drawn.vectors, stored)
    if other.any():
        one = _said(drawn.ids, int(other.argmax()))
        raise Moved(f"index: {name}.sample drew id {one} with another vector than {name}.vectors has")
    return drawn


def are_other(rows: NDArray[Any], before: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which of some vectors are not what they were before, rounding aside."""
    return np.asarray(np.abs(rows - before).max(axis=1) > SAME * np.abs(before).max(axis=1))


def as_found(name: str, answer: Any) -> Found:
    """Return an index's answer with arrays for lists, and its vectors in single or double precision.

    Raises TypeError, ValueError: it is no `Found`; ids, scores or vectors cannot be read as such; its floor
    is NaN.
    """
    if not isinstance(answer, Found):
        raise TypeError(f"index: {name} answered with {type(answer).__name__} instead of a Found")
    ids, vectors = answer.ids, answer.vectors
    try:
        if not (isinstance(ids, np.ndarray) and ids.ndim == 1 and ids.dtype.kind in "iuUO"):
            ids = as_ids(ids)
        scores = np.asarray(answer.scores, np.float64)
        vectors = np.asarray(vectors)
        wide = vectors.dtype.itemsize > 8 or vectors.dtype.kind not in "fiu"
        dtype = np.float64 if wide else np.result_type(vectors, np.float32)
        vectors = vectors.astype(dtype, copy=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"index: {name} answered with {first_line(error)}") from None
    if answer.floor is not None and answer.floor != answer.floor:
        raise ValueError(f"index: {name} answered with a floor that is NaN; leave it out where none is known")
    return replace(answer, ids=ids, scores=scores, vectors=vectors)


def checked(
    index: Index,
    queries: NDArray[np.float64],
    asked: int,
    answers: Any,
    *,
    filter: Any = None,
    exclude: Ids,
    exact: bool,
    held: int,
) -> list[Found]:
    """Return what `Index.fetch` returned, each with its floor, if it keeps to the protocol.

    Parameters
    ----------
    queries : ndarray of shape (m, d), float64
    asked : int
        How many were asked for, of each.
    answers : iterable of Found
    filter, exclude
        As they were passed to ``fetch``.
    exact : bool
        Whether it is held to what it says of exact searches.
    held : int
        How many it held before; those added since may be found or not.

    Returns
    -------
    list of Found
        ``floor`` is a number: what nothing that was not returned scores more than, rounding included.

    Raises TypeError: there are no answers, or one is no `Found`; ValueError: there are not as many answers as
    queries; one has more than was asked for, an id twice or an excluded one; a score is NaN, infinite or
    above the one before; a vector is of another width than the queries, not finite, or zero under cosine. Of
    an index that says its searches are exact: a score is not the vector's, or fewer came than the index
    holds.
    """
    name = type(index).__name__
    if not isinstance(answers, Iterable):
        raise TypeError(f"index: {name} answered with {type(answers).__name__} instead of a Found a query")
    answers = [as_found(name, answer) for answer in answers]
    if len(answers) != len(queries):
        raise ValueError(f"index: {name} gave {len(answers)} answers to {len(queries)} queries")
    barred = set(exclude.tolist())
    found = []
    for query, answer in zip(queries, answers, strict=True):
        _check_ids(name, answer, asked, barred)
        check_vectors(name, answer.ids, answer.vectors, index.dim, index.metric)
        _check_order(name, answer)
        off = 0.0
        if exact:
            true = scores_of(query, answer.vectors, index.metric, dtype=answer.vectors.dtype)
            most = CLOSE * scale_of(query, answer.vectors, index.metric)
            who, mend = f"index: {name} is exact, it says, and", ""
            if is_known(index):  # one that measures its rows when it is made
                who, mend = f"index: {name}", "; rows that were changed in place need an index made anew"
            off = compare(who, answer.ids, answer.scores, true, most, mend)
        if exact and filter is None and len(answer) < asked:
            there = min(held, index.counted(asked + len(barred))) - len(barred)
            if len(answer) + answer.left_out < there:
                raise Moved(
                    f"index: {name} says that its searches are exact, and returned {len(answer)} of {asked} "
                    f"asked for, though it holds at least {there}"
                )
        found.append(replace(answer, floor=_floor(query, answer, index.metric, off)))
    return found


def check_vectors(name: str, ids: Ids, vectors: NDArray[Any], dim: int, metric: str) -> None:
    """Refuse an index's vectors that cannot be compared.

    Raises ValueError: they are not one of this width for each id, not finite, or one is zero under cosine;
    the id is named.
    """
    if np.shape(vectors) != (len(ids), dim):
        raise ValueError(
            f"index: {name} returned vectors of shape {np.shape(vectors)} for {len(ids)} ids, expected "
            f"{(len(ids), dim)}"
        )
    squares = squares_of(vectors)
    fine = np.isfinite(squares) & ((squares > 0.0) | (metric != "cosine"))
    if not fine.all():
        place = int(fine.argmin())
        what = "is all zero and has no direction" if np.isfinite(squares[place]) else "has NaN or Inf"
        raise ValueError(f"index: vector {_said(ids, place)} of {name} {what}; delete it or store it anew")


def _check_ids(name: str, answer: Found, asked: int, barred: set[Any]) -> None:
    """Refuse ids that are too many, come twice or were excluded."""
    ids = answer.ids.tolist()
    if len(ids) > asked:
        raise ValueError(f"index: {name} returned {len(ids)} where {asked} were asked for")
    if len(set(ids)) < len(ids):
        twice = next(one for place, one in enumerate(ids) if one in ids[:place])
        raise ValueError(f"index: {name} returned id {twice!r} twice")
    kinds = set(map(type, ids))
    if type(None) in kinds or (str in kinds and len(kinds) > 1):
        one = next(one for one in ids if one is None or not isinstance(one, str))
        raise ValueError(f"index: {name} returned id {one!r} where ids are all integers, or all strings")
    for one in ids if barred else ():
        if one in barred:
            raise ValueError(f"index: {name} returned id {one!r}, an excluded one")


def _check_order(name: str, answer: Found) -> None:
    """Refuse scores that are no numbers, or do not fall."""
    scores = answer.scores
    if np.shape(scores) != (len(answer),):
        raise ValueError(f"index: {name} returned {np.shape(scores)} scores for {len(answer)} ids")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        place = int(bad[0])
        raise ValueError(f"index: {name} gave id {_said(answer.ids, place)} the score {scores[place]}")
    rising = np.flatnonzero(scores[1:] > scores[:-1])
    if len(rising):
        place = int(rising[0]) + 1
        raise ValueError(
            f"index: {name} returned id {_said(answer.ids, place)} with the score {scores[place]:.6g} after "
            f"one with {scores[place - 1]:.6g}; the best must come first"
        )


def _floor(query: NDArray[np.float64], answer: Found, metric: str, off: float) -> float:
    """Return what nothing that was not returned scores more than."""
    if len(answer) == 0:
        return -np.inf
    last = float(answer.scores[-1]) if answer.floor is None else float(answer.floor)
    length = float(np.sqrt(query @ query))
    if metric == "cosine":
        return last + ROUNDING * length + 2 * off
    return last + FAR_ROUNDING * abs(last) + 1.2e-7 * length + 2 * off


def _said(ids: Ids, place: int) -> str:
    """Return an id as messages have it."""
    return repr(ids.tolist()[place])
