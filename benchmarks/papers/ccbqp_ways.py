"""The methods that CCBQP compares, and setwise's own, on one query."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import setwise

THETAS = tuple(round(0.1 * step, 1) for step in range(1, 10))
SIZES = (25, 50, 100)

#: What `setwise.select` is told for each of the paper's methods, and for setwise's own.
METHODS: dict[str, dict[str, Any]] = {
    "MMR": {"objective": "mmr"},
    "DPP": {"objective": "log-det"},
    "Frank-Wolfe": {"solver": "frank-wolfe"},
    "setwise, sharpness 8": {"sharpness": 8},
}

#: Of sharpness 8: relevance bounds what lies outside the most relevant.
POOL = 10


def chosen_by(
    method: str, rows: NDArray[Any], query: NDArray[Any], k: int, theta: float
) -> NDArray[np.int64]:
    """Return the rows that a method selects; the most relevant where θ is 1."""
    relevance = rows @ query
    order = np.argsort(-relevance, kind="stable")
    if theta == 1:
        return order[:k]
    size = min(len(rows), POOL * k) if "sharpness" in METHODS[method] else len(rows)
    pool = order[:size]
    options: dict[str, Any] = {"query": query, "diversity": 1 - theta, "certify": False, "threads": 1}
    return pool[setwise.select(rows[pool], k, **options, **METHODS[method]).indices]
