"""The LlamaIndex postprocessor and retriever, over real indexes."""

from __future__ import annotations

import asyncio
import json
import pickle

import numpy as np
import pytest

import setwise
from optional import lazily, needs

from .conftest import QUERY, RANKED, VECTORS, cosine

pydantic = lazily("pydantic")
llama_index = lazily("llama_index.core")
MockLLM = lazily("llama_index.core.llms", "MockLLM")
RetrieverQueryEngine = lazily("llama_index.core.query_engine", "RetrieverQueryEngine")
get_response_synthesizer = lazily("llama_index.core.response_synthesizers", "get_response_synthesizer")
schema = lazily("llama_index.core.schema")
SimpleDocumentStore = lazily("llama_index.core.storage.docstore", "SimpleDocumentStore")
vector_stores = lazily("llama_index.core.vector_stores")
VectorStoreQueryMode = lazily("llama_index.core.vector_stores.types", "VectorStoreQueryMode")
DiverseNodePostprocessor = lazily("setwise.integrations.llama_index", "DiverseNodePostprocessor")
DiverseRetriever = lazily("setwise.integrations.llama_index", "DiverseRetriever")
Known = lazily("integrations.llama_index_parts", "Known")

pytestmark = needs("llama_index.core")


def scored(scores=(0.95, 0.949, 0.8, 0.7, 0.1), names=RANKED, embedded=True):
    return [
        schema.NodeWithScore(
            node=schema.TextNode(
                id_=name, text=name, embedding=VECTORS[name] if embedded else None, metadata={"row": row}
            ),
            score=scores[row],
        )
        for row, name in enumerate(names)
    ]


def ids(nodes):
    return [node.node_id for node in nodes]


def index_over(vectors=VECTORS, query=QUERY, **more):
    nodes = [schema.TextNode(id_=name, text=name, metadata={"row": row}) for row, name in enumerate(vectors)]
    return llama_index.VectorStoreIndex(nodes, embed_model=Known(vectors, query), **more)


# ---------------------------------------------------------------------- the postprocessor


def test_against_every_selected_node():
    """LlamaIndex's own MMR weighs a candidate against the last pick alone, and returns the duplicate."""
    store = vector_stores.SimpleVectorStore()
    store.add([schema.TextNode(id_=name, text=name, embedding=VECTORS[name]) for name in RANKED[:4]])
    query = vector_stores.VectorStoreQuery(
        query_embedding=QUERY, similarity_top_k=3, mode=VectorStoreQueryMode.MMR
    )
    assert store.query(query, mmr_threshold=0.5).ids == ["a", "b", "a again"]
    nodes = scored([cosine(VECTORS[name], QUERY) for name in RANKED])[:4]
    ours = DiverseNodePostprocessor(k=3, mmr_threshold=0.5, objective="mmr", relevance_scale="none")
    assert ids(ours.postprocess_nodes(nodes)) == ["a", "b", "c"]
    for objective in ("max-sum", "mmr", "log-det"):
        ours = DiverseNodePostprocessor(k=3, diversity=0.5, objective=objective, relevance_scale="none")
        assert sorted(ids(ours.postprocess_nodes(nodes))) == ["a", "b", "c"]
        assert not {"a", "a again"} <= set(
            ids(DiverseNodePostprocessor(k=3, diversity=0.5, objective=objective).postprocess_nodes(scored()))
        )


def test_diversity_0_is_the_ranking_of_the_scores():
    shuffled = [scored()[place] for place in (3, 0, 4, 2, 1)]
    assert ids(DiverseNodePostprocessor(diversity=0).postprocess_nodes(shuffled)) == RANKED
    assert ids(DiverseNodePostprocessor(mmr_threshold=1, k=2).postprocess_nodes(shuffled)) == RANKED[:2]


