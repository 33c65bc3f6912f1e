"""What a body lacks is told by the field, the place in it, and what is expected there."""

import json

import pytest

from optional import lazily, needs

pytestmark = needs("fastapi", "prometheus_client", "httpx")

bodies, schemas = lazily("setwise.serve.bodies"), lazily("setwise.serve.schemas")

ASKED = {
    "Rerank": {"query": "apples", "documents": ["red apples", "pears", "green apples"]},
    "Select": {"vectors": [[1, 0], [0, 1], [1, 1]], "k": 2},
    "Retrieve": {"query": "apples"},
}
NUMBER, WHOLE = "expected a number, got", "expected a whole number, got"


@pytest.mark.parametrize(
    ("model", "field", "value", "told"),
    [
        ("Rerank", "documents", ["a", {}], "row 1: expected a text or an object with 'text', got an object"),
        ("Rerank", "documents", [{"text": None}, 5], "row 0: 'text': expected a text, got null"),
        ("Rerank", "documents", ["a", None], "row 1: expected a text or an object, got null"),
        ("Rerank", "texts", [5], "row 0: expected a text or an object, got 5"),
        ("Rerank", "input", "a", "expected a list, got a text"),
        ("Rerank", "documents", [], "expected a list of at least 1, got an empty list"),
        ("Rerank", "query", None, "expected a text, got null"),
        ("Rerank", "top_n", -1, "expected at least 0, got -1"),
        ("Rerank", "top_n", 2.5, f"{WHOLE} 2.5"),
        ("Rerank", "top_n", True, f"{WHOLE} true"),
        ("Rerank", "top_n", "5", f"{WHOLE} a text"),
        ("Rerank", "top_n", 1e300, f"{WHOLE} 1e+300"),
        ("Rerank", "top_n", float("inf"), f"{WHOLE} inf"),
        ("Rerank", "max_tokens", True, f"{WHOLE} true"),
        ("Rerank", "diversity", True, f"{NUMBER} true"),
        ("Rerank", "diversity", "0.5", f"{NUMBER} a text"),
        ("Rerank", "min_gain", float("nan"), "expected a finite number, got nan"),
        ("Rerank", "budget", float("inf"), "expected a finite number, got inf"),
        ("Rerank", "certify", 5, "expected true or false or 'full', got 5"),
        ("Rerank", "explain", 1, "expected true or false, got 1"),
        ("Rerank", "return_documents", "true", "expected true or false, got a text"),
        ("Rerank", "limits", {"a": "b"}, "'a': expected a whole number or a list, got a text"),
        ("Rerank", "limits", {"a": True}, "'a': expected a whole number or a list, got true"),
        ("Rerank", "limits", {"a": [0, True]}, f"'a', number 1: {WHOLE} true"),
        (
            "Rerank",
            "limits",
            {"a": [1]},
            "'a': expected a whole number or a list of at least 2, got a list of 1",
        ),
        ("Rerank", "shares", {"a": {"b": None}}, f"'a': 'b': {NUMBER} null"),
        ("Rerank", "shares", {"a": {"b": True}}, f"'a': 'b': {NUMBER} true"),
        ("Rerank", "include", [0, "x"], f"row 1: {WHOLE} a text"),
        ("Rerank", "exclude", [False], f"row 0: {WHOLE} false"),
        ("Rerank", "costs", [1, True], f"row 1: {NUMBER} true"),
        ("Rerank", "relevance", [1, "a", None], f"row 1: {NUMBER} a text"),
        ("Rerank", "relevance", [float("-inf")], "row 0: expected a finite number, got -inf"),
        ("Rerank", "embeddings", [[1, 2], [True, 1]], f"row 1, number 0: {NUMBER} true"),
        ("Rerank", "embeddings", 5, "expected a list, got 5"),
        ("Rerank", "embeddings", [5], "row 0: expected a list or float32 in base64, got 5"),
        ("Rerank", "shown", 5, "expected a list, got 5"),
        ("Rerank", "facets", {"a": None}, "'a': expected a list, got null"),
        (
            "Rerank",
            "groups",
            [None],
            "row 0: expected a text or a whole number or a number or true or false, got null",
        ),
        ("Select", "nothing", 1, "there is no such field; /openapi.json has those that there are"),
        ("Select", "vectors", [[None]], f"row 0, number 0: {NUMBER} null"),
        ("Select", "query", ["a"], f"row 0: {NUMBER} a text"),
        ("Select", "shown", [[1, False]], f"row 0, number 1: {NUMBER} false"),
        ("Select", "facets", {"a": [True]}, f"'a', number 0: {NUMBER} true"),
        ("Retrieve", "query", [1, "a"], f"row 1: {NUMBER} a text"),
        ("Retrieve", "filter", 5, "expected a text or a list, got 5"),
        ("Retrieve", "filter", [True], "row 0: expected a text or a whole number, got true"),
        ("Retrieve", "facets", [[1, True]], f"row 0, number 1: {NUMBER} true"),
        ("Retrieve", "k", 0, "expected at least 1, got 0"),
    ],
)
def test_what_a_field_should_be_is_told_and_where(model, field, value, told):
    with pytest.raises(ValueError, match="^") as refused:
        bodies.read(getattr(schemas, model), json.dumps({**ASKED[model], field: value}).encode())
    assert str(refused.value) == f"{field}: {told}"


