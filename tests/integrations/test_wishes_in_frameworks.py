"""Budgets, limits, unlikeness and reasons in every framework's component."""

import itertools

import numpy as np
import pytest

import setwise
from optional import installed

RNG = np.random.default_rng(4)
N = 24
X = RNG.standard_normal((N, 6))
E = X / np.linalg.norm(X, axis=1, keepdims=True)
SCORES = RNG.random(N).tolist()
TEXTS = [" ".join(["word"] * (1 + row % 7)) for row in range(N)]
KINDS = [("a", "b", "c")[row % 3] for row in range(N)]
WISHES = {
    "tokens": 12,
    "tokenizer": "words",
    "limits": {"kind": (1, 2)},
    "max_similarity": 0.5,
    "why": True,
}


def assert_kept(rows, facts):
    assert 3 <= len(rows) <= 6
    assert sum(1 + row % 7 for row in rows) <= 12
    assert all(1 <= [KINDS[row] for row in rows].count(kind) <= 2 for kind in "abc")
    assert max(E[i] @ E[j] for i, j in itertools.combinations(rows, 2)) <= 0.5
    assert all("relevance" in each["setwise_why"] for each in facts)


FACETS = X[[2, 9, 17]].tolist()


def assert_covered(rows):
    """Each facet's own row is the one that covers it best."""
    assert {2, 9, 17} <= set(rows)


@pytest.mark.skipif(not installed("langchain_core"), reason="langchain-core is not installed")
def test_langchain_covers_facets():
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings

    from setwise.integrations.langchain import DiverseCompressor, DiverseRetriever

    class Rows(Embeddings):
        def embed_query(self, text):
            return X[int(text)].tolist()

        def embed_documents(self, texts):
            raise AssertionError("nothing is embedded anew")

    documents = [
        Document(id=str(row), page_content=TEXTS[row], metadata={"embedding": X[row].tolist()})
        for row in range(N)
    ]
    index = setwise.Index.from_array(X)
    retriever = DiverseRetriever(index=index, documents=documents, embeddings=Rows(), k=5, diversity=0.0)
    told = retriever.invoke("0", objective="facets", facets=["2", "9", "17"])
    assert_covered([int(one.id) for one in told])
    assert len(retriever.invoke("0", objective="max-min")) == 5
    chosen = DiverseCompressor(k=5, diversity=0.0, objective="facets", facets=FACETS)
    assert_covered([int(one.id) for one in chosen.compress_documents(documents, "")])


@pytest.mark.skipif(not installed("llama_index"), reason="llama-index is not installed")
def test_llama_index_covers_facets():
    from llama_index.core import MockEmbedding
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

    from setwise.integrations.llama_index import DiverseNodePostprocessor, DiverseRetriever

    class Rows(MockEmbedding):
        def _get_query_embedding(self, query):
            return X[int(query)].tolist()

    nodes = [TextNode(id_=str(row), text=TEXTS[row], embedding=X[row].tolist()) for row in range(N)]
    common = {"k": 5, "diversity": 0.0, "objective": "facets"}
    retriever = DiverseRetriever(
        setwise.Index.from_array(X),
        nodes=nodes,
        embed_model=Rows(embed_dim=6),
        facets=["2", "9", "17"],
        **common,
    )
    assert_covered([int(one.node_id) for one in retriever.retrieve(QueryBundle("0"))])
    scored = [NodeWithScore(node=node, score=0.5) for node in nodes]
    kept = DiverseNodePostprocessor(facets=FACETS, **common).postprocess_nodes(scored)
    assert_covered([int(one.node_id) for one in kept])


@pytest.mark.skipif(not installed("haystack"), reason="haystack is not installed")
def test_haystack_covers_facets():
    from haystack import Document

    from setwise.integrations.haystack import SetwiseRanker

    documents = [
        Document(id=str(row), content=TEXTS[row], score=0.5, embedding=X[row].tolist()) for row in range(N)
    ]
    ranker = SetwiseRanker(top_k=5, diversity=0.0)
    assert_covered([int(one.id) for one in ranker.run(documents, facets=FACETS)["documents"]])
    ranker = SetwiseRanker(top_k=5, objective="max-min")
    assert len(ranker.run(documents)["documents"]) == 5


