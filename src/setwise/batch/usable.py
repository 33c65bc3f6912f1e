"""Many queries or pools of which some candidates cannot be used: each is selected from by itself."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import api
from setwise.batch.pools import of_each_pool
from setwise.containers import as_matrix, to_numpy
from setwise.each import split
from setwise.missing import listed_numbers, unusable
from setwise.queries import as_queries
from setwise.request import Request
from setwise.selection import Selection
from setwise.threads import beside


def with_gaps(relevance: Any) -> NDArray[Any] | None:
    """Return relevance as an array in which what is None is NaN."""
    relevance = listed_numbers(relevance)
    if relevance is None or not isinstance(relevance, list):
        return None if relevance is None else to_numpy(relevance, "relevance", flat=True)
    try:
        return np.asarray(relevance, np.float64)
    except (TypeError, ValueError, OverflowError):
        return to_numpy(relevance, "relevance")  # which refuses it, or reads lists of other things


def all_usable(data: NDArray[Any], relevance: NDArray[Any] | None, metric: str) -> bool:
    """Return whether every row, and all relevance, can be used."""
    gaps = relevance is not None and relevance.dtype.kind == "f" and np.isnan(relevance).any()
    return not gaps and not unusable(data, metric).any()


def select_usable(
    request: Request,
    data: NDArray[Any],
    cuts: NDArray[np.int64] | None,
    queries: Any,
    relevance: NDArray[Any] | None,
    missing: str,
) -> list[Selection]:
    """Select from one matrix for each query, or from each pool of rows, as `setwise.select` does.

    Parameters
    ----------
    data : ndarray of shape (n, d)
    cuts : ndarray of shape (m + 1,), int64, optional
        Where each pool begins, and the end of the last; None for one matrix.
    queries : array-like of shape (m, d), optional
    relevance : ndarray of shape (m, n), or (n,) with pools, optional
        NaN where it is missing.
    missing : {"drop", "append"}

    Raises TypeError, ValueError: as `setwise.select_many`; the pool or query is named.
    """
    n, d = data.shape
    probes = None
    if queries is not None:
        probes = as_queries(as_matrix(queries, "queries"), d, "queries", metric=request.goal.metric)
    if cuts is not None:
        what, count = "pool", len(cuts) - 1
        if probes is not None and len(probes) != count:
            raise ValueError(f"queries: expected one for each of {count} pools, got {len(probes)}")
        parts = [slice(*ends) for ends in np.stack([cuts[:-1], cuts[1:]], axis=1).tolist()]
        requests = of_each_pool(request, cuts, relevance, d)
        known = [None if relevance is None else relevance[part] for part in parts]
    else:
        scores = np.empty((0, n)) if relevance is None else np.atleast_2d(relevance)
        if scores.ndim != 2 or scores.shape[1] != n:
            raise ValueError(f"relevance: expected shape (m, {n}), got {scores.shape}")
        what, count = "query", len(scores) if probes is None else len(probes)
        parts = [slice(None)] * count
        requests = split(replace(request, threads=1), count)
        known = list(scores) if probes is None else [None] * count

    def one(place: int) -> Selection:
        try:
            return api.selected(
                requests[place],
                data[parts[place]],
                relevance=known[place],
                query=None if probes is None else probes[place],
                missing=missing,
                began=time.perf_counter(),
            )
        except ValueError as error:
            raise ValueError(f"{what} {place}: {error}") from None

    return beside(one, 0, count, request.workers)
