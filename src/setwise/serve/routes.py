"""The routes, and what the OpenAPI document says of them."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from setwise.serve import metrics
from setwise.serve.errors import Refused
from setwise.serve.service import Service

router = APIRouter()


class Indexed(BaseModel):
    """An index that may be asked."""

    name: str
    vectors: int
    width: int
    metric: str
    encoder: str | None
    columns: list[str]


class Indexes(BaseModel):
    """The indexes that may be asked."""

    indexes: list[Indexed]


def service_of(request: Request) -> Service:
    """Return the service that a request is made to."""
    service: Service = request.app.state.service
    return service


@router.get("/healthz", summary="Whether the service lives")
async def healthz() -> dict[str, str]:
    """Answer."""
    return {"status": "ok"}


@router.get("/readyz", summary="Whether a request would be taken", responses={503: {"description": "No."}})
async def readyz(request: Request) -> dict[str, str]:
    """Answer, or refuse where as many requests wait as may."""
    if service_of(request).work.full:
        raise Refused(503, "as many requests wait as may", {"retry-after": "1"})
    return {"status": "ready"}


@router.get(
    "/metrics",
    summary="Counters for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def counted(request: Request) -> Response:
    """Return the counters."""
    return Response(service_of(request).metrics.text(), headers={"content-type": metrics.CONTENT_TYPE})


@router.get("/v1/indexes", summary="The indexes that may be asked", response_model=Indexes)
async def indexes(request: Request) -> JSONResponse:
    """Return the names of the indexes, and what is in them; where they are is not told."""
    told = [
        Indexed(
            name=name,
            vectors=index.size,
            width=index.dim,
            metric=index.metric,
            encoder=None if index.info.encoder is None else str(index.info.encoder["name"]),
            columns=[*(["text"] if index.texts is not None else []), *index.columns],
        )
        for name, index in service_of(request).indexes.items()
    ]
    return JSONResponse(Indexes(indexes=told).model_dump())
