"""What the commands take: options that several have, declared once, and what their values stand for."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Annotated, Any

import typer

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


#: Declarations of options under the headings that several commands have.
read_option = partial(option, panel="What to read")
set_option = partial(option, panel="What a good set is")
run_option = partial(option, panel="How to run")
keep_option = partial(option, panel="What to print and keep")


def folder_made_by(command: str) -> Any:
    """Return the declaration of the argument DIR, a folder that another command has made."""
    return typer.Argument(help=f"A folder made by {command}.", metavar="DIR")


# ---------------------------------------------------------------------- what to read

TextColumn = Annotated[
    str | None,
    read_option(
        "--text COLUMN", "Column with the texts.", show_default="text, content, passage or another usual name"
    ),
]
IdColumn = Annotated[
    str | None,
    read_option(
        "--id COLUMN",
        "Column with the ids; where there is none, rows are numbered from 0.",
        show_default="id, _id, pid or another usual name",
    ),
]
OwnVectors = Annotated[
    str | None,
    read_option(
        "--vectors COLUMN|FILE.npy",
        "Use vectors of your own and encode no text: a column, or a .npy file with one row a text.",
    ),
]
GroupColumn = Annotated[
    str | None,
    read_option(
        "--group COLUMN", "Column with a label a row (its document, its author), for --max-per-group."
    ),
]
Chunk = Annotated[
    str | None,
    read_option(
        "--chunk COUNT|paragraph|file",
        "What a passage of a document is: a section, or as many of its tokens (words, marks); a "
        "paragraph; or the file.",
        show_default="256 in a folder, paragraph of one document",
    ),
]
Overlap = Annotated[
    int | None,
    read_option(
        "--overlap COUNT",
        "Tokens at the end of a passage that the next one of its section begins with.",
        show_default="0",
    ),
]
Where = Annotated[
    str | None,
    read_option(
        "--where CONDITION",
        "Only rows of which this is true of their columns, such as \"year >= 2020 and lang = 'en'\".",
    ),
]
Model = Annotated[
    str,
    read_option(
        "--model NAME",
        "What turns texts into vectors: auto (static), lsa, ngrams, sentence, sentence:FOLDER, "
        "hidden:FOLDER (a language model's hidden states) or gradients:FOLDER (what a text would teach it).",
    ),
]
DropDuplicates = Annotated[
    bool, read_option("--drop-duplicates", "Keep only the first of texts that are the same word for word.")
]
Metric = Annotated[str, read_option("--metric cosine|euclidean", "How vectors are compared.")]
Items = Annotated[
    str, typer.Argument(help=f"The items: a .npy file of vectors, or a table ({_TABLES}).", metavar="ITEMS")
]
ItemVectors = Annotated[
    str | None,
    read_option(
        "--vectors COLUMN|FILE.npy",
        "The items' vectors: a column of the table, or a .npy file.",
        show_default="column vector, vectors, embedding or embeddings",
    ),
]
ItemText = Annotated[
    str | None,
    read_option("--text COLUMN", "Column of texts (titles, descriptions) to make the items' vectors from."),
]
ItemQuality = Annotated[
    str | None,
    read_option(
        "--quality COLUMN|FILE.npy",
        "How good each item is, a number of at least 0: a column of the table, or a .npy file.",
        show_default="column quality",
    ),
]

# ---------------------------------------------------------------------- what a good set is

K = Annotated[int, set_option("-k COUNT", "How many to select.")]
Diversity = Annotated[
    float,
    set_option(
        "--diversity 0…1", "The trade-off, from 0 (relevance or quality alone) to 1 (diversity alone)."
    ),
]
Tokens = Annotated[
    int | None,
    set_option(
        "--tokens COUNT",
        "Select as many as fit into this many tokens; -k, where given, is the most.",
        show_default="no budget",
    ),
]
Tokenizer = Annotated[
    str,
    set_option(
        "--tokenizer UNIT",
        "What --tokens counts: tokens, words, characters, tiktoken:ENCODING, tokenizers:FILE.json, or a "
        "column of numbers.",
    ),
]
Limit = Annotated[
    list[str] | None,
    set_option(
        "--limit COLUMN=MOST",
        "How many may have the same label in a column: kind=2 at most 2, kind=1:3 from 1 to 3. Repeat "
        "for several.",
    ),
]
SolverOption = Annotated[
    list[str] | None,
    set_option(
        "--solver-option NAME=VALUE",
        "What the solver is told: penalty=4, or partition=topic (a column of clusters). Repeat for several.",
    ),
]
MaxPerGroup = Annotated[
    int | None,
    set_option(
        "--max-per-group COUNT",
        "Select at most this many with the same label in --group.",
        show_default="no limit",
    ),
]
MaxSimilarity = Annotated[
    float | None,
    set_option("--max-similarity -1…1", "Select no two with a larger cosine.", show_default="no limit"),
]
MinGain = Annotated[
    float | None,
    set_option(
        "--min-gain NUMBER",
        "End where nothing adds this much, in the unit of relevance.",
        show_default="exactly k",
    ),
]
Shown = Annotated[
    list[str] | None,
    set_option(
        "--shown ID",
        "Id that was shown before: it counts for diversity and is not selected. Repeat for several.",
    ),
]
Facet = Annotated[
    list[str] | None,
    set_option(
        "--facet TEXT",
        "Sub-question that the set should answer, too; sets --objective facets. Repeat for several.",
    ),
]
Certify = Annotated[
    str,
    set_option(
        "--certify none|bounded|full", "Work spent on proving how close the set is to the best possible one."
    ),
]

TimeLimit = Annotated[
    float,
    set_option(
        "--time-limit SECONDS",
        "Seconds that --solver exact and --certify full may take for a set; then it is the best so far, "
        "with what is proven of it.",
    ),
]

# ---------------------------------------------------------------------- how to run

Seed = Annotated[
    int, run_option("--seed NUMBER", "Seed of what is random: the same seed gives the same result.")
]
Threads = Annotated[
    int | None,
    run_option("--threads COUNT", "Use at most this many processor threads.", show_default="all processors"),
]

# ---------------------------------------------------------------------- what to print and keep

AsJson = Annotated[bool, keep_option("--json", "Print one JSON object instead of a table.")]
SetFile = Annotated[
    str | None,
    keep_option(
        "--out FILE",
        "Also write the set to a file, in the format of its ending: .jsonl, .csv, .parquet, .json, .npy.",
    ),
]
NewFolder = Annotated[str, keep_option("--out DIR", "Folder to write; it appears whole or not at all.")]
Force = Annotated[bool, keep_option("--force", "Replace the output where it exists.")]
Cache = Annotated[
    str | None,
    keep_option(
        "--cache DIR",
        "Folder that keeps encoded texts for the next run.",
        show_default=".setwise-cache beside what is read",
    ),
]
NoCache = Annotated[bool, keep_option("--no-cache", "Keep no encoded texts.")]
Verify = Annotated[bool, option("--verify", "Read every file and compare its checksum.", panel=None)]


# ---------------------------------------------------------------------- what values stand for


def given(context: typer.Context, name: str) -> bool:
    """Return whether a parameter was written on the command line, its default or not."""
    source = context.get_parameter_source(name)
    return source is not None and source.name not in (
        "DEFAULT",
        "DEFAULT_MAP",
    )  # the latter: a file's settings


def as_count(typed: str | None) -> int | str | None:
    """Return a number as one, and other words as they are: of ``--chunk``, and of ``--workers``."""
    return int(typed) if typed is not None and typed.isdecimal() else typed


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
