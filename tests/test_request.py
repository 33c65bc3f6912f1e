"""The request that every selecting call makes of its options: checked once, spelled out in signatures."""

import asyncio
import inspect
import itertools
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import setwise
from helpers import MEASURES, quiet
from optional import needs
from reference import make
from setwise import retrieval
from setwise.files import Corpus
from setwise.objectives import NAMES
from setwise.request import Options, Request
from setwise.solvers import SOLVERS, solver_of

ROOT = Path(__file__).parents[1]

CALLS = {
    "select": setwise.select,
    "select_many": setwise.select_many,
    "retrieve": setwise.retrieve,
    "aretrieve": setwise.aretrieve,
    "diversify": setwise.diversify,
    "retrieve_texts": retrieval.retrieve_texts,
    "PreparedCorpus.select": retrieval.PreparedCorpus.select,
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


# --- options ------------------------------------------------------------------------------------------------


@calls
def test_signatures_spell_the_options_out(call):
    parameters = inspect.signature(call).parameters
    for name in Options.__annotations__:
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY, name
        assert parameters[name].default is not inspect.Parameter.empty, name
        assert name in call.__doc__ or "as for `retrieve`" in call.__doc__, f"{name} is not documented"
    assert not any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def test_every_option_is_a_field_with_a_default():
    known = {one.name: one.default for one in fields(Request)}
    for name in Options.__annotations__:
        assert inspect.signature(setwise.select).parameters[name].default is known[name]


def arguments(call):
    """What a call needs beside its options."""
    index, corpus = setwise.Index.from_array(np.eye(3)), Corpus(None, [1, 2, 3], vectors=np.eye(3))
    return {
        "select": (np.eye(3), 2),
        "select_many": (np.eye(3), 2),
        "retrieve": (np.ones(3), index, 2),
        "aretrieve": (np.ones(3), index, 2),
        "diversify": ([1, 2, 3], 2),
        "retrieve_texts": (corpus, np.ones(3), 2),
        "PreparedCorpus.select": (retrieval.prepare(corpus), np.ones(3), 2),
    }[call.__qualname__]


def given_by_keyword(call):
    return {"relevance": [3, 2, 1], "vectors": np.eye(3)} if call is setwise.diversify else {}


@calls
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"diversty": 0.5}, TypeError, r"{}\(\) got an unexpected keyword argument 'diversty'"),
        ({"diversity": 1.5}, ValueError, r"diversity: 1\.5 is outside \[0, 1\]"),
        ({"solver": "gredy"}, ValueError, "solver: 'gredy' is unknown; did you mean 'greedy'"),
        ({"certify": "yes"}, ValueError, "certify: expected False, True or 'full'"),
        ({"seed": -1}, ValueError, "seed: -1 is below 0"),
        ({"threads": 0}, ValueError, "threads: 0 is below 1"),
        ({"max_per_group": 0, "groups": [1, 2, 3]}, ValueError, "max_per_group: 0 is below 1"),
        ({"groups": [1, 2, 3]}, ValueError, "max_per_group: needed with groups"),
        ({"include": [0], "exclude": [0]}, ValueError, "(include|exclude): "),
        ({"include": "12"}, TypeError, "include: expected row numbers or ids, one after the other, got '12'"),
        ({"exclude": 1}, TypeError, "exclude: expected row numbers or ids, one after the other, got 1"),
        ({"exclude": np.array(1)}, TypeError, "exclude: expected row numbers or ids"),
    ],
)
def test_every_call_refuses_alike(call, options, error, message):
    given = arguments(call), {**given_by_keyword(call), **options}
    with pytest.raises(error, match="^" + message.replace("{}", call.__qualname__)):
        asyncio.run(call(*given[0], **given[1]))


def test_type_checkers_refuse_mistyped_options(tmp_path):
    """With the repository's own settings and cache, so that little is left to do after `make check`."""
    checker = pytest.importorskip("mypy.api")
    typed = tmp_path / "typed.py"
    typed.write_text(
        "import setwise\n"
        "setwise.select([[1.0]], 1, diversity=0.5, exclude=[0])\n"
        "setwise.select([[1.0]], 1, diversty=0.5)\n"
        "setwise.select_many([[1.0]], 1, seed='a')\n"
        "setwise.retrieve([1.0], setwise.Index.from_array([[1.0]]), 1, metric='cosine')\n"
        "waiting = setwise.aretrieve([1.0], setwise.Index.from_array([[1.0]]), 1, polo='auto')\n"
    )
    report, errors, code = checker.run([f"--config-file={ROOT / 'pyproject.toml'}", str(typed)])
    assert code == 1, errors
    found = [line.partition("error: ")[2] for line in report.splitlines() if "error: " in line]
    said = [
        'Unexpected keyword argument "diversty" for "select"',
        'Argument "seed" to "select_many" has incompatible type "str"',
        'Unexpected keyword argument "metric" for overloaded function "retrieve"',
        'Unexpected keyword argument "polo" for overloaded function "aretrieve"',
    ]
    assert all(any(line.startswith(one) for line in found) for one in said), found
    lines = {line.split(":")[1] for line in report.splitlines() if "error: " in line}
    assert lines == {"3", "4", "5", "6"}, report


