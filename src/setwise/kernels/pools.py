"""Selection from small pools by compiled code: what `setwise.solvers` does under cosine."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from setwise import kernels

#: What objectives are called by the kernels.
OBJECTIVES = {"max-sum": 0, "mmr": 1, "log-det": 2}


def greedy(
    rows: NDArray[Any],
    squares: NDArray[np.float64] | None,
    relevance: NDArray[np.float64],
    *,
    objective: str,
    diversity: float,
    sharpness: int,
    k: int,
    fine: tuple[float, float] = (0.0, np.inf),
    queries: NDArray[np.float64] | None = None,
    cuts: NDArray[np.int64] | None = None,
    kept: NDArray[np.int64] | None = None,
    first: NDArray[np.int64] | None = None,
    groups: NDArray[np.int64] | None = None,
    quota: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Select k of each pool of candidates under cosine, as `setwise.solvers.greedy.pick_greedily` does.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        `kernels.readable`.
    squares : ndarray of shape (n,), optional
        Of their lengths, as `kernels.measure` writes them; by default they are measured.
    relevance : ndarray of shape (n,), float64
        Written to where there are queries.
    objective : str
        One of `OBJECTIVES`.
    diversity : float
    sharpness : int
        Of max-sum; else 1.
    k : int
    fine : (float, float)
        Rows are left to others where the square of a length is not between these.
    queries : ndarray of shape (p, d), float64, optional
        What each pool's relevance is the cosine to: of unit length.
    cuts : ndarray of shape (p + 1,), int64, optional
        Where the p pools begin, and n. Default: one pool.
    kept : ndarray of shape (n,), int64, optional
        The rows that count, of one pool alone and with `squares`; by default all.
    first : ndarray of int64, optional
        The candidates that come first, of one pool alone.
    groups : ndarray of shape (n,), int64, optional
        Numbers below m.
    quota : int
        At most this many of each.

    Returns
    -------
    counts : ndarray of shape (p,), int64
        How many are chosen of each pool: k, but where fewer may be; negative where a row is not `fine`.
    chosen : ndarray of shape (p, k), int64
        Counted from where the pool begins.
    numbers : ndarray of shape (p, k), float64
        What each had when it joined those before it: for mmr the largest similarity to one of them, for
        max-sum the sum of the distances, for log-det the residual.
    """
    pools = 1 if cuts is None else len(cuts) - 1
    counts, chosen, numbers = np.empty(pools, np.int64), np.empty((pools, k), np.int64), np.empty((pools, k))
    given = 0 if first is None else len(first)
    if first is not None:
        chosen[0, :given] = first
    kernels.native().greedy(
        rows,
        kept,
        squares,
        fine,
        queries,
        relevance,
        groups,
        quota,
        OBJECTIVES[objective],
        diversity,
        sharpness,
        k,
        cuts,
        chosen,
        given,
        counts,
        numbers,
    )
    return counts, chosen, numbers


class Proof(NamedTuple):
    """What a point of max-sum's concave relaxation proves.

    ids, weights : where x is not zero, and x there; gradient : of f at x, for every candidate; threshold :
    the k-th largest of it. In double precision from the rows as given, along : the gradient times x; linear :
    its linear part times x; ahead : the sum of its k largest entries.
    """

    ids: NDArray[np.int64]
    weights: NDArray[np.float64]
    gradient: NDArray[np.float64]
    along: float
    linear: float
    ahead: float
    threshold: float


class Point(NamedTuple):
    """A point of max-sum's concave relaxation.

    ids, weights : where x is not zero, and x there; gradient : of f at x, for every candidate; value : f(x);
    bound : an upper bound on f; rounds : steps that were taken.
    """

    ids: NDArray[np.int64]
    weights: NDArray[np.float64]
    gradient: NDArray[np.float64]
    value: float
    bound: float
    rounds: int


class Alone(NamedTuple):
    """The linear part of the summed form, where it proves a set.

    ahead : the sum of its k largest entries; threshold : the k-th largest; beyond : the one after that.
    """

    ahead: float
    threshold: float
    beyond: float


class Exchanged(NamedTuple):
    """What `exchange` finds.

    chosen : candidates, in selection order where there are numbers; numbers : each one's summed distances to
    those before it, None where a candidate outside may equal a member; steps, swaps : of Frank-Wolfe, and
    exchanges; proof : None if not asked for, or where relevance alone proves the set; alone : by this;
    squares : of each candidate's length; value : f of a set that was polished; point : of which nothing is
    proven.
    """

    chosen: NDArray[np.int64]
    numbers: NDArray[np.float64] | None
    steps: int
    swaps: int
    proof: Proof | None
    alone: Alone | None
    squares: NDArray[np.float64]
    value: float
    point: Point | None


