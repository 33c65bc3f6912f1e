"""Many small pools at once: the small-pool solvers, with every step one operation over a batch of pools.

Pools of one batch have the same shape (B, n, d); shorter ones are padded with rows that are never chosen.
A pool where a step was a near-tie in working precision is reported, to be solved again by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from setwise.objectives import MaxSum, Objective
from setwise.objectives.log_det import NOISE
from setwise.solvers.auto import GREEDY_START
from setwise.solvers.frank_wolfe import TOLERANCE
from setwise.solvers.greedy import NEAR
from setwise.solvers.swap import EXACT, PRECISION
from setwise.vectors import Floats

#: Candidates at less than this distance may be equal, rounding allowed for.
CLOSE = 1e-4

Vector = NDArray[np.float64]
Places = NDArray[np.int64]
Solve = Callable[["Batch", int, Objective], "Picked"]


@dataclass
class Batch:
    """Pools of the same shape.

    Attributes
    ----------
    rows : ndarray of shape (B, n, d)
        Of unit length under cosine; zero where padded.
    relevance : ndarray of shape (B, n), float64
        -inf where padded.
    sizes : ndarray of shape (B,), int64
        Candidates of each pool that are not padding.
    """

    rows: Floats
    relevance: Vector
    sizes: Places

    @property
    def each(self) -> Places:
        """Return 0 to B - 1."""
        return np.arange(len(self.rows))


@dataclass
class Picked:
    """Sets of a batch.

    Attributes
    ----------
    places : ndarray of shape (B, k), int64
        In selection order where `ordered`.
    doubtful : ndarray of shape (B,), bool
        Pools that float rounding may have decided, or that ended early: to be solved by themselves.
    ordered : bool
    """

    places: Places
    doubtful: NDArray[np.bool_]
    ordered: bool


class _Steps:
    """The bookkeeping of batched greedy selection."""

    def __init__(self, batch: Batch, k: int, t: float, *, first_by_relevance: bool) -> None:
        self.batch, self.k = batch, k
        self.base = (
            (1 - t) * batch.relevance if t < 1 else np.where(np.isneginf(batch.relevance), -np.inf, 0.0)
        )
        self.places = np.empty((len(batch.rows), k), np.int64)
        self.doubtful = np.zeros(len(batch.rows), bool)
        self.each = batch.each
        self.take(0, batch.relevance.copy() if t == 1 and first_by_relevance else self.base.copy(), 0.0)

    def take(self, step: int, score: Vector, allowed: Any) -> None:
        """Choose the best of each pool; notes near-ties. `allowed` is rounding in the best score."""
        place = score.argmax(axis=1)
        best = score[self.each, place]
        score[self.each, place] = -np.inf
        self.doubtful |= score.max(axis=1) >= best - NEAR - allowed
        self.doubtful |= np.isneginf(best)
        self.places[:, step] = place
        self.base[self.each, place] = -np.inf

    def columns(self, step: int) -> Floats:
        """Return each pool's inner products with the member chosen at a step, shape (B, n)."""
        member = self.batch.rows[self.each, self.places[:, step]]
        found: Floats = np.matmul(self.batch.rows, member[:, :, None])[:, :, 0]
        return found

    def picked(self) -> Picked:
        """Return the sets."""
        return Picked(self.places, self.doubtful, True)


def max_sum_greedy(batch: Batch, k: int, objective: Objective) -> Picked:
    """MUSS Algorithm 1 on every pool."""
    t, similarity = objective.diversity, cast(MaxSum, objective).similarity
    steps = _Steps(batch, k, t, first_by_relevance=True)
    summed = np.zeros(batch.relevance.shape)
    for step in range(1, k):
        summed += 1.0
        summed -= similarity(steps.columns(step - 1))
        score = summed * (t / step)
        score += steps.base
        steps.take(step, score, 0.0)
    return steps.picked()


def max_marginal(batch: Batch, k: int, objective: Objective) -> Picked:
    """Maximal marginal relevance on every pool."""
    t = objective.diversity
    steps = _Steps(batch, k, t, first_by_relevance=True)
    nearest = np.full(batch.relevance.shape, -np.inf, batch.rows.dtype)
    for step in range(1, k):
        np.maximum(nearest, steps.columns(step - 1), out=nearest)
        score = nearest * -t if t > 0 else np.zeros(nearest.shape)
        steps.take(step, score + steps.base, 0.0)
    return steps.picked()


