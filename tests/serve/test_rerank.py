"""Rerank routes: in each service's shape the library's own set comes first, and scores fall."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import setwise
from optional import needs
from setwise.encode import encoder

pytestmark = needs("fastapi", "prometheus_client", "httpx", "wordllama")

QUERY = "how long do apples keep"

#: By route: what a request calls the documents and the size, and an answer the results and their score.
SHAPES = {
    "/v1/rerank": ("documents", "top_n", "results", "relevance_score"),
    "/v2/rerank": ("documents", "top_n", "results", "relevance_score"),
    "/rerank": ("documents", "top_n", "results", "relevance_score"),
    "/v1/reranking": ("input", "top_k", "data", "score"),
    "/v1/rerank of Voyage": ("documents", "top_k", "data", "relevance_score"),
}


@pytest.fixture(scope="module")
def known(notes):
    """The notes' vectors and their cosines to the query, by the encoder itself."""
    static = encoder("static")
    rows = static.encode([QUERY, *notes]).astype(np.float64)
    return rows[1:], rows[1:] @ rows[0] / np.linalg.norm(rows[0])


def expected(known, k, **wishes):
    """The set that the library selects, by place."""
    vectors, relevance = known
    found = setwise.diversify(
        range(len(vectors)), k, relevance=relevance, vectors=vectors, relevance_scale="none", **wishes
    )
    return found.ids.tolist()


@pytest.mark.parametrize("route", SHAPES)
def test_each_service_s_clients_find_the_set_first_and_all_else_by_relevance(ask, notes, known, route):
    path, (documents, size, place, score) = route.split()[0], SHAPES[route]
    chosen = expected(known, 4)
    assert chosen != np.argsort(-known[1])[:4].tolist()  # else any ranking would pass
    body = {"query": QUERY, documents: notes, size: 4, "model": "m", "rank_fields": ["text"], "unheard_of": 1}
    told = ask.post(path, body).json()
    assert [one["index"] for one in told[place]] == chosen
    assert told["setwise"]["selected"] == chosen
    assert told["model"] == "m"
    assert told["id"]
    assert told["usage"]["total_tokens"] > len(notes)
    assert told["meta"]["api_version"]
    for everything in (None, 0):
        told = ask.post(path, {"query": QUERY, documents: notes, size: everything}).json()
        ten = expected(known, 10)
        rest = [row for row in np.argsort(-known[1], kind="stable").tolist() if row not in ten]
        assert [one["index"] for one in told[place]] == [*ten, *rest]
        scores = np.array([one[score] for one in told[place]], np.float32)
        assert (np.diff(scores) < 0).all()
        assert 0 <= scores[-1] <= scores[0] <= 1


def test_tei_is_answered_by_a_bare_list(ask, notes, known):
    told = ask.post("/rerank", {"query": QUERY, "texts": notes, "truncate": True}).json()
    assert [one["index"] for one in told][:10] == expected(known, 10)
    assert set(told[0]) == {"index", "score"}
    raw = ask.post(
        "/rerank", {"query": QUERY, "texts": notes, "raw_scores": True, "return_text": True}
    ).json()
    assert [one["index"] for one in raw] == [one["index"] for one in told]
    assert raw[0]["score"] == pytest.approx(known[1][raw[0]["index"]])
    assert raw[0]["text"] == notes[raw[0]["index"]]
    assert all(one["score"] <= known[1][one["index"]] + 1e-6 for one in raw)


@pytest.mark.parametrize(
    ("path", "field", "asked", "text"),
    [
        ("/v1/rerank", "documents", {"return_documents": True}, lambda one: one["document"]["text"]),
        ("/v1/rerank", "documents", {"return_documents": True, "top_k": 2}, lambda one: one["document"]),
        ("/v1/reranking", "input", {"return_input": True}, lambda one: one["input"]),
    ],
)
def test_documents_come_back_where_they_are_asked_for(ask, notes, path, field, asked, text):
    told = ask.post(path, {"query": QUERY, field: [{"text": one, "id": 7} for one in notes], **asked}).json()
    assert all(text(one) == notes[one["index"]] for one in told.get("results") or told["data"])


