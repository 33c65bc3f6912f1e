"""Reranking: the set first, in selection order, then the rest by relevance; scores fall in that order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.encode import known_rows
from setwise.facets import are_texts, parts_of
from setwise.files.documents.passages import count_tokens, first_tokens
from setwise.files.lengths import lengths
from setwise.relevance import as_numbers
from setwise.retrieval import diversify
from setwise.retrieval.defaults import K, request_of
from setwise.selection import Selection
from setwise.serve import shapes
from setwise.serve.answers import told, written
from setwise.serve.arrays import as_vector, as_vectors, facets_of, shown_of
from setwise.serve.bodies import read
from setwise.serve.schemas import Rerank
from setwise.serve.service import Posted, Service
from setwise.serve.sets import PoolAsked, select_all, tried
from setwise.serve.work import Task

#: By how much each score is at least below the one before it: single precision tells them apart. Scores that
#: are far from 0 to 1 fall by this part of themselves.
STEP = 1e-6


@dataclass(frozen=True)
class RankingAsked:
    """A request that was read.

    Attributes
    ----------
    texts : list of str
        The documents', as far as they are read.
    encoded : list of str
        What has to be encoded: the query, the documents, what was shown, and facets; nothing where vectors
        came.
    """

    job: Task
    posted: Posted
    body: Rerank
    texts: list[str]
    encoded: list[str]


@dataclass(frozen=True)
class Ready:
    """A request whose documents have vectors and relevance.

    Attributes
    ----------
    known : ndarray of int64
        Places of the documents that can be selected.
    relevance : ndarray of shape (n,), float64
        NaN of those that cannot.
    pool : PoolAsked or None
        None where none can.
    """

    asked: RankingAsked
    known: NDArray[np.int64]
    relevance: NDArray[np.float64]
    pool: PoolAsked | None


def rerank(service: Service, jobs: Sequence[Task]) -> list[Any]:
    """Return the answers to some requests, as JSON, or the errors they are refused by."""
    read = [tried(partial(_read, service), job) for job in jobs]
    vectors = _encoded(service, read)
    ready: list[Any] = [
        tried(partial(_ready, service, rows), one) for one, rows in zip(read, vectors, strict=True)
    ]
    pools = [one.pool if isinstance(one, Ready) else one for one in ready]
    some = {place: pool for place, pool in enumerate(pools) if pool is not None}
    sets: dict[int, Any] = dict(zip(some, select_all(list(some.values())), strict=True))
    return [
        sets[place]
        if isinstance(sets.get(place), Exception)
        else tried(partial(_answer, service, sets.get(place)), one)
        for place, one in enumerate(ready)
    ]


def _read(service: Service, job: Task) -> RankingAsked:
    """Read a body."""
    job.check()
    posted: Posted = job.given
    body = read(Rerank, posted.body)
    limits = service.settings.limits
    texts = body.listed
    if len(texts) > limits.documents:
        called = next(name for name in ("documents", "texts", "input") if getattr(body, name) is not None)
        raise ValueError(f"{called}: {len(texts):,} are more than the {limits.documents:,} of one request")
    if body.max_tokens_per_doc is not None:
        texts = [first_tokens(text, body.max_tokens_per_doc) for text in texts]
    more = [*_texts(body, "shown"), *_texts(body, "facets")]
    encoded = [] if body.embeddings is not None else [body.query, *texts, *more]
    return RankingAsked(job, posted, body, texts, encoded)


def _texts(body: Rerank, name: str) -> list[str]:
    """Return a field that may be texts, where it is and the documents are, too."""
    given = getattr(body, name)
    return given if body.embeddings is None and are_texts(given) else []


def _encoded(service: Service, read: Sequence[Any]) -> list[Any]:
    """Return the vectors of what each request has to encode, all of them encoded at once."""
    texts = [text for one in read if isinstance(one, RankingAsked) for text in one.encoded]
    rows: Any = tried(lambda texts: service.encoder.encode(texts), texts) if texts else np.empty((0, 1))
    found, start = [], 0
    for one in read:
        stop = start + (len(one.encoded) if isinstance(one, RankingAsked) else 0)
        found.append(rows if isinstance(rows, Exception) and stop > start else rows[start:stop])
        start = stop
    return found


def _ready(service: Service, rows: Any, asked: RankingAsked) -> Ready:
    """Find the documents' vectors and relevance, and pose the problem of those that have both."""
    if isinstance(rows, Exception):
        raise rows
    body, limits, n = asked.body, service.settings.limits, len(asked.texts)
    shown, facets = body.shown, body.facets
    if len(rows):
        if body.relevance is None and not known_rows(rows[:1]).all():
            raise ValueError(f"query: {service.encoder.name} knows no word of it; use other words")
        probe, vectors = rows[0], rows[1 : n + 1]
        last = n + 1 + len(_texts(body, "shown"))
        if last > n + 1:
            shown = rows[n + 1 : last][known_rows(rows[n + 1 : last])]
        if len(rows) > last:
            facets = rows[last:]
            unknown = np.flatnonzero(~known_rows(facets))
            if len(unknown):
                raise ValueError(
                    f"facets: {service.encoder.name} knows no word of facet {unknown[0]}; use other words"
                )
    else:
        vectors = as_vectors(body.embeddings, "embeddings", limits)
        if len(vectors) != n:
            raise ValueError(f"embeddings: {len(vectors)} for {n} documents; pass one each")
        probe = None
        if body.query_embedding is not None:
            probe = as_vector(body.query_embedding, "query_embedding", limits)
        elif body.relevance is None:
            raise ValueError("query_embedding: needed with embeddings, or relevance")
    if body.relevance is not None:
        relevance = as_numbers([np.nan if one is None else one for one in body.relevance], n)
    else:
        relevance = _cosines(vectors, probe)
    can = known_rows(vectors) & ~np.isnan(relevance)
    known, relevance = np.flatnonzero(can), np.where(can, relevance, np.nan)
    largest = np.abs(vectors).max(axis=1).astype(np.float64)
    bad = np.flatnonzero((largest != 0) & ~((largest >= 1e-150) & (largest <= 1e150)))
    if len(bad):
        raise ValueError(f"embeddings: document {bad[0]} has numbers that are not finite, or beyond 1e±150")
    return Ready(asked, known, relevance, _pool(service, asked, known, vectors, relevance, shown, facets))


