"""Faults that users of other libraries report, one test each: none of them is here."""

import asyncio

import numpy as np
import pytest

import setwise
from optional import lazily, needs

faiss = lazily("faiss")


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(5).standard_normal((400, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def index(X):
    return setwise.Index.from_array(X)


def test_mmr_penalises_against_every_selected_item():
    """Not against the last alone: A, B, then A's duplicate must lose to C."""
    a, b, c = np.eye(3)
    rows = np.array([a, b, a + 1e-4 * c, c])
    query = np.array([1.0, 0.95, 0.9])
    picked = setwise.retrieve(query, setwise.Index.from_array(rows), 3, objective="mmr", diversity=0.5)
    assert sorted(picked.ids.tolist()) in ([0, 1, 3], [1, 2, 3])


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
def test_more_diversity_is_more_diverse(X, index, objective):
    """The trade-off is not inverted anywhere."""
    spread = [
        setwise.retrieve(X[0], index, 10, diversity=t, objective=objective).novelty[1:].mean()
        for t in (0.0, 0.5, 1.0)
    ]
    assert spread[0] <= spread[1] <= spread[2]
    assert spread[0] < spread[2]


def test_a_mistyped_parameter_is_refused(X, index):
    for call in (setwise.retrieve, lambda *given, **more: asyncio.run(setwise.aretrieve(*given, **more))):
        with pytest.raises(TypeError, match="lambda_mul"):
            call(X[0], index, 5, lambda_mul=0.5)


def test_zero_is_a_value_and_not_unset(X, index):
    top = setwise.retrieve(X[0], index, 10, diversity=0.0, objective="mmr")
    cosines = X @ X[0] / np.linalg.norm(X, axis=1)
    assert top.ids.tolist() == np.argsort(-cosines)[:10].tolist()
    with pytest.raises(ValueError, match="k: 0"):
        setwise.retrieve(X[0], index, 0)
    with pytest.raises(ValueError, match="max_per_group"):
        setwise.retrieve(X[0], index, 5, groups=np.arange(400), max_per_group=0)
    with pytest.raises(ValueError, match="pool"):
        setwise.retrieve(X[0], index, 5, pool=0)


def test_a_filter_holds_in_diverse_searches_too(X, index):
    allowed = np.arange(400) % 7 == 0
    for objective in ("max-sum", "mmr", "log-det"):
        hits = setwise.retrieve(X[0], index, 12, filter=allowed, objective=objective, diversity=0.6)
        assert allowed[hits.ids].all()
        assert len(hits) == 12


def test_the_rerankers_score_counts_and_not_the_cosine(X, index):
    candidates = np.arange(50)
    scores = np.linspace(0, 1, 50)  # the reranker's order is the reverse of the row numbers
    hits = setwise.diversify(candidates, 5, relevance=scores, vectors=index, diversity=0.0)
    assert sorted(hits.ids.tolist()) == [45, 46, 47, 48, 49]


def test_more_candidates_are_seen_than_are_returned(X, index):
    hits = setwise.retrieve(X[0], index, 5, diversity=0.5)
    assert hits.certificate.pool_size > 5
    kept = setwise.retrieve(X[0], index, 5, diversity=0.5, pool=5)
    assert not kept.certificate.pool_sufficient


@needs("faiss")
def test_the_minus_one_of_an_approximate_index_is_never_an_id(X):
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    ivf = faiss.index_factory(12, "IVF16,Flat", faiss.METRIC_INNER_PRODUCT)
    ivf.train(unit)
    ivf.add(unit)
    ivf.nprobe = 1
    for hits in setwise.retrieve(unit[:30], setwise.Index.from_faiss(ivf), 10, sharpness=1):
        assert hits.ids.min() >= 0
        assert len(hits) <= 10


def test_scores_come_back_with_the_selection(X, index):
    hits = setwise.retrieve(X[0], index, 5)
    assert len(hits.scores) == len(hits.gains) == len(hits.novelty) == 5
    assert hits.scores[0] == pytest.approx(1.0, abs=1e-6)


def test_parallel_queries_are_no_trouble(X, index):
    async def many():
        return await asyncio.gather(*[setwise.aretrieve(row, index, 5) for row in X[:12]])

    alone = [setwise.retrieve(row, index, 5).ids.tolist() for row in X[:12]]
    assert [hits.ids.tolist() for hits in asyncio.run(many())] == alone


def test_pages_of_a_diverse_list_are_stable(X, index):
    pages = [
        setwise.retrieve(X[0], index, 7, offset=7 * page, diversity=0.5).ids.tolist() for page in range(4)
    ]
    flat = [one for page in pages for one in page]
    assert len(set(flat)) == 28


def test_one_documents_chunks_do_not_crowd_the_list(X, index):
    document = np.arange(400) // 100
    hits = setwise.retrieve(X[0], index, 8, groups=document, max_per_group=2)
    assert np.bincount(document[hits.ids]).max() == 2


def test_a_missing_vector_is_an_error_that_names_it(X):
    class Holey(setwise.Index):
        metric, exact, dim = "cosine", True, 12

        @property
        def size(self):
            return 400

        def search(self, queries, k, *, filter=None, exclude=()):
            return np.ones((len(queries), k)), np.tile(np.arange(k), (len(queries), 1))

        def vectors(self, ids):
            raise KeyError("ids: the store has no vector for 3")

    with pytest.raises(KeyError, match="no vector for 3"):
        setwise.retrieve(X[0], Holey(), 5)
