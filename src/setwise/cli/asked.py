"""What is looked for: queries from the command line, from files, from standard input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Names under which queries and their ids usually stand, the likeliest first; then those of texts and ids.
QUERY_COLUMNS = ("query", "question", "queries", "questions")
QUERY_IDS = ("query_id", "qid")


@dataclass(frozen=True, eq=False)
class Asked:
    """One thing that is looked for.

    Attributes
    ----------
    name : str or int
        Its id in a file, else its number from 1.
    text : str, optional
    vector : ndarray, optional
        Brought in its place; with neither, the corpus says what is relevant.
    heading : str
        What stands above its set.
    """

    name: str | int
    text: str | None
    vector: NDArray[np.float32] | None
    heading: str


def read_asked(
    queries: list[str], file: str | None, vectors: str | None, relevance: str | None, corpus: str | None
) -> list[Asked]:
    """Return what is looked for.

    Parameters
    ----------
    queries : list of str
        Each an own query.
    file : str, optional
        A text file with a query a line, or a table with a column of queries.
    vectors : str, optional
        A .npy file of one vector, shape (d,), or of several, shape (m, d).
    relevance : str, optional
        The column that says what is relevant.
    corpus : str, optional
        What it is a column of.

    Raises FileNotFoundError, TypeError, ValueError: nothing is looked for, or it is said twice; a file is
    missing or holds something else; a query is blank.
    """
    ways = (
        ("--query", queries),
        ("--queries", file),
        ("--query-vector", vectors),
        ("--relevance", relevance),
    )
    given = [option for option, value in ways if value]
    if not given:
        raise ValueError(
            "query: say what is looked for with --query, --queries, --query-vector or --relevance"
        )
    if len(given) > 1:
        raise ValueError(f"query: {' and '.join(given)} say the same thing twice; leave one out")
    if vectors is not None:
        return _vectors(Path(vectors))
    if file is not None:
        names, texts = _texts(Path(file))
    else:
        names, texts = list(range(1, len(queries) + 1)), list(map(_decoded, queries))
    if relevance is not None:
        return [Asked(1, None, None, Path(str(corpus)).name)]
    for name, text in zip(names, texts, strict=True):
        if not text.strip():
            where = "" if file is None else f"{Path(file).name}, "
            raise ValueError(f"query: {where}query {name!r} is blank; write what to find")
    return [Asked(name, text, None, f"“{text}”") for name, text in zip(names, texts, strict=True)]


def _decoded(text: str) -> str:
    """Return a word of the command line as text, also where the locale's encoding has not all of UTF-8.

    Raises ValueError: it is not UTF-8.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode()
    except UnicodeError:
        raise ValueError(f"query: {text!r} is not UTF-8; write it in a file, for --queries") from None


def _texts(path: Path) -> tuple[list[Any], list[str]]:
    """Return the ids and texts of a file's queries."""
    from setwise.cli import output
    from setwise.files import TABLES, column_holds_text, column_types, read_table
    from setwise.files.kinds import ID_COLUMNS, TEXT_COLUMNS, called, text_columns, unchosen_ids
    from setwise.files.names import ending, existing
    from setwise.files.reading import reading_file

    existing(path, "queries")
    if ending(path) not in TABLES:
        with reading_file(path, "queries"):
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
        if not numbered:
            raise ValueError(f"queries: {path.name} has none; write one a line")
        return [number for number, _ in numbered], [line for _, line in numbered]
    kinds = column_types(path, "queries")
    known = (*QUERY_COLUMNS, *TEXT_COLUMNS)
    holds = partial(column_holds_text, path, argument="queries")
    named = next(iter(text_columns(kinds, names=known, holds=holds)), None)
    if named is None:
        raise ValueError(
            f"queries: {path.name} has no column of queries (columns: {', '.join(kinds)}); call it 'query'"
        )
    key = next((name for name in called(kinds, (*QUERY_IDS, *ID_COLUMNS)) if name != named), None)
    others = [repr(name) for name, kind in kinds.items() if kind == "string" and name not in (named, key)]
    if named != QUERY_COLUMNS[0]:
        output.note(f"queries: column {named!r}" + (f"; others: {', '.join(others)}" if others else ""))
    if key not in QUERY_IDS and (told := unchosen_ids(kinds, key, [named])):
        output.note(f"queries: {told}")
    table = read_table(path, [named, *([key] if key else [])], "queries")
    ids: list[Any] = list(range(1, len(table) + 1)) if key is None else table.labels(key, "queries")
    return ids, table.texts(named, "queries")


def _vectors(path: Path) -> list[Asked]:
    """Return the vectors of a .npy file."""
    from setwise.files import read_array

    found = read_array(path, "query-vector")
    if found.ndim == 1:
        found = found[None]
    if found.ndim != 2 or not len(found):
        raise ValueError(f"query-vector: {path.name} has shape {found.shape}, expected (d,) or (m, d)")
    if len(found) == 1:
        return [Asked(1, None, found[0], path.name)]
    return [Asked(row, None, found[row - 1], f"{path.name}, {row}") for row in range(1, len(found) + 1)]
