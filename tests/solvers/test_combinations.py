"""The table of solvers, walked: each combination works and keeps its constraints, or says what does."""

import itertools
import re
import warnings
from functools import cache

import numpy as np
import pytest

import setwise
from helpers import assert_feasible
from optional import needs
from reference import make
from setwise.objectives import NAMES
from setwise.solvers import SOLVERS, solver_of

DOCUMENTED = {
    "max-sum": {
        *("auto", "greedy", "frank-wolfe", "multilevel", "distributed", "swap", "exact", "top-k"),
        *("random", "clustering"),
    },
    "mmr": {"auto", "greedy", "swap", "top-k", "random", "clustering"},
    "log-det": {"auto", "greedy", "swap", "k-dpp", "top-k", "random", "clustering"},
    "coverage": {"auto", "greedy", "swap", "exact", "k-means", "top-k", "random", "clustering"},
    "facets": {"auto", "greedy", "swap", "exact", "top-k", "random", "clustering"},
    "max-min": {"auto", "greedy", "swap", "exact", "top-k", "random", "clustering"},
}

COMBINATIONS = [
    pytest.param(*pair, marks=[needs("faiss")] if pair[1] in ("clustering", "k-means", "multilevel") else [])
    for pair in itertools.product(NAMES, SOLVERS)
]

METRICS = ("cosine", "euclidean")

#: Metric, whether rows are included, whether groups are limited, whether it is certified, of how many: every
#: way among few.
FEW = list(itertools.product(METRICS, [False, True], [False, True], [True, False], [24]))


def many(objective, solver):
    """Either end among more than what the objective's solvers hold at once, by turns with either metric."""
    n = 4200 if objective in ("coverage", "facets", "max-min") else 8200
    first, second = METRICS if SOLVERS.index(solver) % 2 else METRICS[::-1]
    return [(first, False, False, True, n), (second, True, True, False, n)]


@cache
def candidates(n):
    X, r = make.clustered(n=n, d=12, seed=1, clusters=12, cone=1.0)
    return X.astype(np.float32), r, make.group_labels(n, 5, 1)


def test_the_table_has_the_contracts_solvers():
    for objective, solvers in DOCUMENTED.items():
        assert solvers <= {name for name in SOLVERS if solver_of(objective, name)}


@pytest.mark.parametrize(("objective", "solver"), COMBINATIONS)
def test_each_combination_works_or_says_what_does(objective, solver):
    for call in FEW + many(objective, solver):
        assert_works_or_says_what_does(objective, solver, *call)


def assert_works_or_says_what_does(objective, solver, metric, include, groups, certify, n):
    X, r, labels = candidates(n)
    options = {"include": [5, int(np.flatnonzero(labels != labels[5])[3])]} if include else {}
    if groups:
        options |= {"groups": labels, "max_per_group": 2}
    call = {
        "relevance": r,
        "objective": objective,
        "solver": solver,
        "metric": metric,
        "diversity": 0.05,
        **options,
        **covering(objective, n),
    }
    able = solver_of(objective, solver)
    if able is None:
        with pytest.raises(
            ValueError, match=f"^solver: '{solver}' is not for {objective}; use one of "
        ) as refused:
            setwise.select(X, 6, **call)
        offered = re.split(r"[,\s]+", str(refused.value).partition("use one of ")[2])
        assert set(offered) == {name for name in SOLVERS if solver_of(objective, name)}
        return
    unable = [
        name
        for name, asked in (("include", include), ("groups", groups))
        if asked and not getattr(able, name)
    ]
    if unable:
        with pytest.raises(
            ValueError, match=f"^{unable[0]}: the '{solver}' solver cannot honor it; use one of auto"
        ):
            setwise.select(X, 6, **call)
        return
    try:
        sel = setwise.select(X, 6, certify=certify, **call)
    except ValueError as error:
        if solver == "exact" and n > 1024 and re.search("can search (1024|192|2048) candidates", str(error)):
            return
        if "has no bound for euclidean" in str(error):
            assert (objective, solver, metric) == ("facets", "exact", "euclidean")
            return
        if solver == "k-dpp" and metric == "euclidean" and n > 4000 and "at most 4000" in str(error):
            return
        raise
    assert_feasible(sel.indices, n, 6, **options)
    assert np.isfinite(sel.value)
    assert np.isfinite(sel.gains).all()
    assert (sel.certificate is not None) == certify
    default = {
        "max-sum": "frank-wolfe+swap",
        "coverage": "swap",
        "max-min": "thresholds",
        "facets": "swap",
    }.get(objective, "greedy")
    assert sel.solver == (default if solver == "auto" else solver)


@pytest.mark.parametrize(("objective", "solver"), [each for each in COMBINATIONS if solver_of(*each.values)])
def test_ends_of_the_range(objective, solver):
    """k = 1 and k = n, relevance alone and diversity alone."""
    for t, k in itertools.product((0.0, 1.0), (1, 14)):
        assert_ends_are_right(objective, solver, t, k)


def covering(objective, n):
    """What facets has to be given: the same relevance of all to one facet, which decides nothing."""
    return {"facets": {"all": np.ones(n)}} if objective == "facets" else {}


def assert_ends_are_right(objective, solver, t, k):
    X, r = make.clustered(n=14, d=20, seed=2)
    if solver == "k-dpp" and t == 0:
        with pytest.raises(
            ValueError, match="diversity: 0 leaves no determinant to draw by; use solver='top-k'"
        ):
            setwise.select(X, k, relevance=r, objective=objective, solver=solver, diversity=t)
        return
    for metric in ("cosine", "euclidean"):
        if (objective, solver, metric) == ("facets", "exact", "euclidean") and t > 0 and k > 1:
            with pytest.raises(ValueError, match="'exact' has no bound for euclidean distances"):
                setwise.select(
                    X,
                    k,
                    objective=objective,
                    solver=solver,
                    metric=metric,
                    diversity=t,
                    **covering(objective, 14),
                )
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sel = setwise.select(
                X,
                k,
                relevance=r,
                objective=objective,
                solver=solver,
                diversity=t,
                metric=metric,
                **covering(objective, 14),
            )
        assert_feasible(sel.indices, 14, k)
        if k == 14:
            assert set(sel.indices.tolist()) == set(range(14))
        elif solver != "random" and (t == 0 or objective in ("max-sum", "mmr", "max-min")):
            assert sel.indices.tolist() == [int(np.argmax(r))]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("frank_wolfe", "frank-wolfe"), ("Greedy", "greedy"), ("topk", "top-k"), ("exakt", "exact")],
)
def test_the_nearest_solver_is_suggested(name, hint):
    with pytest.raises(ValueError, match=f"solver: '{name}' is unknown; did you mean '{hint}'"):
        setwise.select(np.eye(3), 1, solver=name)