@pytest.mark.skipif(not installed("langchain_core"), reason="langchain-core is not installed")
def test_langchain():
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings

    from setwise.integrations.langchain import DiverseCompressor, DiverseRetriever

    def document(row):
        known = {"kind": KINDS[row], "relevance_score": SCORES[row], "embedding": X[row].tolist()}
        return Document(id=str(row), page_content=TEXTS[row], metadata=known)

    documents = [document(row) for row in range(N)]
    kept = DiverseCompressor(**WISHES).compress_documents(documents, "")
    assert_kept([int(one.id) for one in kept], [one.metadata for one in kept])

    class Fixed(Embeddings):
        def embed_query(self, text):
            return X[0].tolist()

        def embed_documents(self, texts):
            raise AssertionError("nothing is embedded anew")

    class Stored(setwise.index.array.ArrayIndex):
        def values(self, ids, field):
            return [KINDS[row] for row in ids]

    retriever = DiverseRetriever(index=Stored(X), documents=documents, embeddings=Fixed(), **WISHES)
    kept = retriever.invoke("")
    assert_kept([int(one.id) for one in kept], [one.metadata for one in kept])
    with pytest.raises(ValueError, match="max_similarity: only "):
        DiverseCompressor(k=4, max_similarity=-0.9).compress_documents(documents, "")


@pytest.mark.skipif(not installed("llama_index"), reason="llama-index is not installed")
def test_llama_index():
    from llama_index.core.schema import NodeWithScore, TextNode

    from setwise.integrations.llama_index import DiverseNodePostprocessor

    nodes = [
        NodeWithScore(
            node=TextNode(
                id_=str(row), text=TEXTS[row], metadata={"kind": KINDS[row]}, embedding=X[row].tolist()
            ),
            score=SCORES[row],
        )
        for row in range(N)
    ]
    kept = DiverseNodePostprocessor(**WISHES).postprocess_nodes(nodes)
    assert_kept([int(one.node_id) for one in kept], [one.metadata for one in kept])


@pytest.mark.skipif(not installed("haystack"), reason="haystack is not installed")
def test_haystack():
    from haystack import Document

    from setwise.integrations.haystack import SetwiseRanker

    documents = [
        Document(
            id=str(row),
            content=TEXTS[row],
            meta={"kind": KINDS[row]},
            score=SCORES[row],
            embedding=X[row].tolist(),
        )
        for row in range(N)
    ]
    ranker = SetwiseRanker.from_dict(SetwiseRanker(top_k=10, **WISHES).to_dict())
    kept = ranker.run(documents)["documents"]
    assert_kept([int(one.id) for one in kept], [one.meta for one in kept])


#: Further wishes, and the labels that a part of them is on.
MORE = (
    {"shares": {"kind": {"a": 0.5}}, "shown_weight": 0.5},
    {"solver": "frank-wolfe", "solver_options": {"penalty": 3.0, "steps": 4}},
    {"solver": "multilevel", "solver_options": {"partition": "kind", "clusters": 2}},
)


def expected(wish, shown=None):
    """The rows that the library selects of all, by their scores."""
    wish = dict(wish)
    if "partition" in wish.get("solver_options", {}):
        wish["solver_options"] = {**wish["solver_options"], "partition": KINDS}
    groups = {"kind": KINDS} if "shares" in wish else None
    found = setwise.diversify(
        range(N), 6, relevance=SCORES, vectors=X, groups=groups, shown=shown, diversity=0.3, **wish
    )
    return found.ids.tolist()


@pytest.mark.skipif(not installed("langchain_core"), reason="langchain-core is not installed")
def test_langchain_tells_the_solver_and_what_was_shown():
    from langchain_core.documents import Document
    from langchain_core.embeddings import DeterministicFakeEmbedding

    from setwise.integrations.langchain import DiverseCompressor, DiverseRetriever

    documents = [
        Document(
            id=str(row),
            page_content=TEXTS[row],
            metadata={"kind": KINDS[row], "relevance_score": SCORES[row], "embedding": X[row].tolist()},
        )
        for row in range(N)
    ]
    for wish in MORE:
        shown = X[[1, 5]].tolist() if "shares" in wish else None
        kept = DiverseCompressor(k=6, shown=shown, **wish).compress_documents(documents, "")
        assert [int(one.id) for one in kept] == expected(wish, shown)
    index, model = setwise.Index.from_array(X), DeterministicFakeEmbedding(size=6)
    retriever = DiverseRetriever(index=index, documents=documents, embeddings=model, k=4)
    first = [int(one.id) for one in retriever.invoke("pears")]
    again = [int(one.id) for one in retriever.invoke("pears", shown=first, solver="greedy")]
    found = setwise.retrieve(model.embed_query("pears"), index, 4, shown=first, solver="greedy")
    assert again == found.ids.tolist()
    with pytest.raises(ValueError, match="min_gain: max-min cannot honor it"):
        DiverseCompressor(objective="max-min", min_gain=0.1)
    with pytest.raises(TypeError, match="shown: expected vectors; ids are of an index"):
        DiverseCompressor(k=2, shown=["1"]).compress_documents(documents, "")


