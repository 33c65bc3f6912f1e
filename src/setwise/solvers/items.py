"""max-sum with wishes: greedy starts and moves, a bound by the concave relaxation, a proof by search.

In the per-item form a set is worth G(S) = Σ u_i - q Σ_{i≠j} s_ij, with q = t/(κ-1); see `objectives.wished`.
On sets x_i² = x_i, so
with s_ii = 1 it equals g(x) = (u + q)·x - q xᵀKx, which is concave where K is positive semidefinite. At any
x,
G(S) <= g(x) - ∇g(x)·x + max ∇g(x)·y over the linear rows that feasible sets keep. Wishes that are not among
the rows only shrink the feasible sets, and the bound stays true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from setwise.bounded import Bounded
from setwise.certificate import Certificate, bounded, unbounded
from setwise.feasible import Feasible
from setwise.objectives.wished import MaxSumWished
from setwise.solvers import exact
from setwise.solvers.held import ROUNDING, Held, barred, hold, of_blocks
from setwise.solvers.item_bounds import Point, relax, search, survivors
from setwise.solvers.item_moves import TRIED, ItemForm, moved
from setwise.solvers.problem import Problem, Solved
from setwise.solvers.wished import costs_of, first_best, pick
from setwise.top import top_k
from setwise.vectors import Floats

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Rounds in which candidates that are not held are looked at, and how many join in each.
PASSES, JOINING = 4, 256

#: Steps of the relaxation, and nodes of the search for a proof, by effort; a quarter of these where a bound
#: takes a linear program.
STEPS = {True: 24, "full": 120}
NODES = {True: 48, "full": 8_000}

#: Most candidates that a bound may leave open for there to be a search.
SEARCHED = {True: 128, "full": 512}

#: The exact solver looks at most at so many nodes.
EXACT_NODES = 50_000


def by_default(problem: Problem) -> Solved:
    """Select by greedy starts, the relaxation's rounding, and moves."""
    return _solve(problem, relaxed=bool(problem.effort))


def by_greedy(problem: Problem) -> Solved:
    """Select greedily by gain; with costs also by gain per cost, and keep the better set."""
    form = ItemForm(hold(problem))
    sets = [pick(form.held, form.gains, cost) for cost in costs_of(form.held)]
    best = first_best(sets, [form.value(chosen) for chosen in sets])
    return Solved(form.held.ids[best], ordered=True, known=ItemsKnown(form, best))


def by_exchanges(problem: Problem) -> Solved:
    """Select greedily, then by moves."""
    return _solve(problem, relaxed=False)


def exactly(problem: Problem) -> Solved:
    """Find the best set, proven so, by branch and bound over all candidates.

    Raises ValueError: there are more candidates than are held, or the metric gives no bound.
    """
    if not cast(MaxSumWished, problem.objective).concave:
        raise ValueError("solver: 'exact' has no bound for euclidean distances with this request; use 'auto'")
    solved = _solve(problem, relaxed=True)
    form = cast(ItemsKnown, solved.known).form
    if not form.held.whole:
        raise ValueError(
            f"solver: 'exact' can search {len(form.held):,} candidates, and there are {problem.n:,}; use "
            "solver='auto', which says how close it is"
        )
    chosen = cast(ItemsKnown, solved.known).chosen
    point = relax(form, [chosen], steps=STEPS["full"])
    best, upper, nodes = search(form, chosen, point, limit=EXACT_NODES, steps=STEPS["full"])
    problem.count("nodes", nodes)
    certificate = certificate_of(form, form.value(best), min(upper, point.upper))
    if not certificate.optimal:
        exact.warn_unproven(nodes, problem.request.time_limit)
    return Solved(form.held.ids[best], certificate=certificate)


@dataclass
class ItemsKnown:
    """What a solver leaves to the proof, and the proof to what knows of further candidates.

    form : the candidates held; chosen : the set, as positions; point : where the relaxation was bounded over
    all candidates of the problem; upper : the bound there.
    """

    form: ItemForm
    chosen: Rows
    point: Point | None = None
    upper: float = np.inf


