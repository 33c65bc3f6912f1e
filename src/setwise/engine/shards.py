"""Selection over shards that no machine holds at once: a few of each, then of those (DGDS)."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.containers import as_matrix
from setwise.objectives import MaxSum
from setwise.relevance import as_relevance
from setwise.solvers import multilevel
from setwise.vectors import Vectors, top_k

#: Rows of a Parquet shard that are read at a time.
BATCH = 16_384


@dataclass(frozen=True)
class Shard:
    """A part of the items.

    Attributes
    ----------
    path : str
        A Parquet file with columns of vectors (fixed-size lists), qualities and ids; or a .npy file of
        vectors, read through a memory map.
    quality : str, optional
        Of a .npy shard: the .npy file of its qualities.
    """

    path: str
    quality: str | None = None


@dataclass(frozen=True, eq=False)
class ShardSelection:
    """A selection over shards, in selection order.

    Attributes
    ----------
    ids : ndarray of shape (k,)
        The items' ids; row numbers within the shard where it has none.
    shards : ndarray of shape (k,), int64
        Which shard each is from.
    rows : ndarray of shape (k,), int64
        Its row there.
    quality : ndarray of shape (k,), float64
    value, relevance, diversity : float
        Max-sum's (MUSS Eq. 2) and its terms: mean quality and mean distance.
    union : int
        Candidates that the shards have yielded.
    seconds : float
    """

    ids: NDArray[Any]
    shards: NDArray[np.int64]
    rows: NDArray[np.int64]
    quality: NDArray[np.float64]
    value: float
    relevance: float
    diversity: float
    union: int
    seconds: float

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Yield:
    """What one shard yields: its rows, ids, qualities and vectors, and its best qualities."""

    rows: NDArray[np.int64]
    ids: NDArray[Any]
    quality: NDArray[np.float64]
    vectors: NDArray[Any]


def select_shards(
    shards: Sequence[Shard | str],
    k: int,
    *,
    diversity: float = 0.1,
    per_shard: int | None = None,
    criterion: str = "sum",
    metric: str = "cosine",
    top_up: bool = True,
    vectors: str = "vector",
    quality: str = "quality",
    ids: str = "id",
    workers: int | str = 1,
) -> ShardSelection:
    """Select k items over shards: greedily in each, where it lies, and greedily from what those yield.

    The shards are the partition of DGDS (Ghadiri and Schmidt 2019). A Parquet shard is written to a mapped
    file in batches first, so that one larger than memory does. Only what is selected travels.

    Parameters
    ----------
    shards : sequence of Shard or path
        Readable by every worker.
    k : int
        At most the number of items.
    diversity : float
    per_shard : int, optional
        Items selected in each, k by default (DGDS); all of a smaller shard.
    criterion : {"sum", "min"}
    metric : {"cosine", "euclidean"}
    top_up : bool
        Whether each shard's k best by quality join, of which the k best of all enter the last step.
    vectors, quality, ids : str
        Columns of Parquet shards; without a column of ids, row numbers.
    workers : int or str
        Local processes, "ray", or a Ray address: the result is the same.

    Returns
    -------
    ShardSelection

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Bad input, with the shard.
    """
    from setwise.engine.base import engine_for

    began = time.perf_counter()
    size = checks.integer("k", k, least=1)
    inside = size if per_shard is None else checks.integer("per_shard", per_shard, least=1)
    checks.choice("criterion", criterion, ("sum", "min"))
    goal = MaxSum(diversity, metric=metric)
    listed = [one if isinstance(one, Shard) else Shard(os.fspath(one)) for one in shards]
    if not listed:
        raise ValueError("shards: none given")
    for one in listed:
        for path in (one.path, one.quality):
            if path is not None and not Path(path).is_file():
                raise FileNotFoundError(f"shards: no file {path!r}")
    common = (inside, size if top_up else 0, criterion, diversity, metric, vectors, quality, ids)
    with engine_for(workers) as engine:
        found: list[Yield] = engine.map(select_shard, [(one, *common) for one in listed])
    total = sum(len(one.rows) for one in found)
    if total < size:
        raise ValueError(f"k: {size} is more than the {total} items that the shards yield")
    which = np.repeat(np.arange(len(found)), [len(one.rows) for one in found])
    rows = np.concatenate([one.rows for one in found])
    qualities = np.concatenate([one.quality for one in found])
    held = np.concatenate([one.vectors for one in found])
    names = np.concatenate([np.asarray(one.ids) for one in found])
    chosen = merge(held, qualities, size, diversity=diversity, criterion=criterion, metric=metric)
    terms = goal.terms(np.asarray(held[chosen], np.float64), qualities[chosen])
    return ShardSelection(
        ids=names[chosen],
        shards=which[chosen],
        rows=rows[chosen],
        quality=qualities[chosen],
        value=terms.value,
        relevance=terms.relevance,
        diversity=terms.spread,
        union=total,
        seconds=time.perf_counter() - began,
    )


def select_shard(work: tuple[Shard, int, int, str, float, str, str, str, str]) -> Yield:
    """Select inside one shard; what every worker runs."""
    shard, inside, top, criterion, diversity, metric, vectors, quality, ids = work
    with tempfile.TemporaryDirectory(prefix="setwise-") as folder:
        if shard.path.endswith(".npy"):
            held: NDArray[Any] = np.load(shard.path, mmap_mode="r", allow_pickle=False)
            if shard.quality is None:
                raise ValueError(f"shards: {shard.path} needs a file of qualities: Shard(path, quality)")
            given: Any = np.load(shard.quality, allow_pickle=False)
            names = np.arange(len(held))
        else:
            held, given, names = _spooled(shard.path, Path(folder), vectors, quality, ids)
        try:
            return _selected(held, given, names, inside, top, criterion, diversity, metric)
        except (TypeError, ValueError) as error:
            raise type(error)(f"shards: {shard.path}: {error}") from None


def _selected(
    held: NDArray[Any],
    given: Any,
    names: NDArray[Any],
    inside: int,
    top: int,
    criterion: str,
    diversity: float,
    metric: str,
) -> Yield:
    """Return what a partition yields: its greedy selection and its best by quality, rows ascending."""
    from setwise.catalog.items import as_quality

    known = as_quality(given, len(held))
    checked = Vectors(as_matrix(held), metric)
    objective = multilevel.objective_of(criterion, diversity, metric)
    chosen = multilevel.select_greedily(checked, known, None, inside, objective)
    rows = np.union1d(chosen, top_k(known, min(top, len(known))))
    return Yield(rows, np.asarray(names)[rows], known[rows], np.array(held[rows]))


def merge(
    held: NDArray[Any],
    quality: NDArray[np.float64],
    k: int,
    *,
    diversity: float,
    criterion: str = "sum",
    metric: str = "cosine",
) -> NDArray[np.int64]:
    """Return k rows of a union by greedy selection, in selection order: the last step of DGDS and MUSS."""
    objective = multilevel.objective_of(criterion, diversity, metric)
    return multilevel.select_greedily(Vectors(as_matrix(held), metric), quality, None, k, objective)


def _spooled(
    path: str, folder: Path, vectors: str, quality: str, ids: str
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Write a Parquet file's vectors to a mapped file in batches; return them, the qualities and the ids."""
    import pyarrow.parquet as parquet

    file = parquet.ParquetFile(path)
    for name in (vectors, quality):
        if name not in file.schema_arrow.names:
            raise ValueError(
                f"shards: {path} has no column {name!r} (it has {', '.join(file.schema_arrow.names)})"
            )
    named = ids in file.schema_arrow.names
    columns = [vectors, quality, *([ids] if named else [])]
    held: Any = None
    qualities, names, at = [], [], 0
    for batch in file.iter_batches(BATCH, columns=columns):
        part = _matrix(batch.column(vectors), path)
        if held is None:
            shape = (file.metadata.num_rows, part.shape[1])
            held = np.lib.format.open_memmap(folder / "vectors.npy", "w+", part.dtype, shape)
        held[at : at + len(part)] = part
        at += len(part)
        qualities.append(batch.column(quality).to_numpy(zero_copy_only=False))
        if named:
            names.append(batch.column(ids).to_numpy(zero_copy_only=False))
    if held is None:
        raise ValueError(f"shards: {path} is empty")
    return held, np.concatenate(qualities), np.concatenate(names) if named else np.arange(at)


