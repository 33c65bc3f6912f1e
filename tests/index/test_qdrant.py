"""QdrantIndex over the client's local mode, and over servers that are down or silent."""

import asyncio
import socket
import threading
import uuid

import numpy as np
import pytest
from stores import D, N, assert_answers, assert_retrieves, data, queries_of, scores_of

from setwise.index import Index
from setwise.index.qdrant import QdrantIndex, payload_value

qdrant_client = pytest.importorskip("qdrant_client")
models = pytest.importorskip("qdrant_client.models")

DISTANCES = {"cosine": "Cosine", "dot": "Dot", "euclidean": "Euclid"}


def named_uuid(row):
    """The UUID of a row."""
    return str(uuid.UUID(int=(row * 0x9E3779B97F4A7C15) % (1 << 128)))


def fill(client, X, colors, prices, distance="cosine", using=None, name=int, collection="items"):
    """Make a collection of the rows."""
    params = models.VectorParams(size=X.shape[1], distance=DISTANCES[distance])
    client.create_collection(collection, vectors_config={using: params} if using else params)
    client.upsert(
        collection,
        [
            models.PointStruct(
                id=name(row),
                vector={using: X[row].tolist()} if using else X[row].tolist(),
                payload={"color": colors[row], "meta": {"price": int(prices[row])}},
            )
            for row in range(len(X))
        ],
    )
    return client


@pytest.fixture
def client():
    """An empty database in memory."""
    client = qdrant_client.QdrantClient(":memory:")
    yield client
    client.close()


RED = models.Filter(must=[models.FieldCondition(key="color", match=models.MatchValue(value="red"))])


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    ("using", "name"), [(None, int), ("text", named_uuid)], ids=["integers", "uuids of named vectors"]
)
def test_answers_are_those_of_a_scan(client, distance, using, name):
    X, colors, prices = data(unit=distance == "dot")
    fill(client, X, colors, prices, distance, using, name)
    index = Index.from_qdrant(client, "items", using=using, batch=2)
    metric = "euclidean" if distance == "euclidean" else "cosine"
    assert (index.dim, index.metric, index.exact) == (D, metric, True)
    assert_answers(index, X, metric, name, RED, np.array(colors) == "red")
    assert_retrieves(index, X, metric, name, RED, np.array(colors) == "red")
    assert index.integers == (name is int)


def test_a_folder_on_disk(tmp_path):
    X, colors, prices = data()
    client = fill(qdrant_client.QdrantClient(path=str(tmp_path / "db")), X[:20], colors, prices)
    index = QdrantIndex(client, "items")
    assert index.exact
    assert index.fetch(queries_of(1), 5)[0].ids[0] == scores_of(X[:20], queries_of(1))[0].argmax()
    client.close()


def test_filters_may_be_dicts_and_are_checked(client):
    X, colors, prices = data()
    index = QdrantIndex(fill(client, X, colors, prices), "items")
    wanted = {"must": [{"key": "meta.price", "range": {"lt": 10}}]}
    (found,) = index.fetch(queries_of(1), 50, filter=wanted)
    assert sorted(found.ids.tolist()) == list(range(10))
    (found,) = index.fetch(queries_of(1), 50, filter=wanted, exclude=[0, 1, 999])
    assert sorted(found.ids.tolist()) == list(range(2, 10))
    (none,) = index.fetch(queries_of(1), 5, filter={"must": [{"key": "color", "match": {"value": "mauve"}}]})
    assert len(none) == 0
    assert none.vectors.shape == (0, D)
    with pytest.raises(ValueError, match="filter: not a Qdrant filter"):
        index.search(queries_of(1), 5, filter={"most": []})
    with pytest.raises(TypeError, match="filter: expected a qdrant_client.models.Filter"):
        index.search(queries_of(1), 5, filter="color = 'red'")


def test_a_filter_that_may_match_any_of_several_stays_one_with_exclude(client):
    X, colors, prices = data()
    index = QdrantIndex(fill(client, X, colors, prices), "items")
    either = models.Filter(
        should=[
            models.FieldCondition(key="color", match=models.MatchValue(value=c)) for c in ("red", "blue")
        ],
        must_not=[models.FieldCondition(key="meta.price", range=models.Range(gte=30))],
    )
    (found,) = index.fetch(queries_of(1), 50, filter=either, exclude=[0])
    assert sorted(found.ids.tolist()) == [row for row in range(1, 30) if row % 3 != 1]


