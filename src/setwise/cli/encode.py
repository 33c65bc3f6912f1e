"""``setwise encode``: the texts of a corpus as vectors in a file, by any of the encoders."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from setwise.cli import folders
from setwise.cli.options import (
    CORPORA,
    KEEP,
    AsJson,
    Cache,
    Chunk,
    Force,
    IdColumn,
    Model,
    NoCache,
    Overlap,
    TextColumn,
    Threads,
    as_chunk,
    at_most,
    option,
)

#: What vectors are written to.
_ENDINGS = (".npy", ".parquet", ".jsonl")


def encode(
    corpus: Annotated[str, typer.Argument(help=CORPORA, metavar="CORPUS")],
    out: Annotated[
        str,
        option(
            "--out",
            help="File to write: .npy for one row a text, .parquet or .jsonl for ids, texts and vectors.",
            panel=KEEP,
            metavar="FILE",
        ),
    ],
    text: TextColumn = None,
    id: IdColumn = None,
    chunk: Chunk = None,
    overlap: Overlap = None,
    model: Model = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
    force: Force = False,
    cache: Cache = None,
    no_cache: NoCache = False,
) -> None:
    """Write the vectors of a corpus's texts to a file."""
    import numpy as np

    from setwise import encode as encoders
    from setwise.cli import output
    from setwise.cli.sources import cache_folder
    from setwise.encode.cache import encode_texts
    from setwise.files import check_output, read_corpus, write_array
    from setwise.files.names import ending

    target = check_output(out, force=force, endings=_ENDINGS)
    encoders.parse(model)
    began = time.perf_counter()
    with folders.step_bar() as tell, at_most(threads):
        tell("reading", 0, 0)
        read = read_corpus(corpus, text=text, id=id, chunk=as_chunk(chunk), overlap=overlap)
        if read.texts is None:
            raise ValueError(f"corpus: {Path(corpus).name} has no texts to encode")
        used = encoders.encoder(model)
        kept = cache_folder(read, cache, no_cache)
        found = encode_texts(read.texts, used, kept, lambda done, total: tell("encoding", done, total))
        if not len(found.rows):
            raise ValueError(f"corpus: {used.name} knows no word of any text")
        tell("writing", 0, 0)
        if ending(target) == ".npy":
            vectors: Any = found.vectors
            if len(found.rows) < found.n:
                vectors = np.zeros((found.n, found.vectors.shape[1]), np.float32)
                vectors[found.rows] = found.vectors
            write_array(target, vectors, force=force)
        else:
            _write_table(target, read, found.rows, found.vectors, force=force)
    for line in read.notes:
        output.note(line)
    unknown = [read.ids[row] for row in found.unknown.tolist()]
    if unknown:
        what = "have rows of zeros" if ending(target) == ".npy" else "are left out"
        names = ", ".join(map(str, unknown[:5])) + (" …" if len(unknown) > 5 else "")
        output.note(f"{len(unknown):,} {what}, since the encoder knows no word of their text: {names}")
    d = found.vectors.shape[1]
    if as_json:
        record = {"out": out, "texts": found.n, "d": d, "model": used.name, "key": used.key}
        output.print_json({**record, "unknown": unknown, "cached": found.found})
        return
    facts = (
        f"{found.n:,} texts",
        f"{d:,} d float32",
        used.name.partition(" (")[0],
        folders.size_of(target.stat().st_size),
        output.milliseconds(time.perf_counter() - began),
    )
    output.print_line(target.name, " · ".join(facts))


def _write_table(target: Path, read: Any, rows: Any, vectors: Any, *, force: bool) -> None:
    """Write ids, texts, what else is known and vectors as a table, a row a text that has a vector."""
    import numpy as np

    from setwise.files import write_table
    from setwise.files.names import ending

    kept = rows.tolist()
    columns: dict[str, Any] = {
        "id": [read.ids[row] for row in kept],
        "text": [read.texts[row] for row in kept],
    }
    for name, values in read.columns.items():
        if name not in (*columns, "vector"):
            columns[name] = [values[row] for row in kept]
    if ending(target) == ".parquet":
        from setwise.extras.arrow import arrow

        flat = arrow.array(np.asarray(vectors, np.float32).ravel())
        columns["vector"] = arrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    else:
        columns["vector"] = np.asarray(vectors, np.float64).tolist()
    write_table(target, columns, force=force)