def _matrix(column: Any, where: str) -> NDArray[Any]:
    """Return an Arrow column of lists of one width as a matrix."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    if len(column) == 0 or column.null_count or len(flat) % len(column):
        raise ValueError(f"shards: {where}: every item needs a vector of the same width")
    return np.asarray(flat.reshape(len(column), -1))


# ---------------------------------------------------------------------- batches of Arrow, for Spark


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
    import pyarrow as pa

    table = [batch.select([ids, vectors, quality]) for batch in batches if batch.num_rows]
    if not table:
        return
    whole = pa.Table.from_batches(table).combine_chunks()
    held = np.concatenate([_matrix(chunk, "batches") for chunk in whole.column(vectors).chunks])
    given = whole.column(quality).to_numpy()
    found = _selected(held, given, np.arange(len(held)), per_part, top, criterion, diversity, metric)
    yield from whole.take(pa.array(found.rows)).to_batches()


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
    import pyarrow as pa

    whole = pa.Table.from_batches(list(batches)).combine_chunks()
    held = np.concatenate([_matrix(chunk, "batches") for chunk in whole.column(vectors).chunks])
    known = as_relevance(whole.column(quality).to_numpy(), len(held), "quality")
    if k > len(held):
        raise ValueError(f"k: {k} is more than the {len(held)} items that the partitions yield")
    chosen = merge(held, known, k, diversity=diversity, criterion=criterion, metric=metric)
    return whole.take(pa.array(chosen))
