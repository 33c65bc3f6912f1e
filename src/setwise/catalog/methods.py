"""A catalog's methods: which of them finds a set, by levels or over all items at once."""

from __future__ import annotations

from dataclasses import replace

from setwise import solvers
from setwise.catalog.items import Items
from setwise.catalog.levels import select_by_levels
from setwise.catalog.request import LEVELS, CatalogRequest
from setwise.objectives import Objective
from setwise.solvers.problem import Problem, Solved
from setwise.threads import one_blas_thread

__all__ = ["find"]


def find(items: Items, problem: Problem, request: CatalogRequest) -> Solved:
    """Return the set that a request's method finds, with nothing proven.

    Raises
    ------
    ValueError
        Processes are given to a method without partitions; or see `select_by_levels`.
    """
    if request.method in LEVELS:
        levels = select_by_levels(items, request)
        problem.stats.update({f"seconds_{stage}": taken for stage, taken in levels.seconds.items()})
        problem.stats.update(partitions=levels.partitions, union=levels.union)
        return Solved(levels.chosen, ordered=True)
    if request.processes is not None:
        raise ValueError(
            f"workers: {request.method} looks at all items at once; use muss or dgds, or threads="
        )
    with one_blas_thread():
        goals: dict[str, str | Objective] = {"greedy": request.of_items, "k-dpp": "log-det"}
        goal = goals.get(request.method, request.objective)
        solver = {"frank-wolfe": "auto"}.get(request.method, request.method)
        asked = replace(request, objective=goal, certify=False)
        return solvers.find(replace(problem, request=asked), solver)
