"""What a person sees of ``setwise retrieve`` and the demo: sets as tables, and what each is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from setwise.cli.output import SLIM, console, enough, milliseconds, one_line, proof, terms
from setwise.retrieval import Passages, PreparedCorpus

if TYPE_CHECKING:
    from setwise.index.saved import SavedIndex

#: Lines of a member's text, where it is not asked for in full.
_LINES = 4

#: Ids up to this long share a line with their text where two sets stand side by side.
_SHORT_ID = 8


def print_introduction(
    candidates: PreparedCorpus, noun: str, encoding: float, k: int, diversity: float
) -> None:
    """Print what the demo is about to do."""
    how = "read from the cache" if candidates.cached else f"encoded in {milliseconds(encoding)}"
    model = candidates.encoder.name if candidates.encoder is not None else "your own vectors"
    lines = Text()
    lines.append(f"{len(candidates):,} {noun}, {how}\n", style="bold")
    lines.append(f"vectors: {model}\n", style="dim")
    lines.append(
        f"Left: the {k} most relevant one by one. Right: the best set of {k} at diversity {diversity:g}.\n"
        "≈2 marks what says nearly the same as number 2; - and + what only one side has;\n"
        "closest is the largest cosine of two.\n"
    )
    console().print(lines)


def print_next_step() -> None:
    """Print how to go on with texts of one's own."""
    out = console()
    out.print(Text("Your own texts: ", style="dim") + Text('setwise retrieve --corpus FOLDER --query "…"'))


