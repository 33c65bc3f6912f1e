"""Kernel density of candidates: how many near-duplicates each has, itself counted (TSDS section 3.3).

Near-duplicates are rare and much closer than anything else, so that they are found exactly without comparing
all rows: along a few directions in which the data spread, two rows are never further apart than they are. A
tree over those coordinates gives the pairs that may be near, and only they are measured.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sklearn.utils.extmath import randomized_svd

from setwise import threads
from setwise.finetuning.candidates import Candidates
from setwise.finetuning.neighbors import Progress
from setwise.vectors import Floats

#: Directions of the tree, and rows they are learned from.
DIRECTIONS, LEARNED = 10, 4_096

#: Rows whose near ones are looked up at once, and pairs that one look-up should give.
ROWS, PAIRS = 8_192, 2_000_000

#: Where the tree would leave more than this share of all pairs, all are measured in blocks instead.
USELESS = 0.02


class Density:
    """ρ of candidates, counted among all of them or among some.

    Parameters
    ----------
    candidates : Candidates
    width : float
        h, above 0, in the vectors' units: what is nearer is a near-duplicate.
    limit : int
        Nearest candidates that count, itself among them.
    among : ndarray, int64, optional
        Ascending: count among these alone (the union of what an index has found, TSDS Appendix C).
    seed : int
    workers : int
        Threads.
    """

    def __init__(
        self,
        candidates: Candidates,
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

    def of(self, ids: NDArray[np.int64], progress: Progress | None = None) -> NDArray[np.float64]:
        """Return the density of some candidates, at least 1, shape (m,), float64."""
        found = np.empty(len(ids))
        done = 0
        for start in range(0, len(ids), self.workers * ROWS):
            some = ids[start : start + self.workers * ROWS]

            def measure(low: int, high: int, some: NDArray[np.int64] = some) -> NDArray[np.float64]:
                probes = self.candidates.rows(some[low:high])
                return kernel_sums(self._finder.kernels(probes), high - low, self.limit)

            parts = threads.run(measure, len(some), self.workers, least=64)
            found[start : start + len(some)] = np.concatenate(parts)
            done += len(some)
            if progress is not None:
                progress("counting near-duplicates", done, len(ids))
        return np.maximum(found, 1.0)


class NearPairs:
    """Finds the candidates that are within ``width`` of given rows; see the module.

    Parameters
    ----------
    candidates : Candidates
    width : float
    among : ndarray, int64, optional
    seed : int
        Of the sample that the directions are learned from; the answer does not depend on it.
    """

    def __init__(
        self, candidates: Candidates, width: float, *, among: NDArray[np.int64] | None = None, seed: int = 0
    ) -> None:
        self.candidates, self.width, self.among = candidates, width, among
        self.n = candidates.n if among is None else len(among)
        if among is None:
            _, some = candidates.sample(LEARNED, seed)
        else:
            rng = np.random.default_rng(seed)
            some = candidates.rows(np.sort(rng.choice(among, min(LEARNED, self.n), replace=False)))
        self._centre = some.mean(axis=0, dtype=np.float64)
        spread = some.astype(np.float64) - self._centre
        few = min(DIRECTIONS, candidates.d, len(some))
        if few < candidates.d:
            basis = randomized_svd(spread, few, random_state=seed)[2].T
            self._basis: NDArray[np.float64] = np.linalg.qr(basis)[0]
        else:
            self._basis = np.eye(candidates.d)
        low = np.empty((self.n, self._basis.shape[1]))
        for start, block in self._blocks():
            low[start : start + len(block)] = self._coordinates(block)
        # Rounding of the coordinates is far below this: a pair that is near is never missed.
        self._reach = width * (1.0 + 1e-9) + 1e-6 * float(np.abs(low).max(initial=0.0) + 1e-300)
        self._tree = cKDTree(low, leafsize=32, compact_nodes=False, balanced_tree=False)
        probe = low[np.linspace(0, self.n - 1, min(64, self.n)).astype(np.int64)]
        self._likely = max(1.0, self._tree.count_neighbors(cKDTree(probe), self._reach) / len(probe))

    def _blocks(self) -> Iterator[tuple[int, Floats]]:
        if self.among is None:
            yield from self.candidates.blocks()
            return
        for start in range(0, self.n, 65_536):
            yield start, self.candidates.rows(self.among[start : start + 65_536])

    def _coordinates(self, rows: Floats) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = rows.astype(np.float64) - self._centre
        return moved @ self._basis

    def kernels(self, probes: Floats) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the Epanechnikov kernel of each near pair, in no order.

        Parameters
        ----------
        probes : ndarray of shape (m, d)

        Returns
        -------
        which : ndarray of shape (pairs,), int64
            The probe of each pair.
        kernel : ndarray of shape (pairs,), float64
            1 - d² / h², above 0.
        """
        pairs = self._by_tree if self._likely <= max(64.0, USELESS * self.n) else self._by_blocks
        found = [self._measured(probes, i, rows) for i, rows in pairs(probes)]
        if not found:
            return np.empty(0, np.int64), np.empty(0)
        return np.concatenate([which for which, _ in found]), np.concatenate([k for _, k in found])

    def _by_tree(self, probes: Floats) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        """Yield pairs that may be near: probes' numbers, and the candidates' rows."""
        low = self._coordinates(probes)
        step = int(max(16, min(ROWS, PAIRS / self._likely)))
        for start in range(0, len(probes), step):
            found = cKDTree(low[start : start + step]).sparse_distance_matrix(
                self._tree, self._reach, output_type="ndarray"
            )
            for first in range(0, len(found), 65_536):
                some = found[first : first + 65_536]
                yield some["i"].astype(np.int64) + start, self._rows(some["j"].astype(np.int64))

    def _by_blocks(self, probes: Floats) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        """Yield pairs that may be near, of all pairs, told by inner products of the centred rows."""
        centred = probes.astype(np.float64) - self._centre
        squares = np.vecdot(centred, centred)
        for first, whole in self._blocks():
            for offset in range(0, len(whole), 4_096):
                block = whole[offset : offset + 4_096]
                others = block.astype(np.float64) - self._centre
                lengths = np.vecdot(others, others)
                for start in range(0, len(probes), 1_024):
                    some = slice(start, start + 1_024)
                    apart = centred[some] @ others.T
                    apart *= -2.0
                    apart += squares[some, None]
                    apart += lengths
                    slack = 1e-9 * (squares[some].max() + lengths.max())
                    i, j = np.nonzero(apart < self.width**2 + slack)
                    for low in range(0, len(i), 65_536):
                        yield i[low : low + 65_536] + start, block[j[low : low + 65_536]]
            del first

    def _rows(self, places: NDArray[np.int64]) -> Floats:
        return self.candidates.rows(places if self.among is None else self.among[places])

    def _measured(
        self, probes: Floats, which: NDArray[np.int64], rows: Floats
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        delta = probes[which].astype(np.float64)
        delta -= rows
        kernel = 1.0 - np.vecdot(delta, delta) / self.width**2
        near = kernel > 0.0
        return which[near], kernel[near]


def kernel_sums(
    pairs: tuple[NDArray[np.int64], NDArray[np.float64]], count: int, limit: int
) -> NDArray[np.float64]:
    """Return the sum of each probe's kernels, of at most ``limit`` of the largest, shape (count,)."""
    which, kernel = pairs
    found = np.bincount(which, minlength=count)
    sums = np.bincount(which, kernel, minlength=count)
    if (found > limit).any():
        order = np.lexsort((-kernel, which))
        which, kernel = which[order], kernel[order]
        rank = np.arange(len(which)) - np.repeat(np.cumsum(found) - found, found)
        kept = rank < limit
        sums = np.bincount(which[kept], kernel[kept], minlength=count)
    return np.asarray(sums, np.float64)
