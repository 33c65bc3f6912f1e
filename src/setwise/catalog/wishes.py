"""What one call wishes of a catalog: its own relevance, ids that must or must not come, a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.catalog import items
from setwise.catalog.fields import mask_of
from setwise.catalog.items import Items
from setwise.catalog.request import CatalogRequest
from setwise.constraints import Constraints
from setwise.facets import are_texts, facets_by
from setwise.files.names import column
from setwise.ids import as_ids, by_plain_id, check_apart, in_order_of, named_rows
from setwise.limits import OwnIfMissing, listed_labels
from setwise.queries import as_query
from setwise.relevance import Relevance, or_never
from setwise.request import Rows
from setwise.solvers.problem import Problem


@dataclass(frozen=True, eq=False)
class WishedItems:
    """The items that a call may select from, and what it asks of them.

    Attributes
    ----------
    items : Items
        Their quality is the call's relevance.
    request : CatalogRequest
        Its `include` is rows of these items; nothing is left to exclude.
    """

    items: Items
    request: CatalogRequest
    relevance: Relevance

    @property
    def problem(self) -> Problem:
        """The selection problem over these items."""
        with named_rows(self.items.ids):
            constraints = Constraints(len(self.items), self.request)
        return Problem(self.items.vectors, self.relevance, self.request, constraints)


def wished(held: Items, request: CatalogRequest, relevance: Any, query: Any, filter: Any) -> WishedItems:
    """Find out what a call wishes of a catalog's items.

    Parameters
    ----------
    request : CatalogRequest
        Its `include` and `exclude` are ids.
    relevance, query, filter
        As for `Catalog.select`.

    Raises KeyError: a must-have id is not in the catalog; TypeError: an argument is of the wrong type, or ids
    are of another kind than the catalog's; ValueError: both relevance and a query are given, or either is not
    what it should be; a must-have item is in ``exclude`` or is never to be selected; the filter is not as
    long as the catalog; fewer than k items are left.
    """
    probe = None
    if query is not None:
        if relevance is not None:
            raise ValueError("relevance: pass relevance or query, not both")
        probe = as_query(query, held.vectors.d, held.vectors.metric)
        values = held.vectors.queried(probe).similarity
        assert values is not None
    elif relevance is None:
        values = held.quality
    else:
        values = _numbers(relevance, held.ids)
    must = rows_in_order("include", request.include, held.ids)
    never = np.isneginf(values)
    if never[must].any():
        one = held.ids[must[never[must]][0]]
        raise ValueError(f"include: {items.plain(one)!r} is never to be selected: its number is -inf")
    request, seen = with_shown(held, request)
    barred = np.union1d(known_rows("exclude", request.exclude, held.ids), seen)
    check_apart(must.tolist(), barred.tolist(), seen.tolist(), held.ids[must].tolist())
    left = ~never
    left[barred] = False
    mask = mask_of(filter, held.fields, held.ids, held.quality)
    if mask is not None:
        left &= mask
        left[must] = True
    if left.all():
        some, rows = replace(held, quality=values), must
    else:
        kept = np.flatnonzero(left)
        if len(kept) == 0 or (request.sized and request.size > len(kept)):
            if len(kept) == 0:
                raise ValueError("filter: it and exclude leave no item; loosen them")
            raise ValueError(
                f"k: {request.size} is more than the {len(kept):,} items that may be selected; ask for at "
                "most that"
            )
        some = replace(held, quality=values).among(kept)
        rows = np.searchsorted(kept, must)
        # Of the clusters asked for, those that have no item left are not missed.
        asked, there = request.clusters, len(some.clusters)
        if asked is not None and there < asked <= len(held.clusters) and request.method != "dgds":
            request = replace(request, clusters=there)

    def of_items(name: str, given: Any) -> list[Any]:
        labels = labels_of_items(held, name, given)
        return [labels[row] for row in np.flatnonzero(left).tolist()]

    known = Relevance(some.quality, some.vectors, probe)
    request = with_facets(held, request.mapped(of_items, fields=True))
    return WishedItems(some, replace(request, include=rows, exclude=()), known)


def with_shown(held: Items, request: CatalogRequest) -> tuple[CatalogRequest, NDArray[np.int64]]:
    """Return a request whose `shown` is vectors, and the rows of what was given by ids.

    Raises KeyError: an id is not in the catalog.
    """
    if request.shown is None or np.ndim(request.shown) != 1:
        return request, np.empty(0, np.int64)
    rows = rows_in_order("shown", request.shown, held.ids)
    return replace(request, shown=held.vectors.rows(rows, np.float64) if len(rows) else None), rows


def with_facets(held: Items, request: CatalogRequest) -> CatalogRequest:
    """Return a request whose `facets` are numbers, one an item, where kept columns or ids name them."""
    facets = request.facets
    if are_texts(facets):
        facets = {one: one for one in facets}

    def of_items(name: str, given: Any) -> Any:
        if getattr(given, "ndim", 1) == 2:  # a frame of a column a facet
            return in_order_of(given, held.ids, name)
        return labels_of_items(held, name, given)

    return replace(request, facets=facets_by(of_items, facets, held.vectors.d))


def labels_of_items(held: Items, name: str, given: Any) -> Any:
    """Return labels or numbers, one an item: as they were given, by id, or of a kept column by its name.

    Raises ValueError: no such column is kept, or they are not as many as the items.
    """
    if isinstance(given, OwnIfMissing):
        return given.filled(labels_of_items(held, name, given.groups), held.ids.tolist())
    what = "number" if name.startswith(("costs", "facets")) else "label"
    if isinstance(given, str):
        kept = {} if held.fields is None else {one: held.fields[one] for one in held.fields.column_names}
        values = kept[column(kept, given, name, "the catalog")].to_pylist()
        if what == "label":
            return values
        given = {
            one: value
            for one, value in zip(held.ids.tolist(), values, strict=True)
            if isinstance(value, Real | Decimal)
        }
    if isinstance(given, Mapping):
        given = by_plain_id(given)
        missing = next((one for one in held.ids.tolist() if one not in given), None)
        if missing is not None:
            raise ValueError(f"{name}: no {what} for {missing!r}; give each item one")
        return [given[one] for one in held.ids.tolist()]
    given = in_order_of(given, held.ids, name)
    if hasattr(given, "iloc") or hasattr(given, "to_pylist"):  # a column
        given = listed_labels(given, name)
    if len(given) != len(held):
        raise ValueError(f"{name}: expected {len(held):,} {what}s, one an item, got {len(given):,}")
    return given


def _numbers(relevance: Any, ids: NDArray[Any]) -> NDArray[np.float64]:
    """Return one number an item, -inf for never; of those by id, every item has to have one."""
    if not items.is_by_id(relevance, ids, "relevance"):
        with named_rows(ids):
            values, never = or_never(relevance, len(ids))
        values[never] = -np.inf
        return values
    values, given = items.by_id(relevance, ids, "relevance")
    if not given.all():
        lacking = np.flatnonzero(~given)
        raise ValueError(
            f"relevance: {len(lacking):,} of the {len(ids):,} items have none, such as "
            f"{items.plain(ids[lacking[0]])!r}; give each a number, -inf for never"
        )
    return values


def rows_in_order(name: str, wanted: Rows, ids: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rows of some ids, in their order. Raises KeyError: one is not in the catalog."""
    listed = _as_ids(name, wanted)
    rows = np.sort(items.rows_of(listed, ids, name))
    place = dict(zip(ids[rows].tolist(), rows.tolist(), strict=True))
    return np.fromiter((place[one] for one in listed), np.int64, len(listed))


def known_rows(name: str, wanted: Rows, ids: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rows of those ids that are in the catalog: what has gone is barred already."""
    listed = _as_ids(name, wanted)
    if not listed:
        return np.empty(0, np.int64)
    own, other = items.kind_of(ids), items.kind_of(as_ids(listed))
    if own in ("integers", "strings") and own != other:
        raise TypeError(f"{name}: the catalog's ids are {own}, these are {other}")
    barred = set(listed)
    return np.flatnonzero(np.fromiter((one in barred for one in ids.tolist()), np.bool_, len(ids)))


def _as_ids(name: str, wanted: Rows) -> Sequence[Any]:
    """Return ids as plain values, none of them twice."""
    listed: list[Any] = as_ids(wanted, name).tolist()
    if len(set(listed)) < len(listed):
        twice = next(one for one in listed if listed.count(one) > 1)
        raise ValueError(f"{name}: {twice!r} is named twice")
    return listed
