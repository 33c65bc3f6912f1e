"""Many pools, each a range of rows: all in one call of the compiled kernels, or one beside the other."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import api, solvers
from setwise.certificate import unbounded
from setwise.constraints import Constraints
from setwise.containers import as_matrix, to_numpy
from setwise.each import split
from setwise.facets import parts_of
from setwise.limits import OwnIfMissing, listed_labels
from setwise.queries import as_queries
from setwise.relevance import Relevance
from setwise.request import Request
from setwise.selection import Selection
from setwise.solvers import compiled, direct, polished
from setwise.solvers.problem import POOLED
from setwise.threads import beside
from setwise.vectors import Vectors


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
    data : ndarray of shape (n, d)
        The rows of all pools.
    cuts : ndarray of shape (m + 1,), int64
        Where each begins, and the end of the last.
    queries : array-like of shape (m, d), optional
    relevance : ndarray of shape (n,), float64, optional
        Finite, or -inf.

    Raises TypeError, ValueError: as `setwise.select_many`.
    """
    sizes = np.diff(cuts)
    if request.sized and sizes.min() < request.size:
        pool = int(sizes.argmin())
        raise ValueError(f"k: {request.k} is more than the {sizes[pool]} candidates of pool {pool}")
    goal = request.goal
    probes = None
    if queries is not None:
        probes = as_queries(as_matrix(queries, "queries"), data.shape[1], "queries", metric=goal.metric)
        if len(probes) != len(sizes):
            raise ValueError(f"queries: expected one for each of {len(sizes)} pools, got {len(probes)}")
    requests = of_each_pool(request, cuts, relevance, data.shape[1])
    pools = _Pools(requests, data, cuts, relevance, probes)
    greedily = solvers.is_greedy(goal.name, request.solver)
    together = (
        compiled.knows(goal, data)
        and (greedily or direct.by_exchanges(request, data, sizes.min(), sizes.max()))
        and request.groups is None
        and not request.wishes
        and len(request.include) == len(request.exclude) == 0
        and (relevance is None or np.isfinite(relevance).all())
        and request.relevance_scale == "none"
        and sizes.max() <= POOLED
        and (not request.certify or goal.name not in solvers.PROOFS)
    )
    if together and (found := pools.select_together(request.workers, greedily=greedily)) is not None:
        return found
    Vectors(data, goal.metric, workers=request.workers)  # which refuses rows by their place among all
    return beside(pools.select, 0, len(sizes), request.workers)


def of_each_pool(
    request: Request, cuts: NDArray[np.int64], relevance: NDArray[np.float64] | None, d: int
) -> list[Request]:
    """Return each pool's own request over vectors of width d, for one thread, its constraints checked."""
    request = replace(request, threads=1)
    count = len(cuts) - 1
    facets = None if request.facets is None else parts_of(request.facets, d, int(cuts[-1]), "vectors")

    def of_rows(name: str, given: Any) -> Any:
        if isinstance(given, OwnIfMissing):
            listed = listed_labels(given.groups, name)
            given = given.filled(listed, range(len(listed)))
        what = "numbers" if name == "costs" else "labels"
        values = to_numpy(given, name, flat=True) if name == "costs" else given
        if not isinstance(values, np.ndarray) or values.dtype == object:
            values = listed_labels(values, name)
        shape = values.shape if isinstance(values, np.ndarray) else (len(values),)
        if shape != (cuts[-1],):
            raise ValueError(f"{name}: expected {cuts[-1]} {what}, one a row of vectors, got shape {shape}")
        return values

    labeled = request.labeled
    if labeled:
        request = request.mapped(of_rows)
    requests = split(request, count)
    for name in ("include", "exclude"):
        rows = getattr(request, name)
        if len(rows) and getattr(requests[0], name) is rows:
            raise ValueError(f"{name}: with pools, pass a list of rows for each of the {count}")
    barred = relevance is not None and not np.isfinite(relevance).all()
    if not labeled and facets is None and requests[0] is request and not barred:
        return requests
    for pool, (start, stop) in enumerate(pairwise(cuts.tolist())):
        if labeled:
            requests[pool] = requests[pool].mapped(partial(_part, slice(start, stop)))
        if facets is not None:
            requests[pool] = replace(requests[pool], facets=facets(slice(start, stop)))
        never = None if relevance is None else np.flatnonzero(np.isneginf(relevance[start:stop]))
        try:
            Constraints(stop - start, requests[pool], never)
        except ValueError as error:
            raise ValueError(f"pool {pool}: {error}") from None
    return requests