def log_det(batch: Batch, k: int, objective: Objective) -> Picked:
    """Greedy MAP of the determinantal point process on every pool, by Cholesky columns."""
    t = objective.diversity
    steps = _Steps(batch, k, t, first_by_relevance=False)
    residual = np.ones(batch.relevance.shape)
    columns = np.zeros((len(batch.rows), k, batch.rows.shape[1]))
    noise = 1e-5 if batch.rows.dtype == np.float32 else 0.0
    for step in range(1, k):
        place = steps.places[:, step - 1]
        left = np.maximum(residual[steps.each, place], NOISE)
        column = steps.columns(step - 1).astype(np.float64)
        if step > 1:
            own = columns[steps.each, : step - 1, place]
            column -= np.matmul(own[:, None, :], columns[:, : step - 1])[:, 0]
        column /= np.sqrt(left)[:, None]
        columns[:, step - 1] = column
        residual -= column * column
        if t == 0.0:
            steps.take(step, steps.base.copy(), 0.0)
            continue
        with np.errstate(divide="ignore"):
            score = steps.base + t * np.log(np.where(residual + noise > NOISE, residual + noise, 0.0))
        best = score.argmax(axis=1)
        depth = residual[steps.each, best]
        with np.errstate(divide="ignore", invalid="ignore"):
            slack = np.where(depth > 4 * noise + NOISE, t * np.log((depth + noise) / (depth - noise)), np.inf)
        steps.take(step, score, slack)
    return steps.picked()


def max_sum(batch: Batch, k: int, objective: Objective) -> Picked:
    """Frank-Wolfe and (for small k) greedy starts, polished by exchanges; the better set of each pool."""
    if objective.relevance_decides(k):
        return max_sum_greedy(batch, k, objective)
    forms = _Forms(batch, k, cast(MaxSum, objective))
    best, value, doubtful = forms.polish(frank_wolfe(forms))
    if k <= 16 * GREEDY_START:
        other, rival, near = forms.polish(max_sum_greedy(batch, k, objective).places)
        better = rival > value + 1e-12 * np.abs(rival)
        best = np.where(better[:, None], other, best)
        doubtful = np.where(better, near, doubtful)
    # Where relevance is coarse, sets may tie that are not of equal candidates.
    levels = np.sort(batch.relevance, axis=1)
    doubtful |= ((levels[:, 1:] == levels[:, :-1]) & ~np.isneginf(levels[:, 1:])).any(axis=1)
    return Picked(best, doubtful, False)


class _Forms:
    """The summed form f of max-sum for every pool; see `setwise.solvers.problem.Pool`."""

    def __init__(self, batch: Batch, k: int, objective: MaxSum) -> None:
        self.batch, self.k, self.objective = batch, k, objective
        self.t = objective.diversity
        self.linear = (1 - self.t) * (k - 1) * batch.relevance
        if self.t == 1.0 or k == 1:
            self.linear = np.where(np.isneginf(batch.relevance), -np.inf, self.linear)
        self.linear = np.where(np.isneginf(batch.relevance), -1e300, self.linear)

    def distances(self, places: Places, of: Places | None = None) -> Floats:
        """Return distances of all to the members at some places, shape (B, n, m), zero to oneself."""
        rows = self.batch.rows if of is None else self.batch.rows[of]
        each = np.arange(len(rows))[:, None]
        found = self.objective.distances(rows, rows[each, places])
        found[each, places, np.arange(places.shape[1])] = 0.0
        return found

    def pull(self, places: Places, of: Places) -> Vector:
        """Return W 1_S for the sets of some pools, shape (B', n)."""
        rows, each = self.batch.rows[of], np.arange(len(of))[:, None]
        same = (each, places, np.arange(self.k))
        return self.objective.pull(rows, rows[each, places], np.ones(places.shape), same)

    def polish(self, places: Places) -> tuple[Places, Vector, NDArray[np.bool_]]:
        """Improve each pool's set by best exchanges to a local maximum.

        Returns
        -------
        places : the sets; value : their f; doubtful : which of them have a member that a candidate may equal
        """
        places = places.copy()
        t, each = self.t, self.batch.each
        distances = self.distances(places)
        gradient = self.linear + 2 * t * distances.sum(axis=2, dtype=np.float64)
        gradient[each[:, None], places] += 0.0
        inside, linear = gradient[each[:, None], places], self.linear[each[:, None], places]
        least = PRECISION * np.abs(inside - linear).max(axis=1) + EXACT * np.abs(linear).max(axis=1)
        open_ = np.ones(self.batch.relevance.shape, bool)
        open_[each[:, None], places] = False
        active = each
        for _ in range(10 * self.k + 50):
            inside = gradient[active[:, None], places[active]]
            # Only outsiders above the least inside can gain: keep as many columns as the busiest pool has.
            able = np.where(open_[active], gradient[active], -np.inf)
            width = int((able > (inside.min(axis=1) + least[active])[:, None]).sum(axis=1).max())
            if width == 0:
                break
            if width < able.shape[1]:
                front = np.argpartition(-able, width, axis=1)[:, :width]
            else:
                front = np.broadcast_to(np.arange(able.shape[1]), able.shape)
            change = distances[active[:, None], front] * (-2 * t)
            change = change + np.take_along_axis(able, front, 1)[:, :, None] - inside[:, None, :]
            flat = change.reshape(len(active), -1)
            best = flat.argmax(axis=1)
            improves = flat[np.arange(len(active)), best] > least[active]
            active, best, front = active[improves], best[improves], front[improves]
            if len(active) == 0:
                break
            row, slot = np.divmod(best, self.k)
            comes = front[np.arange(len(active)), row]
            goes = places[active, slot]
            column = self.distances(comes[:, None], active)[:, :, 0]
            gradient[active] += 2 * t * (column.astype(np.float64) - distances[active, :, slot])
            distances[active, :, slot] = column
            open_[active, comes], open_[active, goes] = False, True
            places[active, slot] = comes
        member = each[:, None], places
        pulled = (gradient[member] - self.linear[member]).sum(axis=1) / 2
        value = self.linear[member].sum(axis=1) + pulled
        return places, value, self._have_equals(places, distances)

    def _have_equals(self, places: Places, distances: Floats) -> NDArray[np.bool_]:
        """Return which sets have a member that another candidate is next to and as relevant as, (B,)."""
        relevance = self.batch.relevance
        near = distances < CLOSE
        near[self.batch.each[:, None], places, np.arange(places.shape[1])] = False
        pool, other, slot = near.nonzero()
        apart = np.abs(relevance[pool, other] - relevance[pool, places[pool, slot]])
        doubtful = np.zeros(len(places), bool)
        doubtful[pool[apart <= NEAR]] = True
        return doubtful


