"""Where neighbors come from: all candidates, an index of them, or parts of them in other processes."""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.files.checksums import Progress
from setwise.finetuning.density import NearPairs, Pairs, distinct, kernel_sums, largest
from setwise.finetuning.neighbors import Neighbors, merged, nearest
from setwise.finetuning.parameters import MatchParameters
from setwise.finetuning.repository_vectors import RepositoryVectors
from setwise.index.base import Index
from setwise.index.factory import build, default_factory

#: Multiplications of an exact search above which "auto" takes an index: some minutes of two processors.
EXACT = 4e13


def find(
    candidates: RepositoryVectors,
    examples: NDArray[Any],
    parameters: MatchParameters,
    progress: Progress | None = None,
) -> Neighbors:
    """Find neighbors exactly, or in the paper's two stages (TSDS Appendix C).

    Two stages: an index over all candidates returns ``neighbors`` for each example; then every example is
    compared with the union of what all were given. FAISS's -1 for "no more" is left out.

    Parameters
    ----------
    candidates : RepositoryVectors
    examples : ndarray of shape (M, d)
    parameters : MatchParameters
    progress : callable, optional

    Raises
    ------
    FileNotFoundError
        The index is a path where nothing is.
    TypeError
        The index is no name, path or index.
    ValueError
        The index is of another width or size than the candidates, a name that FAISS does not understand, or
        it returns ids that are no row numbers.
    """
    count = min(parameters.neighbors, candidates.n)
    if parameters.workers is not None:
        return find_in_parts(candidates, examples, count, parameters.workers, progress)
    index = parameters.index
    if isinstance(index, str) and index == "auto":
        index = (
            "exact" if len(examples) * candidates.n * candidates.d <= EXACT else default_factory(candidates.n)
        )
    if isinstance(index, str) and index == "exact":
        return nearest(candidates, examples, count, progress=progress)
    with _opened(index, candidates, parameters.seed, progress) as (coarse, kind):
        if coarse.dim != candidates.d or coarse.size != candidates.n:
            raise ValueError(
                f"index: it holds {coarse.size:,} × {coarse.dim}, the candidates are {candidates.n:,} × "
                f"{candidates.d}; build it of the same vectors"
            )
        _, ids = coarse.search(examples, count)
    known = _row_numbers(ids, candidates.n)
    union = np.unique(known[known >= 0])
    if not len(union):
        raise ValueError("index: it returned no neighbor at all; raise its search effort (nprobe, ef)")
    fine = nearest(candidates, examples, min(count, len(union)), progress=progress, ids=union)
    return replace(fine, among=union, kind=kind)


def find_in_parts(
    candidates: RepositoryVectors,
    examples: NDArray[Any],
    count: int,
    workers: int | str,
    progress: Progress | None = None,
) -> Neighbors:
    """Find neighbors exactly, each part of the candidates in a worker: as `find`, to the last tie.

    Parameters
    ----------
    candidates : RepositoryVectors
        Its shards are the parts; of a single array as many ranges as there are workers.
    workers : int or str
        Local processes, "ray", or a Ray address.
    """
    from setwise.engine import engine_for

    with engine_for(workers) as engine, _parts(engine, candidates, workers) as parts:
        works = [(handle, start, stop, first, examples, count) for handle, start, stop, first in parts]
        found = engine.map(nearest_in_part, works)
    if progress is not None:
        progress("searching", candidates.n, candidates.n)
    return replace(merged(found, count), kind="exact in parts")


def nearest_in_part(work: tuple[Any, int, int, int, NDArray[Any], int]) -> Neighbors:
    """Find the neighbors in one part; run by a worker."""
    handle, start, stop, first, examples, count = work
    part = _part(handle, start, stop)
    found = nearest(part, examples, min(count, part.n))
    return Neighbors(found.ids + first, found.distances)


def density_in_parts(
    candidates: RepositoryVectors, ids: NDArray[np.int64], width: float, limit: int, workers: int | str
) -> NDArray[np.float64]:
    """Count the density of some candidates among all, each part in a worker; see `Density.of`."""
    from setwise.engine import engine_for

    rows, place = distinct(candidates.rows(ids))
    with (
        engine_for(workers) as engine,
        _parts(engine, candidates, workers) as parts,
        engine.share(rows) as probes,
    ):
        works = [(handle, start, stop, probes, width, limit) for handle, start, stop, _ in parts]
        found = engine.map(kernels_in_part, works)
    which = np.concatenate([which for which, _ in found])
    kernel = np.concatenate([kernel for _, kernel in found])
    return np.maximum(kernel_sums((which, kernel), len(rows), limit)[place], 1.0)


