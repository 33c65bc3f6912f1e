"""Density of near-duplicates against its definition, and in bounded memory however many copies there are."""

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from optional import needs
from reference import tsds
from setwise.finetuning import cells, density, search
from setwise.finetuning.repository_vectors import RepositoryVectors

pytestmark = needs("faiss")


def rows_with_copies(exact, near, other=300, d=6, seed=0):
    rng = np.random.default_rng(seed)
    X = np.concatenate(
        [
            np.tile(rng.normal(size=d), (exact, 1)),
            rng.normal(size=d) + 1e-3 * rng.normal(size=(near, d)),
            rng.normal(size=(other, d)),
        ]
    ).astype(np.float32)
    return X[rng.permutation(len(X))]


@pytest.mark.parametrize("limit", [1, 7, 60, 5000])
@pytest.mark.parametrize("held", [64, 1 << 20])
def test_it_is_the_sum_over_the_nearest(monkeypatch, limit, held):
    for module in (cells, density):
        monkeypatch.setattr(module, "PAIRS", held)
    X = rows_with_copies(80, 90)
    expected = tsds.density(X.astype(float), 0.05, limit)
    for candidates in (
        RepositoryVectors(X),
        RepositoryVectors(X).folded(),
        RepositoryVectors([X[:99], X[99:]]).folded(),
    ):
        ids, own = np.arange(candidates.n), slice(None) if candidates.fold is None else candidates.fold.kept
        near = (cdist(X, X) < 0.05).sum(axis=1) > limit
        for found in (
            density.Density(candidates, 0.05, limit).of(ids),
            search.density_in_parts(candidates, ids, 0.05, limit, 1),
        ):
            np.testing.assert_allclose(found.rho, expected[own], rtol=1e-5)
            np.testing.assert_array_equal(found.more, near[own])
    assert candidates.n == len(X) - 79


@pytest.mark.parametrize("kind", ["exact", "near"])
def test_many_copies_take_no_memory(kind, monkeypatch):
    """2,500 of them are six million pairs: a hundred megabytes where all are held."""
    for module in (cells, density):
        monkeypatch.setattr(module, "PAIRS", 1 << 16)
    X = rows_with_copies(2500 if kind == "exact" else 1, 2500 if kind == "near" else 1)
    candidates = RepositoryVectors(X).folded()
    counted = density.Density(candidates, 0.05, 20)
    ids = np.arange(candidates.n)
    tracemalloc.start()
    found = counted.of(ids)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.rho.max() == pytest.approx(20, rel=1e-2)
    assert found.more.any()
    assert peak < 25e6
