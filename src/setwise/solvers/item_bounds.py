"""The concave relaxation of the per-item form, and branch and bound below it.

At any x, G(S) <= g(x) - ∇g(x)·x + max ∇g(x)·y over the linear rows that feasible sets keep; see `items`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setwise.bounded import Bounded
from setwise.solvers.branching import Tree
from setwise.solvers.item_moves import ItemForm, moved
from setwise.solvers.relaxation import quadratic_program

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass
class Point:
    """A point of the relaxation over the candidates held, and the bound it proves.

    x, gradient : ndarray of shape (m,); upper : no feasible set is worth more; ahead : what bounds the
    gradient's sum over a set; vertices : the sets it is a mixture of.
    """

    x: Vector
    gradient: Vector
    upper: float
    ahead: Bounded
    vertices: list[Vector]


def relax(
    form: ItemForm,
    starts: Sequence[Rows | Vector],
    *,
    steps: int,
    lower: Vector | None = None,
    upper: Vector | None = None,
    enough: float = -np.inf,
    tolerance: float = 1e-6,
) -> Point:
    """Maximize the relaxation over mixtures of vertices: fully corrective Frank-Wolfe.

    Parameters
    ----------
    starts : list of positions of sets, or of points
        Within `lower` and `upper`.
    lower, upper : ndarray of shape (m,), optional
        What x is held between.
    enough : float
        Stop where the bound is no higher.
    tolerance : float
        Of the bound, relative to the value.
    """
    m, feasible = len(form.held), form.held.feasible
    vertices: list[Vector] = []
    pulls: list[Vector] = []  # K times each
    for start in starts:
        vertex = np.asarray(start, np.float64)
        if start.dtype.kind == "i":
            vertex = np.zeros(m)
            vertex[start] = 1.0
        if not any(np.array_equal(vertex, one) for one in vertices):
            vertices.append(vertex)
            pulls.append(form.pull(vertex))
    weights = np.full(len(vertices), 1.0 / len(vertices)) if vertices else np.empty(0)
    slope = form.linear + form.pair
    best: Point | None = None
    for _ in range(max(steps, 1)):
        x: Vector = np.zeros(m) if lower is None else lower.copy()
        if vertices:
            x = np.asarray(weights @ np.stack(vertices))
        pulled = np.asarray(weights @ np.stack(pulls)) if vertices else form.pull(x)
        gradient = slope - 2 * form.pair * pulled
        here = float(slope @ x) - form.pair * float(x @ pulled)
        ahead = feasible.bound(gradient, lower, upper)
        if ahead.upper == -np.inf:
            return Point(x, gradient, -np.inf, ahead, vertices)
        total = here - float(gradient @ x) + ahead.upper
        total += form.slack
        if best is None or total < best.upper:
            best = Point(x, gradient, total, ahead, list(vertices))
        ends = ahead.x
        if ends is None or total <= enough or total - here <= tolerance * abs(here) + form.slack:
            break
        if any(np.array_equal(ends, one) for one in vertices):
            break
        vertices.append(ends)
        pulls.append(form.pull(ends))
        weights = np.append(weights, 0.0 if len(vertices) > 1 else 1.0)
        weights = _mixture(form, vertices, pulls, weights)
        kept = weights > 1e-9
        vertices = [one for one, whether in zip(vertices, kept, strict=True) if whether]
        pulls = [one for one, whether in zip(pulls, kept, strict=True) if whether]
        weights = weights[kept] / weights[kept].sum()
    assert best is not None
    return best


def _mixture(form: ItemForm, vertices: list[Vector], pulls: list[Vector], start: Vector) -> Vector:
    """Return the weights of the mixture of some points that maximizes g."""
    if len(vertices) == 1:
        return np.ones(1)
    points = np.stack(vertices)
    matrix = points @ np.stack(pulls).T
    linear = points @ (form.linear + form.pair)
    return quadratic_program(linear, (matrix + matrix.T) / 2, form.pair, 1, start, patience=2)


def search(form: ItemForm, chosen: Rows, point: Point, *, limit: int, steps: int) -> tuple[Rows, float, int]:
    """Look for a better set by branch and bound below a point of the relaxation; see `branching.search`."""

    def below(lower: Vector, upper: Vector, parent: Point, enough: float) -> Point:
        starts = [
            one for one in parent.vertices if (one >= lower - 1e-9).all() and (one <= upper + 1e-9).all()
        ]
        return relax(form, starts, steps=max(4, steps // 6), lower=lower, upper=upper, enough=enough)

    feasible, slack = form.held.feasible, form.slack
    tree = Tree(feasible, form.value, lambda trial: moved(form, trial), below, form.linear, slack)
    best, bound, nodes = tree.search(chosen, point, limit=limit, ends=form.held.problem.ends)
    return chosen if best is None else best, bound, nodes


def survivors(point: Point, value: float) -> int:
    """Return how many candidates a bound allows in a better set than one of this value."""
    return int(np.count_nonzero(point.upper + np.minimum(point.ahead.reduced, 0.0) > value))
