"""Selection over shards that no machine holds at once: DGDS and MUSS where the items lie."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.catalog.request import CatalogRequest
from setwise.catalog.shards.batches import select_inside
from setwise.catalog.shards.clusters import ShardClusters, ShardItems, clustered_items
from setwise.catalog.shards.reading import Columns, Shard, ids_of, naming, store
from setwise.engine import engine_for
from setwise.files import parts
from setwise.objectives import Objective
from setwise.solvers.levels import select_greedily
from setwise.vectors import Vectors

#: What `select_shards` takes as method.
METHODS = ("dgds", "muss")


@dataclass(frozen=True, eq=False)
class ShardSelection:
    """A selection over shards, in selection order.

    Attributes
    ----------
    ids : ndarray of shape (k,)
        The items' ids; row numbers within the shard where it has none.
    shards : ndarray of shape (k,), int64
        Which shard each is from.
    rows : ndarray of shape (k,), int64
        Its row there.
    quality : ndarray of shape (k,), float64
    value, relevance, diversity : float
        Max-sum's (MUSS Eq. 2) and its terms: mean quality and mean distance.
    union : int
        Candidates of the last step.
    seconds : float
    method : {"dgds", "muss"}
    clusters : ndarray of shape (k,), int32, or None
        Of ``muss``: the cluster of each.
    clustering : ShardClusters or None
        Of ``muss``: all clusters, and which were kept.
    """

    ids: NDArray[Any]
    shards: NDArray[np.int64]
    rows: NDArray[np.int64]
    quality: NDArray[np.float64]
    value: float
    relevance: float
    diversity: float
    union: int
    seconds: float
    method: str = "dgds"
    clusters: NDArray[np.int32] | None = None
    clustering: ShardClusters | None = None

    def __len__(self) -> int:
        return len(self.ids)


def select_shards(
    shards: Sequence[Shard | str],
    k: int,
    *,
    method: str = "dgds",
    diversity: float = 0.1,
    per_shard: int | None = None,
    clusters: int | NDArray[Any] | None = None,
    kept: int | None = None,
    per_cluster: int | None = None,
    cluster_diversity: float = 0.5,
    top_up: bool = True,
    final_quality_scale: float = 1.0,
    criterion: str = "sum",
    metric: str = "cosine",
    vectors: str = "vector",
    quality: str = "quality",
    ids: str = "id",
    seed: int = 0,
    scratch: str | os.PathLike[str] | None = None,
    workers: int | str = 1,
) -> ShardSelection:
    """Select k items over shards, where they lie, and greedily from what those yield.

    ``dgds`` takes the shards for the partition (Ghadiri and Schmidt 2019): greedy selection in each. ``muss``
    clusters all items first (MUSS Algorithm 2): k-means on a sample, a streamed pass that assigns every row,
    greedy selection of clusters, and greedy selection inside each that is kept, wherever its rows lie. It
    selects what `setwise.Catalog` does from the same seed, or from the same clusters.

    Vectors stay in their files. Under ``muss`` a worker holds a block of 16,384 rows or a cluster, and this
    process some 30 bytes an item and the sample that k-means learns from. Only what is selected travels.
    Vectors of a Parquet shard are written to a .npy file first, in batches.

    Parameters
    ----------
    shards : sequence of Shard or path
        Readable here and by every worker.
    k : int
        At most the number of items.
    method : {"dgds", "muss"}
    diversity : float
        In [0, 1].
    per_shard : int, optional
        Of ``dgds``: items selected in each shard, k by default; all of a smaller one.
    clusters : int or array-like of shape (l, d), optional
        Of ``muss``: how many to make (by default as `Catalog.build`), or their centroids, such as a
        catalog's; those that come out empty are left out.
    kept : int, optional
        Of ``muss``: m, the clusters to keep, half of them by default.
    per_cluster : int, optional
        Of ``muss``: k', as for `Catalog.select`.
    cluster_diversity : float
        Of ``muss``: 1 - λ_c, in [0, 1].
    top_up : bool
        Whether the k best by quality enter the last step; under ``dgds`` each shard's.
    final_quality_scale : float
        Quality's factor in the last step, in (0, 1].
    criterion : {"sum", "min"}
    metric : {"cosine", "euclidean"}
    vectors, quality, ids : str
        Columns of Parquet shards; without a column of ids, row numbers.
    seed : int
        Of ``muss``: of the sample and of k-means.
    scratch : path-like, optional
        A folder that all workers share, where Parquet shards' vectors are kept meanwhile under ``muss``; by
        default one for temporary files, which does for workers on this machine.
    workers : int or str
        Local processes, "ray", or a Ray address: the result is the same.

    Returns
    -------
    ShardSelection

    Raises
    ------
    FileNotFoundError
        A shard, or the scratch folder, is not there.
    TypeError
        An argument is of the wrong type.
    ValueError
        An argument is out of its range, unknown, or not the method's; a shard lacks a column or has bad rows
        (with its path); k, or what clusters are asked for, is more than there is.
    """
    began = time.perf_counter()
    checks.choice("method", method, METHODS)
    of_muss = {"clusters": clusters, "kept": kept, "per_cluster": per_cluster, "scratch": scratch}
    for name, given in ({"per_shard": per_shard} if method == "muss" else of_muss).items():
        if given is not None:
            raise ValueError(f"{name}: {method} has none; leave it out")
    if kept is not None:
        checks.integer("kept", kept, least=1)
    request = CatalogRequest(
        k=k,
        diversity=diversity,
        metric=metric,
        seed=seed,
        method=method,
        clusters=kept,
        per_cluster=per_cluster,
        cluster_diversity=cluster_diversity,
        top_up=top_up,
        final_quality_scale=final_quality_scale,
        criterion=criterion,
    )
    listed = _listed(shards)
    columns = Columns(vectors, quality, ids)
    made: ShardClusters | None = None
    with engine_for(workers) as engine:
        if method == "dgds":
            inside = request.size if per_shard is None else checks.integer("per_shard", per_shard, least=1)
            top = request.size if top_up else 0
            work = [(one, columns, inside, top, request.of_items) for one in listed]
            found = _joined(engine.map(select_shard, work))
        else:
            with parts.scratch(_folder(scratch)) as folder:
                found, made = clustered_items(engine, listed, columns, request, clusters, str(folder))
    union = len(found.rows)
    if union < request.size:
        raise ValueError(f"k: {request.size} is more than the {union} items that the shards yield")
    held, scaled = Vectors(found.vectors, metric), found.quality * final_quality_scale
    chosen = select_greedily(held, scaled, request.size, request.of_items)
    terms = request.goal.terms(np.asarray(found.vectors[chosen], np.float64), found.quality[chosen])
    which, rows = found.shards[chosen], found.rows[chosen]
    return ShardSelection(
        ids=_ids(listed, which, rows, ids),
        shards=which,
        rows=rows,
        quality=found.quality[chosen],
        value=terms.value,
        relevance=terms.relevance,
        diversity=terms.spread,
        union=union,
        seconds=time.perf_counter() - began,
        method=method,
        clusters=None if found.clusters is None else found.clusters[chosen],
        clustering=made,
    )


def select_shard(work: tuple[Shard, Columns, int, int, Objective]) -> ShardItems:
    """Select inside one shard; what a worker runs under ``dgds``.

    ``work`` is the shard, its columns, items to select greedily, the best by quality that join them, and the
    objective.
    """
    shard, columns, inside, top, objective = work
    with parts.scratch() as folder:
        stored, quality = store((shard, str(folder / "vectors.npy"), columns))
        with naming(shard.path):
            rows = select_inside(Vectors(stored.open(), objective.metric), quality, inside, top, objective)
        return ShardItems(np.zeros(len(rows), np.int64), rows, quality[rows], stored.rows(rows))


def _joined(found: list[ShardItems]) -> ShardItems:
    """Return the candidates of all shards, in their order."""
    return ShardItems(
        np.repeat(np.arange(len(found)), [len(one.rows) for one in found]),
        np.concatenate([one.rows for one in found]),
        np.concatenate([one.quality for one in found]),
        np.concatenate([one.vectors for one in found]),
    )


def _listed(shards: Sequence[Shard | str]) -> list[Shard]:
    """Return shards whose files are there.

    Raises FileNotFoundError: one is not; ValueError: there are none.
    """
    listed = [one if isinstance(one, Shard) else Shard(os.fspath(one)) for one in shards]
    if not listed:
        raise ValueError("shards: none given")
    for one in listed:
        for path in (one.path, one.quality):
            if path is not None and not Path(path).is_file():
                raise FileNotFoundError(f"shards: no file {path!r}")
    return listed


def _folder(scratch: str | os.PathLike[str] | None) -> str | None:
    """Return the folder for temporary files, which has to be there."""
    if scratch is None:
        return None
    if not Path(scratch).is_dir():
        raise FileNotFoundError(f"scratch: no folder {os.fspath(scratch)!r}; create it first")
    return os.fspath(scratch)


def _ids(shards: list[Shard], which: NDArray[np.int64], rows: NDArray[np.int64], column: str) -> NDArray[Any]:
    """Return the ids of items by shard and row, in their order."""
    names: list[Any] = [None] * len(rows)
    for number in np.unique(which).tolist():
        places = np.flatnonzero(which == number)
        found = ids_of(shards[number], rows[places], column)
        for place, name in zip(places.tolist(), found.tolist(), strict=True):
            names[place] = name
    return np.asarray(names)
