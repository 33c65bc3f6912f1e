"""Selection by levels against MUSS's and DGDS's definitions: in `select` and in `retrieve`, certified."""

import itertools

import numpy as np
import pytest

import setwise
from helpers import value_of
from optional import needs
from reference import make
from reference.muss import muss
from setwise.cluster import k_means, random_partition
from setwise.vectors import Vectors

#: Both papers' settings, and k' beyond the smallest cluster.
SETTINGS = [
    {"top_up": False, "final_quality_scale": 0.5, "per_cluster": 8},
    {"top_up": True, "final_quality_scale": 1.0, "per_cluster": 1},
    {"top_up": True, "final_quality_scale": 1.0, "per_cluster": 30},
]


@pytest.fixture(scope="module")
def data():
    X, r = make.clustered(n=400, d=12, seed=3, clusters=9)
    labels = np.random.default_rng(0).choice(9, 400, p=np.array([2, 3, 4, 5, 6, 8, 12, 20, 40]) / 100)
    return X, r, labels


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_it_is_algorithm_2_over_given_clusters(data, settings, metric):
    X, r, labels = data
    names = np.array([f"c{label}" for label in range(9)])[labels]  # any labels, in any order
    for t, t_c, m in itertools.product((0.2, 0.7), (0.0, 0.6), (3, 9)):
        options = {**settings, "partition": labels, "clusters": m, "cluster_diversity": t_c}
        expected, _ = muss(
            *(X, r, labels, 8, t, m, settings["per_cluster"], t_c, metric),
            top_up=settings["top_up"],
            scale=settings["final_quality_scale"],
        )
        call = {"relevance": r, "diversity": t, "metric": metric, "solver": "multilevel"}
        sel = setwise.select(X, 8, **call, solver_options=options)
        assert sel.indices.tolist() == expected.tolist()
        assert sel.value == pytest.approx(value_of(X, r, expected, t, metric=metric), abs=1e-9)
        assert sel.stats["partitions"] == m
        named = setwise.select(X, 8, **call, solver_options=options | {"partition": names.tolist()})
        assert named.value == pytest.approx(sel.value, abs=1e-9)
        best = setwise.select(X, 8, relevance=r, diversity=t, metric=metric)
        if sel.certificate.upper_bound is not None:
            assert sel.certificate.upper_bound >= best.value - 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_distributed_is_greedy_over_random_parts(data, seed):
    X, r, _ = data
    labels = random_partition(400, 7, seed)
    expected, _ = muss(X, r, labels, 12, 0.4, 7, 3, 0.5, top_up=False)
    options = {"partition": 7, "per_cluster": 3}
    call = {"relevance": r, "diversity": 0.4, "seed": seed, "solver": "distributed"}
    assert setwise.select(X, 12, **call, solver_options=options).indices.tolist() == expected.tolist()
    given = setwise.select(X, 12, **call, solver_options={"partition": labels, "per_cluster": 3})
    assert given.indices.tolist() == expected.tolist()


@needs("faiss")
def test_clusters_are_made_where_none_are_given(data):
    X, r, _ = data
    made = k_means(Vectors(X, "cosine"), 20, seed=5)  # the root of 400
    expected, _ = muss(X, r, made.labels, 6, 0.3, 10, 1, 0.5)
    sel = setwise.select(X, 6, relevance=r, diversity=0.3, solver="multilevel", seed=5)
    assert sel.indices.tolist() == expected.tolist()
    assert sel.stats["partitions"] == 10


def test_rows_that_are_barred_are_in_no_cluster(data):
    X, r, labels = data
    barred = np.flatnonzero((labels < 3) | (np.arange(400) % 5 == 0))
    left = np.setdiff1d(np.arange(400), barred)
    options = {
        "partition": labels,
        "clusters": 8,
        "per_cluster": 60,
    }  # of clusters that are gone, none is missed
    sel = setwise.select(
        X, 8, relevance=r, solver="multilevel", exclude=barred, include=[left[0]], solver_options=options
    )
    assert sel.indices[0] == left[0]
    assert not set(sel.indices) & set(barred)
    alone = setwise.select(
        *(X[left], 8),
        relevance=r[left],
        solver="multilevel",
        include=[0],
        solver_options=options | {"partition": labels[left]},
    )
    assert left[alone.indices].tolist() == sel.indices.tolist()


def test_a_query_is_answered_over_saved_clusters(data):
    X, _, labels = data
    query = X[7] + 0.1
    similar = X @ query / np.linalg.norm(X, axis=1) / np.linalg.norm(query)
    index = setwise.Index.from_array(X, fields={"cluster": labels})
    settings = {"clusters": 4, "per_cluster": 5}
    expected, _ = muss(X, similar, labels, 8, 0.3, 4, 5, 0.5)
    call = {"diversity": 0.3, "sharpness": 1, "solver": "multilevel"}
    for partition in ("cluster", labels, dict(enumerate(labels.tolist()))):
        hits = setwise.retrieve(query, index, 8, **call, solver_options=settings | {"partition": partition})
        assert hits.ids.tolist() == expected.tolist()
        assert (
            hits.certificate.upper_bound
            >= setwise.retrieve(query, index, 8, **call | {"solver": "auto"}).value
        )
    both = setwise.retrieve(
        np.stack([query, X[3]]), index, 8, **call, solver_options=settings | {"partition": "cluster"}
    )
    assert both[0].ids.tolist() == expected.tolist()
    near = np.sort(np.argsort(-similar)[:50])
    pool, _ = muss(X[near], similar[near], np.unique(labels[near], return_inverse=True)[1], 8, 0.3, 4, 5, 0.5)
    few = setwise.retrieve(
        query, index, 8, **call, pool=50, solver_options=settings | {"partition": "cluster"}
    )
    assert few.ids.tolist() == near[pool].tolist()
    assert few.certificate.upper_bound >= hits.certificate.upper_bound - 1e-6
