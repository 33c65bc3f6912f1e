"""An exact index over an array or memory map: one scan at memory bandwidth a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks, frames
from setwise.index.base import Everything, Ids
from setwise.index.checking import as_mask, as_positions, narrowed
from setwise.index.local import RowIndex, by_row
from setwise.limits import listed_labels
from setwise.missing import Usable, check_missing
from setwise.queries import as_queries
from setwise.threads import thread_count
from setwise.top import top_k
from setwise.vectors import Vectors, check_metric

#: With a filter that leaves at most this part of the rows, only they are read.
FEW = 0.2


class ArrayIndex(RowIndex):
    """Exact search over rows in memory or in a memory map.

    The rows are checked and measured once, here; each search after that is one pass over them, for all its
    queries together. Ids are row numbers.

    Parameters
    ----------
    vectors : array-like of shape (n, d)
        As for `setwise.select`. float32 and float16 are read as they are; a memory map is not read whole.
    metric : {"cosine", "euclidean"}
    storage : {"float32", "float16"}, optional
        Copy the rows into this type first; float16 halves the memory and rounds entries to three digits.
        By default they stay as they are.
    fields : mapping of str to sequence of length n, optional
        Columns to group or filter by: `values` and filters by name read them. Where the vectors come as a
        frame, its other columns are fields, and are given back with a result.
    threads : int, optional
    missing : {"raise", "drop"}
        What becomes of rows that cannot be used: refused, or left out, with a warning; the others keep their
        numbers.

    Raises
    ------
    TypeError
        ``vectors`` are no numbers.
    ValueError
        They are not of two dimensions; a row has NaN or Inf, is zero under cosine, or has a number beyond
        what ``storage`` holds; a field has another length.

    Notes
    -----
    A filter is a boolean mask of shape (n,), an array of row numbers, or a function of a row number.

    Rows that are changed in place need an index made anew: certificates are of the rows measured here.
    """

    exact = True

    def __init__(
        self,
        vectors: Any,
        *,
        metric: str = "cosine",
        storage: str | None = None,
        fields: Mapping[str, Sequence[Any] | NDArray[Any]] | None = None,
        threads: int | None = None,
        missing: str = "raise",
    ) -> None:
        workers: int = thread_count(threads)
        self.frame = vectors if frames.kind_of(vectors, "vectors") is not None else None
        if storage is not None:
            wanted = np.dtype(checks.choice("storage", storage, ("float32", "float16")))
            vectors = _stored(vectors, wanted)
        kept = None
        if check_missing(missing, ("raise", "drop")) == "drop":
            usable = Usable(vectors, None, check_metric(metric), missing)
            vectors = usable.vectors
            if len(usable.barred):
                kept = np.delete(np.arange(len(vectors)), usable.barred)
        self._vectors = Vectors(vectors, check_metric(metric), workers=workers, kept=kept)
        self.metric = self._vectors.metric
        self.dim = self._vectors.d
        self._fields = by_row(fields, self._total, self.frame)

    @property
    def size(self) -> int:
        return int(self._vectors.n)

    @property
    def _total(self) -> int:
        """How many rows there are, with those that are left out."""
        return len(self._vectors.raw)

    def names(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ids of some of the rows that are checked."""
        return self._vectors.places(rows)

    _names = names

    def values(self, ids: Sequence[Any] | Ids, field: str) -> list[Any]:
        if self.frame is not None and field not in self._fields and field in frames.column_names(self.frame):
            rows = frames.taken(self.frame, np.asarray(self._known(ids), np.int64))
            return listed_labels(frames.column(rows, field, "groups"))
        return super().values(ids, field)

    def everything(
        self, *, filter: Any = None, exclude: Sequence[Any] | Ids = (), include: Sequence[Any] | Ids = ()
    ) -> Everything:
        vectors, allowed = self._vectors, self._allowed(filter, exclude)
        if allowed is not None:
            allowed = allowed.copy()
            allowed[self.inside(as_positions(include, self._total, "include", missing=KeyError))] = True
            vectors = vectors.restricted(np.flatnonzero(allowed))
        return Everything(vectors, np.arange(self._total))

    def search(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> tuple[NDArray[np.float64], Ids]:
        probes = as_queries(queries, self.dim)
        k = checks.integer("k", k, least=1)
        allowed = self._allowed(filter, exclude)
        scores = np.full((len(probes), k), -np.inf)
        ids = np.full((len(probes), k), -1, np.int64)
        if allowed is not None and np.count_nonzero(allowed) <= FEW * self.size:
            rows = np.flatnonzero(allowed)
            for one, column in enumerate(self._score_rows(rows, probes)):
                best = top_k(column, min(k, len(rows)))
                scores[one, : len(best)], ids[one, : len(best)] = column[best], self.names(rows[best])
            return scores, ids
        for one, column in enumerate(self._score_all(probes)):
            if allowed is not None:
                column[~allowed] = -np.inf
            best = top_k(column, min(k, self.size if allowed is None else int(np.count_nonzero(allowed))))
            scores[one, : len(best)], ids[one, : len(best)] = column[best], self.names(best)
        return scores, ids

    def _score_all(self, probes: NDArray[np.float64]) -> NDArray[Any]:
        """Return every row's score for every query, shape (m, n), in one pass over the rows."""
        vectors = self._vectors
        if self.metric == "cosine" and len(probes) == 1:
            return vectors.scan(probes[0])[None]
        scores = np.empty((len(probes), vectors.n), vectors.dtype)
        if self.metric == "cosine":

            def take(start: int, stop: int, products: NDArray[Any]) -> None:
                scores[:, start:stop] = products.T

            vectors.products(probes, take)
        else:

            def measure(start: int, stop: int, block: NDArray[Any]) -> None:
                scores[:, start:stop] = -_distances(block, probes).T

            vectors.map_blocks(measure)
        return scores

    def _score_rows(self, rows: NDArray[np.int64], probes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return some rows' scores for every query, shape (m, len(rows))."""
        scores = np.empty((len(probes), len(rows)))
        for start in range(0, len(rows), 8192):
            block = self._vectors.rows(rows[start : start + 8192])
            if self.metric == "cosine":
                scores[:, start : start + 8192] = (block @ probes.T.astype(block.dtype)).T
            else:
                scores[:, start : start + 8192] = -_distances(block, probes).T
        return scores

    def _allowed(self, filter: Any, exclude: Sequence[Any] | Ids) -> NDArray[np.bool_] | None:
        """Return which rows may be found, or None for all of them."""
        excluded = as_positions(exclude, self._total, "exclude")
        if filter is None and len(excluded) == 0:
            return None
        allowed = self._mask(filter)
        if len(excluded):
            allowed = allowed.copy()
            allowed[excluded] = False
        return allowed if self._vectors.kept is None else allowed[self._vectors.kept]

    def _mask(self, filter: Any) -> NDArray[np.bool_]:
        """Return a filter as a mask."""
        if filter is None:
            return np.ones(self._total, np.bool_)
        if callable(filter):
            call: Callable[[int], Any] = filter
            return np.fromiter((bool(call(row)) for row in range(self._total)), np.bool_, self._total)
        given = as_mask(filter, lambda: np.arange(self._total), self._total, self.frame)
        if given is not None:
            return given
        mask = np.zeros(self._total, np.bool_)
        mask[as_positions(filter, self._total, "filter")] = True
        return mask

    def vectors(self, ids: Sequence[Any] | Ids) -> NDArray[Any]:
        vectors = self._vectors
        rows = vectors.places(self.inside(as_positions(ids, self._total, "ids", missing=KeyError)))
        # As given: unit rows would be rounded once more.
        return vectors.raw[rows].astype(vectors.dtype, copy=False)

    def _known(self, ids: Sequence[Any] | Ids) -> list[int]:
        known: list[int] = as_positions(ids, self._total, "ids", missing=KeyError).tolist()
        return known

    def inside(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where among the rows that are checked some ids stand."""
        kept = self._vectors.kept
        if kept is None:
            return ids
        strange = np.flatnonzero(~np.isin(ids, kept))
        if len(strange):
            raise KeyError(f"ids: row {ids[strange[0]]} cannot be used, and was left out")
        return np.asarray(np.searchsorted(kept, ids), np.int64)

    def __repr__(self) -> str:
        return f"ArrayIndex of {self.size:,} × {self.dim} ({self._vectors.raw.dtype}, {self.metric}, exact)"


def _stored(vectors: Any, wanted: np.dtype[Any]) -> NDArray[Any]:
    """Return the rows in another type; what float16 cannot hold is refused."""
    from setwise.containers import as_matrix

    raw = as_matrix(vectors, "vectors")
    if raw.dtype == wanted:
        return raw
    out = np.empty(raw.shape, wanted)
    start = 0
    for block in narrowed(raw, wanted):
        out[start : start + len(block)] = block
        start += len(block)
    return out


def _distances(rows: NDArray[Any], probes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return L2 distances of rows to queries, shape (rows, m)."""
    from setwise.objectives.base import euclidean

    return euclidean(np.asarray(rows), probes)