def test_a_request_is_checked_again_when_it_is_changed():
    asked = Request(k=3, diversity=0.4, sharpness=8)
    assert (asked.goal.diversity, asked.goal.sharpness) == (0.4, 8)
    changed = replace(asked, diversity=0.7)
    assert (changed.goal.diversity, changed.goal.sharpness, asked.goal.diversity) == (0.7, 8, 0.4)
    with pytest.raises(ValueError, match=r"diversity: 2 is outside|diversity: 2\.0 is outside"):
        replace(asked, diversity=2)
    with pytest.raises(ValueError, match="k: 0 is below 1"):
        replace(asked, k=0)


def test_rows_may_come_from_an_iterator():
    X, r = make.clustered(n=30, d=6)
    first = setwise.select(X, 4, relevance=r, include=[3, 9], exclude=[1, 2])
    again = setwise.select(X, 4, relevance=r, include=iter([3, 9]), exclude=(row for row in [1, 2]))
    assert np.array_equal(first.indices, again.indices)


# --- exclude ------------------------------------------------------------------------------------------------


def without(X, k, exclude, **options):
    """The selection among the rows that are left, in the numbers of all rows."""
    left = np.delete(np.arange(len(X)), exclude)
    for name in ("relevance", "groups", "facets"):
        if options.get(name) is not None:
            options[name] = np.asarray(options[name])[left]
    options["include"] = np.searchsorted(left, options.get("include", ()))
    found = quiet(setwise.select, np.asarray(X)[left], k, **options)
    return left[found.indices], found


def assert_as_without(found, X, k, exclude, **options):
    rows, other = without(X, k, exclude, **options)
    assert np.array_equal(found.indices, rows)
    assert not np.isin(exclude, found.indices).any()
    assert found.indices.dtype == np.int64
    assert found.value == pytest.approx(other.value, abs=1e-9)
    assert np.allclose(found.gains, other.gains, atol=1e-9)
    assert found.certificate.upper_bound == pytest.approx(other.certificate.upper_bound, abs=1e-6)
    assert found.certificate.pool_size <= len(X) - len(exclude)


EVERY = [(solver, name) for solver in SOLVERS for name in NAMES if solver_of(name, solver)]


@needs("faiss")
@pytest.mark.parametrize(("solver", "objective"), EVERY)
def test_barred_rows_are_as_if_not_there(solver, objective):
    X, r = make.clustered(n=60, d=8, seed=3)
    best = np.argsort(-r)[:6]
    for metric, sharpness in MEASURES:
        if objective != "max-sum" and sharpness != 1:
            continue
        if (objective, solver, metric) == ("facets", "exact", "euclidean"):
            continue  # it has no bound there, and is refused
        options = {"relevance": r, "objective": objective, "solver": solver, "metric": metric}
        options |= {"sharpness": sharpness, "diversity": 0.4, "seed": 5}
        options |= {"facets": np.abs(X[:, :2])} if objective == "facets" else {}
        found = quiet(setwise.select, X, 5, exclude=best, **options)
        assert_as_without(found, X, 5, best, **options)


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("by", ["query", "relevance"])
def test_barred_rows_of_large_data(objective, dtype, by):
    """Several passes over the data, several blocks a pass; the half that is most relevant is barred."""
    X, r = make.clustered(n=9000, d=24, seed=1, clusters=30)
    X = X.astype(dtype)
    query = np.random.default_rng(0).standard_normal(24)
    given = {"query": query} if by == "query" else {"relevance": r}
    near = X.astype(np.float64) @ query if by == "query" else r
    barred = np.argsort(-near)[:4500]
    options = {**given, "objective": objective, "diversity": 0.3}
    found = quiet(setwise.select, X, 12, exclude=barred, **options)
    assert_as_without(found, X, 12, barred, **options)


def test_barred_rows_and_the_other_constraints():
    X, r = make.clustered(n=80, d=8, seed=4)
    groups = np.arange(80) % 6
    options = {"relevance": r, "groups": groups, "max_per_group": 2, "include": [50, 3], "diversity": 0.5}
    barred = [0, 4, 51, 79, 77]
    found = quiet(setwise.select, X, 9, exclude=barred, **options)
    assert found.indices[:2].tolist() == [50, 3]
    assert_as_without(found, X, 9, barred, **options)


