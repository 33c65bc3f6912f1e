"""What an index promises is compared with what it returns; where it keeps its word, certificates are true."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

import setwise
from reference.brute import best_subset
from setwise.index import Found, Index


class Mine(Index):
    """A user's own index: an exact scan, whose answers may be spoiled on the way out."""

    def __init__(self, X, metric="cosine", exact=True, dtype=np.float64):
        self.X, self.metric, self.exact, self.dim = np.asarray(X, dtype), metric, exact, np.shape(X)[1]
        self.spoil_table = self.spoil_found = None
        self.held, self.searches = len(self.X), 0

    @property
    def size(self):
        return self.held

    def search(self, queries, k, *, filter=None, exclude=()):
        self.searches += 1
        if self.metric == "cosine":
            scores = queries.astype(self.X.dtype) @ (self.X / np.linalg.norm(self.X, axis=1, keepdims=True)).T
        else:
            scores = -np.linalg.norm(queries[:, None].astype(self.X.dtype) - self.X[None], axis=2)
        if filter is not None:
            scores[:, ~filter] = -np.inf
        scores[:, np.asarray(exclude, int)] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        ids = np.full((len(queries), k), -1, np.int64)
        out = np.full((len(queries), k), -np.inf)
        ids[:, : order.shape[1]] = order
        out[:, : order.shape[1]] = np.take_along_axis(scores, order, 1)
        ids[np.isneginf(out)] = -1
        return (out, ids) if self.spoil_table is None else self.spoil_table(out, ids)

    def vectors(self, ids):
        return self.X[np.asarray(ids, int)].astype(np.float32)

    def fetch(self, queries, k, **options):
        found = super().fetch(queries, k, **options)
        return found if self.spoil_found is None else self.spoil_found(found)


class Open(Mine):
    """One that shows its rows, beside its searches: all, where there are no more than are asked for."""

    def sample(self, count=4096):
        rows = np.random.default_rng(7).permutation(self.size)[:count]
        return Found(rows, np.zeros(len(rows)), self.vectors(rows))


@pytest.fixture
def mine():
    """An index of 600 vectors of any length."""
    rng = np.random.default_rng(0)
    return Mine(rng.standard_normal((600, 8)) * rng.uniform(0.5, 2, (600, 1)))


QUERY = np.random.default_rng(1).standard_normal(8)


def at(place, value, of="scores"):
    """A change of one number in each answer."""

    def spoil(scores, ids):
        array = scores if of == "scores" else ids
        array[:, place] = value
        return scores, ids

    return spoil


def swapped(scores, ids):
    """The third and the fourth in each other's place."""
    scores[:, [2, 3]] = scores[:, [3, 2]]
    ids[:, [2, 3]] = ids[:, [3, 2]]
    return scores, ids


def twice(scores, ids):
    """The first comes again as the second."""
    scores[:, 1], ids[:, 1] = scores[:, 0], ids[:, 0]
    return scores, ids


def others(found):
    """Vectors of the wrong rows."""
    return [replace(one, vectors=one.vectors[::-1]) for one in found]


def doubled(found):
    """Everything comes twice."""
    return [Found(*(np.concatenate([a, a]) for a in (o.ids, o.scores, o.vectors))) for o in found]


def changed(place, value):
    """One vector is replaced."""

    def spoil(found):
        for one in found:
            one.vectors[place] = value
        return found

    return spoil


@pytest.mark.parametrize("call", ["one", "many", "awaited"])
@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (at(4, np.nan), r"Mine gave id \d+ the score nan"),
        (at(0, np.inf), r"Mine gave id \d+ the score inf"),
        (swapped, r"Mine returned id \d+ with the score .* after one with .*; the best must come first"),
        (twice, r"Mine returned id \d+ twice"),
        (at(2, -1, "ids"), r"Mine .* id -1"),
        (at(2, 11, "ids"), r"Mine (is exact, it says, and scores id 11|returned id 11 twice)"),
        (lambda scores, ids: (scores * 1.01, ids), r"Mine is exact, it says, and scores id "),
        (
            lambda scores, ids: (scores[:, :3], ids[:, :3]),
            r"Mine .* returned 3 of .*, though it holds at least \d+",
        ),
    ],
    ids=["nan", "infinite", "unsorted", "twice", "negative", "another's id", "off", "missing"],
)
def test_a_search_that_breaks_the_protocol(mine, spoil, match, call):
    mine.spoil_table = spoil
    ways = {
        "one": lambda: setwise.retrieve(QUERY, mine, 5),
        "many": lambda: setwise.retrieve(np.stack([QUERY, -QUERY]), mine, 5, sharpness=1),
        "awaited": lambda: asyncio.run(setwise.aretrieve(QUERY, mine, 5)),
    }
    with pytest.raises(ValueError, match=f"^index: {match}"):
        ways[call]()


