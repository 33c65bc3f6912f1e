"""QdrantIndex over the client's local mode, and over servers that are down or silent."""

import asyncio
import socket
import threading
import uuid
from typing import ClassVar

import numpy as np
import pytest
from stores import COLORS, D, N, Store, StoreTests, assert_answers, colors_of, queries_of, rows_of, scores_of

from optional import lazily, needs
from setwise.index.qdrant import QdrantIndex, payload_value

qdrant_client = lazily("qdrant_client")
models = lazily("qdrant_client.models")

pytestmark = needs("qdrant_client")


DISTANCES = {"cosine": "Cosine", "dot": "Dot", "euclidean": "Euclid"}


def named_uuid(row):
    """The UUID of a row."""
    return str(uuid.UUID(int=(row * 0x9E3779B97F4A7C15) % (1 << 128)))


def fill(client, X, distance="cosine", using=None, name=int, collection="items"):
    """Make a collection of the rows."""
    params = models.VectorParams(size=X.shape[1], distance=DISTANCES[distance])
    client.create_collection(collection, vectors_config={using: params} if using else params)
    client.upsert(
        collection, [point(name(row), X[row], COLORS[row % 3], row, using) for row in range(len(X))]
    )
    return client


def point(id, vector, color, price, using=None):
    """A point with a payload."""
    vector = np.asarray(vector).tolist()
    return models.PointStruct(
        id=id, vector={using: vector} if using else vector, payload={"color": color, "price": price}
    )


@pytest.fixture
def client():
    """An empty database in memory."""
    client = qdrant_client.QdrantClient(":memory:")
    yield client
    client.close()


class Qdrant(Store):
    def __init__(self, client, using=None):
        self.client, self.using = client, using

    def fill(self, X, name=int, way="cosine"):
        fill(self.client, X, way or "cosine", self.using, name)
        return QdrantIndex(self.client, "items", using=self.using, batch=2)

    def colored(self, color):
        return models.Filter(must=[models.FieldCondition(key="color", match=models.MatchValue(value=color))])

    def put(self, id, vector, color="red", price=0):
        self.client.upsert("items", [point(id, vector, color, price, self.using)])

    def delete(self, ids):
        self.client.delete("items", models.PointIdsList(points=list(ids)))


class TestQdrant(StoreTests):
    ways: ClassVar = {"cosine": "cosine", "dot": "cosine", "euclidean": "euclidean"}
    unit = inexact = ("dot",)

    @pytest.fixture
    def store(self, client):
        return Qdrant(client)


class TestNamedVectorsAndUuids(TestQdrant):
    names: ClassVar = {"uuids": named_uuid}
    strange = ("a", 1.5, None, True)

    @pytest.fixture
    def store(self, client):
        return Qdrant(client, "text")


def red():
    return Qdrant(None).colored("red")


def test_a_folder_on_disk(tmp_path):
    X = rows_of()
    client = fill(qdrant_client.QdrantClient(path=str(tmp_path / "db")), X[:20])
    index = QdrantIndex(client, "items")
    assert index.exact
    assert index.fetch(queries_of(1), 5)[0].ids[0] == scores_of(X[:20], queries_of(1))[0].argmax()
    client.close()


def test_filters_may_be_dicts_and_are_checked(client):
    X = rows_of()
    index = QdrantIndex(fill(client, X), "items")
    wanted = {"must": [{"key": "price", "range": {"lt": 10}}]}
    (found,) = index.fetch(queries_of(1), 50, filter=wanted)
    assert sorted(found.ids.tolist()) == list(range(10))
    (found,) = index.fetch(queries_of(1), 50, filter=wanted, exclude=[0, 1, 999])
    assert sorted(found.ids.tolist()) == list(range(2, 10))
    with pytest.raises(ValueError, match="filter: not a Qdrant filter"):
        index.search(queries_of(1), 5, filter={"most": []})
    with pytest.raises(TypeError, match="filter: expected a qdrant_client.models.Filter"):
        index.search(queries_of(1), 5, filter="color = 'red'")


def test_a_filter_that_may_match_any_of_several_stays_one_with_exclude(client):
    X = rows_of()
    index = QdrantIndex(fill(client, X), "items")
    either = models.Filter(
        should=[
            models.FieldCondition(key="color", match=models.MatchValue(value=c)) for c in ("red", "blue")
        ],
        must_not=[models.FieldCondition(key="price", range=models.Range(gte=30))],
    )
    (found,) = index.fetch(queries_of(1), 50, filter=either, exclude=[0])
    assert sorted(found.ids.tolist()) == [row for row in range(1, 30) if row % 3 != 1]


