"""Relevance: one number a candidate, from the caller or from a query, checked and scaled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.containers import to_numpy
from setwise.vectors import Vectors

SCALES = ("none", "minmax", "zscore", "rank")

#: Distances under cosine span at most this much, so relevance that spans more drowns them.
WIDEST_SPAN = 2.0


class Relevance:
    """The relevance of every candidate.

    Parameters
    ----------
    values : ndarray of shape (n,), float64
        As given, or as scanned (then exact to the scan's float32).
    vectors : Vectors or None
        Not needed without a query.
    query : ndarray of shape (d,), float64, optional
        Where relevance is similarity to a query: lets `at` recompute it in float64.
    scale : {"none", "minmax", "zscore", "rank"}
        "minmax" maps to [0, 1], "zscore" to mean 0 and standard deviation 1, "rank" to ranks in
        [0, 1] (ties share their mean rank). Constant relevance maps to 0.
    """

    def __init__(
        self,
        values: NDArray[np.float64],
        vectors: Vectors | None,
        query: NDArray[np.float64] | None = None,
        scale: str = "none",
    ) -> None:
        self._vectors = vectors
        self._query = query if scale != "rank" else None
        #: Whether it is a similarity to a query: equal rows then have equal relevance.
        self.computed = query is not None
        self._peak, self._offset, self._span = 1.0, 0.0, 1.0
        self._affine = scale in ("minmax", "zscore")
        if self._affine:
            # Numbers near either end of the range of float64 are first brought to its middle.
            self._peak = float(np.abs(values).max()) or 1.0
            level = values / self._peak
            self._offset = float(level.min() if scale == "minmax" else level.mean())
            self._span = float(np.ptp(level) if scale == "minmax" else level.std())
            if self._span <= 1e-13:
                self._span = np.inf
            values = self._scaled(values)
        elif scale == "rank":
            values = _ranks(values)
        #: ndarray of shape (n,), float64
        self.values = values
        #: How far an entry of `values` may be from what `at` returns.
        self.error = 0.0
        if (
            self._query is not None
            and vectors is not None
            and vectors.dtype == np.float32
            and vectors.metric == "cosine"
        ):
            self.error = 1e-6
            if self._affine:
                self.error /= min(self._peak * self._span, 1.0)

    @property
    def query(self) -> NDArray[np.float64] | None:
        """What relevance is the similarity to, unscaled; None where it was given or is ranks."""
        return None if self._affine else self._query

    def _scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return numbers on the scale."""
        return (values / self._peak - self._offset) / self._span

    def at(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the relevance of some candidates in full float64 precision, shape (m,)."""
        if self._query is None or self._vectors is None:
            return self.values[ids]
        rows = self._vectors.rows(ids, np.float64)
        if self._vectors.metric == "cosine":
            exact = np.vecdot(rows, self._query)
        else:
            delta = rows - self._query
            exact = -np.sqrt(np.vecdot(delta, delta))
        if self._affine:
            exact = self._scaled(np.asarray(exact, np.float64))
        return np.asarray(exact, np.float64)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks in [0, 1], ties sharing their mean rank."""
    distinct, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(distinct) == 1:
        return np.zeros(len(values))
    last = np.cumsum(counts)
    mean_rank = last - (counts + 1) / 2.0
    ranks: NDArray[np.float64] = mean_rank[inverse] / (len(values) - 1)
    return ranks


def as_relevance(data: Any, n: int, name: str = "relevance") -> NDArray[np.float64]:
    """Return n finite float64 numbers.

    Raises
    ------
    TypeError
        They are not numbers.
    ValueError
        They are of another number than n, or one is NaN or Inf (the message has its row).
    """
    values = _as_numbers(data, n, name)
    _check_finite(values, np.isfinite(values), name)
    return values


def or_never(data: Any, n: int, name: str = "relevance") -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return n finite float64 numbers, and the rows that were -inf: never to be selected.

    Those rows' numbers are the least of the others', so that no scale changes by them.

    Raises
    ------
    TypeError
        They are not numbers.
    ValueError
        They are of another number than n, one is NaN or plus infinity (the message has its row), or all are
        -inf.
    """
    values = _as_numbers(data, n, name)
    barred = np.isneginf(values)
    _check_finite(values, np.isfinite(values) | barred, name)
    never = np.flatnonzero(barred)
    if len(never):
        if len(never) == n:
            raise ValueError(f"{name}: all {n} are -inf, there is nothing to select")
        values[never] = values[~barred].min()
    return values, never


def _as_numbers(data: Any, n: int, name: str) -> NDArray[np.float64]:
    """Return n numbers as float64, a copy."""
    array = to_numpy(data, name, flat=True)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: dtype {array.dtype} cannot be used; pass one number a candidate")
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.shape != (n,):
        raise ValueError(f"{name}: expected {n} numbers, one a candidate, got shape {array.shape}")
    values: NDArray[np.float64] = array.astype(np.float64)
    return values


def _check_finite(values: NDArray[np.float64], fine: NDArray[np.bool_], name: str) -> None:
    """Refuse the first number that is not fine."""
    if not fine.all():
        row = int(np.argmin(fine))
        what = "NaN" if np.isnan(values[row]) else "Inf"
        raise ValueError(f"{name}: row {row} is {what}; drop the candidate or pass an imputed number")


def scaled(data: Any, n: int, scale: str) -> NDArray[np.float64]:
    """Return n numbers of relevance on a scale, checked."""
    return Relevance(as_relevance(data, n), None, None, check_scale(scale)).values


def check_scale(scale: Any) -> str:
    """Return a known relevance scale's name, or raise with the nearest one."""
    return checks.choice("relevance_scale", scale, SCALES)


def warn_if_wide(values: NDArray[np.float64]) -> None:
    """Warn that relevance spans so much that no distance can outweigh it."""
    span = float(values.max() - values.min())
    if span > WIDEST_SPAN:
        checks.warn(
            f"relevance spans {span:.3g} while distances span at most {WIDEST_SPAN:.0f}, so diversity hardly "
            "counts; pass relevance_scale='minmax', 'zscore' or 'rank'"
        )
