"""`setwise.select_many`: many queries over one matrix, or many pools, in one call."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from setwise import api, solvers
from setwise import relevance as relevances
from setwise.certificate import unbounded
from setwise.constraints import Constraints
from setwise.containers import as_matrix, as_queries, to_numpy
from setwise.relevance import Relevance
from setwise.request import Options, Request, takes
from setwise.selection import Selection
from setwise.solvers.batched import Batch, arrange
from setwise.solvers.problem import Problem
from setwise.threads import one_blas_thread, run_ranges
from setwise.vectors import Vectors

#: Pools up to this size are solved in batches.
SMALL = 2048

#: Bytes of a batch of pools, so that it stays in the processor's cache.
BATCH_BYTES = 4 << 20

#: Queries whose relevance is scanned together: one pass over the data serves them all.
QUERIES = 16


@takes()
def select_many(
    vectors: Any,
    k: int,
    *,
    queries: Any = None,
    relevance: Any = None,
    offsets: Any = None,
    relevance_scale: str = "none",
    sharpness: int = 1,
    metric: str = "cosine",
    **options: Unpack[Options],
) -> list[Selection]:
    """Make many selections: the same as calling `setwise.select` for each, several times faster.

    Three shapes of work:

    * one matrix, many queries: `vectors` (n, d) and `queries` (m, d), or `relevance` (m, n);
    * ragged pools: `vectors` (n, d) whose rows ``offsets[i]`` to ``offsets[i + 1]`` are pool i, with
      `relevance` (n,) or one query a pool;
    * equal pools: `vectors` (m, n, d) with `relevance` (m, n) or one query a pool.

    Indices count from the start of each pool.

    Parameters
    ----------
    vectors : array-like of shape (n, d) or (m, n, d)
    k : int
        Size of every set; no pool may be smaller.
    queries : array-like of shape (m, d), optional
    relevance : array-like, optional
        See above.
    offsets : array-like of shape (m + 1,), int, optional
        Ascending, from 0 to n.
    include, exclude : sequence of int
        Must-have and barred rows of every selection; for one matrix only.
    groups : array-like of shape (n,) or (m, n), optional
        One label a row of `vectors`.
    relevance_scale, sharpness, metric, diversity, objective, solver, max_per_group, certify, seed
        As in `setwise.select`.
    threads : int, optional
        Selections run beside each other on this many threads. Default: what BLAS is set to.

    Returns
    -------
    list of Selection, one a query or pool, in order

    Raises
    ------
    TypeError
        An argument is of the wrong type.
    ValueError
        As `setwise.select`, the pool or query named; or the shapes of `vectors`, `queries`, `relevance`,
        `offsets` and `groups` do not fit together.
    """
    request = Request.of(
        select_many, options, k=k, sharpness=sharpness, metric=metric, relevance_scale=relevance_scale
    )
    solvers.check(request)
    if queries is not None and relevance is not None:
        raise ValueError("relevance: pass relevance or queries, not both")
    data = vectors if isinstance(vectors, np.ndarray) else to_numpy(vectors, "vectors")
    with one_blas_thread():
        if data.ndim == 3:
            if offsets is not None:
                raise ValueError(
                    "offsets: not with vectors of shape (m, n, d), whose pools are already apart"
                )
            return _from_stack(request, data, queries, relevance)
        data = as_matrix(data)
        if offsets is None:
            return _from_one_matrix(request, data, queries, relevance)
        given = None if relevance is None else relevances.as_relevance(relevance, len(data))
        return _from_pools(request, data, _cuts(offsets, len(data)), queries, given)


def _from_one_matrix(request: Request, data: NDArray[Any], queries: Any, relevance: Any) -> list[Selection]:
    """Select from the same candidates for each query or row of relevance."""
    n, d = data.shape
    constraints = Constraints(n, request)
    metric, scale, workers = request.goal.metric, request.relevance_scale, request.workers
    if queries is not None:
        probes = as_queries(as_matrix(queries, "queries"), d, "queries", metric=metric)
        count = len(probes)
    elif relevance is not None:
        scores = np.atleast_2d(to_numpy(relevance, "relevance"))
        count = len(scores)
        if scores.ndim != 2 or scores.shape[1] != n:
            raise ValueError(f"relevance: expected shape (m, {n}), got {scores.shape}")
    else:
        raise ValueError("queries: needed, or relevance of shape (m, n), or offsets")
    vectors = Vectors(data, metric, workers=workers, kept=constraints.kept)
    alone = copy.copy(vectors)
    alone.workers = 1 if count >= workers else workers
    found: list[Selection] = []
    for start in range(0, count, QUERIES):
        stop = min(count, start + QUERIES)
        near = None if queries is None else _similarities(vectors, probes[start:stop])

        def one(position: int, start: int = start, near: NDArray[np.float64] | None = near) -> Selection:
            began = time.perf_counter()
            if near is not None:
                known = Relevance(near[position - start], alone, probes[position], scale)
            else:
                values = relevances.as_relevance(scores[position], n, f"relevance[{position}]")
                known = Relevance(constraints.left(values), alone, None, scale)
            return api.run(Problem(alone, known, request, constraints), began)

        found.extend(_beside(one, start, stop, workers))
    return found


def _from_stack(request: Request, stack: NDArray[Any], queries: Any, relevance: Any) -> list[Selection]:
    """Select from each of m pools of n rows."""
    count, n, d = stack.shape
    if count == 0 or n == 0:
        raise ValueError("vectors: empty, there is nothing to select from")
    cuts = np.arange(count + 1, dtype=np.int64) * n
    given = None if relevance is None else _reshaped(relevance, (count, n), "relevance")
    if request.groups is not None:
        request = replace(request, groups=np.asarray(request.groups).reshape(-1))
    try:
        return _from_pools(request, as_matrix(stack.reshape(count * n, d)), cuts, queries, given)
    except ValueError as error:
        raise ValueError(_in_stack(str(error), n)) from None


def _from_pools(
    request: Request,
    data: NDArray[Any],
    cuts: NDArray[np.int64],
    queries: Any,
    relevance: NDArray[np.float64] | None,
) -> list[Selection]:
    """Select from each pool of rows."""
    sizes = np.diff(cuts)
    for name, rows in (("include", request.include), ("exclude", request.exclude)):
        if np.size(rows):
            raise ValueError(f"{name}: rows of one matrix only; with pools, call setwise.select for each")
    if sizes.min() < request.k:
        pool = int(sizes.argmin())
        raise ValueError(f"k: {request.k} is more than the {sizes[pool]} candidates of pool {pool}")
    goal = request.goal
    probes = None
    if queries is not None:
        probes = as_queries(as_matrix(queries, "queries"), data.shape[1], "queries", metric=goal.metric)
        if len(probes) != len(sizes):
            raise ValueError(f"queries: expected one for each of {len(sizes)} pools, got {len(probes)}")
    requests = _of_each_pool(request, cuts)
    vectors = Vectors(data, goal.metric, workers=request.workers)
    pools = _Pools(requests, vectors, cuts, relevance, probes)
    quick = (
        solvers.batch_solver(goal.name, request.solver) is not None
        and goal.metric == "cosine"
        and request.groups is None
        and request.relevance_scale == "none"
        and sizes.max() <= SMALL
        and (not request.certify or goal.name not in solvers.PROOFS)
    )
    if quick:
        return pools.in_batches(request.workers)
    return _beside(pools.select, 0, len(sizes), request.workers)


def _of_each_pool(request: Request, cuts: NDArray[np.int64]) -> list[Request]:
    """Return each pool's own request, for one thread, its constraints checked."""
    request = replace(request, threads=1)
    if request.groups is None:
        return [request] * (len(cuts) - 1)
    labels = np.asarray(request.groups)
    if labels.shape != (cuts[-1],):
        raise ValueError(
            f"groups: expected {cuts[-1]} labels, one a row of vectors, got shape {labels.shape}"
        )
    requests = []
    for pool, (start, stop) in enumerate(pairwise(cuts)):
        requests.append(replace(request, groups=labels[start:stop]))
        try:
            Constraints(int(stop - start), requests[-1])
        except ValueError as error:
            raise ValueError(f"pool {pool}: {error}") from None
    return requests


