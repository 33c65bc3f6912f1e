"""A catalog's items selected for many users at once: what they share is looked at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from setwise import solvers
from setwise.batch.one_matrix import select_each
from setwise.catalog.fields import mask_of
from setwise.catalog.items import Items
from setwise.catalog.methods import as_selection, selected
from setwise.catalog.request import DEFAULT, CatalogRequest
from setwise.catalog.selection import CatalogSelection
from setwise.catalog.wishes import known_rows, labels_of_items, rows_in_order, with_facets, with_shown
from setwise.containers import to_numpy
from setwise.each import own_wishes, split

#: Methods for max-sum that look at all items at once, and the core's solver that each is.
TOGETHER = {DEFAULT: "auto", "greedy": "greedy", "top-k": "top-k"}


def selected_for_each(
    held: Items, request: CatalogRequest, relevance: Any, queries: Any, filter: Any
) -> list[CatalogSelection]:
    """Return what `Catalog.select_many` does, for a request whose `include` and `exclude` are ids.

    Raises TypeError, ValueError, KeyError: as `Catalog.select_many`.
    """
    if (relevance is None) == (queries is None):
        raise ValueError("relevance: pass relevance of shape (m, n), or queries of shape (m, d)")
    brought, argument = (relevance, "relevance") if queries is None else (queries, "queries")
    given = np.atleast_2d(to_numpy(brought, argument))
    n, count = len(held), len(given)
    if queries is None and given.shape[1:] != (n,):
        raise ValueError(f"relevance: expected shape (m, {n}), got {given.shape}")
    request, seen = with_shown(held, request)
    each = split(request, count)
    method, reason = request.taken(n)
    if request.is_max_sum and method not in TOGETHER:
        name = "relevance" if queries is None else "query"
        return [
            selected(held, replace(own, method=method), filter=filter, **{name: values})
            for own, values in zip(each, given, strict=True)
        ]
    never = np.zeros(n, np.bool_)
    mask = mask_of(filter, held.fields, held.ids, held.quality)
    if mask is not None:
        never |= ~mask
    include, exclude = [], []
    for user, own in enumerate(each):
        must, gone = (
            rows_in_order("include", own.include, held.ids),
            np.union1d(known_rows("exclude", own.exclude, held.ids), seen),
        )
        both, barred = np.intersect1d(must, gone), never.copy()
        if len(both):
            where = "shown" if both[0] in seen else "exclude"
            raise ValueError(f"include: {held.ids[both].tolist()[0]!r} is in {where}, too")
        barred[gone] = True
        barred[must] = False  # whatever the filter
        left = n - int(np.count_nonzero(barred))
        if left == 0 and not own.sized:
            raise ValueError(f"query {user}: filter: it and exclude leave no item; loosen them")
        if own.sized and own.size > left:
            raise ValueError(
                f"query {user}: k: {own.size} is more than the {left:,} items that may be selected; ask for "
                "at most that"
            )
        include.append(must)
        exclude.append(np.flatnonzero(barred))

    def of_items(name: str, given: Any) -> Any:
        if "groups" in own_wishes(request):  # a row a user
            return [labels_of_items(held, name, row) for row in given]
        return labels_of_items(held, name, given)

    labeled = with_facets(held, request.mapped(of_items, fields=True))
    solver = TOGETHER[method] if request.is_max_sum else method
    asked = replace(labeled, method=method, solver=solver, include=include, exclude=exclude)
    solvers.check(asked, tuple(TOGETHER.values()) if request.is_max_sum else solvers.SOLVERS)
    found = select_each(
        asked, held.vectors.raw, None if queries is None else given, given if queries is None else None
    )
    return [as_selection(held, one, asked.found_by, reason) for one in found]
