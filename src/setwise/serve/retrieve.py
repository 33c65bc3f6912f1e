"""Retrievals from opened indexes: those that ask one index for the same are searched for together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from setwise.facets import are_texts
from setwise.files.lengths import length
from setwise.files.names import nearest
from setwise.index.saved import GROUP, SavedIndex
from setwise.request import Request
from setwise.retrieval import Retrieved
from setwise.retrieval import retrieve as retrieve_from
from setwise.retrieval.defaults import request_of
from setwise.retrieval.search import retrieving
from setwise.serve.answers import told, written
from setwise.serve.arrays import as_vector, as_vectors, check_size
from setwise.serve.bodies import read
from setwise.serve.schemas import Retrieve
from setwise.serve.service import Posted, Service
from setwise.serve.sets import tried
from setwise.serve.work import Task
from setwise.steps import run


@dataclass(frozen=True)
class SearchAsked:
    """A request that was read.

    Attributes
    ----------
    name : str
        The index's.
    query : ndarray of shape (d,)
    kind : str
        All that requests have in common which are searched for together; empty for one that is alone.
    """

    job: Task
    name: str
    index: SavedIndex
    body: Retrieve
    query: Any
    request: Request
    kind: str

    def found(self) -> Retrieved:
        """Search for it by itself."""
        body = self.body
        pages: dict[str, Any] = {"offset": body.offset, "after": body.after or ()}
        work = retrieving(self.request, self.query, self.index, **body.where(), **pages)
        one: Retrieved = run(work, self.job.check)
        return one


def retrieve(service: Service, jobs: Sequence[Task]) -> list[Any]:
    """Return the answers to some requests, as JSON, or the errors they are refused by."""
    asked = [tried(partial(_read, service), job) for job in jobs]
    found: list[Any] = list(asked)
    alike: dict[Any, list[int]] = {}
    for place, one in enumerate(asked):
        if isinstance(one, SearchAsked):
            alike.setdefault((id(one.index), one.kind) if one.kind else place, []).append(place)
    for places in alike.values():
        together = _together([asked[place] for place in places]) if len(places) > 1 else None
        for number, place in enumerate(places):
            found[place] = tried(SearchAsked.found, asked[place]) if together is None else together[number]
    return [tried(partial(_answer, service, one), each) for one, each in zip(asked, found, strict=True)]


def _read(service: Service, job: Task) -> SearchAsked:
    """Read a body, and check what it asks of its index."""
    job.check()
    posted: Posted = job.given
    body = read(Retrieve, posted.body)
    name, index = chosen(service.indexes, body.index)
    limits = service.settings.limits
    if body.k is not None and body.k > limits.documents:
        raise ValueError(f"k: {body.k:,} is more than the {limits.documents:,} of one request")
    options: dict[str, Any] = {
        **body.options("include", "exclude", "groups", "costs", "shown"),
        "time_limit": limits.proving,
        "threads": 1,
    }
    for ids in ("include", "exclude", "shown"):
        index.rows_of(getattr(body, ids) or (), ids)
    if body.max_per_group is not None and body.groups is None:
        if index.groups is None:
            raise ValueError("groups: the index has none of its own; name a column")
        options["groups"] = GROUP
    if body.max_tokens is not None:
        options |= {"budget": body.max_tokens, "costs": token_costs(index)}
    if body.facets is not None:
        words = are_texts(body.facets)
        check_size((len(body.facets), 1), "facets", limits)
        options["facets"] = body.facets if words else as_vectors(body.facets, "facets", limits)
    sharpness = options.pop("sharpness", None)
    if options.pop("relevance_scale", "none") != "none":
        raise ValueError("relevance_scale: an index is searched by likeness as it is; leave it out")
    request = request_of(
        retrieve_from,
        options,  # type: ignore[arg-type]
        k=body.k,
        sharpness=sharpness,
        metric=index.metric,
        **({} if body.max_tokens is None else {"said": {"budget": "max_tokens"}}),
    )
    query = index.encode(body.query) if isinstance(body.query, str) else body.query
    alone = body.offset or body.after or request.wishes or body.groups is not None
    kind = "" if alone else body.model_dump_json(exclude={"query", "index"})
    return SearchAsked(job, name, index, body, as_vector(query, "query", limits), request, kind)


def chosen(indexes: Mapping[str, SavedIndex], name: str | None) -> tuple[str, SavedIndex]:
    """Return the index of a name, or the only one there is.

    Raises ValueError: there is none of the name, or none is named where there are several.
    """
    if name is None and len(indexes) == 1:
        name = next(iter(indexes))
    if name is None:
        raise ValueError(f"index: name one of {', '.join(indexes) or 'none: this service has no index'}")
    if name not in indexes:
        raise ValueError(f"index: there is no {name!r:.60}{nearest(name[:60], indexes)}")
    return name, indexes[name]


def token_costs(index: SavedIndex) -> Callable[[Any], int]:
    """Return what counts the tokens of an id's text. Raises ValueError: the index has no texts."""
    if index.texts is None:
        raise ValueError("max_tokens: the index has no texts; pass costs, a column of numbers, and budget")
    count = length()
    return lambda name: count(index.take([name])["text"][0])


def _together(asked: Sequence[SearchAsked]) -> list[Retrieved] | None:
    """Return what is found for requests that differ in their query alone; None where one is refused."""
    first = asked[0]
    if len({one.query.shape for one in asked}) > 1:
        return None
    queries = np.stack([one.query for one in asked])
    try:
        found: list[Retrieved] = run(
            retrieving(replace(first.request, threads=1), queries, first.index, **first.body.where())
        )
    except (TypeError, ValueError, KeyError):
        return None
    return found


def _answer(service: Service, asked: SearchAsked, found: Retrieved) -> bytes:
    """Write an answer."""
    body, index = asked.body, asked.index
    known = found.to_dict()
    columns = index.take(found.ids) if body.return_documents and len(found) else {}
    texts = columns.pop("text", None)
    results = []
    for place, name in enumerate(known["ids"]):
        one: dict[str, Any] = {
            "id": name,
            "score": known["scores"][place],
            "novelty": known["novelty"][place],
        }
        one["gain"] = known["gains"][place]
        if texts is not None:
            one["text"] = texts[place]
        if body.return_documents:
            one["columns"] = {column: values[place] for column, values in columns.items()}
        results.append(one)
    service.metrics.candidates.inc(found.certificate.pool_size if found.certificate else len(found))
    answer = {"index": asked.name, "results": results, "cursor": known["cursor"]}
    return written({**answer, "setwise": told(found, body.explain)})
