"""facets against every set there is, the linear program of its relaxation, and the definition."""

import itertools

import numpy as np
import pytest
from scipy import optimize, sparse

import setwise
from setwise.objectives import Facets
from setwise.objectives.facets import added, coverage


def covered(table, saturation=0.5):
    """The mean over facets of Σ_j γ^(j-1) times the j-th largest relevance, by its definition."""
    return np.mean(
        [sum(saturation**j * one for j, one in enumerate(sorted(column, reverse=True))) for column in table.T]
    )


def value_of(E, r, R, t, S, saturation=0.5):
    """(1 - t) (mean relevance + coverage) + t * mean distance."""
    S = list(S)
    apart = [1 - E[i] @ E[j] for i, j in itertools.combinations(S, 2)]
    return (1 - t) * (np.mean(r[S]) + covered(R[S], saturation)) + t * (np.mean(apart) if apart else 0.0)


def instance(seed):
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(2, 11)), int(rng.integers(1, 5))
    X, r = rng.standard_normal((n, 4)), np.round(rng.normal(0.3, 0.4, n), 3)
    R = np.round(rng.random((n, m)) * (rng.random((n, m)) < 0.6), 2)
    k, t = int(rng.integers(1, n + 1)), float(rng.choice([0.0, 0.2, 0.5, 1.0]))
    return X, r, R, k, t


@pytest.mark.parametrize("saturation", [0.0, 0.5, 1.0])
def test_coverage_and_what_joins_it(saturation):
    rng = np.random.default_rng(1)
    for size in range(5):
        table, members = rng.integers(0, 4, (9, 3)) / 4.0, rng.integers(0, 4, (size, 3)) / 4.0
        assert coverage(members, saturation) == pytest.approx(covered(members, saturation) if size else 0.0)
        for row, more in zip(table, added(table, members, saturation), strict=True):
            after = covered(np.vstack([members, row]), saturation)
            assert more == pytest.approx(after - coverage(members, saturation))


@pytest.mark.parametrize("solver", ["auto", "greedy", "exact", "swap"])
def test_no_bound_is_below_the_best_of_every_set(solver):
    optimal = 0
    for seed in range(8 if solver == "exact" else 16):
        X, r, R, k, t = instance(seed)
        E = X / np.linalg.norm(X, axis=1)[:, None]
        best = max(value_of(E, r, R, t, S) for S in itertools.combinations(range(len(X)), k))
        given = {str(place): column for place, column in enumerate(R.T)}  # as wide as X is vectors
        sel = setwise.select(X, k, relevance=r, facets=given, objective="facets", diversity=t, solver=solver)
        assert sel.value == pytest.approx(value_of(E, r, R, t, sel.indices))
        assert sel.value == pytest.approx((1 - t) * sel.relevance + t * sel.diversity)
        assert sel.certificate.upper_bound >= best - 1e-9, seed
        assert not sel.certificate.optimal or sel.value >= best - 1e-9, seed
        assert solver != "exact" or sel.certificate.optimal, seed
        assert solver != "greedy" or t > 0 or r.min() < 0 or sel.value >= (1 - 1 / np.e) * best
        optimal += sel.certificate.optimal
    assert optimal >= 5


def linear_program(r, R, k):
    """The largest value of the relaxation: Σ_j (γ^(j-1) - γ^j) T_j, each T_j by its parts."""
    n, m = R.shape
    steps = np.append(0.5 ** np.arange(1, k), 0.5 ** (k - 1))
    cost = np.concatenate([r / k, *[steps[j] / m * R[:, f] for f in range(m) for j in range(k)]])
    parts = m * k
    below = sparse.hstack(
        [sparse.vstack([-sparse.eye_array(n)] * parts), sparse.eye_array(n * parts)], format="csr"
    )
    sums = sparse.hstack(
        [sparse.csr_array((parts, n)), sparse.kron(sparse.eye_array(parts), np.ones((1, n)))], format="csr"
    )
    solved = optimize.linprog(
        -cost,
        A_ub=sparse.vstack([below, sums], format="csr"),
        b_ub=np.concatenate([np.zeros(n * parts), np.tile(np.arange(1, k + 1), m)]),
        A_eq=sparse.csr_array(np.concatenate([np.ones(n), np.zeros(n * parts)])[None]),
        b_eq=[k],
        bounds=(0, 1),
    )
    assert solved.status == 0
    return -solved.fun


