"""max-min over the candidates held: what a set is worth, and sets by a threshold of distance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
from numpy.typing import NDArray

from setwise.feasible import Feasible
from setwise.objectives.max_min import MaxMin
from setwise.solvers.held import SUMS, Held

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Up to so many candidates every distance of two is a threshold of its own; of more, so many quantiles.
EVERY, QUANTILES = 192, 512

#: Distances that quantiles are taken of.
SAMPLE = 1 << 17


class MaxMinForm:
    """The objective over the candidates held: a set is worth Σ scores + per · its least distance.

    Attributes
    ----------
    apart : ndarray of shape (m, m)
        Distances, infinite on the diagonal.
    away : ndarray of shape (m,)
        Distance to the nearest of what was shown; infinite where nothing was.
    scores : ndarray of shape (m,)
        Weighted relevance.
    order : ndarray of shape (m,), int64
        By falling scores; those that tie by place.
    levels : ndarray, ascending
        Thresholds: 0 and, of few candidates, every distance of two.
    above : ndarray
        The largest distance below the next threshold.
    most : float
        The largest sum of scores that there could be.
    """

    def __init__(self, held: Held) -> None:
        self.held = held
        self.objective = cast(MaxMin, held.problem.objective)
        apart = self.objective.apart(held.rows, held.rows)
        self.apart = np.minimum(apart, apart.T)
        np.fill_diagonal(self.apart, np.inf)
        self.away = self.objective.to_shown(held.rows)
        worth, self.per = self.objective.weights(held.problem.k)
        self.scores = worth * held.relevance
        self.worth = worth
        self.order = np.argsort(-self.scores, kind="stable")
        found = np.concatenate([self.apart[np.isfinite(self.apart)], self.away[np.isfinite(self.away)]])
        if held.feasible.most < 2 and np.isinf(self.away).all():
            found = found[:0]  # a set of one has no distance
        if len(held) <= EVERY or not len(found):
            self.levels = np.unique(np.append(found, 0.0))
            self.above = self.levels
        else:
            some = found[:: len(found) // SAMPLE + 1]
            self.levels = np.unique([0.0, *np.quantile(some, np.linspace(0, 1, QUANTILES)), found.max()])
            self.above = np.append(self.levels[1:], self.levels[-1])
        most = max(1, min(held.feasible.most, len(held)))
        self.most = float(np.abs(self.scores).max(initial=0.0)) * most

    def off(self, value: float) -> float:
        """Return what a value, and others near it, may be off by: longer distances are no part of it."""
        return SUMS * (self.most + (abs(value) if np.isfinite(value) else 0.0))

    def reach(self, chosen: Rows) -> float:
        """Return a set's least distance, to what was shown too; infinite where there is none."""
        among, away = self.apart[np.ix_(chosen, chosen)], self.away[chosen]
        return float(min(among.min(initial=np.inf), away.min(initial=np.inf)))

    def value(self, chosen: Rows) -> float:
        """Return what a set is worth."""
        least = self.reach(chosen)
        return float(self.scores[chosen].sum()) + (0.0 if np.isinf(least) else self.per * least)

    def beside(self, chosen: Rows) -> Vector:
        """Return what a set is worth with each candidate besides, shape (m,)."""
        nearest = np.minimum(self.apart[chosen].min(axis=0, initial=np.inf), self.away)
        spread = np.minimum(nearest, self.reach(chosen))
        spread[np.isinf(spread)] = 0.0
        return np.asarray(float(self.scores[chosen].sum()) + self.scores + self.per * spread)

    def in_place_of(
        self, chosen: Rows, slots: list[int], least: Callable[[], float]
    ) -> Iterator[tuple[int, Vector]]:
        """Yield what a set is worth with each candidate in place of a member, (m,), with the member's slot.

        Without a member, each candidate's nearest is the same, or the second nearest. The set's least
        distance changes with the closest two members alone, and with what is closest to what was shown: of
        others those are passed over in whose place no candidate makes the set worth more than `least` says.
        """
        if len(chosen) < 2:
            yield from ((slot, self.beside(np.delete(chosen, slot))) for slot in slots)
            return
        apart = self.apart[chosen]
        first, every = apart.argmin(axis=0), np.arange(len(self.scores))
        among = apart[:, chosen]
        closest = np.unravel_index(int(among.argmin()), among.shape)
        moving = {
            *map(int, closest),
            int(self.away[chosen].argmin()),
        }  # who leaves may raise the least distance
        nearest = apart[first, every]
        apart[first, every] = np.inf
        second = apart.min(axis=0)
        scores, away = self.scores[chosen], self.away[chosen]
        least_of_set = min(float(among[closest]), float(away.min()))
        with_first, with_second = (
            self.scores + self.per * np.minimum(np.minimum(near, self.away), least_of_set)
            for near in (nearest, second)
        )
        outside = np.ones(len(every), bool)
        outside[chosen] = False
        most = np.full(len(chosen), with_first[outside].max(initial=-np.inf))
        np.maximum.at(most, first[outside], with_second[outside])
        most += scores.sum() - scores
        tempting = most >= least() - self.off(least())
        tempting[list(moving)] = True
        for slot in np.array(slots, np.int64)[tempting[slots]].tolist():
            if slot not in moving and most[slot] < least() - self.off(least()):
                continue  # a better one has been found since
            start, reach = np.delete(chosen, slot), least_of_set
            if slot in moving:
                others = among.copy()
                others[slot], others[:, slot] = np.inf, np.inf
                reach = min(float(others.min()), float(self.away[start].min()))
            spread = np.minimum(np.minimum(np.where(first == slot, second, nearest), self.away), reach)
            spread[np.isinf(spread)] = 0.0
            yield slot, np.asarray(float(self.scores[start].sum()) + self.scores + self.per * spread)

    def beyond(self, level: float) -> Feasible:
        """Return the feasible sets whose members are all at least so far apart."""
        feasible = self.held.feasible
        close = self.apart < level
        return Feasible(
            feasible.m,
            self.fewest(level),
            feasible.most,
            feasible.include,
            feasible.limits,
            feasible.costs,
            feasible.budget,
            close if feasible.alike is None else close | feasible.alike,
        )

    def fewest(self, level: float) -> int:
        """Return how many members a set has at least whose least distance is a level above 0."""
        paired = 2 if np.isinf(self.away).all() else 1  # one, beside what was shown
        least, most = self.held.feasible.least, self.held.feasible.most
        return max(least, min(paired, most)) if level > 0.0 else least

    @property
    def plain(self) -> bool:
        """Whether nothing but a size is asked for."""
        problem = self.held.problem
        return self.held.whole and not problem.request.wishes and not problem.constraints.any


