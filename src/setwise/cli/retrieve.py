"""``setwise retrieve``: k passages of a corpus, or of a saved index, for a query."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from setwise.cli import options
from setwise.cli.options import described

#: Options that only a corpus takes, and only an index.
_OF_CORPUS = (
    *("text", "id", "vectors", "relevance", "group"),
    *("chunk", "overlap", "model", "drop_duplicates", "metric"),
    *("relevance_scale", "cache", "no_cache"),
)
_OF_INDEX = ("offset", "after", "pool")

#: Settings that only what is read can tell to be right.
_LATER = ("max_per_group", "where", "shown", "certify", *_OF_INDEX)

#: Why an index does not take them.
_BUILT = "an index has it from when it was built"
_SETTLED = {
    "relevance": "an index is searched by a query",
    "relevance_scale": "an index is searched by a query",
    "cache": "an index needs no cache",
    "no_cache": "an index needs no cache",
}


@described(f"""
    What to read
        --corpus PATH  {options.CORPORA}
        --index DIR  Instead of --corpus: a folder made by setwise index build.
        --query -q TEXT  What to find passages for, in words; repeat for several sets.
        --queries FILE  A file of queries: one a line, or a table with a column 'query' and perhaps ids.
        --query-vector FILE.npy  Instead of --query: a .npy file with the query's vector, or a row for each of
            several.
        --relevance COLUMN  Instead of --query: column with each row's relevance, a number, higher is better.
    What a good set is
        --objective NAME  What is weighed against relevance: mean distance (max-sum), distance to the nearest
            (mmr), volume (log-det), the least distance (max-min), an answer to each --facet (facets); or that
            no candidate is far from the set (coverage).
        --sharpness 1|EVEN  Which likeness max-sum avoids: 1 = a common topic, too; 8 = near-duplicates alone.
            [default: 8; 1 for --metric euclidean]
        --solver NAME  How the set is found: auto (best for most), greedy, frank-wolfe, swap, exact (few
            candidates), top-k (relevance alone), …
        --relevance-scale SCALE  Rescale relevance first: none, minmax (to 0…1), zscore (to standard
            deviations) or rank.
        --include ID  Id that must be in the set; repeat for several.
        --exclude ID  Id that must not be in the set; repeat for several.
        --per-document COUNT  Select at most this many passages of one document. [default: no limit]
        --offset COUNT  Pass over this many and select the next k: with -k 10, page 2 is --offset 10. Only
            with --index.
        --after CURSOR  Instead of --offset: the cursor that --json prints of the page before. Only with
            --index.
        --pool auto|COUNT  Candidates to fetch and choose among; auto fetches until more are proven useless.
            Only with --index.
    What to print and keep
        --compare SOLVER  Show the set of another solver beside it; top-k is a plain ranking.
        --why  Also say why each was chosen, and why the most relevant of the others were not.
        --full  Print texts whole, however long they are.
