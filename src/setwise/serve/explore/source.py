"""What is explored: a corpus that is read and encoded, or a saved index, by row number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.index.array import ArrayIndex
from setwise.index.base import Index
from setwise.index.saved import SavedIndex
from setwise.retrieval import PreparedCorpus

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class ExploredSource:
    """What is explored.

    Attributes
    ----------
    name : str
        What it is called on the page.
    index : Index
        Its ids are row numbers.
    encoder : str or None
        What encodes queries; None where they are passages of the source alone.
    encode : callable
        Returns the vector of a text.
    ids, texts, columns : callable
        Return the ids, the texts (None where there are none) and the other columns of rows.
    row_of : callable
        Returns the row of an id, given as a string; raises ValueError where there is none.
    """

    name: str
    index: Index
    encoder: str | None
    encode: Callable[[str], NDArray[Any]]
    ids: Callable[[Rows], Sequence[Any]]
    texts: Callable[[Rows], Sequence[str]] | None
    columns: Callable[[Rows], Mapping[str, Sequence[Any]]]
    row_of: Callable[[str], int]


def of_corpus(prepared: PreparedCorpus, name: str, *, threads: int | None = None) -> ExploredSource:
    """Return a corpus that is made ready, under cosine."""
    corpus, rows = prepared.corpus, prepared.rows
    texts = corpus.texts

    def taken(values: Sequence[Any]) -> Callable[[Rows], list[Any]]:
        return lambda some: [values[row] for row in rows[some].tolist()]

    def row_of(name: str) -> int:
        row = prepared.row_of.get(name)
        place = len(rows) if row is None else int(np.searchsorted(rows, row))
        if place == len(rows) or rows[place] != row:
            raise ValueError(f"like: {name!r} is no id of the corpus, or its text cannot be encoded")
        return place

    return ExploredSource(
        name=name,
        index=ArrayIndex(prepared.vectors, threads=threads),
        encoder=None if prepared.encoder is None else prepared.encoder.name,
        encode=prepared.encode,
        ids=taken(corpus.ids),
        texts=None if texts is None else taken(texts),
        columns=lambda some: {name: taken(values)(some) for name, values in corpus.columns.items()},
        row_of=row_of,
    )


def of_index(saved: SavedIndex, name: str) -> ExploredSource:
    """Return a saved index."""
    texts = saved.texts
    return ExploredSource(
        name=name,
        index=saved.index,
        encoder=None if saved.info.encoder is None else str(saved.info.encoder["name"]),
        encode=saved.encode,
        ids=saved.ids.take,
        texts=None if texts is None else texts.take,
        columns=lambda some: {name: column.take(some) for name, column in saved.columns.items()},
        row_of=lambda name: saved.rows_of([name], "like")[0],
    )