def kernels_in_part(work: tuple[Any, int, int, Any, float, int]) -> Pairs:
    """Return the near pairs of some rows with one part, at most ``limit`` a row; run by a worker."""
    from setwise.engine.base import opened

    handle, start, stop, shared, width, limit = work
    probes = opened(shared)
    finder = NearPairs(_part(handle, start, stop), width)
    parts = []
    order = finder.probes_by_cell(probes)
    for low in range(0, len(order), 8_192):
        some = order[low : low + 8_192]
        which, kernel = largest(finder.kernels(probes[some], limit), len(some), limit)
        parts.append((some[which], kernel))
    return np.concatenate([which for which, _ in parts]), np.concatenate([kernel for _, kernel in parts])


def _part(handle: Any, start: int, stop: int) -> RepositoryVectors:
    from setwise.engine.base import opened

    return RepositoryVectors(opened(handle)[start:stop])


@contextlib.contextmanager
def _parts(engine: Any, candidates: RepositoryVectors, workers: int | str) -> Any:
    """Share every part; yield (handle, start, stop, the number of its first row) of each."""
    from setwise.engine.base import shared_rows

    several = len(candidates.parts) > 1
    ranges = 1 if several else max(2, workers if isinstance(workers, int) else 2)
    with contextlib.ExitStack() as stack:
        parts = []
        for part, first in zip(candidates.parts, candidates.starts.tolist(), strict=False):
            handle = stack.enter_context(shared_rows(engine, part.raw))
            cuts = [part.n * cut // ranges for cut in range(ranges + 1)]
            parts += [(handle, a, b, first + a) for a, b in itertools.pairwise(cuts) if b > a]
        yield parts


@contextlib.contextmanager
def _opened(index: Any, candidates: RepositoryVectors, seed: int, progress: Progress | None) -> Any:
    """Yield an open index and what it is called."""
    from setwise.extras.faiss import faiss, read_index

    if isinstance(index, Index):
        yield index, type(index).__name__
    elif isinstance(index, faiss.Index):
        yield _of_faiss(index), type(index).__name__
    elif isinstance(index, str | Path) and Path(index).is_dir():
        from setwise.index.saved import open_index

        with open_index(index).index as saved:
            yield saved, "saved index"
    elif isinstance(index, str | Path) and Path(index).is_file():
        yield _of_faiss(read_index(Path(index))), "saved FAISS index"
    elif isinstance(index, Path) or (isinstance(index, str) and (os.sep in index or index.startswith("."))):
        raise FileNotFoundError(
            f"index: no file or folder {str(index)!r}; name a saved index, 'exact' or a FAISS factory string"
        )
    elif isinstance(index, str):
        if len(candidates.parts) > 1:
            raise ValueError("index: it is built of one array; pass one, or a saved index of all shards")
        try:
            made, facts = build(candidates.parts[0], index, seed=seed, progress=progress)
        except ValueError as error:
            reason = str(error).removeprefix("factory: ")
            other = ", or a saved index that is there" if "does not understand" in reason else ""
            raise ValueError(f"index: {reason}{other}") from None
        yield _of_faiss(made), str(facts["factory"])
    else:
        raise TypeError(
            "index: expected 'auto', 'exact', a FAISS factory string, a saved index or an open one; "
            f"got {type(index).__name__}"
        )


def _of_faiss(index: Any) -> Index:
    from setwise.extras.faiss import faiss

    l2 = index.metric_type == faiss.METRIC_L2
    return Index.from_faiss(index, metric="euclidean" if l2 else "cosine")


def _row_numbers(ids: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Return ids as the candidates' numbers, -1 where there is none."""
    if ids.dtype == object:
        raise ValueError("index: its ids are no row numbers; build it with ids 0 to n - 1")
    numbers = ids.astype(np.int64)
    if numbers.max(initial=-1) >= n or numbers.min(initial=-1) < -1:
        raise ValueError(f"index: it returned an id outside 0 to {n - 1:,}; its ids must be row numbers")
    return numbers


def check_examples(examples: Any, candidates: RepositoryVectors) -> NDArray[Any]:
    """Return the examples as a checked matrix of the candidates' width.

    Raises
    ------
    TypeError
        They are no numbers.
    ValueError
        There are none, a row has NaN or Inf, or they have another width than the candidates.
    """
    from setwise.vectors import Vectors

    rows = Vectors(examples, "euclidean", name="examples")
    if rows.d != candidates.d:
        raise ValueError(
            f"examples: they have {rows.d} dimensions, the candidates {candidates.d}; encode them alike"
        )
    return np.asarray(rows.rows(slice(0, rows.n), np.result_type(rows.dtype, candidates.dtype)))
