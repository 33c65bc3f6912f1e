"""facets from solver to certificate: the set, and the bound on the best one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.certificate import Certificate, unbounded
from setwise.solvers import items
from setwise.solvers.facets.bound import Planes, Tangent, search
from setwise.solvers.facets.form import FacetsForm
from setwise.solvers.held import HELD, Held, barred, hold
from setwise.solvers.moving import improved
from setwise.solvers.problem import Problem, Solved
from setwise.solvers.unseen import Unseen, gradient_wished
from setwise.solvers.wished import costs_of, first_best, pick
from setwise.top import top_k

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Cutting planes, by effort, and for each node of a search for a proof.
STEPS = {True: 16, "full": 80}
NODE_STEPS = 4

#: Nodes of that search by effort, where there are at most so many candidates; and of the exact solver.
NODES = {True: 0, "full": 400}
SEARCHED = 256
EXACT_NODES = 20_000


@dataclass
class FacetsKnown:
    """What a solver leaves to the proof, and the proof to what knows of further candidates.

    form : the candidates held; chosen : the set, as positions; point : the tangent that bounds all candidates
    of the problem; upper : the bound that is proven of them.
    """

    form: FacetsForm
    chosen: Rows
    point: Tangent | None = None
    upper: float = np.inf


def by_default(problem: Problem) -> Solved:
    """Select greedily by gain and by relevance, then by moves: the best of what they end with."""
    form = FacetsForm(_held(problem))
    starts = _greedily(form)
    likely = form.held.feasible.best(form.linear + form.cover * form.facets.sum(axis=1))
    if likely is not None:
        starts.append(likely)
    return _found(form, [improved(form, start) for start in starts])


def by_greedy(problem: Problem) -> Solved:
    """Select greedily by gain; with costs also by gain per cost, and keep the better set."""
    form = FacetsForm(_held(problem))
    return replace(_found(form, _greedily(form)), ordered=True)


def by_exchanges(problem: Problem) -> Solved:
    """Select greedily, then by moves."""
    form = FacetsForm(_held(problem))
    return _found(form, [improved(form, start) for start in _greedily(form)])


def exactly(problem: Problem) -> Solved:
    """Find the best set, proven so, by branch and bound over all candidates.

    Raises ValueError: there are more candidates than are held, or the metric gives no bound.
    """
    word = problem.request.solver_word
    solved = by_default(problem)
    known = cast(FacetsKnown, solved.known)
    form = known.form
    if not bounds(form):
        raise ValueError(f"{word}: 'exact' has no bound for euclidean distances; use 'auto', or diversity=0")
    if not form.held.whole:
        raise ValueError(
            f"{word}: 'exact' can search {HELD} candidates, got {problem.n}; use 'auto', which says "
            "how close it is"
        )
    planes = Planes(form, [known.chosen])
    root = planes.lowered(steps=STEPS["full"])
    best, upper, nodes = search(planes, known.chosen, root, limit=EXACT_NODES, steps=NODE_STEPS)
    problem.count("nodes", nodes)
    known = FacetsKnown(form, best, root, max(min(upper, root.upper), form.value(best)))
    certificate = _certificate(known, True)
    if not certificate.optimal:
        checks.warn(
            f"{word}: 'exact' stopped after {nodes:,} nodes without a proof; the certificate says how close "
            "the set is to the best one"
        )
    return Solved(form.held.ids[best], known=known, certificate=certificate)


def certify(problem: Problem, solved: Solved) -> Solved:
    """Bound the best possible value, try to prove a set the best, and certify it."""
    known = solved.known
    if not isinstance(known, FacetsKnown):
        form = FacetsForm(_held(problem, solved.chosen))
        known = FacetsKnown(form, form.held.locate(solved.chosen))
    form, chosen = known.form, known.chosen
    if not bounds(form):
        return replace(solved, certificate=unbounded(len(form.held), form.held.whole))
    effort = problem.effort or True
    planes = Planes(form, [chosen])
    value = form.value(chosen)
    point = planes.lowered(steps=STEPS[effort], enough=value)
    upper, sufficient = point.upper, form.held.whole
    if not sufficient:
        upper, sufficient, point = _of_all(form, planes, point, value)
    elif NODES[effort] and len(form.held) <= SEARCHED:
        better, upper, nodes = search(planes, chosen, point, limit=NODES[effort], steps=NODE_STEPS)
        problem.count("nodes", nodes)
        upper = min(upper, point.upper)
        if not solved.ordered:
            chosen, value = better, form.value(better)
    known = FacetsKnown(form, chosen, point, max(upper, value))
    return replace(
        solved, chosen=form.held.ids[chosen], known=known, certificate=_certificate(known, sufficient)
    )


def certify_beyond(problem: Problem, solved: Solved, unseen: Unseen) -> Solved:
    """Certify a set of seen candidates, certified among them, against all sets, unseen ones included."""
    known, proof = cast(FacetsKnown, solved.known), solved.certificate
    form, point = known.form, known.point
    assert point is not None
    assert proof is not None
    directions = problem.facets.directions if problem.facets is not None else None
    assert directions is not None  # an index gives no relevance of its own
    most = np.maximum([unseen.most_similar(direction) for direction in directions], 0.0)
    slope = gradient_wished(problem, form, point.center, unseen)
    slope += float(form.slopes(most[None], point.levels).sum())
    short = slope - point.ahead.place
    room = problem.constraints.k if problem.request.k is not None else np.inf
    beyond = point.upper + (short if short <= 0.0 else room * short)
    value = form.value(known.chosen)
    enough = proof.pool_sufficient and beyond <= value + 2 * form.slack
    known = replace(known, upper=max(known.upper, beyond))
    return replace(solved, known=known, certificate=_certificate(known, enough))


def bounds(form: FacetsForm) -> bool:
    """Return whether the relaxation is concave, and so bounds every set."""
    return form.objective.concave or form.pair == 0.0


def _greedily(form: FacetsForm) -> list[Rows]:
    """Return the sets that greedy selection takes, by gain and by gain per cost."""
    return [pick(form.held, form.gains, cost) for cost in costs_of(form.held)]


def _found(form: FacetsForm, sets: list[Rows]) -> Solved:
    """Return the best of some sets."""
    best = first_best(sets, [form.value(one) for one in sets])
    return Solved(form.held.ids[best], known=FacetsKnown(form, best))


def _held(problem: Problem, chosen: Rows | None = None) -> Held:
    """Return the candidates to choose among, some of them given: the leaders of each facet are among them."""
    held = hold(problem)
    if held.whole:
        return held
    assert problem.facets is not None
    found = problem.facets.of_all()
    found[barred(problem)] = -1.0
    each = max(64, HELD // (2 * problem.facets.count))
    leaders = [top_k(column, min(each, problem.n)) for column in found.T]
    leaders = [rows[found[rows, place] > 0.0] for place, rows in enumerate(leaders)]
    ids = np.unique(np.concatenate([held.ids, *leaders, *([] if chosen is None else [chosen])]))
    problem.stats["pool_size"] = len(ids)
    return Held(problem, ids, False)


def _of_all(form: FacetsForm, planes: Planes, point: Tangent, value: float) -> tuple[float, bool, Tangent]:
    """Return the bound over all that a tangent proves, whether none outside matters, and the tangent."""
    problem, facets = form.held.problem, form.held.problem.facets
    assert facets is not None
    slope = items.slopes_of_all(
        form, point.center, lambda ids, rows: form.slopes(facets.at(ids, rows), point.levels).sum(axis=1)
    )
    own, constant = planes.tangent(point.center, point.levels)
    slope[form.held.ids] = own
    ahead = problem.constraints.among(np.arange(problem.n)).bound(slope)
    upper = constant + ahead.upper + form.slack
    return upper, items.none_outside(form, ahead, upper, value), replace(point, ahead=ahead, upper=upper)


def _certificate(known: FacetsKnown, sufficient: bool) -> Certificate:
    """Return the certificate of a set."""
    return items.certificate_of(known.form, known.form.value(known.chosen), known.upper, sufficient)
