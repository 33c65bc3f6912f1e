"""Items that join a catalog and leave it: what becomes of vectors and clusters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.catalog.items import as_quality
from setwise.cluster import Clusters, distances
from setwise.containers import as_matrix
from setwise.vectors import Vectors

__all__ = ["grown", "shrunk"]

#: Rows that are measured at once.
_BLOCK = 8192


def grown(
    vectors: Vectors, clusters: Clusters, data: Any, quality: Any
) -> tuple[Vectors, Clusters, NDArray[np.float64]]:
    """Return vectors with new rows after them, each in the nearest cluster, and the new qualities.

    Centroids stay. Where clusters were made of vectors and quality, both decide which is nearest.

    Raises
    ------
    TypeError, ValueError
        Rows of another width, ones that the stored type cannot hold, or bad ones; bad qualities.
    """
    raw = as_matrix(data)
    if raw.shape[1] != vectors.d:
        raise ValueError(
            f"vectors: rows have {raw.shape[1]} entries, the catalog's have {vectors.d}; encode them alike"
        )
    new = Vectors(_as_stored(raw, vectors.raw.dtype), vectors.metric, workers=vectors.workers)
    known = as_quality(quality, new.n)
    labels, away = np.empty(new.n, np.int32), np.empty(new.n)

    def assign(start: int, stop: int, block: NDArray[Any]) -> None:
        labels[start:stop], away[start:stop] = clusters.assign(block, known[start:stop])

    new.map_blocks(assign)
    radii = clusters.radii.copy()
    np.maximum.at(radii, labels, away)
    both = np.concatenate([vectors.raw, new.raw])
    made = replace(clusters, labels=np.concatenate([clusters.labels, labels]), radii=radii)
    return Vectors(both, vectors.metric, workers=vectors.workers), made, known


def shrunk(vectors: Vectors, clusters: Clusters, kept: NDArray[np.bool_]) -> tuple[Vectors, Clusters]:
    """Return the kept rows; clusters that become empty are dropped, radii of those that lose rows shrink."""
    rest = Vectors(vectors.raw[kept], vectors.metric, workers=vectors.workers)
    lost = np.bincount(clusters.labels[~kept], minlength=len(clusters)) > 0
    filled = np.bincount(clusters.labels[kept], minlength=len(clusters)) > 0
    labels = (np.cumsum(filled) - 1).astype(np.int32)[clusters.labels[kept]]
    centroids = clusters.centroids[filled]
    radii, lost = clusters.radii[filled], lost[filled]
    radii[lost] = 0.0
    touched = np.flatnonzero(lost[labels])
    for start in range(0, len(touched), _BLOCK):
        rows = touched[start : start + _BLOCK]
        away = distances(rest.rows(rows), centroids, labels[rows], rest.metric)
        np.maximum.at(radii, labels[rows], away)
    joint = None if clusters.joint is None else clusters.joint[filled]
    return rest, replace(clusters, centroids=centroids, labels=labels, radii=radii, joint=joint)


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
            "quantise as for the catalog"
        )
    return stored
