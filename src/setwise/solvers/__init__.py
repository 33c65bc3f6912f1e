"""Solvers: how a set is found. They know objectives and constraints, never the job.

Every solver is one line of `REGISTRY`: the objective and the solver's name, the function that finds a set,
and what it can do. It is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from setwise import checks
from setwise.certificate import unbounded

if TYPE_CHECKING:
    from setwise.request import Request
    from setwise.solvers.problem import Problem, Solved
    from setwise.solvers.unseen import Unseen

#: Stands for every objective, somebody's own too, that has no line by its name.
ANY = "any"


class Solver(NamedTuple):
    """A solver of one objective.

    Attributes
    ----------
    function : str
        "module:function" below `setwise.solvers`, from a `Problem` to a `Solved`.
    label : str
        What selections by it are said to be found by; by default its name.
    include, groups : bool
        Whether it honors must-have rows, and quotas of groups.
    budget, min_gain, shown : bool
        Whether it honors those wishes; limits and max_similarity all in `WISHED` do.
    partial : bool
        Whether it is of use among the candidates that a search of an index returns: a part of all.
    by_relevance : bool
        Whether it looks at relevance alone.
    whole : bool
        Whether it looks at all candidates where they are at hand, rather than at a pool that grows.
    """

    function: str
    label: str = ""
    include: bool = True
    groups: bool = True
    partial: bool = True
    by_relevance: bool = False
    whole: bool = False
    limits: bool = True
    max_similarity: bool = True
    budget: bool = True
    min_gain: bool = True
    shown: bool = True


#: Every solver: (objective, name) -> how to run it. The table in the docs is made from this one.
REGISTRY: dict[tuple[str, str], Solver] = {
    ("max-sum", "auto"): Solver("max_sum:by_default", "frank-wolfe+swap"),
    ("coverage", "auto"): Solver("k_medoids.chosen:by_default", "swap"),
    ("max-min", "auto"): Solver("max_min.chosen:by_default", "thresholds"),
    ("facets", "auto"): Solver("facets.chosen:by_default", "swap"),
    ("facets", "greedy"): Solver("facets.chosen:by_greedy"),
    ("facets", "swap"): Solver("facets.chosen:by_exchanges"),
    ("facets", "exact"): Solver("facets.chosen:exactly"),
    (ANY, "auto"): Solver("greedy:by_greedy", "greedy"),
    (ANY, "greedy"): Solver("greedy:by_greedy"),
    ("coverage", "greedy"): Solver("k_medoids.chosen:by_greedy"),
    ("max-sum", "frank-wolfe"): Solver("max_sum:by_frank_wolfe"),
    ("max-sum", "multilevel"): Solver("levels:by_clusters", groups=False, whole=True),
    ("max-sum", "distributed"): Solver("levels:by_parts", groups=False, whole=True),
    ("max-sum", "swap"): Solver("max_sum:by_exchanges"),
    ("coverage", "swap"): Solver("k_medoids.chosen:by_exchanges"),
    (ANY, "swap"): Solver("exchanges:by_exchanges"),
    ("max-sum", "exact"): Solver("max_sum:exactly"),
    ("coverage", "exact"): Solver("k_medoids.chosen:exactly"),
    ("max-min", "exact"): Solver("max_min.chosen:exactly"),
    ("log-det", "k-dpp"): Solver("k_dpp:draw", include=False, groups=False, partial=False),
    ("coverage", "k-means"): Solver("baselines:clustering", include=False, groups=False, partial=False),
    (ANY, "top-k"): Solver("baselines:top", by_relevance=True),
    (ANY, "random"): Solver("baselines:random", partial=False),
    (ANY, "clustering"): Solver("baselines:clustering", include=False, groups=False, partial=False),
}

#: What runs in place of those where there are wishes beyond `include` and one `max_per_group`. Who has no
#: line here honors none.
WISHED: dict[tuple[str, str], Solver] = {
    ("max-sum", "auto"): Solver("items:by_default", "moves"),
    ("max-sum", "greedy"): Solver("items:by_greedy"),
    ("max-sum", "swap"): Solver("items:by_exchanges"),
    ("max-sum", "exact"): Solver("items:exactly"),
    ("facets", "auto"): Solver("facets.chosen:by_default", "swap"),
    ("facets", "greedy"): Solver("facets.chosen:by_greedy"),
    ("facets", "swap"): Solver("facets.chosen:by_exchanges"),
    ("facets", "exact"): Solver("facets.chosen:exactly"),
    ("max-min", "auto"): Solver("max_min.chosen:by_default", "thresholds", min_gain=False),
    ("max-min", "greedy"): Solver("wished:by_greedy", min_gain=False),
    ("max-min", "exact"): Solver("max_min.chosen:exactly", min_gain=False),
    ("coverage", "auto"): Solver("wished:by_greedy", "greedy", budget=False, min_gain=False, shown=False),
    ("coverage", "greedy"): Solver("wished:by_greedy", budget=False, min_gain=False, shown=False),
    (ANY, "auto"): Solver("wished:by_greedy", "greedy"),
    (ANY, "greedy"): Solver("wished:by_greedy"),
    (ANY, "top-k"): Solver("wished:top", by_relevance=True, min_gain=False, shown=False),
}

#: Every solver's name.
SOLVERS = tuple(dict.fromkeys(name for _, name in REGISTRY))

#: What proves how good a set is, by objective: a function from a problem and a `Solved` to one with a
#: certificate. Objectives without a line have no bound.
PROOFS = {
    "max-sum": "max_sum:certify",
    "coverage": "k_medoids.chosen:certify",
    "max-min": "max_min.chosen:certify",
    "facets": "facets.chosen:certify",
}

#: The same for problems with wishes.
WISHED_PROOFS = {
    "max-sum": "items:certify",
    "max-min": "max_min.chosen:certify",
    "facets": "facets.chosen:certify",
}

#: Objectives whose solvers and proofs are the same with wishes and without.
ALIKE = ("max-min", "facets")

#: What bounds the sets with candidates that no search of an index has returned, for a request with wishes: a
#: function from a problem, a certified `Solved` and what is known of those.
BEYOND = {
    "max-sum": "unseen:certify_wished",
    "max-min": "max_min.chosen:certify_beyond",
    "facets": "facets.chosen:certify_beyond",
}

#: Objectives whose sets are bounded over what no search of an index has returned, too; see `unseen`.
UNSEEN = ("max-sum",)


def solver_of(objective: str, name: str, *, wished: bool = False) -> Solver | None:
    """Return an objective's solver by name, one for further wishes if `wished`; None where it has none."""
    table = WISHED if wished else REGISTRY
    return table.get((objective, name)) or table.get((ANY, name))


