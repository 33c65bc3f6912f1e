"""What one call wishes of a catalog, and what is kept beside its items."""

from __future__ import annotations

import numpy as np
import pytest

import setwise
from optional import lazily, needs
from setwise.catalog import METHODS
from setwise.catalog.request import LEVELS

pa = lazily("pyarrow")
pd = lazily("pandas")
N, D = 300, 8

pytestmark = needs("faiss")


def names_of(rows):
    return [f"sku{row}" for row in rows]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    kinds = rng.standard_normal((12, D))
    return (kinds[rng.integers(12, size=N)] + 0.5 * rng.standard_normal((N, D))).astype(
        np.float32
    ), rng.random(N)


@pytest.fixture
def catalog(data):
    return setwise.Catalog.build(*data, clusters=15, ids=names_of(range(N)))


def ids(selection):
    return selection.ids.tolist()


METHOD = [name for name in METHODS if name not in ("random", "k-dpp")]


@pytest.mark.parametrize("method", METHOD)
def test_relevance_of_a_call_is_as_if_it_were_the_quality(catalog, data, method):
    fresh = np.random.default_rng(1).random(N)
    options = {"method": method, "diversity": 0.3}
    found = catalog.select(20, relevance=fresh, **options)
    assert np.array_equal(catalog.quality, data[1])
    assert found.relevance == pytest.approx(fresh[found.indices].mean())
    by_id = dict(zip(names_of(range(N)), fresh.tolist(), strict=True))
    shuffled = {name: by_id[name] for name in sorted(by_id)}
    assert ids(catalog.select(20, relevance=shuffled, **options)) == ids(found)
    series = pd.Series(shuffled)
    assert ids(catalog.select(20, relevance=series, **options)) == ids(found)
    catalog.set_quality(fresh)
    assert ids(catalog.select(20, **options)) == ids(found)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_query_of_a_call(data, metric):
    """Negative relevance, which no saved quality may be: the set is that of select over the same rows."""
    vectors, quality = data
    catalog = setwise.Catalog.build(vectors, quality, clusters=10, metric=metric)
    query = vectors[5] * 2
    found = catalog.select(12, query=query, diversity=0.2, method="greedy")
    own = setwise.select(
        vectors, 12, query=query, diversity=0.2, solver="greedy", metric=metric, certify=False
    )
    assert found.indices.tolist() == own.indices.tolist()
    negative = -np.random.default_rng(0).random(N)
    assert (
        catalog.select(5, relevance=negative, diversity=0).indices.tolist()
        == np.argsort(-negative)[:5].tolist()
    )


@pytest.mark.parametrize("certify", [False, True])
@pytest.mark.parametrize("method", METHOD)
def test_barred_items_are_as_if_not_there(catalog, data, method, certify):
    """By exclude, by -inf in relevance or quality, by a filter: one and the same."""
    vectors, quality = data
    out = np.random.default_rng(2).choice(N, 60, replace=False)
    mask = np.ones(N, bool)
    mask[out] = False
    never = np.where(mask, quality, -np.inf)
    options = {"method": method, "diversity": 0.3, "certify": certify}
    first = catalog.select(20, exclude=names_of(out), **options)
    assert not set(first.indices.tolist()) & set(out.tolist())
    assert first.ids.tolist() == names_of(first.indices)
    assert np.array_equal(first.clusters, catalog.clusters.labels[first.indices])
    ways = [{"filter": mask}, {"relevance": never}, {"exclude": [*names_of(out), "gone"]}]
    for way in ways:
        assert ids(catalog.select(20, **way, **options)) == ids(first)
    catalog.set_quality(never)
    again = catalog.select(20, **options)
    assert ids(again) == ids(first)
    assert "quality 0.00" in repr(catalog)
    if method in ("greedy", "top-k", "frank-wolfe", "frank-wolfe+swap", "auto"):
        rest = np.flatnonzero(mask)
        alone = setwise.Catalog.build(vectors[rest], quality[rest], clusters=15)
        assert rest[alone.select(20, **options).indices].tolist() == first.indices.tolist()
    if certify:
        kept = np.flatnonzero(mask)
        best = setwise.select(vectors[kept], 20, relevance=quality[kept], diversity=0.3, certify="full").value
        assert first.certificate.upper_bound >= best - 1e-9


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("clustering", "k-dpp")])
def test_must_have_items_come_first_whatever_the_filter(catalog, data, method):
    must = names_of([250, 3, 77])
    mask = np.arange(N) < 200
    found = catalog.select(20, include=must, filter=mask, exclude=["sku9"], method=method)
    assert ids(found)[:3] == must
    assert all(row < 200 for row in found.indices[3:])
    assert len(set(ids(found))) == 20


