"""Tables out: what is written appears whole or not at all, and replaces nothing unasked."""

from __future__ import annotations

import contextlib
import csv
import datetime
import decimal
import io
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.asked import asked_for
from setwise.files.names import ending
from setwise.files.outputs import Outputs, check_folder, place_of, together
from setwise.files.parts import is_half_done

Columns = Mapping[str, Sequence[Any]]
Add = Callable[[Columns], object]

#: Rows of a Parquet row group, where they come one by one.
GROUP = 16_384

OUTPUTS = (".jsonl", ".csv", ".parquet", ".json", ".npy")


def check_output(
    path: str | os.PathLike[str], *, force: bool, argument: str = "out", endings: Sequence[str] = OUTPUTS
) -> Path:
    """Return where an output will go, refusing before any work what could not be written after it.

    Raises
    ------
    FileExistsError
        The file is there and ``force`` is not given.
    FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, ValueError
        Its folder is missing, none, or not writable; it is a folder, its ending is none of ``endings``; or
        the command at work reads it, too.
    """
    target = place_of(path, argument)
    if target.is_dir() or os.fspath(path).endswith(("/", os.sep)):
        raise IsADirectoryError(f"{argument}: {str(path)!r} is a folder; name a file in it")
    if ending(path) not in endings:
        raise ValueError(f"{argument}: {str(path)!r} ends in none of {', '.join(endings)}")
    if not checks.flag("force", force) and target.exists() and not is_half_done(target):
        raise FileExistsError(f"{argument}: {str(path)!r} exists; add --force (force=True) to replace it")
    check_folder(target.parent, argument)
    asked_for(target, argument)
    return target


