"""The LangChain retriever and compressor, over real stores."""

from __future__ import annotations

import asyncio
import warnings

import numpy as np
import pytest

import setwise
from optional import lazily, needs

from .conftest import QUERY, RANKED, VECTORS, cosine

pydantic = lazily("pydantic")
runnables = lazily("langchain_core.runnables")
Document = lazily("langchain_core.documents", "Document")
InMemoryVectorStore = lazily("langchain_core.vectorstores", "InMemoryVectorStore")
known_stores = lazily("setwise.integrations.langchain.stores")
DiverseCompressor = lazily("setwise.integrations.langchain", "DiverseCompressor")
DiverseRetriever = lazily("setwise.integrations.langchain", "DiverseRetriever")
StoreReader = lazily("setwise.integrations.langchain", "StoreReader")
register = lazily("setwise.integrations.langchain", "register")
parts = lazily("integrations.langchain_parts")
Known = lazily("integrations.langchain_parts", "Known")
OnlyAsync = lazily("integrations.langchain_parts", "OnlyAsync")

pytestmark = needs("langchain_core")


def in_memory(vectors=VECTORS, query=QUERY, kind=InMemoryVectorStore, model=Known):
    store = kind(model(vectors, query))
    store.add_texts(list(vectors), ids=list(vectors), metadatas=[{"row": row} for row in range(len(vectors))])
    store.embedding.embedded.clear()
    return store


@pytest.fixture
def store():
    return in_memory()


def texts(documents):
    return [document.page_content for document in documents]


# ---------------------------------------------------------------------- the retriever over a store


def test_diversity_0_is_the_plain_ranking(store):
    plain = texts(store.similarity_search("?", k=4))
    assert texts(DiverseRetriever(vectorstore=store, k=4, diversity=0).invoke("?")) == plain == RANKED[:4]
    assert texts(DiverseRetriever(vectorstore=store, k=4, lambda_mult=1).invoke("?")) == plain


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
def test_a_duplicate_is_not_returned(store, objective):
    found = texts(DiverseRetriever(vectorstore=store, k=3, diversity=0.5, objective=objective).invoke("?"))
    assert len(found) == 3
    assert not {"a", "a again"} <= set(found)


def test_lambda_mult_is_one_minus_diversity(crowd):
    """Both ends and between; 0 is a value, not 'unset'."""
    store = in_memory(*crowd)
    for weight in (0, 0.0, 0.25, 0.5, 1, 1.0):
        converted = DiverseRetriever(vectorstore=store, lambda_mult=weight)
        assert converted.diversity == 1 - weight
        own = DiverseRetriever(vectorstore=store, diversity=1 - weight)
        assert texts(converted.invoke("?")) == texts(own.invoke("?"))
    ends = [set(texts(DiverseRetriever(vectorstore=store, lambda_mult=end).invoke("?"))) for end in (0, 1)]
    assert ends[0] != ends[1]
    assert DiverseRetriever(vectorstore=store).diversity == 0.3


def test_it_is_setwise_retrieve_over_the_candidates(crowd):
    vectors, query = crowd
    store = in_memory(vectors, query)
    names = np.array(list(vectors))
    index = setwise.Index.from_array(np.array(list(vectors.values())))
    expected = setwise.retrieve(np.array(query), index, 8, diversity=0.4)
    got = DiverseRetriever(vectorstore=store, k=8, diversity=0.4, fetch_k=300).invoke("?")
    assert texts(got) == names[expected.ids].tolist()
    for name, attribute in (("relevance", "scores"), ("gain", "gains"), ("novelty", "novelty")):
        values = [document.metadata[f"setwise_{name}"] for document in got]
        np.testing.assert_allclose(values, getattr(expected, attribute), atol=1e-6)


def test_what_the_metadata_says(store):
    found = DiverseRetriever(vectorstore=store, k=3, diversity=0.5).invoke("?")
    for place, document in enumerate(found):
        own = VECTORS[document.page_content]
        assert document.metadata["setwise_relevance"] == pytest.approx(cosine(own, QUERY), abs=1e-6)
        nearest = [cosine(own, VECTORS[earlier.page_content]) for earlier in found[:place]]
        assert document.metadata["setwise_novelty"] == pytest.approx(1 - max(nearest, default=0.0), abs=1e-6)
        assert document.metadata["row"] == list(VECTORS).index(document.page_content)
        assert document.id == document.page_content