@pytest.mark.parametrize("weight", [0, 0.0, 0.3, 1, 1.0])
def test_mmr_threshold_is_one_minus_diversity(weight):
    converted = DiverseNodePostprocessor(k=3, mmr_threshold=weight)
    own = DiverseNodePostprocessor(k=3, diversity=1 - weight)
    assert converted.diversity == own.diversity
    assert ids(converted.postprocess_nodes(scored())) == ids(own.postprocess_nodes(scored()))


def test_it_is_setwise_diversify():
    expected = setwise.diversify(
        RANKED,
        3,
        relevance=[0.95, 0.949, 0.8, 0.7, 0.1],
        vectors=np.array(list(VECTORS.values())),
        diversity=0.5,
    )
    found = DiverseNodePostprocessor(top_n=3, diversity=0.5).postprocess_nodes(scored(), query_str="?")
    assert ids(found) == expected.ids.tolist()
    np.testing.assert_allclose([one.metadata["setwise_gain"] for one in found], expected.gains)
    np.testing.assert_allclose([one.metadata["setwise_novelty"] for one in found], expected.novelty)
    assert [one.score for one in found] == [one.metadata["setwise_relevance"] for one in found]


def test_nodes_are_copies_and_prompts_do_not_change():
    nodes = scored()
    before = [node.model_copy(deep=True) for node in nodes]
    found = DiverseNodePostprocessor(k=2).postprocess_nodes(nodes)
    assert nodes == before
    for one in found:
        own = nodes[RANKED.index(one.node_id)]
        assert one.score == own.score
        assert "setwise_gain" in one.metadata
        for mode in (schema.MetadataMode.LLM, schema.MetadataMode.EMBED):
            assert one.node.get_content(mode) == own.node.get_content(mode)
    bare = DiverseNodePostprocessor(k=2, prefix=None).postprocess_nodes(nodes)
    assert all(set(one.metadata) == {"row"} for one in bare)
    assert all(one.node is not nodes[RANKED.index(one.node_id)].node for one in bare)


def test_without_scores_the_order_counts():
    nodes = scored([None] * 5, names=RANKED[::-1])
    found = DiverseNodePostprocessor(diversity=0).postprocess_nodes(nodes)
    assert ids(found) == RANKED[::-1]
    steps = [one.metadata["setwise_relevance"] for one in found]
    np.testing.assert_allclose(steps, [1.0, 0.8, 0.6, 0.4, 0.2])
    some = scored([0.9, None, 0.8, 0.7, 0.6])
    with pytest.raises(ValueError, match="1 of 5 .*id 'a again' has no score"):
        DiverseNodePostprocessor().postprocess_nodes(some)
    appended = DiverseNodePostprocessor(missing="append", diversity=0).postprocess_nodes(some)
    assert ids(appended) == ["a", "b", "c", "far", "a again"]


def test_where_vectors_come_from():
    expected = ids(DiverseNodePostprocessor(k=3, diversity=0.5).postprocess_nodes(scored()))
    rows = {name: row for row, name in enumerate(VECTORS)}
    array = setwise.Index.from_array(np.array(list(VECTORS.values())))
    index = index_over()
    sources = [
        VECTORS,
        index,
        index.vector_store,
        lambda names: array.vectors([rows[name] for name in names]),
    ]
    bare = scored(embedded=False)
    for source in sources:
        chosen = DiverseNodePostprocessor(k=3, diversity=0.5, vectors=source)
        assert ids(chosen.postprocess_nodes(bare)) == expected
        assert ids(asyncio.run(chosen.apostprocess_nodes(bare))) == expected
    with pytest.raises(ValueError, match="5 of 5 .*id 'a' has no embedding.; pass vectors="):
        DiverseNodePostprocessor().postprocess_nodes(bare)
    with pytest.raises(ValueError, match="5 of 5 .*id 'a' has no embedding.; pass vectors="):
        DiverseNodePostprocessor(missing="warn").postprocess_nodes(bare)
    partly = scored()
    partly[1].node.embedding = [0.0] * 4
    bad = partly[1].node.node_id
    with pytest.warns(UserWarning, match=f"nodes: 1 of 5 .*the embedding of id '{bad}' is all zero"):
        kept = ids(DiverseNodePostprocessor(missing="drop").postprocess_nodes(partly))
    assert sorted(kept) == sorted(set(RANKED) - {bad})
    assert ids(DiverseNodePostprocessor(missing="append").postprocess_nodes(partly))[-1] == bad
    with pytest.raises(TypeError, match="vectors: expected a mapping"):
        DiverseNodePostprocessor(vectors=3)


