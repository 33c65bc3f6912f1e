"""The one door for arrays: vectors checked, and scanned as of unit length, without a second copy of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks, kernels
from setwise.blocks import Blocks, Floats
from setwise.containers import as_matrix
from setwise.threads import one_blas_thread, run_ranges

__all__ = ["METRICS", "Floats", "Vectors", "as_matrix", "check_metric"]

METRICS = ("cosine", "euclidean")

#: Fewest multiplications that are worth starting a second thread for.
THREAD_WORK = 4_000_000

#: Rows that are widened and brought to unit length while they are in the processor's cache.
ROWS_AT_ONCE = 256

#: Squares of lengths between these are computed without loss in double and in single precision.
FINE = tuple((float(kind.tiny) * 1e6, float(kind.max) * 1e-6) for kind in map(np.finfo, ("d", "f")))


class Vectors(Blocks):
    """Checked candidate vectors, read in blocks; of unit length under cosine, without being rewritten.

    One pass checks every row and measures its length; where a query is given, the same pass also
    computes its similarity, while each block is in cache. Memory: O(n) beside the data itself.

    Parameters
    ----------
    data : array-like of shape (n, d)
        See `as_matrix`.
    metric : {"cosine", "euclidean"}
        Under cosine every row counts as divided by its length, and zero rows are refused.
    query : ndarray of shape (d,), float64, optional
        As `setwise.containers.as_queries` returns it; its similarity to each row is then in `similarity`.
    workers : int
        Threads for whole-matrix passes.
    name : str
        The argument's name in messages.
    kept : ndarray of int64, ascending, optional
        The rows that count; by default all. The others are never read, and rows are counted without them.
    measured : (squares, cosines or None), each an ndarray of shape (n,), float64, optional
        Of rows under cosine that compiled kernels have measured and found fine.
    stored : bool
        Whether `raw` is the data as it is, to be written; else few rows may be copied for the kernels.

    Attributes
    ----------
    n, d : int
        Number of rows that count, and their width.
    raw : ndarray of shape (n, d)
        The data as given, or as `kernels.legible` copies it (a memory map is not read whole).
    scale : ndarray of shape (n,) or None
        Under cosine, the inverse of each row's length.
    similarity : ndarray of shape (n,), float64, or None
        Cosine to the query, or minus the Euclidean distance to it.
    squares : ndarray of shape (n,), float64, or None
        The square of each row's length, where compiled kernels have measured it; they may then read `raw`.
    precise : bool
        Whether `similarity` is a cosine in float64 precision, whatever the data is.

    Raises
    ------
    TypeError, ValueError
        With the argument, the first bad row and the mend.
    """

    def __init__(
        self,
        data: Any,
        metric: str = "cosine",
        *,
        query: NDArray[np.float64] | None = None,
        workers: int = 1,
        name: str = "vectors",
        kept: NDArray[np.int64] | None = None,
        measured: tuple[NDArray[np.float64], NDArray[np.float64] | None] | None = None,
        stored: bool = False,
    ) -> None:
        rows = as_matrix(data, name)
        super().__init__(rows if stored else kernels.legible(rows), kept, workers)
        self.metric = metric
        self.name = name
        self._radius: float | None = None
        self._scale: Floats | None = None
        self._lengths: Floats | None = None  # squared, until `scale` is asked for
        self.unit = False
        self.similarity: NDArray[np.float64] | None = None
        self.squares: NDArray[np.float64] | None = None
        self.precise = False
        if measured is None:
            self._check(query)
        else:
            self._take_lengths(measured[0], *kernels.span(measured[0]), compiled=True)
            self.similarity, self.precise = measured[1], True
        self._finite = True

    def _check(self, query: NDArray[np.float64] | None) -> None:
        """Measure and check each row (and score it against the query) in one pass."""
        cosine = self.metric == "cosine"
        compiled = cosine and kernels.available() and kernels.readable(self.raw)
        measured = self._measured_by_kernels if compiled else self._measured
        squares, scores, least, most = measured(query)
        tiny, huge = FINE[self.dtype == np.float32]
        if not (least > tiny and most < huge):  # NaN fails both
            squares, scores = self._measure_odd_rows(squares, scores, query, tiny, huge)
            compiled = False
        if cosine:
            self._take_lengths(squares, least, most, compiled=compiled)
        if scores is not None:
            self.similarity = scores.astype(np.float64, copy=False)
            if cosine:
                if not compiled:
                    self.similarity *= 1.0 / np.sqrt(squares)
                self.precise = True
            else:
                np.negative(np.sqrt(self.similarity), out=self.similarity)

    def _take_lengths(self, squares: Floats, least: float, most: float, *, compiled: bool) -> None:
        """Note the squares of the rows' lengths, and the least and the largest that have been measured."""
        self._lengths, self.squares = squares, squares.astype(np.float64, copy=False) if compiled else None
        # Unit rows already, to a few roundings: they serve as they are.
        self.unit = self.raw.dtype == np.float32 == self.dtype and least > 1 - 1e-6 and most < 1 + 1e-6

    def _measured_by_kernels(
        self, query: NDArray[np.float64] | None
    ) -> tuple[Floats, Floats | None, float, float]:
        """Return what `_measured` does, but cosines for products."""
        squares = np.empty(self.n)
        cosines = None if query is None else np.empty(self.n)
        if self.kept is None and self.workers == 1:
            return squares, cosines, *kernels.measure(self.raw, squares, query, cosines)

        def measure(start: int, stop: int) -> list[tuple[float, float]]:
            return [
                kernels.measure(block, squares[a:b], query, None if cosines is None else cosines[a:b])
                for a, b, block in self._blocks(start, stop, as_given=True)
            ]

        parts = run_ranges(measure, self.n, self.workers, least=1 + THREAD_WORK // self.d)
        ends = [end for part in parts for end in part]
        return squares, cosines, min(low for low, _ in ends), max(high for _, high in ends)

    def _measured(self, query: NDArray[np.float64] | None) -> tuple[Floats, Floats | None, float, float]:
        """Return each row's squared length and product with the query, and the least and largest square.

        Under euclidean the square of their distance stands for the product.
        """
        cosine = self.metric == "cosine"
        working = np.dtype(np.float64) if cosine else self.dtype
        squares = np.empty(self.n, working)
        scores = None if query is None else np.empty(self.n)

        def measure(start: int, stop: int) -> None:
            for a, b, block in self._blocks(start, stop):
                for first in range(a, b, ROWS_AT_ONCE):
                    some = slice(first, min(first + ROWS_AT_ONCE, b))
                    rows = block[some.start - a : some.stop - a].astype(working, copy=False)
                    np.vecdot(rows, rows, out=squares[some])
                    if query is not None and scores is not None:
                        away = rows if cosine else rows - query
                        np.vecdot(away, query if cosine else away, out=scores[some])

        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            run_ranges(measure, self.n, self.workers, least=1 + THREAD_WORK // self.d)
            return squares, scores, float(squares.min()), float(squares.max())

    def _measure_odd_rows(
        self,
        squares: Floats,
        scores: Floats | None,
        query: NDArray[np.float64] | None,
        tiny: float,
        huge: float,
    ) -> tuple[Floats, Floats | None]:
        """Refuse bad rows by name; measure very short and very long good ones in float64."""
        fine = squares < huge
        if self.metric == "cosine":
            fine &= squares > tiny
        odd = np.flatnonzero(~fine)
        if len(odd) == 0:
            return squares, scores
        for row in self.places(odd).tolist():
            values = np.asarray(self.raw[row], dtype=np.float64)
            if np.isnan(values).any():
                raise ValueError(f"{self.name}: row {row} has NaN; drop it or pass an imputed value")
            if np.isinf(values).any():
                raise ValueError(f"{self.name}: row {row} has Inf; drop it or pass a finite value")
            if self.metric == "cosine" and not values.any():
                raise ValueError(
                    f"{self.name}: row {row} is all zero and has no direction under cosine; "
                    "drop it or pass metric='euclidean'"
                )
        # Finite rows whose squares leave the range of their dtype: all arithmetic goes to float64.
        peaks = np.abs(self.raw[self.places(odd)].astype(np.float64)).max(axis=1)
        if np.any((peaks > 1e150) | ((peaks < 1e-150) & (peaks > 0))):
            row = int(self.places(odd)[np.argmax((peaks > 1e150) | (peaks < 1e-150))])
            raise ValueError(f"{self.name}: row {row} has entries beyond 1e±150; rescale the vectors")
        self.dtype = np.dtype(np.float64)
        return self._measured(query)[:2]

    @property
    def scale(self) -> Floats | None:
        """Under cosine, the inverse of each row's length, shape (n,)."""
        if self._lengths is not None:
            self._scale = (1.0 / np.sqrt(self._lengths)).astype(self.dtype, copy=False)
            self._lengths = None
        return self._scale

    def queried(self, query: NDArray[np.float64]) -> Vectors:
        """Return these vectors with their similarity to a query, as `as_queries` returns it, in one pass."""
        one = copy.copy(self)
        if self.metric == "cosine":
            one.similarity, one.precise = self.scan(query).astype(np.float64), False
            return one
        one.similarity = -self._distances_to(query)
        return one

    def restricted(self, ids: NDArray[np.int64]) -> Vectors:
        """Return the vectors of some rows, ascending, checked already; no row is read or copied."""
        one = copy.copy(self)
        one.kept, one.n, one._radius = self.places(ids), len(ids), None
        one._scale, one._lengths = None if self.scale is None else self.scale[ids], None
        one.squares = None if self.squares is None else self.squares[ids]
        one.similarity = None if self.similarity is None else self.similarity[ids]
        return one

    def rows(self, ids: NDArray[np.int64] | slice, dtype: Any = None) -> Floats:
        """Return the given rows, of unit length under cosine, as an (m, d) array not to be written to.

        Parameters
        ----------
        ids : ndarray of int or slice
            Which rows.
        dtype : dtype, optional
            float32 (default where the data is that or narrower) or float64. In float64 the lengths
            are measured again in float64.
        """
        dtype = self.dtype if dtype is None else np.dtype(dtype)
        picked = self._gather(ids)
        if self.unit and dtype == np.float32 and picked.flags.c_contiguous:
            return picked
        rows: Floats = np.empty(picked.shape, dtype)
        scale = self.scale[ids] if self.scale is not None and dtype != np.float64 else None
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            part[...] = picked[start : start + ROWS_AT_ONCE]
            if scale is not None:
                part *= scale[start : start + ROWS_AT_ONCE, None].astype(dtype, copy=False)
            elif self.metric == "cosine":
                part /= np.sqrt(np.vecdot(part, part))[:, None]
        return rows

    def plain(self) -> tuple[Floats, Floats | None] | None:
        """Return all rows as given and what each is to be multiplied by, where no copy is needed."""
        if self.kept is not None or self.raw.dtype != self.dtype or not self.raw.flags.c_contiguous:
            return None
        return self.raw, None if self.unit else self.scale

    def scan(self, weights: Floats) -> Floats:
        """Return the inner product of every (unit) row with one vector, in one pass over the data.

        Parameters
        ----------
        weights : ndarray of shape (d,)

        Returns
        -------
        ndarray of shape (n,), of the working dtype
        """
        probe = np.ascontiguousarray(weights, dtype=self.dtype)
        out = np.empty(self.n, self.dtype)
        halves = self.raw.dtype == np.float16 and kernels.available() and kernels.readable(self.raw)
        products = kernels.scan if halves else np.vecdot

        def part(start: int, stop: int) -> None:
            # Each row is summed by itself, so its score does not depend on where it stands.
            if (halves or self.raw.dtype == self.dtype) and self.kept is None:
                products(self.raw[start:stop], probe, out[start:stop])
            else:
                for a, b, block in self._blocks(start, stop, as_given=halves):
                    products(block, probe, out[a:b])
            if self.scale is not None:
                out[start:stop] *= self.scale[start:stop]

        run_ranges(part, self.n, self.workers, least=1 + THREAD_WORK // self.d)
        return out

    def products(self, others: Floats, take: Callable[[int, int, Floats], None]) -> None:
        """Stream the inner products of every (unit) row with m vectors, block by block.

        Parameters
        ----------
        others : ndarray of shape (m, d)
        take : callable (start, stop, products)
            Gets products of shape (stop - start, m); runs on worker threads, on disjoint ranges. At no
            time are there n × m numbers.
        """
        right = np.ascontiguousarray(others.T, dtype=self.dtype)

        def part(start: int, stop: int) -> None:
            for a, b, block in self._blocks(start, stop):
                found = block @ right
                if self.scale is not None:
                    found *= self.scale[a:b, None]
                take(a, b, found)

        with one_blas_thread():
            self._over_blocks(part, least=1 + THREAD_WORK // (self.d * len(others)))

    def along(self, ids: NDArray[np.int64] | None = None) -> Floats:
        """Return the inner product of some (unit) rows, or all, with a direction of no meaning, shape (m,).

        It tells rows that differ apart, wherever they stand; those of equal rows differ by rounding at most.
        """
        direction = np.asarray(np.random.default_rng(0).standard_normal((1, self.d))[0], self.dtype)
        if ids is None or len(ids) > self.n // 16:
            found = self.scan(direction)
            return found if ids is None else found[ids]
        return np.asarray(np.vecdot(self.rows(ids), direction), self.dtype)

    def mean(self) -> NDArray[np.float64]:
        """Return the mean (unit) row, float64, in one pass; the number of threads changes no bit."""
        sums = np.empty((-(-self.n // self._step), self.d))

        def add(start: int, _stop: int, block: Floats) -> None:
            block.sum(axis=0, dtype=np.float64, out=sums[start // self._step])

        self.map_blocks(add)
        return np.asarray(sums.sum(axis=0) / self.n)

    def radius(self) -> float:
        """Return the largest distance of a (unit) row from the mean row, in two passes; it is kept.

        Where all but nothing is apart, it is that from the first row: rounding moves the mean of equal rows.
        """
        if self._radius is None:
            middle = self.mean()
            self._radius = float(self._distances_to(middle).max())
            if self._radius <= 1e-12 * float(np.abs(middle).max()):
                first = self.rows(np.zeros(1, np.int64), np.float64)[0]
                self._radius = float(self._distances_to(first).max())
        return self._radius

    def _distances_to(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distance of every (unit) row from a point, float64, in one pass."""
        squares = np.empty(self.n)

        def measure(start: int, stop: int, block: Floats) -> None:
            away = block - point
            np.vecdot(away, away, out=squares[start:stop])

        self.map_blocks(measure)
        return np.sqrt(squares)

    def map_blocks(self, task: Callable[[int, int, Floats], None]) -> None:
        """Run ``task(start, stop, rows)`` over all rows (unit under cosine), in cache-sized blocks."""

        def part(start: int, stop: int) -> None:
            for a, b, block in self._blocks(start, stop):
                task(a, b, block if self.scale is None or self.unit else block * self.scale[a:b, None])

        with one_blas_thread():
            self._over_blocks(part, least=1 + THREAD_WORK // self.d)

    def sample(self, size: int, values: Floats) -> NDArray[np.int64]:
        """Return about ``size`` rows chosen by their content, so that reordering the rows changes nothing.

        ``values``, a number a row (its relevance), enter the choice.
        """
        mixed = _bits(values)
        if self.scale is not None:
            mixed ^= _bits(self.scale) * np.uint32(0x85EBCA6B)
        mixed *= np.uint32(0x9E3779B1)
        # Where few numbers are distinct, a few columns join them.
        crowded = int(np.bincount(mixed >> np.uint32(20), minlength=4096).max()) > 64 + self.n // 512
        for column in (0, self.d // 2, self.d - 1) if crowded else ():
            held = self.raw[:, column] if self.kept is None else self.raw[self.kept, column]
            mixed = (mixed ^ _bits(held)) * np.uint32(0x9E3779B1)
            mixed ^= mixed >> np.uint32(15)
        return np.flatnonzero(mixed < np.uint32(min(2**32 - 1, 2**32 * size // self.n)))


def _bits(values: NDArray[Any]) -> NDArray[np.uint32]:
    """Return numbers' bits in single precision."""
    return np.array(values, dtype=np.float32).view(np.uint32)


def check_metric(metric: Any) -> str:
    """Return a known metric's name, or raise with the nearest one."""
    return checks.choice("metric", metric, METRICS)
