"""The repository's vectors: one array, a memory map, or shards of them, numbered through."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.finetuning.copies import Fold, lowest_copies
from setwise.vectors import Floats, Vectors

#: Rows that are read and compared at once.
BLOCK = 65_536

#: Rows that are looked through for copies at once: few enough to stay in cache.
_HASHED = 4_096


class RepositoryVectors:
    """Vectors of N rows under L2, in one part or in several.

    Parameters
    ----------
    data : array-like of shape (N, d), or a list or tuple of such, or of paths of .npy files
        Parts are numbered through in their order. Files and memory maps are read in blocks.
    workers : int
        Threads.

    Attributes
    ----------
    parts : list of Vectors
    starts : ndarray of shape (parts + 1,), int64
        The number of each part's first row.
    n : int
        Rows, of a `folded` or restricted view those that it has.
    total : int
        Rows of all parts.
    kept : ndarray of shape (n,), int64, or None
        Which of them a view has, ascending; None = all. Rows of a view are numbered anew.
    counts : ndarray of shape (n,), int64, or None
        How many rows each row of a view stands for; None = itself alone.
    fold : Fold or None
        Of a `folded` view, which row is a copy of which.

    Raises FileNotFoundError: a part is a path where nothing is; TypeError: a part is no numbers; ValueError:
    there are no rows, parts differ in width, or a row has NaN or Inf; the message names it.
    """

    def __init__(self, data: Any, workers: int = 1) -> None:
        shards = list(data) if _is_shards(data) else [data]
        if not shards:
            raise ValueError("candidates: no shards were given")
        several = len(shards) > 1
        self.parts = [
            Vectors(
                _opened(shard),
                "euclidean",
                workers=workers,
                name=f"candidates[{number}]" if several else "candidates",
            )
            for number, shard in enumerate(shards)
        ]
        self.d = self.parts[0].d
        for number, part in enumerate(self.parts):
            if part.d != self.d:
                raise ValueError(
                    f"candidates: part {number} has {part.d} dimensions, the first has {self.d}; "
                    "encode them alike"
                )
        self.starts = np.concatenate([[0], np.cumsum([part.n for part in self.parts])]).astype(np.int64)
        self.n = self.total = int(self.starts[-1])
        self.kept: NDArray[np.int64] | None = None
        self.counts: NDArray[np.int64] | None = None
        self.fold: Fold | None = None

    def only(self, kept: NDArray[np.int64], counts: NDArray[np.int64] | None = None) -> RepositoryVectors:
        """Return a view of some rows, given in ascending order, numbered anew."""
        view = copy.copy(self)
        view.n, view.kept, view.counts = len(kept), kept, counts
        return view

    def folded(self) -> RepositoryVectors:
        """Return a view of the different rows, each with the number of its copies; itself without any."""
        lowest = lowest_copies(self.blocks(_HASHED), self.rows, self.n, self.d)
        if (lowest == np.arange(self.n)).all():
            return self
        fold = Fold.of(lowest)
        view = self.only(fold.kept, fold.counts)
        view.fold = fold
        return view

    def times(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many rows some stand for."""
        return np.ones(ids.shape, np.int64) if self.counts is None else self.counts[ids]

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        """float64 where any part needs it, else float32."""
        return np.dtype(np.result_type(*[part.dtype for part in self.parts]))

    def rows(self, ids: NDArray[np.int64]) -> Floats:
        """Return rows by number, in the order asked, shape (m, d)."""
        if self.kept is not None:
            ids = self.kept[ids]
        if len(self.parts) == 1:
            return self.parts[0].rows(ids, self.dtype)
        found: Floats = np.empty((len(ids), self.d), self.dtype)
        home = np.searchsorted(self.starts, ids, side="right") - 1
        for number in np.unique(home).tolist():
            here = home == number
            found[here] = self.parts[number].rows(ids[here] - self.starts[number], self.dtype)
        return found

    def blocks(
        self, size: int = BLOCK, among: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[int, Floats]]:
        """Yield all rows, or some by number, in blocks, with the place of each block's first among them."""
        if among is None and self.kept is not None:
            among = np.arange(self.n)
        if among is not None:
            for row in range(0, len(among), size):
                yield row, self.rows(among[row : row + size])
            return
        for start, part in zip(self.starts.tolist(), self.parts, strict=False):
            for row in range(0, part.n, size):
                yield start + row, part.rows(slice(row, min(row + size, part.n)), self.dtype)

    def sample(self, size: int, seed: int, among: NDArray[np.int64] | None = None) -> Floats:
        """Return some rows drawn at random, of all or of some by number, in ascending order of number."""
        n = self.n if among is None else len(among)
        drawn = np.sort(np.random.default_rng(seed).choice(n, min(size, n), replace=False)).astype(np.int64)
        return self.rows(drawn if among is None else among[drawn])


def offset_of(candidates: RepositoryVectors) -> Floats | None:
    """Return the rows' mean where they lie far from the origin beside their spread, else None.

    Squared distances by inner products in float32 need rows moved there first, or little of them is left.
    """
    some = candidates.sample(1_024, 0)
    mean = some.mean(axis=0, dtype=np.float64)
    spread = float(some.astype(np.float64).var(axis=0).sum())
    return mean.astype(some.dtype) if float(mean @ mean) > 4.0 * spread else None


def _is_shards(data: Any) -> bool:
    if not isinstance(data, list | tuple) or not data:
        return False
    first = data[0]
    return isinstance(first, str | os.PathLike) or getattr(first, "ndim", 1) == 2


def _opened(shard: Any) -> Any:
    if not isinstance(shard, str | os.PathLike):
        return shard
    from setwise.files.reading import read_array

    return read_array(Path(shard), "candidates")
