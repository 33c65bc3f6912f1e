"""Options of ``setwise finetune`` that say what rows are worth, which there may be, and how many."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from setwise.cli.options import option

_worth = partial(option, panel="What rows are worth")
_count = partial(option, panel="How many rows")

Quality = Annotated[
    str | None,
    _worth(
        "--quality COLUMN",
        "Column with a number above 0: where all else is equal, a row of twice the quality is twice as "
        "likely.",
    ),
]
Densities = Annotated[
    str | None,
    _worth(
        "--densities COLUMN",
        "Column that says how many near-duplicates each row has, itself among them; none are counted then.",
    ),
]
ShareLimit = Annotated[
    list[str] | None,
    _worth(
        "--limit COLUMN=SHARE",
        "How much of the draws may be of one label in a column: source=0.3 at most 0.3, source=0.05:0.3 "
        "from 0.05 to 0.3. Repeat for several.",
    ),
]
ExcludeExamples = Annotated[
    bool,
    _worth(
        "--exclude-examples",
        "Leave out rows that are examples, or nearer to one than near-duplicates are to each other.",
    ),
]
Rows = Annotated[int | None, _count("--rows COUNT", "Draw this many rows for each epoch.")]
Fraction = Annotated[
    float | None,
    _count("--fraction SHARE", "Draw this share of the repository's rows for each epoch, such as 0.01."),
]
Tokens = Annotated[
    int | None,
    _count(
        "--tokens COUNT", "Draw as many rows for each epoch as have this many tokens in all, or just fewer."
    ),
]
Unit = Annotated[
    str,
    _count(
        "--tokenizer UNIT",
        "What --tokens counts: tokens (words, numbers, marks, and characters of scripts without "
        "spaces), words, characters, tiktoken:ENCODING, or tokenizers: and a tokenizer.json or a model's "
        "folder.",
    ),
]
LengthColumn = Annotated[
    str | None,
    _count(
        "--length-column COLUMN",
        "Column with the number of tokens in each row, for --tokens.",
        show_default="the tokens of its text are counted",
    ),
]
Epochs = Annotated[int, _count("--epochs COUNT", "How many epochs to draw, each afresh; 10,000 at most.")]
Replace = Annotated[
    bool | None,
    _count(
        "--with-replacement/--without-replacement",
        "Whether one epoch may hold a row several times.",
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
    if not typed or (len(typed) == 1 and (Path(typed[0]).exists() or "=" not in typed[0])):
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
        if colon and head and not Path(path).exists():
            try:
                path, weight = head, float(tail)
            except ValueError:
                raise ValueError(f"examples: {tail!r} is no weight; expected NAME=PATH:WEIGHT") from None
        found[name] = (path, weight)
    return found
