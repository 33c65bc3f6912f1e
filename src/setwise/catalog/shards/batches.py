"""Selection over batches of Arrow records, for Spark: a few of each partition, then of those (DGDS)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.catalog.items import as_quality
from setwise.catalog.request import CatalogRequest
from setwise.catalog.shards.reading import as_rows, naming
from setwise.objectives import Objective
from setwise.solvers.levels import select_greedily
from setwise.top import top_k
from setwise.vectors import Vectors


def select_batches(
    batches: Iterable[Any],
    *,
    per_part: int,
    diversity: float = 0.1,
    top: int = 0,
    criterion: str = "sum",
    metric: str = "cosine",
    vectors: str = "vector",
    quality: str = "quality",
    ids: str = "id",
) -> Iterator[Any]:
    """Select inside one partition given as Arrow record batches: for Spark's ``mapInArrow``.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        All of one partition, with columns of vectors, qualities and ids.
    per_part : int
        Items to select.
    top : int
        The best by quality to add (the k of the last step, for version 2's top-up).
    diversity, criterion, metric, vectors, quality, ids
        As for `select_shards`.

    Yields
    ------
    pyarrow.RecordBatch
        The selected items, with those three columns; nothing for an empty partition.

    Raises
    ------
    TypeError, ValueError
        A row or a quality cannot be used, or an argument is out of its range.
    """
    from setwise.extras.arrow import arrow

    table = [batch.select([ids, vectors, quality]) for batch in batches if batch.num_rows]
    if not table:
        return
    request = CatalogRequest(k=per_part, diversity=diversity, criterion=criterion, metric=metric)
    whole = arrow.Table.from_batches(table).combine_chunks()
    given = whole.column(quality).to_numpy()
    rows = select_inside(_vectors(whole, vectors, metric), given, per_part, top, request.of_items)
    yield from whole.take(arrow.array(rows)).to_batches()


def merge_batches(
    batches: Iterable[Any],
    k: int,
    *,
    diversity: float = 0.1,
    criterion: str = "sum",
    metric: str = "cosine",
    vectors: str = "vector",
    quality: str = "quality",
) -> Any:
    """Return the k items, in selection order, of what the partitions' `select_batches` yielded.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
    k : int
    diversity, criterion, metric, vectors, quality
        As for `select_shards`.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    ValueError
        k is more than the items, or an argument is out of its range.
    """
    from setwise.extras.arrow import arrow

    request = CatalogRequest(k=k, diversity=diversity, criterion=criterion, metric=metric)
    whole = arrow.Table.from_batches(list(batches)).combine_chunks()
    if k > len(whole):
        raise ValueError(f"k: {k} is more than the {len(whole)} items that the partitions yield")
    known = as_quality(whole.column(quality).to_numpy(), len(whole), never=False)
    chosen = select_greedily(_vectors(whole, vectors, metric), known, k, request.of_items)
    return whole.take(arrow.array(chosen))


def select_inside(
    vectors: Vectors, quality: Any, inside: int, top: int, objective: Objective
) -> NDArray[np.int64]:
    """Return what a partition yields, rows ascending: its greedy selection and its best by quality.

    Parameters
    ----------
    vectors : Vectors
        Of the partition.
    quality : array-like of shape (n,)
    inside : int
        Items to select greedily, all of a smaller partition.
    top : int
        The best by quality that join them.

    Raises TypeError: qualities are no numbers; ValueError: one is below 0, NaN or infinite.
    """
    known = as_quality(quality, vectors.n, never=False)
    chosen = select_greedily(vectors, known, inside, objective)
    return np.union1d(chosen, top_k(known, min(top, len(known))))


def _vectors(table: Any, column: str, metric: str) -> Vectors:
    """Return a table's column of vectors, checked."""
    with naming("batches"):
        return Vectors(np.concatenate([as_rows(chunk) for chunk in table.column(column).chunks]), metric)
