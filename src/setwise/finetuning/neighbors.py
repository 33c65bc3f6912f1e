"""Exact nearest candidates of every example, in blocks: memory for the answer and one block alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from setwise.finetuning.repository_vectors import RepositoryVectors, offset_of
from setwise.progress import StepProgress, tell
from setwise.threads import run_ranges
from setwise.vectors import Floats

#: Multiplications below which differences are squared one by one in float64: nothing is lost to rounding.
PLAIN = 200_000_000

#: Answers that are kept for a group of examples at once, of 12 bytes each and as much again while merging.
HELD = 16_000_000


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The L nearest candidates of each of M examples, nearest first; of equals the lower number first.

    Attributes
    ----------
    ids : ndarray of shape (M, L), int64
    distances : ndarray of shape (M, L), float64
        L2, not squared.
    among : ndarray, int64, or None
        The candidates they were looked for among, ascending: the union of what an index returned for all
        examples (TSDS Appendix C). None = all candidates.
    kind : str
        How they were searched.
    """

    ids: NDArray[np.int64]
    distances: NDArray[np.float64]
    among: NDArray[np.int64] | None = None
    kind: str = "exact"

    @property
    def reach(self) -> int:
        """L: neighbors of each example."""
        return int(self.ids.shape[1])


def nearest(
    candidates: RepositoryVectors,
    examples: NDArray[Any],
    count: int,
    *,
    progress: StepProgress | None = None,
    ids: NDArray[np.int64] | None = None,
) -> Neighbors:
    """Find the ``count`` nearest candidates of every example, by comparing with all.

    Parameters
    ----------
    examples : ndarray of shape (M, d)
    count : int
        L, at most the number of candidates (or of ``ids``).
    progress : callable, optional
    ids : ndarray, int64, optional
        Ascending: look among these candidates alone.
    """
    m = len(examples)
    total = candidates.n if ids is None else len(ids)
    plain = m * total * candidates.d <= PLAIN
    shift = None if plain else offset_of(candidates)
    origin: Any = 0.0 if shift is None else shift
    probes = np.ascontiguousarray(examples - origin, np.float64 if plain else np.float32)
    group = max(1, min(m, HELD // count))
    found_ids = np.empty((m, count), np.int64)
    found = np.empty((m, count))
    groups = range(0, m, group)
    for number, start in enumerate(groups):
        some = slice(start, min(start + group, m))
        best_ids = np.empty((some.stop - start, 0), np.int64)
        best: Floats = np.empty((some.stop - start, 0), probes.dtype)
        done = 0
        for first, block in candidates.blocks(among=ids):
            names = np.arange(first, first + len(block)) if ids is None else ids[first : first + len(block)]
            if plain:
                near, places = cdist(probes[some], block.astype(np.float64)), None
            else:
                moved = block if shift is None else block - shift
                near, places = _search(probes[some], moved, min(count, len(block)))
            best, best_ids = _merged(best, best_ids, near, names, places, count)
            done += len(block)
            tell(progress, "searching", number * total + done, len(groups) * total)
        if not plain:
            best = _refined(candidates, examples[some], best_ids)
        order = np.lexsort((best_ids, best), axis=1)
        found_ids[some] = np.take_along_axis(best_ids, order, axis=1)
        found[some] = np.take_along_axis(best, order, axis=1)
    return Neighbors(found_ids, found)


def merged(parts: list[Neighbors], count: int) -> Neighbors:
    """Return the ``count`` nearest of what several parts of the candidates have found."""
    ids = np.concatenate([part.ids for part in parts], axis=1)
    distances = np.concatenate([part.distances for part in parts], axis=1)
    order = np.lexsort((ids, distances), axis=1)[:, :count]
    return Neighbors(np.take_along_axis(ids, order, axis=1), np.take_along_axis(distances, order, axis=1))


def _search(probes: NDArray[Any], block: Floats, count: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return distances and places of the nearest in a block, by FAISS."""
    from setwise.extras.faiss import faiss

    squares, places = faiss.knn(probes, np.ascontiguousarray(block, np.float32), count)
    return np.sqrt(np.maximum(squares, 0.0, out=squares), out=squares), places


def _merged(
    best: Floats,
    best_ids: NDArray[np.int64],
    near: NDArray[Any],
    names: NDArray[np.int64],
    places: NDArray[np.int64] | None,
    count: int,
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the ``count`` nearest so far, in no order; of equals at the edge those of the lower number."""
    if places is not None and (places < 0).any():
        raise RuntimeError(
            "neighbors: the search returned fewer rows than there are; this is a fault of ours"
        )
    if not best.shape[1] and near.shape[1] <= count:
        return near, np.broadcast_to(names, near.shape).copy() if places is None else names[places]
    new_ids = np.broadcast_to(names, near.shape) if places is None else names[places]
    both = np.concatenate([best, near], axis=1)
    both_ids = np.concatenate([best_ids, new_ids], axis=1)
    if both.shape[1] <= count:
        return both, both_ids
    if places is None:  # small data: a full order, so that equals are told apart
        kept = np.lexsort((both_ids, both), axis=1)[:, :count]
    else:
        kept = np.argpartition(both, count - 1, axis=1)[:, :count]
    return np.take_along_axis(both, kept, axis=1), np.take_along_axis(both_ids, kept, axis=1)


def _refined(
    candidates: RepositoryVectors, examples: NDArray[Any], ids: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the distances to what was found, by differences in float64: the same however it was found."""
    exact = np.empty(ids.shape)

    def measure(low: int, high: int) -> None:
        for one in range(low, high):
            for start in range(0, ids.shape[1], 4_096):
                some = slice(start, start + 4_096)
                delta = candidates.rows(ids[one, some]).astype(np.float64)
                delta -= examples[one]
                exact[one, some] = np.sqrt(np.vecdot(delta, delta))

    run_ranges(measure, len(ids), candidates.parts[0].workers)
    return exact
