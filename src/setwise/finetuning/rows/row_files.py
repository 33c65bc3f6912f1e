"""The files of a repository: rows read in blocks, and rows taken by number, in memory of one block."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from setwise.files import Table, column_types
from setwise.files.delimited import csv_batches
from setwise.files.json_lines import as_object, has_places, is_array, json_lines, parsed
from setwise.files.names import DELIMITED, ending
from setwise.files.reading import JSON, Frame, open_arrow, reading_file
from setwise.frames import taken_of_table

#: The one column of a table whose rows are lines of JSON, as they stand in the file.
LINE = "line"

#: Bytes of a JSONL file that are looked at at once.
_CHUNK = 1 << 24

#: Bytes of a Parquet column that are read at once.
_PIECE = 1 << 20


@dataclass(frozen=True, eq=False)
class Block(Table):
    """Some columns of consecutive rows; a row is named by its place in the file.

    Attributes
    ----------
    where : callable
        A row of the block to its place in the file: "line 18" or "row 17".
    """

    where: Callable[[int], str] = str

    def place(self, row: int) -> str:
        """Return where a row stands, as a person would look for it."""
        return self.where(row)


class RowFile(Protocol):
    """A file of rows."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def rows(self) -> int:
        """How many rows it has."""
        ...

    @property
    def size(self) -> int:
        """Bytes that all rows take in memory, roughly."""
        ...

    @property
    def types(self) -> dict[str, str]:
        """Columns and their types, as `setwise.files.column_types` names them."""
        ...

    def schema(self) -> Any:
        """Return the Arrow schema of its rows."""
        ...

    def blocks(self, columns: Sequence[str], most: int) -> Iterator[Block]:
        """Yield all rows in order, at most ``most`` at once, with some of their columns."""
        ...

    def take(self, rows: NDArray[np.int64]) -> Iterator[Any]:
        """Yield Arrow tables of rows given in ascending order without repeats, read in that order."""
        ...


def open_rows(path: Path, argument: str = "repository") -> RowFile:
    """Open a file of rows.

    Raises FileNotFoundError: there is no such file; ValueError: its ending is unknown, or it is truncated,
    damaged or empty.
    """
    types = column_types(path, argument)
    kind = ending(path)
    file: RowFile
    if kind in JSON:
        file = Lines(path, types, argument)
    elif kind == ".parquet":
        file = Parquet(path, types, argument)
    else:
        file = Batches(path, types, argument, kind in DELIMITED)
    if not file.rows:
        raise ValueError(f"{argument}: {path.name} has no rows")
    return file


class Parquet:
    """A Parquet file: of its row groups, only those with a row that is asked for are read."""

    def __init__(self, path: Path, types: dict[str, str], argument: str) -> None:
        from setwise.extras.arrow import parquet

        self.path, self.types, self.argument = path, types, argument
        with reading_file(path, argument):
            facts = parquet.read_metadata(path)
        groups = [facts.row_group(number) for number in range(facts.num_row_groups)]
        self._ends = np.cumsum([0, *(group.num_rows for group in groups)])
        self.rows = int(facts.num_rows)
        self.size = sum(group.total_byte_size for group in groups)

    def schema(self) -> Any:
        from setwise.extras.arrow import parquet

        return parquet.read_schema(self.path)

    def blocks(self, columns: Sequence[str], most: int) -> Iterator[Block]:
        with reading_file(self.path, self.argument), self._open() as file:
            yield from _blocks(self.path, file.iter_batches(most, columns=list(columns)), columns)

    def take(self, rows: NDArray[np.int64]) -> Iterator[Any]:
        edges = np.searchsorted(rows, self._ends)
        with reading_file(self.path, self.argument), self._open() as file:
            for group in np.flatnonzero(np.diff(edges)):
                wanted = rows[edges[group] : edges[group + 1]] - self._ends[group]
                yield from _pick(file.iter_batches(8192, row_groups=[int(group)]), wanted)

    def _open(self) -> Any:
        """Open the file so that a row group is read piece by piece, however large it is."""
        from setwise.extras.arrow import parquet

        return parquet.ParquetFile(self.path, pre_buffer=False, buffer_size=_PIECE)


