"""Items that join a catalogue and leave it: what becomes of vectors, clusters and ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.cluster import Clusters
from setwise.containers import as_matrix
from setwise.vectors import Vectors

__all__ = ["as_integers", "following", "grown", "joined", "kind_of", "rows_of", "shrunk"]

#: Rows that are measured at once.
_BLOCK = 8192


def kind_of(ids: NDArray[Any]) -> str:
    """Return "integers" or "strings", or what else ids are."""
    if ids.dtype.kind in "iu":
        return "integers"
    if ids.dtype.kind == "U":
        return "strings"
    if ids.dtype != object:
        return str(ids.dtype)
    kinds = {type(name) for name in ids.tolist()}
    if kinds <= {str, np.str_}:
        return "strings"
    if kinds == {int}:
        return "integers"
    return " and ".join(sorted(kind.__name__ for kind in kinds))


def as_integers(ids: NDArray[Any]) -> NDArray[np.int64]:
    """Return integer ids as int64.

    Raises
    ------
    ValueError
        One is beyond that.
    """
    if ids.dtype.kind == "i":
        return ids.astype(np.int64)
    try:
        return np.array(ids.tolist(), np.int64)
    except OverflowError:
        raise ValueError("ids: an integer is beyond 64 bits (signed); use strings for such ids") from None


def following(ids: NDArray[Any], count: int) -> NDArray[Any]:
    """Return ids for new items that come without: the integers after the largest one.

    Raises
    ------
    ValueError
        The catalogue's ids are no integers.
    """
    if kind_of(ids) != "integers":
        raise ValueError("ids: the catalogue's are no integers, so new items need their own; pass ids")
    first = int(ids.max()) + 1
    return as_integers(np.array(range(first, first + count), object))


def joined(ids: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    """Return a catalogue's ids with new ones after them.

    Raises
    ------
    TypeError, ValueError
        Other kinds of ids, or the first that the catalogue has already.
    """
    ids, new = _alike(ids, new)
    known = np.flatnonzero(_among(new, ids))
    if len(known):
        name = _plain(new[known[0]])
        raise ValueError(
            f"ids: {name!r} (row {known[0]}) is in the catalogue already; remove it first, or rename it"
        )
    return np.concatenate([ids, new])


def rows_of(wanted: Sequence[Any] | NDArray[Any], ids: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rows of some ids, ascending.

    Raises
    ------
    KeyError
        The first that is not there.
    TypeError
        Not a sequence, or of another kind than the catalogue's.
    """
    names = np.asarray(wanted)
    if names.ndim != 1:
        raise TypeError(f"ids: expected a sequence of ids, got {wanted!r:.60}")
    if names.size == 0:
        return np.empty(0, np.int64)
    ids, names = _alike(ids, names)
    there = _among(names, ids)
    if not there.all():
        raise KeyError(f"ids: {_plain(names[np.flatnonzero(~there)[0]])!r} is not in the catalogue")
    return np.flatnonzero(_among(ids, names))


def grown(vectors: Vectors, clusters: Clusters, data: Any) -> tuple[Vectors, Clusters]:
    """Return vectors with new rows after them, each in the nearest cluster; centroids stay.

    Raises
    ------
    TypeError, ValueError
        Rows of another width, ones that the stored type cannot hold, or bad ones.
    """
    raw = as_matrix(data)
    if raw.shape[1] != vectors.d:
        raise ValueError(
            f"vectors: rows have {raw.shape[1]} entries, the catalogue's have {vectors.d}; encode them alike"
        )
    new = Vectors(_as_stored(raw, vectors.raw.dtype), vectors.metric, workers=vectors.workers)
    labels, away = np.empty(new.n, np.int32), np.empty(new.n)

    def assign(start: int, stop: int, block: NDArray[Any]) -> None:
        labels[start:stop], away[start:stop] = clusters.assign(block)

    new.map_blocks(assign)
    radii = clusters.radii.copy()
    np.maximum.at(radii, labels, away)
    both = np.concatenate([vectors.raw, new.raw])
    return (
        Vectors(both, vectors.metric, workers=vectors.workers),
        Clusters(clusters.centroids, np.concatenate([clusters.labels, labels]), radii, clusters.metric),
    )


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
        held, centres = rest.rows(rows), centroids[labels[rows]]
        if rest.metric == "cosine":
            away = 1.0 - np.vecdot(held, centres).astype(np.float64)
        else:
            delta = held.astype(np.float64) - centres
            away = np.sqrt(np.vecdot(delta, delta))
        np.maximum.at(radii, labels[rows], away)
    return rest, Clusters(centroids, labels, radii, clusters.metric)


def _alike(ids: NDArray[Any], others: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return ids of a catalogue, and others, as arrays that can be compared."""
    own, other = kind_of(ids), kind_of(others)
    if own != other:
        raise TypeError(f"ids: the catalogue's are {own}, these are {other}; pass the same kind")
    return (as_integers(ids), as_integers(others)) if own == "integers" else (ids, others)


def _among(names: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which names are among others."""
    if names.dtype.kind == "i":
        return np.isin(names, others)
    known = set(others.tolist())  # np.isin compares objects one by one
    return np.fromiter((name in known for name in names.tolist()), np.bool_, len(names))


def _as_stored(raw: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return rows in the type that a catalogue's vectors are stored in."""
    if raw.dtype == dtype:
        return raw
    with np.errstate(over="ignore", invalid="ignore"):
        stored = raw.astype(dtype)
    lost = np.isinf(stored) & np.isfinite(raw) if dtype.kind == "f" else stored != raw
    if lost.any():
        row = int(np.flatnonzero(lost.any(axis=1))[0])
        raise ValueError(
            f"vectors: row {row} has a number that {dtype}, the catalogue's type, cannot hold; rescale or "
            "quantise as for the catalogue"
        )
    return stored


def _plain(name: Any) -> Any:
    return name.item() if isinstance(name, np.generic) else name
