"""More than a service can take is refused at once, and what nobody waits for any longer is not worked on."""

import asyncio
import json
import threading
import time

import pytest
from asking import Asked

from optional import lazily, needs

httpx = lazily("httpx")

pytestmark = needs("fastapi", "prometheus_client", "httpx")

serve = lazily("setwise.serve")

BODY = {"vectors": [[1, 0], [0, 1], [1, 1]], "relevance": [1, 2, 3], "k": 2}


@pytest.fixture
def limited(made):
    return lambda **limits: made(limits=serve.Limits(**{"threads": 1, **limits}))


class Busy:
    """Keeps an application's only thread at work until it is told to let go, or to fail."""

    def __init__(self, app):
        self.work, self.go, self.ran = app.state.service.work, threading.Event(), []

    def hold(self, _service, jobs):
        self.ran.append(len(jobs))
        assert self.go.wait(20)
        return [b"{}"] * len(jobs)

    def start(self):
        return asyncio.ensure_future(
            self.work.do(self.hold, None, asyncio.get_running_loop().create_future())
        )


def client_of(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")


def test_a_body_that_is_too_large_is_refused_before_it_is_read(limited):
    ask = Asked(limited(body=1000))
    told = ask.post("/v1/select", {**BODY, "more": "x" * 2000})
    assert told.status_code == 413
    assert told.json()["message"].startswith("body: more than 1,000 bytes")

    async def parts():
        for _ in range(3):
            yield b"x" * 400
        raise AssertionError("it was read on")

    told = ask.post("/v1/select", content=parts(), headers={"content-type": "application/json"})
    assert told.status_code == 413
    assert ask.post("/v1/select", BODY).status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(limited):
    async def slow():
        yield b"{"
        await asyncio.sleep(20)

    told = Asked(limited(seconds=0.1)).post(
        "/v1/select", content=slow(), headers={"content-type": "application/json"}
    )
    assert told.status_code == 408


def test_more_than_may_wait_are_told_to_come_again(limited):
    app = limited(waiting=2)

    async def scene():
        busy = Busy(app)
        held = busy.start()
        async with client_of(app) as client:
            waiting = [asyncio.ensure_future(client.post("/v1/select", json=BODY)) for _ in range(2)]
            await asyncio.sleep(0.05)
            refused = await client.post("/v1/select", json=BODY)
            unready = await client.get("/readyz")
            busy.go.set()
            return refused, unready, await asyncio.gather(*waiting), await held

    refused, unready, answered, _ = asyncio.run(scene())
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert unready.status_code == 503
    assert [one.status_code for one in answered] == [200, 200]
    assert answered[0].json()["selected"] == answered[1].json()["selected"] == [2, 1]
    assert Asked(app).get("/readyz").status_code == 200


def test_what_takes_too_long_is_answered_so_and_the_next_are_served(limited):
    app = limited(seconds=0.5)
    assert Asked(app).post("/v1/select", BODY).status_code == 200  # what is loaded at first takes its time

    async def scene():
        busy = Busy(app)
        held = busy.start()
        await asyncio.sleep(0)  # it comes first
        async with client_of(app) as client:
            late = await client.post("/v1/select", json=BODY)
            busy.go.set()
            await asyncio.gather(held, return_exceptions=True)
            return late, await client.post("/v1/select", json=BODY)

    late, served = asyncio.run(scene())
    assert late.status_code == 504
    assert served.status_code == 200


def test_a_long_proof_ends_with_the_time_there_is(limited, rng):
    app = limited(seconds=1.0)
    vectors = rng.standard_normal((60, 8)).round(3).tolist()
    began = time.perf_counter()
    told = Asked(app).post("/v1/select", {"vectors": vectors, "k": 20, "certify": "full", "diversity": 0.9})
    assert time.perf_counter() - began < 10
    assert told.status_code in (200, 504)


def test_work_that_nobody_waits_for_is_not_done(limited):
    """Clients that leave free their places: the next ones are not refused, and only theirs is worked on."""
    app = limited(waiting=3)
    asked = []

    async def leave(client_gone):
        """A request as a server hands it on, of which the client leaves after the body was sent."""
        body = json.dumps(BODY).encode()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/select",
            "raw_path": b"/v1/select",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            await client_gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            asked.append(message)

        await app(scope, receive, send)

    async def scene():
        busy = Busy(app)
        held = busy.start()
        gone = asyncio.Event()
        leaving = [asyncio.ensure_future(leave(gone)) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert app.state.service.work.full
        gone.set()
        await asyncio.gather(*leaving)
        assert not app.state.service.work.full
        assert not app.state.service.work._waiting
        async with client_of(app) as client:
            later = asyncio.ensure_future(client.post("/v1/select", json=BODY))
            await asyncio.sleep(0.02)
            busy.go.set()
            await held
            return await later

    assert asyncio.run(scene()).status_code == 200
    assert "setwise_candidates_total 3.0" in Asked(app).get("/metrics").text  # of the client that stayed


def test_a_selection_that_runs_ends_when_its_client_has_gone():
    from setwise.serve.work import Dropped, Task

    async def scene():
        job = Task(print, None, asyncio.get_running_loop().create_future())
        job.check("a step")
        job.drop()
        return job

    job = asyncio.run(scene())
    with pytest.raises(Dropped):
        job.check("the next step")


def test_a_service_that_ends_takes_no_more(limited):
    app = limited()
    app.state.service.work.close()
    told = Asked(app).post("/v1/select", BODY)
    assert told.status_code == 503
    assert "retry-after" in told.headers


@pytest.mark.parametrize("wrong", [{"body": 0}, {"waiting": 0}, {"threads": -1}, {"seconds": 0}])
def test_limits_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        serve.Limits(**wrong)