def print_hits(
    hits: Passages,
    n: int,
    objective: str,
    heading: str,
    *,
    offset: int = 0,
    pool: int | str | None = None,
    full: bool = False,
    any_size: bool = False,
) -> None:
    """Print a set of n candidates: one row a member, then what it is worth.

    Parameters
    ----------
    offset : int
        How many stand on the pages before this one.
    pool : "auto" or int, optional
        How many candidates of an index were asked for: says whether that was enough, too.
    full : bool
        Print texts whole.
    any_size : bool
        Whether the set's size was left to what members are worth.
    """
    out = console()
    longest = max(len(_identity(name)) for name in hits.ids)
    id_width = max(2, min(longest, out.width // 3)) if out.is_terminal else longest
    if not out.is_terminal:  # what is piped has its ids whole
        out.width = max(out.width, longest + 40)
    numbers = ("relevance", "gain") if out.width >= SLIM else ()
    text_width = max(16, out.width - id_width - 32)
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=Text(heading, style="bold"), title_justify="left"
    )
    for label in ("", "id", *numbers):
        table.add_column(label, justify="left" if label == "id" else "right", no_wrap=True)
    if hits.texts is not None:
        table.add_column("text", max_width=text_width)
    for position in range(len(hits)):
        cells = [
            Text(str(offset + position + 1), style="dim"),
            middle(_identity(hits.ids[position]), id_width, "bold"),
            Text(_number(hits.relevances[position])),
            Text(_number(hits.selection.gains[position]), style="dim"),
        ][: 2 + len(numbers)]
        if hits.texts is not None:
            text = Text().append_text(_echo(hits.echoes, position)).append(one_line(hits.texts[position]))
            cells.append(Text("\n").join(_fit(out, text, text_width, None if full else _LINES)))
        table.add_row(*cells)
    out.print(table)
    lines = Table.grid(padding=(0, 2))
    lines.add_row(Text("set", style="dim"), _terms(hits))
    lines.add_row("", Text(legend(objective, any_size), style="dim"))
    lines.add_row(Text("proof", style="dim"), proof(hits.selection, n, objective, offset))
    if pool is not None:
        lines.add_row(Text("pool", style="dim"), _enough(hits, n, pool))
    out.print(lines)


def legend(objective: str, any_size: bool) -> str:
    """Return what the numbers of a set mean."""
    relevance, diversity = terms(objective, any_size)
    return (
        f"relevance: {relevance} · diversity: {diversity} · closest: cosine of the closest two · "
        "gain: what a member adds to those above it"
    )


def print_side_by_side(
    left: tuple[str, Passages],
    right: tuple[str, Passages],
    n: int,
    objective: str,
    heading: str,
    *,
    pool: int | str | None = None,
    full: bool = False,
    meaning: str | None = None,
) -> None:
    """Print two sets of n candidates beside each other, marking what differs, then what each is worth."""
    out = console()
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, title_justify="left")
    table.title = Text(heading, style="bold")
    sides = (("-", "bright_red", *left, right[1]), ("+", "bright_green", *right, left[1]))
    for _, _, label, hits, _ in sides:
        table.add_column(f"{label} ({len(hits)})", ratio=1)
    width = max(16, (out.width - 6) // 2)
    columns = [
        [
            _cell(out, hits, position, width, mark, color, set(other.rows.tolist()), full)
            for position in range(len(hits))
        ]
        for mark, color, _, hits, other in sides
    ]
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    out.print(table)
    lines = Table.grid(padding=(0, 2))
    lines.add_row(Text(left[0], style="bold"), _terms(left[1]))
    lines.add_row("", Text(_compare(left[1], right[1], right[0]), style="dim"))
    lines.add_row(Text(right[0], style="bold"), _terms(right[1]))
    lines.add_row("", proof(right[1].selection, n, objective))
    if pool is not None:
        lines.add_row("", _enough(right[1], n, pool))
    if meaning is not None:
        lines.add_row("", Text(meaning, style="dim"))
    out.print(lines)
    out.print()


def print_origin(candidates: PreparedCorpus, hits: Passages, encoding: float) -> None:
    """Print where the vectors came from and how the set was found."""
    found = f"selected by {hits.selection.solver} in {milliseconds(hits.selection.seconds)}"
    model = "" if candidates.encoder is None else candidates.encoder.name
    if candidates.corpus.vectors is not None:
        vectors = f"vectors: your own, {candidates.vectors.shape[1]} d{model and '; query: '}{model}"
    else:
        vectors = f"vectors: {model}"
        found += f", {'read from the cache' if candidates.cached else 'encoded'} in {milliseconds(encoding)}"
    console().print(Text(f"{vectors}\n{found}", style="dim"))


def print_index_origin(saved: SavedIndex, hits: Passages, encoding: float) -> None:
    """Print which index was asked, and how long that took."""
    searches = hits.selection.stats.get("searches")
    often = "" if not searches else f" after {searches} search{'es' if searches > 1 else ''}"
    found = f"selected by {hits.selection.solver} in {milliseconds(hits.selection.seconds)}{often}"
    query = ""
    if saved.info.encoder is not None:
        query = f"; {saved.info.encoder['name']}"
        found += f", query encoded in {milliseconds(encoding)}"
    how = "" if saved.info.faiss is None else f", FAISS {saved.info.faiss['factory']}"
    size = f"{saved.info.n:,} × {saved.info.d:,}{how}"
    console().print(Text(f"index: {saved.path.resolve().name}, {size}{query}\n{found}", style="dim"))


def _compare(hits: Passages, better: Passages, label: str) -> str:
    """Return how a set's value stands against another's."""
    if set(hits.rows.tolist()) == set(better.rows.tolist()):
        return f"the same set as {label}"
    own, other = hits.selection.value, better.selection.value
    differ = len(set(hits.rows.tolist()) - set(better.rows.tolist()))
    short = (other - own) / max(abs(other), 1e-12)
    worth = f"by the objective worth {abs(short) * 100:.2g} % {'less' if short >= 0 else 'more'} than {label}"
    return f"{worth}; {differ} of {len(hits)} differ"


def _enough(hits: Passages, n: int, pool: int | str) -> Text:
    known = hits.selection.certificate
    fine = known is not None and (known.pool_sufficient or known.pool_size >= n)
    return Text(enough(hits.selection, n, pool), style="green" if fine else "yellow")


def _terms(hits: Passages) -> Text:
    """Return a set's two terms, and how close its closest pair is."""
    pair, echoes = hits.closest_pair, len(hits.echoes)
    line = Text(
        f"relevance {_number(hits.selection.relevance)} · diversity {_number(hits.selection.diversity)}"
    )
    if pair is not None:
        line.append(f" · closest {pair:.2f}")
    if echoes:
        line.append(f" · {echoes} near-duplicate{'s' if echoes > 1 else ''}", style="yellow")
    return line


def _cell(
    out: Console,
    hits: Passages,
    position: int,
    width: int,
    mark: str,
    color: str,
    other: set[int],
    full: bool,
) -> Text:
    """Return one member of a set in a narrow column: a long id on a line of its own."""
    alone = int(hits.rows[position]) not in other
    style = f"bold {color}" if alone else "bold"
    name, text = _identity(hits.ids[position]), Text("")
    if hits.texts is not None:
        text = Text().append_text(_echo(hits.echoes, position)).append(one_line(hits.texts[position]))
    inner, most = width - 6, None if full else _LINES
    if max(len(_identity(each)) for each in hits.ids) <= _SHORT_ID:
        lines = _fit(out, Text().append(name, style=style).append("  ").append_text(text), inner, most)
    elif out.is_terminal:
        lines = [middle(name, inner, style), *_fit(out, text, inner, most)]
    else:
        lines = [*Text(name, style=style).wrap(out, inner), *_fit(out, text, inner, most)]
    cell = Text().append(f"{mark if alone else ' '} {position + 1:>2}  ", style=color if alone else "dim")
    for number, line in enumerate(lines):
        cell.append("\n      " if number else "").append_text(line)
    return cell


def _fit(out: Console, text: Text, width: int, most: int | None) -> list[Text]:
    """Return a text as lines, at most so many, the last with an ellipsis if there is more."""
    if not text:
        return []
    lines = list(text.wrap(out, width))
    if most is not None and len(lines) > most:
        last = lines[most - 1].copy()
        last.rstrip()
        last.truncate(width - 1)
        lines = [*lines[: most - 1], last + Text("…", style="dim")]
    for line in lines:
        line.rstrip()
    return lines


def _identity(name: object) -> str:
    return one_line(str(name)) or "''"


def middle(name: str, width: int, style: str) -> Text:
    """Return a name cut in its middle to fit, since dotted names and paths tell apart at their end."""
    if cell_len(name) > width:
        head = (width - 1) // 3
        tail = name[-(width - 1 - head) :]
        while cell_len(tail) > width - 1 - head:
            tail = tail[1:]
        name = f"{set_cell_size(name, head).rstrip()}…{tail}"
    return Text(name, style=style, no_wrap=True)


def _echo(echoes: dict[int, int], position: int) -> Text:
    """Return a mark on a member that says the same as an earlier one."""
    return Text(f"≈{echoes[position] + 1} ", style="yellow") if position in echoes else Text("")


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def print_reasons(hits: Passages) -> None:
    """Print why each member was chosen, and why the most relevant of the others were not."""
    why, out = hits.explain(), console()
    for heading, reasons in (("chosen", why.chosen), ("left out, the most relevant", why.left_out)):
        if not reasons:
            continue
        lines = Table.grid(padding=(0, 1))
        lines.add_column(no_wrap=True)
        for reason in reasons:
            name = one_line(f"{reason.member}:")
            lines.add_row(Text(f"  {name}"), Text(str(reason).removeprefix(f"{reason.member}: ")))
        out.print(Text(heading, style="bold"))
        out.print(lines)