@dataclass(frozen=True)
class _Pools:
    """Pools of rows to select from, checked.

    Attributes
    ----------
    requests : list of Request
        Of each pool.
    vectors : Vectors
        The rows of all pools, one pool after the other.
    cuts : ndarray of shape (m + 1,), int64
        Where each begins, and the end of the last.
    relevance : ndarray of shape (n,), float64, or None
    probes : ndarray of shape (m, d), float64, or None
        A query a pool.
    """

    requests: list[Request]
    vectors: Vectors
    cuts: NDArray[np.int64]
    relevance: NDArray[np.float64] | None
    probes: NDArray[np.float64] | None

    def select(self, pool: int) -> Selection:
        """Select from one pool by itself."""
        rows = slice(int(self.cuts[pool]), int(self.cuts[pool + 1]))
        return api.selected(
            self.requests[pool],
            self.vectors.raw[rows],
            relevance=None if self.relevance is None else self.relevance[rows],
            query=None if self.probes is None else self.probes[pool],
            began=time.perf_counter(),
        )

    def in_batches(self, workers: int) -> list[Selection]:
        """Select from pools of similar size together, batches beside each other."""
        sizes = np.diff(self.cuts)
        order = np.argsort(sizes, kind="stable")
        row = self.vectors.d * self.vectors.dtype.itemsize
        batches: list[NDArray[np.int64]] = []
        start = 0
        while start < len(order):
            # Sizes ascend along the order, so the last of a batch is its widest.
            stop = start + 1
            while stop < len(order) and (stop + 1 - start) * sizes[order[stop]] * row <= BATCH_BYTES:
                stop += 1
            batches.append(np.sort(order[start:stop]))
            start = stop
        found: list[Selection | None] = [None] * len(sizes)

        def some(first: int, last: int) -> None:
            for members in batches[first:last]:
                for pool, selection in zip(members.tolist(), self._batch(members), strict=True):
                    found[pool] = self.select(pool) if selection is None else selection

        run_ranges(some, len(batches), workers)
        return [selection for selection in found if selection is not None]

    def _batch(self, members: NDArray[np.int64]) -> list[Selection | None]:
        """Select from some pools together; None stands for a pool to be solved by itself."""
        began = time.perf_counter()
        request, vectors, cuts, relevance = self.requests[0], self.vectors, self.cuts, self.relevance
        goal, k = request.goal, request.k
        sizes = np.diff(cuts)[members]
        count, n = len(members), int(sizes.max())
        inside = np.arange(n) < sizes[:, None]
        ids: Any = (cuts[members][:, None] + np.arange(n))[inside]
        if ids[-1] - ids[0] + 1 == len(ids):  # neighbors: read as they lie
            ids = slice(int(ids[0]), int(ids[-1]) + 1)
        given = 0.0 if relevance is None else relevance[ids]
        if inside.all():
            rows = vectors.rows(ids).reshape(count, n, vectors.d)
            values = np.broadcast_to(given, count * n).reshape(count, n)
        else:
            rows = np.zeros((count, n, vectors.d), vectors.dtype)
            rows[inside] = vectors.rows(ids)
            values = np.full((count, n), -np.inf)
            values[inside] = given
        if self.probes is not None:
            probes = self.probes[members][:, :, None]
            near = np.matmul(rows, probes.astype(rows.dtype))[:, :, 0]
            values = np.where(np.isneginf(values), -np.inf, near.astype(np.float64))
        solve, greedily = (solvers.batch_solver(goal.name, name) for name in (request.solver, "greedy"))
        assert solve is not None  # else there is no batch
        assert greedily is not None
        picked = solve(Batch(rows, values, sizes), k, goal)
        places = picked.places + cuts[members][:, None]
        chosen = vectors.rows(places.reshape(-1), np.float64).reshape(count, k, vectors.d)
        if self.probes is not None:
            own = np.matmul(chosen, probes)[:, :, 0]
        else:
            own = np.zeros((count, k)) if relevance is None else relevance[places]
        order = arrange(picked, chosen, own, greedily, goal)
        chosen, own = (np.take_along_axis(chosen, order[:, :, None], 1), np.take_along_axis(own, order, 1))
        gains, terms = goal.evaluate(chosen, own)
        value, mean, spread = np.array(terms)
        indices = np.take_along_axis(picked.places, order, 1)
        label = solvers.label_of(goal.name, request.solver)
        seconds = (time.perf_counter() - began) / count
        return [
            None
            if picked.doubtful[place]
            else Selection(
                indices=indices[place],
                gains=gains[place],
                value=float(value[place]),
                relevance=float(mean[place]),
                diversity=float(spread[place]),
                certificate=unbounded(int(sizes[place]), True) if request.certify else None,
                solver=label,
                seconds=seconds,
            )
            for place in range(count)
        ]