def test_prefix(store):
    bare = DiverseRetriever(vectorstore=store, k=1, prefix="").invoke("?")[0]
    assert set(bare.metadata) == {"row", "relevance", "gain", "novelty"}
    assert set(DiverseRetriever(vectorstore=store, k=1, prefix=None).invoke("?")[0].metadata) == {"row"}
    assert "mine_gain" in DiverseRetriever(vectorstore=store, k=1, prefix="mine").invoke("?")[0].metadata


def test_stored_documents_and_vectors_are_left_alone(store):
    before = {name: (dict(entry["metadata"]), list(entry["vector"])) for name, entry in store.store.items()}
    DiverseRetriever(vectorstore=store, k=4, reembed=True).invoke("?")
    assert store.embedding.embedded == []
    assert {name: (entry["metadata"], entry["vector"]) for name, entry in store.store.items()} == before


def test_more_than_there_are_returns_all(store):
    assert sorted(texts(DiverseRetriever(vectorstore=store, k=50).invoke("?"))) == sorted(VECTORS)


def test_one_document_and_none():
    one = in_memory({"a": VECTORS["a"]})
    assert texts(DiverseRetriever(vectorstore=one).invoke("?")) == ["a"]
    none = in_memory({})
    assert DiverseRetriever(vectorstore=none).invoke("?") == []
    assert asyncio.run(DiverseRetriever(vectorstore=none).ainvoke("?")) == []


def test_the_filter_is_the_searchs_own(crowd):
    """Applied within the search: a rare property is found however far down the ranking it is."""
    store = in_memory(*crowd)
    last = texts(store.similarity_search("?", k=300))[-12:]
    retriever = DiverseRetriever(
        vectorstore=store, k=10, fetch_k=10, filter=lambda document: document.page_content in last
    )
    found = texts(retriever.invoke("?"))
    assert len(found) == 10
    assert set(found) < set(last)
    assert retriever.invoke("?", filter=lambda document: False) == []


def test_fetch_k_is_what_the_store_is_asked_for(crowd):
    asked = []

    class Asked(InMemoryVectorStore):
        def similarity_search_by_vector(self, embedding, k=4, **kwargs):
            asked.append(k)
            return super().similarity_search_by_vector(embedding, k, **kwargs)

    store = in_memory(*crowd, kind=Asked)
    DiverseRetriever(vectorstore=store, k=3).invoke("?")
    DiverseRetriever(vectorstore=store, k=20).invoke("?")
    DiverseRetriever(vectorstore=store, k=3, fetch_k=7).invoke("?")
    assert asked == [50, 100, 7]


def test_a_call_may_override(store):
    retriever = DiverseRetriever(vectorstore=store, k=4, diversity=0.5)
    assert texts(retriever.invoke("?", k=2, diversity=0.0)) == RANKED[:2]
    assert texts(retriever.invoke("?", k=2, lambda_mult=1.0)) == RANKED[:2]
    assert len(asyncio.run(retriever.ainvoke("?", k=1))) == 1
    assert (retriever.k, retriever.diversity) == (4, 0.5)
    with pytest.raises(TypeError, match="lambda_mul: a call takes no such parameter"):
        retriever.invoke("?", lambda_mul=0.9)
    with pytest.raises(ValueError, match="k: 0 is below 1"):
        retriever.invoke("?", k=0)
    with pytest.raises(ValueError, match="not both"):
        retriever.invoke("?", lambda_mult=0.9, diversity=0.1)


def test_configurable_fields(store):
    retriever = DiverseRetriever(vectorstore=store, k=4, diversity=0.0).configurable_fields(
        k=runnables.ConfigurableField(id="k")
    )
    assert texts(retriever.invoke("?", config={"configurable": {"k": 2}})) == RANKED[:2]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"lambda_mul": 0.1}, "lambda_mul"),
        ({"k": 0}, "k: 0 is below 1"),
        ({"k": "3"}, "valid integer"),
        ({"k": None}, "valid integer"),
        ({"diversity": 1.2}, r"diversity: 1.2 is outside \[0, 1\]"),
        ({"lambda_mult": 1.5}, r"lambda_mult: 1.5 is outside \[0, 1\] \(1 = relevance"),
        ({"lambda_mult": float("nan")}, "lambda_mult: nan is outside"),
        ({"lambda_mult": 0.5, "diversity": 0.5}, "not both"),
        ({"lambda_mult": 0, "diversity": 0}, "not both"),
        ({"objective": "mrm"}, "did you mean 'mmr'"),
        ({"sharpness": 3}, "sharpness"),
        ({"sharpness": 2, "objective": "mmr"}, "only max-sum"),
        ({"fetch_k": 3}, "fetch_k: 3 candidates cannot give k = 10"),
        ({"search_kwargs": {"k": 3}}, "search_kwargs: k: k is a parameter of the retriever"),
        ({"search_kwargs": {"lambda_mul": 0.3}}, "search_kwargs: lambda_mul: lambda_mult is a parameter"),
    ],
)
def test_refused_at_construction(store, bad, says):
    with pytest.raises(pydantic.ValidationError, match=says):
        DiverseRetriever(vectorstore=store, **bad)


