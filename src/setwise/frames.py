"""Data frames in and out: of pandas, polars, Arrow and Hugging Face datasets, each given back as it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.extras import require

#: The classes of frames, by the package that they come from.
_FRAMES = {
    "pandas": ("DataFrame",),
    "polars": ("DataFrame",),
    "pyarrow": ("Table", "RecordBatch"),
    "datasets": ("Dataset",),
}


#: What holds no rows, or none yet, by the package that it comes from, and what to pass in its place.
_UNREAD = {
    "polars": {"LazyFrame": "its .collect()"},
    "pyarrow": {"RecordBatchReader": "its .read_all()", "Dataset": "its .to_table()"},
    "duckdb": {"DuckDBPyRelation": "its .to_arrow_table()"},
    "_duckdb": {"DuckDBPyRelation": "its .to_arrow_table()"},
    "datasets": {
        "DatasetDict": "one of its splits, as in dataset['train']",
        "IterableDataset": "a Dataset, loaded without streaming",
        "IterableDatasetDict": "a Dataset, loaded without streaming",
    },
}


def kind_of(data: Any, argument: str = "frame") -> str | None:
    """Return the package that a frame comes from; None for what is no frame.

    Raises TypeError: it is a query or a stream, whose rows have not been read, a dataset with splits, or one
    whose rows a transform makes each time that they are read.
    """
    if type(data) is np.ndarray:
        return None
    for one in type(data).__mro__:
        package = one.__module__.partition(".")[0]
        if one.__name__ in _FRAMES.get(package, ()):
            if package == "datasets" and data.format["type"] == "custom":
                raise TypeError(
                    f"{argument}: the rows of this dataset are made by a transform (set_transform) each time "
                    "that they are read; pass what .map() makes of it, or its .with_format(None)"
                )
            return package
        if mend := _UNREAD.get(package, {}).get(one.__name__):
            raise TypeError(f"{argument}: {type(data).__name__} holds no rows by itself; pass {mend}")
    return None


def has_splits(data: Any) -> bool:
    """Return whether something is a Hugging Face dataset with splits: a mapping of names to datasets."""
    return any(
        one.__name__ == "DatasetDict" and one.__module__.partition(".")[0] == "datasets"
        for one in type(data).__mro__
    )


def training_split(data: Any, argument: str) -> tuple[Any, str]:
    """Return the training split of a Hugging Face dataset with splits, or its only one; others as they are.

    Returns
    -------
    data
    told : str
        Which split it is and which there are besides, in words; else empty.

    Raises ValueError: it has several splits, none of which is called "train".
    """
    if not has_splits(data):
        return data, ""
    splits = list(data)
    name = "train" if "train" in splits else splits[0] if len(splits) == 1 else None
    if name is None:
        listed = ", ".join(splits) or "none"
        raise ValueError(f"{argument}: the dataset has splits ({listed}); pass one, as in dataset['test']")
    others = ", ".join(one for one in splits if one != name)
    return data[name], f"rows of split {name!r}, not of {others}" if others else ""


def column_names(frame: Any) -> list[str]:
    """Return the names of a frame's columns, in their order."""
    if kind_of(frame) in ("pyarrow", "datasets"):
        return list(frame.column_names)
    return list(frame.columns)


def column(frame: Any, name: str, argument: str) -> Any:
    """Return a column of a frame. Raises ValueError: it has no column of that name, or several."""
    names = column_names(frame)
    if name not in names:
        raise ValueError(
            f"{argument}: the frame has no column {name!r} (columns: {', '.join(map(str, names))})"
        )
    if names.count(name) > 1:
        raise ValueError(f"{argument}: the frame has more than one column {name!r}; rename one")
    if kind_of(frame) == "datasets":
        return frame.with_format("arrow")[:][name]
    return frame.column(name) if kind_of(frame) == "pyarrow" else frame[name]


def vectors_in(frame: Any, argument: str = "vectors") -> Any:
    """Return the vectors of a frame: its only column of lists of numbers, or the frame if all is numbers.

    Raises TypeError: no column holds vectors, or several do.
    """
    plain = kind_of(frame) == "pandas" and frame.columns.is_unique
    if plain and all(getattr(dtype, "kind", "O") in "fiub" for dtype in frame.dtypes):
        return None
    names = column_names(frame)
    columns = {name: column(frame, name, argument) for name in names}
    held = [name for name in names if _is_vectors(columns[name])]
    if len(held) == 1:
        return columns[held[0]]
    if held:
        raise TypeError(
            f"{argument}: the columns {', '.join(map(repr, held))} hold vectors; pass one of them, as in "
            f"frame[{held[0]!r}]"
        )
    strange = [name for name in names if not _is_number(columns[name])]
    if strange:
        raise TypeError(
            f"{argument}: no column of the frame holds vectors, and {strange[0]!r} holds no numbers; pass "
            "the vectors, or a frame of numbers alone"
        )
    return None


