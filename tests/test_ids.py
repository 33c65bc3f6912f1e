"""Ids come out as they went in, whatever holds them: never rounded, wrapped, padded or made strings."""

from __future__ import annotations

import time
import uuid
from decimal import Decimal

import numpy as np
import pytest

import setwise
from optional import needs
from setwise.ids import among, as_ids

BIG = [2**64 - 1 - row for row in range(4)]
MIXED = [7, "a", -3, "7"]


@pytest.mark.parametrize(
    ("given", "dtype", "expected"),
    [
        ([3, -1, 2**62 + 1], np.int64, [3, -1, 2**62 + 1]),
        (range(2, 8, 3), np.int64, [2, 5]),
        (np.array([250, 3], np.uint8), np.int64, [250, 3]),
        (np.array(BIG, np.uint64), object, BIG),
        ([1, 2**63], object, [1, 2**63]),  # NumPy would make floats of these
        ([2**80, -5], object, [2**80, -5]),
        (MIXED, object, MIXED),  # and strings of these
        (["b\0", "b"], object, ["b\0", "b"]),  # and cut these
        (np.array(["x", "yy"]), object, ["x", "yy"]),
        ([uuid.UUID(int=5)], object, [str(uuid.UUID(int=5))]),
        (np.array([1.0, 2.0]), np.int64, [1, 2]),
        ([np.int32(4), np.str_("s")], object, [4, "s"]),
        ([Decimal(2**70), Decimal("3.0")], object, [2**70, 3]),  # NUMERIC of a database
        ([], np.int64, []),
    ],
)
def test_ids_stay_what_they_are(given, dtype, expected):
    found = as_ids(given)
    assert found.dtype == dtype
    assert found.tolist() == expected
    assert [type(one) for one in found.tolist()] == [type(one) for one in expected]


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ([1, None], ValueError, r"ids: row 1 has no id \(None\); give it one"),
        (np.array([1.0, np.nan]), ValueError, r"ids: row 1 has no id \(nan\)"),
        ([1, 1.5], TypeError, r"ids: row 1 is 1.5 \(float\), expected an integer or a string"),
        ([2.0**60], TypeError, "ids: row 0 is"),
        ([Decimal("1.5")], TypeError, "ids: row 0 is Decimal"),
        ([Decimal("NaN")], ValueError, "ids: row 0 has no id"),
        ([True], TypeError, r"ids: row 0 is True \(bool\)"),
        ([b"x"], TypeError, "ids: row 0 is b'x'"),
        (np.array(["2020-01-01"], "M8[ns]"), TypeError, "ids: expected integers or strings, got datetime64"),
        ("abc", TypeError, "ids: expected a sequence of ids, got 'abc'"),
        (np.eye(2), TypeError, "ids: expected a sequence of ids"),
        (5, TypeError, "ids: expected a sequence of ids, got 5"),
    ],
)
def test_what_is_no_id_is_refused_by_row(given, error, told):
    with pytest.raises(error, match=told):
        as_ids(given)


