"""Columns kept beside a catalog's items: taken in, grown with them, filtered by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.extras import require
from setwise.ids import in_order_of
from setwise.index.checking import as_mask

#: Names that a filter may use beside the kept columns.
_OWN = ("id", "quality")


def as_fields(data: Any, n: int) -> Any:
    """Return columns as an Arrow table of n rows; None for None.

    Parameters
    ----------
    data : mapping of names to sequences, pandas or polars DataFrame, or pyarrow.Table

    Raises ImportError: pyarrow is not installed; TypeError: it is no table, or a column has values of several
    kinds; ValueError: a column has another number of rows than n.
    """
    if data is None or (isinstance(data, Mapping) and not data):
        return None
    arrow = require("pyarrow", "arrow", "keeping columns beside the items")
    try:
        if isinstance(data, Mapping):
            table = arrow.table({str(name): _listed(column) for name, column in data.items()})
        elif hasattr(data, "__arrow_c_stream__"):
            table = arrow.table(data)
        else:
            raise TypeError(f"fields: expected columns by name or a DataFrame, got {type(data).__name__}")
    except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
        raise TypeError(f"fields: {str(error).splitlines()[0]}") from None
    if table.num_columns == 0:
        return None
    if table.num_rows != n:
        raise ValueError(f"fields: {table.num_rows:,} rows for {n:,} items; give each item one")
    return table.combine_chunks()


def _listed(column: Any) -> Any:
    """Return a column as Arrow takes it: arrays of objects as lists, whose kinds are told from all values."""
    return column.tolist() if isinstance(column, np.ndarray) and column.dtype.kind == "O" else column


def grown_fields(before: Any, data: Any, new: int) -> Any:
    """Return a catalog's columns with those of new items after them; what either lacks is null.

    Raises TypeError: a column is of another kind than the catalog's; ValueError: new items bring a column
    that the catalog has not.
    """
    added = as_fields(data, new)
    if before is None and added is None:
        return None
    arrow = require("pyarrow", "arrow", "keeping columns beside the items")
    if before is None:
        raise ValueError("fields: the catalog was built without any; build it again with them")
    strange = set(added.column_names) - set(before.column_names) if added is not None else set()
    if strange:
        raise ValueError(
            f"fields: the catalog has no column {min(strange)!r}; it has {', '.join(before.column_names)}"
        )
    columns = {}
    for name in before.column_names:
        kind = before.schema.field(name).type
        if added is None or name not in added.column_names:
            columns[name] = arrow.nulls(new, kind)
            continue
        try:
            columns[name] = added[name].cast(kind)
        except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError) as error:
            raise TypeError(
                f"fields: {name!r} is {kind} in the catalog ({str(error).splitlines()[0]})"
            ) from None
    return arrow.concat_tables([before, arrow.table(columns, schema=before.schema)]).combine_chunks()


def mask_of(
    filter: Any, fields: Any, ids: NDArray[Any], quality: NDArray[np.float64]
) -> NDArray[np.bool_] | None:
    """Return which items a filter lets through; None for no filter.

    Parameters
    ----------
    filter : array-like of shape (n,), bool, str, or pyarrow.compute.Expression
        A condition (see `setwise.files.where`) or an expression speaks of the kept columns, and of ``id`` and
        ``quality``.
    fields : pyarrow.Table or None
    ids, quality : ndarrays of shape (n,)

    Raises TypeError: neither of these; ValueError: a mask of another length, or a condition that cannot be
    read or is of an unknown column.
    """
    if filter is None:
        return None
    if isinstance(filter, str) or type(filter).__module__.startswith("pyarrow"):
        from setwise.extras.arrow import arrow
        from setwise.files import where

        table = arrow.table({_OWN[0]: ids.tolist()}) if fields is None else fields
        for name, column in zip(_OWN, (ids, quality), strict=True):
            if name not in table.column_names:
                table = table.append_column(name, arrow.array(column.tolist()))
        with checks.renamed(where="filter"):
            return cast("NDArray[np.bool_]", where.mask(table, filter))
    mask = as_mask(in_order_of(filter, ids, "filter"), lambda: ids, len(ids))
    if mask is None:
        raise TypeError(
            f"filter: expected a mask of bools, a condition or an expression, got {type(filter).__name__}"
        )
    return mask
