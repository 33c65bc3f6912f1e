"""Parts of the HTML that people see: text that cannot be markup, tables, a line of facts.

They load nothing and run nothing. Those for notebooks have no classes or styles that a notebook would need to
know; whole pages share one style.
"""

from __future__ import annotations

import html
import numbers
import re
from collections.abc import Iterable, Sequence
from typing import Any

#: Rows of a table that are shown, columns, and characters of a cell.
ROWS, COLUMNS, CHARACTERS = 20, 10, 160

#: What no page may hold: control characters but tabs and line ends, and halves of characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

#: How a column that is read, rather than compared, stands.
_READ = ' style="text-align:left;white-space:pre-wrap;max-width:40em"'


def text(value: object) -> str:
    """Return a value as text that is text alone wherever it stands in a page, in an attribute too."""
    return html.escape(_UNPRINTABLE.sub("\ufffd", str(value)))


def cell(value: Any) -> str:
    """Return a value of a table as text: numbers to four digits, long texts cut, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return f"{float(value):.4g}"
    words = str(value)
    return text(words if len(words) <= CHARACTERS else f"{words[: CHARACTERS - 1]}…")


def table(columns: Sequence[tuple[str, Sequence[Any]]], most: int = ROWS) -> str:
    """Return columns, by name and all of one length, as a table; of more than `COLUMNS` the first.

    At most so many rows are shown; how many more there are is said below.
    """
    shown = columns[:COLUMNS]
    total = max((len(values) for _, values in shown), default=0)
    drawn = [[*values[:most]] for _, values in shown]
    looks = [_READ if any(isinstance(one, str) for one in values) else "" for values in drawn]
    head = "".join(
        f'<th scope="col"{look}>{text(name)}</th>' for (name, _), look in zip(shown, looks, strict=True)
    )
    # A text of another writing direction stays in its cell.
    body = "".join(
        "<tr>"
        + "".join(f'<td dir="auto"{look}>{cell(one)}</td>' for one, look in zip(row, looks, strict=True))
        + "</tr>"
        for row in zip(*drawn, strict=True)
    )
    more = f"<p>… {total - most:,} more</p>" if total > most else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def block(title: str, facts: Iterable[str], below: str) -> str:
    """Return a heading and facts, which are text, above some HTML."""
    lines = "".join(f"<br>{text(fact)}" for fact in facts)
    return f"<div><p><strong>{text(title)}</strong>{lines}</p>{below}</div>"


def style() -> str:
    """Return the style that all pages share."""
    from importlib.resources import files

    return files("setwise").joinpath("theme.css").read_text(encoding="utf-8")


def document(title: str, body: str, more: str = "") -> str:
    """Return a page that needs nothing else, and may load and run nothing.

    Parameters
    ----------
    title : str
        Text.
    body : str
        HTML.
    more : str
        Styles besides those that all pages share.
    """
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{text(title)}</title><style>{style()}{more}</style></head><body>{body}</body></html>\n"
    )
