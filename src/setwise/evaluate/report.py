"""A comparison as one page that needs nothing else: tables, and pictures inside it."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from typing import Any

from setwise import page, plotting
from setwise._version import __version__
from setwise.evaluate.compare import TOP, Comparison
from setwise.evaluate.maps import Mapped
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
h1 { margin: 1rem 0 .3rem; } h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; overflow-wrap: anywhere; }
h2 { margin: 1.5rem 0 .5rem; font-size: 1.1rem; }
.wide { overflow-x: auto; margin-top: .8rem; }
.more { color: var(--came); font-weight: 600; } .less { color: var(--gone); font-weight: 600; }
td small { display: block; white-space: nowrap; }
figure { background: #fff; overflow-x: auto; } figure > svg { min-width: 38rem; }
footer { margin-top: 1.5rem; color: var(--soft); }
"""


def write_report(
    path: str | os.PathLike[str],
    comparison: Comparison,
    *,
    tuned: Sequence[Tuned] = (),
    maps: Sequence[Mapped] = (),
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
    maps : sequence of Mapped
        Questions to show, each with the sets of its size.
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
        f"<header><h1>{page.text(title)}</h1>"
        f"<p>{len(comparison.questions)} questions in {groups} groups. Differences are from top-k of the "
        "same size, paired by question; intervals are 95 %, by bootstrap over groups. <span class=more>▲ "
        "better</span>: the interval lies above 0; <span class=less>▼ worse</span>: below.</p>"
        "</header><main>",
        *(f"<p><strong>Held out:</strong> {page.text(one)}.</p>" for one in tuned),
    ]
    for k in sizes:
        parts += [
            f"<h2>k = {k}</h2>",
            f'<figure tabindex="0" aria-label="Frontier at k = {k}">{_picture(comparison, k)}</figure>',
        ]
        parts += [_table(comparison, k, measure) for measure in _SHOWN]
        parts += [_shown(one) for one in maps if one.configuration.k == k]
    how = f" Made by <code>{page.text(command)}</code>." if command else ""
    parts.append(f"</main><footer><p>setwise {__version__}.{how}</p></footer>")
    written = page.document(title, "".join(parts), _STYLE)
    write_atomic(path, lambda stream: stream.write(written.encode()), force=force)


def _table(comparison: Comparison, k: int, measure: str) -> str:
    """Return a table of a measure: methods down, diversities across."""
    means = comparison.of(measure).mean(axis=1)
    low, high = comparison.intervals[measure]
    places = {one: place for place, one in enumerate(comparison.configurations) if one.k == k}
    diversities = sorted({one.diversity for one in places if one.method != TOP})
    top = next(place for one, place in places.items() if one.method == TOP)
    head = ["method", *(f"diversity {t:g}" for t in diversities)]
    rows = [[page.text(TOP), f"{means[top]:.4f}", *[""] * (len(diversities) - 1)]]
    for method in dict.fromkeys(one.method for one in places if one.method != TOP):
        row = [page.text(method)]
        for diversity in diversities:
            place = next(
                p for one, p in places.items() if one.method == method and one.diversity == diversity
            )
            row.append(_cell(means[place], low[place], high[place], judged=measure != "seconds"))
        rows.append(row)
    titles = "".join(f'<th scope="col">{one}</th>' for one in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{one}</td>" for one in rest)}</tr>'
        for first, *rest in rows
    )
    label = f"{measure} at k = {k}"
    # A table that is wider than the screen is scrolled by the keyboard, too.
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{page.text(label)}"><table>'
        f"<caption>{page.text(measure)}</caption><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(mean: float, low: float, high: float, *, judged: bool) -> str:
    """Return a mean with the interval of its difference from top-k, marked where that is clear."""
    kind, mark = ("more", "▲ ") if low > 0 else ("less", "▼ ") if high < 0 else ("", "")
    if not judged:
        kind, mark = "", ""
    return f'<span class="{kind}">{mark}{mean:.4f}</span><small>{low:+.4f} to {high:+.4f}</small>'


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
    return _svg(figure, f"Frontier at k = {k}")


def _svg(figure: Any, label: str) -> str:
    """Return a figure as a part of a page, with a name for who does not see it."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    mine = re.sub(r"\W+", "-", label)  # a page has several figures, whose parts are called alike
    svg = re.sub(r'((?: id="|href="#|url\(#))', rf"\1{mine}-", text.getvalue())
    return svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{page.text(label)}" ', 1)


def _shown(one: Mapped) -> str:
    """Return a question's map, and its two lists with the right answers that each passage gives."""
    method, diversity, k = one.configuration
    figures = require("matplotlib.figure", "plot", "a report's pictures")
    figure: Any = figures.Figure(figsize=(10, 6), layout="constrained")
    plotting.draw_map(one.shown, figure.subplots())
    told = (
        f"{method} at diversity {diversity:g}, the highest mean aspect recall at k = {k} beside top-k, on "
        f"the question in the middle by what it gains over top-k: {one.difference:+.4f}"
    )
    label = f"Map of {len(one.shown.places)} candidates at k = {k}: "
    label += f"{len(one.shown.came)} of the set are not in top-k"
    short = [""] * (k - len(one.chosen))  # a set may end before
    lists = page.table(
        [
            ("place", list(range(1, k + 1))),
            ("most relevant", list(map(str, one.ranked))),
            ("gives answer", [one.answers.get(each, "") for each in one.ranked]),
            ("the set", [*map(str, one.chosen), *short]),
            ("gives answer", [*(one.answers.get(each, "") for each in one.chosen), *short]),
        ],
        most=k,
    )
    question, here = page.text(one.question), f"of “{page.text(one.question)}” at k = {k}"
    return (
        f'<h3 dir="auto">“{question}”</h3><p>{page.text(told)}.</p>'
        f'<figure tabindex="0" aria-label="Map {here}">{_svg(figure, label)}</figure>'
        f'<div class="wide" role="region" tabindex="0" aria-label="Both lists {here}">{lists}</div>'
    )