def check(request: Request, among: Sequence[str] = SOLVERS) -> str:
    """Return the solver's name, one of `among`, if it serves the objective and honors the constraints.

    Raises TypeError, ValueError: see `serving`.
    """
    needs = []
    if len(request.include):
        needs.append("include")
    if request.max_per_group is not None:
        needs.append("groups")
    word = request.solver_word
    said = dict(request.said or {})
    if request.cap != "max_per_group":
        said["groups"] = "limits"
    return serving(
        *(request.goal.name, request.solver, *needs, *request.wishes), word=word, among=among, said=said
    )


def serving(
    objective: str,
    solver: Any,
    *needs: str,
    word: str = "solver",
    among: Sequence[str] = SOLVERS,
    said: Mapping[str, str] | None = None,
) -> str:
    """Return a solver's name, checked.

    Parameters
    ----------
    objective : str
        Its name.
    solver : str
    *needs : str
        What it has to be able to, each a field of `Solver`.
    word : str
        What the solver's argument is called, for messages.
    among : sequence of str
        The names that it may have.
    said : mapping of str to str, optional
        What some of the needs are called, for messages.

    Raises TypeError: the solver is not a name; ValueError: no solver has the name, or the one that has it
    does not serve the objective, or is not able to do what it has to; the message has those that are.
    """
    name: str = checks.choice(word, solver, among)
    plain = ("include", "groups", "partial")
    serves = solver_of(objective, name)
    if serves is not None and all(need in plain and getattr(serves, need) for need in needs):
        return name
    known = {name: found for name in among if (found := solver_of(objective, name)) is not None}
    if name not in known:
        raise ValueError(f"{word}: {name!r} is not for {objective}; use one of {', '.join(known)}")
    for need in needs:
        wished = need not in plain
        able = {
            other: found
            for other in known
            if (found := solver_of(objective, other, wished=wished)) is not None and getattr(found, need)
        }
        if name not in able:
            argument = (said or {}).get(need, need)
            what = f"{argument}: the {name!r} {word} cannot honor it"
            if need == "partial":
                what = f"{word}: {name!r} needs all candidates, and a search returns a few"
            if all(found.by_relevance for found in able.values()):
                raise ValueError(f"{argument}: {objective} cannot honor it")
            raise ValueError(f"{what}; use one of {', '.join(able)}")
    return name


def label_of(objective: str, name: str, *, wished: bool = False) -> str:
    """Return what a selection by a solver is said to be found by."""
    found = solver_of(objective, name, wished=wished)
    return name if found is None else found.label or name


def is_greedy(objective: str, name: str) -> bool:
    """Return whether a solver is greedy selection, by whatever name."""
    found = solver_of(objective, name)
    return found is not None and found.function == "greedy:by_greedy"


def find(problem: Problem, name: str) -> Solved:
    """Return the set that a solver finds, with nothing proven that it does not prove by itself."""
    request = problem.request
    found = solver_of(request.goal.name, name, wished=bool(request.wishes))
    assert found is not None  # `check` has let it pass
    solved: Solved = _load(found.function)(problem)
    problem.stats.setdefault("kernel", "numpy")
    return solved


def certify(problem: Problem, solved: Solved) -> Solved:
    """Return a set with its certificate, or a better one that the proof has come across."""
    if solved.certificate is not None:
        return solved
    proofs = WISHED_PROOFS if problem.request.wishes else PROOFS
    if (proof := proofs.get(problem.request.goal.name)) is not None:
        proven: Solved = _load(proof)(problem, solved)
        return proven
    size = int(problem.stats.get("pool_size", problem.n)) if solved.sufficient else problem.n
    return replace(solved, certificate=unbounded(size, solved.sufficient))


def certify_beyond(problem: Problem, solved: Solved, unseen: Unseen, scope: str) -> Solved:
    """Return a set certified among seen candidates, certified against all sets, unseen ones too.

    ``scope`` is as of `Certificate`.
    """
    place, proof = BEYOND.get(problem.request.goal.name), solved.certificate
    assert proof is not None
    if not unseen.exhausted and (place is None or proof.upper_bound is None or solved.known is None):
        proof = replace(proof, pool_sufficient=False)
    elif not unseen.exhausted:
        assert place is not None
        solved = _load(place)(problem, solved, unseen)
        proof = solved.certificate
    assert proof is not None
    return replace(solved, certificate=replace(proof, scope=scope))


def _load(place: str) -> Callable[..., Any]:
    """Return a function by "module:function"."""
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(_module(module), name)
    return function


@cache
def _module(name: str) -> Any:
    """Return a module below `setwise.solvers`, loaded when it is first asked for."""
    return importlib.import_module(f"setwise.solvers.{name}")
