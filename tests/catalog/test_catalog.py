"""The catalog's methods against MUSS's definition and the core."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, product

import numpy as np
import pytest

import setwise
from helpers import value_of
from reference import make
from reference.muss import alg1, muss
from reference.objectives import unit_rows
from setwise.catalog import METHODS, choose
from setwise.cluster import random_partition
from setwise.solvers import max_sum


@pytest.fixture(scope="module")
def items():
    X, _ = make.clustered(n=1200, d=10, seed=4, clusters=25)
    return X, np.random.default_rng(1).random(1200) ** 2


@pytest.fixture(scope="module")
def catalog(items):
    return setwise.Catalog.build(*items, clusters=20, seed=0)


@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("criterion", ["sum", "min"])
def test_muss_is_algorithm_2(items, catalog, t, version, criterion):
    X, q = items
    k, m = 30, 8
    inside, top_up, scale = (k, False, 0.5) if version == 1 else (6, True, 1.0)
    sizes = catalog.clusters.sizes()
    inside = min(inside, int(sizes.max()))
    found = catalog.select(
        k,
        diversity=t,
        method="muss",
        clusters=m,
        per_cluster=inside,
        cluster_diversity=0.4,
        top_up=top_up,
        final_quality_scale=scale,
        criterion=criterion,
    )
    expected, _ = muss(
        X, q, catalog.clusters.labels, k, t, m, inside, 0.4, top_up=top_up, scale=scale, criterion=criterion
    )
    assert found.indices.tolist() == expected.tolist()
    assert found.value == pytest.approx(value_of(X, q, expected, t), abs=1e-9)
    assert found.stats["partitions"] == m
    assert set(found.stats) >= {"seconds_clusters", "seconds_inside", "seconds_union", "union"}


def test_dgds_is_greedy_over_random_parts(items, catalog):
    X, q = items
    found = catalog.select(25, diversity=0.3, method="dgds", clusters=10, per_cluster=9, seed=5)
    labels = random_partition(1200, 10, seed=5)
    expected, _ = muss(X, q, labels, 25, 0.3, 10, 9, 0.5, top_up=False)
    assert found.indices.tolist() == expected.tolist()


def test_the_ablations_differ_in_what_they_keep(items, catalog):
    X, q = items
    a = catalog.select(20, method="muss-random-clusters", clusters=5, per_cluster=8, seed=2)
    kept = np.sort(np.random.default_rng(2).choice(20, 5, replace=False))
    expected, _ = muss(X, q, catalog.clusters.labels, 20, 0.1, 5, 8, 0.5, kept=kept)
    assert a.indices.tolist() == expected.tolist()
    b = catalog.select(20, method="muss-random-partition", clusters=5, per_cluster=8, seed=2)
    expected, _ = muss(X, q, random_partition(1200, 20, seed=2), 20, 0.1, 5, 8, 0.5)
    assert b.indices.tolist() == expected.tolist()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("method", [name for name in METHODS if name != "k-dpp"])
def test_every_method_selects_k_items_of_the_catalog(items, metric, method):
    X, q = items
    catalog = setwise.Catalog.build(X, q, clusters=20, metric=metric, ids=[f"item {i}" for i in range(1200)])
    found = catalog.select(40, diversity=0.4, method=method, certify=True)
    assert len(set(found.indices.tolist())) == 40
    assert found.ids[0] == f"item {found.indices[0]}"
    assert found.clusters.tolist() == catalog.clusters.labels[found.indices].tolist()
    assert found.value == pytest.approx(value_of(X, q, found.indices, 0.4, metric=metric), abs=1e-6)
    assert found.certificate.upper_bound >= found.value
    best = catalog.select(40, diversity=0.4, method="frank-wolfe+swap")
    assert found.certificate.upper_bound >= best.value - 1e-9
    assert found.value <= best.value + 1e-9
    if method.startswith("frank-wolfe"):  # what `select` calls so, too
        solver = {"frank-wolfe": "frank-wolfe", "frank-wolfe+swap": "auto"}[method]
        same = setwise.select(X, 40, relevance=q, diversity=0.4, solver=solver, metric=metric)
        assert same.indices.tolist() == found.indices.tolist()
        assert same.solver == method
    assert (found.reason != "") == (method == "auto")
    assert found.method != "auto"
    assert found.to_dict()["method"] == found.method


def test_greedy_is_the_papers_mmr(items, catalog):
    X, q = items
    for criterion in ("sum", "min"):
        found = catalog.select(25, diversity=0.3, method="greedy", criterion=criterion)
        expected = alg1(X, q, np.arange(1200), 25, 0.3, criterion=criterion)
        assert found.indices.tolist() == expected.tolist()


def test_all_clusters_and_all_items_inside_is_greedy_over_everything(items, catalog):
    largest = int(catalog.clusters.sizes().max())
    found = catalog.select(30, diversity=0.2, method="muss", clusters=20, per_cluster=largest)
    assert found.indices.tolist() == catalog.select(30, diversity=0.2, method="greedy").indices.tolist()


def test_quality_changes_every_hour_and_clusters_stay(items, catalog):
    X, q = items
    mine = setwise.Catalog.build(X, q, clusters=20, seed=0)
    labels = mine.clusters.labels.copy()
    mine.set_quality(q[::-1].copy())
    assert np.array_equal(mine.clusters.labels, labels)
    assert mine.select(10, method="top-k").relevance == pytest.approx(np.sort(q)[-10:].mean())


def test_the_seed_decides(items):
    one, two = (setwise.Catalog.build(*items, clusters=20, seed=7) for _ in range(2))
    assert np.array_equal(one.clusters.labels, two.clusters.labels)
    for method in ("dgds", "random", "muss-random-partition"):
        a, b = (c.select(20, method=method, seed=3, threads=n) for c, n in ((one, 1), (two, 2)))
        assert a.indices.tolist() == b.indices.tolist()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("k", "diversity"), [(1, 0.3), (1, 1.0), (12, 0.3), (5, 0.0), (1, 0.0)])
@pytest.mark.parametrize("method", [name for name in METHODS if name != "k-dpp"])
def test_certificates_where_relevance_alone_decides(method, k, diversity, metric):
    """One item, all items, and diversity 0: by enumeration."""
    rng = np.random.default_rng(0)
    X, q = rng.standard_normal((12, 4)), rng.random(12)
    levels = {"clusters": 3} if method.startswith(("muss", "dgds")) else {}
    found = setwise.Catalog.build(X, q, clusters=3, metric=metric).select(
        k, diversity=diversity, method=method, certify=True, **levels
    )
    values = [value_of(X, q, rows, diversity, metric=metric) for rows in combinations(range(12), k)]
    assert found.value == pytest.approx(value_of(X, q, found.indices, diversity, metric=metric), abs=1e-9)
    assert found.certificate.upper_bound == pytest.approx(max(values), abs=1e-9)
    assert found.certificate.optimal == (found.value >= max(values) - 1e-9)


def test_a_draw_of_one_is_certified():
    rng = np.random.default_rng(0)
    X, q = rng.standard_normal((12, 4)), rng.random(12)
    found = setwise.Catalog.build(X, q, clusters=3).select(1, diversity=0.5, method="k-dpp", certify="full")
    assert found.certificate.upper_bound == pytest.approx(0.5 * q.max())


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_one_of_a_catalog_is_certified_by_every_method(metric):
    rng = np.random.default_rng(0)
    X, q = rng.standard_normal((60, 4)), rng.random(60)
    catalog = setwise.Catalog.build(X, q, clusters=5, metric=metric)
    for method, certify, t in product(METHODS, (True, "full"), (0.3, 1.0)):
        found = catalog.select(1, method=method, certify=certify, diversity=t)
        assert found.value == pytest.approx((1 - t) * q[found.indices[0]]), method
        assert found.certificate.upper_bound == pytest.approx((1 - t) * q.max()), method
        assert found.certificate.optimal == (t == 1.0 or q[found.indices[0]] == q.max()), method


def test_a_catalog_says_what_it_is():
    X = np.repeat(np.eye(3), [5, 3, 2], axis=0)
    catalog = setwise.Catalog.build(X, np.linspace(0, 0.5, 10), clusters=3, metric="euclidean")
    assert repr(catalog) == (
        "Catalog of 10 items × 3 (float64, euclidean) in 3 clusters of 2 to 5; quality 0 to 0.5"
    )


def test_a_selection_is_from_what_was_held_when_it_began(items):
    """While it runs, all but k of the items go and others come."""
    X, q = items
    catalog = setwise.Catalog.build(X, q, clusters=20)
    expected = catalog.select(40, method="muss", diversity=0.4, certify=True)
    for method in ("muss", "frank-wolfe", "top-k"):
        catalog = setwise.Catalog.build(X, q, clusters=20)
        certified = max_sum.certify

        def change(*words, catalog=catalog, certified=certified):
            catalog.remove(np.arange(40, 1200))
            catalog.add(X[:7], np.ones(7))
            return certified(*words)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(max_sum, "certify", change)
            found = catalog.select(40, method=method, diversity=0.4, certify=True)
        assert found.value == pytest.approx(value_of(X, q, found.indices, 0.4), abs=1e-6)
        assert found.certificate.upper_bound == pytest.approx(expected.certificate.upper_bound, rel=0.05)
        assert len(catalog) == 47


def test_of_changes_at_once_none_is_lost(items):
    X, q = items
    catalog = setwise.Catalog.build(X, q, clusters=20)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: catalog.add(X[at : at + 5], q[at : at + 5]), range(0, 200, 5)))
    assert len(catalog) == 1400
    assert len(catalog.quality) == len(catalog.clusters.labels) == len(set(catalog.ids.tolist())) == 1400


def test_a_catalog_is_selected_from_while_it_changes(items):
    """Every set is one of a state that the catalog had: whole, valued as its own members, without ghosts."""
    X, q = items
    names = [f"i{row}" for row in range(len(X))]
    catalog = setwise.Catalog.build(X, q, clusters=20, ids=names)
    gone, moving = names[:50], list(range(50, 90))
    catalog.remove(gone)
    stop = threading.Event()

    def change():
        while not stop.is_set():
            catalog.remove([names[row] for row in moving])
            catalog.add(X[moving], q[moving], ids=[names[row] for row in moving])

    def select(seed):
        method = ("auto", "greedy", "muss", "top-k")[seed % 4]
        if seed % 5 == 4:
            return catalog.select_many(12, queries=X[seed : seed + 2], method="auto")
        return [catalog.select(12, method=method, diversity=0.3, seed=seed)]

    with ThreadPoolExecutor(4) as pool:
        changing = pool.submit(change)
        try:
            sets = [one for found in pool.map(select, range(40)) for one in found]
        finally:
            stop.set()
        changing.result()
    assert len(sets) == 48
    for one in sets:
        assert len(set(one.ids.tolist())) == 12
        assert not set(one.ids.tolist()) & set(gone)
        rows = [int(name[1:]) for name in one.ids.tolist()]
        unit = X[rows] / np.linalg.norm(X[rows], axis=1, keepdims=True)
        spread = (1 - unit @ unit.T)[~np.eye(12, dtype=bool)].mean()
        assert one.diversity == pytest.approx(spread, abs=1e-5)


@pytest.mark.parametrize(
    ("quality", "match"),
    [
        (np.r_[-1.0, np.ones(29)], "quality: row 0 is -1"),
        (np.r_[np.ones(29), np.nan], "quality: row 29 is NaN"),
        (np.ones(29), "expected 30 numbers"),
    ],
)
def test_bad_quality(quality, match):
    X = np.random.default_rng(0).standard_normal((30, 3))
    with pytest.raises(ValueError, match=match):
        setwise.Catalog.build(X, quality, clusters=3)
    catalog = setwise.Catalog.build(X, np.ones(30), clusters=3)
    with pytest.raises(ValueError, match=match):
        catalog.set_quality(quality)
    assert (catalog.quality == 1).all()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"k": 0}, ValueError, "k: 0"),
        ({"k": 1201}, ValueError, "more than the 1200 candidates"),
        ({"method": "mus"}, ValueError, "did you mean 'muss'"),
        ({"method": "muss", "clusters": 21}, ValueError, "21 are more than the 20 clusters"),
        ({"method": "muss", "clusters": 0}, ValueError, "clusters: 0"),
        ({"method": "muss", "per_cluster": 1200}, ValueError, "largest cluster's"),
        ({"method": "muss", "clusters": 2, "per_cluster": 1, "top_up": False}, ValueError, "fewer than k"),
        ({"cluster_diversity": 2.0}, ValueError, "cluster_diversity"),
        ({"diversity": -0.1}, ValueError, "diversity"),
        ({"final_quality_scale": 0.0}, ValueError, "final_quality_scale"),
        ({"criterion": "max"}, ValueError, "criterion"),
        ({"certify": 1.5}, TypeError, "certify"),
        ({"method": "dgds", "clusters": 1300}, ValueError, "1300 parts"),
    ],
)
def test_bad_input(catalog, options, error, match):
    with pytest.raises(error, match=match):
        catalog.select(**{"k": 20, **options})


def test_bad_ids(items):
    with pytest.raises(ValueError, match="named 2 times"):
        setwise.Catalog.build(np.eye(3), np.ones(3), clusters=2, ids=["a", "b", "a"])
    with pytest.raises(ValueError, match="expected 3"):
        setwise.Catalog.build(np.eye(3), np.ones(3), clusters=2, ids=["a"])


def test_k_dpp_draws_from_the_seed(items, catalog):
    one, two, other = (catalog.select(8, diversity=0.5, method="k-dpp", seed=seed) for seed in (3, 3, 4))
    assert one.indices.tolist() == two.indices.tolist() != other.indices.tolist()
    with pytest.raises(ValueError, match="rank"):
        catalog.select(20, diversity=0.5, method="k-dpp")
    with pytest.raises(ValueError, match="diversity"):
        catalog.select(8, diversity=0.0, method="k-dpp")


def test_auto_says_what_it_took_and_why():
    assert choose(2_000_000, 500, 0.1, "cosine")[0] == "frank-wolfe+swap"
    assert choose(1000, 50, 0.0, "cosine")[0] == "top-k"
    assert choose(10_000, 500, 0.5, "euclidean")[0] == "frank-wolfe+swap"
    method, reason = choose(2_000_000, 500, 0.5, "euclidean")
    assert method == "muss"
    assert "2,000,000" in reason
    assert choose(10, 5, 0.5, "cosine", elsewhere=True)[0] == "muss"


@pytest.mark.parametrize(("n", "clusters"), [(1, 1), (4, 1), (50, 10), (1100, 200)])
def test_few_items_are_clustered_without_being_told_how(n, clusters):
    rng = np.random.default_rng(0)
    catalog = setwise.Catalog.build(rng.standard_normal((n, 4)), rng.random(n))
    assert len(catalog.clusters) == clusters
    for method in ("muss", "dgds", "auto"):
        assert len(catalog.select(min(n, 7), diversity=0.3, method=method)) == min(n, 7)


def test_options_that_a_method_does_not_look_at_are_named(catalog):
    with pytest.warns(UserWarning, match="^clusters: it does nothing for greedy, it is for muss, dgds"):
        catalog.select(3, method="greedy", clusters=4)
    with pytest.warns(UserWarning, match="^top_up: it does nothing for frank-wolfe"):
        catalog.select(3, top_up=False)


@pytest.mark.parametrize(
    ("method", "wish"),
    [
        ("greedy", {}),
        ("muss", {}),
        ("greedy", {"groups": np.arange(60) % 3, "max_per_group": 2}),
        ("greedy", {"max_similarity": 0.3}),
    ],
)
def test_what_another_criterion_finds_is_valued_and_proven_by_the_objective(method, wish):
    rng = np.random.default_rng(3)
    X, q = unit_rows(rng.standard_normal((60, 8))), rng.random(60)
    catalog = setwise.Catalog.build(X, q)
    found = catalog.select(4, criterion="min", method=method, certify=True, **wish)
    best = catalog.select(4, certify=True, **wish)
    distances = 1 - (X[found.indices] @ X[found.indices].T)[np.triu_indices(4, 1)]
    assert found.value == pytest.approx(0.9 * q[found.indices].mean() + 0.1 * distances.mean())
    assert best.value - 1e-9 <= found.certificate.upper_bound
    assert found.certificate.optimal == (found.value >= best.value - 1e-9)


def test_an_option_that_a_catalog_does_not_take_is_refused():
    catalog = setwise.Catalog.build(np.eye(4), [1, 2, 3, 4], clusters=2)
    with pytest.raises(TypeError, match=r"^Catalog.select\(\) got an unexpected keyword argument 'solver'"):
        catalog.select(2, solver="greedy")
    with pytest.raises(TypeError, match=r"^Catalog.select_many\(\) got an unexpected keyword .* 'top_up'"):
        catalog.select_many(2, relevance=np.ones((2, 4)), top_up=False)
