"""What is done with one partition, wherever it runs, and with the union of what partitions yield."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.catalog.items import as_quality
from setwise.containers import as_matrix
from setwise.engine.base import opened
from setwise.solvers import multilevel
from setwise.vectors import Vectors, top_k

__all__ = ["Candidates", "merge", "select_inside", "select_part"]


@dataclass(frozen=True, eq=False)
class Candidates:
    """What enters the last step: where each item is, its quality and its vector.

    Attributes
    ----------
    shards, rows : ndarray of shape (u,), int64
        The shard, and the row there.
    quality : ndarray of shape (u,), float64
    vectors : ndarray of shape (u, d)
    clusters : ndarray of shape (u,), int32, or None
    """

    shards: NDArray[np.int64]
    rows: NDArray[np.int64]
    quality: NDArray[np.float64]
    vectors: NDArray[Any]
    clusters: NDArray[np.int32] | None = None


Part = tuple[Any, NDArray[np.int64], NDArray[np.float64], int, str, float, str]


def select_part(part: Part) -> NDArray[np.int64]:
    """Select greedily from some rows of a shared array (MUSS Alg. 2, line 5; DGDS's machines).

    Parameters
    ----------
    part : tuple
        (what `Engine.share` gave, the rows ascending, their qualities, k', the criterion, the diversity,
        the metric).

    Returns
    -------
    ndarray of shape (at most k',), int64
        Rows of the shared array, in selection order.
    """
    shared, rows, quality, per_part, criterion, diversity, metric = part
    held = Vectors(np.asarray(opened(shared)[rows]), metric)
    objective = multilevel.objective_of(criterion, diversity, metric)
    return np.asarray(rows[multilevel.select_greedily(held, quality, None, per_part, objective)])


def select_inside(
    held: NDArray[Any], quality: Any, inside: int, top: int, criterion: str, diversity: float, metric: str
) -> NDArray[np.int64]:
    """Return what a partition yields, rows ascending: its greedy selection and its best by quality.

    Parameters
    ----------
    held : ndarray of shape (n, d)
        A memory map is read in blocks.
    quality : array-like of shape (n,)
    inside : int
        Items to select greedily, all of a smaller partition.
    top : int
        The best by quality that join them.
    criterion, diversity, metric
        As for `setwise.engine.select_shards`.

    Raises
    ------
    TypeError, ValueError
        Bad rows or qualities.
    """
    known = as_quality(quality, len(held))
    objective = multilevel.objective_of(criterion, diversity, metric)
    chosen = multilevel.select_greedily(Vectors(as_matrix(held), metric), known, None, inside, objective)
    return np.union1d(chosen, top_k(known, min(top, len(known))))


def merge(
    held: NDArray[Any],
    quality: NDArray[np.float64],
    k: int,
    *,
    diversity: float,
    criterion: str = "sum",
    metric: str = "cosine",
) -> NDArray[np.int64]:
    """Return k rows of a union by greedy selection, in selection order: the last step of DGDS and MUSS."""
    objective = multilevel.objective_of(criterion, diversity, metric)
    return multilevel.select_greedily(Vectors(as_matrix(held), metric), quality, None, k, objective)
