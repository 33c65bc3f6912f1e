"""The routes, and what the OpenAPI document says of them."""

from __future__ import annotations

import inspect
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from setwise.lazy import documented
from setwise.serve import metrics, shapes
from setwise.serve.answers import Ranked, Reranked, RetrievedAnswer, Selected
from setwise.serve.errors import Refusal, Refused
from setwise.serve.rerank import rerank
from setwise.serve.retrieve import retrieve
from setwise.serve.schemas import Rerank, Retrieve, Select
from setwise.serve.select import ARROW, JSON, NPY, NPZ, select
from setwise.serve.service import Service
from setwise.serve.work import Solve

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


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Whether the service lives")
async def healthz() -> dict[str, str]:
    """Answer."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
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
def indexes(request: Request) -> JSONResponse:
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


#: What a route that works may refuse by.
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": words}
    for status, words in {
        401: "The token is missing, or another.",
        408: "The body took too long to come.",
        413: "The body is too large.",
        415: "The body is of another media type, or compressed.",
        422: "A field cannot be used; the message names it and the mend.",
        429: "As many requests wait as may; come again after the seconds in Retry-After.",
        500: "An error that nobody foresaw.",
        503: "The service is shutting down.",
        504: "It took too long.",
    }.items()
}

#: Schemas of bodies, which are read and checked on a thread, and so unknown to FastAPI.
BODIES: dict[str, Any] = {}


def _post(
    path: str,
    summary: str,
    solve: Solve,
    body: type[BaseModel],
    answer: Any,
    *,
    shape: str = "",
    kinds: tuple[str, ...] = JSON,
) -> None:
    """Add a route whose requests are worked on by threads."""

    async def route(request: Request) -> Response:
        return await service_of(request).answer(request, solve, kinds, shape)

    place = "#/components/schemas/"
    schema = body.model_json_schema(ref_template=place + "{model}")
    BODIES.update({**schema.pop("$defs", {}), body.__name__: schema})
    content: dict[str, Any] = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    content[JSON[0]] = {"schema": {"$ref": place + body.__name__}}
    router.add_api_route(
        path,
        route,
        methods=["POST"],
        summary=summary,
        description=inspect.cleandoc(documented(body).__doc__ or ""),
        operation_id=path.strip("/").replace("/", "_"),
        response_model=answer,
        responses=_REFUSALS,
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )


_post("/v1/rerank", "Rerank, as Cohere, Jina, Voyage, vLLM", rerank, Rerank, Reranked, shape=shapes.COHERE)
_post("/v2/rerank", "Rerank, as Cohere", rerank, Rerank, Reranked, shape=shapes.COHERE)
_post("/rerank", "Rerank, as TEI and Infinity", rerank, Rerank, Reranked | list[Ranked], shape=shapes.RERANK)
_post("/v1/reranking", "Rerank, as Mixedbread", rerank, Rerank, Reranked, shape=shapes.MIXEDBREAD)
_post("/v1/select", "Select from vectors", select, Select, Selected, kinds=(*JSON, *NPY, *NPZ, *ARROW))
_post("/v1/retrieve", "Retrieve from an opened index", retrieve, Retrieve, RetrievedAnswer)
