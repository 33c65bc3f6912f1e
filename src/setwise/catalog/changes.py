"""Items that join a catalog and leave it: what becomes of vectors and clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.catalog import items
from setwise.catalog.fields import grown_fields
from setwise.catalog.items import Items
from setwise.cluster import distances
from setwise.containers import as_matrix
from setwise.ids import in_order_of
from setwise.vectors import Vectors

#: Rows that are measured at once.
_BLOCK = 8192


def grown(
    before: Items,
    vectors: Any,
    quality: Any,
    ids: Sequence[Any] | NDArray[Any] | None,
    fields: Any = None,
) -> Items:
    """Return items with new ones after them, each in the nearest cluster.

    Centroids stay. Where clusters were made of vectors and quality, both decide which is nearest.

    Raises TypeError: ids or numbers of another kind than the catalog's; ValueError: rows of another width, or
    not finite, or beyond what the stored type holds; a bad quality; an id that is there.
    """
    old, clusters = before.vectors, before.clusters
    raw = as_matrix(vectors)
    if raw.shape[1] != old.d:
        raise ValueError(
            f"vectors: rows have {raw.shape[1]} entries, the catalog's have {old.d}; encode them alike"
        )
    new = Vectors(_as_stored(raw, old.raw.dtype), old.metric, workers=old.workers, stored=True)
    named = items.following(before.ids, new.n) if ids is None else items.as_names(ids, new.n)
    known = items.as_quality(in_order_of(quality, named, "quality", ids), new.n)
    names = items.joined(before.ids, named)
    columns = grown_fields(before.fields, fields, new.n)
    labels, away, finite = np.empty(new.n, np.int32), np.empty(new.n), items.spread(known)

    def assign(start: int, stop: int, block: NDArray[Any]) -> None:
        labels[start:stop], away[start:stop] = clusters.assign(block, finite[start:stop])

    new.map_blocks(assign)
    radii = clusters.radii.copy()
    np.maximum.at(radii, labels, away)
    return Items(
        Vectors(np.concatenate([old.raw, new.raw]), old.metric, workers=old.workers, stored=True),
        np.concatenate([before.quality, known]),
        replace(clusters, labels=np.concatenate([clusters.labels, labels]), radii=radii),
        names,
        columns,
    )


def shrunk(before: Items, ids: Sequence[Any] | NDArray[Any]) -> Items:
    """Return items without some; clusters that become empty go, radii of those that lose rows shrink.

    Raises KeyError: an id is not there; TypeError: ids of another kind than the catalog's; ValueError: these
    are all.
    """
    rows = items.rows_of(ids, before.ids)
    if len(rows) == len(before):
        raise ValueError("ids: these are all items; a catalog keeps at least one")
    if not len(rows):
        return before
    kept = np.ones(len(before), np.bool_)
    kept[rows] = False
    vectors, clusters = before.vectors, before.clusters
    rest = Vectors(vectors.raw[kept], vectors.metric, workers=vectors.workers, stored=True)
    lost = np.bincount(clusters.labels[~kept], minlength=len(clusters)) > 0
    filled = np.bincount(clusters.labels[kept], minlength=len(clusters)) > 0
    labels = (np.cumsum(filled) - 1).astype(np.int32)[clusters.labels[kept]]
    centroids = clusters.centroids[filled]
    radii, lost = clusters.radii[filled], lost[filled]
    radii[lost] = 0.0
    touched = np.flatnonzero(lost[labels])
    for start in range(0, len(touched), _BLOCK):
        part = touched[start : start + _BLOCK]
        away = distances(rest.rows(part), centroids, labels[part], rest.metric)
        np.maximum.at(radii, labels[part], away)
    joint = None if clusters.joint is None else clusters.joint[filled]
    made = replace(clusters, centroids=centroids, labels=labels, radii=radii, joint=joint)
    fields = None if before.fields is None else before.fields.filter(kept).combine_chunks()
    return Items(rest, before.quality[kept], made, before.ids[kept], fields)


def _as_stored(raw: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return rows in the type that a catalog's vectors are stored in."""
    if raw.dtype == dtype:
        return raw
    with np.errstate(over="ignore", invalid="ignore"):
        stored = raw.astype(dtype)
    lost = np.isinf(stored) & np.isfinite(raw) if dtype.kind == "f" else stored != raw
    if lost.any():
        row = int(np.flatnonzero(lost.any(axis=1))[0])
        raise ValueError(
            f"vectors: row {row} has a number that {dtype}, the catalog's type, cannot hold; rescale or "
            "quantize as for the catalog"
        )
    return stored
