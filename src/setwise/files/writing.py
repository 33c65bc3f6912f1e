"""Tables out: what is written appears whole or not at all, and replaces nothing unasked."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from setwise.asked import asked_for
from setwise.files.names import ending
from setwise.files.outputs import Outputs, together

OUTPUTS = (".jsonl", ".csv", ".parquet", ".json", ".npy")


def check_output(
    path: str | os.PathLike[str], *, force: bool, argument: str = "out", endings: Sequence[str] = OUTPUTS
) -> Path:
    """Return where an output will go, refusing before any work what could not be written after it.

    Raises
    ------
    FileExistsError
        The file is there and ``force`` is not given.
    FileNotFoundError, IsADirectoryError, PermissionError, ValueError
        Its folder is missing or not writable, it is a folder, or its ending is none of ``endings``.
    """
    target = Path(os.path.realpath(path))
    if ending(path) not in endings:
        raise ValueError(f"{argument}: {str(path)!r} ends in none of {', '.join(endings)}")
    if target.is_dir():
        raise IsADirectoryError(f"{argument}: {str(path)!r} is a folder; name a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{argument}: no folder {str(target.parent)!r}; create it first")
    if target.exists() and not force:
        raise FileExistsError(f"{argument}: {str(path)!r} exists; add --force (force=True) to replace it")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"{argument}: folder {str(target.parent)!r} is not writable")
    asked_for(target)
    return target


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
    names = list(columns)
    rows = (dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True))
    if kind == ".parquet":
        from setwise.extras.arrow import arrow, parquet

        table = arrow.table({name: _as_arrow(name, values) for name, values in columns.items()})
        write_atomic(target, lambda stream: parquet.write_table(table, stream), force=force, among=among)
    elif kind == ".csv":

        def as_csv(stream: IO[bytes]) -> None:
            text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
            writer = csv.DictWriter(text, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            text.flush()
            text.detach()

        write_atomic(target, as_csv, force=force, among=among)
    elif kind == ".jsonl":
        write_atomic(target, lambda stream: stream.writelines(as_lines(columns)), force=force, among=among)
    elif kind == ".json":
        write_json(target, list(rows), force=force, among=among)
    else:
        raise ValueError(f"out: {kind} holds one array; write the columns to .jsonl, .csv, .parquet or .json")


def as_lines(columns: Mapping[str, Sequence[Any]]) -> Iterator[bytes]:
    """Yield columns as lines of JSON, one object a row."""
    for row in zip(*columns.values(), strict=True):
        record = dict(zip(columns, row, strict=True))
        yield json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _as_arrow(name: str, values: Sequence[Any]) -> Any:
    """Return a column as Arrow has it; integers beyond 63 bits are unsigned.

    Raises
    ------
    ValueError
        Its values are of several kinds, or integers beyond 64 bits.
    """
    from setwise.extras.arrow import arrow

    try:
        return arrow.array(values)
    except OverflowError:
        pass
    except (arrow.ArrowInvalid, arrow.ArrowTypeError):
        raise ValueError(
            f"out: column {name!r} holds values of several kinds, which Parquet has no type for; write .jsonl"
        ) from None
    try:
        return arrow.array(values, arrow.uint64())
    except (OverflowError, arrow.ArrowException):
        raise ValueError(f"out: column {name!r} holds integers beyond 64 bits; write .jsonl") from None


def write_json(
    path: str | os.PathLike[str], value: Any, *, force: bool = False, among: Outputs | None = None
) -> None:
    """Write one JSON value, indented; see `write_atomic`."""
    data = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False).encode() + b"\n"
    write_atomic(path, lambda stream: stream.write(data), force=force, among=among)


def write_array(
    path: str | os.PathLike[str], array: NDArray[Any], *, force: bool = False, among: Outputs | None = None
) -> None:
    """Write an array as .npy; see `write_atomic`."""
    write_atomic(path, lambda stream: np.save(stream, array, allow_pickle=False), force=force, among=among)
