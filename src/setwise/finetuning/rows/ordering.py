"""Rows in any order, from a repository that is read in its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.files.parts import scratch
from setwise.finetuning.rows.repository import Repository
from setwise.frames import taken_of_table

#: Bytes of rows that are put in order at once.
MEMORY = 1 << 28


def in_order(
    repository: Repository, rows: NDArray[np.int64], *, memory: float = MEMORY, beside: Path | None = None
) -> Iterator[Any]:
    """Yield a repository's rows in any order, with repeats, as Arrow tables of up to ``memory`` bytes.

    The repository is read once, in its own order. What does not fit into memory at once is parted on the
    way into files, one for every block of the output, and each block is then put in order by itself.

    Parameters
    ----------
    rows : ndarray of shape (s,), int64
    memory : float
        Bytes, by the mean size of the repository's rows.
    beside : Path, optional
        The folder in which files are made for the time it takes.
    """
    from setwise.extras.arrow import arrow

    block = max(1, int(memory / max(1.0, repository.size / len(repository))))
    distinct, inverse = np.unique(rows, return_inverse=True)
    if len(rows) <= block:
        whole = arrow.concat_tables(list(repository.take(distinct)), promote_options="permissive")
        yield taken_of_table(whole, inverse)
        return
    order = np.argsort(inverse, kind="stable")
    edges = np.searchsorted(inverse[order], np.arange(len(distinct) + 1))
    blocks = -(-len(rows) // block)
    with scratch(beside) as folder:
        places = _part(repository, distinct, order, edges, block, blocks, folder)
        for number in range(blocks):
            path = folder / str(number)
            with arrow.memory_map(str(path)) as source, arrow.ipc.open_stream(source) as reader:
                whole = reader.read_all()
                found = np.concatenate(places[number])
                yield taken_of_table(whole, np.argsort(found))
                del whole
            path.unlink()


def _part(
    repository: Repository,
    distinct: NDArray[np.int64],
    order: NDArray[np.int64],
    edges: NDArray[np.int64],
    block: int,
    blocks: int,
    folder: Path,
) -> list[list[NDArray[np.int64]]]:
    """Write rows to the files of the blocks they are for; return the places of each file's rows."""
    from setwise.extras.arrow import arrow

    places: list[list[NDArray[np.int64]]] = [[] for _ in range(blocks)]
    with contextlib.ExitStack() as stack:
        writers: list[Any] = [None] * blocks
        done = 0
        for table in repository.take(distinct):
            low, high = edges[done], edges[done + table.num_rows]
            wanted = order[low:high]
            row = np.repeat(np.arange(table.num_rows), np.diff(edges[done : done + table.num_rows + 1]))
            for number in np.unique(wanted // block).tolist():
                mine = np.flatnonzero(wanted // block == number)
                if writers[number] is None:
                    sink = stack.enter_context(arrow.OSFile(str(folder / str(number)), "wb"))
                    writers[number] = stack.enter_context(arrow.ipc.new_stream(sink, table.schema))
                writers[number].write_table(taken_of_table(table, row[mine]))
                places[number].append(wanted[mine])
            done += table.num_rows
    return places