def test_partitions_in_processes_are_the_same(catalog, processes):
    options = {"method": "muss", "exclude": names_of(range(40)), "include": ["sku99"]}
    assert ids(catalog.select(20, workers=processes, **options)) == ids(catalog.select(20, **options))


def test_a_filter_that_empties_clusters(catalog):
    mask = np.isin(catalog.clusters.labels, [0, 1, 2])
    for method in LEVELS:
        found = catalog.select(10, method=method, clusters=15, filter=mask)
        assert mask[found.indices].all()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"relevance": np.ones(N), "query": np.ones(D)}, ValueError, "relevance: pass relevance or query"),
        ({"relevance": np.ones(N - 1)}, ValueError, "relevance: expected 300 numbers"),
        (
            {"relevance": {"sku1": 1.0}},
            ValueError,
            "relevance: 299 of the 300 items have none, such as 'sku0'",
        ),
        ({"relevance": {"sku1": 1.0, "x": 2.0}}, KeyError, "ids: 'x' is not in the catalog"),
        ({"query": np.ones(D + 1)}, ValueError, "query: expected 8 numbers"),
        ({"include": ["x"]}, KeyError, "include: 'x' is not in the catalog"),
        ({"include": [3]}, TypeError, "include: the catalog's ids are strings, these are integers"),
        ({"exclude": [3]}, TypeError, "exclude: the catalog's ids are strings, these are integers"),
        ({"include": ["sku1", "sku1"]}, ValueError, "include: 'sku1' is named twice"),
        ({"include": ["sku1"], "exclude": ["sku1"]}, ValueError, "include: 'sku1' is in exclude, too"),
        (
            {"include": ["sku1"], "method": "clustering"},
            ValueError,
            "include: the 'clustering' method cannot",
        ),
        ({"filter": np.ones(4, bool)}, ValueError, "filter: expected a mask of 300 rows"),
        ({"filter": "year > 3"}, ValueError, "filter: .*year"),
        ({"filter": [1, 2]}, TypeError, "filter: expected a mask of bools"),
        ({"filter": np.arange(N) < 9}, ValueError, "k: 10 is more than the 9 items that may be selected"),
    ],
)
def test_wishes_that_cannot_be(catalog, options, error, text):
    with pytest.raises(error, match=text):
        catalog.select(10, **options)


def test_never_and_a_must(catalog, data):
    quality = data[1].copy()
    quality[4] = -np.inf
    catalog.set_quality(quality)
    with pytest.raises(ValueError, match="include: 'sku4' is never to be selected"):
        catalog.select(10, include=["sku4"])


# ---------------------------------------------------------------- qualities by id


def test_part_of_the_qualities(catalog, data):
    """Joined by id whatever their order; the others keep theirs, and it is said how many."""
    fresh = {"sku7": 0.9, "sku3": 0.0, "sku250": -np.inf}
    assert catalog.set_quality(fresh) == N - 3
    expected = data[1].copy()
    expected[[7, 3, 250]] = 0.9, 0.0, -np.inf
    assert np.array_equal(catalog.quality, expected)
    assert catalog.set_quality(pd.Series([0.5], index=["sku250"])) == N - 1
    assert catalog.set_quality([0.25, 0.75], ids=["sku1", "sku0"]) == N - 2
    expected[[250, 1, 0]] = 0.5, 0.25, 0.75
    assert np.array_equal(catalog.quality, expected)
    assert catalog.set_quality({}) == N
    assert catalog.set_quality(data[1]) == 0


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (({"x": 1.0},), KeyError, "ids: 'x' is not in the catalog"),
        (({3: 1.0},), TypeError, "ids: the catalog's ids are strings, these are integers"),
        (({"sku3": -0.5},), ValueError, "quality: row 3 is -0.5; it must be at least 0"),
        (({"sku3": np.nan},), ValueError, r"quality: row 0 \(id 'sku3'\) is NaN"),
        (([1.0], ["sku1", "sku2"]), ValueError, "quality: expected 2 numbers"),
        (([1.0, 2.0], ["sku1", "sku1"]), ValueError, "ids: 'sku1' is named 2 times"),
        (([1.0, 2.0],), ValueError, "quality: expected 300 numbers"),
    ],
)
def test_qualities_that_cannot_be_leave_the_catalog_as_it_was(catalog, data, call, error, text):
    with pytest.raises(error, match=text):
        catalog.set_quality(*call)
    assert np.array_equal(catalog.quality, data[1])


# ---------------------------------------------------------------- columns beside


def columns(rows=range(N)):
    return {"name": [f"Thing {row}" for row in rows], "kind": [("a", "b", None)[row % 3] for row in rows]}


