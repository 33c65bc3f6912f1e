"""What every request passes: a number of its own, a line in the log, the token, and no traceback out."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import time
import traceback
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from setwise.serve.errors import Refused, problem

if TYPE_CHECKING:
    from setwise.serve.metrics import Counters

log = logging.getLogger("setwise.serve")

#: Ids that a client may give its request itself.
_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)

#: A port at the end of a host.
_PORT = re.compile(r":[0-9]{1,5}\Z")

#: What may be asked without the token: whether the service lives.
OPEN = ("/healthz", "/readyz")

#: The status of an answer that nobody waited for.
GONE = 499


class Guard:
    """Outermost: numbers, logs and counts requests, and answers where an error that nobody foresaw arose.

    Neither texts nor what a request's address holds beside the path is logged; nor is a path that is not
    known. Of an error the log has its kind and place, not its message, which may hold texts.
    """

    def __init__(self, app: ASGIApp, metrics: Counters, paths: frozenset[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        scope["setwise.request"] = request_id
        began, status = time.perf_counter(), GONE

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        told: dict[str, object] = {}
        try:
            await self._app(scope, receive, sent)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            told = {"error": type(error).__name__, "at": f"{last.name}:{last.lineno}"}
            if status == GONE:
                what = f"an error that nobody foresaw; the log has it under request {request_id}"
                await problem(request_id, Refused(500, what))(scope, receive, sent)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            seconds = time.perf_counter() - began
            self._metrics.answered(path, status, seconds)
            line = {
                "request": request_id,
                "method": scope["method"],
                "path": path,
                "status": status,
                "milliseconds": round(seconds * 1e3, 3),
                **told,
            }
            level = logging.ERROR if told else logging.INFO
            log.log(level, json.dumps(line), extra={"fields": line})


class Named:
    """Lets a request through that calls the service by one of its names, once.

    Parameters
    ----------
    hosts : sequence of str
        Names without a port; ``*.example.com`` is any below it.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            given = Headers(scope=scope).getlist("host")
            if len(given) != 1 or not self._knows(_PORT.sub("", given[0].strip().lower())):
                told = "host: the service has no such name; use the address it was started by, or allow it"
                refused = Refused(400, told)
                await problem(scope["setwise.request"], refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _knows(self, name: str) -> bool:
        parents = (f"*{name[place:]}" for place, sign in enumerate(name) if sign == ".")
        return name in self._hosts or "*" in self._hosts or any(one in self._hosts for one in parents)


class Token:
    """Lets a request through that brings the token, or asks whether the service lives."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._expected = app, _digest(f"bearer {token}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and scope["path"] not in OPEN:
            kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
            given = f"{kind.lower()} {token.strip()}".encode("latin-1", "replace")
            if not hmac.compare_digest(_digest(given), self._expected):
                refused = Refused(
                    401,
                    "authorization: pass the service's token, as 'Authorization: Bearer TOKEN'",
                    {"www-authenticate": "Bearer"},
                )
                await problem(scope["setwise.request"], refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _digest(text: bytes) -> bytes:
    """Return a text in a form that takes equally long to compare whatever its length."""
    return hashlib.sha256(text).digest()
