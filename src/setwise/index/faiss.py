"""An index over any FAISS index: Flat, IVF, HNSW, quantised, by factory string, with ids of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.containers import as_matrix, as_queries
from setwise.index.base import Ids
from setwise.index.checking import UNIT, as_positions, check_unit
from setwise.index.local import RowIndex
from setwise.vectors import check_metric

#: How far from 1 the length of a vector may be that comes back from a quantised index.
QUANTISED = 0.4


class FaissIndex(RowIndex):
    """Search by FAISS.

    Under cosine the index must hold vectors of unit length, ranked by inner product or L2 (for those it is
    the same order). Ids are FAISS's own: positions, or those of an IndexIDMap. FAISS's -1, where it finds
    fewer than asked for, never leaves this class.

    Parameters
    ----------
    index : faiss.Index or str
        Trained and filled; or the path of one saved by ``faiss.write_index``.
    vectors : array-like of shape (n, d), optional
        The stored vectors by position, of any length, e.g. a memory map. Better than what FAISS can
        reconstruct where it stores them quantised, and needed where it cannot reconstruct at all.
    metric : {"cosine", "euclidean"}, optional
        By default cosine; "euclidean" needs an L2 index.
    exact : bool, optional
        Whether its searches are exact; by default judged from its type.
    fields : mapping of str to sequence or mapping, optional
        Columns to group by: values by id.

    Raises
    ------
    TypeError, ValueError
        No FAISS index, an empty or untrained one, or one that ranks by something else.

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
        from setwise.extras.faiss import faiss

        self._faiss = faiss
        if isinstance(index, str):
            index = faiss.read_index(index)
        if not isinstance(index, faiss.Index):
            raise TypeError(f"index: expected a faiss.Index, got {type(index).__name__}")
        if not index.is_trained:
            raise ValueError("index: it is not trained; call index.train and index.add first")
        if index.ntotal == 0:
            raise ValueError("index: it is empty; add vectors first")
        self._index = index
        self._core = faiss.downcast_index(index)
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
        self._fields = dict(fields or {})
        self._mapped, self._base = self._id_map()
        self.exact = self._judged_exact() if exact is None else bool(exact)
        self._positions: dict[int, int] | None = None
        whole = isinstance(self._base, faiss.IndexFlat | faiss.IndexHNSWFlat | faiss.IndexIVFFlat)
        self._tolerance = UNIT if whole else QUANTISED

    def _judged_exact(self) -> bool:
        """Return whether the index compares a query with every stored vector as it is."""
        faiss, core = self._faiss, self._base
        if isinstance(core, faiss.IndexIVFFlat):
            return bool(core.nprobe >= core.nlist)
        return isinstance(core, faiss.IndexFlat)

    def _id_map(self) -> tuple[NDArray[np.int64] | None, Any]:
        """Return the ids by position, where the index maps them, and the index below."""
        faiss, core = self._faiss, self._core
        if isinstance(core, faiss.IndexIDMap | faiss.IndexIDMap2):
            names = faiss.vector_to_array(core.id_map).astype(np.int64)
            if len(np.unique(names)) < len(names):
                values, counts = np.unique(names, return_counts=True)
                raise ValueError(f"index: id {values[counts.argmax()]} is stored more than once")
            return names, faiss.downcast_index(core.index)
        return None, core

    @property
    def size(self) -> int:
        return int(self._index.ntotal)

    def search(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> tuple[NDArray[np.float64], Ids]:
        probes = as_queries(queries, self.dim)
        lengths = np.sqrt(np.vecdot(probes, probes))
        if self._l2 and self.metric == "cosine":  # the order is the same, and less is lost to rounding
            probes = probes / np.where(lengths > 0.0, lengths, 1.0)[:, None]
        k = checks.integer("k", k, least=1)
        asked = min(k, self.size)
        selector, keep = self._selector(filter, exclude)
        parameters = None if selector is None else self._parameters(selector)
        found, names = self._index.search(probes.astype(np.float32), asked, params=parameters)
        del keep
        scores = np.full((len(probes), k), -np.inf)
        ids = np.full((len(probes), k), -1, np.int64)
        good = names >= 0
        scores[:, :asked] = np.where(good, self._scored(found, lengths), -np.inf)
        ids[:, :asked] = np.where(good, names, -1)
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)

    def _scored(self, found: NDArray[Any], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return FAISS's numbers as inner products with unit vectors, or minus distances."""
        values = found.astype(np.float64)
        if self.metric == "euclidean":
            return np.asarray(-np.sqrt(np.maximum(values, 0.0)))
        if not self._l2:
            return values
        return np.asarray((2.0 - values) * (lengths[:, None] / 2.0))

    def _selector(self, filter: Any, exclude: Sequence[Any] | Ids) -> tuple[Any, list[Any]]:
        """Return the FAISS selector of what may be found, or None; and what must outlive it."""
        faiss = self._faiss
        keep: list[Any] = []
        parts = []
        if filter is not None:
            if isinstance(filter, faiss.IDSelector):
                parts.append(filter)
            else:
                allowed = np.asarray(filter)
                if allowed.dtype == np.bool_:
                    if allowed.shape != (self.size,):
                        raise ValueError(
                            f"filter: expected a mask of {self.size} ids, got shape {allowed.shape}"
                        )
                    allowed = np.flatnonzero(allowed)
                if allowed.size and allowed.dtype.kind not in "iu":
                    raise TypeError("filter: expected ids, a mask over them, or a faiss.IDSelector")
                batch = np.ascontiguousarray(allowed, dtype=np.int64)
                parts.append(faiss.IDSelectorBatch(batch))
                keep.append(batch)
        if len(exclude):
            gone = np.ascontiguousarray(np.asarray(exclude), dtype=np.int64)
            inner = faiss.IDSelectorBatch(gone)
            parts.append(faiss.IDSelectorNot(inner))
            keep += [gone, inner]
        if not parts:
            return None, keep
        selector = parts[0] if len(parts) == 1 else faiss.IDSelectorAnd(parts[0], parts[1])
        keep += parts
        return selector, keep

    def _parameters(self, selector: Any, core: Any = None) -> Any:
        """Return search parameters that apply a selector inside the search, the index's own kept."""
        faiss, core = self._faiss, self._base if core is None else core
        if isinstance(core, faiss.IndexPreTransform):
            inner = self._parameters(selector, faiss.downcast_index(core.index))
            return faiss.SearchParametersPreTransform(index_params=inner)
        if isinstance(core, faiss.IndexIVF):
            return faiss.SearchParametersIVF(sel=selector, nprobe=core.nprobe)
        if isinstance(core, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(sel=selector, efSearch=core.hnsw.efSearch)
        if isinstance(core, faiss.IndexFlat | faiss.IndexScalarQuantizer | faiss.IndexPQ):
            return faiss.SearchParameters(sel=selector)
        raise ValueError(
            f"filter: a {type(core).__name__} cannot filter inside its search; use an IVF, HNSW or Flat index"
        )

    def vectors(self, ids: Sequence[Any] | Ids) -> NDArray[np.float32]:
        places = self._places(ids)
        if self._side is not None:
            return np.asarray(self._side[places], np.float32)
        if len(places) == 0:
            return np.empty((0, self.dim), np.float32)
        rows = self._reconstructed(places)
        if self.metric == "cosine":
            check_unit(rows, np.asarray(ids), "index", tolerance=self._tolerance)
        return rows

    def _reconstructed(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return vectors as FAISS stores them."""
        faiss, base = self._faiss, self._base
        lists = faiss.try_extract_index_ivf(base)
        if lists is not None and lists.direct_map.type == faiss.DirectMap.NoMap:
            lists.make_direct_map()
        flat = base
        if isinstance(flat, faiss.IndexHNSWFlat):
            flat = faiss.downcast_index(flat.storage)
        if isinstance(flat, faiss.IndexFlat):
            every = faiss.rev_swig_ptr(flat.get_xb(), self.size * self.dim).reshape(self.size, self.dim)
            return np.asarray(every[places])
        try:
            return np.asarray(base.reconstruct_batch(places))
        except RuntimeError as error:
            raise ValueError(
                f"index: a {type(base).__name__} cannot give its vectors back; pass vectors=, the array they "
                "were added from"
            ) from error

    def _places(self, ids: Sequence[Any] | Ids) -> NDArray[np.int64]:
        """Return the positions of ids."""
        if self._mapped is None:
            return as_positions(ids, self.size, "ids", missing=KeyError)
        if self._positions is None:
            self._positions = {name: place for place, name in enumerate(self._mapped.tolist())}
        listed = np.asarray(ids).tolist()
        for name in listed:
            if name not in self._positions:
                raise KeyError(f"ids: the index has no id {name!r}")
        return np.array([self._positions[name] for name in listed], np.int64)

    def _known(self, ids: Sequence[Any] | Ids) -> list[int]:
        self._places(ids)
        known: list[int] = np.asarray(ids).tolist()
        return known

    def _names(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows if self._mapped is None else self._mapped[rows]

    def __repr__(self) -> str:
        kind = "exact" if self.exact else "approximate"
        return (
            f"FaissIndex of {self.size:,} × {self.dim} ({type(self._core).__name__}, {self.metric}, {kind})"
        )