def pick_apart(form: MaxMinForm, level: float) -> Rows | None:
    """Return the set that takes the most relevant at least so far from those taken; None where it fails.

    What limits need comes first. Without a size those that are worth something are taken, and two at least.
    """
    feasible, sized = form.held.feasible, form.held.problem.constraints.sized
    chosen = feasible.include
    free = form.away >= level
    if len(chosen):
        if (form.apart[np.ix_(chosen, chosen)] < level).any() or not free[chosen].all():
            return None
        free &= (form.apart[chosen] >= level).all(axis=0)
    if not (feasible.limits or feasible.costs is not None or feasible.alike is not None):
        free[chosen] = False
        taken = chosen.tolist()
        for place in form.order.tolist():
            if len(taken) == feasible.most or (not sized and form.scores[place] <= 0.0 and len(taken) >= 2):
                break
            if free[place]:
                taken.append(place)
                free &= form.apart[place] >= level
        chosen = np.array(taken, np.int64)
        return chosen if feasible.keeps(chosen) else None
    while len(chosen) < feasible.most:
        able = feasible.open(chosen) & free
        if not able.any():
            break
        score = np.where(able, form.scores, -np.inf)
        for one in feasible.limits:
            held = np.bincount(one.codes[chosen], minlength=len(one.most))
            short = (held < one.least)[one.codes] & able
            if short.any():
                score = np.where(short, form.scores, -np.inf)
                break
        place = int(score.argmax())
        if not sized and score[place] <= 0.0 and len(chosen) >= 2:
            break
        chosen = np.append(chosen, place)
        free &= form.apart[place] >= level
    return chosen if feasible.keeps(chosen) else None
