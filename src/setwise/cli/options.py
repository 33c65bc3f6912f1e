"""What the commands take: options that several have, declared once, and what their values stand for."""

from __future__ import annotations

import contextlib
import os
import re
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, TypeVar, get_origin, get_type_hints

import typer

from setwise.lazy import documented

#: What ``--certify`` takes, as the library's ``certify``.
CERTIFY: dict[str, Any] = {"none": False, "bounded": True, "full": "full"}

#: Endings of tables, in words.
_TABLES = ".parquet, .arrow, .feather, .jsonl, .json, .csv or .tsv, text also as .gz or .zst"

#: What a corpus may be, in words.
CORPORA = (
    f"A table ({_TABLES}), a folder of documents (text, Markdown, HTML, reStructuredText, PDF, DOCX, code), "
    "one document, or a .npy file of vectors."
)


def option(declared: str, help: str, panel: str | None, **more: Any) -> Any:
    """Return an option's declaration.

    Parameters
    ----------
    declared : str
        Its names, and what stands for its value; nothing does for a switch: ``-n --responses COUNT``.
    help : str
        What it does, with its unit.
    panel : str or None
        The heading in the command's help that the option stands under; None for the common one.
    **more
        What `typer.Option` takes besides.
    """
    words = declared.split()
    names = [word for word in words if word.lstrip("-")[0].isalpha() and word.startswith("-")]
    metavar = " ".join(words[len(names) :])
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar, **more)


Command = TypeVar("Command", bound=Callable[..., None])


def read_described(text: str) -> dict[str, Any]:
    """Return the options of a text in the form that `described` takes, by the names of their parameters."""
    found: dict[str, Any] = {}
    panel: str | None = None
    for entry in re.split(r"\n(?= {0,4}\S)", textwrap.dedent(text).strip("\n")):
        declared, _, told = entry.strip().partition("  ")
        if not told:
            panel = declared
            continue
        told, _, default = " ".join(told.split()).partition(" [default: ")
        longest = max((word for word in declared.split() if word.startswith("-")), key=len)
        shown = default.removesuffix("]") or True
        found[longest.lstrip("-").replace("-", "_")] = option(declared, told, panel, show_default=shown)
    return found


#: Options that several commands have.
SHARED = read_described("""
    What to read
        --text COLUMN  Column with the texts. [default: text, content, passage or another usual name]
        --id COLUMN  Column with the ids; where there is none, rows are numbered from 0. [default: id, _id,
            pid or another usual name]
        --vectors COLUMN|FILE.npy  Use vectors of your own and encode no text: a column, or a .npy file with
            one row a text.
        --group COLUMN  Column with a label a row (its document, its author), for --max-per-group.
        --chunk COUNT|paragraph|file  What a passage of a document is: a section, or as many of its tokens
            (words, marks); a paragraph; or the file. [default: 256 in a folder, paragraph of one document]
        --overlap COUNT  Tokens at the end of a passage that the next one of its section begins with.
            [default: 0]
        --where CONDITION  Only rows of which this is true of their columns, such as "year >= 2020 and lang =
            'en'".
        --model NAME  What turns texts into vectors: auto (static), lsa, ngrams, sentence, sentence:FOLDER,
            hidden:FOLDER (a language model's hidden states) or gradients:FOLDER (what a text would teach it);
            as in hidden:FOLDER,dtype=bfloat16,max_tokens=512.
        --drop-duplicates  Keep only the first of texts that are the same word for word.
        --metric cosine|euclidean  How vectors are compared.
    What a good set is
        -k COUNT  How many to select.
        --diversity 0…1  The trade-off, from 0 (relevance or quality alone) to 1 (diversity alone).
        --tokens COUNT  Select as many as fit into this many tokens; -k, where given, is the most. [default:
            no budget]
        --tokenizer UNIT  What --tokens counts: tokens, words, characters, tiktoken:ENCODING,
            tokenizers:FILE.json, or a column of numbers.
        --limit COLUMN=MOST  How many may have the same label in a column: kind=2 at most 2, kind=1:3 from 1
            to 3. Repeat for several.
        --solver-option NAME=VALUE  What the solver is told: penalty=4, or partition=topic (a column of
            clusters). Repeat for several.
        --max-per-group COUNT  Select at most this many with the same label in --group. [default: no limit]
        --max-similarity -1…1  Select no two with a larger cosine. [default: no limit]
        --min-gain NUMBER  End where nothing adds this much, in the unit of relevance. [default: exactly k]
        --shown ID  Id that was shown before: it counts for diversity and is not selected. Repeat for several.
        --facet TEXT  Sub-question that the set should answer, too; sets --objective facets. Repeat for
            several.
        --certify none|bounded|full  Work spent on proving how close the set is to the best possible one.
        --time-limit SECONDS  Seconds that --solver exact and --certify full may take for a set; then it is
            the best so far, with what is proven of it.
    How to run
        --seed NUMBER  Seed of what is random: the same seed gives the same result.
        --threads COUNT  Use at most this many processor threads. [default: all processors]
    What to print and keep
        --force  Replace the output where it exists.
        --cache DIR  Folder that keeps encoded texts for the next run. [default: .setwise-cache beside what is
            read]
        --no-cache  Keep no encoded texts.
""")