class InMemory:
    """The rows of a data frame."""

    def __init__(self, frame: Any, argument: str) -> None:
        self.path, self.argument = Path(Frame.name), argument
        rows = Frame(frame, argument)
        self.types = rows.kinds(argument)
        self._table = rows.table
        self.rows, self.size = len(self._table), int(self._table.nbytes)

    def schema(self) -> Any:
        return self._table.schema

    def blocks(self, columns: Sequence[str], most: int) -> Iterator[Block]:
        yield from _blocks(self.path, self._table.select(list(columns)).to_batches(most), columns)

    def take(self, rows: NDArray[np.int64]) -> Iterator[Any]:
        yield taken_of_table(self._table, rows)


class Batches:
    """A CSV or Arrow file: batches in their order. CSV has no types, so its cells stay strings."""

    def __init__(self, path: Path, types: dict[str, str], argument: str, csv: bool) -> None:
        self.path, self.argument, self._csv = path, argument, csv
        self.types = dict.fromkeys(types, "string") if csv else types
        self.size = path.stat().st_size
        self.rows = sum(batch.num_rows for batch in self._batches())

    def schema(self) -> Any:
        from setwise.extras.arrow import arrow

        if self._csv:
            return arrow.schema([(name, arrow.string()) for name in self.types])
        with reading_file(self.path, self.argument), open_arrow(self.path) as reader:
            return reader.schema

    def blocks(self, columns: Sequence[str], most: int) -> Iterator[Block]:
        smaller = (
            batch.slice(start, most) for batch in self._batches() for start in range(0, batch.num_rows, most)
        )
        yield from _blocks(self.path, (batch.select(list(columns)) for batch in smaller), columns)

    def take(self, rows: NDArray[np.int64]) -> Iterator[Any]:
        yield from _pick(self._batches(), rows)

    def _batches(self) -> Iterator[Any]:
        with reading_file(self.path, self.argument), ExitStack() as stack:
            if not self._csv:
                reader = stack.enter_context(open_arrow(self.path))
                file = hasattr(reader, "get_batch")
                for batch in map(reader.get_batch, range(reader.num_record_batches)) if file else reader:
                    batch.validate(full=True)  # offsets of a damaged file may point anywhere
                    yield batch
                return
            yield from csv_batches(self.path)


