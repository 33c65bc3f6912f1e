"""What the commands take: options that several have, declared once, and what their values stand for."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

import typer

#: What ``--certify`` takes, as the library's ``certify``.
CERTIFY: dict[str, Any] = {"none": False, "bounded": True, "full": "full"}

#: Headings in a command's help that options stand under.
READ, SET, RUN, KEEP = "What to read", "What a good set is", "How to run", "What to print and keep"

#: Endings of tables, in words.
_TABLES = ".parquet, .arrow, .feather, .jsonl, .json, .csv or .tsv, text also as .gz or .zst"

#: What a corpus may be, in words.
CORPORA = (
    f"A table ({_TABLES}), a folder of documents (text, Markdown, HTML, reStructuredText, PDF, DOCX, code), "
    "one document, or a .npy file of vectors."
)


def option(*names: str, help: str, panel: str | None, metavar: str | None = None, **more: Any) -> Any:
    """Return an option's declaration.

    Parameters
    ----------
    *names : str
        ``--name``, and a short one if there is any.
    help : str
        What it does, with its unit.
    panel : str or None
        The heading in the command's help that the option stands under; None for the common one.
    metavar : str, optional
        What stands for its value; empty for a switch.
    **more
        What `typer.Option` takes besides.
    """
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar, **more)


def folder_made_by(command: str) -> Any:
    """Return the declaration of the argument DIR, a folder that another command has made."""
    return typer.Argument(help=f"A folder made by {command}.", metavar="DIR")


# ---------------------------------------------------------------------- what to read

TextColumn = Annotated[
    str | None,
    option(
        "--text",
        help="Column with the texts.",
        panel=READ,
        metavar="COLUMN",
        show_default="text, content, passage or another usual name",
    ),
]
IdColumn = Annotated[
    str | None,
    option(
        "--id",
        help="Column with the ids; where there is none, rows are numbered from 0.",
        panel=READ,
        metavar="COLUMN",
        show_default="id, _id, pid or another usual name",
    ),
]
OwnVectors = Annotated[
    str | None,
    option(
        "--vectors",
        help="Use vectors of your own and encode no text: a column, or a .npy file with one row a text.",
        panel=READ,
        metavar="COLUMN|FILE.npy",
    ),
]
GroupColumn = Annotated[
    str | None,
    option(
        "--group",
        help="Column with a label a row (its document, its author), for --max-per-group.",
        panel=READ,
        metavar="COLUMN",
    ),
]
Chunk = Annotated[
    str | None,
    option(
        "--chunk",
        help="What a passage of a document is: a section, or as many of its tokens (words, marks); a "
        "paragraph; or the file.",
        panel=READ,
        metavar="COUNT|paragraph|file",
        show_default="256 in a folder, paragraph of one document",
    ),
]
Overlap = Annotated[
    int | None,
    option(
        "--overlap",
        help="Tokens at the end of a passage that the next one of its section begins with.",
        panel=READ,
        metavar="COUNT",
        show_default="0",
    ),
]
Where = Annotated[
    str | None,
    option(
        "--where",
        help="Only rows of which this is true of their columns, such as \"year >= 2020 and lang = 'en'\".",
        panel=READ,
        metavar="CONDITION",
    ),
]
Model = Annotated[
    str,
    option(
        "--model",
        help="What turns texts into vectors: auto (static), lsa, ngrams, sentence, sentence:FOLDER, "
        "hidden:FOLDER (a language model's hidden states) or gradients:FOLDER (what a text would teach it).",
        panel=READ,
        metavar="NAME",
    ),
]
DropDuplicates = Annotated[
    bool,
    option(
        "--drop-duplicates",
        help="Keep only the first of texts that are the same word for word.",
        panel=READ,
        metavar="",
    ),
]
Metric = Annotated[
    str,
    option("--metric", help="How vectors are compared.", panel=READ, metavar="cosine|euclidean"),
]
Items = Annotated[
    str, typer.Argument(help=f"The items: a .npy file of vectors, or a table ({_TABLES}).", metavar="ITEMS")
]
ItemVectors = Annotated[
    str | None,
    option(
        "--vectors",
        help="The items' vectors: a column of the table, or a .npy file.",
        panel=READ,
        metavar="COLUMN|FILE.npy",
        show_default="column vector, vectors, embedding or embeddings",
    ),
]
ItemText = Annotated[
    str | None,
    option(
        "--text",
        help="Column of texts (titles, descriptions) to make the items' vectors from.",
        panel=READ,
        metavar="COLUMN",
    ),
]
ItemQuality = Annotated[
    str | None,
    option(
        "--quality",
        help="How good each item is, a number of at least 0: a column of the table, or a .npy file.",
        panel=READ,
        metavar="COLUMN|FILE.npy",
        show_default="column quality",
    ),
]

# ---------------------------------------------------------------------- what a good set is

K = Annotated[int, option("-k", help="How many to select.", panel=SET, metavar="COUNT")]
Diversity = Annotated[
    float,
    option(
        "--diversity",
        help="The trade-off, from 0 (relevance or quality alone) to 1 (diversity alone).",
        panel=SET,
        metavar="0…1",
    ),
]
Tokens = Annotated[
    int | None,
    option(
        "--tokens",
        help="Select as many as fit into this many tokens; -k, where given, is the most.",
        panel=SET,
        metavar="COUNT",
        show_default="no budget",
    ),
]
Tokenizer = Annotated[
    str,
    option(
        "--tokenizer",
        help="What --tokens counts: tokens, words, characters, tiktoken:ENCODING, tokenizers:FILE.json, or a "
        "column of numbers.",
        panel=SET,
        metavar="UNIT",
    ),
]
Limit = Annotated[
    list[str] | None,
    option(
        "--limit",
        help="How many may have the same label in a column: kind=2 at most 2, kind=1:3 from 1 to 3. Repeat "
        "for several.",
        panel=SET,
        metavar="COLUMN=MOST",
    ),
]
SolverOption = Annotated[
    list[str] | None,
    option(
        "--solver-option",
        help="What the solver is told: penalty=4, or partition=topic (a column of clusters). Repeat for "
        "several.",
        panel=SET,
        metavar="NAME=VALUE",
    ),
]
MaxPerGroup = Annotated[
    int | None,
    option(
        "--max-per-group",
        help="Select at most this many with the same label in --group.",
        panel=SET,
        metavar="COUNT",
        show_default="no limit",
    ),
]
MaxSimilarity = Annotated[
    float | None,
    option(
        "--max-similarity",
        help="Select no two with a larger cosine.",
        panel=SET,
        metavar="-1…1",
        show_default="no limit",
    ),
]
MinGain = Annotated[
    float | None,
    option(
        "--min-gain",
        help="End where nothing adds this much, in the unit of relevance.",
        panel=SET,
        metavar="NUMBER",
        show_default="exactly k",
    ),
]
Shown = Annotated[
    list[str] | None,
    option(
        "--shown",
        help="Id that was shown before: it counts for diversity and is not selected. Repeat for several.",
        panel=SET,
        metavar="ID",
    ),
]
Facet = Annotated[
    list[str] | None,
    option(
        "--facet",
        help="Sub-question that the set should answer, too; sets --objective facets. Repeat for several.",
        panel=SET,
        metavar="TEXT",
    ),
]
Certify = Annotated[
    str,
    option(
        "--certify",
        help="Work spent on proving how close the set is to the best possible one.",
        panel=SET,
        metavar="none|bounded|full",
    ),
]

TimeLimit = Annotated[
    float,
    option(
        "--time-limit",
        help="Seconds that --solver exact and --certify full may take for a set; then it is the best so far, "
        "with what is proven of it.",
        panel=SET,
        metavar="SECONDS",
    ),
]

# ---------------------------------------------------------------------- how to run

Seed = Annotated[
    int,
    option(
        "--seed",
        help="Seed of what is random: the same seed gives the same result.",
        panel=RUN,
        metavar="NUMBER",
    ),
]
Threads = Annotated[
    int | None,
    option(
        "--threads",
        help="Use at most this many processor threads.",
        panel=RUN,
        metavar="COUNT",
        show_default="all processors",
    ),
]

# ---------------------------------------------------------------------- what to print and keep

AsJson = Annotated[
    bool, option("--json", help="Print one JSON object instead of a table.", panel=KEEP, metavar="")
]
SetFile = Annotated[
    str | None,
    option(
        "--out",
        help="Also write the set to a file, in the format of its ending: .jsonl, .csv, .parquet, .json, "
        ".npy.",
        panel=KEEP,
        metavar="FILE",
    ),
]
NewFolder = Annotated[
    str,
    option("--out", help="Folder to write; it appears whole or not at all.", panel=KEEP, metavar="DIR"),
]
Force = Annotated[bool, option("--force", help="Replace the output where it exists.", panel=KEEP, metavar="")]
Cache = Annotated[
    str | None,
    option(
        "--cache",
        help="Folder that keeps encoded texts for the next run.",
        panel=KEEP,
        metavar="DIR",
        show_default=".setwise-cache beside what is read",
    ),
]
NoCache = Annotated[bool, option("--no-cache", help="Keep no encoded texts.", panel=KEEP, metavar="")]
Verify = Annotated[
    bool,
    option("--verify", help="Read every file and compare its checksum.", panel=None, metavar=""),
]


# ---------------------------------------------------------------------- what values stand for


def given(context: typer.Context, name: str) -> bool:
    """Return whether a parameter was written on the command line, its default or not."""
    source = context.get_parameter_source(name)
    return source is not None and source.name not in (
        "DEFAULT",
        "DEFAULT_MAP",
    )  # the latter: a file's settings


def as_chunk(typed: str | None) -> int | str | None:
    """Return what ``--chunk`` asks for: tokens, "paragraph" or "file"."""
    return int(typed) if typed is not None and typed.isdecimal() else typed


def as_workers(typed: str | None) -> int | str | None:
    """Return what ``--workers`` asks for: a number of processes, "ray", or an address."""
    return int(typed) if typed is not None and typed.isdecimal() else typed


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


def at_most(threads: int | None) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which numeric libraries use at most this many threads; None sets no limit."""
    if threads is None:
        return contextlib.nullcontext()
    from threadpoolctl import threadpool_limits

    from setwise import checks

    limits: contextlib.AbstractContextManager[Any] = threadpool_limits(
        checks.integer("threads", threads, least=1)
    )
    return limits
