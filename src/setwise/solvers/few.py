"""The best max-sum set of few candidates, found by looking at every set that may be it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: At most so many parts of sets are held.
PARTS = 20_000


def best_set(
    linear: NDArray[np.float64],
    distances: NDArray[np.float64],
    weight: float,
    k: int,
    above: float,
    margin: float,
) -> tuple[NDArray[np.int64] | None, bool]:
    """Return the k of m candidates with the largest f(x) = linear·x + weight·xᵀWx.

    Which m - k are left out is decided one by one, or which k come in where those are fewer: either way a
    set's loss is Σ c_i - 2 weight Σ_{i<j} W_ij over what is decided, and a part of one is dropped where the
    least c that may follow and the largest W cannot make up for its loss.

    Parameters
    ----------
    linear : ndarray of shape (m,), float64
    distances : ndarray of shape (m, m), float64
        W, with zero diagonal.
    above : float
        Only a set with a larger f counts.
    margin : float
        Values that differ by no more are equal: the first of them, by position, is returned.

    Returns
    -------
    chosen : ndarray of shape (k,), int64, or None
        None where no set is above.
    proven : bool
        False where there were too many: nothing is known then.
    """
    m = len(linear)
    pairs = 2 * weight * distances
    leave = m - k <= k
    costs, count, none = (
        (linear + pairs.sum(axis=0), m - k, float(linear.sum() + pairs.sum() / 2))
        if leave
        else (-linear, k, 0.0)
    )
    order = np.argsort(costs, kind="stable")
    costs, pairs = costs[order], pairs[np.ix_(order, order)]
    sums = np.concatenate([[0.0], np.cumsum(costs)])
    nearest, most = float(pairs.max()), none - above
    parts, losses = np.empty((1, 0), np.int64), np.zeros(1)
    for size in range(count):
        rest = count - size - 1
        last = parts[:, -1] if size else np.array([-1])
        part, new = np.nonzero(np.arange(m - rest) > last[:, None])
        loss = losses[part] + costs[new] - pairs[parts[part], new[:, None]].sum(axis=1)
        least = loss + sums[new + 1 + rest] - sums[new + 1] - nearest * rest * (size + 1 + (rest - 1) / 2)
        kept = least < most + margin
        if np.count_nonzero(kept) > PARTS:
            return None, False
        parts, losses = np.column_stack([parts[part[kept]], new[kept]]), loss[kept]
    better = losses < most
    if not better.any():
        return None, True
    level = losses[better].min() + margin
    decided = np.sort(order[parts[losses <= level]], axis=1)
    decided = decided[np.lexsort(decided.T[::-1])[0]]
    return (np.delete(np.arange(m), decided) if leave else decided), True
