"""One file of rows, in the order given: Parquet, or lines of JSON."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from setwise.files.checksums import measure
from setwise.files.names import ending
from setwise.files.outputs import Outputs
from setwise.files.writing import write_atomic
from setwise.finetuning.rows.ordering import in_order
from setwise.finetuning.rows.repository import Repository
from setwise.finetuning.rows.row_files import LINE, InMemory
from setwise.progress import StepProgress, tell

#: The column that says which epoch a row is of, where one file holds several.
EPOCH = "epoch"

#: What a worker writes: the repository and what it was, rows, a file, and the bytes put in order at once.
Work = tuple[str, bytes, NDArray[np.int64], str, float]


def write_rows_to(
    repository: Repository,
    epochs: Sequence[NDArray[np.int64]],
    target: Path,
    numbered: bool,
    force: bool,
    memory: float,
    progress: StepProgress | None,
    among: Outputs | None = None,
) -> None:
    """Write the rows of some epochs to one file, whole or not at all."""
    total = sum(map(len, epochs))

    def tables() -> Iterator[tuple[int, Any]]:
        done = 0
        for number, drawn in enumerate(epochs, 1):
            for table in in_order(repository, drawn, memory=memory, beside=target.parent):
                yield number, table
                done += table.num_rows
                tell(progress, "writing", done, total)

    def write(stream: IO[bytes]) -> None:
        if ending(target) == ".parquet":
            _as_parquet(repository, tables(), numbered, stream)
        elif repository.lines:
            _as_lines(tables(), numbered, stream)
        else:
            _as_json(repository, tables(), numbered, stream)

    write_atomic(target, write, force=force, among=among)


def _as_parquet(
    repository: Repository, tables: Iterator[tuple[int, Any]], numbered: bool, stream: IO[bytes]
) -> None:
    from setwise.extras.arrow import arrow, parquet

    schema = repository.schema()
    wide = schema.append(arrow.field(EPOCH, arrow.int32())) if numbered else schema
    with parquet.ParquetWriter(stream, wide) as writer:
        for number, table in tables:
            parsed = repository.parsed(table, schema)
            if numbered:
                parsed = parsed.append_column(
                    wide.field(EPOCH), arrow.array(np.full(parsed.num_rows, number, np.int32))
                )
            writer.write_table(parsed)


def _as_lines(tables: Iterator[tuple[int, Any]], numbered: bool, stream: IO[bytes]) -> None:
    for number, table in tables:
        for line in table.column(LINE).to_pylist():
            stream.write(_with_epoch(line, number) if numbered else line)
            stream.write(b"\n")


def _with_epoch(line: bytes, number: int) -> bytes:
    """Return an object's line with one more entry at its end, the rest as it was."""
    head = line.rstrip()[:-1]
    comma = b"" if head.strip() == b"{" else b", "
    return head + comma + f'"{EPOCH}": {number}}}'.encode()


def _as_json(
    repository: Repository, tables: Iterator[tuple[int, Any]], numbered: bool, stream: IO[bytes]
) -> None:
    for number, table in tables:
        for batch in table.to_batches(8192):
            for row in batch.to_pylist():
                if numbered:
                    row[EPOCH] = number
                try:
                    line = json.dumps(row, ensure_ascii=False, allow_nan=False, default=_plain)
                except (TypeError, ValueError) as error:
                    reason = " ".join(str(error).split())[:120]
                    raise ValueError(
                        f"out: {repository.source.name} has a value that JSON does not hold ({reason}); "
                        "write .parquet"
                    ) from None
                stream.write(line.encode() + b"\n")


def _plain(value: Any) -> Any:
    """Return a date or time as ISO 8601 spells it, a UUID as text; nothing else that JSON lacks."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r:.40}")


def written_by_worker(work: Work) -> dict[str, Any]:
    """Write one epoch to its file, and return the file's size and checksum; run by a worker.

    Raises ValueError: the repository has changed since it was opened.
    """
    source, known, drawn, file, memory = work
    repository = _held(source, known)
    if stamp(repository) != known:
        raise ValueError(f"{repository.argument}: {repository.source.name} has changed while it was read")
    write_rows_to(repository, [drawn], Path(file), False, True, memory, None)
    return measure(Path(file))


@functools.lru_cache(maxsize=1)
def _held(source: str, known: bytes) -> Repository:
    """Return a repository, opened once a worker and state of its files."""
    return Repository(source)


def stamp(repository: Repository) -> bytes:
    """Return what tells a repository's files from others, and from themselves after a change."""
    found = []
    for file in repository.files:
        if isinstance(file, InMemory):
            found.append(f"{file.rows} {file.size} {file.schema()}\n")
            continue
        facts = file.path.stat()
        found.append(f"{file.path.name} {facts.st_size} {facts.st_mtime_ns}\n")
    return "".join(found).encode()
