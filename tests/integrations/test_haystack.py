"""The Haystack ranker, alone and in real pipelines."""

from __future__ import annotations

import asyncio
import inspect
import json
import warnings

import numpy as np
import pytest

import setwise
from optional import lazily, needs

from .conftest import QUERY, RANKED, VECTORS, cosine

haystack = lazily("haystack")
Document = lazily("haystack", "Document")
Pipeline = lazily("haystack", "Pipeline")
InMemoryEmbeddingRetriever = lazily("haystack.components.retrievers.in_memory", "InMemoryEmbeddingRetriever")
InMemoryDocumentStore = lazily("haystack.document_stores.in_memory", "InMemoryDocumentStore")
SetwiseRanker = lazily("setwise.integrations.haystack", "SetwiseRanker")

pytestmark = needs("haystack")

SCORES = [0.95, 0.949, 0.8, 0.7, 0.1]


def documents(scores=SCORES, names=RANKED, embedded=True):
    return [
        Document(
            id=name,
            content=name,
            score=scores[row],
            embedding=VECTORS[name] if embedded else None,
            meta={"row": row},
        )
        for row, name in enumerate(names)
    ]


def ids(result):
    return [document.id for document in result["documents"]]


# ---------------------------------------------------------------------- alone


def test_diversity_0_is_the_ranking_of_the_scores():
    shuffled = [documents()[place] for place in (3, 0, 4, 2, 1)]
    assert ids(SetwiseRanker(diversity=0).run(shuffled)) == RANKED
    assert ids(SetwiseRanker(lambda_threshold=1).run(shuffled)) == RANKED
    assert ids(SetwiseRanker().run(shuffled, diversity=0.0)) == RANKED


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
def test_a_duplicate_is_not_returned(objective):
    ranker = SetwiseRanker(top_k=3, diversity=0.5, objective=objective)
    found = ids(ranker.run(documents()))
    assert len(found) == 3
    assert not {"a", "a again"} <= set(found)


@pytest.mark.parametrize("weight", [0, 0.0, 0.3, 1, 1.0])
def test_lambda_threshold_is_one_minus_diversity(weight):
    """At construction and at run; 0 is a value, not 'unset'."""
    expected = ids(SetwiseRanker(top_k=3, diversity=1 - weight).run(documents()))
    assert SetwiseRanker(lambda_threshold=weight).diversity == 1 - weight
    assert ids(SetwiseRanker(top_k=3, lambda_threshold=weight).run(documents())) == expected
    assert ids(SetwiseRanker(top_k=3).run(documents(), lambda_threshold=weight)) == expected
    assert ids(SetwiseRanker(top_k=3, diversity=0.5).run(documents(), diversity=1 - weight)) == expected


def test_it_is_setwise_diversify():
    expected = setwise.diversify(
        RANKED, 3, relevance=SCORES, vectors=np.array(list(VECTORS.values())), diversity=0.5
    )
    found = SetwiseRanker(top_k=3, diversity=0.5).run(documents())["documents"]
    assert [one.id for one in found] == expected.ids.tolist()
    np.testing.assert_allclose([one.meta["setwise_gain"] for one in found], expected.gains)
    np.testing.assert_allclose([one.meta["setwise_novelty"] for one in found], expected.novelty)
    for one in found:
        assert one.score == one.meta["setwise_relevance"] == SCORES[RANKED.index(one.id)]


def test_the_querys_embedding_takes_the_scores_place():
    found = SetwiseRanker(diversity=0).run(documents([None] * 5), query_embedding=VECTORS["c"])["documents"]
    assert found[0].id == "c"
    for one in found:
        assert one.meta["setwise_relevance"] == pytest.approx(cosine(VECTORS[one.id], VECTORS["c"]), abs=1e-6)
        assert one.score is None


def test_documents_are_copies():
    given = documents()
    before = [json.dumps(one.to_dict()) for one in given]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = SetwiseRanker().run(given)["documents"]
    assert [json.dumps(one.to_dict()) for one in given] == before
    assert {id(one) for one in found}.isdisjoint(id(one) for one in given)
    assert all(set(one.meta) == {"row"} for one in SetwiseRanker(prefix=None).run(given)["documents"])
    assert "relevance" in SetwiseRanker(prefix="").run(given)["documents"][0].meta


