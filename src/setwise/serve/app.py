"""The application: routes over a service, behind what every request passes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from setwise._version import __version__
from setwise.serve import routes
from setwise.serve.errors import answer_errors
from setwise.serve.guard import Guard, Named, Token
from setwise.serve.service import Service
from setwise.serve.settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the service as an ASGI application.

    A request passes, from outside in: its number, log and count (`Guard`), the names that the service may be
    called by, the origins that may read answers (none unless asked), and the token. Indexes are opened and
    the encoder is loaded before this returns; the service is at ``app.state.service``.

    Parameters
    ----------
    settings : Settings, optional

    Raises
    ------
    ImportError, FileNotFoundError, ValueError
        As `Service`.
    """
    service = Service(settings or Settings())
    settings = service.settings

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="setwise",
        version=__version__,
        summary="Sets: relevant and diverse, with a proof of how good they are.",
        docs_url=None,  # these pages load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # to an address whose scheme a proxy knows better
        lifespan=lifespan,
        routes=routes.router.routes,  # as they are: a router in a router is looked through twice a request
    )
    app.state.service = service
    app.openapi = partial(_document, app, app.openapi)  # type: ignore[method-assign]
    answer_errors(app)
    if settings.token is not None:
        app.add_middleware(Token, token=settings.token)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["x-request-id", "retry-after"],
        )
    if settings.hosts:
        app.add_middleware(Named, hosts=settings.hosts)
    paths = frozenset(route.path for route in routes.router.routes if isinstance(route, Route))
    app.add_middleware(Guard, metrics=service.metrics, paths=paths | {"/openapi.json"})
    return app


def _document(app: FastAPI, made: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the OpenAPI document, with the schemas of bodies that FastAPI does not read."""
    if app.openapi_schema is None:
        schemas = made().setdefault("components", {}).setdefault("schemas", {})
        schemas.update({name: schema for name, schema in routes.BODIES.items() if name not in schemas})
    assert app.openapi_schema is not None
    return app.openapi_schema
