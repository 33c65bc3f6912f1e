"""Options of ``setwise finetune`` that say what rows are worth, and which there may be."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from setwise.cli.options import option

_worth = partial(option, panel="What rows are worth")

Quality = Annotated[
    str | None,
    _worth(
        "--quality",
        help="Column with a number above 0: where all else is equal, a row of twice the quality is twice as "
        "likely.",
        metavar="COLUMN",
    ),
]
Densities = Annotated[
    str | None,
    _worth(
        "--densities",
        help="Column that says how many near-duplicates each row has, itself among them; none are counted "
        "then.",
        metavar="COLUMN",
    ),
]
ShareLimit = Annotated[
    list[str] | None,
    _worth(
        "--limit",
        help="How much of the draws may be of one label in a column: source=0.3 at most 0.3, source=0.05:0.3 "
        "from 0.05 to 0.3. Repeat for several.",
        metavar="COLUMN=SHARE",
    ),
]
ExcludeExamples = Annotated[
    bool,
    _worth(
        "--exclude-examples",
        help="Leave out rows that are examples, or nearer to one than near-duplicates are to each other.",
        metavar="",
    ),
]


def as_shares(typed: list[str] | None) -> dict[str, tuple[float, float]] | None:
    """Return limits on shares: the least and the most, by column.

    Raises
    ------
    ValueError
        One is not COLUMN=MOST or COLUMN=LEAST:MOST, or a column is named twice.
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