def test_arguments_of_a_run_come_first():
    ranker = SetwiseRanker(top_k=4, diversity=0.0)
    assert len(ids(ranker.run(documents()))) == 4
    assert ids(ranker.run(documents(), top_k=2)) == RANKED[:2]
    assert ids(ranker.run(documents(), top_k=2, diversity=1.0)) != RANKED[:2]
    assert (ranker.top_k, ranker.diversity) == (4, 0.0)
    assert len(ids(SetwiseRanker(top_k=None).run(documents()))) == 5
    assert len(ids(SetwiseRanker(top_k=100).run(documents()))) == 5


def test_documents_that_lack_something():
    some = documents()
    bare = Document(id="bare", content="bare", score=2.0)
    unscored = Document(id="unscored", content="unscored", embedding=[0.0, 0.0, 1.0, 0.0])
    mixed = [bare, *some, unscored]
    with pytest.warns(
        UserWarning, match="2 of 7 .*id 'bare' has no embedding.; let the retriever return.*left out"
    ):
        assert ids(SetwiseRanker(diversity=0).run(mixed)) == RANKED
    with pytest.raises(ValueError, match="2 of 7"):
        SetwiseRanker(missing="error").run(mixed)
    with pytest.raises(ValueError, match="1 of 6 .*id 'unscored' has no score.; pass query_embedding"):
        SetwiseRanker(missing="error").run([*some, unscored])
    assert ids(SetwiseRanker(missing="append", diversity=0).run(mixed)) == [*RANKED, "bare", "unscored"]
    assert ids(SetwiseRanker(6, 0, missing="append").run(mixed)) == [*RANKED, "bare"]
    with pytest.warns(UserWarning, match="1 of 7"):
        assert "unscored" in ids(SetwiseRanker().run(mixed, query_embedding=QUERY))
    for policy in ("warn", "drop", "error", "raise"):  # an empty context is never the answer
        with pytest.raises(ValueError, match=r"documents: 5 of 5 lack .*id 'a' has no embedding\)"):
            SetwiseRanker(missing=policy).run(documents(embedded=False))
    kept = SetwiseRanker(3, missing="append").run(documents(embedded=False))["documents"]
    assert [one.id for one in kept] == RANKED[:3]


@pytest.mark.parametrize(
    ("vector", "score", "told"),
    [
        ([0.0] * 4, 0.8, "the embedding of id 'b' is all zero"),
        ([float("nan")] * 4, 0.8, "the embedding of id 'b' has NaN or Inf"),
        ([], 0.8, "the embedding of id 'b' is empty"),
        ([1.0, 0.0], 0.8, r"the embedding of id 'b' has shape \(2,\) where others have \(4,\)"),
        (None, 0.8, "id 'b' has no embedding"),
        ([1.0, 0.0, 0.0, 0.0], float("nan"), "id 'b' has no score"),
    ],
)
def test_what_cannot_be_used_is_missing_whatever_is_wrong_with_it(vector, score, told):
    some = documents()
    place = next(place for place, one in enumerate(some) if one.id == "b")
    some[place] = Document(id="b", content="b", score=score, embedding=vector)
    rest = [one for one in RANKED if one != "b"]
    for policy in ("warn", "drop"):
        with pytest.warns(UserWarning, match=f"documents: 1 of 5 lack what choosing needs .*{told}"):
            assert ids(SetwiseRanker(missing=policy, diversity=0).run(some)) == rest
    for policy in ("error", "raise"):
        with pytest.raises(ValueError, match=told):
            SetwiseRanker(missing=policy).run(some)
    assert ids(SetwiseRanker(missing="append", diversity=0).run(some)) == [*rest, "b"]
    assert ids(SetwiseRanker(3, missing="append", diversity=0).run(some)) == rest[:3]


