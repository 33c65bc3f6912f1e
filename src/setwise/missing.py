"""Vectors that cannot be used, and the one policy for them wherever vectors come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks

#: What may be done with a candidate whose vector or score cannot be used: refuse it; leave it out, with a
#: warning; or place it after those chosen, while there are fewer than k.
MISSING = ("raise", "drop", "append")

#: Other words for them, such as those of the frameworks.
_SYNONYMS = {"error": "raise", "warn": "drop"}

#: Bytes of rows that are looked at at once.
_BLOCK = 1 << 22


def check_missing(missing: Any, allowed: Sequence[str] = MISSING) -> str:
    """Return a policy's name; "error" is "raise", and "warn" is "drop".

    Raises
    ------
    TypeError
        It is no string.
    ValueError
        It is unknown, or not among those allowed.
    """
    known = _SYNONYMS.get(missing, missing) if isinstance(missing, str) else missing
    return checks.choice("missing", known, allowed)


def unusable(rows: NDArray[Any], metric: str) -> NDArray[np.bool_]:
    """Return which rows have NaN or Inf or, under cosine, no direction, shape (n,)."""
    found = np.zeros(len(rows), np.bool_)
    step = max(1, _BLOCK // max(1, rows.shape[1] * 8))
    for start in range(0, len(rows), step):
        block = np.asarray(rows[start : start + step], np.float64)
        found[start : start + step] = ~np.isfinite(block).all(axis=1)
        if metric == "cosine":
            found[start : start + step] |= ~block.any(axis=1)
    return found


def reasons(vectors: Sequence[Any], metric: str = "cosine", d: int | None = None) -> list[str | None]:
    """Return why each vector cannot be used, None where it can.

    Parameters
    ----------
    vectors : sequence of array-like
        None for one that is not there.
    metric : {"cosine", "euclidean"}
        Under cosine a vector of zeros has no direction.
    d : int, optional
        The width they need; by default that of most of them.
    """
    rows = [None if vector is None else np.asarray(vector) for vector in vectors]
    if d is None:
        widths = Counter(row.size for row in rows if row is not None and row.size)
        d = widths.most_common(1)[0][0] if widths else 0
    return [_reason(row, metric, d) for row in rows]


def _reason(row: NDArray[Any] | None, metric: str, d: int) -> str | None:
    """Return why one vector cannot be used."""
    if row is None:
        return "is missing"
    if row.size == 0:
        return "is empty"
    if row.dtype.kind not in "fiu":
        return None  # what is no number is an error of its own
    if row.shape != (d,):
        return f"has shape {row.shape} where others have {(d,)}"
    if not np.isfinite(row).all():
        return "has NaN or Inf"
    if metric == "cosine" and not row.any():
        return "is all zero"
    return None
