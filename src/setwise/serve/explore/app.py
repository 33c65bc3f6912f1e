"""The explorer's application: one page, what it loads, and what it asks, for whoever sits at this machine."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from setwise._version import __version__
from setwise.page import style as shared_style
from setwise.serve.bodies import as_body, read, value_of
from setwise.serve.errors import answer_errors, refused_by
from setwise.serve.explore.engine import Explorer
from setwise.serve.explore.source import ExploredSource
from setwise.serve.explore.wish import TEXTS, Wish
from setwise.serve.guard import Guard, Named
from setwise.serve.metrics import Counters
from setwise.serve.settings import LOOPBACK

#: What the page may load and run: its own files, and nothing that stands in a document.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

#: What every answer says to the browser.
_HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}

router = APIRouter()


def _wish(request: Request) -> Wish:
    """Return what an address asks for."""
    asked = request.query_params.items()
    try:
        return read(Wish, as_body({name: text if name in TEXTS else value_of(text) for name, text in asked}))
    except ValueError as error:
        raise refused_by(error) from None


Asked = Annotated[Wish, Depends(_wish)]


class Sealed:
    """Adds the headers that keep a page to itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, sent)


def create_app(source: ExploredSource, hosts: tuple[str, ...] = LOOPBACK) -> FastAPI:
    """Return the explorer of a source as an ASGI application.

    Parameters
    ----------
    source : ExploredSource
    hosts : tuple of str
        Names that a request may call it by, without a port: a page of another name is not answered.
    """
    app = FastAPI(title="setwise explore", version=__version__, docs_url=None, redoc_url=None)
    app.state.explorer = Explorer(source)
    app.state.threads = CapacityLimiter(os.cpu_count() or 1)
    app.state.drawing = CapacityLimiter(1)  # what takes a second takes no thread from the moves
    answer_errors(app)
    app.include_router(router)
    app.mount("/assets", StaticFiles(packages=[("setwise.serve.explore", "assets")]))
    app.add_middleware(Named, hosts=hosts)
    app.add_middleware(Sealed)
    paths = frozenset(route.path for route in router.routes if isinstance(route, Route))
    app.add_middleware(Guard, metrics=Counters(), paths=paths)
    return app


async def _done(
    request: Request, work: Callable[[Explorer], Any], threads: CapacityLimiter | None = None
) -> Any:
    """Return what the explorer finds, off the event loop."""
    explorer, threads = request.app.state.explorer, threads or request.app.state.threads
    try:
        return await to_thread.run_sync(work, explorer, limiter=threads)
    except Exception as error:
        raise refused_by(error) from None


def _json(told: Any, **headers: str) -> Response:
    """Return plain values; characters that UTF-8 does not have are escaped."""
    return Response(json.dumps(told, allow_nan=False), media_type="application/json", headers=headers)


@router.get("/")
async def page(request: Request) -> Response:
    """Return the page."""
    from importlib.resources import files

    text = files("setwise.serve.explore").joinpath("assets", "index.html").read_text(encoding="utf-8")
    return Response(text, media_type="text/html")


@router.get("/assets/theme.css")
async def theme(request: Request) -> Response:
    """Return the style that all pages share."""
    return Response(shared_style(), media_type="text/css")


@router.get("/api/about")
async def about(request: Request) -> Response:
    """Return what is explored."""
    return _json(await _done(request, Explorer.about))


@router.get("/api/select")
async def select(request: Request, wish: Asked) -> Response:
    """Return a set beside the most relevant."""
    return _json(await _done(request, lambda explorer: explorer.picture(wish)))


@router.get("/api/map")
async def places(request: Request, wish: Asked) -> Response:
    """Return where a query's candidates lie."""
    return _json(await _done(request, lambda explorer: explorer.map(wish)))


@router.get("/api/neighborhoods")
async def neighborhoods(request: Request, wish: Asked) -> Response:
    """Return where a query's candidates lie by what they are like."""
    drawing = request.app.state.drawing
    return _json(await _done(request, lambda explorer: explorer.neighborhoods(wish), drawing))


@router.get("/api/frontier")
async def frontier(request: Request, wish: Asked) -> Response:
    """Return what sets of every diversity are worth."""
    return _json(await _done(request, lambda explorer: explorer.frontier(wish)))


@router.get("/api/reasons")
async def reasons(request: Request, wish: Asked) -> Response:
    """Return why each was chosen, or left out."""
    return _json(await _done(request, lambda explorer: explorer.reasons(wish)))


@router.get("/export/set.json")
async def as_json(request: Request, wish: Asked) -> Response:
    """Return a set as a file."""

    def told(explorer: Explorer) -> dict[str, Any]:
        picture = explorer.picture(wish)
        names = ("value", "relevance", "diversity", "solver", "certificate", "proven", "looked")
        return {
            "asked": wish.model_dump(exclude_none=True),
            **{name: picture[name] for name in names},
            "members": explorer.members(wish),
        }

    text = json.dumps(_finite(await _done(request, told)), indent=1, default=str, allow_nan=False)
    return Response(text, media_type="application/json", headers=_as_file("set.json"))


@router.get("/export/set.csv")
async def as_csv(request: Request, wish: Asked) -> Response:
    """Return a set as a table."""
    members = await _done(request, lambda explorer: explorer.members(wish))
    written = io.StringIO()
    writer = csv.DictWriter(written, list(members[0]) if members else ["rank", "id"])
    writer.writeheader()
    writer.writerows(members)
    return Response(
        written.getvalue().encode("utf-8", "replace"), media_type="text/csv", headers=_as_file("set.csv")
    )


def _finite(told: Any) -> Any:
    """Return values with None for numbers that JSON does not have, as columns may hold them."""
    if isinstance(told, Mapping):
        return {name: _finite(value) for name, value in told.items()}
    if isinstance(told, list | tuple):
        return [_finite(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told


def _as_file(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}
