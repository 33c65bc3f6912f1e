"""``setwise index``: a corpus encoded once and kept in a folder, which grows and changes with the corpus."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from setwise.cli import folders, options
from setwise.cli.options import described

if TYPE_CHECKING:
    from setwise.files import Corpus
    from setwise.index.changes import Change
    from setwise.index.folder import IndexInfo

app = typer.Typer(
    help="Encode a corpus once and keep it in a folder, for setwise retrieve --index.", no_args_is_help=True
)


@app.command()
@described("""
    What to build
        --storage float32|float16  Type of the stored numbers; float16 halves the size and keeps three digits.
            [default: float32, or as your vectors are]
        --kind array|faiss  array: every search reads all vectors and is exact; faiss: searches go by a FAISS
            index.
        --factory STRING  The FAISS index to build, as its factory string: Flat, IVF1024,Flat, HNSW32, … With
            --kind faiss. [default: Flat below 20,000 vectors, else 4 √n lists]
        --nprobe COUNT  Lists that a search of an IVF index reads; more take longer and miss less. [default: a
            sixteenth, at least 8]
        --ef COUNT  Candidates that a search of an HNSW index keeps; more take longer and miss less. [default:
            128]
""")
def build(
    context: typer.Context,
    corpus: Annotated[str, typer.Argument(help=options.CORPORA, metavar="CORPUS")],
    out: options.NewFolder,
    text: str | None = None,
    id: str | None = None,
    vectors: str | None = None,
    group: str | None = None,
    chunk: str | None = None,
    overlap: int | None = None,
    drop_duplicates: bool = False,
    model: str = "auto",
    metric: str = "cosine",
    storage: str | None = None,
    kind: str = "array",
    factory: str | None = None,
    nprobe: int | None = None,
    ef: int | None = None,
    threads: int | None = None,
    force: bool = False,
) -> None:
    """Read a corpus, encode its texts, and keep both in a folder."""
    from setwise import checks, encode
    from setwise.cli import output
    from setwise.files import read_corpus
    from setwise.files.documents import CHUNK
    from setwise.index.folder import FORMAT
    from setwise.index.saving import KINDS, STORAGE, save
    from setwise.retrieval import prepare
    from setwise.vectors import check_metric

    FORMAT.check_target(out, force=force)
    encode.parse(model)
    check_metric(metric)
    checks.choice("kind", kind, KINDS)
    if storage is not None:
        checks.choice("storage", storage, STORAGE)
    began = time.perf_counter()
    reading = options.reading(context)
    if reading["chunk"] is None and Path(corpus).is_dir():
        reading["chunk"] = CHUNK
    with folders.step_bar() as tell, options.at_most(threads):
        tell("reading", 0, 0)
        read = read_corpus(corpus, **reading)
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
            columns={name: [values[row] for row in rows] for name, values in read.columns.items()},
            encoder=used,
            model=used.key.split()[0] if used is not None and model == "auto" else model,
            **options.values_of(context, "metric", "storage", "kind", "factory", "nprobe", "ef"),
            source=Path(corpus).resolve().name,
            reading={name: value for name, value in reading.items() if value is not None},
            **options.values_of(context, "force", "threads"),
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
@described()
def add(
    context: typer.Context,
    path: Annotated[str, options.folder_made_by("setwise index build")],
    corpus: Annotated[str, typer.Argument(help=options.CORPORA, metavar="CORPUS")],
    text: str | None = None,
    id: str | None = None,
    vectors: str | None = None,
    group: str | None = None,
    chunk: str | None = None,
    overlap: int | None = None,
    threads: int | None = None,
) -> None:
    """Add the rows of a corpus; ids that are there already are refused."""
    from setwise.index import changes

    read = _read_again(context, path, corpus)
    _change(path, partial(changes.add, path, read, threads=threads), threads, read.notes)


@app.command()
@described("""
    What to build
        --keep  Keep the ids that the corpus lacks.
