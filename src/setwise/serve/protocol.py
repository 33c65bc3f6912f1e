"""HTTP as the service speaks it: heads of requests have to come whole, small, and within some time."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.auto import AutoHTTPProtocol

#: Seconds that the head of a request may take, on a new connection and on one that is kept.
SECONDS = 30.0

#: Bytes of a head, at most.
BYTES = 64 << 10

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """A connection; one that does not get its request's head across is closed, so that it holds no place.

    Uvicorn bounds how long a connection may be idle between requests, but not how long, nor how large, a head
    may be once its first byte has come.
    """

    _late: asyncio.TimerHandle | None = None
    _bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Read on; what comes between two requests begins a head."""
        before = self.cycle
        inside = before is None or before.response_complete
        if inside and self._late is None:
            self._await_head()
        if inside:
            end = data.find(b"\r\n\r\n")
            self._bytes += len(data) if end < 0 else end
            if self._bytes > BYTES:
                self.transport.write(_TOO_LARGE)
                self.transport.close()
                return
        super().data_received(data)
        if self.cycle is not before:
            self._end_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._end_head()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._late = self.loop.call_later(SECONDS, self.transport.close)

    def _end_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late, self._bytes = None, 0
