"""``setwise demo``: the main job on a corpus that every machine has."""

from __future__ import annotations

import time
from typing import Annotated

from setwise.cli.options import READ, Diversity, K, Model, NoCache, option

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
        option(
            "--query",
            "-q",
            help="What to look for, instead of the demo's own questions.",
            panel=READ,
            metavar="TEXT",
        ),
    ] = None,
    k: K = 6,
    diversity: Diversity = 0.3,
    model: Model = "auto",
    no_cache: NoCache = False,
) -> None:
    """Search Python's own documentation twice: the k most relevant texts, and the best set of k."""
    from setwise import checks, encode
    from setwise.cli import output, set_output
    from setwise.cli.docstrings import standard_library
    from setwise.encode.places import folder_for
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
    set_output.print_introduction(candidates, encoding, k, diversity)
    for each in QUERIES if query is None else (query,):
        probe = candidates.encode(each)
        ranked = candidates.select(probe, k, diversity=diversity, solver="top-k", certify=False)
        hits = candidates.select(probe, k, diversity=diversity, certify="full")
        set_output.print_side_by_side(
            ("top-k", ranked), ("setwise", hits), len(candidates), "max-sum", f"“{each}”"
        )
    set_output.print_next_step()
