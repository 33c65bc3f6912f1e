"""max-sum from solver to certificate: the set, the bound on the best one, a proof where there is one."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from setwise.certificate import Certificate, bounded
from setwise.request import Certify
from setwise.solver_options import FrankWolfe
from setwise.solvers import (
    auto,
    baselines,
    bounds,
    compiled,
    exact,
    few,
    frank_wolfe,
    pairs,
    relaxation,
    swap,
)
from setwise.solvers.bounds import Bound
from setwise.solvers.pools import Pool, Whole
from setwise.solvers.problem import Problem, Solved

#: Passes over the data: without a certificate, with one, and to convergence.
PASSES = {False: 1, True: 3, "full": 50}

#: Relative gap between bound and relaxation at which the bound counts as tight.
TOLERANCE = {False: 2e-3, True: 1e-4, "full": 1e-9}

#: Branch and bound by effort: most candidates, most nodes, rounds of tuning the diagonal shift.
SEARCH = {True: (128, 60, 8), "full": (512, 4000, 24)}

#: In small pools, with bounded effort: candidates beyond k for branch and bound.
SMALL_SEARCH = 4

#: A set is proven best where the bound is at most so many roundings above its value: that of the value, of
#: the bound, and of the node that gave it.
ROUNDINGS = 4

#: With bounded effort, an exchange is tried with at most this many candidates outside the pool.
SUSPECTS = 32_768

#: The exact solver searches at most this many candidates, over at most this many nodes.
LARGEST = 1024
EXACT_NODES = 200_000


def by_default(problem: Problem) -> Solved:
    """Find a set by Frank-Wolfe on the relaxation, rounding and exchanges; see `auto`."""
    effort = problem.effort
    if _is_decided(problem):
        return Solved(baselines.most_relevant(problem))
    found = auto.search(problem, tolerance=TOLERANCE[effort], passes=PASSES[effort], exact=bool(effort))
    return solved(found)


def solved(found: auto.Incumbent) -> Solved:
    """Return a set that the default solver found."""
    return Solved(found.chosen, ordered=found.numbers is not None, known=found, numbers=found.numbers)


def by_frank_wolfe(problem: Problem) -> Solved:
    """Find a set by CCBQP's Algorithm 1 over all candidates."""
    decided = _is_decided(problem)
    asked = cast(FrankWolfe, problem.request.options)
    return Solved(baselines.most_relevant(problem) if decided else frank_wolfe.over_all(problem, asked))


def by_exchanges(problem: Problem) -> Solved:
    """Find a set by greedy selection, then best single exchanges."""
    return Solved(baselines.most_relevant(problem) if _is_decided(problem) else auto.exchange(problem))


def exactly(problem: Problem) -> Solved:
    """Find the best set, proven so, among at most `LARGEST` candidates that may be in it.

    Raises ValueError: more candidates than that may be in a best set.
    """
    if _is_decided(problem):
        return Solved(baselines.most_relevant(problem))
    found = auto.search(problem, tolerance=TOLERANCE["full"], passes=PASSES["full"])
    value = problem.value(found.chosen)
    known = known_bounds(problem, found, "full", value)
    survivors = problem.by_content(np.union1d(survivors_of(known, value * problem.scale()), found.chosen))
    if len(survivors) > LARGEST:
        raise ValueError(
            f"solver: 'exact' can search {LARGEST} candidates, but {len(survivors)} of the {problem.n} "
            "may be in the best set; use solver='auto' with certify='full', which says how close it is"
        )
    tree, proven = search(problem, survivors, found.chosen, limit=EXACT_NODES, tune=24)
    chosen = survivors[tree.best]
    if not proven:
        exact.warn_unproven(tree.nodes, problem.request.time_limit)
    upper = min(tree.upper, *(bound.upper for bound in known)) / problem.scale()
    return Solved(
        chosen, certificate=certificate_of(problem, problem.value(chosen), upper, found.pool_size, True)
    )


def _is_decided(problem: Problem) -> bool:
    """Return whether relevance decides (k = 1, diversity 0), or there is no choice (k = n)."""
    return problem.k == problem.n or problem.objective.relevance_decides(problem.k)


def certificate_of(
    problem: Problem, value: float, upper: float, pool_size: int, sufficient: bool, *, scope: str = "all"
) -> Certificate:
    """Return a certificate from a value and a bound on the best one."""
    t = problem.objective.diversity
    size = (1 - t) * problem.relevance.largest + t * bounds.reach_of(problem)
    return bounded(
        value,
        upper,
        size=size,
        rounding=ROUNDINGS * bounds.rounding(problem),
        pool_size=pool_size,
        sufficient=sufficient,
        scope=scope,
    )


