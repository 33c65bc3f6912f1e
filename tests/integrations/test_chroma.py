"""Chroma under LangChain and LlamaIndex: the vectors it keeps are read, and no text is embedded twice."""

import asyncio

import pytest

from integrations.conftest import QUERY, VECTORS
from optional import lazily, needs

chromadb = lazily("chromadb")


@pytest.fixture(scope="module")
def client():
    return chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))


@needs("chromadb", "langchain_chroma")
def test_langchains_store(client):
    from langchain_chroma import Chroma

    from integrations.langchain_parts import Known
    from setwise.integrations.langchain import DiverseCompressor, DiverseRetriever

    model = Known(VECTORS, QUERY)
    space = {"hnsw": {"space": "cosine"}}
    store = Chroma("langchain", model, client=client, collection_configuration=space)
    store.add_texts(list(VECTORS), ids=list(VECTORS), metadatas=[{"row": row} for row in range(len(VECTORS))])
    model.embedded.clear()
    retriever = DiverseRetriever(vectorstore=store, k=3, diversity=0.5)
    found = [one.page_content for one in retriever.invoke("?")]
    assert len(found) == 3
    assert not {"a", "a again"} <= set(found)
    assert [one.page_content for one in asyncio.run(retriever.ainvoke("?"))] == found
    assert retriever.invoke("?", filter={"row": 9}) == []
    ranked = store.similarity_search_by_vector(QUERY, 4)
    kept = DiverseCompressor(k=3, diversity=0.5, vectors=store).compress_documents(ranked, "?")
    assert len(kept) == 3
    assert model.embedded == []
    absent = [one.model_copy(update={"id": f"{one.id}?"}) for one in ranked]
    with pytest.raises(ValueError, match=r"documents: 4 of 4 lack what choosing needs .* has no embedding"):
        DiverseCompressor(k=3, vectors=store).compress_documents(absent, "?")


@needs("chromadb", "llama_index.vector_stores.chroma")
def test_llama_indexes_store(client):
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.vector_stores.chroma import ChromaVectorStore

    from setwise.integrations.llama_index import DiverseNodePostprocessor

    store = ChromaVectorStore(
        chroma_collection=client.create_collection("llama-index", embedding_function=None)
    )
    store.add([TextNode(id_=name, text=name, embedding=list(vector)) for name, vector in VECTORS.items()])
    nodes = [
        NodeWithScore(node=TextNode(id_=name, text=name), score=1.0 - place / 10)
        for place, name in enumerate(VECTORS)
    ]
    own = [
        NodeWithScore(
            node=TextNode(id_=name, text=name, embedding=list(VECTORS[name])), score=1.0 - place / 10
        )
        for place, name in enumerate(VECTORS)
    ]
    chosen = DiverseNodePostprocessor(k=3, diversity=0.5, vectors=store)
    wanted = [one.node_id for one in DiverseNodePostprocessor(k=3, diversity=0.5).postprocess_nodes(own)]
    assert [one.node_id for one in chosen.postprocess_nodes(nodes)] == wanted
    assert [one.node_id for one in asyncio.run(chosen.apostprocess_nodes(nodes))] == wanted


@needs("chromadb", "langchain_chroma", "llama_index.vector_stores.chroma")
def test_what_another_process_deletes_is_no_longer_found(tmp_path):
    """Chroma still finds it in a graph that is in memory here; LlamaIndex makes an empty node of it."""
    from langchain_chroma import Chroma
    from llama_index.core import VectorStoreIndex
    from llama_index.core.schema import QueryBundle, TextNode
    from llama_index.vector_stores.chroma import ChromaVectorStore

    from integrations.langchain_parts import Known
    from integrations.llama_index_parts import Known as Model
    from setwise.integrations import langchain, llama_index

    settings = chromadb.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(tmp_path), settings)
    collection = client.create_collection("nodes", embedding_function=None)
    store = ChromaVectorStore(chroma_collection=collection)
    store.add([TextNode(id_=name, text=name, embedding=list(vector)) for name, vector in VECTORS.items()])
    over = VectorStoreIndex.from_vector_store(store, embed_model=Model(VECTORS, QUERY))
    own = llama_index.DiverseRetriever(over, k=3)
    other = langchain.DiverseRetriever(vectorstore=Chroma("nodes", Known(VECTORS, QUERY), client=client), k=3)
    query = QueryBundle("?", embedding=list(QUERY))
    retrievers = [
        lambda: [one.text for one in own.retrieve(query)],
        lambda: [one.page_content for one in other.invoke("?")],
    ]
    gone = {text for retrieve in retrievers for text in retrieve()}
    chromadb.api.shared_system_client.SharedSystemClient.clear_system_cache()
    chromadb.PersistentClient(str(tmp_path), settings).get_collection("nodes").delete(ids=sorted(gone))
    assert gone <= set(collection.query(query_embeddings=[list(QUERY)], n_results=len(VECTORS))["ids"][0])
    for retrieve in retrievers:
        assert sorted(retrieve()) == sorted(set(VECTORS) - gone)[:3]


