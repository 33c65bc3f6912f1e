"""A selected set of passages: what a person wants to see of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.explanation import Explanation
from setwise.selection import Selection

#: Cosine from which two passages count as saying the same.
NEAR_DUPLICATE = 0.9


@dataclass(frozen=True, eq=False)
class Passages:
    """A selected set of passages.

    Attributes
    ----------
    selection : Selection
        Its indices count candidates, not rows of the corpus.
    rows : ndarray of shape (k,), int64
        Rows of the corpus.
    ids : list of str or int
    texts : list of str or None
    relevances : ndarray of shape (k,), float64
        Of each member: cosine to the query, minus the distance to it, or what the corpus gave.
    cosines : ndarray of shape (k, k), float64
        Between the members.
    columns : mapping of str to list
        What else the corpus says of each member.
    named : callable
        Returns the id of what the selection calls a candidate.
    """

    selection: Selection
    rows: NDArray[np.int64]
    ids: list[str | int]
    texts: list[str] | None
    relevances: NDArray[np.float64]
    cosines: NDArray[np.float64]
    columns: Mapping[str, list[Any]] = field(default_factory=dict)
    named: Callable[[Any], str | int] = field(default=int, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def explain(self, most: int = 10) -> Explanation:
        """Return why each was chosen, and why others were not, by their ids; see `Selection.explain`."""
        return self.selection.explain(most).renamed(self.named)

    @property
    def closest_pair(self) -> float | None:
        """The largest cosine between two members; None for a set of one."""
        return float(self.cosines[np.tril_indices(len(self), -1)].max()) if len(self) > 1 else None

    @property
    def echoes(self) -> dict[int, int]:
        """Positions within `NEAR_DUPLICATE` of an earlier one, each with the earlier one closest to it."""
        earlier = np.tril(self.cosines, -1)
        return {
            position: int(earlier[position].argmax())
            for position in range(1, len(self))
            if earlier[position].max() >= NEAR_DUPLICATE
        }


def unit_of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows of unit length, zeros as they are."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(float).tiny))