@pytest.mark.parametrize(
    ("spoil", "error", "match"),
    [
        (lambda found: found * 2, ValueError, "Mine gave 2 answers to 1 queries"),
        (
            lambda found: [one.ids for one in found],
            TypeError,
            "Mine answered with ndarray",
        ),
        (others, ValueError, r"Mine is exact, it says, and scores id \d+ .*, its vector has"),
        (changed(3, np.nan), ValueError, r"vector \d+ of Mine has NaN or Inf"),
        (changed(3, 0.0), ValueError, r"vector \d+ of Mine is all zero"),
        (
            lambda found: [replace(one, vectors=one.vectors[:, :5]) for one in found],
            ValueError,
            r"Mine returned vectors of shape \(400, 5\) for 400 ids, expected \(400, 8\)",
        ),
        (
            lambda found: [replace(one, scores=one.scores[:-1]) for one in found],
            ValueError,
            r"Mine returned \(399,\) scores for 400 ids",
        ),
        (
            lambda found: [
                Found(*(np.concatenate([a, a]) for a in (o.ids, o.scores, o.vectors))) for o in found
            ],
            ValueError,
            "Mine returned 800 where 400 were asked for",
        ),
        (lambda found: None, TypeError, "Mine answered with NoneType instead of a Found a query"),
        (
            lambda found: [replace(found[0], floor=np.nan)],
            ValueError,
            "Mine answered with a floor that is NaN",
        ),
        (lambda found: [replace(found[0], scores=["a"] * 400)], ValueError, "Mine answered with could not"),
        (
            lambda found: [replace(found[0], vectors=[[1.0], [1.0, 2.0]])],
            ValueError,
            "Mine answered with setting",
        ),
        (
            lambda found: [replace(found[0], ids=np.array([None, *range(399)]))],
            ValueError,
            "Mine returned id None where ids are all integers, or all strings",
        ),
    ],
)
def test_an_answer_that_breaks_the_protocol(mine, spoil, error, match):
    mine.spoil_found = spoil
    with pytest.raises(error, match=f"^index: {match}"):
        setwise.retrieve(QUERY, mine, 5)


@pytest.mark.parametrize(
    ("spoil", "error", "match"),
    [
        (lambda scores, ids: None, TypeError, "Mine.search returned NoneType, expected"),
        (lambda scores, ids: (scores[0], ids[0]), ValueError, r"Mine.search .* scores of shape \(400,\)"),
        (lambda scores, ids: (scores, ids[:, 1:]), ValueError, r"Mine.search .* and ids of shape \(1, 399\)"),
    ],
)
def test_a_search_that_returns_no_tables(mine, spoil, error, match):
    mine.spoil_table = spoil
    with pytest.raises(error, match=f"^index: {match}"):
        setwise.retrieve(QUERY, mine, 5)


@pytest.mark.parametrize("dtype", [np.int8, np.float16, ">f8", list])
def test_vectors_and_tables_of_other_types_count_as_what_they_say(dtype):
    """Of integers and half precision neither products nor differences fit into their own type."""
    X = np.random.default_rng(2).integers(-127, 128, (500, 8)).astype(np.float64)
    plain, mine = Mine(X, "euclidean"), Mine(X, "euclidean")
    if dtype is list:
        mine.spoil_table = lambda scores, ids: (scores.tolist(), ids.tolist())
        mine.spoil_found = lambda found: (
            Found(one.ids.tolist(), one.scores.tolist(), one.vectors.tolist()) for one in found
        )
    else:
        mine.vectors = lambda ids: X[ids].astype(dtype)
    hits, expected = (setwise.retrieve(100 * QUERY, index, 5, diversity=0.4) for index in (mine, plain))
    assert hits.ids.tolist() == expected.ids.tolist()
    assert hits.certificate == expected.certificate