""")
def update(
    context: typer.Context,
    path: Annotated[str, options.folder_made_by("setwise index build")],
    corpus: Annotated[str, typer.Argument(help=options.CORPORA, metavar="CORPUS")],
    keep: bool = False,
    text: str | None = None,
    id: str | None = None,
    vectors: str | None = None,
    group: str | None = None,
    chunk: str | None = None,
    overlap: int | None = None,
    threads: int | None = None,
) -> None:
    """Let an index hold what a corpus holds now; a text that it has keeps its vector."""
    from setwise.index import changes

    read = _read_again(context, path, corpus)
    _change(path, partial(changes.update, path, read, keep=keep, threads=threads), threads, read.notes)


@app.command()
@described("""
    What to read
        --where CONDITION  Remove rows of which this is true of their columns: "year < 2020".
""")
def remove(
    path: Annotated[str, options.folder_made_by("setwise index build")],
    ids: Annotated[list[str] | None, typer.Argument(help="Ids to remove.", metavar="ID")] = None,
    where: str | None = None,
    threads: int | None = None,
) -> None:
    """Remove rows by id, by a condition on their columns, or by both."""
    from setwise.index import changes

    if not ids and where is None:
        raise ValueError("ids: say which rows to remove, by their ids or by --where")
    _change(path, partial(changes.remove, path, ids or (), where=where, threads=threads), threads)


def _read_again(context: typer.Context, path: str, corpus: str) -> Corpus:
    """Read a corpus as the one that an index was built of, but for what is asked now."""
    from setwise.files import read_corpus
    from setwise.files.documents import KINDS
    from setwise.files.names import ending
    from setwise.index.folder import FORMAT

    asked = {name: value for name, value in options.reading(context).items() if value is not None}
    before = dict(FORMAT.read(path)[1].reading)
    if Path(corpus).is_file() and ending(corpus) not in KINDS:
        before = {name: value for name, value in before.items() if name not in ("chunk", "overlap")}
    return read_corpus(corpus, **before | asked)


def _change(path: str, make: Callable[..., Change], threads: int | None, notes: tuple[str, ...] = ()) -> None:
    """Change an index, with a bar, and say what has become of it."""
    from setwise.cli import output

    began = time.perf_counter()
    with output.notes_for_warnings(), folders.step_bar() as tell, options.at_most(threads):
        change = make(progress=tell)
    for line in notes:
        output.note(line)
    if change.unknown:
        count = len(change.unknown)
        names = ", ".join(map(str, change.unknown[:5])) + (" …" if count > 5 else "")
        output.note(f"{count:,} left out, since the encoder knows no word of their text: {names}")
    facts = [
        f"{count:,} {what}"
        for count, what in (
            (change.added, "added"),
            (change.changed, "changed"),
            (change.removed, "removed"),
            (change.unchanged, "unchanged"),
        )
        if count
    ]
    texts = f"{change.encoded:,} text{'' if change.encoded == 1 else 's'} encoded"
    facts += [texts, f"now {change.info.n:,}", output.milliseconds(time.perf_counter() - began)]
    output.print_line(Path(path).resolve().name, " · ".join(facts))


@app.command()
@described()
def info(
    path: Annotated[str, options.folder_made_by("setwise index build")],
    check: options.Verify = False,
    as_json: options.AsJson = False,
) -> None:
    """Say what a saved index is, and whether it is whole."""
    from setwise.index.folder import FORMAT

    def described(found: IndexInfo) -> tuple[str, dict[str, str]]:
        encoder = found.encoder
        return f"index of {found.source}" if found.source else "index", {
            "vectors": f"{found.n:,} × {found.d:,}, {found.dtype}, {found.metric}",
            "search": _search(found),
            "texts": "yes" if found.texts else "no: it gives ids alone",
            "groups": "yes, for --max-per-group" if found.groups else "no",
            "columns": ", ".join(f"{name} ({kind})" for name, kind in found.columns.items()) or "none",
            "queries": "by vector alone (--query-vector)"
            if encoder is None
            else f"by text, encoded by {encoder['name']}",
        }

    folders.print_info(path, FORMAT, described, check=check, as_json=as_json)


def _search(found: IndexInfo) -> str:
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
