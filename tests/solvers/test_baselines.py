"""top-k, random and clustering: what they are by definition."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

import setwise
from helpers import assert_feasible
from optional import needs
from reference import make

OBJECTIVES = ["max-sum", "mmr", "log-det"]
objectives = pytest.mark.parametrize("objective", OBJECTIVES)


@objectives
@pytest.mark.parametrize("t", [0.0, 0.4, 1.0])
def test_top_k_is_the_most_relevant(objective, t):
    X, r = make.clustered(n=200, d=16, seed=0, clusters=9)
    sel = setwise.select(X, 12, relevance=r, objective=objective, diversity=t, solver="top-k")
    assert set(sel.indices.tolist()) == set(np.argsort(-r)[:12].tolist())
    assert sel.solver == "top-k"
    ties = setwise.select(X, 12, relevance=np.zeros(200), objective=objective, diversity=t, solver="top-k")
    assert set(ties.indices.tolist()) == set(range(12))


@objectives
def test_top_k_within_the_constraints(objective):
    X, r = make.clustered(n=200, d=16, seed=0, clusters=9)
    labels = make.group_labels(200, 9, 0)
    must = [int(np.argmin(r)), int(np.flatnonzero(labels != labels[np.argmin(r)])[0])]
    sel = setwise.select(
        X, 8, relevance=r, objective=objective, solver="top-k", include=must, groups=labels, max_per_group=1
    )
    expected, counts = list(must), np.bincount(labels[must], minlength=9)
    for row in np.argsort(-r, kind="stable"):
        if len(expected) < 8 and row not in expected and counts[labels[row]] < 1:
            expected.append(int(row))
            counts[labels[row]] += 1
    assert sel.indices[:2].tolist() == must
    assert set(sel.indices.tolist()) == set(expected)


@objectives
def test_random_is_uniform_and_follows_the_seed(objective):
    X, r = make.clustered(n=10, d=16, seed=0)
    draws = [
        setwise.select(X, 3, relevance=r, objective=objective, solver="random", seed=seed, certify=False)
        for seed in range(400)
    ]
    counts = np.bincount(np.concatenate([draw.indices for draw in draws]), minlength=10)
    assert counts.sum() == 1200
    assert 80 < counts.min() <= counts.max() < 160
    again = setwise.select(X, 3, relevance=r, objective=objective, solver="random", seed=7)
    assert np.array_equal(again.indices, draws[7].indices)
    assert len({tuple(sorted(draw.indices.tolist())) for draw in draws}) > 80
    labels = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2]
    for seed in range(20):
        options = {"include": [4], "groups": labels, "max_per_group": 1}
        sel = setwise.select(X, 3, relevance=r, objective=objective, solver="random", seed=seed, **options)
        assert_feasible(sel.indices, 10, 3, **options)


@needs("faiss")
@objectives
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_clustering_takes_the_most_relevant_of_each_cluster(objective, metric, dtype):
    """Two clusters far apart, which k-means cannot miss: the best of each."""
    rng = np.random.default_rng(0)
    centers = 20 * np.linalg.qr(rng.standard_normal((16, 2)))[0].T
    labels = rng.integers(2, size=300)
    X = (centers[labels] + 0.1 * rng.standard_normal((300, 16))).astype(dtype)
    r = rng.random(300)
    options = {"relevance": r, "objective": objective, "metric": metric, "solver": "clustering"}
    sel = setwise.select(X, 2, **options)
    best = [max(np.flatnonzero(labels == label), key=lambda row: r[row]) for label in range(2)]
    assert set(sel.indices.tolist()) == {int(row) for row in best}
    assert sel.stats["clusters"] == 2
    assert np.array_equal(sel.indices, setwise.select(X, 2, **options).indices)
    order = rng.permutation(300)
    moved = setwise.select(X[order], 2, **options | {"relevance": r[order]})
    assert set(order[moved.indices].tolist()) == set(sel.indices.tolist())


@needs("faiss")
def test_clustering_far_from_the_origin():
    """Two clusters 10 apart, 1e6 away: float32 products alone would not tell them apart."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=300)
    X = 1e6 + 10.0 * labels[:, None] + 0.1 * rng.standard_normal((300, 4))
    r = rng.random(300)
    sel = setwise.select(X, 2, relevance=r, metric="euclidean", solver="clustering")
    assert set(sel.indices.tolist()) == {
        int(max(np.flatnonzero(labels == label), key=lambda row: r[row])) for label in range(2)
    }


@needs("faiss")
def test_clustering_rows_beyond_float32_does_not_end_the_process():
    """In a process of its own, since the library below aborts where it meets Inf."""
    script = """
import warnings, numpy as np, setwise
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
for factor in (1e15, 1e25, 1e60):
    X = rng.standard_normal((30, 3)) * factor
    sel = setwise.select(X, 5, metric="euclidean", solver="clustering", certify=False)
    assert len(set(sel.indices.tolist())) == 5
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-500:]


@needs("faiss")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", ["alike", "two", "few", "line"])
def test_clustering_always_gives_k(metric, kind):
    """Fewer distinct rows than clusters, one dimension, n = k."""
    rng = np.random.default_rng(0)
    X = {
        "alike": np.ones((30, 3)),
        "two": np.repeat(np.eye(3)[:2], 15, axis=0),
        "few": rng.standard_normal((6, 3)),
        "line": rng.standard_normal((30, 1)),
    }[kind]
    r = rng.random(len(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in (1, 5, 6):
            for t in (0.0, 0.5):
                sel = setwise.select(X, k, relevance=r, metric=metric, diversity=t, solver="clustering")
                assert_feasible(sel.indices, len(X), k)
                assert np.isfinite(sel.value)
