"""Kernel density of candidates: how many near-duplicates each has, itself counted (ComputeKDE of TSDS).

    ρ_j = Σ max(1 - d(x_j, x')² / h², 0) over all x' of the repository (section 3.3, the Epanechnikov kernel),

of which the ``limit`` nearest count (Appendix C: 1,000). Near-duplicates are rare and much closer than
anything else, so that they are found exactly without comparing all rows: an orthogonal projection never
takes two rows further apart. Along a few directions in which the data spread, rows are put into cells, and a
row has near ones only in cells whose border is near. What is near along those directions is measured in full.
Exact copies are one row that counts several times, where the candidates are folded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from setwise.finetuning.cells import PAIRS, RUN, Cells, directions
from setwise.finetuning.repository_vectors import BLOCK, RepositoryVectors
from setwise.progress import StepProgress, tell
from setwise.threads import run_ranges
from setwise.vectors import Floats

#: Directions of the cells, and rows they are learned from.
DIRECTIONS, LEARNED = 32, 4_096

#: Rows whose near ones are looked up at once.
ROWS = 8_192

#: Where more than this share of all rows is near along the few directions, all are compared in full instead.
USELESS = 0.01


#: The probe of each near pair, its kernel, and how many copies of the near row there are.
Pairs = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


class Counted(NamedTuple):
    """The density of some rows, at least 1, and whether more rows are near to each than count."""

    rho: NDArray[np.float64]
    more: NDArray[np.bool_]


class Density:
    """ρ of candidates, counted among all of them or among some.

    Parameters
    ----------
    width : float
        h, above 0, in the vectors' units: what is nearer is a near-duplicate.
    limit : int
        Nearest candidates that count, itself among them.
    among : ndarray, int64, optional
        Ascending: count among these alone (the union of what an index has found, TSDS Appendix C).
    workers : int
        Threads.
    """

    def __init__(
        self,
        candidates: RepositoryVectors,
        width: float,
        limit: int,
        *,
        among: NDArray[np.int64] | None = None,
        seed: int = 0,
        workers: int = 1,
    ) -> None:
        self.candidates, self.width, self.limit, self.workers = candidates, width, limit, workers
        self.among = among
        self._finder = NearPairs(candidates, width, among=among, seed=seed)

    def of(self, ids: NDArray[np.int64], progress: StepProgress | None = None) -> Counted:
        """Return the density of some candidates, shape (m,)."""
        found, more = np.empty(len(ids)), np.empty(len(ids), bool)
        order = self._finder.by_cell(ids)
        step = self.workers * max(64, min(ROWS, PAIRS // self.limit))
        for start in range(0, len(ids), step):
            some = order[start : start + step]

            def measure(low: int, high: int, some: NDArray[np.int64] = some) -> Counted:
                probes = self.candidates.rows(ids[some[low:high]])
                return counted(self._finder.kernels(probes, self.limit + 1), len(probes), self.limit)

            parts = run_ranges(measure, len(some), self.workers, least=64)
            found[some] = np.concatenate([part.rho for part in parts])
            more[some] = np.concatenate([part.more for part in parts])
            tell(progress, "counting near-duplicates", min(start + step, len(ids)), len(ids))
        return Counted(found, more)


class NearPairs:
    """Finds the candidates that are within ``width`` of given rows; see the module.

    Parameters
    ----------
    among : ndarray, int64, optional
    seed : int
        Of the sample that the directions are learned from; the answer does not depend on it.
    """

    def __init__(
        self,
        candidates: RepositoryVectors,
        width: float,
        *,
        among: NDArray[np.int64] | None = None,
        seed: int = 0,
    ) -> None:
        self.candidates, self.width, self.among = candidates, width, among
        self.n = candidates.n if among is None else len(among)
        some = candidates.sample(LEARNED, seed, among)
        self._center = some.mean(axis=0, dtype=np.float64)
        spread = some.astype(np.float64) - self._center
        self._basis = directions(spread, min(DIRECTIONS, candidates.d, len(some)))
        low = np.empty((self.n, self._basis.shape[1]), np.float32)
        for start, block in candidates.blocks(BLOCK, among):
            low[start : start + len(block)] = self._coordinates(block)
        with np.errstate(over="ignore"):
            longest = float(np.vecdot(low, low).max(initial=0.0))
        if not longest < 1e36:  # sums of such squares are no float32, and k-means would end the process
            raise ValueError(
                f"candidates: rows lie {longest**0.5:.3g} apart, too far for float32; scale the vectors"
            )
        # What float32 may lose of a squared distance |a|² + |b|² - 2ab: a pair that is near is never missed.
        self._slack = 1e-5 * longest + 1e-30
        self._cells = Cells(low, seed)
        # Where a sample of rows has too many pairs left to measure, cells are no help, and all are compared.
        probe = low[np.linspace(0, self.n - 1, min(64, self.n)).astype(np.int64)]
        likely = sum(len(i) for i, _ in self._cells.near(probe, width**2 + self._slack)) / len(probe)
        self._cheap = likely <= max(64.0, USELESS * self.n)

    def by_cell(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the order of some of the candidates by their cells: those beside each other go together."""
        places = ids if self.among is None else np.searchsorted(self.among, ids)
        return np.argsort(self._cells.labels[places], kind="stable")

    def probes_by_cell(self, probes: Floats) -> NDArray[np.int64]:
        """Return the order of rows of any kind by the cells they fall into."""
        parts = range(0, len(probes), BLOCK)
        found = [self._cells.of(self._coordinates(probes[start : start + BLOCK])) for start in parts]
        return np.argsort(np.concatenate(found), kind="stable")

    def _coordinates(self, rows: Floats) -> NDArray[np.float32]:
        moved = rows.astype(np.float64)
        moved -= self._center
        return np.asarray(moved @ self._basis, np.float32)

    def kernels(self, probes: Floats, limit: int) -> Pairs:
        """Return the Epanechnikov kernel of each probe's near pairs, in no order.

        Parameters
        ----------
        probes : ndarray of shape (m, d)
        limit : int
            Of a probe's pairs at least so many of the nearest are returned, or all. Never are more held than
            what is returned and `PAIRS`, or as many again, however many copies there are.

        Returns
        -------
        which : ndarray of shape (pairs,), int64
            The probe of each pair.
        kernel : ndarray of shape (pairs,), float64
            1 - d² / h², above 0.
        times : ndarray of shape (pairs,), int64
            Rows that the pair's candidate stands for.
        """
        wide = probes.astype(np.float64)
        found: Iterable[Pairs]
        if self._cheap:
            found = (self._measured(wide, *near) for near in self._by_cells(probes))
        else:
            wide -= self._center
            found = self._by_blocks(wide)
        held: list[Pairs] = [(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))]
        size, most = 0, PAIRS
        least = np.zeros(len(probes))  # of the pairs held, where there are enough: no smaller one counts
        for which, kernel, times in found:
            larger = kernel > least[which]
            held.append((which[larger], kernel[larger], times[larger]))
            size += len(held[-1][0])
            if size > most:
                held = [largest(joined(held), len(probes), limit)]
                size = len(held[0][0])
                most = max(PAIRS, 2 * size)
                least = _least(held[0], len(probes), limit)
        return joined(held)

    def _by_cells(self, probes: Floats) -> Iterator[tuple[NDArray[np.int64], Floats, NDArray[np.int64]]]:
        """Yield pairs that may be near: probes' numbers, the rows and how many each stands for."""
        low = self._coordinates(probes)
        held: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        size = 0
        for pair in self._cells.near(low, self.width**2 + self._slack):
            held.append(pair)
            size += len(pair[0])
            if size >= min(BLOCK, PAIRS):
                yield from self._fetched(held)
                held, size = [], 0
        if held:
            yield from self._fetched(held)

    def _fetched(
        self, held: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    ) -> Iterator[tuple[NDArray[np.int64], Floats, NDArray[np.int64]]]:
        i, j = (np.concatenate(side) for side in zip(*held, strict=True))
        for start in range(0, len(i), BLOCK):
            ids = self._ids(j[start : start + BLOCK])
            yield i[start : start + BLOCK], self.candidates.rows(ids), self.candidates.times(ids)

    def _by_blocks(self, probes: NDArray[np.float64]) -> Iterator[Pairs]:
        """Yield the kernels of near pairs, of all pairs, by inner products of the centered rows in float64.

        Where the width is so small beside the rows that those lose too much, they only tell what to measure.
        """
        squares = np.vecdot(probes, probes)
        area, few = self.width**2, max(1, PAIRS // RUN)
        for place, whole in self.candidates.blocks(BLOCK, self.among):
            copies = self.candidates.times(self._ids(np.arange(place, place + len(whole))))
            for offset in range(0, len(whole), RUN):
                times = copies[offset : offset + RUN]
                block = whole[offset : offset + RUN].astype(np.float64)
                block -= self._center
                lengths = np.vecdot(block, block)
                for start in range(0, len(probes), few):
                    some = slice(start, start + few)
                    kernel = probes[some] @ block.T  # in place to -d² = 2ab - |a|² - |b|²
                    kernel *= 2.0
                    kernel -= squares[some, None]
                    kernel -= lengths
                    loss = 1e-15 * float(squares[some].max() + lengths.max())
                    flat = np.flatnonzero(kernel > -area - 1e3 * loss)
                    i, j = flat // len(block) + start, flat % len(block)
                    if loss < 1e-9 * area:
                        value = 1.0 + kernel.reshape(-1)[flat] / area
                        near = value > 0.0
                        yield i[near], np.minimum(value[near], 1.0), times[j[near]]
                        continue
                    for first in range(0, len(i), BLOCK):
                        part = slice(first, first + BLOCK)
                        yield self._measured(probes, i[part], block[j[part]], times[j[part]])

    def _ids(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return places if self.among is None else self.among[places]

    def _measured(
        self, probes: NDArray[np.float64], which: NDArray[np.int64], rows: Floats, times: NDArray[np.int64]
    ) -> Pairs:
        delta = probes[which]
        delta -= rows
        kernel = 1.0 - np.vecdot(delta, delta) / self.width**2
        near = kernel > 0.0
        return which[near], kernel[near], times[near]


def joined(pairs: list[Pairs]) -> Pairs:
    """Return pairs as one."""
    which, kernels, times = zip(*pairs, strict=True)
    return np.concatenate(which), np.concatenate(kernels), np.concatenate(times)


def largest(pairs: Pairs, count: int, limit: int) -> Pairs:
    """Return at most ``limit`` rows near each of ``count`` probes: the nearest, of the largest kernels."""
    which, kernel, times = pairs
    found = np.bincount(which, times, minlength=count)
    if not (found > limit).any():
        return pairs
    many = (found > limit)[which]
    order = np.lexsort((-kernel[many], which[many]))
    some, theirs, copies = which[many][order], kernel[many][order], times[many][order]
    before = np.cumsum(copies) - copies  # of all, then of the probe's own
    before -= np.repeat(
        before[np.flatnonzero(np.diff(some, prepend=-1))], np.unique(some, return_counts=True)[1]
    )
    kept = before < limit
    some, theirs, copies = some[kept], theirs[kept], np.minimum(copies, limit - before)[kept]
    return (
        np.concatenate([which[~many], some]),
        np.concatenate([kernel[~many], theirs]),
        np.concatenate([times[~many], copies]),
    )


def _least(pairs: Pairs, count: int, limit: int) -> NDArray[np.float64]:
    """Return the least kernel of each probe near to ``limit`` rows or more, 0 for others, shape (count,)."""
    which, kernel, times = pairs
    found = np.ones(count)
    np.minimum.at(found, which, kernel)
    return np.where(np.bincount(which, times, minlength=count) < limit, 0.0, found)


def counted(pairs: Pairs, count: int, limit: int) -> Counted:
    """Return the sums of probes' kernels, of at most ``limit`` of the largest, and which have more."""
    more = np.bincount(pairs[0], pairs[2], minlength=count) > limit
    which, kernel, times = largest(pairs, count, limit)
    sums = np.bincount(which, kernel * times, minlength=count)
    return Counted(np.maximum(sums, 1.0), more)  # a row is at distance 0 of itself, whatever rounding says
