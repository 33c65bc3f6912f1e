"""A run of the on-policy loop on disk: what each stage left, whole, and which stage is the next."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from setwise.files.folder import digest
from setwise.files.writing import write_atomic, write_json

FORMAT, VERSION = "setwise on-policy run", 1
_AGAIN = "take another folder for `out`, or remove this one"

#: Called with the stage, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], object]

#: Makes the rows of the items from a start to a stop.
Make = Callable[[int, int], list[dict[str, Any]]]

Row = dict[str, Any]


class Run:
    """The folder of a run: ``run.json`` says what was asked for, ``iteration-NNN`` folders hold the rest.

    Parameters
    ----------
    out : path-like
        A folder that is made, that is empty, or that holds a run with the same settings, which goes on.
    settings : mapping
        All that the rows of a run depend on, as JSON. Of texts that are long, a hash.

    Raises
    ------
    FileNotFoundError, NotADirectoryError, FileExistsError
        The folder's parent is missing, it is a file, or it holds something else.
    ValueError
        It holds a run with other settings (the message says which), or a damaged one.
    """

    def __init__(self, out: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.folder = Path(os.path.realpath(out))
        self._iterations: dict[int, Iteration] = {}
        shown, record = repr(str(out)), self.folder / "run.json"
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"out: {shown} is a file; name a folder")
        if not self.folder.parent.is_dir():
            raise FileNotFoundError(f"out: no folder {str(self.folder.parent)!r}; create it first")
        self.folder.mkdir(exist_ok=True)
        wanted = json.loads(json.dumps(settings, allow_nan=False))
        if not record.exists():
            strange = sorted(name for name in os.listdir(self.folder) if not name.endswith(".part"))
            if strange:
                raise FileExistsError(
                    f"out: {shown} holds {strange[0]!r} and no run; name a new or an empty folder"
                )
            content = {"format": FORMAT, "version": VERSION, "settings": wanted}
            write_json(record, {**content, "checksum": digest(content)})
            return
        _compare(_read_record(record, shown), wanted, shown)

    def iteration(self, number: int) -> Iteration:
        """Return the folder of an iteration; 0 holds what is measured before the first."""
        if number not in self._iterations:
            self._iterations[number] = Iteration(self.folder / f"iteration-{number:03d}")
        return self._iterations[number]

    def write_metrics(self, rows: Sequence[Row]) -> None:
        """Write one line an iteration to ``metrics.jsonl``, in place of what stood there."""
        _write_rows(self.folder / "metrics.jsonl", rows)


class Iteration:
    """The folder of an iteration: a file (or folder) a stage, and a manifest of the stages that are done.

    Raises
    ------
    ValueError
        The manifest is damaged, or a file is not as it was written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._manifest = folder / "manifest.json"
        self._stages: dict[str, dict[str, Any]] = {}
        if self._manifest.exists():
            try:
                self._stages = json.loads(self._manifest.read_bytes())["stages"]
            except (ValueError, KeyError, TypeError):
                raise self._damaged("manifest.json is no manifest") from None
            for facts in self._stages.values():
                self._check(facts["files"])

    def facts(self, stage: str) -> dict[str, Any] | None:
        """Return what a stage that is done has recorded, or None."""
        done = self._stages.get(stage)
        return None if done is None else dict(done["facts"])

    def finish(self, stage: str, names: Sequence[str], facts: Mapping[str, Any]) -> None:
        """Record that a stage is done: the files it left, with sizes and checksums, and its figures."""
        files: dict[str, Any] = {}
        for name in names:
            path = self.folder / name
            within = sorted(path.rglob("*")) if path.is_dir() else [path]
            for file in within:
                if file.is_file():
                    files[str(file.relative_to(self.folder))] = _measure(file)
        self._stages[stage] = {"files": files, "facts": dict(facts)}
        write_json(self._manifest, {"stages": self._stages}, force=True)

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
        """Remove the chunks of a file that the manifest knows to be whole."""
        shutil.rmtree(self.folder / f".{name}.parts", ignore_errors=True)

    def write_folder(self, name: str, write: Callable[[Path], object]) -> None:
        """Let a folder appear in one step, in place of one that an unfinished stage left."""
        target = self.folder / name
        part = self.folder / f".{name}.{secrets.token_hex(4)}.part"
        try:
            part.mkdir()
            write(part)
            if target.exists():
                shutil.rmtree(target)
            os.rename(part, target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise

    def _check(self, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Compare files with what the manifest says: rows by checksum, a checkpoint's weights by size."""
        for name, facts in files.items():
            file = self.folder / name
            if not file.is_file():
                raise self._damaged(f"{name} is missing")
            if _measure(file) != facts:
                raise self._damaged(f"{name} was altered")

    def _damaged(self, what: str) -> ValueError:
        return ValueError(f"out: {str(self.folder)!r} is damaged: {what}; {_AGAIN}")


def _measure(file: Path) -> dict[str, Any]:
    """Return a file's size, and the checksum of one that is small."""
    facts: dict[str, Any] = {"bytes": file.stat().st_size}
    if file.suffix in (".json", ".jsonl"):
        with file.open("rb") as stream:
            facts["blake2b"] = hashlib.file_digest(stream, "blake2b").hexdigest()[:32]
    return facts


def _write_rows(path: Path, rows: Sequence[Row]) -> None:
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n" for row in rows]
    write_atomic(path, lambda stream: stream.writelines(lines), force=True)


def _read_rows(path: Path) -> list[Row]:
    with path.open("rb") as stream:
        return [json.loads(line) for line in stream]


def _read_record(path: Path, shown: str) -> dict[str, Any]:
    """Return the settings in a ``run.json``."""
    try:
        record = json.loads(path.read_bytes())
        checksum = record.pop("checksum")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"out: {shown} is damaged: run.json is no record of a run; {_AGAIN}") from None
    if record.get("format") != FORMAT or record.get("version") != VERSION:
        raise ValueError(
            f"out: {shown} is no {FORMAT} of version {VERSION} (its run.json is another's); {_AGAIN}"
        )
    if checksum != digest(record):
        raise ValueError(f"out: {shown} is damaged: run.json was altered; {_AGAIN}")
    settings: dict[str, Any] = record["settings"]
    return settings


def _compare(was: Mapping[str, Any], now: Mapping[str, Any], shown: str) -> None:
    """Refuse to go on with other settings.

    Raises
    ------
    ValueError
        The message says what each was and is.
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