@pytest.mark.skipif(not installed("llama_index"), reason="llama-index is not installed")
def test_llama_index_tells_the_solver_and_what_was_shown():
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

    from setwise.integrations.llama_index import DiverseNodePostprocessor, DiverseRetriever

    nodes = [
        TextNode(id_=str(row), text=TEXTS[row], metadata={"kind": KINDS[row]}, embedding=X[row].tolist())
        for row in range(N)
    ]
    scored = [NodeWithScore(node=node, score=score) for node, score in zip(nodes, SCORES, strict=True)]
    for wish in MORE:
        shown = X[[1, 5]].tolist() if "shares" in wish else None
        kept = DiverseNodePostprocessor(k=6, shown=shown, **wish).postprocess_nodes(scored)
        assert [int(one.node_id) for one in kept] == expected(wish, shown)
    index, query = setwise.Index.from_array(X), QueryBundle("", embedding=X[0].tolist())
    options = {"shown": [0, 3], "shown_weight": 0.5, "solver": "greedy"}
    kept = DiverseRetriever(index, nodes=nodes, k=4, **options).retrieve(query)
    found = setwise.retrieve(X[0], index, 4, **options)
    assert [int(one.node_id) for one in kept] == found.ids.tolist()


@pytest.mark.skipif(not installed("haystack"), reason="haystack is not installed")
def test_haystack_tells_the_solver_and_what_was_shown():
    from haystack import Document

    from setwise.integrations.haystack import SetwiseRanker

    documents = [
        Document(
            id=str(row), content="", meta={"kind": KINDS[row]}, score=SCORES[row], embedding=X[row].tolist()
        )
        for row in range(N)
    ]
    for wish in MORE:
        shown = X[[1, 5]].tolist() if "shares" in wish else None
        ranker = SetwiseRanker.from_dict(SetwiseRanker(top_k=6, **wish).to_dict())
        kept = ranker.run(documents, shown=shown)["documents"]
        assert [int(one.id) for one in kept] == expected(wish, shown)


@pytest.mark.skipif(not installed("langchain_core"), reason="langchain-core is not installed")
def test_langchain_names_what_it_cannot_keep():
    from langchain_core.documents import Document
    from langchain_core.embeddings import DeterministicFakeEmbedding

    from setwise.integrations.langchain import DiverseCompressor, DiverseRetriever

    documents = [
        Document(id=f"d{row}", page_content=TEXTS[row], metadata={"embedding": X[row].tolist()})
        for row in range(N)
    ]
    with pytest.raises(ValueError, match=r"limits\['kind'\]: 24 of 24 have no 'kind' in their metadata"):
        DiverseCompressor(k=3, limits={"kind": 1}).compress_documents(documents, "")
    with pytest.raises(ValueError, match="shown: needed with shown_weight"):
        DiverseCompressor(k=3, shown_weight=0.5)

    class Named(setwise.index.array.ArrayIndex):
        def as_given(self, ids):
            return np.array([f"d{row}" for row in ids], object)

    model = DeterministicFakeEmbedding(size=6)
    with pytest.raises(ValueError, match="documents: a list goes by row number"):
        DiverseRetriever(index=Named(X), documents=documents, embeddings=model, k=2).invoke("pears")


@pytest.mark.skipif(not installed("haystack"), reason="haystack is not installed")
def test_haystack_is_made_for_facets_that_come_with_each_run():
    from haystack import Document

    from setwise.integrations.haystack import SetwiseRanker

    documents = [
        Document(id=str(row), content=TEXTS[row], score=0.5, embedding=X[row].tolist()) for row in range(N)
    ]
    ranker = SetwiseRanker(top_k=5, diversity=0.0, objective="facets")
    assert_covered([int(one.id) for one in ranker.run(documents, facets=FACETS)["documents"]])
    with pytest.raises(ValueError, match="facets: needed with objective='facets'"):
        ranker.run(documents)
    with pytest.raises(ValueError, match="facets: mmr does not cover them"):
        SetwiseRanker(top_k=5, objective="mmr").run(documents, facets=FACETS)
