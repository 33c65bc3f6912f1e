"""Relevance: one number a candidate, from the caller or from a query, checked and scaled."""

from __future__ import annotations

import itertools
import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks, kernels
from setwise.containers import to_numpy
from setwise.rounding import dot_error
from setwise.threads import run_ranges
from setwise.vectors import Floats, Vectors

#: Numbers of a block of rows that is read in float64.
BLOCK = 1 << 19

EPSILON = float(np.finfo(np.float64).eps)

SCALES = ("none", "minmax", "zscore", "rank")

#: Distances under cosine span at most this much, so relevance that spans more drowns them.
WIDEST_SPAN = 2.0


class Relevance:
    """The relevance of every candidate.

    Parameters
    ----------
    values : ndarray of shape (n,), float64
        As given, or as scanned (then exact to the scan's precision).
    vectors : Vectors or None
        Not needed without a query.
    query : ndarray of shape (d,), float64, optional
        Where relevance is similarity to a query: lets `at` recompute it in float64.
    scale : {"none", "minmax", "zscore", "rank"}
        "minmax" maps to [0, 1], "zscore" to mean 0 and standard deviation 1, "rank" to ranks in
        [0, 1] (ties share their mean rank). Constant relevance maps to 0. A similarity is first computed in
        float64.

    Attributes
    ----------
    values : ndarray of shape (n,), float64
        What solvers see: less `least`.
    raw : ndarray of shape (n,), float64
        What they were before.
    least : float
        What has been taken off; 0 but for `from_least`.
    error : float
        How far an entry of `values` may be from what `at` returns.
    computed : bool
        Whether it is a similarity to a query: equal rows then have equal relevance.
    query : ndarray of shape (d,), float64, or None
        What `at` is the similarity to, but for `least`; None where relevance was given or is scaled.
    """

    def __init__(
        self,
        values: NDArray[np.float64],
        vectors: Vectors | None,
        query: NDArray[np.float64] | None = None,
        scale: str = "none",
    ) -> None:
        self.computed = query is not None
        self.least, self.error = 0.0, 0.0
        self.query, self._vectors = query, vectors
        self.values = values
        self._is_exact = query is None or vectors is None or vectors.precise
        if query is not None and vectors is not None:
            self.error = similarity_error(vectors, values)
        if scale != "none":
            rounding = 0.0
            if vectors is not None and query is not None:
                values, rounding = self.all(), similarity_error(vectors, values, np.float64)
            values = _scaled(values, scale, rounding)
            self.query, self.error, self._is_exact = None, 0.0, True
        self.values = self.raw = values

    @cached_property
    def _span(self) -> tuple[float, float]:
        """The least and the largest of `values`."""
        return kernels.span(self.values)

    @property
    def largest(self) -> float:
        """The largest size of an entry of `values`."""
        return max(-self._span[0], self._span[1])

    def from_least(self) -> Relevance:
        """Return this relevance counted from the least there is; a cosine has a zero of its own, and stays.

        Adding a constant to every relevance changes no set, but a large one leaves no digits to tell sets
        apart.
        """
        if self.query is not None and self._metric == "cosine":
            return self
        least, most = self._span
        if least == 0.0 or not math.isfinite(most - least):
            return self
        moved = Relevance.__new__(Relevance)
        moved.__dict__.update(self.__dict__)
        moved.values, moved.least = self.values - least, self.least + least
        moved._span = 0.0, most - least
        return moved

    def warn_if_wide(self) -> None:
        """Warn that relevance spans so much that no distance can outweigh it."""
        span = self._span[1] - self._span[0]
        if span > WIDEST_SPAN:
            checks.warn(
                f"relevance spans {span:.3g} while distances span at most {WIDEST_SPAN:.0f}, so diversity "
                "hardly counts; pass relevance_scale='minmax', 'zscore' or 'rank'"
            )

    def at(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the relevance of some candidates in full float64 precision, less `least`, shape (m,)."""
        return self.values[ids] if self._is_exact else self._similarity(ids) - self.least

    def of_rows(self, rows: Floats, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return `at` for candidates whose rows are at hand, as `Vectors.rows` gives them in float64."""
        return self.values[ids] if self._is_exact else self._similarity_of(rows) - self.least

    def given(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the relevance of some candidates in full float64 precision, as it was given, shape (m,)."""
        return self.raw[ids] if self._is_exact else self._similarity(ids)

    def all(self) -> NDArray[np.float64]:
        """Return `at` for all candidates: where it is a similarity, one pass in float64."""
        if self._is_exact or self._vectors is None:
            return self.values
        step = max(1, BLOCK // self._vectors.d)

        def part(first: int, last: int) -> list[NDArray[np.float64]]:
            ends = [min(n, place * step) for place in range(first, last + 1)]
            return [self.at(np.arange(start, stop)) for start, stop in itertools.pairwise(ends)]

        n, workers = self._vectors.n, self._vectors.workers
        return np.concatenate([one for some in run_ranges(part, -(-n // step), workers) for one in some])

    def as_given(self) -> NDArray[np.float64]:
        """Return `given` for all candidates: where it is a similarity, one pass in float64."""
        return self.raw if self._is_exact or self._vectors is None else self.all() + self.least

    @property
    def _metric(self) -> str:
        return "cosine" if self._vectors is None else self._vectors.metric

    def _similarity(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the similarity of some candidates to the query in float64."""
        assert self._vectors is not None
        return self._similarity_of(self._vectors.rows(ids, np.float64))

    def _similarity_of(self, rows: Floats) -> NDArray[np.float64]:
        """Return the similarity of some rows to the query in float64."""
        assert self.query is not None
        if self._metric == "cosine":
            return np.asarray(np.vecdot(rows, self.query), np.float64)
        delta = rows - self.query
        return np.asarray(-np.sqrt(np.vecdot(delta, delta)), np.float64)


def similarity_error(vectors: Vectors, values: NDArray[np.float64], dtype: Any = None) -> float:
    """Return how far a similarity may be off: under cosine as scanned in the working precision, or `dtype`.

    Distances are computed in float64 whatever the data is.
    """
    if vectors.metric == "cosine":
        working = np.float64 if vectors.precise else vectors.dtype
        return dot_error(vectors.d, working if dtype is None else dtype)
    return dot_error(vectors.d, np.float64) * float(np.abs(values).max())


def _scaled(values: NDArray[np.float64], scale: str, rounding: float) -> NDArray[np.float64]:
    """Return numbers on a scale; those that rounding alone sets apart are equal."""
    if scale == "rank":
        return _ranks(values, rounding)
    # By powers of two, which lose nothing, numbers at either end of the range are brought to its middle.
    power = int(np.frexp(np.abs(values).max())[1])
    level = np.ldexp(values, -power)
    level -= level.min()
    span = float(level.max())
    if span <= max(float(np.ldexp(rounding, -power)), 4 * EPSILON):
        return np.zeros(len(values))
    if scale == "minmax":
        return np.asarray(level / span)
    return np.asarray((level - level.mean()) / level.std())


def _ranks(values: NDArray[np.float64], rounding: float) -> NDArray[np.float64]:
    """Return ranks in [0, 1], ties sharing their mean rank."""
    order = np.argsort(values, kind="stable")
    with np.errstate(over="ignore"):
        starts = np.append(True, np.diff(values[order]) > rounding)
    group = np.cumsum(starts) - 1
    counts = np.bincount(group)
    mean_rank = np.cumsum(counts) - (counts + 1) / 2.0
    ranks = np.empty(len(values))
    ranks[order] = mean_rank[group] / max(len(values) - 1, 1) if len(counts) > 1 else 0.0
    return ranks


def as_relevance(data: Any, n: int, name: str = "relevance") -> NDArray[np.float64]:
    """Return n finite float64 numbers.

    Raises TypeError: they are not numbers; ValueError: they are of another number than n, or one is NaN or
    Inf (the message has its row).
    """
    values = as_numbers(data, n, name)
    _check_finite(values, np.isfinite(values), name)
    return values


def or_never(data: Any, n: int, name: str = "relevance") -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return n finite float64 numbers, and the rows that were -inf: never to be selected.

    Those rows' numbers are the least of the others', so that no scale changes by them.

    Raises TypeError: they are not numbers; ValueError: they are of another number than n, one is NaN or plus
    infinity (the message has its row), or all are -inf.
    """
    values = as_numbers(data, n, name)
    least, most = kernels.span(values) if n else (0.0, 0.0)
    if math.isfinite(least) and math.isfinite(most):
        return values, np.empty(0, np.int64)
    fine = np.isfinite(values)
    barred = np.isneginf(values)
    _check_finite(values, fine | barred, name)
    never = np.flatnonzero(barred)
    if len(never):
        if len(never) == n:
            raise ValueError(f"{name}: all {n} are -inf, there is nothing to select")
        values[never] = values[~barred].min()
    return values, never


def as_numbers(data: Any, n: int, name: str = "relevance") -> NDArray[np.float64]:
    """Return n numbers as float64, a copy; any of them may be NaN or Inf.

    Raises TypeError: they are not numbers; ValueError: they are of another number than n.
    """
    array = to_numpy(data, name, flat=True)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: dtype {array.dtype} cannot be used; pass one number a candidate")
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.shape != (n,):
        raise ValueError(f"{name}: expected {n} numbers, one a candidate, got shape {array.shape}")
    return array.astype(np.float64)


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
