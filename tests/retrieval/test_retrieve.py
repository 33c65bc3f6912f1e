"""`setwise.retrieve`: sets, certificates and pages, against brute force over everything."""

import asyncio
import base64
import itertools
import json
import pickle
import re
import warnings

import numpy as np
import pytest

import setwise
from helpers import best_exchange, full_scan, value_of
from reference import make
from reference.brute import best_subset
from reference.objectives import distance_matrix
from setwise.index.base import Index
from setwise.objectives import MaxSum


class Plain(Index):
    """A user's own exact index: a NumPy scan, ids that start elsewhere or are strings."""

    def __init__(self, X, metric="cosine", exact=True, start=0, names=False, misses=0.0):
        self.X = np.asarray(X, np.float64)
        self.metric, self.exact, self.dim = metric, exact, self.X.shape[1]
        self.start, self.names, self.misses = start, names, misses
        self.calls = []

    @property
    def size(self):
        return len(self.X)

    def named(self, rows):
        if self.names:
            return np.array([None if row < 0 else f"doc-{row:05d}" for row in rows.ravel()], object).reshape(
                rows.shape
            )
        return np.where(rows < 0, -1, rows + self.start)

    def rows_of(self, ids):
        rows = [int(one[4:]) if self.names else int(one) - self.start for one in np.asarray(ids).tolist()]
        if any(not 0 <= row < self.size for row in rows):
            raise KeyError(f"ids: no such id in {ids}")
        return np.array(rows, np.int64)

    def search(self, queries, k, *, filter=None, exclude=()):
        self.calls.append((len(queries), k))
        if self.metric == "cosine":
            scores = queries @ (self.X / np.linalg.norm(self.X, axis=1, keepdims=True)).T
        else:
            scores = -np.linalg.norm(queries[:, None] - self.X[None], axis=2)
        if filter is not None:
            scores[:, ~filter] = -np.inf
        scores[:, self.rows_of(exclude)] = -np.inf
        if self.misses:
            scores[:, np.random.default_rng(0).random(self.size) < self.misses] = -np.inf
        ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores = np.take_along_axis(scores, ids, 1)
        out = np.full((len(queries), k), -np.inf)
        rows = np.full((len(queries), k), -1, np.int64)
        out[:, : ids.shape[1]] = scores
        rows[:, : ids.shape[1]] = np.where(np.isneginf(scores), -1, ids)
        return out, self.named(rows)

    def vectors(self, ids):
        return self.X[self.rows_of(ids)].astype(np.float32)


@pytest.fixture(scope="module")
def corpus():
    E, _ = make.clustered(n=6000, d=16, seed=2, clusters=60, cone=0.8)
    return E.astype(np.float32)


@pytest.fixture(scope="module")
def query(corpus):
    return corpus[17] + 0.2 * np.random.default_rng(0).standard_normal(16).astype(np.float32)


def relevance_of(X, query):
    X, q = np.asarray(X, np.float64), np.asarray(query, np.float64)
    return X @ q / np.linalg.norm(q) / np.linalg.norm(X, axis=1)


@pytest.mark.parametrize("sharpness", [1, 2, 8])
@pytest.mark.parametrize("t", [0.0, 0.1, 0.3, 0.6, 0.9, 1.0])
def test_certificates_hold_against_every_set(sharpness, t, monkeypatch):
    """Pools of a few out of 13, so that what is unseen is bounded and not searched."""
    monkeypatch.setattr("setwise.retrieval.ask.FIRST", 5)
    monkeypatch.setattr("setwise.retrieval.ask.TIMES", 1)
    monkeypatch.setattr("setwise.retrieval.plan.GROWTH", 2)
    short, improved = [], []  # of sets proven best, and of pools proven sufficient
    for seed, pool, include in itertools.product(range(12), ("auto", 6), ((), (3,))):
        X, _ = make.clustered(n=13, d=5, seed=seed)
        q = X[seed] + 0.3 * np.random.default_rng(seed).standard_normal(5)
        r = relevance_of(X, q)
        k = 4
        hits = setwise.retrieve(q, Plain(X), k, diversity=t, sharpness=sharpness, pool=pool, include=include)
        best, _ = best_subset(X, r, k, t, sharpness, include=include)
        value = value_of(X, r, hits.ids, t, sharpness)
        assert hits.value == pytest.approx(value, abs=1e-6)
        assert value <= best + 1e-6
        assert best <= hits.certificate.upper_bound + 1e-6
        short += [best - value] * hits.certificate.optimal
        improvement = best_exchange(X, r, hits.ids, t, sharpness, include=include)
        improved += [improvement] * hits.certificate.pool_sufficient
    assert max(improved) <= 1e-6
    assert len(improved) >= 24  # all that may grow
    assert max(short, default=0.0) <= 1e-6
    assert len(short) >= (48 if t == 0 else 6 if t <= 0.1 or (sharpness == 1 and t >= 0.6) else 0)