def _part(rows: slice, _name: str, given: Any) -> Any:
    """Return what belongs to some rows."""
    return given[rows]


@dataclass(frozen=True)
class _Pools:
    """Pools of rows to select from.

    Attributes
    ----------
    requests : list of Request
        Of each pool.
    rows : ndarray of shape (n, d)
        Of all pools, one pool after the other.
    cuts : ndarray of shape (m + 1,), int64
        Where each begins, and the end of the last.
    relevance : ndarray of shape (n,), float64, or None
    probes : ndarray of shape (m, d), float64, or None
        A query a pool.
    """

    requests: list[Request]
    rows: NDArray[Any]
    cuts: NDArray[np.int64]
    relevance: NDArray[np.float64] | None
    probes: NDArray[np.float64] | None

    def select(self, pool: int) -> Selection:
        """Select from one pool by itself."""
        rows = slice(int(self.cuts[pool]), int(self.cuts[pool + 1]))
        return api.selected(
            self.requests[pool],
            self.rows[rows],
            relevance=None if self.relevance is None else self.relevance[rows],
            query=None if self.probes is None else self.probes[pool],
            began=time.perf_counter(),
        )

    def select_together(self, workers: int, *, greedily: bool) -> list[Selection] | None:
        """Select from all pools, greedily or by the default solver, in one call of the compiled kernels.

        Pools that these leave to others are selected from by themselves; None where a row is to be refused.
        """
        began = time.perf_counter()
        request, cuts, sizes = self.requests[0], self.cuts, np.diff(self.cuts)
        goal, k = request.goal, request.size
        relevance = np.zeros(cuts[-1]) if self.relevance is None else self.relevance
        counted = relevance
        if self.relevance is not None and goal.relevance_weight(k) is not None:  # see `Relevance.from_least`
            counted = relevance - np.repeat(np.minimum.reduceat(relevance, cuts[:-1]), sizes)
        counts, chosen, numbers, *work = compiled.pick_of_each(
            goal,
            self.rows,
            cuts,
            counted,
            self.probes,
            k,
            workers,
            with_greedy=None if greedily else polished.has_greedy_start(k),
        )
        if greedily and counts.min() < 0:
            return None
        if counts.min() < k:
            Vectors(self.rows, goal.metric, workers=workers)  # which refuses rows by their place among all
        if self.relevance is not None and 0 < goal.diversity < 1:
            ends = [reduce(relevance, cuts[:-1]) for reduce in (np.minimum.reduceat, np.maximum.reduceat)]
            widest = int((ends[1] - ends[0]).argmax())
            Relevance(relevance[cuts[widest] : cuts[widest + 1]], None).warn_if_wide()
        whole = (counts == k) & compiled.are_summarized(goal, numbers)
        chosen[~whole], numbers[~whole] = 0, 1.0
        label = solvers.label_of(goal.name, request.solver)
        seconds = (time.perf_counter() - began) / len(counts)
        if greedily:
            stats = [{"kernel": "compiled", "pool_size": size} for size in sizes.tolist()]
        else:
            stats = [
                {"kernel": "compiled", "frank_wolfe_steps": steps, "swaps": swaps}
                for steps, swaps in work[0].tolist()
            ]

        @cache
        def summary() -> list[tuple[Any, ...]]:
            gains, terms = goal.summarize(numbers, relevance[cuts[:-1, None] + chosen])
            return list(zip(gains, *(np.asarray(term).tolist() for term in terms), strict=True))

        def terms_of(pool: int) -> dict[str, Any]:
            return dict(zip(("gains", "value", "relevance", "diversity"), summary()[pool], strict=True))

        return [
            Selection.of(
                partial(terms_of, pool),
                indices=indices,
                certificate=unbounded(size, True) if request.certify else None,
                solver=label,
                seconds=seconds,
                stats=stats[pool],
            )
            if known
            else self.select(pool)
            for pool, (size, indices, known) in enumerate(
                zip(sizes.tolist(), chosen, whole.tolist(), strict=True)
            )
        ]
