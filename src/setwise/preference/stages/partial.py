"""Rows of an output that is being made: kept as each is done, and read again by the next run."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from setwise.files import check_output, write_atomic
from setwise.files.json_lines import parsed
from setwise.files.parts import room_for
from setwise.preference.rows.sources import RowSource, open_rows
from setwise.progress import Progress, tell

Row = dict[str, Any]


class Partial:
    """The rows of one output by number, beside it in a hidden file until all are there.

    As a context, it leaves no file behind where work ends in an error before there is a row.

    Parameters
    ----------
    out : path-like
        The .jsonl file that is made.
    settings : mapping
        What the rows depend on, as JSON; a file of other settings is refused.
    force : bool
        Replace an existing output.

    Raises FileExistsError, FileNotFoundError, IsADirectoryError, PermissionError:
    `setwise.files.check_output` refuses the output; ValueError: it ends in another ending, or an unfinished
    run with other settings is there.
    """

    def __init__(
        self, out: str | os.PathLike[str], settings: Mapping[str, Any], *, force: bool = False
    ) -> None:
        self._target = check_output(out, force=force, endings=(".jsonl",))
        self._force = force
        self.path = self._target.with_name(f".{self._target.name}.unfinished")
        self._lock = threading.Lock()
        self._places: dict[int, tuple[int, int]] = {}
        known = json.loads(json.dumps(dict(settings), allow_nan=False))
        head = json.dumps(known).encode() + b"\n"
        self._head = len(head)
        if self.path.exists():
            self._read(known)
        else:
            with room_for(self._target):
                self.path.write_bytes(head)

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not self and self.path.exists() and self.path.stat().st_size == self._head:
            self.path.unlink()

    def __len__(self) -> int:
        return len(self._places)

    def missing(self, count: int) -> list[int]:
        """Return which of so many rows are not done."""
        return [number for number in range(count) if number not in self._places]

    def add(self, number: int, row: Row) -> None:
        """Keep a row; it is on disk when this returns.

        Raises FileExistsError: another run has finished the same output meanwhile.
        """
        line = json.dumps([number, row], ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with room_for(self._target), self._lock, self._opened() as stream:
            if stream.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # Where another run has added rows, too, they stand before this one.
            self._places[number] = (stream.tell() - len(line), len(line))

    def _opened(self) -> IO[bytes]:
        """Open what is kept, to add to its end; it is there."""
        try:
            return open(
                self.path, "ab", buffering=0, opener=lambda name, flags: os.open(name, flags & ~os.O_CREAT)
            )
        except FileNotFoundError:
            raise FileExistsError(
                f"out: {self._target.name!r} was finished by another run; add --force (force=True) to "
                "replace it"
            ) from None

    def finish(self) -> None:
        """Write all rows in order, whole, and drop what was kept."""
        write_atomic(self._target, self._copy, force=self._force)
        self.path.unlink(missing_ok=True)

    def _copy(self, stream: IO[bytes]) -> None:
        with self.path.open("rb") as kept:
            for number in sorted(self._places):
                start, size = self._places[number]
                kept.seek(start)
                row = json.loads(kept.read(size))[1]
                stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")

    def _read(self, known: Mapping[str, Any]) -> None:
        """Find the rows that an earlier run has kept; a last line that is not whole is cut off."""
        with self.path.open("r+b") as stream:
            first = stream.readline()
            was = parsed(first, f"out: {self.path.name!r}") if first.endswith(b"\n") else dict(known)
            changed = sorted(name for name in {*was, *known} if was.get(name) != known.get(name))
            if changed:
                words = [f"{name} was {was.get(name)!r} and is {known.get(name)!r}" for name in changed]
                raise ValueError(
                    f"out: {self.path.name!r} holds rows made with other settings ({', '.join(words)}); "
                    "change back, or remove it"
                )
            end = stream.tell()
            if not first.endswith(b"\n"):
                stream.truncate(0)
                stream.seek(0)
                stream.write(json.dumps(dict(known)).encode() + b"\n")
                return
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                self._places[int(parsed(line, f"out: {self.path.name!r}")[0])] = (end, len(line))
                end += len(line)
            stream.truncate(end)


def rows_of(
    source: Any, split: str | None = None, name: str = "responses"
) -> tuple[RowSource, list[tuple[str, Row]]]:
    """Return a source, called by a name in messages, and its rows with their places."""
    opened = open_rows(source, split, name)
    return opened, list(opened.rows())


def digest_of(rows: Sequence[tuple[str, Row]]) -> str:
    """Return a digest of rows, which tells whether they have changed under an unfinished output."""
    digest = hashlib.blake2b(digest_size=8)
    for _, row in rows:
        digest.update(repr(row).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def at_once(
    work: Callable[[int], Row],
    partial: Partial,
    count: int,
    *,
    threads: int,
    progress: Progress | None,
) -> None:
    """Make the rows that are missing, several at a time; each is kept as soon as it is done.

    The first error ends the work: rows that are being made then are waited for and kept.
    """
    from concurrent.futures import ThreadPoolExecutor, as_completed

    numbers: Sequence[int] = partial.missing(count)
    tell(progress, len(partial), count)
    with ThreadPoolExecutor(threads) as pool:
        running = {pool.submit(work, number): number for number in numbers}
        try:
            for done in as_completed(running):
                partial.add(running[done], done.result())
                tell(progress, len(partial), count)
        except BaseException:
            for one in running:
                one.cancel()
            raise