def test_what_was_excluded_or_must_be_there(mine):
    best = int(mine.search(QUERY[None], 1)[1][0, 0])
    honest = mine.search
    mine.search = lambda queries, k, *, filter=None, exclude=(): honest(queries, k, filter=filter)
    with pytest.raises(ValueError, match=f"^index: Mine returned id {best}, an excluded one"):
        setwise.retrieve(QUERY, mine, 5, exclude=[best])
    mine.vectors = lambda ids: np.zeros((len(ids), 8), np.float32)
    with pytest.raises(ValueError, match="^index: vector 7 of Mine is all zero"):
        setwise.retrieve(QUERY, mine, 5, include=[7])
    mine.vectors = lambda ids: np.ones((1, 8), np.float32)
    with pytest.raises(ValueError, match=r"^index: Mine returned vectors of shape \(1, 8\) for 2 ids"):
        setwise.retrieve(QUERY, mine, 5, include=[7, 8])


def test_labels_that_are_not_as_many_as_ids(mine):
    mine.values = lambda ids, field: ["a"] * 3
    with pytest.raises(ValueError, match="^groups: 3 labels for 400 ids; give one for each"):
        setwise.retrieve(QUERY, mine, 5, groups="color", max_per_group=1)


def test_an_index_that_leaves_out_what_it_has_returned_before():
    """It says that it is exact, and the second search is not."""
    mine = Mine(np.random.default_rng(0).standard_normal((3000, 8)))
    honest = mine.search

    def search(queries, k, *, filter=None, exclude=()):
        hidden = [] if mine.searches == 0 else np.arange(0, 3000, 4)
        return honest(queries, k, filter=filter, exclude=hidden)

    mine.search = search
    with pytest.raises(
        ValueError, match=r"^index: Mine says that its searches are exact, and one left out id"
    ):
        setwise.retrieve(QUERY, mine, 5, sharpness=1, diversity=0.8, certify="full")
    mine.exact, mine.searches = False, 0
    hits = setwise.retrieve(QUERY, mine, 5, sharpness=1, diversity=0.8, certify="full")
    assert mine.searches > 1
    assert hits.certificate.scope == "returned"


def without(index, row):
    """An index none of whose searches ever returns a row."""
    honest = index.search
    index.search = lambda queries, k, *, filter=None, exclude=(): honest(
        queries, k, filter=filter, exclude=[*exclude, row]
    )
    return index


@pytest.mark.parametrize(
    ("metric", "sharpness", "diversity"),
    [("cosine", 1, 0.0), ("cosine", 1, 0.05), ("cosine", 8, 0.3), ("euclidean", 1, 0.0)],
)
def test_an_index_that_never_returns_its_best_row(metric, sharpness, diversity):
    """Where its rows are shown, searches are compared with them; else nothing is claimed of all there are."""
    mine = Mine(np.random.default_rng(0).standard_normal((4000, 8)))
    best, options = 17, {"diversity": diversity, "sharpness": sharpness}
    hits = setwise.retrieve(mine.X[best], without(Mine(mine.X, metric), best), 5, **options)
    assert (hits.certificate.scope, best in hits.ids) == ("returned", False)
    assert "relative to what the index returns" in str(hits)
    shown = without(Open(mine.X, metric), best)
    with pytest.raises(ValueError, match="^index: Open says that its searches .* left out id 17, which"):
        setwise.retrieve(mine.X[best], shown, 5, **options)
    assert setwise.retrieve(mine.X[best], shown, 5, exclude=[best], **options).certificate.scope == "all"


def test_of_many_rows_some_are_looked_for():
    """One of 5,000 that is never returned is found in 512 of 5,000 cases; all of them are never claimed."""
    X = np.random.default_rng(0).standard_normal((5000, 8))
    rows, looked_for = range(0, 5000, 50), Open(X).sample(512).ids
    assert 5 < np.isin(rows, looked_for).sum() < 20
    for row in rows:
        if row in looked_for:
            with pytest.raises(ValueError, match=f"left out id {row}, which"):
                setwise.retrieve(X[row], without(Open(X), row), 5)
        else:
            assert setwise.retrieve(X[row], without(Open(X), row), 5).certificate.scope == "returned"


