"""Labels, numbers and ids beside candidates: the same whatever holds them, in every call."""

from __future__ import annotations

import enum
import json
from fractions import Fraction

import numpy as np
import pytest

import setwise
from optional import needs
from setwise import compat
from setwise.files import read_corpus

pytestmark = needs("pandas", "polars", "pyarrow", "torch", "faiss", "datasets")

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((8, 4)).astype(np.float32)
SCORES = RNG.integers(0, 16, 8) / 16
NAMES = list("abcdefgh")
CUT = {"offsets": [0, 4, 8], "relevance": SCORES}

#: Calls that take a label a candidate; each returns what was chosen.
LABELED = {
    "select": lambda g: setwise.select(VECTORS, 3, relevance=SCORES, groups=g, max_per_group=1).indices,
    "pools": lambda g: [
        one.indices for one in setwise.select_many(VECTORS, 2, groups=g, max_per_group=1, **CUT)
    ],
    "queries": lambda g: [
        one.indices for one in setwise.select_many(VECTORS, 3, queries=VECTORS[:2], groups=g, max_per_group=1)
    ],
    "diversify": lambda g: (
        setwise.diversify(NAMES, 3, relevance=SCORES, vectors=VECTORS, groups=g, max_per_group=1).positions
    ),
    "retrieve": lambda g: (
        setwise.retrieve(
            VECTORS[0], setwise.Index.from_array(VECTORS), 3, groups=g, max_per_group=1
        ).positions
    ),
    "catalog": lambda g: catalog().select(3, groups=g, max_per_group=1).positions,
    "catalog of users": lambda g: [
        one.positions for one in catalog().select_many(3, queries=VECTORS[:2], groups=g, max_per_group=1)
    ],
}


def catalog():
    return setwise.Catalog.build(VECTORS, SCORES, ids=NAMES, clusters=2)


@pytest.mark.parametrize("call", LABELED.values(), ids=LABELED)
def test_labels_are_told_apart_by_what_they_stand_for(call):
    import pyarrow as pa
    import torch

    numbers, expected = np.repeat(np.arange(4), 2), call([0, 0, 1, 1, 2, 2, 3, 3])
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 4, 6, 8], pa.int32()), pa.array(range(4)))
    days = numbers.astype("datetime64[D]")
    for given in (torch.tensor(numbers), list(torch.tensor(numbers)), list(pa.array(numbers)), runs, days):
        np.testing.assert_equal(call(given), expected)
    np.testing.assert_equal(call([0, 0, "0", "0", 1, 1, "1", "1"]), expected)
    gaps = (
        [float("nan"), *"aabbccd"],
        np.ma.masked_array(numbers, [True] + [False] * 7),
        list(pa.array([None, 0, 1, 1, 2, 2, 3, 3])),
        torch.tensor([float("nan"), 0, 1, 1, 2, 2, 3, 3]),
    )
    for given in gaps:
        with pytest.raises(ValueError, match=r"groups: (row 0|id ('a'|0)) "):
            call(given)


def test_labels_of_stacked_pools_and_those_without_one():
    stack, scores = VECTORS.reshape(2, 4, 4), SCORES.reshape(2, 4)
    labels = [[None, "a", "a", None], ["b", "b", float("nan"), "b"]]
    flat = [f"own {row}" if row in (0, 3, 6) else label for row, label in enumerate([*labels[0], *labels[1]])]
    expected = [
        one.indices.tolist() for one in setwise.select_many(VECTORS, 2, groups=flat, max_per_group=1, **CUT)
    ]
    with_own = setwise.OwnIfMissing(labels)
    found = setwise.select_many(stack, 2, relevance=scores, groups=with_own, max_per_group=1)
    assert [one.indices.tolist() for one in found] == expected
    in_pools = setwise.OwnIfMissing([*labels[0], *labels[1]])
    found = setwise.select_many(VECTORS, 2, groups=in_pools, max_per_group=1, **CUT)
    assert [one.indices.tolist() for one in found] == expected
    with pytest.raises(ValueError, match="pool 0: groups: row 0 has no label"):
        setwise.select_many(stack, 2, relevance=scores, groups=labels, max_per_group=1)


