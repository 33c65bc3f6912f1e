"""What every request passes: the host it names, the token, its number, and no more in the log than that."""

import asyncio
import json
import logging

import pytest
from asking import Asked

from optional import lazily, needs

pytestmark = needs("fastapi", "prometheus_client", "httpx")

serve = lazily("setwise.serve")


def test_a_page_that_was_pointed_at_this_machine_is_refused(made):
    ask = Asked(made())
    for path in ("/healthz", "/v1/indexes", "/nothing"):
        assert ask.get(path, headers={"host": "evil.example"}).status_code == 400
        assert ask.get(path, headers={"host": "127.0.0.1.evil.example:8000"}).status_code == 400
    told = ask.get("/healthz", headers=[("host", "localhost"), ("host", "evil.example")])
    assert told.status_code == 400
    assert told.json()["message"].startswith("host: the service has no such name")
    for host in ("localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"):
        assert ask.get("/healthz", headers={"host": host}).status_code == 200


def test_a_name_may_stand_for_those_below_it(made):
    ask = Asked(made(hosts=("*.corp.example", "Here.example")))
    for host, status in (("a.corp.example:80", 200), ("corp.example", 400), ("here.example", 200)):
        assert ask.get("/healthz", headers={"host": host}).status_code == status


def test_nothing_but_life_is_told_without_the_token(made):
    app = made(token="open sesame")
    for wrong in ({}, {"authorization": "Bearer open"}, {"authorization": "open sesame"}):
        told = Asked(app, **wrong).get("/v1/indexes")
        assert told.status_code == 401
        assert told.headers["www-authenticate"] == "Bearer"
        assert "open sesame" not in told.text
        assert Asked(app, **wrong).get("/openapi.json").status_code == 401
        assert Asked(app, **wrong).get("/healthz").status_code == 200
    assert Asked(app, authorization="bearer open sesame").get("/v1/indexes").json() == {"indexes": []}
    assert "open sesame" not in repr(app.state.service.settings)
    with pytest.raises(ValueError, match="token: it is blank"):
        serve.Settings(token=" ")
    for other in ("sésame", "open\nsesame", "open\0", " open"):
        with pytest.raises(ValueError, match="token: it is no plain ASCII on one line"):
            serve.Settings(token=other)


def test_an_address_that_is_nearly_one_is_none(made):
    """A redirect would name a scheme and a host that only a proxy in front knows."""
    for path in ("/v1/select/", "//v1/select", "/healthz/", "/V1/select"):
        assert Asked(made()).get(path).status_code == 404


def test_other_pages_read_answers_only_where_they_are_named(made):
    asks = {"origin": "https://page.example", "access-control-request-method": "POST"}
    ask = Asked(made())
    assert "access-control-allow-origin" not in ask.get("/healthz", headers=asks).headers
    named = made(origins=("https://page.example",), token="open sesame")
    told = asyncio.run(Asked(named).send("OPTIONS", "/v1/indexes", headers=asks))
    assert told.status_code == 200
    assert told.headers["access-control-allow-origin"] == "https://page.example"
    other = {**asks, "origin": "https://evil.example"}
    told = asyncio.run(Asked(named).send("OPTIONS", "/v1/indexes", headers=other))
    assert "access-control-allow-origin" not in told.headers


def test_the_log_has_a_line_a_request_and_nothing_of_what_it_says(made, caplog):
    ask = Asked(made())
    with caplog.at_level(logging.INFO, "setwise.serve"):
        own = ask.get("/v1/indexes?secret=apples", headers={"x-request-id": "order-66"})
        odd = ask.get("/secret/apples", headers={"x-request-id": "new\tline"})
    assert own.headers["x-request-id"] == "order-66"
    assert len(odd.headers["x-request-id"]) == 32
    lines = [json.loads(record.message) for record in caplog.records if record.name == "setwise.serve"]
    assert [line["request"] for line in lines] == ["order-66", odd.headers["x-request-id"]]
    assert [(line["path"], line["status"]) for line in lines] == [("/v1/indexes", 200), ("other", 404)]
    assert "apples" not in caplog.text.replace("http://127.0.0.1", "")


def test_an_error_that_nobody_foresaw_is_told_without_its_message(made, caplog, monkeypatch):
    app = made()

    def broken():
        raise RuntimeError("apples at /srv/corpus")

    monkeypatch.setattr(app.state.service.metrics, "text", broken)
    with caplog.at_level(logging.INFO, "setwise.serve"):
        told = Asked(app).get("/metrics")
    assert told.status_code == 500
    assert told.json()["request_id"] == told.headers["x-request-id"]
    assert "apples" not in told.text + caplog.text
    assert json.loads(caplog.records[-1].message)["error"] == "RuntimeError"


def test_requests_are_counted_by_route_and_status(made):
    ask = Asked(made())
    ask.get("/healthz")
    ask.get("/secret")
    told = ask.get("/metrics")
    assert told.headers["content-type"].startswith("text/plain")
    assert 'setwise_requests_total{path="/healthz",status="200"} 1.0' in told.text
    for path in ("/healthz", "/readyz"):  # as balancers ask
        assert asyncio.run(ask.send("HEAD", path)).status_code == 200
    assert 'setwise_requests_total{path="other",status="404"} 1.0' in told.text
    assert "secret" not in told.text