@pytest.mark.parametrize("over", ["store", "index"])
def test_a_least_relevance(crowd, over):
    """The best set of what reaches it: fewer than k, or none, are told, and are no error."""
    vectors, query = crowd
    rows = np.array(list(vectors.values()))
    index = setwise.Index.from_array(rows)
    cosines = np.array([cosine(row, query) for row in rows])
    ranked = np.sort(cosines)[::-1]
    source = {"vectorstore": in_memory(*crowd), "fetch_k": 300}
    if over == "index":
        documents = [Document(id=text, page_content=text) for text in vectors]
        source = {"index": index, "documents": documents, "embeddings": Known(*crowd)}
    made = DiverseRetriever(k=5, diversity=0.9, sharpness=1, **source)
    names = np.array(list(vectors))
    for count in (300, 40, 5):
        least = float(ranked[count - 1] - 1e-6)
        reaching = cosines >= least
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = made.invoke("?", score_threshold=least)
        best = setwise.retrieve(query, index, 5, diversity=0.9, sharpness=1, filter=reaching)
        assert sorted(texts(found)) == sorted(names[best.ids])
    least = float(ranked[2] - 1e-6)
    with pytest.warns(UserWarning, match="3 of the 5 asked for reach the score"):
        found = made.invoke("?", score_threshold=least)
    assert sorted(texts(found)) == sorted(names[cosines >= least])
    assert all(one.metadata["setwise_relevance"] >= least for one in found)
    with pytest.warns(UserWarning, match="none reaches the score 0.999 .*an empty result"):
        assert asyncio.run(made.ainvoke("?", score_threshold=0.999)) == []
    with pytest.raises(pydantic.ValidationError, match="score_threshold: nan is not finite"):
        DiverseRetriever(score_threshold=float("nan"), **source)


def test_a_least_relevance_beside_limits_and_what_was_shown(crowd):
    """k is of what reaches it and was not shown: a limit is asked of no more, as over a store."""
    vectors, query = crowd
    rows = np.array(list(vectors.values()))[:20]
    index = setwise.Index.from_array(rows, fields={"kind": ["x"] * 20})
    cosines = np.array([cosine(row, query) for row in rows])
    first, second = np.argsort(-cosines)[:2].tolist()
    documents = [Document(id=text, page_content=text) for text in vectors][:20]
    made = DiverseRetriever(
        index=index, documents=documents, embeddings=Known(*crowd), k=3, shown=[first], why=True
    )
    with pytest.warns(UserWarning, match="1 of the 3 asked for reach"):
        found = made.invoke("?", score_threshold=float(cosines[second]) - 1e-6, limits={"kind": 1})
    assert texts(found) == [documents[second].page_content]
    with pytest.warns(UserWarning, match="none reaches the score"):
        assert made.invoke("?", score_threshold=float(cosines[first]) - 1e-6) == []
    with pytest.warns(UserWarning, match="nothing in the index passes the filter"):
        assert made.invoke("?", filter=np.zeros(20, bool)) == []
    with pytest.raises(ValueError, match="limits: kind: only 1 candidates may be chosen"):
        made.invoke("?", limits={"kind": 1})


def test_what_was_deleted_or_changed_between_two_calls(crowd):
    """No ghost comes back, and what is as it is now is what is chosen among."""
    vectors, query = crowd
    store = in_memory(vectors, query)
    made = DiverseRetriever(vectorstore=store, k=8, diversity=0.6, sharpness=1, fetch_k=300)
    first = texts(made.invoke("?"))
    store.delete(first)
    store.store["text 1" if "text 1" not in first else "text 2"]["vector"] = query
    left = {name: entry["vector"] for name, entry in store.store.items()}
    index = setwise.Index.from_array(np.array(list(left.values())))
    expected = setwise.retrieve(np.array(query), index, 8, diversity=0.6, sharpness=1)
    found = made.invoke("?")
    assert texts(found) == np.array(list(left))[expected.ids].tolist()
    assert not set(texts(found)) & set(first)


