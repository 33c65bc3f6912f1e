"""``setwise index build`` and ``setwise index info``: a corpus encoded once, kept in a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from setwise.cli import folders
from setwise.cli.options import json_option, option, threads_option

if TYPE_CHECKING:
    from setwise.index.saved import Info

app = typer.Typer(
    help="Encode a corpus once and keep it in a folder, for setwise retrieve --index.", no_args_is_help=True
)

_INPUT, _INDEX, _OUTPUT = "What to read", "What to build", "Where to"


@app.command()
def build(
    corpus: Annotated[
        str,
        typer.Argument(
            help="A table (.parquet, .arrow, .feather, .jsonl, .jsonl.gz, .csv), a folder of .txt, .md and "
            ".rst files, one such file, or a .npy file of vectors.",
            metavar="CORPUS",
        ),
    ],
    out: Annotated[
        str,
        option("--out", help="The folder; it appears whole or not at all.", panel=_OUTPUT, metavar="DIR"),
    ],
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
    group: Annotated[
        str | None, option("--group", help="Labels for --max-per-group.", panel=_INPUT, metavar="COLUMN")
    ] = None,
    drop_duplicates: Annotated[
        bool, option("--drop-duplicates", help="Leave out all but the first of equal texts.", panel=_INPUT)
    ] = False,
    model: Annotated[
        str,
        option(
            "--model",
            help="What encodes texts, and queries later: lsa, static, ngrams, sentence, sentence:FOLDER; "
            "auto is static where it is installed, else lsa.",
            panel=_INDEX,
        ),
    ] = "auto",
    metric: Annotated[str, option("--metric", help="cosine or euclidean.", panel=_INDEX)] = "cosine",
    storage: Annotated[
        str | None,
        option(
            "--storage",
            help="float16 halves the size; entries keep three digits.",
            panel=_INDEX,
            metavar="float32|float16",
            show_default="float32, or as your vectors are",
        ),
    ] = None,
    kind: Annotated[
        str,
        option("--kind", help="Exact search by scans, or by FAISS.", panel=_INDEX, metavar="array|faiss"),
    ] = "array",
    factory: Annotated[
        str | None,
        option(
            "--factory",
            help="Of FAISS: Flat, IVF1024,Flat, HNSW32, …",
            panel=_INDEX,
            metavar="STRING",
            show_default="Flat below 20,000 vectors, else lists",
        ),
    ] = None,
    nprobe: Annotated[
        int | None,
        option(
            "--nprobe",
            help="Lists that a search reads, of an IVF factory.",
            panel=_INDEX,
            show_default="a sixteenth, at least 8",
        ),
    ] = None,
    ef: Annotated[
        int | None,
        option("--ef", help="Effort of a search, of an HNSW factory.", panel=_INDEX, show_default="128"),
    ] = None,
    threads: Annotated[int | None, threads_option(_INDEX)] = None,
    force: Annotated[bool, option("--force", help="Replace an index that is there.", panel=_OUTPUT)] = False,
) -> None:
    """Read a corpus, encode its texts, and keep both in a folder."""
    from setwise import checks, encode
    from setwise.cli import output
    from setwise.cli.retrieve import at_most
    from setwise.files import read_corpus
    from setwise.index.folder import check_target
    from setwise.index.saved import KINDS, STORAGE, save
    from setwise.retrieval import prepare
    from setwise.vectors import check_metric

    check_target(out, force=force)
    encode.parse(model)
    check_metric(metric)
    checks.choice("kind", kind, KINDS)
    if storage is not None:
        checks.choice("storage", storage, STORAGE)
    began = time.perf_counter()
    with folders.step_bar() as tell, at_most(threads):
        tell("reading", 0, 0)
        read = read_corpus(corpus, text=text, id=id, vectors=vectors, group=group)
        candidates = prepare(
            read,
            model,
            drop_duplicates=drop_duplicates,
            progress=lambda done, total: tell("encoding", done, total),
        )
        used = candidates.encoder
        rows = candidates.rows.tolist()
        info = save(
            out,
            candidates.vectors,
            ids=[read.ids[row] for row in rows],
            texts=None if read.texts is None else [read.texts[row] for row in rows],
            groups=None if read.groups is None else [read.groups[row] for row in rows],
            encoder=used,
            model=used.key.split()[0] if used is not None and model == "auto" else model,
            metric=metric,
            storage=storage,
            kind=kind,
            factory=factory,
            nprobe=nprobe,
            ef=ef,
            source=Path(corpus).resolve().name,
            force=force,
            threads=threads,
            progress=tell,
        )
    for line in read.notes:
        output.note(line)
    output.note_what_was_left_out(candidates)
    what = "vectors" if read.texts is None else "texts"
    facts = (
        f"{info.n:,} {what[:-1] if info.n == 1 else what}",
        f"{info.d:,} d {info.dtype}",
        *([] if used is None else [used.name.partition(" (")[0]]),
        _search(info),
        folders.size_of(info.bytes),
        output.milliseconds(time.perf_counter() - began),
    )
    output.print_line(Path(out).name, " · ".join(facts))


@app.command()
def info(
    path: Annotated[str, typer.Argument(help="What setwise index build has made.", metavar="DIR")],
    check: Annotated[
        bool, typer.Option("--verify", help="Read every file and compare its checksum.")
    ] = False,
    as_json: Annotated[bool, json_option()] = False,
) -> None:
    """Say what a saved index is, and whether it is whole."""
    from setwise.cli import output
    from setwise.index.saved import read_info, verify

    folder, found = read_info(path)
    verified = folders.seconds_to_verify(verify, path) if check else None
    if as_json:
        folders.print_record(found, verified)
        return
    lines = {
        "vectors": f"{found.n:,} × {found.d:,}, {found.dtype}, {found.metric}",
        "search": _search(found),
        "texts": "yes" if found.texts else "no: it gives ids alone",
        "groups": "yes, for --max-per-group" if found.groups else "no",
        "queries": "by vector alone (--query-vector)"
        if found.encoder is None
        else f"by text, encoded by {found.encoder['name']}",
        "built": f"{found.built[:16].replace('T', ' ')} UTC by setwise {found.setwise}",
        **folders.file_facts(found, verified),
    }
    source = f"index of {found.source}" if found.source else "index"
    output.print_facts(folder.resolve().name, source, lines)


def _search(found: Info) -> str:
    """Return how an index is searched."""
    if found.faiss is None:
        return "exact, by scans"
    facts = found.faiss
    effort = "".join(
        [
            f", {facts['nprobe']:,} of {facts['lists']:,} lists a search" if facts["lists"] else "",
            f", effort {facts['ef']:,}" if facts["ef"] else "",
        ]
    )
    return f"{'exact' if found.exact else 'approximate'}, by FAISS {facts['factory']}{effort}"
