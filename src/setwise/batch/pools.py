"""Many pools, each a range of rows: those of similar size are solved together, or one beside the other."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import api, solvers
from setwise.certificate import unbounded
from setwise.constraints import Constraints
from setwise.containers import as_matrix, as_queries
from setwise.request import Request, split
from setwise.selection import Selection
from setwise.solvers.batched import Batch, arrange
from setwise.threads import beside, run_ranges
from setwise.vectors import Vectors

#: Pools up to this size are solved in batches.
SMALL = 2048

#: Bytes of a batch of pools, so that it stays in the processor's cache.
BATCH_BYTES = 4 << 20


def select_pools(
    request: Request,
    data: NDArray[Any],
    cuts: NDArray[np.int64],
    queries: Any,
    relevance: NDArray[np.float64] | None,
) -> list[Selection]:
    """Select from each pool of rows.

    Parameters
    ----------
    request : Request
    data : ndarray of shape (n, d)
        The rows of all pools.
    cuts : ndarray of shape (m + 1,), int64
        Where each begins, and the end of the last.
    queries : array-like of shape (m, d), optional
    relevance : ndarray of shape (n,), float64, optional
        Finite, or -inf.

    Raises
    ------
    TypeError, ValueError
        As `setwise.select_many`.
    """
    sizes = np.diff(cuts)
    if sizes.min() < request.k:
        pool = int(sizes.argmin())
        raise ValueError(f"k: {request.k} is more than the {sizes[pool]} candidates of pool {pool}")
    goal = request.goal
    probes = None
    if queries is not None:
        probes = as_queries(as_matrix(queries, "queries"), data.shape[1], "queries", metric=goal.metric)
        if len(probes) != len(sizes):
            raise ValueError(f"queries: expected one for each of {len(sizes)} pools, got {len(probes)}")
    requests = _of_each_pool(request, cuts, relevance)
    vectors = Vectors(data, goal.metric, workers=request.workers)
    pools = _Pools(requests, vectors, cuts, relevance, probes)
    quick = (
        solvers.batch_solver(goal.name, request.solver) is not None
        and goal.metric == "cosine"
        and request.groups is None
        and len(request.include) == len(request.exclude) == 0
        and (relevance is None or np.isfinite(relevance).all())
        and request.relevance_scale == "none"
        and sizes.max() <= SMALL
        and (not request.certify or goal.name not in solvers.PROOFS)
    )
    if quick:
        return pools.in_batches(request.workers)
    return beside(pools.select, 0, len(sizes), request.workers)


def _of_each_pool(
    request: Request, cuts: NDArray[np.int64], relevance: NDArray[np.float64] | None
) -> list[Request]:
    """Return each pool's own request, for one thread, its constraints checked."""
    request = replace(request, threads=1)
    count = len(cuts) - 1
    labels = None
    if request.groups is not None:
        labels = np.asarray(request.groups)
        if labels.shape != (cuts[-1],):
            raise ValueError(
                f"groups: expected {cuts[-1]} labels, one a row of vectors, got shape {labels.shape}"
            )
    requests = split(request, count)
    for name in ("include", "exclude"):
        rows = getattr(request, name)
        if len(rows) and getattr(requests[0], name) is rows:
            raise ValueError(f"{name}: with pools, pass a list of rows for each of the {count}")
    barred = relevance is not None and not np.isfinite(relevance).all()
    if labels is None and requests[0] is request and not barred:
        return requests
    for pool, (start, stop) in enumerate(pairwise(cuts)):
        if labels is not None:
            requests[pool] = replace(requests[pool], groups=labels[start:stop])
        never = None if relevance is None else np.flatnonzero(np.isneginf(relevance[start:stop]))
        try:
            Constraints(int(stop - start), requests[pool], never)
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
        least = np.zeros((count, 1))
        if relevance is not None and goal.relevance_weight(k) is not None:  # see `Relevance.from_least`
            least = np.where(inside, values, np.inf).min(axis=1, keepdims=True)
        solve, greedily = (solvers.batch_solver(goal.name, name) for name in (request.solver, "greedy"))
        assert solve is not None  # else there is no batch
        assert greedily is not None
        picked = solve(Batch(rows, values - least, sizes), k, goal)
        places = picked.places + cuts[members][:, None]
        chosen = vectors.rows(places.reshape(-1), np.float64).reshape(count, k, vectors.d)
        if self.probes is not None:
            own = np.matmul(chosen, probes)[:, :, 0]
        else:
            own = np.zeros((count, k)) if relevance is None else relevance[places]
        order = arrange(picked, chosen, own - least, greedily, goal)
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