def test_values_are_payloads_by_dotted_keys(client):
    index = QdrantIndex(fill(client, rows_of()), "items")
    client.set_payload("items", {"meta": {"price": 7}}, [7])
    assert index.values(np.array([7, 2]), "meta.price") == [7, None]
    client.delete_payload("items", ["color"], [2])
    assert index.values([2, 3], "color") == [None, "red"]
    with pytest.raises(ValueError, match="no payload of these points has the key 'colour'"):
        index.values([1, 2], "colour")
    assert payload_value({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert payload_value({"a": 3}, "a.b") is None


def test_integers_and_uuids_together_are_strings(client):
    X = rows_of()
    mixed = {row: named_uuid(row) if row % 2 else row for row in range(N)}
    index = QdrantIndex(fill(client, X, name=mixed.get), "items")
    assert_answers(index, X, name=lambda row: str(mixed[row]), filter=red(), kept=colors_of() == "red")
    (found,) = index.fetch(queries_of(1), N, exclude=[2, uuid.UUID(named_uuid(3)), named_uuid(5).upper()])
    assert {"2", named_uuid(3), named_uuid(5)}.isdisjoint(found.ids)
    assert len(found) == N - 3


def test_points_without_the_vector_do_not_count(client):
    params = {name: models.VectorParams(size=2, distance="Cosine") for name in ("a", "b")}
    client.create_collection("two", vectors_config=params)
    client.upsert("two", [models.PointStruct(id=i, vector={"ab"[i % 2]: [1.0, i]}) for i in range(1, 8)])
    index = QdrantIndex(client, "two", using="a")
    assert index.size == 3
    assert sorted(index.fetch(np.ones((1, 2)), 9)[0].ids) == [2, 4, 6]
    assert sorted(index.sample().ids) == [2, 4, 6]
    with pytest.raises(KeyError, match="5 is not stored in collection 'two', or has no vector"):
        index.vectors([4, 5])


def test_what_cannot_be_searched_is_refused(client):
    X = rows_of()
    fill(client, X)
    fill(client, X, using="text", collection="named")
    client.create_collection(
        "odd",
        vectors_config={
            "many": models.VectorParams(
                size=2,
                distance="Cosine",
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            ),
            "city": models.VectorParams(size=2, distance="Manhattan"),
        },
        sparse_vectors_config={"words": models.SparseVectorParams()},
    )
    for collection, using, text in [
        ("itemz", None, "collection: 'itemz' is unknown; did you mean 'items'"),
        ("named", None, r"has named vectors; say which: \['text'\]"),
        ("named", "texts", r"has no vector 'texts'; it has \['text'\]"),
        ("odd", "many", "multi-vectors"),
        ("odd", "words", "sparse"),
        ("odd", "city", "Manhattan"),
    ]:
        with pytest.raises(ValueError, match=text):
            QdrantIndex(client, collection, using=using)
    with pytest.raises(TypeError, match="client: expected a QdrantClient, got AsyncQdrantClient"):
        QdrantIndex(qdrant_client.AsyncQdrantClient(":memory:"), "items")
    with pytest.raises(TypeError, match="async_client: expected"):
        QdrantIndex(client, "items", async_client=client)
    with pytest.raises(ValueError, match="timeout"):
        QdrantIndex(client, "items", timeout=0)


def test_an_async_client_fetches_the_same(client):
    X = rows_of()
    fill(client, X)
    Q = queries_of()

    async def awaited():
        twin = qdrant_client.AsyncQdrantClient(":memory:")
        await twin.create_collection("items", vectors_config=models.VectorParams(size=D, distance="Cosine"))
        points = [models.PointStruct(id=row, vector=X[row].tolist()) for row in range(N)]
        await twin.upsert("items", points)
        return await QdrantIndex(client, "items", async_client=twin, batch=2).afetch(Q, 9, exclude=[4])

    expected = QdrantIndex(client, "items").fetch(Q, 9, exclude=[4])
    for one, other in zip(asyncio.run(awaited()), expected, strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
        np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)


def test_a_database_that_goes_away(client):
    X = rows_of()
    index = QdrantIndex(fill(client, X), "items")
    client.delete_collection("items")
    with pytest.raises(ValueError, match="items"):
        index.search(queries_of(1), 3)


def test_a_client_that_is_closed(tmp_path):
    X = rows_of()
    client = fill(qdrant_client.QdrantClient(path=str(tmp_path / "db")), X[:5])
    index = QdrantIndex(client, "items")
    client.close()
    with pytest.raises(ConnectionError, match="collection 'items': the client is closed"):
        index.search(queries_of(1), 3)


@pytest.mark.parametrize("grpc", [False, True])
def test_a_server_that_is_down(grpc):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        client = qdrant_client.QdrantClient(
            host="127.0.0.1",
            port=port,
            grpc_port=port,
            prefer_grpc=grpc,
            timeout=2,
            check_compatibility=False,
        )
        with pytest.raises((ConnectionError, TimeoutError), match="collection 'items': Qdrant"):
            QdrantIndex(client, "items")
        client.close()


def test_a_server_that_does_not_answer_in_time():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = qdrant_client.QdrantClient(
            host="127.0.0.1", port=silent.getsockname()[1], timeout=1, check_compatibility=False
        )
        with pytest.raises(TimeoutError, match="did not answer in time"):
            QdrantIndex(client, "items")
        client.close()


@pytest.mark.parametrize(
    ("status", "error"), [(503, ConnectionError), (504, TimeoutError), (400, ValueError)]
)
def test_a_server_that_refuses(status, error):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(f"HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\n{{}}".encode())

        thread = threading.Thread(target=answer)
        thread.start()
        client = qdrant_client.QdrantClient(
            host="127.0.0.1", port=server.getsockname()[1], timeout=5, check_compatibility=False
        )
        with pytest.raises(error, match=f"Qdrant answered {status}"):
            QdrantIndex(client, "items")
        thread.join()
        client.close()