""")
def retrieve(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="A corpus, or a folder made by setwise index build, unless it is named by --corpus or "
            "--index; then queries.",
            metavar="[SOURCE] [QUERY]...",
        ),
    ] = None,
    corpus: str | None = None,
    index: str | None = None,
    query: list[str] | None = None,
    queries: str | None = None,
    text: str | None = None,
    id: str | None = None,
    vectors: str | None = None,
    query_vector: str | None = None,
    relevance: str | None = None,
    group: str | None = None,
    where: str | None = None,
    chunk: str | None = None,
    overlap: int | None = None,
    model: str = "auto",
    drop_duplicates: bool = False,
    k: int = 10,
    diversity: float = 0.3,
    objective: str = "max-sum",
    sharpness: int | None = None,
    solver: str = "auto",
    solver_option: list[str] | None = None,
    metric: str = "cosine",
    relevance_scale: str = "none",
    include: list[str] | None = None,
    exclude: list[str] | None = None,
    max_per_group: int | None = None,
    per_document: int | None = None,
    offset: int = 0,
    after: str | None = None,
    pool: str = "auto",
    tokens: int | None = None,
    tokenizer: str = "tokens",
    limit: list[str] | None = None,
    max_similarity: float | None = None,
    min_gain: float | None = None,
    shown: list[str] | None = None,
    facet: list[str] | None = None,
    certify: str = "bounded",
    time_limit: float = 60.0,
    seed: int = 0,
    threads: int | None = None,
    compare: str | None = None,
    why: bool = False,
    full: bool = False,
    as_json: options.AsJson = False,
    out: options.SetFile = None,
    force: bool = False,
    cache: str | None = None,
    no_cache: bool = False,
) -> None:
    """Select k passages of a corpus for each query: relevant, and no two saying the same."""
    from setwise import checks
    from setwise.cli.answers import Answers
    from setwise.cli.asked import read_asked
    from setwise.cli.sources import encoded, opened
    from setwise.files import check_output
    from setwise.files.names import ending
    from setwise.retrieval import default_sharpness
    from setwise.retrieval.pages import earlier

    corpus, index, texts = _placed(list(words or ()), corpus, index, list(query or ()))
    _check_source(context, corpus, index)
    if per_document is not None:
        if max_per_group is not None or group is not None:
            raise ValueError(
                "per_document: documents are the groups then; leave --group and --max-per-group out"
            )
        max_per_group = per_document
    asked = read_asked(texts, queries, query_vector, relevance, corpus)
    many = queries is not None or len(asked) > 1
    target = None if out is None else check_output(out, force=force)
    if many and target is not None and ending(target) == ".npy":
        raise ValueError("out: a .npy file holds one set; write those of many queries to .jsonl")
    if many and after is not None:
        raise ValueError("after: a cursor is of one query; ask one, or leave --after out")
    before = offset + len(earlier(after or ()))
    if compare is not None and before:
        raise ValueError("compare: it compares first pages; leave --offset, --after or --compare out")
    if facet and not options.given(context, "objective"):
        objective = "facets"
    if objective == "facets" and not facet:
        raise ValueError("facet: --objective facets covers what --facet names; give one or more")
    if tokens is not None:
        checks.integer("tokens", tokens, least=1)
    measure = {"metric": metric, "relevance_scale": relevance_scale}
    wishes: dict[str, Any] = {
        "diversity": diversity,
        "objective": objective,
        "sharpness": default_sharpness(objective, metric) if sharpness is None else sharpness,
        **(measure if index is None else {}),
        "solver_options": options.as_solver_options(solver_option),
        "include": include or [],
        "exclude": exclude or [],
        "max_per_group": max_per_group,
        "limits": options.as_limits(limit),
        "costs": None if tokens is None else tokenizer,
        "budget": tokens,
        **options.values_of(context, "max_similarity", "min_gain"),
        "shown": shown or None,
        "facets": facet or None,
        "where": where,
        **({} if index is None else options.values_of(context, *_OF_INDEX)),
        **options.values_of(context, "time_limit", "seed", "threads"),
    }
    if tokens is None and options.given(context, "tokenizer"):
        raise ValueError("tokenizer: it counts for --tokens; give that, too")
    options.check_group(group, max_per_group)
    size = k if tokens is None or options.given(context, "k") else None
    settings = {"k": size, "solver": solver, **wishes, "certify": certify}
    _check_names(model, compare, certify, {**measure, **settings})
    answers = Answers(
        many=many,
        solver=solver,
        certify=options.CERTIFY[certify],
        objective=objective,
        offset=before,
        target=target,
        **options.values_of(context, "compare", "why", "as_json", "out", "force", "full"),
        any_size=tokens is not None or min_gain is not None,
    )
    called = {"costs": "tokenizer", "budget": "tokens", "groups": "group", "limits": "limit"}
    if per_document is not None:
        called |= {"group": "per_document", "max_per_group": "per_document"}
    with options.at_most(threads), checks.renamed(**called, facets="facet", solver_options="solver-option"):
        if index is not None:
            answers.give(
                opened(index, size, {**wishes, "sharpness": sharpness}, settings), asked, lambda: None
            )
            return
        assert corpus is not None
        source = encoded(corpus, size, options.reading(context), context.params, wishes, settings)
        answers.give(source, asked, source.note_how_it_was_read)


def _placed(
    words: list[str], corpus: str | None, index: str | None, queries: list[str]
) -> tuple[str | None, str | None, list[str]]:
    """Return the corpus or index, and the queries, of what was written with options and without."""
    if words and corpus is None and index is None:
        from setwise.index.folder import FORMAT

        place = words.pop(0)
        if FORMAT.is_ours(Path(place)):
            index = place
        else:
            corpus = place
    return corpus, index, [*queries, *words]


def _check_source(context: typer.Context, corpus: str | None, index: str | None) -> None:
    """Refuse anything but a corpus or an index, and options that are for the other of the two."""
    if corpus is None and index is None:
        raise ValueError(
            "corpus: say what to retrieve from: a corpus or an index, first or with --corpus or --index"
        )
    if corpus is not None and index is not None:
        raise ValueError("index: --corpus and --index are two sources; leave one out")
    for name in _OF_INDEX if index is None else _OF_CORPUS:
        if options.given(context, name):
            written = f"--{name.replace('_', '-')}"
            if index is None:
                raise ValueError(f"{name}: {written} goes with --index; build one with setwise index build")
            raise ValueError(f"{name}: {written} goes with --corpus; {_SETTLED.get(name, _BUILT)}")


def _check_names(model: str, compare: str | None, certify: str, settings: dict[str, Any]) -> None:
    """Refuse what no corpus could make right, before any is read."""
    from setwise import checks, encode, solvers
    from setwise.request import Request

    encode.parse(model)
    checks.choice("certify", certify, options.CERTIFY)
    for argument, name in (("solver", settings["solver"]), ("compare", compare)):
        if name is not None:
            checks.choice(argument, name, solvers.SOLVERS)
    Request(**{name: value for name, value in settings.items() if name not in _LATER})