def certify(problem: Problem, solved: Solved) -> Solved:
    """Bound the best possible value, try to prove optimality, and certify a set.

    For the default solver, a better set that the proof comes across replaces the given one.
    """
    chosen, found, effort = solved.chosen, solved.known, problem.effort
    if solved.numbers is None:
        value = problem.value(chosen)
    else:
        value = float(problem.max_sum().worth(solved.numbers, problem.relevance.at(chosen)).value)
    if _is_decided(problem):
        best = problem.value(baselines.most_relevant(problem))
        return replace(solved, certificate=certificate_of(problem, value, best, problem.n, True))
    if found is not None and found.alone is not None:
        upper = bounds.relevance_alone(problem, found.alone, value)
        if upper is not None:  # nothing else is in a better set
            upper = min(upper, value + bounds.rounding(problem))
            return replace(solved, certificate=certificate_of(problem, value, upper, problem.n, True))
    improve = found is not None
    if found is None and problem.n <= auto.TINY and effort != "full":
        found = auto.Incumbent(chosen, problem.n, True)
    elif found is None:
        found = auto.search(problem, tolerance=TOLERANCE[effort], passes=PASSES[effort])
    better = value if improve else max(value, problem.value(found.chosen))
    known = known_bounds(problem, found, effort, better)
    candidate = chosen if improve else (chosen if value >= better else found.chosen)
    upper = min(bound.upper for bound in known) / problem.scale()
    if upper - better > ROUNDINGS * bounds.rounding(problem):
        candidate, better, upper = prove(problem, known, candidate, better, effort)
        if improve and better > value:
            chosen, value = candidate, better
    sufficient = found.pool_sufficient
    if sufficient and chosen is not found.chosen:
        sufficient = bool(np.isin(chosen, found.chosen).all())
    if not sufficient:
        sufficient = exchange_test(problem, chosen, known, None if effort == "full" else SUSPECTS)
    proof = certificate_of(problem, value, upper, found.pool_size, sufficient)
    return replace(solved.with_set(chosen), certificate=proof)


def known_bounds(
    problem: Problem, found: auto.Incumbent, effort: Certify, value: float | None = None
) -> list[Bound]:
    """Return every bound on the best set's summed form: the relaxation's, and that at sight if any.

    That at sight alone, where it leaves no more than k candidates for a set above a `value` that one has.
    """
    simple = bounds.bound_at_sight(problem)
    if simple is None:
        return [found.bound or bound_of_all(problem, found, effort)]
    if value is not None and found.bound is None:
        left = np.count_nonzero(simple.may_be_better(value * problem.scale()))
        if left <= problem.k:
            return [simple]
    return [found.bound or bound_of_all(problem, found, effort), simple]


def survivors_of(known: list[Bound], value: float) -> NDArray[np.int64]:
    """Return the candidates that every bound allows in a set better than one with this summed form."""
    mask = known[0].may_be_better(value)
    for bound in known[1:]:
        mask &= bound.may_be_better(value)
    return np.flatnonzero(mask)


def bound_of_all(problem: Problem, found: auto.Incumbent, effort: Certify) -> Bound:
    """Return the relaxation's bound where all candidates fit into one pool."""
    full, tolerance = effort == "full", TOLERANCE[effort]
    coarse = not full and problem.n <= auto.TINY
    if coarse and problem.vectors.dtype == np.float64 and bounds.reach_of(problem) < auto.COARSE:
        found.point, coarse = None, False  # it was found among rounded rows, which are too much alike
    if found.point is None and coarse:
        proof = compiled.relax_small(problem, found.chosen, rounds=auto.SMALL_ROUNDS, tolerance=tolerance)
        if proof is not None:
            found.take_in(problem, proof)
    if found.bound is not None:
        return found.bound
    whole = Whole(problem)
    if found.point is None:
        pool = Pool(problem, coarse=coarse)
        relaxed = auto.relax(
            pool,
            tolerance=tolerance,
            start=(found.chosen, np.ones(problem.k)),
            exact=full,
            rounds=25 if full else auto.SMALL_ROUNDS,
            leaders=relaxation.LEADERS if full else relaxation.SMALL_LEADERS,
        )
        found.point = (pool.ids[relaxed.local], relaxed.weights)
    gradient = whole.gradient(*found.point)
    return bounds.concave_bound(whole, *found.point, gradient)


