"""Tables in: .parquet .arrow .feather .jsonl .json .csv .tsv (text packed, too), and arrays from .npy."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import frames
from setwise.files.delimited import csv_batches, csv_schema, read_csv
from setwise.files.json_lines import is_array, json_rows
from setwise.files.kinds import ID_COLUMNS, arrow_kinds, called, holds_text, json_kinds
from setwise.files.names import DELIMITED, ending, existing
from setwise.files.table import Table

#: Endings of files of JSON objects.
JSON = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".json.gz", ".json.zst")

TABLES = (".parquet", ".arrow", ".feather", *DELIMITED, *JSON)

#: The same in words.
KNOWN = ".parquet, .arrow, .feather, .csv, .tsv, .tab, .jsonl, .json (text also as .gz or .zst)"


def column_types(path: Path, argument: str = "file") -> dict[str, str]:
    """Return a table's columns and the kind of what each holds in all of its rows.

    Parameters
    ----------
    path : Path
        One of the endings in `TABLES`. A JSON file's columns are the keys of all its rows.
    argument : str
        The argument's name in messages.

    Returns
    -------
    dict of str to str
        Column name to kind; see `setwise.files.kinds.arrow_kinds`.

    Raises
    ------
    FileNotFoundError, ValueError
        Missing, of an unknown ending, truncated, corrupt or empty.
    """
    kind = _table_kind(path, argument)
    with reading_file(path, argument):
        if kind in JSON:
            kinds = json_kinds(row for _, row in json_rows(path))
            if not kinds:
                raise ValueError(f"{path.name} has no rows")
            return kinds
        if kind in DELIMITED:
            kinds = arrow_kinds(csv_schema(path), path.name)
            ids = called(kinds, ID_COLUMNS)  # those that look like dates are texts, as all cells are
            return kinds | {name: "string" for name in ids if kinds[name] == "time"}
        if kind == ".parquet":
            from setwise.extras.arrow import parquet

            return arrow_kinds(parquet.read_schema(path), path.name)
        with open_arrow(path) as reader:
            return arrow_kinds(reader.schema, path.name)


def read_table(path: Path, columns: Iterable[str], argument: str = "file") -> Table:
    """Read some columns of a table.

    JSONL is streamed, .arrow is memory-mapped, CSV is read as strings (an id of 007 stays one), whatever
    separates its cells.

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
        if kind in JSON:
            found, lines = _read_json(path, wanted)
        elif kind in DELIMITED:
            cells = read_csv(path, wanted)
            found = {name: cells.column(name).to_pylist() for name in wanted}
        elif kind == ".parquet":
            from setwise.extras.arrow import parquet

            table = parquet.read_table(path, columns=wanted)
            found = {name: table.column(name) for name in wanted}
        else:
            with open_arrow(path) as reader:
                table = reader.read_all()
            table.validate(full=True)  # offsets and lengths of a damaged file may point anywhere
            found = {name: table.column(name) for name in wanted}
        result = Table(path.name, found, lines)
        if len(result) == 0:
            raise ValueError(f"{path.name} has no rows")
    return result


def column_holds_text(path: Path, name: str, argument: str = "file") -> bool:
    """Return whether some row of a column of strings is more than blanks; no more is read than needed.

    Raises
    ------
    FileNotFoundError, ValueError
        As `column_types`.
    """
    kind = _table_kind(path, argument)
    with reading_file(path, argument), contextlib.ExitStack() as opened:
        if kind in JSON:
            return holds_text(row.get(name) for _, row in json_rows(path))
        batches: Iterable[Any]
        if kind in DELIMITED:
            batches = csv_batches(path)
        elif kind == ".parquet":
            from setwise.extras.arrow import parquet

            file = opened.enter_context(parquet.ParquetFile(path, pre_buffer=False))
            batches = file.iter_batches(1024, columns=[name])
        else:
            reader = opened.enter_context(open_arrow(path))
            file_of = hasattr(reader, "get_batch")
            batches = map(reader.get_batch, range(reader.num_record_batches)) if file_of else reader
        for batch in batches:
            batch.validate(full=True)  # offsets of a damaged file may point anywhere
            if holds_text(batch.column(name)):
                return True
    return False


