"""What a selection from a catalog returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.files.writing import plain_value
from setwise.selection import Selection


@dataclass(frozen=True, eq=False, repr=False)
class CatalogSelection(Selection):
    """A selection from a catalog.

    Everything a `Selection` has; ``stats`` has the time of each stage in seconds and what was looked at.

    Attributes
    ----------
    ids : ndarray of shape (k,)
        The items' own ids, in selection order; ``indices`` are their rows.
    clusters : ndarray of shape (k,), int32
        The cluster of each.
    method : str
    reason : str
        Why ``auto`` chose the method; empty otherwise.
    fields : dict of lists of length k
        The items' kept columns, in selection order.
    """

    ids: NDArray[Any] = field(default_factory=lambda: np.empty(0, np.int64))
    clusters: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    method: str = ""
    reason: str = ""
    fields: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def members(self) -> NDArray[Any]:
        """The ids."""
        return self.ids

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return what is known of each member, by name, its kept columns among it."""
        known = super().columns()
        kept = {name: np.array([None, *values], object)[1:] for name, values in self.fields.items()}
        facts = {"rank": known["rank"], "id": self.ids, "cluster": self.clusters, "gain": self.gains}
        return facts | {f"item_{name}" if name in facts else name: values for name, values in kept.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        return {
            **super().to_dict(),
            "ids": self.ids.tolist(),
            "clusters": self.clusters.tolist(),
            "method": self.method,
            "reason": self.reason,
            "fields": plain_value(self.fields),
        }