def test_the_postprocessors_edges():
    chosen = DiverseNodePostprocessor()
    assert chosen.postprocess_nodes([]) == []
    assert asyncio.run(chosen.apostprocess_nodes([])) == []
    assert ids(chosen.postprocess_nodes(scored()[:1])) == ["a"]
    assert len(chosen.postprocess_nodes(scored())) == 5
    twice = [*scored(), *scored([0.2] * 5)]
    found = chosen.postprocess_nodes(twice)
    assert sorted(ids(found)) == sorted(RANKED)
    assert max(one.score for one in found) == 0.95
    nodes = scored()
    nodes[2].node.embedding = [float("nan")] * 4
    with pytest.raises(ValueError, match="NaN"):
        chosen.postprocess_nodes(nodes)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"mmr_treshold": 0.1}, "mmr_treshold"),
        ({"k": 0}, "k: 0 is below 1"),
        ({"top_n": 0}, "top_n: 0 is below 1"),
        ({"k": 3, "top_n": 3}, "top_n: pass k or top_n"),
        ({"mmr_threshold": 0, "diversity": 0.0}, "not both"),
        ({"mmr_threshold": -1}, "mmr_threshold: -1.0 is outside"),
        ({"diversity": 2}, "diversity: 2.0 is outside"),
        ({"objective": "dpp"}, "objective: 'dpp' is unknown"),
        ({"missing": "skip"}, "missing: 'skip' is unknown"),
    ],
)
def test_the_postprocessor_refuses(bad, says):
    with pytest.raises(pydantic.ValidationError, match=says):
        DiverseNodePostprocessor(**bad)


def test_serialized():
    chosen = DiverseNodePostprocessor(top_n=3, mmr_threshold=0.5, objective="mmr", vectors=VECTORS)
    data = chosen.to_dict()
    assert data["class_name"] == DiverseNodePostprocessor.class_name() == "SetwiseDiverseNodePostprocessor"
    assert (data["k"], data["diversity"]) == (3, 0.5)
    assert not {"vectors", "top_n", "mmr_threshold", "callback_manager"} & set(data)
    again = DiverseNodePostprocessor.from_dict(json.loads(json.dumps(data)))
    assert again.to_dict() == data
    assert again.vectors is None
    assert DiverseNodePostprocessor.from_dict(data, vectors=VECTORS).vectors == VECTORS
    assert DiverseNodePostprocessor.from_json(chosen.to_json()).to_dict() == data
    assert pickle.loads(pickle.dumps(chosen)).to_dict() == data


# ---------------------------------------------------------------------- the retriever


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
def test_a_duplicate_is_not_returned(objective):
    found = ids(DiverseRetriever(index_over(), k=3, diversity=0.5, objective=objective).retrieve("?"))
    assert len(found) == 3
    assert not {"a", "a again"} <= set(found)


def test_diversity_0_is_the_plain_ranking():
    index = index_over()
    plain = ids(index.as_retriever(similarity_top_k=4).retrieve("?"))
    for options in ({"diversity": 0}, {"mmr_threshold": 1}):
        assert ids(DiverseRetriever(index, k=4, **options).retrieve("?")) == plain == RANKED[:4]
    spread = [
        DiverseRetriever(index, k=3, **one).retrieve("?") for one in ({"mmr_threshold": 0}, {"diversity": 1})
    ]
    assert spread[0] == spread[1]
    assert ids(spread[0]) != plain[:3]


