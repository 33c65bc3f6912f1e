"""What ``setwise finetune`` gives: a summary that a person can act on, and a record for programs."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from setwise._version import __version__
from setwise.cli import output
from setwise.finetuning.matched import Match

if TYPE_CHECKING:
    from setwise.cli.finetune_input import Sources
    from setwise.cli.finetune_run import Outcome

#: Rows and examples that are shown.
_SHOWN = 3

#: A row of this density has a near-duplicate; 1 is its own.
_ALONE = 1.0 + 1e-6


def as_record(outcome: Outcome, sources: Sources) -> dict[str, Any]:
    """Return everything that a run of ``setwise finetune`` found, as plain values.

    Returns
    -------
    dict
        ``setwise`` (version), ``repository`` and ``examples`` (as they were named), ``encoder``,
        ``candidates`` (how many), ``left_out`` (rows without a word), ``settings``, ``sweep`` (a record a
        diversity, or null), ``distribution`` (``rows``, ``chosen`` = those of positive probability,
        ``effective``, ``top_row`` and, of a match, all of `Match.to_dict` and ``near_duplicate_share``),
        ``epochs`` (``rows``, ``distinct``, ``tokens`` and ``file`` of each), ``distinct`` (over all epochs),
        ``least_covered`` (``row``, ``distance`` and ``text`` of examples), ``most_drawn`` (``row``,
        ``times``, ``probability`` and ``text``), ``notes`` and ``seconds``.
    """
    read, found = outcome.read, outcome.distribution
    match: dict[str, Any] = {}
    if found is not None:
        match = {
            "rows": found.n,
            "chosen": len(found),
            "effective": found.effective,
            "top_row": float(found.probabilities.max()),
        }
        if isinstance(found, Match):
            match = {**match, **found.to_dict(), "near_duplicate_share": near_duplicate_share(found)}
        # What does not apply, such as a kernel's width without a kernel, is no number in JSON.
        match = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in match.items()
        }
    return {
        "setwise": __version__,
        "repository": sources.repository,
        "examples": sources.examples or sources.example_vectors,
        "encoder": read.encoder,
        "candidates": read.m,
        "left_out": read.n - read.m,
        "settings": outcome.wish.settings,
        "sweep": None if outcome.sweep is None else outcome.sweep.rows(),
        "distribution": match or None,
        "epochs": [
            {
                "rows": len(drawn),
                "distinct": len(np.unique(drawn)),
                "tokens": outcome.tokens[number] if outcome.tokens else None,
                "file": _file_of(outcome, number),
            }
            for number, drawn in enumerate(outcome.draws)
        ],
        "distinct": len(_distinct(outcome)),
        "least_covered": least_covered(outcome),
        "most_drawn": most_drawn(outcome),
        "notes": outcome.notes,
        "seconds": outcome.seconds,
    }


def near_duplicate_share(found: Match) -> float:
    """Return the probability of drawing a row that has a near-duplicate in the repository."""
    return float(found.probabilities[found.densities > _ALONE].sum())


def least_covered(outcome: Outcome) -> list[dict[str, Any]]:
    """Return the examples that are farthest from the repository, farthest first."""
    found, read = outcome.distribution, outcome.read
    if not isinstance(found, Match):
        return []
    places = np.argsort(-found.nearest, kind="stable")[:_SHOWN]
    texts = read.example_texts(places)
    return [
        {
            "row": int(read.example_rows[place]),
            "distance": float(found.nearest[place]),
            "text": None if texts is None else texts[number],
        }
        for number, place in enumerate(places.tolist())
    ]


def most_drawn(outcome: Outcome) -> list[dict[str, Any]]:
    """Return the rows drawn most often over all epochs; the first drawn where none comes twice.

    Where no row is drawn, they are the likeliest.
    """
    found, read = outcome.distribution, outcome.read
    if found is None:
        return []
    known = _rows_of(outcome, found.indices)  # ascending, as a distribution's are

    def likely(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        mass: NDArray[np.float64] = found.probabilities[np.searchsorted(known, rows)]
        return mass

    times: list[int | None] = [None] * _SHOWN
    if outcome.draws:
        rows, counts = np.unique(np.concatenate(outcome.draws), return_counts=True)
        first = np.lexsort((rows, -likely(rows), -counts))[:_SHOWN]
        top = rows[first] if counts.max() > 1 else outcome.draws[0][:_SHOWN]
        times = counts[np.searchsorted(rows, top)].tolist()
    else:
        top = known[np.argsort(-found.probabilities, kind="stable")[:_SHOWN]]
    texts = read.texts_of(top)
    return [
        {
            "row": row,
            "times": times[number],
            "probability": float(likely(top)[number]),
            "text": None if texts is None else texts[number],
        }
        for number, row in enumerate(top.tolist())
    ]


def print_outcome(outcome: Outcome, sources: Sources) -> None:
    """Print what was chosen, drawn and written."""
    for line in outcome.notes:
        output.note(line)
    out = output.console()
    read, wish = outcome.read, outcome.wish
    head = Text(Path(sources.repository).resolve().name, style="bold")
    like = sources.examples or sources.example_vectors
    if like is not None and wish.method != "random":
        head.append(" for ", style="not bold").append(Path(like).resolve().name)
    out.print(head)
    if outcome.sweep is not None:
        out.print(outcome.sweep.table(), soft_wrap=True)
        if wish.plot is not None:
            output.note(f"drew {wish.plot}")
        out.print(Text("choose one with --diversity, and --rows and --out to write rows", style="dim"))
        return
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    for label, text in _facts(outcome):
        lines.add_row(Text(label, style="dim"), text)
    out.print(lines)
    _print_rows(out, outcome)
    if outcome.written is not None:
        _note_files(outcome)
    for path in (wish.indices, wish.drawn):
        if path is not None:
            output.note(f"wrote {path}")
    if outcome.written is None and wish.indices is None and wish.drawn is None:
        how = "--indices FILE writes their numbers and probabilities"
        if read.repository is not None:
            how = "--rows and --out FILE write rows"
        out.print(Text(f"nothing was written; {how}", style="dim"))
    if read.encoder is not None:
        how = ", read from the cache" if read.cached else ""
        out.print(Text(f"vectors: {read.encoder}{how}", style="dim"))


def _facts(outcome: Outcome) -> list[tuple[str, Text]]:
    """Return the lines of the summary."""
    read, wish, found = outcome.read, outcome.wish, outcome.distribution
    assert found is not None
    facts: list[tuple[str, Text]] = []
    of = f"of {read.n:,}" + (f" ({read.n - read.m:,} left out)" if read.m < read.n else "")
    if outcome.draws:
        sizes = [len(drawn) for drawn in outcome.draws]
        each = f"{sizes[0]:,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"
        epochs = f" in each of {len(sizes)} epochs" if len(sizes) > 1 else ""
        line = f"{each}{epochs}, {len(_distinct(outcome)):,} distinct, {of}"
        if outcome.tokens:
            most, unit = max(outcome.tokens), "words" if wish.length_column is None else "tokens"
            line += f"; {most:,} {unit}{' at most' if len(sizes) > 1 else ''}"
        facts.append(("rows", Text(line)))
    else:
        facts.append(("rows", Text(f"{len(found):,} can be drawn, {of}")))
    top = float(found.probabilities.max())
    facts.append(("spread", Text(f"as {found.effective:,.0f} equal rows; the likeliest has {_share(top)}")))
    if isinstance(found, Match):
        facts += _match_facts(found)
    else:
        facts.append(("method", Text(wish.method)))
    return facts


def _match_facts(found: Match) -> list[tuple[str, Text]]:
    sizes = found.neighborhoods
    least, most = int(sizes.min()), int(sizes.max())
    hood = f"{sizes.mean():,.1f} rows an example ({least:,} to {most:,})"
    if least == most:
        hood = f"{least:,} row{'' if least == 1 else 's'} an example"
    line = f"{hood}, at a mean distance of {found.transport_cost:.3f}"
    facts = [("match", Text(f"{line}; diversity {found.diversity:g}"))]
    if found.regularizer == "kde":
        share = near_duplicate_share(found)
        near = (
            f"{_share(share)} of draws are of rows with a near-duplicate, which share one row's probability"
        )
        if share == 0:
            near = "no row that can be drawn has a near-duplicate"
        facts.append(("repeats", Text(f"{near} (within {found.kernel_width:.3g})")))
    if found.complete:
        union = found.stats.get("union")
        among = "" if union is None else f", among the {union:,} rows that the index returned"
        facts.append(("optimal", Text(f"yes: more neighbors would change nothing{among}", style="green")))
    else:
        more = min(2 * found.neighbors, found.n)
        text = f"cut short by the {found.neighbors:,} neighbors; raise --neighbors to {more:,}"
        if found.short_of_index:
            text = f"cut short by the {found.neighbors:,} rows that the index returned; search it wider"
        facts.append(("optimal", Text(f"{text}, or lower --diversity", style="yellow")))
    far, middle = float(found.nearest.max()), float(np.median(found.nearest))
    facts.append(
        ("coverage", Text(f"nearest row of an example: {middle:.3f} away (median), {far:.3f} at most"))
    )
    return facts


def _print_rows(out: Console, outcome: Outcome) -> None:
    """Print the examples that the repository covers least, and the rows drawn most."""
    drawn = most_drawn(outcome)
    again = any((one["times"] or 0) > 1 for one in drawn)
    chosen = "most drawn rows" if again else "first rows drawn"
    tables = (
        (
            "least covered examples",
            "distance",
            [(f"{one['distance']:.3f}", one) for one in least_covered(outcome)],
        ),
        (
            chosen if outcome.draws else "likeliest rows",
            "times" if outcome.draws else "share",
            [
                (_share(one["probability"]) if one["times"] is None else f"{one['times']:,}", one)
                for one in drawn
            ],
        ),
    )
    for title, label, rows in tables:
        if not rows:
            continue
        grid = Table(box=None, pad_edge=False)
        width = max(16, out.width - 24)
        grid.add_column(label, justify="right", header_style="dim", no_wrap=True)
        grid.add_column("row", justify="right", header_style="dim", no_wrap=True)
        told = any(one["text"] is not None for _, one in rows)
        if told:
            grid.add_column("text", header_style="dim", no_wrap=True)
        for value, one in rows:
            text = Text("" if one["text"] is None else output.one_line(one["text"]))
            text.truncate(width, overflow="ellipsis")
            grid.add_row(value, f"{one['row']:,}", *([text] if told else []))
        out.print()
        out.print(Text(title, style="bold"))
        out.print(grid)
    out.print()


def _note_files(outcome: Outcome) -> None:
    written = outcome.written
    assert written is not None
    kept = len(written.kept)
    if len(written.files) == 1:
        files = str(outcome.wish.out)
        files = (
            files if written.files[0].name == Path(files).name else f"{files}{os.sep}{written.files[0].name}"
        )
    else:
        files = f"{outcome.wish.out}{os.sep}{written.files[0].name} to {written.files[-1].name}"
    if kept == len(written.files):
        output.note(f"{files}: there already, whole and of the same rows")
    else:
        output.note(f"wrote {files}" + (f"; {kept} of them had been finished before" if kept else ""))


def _share(part: float) -> str:
    percent = 100 * part
    return f"{percent:.3g} %" if percent < 99.95 else "100 %"


def _distinct(outcome: Outcome) -> NDArray[np.int64]:
    if not outcome.draws:
        return np.empty(0, np.int64)
    return np.unique(np.concatenate(outcome.draws))


def _rows_of(outcome: Outcome, candidates: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return candidates as rows of the repository."""
    rows = outcome.read.rows
    return candidates if rows is None else rows[candidates]


def _file_of(outcome: Outcome, number: int) -> str | None:
    written = outcome.written
    if written is None:
        return None
    return str(written.files[number if len(written.files) > 1 else 0])