def plain_value(value: Any) -> Any:
    """Return a value as JSON has it.

    Times as ISO 8601 spells them, decimals as numbers, UUIDs and what else there is as text, and what is not
    finite as null; those in lists and mappings too.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float | decimal.Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): plain_value(one) for name, one in value.items()}
    return list(map(plain_value, value)) if isinstance(value, list | tuple) else str(value)


def as_json(value: Any, *, ascii: bool = False, indent: int | None = None) -> str:
    """Return a value as JSON; times, decimals and the like as `plain_value` has them.

    Raises
    ------
    ValueError
        A number is not finite.
    """
    return json.dumps(value, ensure_ascii=ascii, allow_nan=False, indent=indent, default=plain_value)


def without_gaps(value: Any) -> Any:
    """Return null for a number that is not finite, in lists and mappings too; else the value as it is."""
    return plain_value(value) if isinstance(value, float | list | Mapping) else value


def write_atomic(
    path: str | os.PathLike[str],
    write: Callable[[IO[bytes]], object],
    *,
    force: bool = False,
    among: Outputs | None = None,
) -> None:
    """Write a file whole or not at all.

    The bytes go to a hidden file in the same folder, reach the disk, and then take the name in one
    step. Whatever interrupts this, no partial file is left and an existing one is as it was; of two runs
    that write one new file without ``force``, one does.

    Parameters
    ----------
    path : path-like
        Where the file will stand.
    write : callable
        Gets the open binary file.
    force : bool
        Replace an existing file.
    among : Outputs, optional
        It appears together with these.

    Raises
    ------
    FileExistsError
        The file is there and ``force`` is not given.
    """
    if among is not None:
        among.write(path, write, force=force)
        return
    with together() as one:
        one.write(path, write, force=force)


def write_table(
    path: str | os.PathLike[str],
    columns: Mapping[str, Sequence[Any]],
    *,
    force: bool = False,
    among: Outputs | None = None,
) -> None:
    """Write columns as .jsonl, .csv, .parquet or .json (a list of objects), by the path's ending.

    ``among`` as for `write_atomic`.

    Raises
    ------
    FileExistsError, FileNotFoundError, IsADirectoryError, PermissionError, ValueError
        As `check_output`.
    """
    target = check_output(path, force=force)
    kind = ending(path)
    if kind == ".parquet":
        from setwise.extras.arrow import arrow, parquet

        table = arrow.table({name: _as_arrow(name, values) for name, values in columns.items()})
        write_atomic(target, lambda stream: parquet.write_table(table, stream), force=force, among=among)
    elif kind == ".csv":

        def whole(stream: IO[bytes]) -> None:
            with _as_csv(stream) as add:
                add(columns)

        write_atomic(target, whole, force=force, among=among)
    elif kind == ".jsonl":
        write_atomic(target, lambda stream: stream.writelines(as_lines(columns)), force=force, among=among)
    elif kind == ".json":
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        write_json(target, rows, force=force, among=among)
    else:
        raise ValueError(f"out: {kind} holds one array; write the columns to .jsonl, .csv, .parquet or .json")


@contextlib.contextmanager
def growing_table(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[Add]:
    """Give what takes the rows of a .jsonl, .csv or .parquet file as they come; see `write_atomic`.

    Memory does not grow with how many there are. It is called with columns, of the same names each time.

    Raises FileExistsError, FileNotFoundError, IsADirectoryError, PermissionError, ValueError: as
    `check_output`.
    """
    target = check_output(path, force=force, endings=tuple(_GROWING))
    grow = _GROWING[ending(path)]
    with together() as outputs, outputs.opened(target, force=force) as stream, grow(stream) as add:
        yield add


@contextlib.contextmanager
def _as_lines(stream: IO[bytes]) -> Iterator[Add]:
    yield lambda columns: stream.writelines(as_lines(columns))


@contextlib.contextmanager
def _as_csv(stream: IO[bytes]) -> Iterator[Add]:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    # Only where rows end with one does csv (before Python 3.13) quote what has a carriage return within.
    rows = SimpleNamespace(write=lambda row: text.write(row.removesuffix("\r\n") + "\n"))
    writer, named = csv.writer(rows), False

    def add(columns: Columns) -> None:
        nonlocal named
        if not named:
            writer.writerow(columns)
            named = True
        writer.writerows(zip(*columns.values(), strict=True))

    try:
        yield add
    finally:
        text.detach()


@contextlib.contextmanager
def _as_parquet(stream: IO[bytes]) -> Iterator[Add]:
    """All row groups have one schema. Of what types the columns are is known when the last row has come:
    until then they stand in a file without a name."""
    from setwise.extras.arrow import arrow, parquet

    waiting: dict[str, list[Any]] = {}
    schemas: list[Any] = []
    with tempfile.TemporaryFile() as kept:

        def put() -> None:
            table = arrow.table({name: _as_arrow(name, values) for name, values in waiting.items()})
            with arrow.ipc.new_stream(kept, table.schema) as writer:
                writer.write_table(table)
            schemas.append(table.schema)
            waiting.clear()

        def add(columns: Columns) -> None:
            for name, values in columns.items():
                waiting.setdefault(name, []).extend(values)
            if len(next(iter(waiting.values()))) >= GROUP:
                put()

        yield add
        if waiting or not schemas:
            put()
        kept.seek(0)
        schema = arrow.schema([(name, _type_of(name, schemas)) for name in schemas[0].names])
        with parquet.ParquetWriter(stream, schema) as writer:
            for _ in schemas:
                with arrow.ipc.open_stream(kept) as reader:
                    table = reader.read_all()
                columns = []
                for name, column in zip(schema.names, table.columns, strict=True):
                    try:
                        columns.append(column.cast(schema.field(name).type))
                    except arrow.ArrowInvalid:  # below 0 here and beyond 63 bits there, or beyond a float
                        raise _several_kinds(name) from None
                writer.write_table(arrow.table(columns, schema=schema))


def _type_of(name: str, schemas: Sequence[Any]) -> Any:
    """Return the one type that a column of all parts of a table fits into.

    Raises ValueError: it has values of several kinds.
    """
    from setwise.extras.arrow import arrow

    found = {schema.field(name).type for schema in schemas} - {arrow.null()}
    for wider in (arrow.uint64(), arrow.float64()):
        if found == {arrow.int64(), wider}:
            return wider
    if len(found) > 1:
        raise _several_kinds(name)
    return found.pop() if found else arrow.null()


#: What writes a table's rows as they come, by the file's ending.
_GROWING = {".jsonl": _as_lines, ".csv": _as_csv, ".parquet": _as_parquet}


def as_lines(columns: Mapping[str, Sequence[Any]]) -> Iterator[bytes]:
    """Yield columns as lines of JSON, one object a row."""
    for row in zip(*columns.values(), strict=True):
        record = dict(zip(columns, row, strict=True))
        yield as_json(record).encode() + b"\n"


def _as_arrow(name: str, values: Sequence[Any]) -> Any:
    """Return a column as Arrow has it; integers beyond 63 bits are unsigned.

    Raises ValueError: its values are of several kinds, or integers beyond 64 bits.
    """
    from setwise.extras.arrow import arrow

    try:
        return arrow.array(values)
    except OverflowError:
        pass
    except (arrow.ArrowInvalid, arrow.ArrowTypeError):
        raise _several_kinds(name) from None
    try:
        return arrow.array(values, arrow.uint64())
    except (OverflowError, arrow.ArrowException):
        raise ValueError(f"out: column {name!r} holds integers beyond 64 bits; write .jsonl") from None


def _several_kinds(name: str) -> ValueError:
    return ValueError(
        f"out: column {name!r} holds values of several kinds, which Parquet has no type for; write .jsonl"
    )


@contextlib.contextmanager
def growing_list(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[Callable[[Any], object]]:
    """Give what takes the values of a JSON list as they come, indented; see `write_atomic`."""
    with together() as outputs, outputs.opened(path, force=force) as stream:
        before = "[\n  "

        def add(value: Any) -> None:
            nonlocal before
            text = as_json(value, indent=2)
            stream.write((before + text.replace("\n", "\n  ")).encode())
            before = ",\n  "

        yield add
        stream.write(b"[]\n" if before.startswith("[") else b"\n]\n")


def write_json(
    path: str | os.PathLike[str], value: Any, *, force: bool = False, among: Outputs | None = None
) -> None:
    """Write one JSON value, indented; see `write_atomic`."""
    data = as_json(value, indent=2).encode() + b"\n"
    write_atomic(path, lambda stream: stream.write(data), force=force, among=among)


def write_array(
    path: str | os.PathLike[str], array: NDArray[Any], *, force: bool = False, among: Outputs | None = None
) -> None:
    """Write an array as .npy; see `write_atomic`."""
    write_atomic(path, lambda stream: np.save(stream, array, allow_pickle=False), force=force, among=among)
