"""Near-copies among a prompt's responses: the same in nearly all words, and in their vectors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+")


def without_near_copies(
    texts: Sequence[str], vectors: NDArray[Any], rewards: NDArray[np.float64], near: float
) -> list[int]:
    """Return which responses are kept where of near-copies only the best rewarded is.

    Two are near-copies if the cosine of their vectors and the share of their words that they have in common
    (twice the common ones over all, without regard to case and punctuation) are both at least ``near``.
    A positive so leaves no near-copy of it behind to become a negative.

    Parameters
    ----------
    texts : sequence of str
    vectors : ndarray of shape (N, d)
    rewards : ndarray of shape (N,)
    near : float
        Above 0; above 1 nothing is a near-copy.

    Returns
    -------
    list of int
        In the order of the texts.
    """
    unit = np.asarray(vectors, np.float64)
    # Largest entries first to 1, so that no square overflows or vanishes.
    largest = np.abs(unit).max(axis=1, keepdims=True, initial=0.0)
    unit = unit / np.where(largest > 0, largest, 1.0)
    lengths = np.sqrt(np.vecdot(unit, unit))[:, None]
    unit /= np.where(lengths > 0, lengths, 1.0)
    alike = unit @ unit.T >= near - 1e-9
    words: dict[int, Counter[str]] = {}

    def counted(place: int) -> Counter[str]:
        if place not in words:
            words[place] = Counter(_WORD.findall(texts[place].casefold()))
        return words[place]

    kept: list[int] = []
    for place in np.argsort(-rewards, kind="stable").tolist():
        if not any(alike[place, other] and _shared(counted(place), counted(other)) >= near for other in kept):
            kept.append(place)
    return sorted(kept)


def _shared(one: Counter[str], other: Counter[str]) -> float:
    """Return twice the words in common over all words."""
    return 2.0 * (one & other).total() / max(1, one.total() + other.total())
