"""The OpenAPI document: what it says, and what a program that reads it sends, by schemathesis."""

import json

import pytest
from hypothesis import HealthCheck, Phase, settings

from optional import lazily, needs

pytestmark = needs("schemathesis", "fastapi", "prometheus_client", "httpx", "wordllama")

schemathesis = lazily("schemathesis")

ROUTES = ("/v1/rerank", "/v2/rerank", "/rerank", "/v1/reranking", "/v1/select", "/v1/retrieve")


def sent(app, folder, times, routes):
    """Send so many requests to each of some routes; statuses, and answers, must be what the document says."""
    from schemathesis import checks, openapi

    checks.load_all_checks()
    known = checks.CHECKS.get_all()
    kept = [one for one in known if one.__name__ in CONFORMING]
    assert len(kept) == len(CONFORMING)
    statuses = set()
    for found in openapi.from_asgi("/openapi.json", app, headers={"host": "localhost"}).get_all_operations():
        operation = found.ok()
        if operation.path not in routes:
            continue

        @settings(
            max_examples=times,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given_cases(operation)
        def check(case):
            told = case.call(headers={"host": "localhost"})
            statuses.add(told.status_code)
            case.validate_response(told, checks=kept)
            assert "Traceback" not in told.text
            assert str(folder) not in told.text

        check()
    return statuses


def given_cases(operation):
    from hypothesis import given

    return given(case=operation.as_strategy())


#: Checks of answers; what is sent keeps the document, but not what a schema cannot say of it.
CONFORMING = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


def test_the_document_describes_every_route(ask):
    document = ask.get("/openapi.json").json()
    assert set(ROUTES) | {"/healthz", "/readyz", "/metrics", "/v1/indexes"} == set(document["paths"])
    text = json.dumps(document)
    for place in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert place in document["components"]["schemas"]
    for path in ROUTES:
        operation = document["paths"][path]["post"]
        assert {"200", "413", "422", "429", "503", "504"} <= set(operation["responses"])
        assert "application/json" in operation["requestBody"]["content"]


@pytest.fixture
def own(folder):
    """An application of its own: what sends its requests also ends it."""
    from setwise.serve import Settings, create_app

    return create_app(Settings(indexes={"notes": folder}))


def test_what_the_document_allows_is_answered_or_refused_as_it_says(own, folder):
    assert {200, 422} <= sent(own, folder, 8, ["/v1/retrieve"])


@pytest.mark.slow
def test_much_of_what_the_document_allows_is_answered_or_refused_as_it_says(own, folder):
    assert {200, 422} <= sent(own, folder, 100, ROUTES)
