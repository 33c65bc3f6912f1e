"""How a query's candidates are gathered: searches, each proposed by what the last one found.

A plan is a generator. It yields what to search for and is sent what was found; who drives it may do so one
by one, for many queries together, or without blocking an event loop.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from setwise import solvers
from setwise.certificate import unbounded
from setwise.index.base import Ids
from setwise.request import Request
from setwise.retrieval import proven_greedy
from setwise.retrieval.ask import FIRST, GROWTH, MOST, Outcome, Plan, first_count, nothing, search
from setwise.retrieval.seen import Job, Seen, TooFew
from setwise.retrieval.wished import with_wishes
from setwise.solvers import auto, baselines, max_sum, polished, unseen
from setwise.solvers.pools import Pool, Whole
from setwise.solvers.problem import Problem, Solved
from setwise.solvers.relaxation import Relaxed
from setwise.solvers.unseen import Unseen
from setwise.top import top_k

Vector = NDArray[np.float64]

#: Where the k most relevant are the set, so many more are asked for, to see that those left out are less.
SPARE = 16

#: What the first search and the next ask an exact index for, along the gradient: each is a scan, and what it
#: returns besides costs next to nothing.
WIDE, WIDER = 1024, 2048

#: Searches along the gradient: with no certificate asked for, with one, and to convergence.
STEPS = {False: 1, True: 2, "full": 12}

#: A search that finds this much more, relatively, than the point it was made from is followed by one more.
FAR = 0.025

#: Relative gap at which a relaxation over the pool is good enough to search along its gradient.
LOOSE, TIGHT = 5e-3, 1e-3


def plan_for(job: Job) -> Plan:
    """Return the plan for a job: by relevance alone where that proves enough, else along gradients."""
    if job.request.wishes or job.request.goal.name in solvers.ALIKE:
        return with_wishes(job)
    if goes_along_gradients(job.request, job.pool):
        return _along_gradients(job)
    return _by_relevance(job)


def reads_all(request: Request) -> bool:
    """Return whether the solver looks at all candidates, rather than at a pool that grows."""
    known = solvers.solver_of(request.goal.name, request.solver)
    return known is not None and known.whole


def goes_along_gradients(request: Request, pool: int | None) -> bool:
    """Return whether relevance alone proves nothing, and each search is proposed by a gradient."""
    if request.wishes or request.size == 1 or pool is not None or reads_all(request):
        return False
    return request.goal.linear_gradient and not _by_relevance_alone(request)


def _by_relevance_alone(request: Request) -> bool:
    """Return whether the solver looks at nothing but relevance."""
    known = solvers.solver_of(request.goal.name, request.solver)
    return known is not None and known.by_relevance


def _by_relevance(job: Job) -> Plan:
    """Gather the most relevant, more of them until the rest is proven not to matter."""
    asked, goal = job.request, job.request.goal
    seen, rest = Seen(job), Unseen(job.query, goal.metric, job.exact, job.size)
    count = max(first_count(job), asked.size)
    if reads_all(asked) and job.pool is None:
        if job.size > MOST:
            raise ValueError(
                f"solver: {asked.solver!r} looks at all vectors, and a {job.name} has more than the {MOST:,} "
                "that a search fetches; pass pool=, how many of the most relevant it is to look at"
            )
        count = job.most
    simple = goal.relevance_decides(asked.size) or _by_relevance_alone(asked)
    if simple and asked.groups is None and job.pool is None:
        count = asked.size + len(asked.include) + SPARE
    before: Ids | None = None
    while True:
        yield from search(job, seen, rest, job.query, count)
        if len(seen) == 0:
            return nothing(job, seen)
        complete = rest.exhausted or count > job.size
        last = complete or job.pool is not None or count >= MOST
        if len(seen) < asked.size and not complete and job.pool is None:
            count = min(job.most, count * GROWTH)
            continue
        try:
            problem = seen.problem(min(asked.size, len(seen)))
        except TooFew:
            if complete or job.pool is not None:
                raise
            count = min(job.most, count * GROWTH)
            continue
        outcome, enough = _solve(job, seen, problem, rest, before)
        if not enough and not last and outcome.found.ordered:
            new = 0
            for weights in proven_greedy.worth_searching(problem, outcome.found.chosen):
                _, more = yield from search(job, seen, rest, weights, count)
                new += more
            if new:
                problem = seen.problem(min(asked.size, len(seen)))
                outcome, enough = _solve(job, seen, problem, rest, None)
        names = seen.ids[outcome.found.chosen]
        if not outcome.found.ordered:
            names = np.sort(names)
        stable = not job.exact and before is not None and np.array_equal(before, names)
        if enough or last or stable:
            return outcome
        before = names
        count = min(job.most, MOST, count * GROWTH)


def _solve(job: Job, seen: Seen, problem: Problem, rest: Unseen, before: Ids | None) -> tuple[Outcome, bool]:
    """Solve over what has been seen; return the outcome, and whether nothing unseen matters."""
    asked = job.request
    if asked.goal.name in solvers.UNSEEN:
        known = None if before is None else seen.locate(before)
        return _solve_max_sum(job, seen, problem, rest, known)
    problem.open = not rest.exhausted
    found = solvers.find(problem, asked.solver)
    proven = found.sufficient and proven_greedy.is_proven(problem, found.chosen, rest)
    certificate = unbounded(len(seen), proven, job.scope) if asked.certify else None
    outcome = Outcome(problem, seen.ids, replace(found, certificate=certificate))
    return outcome, proven or _by_relevance_alone(asked)


def _best_known(problem: Problem, before: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return a set of seen candidates that no exchange improves, from the set found before there were so
    many, if any."""
    if problem.n <= auto.TINY or before is None or len(before) < problem.k:
        return auto.search(problem, tolerance=TIGHT, passes=2, exact=False).chosen
    return auto.exchange(problem, before)


