"""Aliases of other libraries' calls: the picks of the real packages, where the mathematics is the same."""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
import pytest

from optional import lazily, needs
from setwise import compat

pyversity = lazily("pyversity")
langchain = lazily("langchain_core.vectorstores.utils")


def some(n, d, seed):
    draw = np.random.default_rng(seed)
    centers = draw.standard_normal((5, d))
    return (centers[draw.integers(5, size=n)] + 0.4 * draw.standard_normal((n, d))), draw.random(n)


@needs("pyversity")
@pytest.mark.parametrize("strategy", ["mmr", "dpp"])
@pytest.mark.parametrize("diversity", [0.0, 0.2, 0.5, 0.9])
def test_the_picks_are_pyversitys(strategy, diversity):
    for seed in range(5):
        vectors, scores = some(120, 24, seed)
        if strategy == "mmr":  # it takes negative cosines for 0
            vectors = np.abs(vectors)
        for k in (1, 7, 15):
            theirs = pyversity.diversify(vectors, scores, k, strategy=strategy, diversity=diversity)
            ours = compat.diversify(vectors, scores, k, strategy=strategy, diversity=diversity)
            assert ours.indices.tolist() == theirs.indices.tolist()
            np.testing.assert_allclose(ours.selection_scores, theirs.selection_scores, rtol=2e-3, atol=2e-5)
            assert (ours.strategy, ours.diversity) == (theirs.strategy, theirs.diversity)
    theirs = pyversity.diversify(vectors, scores, 7, strategy="dpp", diversity=0.4, scale=2.5)
    assert (
        compat.diversify(vectors, scores, 7, diversity=0.4, scale=2.5).indices.tolist()
        == theirs.indices.tolist()
    )


@needs("pyversity")
@pytest.mark.parametrize("diversity", [0.0, 0.3, 0.7, 1.0])
def test_a_sum_of_distances_is_at_least_pyversitys_and_the_best_there_is(diversity):
    def value(rows, vectors, scores):
        unit = vectors[list(rows)] / np.linalg.norm(vectors[list(rows)], axis=1, keepdims=True)
        distances = np.triu(1 - unit @ unit.T, 1).sum()
        return (1 - diversity) * scores[list(rows)].sum() + diversity * distances

    for seed in range(6):
        vectors, scores = some(14, 6, seed)
        theirs = pyversity.diversify(vectors, scores, 4, strategy="msd", diversity=diversity)
        ours = compat.diversify(vectors, scores, 4, strategy="msd", diversity=diversity)
        best = max(value(rows, vectors, scores) for rows in combinations(range(14), 4))
        found = value(ours.indices, vectors, scores)
        assert found >= value(theirs.indices, vectors, scores) - 1e-6
        assert found == pytest.approx(best, rel=1e-6)
        if diversity:
            assert ours.selection_scores.sum() == pytest.approx(found, rel=1e-6)


@needs("pyversity")
def test_its_own_enumeration_and_edges():
    vectors, scores = some(6, 4, 0)
    vectors = np.abs(vectors)
    for k in (0, -1, 6, 9):
        theirs = pyversity.diversify(vectors, scores, k, strategy=pyversity.Strategy.MMR, diversity=0.5)
        ours = compat.diversify(vectors, scores, k, strategy=pyversity.Strategy.MMR, diversity=0.5)
        assert ours.indices.tolist() == theirs.indices.tolist()


@needs("langchain_core")
@pytest.mark.parametrize("lambda_mult", [0.0, 0.3, 0.5, 1.0])
def test_the_picks_are_langchains(lambda_mult):
    for seed in range(8):
        vectors, _ = some(60, 16, seed)
        query = np.random.default_rng(seed).standard_normal(16)
        for k in (1, 4, 10, 60, 99, 0):
            theirs = langchain.maximal_marginal_relevance(query, vectors.tolist(), lambda_mult, k)
            assert compat.maximal_marginal_relevance(query, vectors.tolist(), lambda_mult, k) == theirs
    assert compat.maximal_marginal_relevance(query[None], vectors) == langchain.maximal_marginal_relevance(
        query, vectors.tolist()
    )
    assert compat.maximal_marginal_relevance(query, []) == []


def test_what_is_no_objective_of_ours_is_refused():
    vectors, scores = some(6, 4, 0)
    with pytest.raises(ValueError, match="strategy: 'cover' is unknown"):
        compat.diversify(vectors, scores, 2, strategy="cover")
    with pytest.raises(ValueError, match=r"diversity: 2.0 is outside \[0, 1\]"):
        compat.diversify(vectors, scores, 2, diversity=2)
    with pytest.raises(ValueError, match="row 1 is all zero"):
        compat.maximal_marginal_relevance([1.0, 0.0], [[1.0, 0.0], [0.0, 0.0]])


def test_no_option_is_advised_that_the_call_has_not():
    vectors, scores = some(40, 24, 0)
    expected = compat.diversify(vectors, scores, 5).indices.tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compat.diversify(vectors, 1000 * scores, 5).indices.tolist() == expected