def test_what_must_be_passed(store):
    index = setwise.Index.from_array(np.array(list(VECTORS.values())))
    with pytest.raises(pydantic.ValidationError, match="pass a vector store"):
        DiverseRetriever(embeddings=Known(VECTORS, QUERY))
    with pytest.raises(pydantic.ValidationError, match="documents: with an index alone"):
        DiverseRetriever(index=index, embeddings=Known(VECTORS, QUERY))
    with pytest.raises(pydantic.ValidationError, match="embeddings: the store has none"):
        DiverseRetriever(index=index, documents={})
    with pytest.raises(pydantic.ValidationError, match="documents: they are looked up by an index"):
        DiverseRetriever(vectorstore=store, documents={})
    for name, value in (("search_kwargs", {"pre_filter": "x"}), ("reembed", True)):
        with pytest.raises(pydantic.ValidationError, match=f"{name}: it is for the vector store's search"):
            DiverseRetriever(vectorstore=store, index=index, **{name: value})


@pytest.mark.parametrize(
    ("vector", "told"),
    [
        ([float("nan")] * 4, "has NaN or Inf"),
        ([0.0] * 4, "is all zero"),
        ([1.0, 0.0], r"has shape \(2,\) where others have \(4,\)"),
    ],
)
def test_a_stored_vector_that_cannot_be_used_is_left_out(store, vector, told):
    store.store["b"]["vector"] = vector
    store.similarity_search_by_vector = lambda vector, k, **_: store.get_by_ids(RANKED)
    with pytest.warns(UserWarning, match=f"documents: 1 of 5 .*the embedding of id 'b' {told}.*; left out"):
        found = DiverseRetriever(vectorstore=store).invoke("?")
    assert sorted(one.id for one in found) == sorted(set(RANKED) - {"b"})
    compressor = DiverseCompressor(vectors=store, score_key="row")
    with pytest.raises(ValueError, match=f"the embedding of id 'b' {told}"):
        compressor.compress_documents(store.get_by_ids(RANKED), "?")


def test_a_store_that_cannot_be_searched_by_vector_is_refused_at_once(store):
    from langchain_core.vectorstores import VectorStore

    class Words(VectorStore):
        embeddings = property(lambda self: store.embeddings)

        def similarity_search(self, query, k=4, **options):
            return []

        @classmethod
        def from_texts(cls, *_, **__):
            return cls()

    class Late(Words):
        def similarity_search_by_vector(self, *_, **__):
            raise NotImplementedError

    told = "vectorstore: a {} cannot be searched by vector .*; pass index= .*or put a DiverseCompressor after"
    with pytest.raises(ValueError, match=told.format("Words")):
        DiverseRetriever(vectorstore=Words(), reembed=True)
    retriever = DiverseRetriever(vectorstore=Late(), reembed=True)
    with pytest.raises(ValueError, match=told.format("Late")):
        retriever.invoke("?")
    with pytest.raises(ValueError, match=told.format("Late")):
        asyncio.run(retriever.ainvoke("?"))


def test_the_same_document_twice(store):
    store.similarity_search_by_vector = lambda vector, k, **_: store.get_by_ids(["a", "b", "a", "c", "b"])
    assert sorted(texts(DiverseRetriever(vectorstore=store).invoke("?"))) == ["a", "b", "c"]


def test_async_uses_what_is_async():
    """Neither the model nor the store is called synchronously."""

    class Store(InMemoryVectorStore):
        def similarity_search_by_vector(self, embedding, k=4, **kwargs):
            raise AssertionError("called synchronously")

        async def asimilarity_search_by_vector(self, embedding, k=4, **kwargs):
            await asyncio.sleep(0)
            return super().similarity_search_by_vector(embedding, k, **kwargs)

    retriever = DiverseRetriever(vectorstore=in_memory(kind=Store, model=OnlyAsync), k=3, diversity=0.5)
    expected = texts(DiverseRetriever(vectorstore=in_memory(), k=3, diversity=0.5).invoke("?"))

    async def many():
        return await asyncio.gather(*(retriever.ainvoke("?") for _ in range(8)))

    assert [texts(found) for found in asyncio.run(many())] == [expected] * 8


# ---------------------------------------------------------------------- where vectors come from


@pytest.fixture
def silent(monkeypatch):
    monkeypatch.setattr(known_stores, "_READERS", [])
    return in_memory(kind=parts.Silent)


def test_no_vectors_is_one_clear_error(silent):
    with pytest.raises(
        ValueError, match=r"a Silent gives no vector for 5 of 5 documents.*pass index=.*reembed"
    ):
        DiverseRetriever(vectorstore=silent).invoke("?")
    assert silent.embedding.embedded == []