def described(text: str = "", also: dict[str, Any] | None = None) -> Callable[[Command], Command]:
    """Return a decorator that makes a command's parameters the options that are described by their names.

    A parameter that is `Annotated` already stays as it is; one without a description has that of `SHARED`.

    Parameters
    ----------
    text : str
        Headings of the command's help, and below each its options, four deeper: names and metavar, two
        spaces, and what it does, in the end ``[default: …]`` where the default does not speak for itself.
        Lines that go on are eight deeper than headings.
    also : dict, optional
        Options of this and another command, as `read_described` returns them.
    """
    own = read_described(text)
    known = SHARED | (also or {}) | own

    def declare(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        assert own.keys() <= hints.keys(), f"described, but no parameters: {own.keys() - hints.keys()}"
        for name, hint in hints.items():
            if name != "return" and hint is not typer.Context and get_origin(hint) is not Annotated:
                hints[name] = Annotated[hint, known[name]]
        command.__annotations__ = hints
        return documented(command)

    return declare


#: Declarations of options under the headings that several commands have.
read_option = partial(option, panel="What to read")
set_option = partial(option, panel="What a good set is")
run_option = partial(option, panel="How to run")
keep_option = partial(option, panel="What to print and keep")


def folder_made_by(command: str) -> Any:
    """Return the declaration of the argument DIR, a folder that another command has made."""
    return typer.Argument(help=f"A folder made by {command}.", metavar="DIR")


Items = Annotated[
    str, typer.Argument(help=f"The items: a .npy file of vectors, or a table ({_TABLES}).", metavar="ITEMS")
]
AsJson = Annotated[bool, keep_option("--json", "Print one JSON object instead of a table.")]
SetFile = Annotated[
    str | None,
    keep_option(
        "--out FILE",
        "Also write the set to a file, in the format of its ending: .jsonl, .csv, .parquet, .json, .npy.",
    ),
]
NewFolder = Annotated[str, keep_option("--out DIR", "Folder to write; it appears whole or not at all.")]
Verify = Annotated[bool, option("--verify", "Read every file and compare its checksum.", panel=None)]


def given(context: typer.Context, name: str) -> bool:
    """Return whether a parameter was written on the command line, its default or not."""
    source = context.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")  # the latter: of a file


def as_count(typed: str | None) -> int | str | None:
    """Return a number as one, and other words as they are: of ``--chunk``, and of ``--workers``."""
    return int(typed) if typed is not None and typed.isdecimal() else typed


def values_of(context: typer.Context, *names: str) -> dict[str, Any]:
    """Return some of a command's options, for a call whose parameters have the same names."""
    return {name: context.params[name] for name in names}


def reading(context: typer.Context) -> dict[str, Any]:
    """Return a command's options that say how a corpus is read, as `setwise.files.read_corpus` takes them."""
    names = ("text", "id", "vectors", "relevance", "group", "chunk", "overlap")
    found = values_of(context, *(name for name in names if name in context.params))
    return found | ({"chunk": as_count(found["chunk"])} if "chunk" in found else {})


def check_group(column: str | None, most: int | None) -> None:
    """Raise ValueError: a column of groups is named, and not how many of each."""
    if column is not None and most is None:
        raise ValueError("group: --group and --max-per-group go together")


def as_limits(typed: list[str] | None) -> dict[str, Any] | None:
    """Return limits as `setwise.select` takes them: the most, or the least and the most, by column.

    Raises ValueError: one is not COLUMN=MOST or COLUMN=LEAST:MOST, or a column is named twice.
    """
    found: dict[str, Any] = {}
    for one in typed or ():
        name, equals, numbers = one.rpartition("=")
        least, colon, most = numbers.rpartition(":")
        if not equals or not name or not most.isdecimal() or (colon and not least.isdecimal()):
            raise ValueError(f"limit: expected COLUMN=MOST or COLUMN=LEAST:MOST, got {one!r}")
        if name in found:
            raise ValueError(f"limit: {name!r} is named twice; COLUMN=LEAST:MOST has both")
        found[name] = (int(least), int(most)) if colon else int(most)
    return found or None


def as_solver_options(typed: list[str] | None) -> dict[str, Any] | None:
    """Return a solver's options by name: numbers, yes or no (true, false), or a column.

    Raises ValueError: one is not NAME=VALUE, or a name is given twice.
    """
    from setwise.files.json_lines import parsed

    found: dict[str, Any] = {}
    for one in typed or ():
        name, equals, value = one.partition("=")
        if not equals or not name or not value:
            raise ValueError(f"solver-option: expected NAME=VALUE, got {one!r}")
        if name in found:
            raise ValueError(f"solver-option: {name!r} is given twice")
        try:
            found[name] = parsed(value, f"solver-option: {name}")
        except ValueError:
            found[name] = value
    return found or None


@contextlib.contextmanager
def at_most(threads: int | None) -> Iterator[None]:
    """Have numeric libraries use at most this many threads, those that are loaded later too; None: as set."""
    if threads is None:
        yield
        return
    from threadpoolctl import threadpool_limits

    from setwise import checks
    from setwise.engine.local import ONE_THREAD

    checks.integer("threads", threads, least=1)
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, str(threads)))
    try:
        with threadpool_limits(threads):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({} if value is None else {name: value})
