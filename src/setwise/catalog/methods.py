"""A catalog's methods: which of them finds a set, by levels or over all items at once."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import Any

import numpy as np

from setwise import solvers
from setwise.catalog.items import Items
from setwise.catalog.request import DEFAULT, LEVELS, METHODS, SOLVER, CatalogRequest
from setwise.catalog.selection import CatalogSelection
from setwise.catalog.wishes import wished
from setwise.cluster import random_partition, rows_of_parts
from setwise.objectives import Objective
from setwise.selection import Selection
from setwise.solvers import levels
from setwise.solvers.described import describe
from setwise.solvers.problem import Problem, Solved
from setwise.threads import one_blas_thread


def selected(
    held: Items, request: CatalogRequest, *, relevance: Any = None, query: Any = None, filter: Any = None
) -> CatalogSelection:
    """Return what `Catalog.select` does, for a request whose `include` and `exclude` are ids."""
    began = time.perf_counter()
    asked = wished(held, request, relevance, query, filter)
    items = asked.items
    method, reason = asked.request.taken(len(items))
    asked.request.warn_of_idle(method)
    request = replace(asked.request, method=method)
    if request.is_core:
        request = replace(request, solver=SOLVER.get(method, method))
    problem = replace(asked, request=request).problem
    found = find(items, problem, request)
    if request.certify:
        with one_blas_thread():
            # A method's own set is certified as it is: a better one that the proof finds is not the method's.
            own = found if request.is_core else Solved(found.chosen, ordered=True)
            proven = solvers.certify(problem, own)
        found = proven if request.is_core else replace(found, certificate=proven.certificate)
    return as_selection(held, describe(problem, found, request.found_by, began), request.found_by, reason)


def as_selection(held: Items, sel: Selection, method: str, reason: str = "") -> CatalogSelection:
    """Return a selection of a catalog's rows with the items' ids, clusters and kept columns."""
    rows = sel.indices
    return CatalogSelection(
        **{one.name: getattr(sel, one.name) for one in fields(Selection) if one.name != "reasoner"},
        reasoner=None if sel.reasoner is None else sel.reasoner.named(held.ids),
        ids=held.ids[rows],
        clusters=held.clusters.labels[rows],
        method=method,
        reason=reason,
        fields={} if held.fields is None else held.fields.take(rows).to_pydict(),
    )


def find(items: Items, problem: Problem, request: CatalogRequest) -> Solved:
    """Return the set that a request's method finds, with nothing proven.

    Raises ValueError: processes are given to a method without partitions; or see `_by_levels`.
    """
    if request.method in LEVELS:
        if request.limited:
            what = (
                request.wishes[0]
                if request.wishes
                else "limits"
                if request.cap != "max_per_group"
                else "groups"
            )
            raise ValueError(
                f"{what}: the {request.method!r} method cannot honor it; use {DEFAULT} or greedy"
            )
        return _by_levels(items, problem, request)
    if request.processes is not None:
        raise ValueError(
            f"workers: {request.method} looks at all items at once; use muss or dgds, or threads="
        )
    with one_blas_thread():
        among = tuple(METHODS) if request.is_max_sum else solvers.SOLVERS
        if request.is_core:
            solvers.check(request, among)
            return solvers.find(problem, request.solver)
        solver = SOLVER.get(request.method, request.method)
        goals: dict[str, str | Objective] = {"greedy": request.of_items, "k-dpp": "log-det"}
        goal = goals.get(request.method, request.objective)
        asked = replace(request, objective=goal, solver=solver, criterion="sum", certify=False)
        solvers.check(asked, among)
        found = solvers.find(replace(problem, request=asked), solver)
        # What members had when they joined is of the objective they were found by.
        return found if goal is request.objective else replace(found, numbers=None)


def _by_levels(items: Items, problem: Problem, request: CatalogRequest) -> Solved:
    """Run MUSS, DGDS or an ablation of them.

    Raises ValueError: more clusters, or items of each, are asked for than there are, or they yield fewer than
    k.
    """
    n, total, seed, asked = len(items), len(items.clusters), request.seed, request.levels
    began = time.perf_counter()
    if request.method == "dgds":
        m = total if request.clusters is None else request.clusters
        if m > n:
            raise ValueError(f"clusters: {m} parts are more than the {n} items")
        parts, asked = rows_of_parts(random_partition(n, m, seed), m), replace(asked, top_up=False)
        kept = np.arange(m)
    elif request.method == "muss-random-clusters":
        m, parts = asked.clusters_kept(total), items.clusters.members()
        kept = np.sort(np.random.default_rng(seed).choice(total, m, replace=False))
    else:
        if request.method == "muss-random-partition":
            parts = rows_of_parts(random_partition(n, total, seed), total)
            centroids = np.stack([items.vectors.rows(rows).mean(axis=0) for rows in parts])
        else:
            parts, centroids = items.clusters.members(), items.clusters.centroids
        kept = levels.kept_clusters(problem, parts, centroids, asked)
    problem.stats["seconds_clusters"] = time.perf_counter() - began
    return levels.over_parts(
        problem,
        [parts[one] for one in kept.tolist()],
        max(map(len, parts)),
        asked,
        objective=request.of_items,
        processes=request.processes,
    )
