"""A corpus: what there is to choose from, as texts with ids and, if the caller brings them, numbers."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import frames
from setwise.files.documents import CHUNK, DOCUMENTS, KINDS, read_passages
from setwise.files.documents.passages import check_chunk
from setwise.files.kinds import id_columns, text_columns, unchosen, unchosen_ids
from setwise.files.names import column, ending, existing
from setwise.files.reading import (
    KNOWN,
    TABLES,
    Frame,
    TableFile,
    array_beside,
    of_length,
    read_matrix,
)
from setwise.files.table import Table

_log = logging.getLogger(__name__)

#: Kinds of columns that are kept beside texts.
_KEPT = ("string", "integer", "number", "boolean", "uuid", "time")


_NOWHERE = "links that lead nowhere"


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
        A label a candidate; for passages, their document.
    columns : mapping of str to sequence
        What else is known of each candidate: a table's other columns; for passages ``file``, ``title`` and
        ``position``.
    notes : tuple of str
        What a person should know about how it was read.
    """

    source: Path | None
    ids: Sequence[str | int]
    texts: Sequence[str] | None = None
    vectors: NDArray[Any] | None = None
    relevance: NDArray[np.float64] | None = None
    groups: Sequence[str | int] | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def read_corpus(
    path: Any,
    *,
    text: str | None = None,
    id: str | None = None,
    vectors: str | None = None,
    relevance: str | None = None,
    group: str | None = None,
    chunk: int | str | None = None,
    overlap: int | None = None,
) -> Corpus:
    """Read a corpus.

    Parameters
    ----------
    path : path-like or frame
        A table (see `setwise.files.TABLES`) or a frame of pandas, polars, Arrow or a Hugging Face dataset, a
        .npy file of vectors, a folder of documents (see
        `setwise.files.documents.KINDS`; read recursively, hidden ones left out), or one document.
    text : str, optional
        Column of texts; by default the first of `TEXT_COLUMNS` that there is, or the only column of strings.
    id : str, optional
        Column of ids; by default the first of `ID_COLUMNS` that there is and that does not repeat itself,
        else rows are numbered from 0. A passage's id is its file's relative path, with ``:`` and its position
        where the file has several.
    vectors : str, optional
        Column of vectors, or a .npy file, looked for as given and beside the corpus.
    relevance : str, optional
        Column of numbers, higher is better.
    group : str, optional
        Column of labels.
    chunk : int, "paragraph" or "file", optional
        What a passage of a document is; see `setwise.files.documents.split_text`. By default `CHUNK` tokens
        in a folder, a paragraph of a single document.
    overlap : int, optional
        Tokens that passages of one section share.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        A file or column is missing, a row holds something else, ids repeat, or there is nothing to read.
    ImportError
        A document needs a package that is not installed.
    """
    named = {"text": text, "id": id, "relevance": relevance, "group": group}
    if frames.kind_of(path, "corpus") is not None:
        return _read_corpus_table(None, Frame(path, "corpus"), vectors, **named)
    source = existing(path, "corpus")
    documents = source.is_dir() or ending(source) in KINDS
    if documents or ending(source) == ".npy":
        for argument, value in named.items():
            if value is not None:
                raise ValueError(f"{argument}: {source.name!r} has no columns; {argument} is for tables")
    if documents:
        return _read_documents(source, vectors, chunk, overlap or 0)
    for argument, asked in (("chunk", chunk), ("overlap", overlap)):
        if asked is not None:
            raise ValueError(f"{argument}: {source.name!r} is cut by its rows; {argument} is for documents")
    if ending(source) == ".npy":
        if vectors is not None:
            raise ValueError(
                "vectors: the corpus is a .npy file of vectors already; leave one of the two out"
            )
        array = read_matrix(source, "corpus")
        return Corpus(source, range(len(array)), vectors=array)
    if ending(source) not in TABLES:
        raise ValueError(
            f"corpus: {source.name!r} ends in none of {KNOWN}, .npy, is no document ({DOCUMENTS}), and is no "
            "folder"
        )
    return _read_corpus_table(source, TableFile(source), vectors, **named)


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
    source: Path | None,
    rows: TableFile | Frame,
    vectors: str | None,
    text: str | None,
    id: str | None,
    relevance: str | None,
    group: str | None,
) -> Corpus:
    """Read a corpus from the columns of a table."""
    types = rows.kinds("corpus")
    beside = vectors is not None and vectors.lower().endswith(".npy") and vectors not in types
    chosen = {"id": id, "vectors": None if beside else vectors, "relevance": relevance, "group": group}
    for argument, name in [("text", text), *chosen.items()]:
        if name is not None:
            column(types, name, argument, rows.name)
    taken = {name for name in chosen.values() if name is not None}
    asked = text
    if text is None:
        text = next(iter(text_columns(types, taken, holds=rows.holds_text)), None)
    if text is None and vectors is None:
        raise ValueError(
            f"text: {rows.name} has no column that is known to hold texts; name one of {', '.join(types)}"
        )
    candidates = [id] if id else id_columns(types, taken)
    kept = [name for name, kind in types.items() if kind in _KEPT and name not in (text, id, vectors)]
    wanted = [name for name in (text, *chosen.values(), *candidates, *kept) if name is not None]
    table = rows.read(wanted or list(types)[:1], "corpus")
    ids, notes, used = _ids(table, candidates, given=id is not None)
    told = [unchosen(types, (text,), taken)] if text is not None and asked is None else []
    if id is None and not notes:
        told.append(unchosen_ids(types, used, {name for name in (text, *taken) if name is not None}))
    notes = (*filter(None, told), *notes)
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
        {name: table.values(name) for name in kept if name != used},
        notes,
    )