@needs("pyarrow")
def test_columns_are_kept_shown_and_filtered_by(data, tmp_path):
    from pyarrow import compute as pc

    catalog = setwise.Catalog.build(*data, clusters=15, ids=names_of(range(N)), fields=columns())
    catalog.save(tmp_path / "shop")
    with setwise.Catalog.edit(tmp_path / "shop") as shop:
        assert shop.fields.to_pydict() == columns()
        shop.add(data[0][:2] * 1.5, [0.9, 0.95], ["n1", "n2"], fields={"name": ["New", "Newer"]})
        shop.remove(["sku0", "sku5"])
    shop = setwise.Catalog.load(tmp_path / "shop")
    names = dict(zip(shop.ids.tolist(), shop.fields["name"].to_pylist(), strict=True))
    assert names == {**{f"sku{row}": f"Thing {row}" for row in range(N) if row not in (0, 5)},
                     "n1": "New", "n2": "Newer"}  # fmt: skip
    assert shop.fields["kind"].to_pylist()[-2:] == [None, None]
    found = shop.select(30, method="muss")
    assert found.fields["name"] == [names[one] for one in ids(found)]
    assert found.to_dict()["fields"] == found.fields
    only = shop.select(30, filter=pc.field("kind") == "b")
    assert {int(one[3:]) % 3 for one in ids(only)} == {1}
    assert ids(shop.select(30, filter="kind = 'b'")) == ids(only)
    assert ids(shop.select(1, filter="id = 'n2' and quality > 0.9")) == ["n2"]
    assert ids(shop.select(30, filter=pc.field("quality") > 0.5)) == ids(
        shop.select(30, filter=shop.quality > 0.5)
    )
    assert ids(shop.select(1, filter=pc.field("id") == "n2")) == ["n2"]
    assert setwise.Catalog.build(*data, clusters=5).select(3).fields == {}


@needs("pyarrow", "pandas", "polars")
def test_tables_of_every_maker(data):
    import polars

    for table in (columns(), pd.DataFrame(columns()), polars.DataFrame(columns()), pa.table(columns())):
        catalog = setwise.Catalog.build(*data, clusters=5, fields=table)
        assert catalog.fields.to_pydict() == columns()


@needs("pyarrow")
def test_columns_that_cannot_be(data, catalog):
    with pytest.raises(ValueError, match="fields: 3 rows for 300 items"):
        setwise.Catalog.build(*data, clusters=5, fields={"name": ["a", "b", "c"]})
    with pytest.raises(TypeError, match="fields: expected columns by name or a DataFrame, got list"):
        setwise.Catalog.build(*data, clusters=5, fields=["a"])
    with pytest.raises(TypeError, match="fields: "):
        setwise.Catalog.build(*data, clusters=5, fields={"name": [*range(N - 1), "x"]})
    with pytest.raises(ValueError, match="fields: the catalog was built without any"):
        catalog.add(data[0][:1], [1.0], ["n"], fields={"name": ["x"]})
    kept = setwise.Catalog.build(*data, clusters=5, fields=columns())
    with pytest.raises(ValueError, match="fields: the catalog has no column 'nam'; it has name, kind"):
        kept.add(data[0][:1], [1.0], fields={"nam": ["x"]})
    with pytest.raises(TypeError, match="fields: 'name' is string in the catalog"):
        kept.add(data[0][:1], [1.0], fields={"name": [[1, 2]]})
    from pyarrow import compute as pc

    for wanted in (pc.field("color") == "red", "color = 'red'", "kind >"):
        with pytest.raises(ValueError, match="filter: "):
            kept.select(3, filter=wanted)


# ---------------------------------------------------------------- many users


@pytest.mark.parametrize("by", ["relevance", "queries"])
@pytest.mark.parametrize("method", ["auto", "greedy", "top-k", "muss"])
def test_many_users_are_as_one_by_one(catalog, data, method, by):
    rng = np.random.default_rng(4)
    scores, queries = rng.standard_normal((5, N)), rng.standard_normal((5, D))
    scores[2, :30] = -np.inf
    bought = [names_of(rng.choice(N, size, replace=False)) for size in (0, 3, 9, 1, 30)]
    bought[0] = None
    mask = rng.random(N) < 0.8
    given = {"relevance": scores} if by == "relevance" else {"queries": queries}
    must = [None, ["sku299"], None, None, ["sku298", "sku1"]]
    must = [None if own is None else [one for one in own if one not in (gone or ())]
            for own, gone in zip(must, bought, strict=True)]  # fmt: skip
    many = catalog.select_many(
        8, exclude=bought, include=must, filter=mask, method=method, diversity=0.3, **given
    )
    for user, one in enumerate(many):
        own = {"relevance": scores[user]} if by == "relevance" else {"query": queries[user]}
        alone = catalog.select(
            8,
            exclude=bought[user] or (),
            include=must[user] or (),
            filter=mask,
            method=method,
            diversity=0.3,
            **own,
        )
        assert ids(one) == ids(alone)
        assert one.value == pytest.approx(alone.value, abs=1e-6)
        assert one.method == alone.method
        assert np.array_equal(one.clusters, alone.clusters)