def test_numbers_are_the_same_whatever_holds_them():
    import pandas as pd
    import pyarrow as pa
    import torch

    listed, bfloat = SCORES.tolist(), torch.tensor(SCORES).bfloat16()
    runs = pa.RunEndEncodedArray.from_arrays(pa.array(range(1, 9), pa.int32()), pa.array(listed))
    whole = pa.array(listed)
    calls = (
        lambda of: setwise.select(VECTORS, 3, relevance=of).indices,
        lambda of: setwise.select_many(VECTORS, 3, relevance=[of, of])[1].indices,
        lambda of: setwise.Catalog.build(VECTORS, of, clusters=2).quality,
        lambda of: catalog().select(3, relevance=of).positions,
        lambda of: catalog().select(None, costs=of, budget=1.0).positions,
        lambda of: compat.diversify(VECTORS, of, 3, strategy="mmr").indices,
    )
    for call in calls:
        for given in (whole, whole.dictionary_encode(), runs, bfloat, bfloat.float().requires_grad_()):
            np.testing.assert_array_equal(call(given), call(SCORES))
        np.testing.assert_array_equal(call(list(map(Fraction, listed))), call(SCORES))
    changed = catalog()
    changed.set_quality(pa.array(listed[::-1]))
    assert changed.quality.tolist() == listed[::-1]
    changed.set_quality(pd.Series(listed))  # an index that only counts the rows, beside strings
    assert changed.quality.tolist() == listed
    query = torch.tensor(VECTORS[0]).requires_grad_()
    assert compat.maximal_marginal_relevance(query, list(torch.tensor(VECTORS)), k=3) == (
        compat.maximal_marginal_relevance(VECTORS[0], VECTORS, k=3)
    )


def test_ids_that_are_members_of_an_enum_or_masked():
    kind = enum.Enum("kind", {"x": "u", "y": "v"}, type=str)
    found = setwise.diversify([kind.x, kind.y, "w"], 3, relevance=SCORES[:3], vectors=VECTORS[:3])
    assert sorted(found.ids.tolist()) == ["u", "v", "w"]
    assert json.loads(json.dumps(found.to_dict()))["ids"] == found.ids.tolist()
    masked = np.ma.masked_array([5, 6, 7], [False, True, False])
    with pytest.raises(ValueError, match="ids: row 1 has no id"):
        setwise.diversify(masked, 2, relevance=SCORES[:3], vectors=VECTORS[:3])
    with pytest.raises(TypeError, match=r"^ids: expected a sequence of ids, got array\(\[\[ 0\], \[ 1\]"):
        setwise.diversify(np.arange(60)[:, None], 2, relevance=SCORES[:3], vectors=VECTORS[:3])


def test_packed_bits_are_refused_by_name():
    for packed in ([b"ab"] * 8, np.array([b"ab"] * 8), np.zeros((8, 2), "V1")):
        with pytest.raises(TypeError, match="vectors: .*; pass floats or integers; unpack packed bits"):
            setwise.select(packed, 2)