def test_values_are_payloads_by_dotted_keys(client):
    X, colors, prices = data()
    index = QdrantIndex(fill(client, X, colors, prices), "items")
    assert index.values([4, 0, 4], "color") == ["green", "red", "green"]
    assert index.values(np.array([7, 2]), "meta.price") == [7, 2]
    client.delete_payload("items", ["color"], [2])
    assert index.values([2, 3], "color") == [None, "red"]
    with pytest.raises(ValueError, match="no payload of these points has the key 'colour'"):
        index.values([1, 2], "colour")
    with pytest.raises(KeyError, match="999"):
        index.values([1, 999], "color")
    assert payload_value({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert payload_value({"a": 3}, "a.b") is None


def test_unknown_ids_are_named(client):
    X, colors, prices = data()
    index = QdrantIndex(fill(client, X, colors, prices), "items")
    for ids in ([0, 12345], ["12345"]):
        with pytest.raises(KeyError, match="12345"):
            index.vectors(ids)
    with pytest.raises(TypeError, match="exclude: 'a' is no id of collection 'items'"):
        index.search(queries_of(1), 5, exclude=["a"])


def test_integers_and_uuids_together_are_strings(client):
    X, colors, prices = data()
    mixed = {row: named_uuid(row) if row % 2 else row for row in range(N)}
    index = QdrantIndex(fill(client, X, colors, prices, name=mixed.get), "items")
    assert_answers(index, X, name=lambda row: str(mixed[row]), filter=RED, kept=np.array(colors) == "red")
    (found,) = index.fetch(queries_of(1), N, exclude=[2, uuid.UUID(named_uuid(3)), named_uuid(5).upper()])
    assert {"2", named_uuid(3), named_uuid(5)}.isdisjoint(found.ids)
    assert len(found) == N - 3


def test_integers_beyond_int64_are_refused(client):
    client.create_collection("huge", vectors_config=models.VectorParams(size=2, distance="Cosine"))
    client.upsert("huge", [models.PointStruct(id=2**63, vector=[1.0, 0.0])])
    with pytest.raises(ValueError, match="not an int64"):
        QdrantIndex(client, "huge").search(np.ones((1, 2)), 1)


def test_inner_products_need_unit_vectors(client):
    X, colors, prices = data()
    index = QdrantIndex(fill(client, X, colors, prices, "dot"), "items")
    with pytest.raises(ValueError, match="has length .* store unit vectors, or use the cosine distance"):
        index.fetch(queries_of(1), 5)


def test_zero_vectors_are_named(client):
    client.create_collection("zero", vectors_config=models.VectorParams(size=2, distance="Cosine"))
    client.upsert(
        "zero", [models.PointStruct(id=i, vector=v) for i, v in enumerate([[1.0, 0.0], [0.0, 0.0]])]
    )
    with pytest.raises(ValueError, match="the vector of id 1 is all zero"):
        QdrantIndex(client, "zero").fetch(np.ones((1, 2)), 2)


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


def test_queries_are_checked(client):
    X, colors, prices = data()
    index = QdrantIndex(fill(client, X, colors, prices), "items")
    for query, text in [
        (
            np.ones((1, D + 1)),
            rf"query: expected {D} numbers as in the vectors' rows, got shape \(1, {D + 1}\)",
        ),
        (np.ones((1, 1, D)), f"query: expected {D} numbers"),
        (np.full((1, D), np.nan), "NaN"),
        (np.zeros((1, D)), "all zero"),
    ]:
        with pytest.raises(ValueError, match=text):
            index.search(query, 3)
        with pytest.raises(ValueError, match=text):
            index.fetch(query, 3)
    with pytest.raises(ValueError, match="k: 0 is below 1"):
        index.search(np.ones((1, D)), 0)


def test_what_cannot_be_searched_is_refused(client):
    X, colors, prices = data()
    fill(client, X, colors, prices)
    fill(client, X, colors, prices, using="text", collection="named")
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


def test_async_fetch_is_the_same(client):
    X, colors, prices = data()
    fill(client, X, colors, prices)
    Q = queries_of()

    async def both():
        twin = qdrant_client.AsyncQdrantClient(":memory:")
        await twin.create_collection("items", vectors_config=models.VectorParams(size=D, distance="Cosine"))
        points = [models.PointStruct(id=row, vector=X[row].tolist()) for row in range(N)]
        await twin.upsert("items", points)
        threaded = await QdrantIndex(client, "items").afetch(Q, 9, exclude=[4])
        index = QdrantIndex(client, "items", async_client=twin, batch=2)
        return threaded, await index.afetch(Q, 9, exclude=[4])

    expected = QdrantIndex(client, "items").fetch(Q, 9, exclude=[4])
    for got in asyncio.run(both()):
        for one, other in zip(got, expected, strict=True):
            assert one.ids.tolist() == other.ids.tolist()
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
            np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)


def test_a_database_that_goes_away(client):
    X, colors, prices = data()
    index = QdrantIndex(fill(client, X, colors, prices), "items")
    client.delete_collection("items")
    with pytest.raises(ValueError, match="items"):
        index.search(queries_of(1), 3)


def test_a_client_that_is_closed(tmp_path):
    X, colors, prices = data()
    client = fill(qdrant_client.QdrantClient(path=str(tmp_path / "db")), X[:5], colors, prices)
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
