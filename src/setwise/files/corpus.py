"""A corpus: what there is to choose from, as texts with ids and, if the caller brings them, numbers."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.files.kinds import ID_COLUMNS, text_column, unchosen
from setwise.files.names import column, ending, existing
from setwise.files.reading import TABLES, column_types, read_array, read_table
from setwise.files.table import Table

TEXTS = (".txt", ".md", ".rst")


@dataclass(frozen=True, eq=False)
class Corpus:
    """Candidates read from a file or folder.

    Attributes
    ----------
    source : Path or None
        Where they came from; None if they came from nowhere on disk.
    ids : sequence of str or int
        One a candidate, all different.
    texts : sequence of str or None
        One a candidate; None if there are only numbers.
    vectors : ndarray of shape (n, d) or None
        Brought by the caller.
    relevance : ndarray of shape (n,) or None
        Brought by the caller, higher is better.
    groups : sequence of str or int, or None
        A label a candidate.
    notes : tuple of str
        What a person should know about how it was read.
    """

    source: Path | None
    ids: Sequence[str | int]
    texts: Sequence[str] | None = None
    vectors: NDArray[Any] | None = None
    relevance: NDArray[np.float64] | None = None
    groups: Sequence[str | int] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def read_corpus(
    path: str | os.PathLike[str],
    *,
    text: str | None = None,
    id: str | None = None,
    vectors: str | None = None,
    relevance: str | None = None,
    group: str | None = None,
) -> Corpus:
    """Read a corpus.

    Parameters
    ----------
    path : path-like
        A table (see `setwise.files.TABLES`), a .npy file of vectors, a folder of .txt, .md and .rst files
        (read recursively, one candidate a file, hidden ones left out), or one such file (one candidate a
        paragraph).
    text : str, optional
        Column of texts; by default the first of `TEXT_COLUMNS` that there is, or the only column of strings.
    id : str, optional
        Column of ids; by default the first of `ID_COLUMNS` that there is and that does not repeat itself,
        else rows are numbered from 0. A folder's ids are its files' relative paths.
    vectors : str, optional
        Column of vectors, or a .npy file, looked for as given and beside the corpus.
    relevance : str, optional
        Column of numbers, higher is better.
    group : str, optional
        Column of labels.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        A file or column is missing, a row holds something else, ids repeat, or there is nothing to read.
    """
    source = existing(path, "corpus")
    named = {"text": text, "id": id, "relevance": relevance, "group": group}
    if source.is_dir() or ending(source) in TEXTS or ending(source) == ".npy":
        for argument, value in named.items():
            if value is not None:
                raise ValueError(f"{argument}: {source.name!r} has no columns; {argument} is for tables")
    if source.is_dir():
        ids, texts = _read_folder(source)
        return Corpus(source, ids, texts, _vectors_beside(source, vectors, len(ids)))
    if ending(source) in TEXTS:
        ids, texts = _read_paragraphs(source)
        return Corpus(source, ids, texts, _vectors_beside(source, vectors, len(ids)))
    if ending(source) == ".npy":
        if vectors is not None:
            raise ValueError(
                "vectors: the corpus is a .npy file of vectors already; leave one of the two out"
            )
        array = _two_dimensional(read_array(source, "corpus"), "corpus", source.name)
        return Corpus(source, range(len(array)), vectors=array)
    if ending(source) not in TABLES:
        known = ", ".join([*TABLES, ".npy", *TEXTS])
        raise ValueError(f"corpus: {source.name!r} ends in none of {known}, and is no folder")
    return _read_corpus_table(source, vectors, **named)


def duplicates(texts: Sequence[str]) -> dict[int, int]:
    """Return the rows whose text an earlier row has already, each with the first such row.

    Blank texts are not counted; composed and decomposed spellings of one text are the same.
    """
    first: dict[str, int] = {}
    composed = (value if value.isascii() else unicodedata.normalize("NFC", value) for value in texts)
    return {
        row: seen
        for row, value in enumerate(composed)
        if value and not value.isspace() and (seen := first.setdefault(value, row)) != row
    }


def _read_corpus_table(
    source: Path,
    vectors: str | None,
    text: str | None,
    id: str | None,
    relevance: str | None,
    group: str | None,
) -> Corpus:
    """Read a corpus from the columns of a table."""
    types = column_types(source, "corpus")
    beside = vectors is not None and vectors.lower().endswith(".npy") and vectors not in types
    chosen = {"id": id, "vectors": None if beside else vectors, "relevance": relevance, "group": group}
    for argument, name in [("text", text), *chosen.items()]:
        if name is not None:
            column(types, name, argument, source.name)
    taken = {name for name in chosen.values() if name is not None}
    asked = text
    text = text or text_column(types, taken)
    if text is None and vectors is None:
        raise ValueError(
            f"text: {source.name} has no column that is known to hold texts; name one of {', '.join(types)}"
        )
    id_columns = [id] if id else [name for name in ID_COLUMNS if name in types and name not in taken]
    wanted = [name for name in (text, *chosen.values(), *id_columns) if name is not None]
    table = read_table(source, wanted or list(types)[:1], "corpus")
    ids, notes = _ids(table, id_columns, given=id is not None)
    if text is not None and asked is None and (told := unchosen(types, text, taken)):
        notes = (told, *notes)
    brought: NDArray[Any] | None = None
    if vectors is not None:
        brought = _vectors_beside(source, vectors, len(table)) if beside else table.vectors(vectors)
    return Corpus(
        source,
        ids,
        None if text is None else table.texts(text),
        brought,
        None if relevance is None else table.numbers(relevance, "relevance"),
        None if group is None else table.labels(group, "group"),
        notes,
    )


def _ids(table: Table, columns: Sequence[str], *, given: bool) -> tuple[Sequence[str | int], tuple[str, ...]]:
    """Return the first column of ids that may serve, or row numbers, and what to tell about it."""
    notes: list[str] = []
    for name in columns:
        problem = None
        try:
            ids = table.labels(name, "id")
        except TypeError as error:
            problem = str(error)
        else:
            first: dict[str, int] = {}
            for row, value in enumerate(ids):
                seen = first.setdefault(str(value), row)
                if seen != row:
                    places = f"{table.place(seen)} and {table.place(row)}"
                    problem = f"id: {value!r} stands in {places} of {table.source}"
                    break
            else:
                return ids, tuple(notes)
        if given:
            raise ValueError(f"{problem}; name a column without repeats")
        notes.append(f"{problem}: rows are numbered instead")
    return range(len(table)), tuple(notes[:1])


def _vectors_beside(source: Path, vectors: str | None, n: int) -> NDArray[Any] | None:
    """Return the vectors of a .npy file that is named beside a corpus of n candidates."""
    if vectors is None:
        return None
    if not vectors.lower().endswith(".npy"):
        raise ValueError(
            f"vectors: {source.name!r} has no columns; name a .npy file with one row a candidate"
        )
    path = Path(vectors)
    if not path.exists() and (source.parent / path).exists():
        path = source.parent / path
    array = _two_dimensional(read_array(path, "vectors"), "vectors", path.name)
    if len(array) != n:
        raise ValueError(
            f"vectors: {path.name} has {len(array)} rows, {source.name} has {n}; they must match"
        )
    return array


def _two_dimensional(array: NDArray[Any], argument: str, name: str) -> NDArray[Any]:
    if array.ndim != 2:
        raise ValueError(f"{argument}: {name} has shape {array.shape}, expected (n, d)")
    return array


def _walk(folder: Path) -> Iterator[Path]:
    """Yield a folder's files in sorted order, without hidden ones."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(parent, name)