def test_vectors_in_the_metadata(silent):
    for name, entry in silent.store.items():
        entry["metadata"]["vector"] = VECTORS[name]
    found = texts(
        DiverseRetriever(vectorstore=silent, embedding_key="vector", k=3, diversity=0.5).invoke("?")
    )
    assert found == texts(DiverseRetriever(vectorstore=silent, reembed=True, k=3, diversity=0.5).invoke("?"))
    del silent.store["c"]["metadata"]["vector"]
    with pytest.raises(ValueError, match="1 of 5 documents .the first: id 'c'"):
        DiverseRetriever(vectorstore=silent, embedding_key="vector").invoke("?")


def test_embedding_again_is_asked_for(silent):
    retriever = DiverseRetriever(vectorstore=silent, k=3, diversity=0.5, reembed=True)
    expected = texts(retriever.invoke("?"))
    assert sorted(silent.embedding.embedded) == sorted(VECTORS)
    assert not {"a", "a again"} <= set(expected)
    assert texts(asyncio.run(retriever.ainvoke("?"))) == expected
    silent.store["a"]["metadata"]["embedding"] = VECTORS["a"]
    silent.embedding.embedded.clear()
    retriever.invoke("?")
    assert "a" not in silent.embedding.embedded


def test_a_store_of_ones_own(silent):
    class Reader(StoreReader):
        def vectors(self, store, documents):
            return [store.store[document.id]["vector"] for document in documents]

    register(parts.Silent, Reader())
    assert len(DiverseRetriever(vectorstore=silent, k=3).invoke("?")) == 3
    register(lambda store: False, StoreReader())
    assert len(DiverseRetriever(vectorstore=silent, k=3).invoke("?")) == 3
    with pytest.raises(TypeError, match="expected a StoreReader"):
        register(parts.Silent, Reader)


# ---------------------------------------------------------------------- over an index


def index_of(vectors):
    return setwise.Index.from_array(np.array(list(vectors.values()), np.float32))


def test_an_index_with_documents(crowd):
    vectors, query = crowd
    documents = [Document(text) for text in vectors]
    expected = setwise.retrieve(np.array(query), index_of(vectors), 6, diversity=0.4)
    want = [documents[row].page_content for row in expected.ids]
    for source in (documents, dict(enumerate(documents)), lambda row: documents[row]):
        retriever = DiverseRetriever(
            index=index_of(vectors), documents=source, embeddings=Known(*crowd), k=6, diversity=0.4
        )
        assert texts(retriever.invoke("?")) == want
        assert texts(asyncio.run(retriever.ainvoke("?"))) == want
    assert all(not document.metadata for document in documents)


def test_an_index_over_a_stores_data(crowd):
    """Documents come from the store, in selection order, whatever order it answers in."""

    class Shuffled(InMemoryVectorStore):
        async def aget_by_ids(self, ids):
            return self.get_by_ids(sorted(ids))

    vectors, query = crowd
    store = Shuffled(OnlyAsync(vectors, query))
    store.add_texts(list(vectors), ids=[str(row) for row in range(len(vectors))])
    retriever = DiverseRetriever(vectorstore=store, index=index_of(vectors), k=6, diversity=0.4)
    expected = setwise.retrieve(np.array(query), index_of(vectors), 6, diversity=0.4)
    found = asyncio.run(retriever.ainvoke("?"))
    assert [int(document.id) for document in found] == expected.ids.tolist()
    store.delete([found[2].id])
    with pytest.raises(ValueError, match="which the vector store does not"):
        asyncio.run(retriever.ainvoke("?"))


def test_an_index_filters_within(crowd):
    vectors, _ = crowd
    retriever = DiverseRetriever(
        index=index_of(vectors),
        documents=[Document(text) for text in vectors],
        embeddings=Known(*crowd),
        k=4,
        filter=np.arange(290, 300),
    )
    assert {int(text.split()[1]) for text in texts(retriever.invoke("?"))} < set(range(290, 300))
    with pytest.warns(UserWarning, match="only 10 of the 20"):
        assert len(retriever.invoke("?", k=20)) == 10
    with pytest.warns(UserWarning, match="nothing in the index passes the filter"):
        assert retriever.invoke("?", filter=np.zeros(300, bool)) == []


def test_an_index_smaller_than_k():
    documents = [Document(text) for text in VECTORS]
    retriever = DiverseRetriever(
        index=index_of(VECTORS), documents=documents, embeddings=Known(VECTORS, QUERY), k=50, fetch_k=60
    )
    assert sorted(texts(retriever.invoke("?"))) == sorted(VECTORS)
    short = DiverseRetriever(
        index=index_of(VECTORS), documents=documents[:2], embeddings=Known(VECTORS, QUERY)
    )
    with pytest.raises(ValueError, match="documents: the index has an id that they lack"):
        short.invoke("?")


