"""CSV in: whatever separates its cells, and however long they are; every cell is a string."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from setwise.files.json_lines import COMPRESSED, open_bytes
from setwise.files.names import TABBED, ending

#: What may separate cells, the likeliest first.
DELIMITERS = (",", ";", "\t", "|")

#: Rows that are looked at to tell what separates cells, and bytes they are read from.
_ROWS, _BYTES = 50, 1 << 16

#: Bytes of the longest record that is read.
_LONGEST = 1 << 30

#: The line by which Excel is told what separates cells, before the line of names.
_SEPARATOR = re.compile(r'"?sep=([\x01-\x7f])"?\r?\n', re.IGNORECASE)


def encoding_of(path: Path) -> str:
    """Return the encoding that a file's first bytes announce; UTF-8 where they announce none."""
    with open_bytes(path) as stream:
        start = stream.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8"


def delimiter_of(path: Path) -> str:
    """Return what separates a table's cells: what cuts its first rows into the most equal columns.

    A comma where nothing does, and where two do it alike; in a file that is called so, a tab; what a first
    line ``sep=;`` says.
    """
    if _is_tabbed(path):
        return "\t"
    text, whole, said = _start(path)
    if said is not None:
        return said
    widths: dict[str, int] = {}
    for mark in DELIMITERS:
        rows = list(itertools.islice(_cells(text, mark), _ROWS + 1))
        rows = rows if whole or len(rows) > _ROWS else rows[:-1] or rows  # the last may be cut in the middle
        counts = {len(row) for row in rows if row}
        widths[mark] = counts.pop() if len(counts) == 1 else 1
    return max(DELIMITERS, key=lambda mark: widths[mark])


def read_csv(path: Path, columns: list[str]) -> Any:
    """Read some columns of a CSV file as an Arrow table of strings (an id of 007 stays one).

    Raises pyarrow.ArrowInvalid: rows differ in length, or the file is not in its encoding.
    """
    from setwise.extras.arrow import arrow

    return _whole(path, include_columns=columns, column_types=dict.fromkeys(columns, arrow.string()))


def csv_schema(path: Path) -> Any:
    """Return the columns of a CSV file with the types that all of their cells have, as an Arrow schema.

    Raises pyarrow.ArrowInvalid: see `read_csv`; ValueError: a cell is not in the file's encoding, or there
    are no rows.
    """
    from setwise.extras.arrow import types

    whole = _whole(path, strings_can_be_null=True)
    schema = whole.schema
    if not whole.num_rows:
        raise ValueError(f"{path.name} has no rows")
    if any(types.is_binary(field.type) for field in schema):  # what could not be decoded
        raise _not_decoded(path)
    return schema


def csv_batches(path: Path) -> Iterator[Any]:
    """Yield a CSV file's rows in order as Arrow batches of strings.

    Raises pyarrow.ArrowInvalid: see `read_csv`.
    """
    from setwise.extras.arrow import arrow
    from setwise.extras.arrow import csv as arrow_csv

    mark = delimiter_of(path)
    names = next(_cells(_start(path)[0], mark), [])
    types = dict.fromkeys(names, arrow.string())
    done = 0
    for size in _sizes(path):
        seen = 0
        try:
            with (
                open_bytes(path) as stream,
                arrow_csv.open_csv(stream, *_options(path, size, column_types=types)) as reader,
            ):
                for batch in reader:
                    seen += batch.num_rows
                    if seen > done:  # what smaller blocks gave already is passed over
                        yield batch.slice(max(0, batch.num_rows - (seen - done)))
                        done = seen
            return
        except arrow.ArrowInvalid as error:
            _check_grows(path, error)


def _not_decoded(path: Path) -> ValueError:
    """Return the error of a file that is not in the encoding it seems to be in; it names the first line."""
    with open_bytes(path) as stream:
        for number, line in enumerate(stream, 1):
            if b"\0" in line:
                return ValueError(f"{path.name} is UTF-16 without a mark, or no text; save it as UTF-8")
            try:
                line.decode()
            except UnicodeDecodeError:
                return ValueError(f"{path.name}, line {number} is not UTF-8; save the file as UTF-8")
    return ValueError(f"{path.name} is not in its encoding; save it as UTF-8")