def exchange(
    rows: NDArray[Any],
    relevance: NDArray[np.float64],
    *,
    k: int,
    diversity: float,
    sharpness: int,
    order: NDArray[np.int64] | None = None,
    squares: NDArray[np.float64] | None = None,
    fine: tuple[float, float] = (0.0, np.inf),
    query: NDArray[np.float64] | None = None,
    with_greedy: bool = False,
    kept: NDArray[np.int64] | None = None,
    chosen: NDArray[np.int64] | None = None,
    starts: NDArray[np.int64] | None = None,
    rounds: int = 0,
    leaders: int = 0,
    tolerance: float = 0.0,
    margin: float | None = None,
    start: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None,
) -> Exchanged | None:
    """Find a set for max-sum under cosine by Frank-Wolfe, greedy selection and exchanges, and bound the best.

    That is `setwise.solvers.auto.search_small` and `setwise.solvers.relaxation.maximize` without
    constraints, on rows of single or half precision.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        `kernels.readable`, not of double precision.
    relevance : ndarray of shape (n,), float64
        Of each candidate. Written to where there is a query.
    k : int
        Below n.
    diversity : float
    sharpness : int
    order : ndarray of shape (n,), int64, optional
        The candidates in the pool's own order: by falling relevance. Default: they are sorted here, and the
        rows measured.
    squares : ndarray of shape (n,), float64, optional
        Of each candidate's length, with an order.
    fine, query
        As of `greedy`, without an order.
    with_greedy : bool
        Whether greedy selection's set is a start, too.
    kept : ndarray of shape (n,), int64, optional
        The candidates' rows, with an order; by default all.
    chosen : ndarray of shape (k,), int64, optional
        The set, where only a bound is asked for.
    starts : ndarray of shape (s, k), int64, optional
        Sets that are polished, rather than Frank-Wolfe's.
    rounds : int
        Of the relaxation: at most this many. 0 for no bound.
    leaders : int
        As of `relaxation.maximize`.
    tolerance : float
        Relative gap between the bound and the relaxation's value to stop at.
    margin : float, optional
        What an entry of the gradient may be off by; without it there is a point, and no proof.
    start : (ids, weights), optional
        Where the relaxation begins. Default: at the set.

    Returns
    -------
    Exchanged, or None where rows are measured and one is not `fine`, or two candidates are as relevant
    """
    known, measured, n = chosen is not None, order is not None, len(relevance)
    given = starts if chosen is None else chosen
    found = np.empty(k, np.int64) if given is None else np.array(given, np.int64).ravel()
    numbers = np.empty(k)
    if order is None or squares is None:
        order, squares = np.empty(n, np.int64), np.empty(n)
    ids, weights, gradient = (np.empty(n, np.int64), np.empty(n), np.empty(n)) if rounds else (None,) * 3
    count = 0
    if start is not None and ids is not None and weights is not None:
        count = len(start[0])
        ids[:count], weights[:count] = start
    effort = rounds, leaders, tolerance, -1.0 if margin is None else margin
    sets = 0 if starts is None else len(starts)
    done, steps, swaps, count, along, linear, ahead, threshold, heights = kernels.native().exchange(
        rows, kept, measured, fine, query, order, squares, relevance, diversity, sharpness,
        known, sets, with_greedy, found, numbers, effort, count, ids, weights, gradient,
    )  # fmt: skip
    value, height, bound, walked = heights
    if done < 0:
        return None
    proof, alone, point = None, None, None
    if ids is not None and weights is not None and gradient is not None:
        if count and margin is None:
            point = Point(ids[:count], weights[:count], gradient, height, bound, walked)
        elif count:
            proof = Proof(ids[:count], weights[:count], gradient, along, linear, ahead, threshold)
        else:
            alone = Alone(ahead, threshold, linear)
    return Exchanged(found[:k], numbers if done else None, steps, swaps, proof, alone, squares, value, point)


def exchange_each(
    rows: NDArray[Any],
    relevance: NDArray[np.float64],
    cuts: NDArray[np.int64],
    *,
    k: int,
    diversity: float,
    sharpness: int,
    with_greedy: bool,
    fine: tuple[float, float],
    queries: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Find a set in each of many pools, as `exchange` does, measured on the way.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Of all pools, one after the other: `kernels.readable`, not of double precision.
    relevance : ndarray of shape (n,), float64
        Written to where there are queries.
    cuts : ndarray of shape (p + 1,), int64
        Where the p pools begin, and n; each holds more than k.
    k, diversity, sharpness, with_greedy
        As of `exchange`.
    fine, queries
        As of `greedy`.

    Returns
    -------
    counts : ndarray of shape (p,), int64
        k; less where a pool is left to others: a row is not `fine`, two candidates have the same relevance,
        or one outside a set may equal a member.
    chosen : ndarray of shape (p, k), int64
        Counted from where the pool begins, in selection order.
    numbers : ndarray of shape (p, k), float64
        Each one's summed distances to those before it.
    work : ndarray of shape (p, 2), int64
        Steps of Frank-Wolfe, and exchanges.
    """
    pools = len(cuts) - 1
    counts, work = np.empty(pools, np.int64), np.empty((pools, 2), np.int64)
    chosen, numbers = np.empty((pools, k), np.int64), np.empty((pools, k))
    kernels.native().exchange_each(
        rows,
        fine,
        queries,
        cuts,
        relevance,
        diversity,
        sharpness,
        with_greedy,
        k,
        chosen,
        counts,
        numbers,
        work,
    )
    return counts, chosen, numbers, work
