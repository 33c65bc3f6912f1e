"""Where neighbors come from: all candidates, an index of them, or parts of them in other processes."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from setwise.files.names import named
from setwise.finetuning.density import Counted, NearPairs, Pairs, counted, joined, largest
from setwise.finetuning.neighbors import Neighbors, merged, nearest
from setwise.finetuning.parameters import MatchParameters
from setwise.finetuning.repository_vectors import RepositoryVectors
from setwise.index.base import Index
from setwise.index.factory import build, default_factory
from setwise.progress import StepProgress, tell

#: Multiplications of an exact search above which "auto" takes an index: some minutes of two processors.
EXACT = 4e13


def find(
    candidates: RepositoryVectors,
    examples: NDArray[Any],
    parameters: MatchParameters,
    progress: StepProgress | None = None,
) -> Neighbors:
    """Find neighbors exactly, or in the paper's two stages (TSDS Appendix C).

    Two stages: an index over all candidates returns ``neighbors`` for each example; then every example is
    compared with the union of what all were given. FAISS's -1 for "no more" is left out.

    Parameters
    ----------
    examples : ndarray of shape (M, d)
    progress : callable, optional

    Raises FileNotFoundError: the index is a path where nothing is; TypeError: the index is no name, path or
    index; ValueError: the index is of another width or size than the candidates, a name that FAISS does not
    understand, or it returns ids that are no row numbers.
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
    with _opened(index, candidates, parameters.seed, progress) as (coarse, kind, fold):
        size = candidates.n if fold is None else candidates.total
        if coarse.dim != candidates.d or coarse.size != size:
            raise ValueError(
                f"index: it holds {coarse.size:,} × {coarse.dim}, the candidates are {size:,} × "
                f"{candidates.d}; build it of the same vectors"
            )
        _, ids = coarse.search(examples, count)
    known = _row_numbers(ids, size)
    found = np.unique(known[known >= 0])
    union = found if fold is None else np.unique(fold.group[found])
    if not len(union):
        raise ValueError("index: it returned no neighbor at all; raise its search effort (nprobe, ef)")
    fine = nearest(candidates, examples, min(count, len(union)), progress=progress, ids=union)
    return replace(fine, among=union, kind=kind)


def find_in_parts(
    candidates: RepositoryVectors,
    examples: NDArray[Any],
    count: int,
    workers: int | str,
    progress: StepProgress | None = None,
) -> Neighbors:
    """Find neighbors exactly, each part of the candidates in a worker: as `find`, to the last tie.

    Parts are the candidates' shards; of a single array as many ranges as there are workers, which are local
    processes, or run on Ray.
    """
    from setwise.engine import at_work

    with at_work(workers) as engine, _parts(engine, candidates, workers) as parts:
        found = engine.map(nearest_in_part, [(handle, part, examples, count) for handle, part in parts])
    tell(progress, "searching", candidates.n, candidates.n)
    return replace(merged(found, count), kind="exact in parts")


def nearest_in_part(work: tuple[Any, _Part, NDArray[Any], int]) -> Neighbors:
    """Find the neighbors in one part; run by a worker."""
    handle, part, examples, count = work
    rows = part.opened(handle)
    found = nearest(rows, examples, min(count, rows.n))
    return Neighbors(found.ids + part.first, found.distances)


def density_in_parts(
    candidates: RepositoryVectors, ids: NDArray[np.int64], width: float, limit: int, workers: int | str
) -> Counted:
    """Count the density of some candidates among all, each part in a worker; see `Density.of`."""
    from setwise.engine import at_work

    rows = candidates.rows(ids)
    with (
        at_work(workers) as engine,
        _parts(engine, candidates, workers) as parts,
        engine.share(rows) as probes,
    ):
        found = engine.map(kernels_in_part, [(handle, part, probes, width, limit) for handle, part in parts])
    return counted(joined(found), len(rows), limit)


def kernels_in_part(work: tuple[Any, _Part, Any, float, int]) -> Pairs:
    """Return near pairs of some rows with one part, ``limit`` + 1 a row at most; run by a worker."""
    from setwise.engine.base import opened

    handle, part, shared, width, limit = work
    probes = opened(shared)
    finder = NearPairs(part.opened(handle), width)
    parts = []
    order = finder.probes_by_cell(probes)
    for low in range(0, len(order), 8_192):
        some = order[low : low + 8_192]
        which, kernel, times = largest(finder.kernels(probes[some], limit + 1), len(some), limit + 1)
        parts.append((some[which], kernel, times))
    return joined(parts)


class _Part(NamedTuple):
    """A range of the candidates, as a worker opens it: the rows of it that count, and how often each does.

    ``first`` is the number of its first row among the candidates.
    """

    start: int
    stop: int
    first: int
    kept: NDArray[np.int64] | None
    counts: NDArray[np.int64] | None

    def opened(self, handle: Any) -> RepositoryVectors:
        from setwise.engine.base import opened

        rows = RepositoryVectors(opened(handle)[self.start : self.stop])
        return rows if self.kept is None else rows.only(self.kept, self.counts)


