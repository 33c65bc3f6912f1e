"""A comparison as one page that needs nothing else: tables, and pictures inside it."""

from __future__ import annotations

import html
import io
import os
from collections.abc import Iterable, Sequence
from typing import Any

from setwise._version import __version__
from setwise.evaluate.compare import TOP, Comparison
from setwise.evaluate.tune import Tuned
from setwise.extras import require
from setwise.files import check_output, write_atomic

#: Colors that remain apart for readers who see few (Okabe and Ito), and markers.
_LOOKS = [
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "v"),
    ("#E69F00", "D"),
    ("#56B4E9", "P"),
]

#: Measures in the tables; higher is better in all but seconds.
_SHOWN = ("aspect recall", "alpha-nDCG", "all answers", "ILAD", "seconds")

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --good: #0a7d32; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --good: #6fd08c; --bad: #ff8a80; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
.more { color: var(--good); font-weight: 600; } .less { color: var(--bad); }
figure { margin: 1rem 0; background: #fff; } figure svg { max-width: 100%; height: auto; }
"""


def write_report(
    path: str | os.PathLike[str],
    comparison: Comparison,
    *,
    tuned: Sequence[Tuned] = (),
    title: str = "Ways to select, compared",
    command: str = "",
    force: bool = False,
) -> None:
    """Write a comparison as one HTML file that loads nothing.

    Parameters
    ----------
    path : path
        Ends in .html.
    comparison : Comparison
    tuned : sequence of Tuned
        Choices to report.
    title : str
    command : str
        How the figures can be had again.
    force : bool
        Whether a file that is there is replaced.

    Raises
    ------
    ImportError
        matplotlib is not installed (the extra ``plot``).
    FileExistsError, FileNotFoundError, ValueError
        As for `setwise.files.check_output`.
    """
    check_output(path, force=force, endings=(".html",))
    sizes = list(dict.fromkeys(one.k for one in comparison.configurations))
    groups = int(comparison.groups.max()) + 1
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{len(comparison.questions)} questions in {groups} groups. Differences are from top-k of the "
        "same size, paired by question; intervals are 95 %, by bootstrap over groups. <span class=more>Green"
        "</span>: the interval lies above 0; <span class=less>red</span>: below.</p>",
        *(f"<p><strong>Held out:</strong> {html.escape(str(one))}.</p>" for one in tuned),
    ]
    for k in sizes:
        parts += [f"<h2>k = {k}</h2>", f"<figure>{_picture(comparison, k)}</figure>"]
        parts += [_table(comparison, k, measure) for measure in _SHOWN]
    how = f" Made by <code>{html.escape(command)}</code>." if command else ""
    parts.append(f"<p>setwise {__version__}.{how}</p>")
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>{''.join(parts)}</html>\n"
    )
    write_atomic(path, lambda stream: stream.write(page.encode()), force=force)


def _table(comparison: Comparison, k: int, measure: str) -> str:
    """Return a table of a measure: methods down, diversities across."""
    means = comparison.of(measure).mean(axis=1)
    low, high = comparison.intervals[measure]
    places = {one: place for place, one in enumerate(comparison.configurations) if one.k == k}
    diversities = sorted({one.diversity for one in places if one.method != TOP})
    top = next(place for one, place in places.items() if one.method == TOP)
    rows = [[measure, *(f"diversity {t:g}" for t in diversities)]]
    cells: list[list[str]] = [[html.escape(TOP), f"{means[top]:.4f}", *[""] * (len(diversities) - 1)]]
    for method in dict.fromkeys(one.method for one in places if one.method != TOP):
        row = [html.escape(method)]
        for diversity in diversities:
            place = next(
                p for one, p in places.items() if one.method == method and one.diversity == diversity
            )
            kind = "more" if low[place] > 0 else "less" if high[place] < 0 else ""
            if measure == "seconds":
                kind = ""
            hint = f"{low[place]:+.4f} to {high[place]:+.4f} from top-k"
            row.append(f'<span class="{kind}" title="{hint}">{means[place]:.4f}</span>')
        cells.append(row)
    head = "".join(f'<th scope="col">{one}</th>' for one in rows[0])
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{_lines(cells)}</tbody></table></div>'
    )


def _lines(cells: Iterable[Sequence[str]]) -> str:
    """Return a table's body."""
    return "".join(f"<tr>{''.join(f'<td>{one}</td>' for one in row)}</tr>" for row in cells)


def _picture(comparison: Comparison, k: int) -> str:
    """Return the frontier of aspect recall and ILAD, and the time, as SVG."""
    figures = require("matplotlib.figure", "plot", "a report's pictures")
    figure: Any = figures.Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    recall, spread, seconds = (
        comparison.of(name).mean(axis=1) for name in ("aspect recall", "ILAD", "seconds")
    )
    labels, times = [], []
    here = [(place, one) for place, one in enumerate(comparison.configurations) if one.k == k]
    for number, method in enumerate(dict.fromkeys(one.method for _, one in here)):
        own = sorted((one.diversity, place) for place, one in here if one.method == method)
        places = [place for _, place in own]
        color, marker = ("#000000", "*") if method == TOP else _LOOKS[(number - 1) % len(_LOOKS)]
        left.plot(spread[places], recall[places], marker=marker, color=color, label=method)
        labels.append(method)
        times.append(1000 * seconds[places].mean())
    left.set(xlabel="ILAD: mean distance within the set", ylabel=f"aspect recall at {k}")
    left.legend(fontsize="small")
    right.barh(labels[::-1], times[::-1], color="#0072B2")
    right.set(xlabel="milliseconds a question")
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="Frontier at k = {k}" ', 1)
