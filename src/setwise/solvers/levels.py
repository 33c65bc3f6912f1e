"""Selection by levels: of partitions, inside each of them, and of what those yield (MUSS; DGDS).

Nguyen and Kan, MUSS, Algorithm 2; Ghadiri and Schmidt 2019, whose partitions are random and all kept.
ARCHITECTURE.md, section 7.
"""

from __future__ import annotations

import time
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.cluster import by_labels, k_means, medians_of, random_partition, rows_of_parts
from setwise.constraints import Constraints
from setwise.engine import engine_for, opened, shared_rows
from setwise.limits import as_labels, codes_of
from setwise.objectives import Objective
from setwise.relevance import Relevance
from setwise.request import Request
from setwise.solver_options import Distributed, Levels, Multilevel
from setwise.solvers import greedy
from setwise.solvers.problem import Problem, Solved
from setwise.threads import one_blas_thread, run_ranges
from setwise.top import top_k
from setwise.vectors import Floats, Vectors

Rows = NDArray[np.int64]


#: What messages call a solver's options.
_CALLED = {name: f"solver_options: {name}" for name in ("clusters", "partition", "per_cluster")}


@checks.renamed(**_CALLED)
def by_clusters(problem: Problem) -> Solved:
    """Select by MUSS's levels, over k-means clusters or given ones."""
    asked, began = cast(Multilevel, problem.request.options), time.perf_counter()
    labels = _given(problem, asked)
    if labels is None:
        made = k_means(problem.vectors, asked.parts(problem.n), seed=problem.seed)
    else:
        made = by_labels(problem.vectors, labels)
    parts = made.members()
    kept = kept_clusters(problem, parts, made.centroids, asked, lenient=asked.is_given)
    problem.stats["seconds_clusters"] = time.perf_counter() - began
    return over_parts(problem, [parts[one] for one in kept.tolist()], max(map(len, parts)), asked)


@checks.renamed(**_CALLED)
def by_parts(problem: Problem) -> Solved:
    """Select by DGDS, over random parts or given ones."""
    asked = cast(Distributed, problem.request.options)
    labels = _given(problem, asked)
    if labels is None:
        labels = random_partition(problem.n, asked.parts(problem.n), problem.seed)
    parts = rows_of_parts(labels, int(labels.max()) + 1)
    return over_parts(problem, parts, max(map(len, parts)), asked)


def _given(problem: Problem, asked: Levels) -> NDArray[np.int32] | None:
    """Return the part of each candidate, numbered without gaps, where labels are given."""
    if not asked.is_given:
        return None
    constraints = problem.constraints
    n = problem.n if constraints.kept is None else len(problem.vectors.raw)
    _, codes = codes_of(as_labels(asked.partition, n, "partition"))
    numbers = np.unique(constraints.left(codes), return_inverse=True)[1]
    return numbers.astype(np.int32)


def kept_clusters(
    problem: Problem, parts: list[Rows], centroids: Floats, asked: Multilevel, *, lenient: bool = False
) -> NDArray[np.int64]:
    """Return which clusters to select from: all, if `lenient` and fewer are there than are asked for."""
    total = len(parts)
    m = total if lenient and (asked.clusters or 0) > total else asked.clusters_kept(total)
    medians = medians_of(parts, problem.relevance.as_given())
    return select_clusters(centroids, medians, m, asked.cluster_diversity, problem.vectors.metric)


def select_clusters(
    centroids: Floats, medians: NDArray[np.float64], m: int, diversity: float, metric: str
) -> NDArray[np.int64]:
    """Return m clusters by greedy selection over centroids and median qualities (MUSS Alg. 2, line 3)."""
    if m >= len(centroids):
        return np.arange(len(centroids))
    # Members that cancel each other leave a centroid without a direction: it gets one.
    whole = Vectors(np.where(np.any(centroids, axis=1, keepdims=True), centroids, 1.0), metric)
    goal = Request(k=m, diversity=diversity, metric=metric).goal
    return select_greedily(whole, medians, m, goal)