def test_wishes_are_the_library_s(ask, notes, known):
    kinds = [row % 3 for row in range(len(notes))]
    ones = [1.0 / (row + 1) for row in range(len(notes))]
    for wish, kept in [
        ({"diversity": 0.9, "objective": "mmr"},) * 2,
        ({"sharpness": 1, "solver": "greedy", "certify": False},) * 2,
        ({"groups": kinds, "max_per_group": 2},) * 2,
        ({"groups": {"kind": kinds}, "limits": {"kind": [1, 2]}},) * 2,
        ({"include": [5], "exclude": [0, 1]},) * 2,
        ({"max_similarity": 0.6},) * 2,
        ({"shown": notes[:2]}, {"shown": known[0][:2]}),
        ({"objective": "max-min", "diversity": 0.6}, {"objective": "max-min", "diversity": 0.6}),
        ({"objective": "facets", "facets": notes[6:8]}, {"objective": "facets", "facets": known[0][6:8]}),
        ({"objective": "facets", "facets": {"a": kinds, "b": ones}, "exclude": [2]},) * 2,
        ({"solver": "frank-wolfe", "solver_options": {"penalty": 3, "steps": 5}},) * 2,
        ({"solver": "multilevel", "solver_options": {"partition": kinds, "clusters": 2}},) * 2,
    ]:
        told = ask.post("/v1/rerank", {"query": QUERY, "documents": notes, "top_n": 5, **wish}).json()
        assert told["setwise"]["selected"] == expected(known, 5, **kept), wish
    told = ask.post("/v1/rerank", {"query": QUERY, "documents": notes, "exclude": [0, 1]}).json()
    assert sorted(one["index"] for one in told["results"][-2:]) == [0, 1]


def test_a_budget_of_tokens_ends_the_answer(ask, notes, known):
    from setwise.files.lengths import lengths

    costs = lengths(notes)
    chosen = expected(known, 8, costs=costs, budget=40)
    assert 0 < sum(costs[row] for row in chosen) <= 40
    for wish in ({"max_tokens": 40}, {"budget": 40}, {"budget": 40, "costs": costs}):
        told = ask.post("/v1/rerank", {"query": QUERY, "documents": notes, "top_n": 8, **wish}).json()
        assert [one["index"] for one in told["results"]] == chosen
    whole = ask.post("/v1/rerank", {"query": QUERY, "documents": notes, "max_tokens": 40}).json()
    assert len(whole["results"]) == len(notes)


def test_the_answer_says_how_good_the_set_is_and_why(ask, notes, known):
    told = ask.post("/v1/rerank", {"query": QUERY, "documents": notes, "top_n": 3, "explain": True}).json()
    found = setwise.diversify(
        range(len(notes)), 3, relevance=known[1], vectors=known[0], relevance_scale="none"
    )
    said = told["setwise"]
    assert said["value"] == pytest.approx(found.value)
    assert said["certificate"]["upper_bound"] == pytest.approx(found.certificate.upper_bound)
    assert said["certificate"]["words"] == str(found.certificate)
    assert [why["words"] for why in said["reasons"]] == [str(why) for why in found.explain(10)]
    assert said["relevances"] == pytest.approx(known[1].tolist())
    plain = ask.post("/v1/rerank", {"query": QUERY, "documents": notes, "certify": False}).json()["setwise"]
    assert plain["certificate"] is None
    assert plain["reasons"] is None


def test_vectors_and_relevance_may_come_with_the_request(ask, known):
    vectors, relevance = known[0].astype(np.float32), (known[1] * 7 - 3).tolist()
    found = setwise.diversify(range(len(vectors)), 4, relevance=relevance, vectors=vectors)
    body = {"query": "", "documents": ["?"] * len(vectors), "top_n": 4}
    packed = [base64.b64encode(row.tobytes()).decode() for row in vectors]
    for embeddings in (vectors.tolist(), packed):
        told = ask.post("/v1/rerank", {**body, "embeddings": embeddings, "relevance": relevance}).json()
        assert told["setwise"]["selected"] == found.ids.tolist()
        probe = {"embeddings": embeddings, "query_embedding": embeddings[7]}
        assert ask.post("/v1/rerank", {**body, **probe}).json()["results"][0]["index"] == 7


def test_what_cannot_be_selected_comes_last(ask, notes):
    texts = ["!!!", *notes[:4], ""]
    told = ask.post("/v1/rerank", {"query": QUERY, "documents": texts}).json()
    assert [one["index"] for one in told["results"][-2:]] == [0, 5]
    assert told["setwise"]["relevances"][0] is None
    given = [None, 0.2, 0.3, None]
    told = ask.post("/v1/rerank", {"query": QUERY, "documents": notes[:4], "relevance": given, "top_n": 3})
    assert [one["index"] for one in told.json()["results"]] == [2, 1, 0]
    told = ask.post("/v1/rerank", {"query": QUERY, "documents": ["!!", "?"]}).json()
    assert [one["index"] for one in told["results"]] == [0, 1]
    assert told["setwise"] is None


def test_a_document_is_read_up_to_its_last_token_that_counts(ask):
    cut = {"documents": ["red apples, and pears", "中文字", "pears"], "max_tokens_per_doc": 3}
    whole = {"documents": ["red apples,", "中文字", "pears"]}
    told = [ask.post("/v1/rerank", {"query": QUERY, **body}).json() for body in (cut, whole)]
    assert told[0]["setwise"]["relevances"] == told[1]["setwise"]["relevances"]
    assert [one["usage"]["total_tokens"] for one in told] == [5 + 3 + 3 + 1] * 2


