"""``setwise retrieve``: k passages of a corpus, or of a saved index, for a query."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setwise.cli.options import CERTIFY, given, json_option, option, threads_option

if TYPE_CHECKING:
    from setwise.files import Corpus

#: Options that only a corpus takes, and only an index.
_OF_CORPUS = (
    *("text", "id", "vectors", "relevance", "group", "model", "drop_duplicates", "metric"),
    *("relevance_scale", "cache", "no_cache"),
)
_OF_INDEX = ("exclude", "offset", "pool")

#: Why an index does not take them.
_BUILT = "an index has it from when it was built"
_SETTLED = {
    "relevance": "an index is searched by a query",
    "relevance_scale": "an index is searched by a query",
    "cache": "an index needs no cache",
    "no_cache": "an index needs no cache",
}

_INPUT, _SET, _OUTPUT = "What to read", "What a good set is", "What to print and keep"


def retrieve(
    context: typer.Context,
    corpus: Annotated[
        str | None,
        option(
            "--corpus",
            help="A table (.parquet, .arrow, .feather, .jsonl, .jsonl.gz, .csv), a folder of .txt, .md and "
            ".rst files, one such file, or a .npy file of vectors.",
            panel=_INPUT,
            metavar="PATH",
        ),
    ] = None,
    index: Annotated[
        str | None,
        option("--index", help="Instead: what setwise index build has made.", panel=_INPUT, metavar="DIR"),
    ] = None,
    query: Annotated[
        str | None, option("--query", "-q", help="What is looked for.", panel=_INPUT, metavar="TEXT")
    ] = None,
    text: Annotated[
        str | None,
        option(
            "--text", help="The texts. By default text, content, passage, …", panel=_INPUT, metavar="COLUMN"
        ),
    ] = None,
    id: Annotated[
        str | None,
        option(
            "--id",
            help="The ids. By default id, _id, pid, …, else row numbers.",
            panel=_INPUT,
            metavar="COLUMN",
        ),
    ] = None,
    vectors: Annotated[
        str | None,
        option(
            "--vectors", help="Your own vectors; no text is encoded.", panel=_INPUT, metavar="COLUMN|FILE.npy"
        ),
    ] = None,
    query_vector: Annotated[
        str | None, option("--query-vector", help="The query's vector.", panel=_INPUT, metavar="FILE.npy")
    ] = None,
    relevance: Annotated[
        str | None,
        option("--relevance", help="Your own relevance, instead of a query.", panel=_INPUT, metavar="COLUMN"),
    ] = None,
    group: Annotated[
        str | None, option("--group", help="Labels for --max-per-group.", panel=_INPUT, metavar="COLUMN")
    ] = None,
    model: Annotated[
        str,
        option(
            "--model",
            help="What encodes texts: lsa, static, ngrams, sentence, sentence:FOLDER; auto is static "
            "where it is installed, else lsa.",
            panel=_INPUT,
        ),
    ] = "auto",
    drop_duplicates: Annotated[
        bool, option("--drop-duplicates", help="Leave out all but the first of equal texts.", panel=_INPUT)
    ] = False,
    k: Annotated[int, option("-k", help="Size of the set.", panel=_SET)] = 10,
    diversity: Annotated[
        float, option("--diversity", help="0 = relevance alone, 1 = diversity alone.", panel=_SET)
    ] = 0.3,
    objective: Annotated[
        str, option("--objective", help="max-sum, mmr, log-det or coverage.", panel=_SET)
    ] = "max-sum",
    sharpness: Annotated[
        int | None,
        option(
            "--sharpness",
            help="Of max-sum: 1 = average likeness counts; 8 = only near-duplicates do.",
            panel=_SET,
            show_default="8",
        ),
    ] = None,
    solver: Annotated[
        str, option("--solver", help="auto, greedy, frank-wolfe, swap, exact, top-k, …", panel=_SET)
    ] = "auto",
    metric: Annotated[str, option("--metric", help="cosine or euclidean.", panel=_SET)] = "cosine",
    relevance_scale: Annotated[
        str, option("--relevance-scale", help="none, minmax, zscore or rank.", panel=_SET)
    ] = "none",
    include: Annotated[
        list[str] | None,
        option("--include", help="Must be in the set; may be repeated.", panel=_SET, metavar="ID"),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        option("--exclude", help="Must not be; may be repeated. With --index.", panel=_SET, metavar="ID"),
    ] = None,
    max_per_group: Annotated[
        int | None, option("--max-per-group", help="At most so many of each group.", panel=_SET)
    ] = None,
    offset: Annotated[
        int, option("--offset", help="Skip so many: the page after those. With --index.", panel=_SET)
    ] = 0,
    pool: Annotated[
        str,
        option(
            "--pool",
            help="How many candidates to fetch; auto fetches more until that is proven enough. With --index.",
            panel=_SET,
            metavar="auto|COUNT",
        ),
    ] = "auto",
    certify: Annotated[
        str, option("--certify", help="How hard to prove it: none, bounded or full.", panel=_SET)
    ] = "bounded",
    seed: Annotated[int, option("--seed", help="Of everything random.", panel=_SET)] = 0,
    threads: Annotated[int | None, threads_option(_SET)] = None,
    compare: Annotated[
        str | None,
        option(
            "--compare", help="Show another solver's set beside it: top-k, …", panel=_OUTPUT, metavar="SOLVER"
        ),
    ] = None,
    as_json: Annotated[bool, json_option(_OUTPUT)] = False,
    out: Annotated[
        str | None,
        option(
            "--out",
            help="Also write the set: .jsonl, .csv, .parquet, .json, .npy.",
            panel=_OUTPUT,
            metavar="FILE",
        ),
    ] = None,
    force: Annotated[bool, option("--force", help="Replace an existing FILE.", panel=_OUTPUT)] = False,
    cache: Annotated[
        str | None,
        option(
            "--cache",
            help="Where encoded texts are kept. By default beside the corpus.",
            panel=_OUTPUT,
            metavar="DIR",
        ),
    ] = None,
    no_cache: Annotated[bool, option("--no-cache", help="Keep nothing.", panel=_OUTPUT)] = False,
) -> None:
    """Select k passages of a corpus for a query: relevant, and no two saying the same."""
    from setwise.cli import output, records
    from setwise.files import check_output, read_corpus
    from setwise.retrieval import default_sharpness, prepare

    _check_source(context, corpus, index)
    target = None if out is None else check_output(out, force=force)
    _check_query(query, query_vector, relevance)
    if index is not None:
        from setwise.cli.indexed import retrieve_from

        wanted: dict[str, Any] = {
            "diversity": diversity,
            "objective": objective,
            "sharpness": sharpness,
            "include": include or [],
            "exclude": exclude or [],
            "max_per_group": max_per_group,
            "offset": offset,
            "pool": pool,
            "seed": seed,
            "threads": threads,
        }
        scale = {"metric": metric, "relevance_scale": relevance_scale}
        usual = default_sharpness(objective, metric) if sharpness is None else sharpness
        _check_names(model, solver, compare, certify, k, {**wanted, **scale, "sharpness": usual})
        with at_most(threads):
            retrieve_from(
                index,
                query,
                query_vector,
                k,
                solver=solver,
                certify=(certify, CERTIFY[certify]),
                compare=compare,
                settings=wanted,
                as_json=as_json,
                target=target,
                force=force,
            )
        return
    assert corpus is not None
    if (group is None) != (max_per_group is None):
        raise ValueError("group: --group and --max-per-group go together")
    settings: dict[str, Any] = {
        "diversity": diversity,
        "objective": objective,
        "sharpness": default_sharpness(objective, metric) if sharpness is None else sharpness,
        "metric": metric,
        "relevance_scale": relevance_scale,
        "include": include or [],
        "max_per_group": max_per_group,
        "seed": seed,
        "threads": threads,
    }
    _check_names(model, solver, compare, certify, k, settings)
    with output.Status() as status, at_most(threads):
        status.tell("reading")
        read = read_corpus(corpus, text=text, id=id, vectors=vectors, relevance=relevance, group=group)
        if k > len(read):
            raise ValueError(
                f"k: {k} is more than the {len(read):,} candidates; ask for at most {len(read):,}"
            )
        probe: Any = query if query_vector is None else _query_vector(query_vector, read)
        began = time.perf_counter()
        candidates = prepare(
            read,
            model,
            cache=_cache_folder(read, cache, no_cache),
            drop_duplicates=drop_duplicates,
            seed=seed,
            progress=status.encoding,
        )
        if isinstance(probe, str):
            probe = candidates.encode(probe)
        encoding = time.perf_counter() - began
        with output.notes_for_warnings():
            hits = candidates.select(
                probe, k, solver=solver, certify=CERTIFY[certify], progress=status.tell, **settings
            )
        compared = (
            None
            if compare is None
            else candidates.select(probe, k, solver=compare, certify=False, **settings)
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
            typer.echo(json.dumps(record, ensure_ascii=False, allow_nan=False))
            return
    heading = f"“{query}”" if query is not None else f"{Path(corpus).name}"
    if compared is None:
        output.print_hits(hits, len(candidates), objective, heading)
    else:
        sides = (str(compare), compared), ("setwise" if solver == "auto" else solver, hits)
        output.print_side_by_side(*sides, len(candidates), objective, heading)
    output.print_origin(candidates, hits, encoding)
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
    model: str, solver: str, compare: str | None, certify: str, k: int, settings: dict[str, Any]
) -> None:
    """Refuse what no corpus could make right, before any is read."""
    from setwise import checks, encode, objectives, solvers
    from setwise.relevance import SCALES

    encode.parse(model)
    checks.integer("k", k, least=1)
    checks.integer("seed", settings["seed"], least=0)
    checks.choice("certify", certify, CERTIFY)
    checks.choice("relevance_scale", settings["relevance_scale"], SCALES)
    objectives.make(
        settings["objective"],
        diversity=settings["diversity"],
        sharpness=settings["sharpness"],
        metric=settings["metric"],
    )
    for argument, name in (("solver", solver), ("compare", compare)):
        if name is not None:
            checks.choice(argument, name, solvers.SOLVERS)


def _query_vector(name: str, corpus: Corpus) -> Any:
    """Return a query's vector from a .npy file, for a corpus with vectors."""
    if corpus.vectors is None:
        raise ValueError("query-vector: it needs --vectors; a corpus of texts is searched with --query")
    return read_vector(name, corpus.vectors.shape[1])


def read_vector(name: str, d: int) -> Any:
    """Return a query's vector of width d from a .npy file."""
    from setwise.files import read_array

    vector = read_array(Path(name), "query-vector")
    if vector.ndim == 2 and len(vector) == 1:
        vector = vector[0]
    if vector.shape != (d,):
        raise ValueError(f"query-vector: {Path(name).name} has shape {vector.shape}, the vectors have {d} d")
    return vector


def _cache_folder(corpus: Corpus, cache: str | None, no_cache: bool) -> Path | None:
    """Return where encoded texts are kept, if anywhere."""
    from setwise.encode.cache import folder_for

    if cache is not None and no_cache:
        raise ValueError("cache: give --cache or --no-cache, not both")
    return None if no_cache or corpus.vectors is not None else folder_for(corpus.source, cache)


def at_most(threads: int | None) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which numeric libraries use at most so many threads."""
    if threads is None:
        return contextlib.nullcontext()
    from threadpoolctl import threadpool_limits

    from setwise import checks

    limits: contextlib.AbstractContextManager[Any] = threadpool_limits(
        checks.integer("threads", threads, least=1)
    )
    return limits
