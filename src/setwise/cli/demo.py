"""``setwise demo``: the main job on a corpus that every machine has."""

from __future__ import annotations

import time
from typing import Annotated

import typer

#: Asked one after the other where no query is given.
QUERIES = (
    "read bytes from a stream",
    "parse a date and time",
    "parse XML",
    "check whether a path exists",
    "import a module by name",
)


def demo(
    query: Annotated[
        str | None,
        typer.Option("--query", "-q", metavar="TEXT", help="Ask this instead of the demo's own queries."),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Size of the set.")] = 6,
    diversity: Annotated[
        float, typer.Option("--diversity", help="0 = relevance alone, 1 = diversity alone.")
    ] = 0.3,
    model: Annotated[
        str, typer.Option("--model", help="What encodes texts: auto, lsa, static, sentence, sentence:FOLDER.")
    ] = "auto",
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep no encoded texts.")] = False,
) -> None:
    """Search Python's own documentation twice: the k most relevant texts, and the best set of k."""
    from setwise import checks, encode
    from setwise.cli import output
    from setwise.cli.docstrings import standard_library
    from setwise.encode.cache import folder_for
    from setwise.retrieval import prepare

    checks.integer("k", k, least=1)
    checks.fraction("diversity", diversity)
    encode.parse(model)
    with output.Status() as status:
        corpus = standard_library(
            lambda count: status.tell(f"{count:,} docstrings of Python's standard library")
        )
        if k > len(corpus):
            raise ValueError(
                f"k: {k} is more than the {len(corpus):,} docstrings; ask for at most {len(corpus):,}"
            )
        began = time.perf_counter()
        cache = None if no_cache else folder_for(None)
        candidates = prepare(corpus, model, cache=cache, progress=status.encoding)
        encoding = time.perf_counter() - began
    output.print_introduction(candidates, encoding, k, diversity)
    for each in QUERIES if query is None else (query,):
        probe = candidates.encode(each)
        ranked = candidates.select(probe, k, diversity=diversity, solver="top-k", certify=False)
        hits = candidates.select(probe, k, diversity=diversity, certify="full")
        output.print_side_by_side(
            ("top-k", ranked), ("setwise", hits), len(candidates), "max-sum", f"“{each}”"
        )
    output.print_next_step()