def _beside(select: Callable[[int], Selection], start: int, stop: int, workers: int) -> list[Selection]:
    """Make selections beside each other, and return them in order."""
    parts = run_ranges(
        lambda first, last: [select(start + position) for position in range(first, last)],
        stop - start,
        workers,
    )
    return [selection for part in parts for selection in part]


def _similarities(vectors: Vectors, probes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each query's relevance for all candidates, in one pass, shape (q, n)."""
    found = np.empty((len(probes), vectors.n))
    if vectors.metric == "cosine":

        def take(start: int, stop: int, products: NDArray[Any]) -> None:
            found[:, start:stop] = products.T

        vectors.products(probes, take)
        return found

    def measure(start: int, stop: int, block: NDArray[Any]) -> None:
        for place, probe in enumerate(probes):
            delta = block - probe
            found[place, start:stop] = -np.sqrt(np.vecdot(delta, delta))

    vectors.map_blocks(measure)
    return found


def _cuts(offsets: Any, n: int) -> NDArray[np.int64]:
    """Return checked offsets."""
    cuts = np.asarray(offsets)
    if cuts.dtype.kind not in "iu" or cuts.ndim != 1 or len(cuts) < 2:
        raise TypeError("offsets: expected m + 1 integers, from 0 to n")
    if cuts[0] != 0 or cuts[-1] != n:
        raise ValueError(f"offsets: must run from 0 to n = {n}, got {cuts[0]} to {cuts[-1]}")
    falls = np.flatnonzero(np.diff(cuts.astype(np.int64)) <= 0)
    if len(falls):
        raise ValueError(f"offsets: pool {int(falls[0])} is empty; offsets must ascend")
    return cuts.astype(np.int64)


def _reshaped(values: Any, shape: tuple[int, int], name: str) -> NDArray[np.float64]:
    """Return (m, n) relevance as checked flat numbers."""
    array = to_numpy(values, name)
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    try:
        return relevances.as_relevance(array.reshape(-1), shape[0] * shape[1], name)
    except ValueError as error:
        raise ValueError(_in_stack(str(error), shape[1])) from None


def _in_stack(message: str, n: int) -> str:
    """Return a message about a row of stacked pools with its pool named, and its row counted in that."""

    def place(found: re.Match[str]) -> str:
        row = int(found[2])
        return f"{found[1]}[{row // n}]: row {row % n}"

    return re.sub(r"^(\w+): row (\d+)", place, message)
