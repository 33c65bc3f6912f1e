"""What indexes over rows at hand share: fields by id, and a sample drawn once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.index.base import Found, Ids, Index

#: Draws the rows of a sample.
SEED = 0


class RowIndex(Index):
    """An index whose vectors are rows at hand, with fields by id beside them."""

    _fields: Mapping[str, Any]
    _sample: Found | None = None

    @abstractmethod
    def _known(self, ids: Sequence[Any] | Ids) -> list[int]:
        """Return ids as plain integers. Raises KeyError: an id is not stored."""

    def _names(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ids of some rows."""
        return rows

    def values(self, ids: Sequence[Any] | Ids, field: str) -> list[Any]:
        if field not in self._fields:
            known = ", ".join(map(repr, self._fields)) or "none"
            raise ValueError(f"groups: the index has no field {field!r} (it has {known}); pass fields=")
        column = self._fields[field]
        return [column[one] for one in self._known(ids)]

    def sample(self, count: int = 4096) -> Found | None:
        """Return up to ``count`` rows; drawn and copied once, as long as as many are asked for."""
        kept = self._sample
        if kept is None or len(kept) != min(count, self.size):
            rows = np.arange(self.size)
            if self.size > count:
                rows = np.sort(np.random.default_rng(SEED).choice(self.size, count, replace=False))
            names = self._names(rows.astype(np.int64))
            kept = self._sample = Found(names, np.zeros(len(names)), self.vectors(names))
        return kept