def _point(problem: Problem, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], Vector] | None:
    """Return the relaxation's solution over the candidates of largest gradient at a set; its bound holds
    for all."""
    if problem.n <= auto.TINY:
        return None
    gradient = Whole(problem).gradient(chosen, np.ones(problem.k))
    near = np.union1d(top_k(gradient, min(problem.n, max(1024, 8 * problem.k))), chosen)
    pool = Pool(problem, np.union1d(near, problem.constraints.include))
    start = (chosen, np.ones(problem.k))
    relaxed = auto.relax(pool, tolerance=TIGHT, start=start, exact=False, rounds=4)
    return pool.ids[relaxed.local], relaxed.weights


def _solve_max_sum(
    job: Job, seen: Seen, problem: Problem, rest: Unseen, before: NDArray[np.int64] | None = None
) -> tuple[Outcome, bool]:
    """Solve max-sum over what has been seen, from the set found before, if any."""
    asked = job.request
    decided = asked.goal.relevance_decides(problem.k)
    if decided or problem.k == problem.n or _by_relevance_alone(asked):
        chosen = baselines.most_relevant(problem)
        certificate = None
        if asked.certify:
            value, whole = problem.value(chosen), problem.k == problem.n and rest.exhausted
            best, known = (value, True) if whole else (np.inf, False)
            if decided:  # unseen candidates may take the places of members that have less than they can have
                members = problem.relevance.at(chosen[~np.isin(chosen, problem.constraints.include)])
                short = float(np.maximum(rest.relevance(problem) - members, 0.0).sum())
                best, known = value + (1 - asked.goal.diversity) * short / problem.k, short == 0.0
            certificate = max_sum.certificate_of(problem, value, best, problem.n, known, scope=job.scope)
        return Outcome(problem, seen.ids, Solved(chosen, certificate=certificate)), True
    if asked.solver == "auto":
        chosen = _best_known(problem, before)
        knows = None
        if asked.certify:
            knows = auto.Incumbent(chosen, problem.n, True, point=_point(problem, chosen))
        found = Solved(chosen, known=knows)
    else:
        found = solvers.find(problem, asked.solver)
    enough = unseen.sufficient(problem, found.chosen, rest)
    if asked.certify:
        found = unseen.certify(problem, found, rest, improve=asked.solver == "auto", scope=job.scope)
        enough = enough or (found.certificate is not None and found.certificate.pool_sufficient)
    return Outcome(problem, seen.ids, found), enough


# ---------------------------------------------------------------------- along gradients


