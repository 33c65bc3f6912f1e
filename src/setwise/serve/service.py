"""What a service holds: an encoder, opened indexes, the threads that work; and how it reads a request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from setwise.api import select
from setwise.encode import Encoder, encoder
from setwise.serve.errors import Refused, refused_by
from setwise.serve.guard import GONE
from setwise.serve.indexes import OpenedIndexes
from setwise.serve.metrics import Counters
from setwise.serve.settings import Settings
from setwise.serve.work import Dropped, Solve, Work

#: The model that encodes nothing: requests bring vectors.
NONE = "none"


@dataclass(frozen=True)
class Posted:
    """A request's body, before it is looked into.

    Attributes
    ----------
    kind : str
        Its media type, without parameters.
    asked : mapping of str to str
        What the address asks for beside the path.
    request : str
        Its number.
    shape : str
        How it is to be answered.
    """

    body: bytes
    kind: str
    asked: dict[str, str]
    request: str
    shape: str = ""


class Service:
    """What a service holds.

    Raises
    ------
    ImportError
        What the encoder needs is not installed.
    FileNotFoundError, ValueError
        There is no such encoder, it has to learn from a corpus first, or an index cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        if settings.model == "lsa":
            raise ValueError("model: lsa learns from a corpus, and a service has none; name another")
        self._encoder = None if settings.model == NONE else encoder(settings.model)
        self.indexes = OpenedIndexes(settings.indexes)
        select([[1.0, 0.0], [0.0, 1.0]], 1, relevance=[1.0, 0.0])  # what it loads, the first request need not
        self.metrics = Counters()
        self.work = Work(settings.limits, self.metrics, self)

    @property
    def encoder(self) -> Encoder:
        """What encodes texts. Raises ValueError: the service has been started without."""
        if self._encoder is None:
            raise ValueError("embeddings: this service encodes no texts; pass embeddings, or relevance")
        return self._encoder

    async def answer(self, request: Request, solve: Solve, kinds: Sequence[str], shape: str = "") -> Response:
        """Answer a request by work on a thread: read it, do it, unless who asked has gone.

        Parameters
        ----------
        solve : callable
            What does the work.
        kinds : sequence of str
            Media types that its body may have; the first where it says none.
        shape : str
            How it is to be answered.

        Raises Refused: it is not answered.
        """
        kind = request.headers.get("content-type", kinds[0]).partition(";")[0].strip().lower()
        if kind not in kinds:
            raise Refused(415, f"content-type: {kind:.60} is not read here; send {kinds[0]}")
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if coding != "identity":
            told = f"content-encoding: {coding:.60} is not read; send the body as it is"
            raise Refused(415, told, {"accept-encoding": "identity"})
        with self.work.admitted():
            gone: asyncio.Future[Any] | None = None
            try:
                body = await self._body(request)
                asked, number = dict(request.query_params), request.scope["setwise.request"]
                given = Posted(body, kind, asked, number, shape)
                gone = asyncio.ensure_future(_left(request))
                answer: bytes = await self.work.do(solve, given, gone)
            except (Dropped, ClientDisconnect):
                return Response(status_code=GONE)
            except Exception as error:
                raise refused_by(error) from None
            finally:
                if gone is not None:
                    gone.cancel()
        return Response(answer, media_type="application/json")

    async def _body(self, request: Request) -> bytes:
        """Return a request's body. Raises Refused: it is too large, or takes too long to come."""
        most = self.settings.limits.body
        large = Refused(413, f"body: more than {most:,} bytes; send fewer documents", {"connection": "close"})
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told) > most:
            raise large
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.settings.limits.seconds):
                async for part in request.stream():
                    size += len(part)
                    if size > most:
                        raise large
                    parts.append(part)
        except TimeoutError:
            raise Refused(408, "body: it took too long to come", {"connection": "close"}) from None
        return b"".join(parts)

    def close(self) -> None:
        """Take no more work."""
        self.work.close()


async def _left(request: Request) -> None:
    """Return when who asked has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
