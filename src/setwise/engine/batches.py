"""Selection over batches of Arrow records, for Spark: a few of each partition, then of those (DGDS)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from setwise.engine.partition import merge, select_inside
from setwise.engine.stored import as_rows
from setwise.relevance import as_relevance

__all__ = ["merge_batches", "select_batches"]


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
    """
    from setwise.extras.arrow import arrow

    table = [batch.select([ids, vectors, quality]) for batch in batches if batch.num_rows]
    if not table:
        return
    whole = arrow.Table.from_batches(table).combine_chunks()
    held = np.concatenate([as_rows(chunk, "batches") for chunk in whole.column(vectors).chunks])
    given = whole.column(quality).to_numpy()
    rows = select_inside(held, given, per_part, top, criterion, diversity, metric)
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
    """
    from setwise.extras.arrow import arrow

    whole = arrow.Table.from_batches(list(batches)).combine_chunks()
    held = np.concatenate([as_rows(chunk, "batches") for chunk in whole.column(vectors).chunks])
    known = as_relevance(whole.column(quality).to_numpy(), len(held), "quality")
    if k > len(held):
        raise ValueError(f"k: {k} is more than the {len(held)} items that the partitions yield")
    chosen = merge(held, known, k, diversity=diversity, criterion=criterion, metric=metric)
    return whole.take(arrow.array(chosen))