def test_relevance_is_rescaled_without_barred_rows():
    X, r = make.clustered(n=40, d=8, seed=5)
    r[7] = 1e6
    for scale in ("minmax", "zscore", "rank"):
        options = {"relevance": r, "relevance_scale": scale, "diversity": 0.5}
        found = quiet(setwise.select, X, 6, exclude=[7], **options)
        assert_as_without(found, X, 6, [7], **options)


def test_what_is_barred_need_not_be_usable():
    """A row is not read, so one without a direction or with NaN may be barred; others keep their numbers."""
    X, r = make.clustered(n=40, d=8, seed=5)
    X[11], X[12] = 0.0, np.nan
    assert len(setwise.select(X, 6, relevance=r, exclude=[11, 12])) == 6
    X[30] = np.inf
    with pytest.raises(ValueError, match="vectors: row 30 has Inf"):
        setwise.select(X, 6, relevance=r, exclude=[11, 12])


def test_barred_rows_of_many_queries():
    X, r = make.clustered(n=70, d=8, seed=6)
    queries = np.random.default_rng(0).standard_normal((3, 8))
    options = {"diversity": 0.4, "exclude": [1, 5, 60], "include": [9]}
    for given in ({"queries": queries}, {"relevance": np.stack([r, r[::-1], -r])}):
        many = quiet(setwise.select_many, X, 6, **given, **options)
        one = "query" if "queries" in given else "relevance"
        loop = [quiet(setwise.select, X, 6, **{one: row}, **options) for row in next(iter(given.values()))]
        for found, other in zip(many, loop, strict=True):
            assert np.array_equal(found.indices, other.indices)
            assert found.value == pytest.approx(other.value, abs=1e-9)


def test_a_barred_best_set_is_never_in_the_bound():
    """The bound is on the sets that are left: enumerated."""
    X, r = make.clustered(n=11, d=4, seed=7)
    barred = np.argsort(-r)[:3]
    left = [row for row in range(11) if row not in barred]
    found = setwise.select(X, 3, relevance=r, exclude=barred, certify="full", diversity=0.4)
    values = [
        setwise.select(X[list(some)], 3, relevance=r[list(some)], diversity=0.4).value
        for some in itertools.combinations(left, 3)
    ]
    assert found.certificate.optimal
    assert found.value == pytest.approx(max(values), abs=1e-12)
    assert found.certificate.upper_bound >= max(values) - 1e-12
    assert found.certificate.upper_bound < setwise.select(X, 3, relevance=r, diversity=0.4).value


BAD = [
    ({"exclude": [8]}, ValueError, "exclude: 8 is not a row of the 8 candidates"),
    ({"exclude": [-1]}, ValueError, "exclude: -1 is not a row of the 8 candidates"),
    ({"exclude": [2, 5, 2]}, ValueError, "exclude: row 2 is named twice"),
    ({"exclude": [0.5]}, TypeError, "exclude: expected row numbers"),
    ({"exclude": 1}, TypeError, "exclude: expected row numbers"),
    ({"exclude": "12"}, TypeError, "exclude: expected row numbers"),
    (
        {"exclude": range(6)},
        ValueError,
        "k: 3 is more than the 2 candidates that exclude leaves; ask for at most 2",
    ),
    ({"exclude": [1, 2], "include": [0, 2]}, ValueError, "include: row 2 is in exclude, too"),
    (
        {"exclude": [1, 2], "groups": [0, 1, 2, 0, 0, 0, 0, 0], "max_per_group": 1},
        ValueError,
        "max_per_group: with at most 1 of each of 1 groups only 1 candidates may be chosen",
    ),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_bad_exclusions_are_refused(options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        setwise.select(np.eye(8), 3, **options)
    with pytest.raises(error, match=f"^{message}"):
        setwise.select_many(np.eye(8), 3, queries=np.eye(8)[:2], **options)


def test_pools_take_no_rows():
    for name in ("include", "exclude"):
        with pytest.raises(ValueError, match=f"^{name}: with pools, pass a list of rows for each"):
            setwise.select_many(np.ones((2, 4, 3)), 2, **{name: [1]})


@pytest.mark.parametrize(
    "huge", [{"k": 10**400, "min_gain": 0.1}, {"k": 2, "groups": {"a": [0, 1]}, "limits": {"a": 2**63}}]
)
def test_integers_that_no_array_holds_are_refused_by_name(huge):
    with pytest.raises(ValueError, match=r"^(k|limits: a): it is above 9223372036854775807$"):
        setwise.select(np.eye(2), **huge)
