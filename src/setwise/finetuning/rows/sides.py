"""One side of a match, the repository or the examples: its rows, and its vectors where they are brought."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from setwise import frames
from setwise.encode.words import has_word
from setwise.files import read_array
from setwise.files.arrays import write_rows
from setwise.files.names import column, ending, existing, named
from setwise.files.parts import scratch
from setwise.finetuning.rows.repository import Repository
from setwise.progress import StepProgress

#: A file, or vectors in memory.
Source: TypeAlias = str | os.PathLike[str] | NDArray[Any]


def as_path(source: Any) -> Path | None:
    """Return the path of a source that is a file or folder, else None."""
    return Path(source) if isinstance(source, str | os.PathLike) else None


def check_path(source: Any, argument: str) -> None:
    """Refuse a source that is an empty path. Raises ValueError: it is one."""
    if isinstance(source, str | os.PathLike):
        named(source, argument)


def name_of(source: Any) -> str | None:
    """Return a source as a person knows it; of several by name these names."""
    if isinstance(source, Mapping) and not frames.has_splits(source):
        return ", ".join(map(str, source))
    path = as_path(source)
    return str(path) if path is not None else None if source is None else "array"


def opened_side(
    source: Source,
    text: str | Sequence[str],
    vectors: Source | None,
    argument: str,
    stack: contextlib.ExitStack,
    roles: str | Sequence[str] = (),
) -> tuple[Repository | None, NDArray[Any] | None]:
    """Return the rows of a repository or of examples, and their vectors where these are brought.

    Parameters
    ----------
    source : path-like, frame or array-like of shape (n, d)
    text : str or sequence of str
        Columns of texts; see `Repository`.
    vectors : str, path-like or array-like, optional
        A column, a .npy file or an array.
    argument : {"repository", "examples"}
    stack : ExitStack
        A column of vectors is kept in a file as long as it is open.
    roles : str or sequence of str
        See `Repository`.
    """
    option = "vectors" if argument == "repository" else "example_vectors"
    given = as_path(source)
    framed = frames.kind_of(frames.training_split(source, argument)[0], argument) is not None
    if not framed and (given is None or ending(given) == ".npy"):
        shown = "an array" if given is None else existing(given, argument).name
        if vectors is not None:
            raise ValueError(f"{option}: {shown} holds vectors already; leave one of the two out")
        if text and argument == "repository":
            raise ValueError(f"text_column: {shown} is vectors without columns")
        return None, vectors_of(source, argument)
    rows = Repository(source, text_column=text, roles=roles, argument=argument)
    path = rows.source
    if vectors is None:
        return rows, None
    file = as_path(vectors)
    if file is not None and (str(file) in rows.columns or ending(file) != ".npy"):
        return rows, _column(rows, str(file), option, stack)
    home = path if path.is_dir() else path.parent
    if file is not None and not file.exists() and (home / file).exists():
        vectors = home / file
    array = vectors_of(vectors, option)
    if len(array) != len(rows):
        shown = "the array" if file is None else file.name
        raise ValueError(
            f"{option}: {shown} has {len(array):,} rows, {path.name} has {len(rows):,}; they must match"
        )
    return rows, array


def _column(rows: Repository, name: str, option: str, stack: contextlib.ExitStack) -> NDArray[Any]:
    """Return a column of vectors, in a memory map that lasts as long as the context."""
    column(rows.columns, name, option, rows.source.name)

    def parts() -> Iterator[NDArray[Any]]:
        first: NDArray[Any] | None = None
        for block in rows.blocks([name]):
            part = block.vectors(name, option)
            first = part[:1] if first is None else first
            if part.shape[1] != first.shape[1]:
                raise ValueError(
                    f"{option}: {rows.source.name} has {part.shape[1]} numbers in {block.place(0)} of "
                    f"{name!r}, {first.shape[1]} before; all need the same"
                )
            yield part.astype(first.dtype, copy=False)

    file = stack.enter_context(scratch()) / "vectors.npy"
    write_rows(file, len(rows), parts())
    vectors: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return vectors


def vectors_of(source: Source, argument: str) -> NDArray[Any]:
    """Return vectors, shape (n, d), from a .npy file or an array.

    Raises FileNotFoundError: there is no such file; TypeError: it is no path, and no array of numbers;
    ValueError: it holds something else.
    """
    path = as_path(source)
    array = np.asarray(source) if path is None else read_array(path, argument)
    if path is None and array.dtype.kind not in "biuf":
        raise TypeError(
            f"{argument}: expected a file, a table or an array of numbers, got {type(source).__name__}; rows "
            "in memory are a table such as datasets.Dataset.from_list(rows)"
        )
    if array.ndim != 2 or not len(array):
        shown = "the array" if path is None else path.name
        raise ValueError(f"{argument}: {shown} has shape {array.shape}, expected (n, d) with n of at least 1")
    return array


def with_text(rows: Repository, tell: StepProgress) -> NDArray[np.int64]:
    """Return the rows whose text has a letter or digit."""
    found = []
    done = 0
    for texts in rows.texts():
        found += [done + place for place, text in enumerate(texts) if has_word(text)]
        done += len(texts)
        tell("reading", done, len(rows))
    return np.asarray(found, np.int64)


def is_empty(rows: Repository, row: int) -> ValueError:
    """Return the refusal of a row without text."""
    return ValueError(
        f"empty: row {row} of {rows.source.name} has no word that is known, or no text at all, in "
        f"{rows.where}; mend it, or leave it out with empty 'drop'"
    )
