"""max-min from solver to certificate: the set, and the bound on the best one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.certificate import Certificate, bounded
from setwise.objectives.max_min import MaxMin
from setwise.solvers.greedy import pick_greedily
from setwise.solvers.held import Held, barred, hold
from setwise.solvers.max_min.mean import ByMean
from setwise.solvers.max_min.moves import MaxMinForm, pick_apart
from setwise.solvers.max_min.thresholds import MOST, Outside, Thresholds
from setwise.solvers.moving import improved
from setwise.solvers.problem import Problem, Solved
from setwise.solvers.unseen import Unseen
from setwise.solvers.wished import costs_of, pick
from setwise.vectors import Floats

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]

#: GIST's sweep: so many thresholds, each this part of the one before, of whose sets so many are improved.
STEPS, FINER, POLISHED = 80, 0.95, 4

#: Thresholds that are looked at for a bound, by effort; more where the set found is not half as good.
THRESHOLDS = {False: 24, True: 48, "full": 400}

#: Up to so many candidates a linear program bounds what cliques alone do not, by effort.
PROGRAM = {True: 32, "full": 192}

#: The exact solver searches among at most so many candidates.
EXACT = 192

#: Candidates that are farthest from each other join the most relevant, up to this many.
FARTHEST = 64

#: What distances of rows in single precision may be off by.
SINGLE = 1e-6


@dataclass
class MaxMinKnown:
    """What a solver leaves to the proof.

    form : the candidates held; chosen : the set, as positions; upper : no set of all candidates is worth
    more; sufficient : nor one with a candidate that is not held.
    """

    form: MaxMinForm
    chosen: Rows
    upper: float
    sufficient: bool


def by_default(problem: Problem) -> Solved:
    """Select by thresholds and by greedy selection, then by exchanges."""
    return _solved(problem, exact=False)


def exactly(problem: Problem) -> Solved:
    """Find the best set, proven so: branch and bound at every threshold that may allow a better one.

    Raises ValueError: there are more candidates than it can search.
    """
    word = problem.request.solver_word
    if problem.n > EXACT:
        raise ValueError(
            f"{word}: 'exact' can search {EXACT} candidates, got {problem.n}; use 'auto', which says "
            "how close it is"
        )
    found = _solved(problem, exact=True)
    certificate = _certificate(cast(MaxMinKnown, found.known))
    if not certificate.optimal:
        checks.warn(
            f"{word}: 'exact' stopped after {problem.request.time_limit:g} seconds without a proof; the "
            "certificate says how close the set is to the best one"
        )
    return replace(found, certificate=certificate)


def _solved(problem: Problem, *, exact: bool) -> Solved:
    """Find a set among the candidates held, and what bounds it."""
    form, outside = _held(problem)
    search = Thresholds(form, None, outside=outside, program=_program(problem, exact), exact=exact)
    starts = [pick(form.held, _Gains(form), cost) for cost in costs_of(form.held)]
    by_mean = ByMean.of(problem)
    if by_mean is not None and np.isin(by_mean.chosen, form.held.ids).all():
        like = form.held.locate(by_mean.chosen)
        starts += [like] if form.held.feasible.keeps(like) else []
    levels = float(form.levels[-1]) * FINER ** np.arange(STEPS)
    swept = [one for level in levels if (one := pick_apart(form, float(level))) is not None]
    swept.sort(key=form.value, reverse=True)
    for start in [*starts, *swept[:POLISHED]]:
        search.consider(improved(form, start))
    upper = search.run(MOST if exact else THRESHOLDS[problem.effort])
    assert search.best is not None
    search.consider(improved(form, search.best))
    upper = _lowered(upper, search.value, by_mean) if problem.effort else upper
    return Solved(form.held.ids[search.best], known=_known(form, search.best, upper, outside))


def certify(problem: Problem, solved: Solved) -> Solved:
    """Bound the best possible value, and certify a set."""
    known = solved.known
    if not isinstance(known, MaxMinKnown):
        form, outside = _held(problem, solved.chosen)
        chosen = form.held.locate(solved.chosen)
        search = Thresholds(
            form, chosen, outside=outside, program=_program(problem, False), exact=False, picks=False
        )
        upper = search.run(THRESHOLDS[problem.effort])
        upper = _lowered(upper, search.value, ByMean.of(problem))
        known = _known(form, chosen, upper, outside)
    return replace(solved, known=known, certificate=_certificate(known))


def certify_beyond(problem: Problem, solved: Solved, unseen: Unseen) -> Solved:
    """Certify a set of seen candidates, certified among them, against all sets, unseen ones included."""
    known = cast(MaxMinKnown, solved.known)
    form = known.form
    most = np.inf
    if problem.vectors.metric == "cosine":
        most = _apart_at_most(problem)
    outside = Outside(form.worth * unseen.relevance(problem), most)
    search = Thresholds(form, known.chosen, outside=outside, program=0, exact=False, picks=False)
    upper = max(known.upper, search.run(THRESHOLDS[problem.effort]))
    upper = _lowered(upper, search.value, ByMean.of(problem), unseen)
    known = _known(form, known.chosen, upper, outside)
    return replace(solved, known=known, certificate=_certificate(known))


def _lowered(upper: float, value: float, by_mean: ByMean | None, rest: Unseen | None = None) -> float:
    """Return a bound, or max-sum's where that is less, unless it proves a set of this value already."""
    return upper if by_mean is None or upper <= value else min(upper, by_mean.bound(rest))