def test_edges():
    ranker = SetwiseRanker()
    assert ranker.run([]) == {"documents": []}
    assert asyncio.run(ranker.run_async([])) == {"documents": []}
    assert ids(ranker.run(documents()[:1])) == ["a"]
    twice = ranker.run([*documents([0.2] * 5), *documents()])["documents"]
    assert sorted(one.id for one in twice) == sorted(RANKED)
    assert max(one.score for one in twice) == 0.95


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        ({"lambda_treshold": 0.1}, TypeError, "lambda_treshold"),
        ({"top_k": 0}, ValueError, "top_k: 0 is below 1"),
        ({"top_k": 2.5}, TypeError, "top_k: expected an integer"),
        ({"diversity": 1.5}, ValueError, "diversity: 1.5 is outside"),
        ({"lambda_threshold": 1.5}, ValueError, "lambda_threshold: 1.5 is outside"),
        ({"lambda_threshold": 0.0, "diversity": 0.0}, ValueError, "not both"),
        ({"objective": "dpp"}, ValueError, "objective: 'dpp' is unknown"),
        ({"sharpness": 3}, ValueError, "sharpness"),
        ({"relevance_scale": "max"}, ValueError, "relevance_scale: 'max'"),
        ({"missing": "skip"}, ValueError, "missing: 'skip' is unknown"),
    ],
)
def test_refused_at_construction(bad, error, says):
    with pytest.raises(error, match=says):
        SetwiseRanker(**bad)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"top_k": 0}, "top_k: 0 is below 1"),
        ({"diversity": -0.5}, "diversity: -0.5 is outside"),
        ({"diversity": 0.5, "lambda_threshold": 0.5}, "not both"),
    ],
)
def test_refused_at_run(bad, says):
    with pytest.raises(ValueError, match=says):
        SetwiseRanker().run(documents(), **bad)
    with pytest.raises(ValueError, match=says):
        asyncio.run(SetwiseRanker().run_async(documents(), **bad))


def test_serialized():
    ranker = SetwiseRanker(7, lambda_threshold=0.0, objective="mmr", missing="append", prefix=None)
    data = ranker.to_dict()
    assert data["type"] == "setwise.integrations.haystack.SetwiseRanker"
    assert data["init_parameters"] == {
        "top_k": 7,
        "diversity": 1.0,
        "sharpness": None,
        "objective": "mmr",
        "solver": "auto",
        "solver_options": None,
        "relevance_scale": "minmax",
        "missing": "append",
        "score_threshold": None,
        "tokens": None,
        "tokenizer": "tokens",
        "limits": None,
        "shares": None,
        "max_similarity": None,
        "min_gain": None,
        "shown_weight": 1.0,
        "why": False,
        "prefix": None,
    }
    assert SetwiseRanker.from_dict(json.loads(json.dumps(data))).to_dict() == data


# ---------------------------------------------------------------------- in pipelines


def pipeline(kind=Pipeline, **options):
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    store.write_documents(documents([None] * 5))
    made = kind()
    made.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=5, return_embedding=True))
    made.add_component("ranker", SetwiseRanker(**options))
    made.connect("retriever.documents", "ranker.documents")
    return made


def test_in_a_pipeline():
    made = pipeline(top_k=3, diversity=0.5)
    found = made.run({"retriever": {"query_embedding": QUERY}})["ranker"]
    assert sorted(ids(found)) == ["a", "b", "c"]
    plain = made.run({"retriever": {"query_embedding": QUERY}, "ranker": {"diversity": 0.0, "top_k": 4}})
    assert ids(plain["ranker"]) == RANKED[:4]
    by_query = made.run({"retriever": {"query_embedding": QUERY}, "ranker": {"query_embedding": QUERY}})
    assert sorted(ids(by_query["ranker"])) == ["a", "b", "c"]


def test_in_an_async_pipeline():
    """Haystack 3 runs any pipeline asynchronously; Haystack 2 has a class of its own for it."""
    made = pipeline(getattr(haystack, "AsyncPipeline", Pipeline), top_k=3, diversity=0.5)

    async def many():
        asked = {"retriever": {"query_embedding": QUERY}}
        return await asyncio.gather(*(made.run_async(asked) for _ in range(4)))

    for found in asyncio.run(many()):
        assert sorted(ids(found["ranker"])) == ["a", "b", "c"]


def test_a_pipeline_as_yaml():
    made = pipeline(top_k=3, lambda_threshold=0.5)
    named = "allowed_modules" in inspect.signature(Pipeline.loads).parameters
    leave = {"allowed_modules": ["setwise.integrations.haystack"]} if named else {}
    again = Pipeline.loads(made.dumps(), **leave)
    assert again.to_dict() == made.to_dict()
    assert again.get_component("ranker").diversity == 0.5
    assert again.dumps() == made.dumps()


def test_a_retriever_without_embeddings():
    made = pipeline(top_k=3)
    made.get_component("retriever").return_embedding = False
    with pytest.raises(Exception, match="return_embedding=True"):
        made.run({"retriever": {"query_embedding": QUERY}})