def test_a_number_without_a_fraction_is_whole():
    asked = {**ASKED["Rerank"], "top_n": 1.0, "include": [0.0], "limits": {"a": [0.0, 2]}, "diversity": 1}
    read = bodies.read(schemas.Rerank, json.dumps(asked).encode())
    assert [type(one) for one in (read.top_n, *read.include, *read.limits["a"])] == [int] * 4
    assert read.diversity == 1.0


def test_a_relevance_of_null_is_never_selected(ask):
    asked = {**ASKED["Select"], "relevance": [None, 0.5, 1]}
    assert sorted(ask.post("/v1/select", asked).json()["selected"]) == [1, 2]
    refused = ask.post("/v1/select", {**asked, "k": 3})
    assert refused.status_code == 422


def test_a_body_that_is_none_is_called_so():
    for body, told in (
        (b"{", "body: no JSON object"),
        (b"[1]", "body: expected an object, got a list of 1"),
        (b"", "body: no JSON object"),
    ):
        with pytest.raises(ValueError, match="^" + told.replace("[", r"\[")):
            bodies.read(schemas.Rerank, body)
    with pytest.raises(ValueError, match="^query: needed$"):
        bodies.read(schemas.Rerank, b'{"documents": ["a"]}')


@pytest.mark.parametrize(
    ("path", "field", "value", "told"),
    [
        ("/v1/rerank", "limits", {"a": 1}, "limits: no labels 'a'"),
        ("/v1/rerank", "exclude", [10**30], "exclude: there is no document 1000"),
        ("/v1/rerank", "max_tokens_per_doc", 10**30, "max_tokens_per_doc: expected at most"),
        ("/v1/retrieve", "filter", "nothing = 1", "filter: there is no column"),
        ("/v1/retrieve", "exclude", ["nobody"], "exclude: the index has no id"),
    ],
)
def test_what_is_found_later_is_named_by_its_field_too(ask, path, field, value, told):
    model = {"/v1/rerank": "Rerank", "/v1/select": "Select", "/v1/retrieve": "Retrieve"}[path]
    answer = ask.post(path, {**ASKED[model], field: value})
    assert answer.status_code == 422
    assert answer.json()["message"].startswith(told), answer.text


def test_what_is_excluded_makes_a_set_of_no_size_smaller(ask):
    asked = {**ASKED["Rerank"], "exclude": [0]}
    answer = ask.post("/v1/rerank", asked).json()
    assert sorted(answer["setwise"]["selected"]) == [1, 2]
    assert answer["results"][-1]["index"] == 0
    answer = ask.post("/v1/rerank", {**asked, "exclude": [0, 1, 2]}).json()
    assert answer["setwise"] is None
    assert len(answer["results"]) == 3
