"""Requests of many queries, where some wishes are given for each by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from setwise.request import Request

Asked = TypeVar("Asked", bound=Request)


def split(request: Asked, count: int) -> list[Asked]:
    """Return one request for each of many queries, where some wishes are given for each by itself.

    Parameters
    ----------
    request : Request
        Its `include` and `exclude` may be lists of rows or ids, one (or None) a query, or a mask of shape
        (m, n); its `groups` of shape (m, n).
    count : int
        Number of queries, m.

    Raises ValueError: there are not as many lists as queries.
    """
    own = own_wishes(request)
    for name, wished in own.items():
        if len(wished) != count:
            raise ValueError(f"{name}: expected one list for each of {count} queries, got {len(wished)}")
    if not own:
        return [request] * count
    return [replace(request, **{name: wished[one] for name, wished in own.items()}) for one in range(count)]


def own_wishes(request: Request) -> dict[str, Any]:
    """Return what is wished for each of many queries by itself, one entry a query; see `split`."""
    own: dict[str, Any] = {}
    for name in ("include", "exclude"):
        wished = getattr(request, name)
        if any(one is None or _is_listed(one) for one in wished):
            own[name] = [_rows_of(one) for one in wished]
    groups = request.groups
    listed = isinstance(groups, list) and len(groups) > 0 and isinstance(groups[0], list | np.ndarray)
    if listed or getattr(groups, "ndim", 1) == 2:
        own["groups"] = groups
    return own


def _is_listed(one: Any) -> bool:
    """Return whether one of some wishes is a list, an array or a column itself, and no row or id."""
    sized = hasattr(one, "__len__") and not isinstance(one, str | bytes)
    return sized and getattr(one, "ndim", 1) >= 1


def _rows_of(wished: Any) -> Any:
    """Return one query's rows or ids: nothing for None, the rows of a mask."""
    if wished is None:
        return ()
    if isinstance(wished, set | frozenset):
        return sorted(wished)
    if hasattr(wished, "as_py"):  # a list in an Arrow column
        return wished.as_py()
    mask = np.asarray(wished) if hasattr(wished, "dtype") else None
    return wished if mask is None or mask.dtype != np.bool_ else np.flatnonzero(mask)
