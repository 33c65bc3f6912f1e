"""Selections from vectors that a request brings: as JSON, .npy, .npz or Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from setwise import frames, solvers
from setwise.api import select as select_from
from setwise.containers import to_numpy
from setwise.facets import are_texts
from setwise.relevance import as_numbers
from setwise.request import Request
from setwise.selection import Selection
from setwise.serve.answers import told, written
from setwise.serve.arrays import (
    as_vector,
    as_vectors,
    check_size,
    facets_of,
    from_arrow,
    from_npy,
    from_npz,
    shown_of,
)
from setwise.serve.bodies import as_body, read, value_of
from setwise.serve.schemas import Select
from setwise.serve.service import Posted, Service
from setwise.serve.sets import PoolAsked, select_all, tried
from setwise.serve.work import Task

#: Media types of a body, by what it holds.
JSON, NPY, NPZ, ARROW = (
    ("application/json",),
    ("application/x-npy", "application/octet-stream"),
    ("application/x-npz", "application/zip"),
    ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"),
)

#: What of an Arrow body its columns are, by the request's fields.
_COLUMNS = ("relevance", "costs", "groups", "facets")


def select(service: Service, jobs: Sequence[Task]) -> list[Any]:
    """Return the answers to some requests, as JSON, or the errors they are refused by."""
    pools = [tried(partial(_pool, service), job) for job in jobs]
    return [
        tried(partial(_answer, service, pool), found)
        for pool, found in zip(pools, select_all(pools), strict=True)
    ]


def _pool(service: Service, job: Task) -> PoolAsked:
    """Read a body, and pose its problem."""
    job.check()
    body, given = _read(service, job.given)
    limits = service.settings.limits
    vectors = as_vectors(given["vectors"], "vectors", limits)
    relevance, query = given.get("relevance"), given.get("query")
    if relevance is not None and query is not None:
        raise ValueError("relevance: pass relevance or query, not both")
    if relevance is not None:
        relevance = as_numbers(relevance, len(vectors))
    options: dict[str, Any] = {
        **body.options("include", "exclude"),
        **{name: given[name] for name in ("groups", "costs") if given.get(name) is not None},
        "time_limit": limits.proving,
        "threads": 1,
    }
    options |= shown_of(given.get("shown"), limits)
    if given.get("facets") is not None:
        options["facets"] = facets_of(given["facets"], limits)
    fields = {name: options.pop(name) for name in ("sharpness", "relevance_scale") if name in options}
    request = Request.of(select_from, options, k=body.k, metric=body.metric, **fields)  # type: ignore[arg-type]
    solvers.check(request)
    probe = None if query is None else as_vector(query, "query", limits)
    return PoolAsked(job, request, vectors, relevance, probe, body.explain)


def _read(service: Service, posted: Posted) -> tuple[Select, Mapping[str, Any]]:
    """Return a body's fields, and its arrays by the fields' names."""
    limits = service.settings.limits
    if posted.kind in JSON:
        body = read(Select, posted.body)
        given = {name: getattr(body, name) for name in Select.model_fields}
        if body.relevance is not None:  # JSON has no other word for never
            given["relevance"] = [-np.inf if one is None else one for one in body.relevance]
        return body, given
    asked = {name: value_of(text) for name, text in posted.asked.items()}
    if posted.kind in ARROW:
        table = from_arrow(posted.body, limits)
        named = {name: asked.pop(name) for name in _COLUMNS if name in asked}
        if are_texts(named.get("facets")):
            named["facets"] = {one: one for one in named["facets"]}
        body = read(Select, as_body({**asked, "vectors": []}))
        columns = {name: _column(table, column, name) for name, column in named.items()}
        if "relevance" not in named and body.query is None and "relevance" in table.column_names:
            columns["relevance"] = _column(table, "relevance", "relevance")
        held = frames.vectors_in(table, "vectors")
        if held is None:
            raise ValueError("vectors: no column of the table holds any")
        return body, {"query": body.query, "shown": body.shown, **columns, "vectors": held}
    arrays = (
        from_npz(posted.body, limits) if posted.kind in NPZ else {"vectors": from_npy(posted.body, "body")}
    )
    if "vectors" not in arrays:
        raise ValueError("vectors: the archive has none")
    check_size(arrays["vectors"].shape, "vectors", limits)
    body = read(Select, as_body({**asked, "vectors": []}))
    return body, {**{name: getattr(body, name) for name in Select.model_fields}, **arrays}


def _column(table: Any, named: Any, argument: str) -> Any:
    """Return a column of a table; labels and numbers as they are, by name where there are several."""
    if isinstance(named, Mapping):
        return {name: _column(table, column, argument) for name, column in named.items()}
    if not isinstance(named, str) or named not in table.column_names:
        raise ValueError(f"{argument}: the table has no column {named!r:.60}")
    values = table.column(named)
    return values.to_pylist() if argument == "groups" else to_numpy(values, argument, flat=True)


def _answer(service: Service, pool: PoolAsked, found: Selection) -> bytes:
    """Write an answer."""
    service.metrics.candidates.inc(len(pool.vectors))
    return written({**told(found, pool.explain), "gains": found.gains.tolist()})
