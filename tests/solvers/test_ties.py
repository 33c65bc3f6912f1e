"""Of equal candidates the first: on the data, whatever solver took them."""

import numpy as np
import pytest

import setwise
from helpers import MEASURES, problem_of
from setwise import api
from setwise.index.faiss import FaissIndex
from setwise.objectives import LogDet, MaxMarginal, MaxSum
from setwise.relevance import Relevance
from setwise.solvers import SOLVERS, find, solver_of
from setwise.solvers.levels import select_greedily
from setwise.solvers.problem import Solved
from setwise.solvers.ties import first_of_equals
from setwise.vectors import Vectors

faiss = pytest.importorskip("faiss")


def by_definition(X, r, chosen, include=(), groups=None):
    """Each class's members, in the order of the selection, replaced by the lowest of the class."""
    labels = np.zeros(len(X), int) if groups is None else groups
    keys = [(tuple((row + 0.0).tolist()), r[i], labels[i]) for i, row in enumerate(X)]
    result, taken = [], set(include)
    for row in chosen:
        if row not in include:
            row = next(i for i, key in enumerate(keys) if key == keys[row] and i not in taken)
            taken.add(row)
        result.append(row)
    return result


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equals_are_those_of_the_definition(metric, dtype):
    """Rows with many copies, relevance of a few levels or none, must-have rows and groups."""
    changed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n, k = int(rng.integers(8, 80)), 6
        kinds = rng.integers(-3, 4, (max(2, n // 4), 3))
        kinds[~kinds.any(axis=1)] = 1
        X = kinds[rng.integers(len(kinds), size=n)].astype(dtype)
        if dtype != "int8":
            X[X == 0] *= rng.choice([-1, 1], size=int((X == 0).sum())).astype(dtype)  # 0 and -0
        r = rng.integers(int(rng.integers(1, 4)), size=n) / 2
        chosen = rng.permutation(n)[:k]
        include = chosen[: int(rng.integers(0, 3))]
        groups = rng.integers(2, size=n) if seed % 2 else None
        options = {} if groups is None else {"groups": groups, "max_per_group": k}
        problem = problem_of(X, r, k, metric=metric, include=include, **options)
        found = first_of_equals(problem, chosen)
        assert found.tolist() == by_definition(X, r, chosen.tolist(), include.tolist(), groups), seed
        changed += not np.array_equal(found, chosen)
    assert changed > 30


@pytest.mark.parametrize("n", [300, 40_000])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_relevance_of_a_query_counts_as_equal_where_rows_are(metric, n):
    """A similarity that rounding has moved a little is still that of the same row."""
    rng = np.random.default_rng(0)
    X = np.tile(rng.standard_normal((n // 2, 24)).astype(np.float32), (2, 1))
    query = rng.standard_normal(24)
    query /= np.linalg.norm(query)
    vectors = Vectors(X, metric, query=query)
    values = vectors.similarity.copy()
    computed = np.float32 if metric == "cosine" and not vectors.precise else np.float64
    values[: n // 2] = np.nextafter(values[: n // 2].astype(computed), computed(9))
    problem = problem_of(X, values, 5, metric=metric)
    problem.relevance = Relevance(values, vectors, query)
    chosen = n // 2 + rng.permutation(n // 2)[:5]
    assert first_of_equals(problem, chosen).tolist() == (chosen - n // 2).tolist()


@pytest.mark.parametrize("kind", ["one-hot", "all alike", "generic"])
def test_many_candidates_without_relevance(kind):
    n, rng = 30_000, np.random.default_rng(1)
    X = np.zeros((n, 8), np.float32)
    if kind == "one-hot":
        X[np.arange(n), rng.integers(8, size=n)] = 1.0
    elif kind == "all alike":
        X[:] = rng.standard_normal(8)
    else:
        X[: n // 2] = X[n // 2 :] = rng.standard_normal((n // 2, 8))
    chosen = np.arange(n - 9, n)
    problem = problem_of(X, np.zeros(n), 9)
    assert first_of_equals(problem, chosen).tolist() == by_definition(X, np.zeros(n), chosen.tolist())


def test_a_set_that_a_solver_took_from_the_copies_is_told_by_the_first_ones():
    """Every solver's set goes through here; what is drawn stays as it was drawn."""
    rng = np.random.default_rng(2)
    X, r = rng.standard_normal((50, 6)), rng.random(50)
    X, r = np.concatenate([X, X, X]), np.concatenate([r, r, r])
    problem = problem_of(X, r, 6)
    chosen = np.array([140, 20, 90, 40, 130, 110])
    for drawn in (False, True):
        solved = Solved(chosen, ordered=True, drawn=drawn)
        found = api.describe(problem, solved, "some", 0.0).indices.tolist()
        assert found == (chosen.tolist() if drawn else by_definition(X, r, chosen.tolist()))
    for name, drawn in (("random", True), ("top-k", False), ("clustering", False)):
        assert find(problem, name).drawn == drawn
    assert find(problem_of(X, r, 6, objective=LogDet(0.5)), "k-dpp").drawn


CASES = [("max-sum", metric, sharpness) for metric, sharpness in MEASURES] + [
    (name, metric, 1) for name in ("mmr", "log-det", "coverage") for metric in ("cosine", "euclidean")
]


@pytest.mark.parametrize(("objective", "metric", "sharpness"), CASES)
@pytest.mark.parametrize("given", ["relevance", "query", "neither"])
def test_every_solver_takes_the_first_of_equals(objective, metric, sharpness, given):
    for solver in SOLVERS:
        if solver_of(objective, solver) is None or solver in ("random", "k-dpp"):
            continue
        n = 7 if solver == "exact" else 40  # copies are a burden to branching
        rng = np.random.default_rng(3)
        X, r = np.tile(rng.standard_normal((n, 7)), (2, 1)).astype(np.float32), np.tile(rng.random(n), 2)
        told = {"relevance": {"relevance": r}, "query": {"query": rng.standard_normal(7)}, "neither": {}}
        for t in (0.2, 0.7):
            sel = setwise.select(
                X,
                5,
                **told[given],
                diversity=t,
                objective=objective,
                metric=metric,
                sharpness=sharpness,
                solver=solver,
                certify=False,
            )
            second = sel.indices[sel.indices >= n]
            assert set((second - n).tolist()) <= set(sel.indices.tolist()), (solver, t)


@pytest.mark.parametrize(
    "method", ["auto", "frank-wolfe+swap", "muss", "dgds", "greedy", "clustering", "top-k"]
)
def test_a_catalog_takes_the_first_of_equals(method):
    rng = np.random.default_rng(4)
    X, r = rng.standard_normal((120, 9)).astype(np.float32), rng.random(120)
    X, r = np.concatenate([X, X]), np.concatenate([r, r])
    catalog = setwise.Catalog.build(X, r, clusters=6, seed=0)
    for seed in range(4):
        sel = catalog.select(12, diversity=0.5, method=method, seed=seed)
        second = sel.indices[sel.indices >= 120]
        assert set((second - 120).tolist()) <= set(sel.indices.tolist())


def test_the_last_step_over_partitions_takes_the_first_of_equals():
    rng = np.random.default_rng(5)
    X = np.tile(rng.standard_normal((30, 5)).astype(np.float32), (2, 1))
    quality = np.tile(rng.random(30), 2)
    for objective in (MaxSum(0.5), MaxMarginal(0.5)):
        rows = np.sort(rng.permutation(60)[:50])
        found = select_greedily(Vectors(X, "cosine"), quality, 12, objective, rows)
        missing = [row for row in found if row >= 30 and row - 30 in rows and row - 30 not in found]
        assert missing == []


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
@pytest.mark.parametrize("store", ["array", "flat", "flat with ids"])
def test_an_index_yields_the_lowest_ids_of_equals(objective, store):
    rng = np.random.default_rng(6)
    X = rng.standard_normal((150, 8)).astype(np.float32)
    X = np.concatenate([X, X, X])
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    flat = faiss.IndexFlatIP(8)
    if store == "flat with ids":
        flat = faiss.IndexIDMap2(flat)
        flat.add_with_ids(X[::-1].copy(), np.arange(450)[::-1].copy())
    elif store == "flat":
        flat.add(X)
    index = setwise.Index.from_array(X) if store == "array" else FaissIndex(flat)
    for seed in range(4):
        queries = np.random.default_rng(seed).standard_normal((3, 8))
        for sharpness in (1, 8) if objective == "max-sum" else (None,):
            options = {"diversity": 0.6, "objective": objective, "sharpness": sharpness, "certify": False}
            for hits in setwise.retrieve(queries, index, 7, **options):
                ids = set(hits.ids.tolist())
                assert all(one < 150 or one - 150 in ids for one in ids)
        scores, ids = index.search(queries[:1], 9)
        ties = scores[0, :-1] == scores[0, 1:]
        assert ties.any()
        assert (np.diff(ids[0])[ties] > 0).all()


def test_groups_and_must_have_rows_are_no_equals():
    """A row of another group cannot stand in; a must-have row comes whichever copy it is."""
    rng = np.random.default_rng(7)
    X, r = rng.standard_normal((20, 4)), rng.random(20)
    X, r = np.concatenate([X, X]), np.concatenate([r, r])
    groups = np.arange(40) // 20
    best = int(np.argmax(r[:20]))
    sel = setwise.select(X, 4, relevance=r, groups=groups, max_per_group=2, diversity=0.0)
    assert (sel.indices >= 20).sum() == 2
    barred = setwise.select(X, 4, relevance=r, exclude=[best, best + 1], diversity=0.0)
    assert barred.indices[0] == best + 20
    assert (
        barred.indices.tolist()
        == [row for row in np.argsort(-r, kind="stable") if row not in (best, best + 1)][:4]
    )
    held = setwise.select(X, 4, relevance=r, include=[best + 20], diversity=0.0)
    assert held.indices[0] == best + 20
    assert best in held.indices.tolist()


def test_of_two_ways_to_the_same_set_the_first_gives_its_order():
    """Greedy by gain and by gain per cost: sums of the same members differ in the last place."""
    for seed in range(80):
        rng = np.random.default_rng(seed)
        X, query, costs = rng.standard_normal((10, 10)), rng.standard_normal(10), rng.random(10) + 0.1
        told = {"objective": "log-det", "diversity": 0.0, "include": [3], "costs": costs, "budget": 1.5}
        found = setwise.select(X, 5, query=query, **told)
        many = setwise.select_many(X, 5, queries=query[None], **told)
        assert many[0].indices.tolist() == found.indices.tolist()
