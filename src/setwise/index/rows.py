"""What belongs to a saved index's vectors: a Parquet file of which only what is asked for is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from setwise.files import where
from setwise.files.json_lines import parsed
from setwise.files.where import as_arrow

#: Rows that are stored, and read, together.
TOGETHER = 2048

#: Kinds of ids that are stored as JSON.
_AS_JSON = ("large integers", "json")

#: What the names of further columns begin with in the file, so that one may be called "id".
_PREFIX = "column "

#: Parts that a column keeps in memory, texts being long.
KEPT = 16


class Column(Sequence[Any]):
    """One column, read in parts of `TOGETHER` rows as they are asked for.

    Parameters
    ----------
    source : pyarrow.MemoryMappedFile
        The Parquet file, open: it stays what it was when another takes its name.
    facts : pyarrow.parquet.FileMetaData
    n : int
        Number of rows.
    kept : int, optional
        Parts to keep in memory; by default all that were read.
    decode : callable, optional
        Turns a stored value into the caller's.
    """

    def __init__(
        self,
        source: Any,
        facts: Any,
        name: str,
        n: int,
        *,
        kept: int | None = None,
        decode: Callable[[Any], Any] | None = None,
    ) -> None:
        self._source, self._facts, self._name, self._n = source, facts, name, n
        self._kept, self._decode = kept, decode
        self._parts: dict[int, list[Any]] = {}
        self._file: Any = None

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, row: int) -> Any: ...
    @overload
    def __getitem__(self, row: slice) -> list[Any]: ...
    def __getitem__(self, row: int | slice) -> Any:
        if isinstance(row, slice):
            return self.take(range(*row.indices(self._n)))
        place = row + self._n if row < 0 else row
        if not 0 <= place < self._n:
            raise IndexError(f"{self._name}: no row {row}, there are {self._n}")
        return self._part(place // TOGETHER)[place % TOGETHER]

    def __iter__(self) -> Iterator[Any]:
        for part in range(-(-self._n // TOGETHER)):
            yield from self._part(part)

    def take(self, rows: Iterable[int] | NDArray[Any]) -> list[Any]:
        """Return the values of some rows, in their order."""
        wanted = [int(row) for row in rows]
        found: dict[int, Any] = {}
        for row in sorted(set(wanted)):
            found[row] = self[row]
        return [found[row] for row in wanted]

    def _part(self, number: int) -> list[Any]:
        """Return a part's values, read unless it is in memory."""
        if number not in self._parts:
            from setwise.extras.arrow import arrow, parquet

            try:
                if self._file is None:
                    self._file = parquet.ParquetFile(self._source, metadata=self._facts)
                values = self._file.read_row_group(number, columns=[self._name]).column(0).to_pylist()
                if len(values) != min(TOGETHER, self._n - number * TOGETHER):
                    raise ValueError("there are fewer values than rows")
                if self._decode is not None:
                    values = list(map(self._decode, values))
            except (arrow.ArrowException, OSError, ValueError):
                raise ValueError(
                    f"index: the column {self._name!r} is damaged in rows from {number * TOGETHER} on; build "
                    "the index again"
                ) from None
            while self._kept is not None and len(self._parts) >= self._kept:
                del self._parts[next(iter(self._parts))]
            self._parts[number] = values
        return self._parts[number]

    def __repr__(self) -> str:
        return f"<column {self._name!r} of {self._n:,} rows>"


@dataclass(frozen=True, eq=False)
class Rows:
    """What belongs to the vectors of a saved index, row by row.

    Attributes
    ----------
    columns : mapping of str to Column
        What else is known of each row, by name.
    schema : pyarrow.Schema
        What conditions may speak of: the columns, and ``id`` and ``text`` where none is called so.
    """

    ids: Column
    texts: Column | None
    groups: Column | None
    columns: Mapping[str, Column]
    schema: Any
    _source: Any
    _facts: Any

    def mask(self, wanted: Any) -> NDArray[np.bool_]:
        """Return for which rows a condition is true; see `setwise.files.where.mask`."""
        from setwise.extras.arrow import arrow, parquet

        if isinstance(wanted, str):
            wanted = where.condition(wanted, self.schema)
        named = [name for name in self.schema.names if name in str(wanted)] or self.schema.names[:1]
        stored = [name if name not in self.columns else _PREFIX + name for name in named]
        try:
            table = parquet.ParquetFile(self._source, metadata=self._facts).read(columns=stored)
        except (arrow.ArrowException, OSError, ValueError):
            raise ValueError("index: a column is damaged; build the index again") from None
        found: NDArray[np.bool_] = where.mask(table.select(stored).rename_columns(named), wanted)
        return found