def test_a_floor_that_is_made_up(mine):
    """It returns no more than half of what there is, and says that the rest scores nothing."""
    index = Open(mine.X)
    index.spoil_found = lambda found: [replace(one, floor=-1.0) for one in found]
    with pytest.raises(ValueError, match=r"^index: Open says that its searches .* left out id \d+, which"):
        setwise.retrieve(QUERY, index, 5)


@pytest.mark.parametrize("exact", [True, False])
def test_a_sample_of_what_is_not_stored(mine, exact):
    """An id that is gone, and one whose vector has changed since it was drawn."""
    index = Open(mine.X, exact=exact)
    drawn = index.sample(600)
    options = {"sharpness": 1, "diversity": 0.9}
    assert setwise.retrieve(QUERY, index, 5, **options).certificate.scope == ("all" if exact else "returned")
    index.sample = lambda count: replace(drawn, ids=np.where(drawn.ids == 5, 600, drawn.ids))
    with pytest.raises(ValueError, match=r"^index: Open.sample drew what Open.vectors has not: .* 600"):
        setwise.retrieve(QUERY, index, 5, **options)
    twice = np.where(drawn.ids == 5, 2, 1)[:, None]
    index.sample = lambda count: replace(drawn, vectors=drawn.vectors * twice)
    with pytest.raises(ValueError, match="^index: Open.sample drew id 5 with another vector than"):
        setwise.retrieve(QUERY, index, 5, **options)
    index.sample = lambda count: drawn.ids
    with pytest.raises(TypeError, match="^index: Open.sample answered with ndarray instead of a Found"):
        setwise.retrieve(QUERY, index, 5, **options)


class Written(Open):
    """An index that others delete from between the searches of one call."""

    def __init__(self, X, deleted):
        super().__init__(X)
        self.deleted, self.gone = deleted, set()

    def search(self, queries, k, *, filter=None, exclude=()):
        if self.searches % 2 and len(self.gone) < self.deleted:
            self.gone.add(int(super().search(queries, 1, exclude=sorted(self.gone))[1][0, 0]))
        return super().search(queries, k, exclude=sorted(self.gone))

    @property
    def size(self):
        return len(self.X) - len(self.gone)

    def sample(self, count=4096):
        rows = np.setdiff1d(np.arange(len(self.X)), sorted(self.gone))
        return Found(rows, np.zeros(len(rows)), self.vectors(rows))

    def vectors(self, ids):
        if lost := self.gone & set(np.asarray(ids).tolist()):
            raise KeyError(f"ids: {min(lost)} is gone")
        return super().vectors(ids)


@pytest.mark.parametrize("deleted", [1, 1000])
def test_an_index_that_is_written_to_while_it_is_searched(deleted):
    """What is not there any more was not left out: the search begins anew, and in the end proves less."""
    X = np.random.default_rng(0).standard_normal((3000, 8))
    options = {"sharpness": 1, "diversity": 0.8, "certify": "full"}
    index = Written(X, deleted)
    hits = setwise.retrieve(QUERY, index, 5, **options)
    assert index.gone
    assert hits.certificate.scope == ("all" if deleted == 1 else "returned")
    if deleted == 1:
        alone = setwise.retrieve(QUERY, Open(np.delete(X, list(index.gone), axis=0)), 5, **options)
        assert hits.value == pytest.approx(alone.value, rel=1e-3)


@pytest.mark.parametrize("times", [1, 1000])
def test_a_vector_that_is_changed_while_it_is_searched(times):
    """What was found with one vector is found again with another: of no such mixture is anything proven."""
    index = Open(np.random.default_rng(0).standard_normal((3000, 8)))
    best, honest = int(index.search(QUERY[None], 1)[1][0, 0]), index.search
    index.searches = 0

    def search(queries, k, **options):
        if 0 < index.searches <= times:
            index.X[best] *= np.linspace(0.9, 1.1, 8)
        return honest(queries, k, **options)

    index.search = search
    hits = setwise.retrieve(QUERY, index, 5, sharpness=1, diversity=0.2, certify="full")
    assert index.searches > 1
    assert hits.certificate.scope == ("all" if times == 1 else "returned")
    if times == 1:
        unit = index.X[hits.ids] / np.linalg.norm(index.X[hits.ids], axis=1, keepdims=True)
        np.testing.assert_allclose(hits.scores, unit @ QUERY / np.linalg.norm(QUERY), atol=1e-6)


