"""Diversity after a reranker: its scores are the relevance, the stored vectors the distances."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import numpy as np

from setwise import frames
from setwise.api import pose, run
from setwise.containers import as_matrix
from setwise.facets import are_texts, facets_by
from setwise.ids import as_ids, check_apart, check_ordered, in_order_of, named_rows
from setwise.index.base import Ids, Index
from setwise.limits import OwnIfMissing, listed_labels
from setwise.missing import Usable, check_missing, matrix_with_gaps
from setwise.request import Options, Request, Rows, takes
from setwise.retrieval.defaults import DIVERSITY, request_of
from setwise.retrieval.pages import check_pages, earlier, without
from setwise.retrieval.retrieved import Retrieved, retrieved
from setwise.retrieval.seen import encoded, labels_of, shown_of
from setwise.threads import one_blas_thread


@takes(diversity=DIVERSITY)
def diversify(
    ids: Rows,
    k: int | None = None,
    *,
    relevance: Any,
    vectors: Index | Any,
    relevance_scale: str = "minmax",
    sharpness: int | None = None,
    metric: str | None = None,
    missing: str = "raise",
    after: Any = (),
    **options: Unpack[Options],
) -> Retrieved:
    """Select k of the candidates that a reranker, a fusion or any other scorer has scored.

    Nothing is encoded again: the vectors are those stored.

    Parameters
    ----------
    ids : sequence of length m
        The candidates, none twice.
    k : int or None
        At most m; None, with a budget, for as many as fit.
    relevance : array-like of shape (m,), mapping or pandas Series
        Their scores, higher is better, on any scale; a mapping, or a Series whose index is the ids, is joined
        by them.
    vectors : Index, array-like of shape (m, d), mapping, or frame
        An index that has the ids, asked for their vectors once; or their vectors, joined as scores are; or a
        frame with a column of them, whose other columns `ids`, `relevance` and `groups` may name.
    relevance_scale : {"minmax", "none", "zscore", "rank"}
        Scorers' scales differ; by default scores are mapped to [0, 1] over the candidates.
    diversity, sharpness, objective, solver, solver_options, certify, time_limit, seed, threads
        As for `retrieve`.
    metric : {"cosine", "euclidean"}, optional
        The index's own; "cosine" where vectors are an array.
    include, exclude : sequence of ids
        Must be in the set, and must not.
    groups, max_per_group, limits, shares, costs, budget
        As for `retrieve`; a sequence has a label, or a cost, for each candidate.
    min_gain, max_similarity, shown, shown_weight, facets
        As for `retrieve`; what was shown is vectors, or where `vectors` is an index ids. Facets may also be
        the candidates' relevance to each, (m, f), joined as scores are.
    missing : {"raise", "drop", "append"}
        What becomes of a candidate whose vector or score cannot be used; see `setwise.select`. Those appended
        have no score and no novelty (NaN).
    after : str or sequence of ids
        As for `retrieve`: the ``cursor`` of the page before, whose candidates are all among these.

    Returns
    -------
    Retrieved
        ``indices`` are positions among the candidates; ``scores`` is the relevance, scaled.

    Raises
    ------
    TypeError
        An argument is of the wrong type.
    ValueError
        There are no candidates, one is named twice, or vectors or scores are of another number; an id that
        must or must not be in the set is none of them; or as `setwise.select`.
    KeyError
        The index does not have an id.

    Examples
    --------
    >>> import setwise
    >>> vectors = [[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]]
    >>> found = setwise.diversify(
    ...     ["a", "a again", "b"], 2, relevance=[3.1, 3.0, 2.2], vectors=vectors, diversity=0.5
    ... )
    >>> found.ids.tolist()
    ['a', 'b']
    """
    if metric is None:
        metric = vectors.metric if isinstance(vectors, Index) else "cosine"
    request = request_of(
        diversify, options, k=k, sharpness=sharpness, metric=metric, relevance_scale=relevance_scale
    )
    if frames.kind_of(vectors, "vectors") is None:
        return diversified(request, ids, relevance, vectors, after, missing=missing)
    if isinstance(ids, str):
        ids = frames.column(vectors, ids, "ids")
    else:
        vectors = in_order_of(vectors, as_ids(ids), "vectors", ids)
    if isinstance(relevance, str):
        relevance = frames.column(vectors, relevance, "relevance")

    def named(name: str, given: Any) -> Any:
        return listed_labels(frames.column(vectors, given, name), name) if isinstance(given, str) else given

    request = request.mapped(named, fields=True)
    found = diversified(request, ids, relevance, vectors, after, missing=missing)
    return replace(found, candidates=vectors)


def diversified(
    request: Request,
    ids: Rows,
    relevance: Any,
    vectors: Index | Any,
    after: Any = (),
    *,
    missing: str = "raise",
) -> Retrieved:
    """Select what a request asks for of scored candidates; see `diversify`."""
    began, asked = time.perf_counter(), request
    check_ordered(ids)
    keys: Ids = as_ids(ids)
    names = keys.tolist()
    relevance = in_order_of(relevance, keys, "relevance", ids)
    if not isinstance(vectors, Index):
        vectors = in_order_of(vectors, keys, "vectors", ids)
    before = without(earlier(after), as_ids(request.exclude, "exclude"))
    check_pages(request, "after", len(before) > 0)
    if len(before):
        if check_missing(missing) == "append":
            raise ValueError("after: what missing='append' appends ends a page; use missing='drop'")
        both = as_ids([*before.tolist(), *without(as_ids(request.include, "include"), before).tolist()])
        most = len(names) - len(request.exclude)
        request = replace(request, include=both, k=min(len(before) + request.size, most))
    if not names:
        raise ValueError("ids: no candidates; pass at least one")
    place = dict(zip(names, range(len(names)), strict=True))
    if len(place) != len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise ValueError(f"ids: {twice!r} is named twice; keep its best score")
    if isinstance(vectors, Index):
        rows: Any = vectors.vectors(keys)
        values: Any = vectors.values
    else:
        rows = as_matrix(vectors) if check_missing(missing) == "raise" else matrix_with_gaps(vectors)
        if len(rows) != len(names):
            raise ValueError(f"vectors: {len(rows)} rows for {len(names)} ids; pass one each")
        values = _no_fields

    def of_each(name: str, given: Any) -> Any:
        if isinstance(given, OwnIfMissing):
            return given.filled(of_each(name, given.groups), names)
        if hasattr(given, "iloc"):  # a pandas column
            return listed_labels(in_order_of(given, keys, name, ids), name)
        listed = not isinstance(given, str) and not callable(given) and not hasattr(given, "keys")
        return listed_labels(given, name) if listed else labels_of(given, values, name)(keys)

    shown, exclude = shown_of(request, vectors if isinstance(vectors, Index) else None)
    facets = request.facets
    if are_texts(facets):
        if not isinstance(vectors, Index):
            raise ValueError("facets: texts need an index with an encoder; pass vectors, or relevance (m, f)")
        facets = encoded(vectors, facets, "facets")
    facets = facets_by(lambda name, given: in_order_of(given, keys, name, ids), facets, rows.shape[1])
    local = request.mapped(of_each, fields=True)
    asks = len(request.include), len(request.exclude), request.shown is not None, facets is not None
    if any(asks):
        _positions("after", before.tolist(), place)
        include = _positions("include", as_ids(request.include, "include").tolist(), place)
        barred = _positions("exclude", as_ids(request.exclude, "exclude").tolist(), place)
        seen = [place[one] for one in exclude if one in place and place[one] not in barred]
        check_apart(include, barred, seen, [names[row] for row in include])
        local = replace(local, facets=facets, include=include, exclude=[*barred, *seen], shown=shown)
    left = np.empty(0, np.int64)
    if check_missing(missing) != "raise":
        with named_rows(keys):
            usable = Usable(rows, relevance, request.goal.metric, missing, local.include, local.exclude)
        rows, relevance, left = usable.vectors, usable.relevance, usable.left
        local = replace(local, k=usable.most(request.k, request.wishes), exclude=usable.barred)
    with one_blas_thread():
        with named_rows(keys):
            problem = pose(local, rows, relevance=relevance)
        found = run(problem, began)
        members = found.reasoner.chosen
        result = retrieved(
            found,
            keys[found.indices],
            problem.relevance.given(members),
            np.asarray(problem.vectors.rows(members, np.float64), np.float64),
            request.goal.metric,
            reasoner=found.reasoner.named(keys),
            following=partial(diversified, asked, ids, relevance, vectors, missing=missing),
        )
    rest = left[: max(0, (request.k or 0) - len(found))]
    if len(rest):
        nothing = np.full(len(rest), np.nan)
        result = replace(
            result,
            indices=np.concatenate([found.indices, rest]),
            ids=np.concatenate([result.ids, keys[rest]]),
            gains=np.concatenate([result.gains, np.zeros(len(rest))]),
            scores=np.concatenate([result.scores, nothing]),
            novelty=np.concatenate([result.novelty, nothing]),
        )
    return result.cut(len(before))


def _positions(name: str, ids: Rows, place: dict[Any, int]) -> list[int]:
    """Return where among the candidates some ids stand."""
    for one in ids:
        if one not in place:
            raise ValueError(f"{name}: {one!r} is not one of the candidates")
    return [place[one] for one in ids]


def _no_fields(ids: Ids, field: str) -> list[Any]:
    """Refuse to look up a field where there is no index."""
    raise ValueError(f"groups: vectors alone have no field {field!r}; pass a label or a number a candidate")