# ---------------------------------------------------------------------- other stores


def test_faiss(crowd):
    pytest.importorskip("langchain_community", reason="langchain-community is not installed")
    from langchain_community.vectorstores import FAISS

    vectors, query = crowd
    store = FAISS.from_texts(
        list(vectors),
        Known(vectors, query),
        ids=list(vectors),
        metadatas=[{"row": row} for row in range(300)],
    )
    store.embedding_function.embedded.clear()
    retriever = DiverseRetriever(vectorstore=store, k=8, diversity=0.4, fetch_k=300)
    expected = setwise.retrieve(np.array(query), index_of(vectors), 8, diversity=0.4).ids.tolist()
    assert [document.metadata["row"] for document in retriever.invoke("?")] == expected
    assert store.embedding_function.embedded == []
    assert "setwise_gain" not in store.get_by_ids(["text 0"])[0].metadata
    assert all("setwise_gain" not in store.docstore.search(name).metadata for name in vectors)

    few = retriever.invoke("?", filter=lambda metadata: metadata["row"] >= 290, fetch_k=10)
    assert len(few) == 8
    assert all(document.metadata["row"] >= 290 for document in few)

    over = DiverseRetriever(vectorstore=store, index=index_of(vectors), k=8, diversity=0.4)
    assert [document.metadata["row"] for document in over.invoke("?")] == expected

    store.delete(["text 0", "text 7"])
    left = retriever.invoke("?", k=298)
    assert len(left) == 298
    for document in left:
        own = cosine(vectors[document.page_content], query)
        assert document.metadata["setwise_relevance"] == pytest.approx(own, abs=1e-5)


def test_a_faiss_index_that_gives_nothing_back(crowd):
    pytest.importorskip("langchain_community", reason="langchain-community is not installed")
    import faiss
    from langchain_community.docstore.in_memory import InMemoryDocstore
    from langchain_community.vectorstores import FAISS

    vectors, query = crowd
    index = faiss.index_factory(16, "IVF4,Flat")
    index.train(np.array(list(vectors.values()), np.float32))
    store = FAISS(Known(vectors, query), index, InMemoryDocstore(), {})
    store.add_texts(list(vectors))
    with pytest.raises(ValueError, match="does not give vectors back.*make_direct_map"):
        DiverseRetriever(vectorstore=store).invoke("?")
    index.make_direct_map()
    assert len(DiverseRetriever(vectorstore=store).invoke("?")) == 10


@pytest.mark.parametrize("name", ["", "dense"])
def test_qdrant(crowd, name):
    pytest.importorskip("langchain_qdrant", reason="langchain-qdrant is not installed")
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient, models

    vectors, query = crowd
    client = QdrantClient(":memory:")
    params = models.VectorParams(size=16, distance=models.Distance.COSINE)
    client.create_collection("texts", vectors_config={name: params} if name else params)
    store = QdrantVectorStore(
        client, "texts", Known(vectors, query), vector_name=name, validate_collection_config=False
    )
    store.add_texts(list(vectors), metadatas=[{"row": row} for row in range(300)], ids=list(range(300)))
    store.embeddings.embedded.clear()
    expected = setwise.retrieve(np.array(query), index_of(vectors), 8, diversity=0.4).ids.tolist()
    retriever = DiverseRetriever(vectorstore=store, k=8, diversity=0.4, fetch_k=300)
    assert [document.metadata["row"] for document in retriever.invoke("?")] == expected
    assert [document.metadata["row"] for document in asyncio.run(retriever.ainvoke("?"))] == expected
    assert store.embeddings.embedded == []

    high = models.Filter(must=[models.FieldCondition(key="metadata.row", range=models.Range(gte=290))])
    few = retriever.invoke("?", filter=high, fetch_k=10)
    assert len(few) == 8
    assert all(document.metadata["row"] >= 290 for document in few)

    over = DiverseRetriever(vectorstore=store, index=index_of(vectors), k=8, diversity=0.4)
    assert [document.metadata["row"] for document in over.invoke("?")] == expected


# ---------------------------------------------------------------------- the compressor


def ranked(scores=None, names=RANKED, **more):
    return [
        Document(
            id=name,
            page_content=name,
            metadata=dict(more) if scores is None else {"relevance_score": scores[row]},
        )
        for row, name in enumerate(names)
    ]


