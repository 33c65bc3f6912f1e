"""How far queries reach under regularized transport: what `setwise.solvers.matching` does, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise import kernels

Numbers = NDArray[np.float64]


def limit(each: Numbers, distances: NDArray[np.floating], reach: int, bound: float) -> tuple[float, bool]:
    """Return s*, the first sum of a query's weights past which c(s) reaches the bound, and whether one does.

    Parameters
    ----------
    each, distances : ndarrays of shape (M, L), float64
        Of each query's neighbors, nearest first: weights above 0, and distances; `kernels.readable`.
    reach : int
        Neighbors whose weights are known.
    """
    found, crossed, _, _ = _followed(each, distances, reach, bound, -1.0)
    return found, crossed


def inside(each: Numbers, reach: int, limit: float) -> tuple[NDArray[np.int64], Numbers]:
    """Return how many of each query's neighbors weigh at most a limit together, and their weight."""
    return _followed(each, each, reach, 0.0, limit)[2:]


def _followed(
    each: Numbers, distances: NDArray[np.floating], reach: int, bound: float, limit: float
) -> tuple[float, bool, NDArray[np.int64], Numbers]:
    whole, spent = np.empty(len(each), np.int64), np.empty(len(each))
    found, crossed = kernels.native().transport(each, distances, reach, bound, limit, whole, spent)
    return found, crossed, whole, spent
