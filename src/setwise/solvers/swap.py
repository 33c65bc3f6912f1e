"""Best exchange of one member for one outsider, until none improves the set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.solvers.problem import Pool

#: An exchange must improve the summed form by more than this, relative to its size.
PRECISION = 1e-7


def polish(
    pool: Pool, chosen: NDArray[np.int64], *, most: int = 1000, kept: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Improve a set within a pool by best single exchanges, to a local maximum.

    Exchanging member i for outsider j changes the summed form by g_j - g_i - 2t·W_ij, with g its gradient
    at the set. Distances are not negative, so only outsiders whose gradient exceeds the least inside can
    gain: few, once the set is good.

    Parameters
    ----------
    pool : Pool
    chosen : ndarray of shape (k,), int64
        Positions in the pool; satisfies the constraints.
    most : int
        At most this many exchanges.
    kept : ndarray of int64, optional
        Positions that must stay.

    Returns
    -------
    ndarray of shape (k,), int64
    """
    chosen = chosen.copy()
    k = len(chosen)
    if k == len(pool) or (pool.weight == 0.0 and k == 0):
        return chosen
    constraints = pool.problem.constraints
    codes = None if constraints.codes is None else constraints.codes[pool.ids]
    distances = pool.distances(chosen)
    gradient = pool.linear + 2 * pool.weight * distances.sum(axis=1, dtype=np.float64)
    inside = np.zeros(len(pool), bool)
    inside[chosen] = True
    movable = np.ones(k, bool)
    if kept is not None and len(kept):
        movable = ~np.isin(chosen, kept)
    if not movable.any():
        return chosen
    least_gain = PRECISION * (float(np.abs(gradient[chosen]).sum()) + 1e-12)
    double = 2 * pool.weight
    for _ in range(most):
        leaving = np.where(movable, gradient[chosen], np.inf)
        able = gradient > leaving.min() + least_gain
        able[chosen] = False
        outside = np.flatnonzero(able)
        if len(outside) == 0:
            break
        change = distances[outside] * -double
        change += gradient[outside, None]
        change -= leaving
        if codes is not None:
            held = np.bincount(codes[chosen], minlength=int(codes.max()) + 1)
            full = held[codes[outside]] >= constraints.quota
            change[full[:, None] & (codes[outside][:, None] != codes[chosen])] = -np.inf
        position = int(change.argmax())
        row, slot = divmod(position, k)
        if not change[row, slot] > least_gain:
            break
        comes = int(outside[row])
        column = pool.distances(np.array([comes]))[:, 0]
        gradient += double * (column.astype(np.float64) - distances[:, slot])
        distances[:, slot] = column
        chosen[slot] = comes
        pool.problem.count("swaps")
    return chosen