def _cosines(vectors: NDArray[Any], probe: NDArray[Any] | None) -> NDArray[np.float64]:
    """Return each vector's cosine to the query's; NaN of a row of zeros."""
    assert probe is not None
    query = np.asarray(probe, np.float64)
    rows = np.asarray(vectors, np.float64)
    if query.shape != rows.shape[1:]:
        raise ValueError(f"query_embedding: it has {len(query)} numbers, the documents' have {rows.shape[1]}")
    length = np.linalg.norm(query)
    if not np.isfinite(length) or not length:
        raise ValueError("query_embedding: it is zero, or not finite")
    with np.errstate(all="ignore"):
        return np.asarray(rows @ query / (np.linalg.norm(rows, axis=1) * length), np.float64)


def _pool(
    service: Service,
    asked: RankingAsked,
    known: NDArray[np.int64],
    vectors: NDArray[Any],
    relevance: NDArray[np.float64],
    shown: Any,
    facets: Any,
) -> PoolAsked | None:
    """Return the problem of the documents that can be selected."""
    body = asked.body
    barred = set(body.exclude or ()) & set(known.tolist())
    if len(barred) == len(known):
        return None
    options = {**body.options(), "time_limit": service.settings.limits.proving, "threads": 1}
    budget = body.budget if body.max_tokens is None else body.max_tokens
    size = body.most or None
    if budget is None or size is not None:
        size = min(size or K, len(known) - len(barred))
    if budget is not None:
        options["costs"] = lengths(asked.texts) if body.costs is None else body.costs
        options["budget"] = budget
    elif body.costs is not None:
        options["costs"] = body.costs
    options |= shown_of(shown, service.settings.limits)
    if facets is not None:
        facets = facets_of(facets, service.settings.limits)
        part = parts_of(facets, vectors.shape[1], len(asked.texts), "documents")
        options["facets"] = facets if part is None else part(known)
    place = {row: number for number, row in enumerate(known.tolist())}
    for name in ("include", "exclude"):
        rows = getattr(body, name) or ()
        for row in rows:
            if not 0 <= row < len(asked.texts):
                raise ValueError(f"{name}: there is no document {row}")
            if name == "include" and row not in place:
                raise ValueError(f"include: document {row} cannot be selected, no word of it is known")
        options[name] = [place[row] for row in rows if row in place]
    if body.groups is not None:
        options["groups"] = body.groups
    scale = options.pop("relevance_scale", "none" if body.relevance is None else "minmax")
    request = request_of(
        diversify,
        options,  # type: ignore[arg-type]
        k=size,
        sharpness=options.pop("sharpness", None),
        metric="cosine",
        relevance_scale=scale,
        **({} if body.max_tokens is None else {"said": {"budget": "max_tokens"}}),
    )

    def of_known(name: str, given: Any) -> list[Any]:
        if not isinstance(given, list) or len(given) != len(asked.texts):
            raise ValueError(f"{name}: expected a list of {len(asked.texts)}, one a document")
        return [given[row] for row in known]

    return PoolAsked(
        asked.job,
        request.mapped(of_known),
        vectors if len(known) == len(vectors) else vectors[known],
        relevance[known],
        explain=body.explain,
    )


