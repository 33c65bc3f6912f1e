"""What indexes over rows at hand share: fields by id, and a sample drawn once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.ids import as_list, in_order_of, listed_beside
from setwise.index.base import Found, Ids, Index

#: Draws the rows of a sample.
SEED = 0


def by_row(fields: Mapping[str, Any] | None, n: int, frame: Any = None) -> dict[str, Any]:
    """Return fields of n rows; pandas columns as lists in the order of the rows, or of the frame they are of.

    Raises ValueError: one has another number of values, or an index that lacks a row.
    """
    found = {}
    for name, column in ({} if fields is None else fields).items():
        argument = f"fields[{name!r}]"
        if len(column) != n:
            raise ValueError(f"fields: {name!r} has {len(column)} values for {n} vectors")
        column = listed_beside(column, frame, argument)
        if hasattr(column, "iloc"):
            column = as_list(in_order_of(column, np.arange(n), argument))
        found[name] = column
    return found


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
        column, numbers = self._fields[field], self._known(ids)
        keyed = isinstance(column, Mapping) or hasattr(column, "iloc")
        for one in numbers:
            if one not in column if keyed else not 0 <= one < len(column):
                raise ValueError(f"groups: field {field!r} has no value for id {one}")
        return [column[one] for one in numbers]

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
