"""The service as a command: it says where it is, serves, and ends in order; what cannot be is one line."""

import asyncio
import json
import signal
import urllib.request

import pytest
from asking import serving

from optional import lazily, needs

pytestmark = needs("fastapi", "uvicorn", "prometheus_client", "wordllama", "typer")

running = lazily("setwise.serve.run")


def asked(at, path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    wanted = urllib.request.Request(at + path, data, {"content-type": "application/json", **headers})
    with urllib.request.urlopen(wanted, timeout=60) as told:
        return told.read()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_it_serves_and_ends_in_order(folder, tmp_path, workers):
    (tmp_path / "token").write_text("open sesame\n")
    options = ("--index", f"own={folder}", "--workers", workers, "--token-file", tmp_path / "token")
    with serving(*options) as (server, at):
        own = {"authorization": "Bearer open sesame"}
        with pytest.raises(urllib.error.HTTPError, match="401"):
            asked(at, "/v1/indexes")
        for _ in range(6):
            told = json.loads(asked(at, "/v1/retrieve", {"index": "own", "query": "apples", "k": 2}, **own))
            assert len(told["results"]) == 2
        counted = asked(at, "/metrics", **own).decode()
        assert 'setwise_requests_total{path="/v1/retrieve",status="200"} 6.0' in counted
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=30)
        assert server.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["path"] for line in lines if line.get("status") == 200] == ["/v1/retrieve"] * 6 + [
        "/metrics"
    ]
    assert "apples" not in log
    assert str(folder) not in log


@pytest.mark.slow
def test_a_request_that_is_worked_on_is_answered_before_the_service_ends(rng):
    vectors = rng.standard_normal((400, 16)).round(3).tolist()
    with serving("--model", "none", "--threads", "1", "--timeout", "6") as (server, at):
        asked(at, "/healthz")

        async def scene():
            body = {"vectors": vectors, "k": 40, "certify": "full"}
            work = asyncio.create_task(asyncio.to_thread(asked, at, "/v1/select", body))
            await asyncio.sleep(0.5)
            server.send_signal(signal.SIGTERM)
            return json.loads(await work)

        assert len(asyncio.run(scene())["selected"]) == 40
        assert server.wait(30) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--index", "nowhere"], "index: no file or folder 'nowhere'"),
        (["--model", "lsa"], "model: lsa learns from a corpus"),
        (["--model", "statik"], "model: 'statik' is unknown; did you mean 'static'?"),
        (["--max-documents", "0"], "max-documents: 0 is below 1"),
        (["--token-file", "nowhere"], "token-file: no file"),
        (["--port", "70000"], "port: 70000 is above 65535"),
    ],
)
def test_what_cannot_be_served_is_one_line(options, said, capsys):
    from setwise.cli import main

    with pytest.raises(SystemExit, match="2"):
        main(["serve", *options])
    told = capsys.readouterr().err
    assert told.startswith(f"setwise: {said}")
    assert told.count("\n") == 1


def test_two_indexes_of_one_name_are_refused(folder):
    from setwise.serve.settings import named_indexes

    assert named_indexes([str(folder), f"other={folder}"]) == {"notes": folder, "other": folder}
    with pytest.raises(ValueError, match="two have the name 'notes'"):
        named_indexes([str(folder), f"notes={folder}"])


def test_names_a_service_goes_by_hang_on_where_it_listens():
    assert running.allowed_hosts("127.0.0.1", ()) == ("127.0.0.1", "localhost", "[::1]")
    assert "app.example" in running.allowed_hosts("::1", ("app.example",))
    assert running.allowed_hosts("0.0.0.0", ()) == ()
    assert running.allowed_hosts("0.0.0.0", ("app.example",)) == ("app.example",)
    told = [
        running.is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "10.1.2.3", "a.b")
    ]
    assert told == [True, True, True, False, False, False]
