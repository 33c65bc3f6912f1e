"""``setwise explore``: a page on which the set changes as the sliders move."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setwise.cli import options
from setwise.cli.options import described, run_option

if TYPE_CHECKING:
    from setwise.serve.explore import ExploredSource


#: What only a corpus takes.
_OF_CORPUS = ("text", "id", "vectors", "chunk", "overlap", "model", "drop_duplicates", "cache", "no_cache")


@described("""
    What to read
        --index DIR  Instead of a corpus: a folder made by setwise index build.
        --query -q TEXT  What the page looks for when it opens.
    How to run
        --host ADDRESS  Address to listen on; any other than this machine's own lets others read the corpus.
""")
def explore(
    context: typer.Context,
    corpus: Annotated[
        str | None,
        typer.Argument(
            help=f"{options.CORPORA} Or a folder made by setwise index build.", metavar="[CORPUS]"
        ),
    ] = None,
    index: str | None = None,
    text: str | None = None,
    id: str | None = None,
    vectors: str | None = None,
    chunk: str | None = None,
    overlap: int | None = None,
    model: str = "auto",
    drop_duplicates: bool = False,
    query: str | None = None,
    host: str = "127.0.0.1",
    port: Annotated[
        int, run_option("--port NUMBER", "Port to listen on; 0 takes one that is free.", min=0, max=65535)
    ] = 8765,
    threads: int | None = None,
    seed: int = 0,
    cache: str | None = None,
    no_cache: bool = False,
) -> None:
    """Open a page on a corpus or an index: sliders, the set beside the most relevant, and why."""
    from setwise.index.folder import FORMAT
    from setwise.serve.explore.run import listening, serve

    if corpus is not None and index is not None:
        raise ValueError("index: a corpus and --index are two sources; leave one out")
    if index is None and corpus is not None and FORMAT.is_ours(Path(corpus)):
        corpus, index = None, corpus
    if index is not None:
        for name in _OF_CORPUS:
            if options.given(context, name):
                raise ValueError(
                    f"{name}: --{name.replace('_', '-')} goes with a corpus; an index has its own"
                )
    elif corpus is None:
        raise ValueError("corpus: say what to explore: a corpus, or an index by --index")
    with options.at_most(threads), listening(host, port) as socket:
        if index is not None:
            source = _opened(index, threads)
        else:
            assert corpus is not None
            source = _encoded(corpus, options.reading(context), context.params, seed, threads)
        serve(source, socket, query or "", tell=typer.echo)


def _opened(folder: str, threads: int | None) -> ExploredSource:
    """Return a saved index to explore."""
    from setwise.index.saved import open_index
    from setwise.serve.explore import of_index

    return of_index(open_index(folder, threads=threads), Path(folder).name)


def _encoded(
    path: str, reading: dict[str, Any], kept: dict[str, Any], seed: int, threads: int | None
) -> ExploredSource:
    """Return a corpus to explore, read and encoded."""
    from setwise.cli import output
    from setwise.cli.sources import prepared
    from setwise.files import read_corpus
    from setwise.serve.explore import of_corpus

    with output.Status() as status:
        status.tell("reading")
        read = read_corpus(path, **reading)
        candidates = prepared(read, kept, seed, status)
    for line in read.notes:
        output.note(line)
    output.note_what_was_left_out(candidates)
    return of_corpus(candidates, Path(path).name, threads=threads)
