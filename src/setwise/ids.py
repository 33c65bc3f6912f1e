"""Ids as they are: integers of any size and strings, never by NumPy's guess at what type would hold all."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from setwise import checks

#: Floats below this hold every integer.
EXACT = 2.0**53

#: How a message names an argument and one of its rows.
_ROW = re.compile(r"([^:]+): row (\d+)\b")

#: Types of what is an id already.
PLAIN = {int, str}


def among(ids: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which ids are among others, shape (n,), in time that grows with both, not with their product."""
    if ids.dtype.kind == others.dtype.kind == "i":
        return np.isin(ids, others)
    known = set(others.tolist())  # np.isin compares each object with each other
    return np.fromiter((one in known for one in ids.tolist()), np.bool_, len(ids))


def as_ids(ids: Any, name: str = "ids") -> NDArray[Any]:
    """Return ids as int64 where all are integers that fit, else as an object array of integers and strings.

    Parameters
    ----------
    ids : sequence of length n
        A list, an array, or a column of pandas, polars, Arrow or a Hugging Face dataset; of integers, strings
        and UUIDs, which become strings. Floats and decimals count as the integers they are, such as those of
        a column that had a gap once, or of a database's NUMERIC.
    name : str
        The argument's name in messages.

    Returns
    -------
    ndarray of shape (n,), int64 or object

    Raises TypeError: they are no sequence, or one is something else than an integer or a string; the message
    has its row; ValueError: one is missing.
    """
    if isinstance(ids, range):
        return np.arange(ids.start, ids.stop, ids.step, dtype=np.int64)
    array = ids if isinstance(ids, np.ndarray) and not isinstance(ids, np.ma.MaskedArray) else None
    if array is not None and array.dtype.kind == "i" and array.ndim == 1:
        return array.astype(np.int64)
    listed = listed_ids(ids, name)
    if not set(map(type, listed)) <= PLAIN:
        listed = [plain_id(one, f"{name}: row {row}") for row, one in enumerate(listed)]
    if set(map(type, listed)) <= {int}:
        with contextlib.suppress(OverflowError):
            return np.array(listed, np.int64)
    found = np.empty(len(listed), object)
    found[:] = listed
    return found


def listed_ids(ids: Any, name: str = "ids") -> list[Any]:
    """Return a sequence's items as plain values, whatever holds them.

    Raises TypeError: it is no sequence, or of dates.
    """
    if isinstance(ids, str | bytes) or not hasattr(ids, "__iter__") or getattr(ids, "ndim", 1) != 1:
        raise TypeError(f"{name}: expected a sequence of ids, got {checks.brief(ids)}")
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "mM":
        raise TypeError(f"{name}: expected integers or strings, got {ids.dtype}")
    return as_list(ids)


def check_ordered(ids: Any) -> None:
    """Refuse a set of ids where each stands for a row: its order is none.

    Raises
    ------
    TypeError
        It is a set.
    """
    if isinstance(ids, set | frozenset):
        raise TypeError("ids: a set has no order, so no id has a row; pass a list")


def check_apart(
    include: Sequence[Any], exclude: Collection[Any], shown: Collection[Any], names: Any = None
) -> None:
    """Refuse what must be in the set and may not; `names` are those of `include`, where it is rows."""
    barred = {*shown, *exclude}
    for place, one in enumerate(include):
        if one in barred:
            where = "shown" if one in shown else "exclude"
            raise ValueError(f"include: {(include if names is None else names)[place]!r} is in {where}, too")


def as_list(values: Any) -> list[Any]:
    """Return a sequence's items as a list, as plain values where what holds them can give those."""
    listing = next((way for way in ("tolist", "to_pylist", "to_list") if hasattr(values, way)), None)
    return list(getattr(values, listing)() if listing else values)


def plain_id(value: Any, place: str) -> int | str:
    """Return an id as a Python integer or string; ``place`` is where it stands: ``ids: row 3``.

    Raises TypeError: it is something else than an integer or a string; ValueError: it is missing: None, NaN
    or another mark of that.
    """
    value = value.as_py() if hasattr(value, "as_py") else value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return str.__str__(value)  # an enum's value, not its name
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, UUID):
        return str(value)
    if is_whole(value):
        return int(value)
    if checks.is_null(value) or value is np.ma.masked or (value != value) is True:
        raise ValueError(f"{place} has no id ({value!r}); give it one, or drop it")
    shown = f"{checks.brief(value, 40)} ({type(value).__name__})"
    raise TypeError(f"{place} is {shown}, expected an integer or a string")


