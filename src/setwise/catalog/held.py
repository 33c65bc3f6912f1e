"""What a catalog holds, and how that changes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import cluster as clustering
from setwise.catalog import changes, items
from setwise.catalog.items import Items

#: Held while a catalog is changed, so that of two changes at once neither is lost.
_changing = threading.Lock()


class Held:
    """Items that are replaced as a whole when they change, by one thread at a time; see `Catalog`."""

    def __init__(self, held: Items) -> None:
        self._items = held

    @property
    def clusters(self) -> clustering.Clusters:
        """What partitions the items."""
        return self._items.clusters

    @property
    def quality(self) -> NDArray[np.float64]:
        """One number an item, higher is better."""
        return self._items.quality

    @property
    def ids(self) -> NDArray[Any]:
        """The items' names."""
        return self._items.ids

    @property
    def fields(self) -> Any:
        """Columns kept beside the items, in their order; None where there are none."""
        return self._items.fields

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        held = self._items
        vectors, sizes = held.vectors, held.clusters.sizes()
        quality = held.quality[np.isfinite(held.quality)]
        return (
            f"Catalog of {len(held):,} items × {vectors.d:,} ({vectors.raw.dtype}, {vectors.metric}) in "
            f"{len(sizes):,} clusters of {sizes.min():,} to {sizes.max():,}; quality {quality.min():.3g} to "
            f"{quality.max():.3g}"
        )

    def set_quality(self, quality: Any, ids: Sequence[Any] | NDArray[Any] | None = None) -> int:
        """Take new qualities, as every hour: clusters stay.

        Parameters
        ----------
        quality : array-like of shape (n,) or (m,), mapping, pandas Series or frame
            At least 0, or -inf for never: in the order of the items; or by id, of all items or some of them,
            in a mapping, in a Series by its index, in a frame by its column of ids, or beside ``ids``.
        ids : sequence of length m, optional

        Returns
        -------
        int
            How many items keep the quality they had, since none was given for them.

        Raises
        ------
        KeyError
            An id is not in the catalog, which is as it was.
        TypeError
            They are no numbers, or ids of another kind than the catalog's.
        ValueError
            Another number of them than items or ids, one that is finite and below 0, NaN or plus infinity, or
            an id that is named twice.
        """
        with _changing:
            held = self._items
            if ids is None and not items.is_by_id(quality, held.ids, "quality"):
                self._items = replace(held, quality=items.as_quality(quality, len(held)))
                return 0
            values, given = items.by_id(quality, held.ids, "quality", ids)
            merged = items.as_quality(np.where(given, values, held.quality), len(held))
            self._items = replace(held, quality=merged)
            return int(len(held) - given.sum())

    def add(
        self,
        vectors: Any,
        quality: Any,
        ids: Sequence[Any] | NDArray[Any] | None = None,
        fields: Any = None,
    ) -> None:
        """Take new items, each into the nearest cluster; centroids stay, radii grow.

        The nearest by its vector; by vector and quality where the catalog was built with a quality weight.
        All vectors are copied once: after `load`, a memory map becomes an array in memory.

        Parameters
        ----------
        vectors : array-like of shape (m, d)
            Stored in the type that the catalog's vectors have.
        quality : array-like of shape (m,), mapping or pandas Series
            What has an index of the ids, or is a mapping from them, is joined by them.
        ids : sequence of length m, optional
            None twice, none in the catalog; by default the integers after the largest id.
        fields : mapping of names to sequences, DataFrame or pyarrow.Table, optional
            Columns that the catalog has; what is not given is null.

        Raises
        ------
        TypeError
            Ids or numbers are of another kind than the catalog's.
        ValueError
            Rows are of another width, or not finite; a quality is below 0; an id is there already. The
            catalog is as it was.
        """
        with _changing:
            self._items = changes.grown(self._items, vectors, quality, ids, fields)

    def remove(self, ids: Sequence[Any] | NDArray[Any]) -> None:
        """Drop items; clusters that become empty go, and the others are numbered anew.

        The vectors that stay are copied once: after `load`, a memory map becomes an array in memory.

        Parameters
        ----------
        ids : sequence

        Raises
        ------
        KeyError
            An id is not there. The catalog is as it was.
        TypeError
            Ids of another kind than the catalog's.
        ValueError
            These are all items.
        """
        with _changing:
            self._items = changes.shrunk(self._items, ids)
