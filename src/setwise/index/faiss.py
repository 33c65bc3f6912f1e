"""An index over any FAISS index: Flat, IVF, HNSW, quantized, by factory string, with ids of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.containers import as_matrix
from setwise.files.names import existing
from setwise.index.base import Everything, Found, Ids
from setwise.index.checking import (
    CLOSE,
    UNIT,
    as_mask,
    as_whole,
    check_unit,
    compare,
    optional,
    scale_of,
    scores_of,
)
from setwise.index.faiss_held import HeldVectors
from setwise.index.local import RowIndex
from setwise.queries import as_queries
from setwise.vectors import Vectors, check_metric

#: How far from 1 the length of a vector may be that comes back from a quantized index.
QUANTIZED = 0.4


class FaissIndex(RowIndex):
    """Search by FAISS.

    Under cosine the index must hold vectors of unit length, ranked by inner product or L2 (for those it is
    the same order). Ids are FAISS's own: positions, or those of an IndexIDMap. FAISS's -1, where it finds
    fewer than asked for, never leaves this class. The FAISS index may be added to and removed from: what is
    known of it is read anew when its number of vectors changes, an id, or one of those that are looked at.

    Parameters
    ----------
    index : faiss.Index or path-like
        Trained and filled; or the path of one saved by ``faiss.write_index``.
    vectors : array-like of shape (n, d), optional
        The stored vectors by position, of any length, e.g. a memory map. Better than what FAISS can
        reconstruct where it stores them quantized, and needed where it cannot reconstruct at all.
    metric : {"cosine", "euclidean"}, optional
        By default cosine; "euclidean" needs an L2 index.
    exact : bool, optional
        Whether its searches are exact; by default judged from its type and search parameters, at every
        retrieval.
    fields : mapping of str to sequence or mapping, optional
        Columns to group by: values by id.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    TypeError
        ``index`` is no FAISS index.
    ValueError
        The file is damaged, or no FAISS index; the index is empty, not trained, ranks by something else than
        inner product or L2, or holds an id twice; a vector's length is not 1 under cosine; ``vectors`` has
        another shape.

    Notes
    -----
    Set search-time parameters (``nprobe``, ``efSearch``) on the FAISS index itself. A filter is an array of
    allowed ids, a boolean mask over ids 0 … n - 1, or a ``faiss.IDSelector``.
    """

    def __init__(
        self,
        index: Any,
        *,
        vectors: Any = None,
        metric: str = "cosine",
        exact: bool | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        from setwise.extras.faiss import faiss, read_index

        self._faiss = faiss
        if isinstance(index, str | os.PathLike):
            index = read_index(existing(index, "index"))
        if not isinstance(index, faiss.Index):
            raise TypeError(f"index: expected a faiss.Index, got {type(index).__name__}")
        if not index.is_trained:
            raise ValueError("index: it is not trained; call index.train and index.add first")
        if index.ntotal == 0:
            raise ValueError("index: it is empty; add vectors first")
        self._index = index
        self.dim = int(index.d)
        self.metric = check_metric(metric)
        self._l2 = index.metric_type == faiss.METRIC_L2
        if not self._l2 and index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise ValueError("index: its metric is neither inner product nor L2; build it with one of those")
        if self.metric == "euclidean" and not self._l2:
            raise ValueError("metric: 'euclidean' needs an L2 index, this one ranks by inner product")
        self._side = None if vectors is None else as_matrix(vectors)
        if self._side is not None and self._side.shape != (self.size, self.dim):
            raise ValueError(
                f"vectors: expected shape {(self.size, self.dim)}, one row a stored vector, got "
                f"{self._side.shape}"
            )
        self._fields = {} if fields is None else dict(fields)
        self._held = HeldVectors(index, positions=self._side is not None)
        self._checked = True
        self._promised = optional(checks.flag, "exact", exact)
        if exact is None:
            self._lengths()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies, and other processes, get the FAISS index with its parameters, and wrap it again."""
        options: dict[str, Any] = {"metric": self.metric, "exact": self._promised, "fields": self._fields}
        return partial(type(self), vectors=self._side, **options), (self._index,)

    @property
    def size(self) -> int:
        return int(self._index.ntotal)

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether it compares a query with every stored vector as it is, with its present parameters."""
        if self._promised is not None:
            return self._promised
        base = self._held.base
        if isinstance(base, self._faiss.IndexIVFFlat):
            return bool(base.nprobe >= base.nlist)
        return isinstance(base, self._faiss.IndexFlat)

    def _lengths(self) -> tuple[float, float]:
        """Return the least and the largest length there is, where an exact search ranks by them; else 1."""
        if self.metric == "cosine" and self._held.whole and self.exact:
            return self._held.lengths()
        return 1.0, 1.0

    def _look(self) -> None:
        """Forget what is no longer so, if others have added to the index or removed from it."""
        if self._held.changed():
            self._sample, self._checked = None, False
        if self._checked:
            return
        if self._side is not None and self._held.lists is None and len(self._side) != self.size:
            raise ValueError(
                f"index: it holds {self.size:,} vectors now, vectors= has {len(self._side):,}; wrap both anew"
            )
        self._held.ids()
        self._checked = True

    # ------------------------------------------------------------------ searching

    def search(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> tuple[NDArray[np.float64], Ids]:
        values, names, lengths = self._asked(as_queries(queries, self.dim), k, filter, exclude)
        scores = np.full((len(names), k), -np.inf)
        ids = np.full((len(names), k), -1, np.int64)
        width = names.shape[1]
        scores[:, :width] = np.where(_is_there(names, values), self._scored(values, lengths), -np.inf)
        ids[:, :width] = names
        order = np.lexsort((ids, -scores), axis=1)  # ties by lowest id, whatever FAISS's own order
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)

    def fetch(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> list[Found]:
        """Search, and fetch the vectors of what is found; scores are those of the vectors.

        Raises ValueError: a query is not finite or of another width; k is below 1; the filter is a mask of
        another length, or this kind of index cannot filter; a vector's length is not 1 under cosine; its
        score is not the one that FAISS ranks it by.
        """
        probes = as_queries(queries, self.dim, "query")
        values, names, lengths = self._asked(probes, k, filter, exclude)
        ends = self._lengths()
        answers = []
        for row, query in enumerate(probes):
            found = _is_there(names[row], values[row])
            ids, value, length = names[row][found], values[row : row + 1, found], lengths[row : row + 1]
            vectors = self._vectors(ids, ids if self._held.plain else self._held.places(ids))
            scores, off = scores_of(query, vectors, self.metric), 0.0
            if self._held.whole:
                near = CLOSE if self.metric == "euclidean" else CLOSE + 2 * UNIT
                most = near * scale_of(query, vectors, self.metric)
                mend = "; pass the vectors that it holds, of length 1 under cosine"
                off = compare("index: FAISS", ids, self._scored(value, length)[0], scores, most, mend)
            order = np.argsort(-scores, kind="stable")
            floor = None
            if len(ids):
                floor = off + max(float(self._scored(value[:, -1:], length, end)[0, 0]) for end in ends)
            answers.append(Found(ids[order], scores[order], vectors[order], floor))
        return answers

    def _asked(
        self, probes: NDArray[np.float64], k: int, filter: Any, exclude: Sequence[Any] | Ids
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
        """Return FAISS's numbers and ids for queries, best first, and the queries' lengths."""
        self._look()
        lengths = np.sqrt(np.vecdot(probes, probes))
        if self._l2 and self.metric == "cosine":  # the order is the same, and less is lost to rounding
            probes = probes / np.where(lengths > 0.0, lengths, 1.0)[:, None]
        asked = min(checks.integer("k", k, least=1), self.size)
        if asked == 0:
            return np.empty((len(probes), 0), np.float32), np.empty((len(probes), 0), np.int64), lengths
        selector, keep = self._selector(filter, exclude)
        try:
            parameters = None if selector is None else self._parameters(selector)
            values, names = self._index.search(probes.astype(np.float32), asked, params=parameters)
        except RuntimeError as error:
            if selector is None:
                raise
            name, kind = "exclude" if filter is None else "filter", type(self._held.base).__name__
            raise ValueError(
                f"{name}: {kind} cannot filter inside its search; use an IVF, HNSW or Flat index"
            ) from error
        del keep
        return values, names, lengths

    def _scored(
        self, values: NDArray[Any], lengths: NDArray[np.float64], stored: float = 1.0
    ) -> NDArray[np.float64]:
        """Return FAISS's numbers as inner products with unit vectors, or minus distances.

        Parameters
        ----------
        values : ndarray of shape (m, k)
        lengths : ndarray of shape (m,)
            Of the queries.
        stored : float
            Length of the stored vectors.
        """
        wide = values.astype(np.float64)
        if self.metric == "euclidean":
            return np.asarray(-np.sqrt(np.maximum(wide, 0.0)))
        if not self._l2:
            return wide / stored
        # |u - x|² = 1 + |x|² - 2 u·x of a unit query u, whose cosine with x is u·x / |x|.
        return np.asarray((1.0 + stored**2 - wide) * (lengths[:, None] / (2.0 * stored)))

    def _selector(self, filter: Any, exclude: Sequence[Any] | Ids) -> tuple[Any, list[Any]]:
        """Return the FAISS selector of what may be found, or None; and what must outlive it."""
        faiss = self._faiss
        keep: list[Any] = []
        parts = []
        if filter is not None:
            if isinstance(filter, faiss.IDSelector):
                parts.append(filter)
            else:
                mask = as_mask(filter, lambda: np.arange(self.size), self.size)
                if mask is not None and self._held.ids().max(initial=0) >= self.size:
                    raise TypeError(
                        "filter: a mask is over ids 0 … n - 1, and the index has others; pass ids"
                    )
                allowed = np.asanyarray(filter) if mask is None else np.flatnonzero(mask)
                if allowed.size and allowed.dtype.kind not in "iu":
                    raise TypeError("filter: expected ids, a mask over them, or a faiss.IDSelector")
                batch = np.ascontiguousarray(as_whole(allowed, "filter"))
                parts.append(faiss.IDSelectorBatch(batch))
                keep.append(batch)
        if len(exclude):
            gone = np.ascontiguousarray(as_whole(exclude, "exclude"))
            inner = faiss.IDSelectorBatch(gone)
            parts.append(faiss.IDSelectorNot(inner))
            keep += [gone, inner]
        if not parts:
            return None, keep
        selector = parts[0] if len(parts) == 1 else faiss.IDSelectorAnd(parts[0], parts[1])
        keep += parts
        return selector, keep

    def _parameters(self, selector: Any, core: Any = None) -> Any:
        """Return search parameters that apply a selector inside the search, the index's own kept.

        Raises NotImplementedError: this kind of index has none.
        """
        faiss, core = self._faiss, self._held.base if core is None else core
        if isinstance(core, faiss.IndexPreTransform):
            inner = self._parameters(selector, faiss.downcast_index(core.index))
            return faiss.SearchParametersPreTransform(index_params=inner)
        if isinstance(core, faiss.IndexIVF):
            return faiss.SearchParametersIVF(sel=selector, nprobe=core.nprobe)
        if isinstance(core, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(sel=selector, efSearch=core.hnsw.efSearch)
        if isinstance(core, faiss.IndexFlat | faiss.IndexScalarQuantizer):
            return faiss.SearchParameters(sel=selector)
        raise NotImplementedError(type(core).__name__)

    # ------------------------------------------------------------------ reading

    def vectors(self, ids: Sequence[Any] | Ids) -> NDArray[Any]:
        self._look()
        return self._vectors(np.asarray(ids), self._held.places(ids))

    def _vectors(self, ids: Ids, places: NDArray[np.int64]) -> NDArray[Any]:
        """Return the vectors of ids that are stored."""
        if len(places) == 0:
            return np.empty((0, self.dim), np.float32)
        if self._side is not None:
            return np.asarray(self._side[places], np.result_type(self._side, np.float32))
        rows = self._held.reconstructed(places)
        if self.metric == "cosine":
            lengths = np.sqrt(np.vecdot(rows, rows, dtype=np.float64))
            check_unit(lengths, ids, "index", tolerance=UNIT if self._held.whole else QUANTIZED)
        return rows

    def _known(self, ids: Sequence[Any] | Ids) -> list[int]:
        self._held.places(ids)
        known: list[int] = np.asarray(ids).tolist()
        return known

    def _names(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._held.ids()[rows]

    def everything(
        self, *, filter: Any = None, exclude: Sequence[Any] | Ids = (), include: Sequence[Any] | Ids = ()
    ) -> Everything:
        self._look()
        if self._held.lists is not None:
            self._held.forget()
        names = self._held.ids()
        selector, keep = self._selector(filter, exclude)
        if selector is not None:
            allowed = np.fromiter((selector.is_member(one) for one in names.tolist()), np.bool_, len(names))
            allowed[np.isin(names, np.asarray(include))] = True
            names = names[allowed]
        del keep
        if len(names) == 0:  # what is checked has rows: none of the one there is
            one = Vectors(np.eye(1, self.dim, dtype=np.float32), self.metric)
            return Everything(one.restricted(np.empty(0, np.int64)), names)
        places = self._held.places(names)
        if self._side is None:
            return Everything(Vectors(self._vectors(names, places), self.metric), names)
        ids = np.full(len(self._side), -1)
        ids[places] = names
        return Everything(Vectors(self._side, self.metric, kept=np.sort(places)), ids)

    def sample(self, count: int = 4096) -> Found | None:
        """Return up to ``count`` of the vectors that are stored now."""
        self._look()
        if self._held.lists is None or self._side is not None:
            return super().sample(count)
        try:
            drawn = super().sample(count)
            if drawn is not None and np.array_equal(drawn.vectors, self.vectors(drawn.ids)):
                return drawn
        except KeyError:
            pass
        self._held.forget()  # others have come in the place of some
        self._sample = None
        return super().sample(count)

    def __repr__(self) -> str:
        kind = f"{type(self._held.core).__name__}, {self.metric}, {'exact' if self.exact else 'approximate'}"
        return f"FaissIndex of {self.size:,} × {self.dim} ({kind})"


def _is_there(names: NDArray[np.int64], values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which of FAISS's answers are none of its padding: an id of -1 with the worst score there is."""
    return np.asarray((names != -1) | (np.abs(values) < np.finfo(np.float32).max), np.bool_)
