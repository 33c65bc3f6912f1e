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
DOCUMENT = "a text, or an object with its text"


@pytest.mark.parametrize(
    ("model", "field", "value", "told"),
    [
        ("Rerank", "documents", ["a", {}], f"row 1: expected {DOCUMENT}, got an object without 'text'"),
        (
            "Rerank",
            "documents",
            [{"text": None}, 5],
            f"row 0: expected {DOCUMENT}, got an object whose 'text' is null",
        ),
        ("Rerank", "documents", ["a", None], f"row 1: expected {DOCUMENT}, got null"),
        ("Rerank", "texts", [5], f"row 0: expected {DOCUMENT}, got 5"),
        ("Rerank", "input", "a", f"expected {DOCUMENT}, got a text"),
        ("Rerank", "documents", [], f"expected {DOCUMENT}, got an empty list"),
        ("Rerank", "query", None, "expected a text, got null"),
        ("Rerank", "top_n", -1, "expected at least 0, got -1"),
        ("Rerank", "top_n", 2.5, "expected a whole number, got 2.5"),
        ("Rerank", "certify", 5, "expected true or false or 'full', got 5"),
        ("Rerank", "limits", {"a": "b"}, "'a': expected a whole number or a list, got a text"),
        (
            "Rerank",
            "limits",
            {"a": [1]},
            "'a': expected a whole number or a list of at least 2, got a list of 1",
        ),
        ("Rerank", "shares", {"a": {"b": None}}, "'a': 'b': expected a number, got null"),
        ("Rerank", "include", [0, "x"], "row 1: expected a whole number, got a text"),
        ("Rerank", "groups", [None], "expected a label a document, or such lists by name, got a list of 1"),
        ("Select", "nothing", 1, "there is no such field; /openapi.json has those that there are"),
        ("Retrieve", "query", [1, "a"], "expected a text or a list with a number each, got a list of 2"),
        ("Retrieve", "filter", 5, "expected a text or a list, got 5"),
        ("Retrieve", "k", 0, "expected at least 1, got 0"),
    ],
)
def test_what_a_field_should_be_is_told_and_where(model, field, value, told):
    asked = {**ASKED[model], field: value}
    for body in (asked, json.dumps(asked).encode()):
        with pytest.raises(ValueError, match="^") as refused:
            bodies.read(getattr(schemas, model), body)
        assert str(refused.value) == f"{field}: {told}"


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
        ("/v1/rerank", "shown", 5, "shown: expected vectors"),
        ("/v1/rerank", "relevance", [1, "a", 2], "relevance: "),
        ("/v1/rerank", "facets", {"a": None}, "facets['a']: "),
        ("/v1/rerank", "exclude", [10**30], "exclude: there is no document 1000"),
        ("/v1/rerank", "max_tokens_per_doc", 10**30, "max_tokens_per_doc: expected at most"),
        ("/v1/rerank", "embeddings", [[1, None], [1, 2], [3, 4]], "embeddings: row 0 is no vector"),
        ("/v1/select", "query", ["a", "b"], "query: expected a list of numbers"),
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
