"""The concave relaxation of max-sum, maximized exactly by fully corrective Frank-Wolfe.

On sets, f(x) = linear·x + t·xᵀWx with zero diagonal. W is conditionally negative definite (for cosine
1 - cos^p, p = 1 or even; for Euclidean distances by Schoenberg), so f is concave where Σx is fixed, and
its maximum over {0 <= x <= 1, Σx = k} bounds every set (ARCHITECTURE.md, section 1, certificate). A
Frank-Wolfe step asks for the k candidates of largest gradient; the fully corrective variant then maximizes
over all candidates seen so far, which a small quadratic program does to machine precision.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from setwise.solvers.pools import Pool
from setwise.top import top_k
from setwise.vectors import Floats

Vector = NDArray[np.float64]

#: With at most this many steps the effort is bounded: no long search for the exact solution.
BOUNDED = 8

#: See `maximize`; and in small pools.
LEADERS, SMALL_LEADERS = 64, 32

#: Added to what may be zero and is divided by.
TINY = 1e-300

#: How far an optimality condition of the exact solution may be off.
OPTIMAL = 1e-8

#: A weight below this counts as zero.
ZERO = 1e-9


class Relaxed(NamedTuple):
    """A point of the relaxation over a pool.

    local : positions in the pool where x is not zero; weights : x there; gradient : of f at x, for the
    whole pool; value : f(x); bound : an upper bound on f over the pool; rounds : steps to it.
    """

    local: NDArray[np.int64]
    weights: Vector
    gradient: Vector
    value: float
    bound: float
    rounds: int

    @property
    def gap(self) -> float:
        """How far the bound is above the value, relative to it."""
        return (self.bound - self.value) / (abs(self.value) + TINY)


def nearly(tolerance: float) -> float:
    """Return the relative gap from which quadratic programs are worth solving exactly."""
    return max(10 * tolerance, 2e-3)


def maximize(
    pool: Pool,
    k: int,
    *,
    fixed: NDArray[np.int64] | None = None,
    start: tuple[NDArray[np.int64], Vector] | None = None,
    tolerance: float = 1e-4,
    rounds: int = 25,
    exact: bool = True,
    after: Relaxed | None = None,
    leaders: int = LEADERS,
) -> Relaxed:
    """Maximize the relaxation over a pool.

    Parameters
    ----------
    k : int
        Size of the sets.
    fixed : ndarray of int64, optional
        Members (positions) that are in every set: their x is 1.
    start : (positions, weights), optional
        A feasible point to start from.
    tolerance : float
        Stop when the bound is at most this fraction of k(k-1)·|value| above the point.
    rounds : int
        At most this many Frank-Wolfe steps.
    exact : bool
        Whether the last steps solve their quadratic programs exactly. The bound is valid either way, and
        tighter if they do.
    after : Relaxed, optional
        What the first steps have found, not exactly: those that are left go on from there, exactly.
    leaders : int
        Each step adds the candidates of largest gradient: as many as the set has room for, and again as many,
        but at least this many.
    """
    size = len(pool)
    held = np.empty(0, np.int64) if fixed is None else fixed
    free = k - len(held)
    linear, offset = pool.linear, 0.0
    if len(held):  # must-have members: a constant, and a linear term for the others
        pull = pool.pull(held, np.ones(len(held)))
        linear = pool.linear + 2 * pool.weight * pull
        offset = float(pool.linear[held].sum() + pool.weight * pull[held].sum())
    open_ = np.ones(size, bool)
    open_[held] = False
    if free == 0 or free == int(open_.sum()):
        chosen = np.arange(size) if free else held
        gradient = pool.gradient(chosen, np.ones(len(chosen)))
        value = pool.value(chosen)
        return Relaxed(chosen, np.ones(len(chosen)), gradient, value, value, 0)
    # The working set: where x may be above zero. Each step adds the leaders by gradient, some more than fit.
    extra = max(free, leaders) if free <= 128 else max(256, free // 2)
    sharp, leading = after is not None, linear
    if after is not None:
        start, leading, rounds = after[:2], after.gradient, max(1, rounds - after.rounds)
    masked = np.where(open_, leading, -np.inf) if len(held) else leading
    if start is None:
        working = top_k(masked, min(free + extra, int(open_.sum())))
        weights = np.zeros(len(working))
        weights[:free] = 1.0
    else:
        keep = open_[start[0]]
        working, weights = start[0][keep], start[1][keep]
        added = np.setdiff1d(top_k(masked, min(free + extra, int(open_.sum()))), working)
        working, weights = _joined(working, weights, added)
    best: Relaxed | None = None
    for number in range(1, rounds + 1):
        # Correction: the best x on the working set.
        distances = pool.block(working)
        weights = quadratic_program(
            linear[working],
            np.negative(distances, out=distances),
            pool.weight,
            free,
            weights,
            exact=sharp,
            patience=20 if rounds > BOUNDED else 2,
            rank=pool.problem.vectors.d if pool.objective.low_rank else size,
        )
        support = weights > ZERO
        working, weights = working[support], weights[support]
        # The gradient over the pool, its vertex s, and the bound f(x) + ∇f(x)·(s - x) on every set.
        pulled = pool.pull(working, weights)
        gradient = linear + 2 * pool.weight * pulled
        here = float(weights @ (linear[working] + pool.weight * pulled[working]))
        masked = np.where(open_, gradient, -np.inf) if len(held) else gradient
        front = top_k(masked, min(free + extra, int(open_.sum())))
        bound = here + float(gradient[front[:free]].sum()) - float(gradient[working] @ weights)
        point = Relaxed(
            np.concatenate([held, working]),
            np.concatenate([np.ones(len(held)), weights]),
            gradient,
            here + offset,
            max(bound, here) + offset,
            number,
        )
        if best is None or point.bound < best.bound:
            best = point
        new = np.setdiff1d(front, working)
        # Done when the gap is closed, or the leaders are all in the working set and it is solved as asked.
        if point.gap <= tolerance or (len(new) == 0 and (sharp or not exact)):
            break
        sharp = exact and (sharp or point.gap <= nearly(tolerance) or len(new) == 0)
        working, weights = _joined(working, weights, new)
    assert best is not None
    return best


def _joined(working: NDArray[np.int64], weights: Vector, added: NDArray[np.int64]) -> tuple[Any, Any]:
    """Return a working set with others added at weight 0, ascending."""
    both = np.concatenate([working, added])
    order = np.argsort(both)
    return both[order], np.concatenate([weights, np.zeros(len(added))])[order]


def quadratic_program(
    linear: Vector,
    matrix: Floats,
    weight: float,
    total: int,
    start: Vector,
    *,
    exact: bool = True,
    patience: int = 20,
    rank: int | None = None,
) -> Vector:
    """Return the x, shape (m,), that maximizes linear·x - weight · xᵀMx over 0 <= x <= 1, Σx = total.

    Accelerated projected gradient finds which bounds hold; block pivoting on the optimality conditions
    (Kim and Park 2011) then lands on the exact solution.

    Parameters
    ----------
    linear : ndarray of shape (m,)
    matrix : ndarray of shape (m, m)
        Symmetric; positive semidefinite on vectors that sum to zero.
    weight : float
        At least 0.
    total : int
        1 to m - 1 for a problem with a choice.
    start : ndarray of shape (m,)
        A feasible point.
    exact : bool
        If False, stop after the projected gradient steps: good to about three digits.
    patience : int
        Where the exact solution is not found, at most this many times a hundred steps more.
    rank : int, optional
        The matrix has no more, on vectors that sum to zero.
    """
    m = len(linear)
    if total >= m:
        return np.ones(m)
    if weight <= 0.0:
        x = np.zeros(m)
        x[top_k(linear, total)] = 1.0
        return x
    # Σx is fixed, so row means only move linear terms: centering shrinks the largest eigenvalue a lot.
    means = matrix.mean(axis=1)
    hessian = matrix - means[:, None]
    hessian -= means - means.mean()
    hessian *= 2 * weight
    moved = linear - 2 * weight * total * means
    moved -= moved.mean()
    most = float(np.abs(hessian).max())
    if most <= 1e-12 * weight * float(np.abs(matrix).max()):
        x = np.zeros(m)  # nothing but linear terms is left
        x[top_k(linear, total)] = 1.0
        return x
    # The largest eigenvalue by a few power steps, a tenth on top: 1 over it is a safe step length.
    direction = (1.0 + np.arange(m) % 7).astype(hessian.dtype)
    for _ in range(6):
        direction = hessian @ (direction / (np.sqrt(direction @ direction) + TINY))
    largest = float(np.sqrt(direction @ direction))
    if largest < 0.5 * float(np.diag(hessian).max()):  # they began across what grows most: no less than it
        largest = m * most
    step = 1.0 / (1.1 * largest + 1e-12 * float(np.abs(moved).max()) + TINY)
    x = start
    if not exact:
        return _projected_gradient(moved, hessian, total, x, step, 24)
    for iterations in (20, 40, 80):
        x = _projected_gradient(moved, hessian, total, x, step, iterations)
        if rank is not None and np.count_nonzero((x > 1e-6) & (x < 1 - 1e-6)) > rank + 1:
            break
        solution = _block_pivot(moved, hessian, total, x, m if rank is None else rank)
        if solution is not None:
            return solution
    for _ in range(patience):  # pivoting has failed: plain steps, until the Frank-Wolfe gap is nothing
        gradient = moved - hessian @ x
        lead = float(np.partition(gradient, m - total)[m - total :].sum())
        if lead - float(gradient @ x) <= 1e-7 * float(np.abs(moved).max()):
            break
        x = _projected_gradient(moved, hessian, total, x, step, 100)
    return x


def _projected_gradient(
    linear: Vector, hessian: Floats, total: int, x: Vector, step: float, iterations: int
) -> Vector:
    """Return x after some accelerated projected gradient steps, restarted when they turn back.

    Nesterov's momentum with O'Donoghue and Candès' restart: at a step against the last one it starts anew.
    """
    scaled, slope = hessian * step, linear * step
    m = len(x)
    y, momentum = x, 1.0
    ahead = slope - scaled @ y.astype(scaled.dtype, copy=False)
    ahead += y
    shift = float(np.partition(ahead, m - total)[m - total]) - 0.5
    for _ in range(iterations):
        new, shift = _project(ahead, total, shift)
        moved = new - x
        if float((y - new) @ moved) > 0.0:
            momentum, y = 1.0, new
        else:
            longer = (1.0 + np.sqrt(1.0 + 4.0 * momentum * momentum)) / 2.0
            y = new + ((momentum - 1.0) / longer) * moved
            momentum = longer
        x = new
        ahead = slope - scaled @ y.astype(scaled.dtype, copy=False)
        ahead += y
    return x


def _project(point: Vector, total: int, shift: float) -> tuple[Vector, float]:
    """Return the nearest x with 0 <= x <= 1, Σx = total, and the shift that yields it.

    x = clip(point - shift, 0, 1); Σx falls with the shift, piecewise linearly, so Newton steps kept inside
    a shrinking interval find it.
    """
    low, high = -np.inf, np.inf
    for _ in range(60):
        moved = point - shift
        x = np.minimum(np.maximum(moved, 0.0), 1.0)
        excess = float(x.sum()) - total
        if abs(excess) <= 1e-11 * total:
            break
        if excess > 0:
            low = shift
        else:
            high = shift
        inside = int(np.count_nonzero(moved == x))
        trial = shift + excess / inside if inside else np.nan
        if not low < trial < high:
            if low == -np.inf:
                low = float(point.min()) - 1.0
            if high == np.inf:
                high = float(point.max())
            trial = 0.5 * (low + high)
        if trial == shift:
            break
        shift = trial
    return x, shift


def _block_pivot(linear: Vector, hessian: Vector, total: int, x: Vector, rank: int) -> Vector | None:
    """Return the exact maximizer, guessing from x which entries are at a bound; None if that fails.

    Given the guess (state -1: x = 0; 1: x = 1; 0: between), the optimality conditions are linear in the inner
    entries and the multiplier of Σx = total. Entries that violate theirs change sides, all together while
    that makes the violations fewer, else one by one (Kim and Park 2011).
    """
    m = len(x)
    state = np.zeros(m, np.int8)
    state[x < 1e-6] = -1
    state[x > 1 - 1e-6] = 1
    size = float(np.abs(linear).max()) + TINY
    fewest, patience = m + 1, 3
    for _ in range(40):
        inner = np.flatnonzero(state == 0)
        ones = np.flatnonzero(state == 1)
        left = total - len(ones)
        count = len(inner)
        if count == left:  # the free ones all belong at one: is this set a maximizer?
            state[inner] = 1
            solution: Vector = (state == 1).astype(np.float64)
            gradient = linear - hessian @ solution
            inside, outside = np.flatnonzero(state == 1), np.flatnonzero(state == -1)
            worst, tempting = inside[gradient[inside].argmin()], outside[gradient[outside].argmax()]
            if gradient[tempting] <= gradient[worst] + OPTIMAL * size:
                return solution
            state[worst] = state[tempting] = 0
            continue
        if not 0 < left < count or count > rank + 1:  # with more inner entries than that, none are determined
            return None
        # H_II x_I = slope_I - shift·1 with Σ x_I = left: one factorization for both right-hand sides.
        slope = linear - hessian[:, ones].sum(axis=1) if len(ones) else linear
        system = hessian[np.ix_(inner, inner)]
        system.flat[:: count + 1] += 1e-9 * float(np.abs(system.flat[:: count + 1]).max())
        sides = np.ones((count, 2))
        sides[:, 0] = slope[inner]
        try:
            solved = np.linalg.solve(system, sides)
        except np.linalg.LinAlgError:
            return None
        column = float(solved[:, 1].sum())
        if column <= 0.0:
            return None
        shift = (float(solved[:, 0].sum()) - left) / column
        inside = solved[:, 0] - shift * solved[:, 1]
        if abs(float(inside.sum()) - left) > 1e-6 * left:  # next to a curvature of nothing, digits are lost
            return None
        gradient = slope - hessian[:, inner] @ inside
        # Violations: at 0 the gradient is at most the multiplier, at 1 at least that; inside, 0 <= x <= 1.
        wrong = np.where(state < 0, gradient - shift, shift - gradient)
        wrong /= size
        wrong[inner] = np.maximum(-inside, inside - 1.0)
        bad = np.flatnonzero(wrong > OPTIMAL)
        if len(bad) == 0:
            solution = np.asarray(state == 1, np.float64)
            solution[inner] = np.clip(inside, 0.0, 1.0)
            return solution
        if len(bad) < fewest:
            fewest, patience = len(bad), 3
        elif patience:
            patience -= 1
        else:
            bad = bad[-1:]
        values = np.zeros(m)
        values[inner] = inside
        state[bad] = np.where(state[bad] != 0, 0, np.where(values[bad] < 0.5, -1, 1))
    return None
