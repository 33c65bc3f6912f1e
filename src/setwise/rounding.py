"""How far what is computed may be off."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np


@lru_cache(maxsize=64)
def dot_error(d: int, dtype: Any) -> float:
    """Return how far the inner product of two unit vectors of d entries, computed in a precision, may be off.

    A blocked sum of d products errs by about d/8 + 16 roundings at the very most, that of the lengths
    included.
    """
    return (d / 8 + 16) * float(np.finfo(dtype).eps) / 2
