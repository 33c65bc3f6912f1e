"""A least score: what may be said of it, and how many results reach it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from setwise import checks
from setwise.missing import reasons


def cosines_to(rows: Sequence[Any], query: Any) -> list[float | None]:
    """Return each vector's cosine to a query, None where it is missing or cannot be used."""
    probe = np.asarray(query, np.float64)
    lacks = reasons(rows, d=probe.size)
    return [
        float(np.asarray(row, np.float64) @ probe / (np.linalg.norm(row) * np.linalg.norm(probe)))
        if lack is None
        else None
        for row, lack in zip(rows, lacks, strict=True)
    ]


def tell_how_many(count: int, k: int, threshold: float, best: float, noun: str) -> None:
    """Warn where fewer than k reach a threshold."""
    if not count:
        checks.warn(
            f"{noun}: none reaches the score {threshold:g} (the best has {best:.4g}): an empty result"
        )
    elif count < k:
        checks.warn(
            f"{noun}: {count} of the {k} asked for reach the score {threshold:g}; no others are chosen"
        )


def check_threshold(threshold: Any, name: str = "score_threshold") -> None:
    """Refuse a threshold of scores, called by a name, that is no finite number, but for None.

    Raises TypeError: it is no number; ValueError: it is NaN or infinite.
    """
    if threshold is not None:
        checks.finite(name, threshold)