@contextlib.contextmanager
def _parts(
    engine: Any, candidates: RepositoryVectors, workers: int | str
) -> Iterator[list[tuple[Any, _Part]]]:
    """Share every part; yield the ranges that have a row, each with the handle of what it is of."""
    from setwise.engine.base import shared_rows

    several = len(candidates.parts) > 1
    ranges = 1 if several else max(2, workers if isinstance(workers, int) else 2)
    kept, counts = candidates.kept, candidates.counts
    with contextlib.ExitStack() as stack:
        parts = []
        for part, first in zip(candidates.parts, candidates.starts.tolist(), strict=False):
            handle = stack.enter_context(shared_rows(engine, part.raw))
            cuts = [part.n * cut // ranges for cut in range(ranges + 1)]
            for a, b in itertools.pairwise(cuts):
                if kept is None:
                    low, high, own, times = first + a, first + b, None, None
                else:
                    low, high = np.searchsorted(kept, [first + a, first + b]).tolist()
                    own = kept[low:high] - (first + a)
                    times = None if counts is None else counts[low:high]
                if high > low:
                    parts.append((handle, _Part(a, b, low, own, times)))
        yield parts


def check_index(index: Any) -> None:
    """Refuse, before any work, what is no index: a folder or file of none, or a name that FAISS cannot read.

    Raises FileNotFoundError, TypeError, ValueError: as `find`.
    """
    if isinstance(index, Index) or (isinstance(index, str) and index in ("auto", "exact")):
        return
    from setwise.extras.faiss import faiss, read_index

    if isinstance(index, faiss.Index):
        return
    if not isinstance(index, str | Path):
        raise _no_index(index)
    named(index, "index")
    if os.path.isdir(index):
        from setwise.index.folder import FORMAT

        FORMAT.read(index, sizes=False)
    elif os.path.isfile(index):
        read_index(Path(index), faiss.IO_FLAG_MMAP)
    elif isinstance(index, str) and os.sep not in index and not index.startswith("."):
        try:
            faiss.index_factory(5_040, index)  # a width that most numbers of parts divide
        except RuntimeError as error:
            if "could not parse" in str(error):
                mend = "try Flat, HNSW32 or IVF1024,Flat, or a saved index that is there"
                raise ValueError(f"index: FAISS does not understand {index!r}; {mend}") from None
    else:
        raise _no_index(index)


def _no_index(index: Any) -> Exception:
    """Return the refusal of a path where nothing is, or of what is no path."""
    if isinstance(index, str | Path):
        where = f"index: no file or folder {str(index)[:60]!r}"
        return FileNotFoundError(f"{where}; name a saved index, 'exact' or a FAISS factory string")
    return TypeError(
        "index: expected 'auto', 'exact', a FAISS factory string, a saved index or an open one; "
        f"got {type(index).__name__}"
    )


@contextlib.contextmanager
def _opened(index: Any, candidates: RepositoryVectors, seed: int, progress: StepProgress | None) -> Any:
    """Yield an open index, what it is called, and the fold of its rows where it has all."""
    from setwise.extras.faiss import faiss, read_index

    if isinstance(index, Index):
        yield index, type(index).__name__, candidates.fold
    elif isinstance(index, faiss.Index):
        yield _of_faiss(index), type(index).__name__, candidates.fold
    elif isinstance(index, str | Path) and os.path.isdir(index):
        from setwise.index.saved import open_index

        with open_index(index).index as saved:
            yield saved, "saved index", candidates.fold
    elif isinstance(index, str | Path) and os.path.isfile(index):
        yield _of_faiss(read_index(Path(index))), "saved FAISS index", candidates.fold
    elif isinstance(index, str) and os.sep not in index and not index.startswith("."):
        if len(candidates.parts) > 1:
            raise ValueError("index: it is built of one array; pass one, or a saved index of all shards")
        part = candidates.parts[0]
        rows = part if candidates.kept is None else part.restricted(candidates.kept)
        try:
            made, facts = build(rows, index, seed=seed, progress=progress)
        except ValueError as error:
            reason = str(error).removeprefix("factory: ")
            other = ", or a saved index that is there" if "does not understand" in reason else ""
            raise ValueError(f"index: {reason}{other}") from None
        yield _of_faiss(made), str(facts["factory"]), None
    else:
        raise _no_index(index)


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

    Raises TypeError: they are no numbers; ValueError: there are none, a row has NaN or Inf, or they have
    another width than the candidates.
    """
    from setwise.vectors import Vectors

    rows = Vectors(examples, "euclidean", name="examples")
    if rows.d != candidates.d:
        raise ValueError(
            f"examples: they have {rows.d} dimensions, the candidates {candidates.d}; encode them alike"
        )
    return np.asarray(rows.rows(slice(0, rows.n), np.result_type(rows.dtype, candidates.dtype)))