@pytest.mark.parametrize("sharpness", [1, 8])
@pytest.mark.parametrize("t", [0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("k", [2, 10, 40])
def test_no_exchange_with_anything_improves_where_the_pool_is_proven(corpus, query, sharpness, t, k):
    index = Plain(corpus)
    hits = setwise.retrieve(query, index, k, diversity=t, sharpness=sharpness)
    over_all = setwise.select(corpus, k, query=query, diversity=t, sharpness=sharpness)
    r = relevance_of(corpus, query)
    assert hits.value >= over_all.value - 2e-3 * abs(over_all.value)
    assert hits.certificate.upper_bound >= over_all.value - 1e-6
    assert hits.certificate.pool_sufficient
    assert best_exchange(corpus, r, hits.ids, t, sharpness) <= 1e-5


@pytest.mark.parametrize("objective", ["mmr", "log-det"])
@pytest.mark.parametrize("t", [0.0, 0.05, 0.2, 0.5, 1.0])
def test_greedy_pools_that_are_proven_are_the_full_scan(corpus, query, objective, t):
    r = relevance_of(corpus, query)
    for k in (3, 12):
        expected = full_scan(objective, corpus, r, k, t)[0]
        for index in (Plain(corpus), Index.from_array(corpus)):
            hits = setwise.retrieve(query, index, k, diversity=t, objective=objective)
            assert hits.certificate.pool_sufficient
            assert hits.ids.tolist() == list(expected)


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
def test_euclidean(corpus, query, objective):
    for t in (0.0, 0.2, 0.6):
        hits = setwise.retrieve(query, Plain(corpus[:500], "euclidean"), 5, diversity=t, objective=objective)
        whole = setwise.select(
            corpus[:500], 5, query=query, diversity=t, objective=objective, metric="euclidean"
        )
        assert hits.ids.tolist() == whole.indices.tolist()
        assert hits.value == pytest.approx(whole.value, abs=1e-6)
        assert np.allclose(hits.scores, -np.linalg.norm(corpus[hits.ids] - query, axis=1), atol=1e-5)
        assert np.isinf(hits.novelty[0])


def test_what_comes_back(corpus, query):
    hits = setwise.retrieve(query, Index.from_array(corpus), 8, diversity=0.4)
    unit = corpus.astype(np.float64) / np.linalg.norm(corpus.astype(np.float64), axis=1, keepdims=True)
    assert np.array_equal(hits.indices, hits.ids)
    assert np.allclose(hits.scores, relevance_of(corpus, query)[hits.ids], atol=1e-6)
    near = unit[hits.ids] @ unit[hits.ids].T
    assert hits.novelty[0] == 1.0
    assert np.allclose(hits.novelty[1:], [1 - near[i, :i].max() for i in range(1, 8)], atol=1e-6)
    written = hits.to_dict()
    assert written["ids"] == hits.ids.tolist()
    assert "Retrieved of 8 by frank-wolfe+swap" in repr(hits)
    assert not hits.ids.flags.writeable


def test_ids_of_the_store_are_kept(corpus, query):
    plain = setwise.retrieve(query, Plain(corpus[:800]), 6)
    shifted = setwise.retrieve(query, Plain(corpus[:800], start=10**12), 6)
    named = setwise.retrieve(query, Plain(corpus[:800], names=True), 6, include=["doc-00003"])
    assert (shifted.ids - 10**12).tolist() == plain.ids.tolist()
    assert named.ids[0] == "doc-00003"
    assert all(isinstance(one, str) for one in named.ids.tolist())
    assert named.indices.dtype == np.int64


@pytest.mark.parametrize("sharpness", [1, 8])
def test_many_queries_are_searched_together(corpus, sharpness):
    queries = corpus[:7] + 0.1
    index = Plain(corpus)
    together = setwise.retrieve(queries, index, 10, sharpness=sharpness, diversity=0.3)
    assert index.calls[0] == (7, index.calls[0][1])
    alone = [setwise.retrieve(one, Plain(corpus), 10, sharpness=sharpness, diversity=0.3) for one in queries]
    for one, other in zip(together, alone, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-6)
        assert one.ids.tolist() == other.ids.tolist()


@pytest.mark.parametrize("objective", ["max-sum", "mmr"])
def test_awaited_is_the_same(corpus, query, objective):
    options = {"diversity": 0.3, "objective": objective, "offset": 5}

    async def both():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        clock = asyncio.create_task(tick())
        one, many = await asyncio.gather(
            setwise.aretrieve(query, Plain(corpus), 5, **options),
            setwise.aretrieve(corpus[:3], Plain(corpus), 5, **options),
        )
        clock.cancel()
        return one, many, ticks

    one, many, ticks = asyncio.run(both())
    assert ticks > 3  # the event loop went on
    assert one.ids.tolist() == setwise.retrieve(query, Plain(corpus), 5, **options).ids.tolist()
    assert len(many) == 3
    with pytest.raises(TypeError, match="lambda_mult"):
        asyncio.run(setwise.aretrieve(query, Plain(corpus), 5, lambda_mult=0.5))


@pytest.mark.parametrize("sharpness", [1, 8])
def test_filters_hold_and_never_starve(corpus, query, sharpness):
    r = relevance_of(corpus, query)
    allowed = np.zeros(len(corpus), bool)
    allowed[np.argsort(r)[: len(r) // 2]] = True  # the irrelevant half: filtering afterwards would find none
    for index in (Plain(corpus), Index.from_array(corpus)):
        hits = setwise.retrieve(query, index, 10, filter=allowed, sharpness=sharpness)
        assert len(hits) == 10
        assert allowed[hits.ids].all()
        inside = setwise.select(corpus[allowed], 10, query=query, diversity=0.3, sharpness=sharpness)
        assert hits.value >= inside.value - 1e-3


def test_a_filter_that_leaves_few_or_none(corpus, query):
    for index in (Plain(corpus), Index.from_array(corpus)):
        for sharpness in (1, 8):
            few = np.zeros(len(corpus), bool)
            few[[5, 9, 40]] = True
            with pytest.warns(UserWarning, match="only 3 of the 10"):
                hits = setwise.retrieve(query, index, 10, filter=few, sharpness=sharpness)
            assert sorted(hits.ids.tolist()) == [5, 9, 40]
            with pytest.warns(UserWarning, match="nothing in the index passes the filter"):
                none = setwise.retrieve(query, index, 10, filter=few & False, sharpness=sharpness)
            assert len(none) == 0
            assert none.to_dict()["ids"] == []
            assert list(none.explain()) == []


def test_include_and_exclude(corpus, query):
    for sharpness in (1, 8):
        plain = setwise.retrieve(query, Plain(corpus), 6, sharpness=sharpness)
        hits = setwise.retrieve(
            query, Plain(corpus), 6, include=[4000, 7], exclude=plain.ids[:2], sharpness=sharpness
        )
        assert hits.ids[:2].tolist() == [4000, 7]
        assert not set(plain.ids[:2].tolist()) & set(hits.ids.tolist())


@pytest.mark.parametrize(
    ("options", "names", "exact"),
    [
        ({}, False, True),
        ({"sharpness": 1, "diversity": 0.6}, True, False),
        ({"objective": "mmr"}, False, False),
        ({"offset": 6}, True, True),
    ],
)
def test_each_query_bars_its_own(corpus, names, options, exact):
    """The same as one by one; those with few barred ids are searched for together."""
    rng, corpus = np.random.default_rng(0), corpus[:1500]
    queries = corpus[[5, 400, 900, 1300]] + 0.05 * rng.standard_normal((4, 16))
    index = Plain(corpus, start=7, names=names, exact=exact)
    near = [index.named(np.argsort(-corpus @ query)) for query in queries]
    barred = [near[0][:9].tolist(), None, near[2][:3].tolist(), near[3][:1250].tolist()]
    index.calls.clear()
    many = setwise.retrieve(queries, index, 6, exclude=barred, **options)
    assert max(count for count, _ in index.calls) == 3
    for query, own, hits in zip(queries, barred, many, strict=True):
        alone = setwise.retrieve(query, index, 6, exclude=own or (), **options)
        assert hits.ids.tolist() == alone.ids.tolist()
        assert not set(hits.ids.tolist()) & set(own or ())
        assert hits.value == pytest.approx(alone.value, abs=1e-9)
        assert hits.certificate.pool_sufficient == alone.certificate.pool_sufficient
    awaited = asyncio.run(setwise.aretrieve(queries, index, 6, exclude=barred, **options))
    assert [one.ids.tolist() for one in awaited] == [one.ids.tolist() for one in many]


def test_barred_by_query_that_cannot_be(corpus):
    index = Index.from_array(corpus)
    with pytest.raises(ValueError, match="exclude: expected one list for each of 2 queries, got 3"):
        setwise.retrieve(corpus[:2], index, 3, exclude=[[1], [2], [3]])
    with pytest.raises(ValueError, match="include: 4 is in exclude, too"):
        setwise.retrieve(corpus[:2], index, 3, include=[4], exclude=[[1], [4]])
    with pytest.raises(ValueError, match="exclude: 4 is named twice"):
        setwise.retrieve(corpus[:2], index, 3, exclude=[[1], [4, 4]])


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
@pytest.mark.parametrize("sharpness", [1, 8])
def test_at_most_so_many_of_each_group(corpus, query, objective, sharpness):
    document = np.arange(len(corpus)) // 60  # clustered data: one document crowds the list
    order = np.argsort(-relevance_of(corpus, query))
    document[order[:1500]] = 7
    for index in (Plain(corpus), Index.from_array(corpus)):
        for groups in (document, lambda row: int(document[row]), dict(enumerate(document.tolist()))):
            hits = setwise.retrieve(
                query,
                index,
                8,
                groups=groups,
                max_per_group=1,
                objective=objective,
                sharpness=sharpness if objective == "max-sum" else None,
                diversity=0.1,
            )
            assert len(set(document[hits.ids].tolist())) == 8


def test_a_candidate_without_a_label_is_named_by_its_id(corpus, query):
    labels = {row: f"document {row // 5}" for row in range(len(corpus))}
    top = int(np.argmax(corpus @ query))
    for missing in (None, float("nan")):
        labels[top] = missing
        with pytest.raises(ValueError, match=rf"groups: id {top} has no label"):
            setwise.retrieve(query, setwise.Index.from_array(corpus), 5, groups=labels, max_per_group=1)
    labels[top] = ["a", "b"]
    with pytest.raises(TypeError, match=rf"groups: id {top} has list"):
        setwise.retrieve(query, setwise.Index.from_array(corpus), 5, groups=labels, max_per_group=1)


def test_groups_that_leave_no_set(corpus, query):
    with pytest.raises(ValueError, match="max_per_group"):
        setwise.retrieve(query, Plain(corpus[:300]), 5, groups=np.zeros(300, int), max_per_group=2)


@pytest.mark.parametrize(("sharpness", "objective"), [(1, "max-sum"), (8, "max-sum"), (None, "mmr")])
def test_pages_neither_overlap_nor_skip(corpus, query, sharpness, objective):
    options = {"diversity": 0.4, "sharpness": sharpness, "objective": objective}
    index = Plain(corpus)
    first = setwise.retrieve(query, index, 6, **options)
    pages = [setwise.retrieve(query, index, 6, offset=offset, **options) for offset in (0, 6, 12)]
    assert pages[0].ids.tolist() == first.ids.tolist()
    every = np.concatenate([page.ids for page in pages])
    assert len(set(every.tolist())) == 18
    again = setwise.retrieve(query, index, 6, offset=12, **options)
    assert again.ids.tolist() == pages[2].ids.tolist()
    between = setwise.retrieve(query, index, 6, offset=9, **options)
    assert between.ids.tolist() == every[9:15].tolist()


@pytest.mark.parametrize(
    ("sharpness", "objective", "names"), [(1, "max-sum", False), (8, "max-sum", True), (None, "mmr", True)]
)
def test_a_cursor_goes_on_where_a_page_ended(corpus, query, sharpness, objective, names):
    options = {"diversity": 0.4, "sharpness": sharpness, "objective": objective, "include": []}
    index = Plain(corpus[:1500], names=names)
    options["include"] = index.named(np.array([7])).tolist()
    page = first = setwise.retrieve(query, index, 6, **options)
    assert first.ids[0] == options["include"][0]
    every = first.ids.tolist()
    for number in (1, 2):
        index.calls.clear()
        page = page.next()
        assert len(index.calls) < 8  # no page before it is selected again
        by_offset = setwise.retrieve(query, index, 6, offset=6 * number, **options)
        assert page.ids.tolist() == by_offset.ids.tolist()
        assert page.earlier.tolist() == by_offset.earlier.tolist() == every
        assert page.value == pytest.approx(by_offset.value, rel=1e-12)
        every += page.ids.tolist()
    sent = pickle.loads(pickle.dumps(page))
    assert sent.cursor == page.cursor == json.loads(json.dumps(page.to_dict()))["cursor"]
    assert re.fullmatch(r"[A-Za-z0-9_-]+", sent.cursor)
    fourth = setwise.retrieve(query, index, 6, after=sent.cursor, **options)
    assert fourth.ids.tolist() == page.next().ids.tolist()
    assert fourth.ids.tolist() == setwise.retrieve(query, index, 6, after=every, **options).ids.tolist()
    with pytest.raises(ValueError, match="next: the call .* is not known; pass after=hits.cursor"):
        sent.next()


@pytest.mark.filterwarnings("error")
def test_pages_until_all_are_shown(corpus, query):
    page, every = setwise.retrieve(query, Plain(corpus[:20]), 8, exclude=[3]), []
    while len(page):
        every.append(page.ids.tolist())
        page = page.next()
    assert [len(one) for one in every] == [8, 8, 3]
    assert sorted(itertools.chain(*every)) == sorted(set(range(20)) - {3})


def test_many_queries_go_on_each_by_itself(corpus, query):
    index = Plain(corpus)
    queries = np.stack([query, corpus[5]])
    pages = [one.next() for one in setwise.retrieve(queries, index, 5, exclude=[1])]
    expected = setwise.retrieve(queries, index, 5, exclude=[1], offset=5)
    assert [one.ids.tolist() for one in pages] == [one.ids.tolist() for one in expected]
    with pytest.raises(ValueError, match="after: it goes with one query"):
        setwise.retrieve(queries, index, 5, after=pages[0].cursor)


def test_reranked_candidates_in_pages(corpus):
    rng = np.random.default_rng(1)
    options = {"relevance": rng.standard_normal(20), "vectors": corpus[:20], "diversity": 0.5}
    names = [f"id {row}" for row in range(20)]
    page, every = setwise.diversify(names, 8, exclude=["id 3"], include=["id 9"], **options), []
    assert page.ids[0] == "id 9"
    while len(page):
        every.append(page.ids.tolist())
        again = setwise.diversify(names, 8, exclude=["id 3"], include=["id 9"], after=page.cursor, **options)
        page = page.next()
        assert again.ids.tolist() == page.ids.tolist()
    assert [len(one) for one in every] == [8, 8, 3]
    assert sorted(itertools.chain(*every)) == sorted(set(names) - {"id 3"})


@pytest.mark.parametrize("offset", [10**18, 10**6, 10 * 31 + 1])
def test_a_far_offset_is_refused_before_any_work(corpus, query, offset):
    index = Plain(corpus)
    with pytest.raises(ValueError, match=f"offset: {offset} is past 32 pages of 10.*hits.cursor"):
        setwise.retrieve(query, index, 10, offset=offset)
    assert index.calls == []


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ("s1-", "is no cursor"),
        ("s1-eyJhIjoxfQ", "is no cursor"),  # {"a":1}
        ("s1-WzEuNV0", "is no cursor"),  # [1.5]
        ("s1-W3RydWVd", "is no cursor"),  # [true]
        ("s1-\u00e9", "is no cursor"),
        ("s1-" + base64.b64encode(b"[" * 9000).decode(), "is no cursor"),
        ([1, 1], "an id is there twice"),
        (range(5000), "5,000 ids of earlier pages are more than the 4,096"),
    ],
)
def test_what_is_no_cursor(corpus, query, after, told):
    with pytest.raises(ValueError, match=f"after: .*{told}"):
        setwise.retrieve(query, Plain(corpus), 10, after=after)


def test_an_earlier_page_whose_row_is_gone(corpus, query):
    cursor = setwise.retrieve(query, Plain(corpus), 10).cursor
    with pytest.raises(KeyError, match="after: .*which an earlier page had; begin with the first"):
        setwise.retrieve(query, Plain(corpus[:20]), 10, after=cursor)
    with pytest.raises(ValueError, match="offset: after says where the page begins"):
        setwise.retrieve(query, Plain(corpus), 10, after=cursor, offset=10)


def test_pages_past_the_end(corpus, query):
    index = Plain(corpus[:20])
    page = setwise.retrieve(query, index, 8, offset=16)
    assert len(page) == 4
    beyond = setwise.retrieve(query, index, 8, offset=40)
    assert len(beyond) == 0


@pytest.mark.parametrize("sharpness", [1, 8])
def test_approximate_indexes_say_what_is_proven(corpus, query, sharpness):
    hits = setwise.retrieve(query, Plain(corpus, exact=False, misses=0.3), 10, sharpness=sharpness)
    assert hits.certificate.scope == "returned"
    assert "relative to what the index returns" in str(hits.certificate)
    exact = setwise.retrieve(query, setwise.Index.from_array(corpus), 10, sharpness=sharpness)
    assert exact.certificate.scope == "all"
    assert hits.value <= exact.value + 1e-3


def test_a_fixed_pool_is_kept_to_and_judged(corpus, query):
    index = Plain(corpus)
    small = setwise.retrieve(query, index, 10, pool=10, diversity=0.5)
    assert index.calls == [(1, 10)]
    assert small.certificate.pool_size == 10
    assert not small.certificate.pool_sufficient
    with pytest.raises(ValueError, match="pool: 9 is below 10"):
        setwise.retrieve(query, index, 10, pool=9)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_max_min_over_a_pool_is_bounded_by_every_set(metric):
    """Of what no search has returned any may be in the best set; of k candidates, too."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X, k, t = rng.standard_normal((9, 3)), int(rng.integers(2, 4)), rng.choice([0.2, 0.5, 1.0])
        index, pool = setwise.Index.from_array(X, metric=metric), k + int(rng.integers(0, 2))
        hits = setwise.retrieve(X[0], index, k, objective="max-min", diversity=t, pool=pool)
        apart, relevance = distance_matrix(X, metric=metric), -distance_matrix(X, metric=metric)[0]
        if metric == "cosine":
            relevance += 1.0
        best = max(
            (1 - t) * relevance[list(one)].mean()
            + t * min(apart[pair] for pair in itertools.combinations(one, 2))
            for one in itertools.combinations(range(9), k)
        )
        bound = hits.certificate.upper_bound
        assert bound is None or bound >= best - 1e-9
        assert not hits.certificate.optimal or hits.value >= best - 1e-9


@pytest.mark.parametrize(("k", "options"), [(4, {"pool": 2**50}), (2**50, {"min_gain": -1.0})])
def test_no_more_is_asked_for_than_there_is(corpus, query, k, options):
    """What an index makes room for, it can fill: one more than it has tells that it has no more."""
    index = Plain(corpus[:9])
    found = setwise.retrieve(query, index, k, diversity=0.5, **options)
    assert {count for _, count in index.calls} == {10}
    assert len(found) == min(k, 9)


def test_log_det_looks_beyond_copies_of_the_best():
    """Where the candidates looked at first are copies, those that are not are looked for, without a word."""
    X = np.random.default_rng(0).standard_normal((900, 8))
    X[:450] = X[0]
    index, options = Plain(X), {"objective": "log-det", "diversity": 0.5}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hits = setwise.retrieve(X[0], index, 5, **options)
    whole = setwise.select(X, 5, query=X[0], **options)
    assert hits.ids.tolist() == whole.indices.tolist()
    assert hits.certificate.pool_sufficient
    with pytest.warns(UserWarning, match="log-det: only 1 of the 5 .* of the 300 looked at"):
        few = setwise.retrieve(X[0], index, 5, pool=300, **options)
    assert len(few) == 1
    assert not few.certificate.pool_sufficient


@pytest.mark.parametrize("solver", ["auto", "greedy", "frank-wolfe", "swap", "top-k", "exact"])
@pytest.mark.parametrize("sharpness", [1, 8])
def test_every_solver_it_takes(corpus, query, solver, sharpness):
    X = corpus[:900]
    hits = setwise.retrieve(query, Plain(X), 5, solver=solver, sharpness=sharpness, diversity=0.2)
    best = setwise.retrieve(query, Plain(X), 5, sharpness=sharpness, diversity=0.2)
    assert hits.value <= best.certificate.upper_bound + 1e-6
    assert len(hits) == 5


@pytest.mark.parametrize("sharpness", [1, 8])
def test_top_k_is_by_relevance_alone(corpus, query, sharpness):
    X = corpus[:900]
    hits = setwise.retrieve(query, Plain(X), 5, solver="top-k", sharpness=sharpness, diversity=0.9)
    assert set(hits.ids.tolist()) == set(np.argsort(-relevance_of(X, query))[:5].tolist())


def test_both_ends_of_the_trade_off(corpus, query):
    order = np.argsort(-relevance_of(corpus, query), kind="stable")
    for objective in ("max-sum", "mmr", "log-det"):
        top = setwise.retrieve(query, Plain(corpus), 10, diversity=0.0, objective=objective)
        assert top.ids.tolist() == order[:10].tolist()
        wide = setwise.retrieve(query, Plain(corpus), 10, diversity=1.0, objective=objective)
        assert wide.novelty[1:].mean() > top.novelty[1:].mean()
    assert setwise.retrieve(query, Plain(corpus), 10, diversity=0).certificate.optimal


def test_duplicates_of_one_passage_do_not_come_twice(corpus, query):
    X = np.concatenate([corpus[:300], corpus[np.argsort(-relevance_of(corpus[:300], query))[:5]]])
    hits = setwise.retrieve(query, Plain(X), 6, diversity=0.5)
    assert hits.novelty[1:].min() > 1e-3


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda q, i: setwise.retrieve(q, i, 0), ValueError, "k: 0 is below 1"),
        (lambda q, i: setwise.retrieve(q, i, 51), ValueError, "k: 51 is more than the 50"),
        (lambda q, i: setwise.retrieve(q[:3], i, 5), ValueError, "query: expected 16 numbers"),
        (lambda q, i: setwise.retrieve(q * np.nan, i, 5), ValueError, "query: has NaN"),
        (lambda q, i: setwise.retrieve(q * 0, i, 5), ValueError, "query: all zero"),
        (lambda q, i: setwise.retrieve(np.stack([q, q * 0]), i, 5), ValueError, r"query\[1\]: all zero"),
        (lambda q, i: setwise.retrieve(q, i.X, 5), TypeError, "from_array"),
        (lambda q, i: setwise.retrieve(q, i, 5, diversity=1.5), ValueError, "diversity"),
        (lambda q, i: setwise.retrieve(q, i, 5, sharpness=3), ValueError, "sharpness"),
        (lambda q, i: setwise.retrieve(q, i, 5, objective="mrm"), ValueError, "did you mean 'mmr'"),
        (lambda q, i: setwise.retrieve(q, i, 5, pool="all"), ValueError, "pool"),
        (lambda q, i: setwise.retrieve(q, i, 5, offset=-1), ValueError, "offset"),
        (lambda q, i: setwise.retrieve(q, i, 5, certify="yes"), ValueError, "certify"),
        (lambda q, i: setwise.retrieve(q, i, 5, include=[99]), KeyError, "99"),
        (lambda q, i: setwise.retrieve(q, i, 5, include=[1, 1]), ValueError, "named twice"),
        (lambda q, i: setwise.retrieve(q, i, 5, include="abc"), TypeError, "include"),
        (lambda q, i: setwise.retrieve(q, i, 2, include=[1, 2, 3]), ValueError, "do not fit"),
        (lambda q, i: setwise.retrieve(q, i, 5, include=[1], exclude=[1]), ValueError, "exclude"),
        (lambda q, i: setwise.retrieve(q, i, 5, groups=[1] * 50), ValueError, "max_per_group: needed"),
        (lambda q, i: setwise.retrieve(q, i, 5, groups=[1], max_per_group=1), ValueError, "no label"),
        (lambda q, i: setwise.retrieve(q, i, 5, groups="a", max_per_group=1), ValueError, "no field"),
        (lambda q, i: setwise.retrieve(q, i, 5, lambda_mult=0.5), TypeError, "lambda_mult"),
        (lambda q, i: setwise.retrieve(q, i, 5, metric="cosine"), TypeError, r"retrieve\(\) got .* 'metric'"),
        (
            lambda q, i: setwise.retrieve(q, i, 5, objective=MaxSum(0.2, metric="euclidean")),
            ValueError,
            "objective: it measures euclidean, the index cosine",
        ),
        (
            lambda q, i: setwise.retrieve(q, i, 5, objective="coverage"),
            ValueError,
            "objective: coverage is of",
        ),
        (
            lambda q, i: setwise.retrieve(q, i, 5, objective="log-det", solver="k-dpp"),
            ValueError,
            "solver: 'k-dpp' needs all candidates",
        ),
    ],
)
def test_bad_input(corpus, query, call, error, match):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match=match):
            call(query, Plain(corpus[:50]))


def test_bad_rows_in_the_store_are_named(corpus, query):
    X = corpus[:50].copy()
    X[np.argmax(relevance_of(X, query))] *= np.nan

    class Broken(Plain):
        def search(self, queries, k, *, filter=None, exclude=()):
            return np.ones((len(queries), 50)), np.tile(np.arange(50), (len(queries), 1))

    with pytest.raises(ValueError, match=r"index: vector .* has NaN or Inf"):
        setwise.retrieve(query, Broken(X), 5)


class TestDiversify:
    def test_is_select_by_the_scorers_relevance(self, corpus):
        scores = np.random.default_rng(0).normal(3, 9, 200)
        hits = setwise.diversify(
            np.arange(200) + 40, 9, relevance=scores, vectors=Plain(corpus), diversity=0.4
        )
        same = setwise.select(
            corpus[40:240], 9, relevance=scores, relevance_scale="minmax", diversity=0.4, sharpness=8
        )
        assert (hits.ids - 40).tolist() == same.indices.tolist() == hits.indices.tolist()
        scaled = (scores - scores.min()) / np.ptp(scores)
        assert np.allclose(hits.scores, scaled[same.indices])

    def test_names_groups_and_must_haves(self, corpus):
        names = [f"p{row}" for row in range(60)]
        group = np.arange(60) % 5
        hits = setwise.diversify(
            names,
            5,
            relevance=np.arange(60),
            vectors=corpus[:60],
            include=["p3"],
            groups=group,
            max_per_group=1,
        )
        assert hits.ids[0] == "p3"
        assert len(set(group[hits.indices].tolist())) == 5

    def test_barred_candidates_are_as_if_not_there(self, corpus):
        """Scores are rescaled without them, too."""
        scores = np.arange(60.0)
        scores[7] = 1e6
        hits = setwise.diversify(np.arange(60) + 100, 5, relevance=scores, vectors=corpus[:60], exclude=[107])
        left = np.delete(np.arange(60), 7)
        same = setwise.diversify(left + 100, 5, relevance=scores[left], vectors=corpus[left])
        assert hits.ids.tolist() == same.ids.tolist()
        assert np.allclose(hits.scores, same.scores)
        assert np.allclose(hits.novelty, same.novelty)
        assert np.array_equal(hits.indices, hits.ids - 100)

    @pytest.mark.parametrize(
        ("changes", "error", "match"),
        [
            ({"ids": []}, ValueError, "no candidates"),
            ({"ids": [1, 1, 2]}, ValueError, "named twice"),
            ({"relevance": [1, 2]}, ValueError, "expected 3 numbers"),
            ({"relevance": [1, np.nan, 2]}, ValueError, r"row 1 \(id 2\) is NaN"),
            ({"vectors": np.eye(2)}, ValueError, "2 rows for 3 ids"),
            ({"k": 4}, ValueError, "more than the 3"),
            ({"include": [9]}, ValueError, "include: 9 is not one of the candidates"),
            ({"exclude": [9]}, ValueError, "exclude: 9 is not one of the candidates"),
            ({"exclude": [1, 3]}, ValueError, "k: 2 is more than the 1 candidates that exclude leaves"),
            ({"include": [2], "exclude": [2]}, ValueError, "^include: 2 is in exclude, too"),
            ({"include": [2, 2]}, ValueError, r"^include: row 1 \(id 2\) is named twice"),
            ({"after": [9]}, ValueError, "^after: 9 is not one of the candidates"),
            ({"costs": {1: 1, 2: 0, 3: 1}, "budget": 2}, ValueError, r"^costs: row 1 \(id 2\) costs 0"),
            (
                {"costs": {1: 1, 2: 1, 3: "x"}, "budget": 2},
                TypeError,
                r"^costs: row 2 \(id 3\) has 'x' \(str\)",
            ),
            ({"vectors": np.diag([1, 0, 1])}, ValueError, r"^vectors: row 1 \(id 2\) is all zero"),
            ({"relevance_scale": "log"}, ValueError, "relevance_scale"),
            ({"groups": "a", "max_per_group": 1}, ValueError, "no field 'a'"),
        ],
    )
    def test_bad_input(self, changes, error, match):
        given = {"ids": [1, 2, 3], "k": 2, "relevance": [3, 2, 1], "vectors": np.eye(3), **changes}
        with pytest.raises(error, match=match):
            setwise.diversify(given.pop("ids"), given.pop("k"), **given)
