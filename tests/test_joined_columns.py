"""pandas columns are joined by id or by the index of what they stand beside, and else taken by row."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import setwise
from optional import needs

pytestmark = needs("pandas")

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((6, 8)).astype(np.float32)
SCORES = RNG.random(6)
TABLE = RNG.random((6, 3))
FACETS = {"diversity": 0.5, "objective": "facets"}


@needs("faiss")
def test_what_a_catalogs_call_gives_each_item_is_joined_by_id():
    import pandas as pd

    ids, order = [5, 4, 3, 2, 1, 0], [1, 0, 2, 3, 4, 5]
    catalog = setwise.Catalog.build(VECTORS, SCORES, ids=ids)
    wishes = [
        lambda of: {"k": None, "costs": of([1.0, 2, 3, 4, 5, 6]), "budget": 6.0},
        lambda of: {"k": 3, "groups": of(list("aaabbc")), "max_per_group": 1},
        lambda of: {"k": 3, "groups": {"kind": of(list("aaabbc"))}, "limits": {"kind": 1}},
        lambda of: {"k": 3, "groups": setwise.OwnIfMissing(of([*"aaabb", None])), "max_per_group": 1},
        lambda of: {"k": 3, "filter": of([True, True, True, True, False, False])},
        lambda of: {"k": 2, "facets": of(TABLE), **FACETS},
        lambda of: {"k": 2, "facets": {"x": of(TABLE[:, 0]), "y": of(TABLE[:, 1])}, **FACETS},
    ]

    def by_id(values):
        return pd.DataFrame(values, order) if np.ndim(values) == 2 else pd.Series(values, order)

    def by_row(values):
        return by_id(values).loc[ids].to_numpy()

    def among_others(values):
        return pd.concat([by_id(values), by_id(values).set_axis(range(10, 16))])

    for wish in wishes:
        expected = catalog.select(**wish(by_row)).ids.tolist()
        assert expected != catalog.select(**wish(np.asarray)).ids.tolist()
        assert catalog.select(**wish(by_id)).ids.tolist() == expected
        assert catalog.select(**wish(among_others)).ids.tolist() == expected
    many = [
        [one.ids.tolist() for one in catalog.select_many(relevance=[SCORES, SCORES[::-1]], **wishes[1](of))]
        for of in (by_row, by_id, np.asarray)
    ]
    assert many[0] == many[1] != many[2]
    wide = VECTORS[[0] * 6 + [1] * 9]  # as wide as the vectors: directions, whatever the index
    wish = {"k": 2, "relevance": np.zeros(6), **FACETS}
    expected = catalog.select(facets=wide, **wish).ids.tolist()
    assert expected != catalog.select(facets=wide[:6], **wish).ids.tolist()
    assert catalog.select(facets=pd.DataFrame(wide), **wish).ids.tolist() == expected
    catalog.add(VECTORS[:2] + 1, pd.Series([0.25, 0.75], [9, 8]), ids=[8, 9])
    assert catalog.quality[-2:].tolist() == [0.75, 0.25]


def test_an_index_with_labels_twice_is_by_row_where_it_is_the_same():
    import pandas as pd

    frame = pd.DataFrame({"v": list(VECTORS), "score": SCORES, "g": list("aabbcc")}, index=[0, 1, 2, 0, 1, 2])
    wish = {"groups": frame["g"].tolist(), "max_per_group": 1}
    expected = setwise.select(VECTORS, 2, relevance=SCORES, **wish).indices.tolist()
    beside = {"relevance": frame["score"], "groups": frame["g"], "max_per_group": 1}
    named = {"relevance": "score", "groups": "g", "max_per_group": 1}
    for vectors, given in ((frame, named), (frame, beside), (frame["v"], beside)):
        assert setwise.select(vectors, 2, **given).indices.tolist() == expected


@needs("faiss")
def test_a_catalog_is_built_of_a_frame_whose_index_has_labels_twice():
    import pandas as pd

    frame = pd.DataFrame({"v": list(VECTORS), "score": SCORES, "key": list("uvwxyz")}, [0, 1, 2, 0, 1, 2])
    for vectors, ids in ((frame[["v", "score"]], None), (VECTORS, frame["key"])):
        built = setwise.Catalog.build(vectors, frame["score"], ids=ids, clusters=2)
        np.testing.assert_array_equal(built.quality, SCORES)


def test_facets_and_labels_are_joined_as_relevance_is():
    import pandas as pd

    names = list("uvwxyz")
    table = pd.DataFrame(TABLE, names)
    frame = pd.DataFrame({"v": list(VECTORS), "id": list("abcdef"), "score": SCORES}, names)
    mixed = table.iloc[[3, 1, 5, 0, 2, 4]]
    expected = setwise.select(VECTORS, 2, relevance=SCORES, facets=TABLE, **FACETS).indices.tolist()
    for facets in (table, mixed, dict(mixed.items())):
        for vectors in (frame, frame["v"]):
            found = setwise.select(vectors, 2, relevance=frame["score"], facets=facets, **FACETS)
            assert found.indices.tolist() == expected
        for ids, vectors in ((names, VECTORS), (names, frame), ("id", frame)):  # by id; by the frame's index
            hits = setwise.diversify(ids, 2, relevance=SCORES, vectors=vectors, facets=facets, **FACETS)
            assert hits.indices.tolist() == expected
    kinds = pd.Series(list("aabbcc"), names)
    shelf = setwise.select(VECTORS, 3, relevance=SCORES, groups=kinds.tolist(), max_per_group=1)
    mixed_too = {"groups": setwise.OwnIfMissing(kinds.iloc[[3, 1, 5, 0, 2, 4]])}
    for vectors in (frame, frame["v"]):
        found = setwise.select(vectors, 3, relevance=frame["score"][::-1], max_per_group=1, **mixed_too)
        assert found.indices.tolist() == shelf.indices.tolist()


def test_a_column_of_another_index_is_refused_never_taken_by_row():
    import pandas as pd

    frame = pd.DataFrame({"v": list(VECTORS), "g": list("aabbcc")}, index=range(10, 16))
    whole = pd.Series(np.arange(30) % 7 / 7, range(30)).iloc[::-1]  # of more rows than the frame has
    expected = setwise.select(VECTORS, 2, relevance=np.arange(10, 16) % 7 / 7).indices.tolist()
    assert setwise.select(frame, 2, relevance=whole).indices.tolist() == expected
    twice = pd.Series(SCORES, [10, 10, 11, 12, 13, 14])
    both = pd.Series(SCORES.repeat(2), np.repeat(frame.index, 2))
    for wrong in (pd.Series(SCORES), pd.Series(SCORES, range(11, 17)), twice, both):
        for vectors in (frame, frame["v"]):
            with pytest.raises(ValueError, match=r"relevance: its index (lacks|has) 1\d"):
                setwise.select(vectors, 2, relevance=wrong)
            with pytest.raises(ValueError, match="groups: its index"):
                setwise.select(vectors, 2, groups=wrong, max_per_group=1)
    with pytest.raises(ValueError, match="relevance: its index lacks id 'u'"):
        setwise.diversify(list("uvwxyz"), 2, relevance=pd.Series(SCORES, list("abcdef")), vectors=VECTORS)
    with pytest.raises(ValueError, match="relevance: its index has an id twice"):
        setwise.diversify(["u"], 1, relevance=pd.Series([1.0, 2.0], ["u", "u"]), vectors=VECTORS[:1])


def test_columns_beside_a_frame_are_joined_in_a_batch_too():
    import pandas as pd

    frame = pd.DataFrame({"v": list(VECTORS), "g": list("aabbcc")}, index=range(10, 16))
    wish = {"queries": VECTORS[:2], "max_per_group": 1}
    expected = [
        one.indices.tolist() for one in setwise.select_many(VECTORS, 3, groups=list("aabbcc"), **wish)
    ]
    for groups in ("g", frame["g"], frame["g"].iloc[[3, 1, 5, 0, 2, 4]]):
        found = setwise.select_many(frame, 3, groups=groups, **wish)
        assert [one.indices.tolist() for one in found] == expected
        assert found[0].to_pandas()["g"].tolist() == frame["g"].iloc[expected[0]].tolist()
    scores = pd.Series(SCORES, frame.index)
    cut = {"relevance": SCORES, "offsets": [0, 3, 6]}
    by_row = [one.indices.tolist() for one in setwise.select_many(VECTORS, 1, **cut)]
    mixed = setwise.select_many(frame, 1, **{**cut, "relevance": scores.iloc[::-1]})
    assert [one.indices.tolist() for one in mixed] == by_row


def indexes_of(rows, tmp_path):
    """Every index over rows at hand, with what names its rows."""
    from setwise.index.saving import save

    save(tmp_path / "saved", rows, ids=list("abcdef"))
    yield setwise.Index.from_array(rows), range(6)
    yield setwise.open_index(tmp_path / "saved"), "abcdef"
    for package, made in (("faiss", _faiss), ("torch", _torch)):
        if importlib.util.find_spec(package):
            yield made(rows), range(6)


def _faiss(rows):
    import faiss

    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return setwise.Index.from_faiss(index)


def _torch(rows):
    import torch

    return setwise.Index.from_torch(torch.from_numpy(rows))


UNIT = VECTORS / np.linalg.norm(VECTORS, axis=1)[:, None]


@needs("pyarrow")
def test_a_mask_is_joined_by_the_ids_of_an_index_and_masked_or_missing_is_refused(tmp_path):
    import pandas as pd

    mask = np.array([True, False, True, True, False, False])
    order = [3, 1, 5, 0, 2, 4]
    for index, names in indexes_of(UNIT, tmp_path):
        wish = {"query": VECTORS[1], "index": index, "k": 3}
        expected = setwise.retrieve(**wish, filter=mask).ids.tolist()
        assert sorted(expected) == [names[row] for row in (0, 2, 3)]
        whole = pd.Series(mask, list(names))
        for given in (
            whole.iloc[order],
            whole.iloc[order].astype("boolean"),
            mask.astype(object),
            pd.Series(mask),
        ):
            assert setwise.retrieve(**wish, filter=given).ids.tolist() == expected
        with pytest.raises(TypeError, match="^filter: masked arrays cannot be used"):
            setwise.retrieve(**wish, filter=np.ma.masked_array(mask, mask))
        with pytest.raises(TypeError, match="^filter: masked arrays cannot be used"):
            setwise.retrieve(**wish, filter=np.ma.masked_array(list(names), mask))
        gap = whole.astype("boolean")
        gap.iloc[1] = pd.NA
        with pytest.raises(ValueError, match="^filter: row 1 is <NA>, neither True nor False"):
            setwise.retrieve(**wish, filter=gap)


def test_columns_beside_an_indexs_frame_are_in_the_order_of_its_rows():
    """The frame's labels are numbers in another order: they are no ids, which are row numbers."""
    import pandas as pd

    frame = pd.DataFrame(
        {"v": list(VECTORS), "g": list("aabbcc"), "c": np.arange(1.0, 7)}, [3, 1, 5, 0, 2, 4]
    )
    index, plain = setwise.Index.from_array(frame), setwise.Index.from_array(VECTORS)
    groups, costs, mixed = list("aabbcc"), np.arange(1.0, 7), frame.iloc[::-1]
    for wish, given in (
        ({"groups": groups, "max_per_group": 1}, {"groups": mixed["g"], "max_per_group": 1}),
        (
            {"groups": groups, "max_per_group": 1},
            {"groups": setwise.OwnIfMissing(frame["g"]), "max_per_group": 1},
        ),
        ({"groups": {"x": groups}, "limits": {"x": 1}}, {"groups": {"x": frame["g"]}, "limits": {"x": 1}}),
        ({"costs": costs, "budget": 7}, {"costs": mixed["c"], "budget": 7}),
        ({"filter": costs > 2}, {"filter": mixed["c"] > 2}),
    ):
        expected = setwise.retrieve(VECTORS[0], plain, 3, **wish).ids.tolist()
        assert setwise.retrieve(VECTORS[0], index, 3, **given).ids.tolist() == expected
    expected = setwise.retrieve(VECTORS[0], plain, 3, groups=groups, max_per_group=1).ids.tolist()
    for fields, vectors in (
        (mixed[["g"]].rename(columns={"g": "h"}), frame),
        ({"h": pd.Series(groups)}, VECTORS),
    ):
        held = setwise.Index.from_array(vectors, fields=fields)
        assert setwise.retrieve(VECTORS[0], held, 3, groups="h", max_per_group=1).ids.tolist() == expected
    with pytest.raises(ValueError, match="groups: its index has 0 twice"):
        setwise.retrieve(VECTORS[0], plain, 3, groups=pd.Series(groups, [0, 0, 1, 2, 3, 4]), max_per_group=1)


def test_qualities_and_rewards_beside_a_frame_are_joined_by_its_index():
    import pandas as pd

    frame = pd.DataFrame({"v": list(VECTORS), "score": SCORES}, index=list("abcdef"))
    mixed, examples = frame["score"].iloc[[3, 1, 5, 0, 2, 4]], VECTORS[:2] + 0.1
    match, choose = setwise.finetuning.match, setwise.preference.select_responses
    for wish in ("quality", "densities"):
        expected = match(VECTORS, examples, **{wish: SCORES})
        found = match(frame, examples, **{wish: mixed})
        assert found.indices.tolist() == expected.indices.tolist()
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)
        with pytest.raises(TypeError, match=f"^{wish}: masked arrays cannot be used"):
            match(VECTORS, examples, **{wish: np.ma.masked_array(SCORES, SCORES > 0.5)})
    expected = choose(VECTORS, SCORES, 2)
    assert choose(frame, mixed, 2).negatives.tolist() == expected.negatives.tolist()
    with pytest.raises(ValueError, match="^rewards: its index lacks 'a'"):
        choose(frame, frame["score"].iloc[1:], 2)