@needs("pandas", "polars", "pyarrow", "datasets")
def test_columns_of_every_package():
    import datasets
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    for column, expected in [
        (pd.Series([5, 6], index=[9, 8]), [5, 6]),
        (pd.Series([5, 6], dtype="Int64"), [5, 6]),
        (pd.Series(BIG, dtype="uint64"), BIG),
        (pd.Series(MIXED, dtype=object), MIXED),
        (pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
        (pd.Index(["a", "b"]), ["a", "b"]),
        (pl.Series(BIG, dtype=pl.UInt64), BIG),
        (pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"])), ["a", "b"]),
        (pa.array(BIG, pa.uint64()), BIG),
        (pa.chunked_array([["a"], ["b"]]).dictionary_encode(), ["a", "b"]),
        (pa.array([uuid.UUID(int=7).bytes], pa.uuid()), [str(uuid.UUID(int=7))]),
        (datasets.Dataset.from_dict({"id": ["a", "b"]})["id"], ["a", "b"]),
    ]:
        assert as_ids(column).tolist() == expected
    for column in (pd.Series([1, None], dtype="Int64"), pl.Series([1, None]), pa.array([1, None])):
        with pytest.raises(ValueError, match="ids: row 1 has no id"):
            as_ids(column)
    with pytest.raises(TypeError, match="ids: row 0 is Timestamp"):
        as_ids(pd.Series(pd.to_datetime(["2020-01-01"])))


@pytest.mark.parametrize("ids", [BIG, MIXED, np.array(BIG, np.uint64), ["a\0", "a", "b", "c"]])
def test_diversify_gives_back_the_ids_it_got(ids):
    vectors = np.eye(4)
    listed = list(ids)
    found = setwise.diversify(
        ids, 3, relevance=[1.0, 3.0, 2.0, 4.0], vectors=vectors, exclude=listed[1:2], include=listed[:1]
    )
    assert set(found.ids.tolist()) == {listed[0], listed[2], listed[3]}
    assert found.to_dict()["ids"] == found.ids.tolist()


@needs("faiss")
@pytest.mark.parametrize(
    "ids", [BIG, MIXED, ["a\0", "a", "b", "c"], ["x", "yy", "zzz", "7"], [-4, 2**62, 0, 9]]
)
def test_a_catalog_gives_back_the_ids_it_got(ids):
    catalog = setwise.Catalog.build(np.eye(4), [1.0, 2.0, 3.0, 4.0], clusters=2, ids=ids)
    found = catalog.select(k=2, diversity=0.0, method="greedy")
    assert sorted(map(str, found.ids.tolist())) == sorted(map(str, ids[2:]))
    assert {type(one) for one in found.to_dict()["ids"]} <= {int, str}
    catalog.remove(ids[3:])
    assert catalog.select(k=1, diversity=0.0, method="greedy").ids.tolist() == ids[2:3]


@needs("lancedb", "pyarrow")
def test_a_store_of_unsigned_ids(tmp_path):
    import lancedb
    import pyarrow as pa

    vectors = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    ids = [2**64 - 1 - row if row % 2 else row for row in range(40)]
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 8)
    table = lancedb.connect(tmp_path).create_table(
        "t", pa.table({"id": pa.array(ids, pa.uint64()), "vector": column})
    )
    index = setwise.Index.from_lance(table)
    top = np.argsort(-(vectors / np.linalg.norm(vectors, axis=1)[:, None]) @ vectors[7])[:6]
    found = setwise.retrieve(vectors[7], index, 6, diversity=0.0)
    assert found.ids.tolist() == [ids[row] for row in top]
    rest = setwise.retrieve(vectors[7], index, 4, diversity=0.0, exclude=[ids[row] for row in top[:2]])
    assert rest.ids.tolist() == [ids[row] for row in top[2:]]
    _, padded = index.search(vectors[:1], 50)
    assert [one for one in padded[0] if one is not None] == padded[0][:40].tolist()
    np.testing.assert_array_equal(index.vectors([ids[1], ids[0]]), vectors[[1, 0]])


@needs("qdrant_client")
def test_a_collection_of_unsigned_ids():
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    parameters = models.VectorParams(size=4, distance=models.Distance.COSINE)
    client.create_collection("c", vectors_config=parameters)
    client.upsert(
        "c",
        [models.PointStruct(id=one, vector=row) for one, row in zip(BIG, np.eye(4).tolist(), strict=True)],
    )
    found = setwise.retrieve([1.0, 0.5, 0.2, 0.1], setwise.Index.from_qdrant(client, "c"), 3, diversity=0.0)
    assert found.ids.tolist() == BIG[:3]


@needs("faiss")
def test_ids_beyond_a_stores_own_are_refused_and_never_wrapped():
    """2**64 - 2 as a signed integer is -2, which is an id that FAISS has."""
    import faiss

    index = faiss.IndexIDMap(faiss.IndexFlatIP(4))
    index.add_with_ids(np.eye(4, dtype=np.float32), np.array([-2, 5, 6, 7]))
    held = setwise.Index.from_faiss(index)
    for wrong in (np.array([2**64 - 2], np.uint64), [2**64 - 2]):
        with pytest.raises(TypeError, match="filter: expected row numbers"):
            held.search(np.eye(1, 4), 2, filter=wrong)
        with pytest.raises(TypeError, match="exclude: expected row numbers"):
            held.search(np.eye(1, 4), 2, exclude=wrong)
    assert setwise.retrieve([1.0, 0.5, 0, 0], held, 2, diversity=0.0, exclude=[5]).ids.tolist()[0] == -2


def test_ids_among_others_are_told_in_time_that_grows_with_both():
    """Twenty thousand each: every one beside every other, as np.isin compares objects, takes seconds."""
    rng = np.random.default_rng(0)
    numbers = [rng.integers(0, 40_000, 20_000) for _ in range(2)]
    words = [np.array([f"id {one}" for one in some], object) for some in numbers]
    before = time.process_time()
    found = among(*words)
    assert time.process_time() - before < 1
    expected = np.isin(*numbers)
    assert 5_000 < expected.sum() < 15_000
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(among(*numbers), expected)
    assert among(np.array([7, "7", 2**70], object), np.array([7, 2**70])).tolist() == [True, False, True]
    assert among(words[0][:3], np.empty(0, np.int64)).tolist() == [False] * 3
