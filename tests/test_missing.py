"""Vectors and scores that cannot be used: one policy in `select`, `diversify` and over an array."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import setwise
from optional import needs
from setwise.missing import check_missing, reasons, unusable

N, D = 40, 6


@pytest.fixture
def rows():
    return np.random.default_rng(4).standard_normal((N, D))


SPOILS = {
    "zeros": (np.zeros(D), "is all zero"),
    "nan": ([np.nan, *[1.0] * (D - 1)], "has NaN or Inf"),
    "inf": ([-np.inf, *[1.0] * (D - 1)], "has NaN or Inf"),
}


@pytest.mark.parametrize("spoil", SPOILS)
@pytest.mark.parametrize("way", ["relevance", "query"])
def test_select(rows, spoil, way):
    relevance = np.random.default_rng(5).random(N)
    bad = [3, 17]
    spoilt, told = rows.copy(), SPOILS[spoil][1]
    spoilt[bad] = SPOILS[spoil][0]
    wish = {"relevance": relevance} if way == "relevance" else {"query": rows[0]}
    expected = setwise.select(rows, 6, exclude=[*bad, 1], **wish)
    with pytest.raises(ValueError, match="vectors: row 3"):
        setwise.select(spoilt, 6, exclude=[1], **wish)
    with pytest.warns(UserWarning, match=f"vectors: 2 candidates cannot be used .*row 3 {told}"):
        found = setwise.select(spoilt, 6, exclude=[1], missing="drop", **wish)
    for one in (found, setwise.select(spoilt, 6, exclude=[1], missing="append", **wish)):
        assert one.indices.tolist() == expected.indices.tolist()
        assert one.value == pytest.approx(expected.value)
        assert one.certificate.upper_bound == pytest.approx(expected.certificate.upper_bound)
    with pytest.raises(ValueError, match=f"include: row 17 cannot be used, it {told}"):
        setwise.select(spoilt, 6, include=[17], missing="append", **wish)


def test_scores_that_are_missing(rows):
    relevance = np.random.default_rng(5).random(N)
    expected = setwise.select(rows, 5, relevance=relevance, exclude=[2, 9], relevance_scale="minmax")
    for absent in (np.nan, None):
        given = relevance.tolist()
        given[2] = given[9] = absent
        with pytest.raises((TypeError, ValueError), match="relevance: row 2|relevance: "):
            setwise.select(rows, 5, relevance=given, relevance_scale="minmax")
        with pytest.warns(UserWarning, match="2 candidates cannot be used .*row 2 has no relevance"):
            found = setwise.select(rows, 5, relevance=given, relevance_scale="minmax", missing="drop")
        assert found.indices.tolist() == expected.indices.tolist()


@needs("pandas", "polars", "pyarrow")
def test_every_mark_of_a_missing_number_is_one(rows):
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    lists, scores = rows.tolist(), np.random.default_rng(5).random(N).tolist()
    without = [*lists[:2], None, *lists[3:]]
    gap = [*lists[:2], [None, *lists[2][1:]], *lists[3:]]
    packed = pd.ArrowDtype(pa.list_(pa.float64()))
    vectors = [without, pd.Series(without), pd.Series(without, dtype=packed), pd.Series(gap, dtype=packed)]
    vectors += [
        gap,
        [*lists[:2], pd.NA, *lists[3:]],
        [*lists[:2], [pd.NA] * D, *lists[3:]],
        pd.DataFrame(gap),
    ]
    vectors += [list(pa.array(without)), list(pa.array(gap))]
    table = {f"c{at}": [row[at] for row in gap] for at in range(D)}
    vectors += [pd.DataFrame(gap, dtype="Float64"), pl.DataFrame(table), pa.table(table)]
    some = [*scores[:2], None, *scores[3:]]
    relevance = [some, np.array(some, object), np.ma.array(scores, mask=[row == 2 for row in range(N)])]
    relevance += [[*scores[:2], pd.NA, *scores[3:]], pl.Series(some)]
    relevance += [pd.Series(some, dtype=kind) for kind in ("double[pyarrow]", "Float64", object)]
    relevance += [pa.array(some), list(pa.array(some))]
    expected = setwise.select(rows, 5, relevance=scores, exclude=[2]).indices.tolist()
    given = [(one, scores) for one in vectors] + [(rows, one) for one in relevance]
    for each, numbers in given:
        with pytest.raises((TypeError, ValueError), match="row 2 |masked arrays cannot be used"):
            setwise.select(each, 5, relevance=numbers)
        with pytest.warns(UserWarning, match="1 candidate cannot be used and is left out"):
            found = setwise.select(each, 5, relevance=numbers, missing="drop")
        assert found.indices.tolist() == expected


def test_what_cannot_be_used_follows_where_there_is_room(rows):
    spoilt = rows[:6].copy()
    spoilt[[1, 4]] = 0.0
    found = setwise.select(spoilt, 5, query=rows[0], missing="append")
    assert sorted(found.indices[:4].tolist()) == [0, 2, 3, 5]
    assert found.indices[4:].tolist() == [1]
    assert found.gains[4] == 0.0
    assert setwise.select(spoilt, 6, query=rows[0], missing="append").indices[4:].tolist() == [1, 4]
    assert setwise.select(spoilt, 5, query=rows[0], exclude=[1], missing="append").indices[4:].tolist() == [4]
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match="k: 5 is more than the 4"),
    ):
        setwise.select(spoilt, 5, query=rows[0], missing="drop")
    for policy in ("drop", "append"):
        with pytest.raises(ValueError, match=r"vectors: none of the 6 candidates can be used .*is all zero"):
            setwise.select(spoilt * 0, 1, missing=policy)
    names = list("abcdef")
    given = [0.5, 0.9, 0.4, 0.3, 0.8, None]
    named = setwise.diversify(names, 5, relevance=given, vectors=spoilt, missing="append")
    assert named.ids.tolist()[3:] == ["b", "e"]
    assert np.isnan(named.scores[3:]).all()
    assert named.to_dict()["scores"][3:] == named.to_dict()["novelty"][3:] == [None, None]
    with pytest.warns(UserWarning, match="3 candidates cannot be used"):
        found = setwise.diversify(names, 2, relevance=given, vectors=spoilt, missing="drop", diversity=0.0)
    assert found.ids.tolist() == ["a", "c"]


@pytest.mark.parametrize("missing", ["drop", "append"])
@pytest.mark.parametrize("shape", ["relevance", "queries", "ragged", "equal"])
def test_many_queries_are_as_each_by_itself(rows, shape, missing):
    """Of one matrix and of pools, with what each query excludes; one pool has fewer than k to choose from."""
    rng = np.random.default_rng(6)
    rows[[3, 17]] = 0.0
    rows[20:26] = np.nan
    relevance = rng.random((4, N))
    relevance[1, 5] = relevance[2, 0] = np.nan
    pools = [slice(0, 10), slice(10, 20), slice(20, 30), slice(30, 40)]
    exclude = [[1], None, [2], [4, 5]]
    if shape in ("relevance", "queries"):
        given = {"relevance": relevance} if shape == "relevance" else {"queries": rng.standard_normal((4, 6))}
        parts = [slice(None)] * 4
        call = {"vectors": rows, **given}
        own = [
            {name.replace("queries", "query"): each[row] for name, each in given.items()} for row in range(4)
        ]
    else:
        parts = pools
        own = [{"relevance": relevance[0, part]} for part in parts]
        call = {"vectors": rows, "relevance": relevance[0], "offsets": [0, 10, 20, 30, 40]}
        if shape == "equal":
            call = {"vectors": rows.reshape(4, 10, D), "relevance": relevance[0].reshape(4, 10)}
    with pytest.raises(ValueError, match="row 3|NaN"):
        setwise.select_many(k=3, exclude=exclude, **call)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = setwise.select_many(k=3, exclude=exclude, missing=missing, **call)
        told = len(caught)
        for one, part, wishes, barred in zip(found, parts, own, exclude, strict=True):
            alone = setwise.select(rows[part], 3, exclude=barred or [], missing=missing, **wishes)
            assert one.indices.tolist() == alone.indices.tolist()
            assert one.value == pytest.approx(alone.value)
    assert (told > 0) is (missing == "drop")


def test_what_can_be_used_is_selected_together_and_what_is_too_little_is_named(rows):
    relevance = np.random.default_rng(5).random((2, N))
    same = setwise.select_many(rows, 3, relevance=relevance, missing="drop")
    for one, other in zip(same, setwise.select_many(rows, 3, relevance=relevance), strict=True):
        assert one.indices.tolist() == other.indices.tolist()
    lists = relevance.tolist()
    lists[1][2:] = [None] * (N - 2)
    with (
        pytest.warns(UserWarning, match="38 candidates"),
        pytest.raises(ValueError, match="query 1: k: 3 is more than the 2"),
    ):
        setwise.select_many(rows, 3, relevance=lists, missing="drop")
    found = setwise.select_many(rows, 3, relevance=lists, missing="append")[1]
    assert sorted(found.indices[:2].tolist()) == [0, 1]
    assert found.indices[2] == 2


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_an_index_over_an_array(rows, metric):
    spoilt = rows.copy()
    spoilt[3] = 0.0
    spoilt[17, 2] = np.nan
    bad = [3, 17] if metric == "cosine" else [17]
    kept = np.setdiff1d(np.arange(N), bad)
    color = np.array(["red", "green"])[np.arange(N) % 2]
    with pytest.raises(ValueError, match=f"vectors: row {bad[0]}"):
        setwise.Index.from_array(spoilt, metric=metric)
    with pytest.warns(UserWarning, match="left out"):
        index = setwise.Index.from_array(spoilt, metric=metric, missing="drop", fields={"color": color})
    plain = setwise.Index.from_array(rows[kept] if metric == "cosine" else spoilt[kept], metric=metric)
    assert (index.size, len(index)) == (len(kept), len(kept))
    for options, same in [
        ({}, {}),
        ({"objective": "mmr"}, {"objective": "mmr"}),
        ({"exclude": [0, 3, 5]}, {"exclude": np.searchsorted(kept, [0, 5])}),
        ({"filter": color == "red"}, {"filter": (color == "red")[kept]}),
        ({"filter": [1, 2, 4, 17, 30]}, {"filter": np.searchsorted(kept, [1, 2, 4, 30])}),
        ({"filter": lambda row: row > 30}, {"filter": lambda row: kept[row] > 30}),
        ({"include": [20]}, {"include": np.searchsorted(kept, [20])}),
        (
            {"include": [20], "objective": "mmr"},
            {"include": np.searchsorted(kept, [20]), "objective": "mmr"},
        ),
        ({"groups": "color", "max_per_group": 2}, {"groups": color[kept], "max_per_group": 2}),
    ]:
        one, other = (
            setwise.retrieve(rows[1], index, 4, **options),
            setwise.retrieve(rows[1], plain, 4, **same),
        )
        assert one.ids.tolist() == kept[other.ids].tolist()
    drawn = index.sample(10)
    np.testing.assert_allclose(index.vectors(drawn.ids), drawn.vectors)
    with pytest.raises(KeyError, match="ids: row 17 cannot be used, and was left out"):
        index.vectors([2, 17])


def test_why_a_vector_cannot_be_used():
    given = [[1.0, 2.0], None, [], [0.0, 0.0], [np.inf, 1.0], [1.0], np.ones((1, 2)), ["a", "b"], [3, 4]]
    assert reasons(given) == [
        None,
        "is missing",
        "is empty",
        "is all zero",
        "has NaN or Inf",
        "has shape (1,) where others have (2,)",
        "has shape (1, 2) where others have (2,)",
        None,  # no number: an error of its own
        None,
    ]
    assert reasons([[0.0, 0.0]], "euclidean") == [None]
    assert reasons([[1.0]], d=3) == ["has shape (1,) where others have (3,)"]
    tall = np.ones((200_000, 3))
    tall[[5, 199_999]] = 0
    assert np.flatnonzero(unusable(tall, "cosine")).tolist() == [5, 199_999]
    assert not unusable(tall, "euclidean").any()


def test_the_policy_has_three_names_and_two_that_frameworks_use():
    assert [check_missing(name) for name in ("raise", "drop", "append", "error", "warn")] == [
        *("raise", "drop", "append", "raise", "drop"),
    ]
    with pytest.raises(ValueError, match="missing: 'dropp' is unknown; did you mean 'drop'"):
        setwise.select(np.eye(2), 1, missing="dropp")
    with pytest.raises(ValueError, match="missing: an index cannot append what no search finds"):
        setwise.Index.from_array(np.eye(2), missing="append")
    with pytest.raises(TypeError, match="missing"):
        setwise.select(np.eye(2), 1, missing=None)


@pytest.mark.parametrize("mark", [None, float("nan"), np.datetime64("NaT", "D")])
def test_candidates_without_a_label_are_groups_of_their_own_on_request(rows, mark):
    labels = [["x", "y"][row % 2] for row in range(N)]
    apart = list(labels)
    for row in range(0, N, 5):
        labels[row], apart[row] = mark, f"own {row}"
    relevance = np.random.default_rng(6).random(N)
    wish = {"relevance": relevance, "max_per_group": 1}
    expected = setwise.select(rows, 8, groups=apart, **wish)
    with pytest.raises(ValueError, match=r"groups: row 0 has no label .*setwise.OwnIfMissing"):
        setwise.select(rows, 8, groups=labels, **wish)
    found = setwise.select(rows, 8, groups=setwise.OwnIfMissing(labels), **wish)
    assert found.indices.tolist() == expected.indices.tolist()
    ids = [f"d{row}" for row in range(N)]
    same = setwise.diversify(ids, 8, vectors=rows, groups=apart, **wish)
    named = setwise.diversify(ids, 8, vectors=rows, groups=setwise.OwnIfMissing(labels), **wish)
    assert named.ids.tolist() == same.ids.tolist()
    index = setwise.Index.from_array(rows, fields={"label": labels})
    expected = setwise.retrieve(rows[0], index, 8, groups=apart, max_per_group=1)
    for groups in ("label", labels, dict(enumerate(labels))):
        own = setwise.OwnIfMissing(groups)
        found = setwise.retrieve(rows[0], index, 8, groups=own, max_per_group=1)
        assert found.ids.tolist() == expected.ids.tolist()