def test_exactness_is_asked_at_every_retrieval(mine):
    mine = Open(mine.X)
    assert setwise.retrieve(QUERY, mine, 5).certificate.scope == "all"
    mine.exact = False
    assert setwise.retrieve(QUERY, mine, 5).certificate.scope == "returned"


def test_an_approximate_index_may_score_as_it_likes(mine):
    """Quantised scores: what they rank by is its own affair, what is returned is scored from the vectors."""
    mine.exact = False
    mine.spoil_table = lambda scores, ids: (np.round(scores, 1), ids)
    hits = setwise.retrieve(QUERY, mine, 5, diversity=0.3)
    unit = mine.X[hits.ids] / np.linalg.norm(mine.X[hits.ids], axis=1, keepdims=True)
    np.testing.assert_allclose(hits.scores, unit @ QUERY / np.linalg.norm(QUERY), atol=1e-6)
    assert hits.certificate.scope == "returned"


def test_a_size_that_is_too_small_proves_nothing():
    """It says that it holds 8 and holds 13: the 8 that it returns are not taken for all there is."""
    X = np.random.default_rng(3).standard_normal((13, 5))
    for seed in range(10):
        query = np.random.default_rng(seed).standard_normal(5)
        relevance = X @ query / np.linalg.norm(X, axis=1) / np.linalg.norm(query)
        for t, sharpness in ((0.0, 1), (0.5, 1), (0.9, 1), (0.5, 8)):
            index = Mine(X)
            index.held = 8
            hits = setwise.retrieve(query, index, 4, diversity=t, sharpness=sharpness)
            best, _ = best_subset(X, relevance, 4, t, sharpness)
            assert hits.certificate.upper_bound is None or hits.certificate.upper_bound >= best - 1e-6
            assert not hits.certificate.optimal or hits.value >= best - 1e-6


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("near", [1.0, 3e-3, 1e-6])
def test_an_honest_index_is_never_certified_falsely(metric, dtype, near, monkeypatch):
    """Against every set: spread out, and so close that scores differ by less than single precision tells."""
    monkeypatch.setattr("setwise.retrieval.ask.FIRST", 5)
    monkeypatch.setattr("setwise.retrieval.ask.TIMES", 1)
    monkeypatch.setattr("setwise.retrieval.plan.GROWTH", 2)
    monkeypatch.setattr("setwise.retrieval.plan.SPARE", 1)
    rng = np.random.default_rng(5)
    proven = 0
    for _ in range(12):
        center = rng.standard_normal(6)
        X = (center + near * rng.standard_normal((13, 6))).astype(np.float32).astype(np.float64)
        query = center + 0.3 * rng.standard_normal(6)
        if metric == "cosine":
            relevance = X @ query / np.linalg.norm(X, axis=1) / np.linalg.norm(query)
        else:
            relevance = -np.linalg.norm(X - query, axis=1)
        for t, sharpness in ((0.0, 1), (0.2, 1), (0.7, 1), (0.3, 8)):
            if sharpness > 1 and metric == "euclidean":
                continue
            hits = setwise.retrieve(query, Mine(X, metric, dtype=dtype), 4, diversity=t, sharpness=sharpness)
            best, _ = best_subset(X, relevance, 4, t, sharpness, metric)
            slack = 1e-9 * (1 + abs(best)) if t == 0.0 else 1e-6
            if hits.certificate.upper_bound is not None:
                proven += 1
                assert hits.certificate.upper_bound >= best - slack
            assert not hits.certificate.optimal or hits.value >= best - slack
    assert proven > 20


def test_an_index_that_says_nothing_of_itself_but_its_width_promises_nothing():
    """What a subclass leaves out is cosine and not exact; a width it has to have."""
    X = np.random.default_rng(4).standard_normal((30, 6))
    stored = Index.from_array(X)

    class Silent(Index):
        size = 30

        def search(self, queries, k, *, filter=None, exclude=()):
            return stored.search(queries, k, filter=filter, exclude=exclude)

        def vectors(self, ids):
            return stored.vectors(ids)

    with pytest.raises(TypeError, match="index: Silent has no dim; set it"):
        setwise.retrieve(X[0], Silent(), 4)
    Silent.dim = 6
    found = setwise.retrieve(X[0], Silent(), 4)
    assert found.ids.tolist() == setwise.retrieve(X[0], stored, 4).ids.tolist()
    assert found.certificate.scope == "returned"
