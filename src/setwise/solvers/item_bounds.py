"""The concave relaxation of the per-item form, and branch and bound below it.

At any x, G(S) <= g(x) - ∇g(x)·x + max ∇g(x)·y over the linear rows that feasible sets keep; see `items`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setwise.feasible import Bounded
from setwise.solvers.item_moves import Form, moved
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
    form: Form,
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
    form : Form
    starts : list of positions of sets, or of points
        Within `lower` and `upper`.
    steps : int
    lower, upper : ndarray of shape (m,), optional
        What x is held between.
    enough : float
        Stop where the bound is no higher.
    tolerance : float
        Of the bound, relative to the value.
    """
    m, feasible = len(form.held), form.held.feasible
    vertices: list[Vector] = []
    for start in starts:
        vertex = np.asarray(start, np.float64)
        if start.dtype.kind == "i":
            vertex = np.zeros(m)
            vertex[start] = 1.0
        if not any(np.array_equal(vertex, one) for one in vertices):
            vertices.append(vertex)
    weights = np.full(len(vertices), 1.0 / len(vertices)) if vertices else np.empty(0)
    slope = form.linear + form.pair
    best: Point | None = None
    for _ in range(max(steps, 1)):
        x: Vector = np.zeros(m) if lower is None else lower.copy()
        if vertices:
            x = np.asarray(weights @ np.stack(vertices))
        pulled = form.near @ x
        gradient = slope - 2 * form.pair * pulled
        here = float(slope @ x) - form.pair * float(x @ pulled)
        ahead = feasible.bound(gradient, lower, upper)
        if ahead.upper == -np.inf:
            return Point(x, gradient, -np.inf, ahead, vertices)
        total = here - float(gradient @ x) + ahead.upper
        total += 1e-13 * (abs(here) + float(np.abs(gradient) @ x))
        if best is None or total < best.upper:
            best = Point(x, gradient, total, ahead, list(vertices))
        ends = ahead.x
        if ends is None or total <= enough or total - here <= tolerance * abs(here) + 1e-12:
            break
        if any(np.array_equal(ends, one) for one in vertices):
            break
        vertices.append(ends)
        weights = np.append(weights, 0.0 if len(vertices) > 1 else 1.0)
        weights = _mixture(form, vertices, weights)
        kept = weights > 1e-9
        vertices = [one for one, whether in zip(vertices, kept, strict=True) if whether]
        weights = weights[kept] / weights[kept].sum()
    assert best is not None
    return best


def _mixture(form: Form, vertices: list[Vector], start: Vector) -> Vector:
    """Return the weights of the mixture of some points that maximizes g."""
    if len(vertices) == 1:
        return np.ones(1)
    points = np.stack(vertices)
    matrix = points @ form.near @ points.T
    linear = points @ (form.linear + form.pair)
    return quadratic_program(linear, (matrix + matrix.T) / 2, form.pair, 1, start, patience=2)


def search(form: Form, chosen: Rows, point: Point, *, limit: int, steps: int) -> tuple[Rows, float, int]:
    """Look for a better set by branch and bound below a point of the relaxation.

    Returns
    -------
    chosen : ndarray of int64
        The best set found.
    upper : float
        No feasible set is worth more.
    nodes : int
        At most `limit` were looked at.

    It ends early when the problem's time is over.
    """
    m, feasible = len(form.held), form.held.feasible
    best, value = chosen, form.value(chosen)
    nodes = 0

    def target() -> float:
        return value + 1e-10 * abs(value) + 1e-13

    def consider(trial: Rows | None) -> None:
        nonlocal best, value
        if trial is not None and feasible.keeps(trial) and form.value(trial) > target():
            best = moved(form, trial)
            value = form.value(best)

    lower, upper = np.zeros(m), np.ones(m)
    lower[feasible.include] = 1.0
    stack = [(point.upper, lower, upper, point)]
    while stack:
        bound, lower, upper, point = stack.pop()
        if bound <= target():
            continue
        if nodes >= limit or time.monotonic() >= form.held.problem.ends:
            stack.append((bound, lower, upper, point))
            break
        # What the point bars from a better set, with the bound that it proves itself, not one from above.
        upper = np.where(
            (point.upper + np.minimum(point.ahead.reduced, 0.0) <= target()) & (lower < 0.5), 0.0, upper
        )
        undecided = np.flatnonzero((upper > 0.5) & (lower < 0.5))
        consider(np.flatnonzero(point.x > 0.5))
        if len(undecided) == 0:
            consider(np.flatnonzero(lower > 0.5))
            continue
        fraction = np.minimum(point.x, 1 - point.x)[undecided]
        place = (
            int(undecided[fraction.argmax()])
            if fraction.max() > 1e-6
            else int(undecided[np.where(point.x[undecided] > 0.5, form.linear[undecided], -np.inf).argmax()])
        )
        children = []
        for joined in (False, True):
            low, high = lower.copy(), upper.copy()
            (low if joined else high)[place] = float(joined)
            if joined:
                held = np.flatnonzero(low > 0.5)
                high = np.where(feasible.open(held) | (low > 0.5), high, 0.0)
            starts = [
                one for one in point.vertices if (one >= low - 1e-9).all() and (one <= high + 1e-9).all()
            ]
            below = relax(form, starts, steps=max(4, steps // 6), lower=low, upper=high, enough=target())
            nodes += 1
            if min(bound, below.upper) > target():
                children.append((min(bound, below.upper), low, high, below))
        children.sort(key=lambda entry: entry[0])
        stack.extend(children)
    return best, max([value, *[entry[0] for entry in stack]]), nodes


def survivors(point: Point, value: float) -> int:
    """Return how many candidates a bound allows in a better set than one of this value."""
    return int(np.count_nonzero(point.upper + np.minimum(point.ahead.reduced, 0.0) > value))
