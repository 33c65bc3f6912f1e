"""Folders that are saved things: what their files are, that they are whole, and how they appear at once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setwise.files.names import existing

META = "meta.json"

#: Bytes that are read at once where a checksum is computed.
_CHUNK = 1 << 22

#: Called with the step, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], object]


@dataclass(frozen=True)
class FolderFormat:
    """A kind of folder: a versioned ``meta.json`` with sizes and checksums, and the files it speaks of.

    Attributes
    ----------
    noun : str
        What such a folder is, in messages and as their argument: "index".
    version : int
    files : tuple of str
        Every file that may stand beside ``meta.json``.
    entries : frozenset of str
        What ``meta.json`` says, besides its format, version and checksum.
    make, again : str
        How to make one, and how to make a damaged one anew, in messages.
    """

    noun: str
    version: int
    files: tuple[str, ...]
    entries: frozenset[str]
    make: str
    again: str

    @property
    def name(self) -> str:
        """What ``meta.json`` calls the format."""
        return f"setwise {self.noun}"

    def head(self) -> dict[str, Any]:
        """Return what every ``meta.json`` of the format starts with."""
        return {"format": self.name, "version": self.version}

    def read(self, path: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
        """Return the folder and its ``entries``, all files being there and of their size.

        Raises
        ------
        FileNotFoundError, ValueError
            There is no such folder, it is something else, of another format version, or damaged.
        """
        folder = existing(path, self.noun)
        shown, meta = repr(str(path)), folder / META
        if not folder.is_dir() or not meta.is_file():
            what = "a file" if not folder.is_dir() else f"a folder without {META}"
            raise ValueError(f"{self.noun}: {shown} is {what}, no {self.name}; {self.make}")
        try:
            record = json.loads(meta.read_bytes())
        except ValueError:
            raise self.damaged(path, f"{META} is no JSON") from None
        if not isinstance(record, dict) or record.get("format") != self.name:
            raise ValueError(f"{self.noun}: {shown} is no {self.name} (its {META} is of something else)")
        if record.get("version") != self.version:
            raise ValueError(
                f"{self.noun}: {shown} has format version {record.get('version')!r}, this setwise reads "
                f"{self.version}; {self.again}, or use the setwise that built it"
            )
        if record.pop("checksum", None) != digest(record):
            raise self.damaged(path, f"{META} was altered")
        del record["format"], record["version"]
        if set(record) != self.entries or not set(record["files"]) <= set(self.files):
            raise self.damaged(path, f"{META} lacks entries or has unknown ones")
        for name, facts in record["files"].items():
            file = folder / name
            if not file.is_file():
                raise self.damaged(path, f"{name} is missing")
            size = file.stat().st_size
            if size != facts["bytes"]:
                raise self.damaged(path, f"{name} has {size:,} bytes instead of {facts['bytes']:,}")
        return folder, record

    def check_files(
        self,
        path: str | os.PathLike[str],
        files: Mapping[str, Mapping[str, Any]],
        names: Iterable[str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Read files and compare their checksums.

        Parameters
        ----------
        path : path-like
            The folder.
        files : mapping
            The ``files`` that `read` gave.
        names : iterable of str, optional
            Those to read; all by default.
        progress : callable, optional
            Called with "checking", the bytes done and all bytes.

        Raises
        ------
        ValueError
            A file is not what was written.
        """
        wanted = list(files) if names is None else [name for name in names if name in files]
        total, done = sum(int(files[name]["bytes"]) for name in wanted), 0
        for name in wanted:

            def tell(read: int, before: int = done) -> None:
                if progress is not None:
                    progress("checking", before + read, total)

            if _checksum(Path(path) / name, tell) != files[name]["blake2b"]:
                raise self.damaged(path, f"{name} was altered (its checksum differs)")
            done += int(files[name]["bytes"])

    def write(self, folder: Path, facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Measure a folder's files, reach the disk with them, and write ``meta.json``.

        Parameters
        ----------
        folder : Path
        facts : mapping
            All ``entries`` but ``files``.

        Returns
        -------
        dict
            ``files``: size (``bytes``) and checksum (``blake2b``) of each.
        """
        files: dict[str, dict[str, Any]] = {}
        for name in self.files:
            file = folder / name
            if file.exists():
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
                files[name] = {"bytes": file.stat().st_size, "blake2b": _checksum(file)}
        record = {**self.head(), **facts, "files": files}
        record["checksum"] = digest(record)
        with (folder / META).open("xb") as stream:
            stream.write(json.dumps(record, ensure_ascii=False, indent=2).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        return files

    def check_target(self, path: str | os.PathLike[str], *, force: bool, argument: str = "out") -> Path:
        """Return where a folder will go, refusing before any work what could not be written after it.

        Raises
        ------
        FileExistsError
            It is there and ``force`` is not given, or it is something else.
        FileNotFoundError, NotADirectoryError, PermissionError
            Its parent is missing or not writable, or it is a file.
        """
        target = Path(os.path.realpath(path))
        shown = repr(str(path))
        if not target.parent.is_dir():
            raise FileNotFoundError(f"{argument}: no folder {str(target.parent)!r}; create it first")
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(f"{argument}: folder {str(target.parent)!r} is not writable")
        if not target.exists():
            return target
        if not target.is_dir():
            raise NotADirectoryError(f"{argument}: {shown} is a file; name a folder")
        names = sorted(os.listdir(target))
        if names and not self._is_ours(target):
            raise FileExistsError(
                f"{argument}: {shown} is no {self.name}, so nothing replaces it; name another folder"
            )
        if not force:
            raise FileExistsError(f"{argument}: {shown} exists; add --force (force=True) to replace it")
        strange = [name for name in names if name != META and name not in self.files]
        if strange:
            article = "an" if self.noun[0] in "aeiou" else "a"
            raise FileExistsError(
                f"{argument}: {shown} also holds {strange[0]!r}, which is no part of {article} {self.noun}; "
                "move it elsewhere"
            )
        return target

    @contextlib.contextmanager
    def new_folder(
        self, path: str | os.PathLike[str], *, force: bool, argument: str = "out"
    ) -> Iterator[Path]:
        """Give a hidden folder beside ``path`` to write into, which takes that name if all went well.

        Whatever interrupts this, nothing is left of it and what was there is as it was.

        Raises
        ------
        FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError
            As for `check_target`.
        """
        target = self.check_target(path, force=force, argument=argument)
        token = secrets.token_hex(4)
        part = target.with_name(f".{target.name}.{token}.part")
        old = target.with_name(f".{target.name}.{token}.old")
        try:
            part.mkdir()
            yield part
            if self.check_target(path, force=force, argument=argument).exists():
                os.rename(target, old)
            os.rename(part, target)
        except BaseException:
            if old.exists() and not target.exists():
                os.rename(old, target)
            shutil.rmtree(part, ignore_errors=True)
            raise
        finally:
            if old.exists():
                shutil.rmtree(old, ignore_errors=True)

    def damaged(self, path: str | os.PathLike[str], what: str) -> ValueError:
        """Return the error of a folder that is not as it was written."""
        return ValueError(f"{self.noun}: {str(path)!r} is damaged: {what}; {self.again}")

    def _is_ours(self, folder: Path) -> bool:
        """Return whether a folder's ``meta.json`` is of this format, of any version."""
        try:
            record = json.loads((folder / META).read_bytes())
        except (OSError, ValueError):
            return False
        return isinstance(record, dict) and record.get("format") == self.name


def digest(record: Mapping[str, Any]) -> str:
    """Return a checksum of ``meta.json``'s own content."""
    return hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=16).hexdigest()


def _checksum(file: Path, tell: Callable[[int], object] | None = None) -> str:
    found, read = hashlib.blake2b(digest_size=16), 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
            read += len(chunk)
            if tell is not None:
                tell(read)
    return found.hexdigest()
