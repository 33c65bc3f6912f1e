"""Intervals of means over questions that belong together in groups."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def grouped(groups: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return a number for each question's group, in order of appearance."""
    numbers = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[name] for name in groups], np.int64)


def intervals(
    differences: NDArray[np.float64], groups: NDArray[np.int64], *, resamples: int = 2000, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of 95 % intervals of means over questions, by the paired cluster bootstrap.

    Whole groups are drawn with replacement, and the 2.5 and 97.5 percentiles of the means are taken (Efron
    and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapters 13 and 16). One group alone has no
    interval: NaN.

    Parameters
    ----------
    differences : ndarray of shape (..., questions)
        Of a configuration and what it is compared with, question by question.
    groups : ndarray of shape (questions,), int64
        Each question's group, from 0.
    resamples : int
    seed : int

    Returns
    -------
    low, high : ndarray of shape (...)
    """
    count = int(groups.max()) + 1
    shape = differences.shape[:-1]
    if count < 2:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    flat = differences.reshape(-1, differences.shape[-1])
    sums = np.stack([np.bincount(groups, weights=row, minlength=count) for row in flat], axis=1)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    sizes = draws @ np.bincount(groups, minlength=count)
    means = (draws @ sums) / sizes[:, None]
    ends = np.quantile(means, [0.025, 0.975], axis=0)
    # Differences that cancel leave the rounding of their sums, which is no difference.
    ends[np.abs(ends) <= flat.shape[1] * np.finfo(np.float64).eps * np.abs(flat).max(axis=1)] = 0.0
    low, high = ends
    return low.reshape(shape), high.reshape(shape)