def _ids(
    table: Table, columns: Sequence[str], *, given: bool
) -> tuple[Sequence[str | int], tuple[str, ...], str | None]:
    """Return the first column of ids that may serve, or row numbers; what to tell about it; its name."""
    problems: list[str] = []
    for name in columns:
        try:
            ids = table.labels(name, "id")
            problem, mend = table.repeated(ids), "name a column without repeats"
        except TypeError as error:
            problem, mend = str(error), "name another column"
        if problem is None:
            told = [f"{one}: column {name!r} is used instead" for one in problems[:1]]
            return ids, tuple(told), name
        if given:
            raise ValueError(f"{problem}; {mend}")
        problems.append(problem)
    return range(len(table)), tuple(f"{one}: rows are numbered instead" for one in problems[:1]), None


def _vectors_beside(source: Path | None, vectors: str | None, n: int) -> NDArray[Any] | None:
    """Return the vectors of a .npy file that is named beside a corpus of n candidates."""
    if vectors is None:
        return None
    shown = Frame.name if source is None else source.name
    path = array_beside(source, vectors, "vectors", shown)
    return of_length(read_matrix(path, "vectors"), n, path, "vectors", shown)


def _walk(folder: Path, passed: dict[str, list[str]]) -> Iterator[Path]:
    """Yield a folder's files in sorted order, without hidden ones; note the names of what is passed over.

    Links are followed to files within the folder alone: what lies elsewhere is not the corpus's to show.
    """
    home = folder.resolve()

    def closed(error: OSError) -> None:
        passed.setdefault("folders that cannot be read", []).append(str(error.filename))

    for parent, folders, names in os.walk(folder, onerror=closed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted([*names, *folders]):
            path = Path(parent, name)
            if name.startswith(".") or (name in folders and not path.is_symlink()):
                continue
            why = why_not(path, home)
            if why:
                passed.setdefault(why, []).append(path.relative_to(folder).as_posix())
            else:
                yield path


def why_not(path: Path, home: Path) -> str:
    """Return why a file or link in a folder is not read; nothing if it is."""
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(home):
            return "links that lead out of the folder, not followed" if path.exists() else _NOWHERE
        if path.is_symlink() and not path.exists():
            return _NOWHERE
    except (OSError, RuntimeError):  # links in a circle
        return _NOWHERE
    return "" if path.is_file() else "neither files nor folders of their own"


def _read_documents(source: Path, vectors: str | None, chunk: int | str | None, overlap: int) -> Corpus:
    """Read the passages of a folder's documents, or of one document."""
    if chunk is None:
        chunk = CHUNK if source.is_dir() or overlap else "paragraph"
    check_chunk(chunk, overlap)
    notes: tuple[str, ...] = ()
    if source.is_dir():
        files, notes = _documents_in(source)
    else:
        files = [source]
    ids: list[str | int] = []
    texts: list[str] = []
    columns: dict[str, list[Any]] = {"file": [], "title": [], "position": []}
    for path in files:
        name = path.relative_to(source).as_posix() if source.is_dir() else path.name
        passages = read_passages(path, name, chunk=chunk, overlap=overlap)
        seen: Counter[int] = Counter()
        for passage in passages:
            seen[passage.position] += 1
            nth = seen[passage.position]
            place = f":{passage.position}" + (f".{nth}" if nth > 1 else "")
            ids.append(name + place if len(passages) > 1 else name)
            texts.append(passage.text)
            for values, value in zip(columns.values(), (name, passage.title, passage.position), strict=True):
                values.append(value)
    if not ids:
        what = f"{len(files)} documents" if source.is_dir() else source.name
        raise ValueError(f"corpus: there is no text in {what}")
    _log.info("%d passages of %d documents from %s", len(ids), len(files), source)
    return Corpus(
        source,
        ids,
        texts,
        _vectors_beside(source, vectors, len(ids)),
        groups=columns["file"],
        columns=columns,
        notes=notes,
    )


def _documents_in(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Return a folder's documents, and what was passed over. Raises ValueError: there are none."""
    files, others = [], Counter[str]()
    tables: list[str] = []
    passed: dict[str, list[str]] = {}
    for path in _walk(folder, passed):
        if ending(path) in KINDS:
            files.append(path)
        else:
            others[path.suffix.lower() or "without an ending"] += 1
            tables += [path.name] if ending(path) in TABLES else []
    if not files:
        hint = f"; for a table name it, such as {tables[0]}" if tables else ""
        raise ValueError(f"corpus: folder {str(folder)!r} holds no document ({DOCUMENTS}){hint}")
    notes = []
    if others:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common(5))
        notes.append(f"files that are no documents, passed over: {kinds}")
    for why, names in passed.items():
        more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
        notes.append(f"{why}: {', '.join(names[:5])}{more}")
    return files, tuple(notes)
