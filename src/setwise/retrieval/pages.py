"""Pages: what earlier ones had, as a text that can be handed over the wire, and how far one call may go."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import numpy as np

from setwise.ids import as_ids
from setwise.index.base import Ids
from setwise.request import Request

#: Pages that one call selects, to reach the one that an offset names.
MOST_PAGES = 32

#: Ids that earlier pages may have had: each page is solved together with all of them.
MOST_BEFORE = 4096

#: What a cursor begins with: its version.
_MARK = "s1-"


def cursor_of(ids: Ids) -> str:
    """Return ids as a text of letters, digits, - and _."""
    plain = [name if isinstance(name, int) else str(name) for name in ids.tolist()]
    return _MARK + base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def earlier(after: Any) -> Ids:
    """Return the ids that earlier pages had, of a cursor or as they are.

    Raises TypeError: it is neither; ValueError: a text that is no cursor; an id is there twice; or they are
    more than `MOST_BEFORE`.
    """
    ids = as_ids(_decoded(after) if isinstance(after, str) else after, "after")
    if len(ids) > MOST_BEFORE:
        raise ValueError(
            f"after: {len(ids):,} ids of earlier pages are more than the {MOST_BEFORE:,} that a page is "
            "selected with; narrow the query, or exclude what was shown"
        )
    if len(set(ids.tolist())) < len(ids):
        raise ValueError("after: an id is there twice; pass each once, or the cursor of the page before")
    return ids


def check_pages(request: Request, argument: str, asked: bool) -> None:
    """Refuse further pages of what has wishes: those are of one set, and a page is not.

    Raises ValueError: pages are `asked` for, by this argument, and there are wishes.
    """
    if asked and request.wishes:
        raise ValueError(
            f"{argument}: not with {request.wishes[0]}; name what was returned before as shown=hits.ids"
        )


def check_offset(offset: int, k: int) -> None:
    """Refuse an offset that takes more than `MOST_PAGES` pages to reach. Raises ValueError: it does."""
    if offset > (MOST_PAGES - 1) * k:
        raise ValueError(
            f"offset: {offset} is past {MOST_PAGES} pages of {k}, and each is selected on the way; "
            f"at most {(MOST_PAGES - 1) * k}, or go on from the page before: after=hits.cursor (--after)"
        )


def _decoded(cursor: str) -> list[Any]:
    """Return what a cursor holds, which may come from anywhere."""
    try:
        if not cursor.startswith(_MARK) or len(cursor) > 1 << 20:
            raise ValueError
        packed = cursor.removeprefix(_MARK)
        ids = json.loads(base64.b64decode(packed + "=" * (-len(packed) % 4), b"-_", validate=True))
        if not isinstance(ids, list) or not all(type(name) in (int, str) for name in ids):
            raise ValueError
    except (ValueError, binascii.Error, RecursionError):
        raise ValueError(f"after: {cursor:.40} is no cursor; pass that of the page before, whole") from None
    return ids


def without(ids: Ids, others: Ids) -> Ids:
    """Return ids in their order, but for some."""
    left = set(others.tolist())
    return ids[np.fromiter((name not in left for name in ids.tolist()), np.bool_, len(ids))]
