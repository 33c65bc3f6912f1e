"""A run of the on-policy loop on disk: what each stage left, whole, and which stage is the next."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setwise.files.checksums import measure
from setwise.files.folder import META, FolderFormat, FolderInfo
from setwise.files.json_lines import parsed
from setwise.files.parts import part_for, remove_dead, room_for
from setwise.files.writing import write_atomic

#: Makes the rows of the items from a start to a stop.
Make = Callable[[int, int], list[dict[str, Any]]]

Row = dict[str, Any]

_AGAIN = "take another folder for `out`, or remove this one"


@dataclass(frozen=True, kw_only=True)
class RunInfo(FolderInfo):
    """What ``meta.json`` says of a run: what was asked for, and the figures of every stage that is done."""

    settings: Mapping[str, Any]
    stages: Mapping[str, Mapping[str, Any]]


FORMAT = FolderFormat(
    noun="run",
    version=1,
    info=RunInfo,
    files=("iteration-*",),
    make="on_policy makes one",
    again=_AGAIN,
)


class Run:
    """The folder of a run: ``meta.json`` says what was asked for and done, ``iteration-NNN`` hold the rest.

    Parameters
    ----------
    out : path-like
        A folder that is made, that is empty, or that holds a run with the same settings, which goes on.
    settings : mapping
        All that the rows of a run depend on, as JSON. Of texts that are long, a hash.

    Raises FileExistsError: the folder holds something else than a run; FileNotFoundError, NotADirectoryError,
    PermissionError: its parent is missing, it is a file, or it is not writable; ValueError: the run in it has
    other settings (the message says which), or is damaged.
    """

    def __init__(self, out: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.folder = FORMAT.check_growing(out)
        self.folder.mkdir(exist_ok=True)
        wanted = json.loads(json.dumps(settings, allow_nan=False))
        if (self.folder / META).exists():
            # Rows by checksum, a checkpoint's weights by size.
            _, self.info = FORMAT.read(out, contents=("*.json", "*.jsonl"))
            _compare(self.info.settings, wanted, repr(str(out)))
        else:
            self.info = FORMAT.write(self.folder, {"settings": wanted, "stages": {}}, {})

    def reload(self) -> None:
        """Read what another process has recorded meanwhile."""
        _, self.info = FORMAT.read(self.folder, contents=())

    def iteration(self, number: int) -> Iteration:
        """Return the folder of an iteration; 0 holds what is measured before the first."""
        return Iteration(self, f"iteration-{number:03d}")

    def finish(self, stage: str, files: Sequence[Path], facts: Mapping[str, Any]) -> None:
        """Record that a stage is done: the files that it left and its figures."""
        found = {file.relative_to(self.folder).as_posix(): measure(file) for file in files}
        stages = {**self.info.stages, stage: dict(facts)}
        known = {"settings": self.info.settings, "stages": stages}
        self.info = FORMAT.write(self.folder, known, {**self.info.files, **found})

    def write_metrics(self, rows: Sequence[Row]) -> None:
        """Write one line an iteration to ``metrics.jsonl``, in place of what stood there."""
        _write_rows(self.folder / "metrics.jsonl", rows)


class Iteration:
    """The folder of an iteration: a file, or a folder, of each stage."""

    def __init__(self, run: Run, name: str) -> None:
        self._run = run
        self.folder = run.folder / name
        with room_for(self.folder):
            self.folder.mkdir(exist_ok=True)

    def facts(self, stage: str) -> dict[str, Any] | None:
        """Return what a stage that is done has recorded, or None."""
        done = self._run.info.stages.get(f"{self.folder.name}/{stage}")
        return None if done is None else dict(done)

    def finish(self, stage: str, names: Sequence[str], facts: Mapping[str, Any]) -> None:
        """Record that a stage is done: the files and folders it left, and its figures."""
        paths = [self.folder / name for name in names]
        files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
        self._run.finish(f"{self.folder.name}/{stage}", [file for file in files if file.is_file()], facts)

    def rows(self, name: str) -> list[Row]:
        """Return the rows of a .jsonl file of the iteration."""
        return _read_rows(self.folder / name)

    def write_rows(self, name: str, rows: Sequence[Row]) -> None:
        """Write a .jsonl file, in place of one that an unfinished stage left."""
        _write_rows(self.folder / name, rows)

    def in_chunks(
        self, name: str, count: int, size: int, make: Make, tell: Callable[[int], object]
    ) -> list[Row]:
        """Make a .jsonl file of one row an item, chunk by chunk; chunks that are on disk are not made again.

        Parameters
        ----------
        name : str
            The file.
        count : int
            Items, and rows in the end.
        size : int
            Items a chunk.
        make : callable
            Gets where a chunk starts and stops; returns its rows.
        tell : callable
            Called with the rows that are there.

        Returns
        -------
        list of dict
            All rows.
        """
        parts = self.folder / f".{name}.parts"
        with room_for(parts):
            parts.mkdir(exist_ok=True)
        rows: list[Row] = []
        for start in range(0, count, size):
            stop = min(start + size, count)
            part = parts / f"{start:08d}-{stop:08d}.jsonl"
            if not part.exists():
                _write_rows(part, make(start, stop))
            rows += _read_rows(part)
            tell(len(rows))
        self.write_rows(name, rows)
        return rows

    def drop_chunks(self, name: str) -> None:
        """Remove the chunks of a file that a finished stage has left whole."""
        shutil.rmtree(self.folder / f".{name}.parts", ignore_errors=True)

    def write_folder(self, name: str, write: Callable[[Path], object]) -> None:
        """Let a folder appear in one step, in place of one that an unfinished stage left."""
        target = self.folder / name
        remove_dead(target)
        part = part_for(target)
        try:
            with room_for(target):
                part.mkdir()
                write(part)
            if target.exists():
                shutil.rmtree(target)
            os.rename(part, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _write_rows(path: Path, rows: Sequence[Row]) -> None:
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n" for row in rows]
    write_atomic(path, lambda stream: stream.writelines(lines), force=True)


def _read_rows(path: Path) -> list[Row]:
    with path.open("rb") as stream:
        return [parsed(line, path.name) for line in stream]


def _compare(was: Mapping[str, Any], now: Mapping[str, Any], shown: str) -> None:
    """Refuse to go on with other settings.

    Raises ValueError: a setting is another one; the message says what each was and is.
    """
    before, after = _flat(was), _flat(now)
    names = sorted(set(before) | set(after))
    changed = [name for name in names if before.get(name, "absent") != after.get(name, "absent")]
    if changed:
        told = ", ".join(
            f"{name} was {before.get(name, 'absent')!r} and is {after.get(name, 'absent')!r}"
            for name in changed
        )
        raise ValueError(f"out: {shown} holds a run with other settings ({told}); change back, or {_AGAIN}")


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested settings as one level of dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{above}{name}.")
        else:
            found[above + name] = value
    return found
