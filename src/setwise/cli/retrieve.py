"""``setwise retrieve``: k passages of a corpus, or of a saved index, for a query."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setwise.cli.options import (
    CERTIFY,
    CORPORA,
    KEEP,
    READ,
    SET,
    AsJson,
    Cache,
    Certify,
    Chunk,
    Diversity,
    DropDuplicates,
    Force,
    GroupColumn,
    IdColumn,
    K,
    Metric,
    Model,
    NoCache,
    Overlap,
    OwnVectors,
    Seed,
    SetFile,
    TextColumn,
    Threads,
    Where,
    as_chunk,
    at_most,
    given,
    option,
    read_vector,
)

if TYPE_CHECKING:
    from setwise.files import Corpus

#: Declarations of options under each heading of the help.
_read = partial(option, panel=READ)
_set = partial(option, panel=SET)

#: Options that only a corpus takes, and only an index.
_OF_CORPUS = (
    *(
        "text",
        "id",
        "vectors",
        "relevance",
        "group",
        "chunk",
        "overlap",
        "model",
        "drop_duplicates",
        "metric",
    ),
    *("relevance_scale", "cache", "no_cache"),
)
_OF_INDEX = ("offset", "after", "pool")

#: Settings that only what is read can tell to be right.
_LATER = ("max_per_group", "where", *_OF_INDEX)

#: Why an index does not take them.
_BUILT = "an index has it from when it was built"
_SETTLED = {
    "relevance": "an index is searched by a query",
    "relevance_scale": "an index is searched by a query",
    "cache": "an index needs no cache",
    "no_cache": "an index needs no cache",
}


def retrieve(
    context: typer.Context,
    corpus: Annotated[str | None, _read("--corpus", help=CORPORA, metavar="PATH")] = None,
    index: Annotated[
        str | None,
        _read(
            "--index",
            help="Instead of --corpus: a folder made by setwise index build.",
            metavar="DIR",
        ),
    ] = None,
    query: Annotated[
        str | None,
        _read("--query", "-q", help="What to find passages for, in words.", metavar="TEXT"),
    ] = None,
    text: TextColumn = None,
    id: IdColumn = None,
    vectors: OwnVectors = None,
    query_vector: Annotated[
        str | None,
        _read(
            "--query-vector",
            help="Instead of --query: a .npy file with the query's vector.",
            metavar="FILE.npy",
        ),
    ] = None,
    relevance: Annotated[
        str | None,
        _read(
            "--relevance",
            help="Instead of --query: column with each row's relevance, a number, higher is better.",
            metavar="COLUMN",
        ),
    ] = None,
    group: GroupColumn = None,
    where: Where = None,
    chunk: Chunk = None,
    overlap: Overlap = None,
    model: Model = "auto",
    drop_duplicates: DropDuplicates = False,
    k: K = 10,
    diversity: Diversity = 0.3,
    objective: Annotated[
        str,
        _set(
            "--objective",
            help="What is weighed against relevance: mean distance (max-sum), distance to the nearest "
            "(mmr), volume (log-det); or that no candidate is far from the set (coverage).",
            metavar="NAME",
        ),
    ] = "max-sum",
    sharpness: Annotated[
        int | None,
        _set(
            "--sharpness",
            help="Which likeness max-sum avoids: 1 = a common topic, too; 8 = near-duplicates alone.",
            metavar="1|EVEN",
            show_default="8; 1 for --metric euclidean",
        ),
    ] = None,
    solver: Annotated[
        str,
        _set(
            "--solver",
            help="How the set is found: auto (best for most), greedy, frank-wolfe, swap, exact (few "
            "candidates), top-k (relevance alone), …",
            metavar="NAME",
        ),
    ] = "auto",
    metric: Metric = "cosine",
    relevance_scale: Annotated[
        str,
        _set(
            "--relevance-scale",
            help="Rescale relevance first: none, minmax (to 0…1), zscore (to standard deviations) or rank.",
            metavar="SCALE",
        ),
    ] = "none",
    include: Annotated[
        list[str] | None,
        _set("--include", help="Id that must be in the set; repeat for several.", metavar="ID"),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        _set("--exclude", help="Id that must not be in the set; repeat for several.", metavar="ID"),
    ] = None,
    max_per_group: Annotated[
        int | None,
        _set(
            "--max-per-group",
            help="Select at most this many with the same label in --group.",
            metavar="COUNT",
            show_default="no limit",
        ),
    ] = None,
    per_document: Annotated[
        int | None,
        _set(
            "--per-document",
            help="Select at most this many passages of one document.",
            metavar="COUNT",
            show_default="no limit",
        ),
    ] = None,
    offset: Annotated[
        int,
        _set(
            "--offset",
            help="Pass over this many and select the next k: with -k 10, page 2 is --offset 10. Only with "
            "--index.",
            metavar="COUNT",
        ),
    ] = 0,
    after: Annotated[
        str | None,
        _set(
            "--after",
            help="Instead of --offset: the cursor that --json prints of the page before. Only with --index.",
            metavar="CURSOR",
        ),
    ] = None,
    pool: Annotated[
        str,
        _set(
            "--pool",
            help="Candidates to fetch and choose among; auto fetches until more are proven useless. Only "
            "with --index.",
            metavar="auto|COUNT",
        ),
    ] = "auto",
    certify: Certify = "bounded",
    seed: Seed = 0,
    threads: Threads = None,
    compare: Annotated[
        str | None,
        option(
            "--compare",
            help="Show the set of another solver beside it; top-k is a plain ranking.",
            panel=KEEP,
            metavar="SOLVER",
        ),
    ] = None,
    as_json: AsJson = False,
    out: SetFile = None,
    force: Force = False,
    cache: Cache = None,
    no_cache: NoCache = False,
) -> None:
    """Select k passages of a corpus for a query: relevant, and no two saying the same."""
    from setwise.cli import output, records, set_output
    from setwise.files import check_output, read_corpus
    from setwise.retrieval import default_sharpness, prepare

    _check_source(context, corpus, index)
    if per_document is not None:
        if max_per_group is not None or group is not None:
            raise ValueError(
                "per_document: documents are the groups then; leave --group and --max-per-group out"
            )
        max_per_group = per_document
    target = None if out is None else check_output(out, force=force)
    _check_query(query, query_vector, relevance)
    measure = {"metric": metric, "relevance_scale": relevance_scale}
    settings: dict[str, Any] = {
        "diversity": diversity,
        "objective": objective,
        "sharpness": default_sharpness(objective, metric) if sharpness is None else sharpness,
        **(measure if index is None else {}),
        "include": include or [],
        "exclude": exclude or [],
        "max_per_group": max_per_group,
        "where": where,
        **({} if index is None else {"offset": offset, "after": after, "pool": pool}),
        "seed": seed,
        "threads": threads,
    }
    _check_names(model, solver, compare, certify, {"k": k, **measure, **settings})
    if index is not None:
        from setwise.cli.indexed import retrieve_from

        with at_most(threads):
            retrieve_from(
                index,
                query,
                query_vector,
                k,
                solver=solver,
                certify=(certify, CERTIFY[certify]),
                compare=compare,
                settings={**settings, "sharpness": sharpness},
                as_json=as_json,
                target=target,
                force=force,
            )
        return
    assert corpus is not None
    if group is not None and max_per_group is None:
        raise ValueError("group: --group and --max-per-group go together")
    wishes = {name: value for name, value in settings.items() if name != "where"}
    with output.Status() as status, at_most(threads):
        status.tell("reading")
        read = read_corpus(
            corpus,
            text=text,
            id=id,
            vectors=vectors,
            relevance=relevance,
            group=group,
            chunk=as_chunk(chunk),
            overlap=overlap,
        )
        if max_per_group is not None and read.groups is None:
            raise ValueError("group: --max-per-group needs a column of labels (--group), or documents")
        _check_k(k, len(read))
        probe: Any = query if query_vector is None else _query_vector(query_vector, read)
        began = time.perf_counter()
        candidates = prepare(
            read,
            model,
            cache=cache_folder(read, cache, no_cache),
            drop_duplicates=drop_duplicates,
            seed=seed,
            progress=status.encoding,
        )
        if where is not None:
            candidates = candidates.only(where)
            _check_k(k, len(candidates))
        if isinstance(probe, str):
            probe = candidates.encode(probe)
        encoding = time.perf_counter() - began
        with output.notes_for_warnings():
            hits = candidates.select(
                probe, k, solver=solver, certify=CERTIFY[certify], progress=status.tell, **wishes
            )
        compared = (
            None if compare is None else candidates.select(probe, k, solver=compare, certify=False, **wishes)
        )
    for line in read.notes:
        output.note(line)
    output.note_what_was_left_out(candidates)
    settings = {"k": k, "solver": solver, **settings, "certify": certify}
    if as_json or target is not None:
        record = records.as_record(candidates, hits, compared, query, settings)
        if target is not None:
            records.write(target, record, hits, force=force)
        if as_json:
            output.print_json(record)
            return
    heading = f"“{query}”" if query is not None else f"{Path(corpus).name}"
    if compared is None:
        set_output.print_hits(hits, len(candidates), objective, heading)
    else:
        sides = (str(compare), compared), ("setwise" if solver == "auto" else solver, hits)
        set_output.print_side_by_side(*sides, len(candidates), objective, heading)
    set_output.print_origin(candidates, hits, encoding)
    if target is not None:
        output.note(f"wrote {out}")


def _check_source(context: typer.Context, corpus: str | None, index: str | None) -> None:
    """Refuse anything but a corpus or an index, and options that are for the other of the two."""
    if corpus is None and index is None:
        raise ValueError("corpus: say what to retrieve from with --corpus or --index")
    if corpus is not None and index is not None:
        raise ValueError("index: --corpus and --index are two sources; leave one out")
    for name in _OF_INDEX if index is None else _OF_CORPUS:
        if given(context, name):
            written = f"--{name.replace('_', '-')}"
            if index is None:
                raise ValueError(f"{name}: {written} goes with --index; build one with setwise index build")
            raise ValueError(f"{name}: {written} goes with --corpus; {_SETTLED.get(name, _BUILT)}")


def _check_k(k: int, n: int) -> None:
    """Refuse to select more than there are."""
    if k > n:
        raise ValueError(f"k: {k} is more than the {n:,} candidates; ask for at most {n:,}")


def _check_query(query: str | None, query_vector: str | None, relevance: str | None) -> None:
    """Refuse anything but exactly one way to say what is looked for."""
    given = [
        option
        for option, value in (
            ("--query", query),
            ("--query-vector", query_vector),
            ("--relevance", relevance),
        )
        if value is not None
    ]
    if not given:
        raise ValueError("query: say what is looked for with --query, --query-vector or --relevance")
    if len(given) > 1:
        raise ValueError(f"query: {' and '.join(given)} say the same thing twice; leave one out")


def _check_names(
    model: str, solver: str, compare: str | None, certify: str, settings: dict[str, Any]
) -> None:
    """Refuse what no corpus could make right, before any is read."""
    from setwise import checks, encode, solvers
    from setwise.request import Request

    encode.parse(model)
    checks.choice("certify", certify, CERTIFY)
    Request(**{name: value for name, value in settings.items() if name not in _LATER})
    for argument, name in (("solver", solver), ("compare", compare)):
        if name is not None:
            checks.choice(argument, name, solvers.SOLVERS)


def _query_vector(name: str, corpus: Corpus) -> Any:
    """Return a query's vector from a .npy file, for a corpus with vectors."""
    if corpus.vectors is None:
        raise ValueError("query-vector: it needs --vectors; a corpus of texts is searched with --query")
    return read_vector(name, corpus.vectors.shape[1])


def cache_folder(corpus: Corpus, cache: str | None, no_cache: bool) -> Path | None:
    """Return where encoded texts are kept, if anywhere."""
    from setwise.encode.places import folder_for

    if cache is not None and no_cache:
        raise ValueError("cache: give --cache or --no-cache, not both")
    return None if no_cache or corpus.vectors is not None else folder_for(corpus.source, cache)