def over_parts(
    problem: Problem,
    parts: list[Rows],
    largest: int,
    asked: Levels,
    *,
    objective: Objective | None = None,
    processes: int | str | None = None,
) -> Solved:
    """Select greedily inside parts, and then over the union of what they yield and what must be in the set.

    Parameters
    ----------
    parts : list of ndarray of int64, ascending
        Those to select from.
    largest : int
        Items of the largest part, of those that are not selected from, too.
    objective : Objective, optional
        What greedy maximizes, if not the problem's goal.
    processes : int, str or None
        Where parts run, as `setwise.engine.engine_for` takes it; None for threads of this process.

    Raises ValueError: more items of a part are asked for than there are, or parts yield fewer than k.
    """
    vectors, k, goal = problem.vectors, problem.k, objective or problem.request.goal
    relevance = problem.relevance.as_given()
    inside = asked.items_inside(k, len(parts), largest)
    began = time.perf_counter()
    with one_blas_thread():
        if processes is None:
            yields = run_ranges(
                lambda start, stop: [
                    select_greedily(vectors, relevance, inside, goal, rows) for rows in parts[start:stop]
                ],
                len(parts),
                problem.request.workers,
            )
            found = [rows for part in yields for rows in part]
        else:
            with engine_for(processes) as engine, shared_rows(engine, vectors.raw) as shared:
                work = [(shared, vectors.places(rows), relevance[rows], inside, goal) for rows in parts]
                found = engine.map(select_part, work)
            if vectors.kept is not None:
                found = [np.searchsorted(vectors.kept, rows) for rows in found]
        problem.stats["seconds_inside"] = time.perf_counter() - began
        began = time.perf_counter()
        if asked.top_up:
            found.append(top_k(relevance, k))
        first = problem.constraints.include
        union = np.unique(np.concatenate([*found, first]))
        asked.check_yield(len(union), k)
        scaled = relevance * asked.final_quality_scale
        chosen = select_greedily(vectors, scaled, k, goal, union, first)
    problem.stats["seconds_union"] = time.perf_counter() - began
    problem.stats.update(partitions=len(parts), union=len(union))
    return Solved(chosen, ordered=True)


def select_greedily(
    vectors: Vectors,
    quality: NDArray[np.float64],
    k: int,
    objective: Objective,
    rows: Rows | None = None,
    include: Rows | None = None,
) -> Rows:
    """Return k of some rows by greedy selection (MUSS Algorithm 1), in selection order.

    Parameters
    ----------
    vectors : Vectors
        All items.
    quality : ndarray of shape (n,)
        Of all items.
    k : int
        At most as many as there are; with fewer, all.
    rows : ndarray of int64, ascending, optional
        Which; by default all.
    include : ndarray of int64, optional
        Those of them that come first, in this order.
    """
    part, first = vectors, np.empty(0, np.int64) if include is None else include
    if rows is not None:
        part = Vectors(vectors.rows(rows), vectors.metric)
        quality, first = quality[rows], np.searchsorted(rows, first)
    request = Request(k=min(k, part.n), objective=objective, include=first)
    problem = Problem(part, Relevance(quality, part), request, Constraints(part.n, request))
    chosen = greedy.pick_greedily(problem)
    return chosen if rows is None else rows[chosen]


def select_part(work: tuple[Any, Rows, NDArray[np.float64], int, Objective]) -> Rows:
    """Select greedily from some rows of a shared array; what a worker runs.

    Parameters
    ----------
    work : tuple
        (what `Engine.share` gave, the rows ascending, their qualities, k', the objective).

    Returns
    -------
    ndarray of shape (at most k',), int64
        Rows of the shared array, in selection order.
    """
    shared, rows, quality, inside, objective = work
    held = Vectors(np.asarray(opened(shared)[rows]), objective.metric)
    return np.asarray(rows[select_greedily(held, quality, inside, objective)])
