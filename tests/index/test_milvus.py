"""MilvusIndex over Milvus Lite, in a file."""

import itertools
from typing import ClassVar

import numpy as np
import pytest
from stores import COLORS, D, Store, StoreTests, queries_of, rows_of

from optional import lazily, needs
from setwise.index import Index
from setwise.index.milvus import METRIC_OF, MilvusIndex

pymilvus = lazily("pymilvus")

pytestmark = needs("pymilvus", "milvus_lite")

NUMBER = itertools.count()


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    made = pymilvus.MilvusClient(str(tmp_path_factory.mktemp("milvus") / "items.db"))
    yield made
    made.close()


class Milvus(Store):
    def __init__(self, client, kind="FLAT"):
        self.client, self.kind = client, kind

    def fill(self, X, name=int, way=None):
        types = pymilvus.DataType
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        if isinstance(name(0), str):
            schema.add_field("id", types.VARCHAR, is_primary=True, max_length=64)
        else:
            schema.add_field("id", types.INT64, is_primary=True)
        schema.add_field("vector", types.FLOAT_VECTOR, dim=X.shape[1])
        schema.add_field("color", types.VARCHAR, max_length=16)
        schema.add_field("price", types.INT64)
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type=self.kind, metric_type=way or "COSINE", params={"nlist": 8})
        self.name = f"items_{next(NUMBER)}"
        self.client.create_collection(self.name, schema=schema, index_params=index)
        self.client.insert(
            self.name,
            [
                {"id": name(row), "vector": x.tolist(), "color": COLORS[row % 3], "price": row}
                for row, x in enumerate(X)
            ],
        )
        return Index.from_milvus(self.client, self.name)

    def colored(self, color):
        return f'color == "{color}"'

    def put(self, id, vector, color="red", price=0):
        row = {"id": id, "vector": np.asarray(vector, np.float32).tolist(), "color": color, "price": price}
        self.client.upsert(self.name, [row])

    def delete(self, ids):
        self.client.delete(self.name, ids=[int(id) for id in ids])


class TestMilvus(StoreTests):
    ways: ClassVar = METRIC_OF
    unit = ("IP",)
    inexact = ("IP",)
    names: ClassVar = {"integers": int, "strings": lambda row: f'it\'s\n\t"n{row}" \\'}
    draws = False

    @pytest.fixture
    def store(self, client):
        return Milvus(client)


def test_filters(client):
    index = Milvus(client).fill(rows_of())
    condition = 'price < 20 and color == "red" or price == 999'
    (found,) = index.fetch(queries_of(1), 50, filter=condition, exclude=[0, 777])
    assert sorted(found.ids.tolist()) == [3, 6, 9, 12, 15, 18]
    for wrong in ('colour == "red"', "price <"):
        with pytest.raises(ValueError, match="Milvus refused"):
            index.search(queries_of(1), 5, filter=wrong)
    with pytest.raises(TypeError, match="filter: expected an expression of Milvus in a string, got dict"):
        index.search(queries_of(1), 5, filter={"color": "red"})


def test_an_index_of_lists_is_approximate(client):
    import setwise

    index = Milvus(client, "IVF_FLAT").fill(rows_of())
    assert not index.exact
    assert setwise.retrieve(queries_of(1)[0], index, 5).certificate.scope == "returned"


def test_what_cannot_be_searched_is_refused(client):
    store = Milvus(client)
    store.fill(rows_of()[:4])
    for options, text in [
        ({"vector": "vectors"}, "vector: 'vectors' is unknown; did you mean 'vector'"),
        ({"vector": "price"}, "vector: 'price' is unknown"),
        ({"timeout": 0}, "timeout: 0 is not a finite number above 0"),
    ]:
        with pytest.raises(ValueError, match=text):
            MilvusIndex(client, store.name, **options)
    with pytest.raises(ValueError, match="collection: 'gone' is unknown"):
        MilvusIndex(client, "gone")
    with pytest.raises(TypeError, match=r"client: expected a pymilvus\.MilvusClient, got str"):
        MilvusIndex("items.db", "items")


def test_a_collection_that_is_gone(client):
    store = Milvus(client)
    index = store.fill(rows_of())
    client.drop_collection(store.name)
    with pytest.raises(ConnectionError, match="Milvus cannot be reached"):
        index.search(queries_of(1), 3)
    assert D > 0