def test_after_a_reranker_its_score_is_the_relevance():
    documents = ranked([2.0, 1.9, -4.0, 9.0, 1.0])
    by_score = ["c", "a", "a again", "far", "b"]
    plain = DiverseCompressor(k=5, diversity=0, vectors=VECTORS).compress_documents(documents, "?")
    assert texts(plain) == by_score
    assert [document.metadata["setwise_relevance"] for document in plain] == [9.0, 2.0, 1.9, 1.0, -4.0]
    for weight, diversity in ((1, 0), (0, 1), (0.5, 0.5)):
        converted = DiverseCompressor(k=3, lambda_mult=weight, vectors=VECTORS)
        own = DiverseCompressor(k=3, diversity=diversity, vectors=VECTORS)
        assert converted.diversity == own.diversity == diversity
        assert converted.compress_documents(documents, "?") == own.compress_documents(documents, "?")
    chosen = DiverseCompressor(k=3, diversity=0.5, vectors=VECTORS).compress_documents(documents, "?")
    assert not {"a", "a again"} <= set(texts(chosen))
    expected = setwise.diversify(
        RANKED,
        3,
        relevance=[2.0, 1.9, -4.0, 9.0, 1.0],
        vectors=np.array(list(VECTORS.values())),
        diversity=0.5,
    )
    assert texts(chosen) == expected.ids.tolist()
    assert all("setwise_gain" not in document.metadata for document in documents)


def test_without_scores_the_order_counts():
    names = RANKED[::-1]
    found = DiverseCompressor(diversity=0, vectors=VECTORS).compress_documents(ranked(names=names), "?")
    assert texts(found) == names
    steps = [document.metadata["setwise_relevance"] for document in found]
    np.testing.assert_allclose(steps, [1.0, 0.8, 0.6, 0.4, 0.2])


def test_a_score_key_is_taken_at_its_word():
    documents = ranked(bm25=2.0)
    assert len(DiverseCompressor(score_key="bm25", vectors=VECTORS).compress_documents(documents, "?")) == 5
    with pytest.raises(ValueError, match="'bm52' to rank by.; pass the score_key"):
        DiverseCompressor(score_key="bm52", vectors=VECTORS).compress_documents(documents, "?")


def test_where_the_compressors_vectors_come_from(store):
    expected = texts(DiverseCompressor(k=3, diversity=0.5, vectors=VECTORS).compress_documents(ranked(), "?"))
    rows = {name: row for row, name in enumerate(VECTORS)}
    index = index_of(VECTORS)
    sources = [store, lambda names: [VECTORS[name] for name in names]]
    sources.append(lambda names: index.vectors([rows[name] for name in names]))
    for source in sources:
        compressor = DiverseCompressor(k=3, diversity=0.5, vectors=source)
        assert texts(compressor.compress_documents(ranked(), "?")) == expected
        assert texts(asyncio.run(compressor.acompress_documents(ranked(), "?"))) == expected
    assert store.embedding.embedded == []
    own = [
        document.model_copy(update={"metadata": {"embedding": VECTORS[document.page_content]}})
        for document in ranked()
    ]
    assert texts(DiverseCompressor(k=3, diversity=0.5).compress_documents(own, "?")) == expected


def test_a_qdrant_index_by_document_id(crowd):
    qdrant_client = pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    models = qdrant_client.models
    client = qdrant_client.QdrantClient(":memory:")
    client.create_collection(
        "texts", vectors_config=models.VectorParams(size=4, distance=models.Distance.COSINE)
    )
    names = {text: f"00000000-0000-0000-0000-00000000000{row}" for row, text in enumerate(RANKED)}
    client.upsert("texts", [models.PointStruct(id=names[text], vector=VECTORS[text]) for text in RANKED])
    index = setwise.Index.from_qdrant(client, "texts")
    documents = [Document(id=names[text], page_content=text) for text in RANKED]
    expected = texts(DiverseCompressor(k=3, diversity=0.5, vectors=VECTORS).compress_documents(ranked(), "?"))
    compressor = DiverseCompressor(k=3, diversity=0.5, vectors=index)
    assert texts(compressor.compress_documents(documents, "?")) == expected
    stranger = Document(id="00000000-0000-0000-0000-0000000000ff", page_content="stranger")
    with pytest.raises(ValueError, match="1 of 6 lack"):
        compressor.compress_documents([*documents, stranger], "?")


