"""Items: vectors in clusters, with a quality and an id each; ids checked, and looked up in others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks, frames
from setwise.cluster import Clusters
from setwise.containers import to_numpy
from setwise.files.kinds import ID_COLUMNS, called
from setwise.ids import (
    among,
    as_ids,
    check_ordered,
    counts_rows,
    in_rows_of,
    listed_ids,
    named_rows,
    same_rows,
)
from setwise.relevance import or_never
from setwise.vectors import Vectors


@dataclass(frozen=True, eq=False)
class Items:
    """All that a catalog holds. Nothing of it is changed: what changes a catalog makes others.

    Attributes
    ----------
    quality : ndarray of shape (n,), float64
        At least 0, or -inf for an item that is never selected.
    ids : ndarray of shape (n,)
    fields : pyarrow.Table, optional
        Columns that are kept beside, a row an item: names, categories.
    """

    vectors: Vectors
    quality: NDArray[np.float64]
    clusters: Clusters
    ids: NDArray[Any]
    fields: Any = None

    def __len__(self) -> int:
        return self.vectors.n

    def among(self, rows: NDArray[np.int64]) -> Items:
        """Return the items of ascending rows; clusters without one are left out, and no vector is read."""
        clusters, labels = self.clusters, self.clusters.labels[rows]
        filled = np.bincount(labels, minlength=len(clusters)) > 0
        some = replace(
            clusters,
            centroids=clusters.centroids[filled],
            labels=(np.cumsum(filled) - 1).astype(np.int32)[labels],
            radii=clusters.radii[filled],
            joint=None if clusters.joint is None else clusters.joint[filled],
        )
        return Items(self.vectors.restricted(rows), self.quality[rows], some, self.ids[rows])


def as_quality(quality: Any, n: int, *, never: bool = True) -> NDArray[np.float64]:
    """Return n qualities: numbers of at least 0, or -inf for never.

    Parameters
    ----------
    quality : array-like of shape (n,)
    never : bool
        Whether -inf is taken.

    Raises TypeError: they are no numbers; ValueError: another number of them than n, or one that is finite
    and below 0, NaN or plus infinity: the first such row.
    """
    values, barred = or_never(quality, n, "quality")
    if len(barred) and not never:
        raise ValueError(f"quality: row {barred[0]} is Inf; drop the item or pass an imputed number")
    low = np.flatnonzero(values < 0.0)
    if len(low):
        raise ValueError(
            f"quality: row {low[0]} is {values[low[0]]:.4g}; it must be at least 0: shift or clip it"
        )
    values[barred] = -np.inf
    return values


def spread(quality: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return qualities that are all finite: 0 in place of never."""
    return np.where(np.isneginf(quality), 0.0, quality)


