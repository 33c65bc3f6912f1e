"""Options of ``setwise finetune`` that say what rows are worth, which there may be, and how many."""

from __future__ import annotations

import os
from typing import Annotated, Any

from setwise.cli.options import option

ShareLimit = Annotated[
    list[str] | None,
    option(
        "--limit COLUMN=SHARE",
        "How much of the draws may be of one label in a column: source=0.3 at most 0.3, source=0.05:0.3 "
        "from 0.05 to 0.3. Repeat for several.",
        "What rows are worth",
    ),
]
Replace = Annotated[
    bool | None,
    option(
        "--with-replacement/--without-replacement",
        "Whether one epoch may hold a row several times.",
        "How many rows",
        show_default="with for match, without for the other methods",
    ),
]


def as_shares(typed: list[str] | None) -> dict[str, tuple[float, float]] | None:
    """Return limits on shares: the least and the most, by column.

    Raises ValueError: one is not COLUMN=MOST or COLUMN=LEAST:MOST, or a column is named twice.
    """
    found: dict[str, tuple[float, float]] = {}
    for one in typed or ():
        name, _, numbers = one.rpartition("=")
        least, _, most = numbers.rpartition(":")
        try:
            ends = float(least or 0), float(most)
        except ValueError:
            ends = None
        if not name or ends is None:
            raise ValueError(f"limit: expected COLUMN=SHARE or COLUMN=LEAST:MOST, got {one!r}")
        if name in found:
            raise ValueError(f"limit: {name!r} is named twice; COLUMN=LEAST:MOST has both")
        found[name] = ends
    return found or None


def as_targets(typed: list[str] | None) -> Any:
    """Return examples as `Pipeline` takes them: one path, or several by name with their weights.

    Raises ValueError: of several one has no name, or two have the same.
    """
    if not typed or (len(typed) == 1 and (os.path.exists(typed[0]) or "=" not in typed[0])):
        return typed[0] if typed else None
    found: dict[str, tuple[str, float]] = {}
    for one in typed:
        name, equals, path = one.partition("=")
        if not name or not equals or not path:
            raise ValueError(f"examples: of several targets each needs a name, NAME=PATH; got {one!r}")
        if name in found:
            raise ValueError(f"examples: two targets are called {name!r}")
        head, colon, tail = path.rpartition(":")
        weight = 1.0
        if colon and head and not os.path.exists(path):
            try:
                path, weight = head, float(tail)
            except ValueError:
                raise ValueError(f"examples: {tail!r} is no weight; expected NAME=PATH:WEIGHT") from None
        found[name] = (path, weight)
    return found