def test_requests_that_come_together_are_answered_as_each_by_itself(ask, app, notes):
    bodies = [
        {"query": query, "documents": notes[start:], "top_n": 4, "objective": objective, "certify": False}
        for query in ("apples", "how to store bread", "lemon juice")
        for start in (0, 3)
        for objective in ("mmr", "max-sum")
    ]
    bodies.insert(3, {"query": "!!", "documents": notes, "top_n": 4})
    bodies.insert(5, {"query": "apples", "documents": notes, "top_n": 4, "embeddings": [[0, 1]]})
    before = app.state.service.metrics.text()
    together = ask.together("/v1/rerank", bodies)
    for body, answer in zip(bodies, together, strict=True):
        alone = ask.post("/v1/rerank", body)
        assert answer.status_code == alone.status_code
        told, single = answer.json(), alone.json()
        assert told.get("results") == single.get("results")
        assert told.get("message") == single.get("message")
    assert [one.status_code for one in together].count(422) == 2
    count = 'setwise_batch_requests_bucket{le="1.0"} '
    singles = [
        float(text.decode().split(count)[1].split()[0]) for text in (before, app.state.service.metrics.text())
    ]
    assert singles[1] - singles[0] < 2 * len(bodies)  # some were worked on together


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"query": None}, "query: "),
        ({"documents": None}, "documents: needed"),
        ({"documents": []}, "documents: "),
        ({"documents": [7]}, "documents: row 0"),
        ({"documents": [{"image": "x"}]}, "documents: row 0"),
        ({"query": "?!"}, "query: static"),
        ({"top_n": -1}, "top_n: "),
        ({"diversity": 2}, "diversity: "),
        ({"objective": "mmm"}, "objective: 'mmm' is unknown; did you mean 'mmr'?"),
        ({"sharpness": 3}, "sharpness: "),
        ({"groups": ["a"], "max_per_group": 1}, "groups: expected a list of 2"),
        ({"max_per_group": 1}, "groups: needed"),
        ({"include": [2]}, "include: there is no document 2"),
        ({"costs": [1, 2]}, "budget: needed"),
        ({"embeddings": [[1, 0]], "query_embedding": [1, 0]}, "embeddings: 1 for 2 documents"),
        ({"embeddings": [[1, 0], [0, 1]]}, "query_embedding: needed"),
        ({"embeddings": [[1, 0], [1]], "query_embedding": [1]}, "embeddings"),
        ({"embeddings": ["AAAA", "!"], "query_embedding": [1]}, "embeddings: row 0: 3 bytes"),
        ({"embeddings": ["AACAPw==", "AACAPwAAgD8="], "relevance": [1, 2]}, "embeddings: row 1 has 2"),
        ({"embeddings": [[1, "x"], [0, 1]], "query_embedding": [1, 0]}, "embeddings"),
        ({"embeddings": ["AACAfwAAAAA=", "AAAAAAAAgD8="], "relevance": [1, 2]}, "embeddings: document 0 has"),
        ({"embeddings": [[1, 0], [0, 1e200]], "relevance": [1, 2]}, "embeddings: document 1 has"),
        ({"embeddings": [[1, 0], [0, 1]], "query_embedding": [0, 0]}, "query_embedding: it is zero"),
        ({"relevance": [1]}, "relevance: expected 2"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_field(ask, wrong, said):
    body = {"query": "apples", "documents": ["red apples", "green pears"], **wrong}
    told = ask.post("/v1/rerank", content=json.dumps(body), headers={"content-type": "application/json"})
    assert told.status_code == 422, told.text
    assert told.json()["message"].startswith(said)
    assert told.json()["detail"] == told.json()["message"]


@pytest.mark.parametrize(
    "relevance", [[1e20] * 4, [-1e20] * 4, [3e5, 3e5, 2e5, -1e30], [1e308, -1e308, 0, 1]]
)
@pytest.mark.parametrize("raw", [False, True])
def test_scores_of_any_size_fall(ask, relevance, raw):
    body = {"query": "", "documents": ["a", "b", "c", "d"], "relevance": relevance, "raw_scores": raw}
    body["embeddings"] = np.eye(4).tolist()
    told = ask.post("/v1/rerank", body).json()["results"]
    scores = np.array([one["relevance_score"] for one in told])
    assert (np.diff(scores) < 0).all()
    assert raw or 0 <= scores.min() < scores.max() <= 1
    if np.abs(scores).max() < 1e38:  # what single precision has
        assert (np.diff(scores.astype(np.float32)) < 0).all()


@settings(max_examples=40)
@given(
    st.lists(st.one_of(st.floats(-1, 1), st.just(float("nan"))), min_size=1, max_size=60),
    st.booleans(),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_scores_fall_in_any_order_also_in_single_precision(relevance, cosine, raw, random):
    from setwise.serve.rerank import falling

    order = list(range(len(relevance)))
    random.shuffle(order)
    scores = falling(np.array(order), np.array(relevance), cosine=cosine, raw=raw)
    assert (np.diff(np.array(scores, np.float32)) < 0).all()
    if not raw:
        assert min(scores) >= 0
        assert max(scores) <= 1