def _whole(path: Path, **convert: Any) -> Any:
    """Read a CSV file at once."""
    from setwise.extras.arrow import arrow
    from setwise.extras.arrow import csv as arrow_csv

    for size in _sizes(path):
        try:
            with open_bytes(path) as stream:
                return arrow_csv.read_csv(stream, *_options(path, size, **convert))
        except arrow.ArrowInvalid as error:
            _check_grows(path, error)
    raise AssertionError("a block of the largest size ends in its own error")


def _start(path: Path) -> tuple[str, bool, str | None]:
    """Return how a file's rows begin, as text; whether that is all of them; and what a first line says
    separates their cells."""
    with open_bytes(path) as stream:
        start = stream.read(_BYTES)
        whole = not stream.read(1)
    text = start.decode(encoding_of(path), errors="replace").removeprefix("\ufeff")
    said = _SEPARATOR.match(text)
    return (text, whole, None) if said is None else (text[said.end() :], whole, said[1])


def _cells(text: str, mark: str) -> Iterator[list[str]]:
    """Yield the rows of a text, cut at a mark; it ends where the text cannot be cut."""
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    except csv.Error:
        return


def _options(path: Path, size: int, **convert: Any) -> tuple[Any, Any, Any]:
    """Return the arguments of Arrow's reader, which works in blocks that hold whole records."""
    from setwise.extras.arrow import csv as arrow_csv

    quoted = _is_quoted(path)
    return (
        arrow_csv.ReadOptions(
            block_size=size, encoding=encoding_of(path), skip_rows=int(_start(path)[2] is not None)
        ),
        arrow_csv.ParseOptions(
            delimiter=delimiter_of(path), quote_char='"' if quoted else False, newlines_in_values=quoted
        ),
        arrow_csv.ConvertOptions(**convert),
    )


def _is_tabbed(path: Path) -> bool:
    """Return whether a file is called a table of tabs."""
    return ending(path) in TABBED


def _is_quoted(path: Path) -> bool:
    """Return whether quotes enclose cells: in a table of tabs only where each is closed in its line.

    Raises ValueError: a quote is still open at the end, so that it holds all rows after it.
    """
    with open_bytes(path) as stream:
        lines = (line for line in stream if b'"' in line)
        if _is_tabbed(path):
            return all(_closes(cell) for line in lines for cell in line.rstrip(b"\r\n").split(b"\t"))
        if sum(line.count(b'"') for line in lines) % 2 == 0:
            return True
    began = 1
    with open_bytes(path) as stream:
        text = io.TextIOWrapper(stream, encoding_of(path), errors="replace", newline="")
        rows = csv.reader(text, delimiter=delimiter_of(path), strict=True)
        try:
            for _ in rows:
                began = rows.line_num + 1
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise ValueError(f"{path.name}: the quote that line {began} opens is never closed") from None
    return True


def _closes(cell: bytes) -> bool:
    """Return whether a cell has no quote at its start, or is enclosed by quotes, those within doubled."""
    inner = cell[1:-1].replace(b'""', b"")
    return not cell.startswith(b'"') or (len(cell) > 1 and cell.endswith(b'"') and b'"' not in inner)


def _sizes(path: Path) -> Iterator[int]:
    """Yield sizes of blocks, until the longest record that the file can have fits."""
    size = 1 << 20
    held = _LONGEST if path.suffix.lower() in COMPRESSED else 2 * path.stat().st_size
    while size < min(held, _LONGEST):
        yield size
        size *= 8
    yield min(size, _LONGEST)


def _check_grows(path: Path, error: Exception) -> None:
    """Go on where a record was longer than a block; raise anything else that is wrong."""
    with open_bytes(path) as stream:
        start = stream.read(_BYTES)
    if "UTF8" in str(error) or (b"\0" in start and encoding_of(path) == "utf-8"):
        raise _not_decoded(path) from None
    if "straddling" not in str(error):
        raise error
