"""Shards as every worker reads them: vectors in .npy files, a block or a few rows at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.catalog.items import as_quality
from setwise.containers import as_matrix
from setwise.extras import require
from setwise.files.arrays import write_rows
from setwise.vectors import Vectors

#: Rows that are read at a time.
BATCH = 16_384

#: Rows that are gathered from one mapping: a page of each stays in memory until it is closed.
_GATHERED = 512


@dataclass(frozen=True)
class Shard:
    """A part of the items.

    Attributes
    ----------
    path : str
        A Parquet file with columns of vectors (fixed-size lists), qualities and ids; or a .npy file of
        vectors, read in blocks.
    quality : str, optional
        Of a .npy shard: the .npy file of its qualities.
    """

    path: str
    quality: str | None = None


@dataclass(frozen=True)
class Columns:
    """The columns of Parquet shards."""

    vectors: str
    quality: str
    ids: str


@dataclass(frozen=True)
class StoredShard:
    """A shard whose vectors are in a .npy file.

    Nothing stays open: rows are copied out of a mapping that is closed at once, so that a process holds what
    it asked for and never a shard.

    Attributes
    ----------
    path : str
        The .npy file.
    source : str
        The shard's own file, for messages.
    """

    path: str
    source: str
    n: int
    d: int
    dtype: str

    def open(self) -> NDArray[Any]:
        """Return all rows, mapped."""
        mapped: NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped

    def blocks(self, metric: str) -> Iterator[tuple[int, Vectors]]:
        """Yield (first row, checked rows) over the shard.

        Raises ValueError: a row is not finite, or zero under cosine: the first such, with the shard.
        """
        for start in range(0, self.n, BATCH):
            yield start, self._checked(np.array(self.open()[start : start + BATCH]), metric)

    def rows(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows as they are stored."""
        found = np.empty((len(ids), self.d), self.dtype)
        for start in range(0, len(ids), _GATHERED):
            found[start : start + _GATHERED] = self.open()[ids[start : start + _GATHERED]]
        return found

    def checked(self, ids: NDArray[np.int64], metric: str) -> Vectors:
        """Return some rows, checked.

        Raises ValueError: a row is not finite, or zero under cosine: the first such, with the shard.
        """
        return self._checked(self.rows(ids), metric)

    def _checked(self, rows: NDArray[Any], metric: str) -> Vectors:
        try:
            return Vectors(rows, metric)
        except (TypeError, ValueError):
            # The message names a row of the part; a check of the whole names the shard's.
            with naming(self.source):
                Vectors(self.open(), metric)
            raise


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Name the shard in what is raised of its content."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"shards: {path}: {error}") from None


def store(work: tuple[Shard, str, Columns]) -> tuple[StoredShard, NDArray[np.float64]]:
    """Return a shard with its vectors in a .npy file, and its qualities, checked.

    ``work`` is the shard, where to write the vectors of a Parquet file, and its columns. A .npy shard is not
    copied.

    Raises FileNotFoundError: the folder to write in is not there; TypeError, ValueError: the shard lacks a
    column, or vectors or qualities cannot be used; the message names the shard.
    """
    shard, target, columns = work
    if shard.path.endswith(".npy"):
        if shard.quality is None:
            raise ValueError(f"shards: {shard.path} needs a file of qualities: Shard(path, quality)")
        with naming(shard.path):
            held = as_matrix(np.load(shard.path, mmap_mode="r", allow_pickle=False))
            stored = StoredShard(shard.path, shard.path, len(held), held.shape[1], held.dtype.str)
            return stored, as_quality(np.load(shard.quality, allow_pickle=False), stored.n, never=False)
    if not Path(target).parent.is_dir():
        raise FileNotFoundError(
            f"scratch: a worker has no folder {str(Path(target).parent)!r}; name one that all of them share"
        )
    stored, given = _spool(shard.path, Path(target), columns)
    with naming(shard.path):
        return stored, as_quality(given, stored.n, never=False)


def ids_of(shard: Shard, rows: NDArray[np.int64], column: str) -> NDArray[Any]:
    """Return the ids of some rows of a shard: the rows themselves where it has none."""
    if shard.path.endswith(".npy"):
        return rows
    from setwise.extras.arrow import parquet

    file = parquet.ParquetFile(shard.path)
    if column not in file.schema_arrow.names:
        return rows
    order = np.argsort(rows, kind="stable")
    found: list[Any] = [None] * len(rows)
    at, place = 0, 0
    for batch in file.iter_batches(BATCH, columns=[column]):
        names = batch.column(0)
        while place < len(rows) and rows[order[place]] < at + len(names):
            found[order[place]] = names[int(rows[order[place]]) - at].as_py()
            place += 1
        at += len(names)
    return np.asarray(found)


def as_rows(column: Any) -> NDArray[Any]:
    """Return an Arrow column of lists of one width as a matrix.

    Raises ValueError: a row has none, or one of another width.
    """
    compute = require("pyarrow.compute", "arrow", "a shard of Parquet")

    widths = compute.min_max(compute.list_value_length(column)).as_py()
    if len(column) == 0 or column.null_count or widths["min"] != widths["max"]:
        raise ValueError("every item needs a vector of the same width")
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat.reshape(len(column), -1))


def _spool(path: str, target: Path, columns: Columns) -> tuple[StoredShard, NDArray[Any]]:
    """Write a Parquet file's vectors to a .npy file in batches; return where, and the qualities."""
    from setwise.extras.arrow import parquet

    file = parquet.ParquetFile(path)
    for name in (columns.vectors, columns.quality):
        if name not in file.schema_arrow.names:
            raise ValueError(
                f"shards: {path} has no column {name!r} (it has {', '.join(file.schema_arrow.names)})"
            )
    n = file.metadata.num_rows
    if n == 0:
        raise ValueError(f"shards: {path} is empty")
    qualities: list[NDArray[Any]] = []

    def parts() -> Iterator[NDArray[Any]]:
        for batch in file.iter_batches(BATCH, columns=[columns.vectors, columns.quality]):
            qualities.append(batch.column(columns.quality).to_numpy(zero_copy_only=False))
            yield as_rows(batch.column(columns.vectors))

    target.unlink(missing_ok=True)  # of a worker that was lost over it
    with naming(path):
        write_rows(target, n, parts())
    held = np.load(target, mmap_mode="r", allow_pickle=False)
    return StoredShard(str(target), path, n, held.shape[1], held.dtype.str), np.concatenate(qualities)
