"""An index that answers again what it was asked before."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.index.base import Found, Ids, Index
from setwise.index.promised import is_known

#: Answers that are kept, of at most so many vectors each.
ANSWERS, LARGEST = 4, 4096


class KeptIndex(Index):
    """An index whose last answers are kept with their vectors: the next move of a slider asks the same.

    Parameters
    ----------
    least : int
        Vectors that are asked for where fewer would do, for the moves that want more.
    """

    def __init__(self, index: Index, least: int) -> None:
        self.dim, self.metric, self.exact = index.dim, index.metric, index.exact and is_known(index)
        self._index, self._least = index, least
        self._kept: OrderedDict[bytes, tuple[int, Found]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Number of stored vectors."""
        return self._index.size

    def search(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> tuple[NDArray[np.float64], Ids]:
        """Find the k best for each query."""
        return self._index.search(queries, k, filter=filter, exclude=exclude)

    def vectors(self, ids: Sequence[Any] | Ids) -> NDArray[Any]:
        """Return stored vectors."""
        return self._index.vectors(ids)

    def sample(self, count: int = 4096) -> Found | None:
        """Return vectors drawn over the whole index."""
        return self._index.sample(count)

    def fetch(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> list[Found]:
        """Search and fetch; of one query without a filter from what is kept."""
        if len(queries) != 1 or filter is not None or len(exclude) or k > LARGEST:
            return self._index.fetch(queries, k, filter=filter, exclude=exclude)
        key = queries.tobytes()
        with self._lock:
            asked, found = self._kept.get(key, (0, None))
            if found is not None:
                self._kept.move_to_end(key)  # the one unused for longest goes first
        if found is None or asked < k:
            asked = max(k, self._least)
            found = self._index.fetch(queries, asked)[0]
            with self._lock:
                self._kept[key] = asked, found
                while len(self._kept) > ANSWERS:
                    self._kept.popitem(last=False)
        if len(found) <= k:
            return [found]
        # What is cut off scores no more than the last that stays.
        last = float(found.scores[k - 1])
        floor = None if found.floor is None else max(found.floor, last)
        return [
            replace(found, ids=found.ids[:k], scores=found.scores[:k], vectors=found.vectors[:k], floor=floor)
        ]