def _solve(problem: Problem, *, relaxed: bool) -> Solved:
    """Find a set among the candidates held; those that would improve it join them."""
    form = ItemForm(hold(problem))
    best, point = _best(form, relaxed=relaxed)
    start = form
    for number in range(PASSES if not form.held.whole else 0):
        joins = _tempting(form, best, leaders=number == 0 and not problem.constraints.sized)
        if len(joins) == 0:
            break
        members = form.held.ids[best]
        form = ItemForm(Held(problem, np.union1d(form.held.ids, joins), False), form)
        before = form.held.locate(members)
        best = moved(form, before)
        if np.array_equal(best, before):
            break
    if point is not None and form is not start:  # the same mixture, to go on from
        places = form.held.locate(start.held.ids)
        wide = np.zeros((len(point.vertices), len(form.held)))
        wide[:, places] = np.stack(point.vertices)
        point = relax(form, [best, *wide], steps=STEPS[True])
    return Solved(form.held.ids[best], known=ItemsKnown(form, best, point))


def _best(form: ItemForm, *, relaxed: bool) -> tuple[Rows, Point | None]:
    """Return the best set from several starts, as positions, and the relaxation's point if asked for."""
    point = None
    starts = [pick(form.held, form.gains, cost) for cost in costs_of(form.held)]
    feasible = form.held.feasible
    first = feasible.best(form.linear, proven=False)
    if first is not None:
        starts.append(first)
    if relaxed and form.objective.concave and form.pair > 0:
        point = relax(form, [each.astype(np.int64) for each in starts], steps=STEPS[True])
        heavy = point.x - 0.5 / max(1, len(form.held)) + 1e-6 * _unit(point.gradient)
        rounded = feasible.best(heavy, proven=False)
        if rounded is not None:
            starts.append(rounded)
    best, most = starts[0], -np.inf
    for start in starts:
        chosen = moved(form, start)
        value = form.value(chosen)
        if value > most + form.slack:
            best, most = chosen, value
    return best, point


def _unit(values: Vector) -> Vector:
    """Return numbers over the largest of them in size."""
    return np.asarray(values / (float(np.abs(values).max(initial=0.0)) or 1.0))


def certify(problem: Problem, solved: Solved) -> Solved:
    """Bound the best possible value, try to prove a set the best, and certify it."""
    known = solved.known
    if not isinstance(known, ItemsKnown):
        form = ItemForm(hold(problem))
        if not np.isin(solved.chosen, form.held.ids).all():
            form = ItemForm(Held(problem, np.union1d(form.held.ids, solved.chosen), False))
        known = ItemsKnown(form, form.held.locate(solved.chosen))
    form, chosen = known.form, known.chosen
    if not form.objective.concave:
        return replace(solved, certificate=unbounded(len(form.held), form.held.whole))
    effort = problem.effort or True
    value, improve = form.value(chosen), not solved.ordered
    point = known.point
    if point is None or effort == "full":
        point = relax(form, [chosen, *(() if point is None else point.vertices)], steps=STEPS[effort])
    upper, sufficient = point.upper, form.held.whole
    if not form.held.whole:
        upper, sufficient, point.ahead = bound_of_all(form, point, value)
        point.upper = upper
    elif upper - value > form.slack and survivors(point, value) <= SEARCHED[effort]:
        limit = NODES[effort] // (1 if form.held.feasible.plain else 4)
        better, upper, nodes = search(form, chosen, point, limit=limit, steps=STEPS[effort])
        problem.count("nodes", nodes)
        upper = min(upper, point.upper)
        if improve:
            chosen, value = better, form.value(better)
    certificate = certificate_of(form, value, max(upper, value), sufficient)
    known = ItemsKnown(form, chosen, point, max(upper, value))
    return replace(solved, chosen=form.held.ids[chosen], known=known, certificate=certificate)


def bound_of_all(form: ItemForm, point: Point, value: float) -> tuple[float, bool, Bounded]:
    """Return the bound over all that a point of those held proves, whether none outside matters, and why."""
    problem = form.held.problem
    gradient = slopes_of_all(form, point.x)
    gradient[form.held.ids] = point.gradient
    feasible: Feasible = problem.constraints.among(np.arange(problem.n))
    slope = form.linear + form.pair
    here = float(slope @ point.x) - form.pair * float(point.x @ (form.near @ point.x))
    ahead = feasible.bound(gradient)
    upper = here - float(point.gradient @ point.x) + ahead.upper + form.slack
    return upper, none_outside(form, ahead, upper, value), ahead