def _is_vectors(values: Any) -> bool:
    """Return whether a column holds lists of numbers."""
    first = _first(values)
    if isinstance(first, str | bytes | Mapping) or not hasattr(first, "__len__") or len(first) == 0:
        return False
    array = np.asarray(first)
    return array.ndim >= 1 and array.dtype.kind in "fiu"


def _is_number(values: Any) -> bool:
    """Return whether a column holds numbers."""
    first = _first(values)
    plain = np.asarray(first)
    return first is None or isinstance(first, Decimal) or (plain.ndim == 0 and plain.dtype.kind in "fiub")


def _first(values: Any) -> Any:
    """Return the first value of a column that is not missing."""
    for value in values:
        plain = value.as_py() if hasattr(value, "as_py") else value
        if not checks.is_null(plain):
            return plain
    return None


def as_arrow(frame: Any, argument: str = "frame") -> Any:
    """Return a frame as a pyarrow Table; of pandas without its index.

    Raises ValueError: two columns have one name.
    """
    arrow = require("pyarrow", "arrow", "a table of Arrow")
    kind = kind_of(frame)
    if kind == "pandas":
        names = column_names(frame)
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"{argument}: the frame has more than one column {repeated!r}; rename one")
        return arrow.Table.from_pandas(frame, preserve_index=False)
    if kind == "polars":
        return frame.to_arrow()
    if kind == "datasets":
        return frame.with_format("arrow")[:]
    return frame if isinstance(frame, arrow.Table) else arrow.Table.from_batches([frame])


def taken(frame: Any, rows: NDArray[np.int64]) -> Any:
    """Return some rows of a frame, in their order, as a frame of the same kind (a dataset's as Arrow)."""
    kind = kind_of(frame)
    if kind == "pandas":
        return frame.iloc[rows]
    if kind == "polars":
        return frame[rows.tolist()]
    if kind == "datasets":
        return frame.with_format("arrow")[rows.tolist()] if len(rows) else as_arrow(frame).slice(0, 0)
    return taken_of_table(frame, rows)


def taken_of_table(table: Any, rows: NDArray[np.integer]) -> Any:
    """Return some rows of an Arrow table or batch, in their order; also where Arrow itself takes none.

    Its views of strings, wherever they are nested, have no kernel for that, but can be sliced.
    """
    arrow = require("pyarrow", "arrow", "a table of Arrow")
    try:
        return table.take(arrow.array(rows))
    except arrow.ArrowNotImplementedError:
        whole = table if isinstance(table, arrow.Table) else arrow.Table.from_batches([table])
        return arrow.concat_tables([whole.slice(0, 0), *(whole.slice(row, 1) for row in rows.tolist())])


def made(kind: str, columns: Mapping[str, Sequence[Any] | NDArray[Any]], own: Any = None) -> Any:
    """Return columns as a frame of a kind, the candidates' own columns first.

    Parameters
    ----------
    kind : {"pandas", "polars", "pyarrow"}
    columns : mapping of str to sequence of length k
        One whose name the candidates have already is called ``setwise_<name>``.
    own : frame of k rows, optional
        Of any kind.
    """
    package = require(kind, "arrow" if kind == "pyarrow" else kind, "a data frame")
    names = [] if own is None else column_names(own)
    more = {
        f"setwise_{name}" if name in names else name: _plain(values, kind) for name, values in columns.items()
    }
    if kind == "pyarrow":
        return _appended(own, package.table(more)) if own is not None else package.table(more)
    made = package.DataFrame(more)
    if own is None:
        return made
    if kind == "pandas":
        held = own if kind_of(own) == "pandas" else as_arrow(own).to_pandas()
        return held.assign(**{name: made[name].to_numpy() for name in more})
    held = own if kind_of(own) == "polars" else package.from_arrow(as_arrow(own))
    return held.with_columns(made)


def readable(frame: Any) -> list[tuple[str, list[Any]]]:
    """Return the columns that a person can read, with their names: those that hold no vectors."""
    found = []
    for name in column_names(frame):
        values = column(frame, name, "candidates")
        if not _is_vectors(values):
            found.append((str(name), [one.as_py() if hasattr(one, "as_py") else one for one in values]))
    return found


def _appended(own: Any, more: Any) -> Any:
    """Return a table with the candidates' columns before others."""
    table = as_arrow(own)
    for name in more.column_names:
        table = table.append_column(name, more.column(name))
    return table


def _plain(values: Any, kind: str) -> Any:
    """Return a column's values as a package takes them: objects as a list, of one type where that is asked.

    Integers beyond 63 bits are unsigned; of both integers and strings, or beyond 64 bits, all are strings,
    but for pandas, which keeps them as they are.
    """
    if not isinstance(values, np.ndarray) or values.dtype != object:
        return values
    listed = values.tolist()
    kinds = {type(one) for one in listed}
    if kinds == {int} and min(listed) >= 0 and max(listed) < 2**64:
        return values.astype(np.uint64 if max(listed) >= 2**63 else np.int64)
    if int in kinds and kind != "pandas":
        return list(map(str, listed))
    return listed