def test_it_is_setwise_retrieve_over_the_candidates(crowd):
    vectors, query = crowd
    array = setwise.Index.from_array(np.array(list(vectors.values())))
    expected = setwise.retrieve(np.array(query), array, 8, diversity=0.4)
    found = DiverseRetriever(index_over(*crowd), k=8, diversity=0.4, fetch_k=300).retrieve("?")
    assert [one.metadata["row"] for one in found] == expected.ids.tolist()
    np.testing.assert_allclose([one.score for one in found], expected.scores, atol=1e-6)
    np.testing.assert_allclose([one.metadata["setwise_gain"] for one in found], expected.gains, atol=1e-6)


def test_what_was_deleted_between_two_calls(crowd):
    """No ghost comes back, and the set is the best of what is left."""
    vectors, query = crowd
    index = index_over(*crowd)
    made = DiverseRetriever(index, k=8, diversity=0.6, sharpness=1, fetch_k=300)
    first = made.retrieve("?")
    index.delete_nodes([one.node_id for one in first])
    gone = {one.metadata["row"] for one in first}
    left = [row for row in range(300) if row not in gone]
    array = setwise.Index.from_array(np.array(list(vectors.values()))[left])
    expected = setwise.retrieve(np.array(query), array, 8, diversity=0.6, sharpness=1)
    assert [one.metadata["row"] for one in made.retrieve("?")] == [left[row] for row in expected.ids]


@pytest.mark.parametrize("over", ["store", "index"])
def test_a_least_relevance(crowd, over):
    """The best set of what reaches it: fewer than k, or none, are told, and are no error."""
    vectors, query = crowd
    rows = np.array(list(vectors.values()))
    array = setwise.Index.from_array(rows)
    cosines = rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
    index, options = index_over(*crowd), {"fetch_k": 300}
    if over == "index":
        nodes = [
            schema.TextNode(id_=text, text=text, metadata={"row": row}) for row, text in enumerate(vectors)
        ]
        index, options = array, {"nodes": nodes, "embed_model": Known(*crowd)}

    def found(least, k=5):
        made = DiverseRetriever(
            index, k=k, diversity=0.9, sharpness=1, similarity_cutoff=float(least), **options
        )
        return [one.metadata["row"] for one in made.retrieve("?")]

    ranked = np.sort(cosines)[::-1] - 1e-6
    for count in (300, 40, 5):
        reaching = cosines >= ranked[count - 1]
        best = setwise.retrieve(query, array, 5, diversity=0.9, sharpness=1, filter=reaching)
        assert sorted(found(ranked[count - 1])) == sorted(best.ids.tolist())
    with pytest.warns(UserWarning, match="3 of the 5 asked for reach the score"):
        assert sorted(found(ranked[2])) == np.flatnonzero(cosines >= ranked[2]).tolist()
    with pytest.warns(UserWarning, match="none reaches the score 0.999"):
        assert found(0.999) == []
    with pytest.raises(ValueError, match="similarity_cutoff: inf is not finite"):
        found(np.inf)


