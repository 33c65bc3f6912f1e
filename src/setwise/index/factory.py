"""A FAISS index made from checked vectors by factory string: trained, filled, its search effort set."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from setwise import checks
from setwise.progress import StepProgress, tell
from setwise.vectors import Vectors

#: Rows that are added at once.
BLOCK = 16_384

#: Rows that an index is trained on: at least this many, and this many for each of its lists.
TRAINED, PER_LIST = 65_536, 256

#: From this many vectors on, the default is an index of lists.
MANY = 20_000


def default_factory(n: int) -> str:
    """Return what is built where no factory string is given: Flat for few vectors, else 4 √n lists."""
    return "Flat" if n < MANY else f"IVF{int(4 * n**0.5)},Flat"


def build(
    vectors: Vectors,
    factory: str,
    *,
    nprobe: int | None = None,
    ef: int | None = None,
    seed: int = 0,
    progress: StepProgress | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Make a FAISS index of all rows, by inner product of unit vectors (cosine) or L2 (euclidean).

    Parameters
    ----------
    factory : str
        As for ``faiss.index_factory``: "Flat", "IVF1024,Flat", "HNSW32", "IVF1024,SQ8", …
    nprobe : int, optional
        Lists that a search reads; by default a sixteenth of them, at least 8.
    ef : int, optional
        Effort of a search of an HNSW index; FAISS's own default is 16, ours 128.
    seed : int
        Of the rows it is trained on.
    progress : callable, optional
        Called with the step, how many are done, and how many there are.

    Returns
    -------
    index : faiss.Index
    facts : dict
        ``factory``, ``lists``, ``nprobe`` and ``ef``, None where there are none.

    Raises ValueError: FAISS does not understand the string, or cannot build it for these vectors; it asks for
    ids of its own; ``nprobe`` or ``ef`` is out of range, or the index has no lists or no graph.
    """
    from setwise.extras.faiss import faiss

    metric = faiss.METRIC_INNER_PRODUCT if vectors.metric == "cosine" else faiss.METRIC_L2
    try:
        index = faiss.index_factory(vectors.d, factory, metric)
    except RuntimeError as error:
        raise ValueError(
            f"factory: FAISS does not understand {factory!r} for {vectors.d} d ({_reason(error)}); "
            "try Flat, HNSW32 or IVF1024,Flat"
        ) from None
    if isinstance(faiss.downcast_index(index), faiss.IndexIDMap | faiss.IndexIDMap2):
        raise ValueError(
            f"factory: {factory!r} asks for ids of its own; leave IDMap out, ids are kept beside"
        )
    lists = faiss.try_extract_index_ivf(index)
    count = None if lists is None else int(lists.nlist)
    nprobe, ef = _effort(index, factory, count, nprobe, ef)
    try:
        _train(index, lists, vectors, seed, progress)
        for start in range(0, vectors.n, BLOCK):
            index.add(np.asarray(vectors.rows(slice(start, start + BLOCK)), np.float32))
            tell(progress, "indexing", min(start + BLOCK, vectors.n), vectors.n)
    except RuntimeError as error:
        raise ValueError(
            f"factory: {factory!r} cannot be built of {vectors.n:,} vectors ({_reason(error)}); "
            "try fewer lists, or Flat"
        ) from None
    return index, {"factory": factory, "lists": count, "nprobe": nprobe, "ef": ef}


def _effort(
    index: Any, factory: str, lists: int | None, nprobe: int | None, ef: int | None
) -> tuple[int | None, int | None]:
    """Set how much of the index a search reads; return both settings, None where there are none."""
    from setwise.extras.faiss import faiss

    space = faiss.ParameterSpace()
    if lists is None and nprobe is not None:
        raise ValueError(f"nprobe: {factory!r} has no lists to probe; leave it out, or use IVF1024,Flat")
    if lists is not None:
        nprobe = (
            min(lists, max(8, lists // 16))
            if nprobe is None
            else checks.integer("nprobe", nprobe, least=1, most=lists)
        )
        space.set_index_parameter(index, "nprobe", nprobe)
    core: Any = faiss.downcast_index(index)
    while isinstance(core, faiss.IndexPreTransform):
        core = faiss.downcast_index(core.index)
    graph = isinstance(core, faiss.IndexHNSW)
    if not graph and ef is not None:
        raise ValueError(f"ef: {factory!r} is no HNSW index; leave it out, or use HNSW32")
    if graph:
        ef = 128 if ef is None else checks.integer("ef", ef, least=1)
        core.hnsw.efSearch = ef
    return nprobe, ef


def _train(
    index: Any,
    lists: Any,
    vectors: Vectors,
    seed: int,
    progress: StepProgress | None,
) -> None:
    """Train an index on rows drawn over the whole, where it needs that."""
    if index.is_trained:
        return
    tell(progress, "training", 0, 1)
    wanted = TRAINED
    if lists is not None:
        wanted = max(wanted, PER_LIST * int(lists.nlist))
        lists.cp.min_points_per_centroid = 1  # too few points for a list is no reason to print to stderr
        lists.cp.seed = seed + 1
    rows = np.arange(vectors.n)
    if wanted < vectors.n:
        rows = np.sort(np.random.default_rng(seed).choice(vectors.n, wanted, replace=False))
    index.train(np.asarray(vectors.rows(rows), np.float32))
    tell(progress, "training", 1, 1)


def _reason(error: RuntimeError) -> str:
    """Return what FAISS says, without where in its sources."""
    last = re.split(r"\.(?:cpp|h):\d+: ", str(error), maxsplit=1)[-1].rpartition("' failed: ")[2]
    words = " ".join(last.split())
    return words.removeprefix("Error in ")[:160].rstrip(". ")
