"""The largest of some scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: From this many scores on, the largest few are sifted before they are partitioned.
SIFTED = 16_384


def top_k(scores: NDArray[np.floating[Any]], k: int) -> NDArray[np.int64]:
    """Return the positions of the k, at most n, largest scores, descending; ties by lowest position."""
    n = len(scores)
    if k <= 0:
        return np.empty(0, np.int64)
    if n >= SIFTED and k <= n // 16:
        # A sample guesses a level that about twice k scores reach; too few, and all are partitioned.
        sample = scores[:: n // 4096]
        rank = min(len(sample), 2 * k * len(sample) // n + 16)
        reach = np.flatnonzero(scores >= np.partition(sample, len(sample) - rank)[len(sample) - rank])
        if k <= len(reach) <= n // 2:
            return np.asarray(reach[top_k(scores[reach], k)])
    if k < n:
        threshold = np.partition(scores, n - k)[n - k]
        found = np.flatnonzero(scores >= threshold)
        if len(found) > k:
            above = found[scores[found] > threshold]
            level = found[scores[found] == threshold]
            found = np.concatenate([above, level[: k - len(above)]])
            found.sort()
    else:
        found = np.arange(n)
    return found[np.argsort(-scores[found], kind="stable")]
