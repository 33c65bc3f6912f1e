"""ChromaIndex over embedded collections."""

import itertools
from typing import ClassVar

import numpy as np
import pytest
from stores import COLORS, D, N, Store, StoreTests, queries_of, rows_of, scores_of

from optional import lazily, needs
from setwise.index import Index
from setwise.index.chroma import METRIC_OF, ChromaIndex

chromadb = lazily("chromadb")

pytestmark = needs("chromadb")

NUMBER = itertools.count()


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    return chromadb.PersistentClient(
        str(tmp_path_factory.mktemp("chroma")), chromadb.Settings(anonymized_telemetry=False)
    )


class Chroma(Store):
    """A graph that is searched widely enough to miss none of so few."""

    def __init__(self, client):
        self.client = client

    def fill(self, X, name=int, way=None):
        space = {"space": way or "cosine", "ef_search": 1000, "ef_construction": 500, "max_neighbors": 64}
        self.collection = self.client.create_collection(
            f"items-{next(NUMBER)}", configuration={"hnsw": space}, embedding_function=None
        )
        self.collection.add(
            ids=[str(name(row)) for row in range(len(X))],
            embeddings=X,
            metadatas=[{"color": COLORS[row % 3], "price": row} for row in range(len(X))],
        )
        return Index.from_chroma(self.collection, ids="integers" if name is int else "strings")

    def colored(self, color):
        return {"color": color}

    def put(self, id, vector, color="red", price=0):
        self.collection.upsert(
            ids=[str(id)],
            embeddings=[np.asarray(vector, np.float32)],
            metadatas=[{"color": color, "price": price}],
        )

    def delete(self, ids):
        self.collection.delete(ids=[str(id) for id in ids])


class TestChroma(StoreTests):
    ways: ClassVar = METRIC_OF
    unit = ("ip",)
    inexact = tuple(METRIC_OF)
    names: ClassVar = {"integers": int, "strings": lambda row: f'it\'s "n{row}"'}
    draws = False

    @pytest.fixture
    def store(self, client):
        return Chroma(client)


def test_certificates_are_of_what_is_returned(client):
    import setwise

    index = Chroma(client).fill(rows_of())
    assert not index.exact
    hits = setwise.retrieve(queries_of(1)[0], index, 5)
    assert hits.certificate.scope == "returned"


def test_filters(client):
    index = Chroma(client).fill(rows_of())
    condition = {"$and": [{"price": {"$lt": 20}}, {"color": "red"}]}
    (found,) = index.fetch(queries_of(1), 50, filter=condition, exclude=[0, 777])
    assert sorted(found.ids.tolist()) == [3, 6, 9, 12, 15, 18]
    with pytest.raises(ValueError, match="Chroma refused"):
        index.search(queries_of(1), 5, filter={"price": {"$below": 3}})
    with pytest.raises(TypeError, match="filter: expected a Chroma condition in a dict, got str"):
        index.search(queries_of(1), 5, filter="color = 'red'")


def test_ids_that_are_no_integers(client):
    store = Chroma(client)
    index = store.fill(rows_of())
    store.collection.upsert(ids=["x"], embeddings=[queries_of(1)[0].astype(np.float32)])
    with pytest.raises(ValueError, match="id 'x' is no integer; make the index with ids='strings'"):
        index.search(queries_of(1), 3)
    strings = ChromaIndex(store.collection)
    assert strings.search(queries_of(1), 1)[1].tolist() == [["x"]]
    assert strings.values(["x", "4"], "color") == [None, "green"]


def test_many_vectors_by_the_graph(client):
    """More than are searched one by one: approximate, and scored in float64 from their vectors."""
    X = np.random.default_rng(3).standard_normal((3000, D)).astype(np.float32)
    collection = client.create_collection(
        "many", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    collection.add(ids=[str(row) for row in range(3000)], embeddings=X)
    (found,) = ChromaIndex(collection, ids="integers").fetch(queries_of(1), 100)
    truth = scores_of(X, queries_of(1))[0]
    assert len(set(found.ids.tolist()) & set(np.argsort(-truth)[:100].tolist())) > 80
    np.testing.assert_allclose(found.scores, truth[found.ids], atol=1e-6)


def test_what_cannot_be_searched_is_refused(client):
    collection = client.create_collection("empty", embedding_function=None)
    with pytest.raises(ValueError, match="dim: collection 'empty' has no vector yet; pass their width"):
        ChromaIndex(collection)
    assert ChromaIndex(collection, dim=D).size == 0
    with pytest.raises(ValueError, match="ids: 'numbers' is unknown"):
        ChromaIndex(collection, ids="numbers", dim=D)
    with pytest.raises(TypeError, match=r"collection: expected a chromadb\.Collection, got str"):
        ChromaIndex("items")


def test_a_collection_that_is_gone(client):
    store = Chroma(client)
    index = store.fill(rows_of())
    client.delete_collection(store.collection.name)
    with pytest.raises(ConnectionError, match="Chroma cannot read it"):
        index.search(queries_of(1), 3)
    assert N > 0


def test_rows_that_another_process_deletes_are_not_found(tmp_path):
    """The graph in memory here still has them; a second client, with a graph of its own, is the other."""
    import setwise

    settings = chromadb.Settings(anonymized_telemetry=False)
    own = Chroma(chromadb.PersistentClient(str(tmp_path), settings))
    index = own.fill(rows_of())
    gone = setwise.retrieve(queries_of(1)[0], index, 8).ids.tolist()
    chromadb.api.shared_system_client.SharedSystemClient.clear_system_cache()
    other = chromadb.PersistentClient(str(tmp_path), settings).get_collection(own.collection.name)
    other.delete(ids=[str(one) for one in gone])
    first = own.collection.query(query_embeddings=queries_of(1).astype(np.float32), n_results=1)
    assert int(first["ids"][0][0]) in gone, "Chroma finds it"
    (found,) = index.fetch(queries_of(1), N)
    assert sorted(found.ids.tolist()) == sorted(set(range(N)) - set(gone))
    assert not set(setwise.retrieve(queries_of(1)[0], index, 8).ids.tolist()) & set(gone)