def _answer(service: Service, found: Selection | None, ready: Ready) -> bytes:
    """Write an answer: documents in their order, with scores that fall in it."""
    asked, body = ready.asked, ready.asked.body
    chosen = np.empty(0, np.int64) if found is None else ready.known[found.indices]
    order = ordered(chosen, ready.relevance, np.asarray(body.exclude or (), np.int64))
    scores = falling(order, ready.relevance, cosine=body.relevance is None, raw=body.raw_scores)
    if body.most:
        sized = ready.pool is None or ready.pool.request.sized
        last = body.most if sized else len(chosen)
        order, scores = order[:last], scores[:last]
    set_ = None
    if found is not None:
        set_ = told(found, body.explain, lambda row: int(ready.known[row]))
        set_["relevances"] = ready.relevance.tolist()
    service.metrics.candidates.inc(len(asked.texts))
    tokens = sum(map(count_tokens, asked.encoded))
    return written(shapes.answer(asked.posted, body, asked.texts, order.tolist(), scores, tokens, set_))


def ordered(
    chosen: NDArray[np.int64], relevance: NDArray[np.float64], barred: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return all places: the set in its order, the others by relevance, last those that may not be chosen.

    Parameters
    ----------
    chosen : ndarray of int64
    relevance : ndarray of shape (n,), float64
        NaN of those that cannot be selected.
    barred : ndarray of int64
    """
    rank = np.where(np.isnan(relevance), -np.inf, relevance)
    falls = np.lexsort((np.arange(len(rank)), -rank, np.isin(np.arange(len(rank)), barred)))
    return np.concatenate([chosen, falls[~np.isin(falls, chosen)]])


def falling(
    order: NDArray[np.int64], relevance: NDArray[np.float64], *, cosine: bool, raw: bool = False
) -> list[float]:
    """Return scores that fall strictly in an order, since clients sort by them.

    Each is the document's relevance, or what is just below the score before it where that is less. They are
    from 0 to 1: (1 + cosine) / 2, or the given relevance with its least at 0 and its most at 1; as they are
    where they are to be `raw`.
    """
    known = relevance[~np.isnan(relevance)]
    n = len(order)
    step = min(STEP, 0.5 / n)
    base, room = relevance, 0.0
    if not raw:
        low, high = (
            (-1.0, 1.0) if cosine else (float(known.min()), float(known.max())) if len(known) else (0, 1)
        )
        base = (
            np.clip((relevance / 2 - low / 2) / (high / 2 - low / 2), 0.0, 1.0) if high > low else np.ones(n)
        )
        base, room = np.where(np.isnan(relevance), 0.0, base), n * step
    least = float(known.min()) if raw and len(known) else 0.0
    own = room + (1.0 - room) * np.where(np.isnan(base), least, base)[order]
    scores: list[float] = []
    below = np.inf
    for score in own.tolist():
        last = score if score < below else below
        scores.append(last)
        below = last - (step if -1.0 <= last <= 1.0 else step * abs(last))
    if not np.isfinite(scores).all():
        raise ValueError("relevance: numbers this near to the largest there are leave no room to fall")
    return scores