class TableFile:
    """A file that is a table."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name

    def kinds(self, argument: str) -> dict[str, str]:
        """Return its columns and the kind of what each holds; see `column_types`."""
        return column_types(self.path, argument)

    def read(self, columns: Iterable[str], argument: str) -> Table:
        """Return some of its columns; see `read_table`."""
        return read_table(self.path, columns, argument)

    def holds_text(self, name: str) -> bool:
        """Return whether a column of strings holds more than blanks."""
        return column_holds_text(self.path, name)


class Frame:
    """A data frame, read as a table is."""

    name = "the frame"

    def __init__(self, frame: Any, argument: str = "frame") -> None:
        self.table = frames.as_arrow(frame, argument)

    def kinds(self, argument: str) -> dict[str, str]:
        """Return its columns and the kind of what each holds in all rows.

        Raises ValueError: it has no rows, or two columns of one name.
        """
        if not len(self.table):
            raise ValueError(f"{argument}: {self.name} has no rows")
        try:
            return arrow_kinds(self.table.schema, self.name)
        except ValueError as error:
            raise ValueError(f"{argument}: {error}") from None

    def read(self, columns: Iterable[str], argument: str) -> Table:
        """Return some of its columns."""
        return Table(self.name, {name: self.table.column(name) for name in columns})

    def holds_text(self, name: str) -> bool:
        """Return whether a column of strings holds more than blanks."""
        return any(map(holds_text, self.table.column(name).chunks))


def read_array(path: Path, argument: str) -> NDArray[Any]:
    """Return a .npy file's array, memory-mapped; one that holds Python objects is refused.

    Raises
    ------
    FileNotFoundError, ValueError
        Missing, truncated, or not a .npy file of numbers.
    """
    existing(path, argument)
    if path.is_dir():
        raise ValueError(f"{argument}: {path.name} is a folder, no .npy file of numbers")
    with path.open("rb") as stream:
        start = stream.read(4)
    if start == b"PK\x03\x04":
        raise ValueError(
            f"{argument}: {path.name} is an archive of arrays (.npz), no .npy file; save the one "
            "array by numpy.save"
        )
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except PermissionError:
        raise
    except Exception:  # a damaged header makes NumPy raise nearly anything
        raise ValueError(f"{argument}: {path.name} is truncated, or no .npy file of numbers") from None


def read_matrix(path: Path, argument: str) -> NDArray[Any]:
    """Return a .npy file's vectors, one a row; see `read_array`. Raises ValueError: it is no (n, d)."""
    array = read_array(path, argument)
    if array.ndim != 2:
        raise ValueError(f"{argument}: {path.name} has shape {array.shape}, expected (n, d)")
    return array


def array_beside(source: Path | None, name: str, argument: str, shown: str) -> Path:
    """Return the .npy file that is named beside a source, looked for as given and in the source's folder.

    Raises ValueError: the name is of no such file; `shown` is what the source is called.
    """
    if not name.lower().endswith(".npy"):
        raise ValueError(f"{argument}: {shown!r} has no columns; name a .npy file with as many rows")
    path = Path(name)
    if source is not None and not path.exists() and (source.parent / path).exists():
        return source.parent / path
    return path


def of_length(array: NDArray[Any], n: int, path: Path, argument: str, shown: str) -> NDArray[Any]:
    """Return a file's array if it has as many rows as the source beside it. Raises ValueError: it has not."""
    if len(array) != n:
        raise ValueError(
            f"{argument}: {path.name} has {len(array):,} rows, {shown} has {n:,}; they must match"
        )
    return array


def _table_kind(path: Path, argument: str) -> str:
    """Return a table's ending, or say which are known."""
    existing(path, argument)
    kind = ending(path)
    if kind not in TABLES:
        raise ValueError(f"{argument}: {path.name!r} ends in none of {KNOWN}")
    if path.stat().st_size == 0:
        raise ValueError(f"{argument}: {path.name} is empty")
    return kind


@contextlib.contextmanager
def reading_file(path: Path, argument: str) -> Iterator[None]:
    """Turn what readers raise on a damaged file into one line that names argument and file."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{argument}: {path.name} is not UTF-8 (byte {error.start}); save it as UTF-8"
        ) from None
    except (EOFError, zlib.error, NotImplementedError, KeyError, ValueError, OSError) as error:
        ours = isinstance(error, ValueError) and type(error) is ValueError
        if ours:
            raise ValueError(f"{argument}: {error}") from None
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split())[:120].rstrip(". ")
        raise ValueError(f"{argument}: {path.name} is truncated or damaged ({reason})") from None


@contextlib.contextmanager
def open_arrow(path: Path) -> Iterator[Any]:
    """Open an Arrow IPC file or stream, memory-mapped.

    Raises ValueError: it is Feather of the first version.
    """
    from setwise.extras.arrow import arrow

    with path.open("rb") as stream:
        if stream.read(4) == b"FEA1":
            raise ValueError(
                f"{path.name} is Feather V1; write it anew by pyarrow.feather.write_feather("
                f"pyarrow.feather.read_table({path.name!r}), 'new.feather')"
            )
    with arrow.memory_map(str(path)) as source:
        try:
            reader = arrow.ipc.open_file(source)
        except arrow.ArrowInvalid:
            source.seek(0)
            reader = arrow.ipc.open_stream(source)
        yield reader


def _read_json(path: Path, wanted: list[str]) -> tuple[dict[str, list[Any]], list[int] | None]:
    """Stream columns out of a file of JSON objects; what a row lacks is None.

    Returns
    -------
    columns : dict of str to list
    lines : list of int or None
        The line that each row stands on, where rows are lines.
    """
    columns: dict[str, list[Any]] = {name: [] for name in wanted}
    lines = []
    for number, row in json_rows(path):
        lines.append(number)
        for name, values in columns.items():
            values.append(row.get(name))
    return columns, None if is_array(path) else lines