def _along_gradients(job: Job) -> Plan:
    """Frank-Wolfe whose linear oracle is the index's search (CCBQP Algorithm 1, fully corrective).

    The gradient of max-sum under cosine at a point is w·e plus a constant, so its largest entries are what
    a search by w returns. Each search's results join the relaxation; the last score bounds the rest.
    """
    asked, goal = job.request, job.request.goal
    seen, rest = Seen(job), Unseen(job.query, goal.metric, job.exact, job.size)
    wide = job.exact
    count = min(job.most, max(WIDE if wide else FIRST, 4 * asked.size))
    found, _ = yield from search(job, seen, rest, job.query, count)
    searches = 1
    while len(seen) < asked.size and not rest.exhausted and count <= job.size:
        count = min(job.most, count * GROWTH)
        found, _ = yield from search(job, seen, rest, job.query, count)
        searches += 1
    if len(seen) < asked.size:
        if len(seen) == 0:
            return nothing(job, seen)
        return _solve_max_sum(job, seen, seen.problem(len(seen)), rest)[0]
    leaders = found.ids
    if job.sample is not None and not rest.exhausted:
        seen.add(job.sample)
        leaders = seen.ids
    point: tuple[Ids, Vector] | None = None
    best: Ids | None = None
    searched: tuple[Ids, Vector] | None = None
    gap = 0.0
    steps, near = STEPS[asked.certify], max(WIDER, 8 * asked.size) if wide else FIRST + 4 * asked.size
    while True:
        try:
            problem = seen.problem(asked.size)
        except TooFew:
            if rest.exhausted or count > job.size:
                raise
            count = min(job.most, count * GROWTH)
            found, _ = yield from search(job, seen, rest, job.query, count)
            searches += 1
            leaders = np.union1d(leaders, found.ids)
            continue
        relaxed, pool = _relaxed(job, seen, problem, leaders, point)
        here = pool.ids[relaxed.local]
        point = (seen.ids[here], relaxed.weights)
        weights = rest.direction(problem, here, relaxed.weights)
        more = searches <= steps + (gap > FAR)
        if searches > 1 and not (more and gap > FAR):  # far from done, a set is not worth its polishing
            best = _rounded(seen, problem, pool, relaxed, best)
        if best is not None:
            at = seen.locate(best)
            knows = auto.Incumbent(at, problem.n, True, point=(here, relaxed.weights))
            enough = rest.exhausted or unseen.sufficient(problem, at, rest)
            if enough or not more:
                return _concluded(job, seen, problem, Solved(at, known=knows), rest, searched)
        if rest.exhausted or float(weights @ weights) <= 1e-20:  # no search can add to what has been seen
            outcome, _ = _solve_max_sum(job, seen, problem, rest)
            return outcome
        wanted = min(job.most, near * (GROWTH if wide and searches > 1 else 1))
        reached = float(relaxed.weights @ (problem.vectors.rows(here, np.float64) @ weights))
        searched = point
        found, _ = yield from search(job, seen, rest, weights, wanted)
        gap = (float(found.scores[: asked.size].sum()) - reached) / (abs(relaxed.value) or 1.0)
        searches += 1
        leaders = found.ids[: max(WIDER, 8 * asked.size)]


def _relaxed(
    job: Job, seen: Seen, problem: Problem, leaders: Ids, point: tuple[Ids, Vector] | None
) -> tuple[Relaxed, Pool]:
    """Maximize the relaxation over the leaders of the last search and the last point's support."""
    asked = job.request
    rows = [seen.locate(leaders), problem.constraints.include]
    start = None
    if point is not None:
        start = (seen.locate(point[0]), point[1])
        rows.append(start[0])
    if problem.constraints.any:
        rows.append(problem.constraints.best(problem.relevance.values))
    pool = Pool(problem, np.unique(np.concatenate(rows)))
    tight = LOOSE if point is None else TIGHT if asked.certify else 2 * TIGHT
    if not job.exact and not asked.certify:  # what the index misses weighs more than digits here
        tight *= 2
    exact = bool(asked.certify) and point is not None
    return auto.relax(pool, tolerance=tight, start=start, exact=exact, rounds=8), pool


def _rounded(seen: Seen, problem: Problem, pool: Pool, relaxed: Relaxed, best: Ids | None) -> Ids:
    """Return the ids of the better of the relaxation's set, polished, and the best set before."""
    more = []
    if best is not None:
        old = seen.locate(best)
        more = [pool.locate(old)] if np.isin(old, pool.ids).all() else []
    chosen, _ = polished.of_point(pool, relaxed, more)
    if best is not None and problem.value(old) > problem.value(chosen):
        chosen = old
    return seen.ids[chosen]


def _concluded(
    job: Job, seen: Seen, problem: Problem, found: Solved, rest: Unseen, searched: tuple[Ids, Vector] | None
) -> Outcome:
    """Return the outcome for a set that the default solver found, or another solver's over what was seen."""
    asked = job.request
    if asked.solver != "auto":
        found = replace(solvers.find(problem, asked.solver), known=found.known)
    if asked.certify:
        at = None if searched is None else (seen.locate(searched[0]), searched[1])
        improve = asked.solver == "auto"
        found = unseen.certify(problem, found, rest, improve=improve, scope=job.scope, searched=at)
    return Outcome(problem, seen.ids, found)
