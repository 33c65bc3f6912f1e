"""``setwise finetune``: the rows of a repository to train on, matched to a few examples of the task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from setwise.cli import folders
from setwise.cli.options import AsJson, NoCache, Seed, Threads, as_workers, at_most, given, option

if TYPE_CHECKING:
    from setwise.cli.finetune_input import Sources
    from setwise.cli.finetune_run import Wish

#: The options that only matching looks at.
_OF_MATCH = (
    "diversity",
    "regularizer",
    "scale",
    "kernel_width",
    "neighbors",
    "density_neighbors",
    "index",
    "workers",
)

_INPUT, _MATCH, _ROWS, _OUTPUT = (
    "What to read",
    "What to choose",
    "How many rows",
    "What to print and keep",
)


def finetune(
    context: typer.Context,
    repository: Annotated[
        str,
        option(
            "--repository",
            help="Rows to choose from: .parquet, .jsonl, .jsonl.gz, .csv, .arrow, a folder of such files, or "
            "a .npy file of vectors.",
            panel=_INPUT,
            metavar="PATH",
        ),
    ],
    examples: Annotated[
        str | None,
        option("--examples", help="A few rows of the task, or a .npy file.", panel=_INPUT, metavar="PATH"),
    ] = None,
    text_column: Annotated[
        list[str] | None,
        option(
            "--text-column",
            help="What a row's text is made of; may be repeated. By default text, …, messages, or "
            "instruction, input and output, …",
            panel=_INPUT,
            metavar="COLUMN",
        ),
    ] = None,
    example_text_column: Annotated[
        list[str] | None,
        option(
            "--example-text-column",
            help="The same of the examples. By default as --text-column.",
            panel=_INPUT,
            metavar="COLUMN",
        ),
    ] = None,
    vectors: Annotated[
        str | None,
        option(
            "--vectors",
            help="Your own vectors, one a row of the repository; nothing is encoded.",
            panel=_INPUT,
            metavar="COLUMN|FILE.npy",
        ),
    ] = None,
    example_vectors: Annotated[
        str | None,
        option(
            "--example-vectors", help="The same of the examples.", panel=_INPUT, metavar="COLUMN|FILE.npy"
        ),
    ] = None,
    model: Annotated[
        str,
        option(
            "--model",
            help="What encodes texts: auto (static), lsa, ngrams, sentence or sentence:FOLDER.",
            panel=_INPUT,
        ),
    ] = "auto",
    empty: Annotated[
        str,
        option("--empty", help="Rows without a word: drop or refuse.", panel=_INPUT),
    ] = "drop",
    method: Annotated[
        str, option("--method", help="match, random, nearest, less or dsir.", panel=_MATCH)
    ] = "match",
    diversity: Annotated[
        float,
        option(
            "--diversity",
            help="0 = the examples' nearest rows alone, 1 = the whole repository.",
            panel=_MATCH,
        ),
    ] = 0.4,
    regularizer: Annotated[
        str,
        option(
            "--regularizer",
            help="kde (near-duplicates count as one row), uniform (each row counts), tv.",
            panel=_MATCH,
        ),
    ] = "kde",
    scale: Annotated[
        str,
        option("--scale", help="Of distances: 5 for unit vectors.", panel=_MATCH, metavar="auto|NUMBER"),
    ] = "auto",
    kernel_width: Annotated[
        str,
        option(
            "--kernel-width",
            help="Rows nearer than this are near-duplicates (kde).",
            panel=_MATCH,
            metavar="auto|NUMBER",
        ),
    ] = "auto",
    neighbors: Annotated[
        int, option("--neighbors", help="Rows that an example may spread over, at most.", panel=_MATCH)
    ] = 2000,
    density_neighbors: Annotated[
        int,
        option("--density-neighbors", help="Near-duplicates of a row that count, at most.", panel=_MATCH),
    ] = 1000,
    index: Annotated[
        str,
        option(
            "--index",
            help="How neighbors are found: auto, exact, what FAISS builds (IVF4096,Flat), or what setwise "
            "index build has made.",
            panel=_MATCH,
            metavar="NAME|DIR",
        ),
    ] = "auto",
    workers: Annotated[
        str | None,
        option(
            "--workers",
            help="Search parts of the repository in so many processes, or on Ray; the result is the same.",
            panel=_MATCH,
            metavar="N|ray|ADDRESS",
        ),
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
    rows: Annotated[int | None, option("--rows", help="Rows an epoch.", panel=_ROWS)] = None,
    fraction: Annotated[
        float | None,
        option("--fraction", help="Or a share of the repository's rows.", panel=_ROWS, metavar="SHARE"),
    ] = None,
    tokens: Annotated[
        int | None, option("--tokens", help="Or as many rows as fit into so many tokens.", panel=_ROWS)
    ] = None,
    length_column: Annotated[
        str | None,
        option(
            "--length-column",
            help="Tokens of each row. By default the words of its text.",
            panel=_ROWS,
            metavar="COLUMN",
        ),
    ] = None,
    epochs: Annotated[int, option("--epochs", help="Each is drawn afresh.", panel=_ROWS)] = 1,
    replacement: Annotated[
        bool | None,
        option(
            "--with-replacement/--without-replacement",
            help="Whether a row may come again within an epoch.",
            panel=_ROWS,
            show_default="with it for match, without for the others",
        ),
    ] = None,
    out: Annotated[
        str | None,
        option(
            "--out",
            help="Write the rows: one .parquet or .jsonl file, or a folder with one file an epoch.",
            panel=_OUTPUT,
            metavar="FILE|DIR",
        ),
    ] = None,
    indices: Annotated[
        str | None,
        option(
            "--indices",
            help="Write every row's number and probability: .npy, .csv, .parquet, .jsonl.",
            panel=_OUTPUT,
            metavar="FILE",
        ),
    ] = None,
    drawn: Annotated[
        str | None,
        option(
            "--drawn",
            help="Write the numbers of the rows drawn, in order, with their epoch: .npy, .csv, …",
            panel=_OUTPUT,
            metavar="FILE",
        ),
    ] = None,
    sweep: Annotated[
        bool, option("--sweep", help="Print what several diversities would choose.", panel=_OUTPUT)
    ] = False,
    plot: Annotated[
        str | None,
        option("--plot", help="Of --sweep: draw it, too.", panel=_OUTPUT, metavar="FILE.png"),
    ] = None,
    as_json: AsJson = False,
    force: Annotated[
        bool, option("--force", help="Replace existing files of this name.", panel=_OUTPUT)
    ] = False,
    cache: Annotated[
        str | None,
        option(
            "--cache",
            help="Where encoded texts are kept. By default beside the repository.",
            panel=_OUTPUT,
            metavar="DIR",
        ),
    ] = None,
    no_cache: NoCache = False,
) -> None:
    """Choose the rows of a repository to finetune on, matched to a few examples of the task."""
    from setwise.cli import finetune_output, output
    from setwise.cli.finetune_input import Sources, number_or_auto, opened
    from setwise.cli.finetune_run import Steps, Wish, run

    wish = Wish(
        method=method,
        matching={
            "diversity": diversity,
            "regularizer": regularizer,
            "scale": number_or_auto(scale, "scale"),
            "kernel_width": number_or_auto(kernel_width, "kernel_width"),
            "neighbors": neighbors,
            "density_neighbors": density_neighbors,
            "index": index,
            "workers": as_workers(workers),
        },
        rows=rows,
        fraction=fraction,
        tokens=tokens,
        length_column=length_column,
        epochs=epochs,
        replace=method == "match" if replacement is None else replacement,
        seed=seed,
        threads=threads,
        sweep=sweep,
        out=None if out is None else Path(out),
        indices=None if indices is None else Path(indices),
        drawn=None if drawn is None else Path(drawn),
        plot=None if plot is None else Path(plot),
        force=force,
    )
    wish.check()
    _check_options(context, wish)
    sources = Sources(
        repository,
        examples,
        tuple(text_column or ()),
        tuple(example_text_column or ()),
        vectors,
        example_vectors,
        model,
        empty,
        _cache_folder(repository, vectors, cache, no_cache),
        seed,
    )
    sources.check()
    for name, path in (("out", wish.out), ("indices", wish.indices), ("drawn", wish.drawn)):
        if path is not None:
            _check_apart(name, path, Path(repository))
            for role, source in (
                ("examples", examples),
                ("vectors", vectors),
                ("example-vectors", example_vectors),
            ):
                if source is not None and path.resolve() == Path(source).resolve():
                    raise ValueError(f"{name}: {str(path)!r} is read as --{role}; name another file")
    steps = Steps()
    try:
        with at_most(threads), folders.step_bar() as bar:
            steps.bar = bar
            with opened(sources, method, steps) as read:
                outcome = run(read, wish, steps)
    except KeyboardInterrupt:
        kept = _what_is_kept(sources, wish, steps.last)
        if kept is None:
            raise
        typer.echo(f"setwise: interrupted; {kept}, and the same command goes on from there", err=True)
        raise SystemExit(130) from None
    if as_json:
        record = finetune_output.as_record(outcome, sources)
        output.print_json(record)
        return
    finetune_output.print_outcome(outcome, sources)


def _check_options(context: typer.Context, wish: Wish) -> None:
    """Refuse options that would do nothing."""
    if wish.method != "match":
        for name in _OF_MATCH:
            if given(context, name):
                raise ValueError(
                    f"{name}: --{name.replace('_', '-')} goes with --method match; {wish.method} does not "
                    "look at it"
                )
    if not wish.has_budget:
        for name in ("epochs", "length_column", "replacement"):
            if given(context, name):
                raise ValueError(
                    f"{name}: it goes with a number of rows; give --rows, --fraction or --tokens"
                )
    if wish.tokens is None and wish.length_column is not None:
        raise ValueError("length-column: it goes with --tokens")


def _check_apart(argument: str, path: Path, repository: Path) -> None:
    """Refuse an output that would become a part of the repository, or take its place."""
    target, source = path.resolve(), repository.resolve()
    if target == source:
        raise ValueError(f"{argument}: {str(path)!r} is the repository itself; name another file")
    if source.is_dir() and target.parent == source and path.suffix:
        raise ValueError(
            f"{argument}: {str(path)!r} lies in the repository's folder and would be read as a part of it; "
            "name a file elsewhere"
        )


def _cache_folder(repository: str, vectors: str | None, cache: str | None, no_cache: bool) -> Path | None:
    """Return where encoded texts are kept, if anywhere."""
    from setwise.encode.cache import folder_for

    if cache is not None and no_cache:
        raise ValueError("cache: give --cache or --no-cache, not both")
    source = Path(repository)
    if no_cache or vectors is not None or not source.exists() or source.suffix.lower() == ".npy":
        return None
    return folder_for(source, cache)


def _what_is_kept(sources: Sources, wish: Wish, step: str) -> str | None:
    """Return what an interrupted run leaves to go on from, if anything."""
    from setwise.finetuning.rows.writing import finished

    if step == "encoding" and sources.cache is not None:
        return f"the vectors made so far are kept in {sources.cache}"
    if step.startswith("writing") and wish.out is not None:
        names = finished(wish.out)
        if names:
            count = len(names)
            return f"{count} of {wish.epochs} epochs {'is' if count == 1 else 'are'} finished in {wish.out}"
    return None
