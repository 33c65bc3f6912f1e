"""The folder that a saved catalog is: vectors left on disk, everything else read and checked on opening."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.catalog.items import Items, as_integers, kind_of
from setwise.cluster import Clusters
from setwise.files.arrays import write_rows
from setwise.files.folder import FolderFormat, FolderInfo
from setwise.files.reading import read_array
from setwise.vectors import Floats, Vectors

#: Every file that may stand beside ``meta.json``.
VECTORS, SCALES, QUALITY, LABELS, CENTROIDS, JOINT, RADII, NUMBERS, NAMES, FIELDS = FILES = (
    *("vectors.npy", "scales.npy", "quality.npy", "labels.npy", "centroids.npy", "joint.npy", "radii.npy"),
    *("ids.npy", "ids.parquet", "fields.parquet"),
)

#: What centroids may be of: what vectors are computed in, or were when they were made.
_COMPUTED = ("float32", "float64")

#: Bytes of vectors that are copied at once.
_CHUNK = 1 << 24


@dataclass(frozen=True, kw_only=True)
class CatalogInfo(FolderInfo):
    """What ``meta.json`` says of a saved catalog, besides what it says of every folder.

    Attributes
    ----------
    n, d, clusters : int
        Number of items, width of their vectors, number of clusters.
    metric : {"cosine", "euclidean"}
    quality_weight : float
        Of the clusters; above 0 there is ``joint.npy``.
    dtype : str
        Of the stored vectors.
    working : {"float32", "float64"}
        What they are computed in.
    unit : bool
        Whether they are of unit length as stored.
    ids : {"integers", "strings"}
    """

    n: int
    d: int
    clusters: int
    metric: str
    quality_weight: float
    dtype: str
    working: str
    unit: bool
    ids: str


FORMAT = FolderFormat(
    noun="catalog",
    version=3,
    info=CatalogInfo,
    files=FILES,
    make="make one with setwise catalog build",
    again="build it again",
)


class _Measured(Vectors):
    """Vectors that were checked before they were saved: no row is read until it is asked for."""

    def __init__(
        self, raw: NDArray[Any], info: CatalogInfo, scale: Floats | None, workers: int, name: str
    ) -> None:
        self._known = scale, info.unit, np.dtype(info.working)
        super().__init__(raw, info.metric, workers=workers, name=name, stored=True)

    def _check(self, query: NDArray[np.float64] | None) -> None:
        self._scale, self.unit, self.dtype = self._known


def write(path: str | os.PathLike[str], items: Items, *, force: bool) -> CatalogInfo:
    """Write a catalog's items as a folder, whole or not at all.

    Raises TypeError: ids are neither integers nor strings; ValueError: an id is beyond 64 bits, or no text;
    FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError: as for
    `FolderFormat.check_target`.
    """
    vectors, clusters = items.vectors, items.clusters
    FORMAT.check_target(path, force=force, argument="path")
    kind, names = _as_stored_ids(items.ids)
    with FORMAT.new_folder(path, force=force, argument="path") as folder:
        raw = vectors.raw  # as it is, in blocks: a memory map is never held whole
        step = max(1, _CHUNK // (raw.shape[1] * raw.dtype.itemsize))
        write_rows(folder / VECTORS, len(raw), (raw[at : at + step] for at in range(0, len(raw), step)))
        arrays: dict[str, NDArray[Any] | None] = {
            SCALES: vectors.scale,
            QUALITY: items.quality,
            LABELS: clusters.labels,
            CENTROIDS: clusters.centroids,
            JOINT: clusters.joint,
            RADII: clusters.radii,
        }
        for name, array in arrays.items():
            if array is not None:
                np.save(folder / name, np.ascontiguousarray(array), allow_pickle=False)
        if kind == "integers":
            np.save(folder / NUMBERS, names, allow_pickle=False)
        else:
            from setwise.extras.arrow import parquet

            parquet.write_table(names, folder / NAMES, compression="zstd")
        if items.fields is not None:
            from setwise.extras.arrow import parquet

            parquet.write_table(items.fields, folder / FIELDS, compression="zstd")
        facts = {
            "n": vectors.n,
            "d": vectors.d,
            "clusters": len(clusters),
            "metric": vectors.metric,
            "quality_weight": clusters.quality_weight,
            "dtype": str(vectors.raw.dtype),
            "working": str(vectors.dtype),
            "unit": bool(vectors.unit),
            "ids": kind,
        }
        return FORMAT.write(folder, facts)


def read(path: str | os.PathLike[str], workers: int) -> Items:
    """Return the items of a saved catalog, their vectors memory-mapped.

    Raises FileNotFoundError: there is no such folder; ValueError: it is no saved catalog, of another format
    version, or damaged.
    """
    small = [name for name in FILES if name != VECTORS]
    return FORMAT.load(path, partial(_opened, path, workers), contents=small)


def _opened(path: str | os.PathLike[str], workers: int, folder: Path, info: CatalogInfo) -> Items:
    """Return the items in a folder that is whole."""

    def array(name: str, dtypes: Sequence[str], *shape: int) -> NDArray[Any]:
        found = read_array(folder / name, FORMAT.noun)
        if found.shape != shape or found.dtype not in map(np.dtype, dtypes):
            wanted = f"{' or '.join(dtypes)} of {shape}"
            what = f"{name} holds {found.dtype} of shape {found.shape} instead of {wanted}"
            raise FORMAT.damaged(path, what)
        return found if name == VECTORS else np.array(found)

    n, d, count = info.n, info.d, info.clusters
    scale = array(SCALES, [info.working], n) if info.metric == "cosine" else None
    raw = array(VECTORS, [info.dtype], n, d)
    vectors = _Measured(raw, info, scale, workers, f"catalog {str(path)!r}, vectors")
    clusters = Clusters(
        array(CENTROIDS, _COMPUTED, count, d),
        array(LABELS, ["int32"], n),
        array(RADII, ["float64"], count),
        info.metric,
        info.quality_weight,
        array(JOINT, _COMPUTED, count, d + 1) if info.quality_weight else None,
    )
    quality: NDArray[np.float64] = array(QUALITY, ["float64"], n)
    fields = None
    if (folder / FIELDS).exists():
        from setwise.extras.arrow import parquet

        fields = parquet.read_table(folder / FIELDS).combine_chunks()
        if len(fields) != n:
            raise FORMAT.damaged(path, f"{FIELDS} has {len(fields):,} rows instead of {n:,}")
    if info.ids == "integers":
        return Items(vectors, quality, clusters, array(NUMBERS, ["int64"], n), fields)
    from setwise.extras.arrow import parquet

    names: NDArray[Any] = parquet.read_table(folder / NAMES).column("id").to_numpy()
    if len(names) != n:
        raise FORMAT.damaged(path, f"{NAMES} has {len(names):,} ids instead of {n:,}")
    return Items(vectors, quality, clusters, names, fields)


def _as_stored_ids(ids: NDArray[Any]) -> tuple[str, Any]:
    """Return "integers" and int64, or "strings" and an Arrow table."""
    kind = kind_of(ids)
    if kind == "integers":
        return kind, as_integers(ids)
    if kind != "strings":
        raise TypeError(f"ids: integers or strings can be saved, not {kind}; rename the items")
    from setwise.extras.arrow import arrow

    try:
        column = arrow.array(ids.tolist(), arrow.large_string())
    except UnicodeEncodeError:
        raise ValueError("ids: one holds half of a surrogate pair; take it out") from None
    return kind, arrow.table({"id": column})