def frank_wolfe(forms: _Forms, most: int = 200) -> Places:
    """Run CCBQP Algorithm 1 on every pool; see `setwise.solvers.frank_wolfe.ascend`."""
    batch, k, t = forms.batch, forms.k, forms.t
    count, n = batch.relevance.shape
    ridge = forms.objective.reach
    open_ = ~np.isneginf(batch.relevance)
    x = np.where(open_, k / batch.sizes[:, None], 0.0)
    if forms.objective.low_rank:
        mean = batch.rows.sum(axis=1) * (k / batch.sizes[:, None]).astype(batch.rows.dtype)
        pulled = k - np.matmul(batch.rows, mean[:, :, None])[:, :, 0].astype(np.float64)
    else:
        vertex = _top(batch.relevance, k)
        x[:] = 0.0
        np.put_along_axis(x, vertex, 1.0, axis=1)
        pulled = forms.pull(vertex, np.arange(count))
    active = np.flatnonzero(batch.sizes > k)
    for _ in range(most):
        if len(active) == 0:
            break
        here = x[active]
        gradient = forms.linear[active] + 2 * t * (ridge * here + pulled[active])
        vertex = _top(gradient, k)
        size = (np.where(open_[active], gradient, 0.0) * here).sum(axis=1)
        linear = (np.where(open_[active], forms.linear[active], 0.0) * here).sum(axis=1)
        gap = np.take_along_axis(gradient, vertex, 1).sum(axis=1) - size
        going = gap > TOLERANCE * np.abs(size - linear) + EXACT * np.abs(linear)
        active, here, vertex, gap = active[going], here[going], vertex[going], gap[going]
        if len(active) == 0:
            break
        ahead = forms.pull(vertex, active)
        moved = -here
        np.put_along_axis(moved, vertex, np.take_along_axis(moved, vertex, 1) + 1.0, axis=1)
        bend = ((ahead - pulled[active]) * moved).sum(axis=1) + ridge * (moved * moved).sum(axis=1)
        curvature = 2 * t * bend
        with np.errstate(divide="ignore"):
            length = np.where(curvature >= 0, 1.0, np.minimum(1.0, gap / -curvature))
        here = here + length[:, None] * moved
        whole = length == 1.0
        if whole.any():
            fresh = np.zeros((int(whole.sum()), n))
            np.put_along_axis(fresh, vertex[whole], 1.0, axis=1)
            here[whole] = fresh
        x[active] = here
        pulled[active] += length[:, None] * (ahead - pulled[active])
    return _top(np.where(open_, x, -1.0), k)


def _top(scores: Vector, k: int) -> Places:
    """Return the k largest of each row, as positions, ties by lowest position."""
    if k == scores.shape[1]:
        return np.broadcast_to(np.arange(k), (len(scores), k)).copy()
    places = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    edge = np.take_along_axis(scores, places, 1).min(axis=1)
    for row in np.flatnonzero((scores >= edge[:, None]).sum(axis=1) > k):
        places[row] = np.argsort(-scores[row], kind="stable")[:k]
    return places


def arrange(picked: Picked, rows: Floats, relevance: Vector, greedily: Solve, objective: Objective) -> Places:
    """Return the order in which greedy selection would take each set's members, shape (B, k).

    Parameters
    ----------
    picked : Picked
    rows : ndarray of shape (B, k, d), float64
        Its members, of unit length.
    relevance : ndarray of shape (B, k)
    greedily : callable
        Greedy selection of many pools, for the objective.
    objective : Objective
    """
    count, k = picked.places.shape
    if picked.ordered:
        return np.broadcast_to(np.arange(k), (count, k))
    by_place = np.argsort(picked.places, axis=1, kind="stable")  # of equals the first
    rows = np.take_along_axis(rows, by_place[:, :, None], 1)
    members = Batch(rows, np.take_along_axis(relevance, by_place, 1), np.full(count, k))
    return np.take_along_axis(by_place, greedily(members, k, objective).places, 1)