# ---------------------------------------------------------------------- a least score, in each framework


def of_haystack(scores, **options):
    from haystack import Document

    from setwise.integrations.haystack import SetwiseRanker

    given = [
        Document(id=name, content=name, score=score, embedding=list(VECTORS[name]))
        for name, score in zip(VECTORS, scores, strict=False)
    ]
    return [one.id for one in SetwiseRanker(top_k=4, **options).run(documents=given)["documents"]]


def of_langchain(scores, **options):
    from langchain_core.documents import Document

    from setwise.integrations.langchain import DiverseCompressor

    given = [
        Document(id=name, page_content=name, metadata={"relevance_score": score})
        for name, score in zip(VECTORS, scores, strict=False)
    ]
    chosen = DiverseCompressor(k=4, vectors=dict(VECTORS), **options).compress_documents(given, "?")
    return [one.id for one in chosen]


def of_llama_index(scores, **options):
    from llama_index.core.schema import NodeWithScore, TextNode

    from setwise.integrations.llama_index import DiverseNodePostprocessor

    given = [
        NodeWithScore(node=TextNode(id_=name, text=name, embedding=list(VECTORS[name])), score=score)
        for name, score in zip(VECTORS, scores, strict=False)
    ]
    return [one.node_id for one in DiverseNodePostprocessor(k=4, **options).postprocess_nodes(given)]


FRAMEWORKS = [
    pytest.param(of_haystack, marks=needs("haystack"), id="haystack"),
    pytest.param(of_langchain, marks=needs("langchain_core"), id="langchain"),
    pytest.param(of_llama_index, marks=needs("llama_index.core"), id="llama-index"),
]


@pytest.mark.parametrize("choose", FRAMEWORKS)
def test_a_least_score(choose):
    names = list(VECTORS)[:4]
    scores = [0.9, 0.2, 0.7, 0.5]
    assert sorted(choose(scores)) == sorted(names)
    with pytest.warns(UserWarning, match=r"3 of the 4 asked for reach the score 0\.5"):
        assert sorted(choose(scores, score_threshold=0.5)) == sorted([names[0], names[2], names[3]])
    with pytest.warns(UserWarning, match=r"1 of the 4 asked for reach the score 0\.9"):
        assert choose(scores, score_threshold=0.9) == [names[0]]
    with pytest.warns(UserWarning, match=r"none reaches the score 0\.95 \(the best has 0\.9\)"):
        assert choose(scores, score_threshold=0.95) == []
    with pytest.raises(ValueError, match="score_threshold"):
        choose(scores, score_threshold=float("nan"))


@needs("haystack")
def test_a_least_cosine_to_a_query():
    from haystack import Document

    from setwise.integrations.haystack import SetwiseRanker

    given = [Document(id=name, content=name, embedding=list(vector)) for name, vector in VECTORS.items()]
    every = SetwiseRanker(top_k=None).run(documents=given, query_embedding=list(QUERY))["documents"]
    told = {one.id: one.meta["setwise_relevance"] for one in every}
    least = sorted(told.values())[2]
    kept = SetwiseRanker(top_k=None, score_threshold=least - 1e-9).run(
        documents=given, query_embedding=list(QUERY)
    )["documents"]
    assert {one.id for one in kept} == {name for name, score in told.items() if score >= least - 1e-9}


@needs("llama_index.core")
def test_llama_indexes_own_name():
    assert of_llama_index([0.9, 0.2, 0.7, 0.5], similarity_cutoff=0.9) == [next(iter(VECTORS))]
    for name, value in (("similarity_cutoff", float("inf")), ("top_n", 0)):
        with pytest.raises(ValueError, match=f"{name}: "):
            of_llama_index([0.9, 0.2], **{name: value})


@needs("langchain_core")
def test_a_compressor_comes_back_from_its_parameters():
    from setwise.integrations.langchain import DiverseCompressor

    made = DiverseCompressor(k=7, lambda_mult=0.25, score_threshold=0.5, missing="append", limits={"row": 2})
    again = DiverseCompressor.model_validate_json(made.model_dump_json(exclude={"lambda_mult"}))
    assert again.model_dump() == made.model_dump()
    assert again.diversity == 0.75
