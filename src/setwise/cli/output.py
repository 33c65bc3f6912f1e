"""What every command says: certificates as one line, facts, notes on stderr, records as JSON."""

from __future__ import annotations

import re
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from setwise.cli.streams import is_narrow, output_is_taken, shown

if TYPE_CHECKING:
    from setwise.retrieval import PreparedCorpus
    from setwise.selection import Selection

#: Lines of punctuation, as under headings in Markdown and reStructuredText.
_RULING = re.compile(r"([-=~^*#+_.`])\1{3,}")

#: Characters that command a terminal, turn the direction of writing, or cannot be written as UTF-8.
_COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

#: What a set's relevance and diversity are, by objective.
_TERMS = {
    "max-sum": ("mean over the set", "mean distance of two"),
    "mmr": ("mean over the set", "minus the mean likeness to the most alike above"),
    "log-det": ("sum over the set", "log-determinant of the likenesses, 0 where none are alike"),
    "max-min": ("mean over the set", "distance of the closest two"),
    "facets": ("mean over the set, and how much of the facets it covers", "mean distance of two"),
    "coverage": ("mean over the set", "minus the mean distance of all to the nearest member"),
}

#: Below so many columns a table of members has no numbers: ranks and ids would be cut to nothing.
SLIM = 36

#: Seconds of silence before a status line appears.
_PATIENCE = 0.4


class _Console(Console):
    """A console that lets through no command to the terminal that stands in what it prints."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control is None and segment.text != "\n" and _COMMANDS.search(segment.text):
                lines = (_COMMANDS.sub("", line) for line in segment.text.split("\n"))
                segment = segment._replace(text="\n".join(lines))
            yield segment


def console(*, stderr: bool = False) -> Console:
    """Return where results go, or what is no result; without color where that is no terminal."""
    # With a height, rich takes COLUMNS on a dumb terminal, too, which else has 80.
    return _Console(highlight=False, stderr=stderr or output_is_taken(), height=25)


def print_json(record: Mapping[str, Any]) -> None:
    """Print one JSON object on one line; what would command a terminal, or has no place there, is escaped."""
    from setwise.files import as_json

    line = as_json(record, ascii=is_narrow(sys.stdout))
    typer.echo(_COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", line))


def note(message: str) -> None:
    """Write one line to stderr that is no error."""
    console(stderr=True).print(Text(f"note: {plain(shown(message))}", style="yellow"), soft_wrap=True)


@contextmanager
def notes_for_warnings() -> Iterator[None]:
    """Print the warnings raised inside as notes, each once; a bar has to be inside, gone by then."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        yield
    for message in dict.fromkeys(str(each.message) for each in caught if each.category is UserWarning):
        note(message)


class Status:
    """A line on stderr that says what is going on, if that takes long and somebody is looking."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._line: Any = None
        self._wanted = sys.stderr.isatty()

    def __enter__(self) -> Status:
        return self

    def __exit__(self, *_: object) -> None:
        if self._line is not None:
            self._line.stop()

    def tell(self, text: str) -> None:
        """Show a step."""
        if not self._wanted or time.monotonic() - self._began < _PATIENCE:
            return
        if self._line is None:
            self._line = console(stderr=True).status(text)
            self._line.start()
        self._line.update(text)

    def encoding(self, done: int, total: int) -> None:
        """Show how many texts are encoded."""
        self.tell(f"encoding {done:,} of {total:,} texts")


def note_what_was_left_out(candidates: PreparedCorpus) -> None:
    """Say on stderr which texts could not be encoded and which repeat."""
    if candidates.unknown:
        what = "left out, since the encoder knows no word in"
        count = len(candidates.unknown)
        note(f"{_texts(count)} {what} {'it' if count == 1 else 'them'}: {_some(candidates.unknown)}")
    if candidates.repeats:
        names = _some(candidates.corpus.ids[row] for row in candidates.repeats)
        count = len(candidates.repeats)
        what = "left out" if candidates.dropped else "kept (--drop-duplicates leaves out all but the first)"
        note(
            f"{_texts(count)} repeat{'s' if count == 1 else ''} an earlier one word for word, {what}: {names}"
        )


def proof(selection: Selection, n: int, objective: str, before: int = 0) -> Text:
    """Return what is proven about a set of n candidates, green where it is; see `Certificate.explain`."""
    known = selection.certificate
    if known is None:
        return Text("not compared with the best possible set (--certify none)", style="dim")
    told = known.explain(len(selection), n, objective, selection.solver, before)
    return Text(told, style="dim" if known.gap is None and not known.pool_sufficient else "green")


def terms(objective: str, any_size: bool) -> tuple[str, str]:
    """Return in words what relevance and diversity of a set are; of one of any size both are sums."""
    if any_size:
        return "sum over the set", "sum of how far each is from the others"
    return _TERMS[objective]


def enough(selection: Selection, n: int, pool: int | str) -> str:
    """Say in one line whether enough of an index's n candidates were looked at, of ``pool`` asked for."""
    proof = selection.certificate
    if proof is None:
        return "not checked whether enough candidates were fetched (--certify none)"
    open_ = proof.pool_size < n and not proof.pool_sufficient
    more = "; --pool auto fetches until it is enough" if open_ and pool != "auto" else ""
    return proof.explain_pool(n) + more


def print_line(head: str, rest: str) -> None:
    """Print one line that starts with a name."""
    console().print(Text(head, style="bold").append(f"  {rest}", style="not bold"), soft_wrap=True)


def print_lines(lines: Mapping[str, str]) -> None:
    """Print lines that each start with a name: what a terminal wraps stands beside the name."""
    out = console()
    if not out.is_terminal:
        for head, rest in lines.items():
            print_line(head, rest)
        return
    width = max(map(len, lines))
    table = Table.grid(padding=(0, 2))
    table.add_column(max_width=min(width, out.width // 2), overflow="fold", style="bold")
    table.add_column(overflow="fold")
    for head, rest in lines.items():
        table.add_row(head, Text(rest))
    out.print(table)


def print_facts(name: str, what: str, facts: Mapping[str, str]) -> None:
    """Print a name, what it is, and facts about it, one a line."""
    out = console()
    out.print(Text(name, style="bold").append(f"  {what}", style="not bold"))
    lines = Table.grid(padding=(0, 2))
    for label, value in facts.items():
        lines.add_row(Text(label, style="dim"), Text(value))
    out.print(lines)


def one_line(text: str) -> str:
    """Return a text on one line, without control characters and the rulings of headings and tables."""
    return plain(_RULING.sub(" ", text[:2000]))


def plain(text: str) -> str:
    """Return a text on one line, without characters that would command a terminal."""
    return _COMMANDS.sub("", " ".join(text.split()))


def milliseconds(seconds: float) -> str:
    """Return a duration as a person reads it."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1e3:.0f} ms"


def _texts(count: int) -> str:
    return f"{count:,} text{'' if count == 1 else 's'}"


def _some(names: Iterable[object], most: int = 5) -> str:
    """Return a few names and how many more there are."""
    known = [str(name) for name in names]
    more = f" and {len(known) - most:,} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more
