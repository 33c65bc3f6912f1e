"""What a FAISS index holds: ids, vectors and their lengths, read anew when it has changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.index.base import Ids
from setwise.index.checking import as_positions, as_whole, check_unit

#: Rows that are measured at a time.
BLOCK = 65_536

#: Vectors that are compared with what they were before.
LOOKED_AT = 256


class HeldVectors:
    """The vectors of a FAISS index, which others may add to and remove from.

    Parameters
    ----------
    index : faiss.Index
    positions : bool
        Whether ids are positions, if the index has no map of ids.

    Attributes
    ----------
    core, base : faiss.Index
        The index itself, and the one below an IndexIDMap.
    lists : faiss.IndexIVF or None
    plain : bool
        Whether there is no map of ids: they are positions, or, with lists, what was added.
    whole : bool
        Whether vectors are stored as they are, neither quantized nor transformed.

    Raises ValueError: an id is stored more than once.
    """

    def __init__(self, index: Any, *, positions: bool) -> None:
        from setwise.extras.faiss import faiss

        self._faiss: Any = faiss
        self.core: Any = self._faiss.downcast_index(index)
        self.plain = not isinstance(self.core, faiss.IndexIDMap | faiss.IndexIDMap2)
        self.base: Any = self.core if self.plain else faiss.downcast_index(self.core.index)
        self.lists: Any = faiss.try_extract_index_ivf(self.base)
        flat: Any = self.base
        if isinstance(flat, faiss.IndexHNSWFlat):
            flat = faiss.downcast_index(flat.storage)
        self._flat: Any = flat if isinstance(flat, faiss.IndexFlat) else None
        self.whole = self._flat is not None or isinstance(self.base, faiss.IndexIVFFlat)
        self._lock = threading.RLock()
        self._stamp: tuple[Any, ...] | None = None
        self._positions = positions or self.lists is None
        self.changed()
        if not self.plain:
            self.ids()

    @property
    def size(self) -> int:
        """Number of vectors."""
        return int(self.core.ntotal)

    def changed(self) -> bool:
        """Return whether it holds others than before, and forget what was known of those.

        It does where their number is another, an id, or one of the vectors that are looked at: what FAISS
        adds comes last. Of lists that are not all searched the number alone counts; `places` finds the rest.
        """
        parts: list[Any] = []
        rows = self._rows()
        if rows is not None:
            parts += [rows[-1:], rows[:: self.size // LOOKED_AT + 1]]
        if isinstance(self.base, self._faiss.IndexFlat) and not self.plain:
            parts.append(self._faiss.vector_to_array(self.core.id_map))
        elif self.size and not self.plain:  # these let nothing be removed
            parts.append(np.array(self.core.id_map.at(self.size - 1)))
        if isinstance(self.base, self._faiss.IndexIVFFlat) and self.base.nprobe >= self.base.nlist:
            for ids, codes in self._by_list():
                parts += [ids, codes[-self.lists.code_size :]]
        stamp = (self.size, *(hash(part.tobytes()) for part in parts))
        with self._lock:
            if stamp == self._stamp:
                return False
            # What is removed from lists leaves a gap in the ids.
            self._positions = self._positions and (self._stamp is None or self.lists is None)
            self._stamp = stamp
            self.forget()
            return True

    def forget(self) -> None:
        """Read the ids and lengths anew when they are next asked for."""
        self._ids: NDArray[np.int64] | None = None
        self._order: NDArray[np.int64] | None = None
        self._lengths: tuple[float, float] | None = None

    def _rows(self) -> NDArray[np.float32] | None:
        """Return the vectors without a copy, where they lie in one piece."""
        if self._flat is None:
            return None
        every = self._faiss.rev_swig_ptr(self._flat.get_xb(), self.size * self.core.d)
        rows: NDArray[np.float32] = every.reshape(self.size, self.core.d)
        return rows

    def ids(self) -> NDArray[np.int64]:
        """Return the ids: by position, or in rising order where there are lists.

        Raises ValueError: one is stored more than once.
        """
        with self._lock:
            if self._ids is None:
                found = self._all_ids()
                values, counts = np.unique(found, return_counts=True)
                if len(values) < len(found):
                    raise ValueError(f"index: id {values[counts.argmax()]} is stored more than once")
                self._ids = found
            return self._ids

    def _all_ids(self) -> NDArray[np.int64]:
        if not self.plain:
            mapped: NDArray[np.int64] = self._faiss.vector_to_array(self.core.id_map).astype(np.int64)
            return mapped
        if self.lists is None:
            return np.arange(self.size)
        return np.sort(np.concatenate([ids for ids, _ in self._by_list()] or [np.empty(0, np.int64)]))

    def _by_list(self) -> Iterator[tuple[NDArray[np.int64], Any]]:
        """Yield each list's ids and its codes, which are views."""
        kept, view = self.lists.invlists, self._faiss.rev_swig_ptr
        for one in range(self.lists.nlist):
            if size := kept.list_size(one):
                yield view(kept.get_ids(one), size), view(kept.get_codes(one), size * self.lists.code_size)

    def lengths(self) -> tuple[float, float]:
        """Return the least and the largest length of vectors that are stored as they are; read once.

        Raises ValueError: one is not 1: by inner product it might never be found, however near its direction
        is.
        """
        with self._lock:
            if self._lengths is None:
                least, most = np.inf, 0.0
                for ids, rows in self._stored():
                    found = np.sqrt(np.vecdot(rows, rows, dtype=np.float64))
                    check_unit(found, ids, "index")
                    least, most = min(least, float(found.min())), max(most, float(found.max()))
                self._lengths = least, most
            return self._lengths

    def _stored(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield ids and vectors, block by block."""
        rows = self._rows()
        if rows is None:
            for ids, codes in self._by_list():
                yield ids, codes.view(np.float32).reshape(len(ids), self.core.d)
            return
        names = self.ids()
        for start in range(0, self.size, BLOCK):
            yield names[start : start + BLOCK], rows[start : start + BLOCK]

    def places(self, ids: Sequence[Any] | Ids) -> NDArray[np.int64]:
        """Return the positions of ids; with lists, the ids themselves.

        Raises KeyError: an id is not stored; TypeError: an id is no whole number.
        """
        if self._positions and self.plain:
            return as_positions(ids, self.size, "ids", missing=KeyError)
        wanted = as_whole(ids, "ids")
        with self._lock:
            if self.lists is not None and not np.isin(wanted, self.ids()).all():
                self.forget()  # perhaps they were added in place of others
            known = self.ids()
            if self._order is None:
                self._order = np.argsort(known)
            order = self._order
        lacking = wanted[~np.isin(wanted, known)]
        if len(lacking):
            raise KeyError(f"ids: the index has no id {lacking[0]}")
        found = order[np.searchsorted(known, wanted, sorter=order)]
        return wanted if self.plain else found

    def reconstructed(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return vectors as FAISS stores them.

        Raises ValueError: this kind of index cannot give them back; KeyError: one is stored no more.
        """
        rows = self._rows()
        if rows is not None:
            return np.asarray(rows[places])
        if self.lists is not None and self.lists.direct_map.type == self._faiss.DirectMap.NoMap:
            # Of the two kinds of map the one with which vectors can still be removed.
            self.lists.set_direct_map_type(self._faiss.DirectMap.Hashtable)
        try:
            return np.asarray(self.base.reconstruct_batch(places))
        except RuntimeError as error:
            if self.lists is not None:
                self.forget()
                self.places(places)
            raise ValueError(
                f"index: a {type(self.base).__name__} cannot give its vectors back; pass vectors=, the array "
                "they were added from"
            ) from error