def test_over_a_setwise_index(crowd):
    vectors, query = crowd
    array = setwise.Index.from_array(np.array(list(vectors.values())))
    nodes = [schema.TextNode(id_=str(row), text=text) for row, text in enumerate(vectors)]

    class Shuffled(SimpleDocumentStore):
        def get_nodes(self, node_ids, raise_error=True):
            return super().get_nodes(sorted(node_ids), raise_error)

    docstore = Shuffled()
    docstore.add_documents(nodes)
    expected = [str(row) for row in setwise.retrieve(np.array(query), array, 6, diversity=0.4).ids]
    for source in (nodes, dict(enumerate(nodes)), docstore, lambda row: nodes[row]):
        retriever = DiverseRetriever(
            array, nodes=source, embed_model=Known(*crowd, only_async=True), k=6, diversity=0.4
        )
        assert ids(asyncio.run(retriever.aretrieve("?"))) == expected
        assert ids(retriever.retrieve(llama_index.QueryBundle("?", embedding=query))) == expected
    docstore.delete_document(expected[1])
    with pytest.raises(ValueError, match="which the document store lacks"):
        DiverseRetriever(array, nodes=docstore, embed_model=Known(*crowd), k=6, diversity=0.4).retrieve("?")
    with pytest.raises(ValueError, match="nodes: the index has an id that they lack"):
        DiverseRetriever(array, nodes={}, embed_model=Known(*crowd)).retrieve("?")
    few = DiverseRetriever(array, nodes=nodes, embed_model=Known(*crowd), k=4, filters=np.arange(5))
    assert set(ids(few.retrieve("?"))) < set("01234")


def test_async_does_not_block(crowd):
    """The model is asked asynchronously, and many queries run together."""
    index = index_over(*crowd)
    expected = ids(DiverseRetriever(index, k=5, diversity=0.4).retrieve("?"))
    retriever = DiverseRetriever(index, k=5, diversity=0.4, embed_model=Known(*crowd, only_async=True))

    async def many():
        return await asyncio.gather(*(retriever.aretrieve("?") for _ in range(6)))

    assert [ids(found) for found in asyncio.run(many())] == [expected] * 6
    with pytest.raises(AssertionError, match="called synchronously"):
        retriever.retrieve("?")


def test_the_filter_is_the_searchs_own(crowd):
    high = vector_stores.MetadataFilters(
        filters=[
            vector_stores.MetadataFilter(key="row", value=290, operator=vector_stores.FilterOperator.GTE)
        ]
    )
    found = DiverseRetriever(index_over(*crowd), k=8, fetch_k=8, filters=high).retrieve("?")
    assert len(found) == 8
    assert all(one.metadata["row"] >= 290 for one in found)
    none = vector_stores.MetadataFilters(filters=[vector_stores.MetadataFilter(key="row", value=-1)])
    assert DiverseRetriever(index_over(*crowd), filters=none).retrieve("?") == []


def test_nodes_added_later_are_found():
    index = index_over({name: VECTORS[name] for name in RANKED[1:]})
    index._embed_model = Known()
    retriever = DiverseRetriever(index, k=1)
    assert ids(retriever.retrieve("?")) == ["a again"]
    index.insert_nodes([schema.TextNode(id_="a", text="a")])
    assert ids(retriever.retrieve("?")) == ["a"]


def test_an_index_nodes_object_is_followed():
    inner = schema.TextNode(id_="inner", text="inner")
    index = llama_index.VectorStoreIndex(
        objects=[schema.IndexNode(id_="a", text="a", index_id="x", obj=inner)], embed_model=Known()
    )
    assert ids(DiverseRetriever(index, k=2).retrieve("?")) == ["inner"]


def test_the_query_is_left_alone():
    bundle = llama_index.QueryBundle("?")
    DiverseRetriever(index_over(), k=2).retrieve(bundle)
    assert bundle.embedding is None


def test_the_retrievers_edges():
    assert len(DiverseRetriever(index_over(), k=50).retrieve("?")) == 5
    assert ids(DiverseRetriever(index_over({"a": VECTORS["a"]})).retrieve("?")) == ["a"]
    assert DiverseRetriever(index_over({})).retrieve("?") == []
    assert asyncio.run(DiverseRetriever(index_over({})).aretrieve("?")) == []


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        ({"mmr_treshold": 0.1}, TypeError, "mmr_treshold"),
        ({"k": 0}, ValueError, "k: 0 is below 1"),
        ({"k": None}, TypeError, "k: expected an integer"),
        ({"mmr_threshold": 0, "diversity": 0.0}, ValueError, "not both"),
        ({"mmr_threshold": 1.1}, ValueError, "mmr_threshold: 1.1 is outside"),
        ({"fetch_k": 2}, ValueError, "fetch_k: 2 candidates cannot give k = 10"),
        ({"search_kwargs": {"similarity_top_k": 3}}, ValueError, "pass fetch_k= instead"),
        ({"vectors": 3}, TypeError, "vectors: expected a mapping"),
    ],
)
def test_the_retriever_refuses(bad, error, says):
    with pytest.raises(error, match=says):
        DiverseRetriever(index_over(), **bad)


