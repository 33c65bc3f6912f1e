"""Tables out: what is written appears whole or not at all, and replaces nothing unasked."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from setwise.files.names import ending
from setwise.files.parts import part_for, remove_dead

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
    return target


def write_atomic(
    path: str | os.PathLike[str], write: Callable[[IO[bytes]], object], *, force: bool = False
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

    Raises
    ------
    FileExistsError
        The file is there and ``force`` is not given.
    """
    target = Path(os.path.realpath(path))
    there = FileExistsError(f"{str(path)!r} exists; pass force=True to replace it")
    if target.exists() and not force:
        raise there
    remove_dead(target)
    part = part_for(target)
    try:
        with part.open("xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        if force or not _linked(part, target):
            os.replace(part, target)
    except FileExistsError:
        raise there from None
    finally:
        part.unlink(missing_ok=True)


def _linked(part: Path, target: Path) -> bool:
    """Give a file a second name that nothing has yet; return False where the file system has no such names.

    Raises
    ------
    FileExistsError
        Something has that name.
    """
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:
        if target.exists():
            raise FileExistsError from None
        return False
    return True


def write_table(
    path: str | os.PathLike[str], columns: Mapping[str, Sequence[Any]], *, force: bool = False
) -> None:
    """Write columns as .jsonl, .csv, .parquet or .json (a list of objects), by the path's ending.

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

        table = arrow.table({name: arrow.array(values) for name, values in columns.items()})
        write_atomic(target, lambda stream: parquet.write_table(table, stream), force=force)
    elif kind == ".csv":

        def as_csv(stream: IO[bytes]) -> None:
            text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
            writer = csv.DictWriter(text, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            text.flush()
            text.detach()

        write_atomic(target, as_csv, force=force)
    elif kind == ".jsonl":
        lines = (json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n" for row in rows)
        write_atomic(target, lambda stream: stream.writelines(lines), force=force)
    elif kind == ".json":
        write_json(target, list(rows), force=force)
    else:
        raise ValueError(f"out: {kind} holds one array; write the columns to .jsonl, .csv, .parquet or .json")


def write_json(path: str | os.PathLike[str], value: Any, *, force: bool = False) -> None:
    """Write one JSON value, indented."""
    data = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False).encode() + b"\n"
    write_atomic(path, lambda stream: stream.write(data), force=force)


def write_array(path: str | os.PathLike[str], array: NDArray[Any], *, force: bool = False) -> None:
    """Write an array as .npy."""
    write_atomic(path, lambda stream: np.save(stream, array, allow_pickle=False), force=force)
