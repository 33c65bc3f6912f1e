"""Connections that never get a request's head across are closed, and those that do are kept."""

import contextlib
import socket
import threading
import time

import pytest

from optional import lazily, needs

pytestmark = needs("fastapi", "uvicorn")

protocol, uvicorn = lazily("setwise.serve.protocol"), lazily("uvicorn")

ASK = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"


async def answering(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def port():
    """Where a server listens that waits for 0.4 s."""
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as taken:
        patch.setattr(protocol, "SECONDS", 0.4)
        server = uvicorn.Server(
            uvicorn.Config(
                answering, http=protocol.Protocol, lifespan="off", log_config=None, timeout_keep_alive=1
            )
        )
        thread = threading.Thread(target=server.run, args=([taken],))
        thread.start()
        yield taken.getsockname()[1]
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def connected(port):
    with socket.create_connection(("127.0.0.1", port), 5) as made:
        yield made


def answer(client):
    told = b""
    while not told.endswith(b"ok"):
        part = client.recv(1000)
        assert part, told
        told += part
    return told


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: loc", ASK + b"GET / HT"])
def test_a_head_that_does_not_come_is_not_waited_for(port, sent):
    with connected(port) as client:
        began = time.perf_counter()
        client.sendall(sent)
        told = b""
        while part := client.recv(1000):
            told += part
        assert time.perf_counter() - began < 3
        assert told.count(b"200 OK") == sent.count(ASK)


def test_a_connection_is_kept_while_its_requests_come_whole(port):
    with connected(port) as client:
        for part in (ASK, ASK[:20], ASK[20:], ASK, ASK):
            client.sendall(part)
            if part != ASK[:20]:
                assert answer(client).startswith(b"HTTP/1.1 200")
            time.sleep(0.15)


def test_a_head_without_end_is_refused(port):
    with connected(port) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(ASK[:-2] + b"x: " + b"a" * 1_000_000)
        told = b""
        with contextlib.suppress(ConnectionError):
            told = client.recv(1000)
        assert told.startswith(b"HTTP/1.1 431") or told == b""
    with connected(port) as client:
        client.sendall(ASK)
        assert answer(client).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("more", "status"), [(-100, b"200"), (100, b"431")])
def test_a_head_is_as_large_as_it_may_be_also_where_it_comes_at_once(port, more, status):
    """What follows in the same part, a body, does not count."""
    head = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 200000\r\nx: "
    with connected(port) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(head + b"a" * (protocol.BYTES - len(head) + more) + b"\r\n\r\n" + b"b" * 200_000)
        told = b""
        with contextlib.suppress(ConnectionError):
            told = client.recv(1000)
        assert told[9:12] == status or (status, told) == (b"431", b"")  # what it says may be lost