def slopes_of_all(form: ItemForm, x: Vector, more: Callable[[Rows, Floats], Vector] | None = None) -> Vector:
    """Return the relaxation's slope at a point, for every candidate: one pass over all.

    Parameters
    ----------
    x : ndarray of shape (m,)
        How much of each held candidate the point has.
    more : callable, optional
        Of candidates, given their numbers and rows, what else adds to their slopes.
    """
    problem, objective = form.held.problem, form.objective
    support = np.flatnonzero(x > 0)
    members, weights = form.held.rows[support], x[support]

    def slopes(ids: Rows, rows: Floats) -> Vector:
        near = np.asarray(objective.similarity(rows, members), np.float64) @ weights
        worth = objective.alone(rows, problem.relevance.of_rows(rows, ids))
        found: Vector = worth + objective.pair - 2 * objective.pair * near
        return found if more is None else found + more(ids, rows)

    problem.count("passes")
    return np.concatenate(of_blocks(problem, slopes))


def none_outside(form: ItemForm, ahead: Bounded, upper: float, value: float) -> bool:
    """Return whether no set of this value or more has a candidate that is not held, by reduced costs."""
    outside = np.ones(form.held.problem.n, bool)
    outside[form.held.ids] = False
    left = upper + np.minimum(ahead.reduced[outside], 0.0)
    return bool((left <= value + 2 * form.slack).all())


def certificate_of(form: ItemForm, value: float, upper: float, sufficient: bool = True) -> Certificate:
    """Return the certificate of a set from its G and a bound on the best one's."""
    over = form.objective.over
    return bounded(
        value / over,
        upper / over,
        size=form.size / over,
        rounding=4 * form.slack / over,
        pool_size=len(form.held),
        sufficient=sufficient,
    )


def _tempting(form: ItemForm, chosen: Rows, *, leaders: bool) -> Rows:
    """Return the candidates not held that an exchange, or a free place, would gain by: those that gain most.

    With `leaders` also those of largest gain, for moves of two.
    """
    problem, objective, pair = form.held.problem, form.objective, form.pair
    members, own = form.held.rows[chosen], form.gains(chosen)[chosen]
    leaves = ~np.isin(chosen, form.held.feasible.include)
    loose, most = not problem.constraints.sized, problem.request.max_similarity
    gains = np.full(problem.n, -np.inf)
    closed = barred(problem)
    closed[form.held.ids] = True

    def exchanges(ids: Rows, rows: Floats) -> tuple[Rows, Rows, Vector]:
        near = np.asarray(objective.similarity(rows, members), np.float64)
        worth = objective.alone(rows, problem.relevance.of_rows(rows, ids))
        gain = worth - 2 * pair * near.sum(axis=1)
        gain[closed[ids]] = -np.inf
        change = gain[:, None] - own + 2 * pair * near  # in place of each member
        change[:, ~leaves] = -np.inf
        if most is not None:
            alike = rows @ members.T > most + ROUNDING
            change[alike.sum(axis=1)[:, None] > alike] = -np.inf
            gain[alike.any(axis=1)] = -np.inf
        gains[ids] = gain
        comes, goes = np.nonzero(change > form.slack)
        return ids[comes], goes, change[comes, goes]

    problem.count("passes")
    comes, goes, change = map(np.concatenate, zip(*of_blocks(problem, exchanges), strict=True))
    feasible: Feasible = problem.constraints.among(np.arange(problem.n))
    those = form.held.ids[chosen]
    able = top_k(change, min(len(change), TRIED))
    able = able[feasible.allows(those, those[goes[able]][:, None], comes[able][:, None])]
    best = np.full(problem.n, -np.inf)
    np.maximum.at(best, comes[able], change[able])
    if loose:
        adds = np.flatnonzero(gains > form.slack)
        adds = adds[feasible.allows(those, np.empty((len(adds), 0), np.int64), adds[:, None])]
        best[adds] = np.maximum(best[adds], gains[adds])
    joins = top_k(best, min(problem.n, JOINING))
    joins = joins[best[joins] > form.slack]
    if leaders:
        level = float(own.min(initial=0.0)) - 2 * pair
        able = np.flatnonzero(gains > level)
        parts = [joins, able[top_k(gains[able], min(len(able), JOINING))]]
        if feasible.costs is not None:
            dear = gains[able] / feasible.costs[able]
            parts.append(able[top_k(dear, min(len(able), JOINING))])
        joins = np.unique(np.concatenate(parts))
    return joins
