"""Rows of an array, or some of them, fetched or read in cache-sized blocks without a second copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.kernels import working
from setwise.threads import run_ranges

#: Bytes of a block that is worked on while it is in the processor's cache.
BLOCK_BYTES = 1 << 20

#: Fewest numbers to gather that are worth a second thread.
GATHER_WORK = 200_000

Floats = NDArray[np.floating[Any]]


class Blocks:
    """The n rows that count of an array (n, d) or more; the others are never read, and not counted.

    Parameters
    ----------
    raw : ndarray of numbers, two-dimensional
    kept : ndarray of int64, ascending, or None
        The rows that count; None for all.
    workers : int
        Threads.
    """

    def __init__(self, raw: NDArray[Any], kept: NDArray[np.int64] | None, workers: int) -> None:
        self.raw = raw
        self.kept = kept
        self.workers = workers
        self.n, self.d = len(raw) if kept is None else len(kept), raw.shape[1]
        self.dtype = working(raw.dtype)
        self._step = max(1, BLOCK_BYTES // (self.d * 4))  # rows of a block
        self._finite = False  # whether every number is known to be

    def places(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where in the data as given some rows stand."""
        return ids if self.kept is None else self.kept[ids]

    def _gather(self, ids: NDArray[np.int64] | slice) -> Floats:
        """Return rows as they are, fetched by several threads where they are many."""
        if self.kept is not None:
            ids = self.kept[ids]
        if isinstance(ids, slice) or len(ids) * self.d < GATHER_WORK or self.workers == 1:
            return self.raw[ids]
        out = np.empty((len(ids), self.d), self.raw.dtype)

        def fetch(start: int, stop: int) -> None:
            np.take(self.raw, ids[start:stop], axis=0, out=out[start:stop], mode="clip")

        run_ranges(fetch, len(ids), self.workers)
        return out

    def _blocks(self, start: int, stop: int, *, as_given: bool = False) -> Iterator[tuple[int, int, Any]]:
        """Yield (start, stop, rows) over a range in cache-sized blocks: unscaled, and of the working dtype if
        not `as_given`."""
        plain = as_given or (self.raw.dtype == self.dtype and self.raw.strides[1] == self.dtype.itemsize)
        for a in range(start, stop, self._step):
            b = min(stop, a + self._step)
            block = self.raw[a:b] if self.kept is None else self.raw[self.kept[a:b]]
            if not plain:
                block = widen_half(block, finite=self._finite) if block.dtype == np.float16 else block
                block = np.ascontiguousarray(block, dtype=self.dtype)
            yield a, b, block

    def _over_blocks(self, part: Callable[[int, int], None], *, least: int) -> None:
        """Run ``part(start, stop)`` over all rows, cut where a block ends.

        Blocks, and so what is computed of each row, are the same for any number of threads.
        """
        step = self._step

        def rows(first: int, last: int) -> None:
            part(first * step, min(self.n, last * step))

        run_ranges(rows, -(-self.n // step), self.workers, least=-(-least // step))


def widen_half(block: NDArray[np.float16], *, finite: bool = False) -> NDArray[np.float32]:
    """Return float16 as float32 by shifting bits, several times faster than NumPy's conversion.

    Inf and NaN (exponent 31) are passed through NumPy's own conversion; with `finite` there are none.
    """
    bits = np.ascontiguousarray(block).view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(-1879056384)  # 0x8FFFE000: the sign, exponent and mantissa bits
    wide = bits.view(np.float32)
    wide *= np.float32(2.0**112)
    if not finite and wide.size and np.abs(wide).max() >= 65536.0:
        return block.astype(np.float32)
    return wide