def by_id(
    values: Any, ids: NDArray[Any], name: str, keys: Any = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the number of each item, joined by id, and which items have one (others have 0).

    Parameters
    ----------
    values : mapping, pandas Series, frame, or array-like of shape (m,)
        By id, by the index of the Series, by the frame's column of ids, or by ``keys``; -inf is never.
    ids : ndarray of shape (n,)
        The catalog's.
    name : str
        Of the argument.
    keys : sequence of length m, optional

    Raises KeyError: an id is not in the catalog; TypeError: ids of another kind than the catalog's, or values
    that are no numbers; ValueError: an id is named twice, a value is NaN or plus infinity, or there are not
    as many values as ids.
    """
    if isinstance(values, Mapping):
        keys, values = list(values), list(values.values())
    elif frames.kind_of(values, name) is not None:
        keys, values = _id_and_value(values, name)
    elif keys is None:
        keys, values = values.index.tolist(), values.to_numpy()
    names = as_names(keys, len(listed_ids(keys)))
    with named_rows(names):
        numbers, never = or_never(values, len(names), name) if len(names) else (np.empty(0), np.empty(0, int))
    numbers[never] = -np.inf
    rows_of(names, ids)  # all of them are there, and of the same kind
    own = {one: row for row, one in enumerate(ids.tolist())}
    rows = np.fromiter((own[one] for one in names.tolist()), np.int64, len(names))
    found, given = np.zeros(len(ids)), np.zeros(len(ids), np.bool_)
    found[rows], given[rows] = numbers, True
    return found, given


def _id_and_value(frame: Any, name: str) -> tuple[list[Any], Any]:
    """Return a frame's ids, and its numbers: the column of that name, or the only other one.

    Raises ValueError: it has no column of ids of a usual name, or several others and none is called so.
    """
    columns = frames.column_names(frame)
    id = next(iter(called(columns, ID_COLUMNS)), None)
    others = [one for one in columns if one != id]
    value = name if name in others else others[0] if len(others) == 1 else None
    if id is None or value is None:
        what = "no column of ids (id, _id, …)" if id is None else f"several columns beside {id!r}"
        raise ValueError(
            f"{name}: the frame has {what}; pass a Series whose index is the ids, or a mapping from ids"
        )
    keys, values = frames.column(frame, id, name), frames.column(frame, value, name)
    return as_ids(keys).tolist(), values


def of_frame(frame: Any, quality: Any, ids: Any) -> tuple[Any, Any]:
    """Return the qualities of a frame's rows, and their ids: from columns that are named or called so.

    A column of ids of a usual name that cannot be used is warned of, and rows are numbered.

    Parameters
    ----------
    frame : frame
        Of any kind.
    quality : str or object
        A column's name; anything else is returned, a pandas column in the order of a pandas frame's rows.
    ids : str, sequence or None

    Raises ValueError: there is no such column.
    """
    if isinstance(quality, str):
        quality = to_numpy(frames.column(frame, quality, "quality"), "quality", flat=True)
    elif same_rows(quality, frame):
        quality = in_rows_of(quality, frame, "quality").to_numpy()
    if isinstance(ids, str):
        return quality, frames.column(frame, ids, "ids")
    held = next(iter(called(frames.column_names(frame), ID_COLUMNS)), None)
    if ids is None and held is not None:
        column = frames.column(frame, held, "ids")
        try:
            return quality, as_names(column, len(column))
        except (TypeError, ValueError) as error:
            checks.warn(f"column {held!r} is not used, rows are numbered: {error}")
    return quality, ids


def is_by_id(values: Any, ids: NDArray[Any], name: str) -> bool:
    """Return whether numbers come with ids: in a mapping, a Series with an index, or a frame.

    Beside strings, an index that only counts the rows names none.
    """
    if frames.kind_of(values, name) is not None or isinstance(values, Mapping):
        return True
    if not hasattr(values, "iloc"):
        return False
    return not (kind_of(ids) == "strings" and counts_rows(values.index, len(ids)))


def as_names(ids: Sequence[Any] | NDArray[Any], n: int) -> NDArray[Any]:
    """Return ids, one an item and none twice.

    Raises TypeError: one is neither an integer nor a string; ValueError: another number of them, or one that
    is missing or named twice.
    """
    check_ordered(ids)
    names = _array(ids)
    if len(names) != n:
        raise ValueError(f"ids: expected {n}, one an item, got {len(names)}")
    listed = names.tolist()
    if len(set(listed)) < n:
        name, times = Counter(listed).most_common(1)[0]
        raise ValueError(f"ids: {name!r} is named {times} times")
    return names


def _array(ids: Any) -> NDArray[Any]:
    """Return ids as int64, as strings, or as they are where they are of both kinds or beyond int64."""
    names = as_ids(ids)
    if kind_of(names) == "strings" and not any(name.endswith("\0") for name in names.tolist()):
        return names.astype(np.str_)  # NumPy's own strings take less room, and lose a zero at their end
    return names


def kind_of(ids: NDArray[Any]) -> str:
    """Return "integers" or "strings", or what else ids are."""
    if ids.dtype.kind in "iu":
        return "integers"
    if ids.dtype.kind == "U":
        return "strings"
    if ids.dtype != object:
        return str(ids.dtype)
    kinds = {type(name) for name in ids.tolist()}
    if kinds <= {str, np.str_}:
        return "strings"
    if kinds == {int}:
        return "integers"
    return " and ".join(sorted(kind.__name__ for kind in kinds))


def as_integers(ids: NDArray[Any]) -> NDArray[np.int64]:
    """Return integer ids as int64. Raises ValueError: one is beyond 64 bits."""
    if ids.dtype.kind == "i":
        return ids.astype(np.int64)
    try:
        return np.array(ids.tolist(), np.int64)
    except OverflowError:
        raise ValueError("ids: an integer is beyond 64 bits (signed); use strings for such ids") from None


def following(ids: NDArray[Any], count: int) -> NDArray[Any]:
    """Return ids for new items that come without: the integers after the largest one.

    Raises ValueError: the catalog's ids are no integers.
    """
    if kind_of(ids) != "integers":
        raise ValueError("ids: the catalog's are no integers, so new items need their own; pass ids")
    first = int(ids.max()) + 1
    return as_integers(np.array(range(first, first + count), object))


def joined(ids: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    """Return a catalog's ids with new ones after them.

    Raises TypeError: the new ones are of another kind than the catalog's; ValueError: the catalog has one
    already: the first such.
    """
    ids, new = _alike(ids, new)
    known = np.flatnonzero(among(new, ids))
    if len(known):
        name = plain(new[known[0]])
        raise ValueError(
            f"ids: {name!r} (row {known[0]}) is in the catalog already; remove it first, or rename it"
        )
    return np.concatenate([ids, new])


def rows_of(
    wanted: Sequence[Any] | NDArray[Any], ids: NDArray[Any], argument: str = "ids"
) -> NDArray[np.int64]:
    """Return the rows of some ids, ascending.

    Raises KeyError: one is not there: the first such, and how many there are; TypeError: not a sequence, or
    of another kind than the catalog's.
    """
    names = _array(wanted)
    if names.size == 0:
        return np.empty(0, np.int64)
    ids, names = _alike(ids, names, argument)
    there = among(names, ids)
    if not there.all():
        strange = np.flatnonzero(~there)
        first = plain(names[strange[0]])
        if len(strange) == 1:
            raise KeyError(f"{argument}: {first!r} is not in the catalog")
        raise KeyError(
            f"{argument}: {len(strange):,} of these {len(names):,} are not in the catalog, such as {first!r}"
        )
    return np.flatnonzero(among(ids, names))


def _alike(
    ids: NDArray[Any], others: NDArray[Any], argument: str = "ids"
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return ids of a catalog, and others, as arrays that can be compared."""
    own, other = kind_of(ids), kind_of(others)
    if own in ("integers", "strings") and own != other:
        raise TypeError(f"{argument}: the catalog's ids are {own}, these are {other}; pass the same kind")
    return ids, others


def plain(name: Any) -> Any:
    """Return an id as a plain value."""
    return name.item() if isinstance(name, np.generic) else name