def _read_folder(folder: Path) -> tuple[list[str | int], list[str]]:
    """Read every text file of a folder: relative paths and contents."""
    ids: list[str | int] = []
    texts = []
    others: dict[str, int] = {}
    for path in _walk(folder):
        if ending(path) in TEXTS:
            ids.append(path.relative_to(folder).as_posix())
            texts.append(_read_text(path, ids[-1]))
        elif ending(path) in TABLES:
            others[path.name] = 1
    if not ids:
        hint = f"; for a table name it, such as {next(iter(others))}" if others else ""
        raise ValueError(f"corpus: folder {str(folder)!r} holds no {', '.join(TEXTS)} file{hint}")
    return ids, texts


def _read_paragraphs(path: Path) -> tuple[list[str | int], list[str]]:
    """Read one text file: its paragraphs, each named by the line it starts on."""
    text = _read_text(path, path.name)
    ids: list[str | int] = []
    texts = []
    lines = enumerate(text.splitlines(), 1)
    for blank, paragraph in itertools.groupby(lines, lambda line: not line[1].strip()):
        if not blank:
            numbers, content = zip(*paragraph, strict=True)
            ids.append(f"{path.name}:{numbers[0]}")
            texts.append("\n".join(content).strip())
    if not ids:
        raise ValueError(f"corpus: {path.name} is empty")
    return ids, texts


def _read_text(path: Path, name: object) -> str:
    """Read a UTF-8 text file, or name the one that is not."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"corpus: {name} is not UTF-8 (byte {error.start}); save it as UTF-8 or leave it out"
        ) from None