def test_rows_that_are_null_or_of_another_width_are_left_out_or_appended_on_request():
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    rows = VECTORS.tolist()
    gaps = [None, [1.0, 2.0], *rows[2:]]
    zeros = np.vstack([np.zeros((2, 4), np.float32), VECTORS[2:]])
    arrays = [None, np.ones(2), *VECTORS[2:]]
    holed = pl.Series([None, [1.0, None, 2.0, 3.0], *rows[2:]])
    with pytest.warns(UserWarning, match="2 candidates cannot be used"):
        dropped = setwise.select(zeros, 3, relevance=SCORES, missing="drop").indices.tolist()
    appended = setwise.select(zeros, 8, relevance=SCORES, missing="append").indices.tolist()
    assert appended[-2:] == [0, 1]
    for given in (
        gaps,
        arrays,
        pd.Series(arrays),
        pa.array(gaps),
        holed,
        pd.DataFrame({"v": arrays, "n": NAMES}),
    ):
        for call in (
            lambda X: setwise.select(X, 3, relevance=SCORES, missing="drop").indices,
            lambda X: setwise.select_many(X, 3, relevance=[SCORES], missing="drop")[0].indices,
            lambda X: (
                setwise.diversify(
                    range(8),
                    3,
                    relevance=SCORES,
                    vectors=X,
                    missing="drop",
                    diversity=0.2,
                    sharpness=1,
                    relevance_scale="none",
                ).ids
            ),
        ):
            with pytest.warns(UserWarning, match=r"2 candidates cannot be used .*row 0"):
                assert call(given).tolist() == dropped
        found = setwise.select(given, 8, relevance=SCORES, missing="append").indices
        assert found.tolist() == appended
        with pytest.raises(ValueError, match=r"vectors: row (0|1) (is null|has)"):
            setwise.select(given, 3)
    scores = pa.array([None, *SCORES[1:].tolist()])
    with pytest.warns(UserWarning, match="row 0 has no relevance"):
        assert 0 not in setwise.select(VECTORS, 7, relevance=scores, missing="drop").indices


def test_rows_barred_for_each_of_many_queries_are_read_from_every_container():
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import torch

    def barring(exclude):
        return [
            one.indices.tolist()
            for one in setwise.select_many(VECTORS, 3, queries=VECTORS[:2], exclude=exclude)
        ]

    def of_users(exclude):
        return [one.ids.tolist() for one in catalog().select_many(3, queries=VECTORS[:2], exclude=exclude)]

    mask = np.zeros((2, 8), np.bool_)
    mask[0, [0, 4]] = mask[1, 1] = True
    expected = barring([[0, 4], [1]])
    for kind in (pd.Series, pl.Series, pa.array):
        assert barring(kind([[0, 4], [1]])) == barring([kind([0, 4]), kind([1])]) == expected
        assert (
            of_users(kind([["a", "e"], ["b"]]))
            == of_users([kind(["a", "e"]), kind(["b"])])
            == (of_users([["a", "e"], ["b"]]))
        )
    for given in (mask, torch.tensor(mask), list(map(pd.Series, mask))):
        assert barring(given) == expected


def test_an_index_into_a_set_gives_what_a_loop_does():
    for found in (catalog().select(3), setwise.select(VECTORS, 3, relevance=SCORES)):
        assert json.dumps([found[place] for place in range(3)]) == json.dumps(list(found))
        assert found[:2].tolist() == list(found)[:2]
        assert type(found[-1]) is type(next(iter(found)))


def test_what_has_no_rows_is_refused_by_what_it_is():
    import datasets
    import pandas as pd

    with pytest.raises(
        TypeError, match=r"vectors: DatasetDict holds no rows by itself; pass one of its splits"
    ):
        setwise.select(datasets.DatasetDict({"train": datasets.Dataset.from_dict({"v": [[1.0]]})}), 1)
    twice = pd.DataFrame(VECTORS, columns=list("abca"))
    with pytest.raises(ValueError, match="vectors: the frame has more than one column 'a'; rename one"):
        setwise.select(twice, 1)
    for empty in (pd.DataFrame({"v": []}), [], np.empty((0, 4))):
        with pytest.raises(ValueError, match="vectors: empty"):
            setwise.select(empty, 1)
    with pytest.raises(TypeError, match="corpus: expected a path, got list"):
        read_corpus(["one text", "another"])
    with pytest.raises(TypeError, match="path: expected a path, got NoneType"):
        setwise.open_index(None)
    with pytest.raises(ValueError, match="corpus: the path is empty"):
        read_corpus("")
