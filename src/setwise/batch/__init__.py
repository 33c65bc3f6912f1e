"""`setwise.select_many`: many queries over one matrix, or many pools, in one call."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from setwise import api, frames, kernels, solvers
from setwise import relevance as relevances
from setwise.batch.one_matrix import select_each
from setwise.batch.pools import select_pools
from setwise.batch.usable import all_usable, select_usable, with_gaps
from setwise.containers import as_matrix, to_numpy
from setwise.limits import OwnIfMissing, listed_labels
from setwise.missing import check_missing, matrix_with_gaps
from setwise.request import Options, Request, takes
from setwise.selection import Selection
from setwise.threads import one_blas_thread


@takes()
def select_many(
    vectors: Any,
    k: int | None = None,
    *,
    queries: Any = None,
    relevance: Any = None,
    offsets: Any = None,
    relevance_scale: str = "none",
    sharpness: int = 1,
    metric: str = "cosine",
    missing: str = "raise",
    **options: Unpack[Options],
) -> list[Selection]:
    """Make many selections, as calling `setwise.select` for each does, several times faster.

    The sets are the same, but for max-sum over one matrix of more than 8,192 rows: those are searched for
    together, in pools of a few hundred that shared passes propose, and may be others as good. There
    ``certify=True`` bounds each by those passes alone; "full" makes the effort of single calls.

    Three shapes of work:

    * one matrix, many queries: `vectors` (n, d) and `queries` (m, d), or `relevance` (m, n);
    * ragged pools: `vectors` (n, d) whose rows ``offsets[i]`` to ``offsets[i + 1]`` are pool i, with
      `relevance` (n,) or one query a pool;
    * equal pools: `vectors` (m, n, d) with `relevance` (m, n) or one query a pool.

    Indices count from the start of each pool.

    Parameters
    ----------
    vectors : array-like of shape (n, d) or (m, n, d)
    k : int or None
        Size of every set; no pool may be smaller. With a budget the most there may be, or left out.
    queries : array-like of shape (m, d), optional
    relevance : array-like, optional
        See above. Rows of -inf are never selected.
    offsets : array-like of shape (m + 1,), int, optional
        Ascending, from 0 to n.
    include, exclude : sequence of int, or one of them a query
        Must-have and barred rows, of every selection of one matrix; or a list of m sequences (None for none),
        or a mask of shape (m, n), of each query or pool by itself: what each user has bought, say.
    groups : array-like of shape (n,) or (m, n), or mapping of names to such, optional
        One label a row of `vectors`; for one matrix also one a query and row, but by name.
    costs : array-like of shape (n,) or (m, n), optional
        One number a row of `vectors`.
    relevance_scale, sharpness, metric, diversity, objective, solver, solver_options, max_per_group, limits,
    shares, budget, min_gain, max_similarity, shown, shown_weight, facets, certify, time_limit, seed
        As in `setwise.select`.
    missing : {"raise", "drop", "append"}
        What becomes of a candidate whose vector or relevance cannot be used, as in `setwise.select`. Where
        there is one, the sets are found one by one.
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
    policy = check_missing(missing)
    request, relevance = api.beside(vectors, request, relevance)
    if policy != "raise":
        relevance = with_gaps(relevance)
    try:
        data = vectors if isinstance(vectors, np.ndarray) else to_numpy(vectors, "vectors")
    except ValueError:
        if policy == "raise":
            raise
        data = matrix_with_gaps(vectors)
    with one_blas_thread():
        if data.ndim == 3:
            if offsets is not None:
                raise ValueError(
                    "offsets: not with vectors of shape (m, n, d), whose pools are already apart"
                )
            return _from_stack(request, data, queries, relevance, policy)
        data = kernels.legible(as_matrix(data))
        cuts = None if offsets is None else _cuts(offsets, len(data))
        asked = queries is not None or relevance is not None or cuts is not None
        if policy != "raise" and asked and not all_usable(data, relevance, metric):
            found = select_usable(request, data, cuts, queries, relevance, policy)
        elif cuts is None:
            found = select_each(request, data, queries, relevance)
        else:
            given = None if relevance is None else _numbers(relevance, len(data), "relevance")
            found = select_pools(request, data, cuts, queries, given)
    if cuts is not None or frames.kind_of(vectors) is None:
        return found
    return [replace(one, candidates=vectors) for one in found]


