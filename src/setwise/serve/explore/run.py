"""The explorer's server: one process that listens until it is told to stop."""

from __future__ import annotations

import contextlib
import ipaddress
import socket as sockets
from collections.abc import Callable, Iterator
from urllib.parse import quote

from setwise.extras import needs
from setwise.serve.explore.app import create_app
from setwise.serve.explore.source import ExploredSource
from setwise.serve.protocol import Protocol
from setwise.serve.settings import LOOPBACK

with needs("serve", "setwise explore"):
    import uvicorn


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[sockets.socket]:
    """Context of a socket that listens, so that a port that is taken is told before any work.

    Raises OSError: the address is none of this machine, or the port is taken or not for everybody.
    """
    family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
    with sockets.socket(family, sockets.SOCK_STREAM) as socket:
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        try:
            socket.bind((host, port))
        except OSError as error:
            raise OSError(
                f"port: cannot listen on {host}:{port} ({error.strerror or error}); name another with --port"
            ) from None
        yield socket


def serve(source: ExploredSource, socket: sockets.socket, query: str, tell: Callable[[str], None]) -> None:
    """Answer the page until the process is interrupted.

    Parameters
    ----------
    source : ExploredSource
    socket : socket
        Bound, by `listening`.
    query : str
        What the page looks for when it opens.
    tell : callable
        Is given the page's address when it can be opened.
    """
    host, port = socket.getsockname()[:2]
    here = ipaddress.ip_address(host).is_loopback
    app = create_app(source, LOOPBACK if here else ("*",))
    app.state.explorer.warm()
    name = f"[{host}]" if ":" in host else host
    asked = f"#query={quote(query)}" if query else ""

    class Server(uvicorn.Server):
        """A server that says when it listens."""

        async def startup(self, sockets: list[sockets.socket] | None = None) -> None:
            await super().startup(sockets)
            tell(f"{source.name}: http://{name}:{port}/{asked} (Ctrl-C ends it)")

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        http=Protocol,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    with contextlib.suppress(KeyboardInterrupt):  # how it is meant to end
        Server(config).run([socket])
