"""The per-item form of max-sum over the candidates held, and moves that improve a set."""

from __future__ import annotations

from functools import cached_property
from itertools import combinations
from typing import cast

import numpy as np
from numpy.typing import NDArray

from setwise.objectives.wished import MaxSumWished
from setwise.solvers.held import SUMS, Held
from setwise.top import top_k

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Exchanges that are looked at in one step, of the outsiders of largest gain.
TRIED = 1 << 17

#: Outsiders that two at a time come in for one member.
PAIRED = 48


class ItemForm:
    """The per-item form over the candidates held.

    Parameters
    ----------
    before : ItemForm, optional
        Over some of these candidates: their pairs are not computed again.

    Attributes
    ----------
    linear : ndarray of shape (m,)
        u.
    pair : float
        q.
    near : ndarray of shape (m, m)
        K, of unit diagonal.
    """

    def __init__(self, held: Held, before: ItemForm | None = None) -> None:
        self.held = held
        self.objective = cast(MaxSumWished, held.problem.objective)
        self.linear = self.objective.alone(held.rows, held.relevance)
        self.pair = self.objective.pair
        old, new = np.empty(0, np.int64), np.arange(len(held))
        self.near: Vector = np.empty((len(held), len(held)))
        if before is not None:
            old = held.locate(before.held.ids)
            new = np.setdiff1d(new, old)
            self.near[np.ix_(old, old)] = before.near
        fresh = np.asarray(self.objective.similarity(held.rows[new], held.rows), np.float64)
        fresh[:, new] = (fresh[:, new] + fresh[:, new].T) / 2
        self.near[new], self.near[:, new] = fresh, fresh.T
        np.fill_diagonal(self.near, 1.0)

    @cached_property
    def size(self) -> float:
        """The largest sum that its terms could make."""
        largest = float(np.abs(self.linear).max(initial=0.0)) + self.pair
        return largest * max(1.0, self.objective.wishes.size)

    @property
    def slack(self) -> float:
        """What such sums may be off by."""
        return SUMS * self.size

    def off(self, value: float) -> float:
        """Return what a value, and others near it, may be off by."""
        return self.slack

    def pull(self, x: Vector) -> Vector:
        """Return K x for an x that is nonzero at few candidates, shape (m,)."""
        support = np.flatnonzero(x)
        return np.asarray(x[support] @ self.near[support])

    def gains(self, chosen: Rows) -> Vector:
        """Return what each adds to a set; of members, what the set would lose without them."""
        found = self.linear - 2 * self.pair * self.near[:, chosen].sum(axis=1)
        found[chosen] += 2 * self.pair
        return np.asarray(found)

    def value(self, chosen: Rows) -> float:
        """Return G of a set."""
        among = self.near[np.ix_(chosen, chosen)]
        return float(self.linear[chosen].sum()) - self.pair * (float(among.sum()) - len(chosen))


def moved(form: ItemForm, start: Rows, *, most: int = 1000) -> Rows:
    """Improve a set by moves until none does: one more, one less, one for one, one for two, two for one."""
    chosen = np.asarray(start, np.int64)
    least, loose = form.slack, not form.held.problem.constraints.sized
    for _ in range(most):
        gains = form.gains(chosen)
        after = _improved(form, chosen, gains, _single(form, chosen, gains, loose), least)
        if after is None and loose:
            after = _improved(form, chosen, gains, _double(form, chosen, gains), least)
        if after is None:
            break
        chosen = after
        form.held.problem.count("moves")
    return chosen


def _improved(
    form: ItemForm, chosen: Rows, gains: Vector, kinds: list[tuple[Rows, Rows]], least: float
) -> Rows | None:
    """Return the set after the best feasible move that gains more than `least`; None where none does."""
    feasible, best, found = form.held.feasible, least, None
    for goes, comes in kinds:
        change = _change(form, gains, goes, comes)
        able = np.flatnonzero(change > best)
        able = able[feasible.allows(chosen, goes[able], comes[able])]
        for place in able[np.argsort(-change[able], kind="stable")].tolist():
            after = np.append(chosen[~np.isin(chosen, goes[place])], comes[place]).astype(np.int64)
            if feasible.keeps(after):
                best, found = float(change[place]), after
                break
    return found


def _single(form: ItemForm, chosen: Rows, gains: Vector, loose: bool) -> list[tuple[Rows, Rows]]:
    """Return moves of one for one, and if `loose` of one alone: (members that leave, outsiders that join)."""
    inside, outside = _sides(form, chosen)
    kinds: list[tuple[Rows, Rows]] = []
    if len(inside) and len(outside):
        # With s >= -1 an exchange gains at most the difference and 2q: what cannot is not looked at.
        able = outside[gains[outside] > gains[inside].min() - 2 * form.pair]
        able = able[top_k(gains[able], min(len(able), max(PAIRED, TRIED // len(inside))))]
        kinds.append((np.repeat(inside, len(able))[:, None], np.tile(able, len(inside))[:, None]))
    if loose:
        adds = outside[gains[outside] > 0][:, None]
        drops = inside[gains[inside] < 0][:, None]
        kinds.append((np.empty((len(adds), 0), np.int64), adds))
        kinds.append((drops, np.empty((len(drops), 0), np.int64)))
    return kinds


def _double(form: ItemForm, chosen: Rows, gains: Vector) -> list[tuple[Rows, Rows]]:
    """Return moves of one member for two outsiders, and of two for one: outsiders of large gain."""
    inside, outside = _sides(form, chosen)
    kinds: list[tuple[Rows, Rows]] = []
    if len(inside) and len(outside) > 1:
        leaders = outside[top_k(gains[outside], min(len(outside), PAIRED))]
        pairs = np.array(list(combinations(leaders.tolist(), 2)), np.int64)
        kinds.append((np.repeat(inside, len(pairs))[:, None], np.tile(pairs, (len(inside), 1))))
    if len(inside) > 1 and len(outside):
        pairs = np.array(list(combinations(inside.tolist(), 2)), np.int64)
        leaders = outside[top_k(gains[outside], min(len(outside), 4 * PAIRED))]
        kinds.append((np.repeat(pairs, len(leaders), axis=0), np.tile(leaders, len(pairs))[:, None]))
    return kinds


def _sides(form: ItemForm, chosen: Rows) -> tuple[Rows, Rows]:
    """Return the members that may leave, and the candidates outside."""
    inside = chosen[~np.isin(chosen, form.held.feasible.include)]
    return inside, np.delete(np.arange(len(form.held)), chosen)


def _change(form: ItemForm, gains: Vector, goes: Rows, comes: Rows) -> Vector:
    """Return by how much each move changes G."""
    change = gains[comes].sum(axis=1) - gains[goes].sum(axis=1)
    for a in range(goes.shape[1]):
        for b in range(comes.shape[1]):
            change += 2 * form.pair * form.near[goes[:, a], comes[:, b]]
    for side in (goes, comes):
        if side.shape[1] == 2:
            change -= 2 * form.pair * form.near[side[:, 0], side[:, 1]]
    return np.asarray(change)