def read(path: Path, n: int, kind: str, *, texts: bool, groups: bool, columns: Collection[str]) -> Rows:
    """Return what `write` has written.

    Raises ValueError: the file is damaged, or has another number of rows or other columns.
    """
    from setwise.extras.arrow import arrow, parquet

    wanted = {"id", *(["text"] if texts else []), *(["group"] if groups else [])}
    wanted |= {_PREFIX + name for name in columns}
    try:
        source = arrow.memory_map(str(path))
        facts = parquet.read_metadata(source)
        schema = facts.schema.to_arrow_schema()
    except (arrow.ArrowException, OSError):
        raise ValueError(f"index: {path.name} is damaged; build the index again") from None
    if facts.num_rows != n or set(schema.names) != wanted:
        raise ValueError(f"index: {path.name} does not belong to {n:,} vectors; build the index again")
    fields = [schema.field(_PREFIX + name).with_name(name) for name in columns]
    own = ("text",) if kind in _AS_JSON else ("id", "text")
    fields += [schema.field(name) for name in own if name in wanted and name not in columns]
    return Rows(
        Column(source, facts, "id", n, decode=_decoded if kind in _AS_JSON else None),
        Column(source, facts, "text", n, kept=KEPT) if texts else None,
        Column(source, facts, "group", n, decode=_decoded) if groups else None,
        {name: Column(source, facts, _PREFIX + name, n, kept=KEPT) for name in columns},
        arrow.schema(fields),
        source,
        facts,
    )


def write(
    path: Path,
    ids: Sequence[str | int],
    texts: Sequence[str] | None,
    groups: Sequence[str | int] | None,
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> tuple[str, dict[str, str]]:
    """Write the columns; return how ids are stored, and the types of the further columns by their names.

    Raises TypeError: an id or group is no string or integer, or a text is no string; ValueError: two ids are
    the same, or a text is not Unicode.
    """
    from setwise.extras.arrow import arrow, parquet

    names = [_label(value, row, "ids") for row, value in enumerate(ids)]
    _check_different(names)
    kind = "json"
    if all(isinstance(name, int) for name in names):
        kind = "integers" if all(-(2**63) <= int(name) < 2**63 for name in names) else "large integers"
    elif all(isinstance(name, str) and _is_unicode(name) for name in names):
        kind = "strings"
    encode: Callable[[Any], Any] = json.dumps if kind in _AS_JSON else lambda name: name
    types = {"id": arrow.int64() if kind == "integers" else arrow.string()}
    if texts is not None:
        types["text"] = arrow.string()
        for row, value in enumerate(texts):
            if not isinstance(value, str):
                raise TypeError(f"texts: row {row} is no string but {type(value).__name__}")
            if not _is_unicode(value):
                raise ValueError(f"texts: row {row} holds half of a surrogate pair; take it out")
    if groups is not None:
        types["group"] = arrow.string()
    more = {_PREFIX + name: as_arrow(values, name) for name, values in (columns or {}).items()}
    types |= {name: values.type for name, values in more.items()}
    schema = arrow.schema(list(types.items()))
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(names), TOGETHER):
            part = slice(start, start + TOGETHER)
            values: dict[str, Any] = {"id": [encode(name) for name in names[part]]}
            if texts is not None:
                values["text"] = list(texts[part])
            if groups is not None:
                labels = enumerate(groups[part], start)
                values["group"] = [json.dumps(_label(value, row, "groups")) for row, value in labels]
            values |= {name: column.slice(start, TOGETHER) for name, column in more.items()}
            writer.write_table(arrow.table(values, schema=schema), row_group_size=TOGETHER)
    return kind, {name.removeprefix(_PREFIX): str(values.type) for name, values in more.items()}


def _decoded(value: str) -> Any:
    """Return what is stored as JSON."""
    return parsed(value, "a value")


def _label(value: Any, row: int, argument: str) -> str | int:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"{argument}: row {row} is no string or integer but {type(value).__name__}")
    return value


def _is_unicode(text: str) -> bool:
    """Return whether a string can be written as UTF-8; JSON can spell some that cannot."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return True


def _check_different(names: Sequence[str | int]) -> None:
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        seen = first.setdefault(str(name), row)
        if seen != row:
            raise ValueError(f"ids: {name!r} stands in row {seen} and row {row}; they must differ")