@pytest.mark.parametrize("method", ["auto", "greedy"])
def test_limits_for_many_users_are_as_one_by_one(data, method):
    vectors, quality = data
    rng = np.random.default_rng(8)
    kinds = rng.integers(0, 4, N).tolist()
    fields = {"kind": kinds, "price": rng.uniform(1, 9, N).tolist()}
    catalog = setwise.Catalog.build(vectors, quality, clusters=10, ids=names_of(range(N)), fields=fields)
    scores = rng.random((5, N))
    own = rng.integers(0, 3, (5, N))
    bought = [names_of(rng.choice(N, 4, replace=False)) for _ in range(5)]
    wanted = {"filter": "price < 7", "diversity": 0.4, "method": method}
    for limits in (
        {"groups": "kind", "max_per_group": 3},
        {"limits": {"kind": 3}},
        {"limits": {"kind": (1, 3)}, "max_similarity": 0.9},
        {"groups": {"kind": [kind % 2 for kind in kinds]}, "shares": {"kind": {0: 0.5, 1: 0.5}}},
        {"groups": own, "max_per_group": 3},
    ):
        many = catalog.select_many(8, relevance=scores, exclude=bought, **limits, **wanted)
        for user, one in enumerate(many):
            mine = {**limits, "groups": own[user]} if limits.get("groups") is own else limits
            alone = catalog.select(8, relevance=scores[user], exclude=bought[user], **mine, **wanted)
            assert ids(one) == ids(alone)
            assert one.method == alone.method
    with pytest.raises(ValueError, match="the 'muss' method cannot honor it"):
        catalog.select_many(8, relevance=scores, limits={"kind": 3}, method="muss")
    with pytest.raises(ValueError, match="the 'top-k' method cannot honor it; use one of auto, greedy$"):
        catalog.select_many(8, relevance=scores, min_gain=0.1, method="top-k")
    with pytest.raises(ValueError, match="the catalog has no column 'colour'"):
        catalog.select_many(8, relevance=scores, groups="colour", max_per_group=3)


def test_many_users_that_cannot_be(catalog):
    with pytest.raises(ValueError, match="relevance: pass relevance of shape"):
        catalog.select_many(3)
    with pytest.raises(ValueError, match=r"relevance: expected shape \(m, 300\), got \(2, 5\)"):
        catalog.select_many(3, relevance=np.ones((2, 5)))
    few = {"relevance": np.ones((2, N)), "filter": np.arange(N) < 2}
    with pytest.raises(ValueError, match="query 0: k: 3 is more than the 2 items that may be selected"):
        catalog.select_many(3, **few)
    with pytest.raises(ValueError, match="exclude: expected one list for each of 2 queries, got 3"):
        catalog.select_many(3, relevance=np.ones((2, N)), exclude=[[], [], []])
    with pytest.raises(ValueError, match="include: 'sku1' is in exclude, too"):
        catalog.select_many(3, relevance=np.ones((2, N)), exclude=[["sku1"], None], include=[["sku1"], None])


@needs("pyarrow")
@pytest.mark.parametrize("wish", [{"k": None, "costs": "c", "budget": 3}, {"k": 5, "min_gain": 0.1}])
def test_a_set_of_any_size_is_refused_where_no_item_is_left(wish):
    rng = np.random.default_rng(0)
    fields = {"c": [1.0] * 60, "g": ["y"] * 60}
    catalog = setwise.Catalog.build(rng.standard_normal((60, 8)), quality=rng.random(60), fields=fields)
    users = rng.random((2, 60))
    for none in ({"filter": "g = 'x'"}, {"exclude": list(range(60))}):
        with pytest.raises(ValueError, match="^filter: it and exclude leave no item"):
            catalog.select(**wish, **none)
        with pytest.raises(ValueError, match="^query 0: filter: it and exclude leave no item"):
            catalog.select_many(relevance=users, **wish, **none)
    with pytest.raises(ValueError, match="^query 1: filter: it and exclude leave no item"):
        catalog.select_many(relevance=users, filter="g = 'x'", include=[[4], []], **wish)
