"""Tables in: .parquet .arrow .feather .jsonl .csv, and arrays from .npy."""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.files.names import ending, existing
from setwise.files.table import Table

TABLES = (".parquet", ".arrow", ".feather", ".jsonl", ".jsonl.gz", ".csv")

#: Rows of a JSONL file that are looked at to learn its columns.
_SAMPLE = 100


def column_types(path: Path, argument: str = "file") -> dict[str, str]:
    """Return a table's columns and their types, reading as little of it as that takes.

    Parameters
    ----------
    path : Path
        One of the endings in `TABLES`. A JSONL file's columns are the keys of its first rows.
    argument : str
        The argument's name in messages.

    Returns
    -------
    dict of str to str
        Column name to Arrow's name of its type; strings are always "string".

    Raises
    ------
    FileNotFoundError, ValueError
        Missing, of an unknown ending, truncated, corrupt or empty.
    """
    kind = _table_kind(path, argument)
    with reading_file(path, argument):
        if kind == ".jsonl":
            types: dict[str, str] = {}
            for count, (_, row) in enumerate(json_rows(path)):
                for name, value in row.items():
                    types.setdefault(name, "string" if isinstance(value, str) else type(value).__name__)
                if count == _SAMPLE:
                    break
            if not types:
                raise ValueError(f"{path.name} has no rows")
            return types
        if kind == ".csv":
            from setwise.extras.arrow import csv

            with csv.open_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True)) as reader:
                return _types(reader.schema)
        if kind == ".parquet":
            from setwise.extras.arrow import parquet

            return _types(parquet.read_schema(path))
        with open_arrow(path) as reader:
            return _types(reader.schema)


def read_table(path: Path, columns: Iterable[str], argument: str = "file") -> Table:
    """Read some columns of a table.

    JSONL is streamed, .arrow is memory-mapped, CSV is read as strings (an id of 007 stays one).

    Parameters
    ----------
    path : Path
        One of the endings in `TABLES`.
    columns : iterable of str
        Names that `column_types` returned.
    argument : str
        The argument's name in messages.

    Raises
    ------
    FileNotFoundError, ValueError
        Missing, of an unknown ending, truncated, corrupt or empty.
    """
    wanted = list(dict.fromkeys(columns))
    kind = _table_kind(path, argument)
    lines: list[int] | None = None
    found: dict[str, Any]
    with reading_file(path, argument):
        if kind == ".jsonl":
            found, lines = _read_jsonl(path, wanted)
        elif kind == ".csv":
            found = _read_csv(path, wanted)
        elif kind == ".parquet":
            from setwise.extras.arrow import parquet

            table = parquet.read_table(path, columns=wanted)
            found = {name: table.column(name) for name in wanted}
        else:
            with open_arrow(path) as reader:
                table = reader.read_all()
            found = {name: table.column(name) for name in wanted}
        result = Table(path.name, found, lines)
        if len(result) == 0:
            raise ValueError(f"{path.name} has no rows")
    return result


def read_array(path: Path, argument: str) -> NDArray[Any]:
    """Return a .npy file's array, memory-mapped; one that holds Python objects is refused.

    Raises
    ------
    FileNotFoundError, ValueError
        Missing, truncated, or not a .npy file of numbers.
    """
    existing(path, argument)
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{argument}: {path.name} is truncated, or no .npy file of numbers") from None
    return array


def _types(schema: Any) -> dict[str, str]:
    """Return an Arrow schema as names and type names, every kind of string as "string"."""
    repeated = [name for name, count in Counter(schema.names).items() if count > 1]
    if repeated:
        raise ValueError(f"column {repeated[0]!r} stands there more than once; rename one")
    spelled = {field.name: str(field.type) for field in schema}
    return {
        name: "string" if kind in ("large_string", "string_view") else kind for name, kind in spelled.items()
    }


def _table_kind(path: Path, argument: str) -> str:
    """Return a table's ending (without compression), or say which are known."""
    existing(path, argument)
    kind = ending(path)
    if kind not in TABLES:
        raise ValueError(f"{argument}: {path.name!r} ends in none of {', '.join(TABLES)}")
    if path.stat().st_size == 0:
        raise ValueError(f"{argument}: {path.name} is empty")
    return kind.removesuffix(".gz")


@contextlib.contextmanager
def reading_file(path: Path, argument: str) -> Iterator[None]:
    """Turn what readers raise on a damaged file into one line that names argument and file."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{argument}: {path.name} is not UTF-8 (byte {error.start}); save it as UTF-8"
        ) from None
    except (EOFError, zlib.error, NotImplementedError, ValueError, OSError) as error:
        ours = isinstance(error, ValueError) and type(error) is ValueError
        if ours:
            raise ValueError(f"{argument}: {error}") from None
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split())[:120].rstrip(". ")
        raise ValueError(f"{argument}: {path.name} is truncated or damaged ({reason})") from None


@contextlib.contextmanager
def open_arrow(path: Path) -> Iterator[Any]:
    """Open an Arrow IPC file or stream, memory-mapped."""
    from setwise.extras.arrow import arrow

    with arrow.memory_map(str(path)) as source:
        try:
            reader = arrow.ipc.open_file(source)
        except arrow.ArrowInvalid:
            source.seek(0)
            reader = arrow.ipc.open_stream(source)
        yield reader


def _read_csv(path: Path, wanted: list[str]) -> dict[str, list[str]]:
    """Read columns of a CSV file as strings."""
    from setwise.extras.arrow import arrow, csv

    table = csv.read_csv(
        path,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            include_columns=wanted,
            column_types={name: arrow.string() for name in wanted},
            strings_can_be_null=False,
        ),
    )
    return {name: table.column(name).to_pylist() for name in wanted}


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSONL file, each with its line's number."""
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.isspace():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path.name}, line {number} is not JSON ({error.msg})") from None
            except UnicodeDecodeError:
                raise ValueError(f"{path.name}, line {number} is not UTF-8; save the file as UTF-8") from None
            if not isinstance(row, dict):
                raise ValueError(f"{path.name}, line {number} is not a JSON object but {type(row).__name__}")
            yield number, row


def _read_jsonl(path: Path, wanted: list[str]) -> tuple[dict[str, list[Any]], list[int]]:
    """Stream columns out of a JSONL file, with the line that each row stands on; what a row lacks is None."""
    columns: dict[str, list[Any]] = {name: [] for name in wanted}
    lines = []
    for number, row in json_rows(path):
        lines.append(number)
        for name, values in columns.items():
            values.append(row.get(name))
    return columns, lines