def by_plain_id(values: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return a mapping whose keys are ids as `as_ids` gives them: UUIDs are strings."""
    return {_spelled(one): value for one, value in values.items()} if any(map(_is_uuid, values)) else values


def _is_uuid(value: Any) -> bool:
    return isinstance(value, UUID)


def _spelled(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


def is_whole(value: Any) -> bool:
    """Return whether a float or a decimal stands for one integer and no other."""
    if isinstance(value, float):
        return value.is_integer() and abs(value) < EXACT
    return isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value()


@contextlib.contextmanager
def named_rows(ids: Sequence[Any] | NDArray[Any], rows: NDArray[np.integer] | None = None) -> Iterator[None]:
    """Let errors on a candidate's row say its id, too, and the row that it has outside.

    ``rows`` are those outside, if they are others; ids are then theirs.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        told = str(error.args[0]) if error.args else ""
        found = _ROW.match(told)
        if found is not None and found[1] not in ("shown", "query"):
            row = int(found[2]) if rows is None else int(rows[int(found[2])])
            one = ids[row].item() if isinstance(ids[row], np.generic) else ids[row]
            called = f"row {row}" if one == row else f"row {row} (id {one!r})"
            error.args = (f"{found[1]}: {called}{told[found.end() :]}",)
        raise


def in_order_of(values: Any, ids: NDArray[Any], name: str, beside: Any = None) -> Any:
    """Return what is given by id in the order of the ids; anything else as it is, a row an id.

    Parameters
    ----------
    values : mapping, pandas Series, pandas frame, or array-like of length n
        By id are a mapping, and what has an index of which all ids are part. An index that only counts the
        rows, or is that of ``beside``, names none; one that has the labels of ``beside`` in another order
        stands for its rows. Beside ids that only count the rows, an index of other labels names none.
    ids : ndarray of shape (n,)
    name : str
        Of the argument.
    beside : object, optional
        What the ids came in.

    Raises ValueError: a mapping or an index lacks an id, or has one twice.
    """
    listed = ids.tolist()
    if isinstance(values, Mapping):
        values = by_plain_id(values)
        lacking = next((one for one in listed if one not in values), None)
        if lacking is not None:
            raise ValueError(f"{name}: there is none for id {lacking!r}; give each one")
        return [values[one] for one in listed]
    if not hasattr(values, "iloc"):
        return values
    index = values.index
    if counts_rows(index, len(values)) or (hasattr(beside, "iloc") and index.equals(beside.index)):
        return values
    labels = list(map(_spelled, index.tolist()))
    places = dict(zip(labels, range(len(labels)), strict=True))
    lacking = next((one for one in listed if one not in places), None)
    if lacking is None and (len(places) == len(labels) or not _is_twice(labels, set(listed))):
        return values.iloc[[places[one] for one in listed]]
    if hasattr(beside, "iloc"):
        return in_rows_of(values, beside, name)
    if listed == list(range(len(listed))):  # numbers of rows
        return values
    raise _unlike(name, f"lacks id {lacking!r}" if lacking is not None else "has an id twice", "the ids")


def same_rows(values: Any, beside: Any) -> bool:
    """Return whether a pandas column and what is beside it have one index, in whatever order each."""
    if not hasattr(values, "iloc") or not hasattr(beside, "iloc") or len(values) != len(beside):
        return False
    index, other = values.index, beside.index
    return bool(index.equals(other) or (index.is_unique and other.is_unique and index.isin(other).all()))


def in_rows_of(values: Any, beside: Any, name: str) -> Any:
    """Return a pandas column in the order of the rows beside it, by their index; what has none as it is.

    Where both indexes are equal, labels may be there twice. An index that only counts the rows names none
    beside labels that are no integers.

    Raises ValueError: the column's index lacks a label of the other, or has one twice.
    """
    if not hasattr(values, "iloc") or not hasattr(beside, "iloc") or values.index.equals(beside.index):
        return values
    index, other = values.index, beside.index
    counted = counts_rows(index, len(values))
    if counted and (values.ndim == 2 or len(values) < len(beside) or other.inferred_type != "integer"):
        return values  # a frame may be facets: a direction a row
    lacking = other[~other.isin(index)]
    if len(lacking):
        raise _unlike(name, f"lacks {lacking.tolist()[0]!r}", "the frame's")
    if not index.is_unique:
        raise _unlike(name, f"has {index[index.duplicated()].tolist()[0]!r} twice", "the frame's")
    return values.loc[other]


def listed_beside(values: Any, beside: Any, name: str) -> Any:
    """Return a pandas column beside a pandas frame as a list in the order of the frame's rows; others as they
    are, and columns beside a frame whose index only counts its rows.

    Raises ValueError: as `in_rows_of`.
    """
    if not hasattr(values, "iloc") or not hasattr(beside, "iloc") or counts_rows(beside.index, len(beside)):
        return values
    return as_list(in_rows_of(values, beside, name))


def _is_twice(labels: list[Any], among: set[Any]) -> bool:
    """Return whether one of some labels is there twice."""
    known = [one for one in labels if one in among]
    return len(known) > len(set(known))


def _unlike(name: str, what: str, whose: str) -> ValueError:
    return ValueError(
        f"{name}: its index {what}; give it {whose} index, or .reset_index(drop=True) both where their rows "
        "stand in one order"
    )


def counts_rows(index: Any, n: int) -> bool:
    """Return whether the index of a pandas column of n rows only counts them."""
    counted = type(index).__name__ == "RangeIndex" and index.name is None
    return counted and len(index) == n and (n == 0 or (index[0] == 0 and index[-1] == n - 1))