def test_the_bound_is_that_of_the_linear_program():
    short = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        n, m, k = 24, 12, 3
        X, r = rng.standard_normal((n, 8)), np.zeros(n)
        R = (rng.random((n, m)) < 0.25).astype(float)
        program = linear_program(r, R, k)
        sel = setwise.select(
            X, k, relevance=r, facets=R, objective="facets", diversity=0.0, solver="greedy", certify="full"
        )
        assert sel.certificate.upper_bound <= program + 1e-6
        swapped = setwise.select(X, k, relevance=r, facets=R, objective="facets", diversity=0.0)
        assert swapped.certificate.upper_bound == pytest.approx(program, rel=2e-3)
        best = setwise.select(X, k, relevance=r, facets=R, objective="facets", diversity=0.0, solver="exact")
        assert best.certificate.optimal
        assert sel.value <= best.value + 1e-12
        assert best.value <= program + 1e-9
        short += sel.value < best.value - 1e-6
    assert short > 0  # greedy is not the best set everywhere: there was something to find


def test_an_index_is_searched_for_each_facet():
    """What covers a facet need not be near the query: no more than the searches for it find it."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6000, 24)).astype(np.float32)
    query, facets = X[0], X[2:5]
    index = setwise.Index.from_array(X)
    hits = setwise.retrieve(query, index, 6, objective="facets", facets=facets, diversity=0.0)
    every = setwise.select(X, 6, query=query, objective="facets", facets=facets, diversity=0.0, certify=False)
    assert hits.value == pytest.approx(every.value, rel=1e-5)
    assert hits.certificate.pool_sufficient
    assert hits.certificate.pool_size < 6000
    assert hits.certificate.upper_bound >= every.value - 1e-6
    first = np.argsort(-(X @ query) / np.linalg.norm(X, axis=1))[:400].tolist()
    assert not set(hits.ids.tolist()) <= set(first)
    assert hits.next().ids.tolist() != hits.ids.tolist()


def test_an_object_has_its_own_saturation():
    rng = np.random.default_rng(2)
    X, R = rng.standard_normal((30, 5)), rng.random((30, 3))
    goal = Facets(0.0, saturation=0.0)
    sel = setwise.select(X, 3, facets=R, objective=goal, solver="exact")
    best = max(R[list(S)].max(axis=0).mean() for S in itertools.combinations(range(30), 3))
    assert sel.value == pytest.approx(best)
    told = np.column_stack([np.zeros(3), R[sel.indices]])
    assert goal.terms(X[sel.indices], told).value == pytest.approx(best)
    more = goal.gains(X, np.column_stack([np.zeros(30), R]), X[sel.indices[:1]], R[sel.indices[:1]])
    assert more.shape == (30,)
    assert repr(goal).startswith("Facets(diversity=0.0, sharpness=1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "facets"}, "^facets: needed with objective='facets'"),
        ({"facets": np.eye(4)}, "^facets: max-sum does not cover them; pass objective='facets'"),
        (
            {"objective": "facets", "facets": np.ones((3, 2))},
            r"^facets: expected shape \(m, 4\), or \(9, m\)",
        ),
        ({"objective": "facets", "facets": np.ones(9)}, r"^facets: expected vectors \(m, d\) or relevance"),
        ({"objective": "facets", "facets": np.zeros((2, 4))}, "^facets"),
        ({"objective": "facets", "facets": -np.ones((9, 2))}, "^facets: row 0 has -1 for facet 0; relevance"),
        (
            {"objective": "facets", "facets": np.eye(4), "metric": "euclidean"},
            "^facets: vectors need metric='cosine'",
        ),
        ({"objective": "facets", "facets": {"a": [1.0] * 9, "b": [1.0] * 8}}, "^facets: the names have"),
        ({"objective": "facets", "facets": {"a": [1.0] * 9}, "solver": "frank-wolfe"}, "is not for facets"),
    ],
)
def test_what_cannot_be_covered_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        setwise.select(np.random.default_rng(0).standard_normal((9, 4)), 3, **options)


def test_euclidean_distances_have_no_bound():
    rng = np.random.default_rng(3)
    X, R = rng.standard_normal((20, 3)), rng.random((20, 2))
    sel = setwise.select(X, 4, facets=R, objective="facets", metric="euclidean", diversity=0.3)
    assert sel.certificate.upper_bound is None
    alone = setwise.select(X, 4, facets=R, objective="facets", metric="euclidean", diversity=0.0)
    assert alone.certificate.upper_bound is not None
