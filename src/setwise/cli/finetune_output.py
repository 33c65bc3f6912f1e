"""What ``setwise finetune`` prints: a summary that a person can act on, or a record for programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from setwise.cli import output
from setwise.finetuning.matched import Match, Sweep
from setwise.finetuning.row_selection import RowSelection, head
from setwise.finetuning.rows.sides import as_path, name_of
from setwise.finetuning.sources import OpenSources
from setwise.finetuning.targets import Mixture

if TYPE_CHECKING:
    from setwise.finetuning.pipeline import Pipeline


def show_sweep(
    pipeline: Pipeline,
    sources: OpenSources,
    sweep: Sweep,
    notes: Sequence[str],
    plot: str | None,
    *,
    as_json: bool,
) -> None:
    """Print what several diversities would choose."""
    lines = [*sources.notes, *notes]
    if as_json:
        output.print_json({**head(pipeline, sources), "sweep": sweep.rows(), "notes": lines})
        return
    out = _console(pipeline, lines)
    out.print(sweep.table(), soft_wrap=True)
    if plot is not None:
        output.note(f"drew {plot}")
    out.print(Text("choose one with --diversity, and --rows and --out to write rows", style="dim"))


def show(selection: RowSelection, notes: Sequence[str], *, as_json: bool) -> None:
    """Print what was chosen, drawn and written."""
    pipeline, sources, lines = selection.pipeline, selection.sources, [*selection.notes, *notes]
    if as_json:
        output.print_json({**selection.to_dict(), "notes": lines})
        return
    out = _console(pipeline, lines)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    for label, text in _facts(selection):
        table.add_row(Text(label, style="dim"), text)
    out.print(table)
    _print_rows(out, selection)
    if selection.written is not None:
        _note_files(selection)
    for path in (pipeline.indices, pipeline.drawn):
        if path is not None:
            output.note(f"wrote {path}")
    if selection.written is None and pipeline.indices is None and pipeline.drawn is None:
        how = "--indices FILE writes their numbers and probabilities"
        if sources.repository is not None:
            how = "--rows and --out FILE write rows"
        out.print(Text(f"nothing was written; {how}", style="dim"))
    if sources.encoder is not None:
        how = ", read from the cache" if sources.cached else ""
        out.print(Text(f"vectors: {sources.encoder}{how}", style="dim"))


def _console(pipeline: Pipeline, notes: Sequence[str]) -> Console:
    """Print notes and the line that says what this is of; return where the rest goes."""
    for line in notes:
        output.note(line)
    out = output.console()
    repository, like = as_path(pipeline.repository), as_path(pipeline.task)
    assert repository is not None
    title = Text(repository.resolve().name, style="bold")
    names = name_of(pipeline.task) if like is None else like.resolve().name
    if names is not None and pipeline.method != "random":
        title.append(" for ", style="not bold").append(names)
    out.print(title)
    return out


def _facts(selection: RowSelection) -> list[tuple[str, Text]]:
    """Return the lines of the summary."""
    pipeline, sources, found = selection.pipeline, selection.sources, selection.distribution
    facts: list[tuple[str, Text]] = []
    of = f"of {sources.n:,}" + (f" ({sources.n - sources.m:,} left out)" if sources.m < sources.n else "")
    if selection.epochs:
        sizes = [len(drawn) for drawn in selection.epochs]
        each = f"{sizes[0]:,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"
        epochs = f" in each of {len(sizes)} epochs" if len(sizes) > 1 else ""
        line = f"{each}{epochs}, {len(selection.distinct):,} distinct, {of}"
        if selection.tokens:
            most = max(selection.tokens)
            unit = pipeline.tokenizer if pipeline.tokenizer in ("words", "characters") else "tokens"
            line += f"; {most:,} {unit}{' at most' if len(sizes) > 1 else ''}"
        facts.append(("rows", Text(line)))
    else:
        facts.append(("rows", Text(f"{len(found):,} can be drawn, {of}")))
    top = float(found.probabilities.max())
    facts.append(("spread", Text(f"as {found.effective:,.0f} equal rows; the likeliest has {_share(top)}")))
    if isinstance(found, Match):
        facts += _match_facts(found)
    elif isinstance(found, Mixture):
        facts += _target_facts(selection)
    else:
        facts.append(("method", Text(pipeline.method)))
    return facts


def _target_facts(selection: RowSelection) -> list[tuple[str, Text]]:
    """Return a line a target: its share of the draws, what it reaches, and what it shares with others."""
    facts = []
    for one in selection.targets():
        told = one["distribution"]
        line = f"{_share(one['share'])} of draws for {one['examples']:,} examples, spread as over "
        line += f"{told['effective']:,.0f} rows"
        if "transport_cost" in told:
            line += f" at a mean distance of {told['transport_cost']:.3f}"
        common = ", ".join(f"{_share(part)} with {name}" for name, part in one["overlap"].items())
        cut = "" if told.get("complete", True) else "; cut short by --neighbors"
        facts.append((one["name"], Text(f"{line}; in common {common}{cut}")))
    return facts


def _match_facts(found: Match) -> list[tuple[str, Text]]:
    sizes = found.neighborhoods
    least, most = int(sizes.min()), int(sizes.max())
    hood = f"{sizes.mean():,.1f} rows an example ({least:,} to {most:,})"
    if least == most:
        hood = f"{least:,} row{'' if least == 1 else 's'} an example"
    line = f"{hood}, at a mean distance of {found.transport_cost:.3f}"
    match = Text(f"{line}; diversity {found.diversity:g}")
    if 1 < least == found.n and found.diversity < 1:
        match.append(": all rows alike; lower --diversity to choose among them", style="yellow")
    facts = [("match", match)]
    if found.regularizer == "kde":
        share = found.near_duplicate_share
        near = (
            f"{_share(share)} of draws are of rows with a near-duplicate, which share one row's probability"
        )
        if share == 0:
            near = "no row that can be drawn has a near-duplicate"
        within = "" if np.isnan(found.kernel_width) else f" (within {found.kernel_width:.3g})"
        facts.append(("repeats", Text(near + within)))
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


def _print_rows(out: Console, selection: RowSelection) -> None:
    """Print the examples that the repository covers least, and the rows drawn most."""
    drawn = selection.most_drawn()
    again = any((one["times"] or 0) > 1 for one in drawn)
    chosen = "most drawn rows" if again else "first rows drawn"
    tables = (
        (
            "least covered examples",
            "distance",
            [(f"{one['distance']:.3f}", one) for one in selection.least_covered()],
        ),
        (
            chosen if selection.epochs else "likeliest rows",
            "times" if selection.epochs else "share",
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


def _note_files(selection: RowSelection) -> None:
    written, out = selection.written, selection.pipeline.out
    assert written is not None
    names = [file.name for file in written.files]
    kept = len(written.kept)
    files = f"{out}{os.sep}{names[0]}" + (f" to {names[-1]}" if len(names) > 1 else "")
    if names == [Path(str(out)).name]:
        files = str(out)
    if kept == len(names):
        output.note(f"{files}: there already, whole and of the same rows")
    else:
        output.note(f"wrote {files}" + (f"; {kept} of them had been finished before" if kept else ""))


def _share(part: float) -> str:
    percent = 100 * part
    return f"{percent:.3g} %" if percent < 99.95 else "100 %"
