"""``setwise encode``: the texts of a corpus as vectors in a file, by any of the encoders."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from setwise.cli import folders, options
from setwise.cli.options import described

#: What vectors are written to.
_ENDINGS = (".npy", ".parquet", ".jsonl")


@described("""
    What to print and keep
        --out FILE  File to write: .npy for one row a text, .parquet or .jsonl for ids, texts and vectors.
    How to run
        --rank NUMBER  Which of several processes this is, from 0: it encodes its own share, and the last to
            finish joins them into the file. [default: RANK, where torchrun or accelerate launch sets it]
        --world-size COUNT  How many processes encode the corpus together, all with the same options.
            [default: WORLD_SIZE, where it is set]
""")
def encode(
    context: typer.Context,
    corpus: Annotated[str, typer.Argument(help=options.CORPORA, metavar="CORPUS")],
    out: str,
    text: str | None = None,
    id: str | None = None,
    chunk: str | None = None,
    overlap: int | None = None,
    model: str = "auto",
    rank: int | None = None,
    world_size: int | None = None,
    threads: int | None = None,
    as_json: options.AsJson = False,
    force: bool = False,
    cache: str | None = None,
    no_cache: bool = False,
) -> None:
    """Write the vectors of a corpus's texts to a file."""
    import numpy as np

    from setwise import encode as encoders
    from setwise.cli import output
    from setwise.cli.sources import cache_folder
    from setwise.encode.cache import encode_texts
    from setwise.encode.shares import Rank, Shares, take_device, with_zeros
    from setwise.files import check_output, read_corpus, write_array
    from setwise.files.names import ending

    target = check_output(out, force=force, endings=_ENDINGS)
    kind, _ = encoders.parse(model)
    team = Rank.of(rank, world_size)
    began = time.perf_counter()
    with folders.step_bar() as tell, options.at_most(threads):
        tell("reading", 0, 0)
        read = read_corpus(corpus, **options.reading(context))
        if read.texts is None:
            raise ValueError(f"corpus: {Path(corpus).name} has no texts to encode")
        if kind in encoders.OF_MODELS:
            take_device()
        used = encoders.encoder(model)
        kept = cache_folder(read, cache, no_cache)

        def progress(done: int, total: int) -> None:
            tell("encoding", done, total)

        def write(vectors: Any) -> None:
            if not vectors.any():
                raise ValueError(f"corpus: {used.name} knows no word of any text")
            tell("writing", 0, 0)
            if ending(target) == ".npy":
                write_array(target, vectors, force=force)
            else:
                _write_table(target, read, vectors, force=force)

        vectors: Any
        if team.size == 1:
            found = encode_texts(read.texts, used, kept, progress)
            vectors, count, cached = with_zeros(found), found.n, found.found
            write(vectors)
        else:
            shares = Shares(target, read.texts, used, team)
            count, cached = shares.encode(kept, progress), 0
            with shares.joined() as vectors:
                if vectors is not None:
                    write(vectors)
    for line in read.notes:
        output.note(line)
    record = {"out": out, "texts": len(read.texts), "model": used.name, "key": used.key, "cached": cached}
    if vectors is None:
        if as_json:
            waits = {"rank": team.rank, "world_size": team.size, "encoded": count, "joined": False}
            output.print_json({**record, **waits})
            return
        share = f"rank {team.rank} of {team.size} has encoded {count:,} of {len(read.texts):,} texts"
        output.note(f"{share}; the last to finish writes {target.name}")
        return
    unknown = [read.ids[row] for row in np.flatnonzero(~vectors.any(axis=1)).tolist()]
    if unknown:
        what = "have rows of zeros" if ending(target) == ".npy" else "are left out"
        names = ", ".join(map(str, unknown[:5])) + (" …" if len(unknown) > 5 else "")
        output.note(f"{len(unknown):,} {what}, since the encoder knows no word of their text: {names}")
    d = vectors.shape[1]
    if as_json:
        output.print_json({**record, "d": d, "unknown": unknown})
        return
    facts = (
        f"{len(read.texts):,} texts",
        f"{d:,} d float32",
        used.name.partition(" (")[0],
        folders.size_of(target.stat().st_size),
        output.milliseconds(time.perf_counter() - began),
    )
    output.print_line(target.name, " · ".join(facts))


def _write_table(target: Path, read: Any, everything: Any, *, force: bool) -> None:
    """Write ids, texts, what else is known and vectors as a table, a row a text that has a vector."""
    import numpy as np

    from setwise.files import without_gaps, write_table
    from setwise.files.names import ending

    known = everything.any(axis=1)
    kept, vectors = np.flatnonzero(known).tolist(), everything[known]
    columns: dict[str, Any] = {
        "id": [read.ids[row] for row in kept],
        "text": [read.texts[row] for row in kept],
    }
    for name, values in read.columns.items():
        if name not in (*columns, "vector"):
            columns[name] = [without_gaps(values[row]) for row in kept]
    if ending(target) == ".parquet":
        from setwise.extras.arrow import arrow

        flat = arrow.array(np.asarray(vectors, np.float32).ravel())
        columns["vector"] = arrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    else:
        columns["vector"] = np.asarray(vectors, np.float64).tolist()
    write_table(target, columns, force=force)
