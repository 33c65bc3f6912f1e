"""A catalog's methods by name, which of them `auto` takes, and what a selection from it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.selection import Selection

#: Most n · k for which ``auto`` takes Frank-Wolfe under euclidean: some ten seconds.
EUCLIDEAN_WORK = 50_000_000

#: What `Catalog.select` takes as method, with what each does in one line.
METHODS = {
    "auto": "by size, metric and diversity: see `choose`",
    "frank-wolfe": "the core's solver over the whole catalog, certified",
    "muss": "greedy over clusters, inside the selected ones, and over the union (MUSS Algorithm 2)",
    "dgds": "greedy inside every part of a random partition, and over the union (Ghadiri and Schmidt 2019)",
    "greedy": "greedy over all items (MUSS Algorithm 1; the paper's MMR)",
    "clustering": "the best item of each of k clusters",
    "k-dpp": "drawn by its determinant and its qualities, exactly (Kulesza and Taskar 2012)",
    "top-k": "the best by quality alone",
    "random": "drawn at random",
    "muss-random-clusters": "muss with clusters drawn at random (rand.A)",
    "muss-random-partition": "muss with a random partition for clusters (rand.B)",
}


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
    bound : float or None
        The paper's own guarantee as a fraction of the best value, before its loss for radii: 1/α of MUSS's
        Theorem 8, 1/16 of DGDS's Theorem 4. The certificate is far tighter.
    """

    ids: NDArray[Any] = field(default_factory=lambda: np.empty(0, np.int64))
    clusters: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    method: str = ""
    reason: str = ""
    bound: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        return {
            **super().to_dict(),
            "ids": self.ids.tolist(),
            "clusters": self.clusters.tolist(),
            "method": self.method,
            "reason": self.reason,
            "bound": self.bound,
        }


def choose(n: int, k: int, diversity: float, metric: str, *, elsewhere: bool = False) -> tuple[str, str]:
    """Return the method that ``auto`` takes, and why: what was measured to be best.

    Parameters
    ----------
    n, k : int
    diversity : float
    metric : {"cosine", "euclidean"}
    elsewhere : bool
        Whether partitions are to run in other processes.
    """
    if diversity == 0.0:
        return "top-k", "at diversity 0 quality alone decides"
    if elsewhere:
        return "muss", "partitions that run elsewhere are what its levels are for"
    if metric == "cosine":
        return "frank-wolfe", "the highest objective in every measurement, in a few passes whatever k is"
    if n * k <= EUCLIDEAN_WORK:
        return "frank-wolfe", "the highest objective in every measurement, and few enough items for it"
    return "muss", f"passes over {n:,} items cost k times as much under euclidean as under cosine"