def _program(problem: Problem, exact: bool) -> int:
    """Return up to how many candidates a linear program helps to bound."""
    return EXACT if exact else PROGRAM.get(problem.effort, 0)


def _known(form: MaxMinForm, chosen: Rows, upper: float, outside: Outside) -> MaxMinKnown:
    """Return what is known of a set: whether one with a candidate that is not held may be better, too."""
    sufficient = not np.isfinite(outside.score)
    if not sufficient:
        beyond = replace(outside, needed=True)
        search = Thresholds(form, chosen, outside=beyond, program=0, exact=False, picks=False)
        sufficient = search.run(THRESHOLDS[form.held.problem.effort]) <= search.value
    return MaxMinKnown(form, chosen, max(upper, form.value(chosen)), sufficient)


class _Gains:
    """What greedy selection goes by: relevance, and the distance to the nearest of those taken so far."""

    def __init__(self, form: MaxMinForm) -> None:
        self._form, self._seen, self._near = form, 0, form.away

    def __call__(self, chosen: Rows) -> Vector:
        form = self._form
        new = form.apart[chosen[self._seen :]]
        self._near, self._seen = np.minimum(self._near, new.min(axis=0, initial=np.inf)), len(chosen)
        t, near = form.objective.diversity, self._near
        return np.asarray((1 - t) * form.held.relevance + t * np.where(np.isinf(near), 0.0, near))


def _held(problem: Problem, chosen: Rows | None = None) -> tuple[MaxMinForm, Outside]:
    """Return the candidates to choose among, some of them given, and what bounds the others.

    Beside the most relevant ones those that are farthest from each other, and the picks of greedy selection.
    """
    held = hold(problem)
    if held.whole:
        return MaxMinForm(held), Outside()
    far, radius = _farthest(problem)
    more = [held.ids, far[~barred(problem)[far]], *([] if chosen is None else [chosen])]
    if not problem.request.wishes:
        more.append(pick_greedily(problem))
    held = Held(problem, np.unique(np.concatenate(more)), False)
    problem.stats["pool_size"] = len(held)
    rest = problem.relevance.values.copy()
    rest[held.ids] = -np.inf
    most = min(_apart_at_most(problem), radius / cast(MaxMin, problem.objective).metric_part)
    form = MaxMinForm(held)
    return form, Outside(form.worth * (float(rest.max()) + problem.relevance.error), most)


def _apart_at_most(problem: Problem) -> float:
    """Return what the least distance of no set exceeds, whatever the candidates.

    Of k unit vectors Σ_{i≠j} cos >= -k, so that the mean of 1 - cos is at most k/(k-1).
    """
    k, sized = problem.k, problem.constraints.sized
    if problem.vectors.metric == "cosine":
        return k / (k - 1) if sized and k > 1 else 2.0
    return 2.0 * problem.vectors.radius() if k > 1 and not len(problem.shown) else np.inf


def _farthest(problem: Problem) -> tuple[Rows, float]:
    """Return the candidates that are always the farthest from those before (Gonzalez 1985), from the most
    relevant on, and how far all are from the nearest of the first k - 1."""
    objective, vectors = cast(MaxMin, problem.objective), problem.vectors
    near, rows, radius = np.full(problem.n, np.inf), [int(problem.relevance.values.argmax())], np.inf
    least = max(1, problem.k - 1) if problem.constraints.sized else 1
    for count in range(1, min(problem.n, max(16, min(2 * problem.k, FARTHEST))) + 1):
        member = vectors.rows(np.array(rows[-1:]), np.float64)

        def measure(start: int, stop: int, block: Floats, member: Floats = member) -> None:
            found = objective.apart(block.astype(np.float64), member)[:, 0]
            np.minimum(near[start:stop], found, out=near[start:stop])

        vectors.map_blocks(measure)
        problem.count("passes")
        if count == least:
            radius = float(near.max()) * (1.0 + SINGLE) + SINGLE
        rows.append(int(near.argmax()))
    return np.unique(rows), radius


def _certificate(known: MaxMinKnown) -> Certificate:
    """Return the certificate of a set."""
    form, value = known.form, known.form.value(known.chosen)
    return bounded(
        value,
        known.upper,
        size=form.most + form.per * float(form.levels[-1]),
        rounding=4 * form.off(value),
        pool_size=len(form.held),
        sufficient=known.sufficient,
    )