class Lines:
    """A file of JSON objects: where each line starts is known, so that they are read byte for byte.

    A compressed file, or one array of objects, has no such places: it is read from its start to the last row
    that is asked for.
    """

    def __init__(self, path: Path, types: dict[str, str], argument: str) -> None:
        self.path, self.types, self.argument = path, types, argument
        self._starts = _line_starts(path) if has_places(path) else None
        if self._starts is None:
            self.rows = self.size = 0
            for line in self._stream():
                self.rows, self.size = self.rows + 1, self.size + len(line)
        else:
            self.rows, self.size = len(self._starts), path.stat().st_size

    def schema(self) -> Any:
        """Return the schema of lines: one column of bytes."""
        from setwise.extras.arrow import arrow

        return arrow.schema([(LINE, arrow.large_binary())])

    def blocks(self, columns: Sequence[str], most: int) -> Iterator[Block]:
        start = 0
        for rows in self.objects(most):
            values = {name: [row.get(name) for row in rows] for name in columns}
            yield Block(self.path.name, values, None, self._where_from(start))
            start += len(rows)

    def objects(self, most: int) -> Iterator[list[dict[str, Any]]]:
        """Yield all rows in order as objects, at most ``most`` at once."""
        start = 0
        for lines in _in_lists(self._stream(), most):
            yield [self.parse(line, start + row) for row, line in enumerate(lines)]
            start += len(lines)

    def take(self, rows: NDArray[np.int64]) -> Iterator[Any]:
        """Yield tables of lines, given in ascending order without repeats, without their line ends."""
        from setwise.extras.arrow import arrow

        for lines in _in_lists(self._lines(rows), 8192):
            yield arrow.table({LINE: arrow.array(lines, arrow.large_binary())})

    def parse(self, line: bytes, row: int) -> dict[str, Any]:
        """Return the object on the line of a row.

        Raises ValueError: it is not JSON, not UTF-8, or not an object.
        """
        try:
            return as_object(parsed(line, ""), "")
        except ValueError:  # only now is it worth a pass over the file to tell where it stands
            place = f"{self.argument}: {self.path.name}, {self.line_of(row)}"
            return as_object(parsed(line, place), place)

    def line_of(self, row: int) -> str:
        """Return the line that a row stands on, counted with the blank ones; made for messages only."""
        if is_array(self.path):
            return f"row {row}"
        number, _ = next(itertools.islice(json_lines(self.path), row, None), (0, b""))
        return f"line {number}"

    def _where_from(self, start: int) -> Callable[[int], str]:
        return lambda row: self.line_of(start + row)

    def _stream(self) -> Iterator[bytes]:
        """Yield every line that is not blank."""
        with reading_file(self.path, self.argument):
            yield from (line for _, line in json_lines(self.path))

    def _lines(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        if self._starts is None:
            wanted = iter(rows.tolist())
            row = next(wanted, None)
            for number, line in enumerate(self._stream()):
                if number == row:
                    yield line
                    row = next(wanted, None)
                    if row is None:
                        return
            return
        with self.path.open("rb") as stream:
            for place in self._starts[rows].tolist():
                stream.seek(place)
                yield stream.readline().removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")


def _line_starts(path: Path) -> NDArray[np.int64]:
    """Return where each line that is not blank starts, in bytes."""
    found = []
    at, fresh = 0, True
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n")).astype(np.int64) + 1
            starts = np.concatenate([[0], ends]) if fresh else ends
            fresh = chunk.endswith(b"\n")
            found.append(at + (starts[:-1] if fresh and len(starts) else starts))
            at += len(chunk)
        places: NDArray[np.int64] = np.concatenate(found)
        stops = np.append(places[1:], at)
        # An object starts with a brace; what starts otherwise may be a blank line and is looked at.
        head = np.empty(len(places), np.uint8)
        stream.seek(0)
        at = low = 0
        while chunk := stream.read(_CHUNK):
            high = int(np.searchsorted(places, at + len(chunk)))
            head[low:high] = np.frombuffer(chunk, np.uint8)[places[low:high] - at]
            at, low = at + len(chunk), high
        keep = np.ones(len(places), bool)
        for row in np.flatnonzero(head != ord("{")):
            stream.seek(int(places[row]))
            keep[row] = not stream.read(int(stops[row] - places[row])).isspace()
    return places[keep]


def _in_lists(lines: Iterable[bytes], most: int) -> Iterator[list[bytes]]:
    """Yield lines in lists of at most ``most``, and of about `_CHUNK` bytes."""
    found: list[bytes] = []
    weight = 0
    for line in lines:
        found.append(line)
        weight += len(line)
        if len(found) == most or weight > _CHUNK:
            yield found
            found, weight = [], 0
    if found:
        yield found


def _blocks(path: Path, batches: Iterable[Any], columns: Sequence[str]) -> Iterator[Block]:
    """Yield Arrow batches as blocks."""
    start = 0
    for batch in batches:

        def where(row: int, before: int = start) -> str:
            return f"row {before + row}"

        yield Block(path.name, {name: batch.column(name) for name in columns}, None, where)
        start += batch.num_rows


def _pick(batches: Iterable[Any], rows: NDArray[np.int64]) -> Iterator[Any]:
    """Yield tables of the wanted rows of consecutive batches, and stop after the last of them."""
    from setwise.extras.arrow import arrow

    start = done = 0
    for batch in batches:
        until = int(np.searchsorted(rows, start + batch.num_rows))
        if until > done:
            yield taken_of_table(arrow.Table.from_batches([batch]), rows[done:until] - start)
        start, done = start + batch.num_rows, until
        if done == len(rows):
            return