def test_the_compressor_embeds_only_when_asked():
    model = Known(VECTORS, QUERY)
    with pytest.raises(pydantic.ValidationError, match="reembed: embeddings= is used only with"):
        DiverseCompressor(embeddings=model)
    with pytest.raises(pydantic.ValidationError, match="embeddings: reembed=True needs"):
        DiverseCompressor(reembed=True)
    compressor = DiverseCompressor(k=3, embeddings=model, reembed=True, vectors={"a": VECTORS["a"]})
    expected = texts(DiverseCompressor(k=3, vectors=VECTORS).compress_documents(ranked(), "?"))
    assert texts(compressor.compress_documents(ranked(), "?")) == expected
    assert model.embedded == RANKED[1:]
    assert texts(asyncio.run(compressor.acompress_documents(ranked(), "?"))) == expected


def test_documents_without_a_vector():
    some = {name: VECTORS[name] for name in ("a", "b", "far")}
    with pytest.raises(
        ValueError, match="2 of 5 lack what choosing needs .the first: id 'a again' has no embedding"
    ):
        DiverseCompressor(vectors=some).compress_documents(ranked(), "?")
    with pytest.warns(UserWarning, match="2 of 5 .*left out"):
        found = DiverseCompressor(vectors=some, missing="warn", diversity=0).compress_documents(ranked(), "?")
    assert texts(found) == ["a", "b", "far"]
    appended = DiverseCompressor(vectors=some, missing="append", diversity=0).compress_documents(
        ranked(), "?"
    )
    assert texts(appended) == ["a", "b", "far", "a again", "c"]
    assert "setwise_gain" not in appended[3].metadata
    short = DiverseCompressor(vectors=some, missing="append", diversity=0, k=4)
    assert texts(short.compress_documents(ranked(), "?")) == ["a", "b", "far", "a again"]
    assert texts(DiverseCompressor(missing="append").compress_documents(ranked(), "?")) == RANKED
    with pytest.raises(ValueError, match="the first: 'nameless' has no embedding"):
        DiverseCompressor(vectors=VECTORS).compress_documents([Document("nameless")], "?")


def test_documents_without_a_score():
    documents = ranked([5.0, 4.0, None, 2.0, 1.0])
    with pytest.raises(ValueError, match="1 of 5 .*id 'b' has no metadata 'relevance_score'"):
        DiverseCompressor(vectors=VECTORS).compress_documents(documents, "?")
    appended = DiverseCompressor(vectors=VECTORS, missing="append", diversity=0).compress_documents(
        documents, "?"
    )
    assert texts(appended) == ["a", "a again", "c", "far", "b"]


def test_the_compressors_edges():
    compressor = DiverseCompressor(vectors=VECTORS)
    assert compressor.compress_documents([], "?") == []
    assert asyncio.run(compressor.acompress_documents([], "?")) == []
    assert texts(compressor.compress_documents(ranked()[:1], "?")) == ["a"]
    assert len(compressor.compress_documents(ranked(), "?")) == 5
    assert texts(compressor.compress_documents(ranked()[:1] * 3, "?")) == ["a"]
    with pytest.raises(ValueError, match="NaN"):
        DiverseCompressor(vectors={**VECTORS, "b": [np.nan] * 4}).compress_documents(ranked(), "?")
    with pytest.raises(ValueError, match="returned 1 vectors for 5 ids"):
        DiverseCompressor(vectors=lambda names: [[1.0]]).compress_documents(ranked(), "?")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"lambda_mul": 0.1}, "lambda_mul"),
        ({"k": 0}, "k: 0 is below 1"),
        ({"diversity": -0.1}, "diversity: -0.1 is outside"),
        ({"lambda_mult": 0.5, "diversity": 0.5}, "not both"),
        ({"missing": "skip"}, "missing: 'skip' is unknown"),
        ({"relevance_scale": "max"}, "did you mean 'minmax'"),
    ],
)
def test_the_compressor_refuses(bad, says):
    with pytest.raises(pydantic.ValidationError, match=says):
        DiverseCompressor(**bad)


def test_the_compressors_vectors_are_of_a_kind_it_knows(silent):
    with pytest.raises(pydantic.ValidationError, match="how a Silent gives vectors back is not known"):
        DiverseCompressor(vectors=silent)
    with pytest.raises(TypeError, match="vectors: expected a mapping"):
        DiverseCompressor(vectors=3)


def test_in_a_compression_retriever(store):
    classic = pytest.importorskip("langchain_classic.retrievers", reason="langchain-classic is not installed")
    retriever = classic.ContextualCompressionRetriever(
        base_compressor=DiverseCompressor(k=3, diversity=0.5, vectors=store),
        base_retriever=store.as_retriever(search_kwargs={"k": 5}),
    )
    found = texts(retriever.invoke("?"))
    assert len(found) == 3
    assert not {"a", "a again"} <= set(found)
    assert texts(asyncio.run(retriever.ainvoke("?"))) == found