def _from_stack(
    request: Request, stack: NDArray[Any], queries: Any, relevance: Any, missing: str
) -> list[Selection]:
    """Select from each of m pools of n rows."""
    count, n, d = stack.shape
    if count == 0 or n == 0:
        raise ValueError("vectors: empty, there is nothing to select from")
    cuts = np.arange(count + 1, dtype=np.int64) * n
    rows = kernels.legible(as_matrix(stack.reshape(count * n, d)))
    if missing != "raise" and not all_usable(rows, relevance, request.goal.metric):
        if relevance is not None and relevance.shape != (count, n):
            raise ValueError(f"relevance: expected shape {(count, n)}, got {relevance.shape}")
        request = request.mapped(_in_a_row)
        known = None if relevance is None else relevance.reshape(-1)
        return select_usable(request, rows, cuts, queries, known, missing)
    given = None if relevance is None else _reshaped(relevance, (count, n))
    request = request.mapped(_in_a_row)
    try:
        return select_pools(request, rows, cuts, queries, given)
    except ValueError as error:
        raise ValueError(_in_stack(str(error), n)) from None


def _in_a_row(name: str, given: Any) -> Any:
    """Return what there is for each row of stacked pools, one pool after the other."""
    if isinstance(given, OwnIfMissing):
        return OwnIfMissing(_in_a_row(name, given.groups))
    if hasattr(given, "reshape"):
        return given.reshape(-1)
    rows = list(given)
    nested = any(isinstance(row, list | tuple) or getattr(row, "ndim", 0) == 1 for row in rows)
    return [one for row in rows for one in listed_labels(row, name)] if nested else rows


def _cuts(offsets: Any, n: int) -> NDArray[np.int64]:
    """Return checked offsets."""
    cuts: NDArray[Any] = np.asanyarray(offsets)
    if cuts.dtype.kind not in "iu" or np.ma.isMA(cuts) or cuts.ndim != 1 or len(cuts) < 2:
        raise TypeError("offsets: expected m + 1 integers, from 0 to n")
    if cuts[0] != 0 or cuts[-1] != n:
        raise ValueError(f"offsets: must run from 0 to n = {n}, got {cuts[0]} to {cuts[-1]}")
    falls = np.flatnonzero(np.diff(cuts.astype(np.int64)) <= 0)
    if len(falls):
        raise ValueError(f"offsets: pool {int(falls[0])} is empty; offsets must ascend")
    return np.asarray(cuts, np.int64)


def _numbers(values: Any, n: int, name: str) -> NDArray[np.float64]:
    """Return n checked numbers, -inf where a row is never to be selected."""
    found, never = relevances.or_never(values, n, name)
    found[never] = -np.inf
    return found


def _reshaped(values: Any, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return (m, n) relevance as checked flat numbers."""
    array = to_numpy(values, "relevance")
    if array.shape != shape:
        raise ValueError(f"relevance: expected shape {shape}, got {array.shape}")
    try:
        return _numbers(array.reshape(-1), shape[0] * shape[1], "relevance")
    except ValueError as error:
        raise ValueError(_in_stack(str(error), shape[1])) from None


def _in_stack(message: str, n: int) -> str:
    """Return a message about a row of stacked pools with its pool named, and its row counted in that."""

    def place(found: re.Match[str]) -> str:
        row = int(found[2])
        return f"{found[1]}[{row // n}]: row {row % n}"

    return re.sub(r"^(\w+): row (\d+)", place, message)