def prove(
    problem: Problem, known: list[Bound], chosen: NDArray[np.int64], value: float, effort: Certify
) -> tuple[NDArray[np.int64], float, float]:
    """Try to close the gap by branch and bound over the candidates that may be in a better set.

    Returns
    -------
    chosen, value : the best set known and its value
    upper : float
        A bound on any set's value.
    """
    scale = problem.scale()
    upper = min(bound.upper for bound in known) / scale
    survivors = survivors_of(known, value * scale)
    inside = np.zeros(problem.n, np.bool_)
    inside[chosen] = True
    outside = survivors[~inside[survivors]]
    if len(outside) == 0:  # nothing else is in a better set
        return chosen, value, min(upper, value + bounds.rounding(problem))
    if problem.k == 2:
        pair = pairs.best_of(problem, chosen, survivors)
        return pair.chosen, pair.value, pair.value if pair.best else upper
    most, nodes, tune = SEARCH[effort]
    if effort is True and problem.n <= auto.TINY:
        most, nodes, tune = problem.k + SMALL_SEARCH, 8, 0
    if len(survivors) > most:
        return chosen, value, upper
    rows = problem.by_content(np.concatenate([outside, chosen]))
    looked = None if effort == "full" or problem.constraints.any else _look_at_each(problem, rows, value)
    if looked is None:
        tree, _ = search(problem, rows, chosen, limit=nodes, tune=tune)
        looked = rows[tree.best], tree.upper / scale
    found, proven = looked
    if found is not None and found is not chosen:
        better = problem.value(found)
        if better > value:
            chosen, value = found, better
    return chosen, value, max(min(upper, proven), value)


def _look_at_each(
    problem: Problem, rows: NDArray[np.int64], value: float
) -> tuple[NDArray[np.int64] | None, float] | None:
    """Return the best set of a few candidates where it is above a value, and a bound on any.

    None where there are too many sets.
    """
    scale, rounding = problem.scale(), bounds.rounding(problem) * problem.scale()
    linear, distances = _among(problem, rows)
    above = value * scale + rounding
    best, proven = few.best_set(linear, distances, problem.objective.diversity, problem.k, above, rounding)
    problem.count("nodes")
    if not proven:
        return None
    if best is None:
        return None, (above + rounding) / scale
    found = rows[best]
    return found, problem.value(found) + 3 * rounding / scale


def _among(problem: Problem, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the summed form's linear part and distances among some candidates, in float64."""
    objective = problem.max_sum()
    exact_rows = problem.vectors.rows(rows, np.float64)
    distances = objective.distances(exact_rows, exact_rows)
    distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, 0.0)
    return (1 - objective.diversity) * (problem.k - 1) * problem.relevance.at(rows), distances


def search(
    problem: Problem, rows: NDArray[np.int64], best: NDArray[np.int64], *, limit: int, tune: int
) -> tuple[exact.MaxSumTree, bool]:
    """Run branch and bound over some candidates; return what it found, and whether it came to its end."""
    linear, distances = _among(problem, rows)
    rounding, weight = bounds.rounding(problem) * problem.scale(), problem.objective.diversity
    tree = exact.tree_of(linear, distances, weight, problem.constraints, rows, best, rounding)
    tree.tell, tree.ends = problem.progress, problem.ends
    fixed = np.flatnonzero(np.isin(rows, problem.constraints.include))
    proven = tree.search(fixed, np.setdiff1d(np.arange(len(rows)), fixed), limit, tune=tune)
    problem.count("nodes", tree.nodes)
    return tree, proven


def exchange_test(problem: Problem, chosen: NDArray[np.int64], known: list[Bound], most: int | None) -> bool:
    """Return whether no single exchange with any candidate improves a set.

    False also where more than `most` candidates would have to be looked at.
    """
    whole, vectors, n = Whole(problem), problem.vectors, problem.n
    suspects = survivors_of(known, problem.value(chosen) * problem.scale())
    gradient = None
    if most is not None and problem.max_sum().low_rank:
        members = vectors.rows(chosen, np.float64).sum(axis=0)
        if len(suspects) > 2 * most:  # where some of them tell that far too many are left, no more are read
            some = vectors.sample(4096, problem.relevance.values)
            least = whole.gradient_among(np.sort(chosen), members, problem.k).min()
            tempting = some[whole.gradient_among(some, members, problem.k) > least]
            if np.count_nonzero(np.isin(tempting, suspects)) * n > 2 * most * len(some):
                return False
        elif len(suspects) <= n // 8:
            some = np.union1d(suspects, chosen)
            gradient = np.full(n, -np.inf)
            gradient[some] = whole.gradient_among(some, members, problem.k)
    if gradient is None:
        gradient = whole.gradient(chosen, np.ones(problem.k))
    suspects = suspects[gradient[suspects] > gradient[chosen].min()]
    if most is not None and len(suspects) > most:
        return False
    margin = bounds.rounding_margin(problem)
    return len(swap.improving(whole, chosen, gradient, among=suspects, margin=margin)) == 0