def test_what_the_retriever_is_over():
    array = setwise.Index.from_array(np.eye(4))
    with pytest.raises(ValueError, match="nodes: with a setwise.Index"):
        DiverseRetriever(array)
    with pytest.raises(TypeError, match="index: expected a VectorStoreIndex or a setwise.Index, got list"):
        DiverseRetriever([])
    for name, value in (("vectors", VECTORS), ("search_kwargs", {})):
        with pytest.raises(ValueError, match=f"{name}: it has no effect over a ArrayIndex"):
            DiverseRetriever(array, nodes={}, **{name: value})
    with pytest.raises(ValueError, match="nodes: it has no effect over a VectorStoreIndex"):
        DiverseRetriever(index_over(), nodes={})


def test_a_store_that_gives_no_vectors_back():
    index = index_over()
    with pytest.raises(ValueError, match="no vector for 5 of 5 nodes .the first: id 'a'.*pass vectors="):
        DiverseRetriever(index, vectors={}).retrieve("?")
    assert len(DiverseRetriever(index, vectors=VECTORS).retrieve("?")) == 5


def test_over_qdrant(crowd):
    """A store that keeps the texts, and gives vectors back with them."""
    store = pytest.importorskip("llama_index.vector_stores.qdrant", reason="the store is not installed")
    from qdrant_client import QdrantClient

    vectors, query = crowd
    kept = store.QdrantVectorStore("texts", client=QdrantClient(":memory:"))
    names = {f"00000000-0000-0000-0000-{row:012d}": text for row, text in enumerate(vectors)}
    nodes = [schema.TextNode(id_=name, text=text) for name, text in names.items()]
    index = llama_index.VectorStoreIndex(
        nodes,
        embed_model=Known(*crowd),
        storage_context=llama_index.StorageContext.from_defaults(vector_store=kept),
    )
    array = setwise.Index.from_array(np.array(list(vectors.values())))
    expected = setwise.retrieve(np.array(query), array, 8, diversity=0.4)
    found = DiverseRetriever(index, k=8, diversity=0.4, fetch_k=300).retrieve("?")
    assert [int(one.node_id[-12:]) for one in found] == expected.ids.tolist()
    bare = [
        schema.NodeWithScore(node=schema.TextNode(id_=one.node_id, text="?"), score=one.score)
        for one in found
    ]
    assert len(DiverseNodePostprocessor(k=4, vectors=index).postprocess_nodes(bare)) == 4


def test_in_a_query_engine(monkeypatch):
    monkeypatch.setattr(llama_index.Settings, "_llm", MockLLM())
    index = index_over()
    engine = RetrieverQueryEngine(
        retriever=index.as_retriever(similarity_top_k=5),
        response_synthesizer=get_response_synthesizer(response_mode="no_text"),
        node_postprocessors=[DiverseNodePostprocessor(k=3, diversity=0.5, vectors=index)],
    )
    assert sorted(ids(engine.query("?").source_nodes)) == ["a", "b", "c"]
    engine = RetrieverQueryEngine(
        retriever=DiverseRetriever(index, k=3, diversity=0.5),
        response_synthesizer=get_response_synthesizer(response_mode="no_text"),
    )
    assert sorted(ids(asyncio.run(engine.aquery("?")).source_nodes)) == ["a", "b", "c"]
