"""Folders that are saved things: what their files are, that they are whole, and how they appear at once."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from setwise import checks
from setwise._version import __version__
from setwise.asked import asked_for
from setwise.files import versions
from setwise.files.checksums import alterations_of, digest, faults_of, is_among, measure
from setwise.files.json_lines import parsed
from setwise.files.names import at_home, existing
from setwise.files.outputs import check_folder, place_of
from setwise.files.writing import write_json
from setwise.progress import StepProgress

META = "meta.json"

#: How often a folder that is replaced while it is read is read anew.
_TRIES = 100


@dataclass(frozen=True, kw_only=True)
class FolderInfo:
    """What ``meta.json`` says of every saved folder; each kind adds entries of its own.

    Attributes
    ----------
    version : int
        Of the format.
    setwise : str
        The version that wrote it.
    saved : str
        When, in UTC.
    files : mapping
        Size (``bytes``) and checksum (``blake2b``) of each file, by its name.
    """

    format: str
    version: int
    setwise: str
    saved: str
    files: Mapping[str, Mapping[str, Any]]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(int(one["bytes"]) for one in self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as ``meta.json`` has them."""
        return asdict(self)


Info = TypeVar("Info", bound=FolderInfo)
Used = TypeVar("Used")


@dataclass(frozen=True)
class FolderFormat(Generic[Info]):
    """A kind of folder: a versioned ``meta.json`` with sizes and checksums, and the files it speaks of.

    A folder is written whole and replaced whole (`new_folder`, `write`, `load`; `setwise.files.versions` says
    how), or it grows: files are added to it, and `write` is given those that are there (`check_growing`,
    `measure`).

    Attributes
    ----------
    noun : str
        What such a folder is, in messages and as their argument: "index".
    info : type
        A dataclass of what ``meta.json`` says.
    files : tuple of str
        Every file that may stand beside ``meta.json``: names, or patterns such as ``epoch-*.jsonl``.
    make, again : str
        How to make one, and how to make a damaged one anew, in messages.
    meta : str
        What ``meta.json`` is called in it.
    """

    noun: str
    version: int
    info: type[Info]
    files: tuple[str, ...]
    make: str
    again: str
    meta: str = META

    @property
    def name(self) -> str:
        """What ``meta.json`` calls the format."""
        return f"setwise {self.noun}"

    def read(
        self,
        path: str | os.PathLike[str],
        *,
        sizes: bool = True,
        contents: Sequence[str] = (),
        progress: StepProgress | None = None,
    ) -> tuple[Path, Info]:
        """Return the folder that holds the files, and what its ``meta.json`` says.

        Parameters
        ----------
        path : path-like
        sizes : bool
            Whether every file has to be there, and of its size.
        contents : sequence of str
            Names of files, or patterns, whose content is read and compared with its checksum.
        progress : callable, optional
            Called with "checking", the bytes read and all bytes to read.

        Raises
        ------
        FileNotFoundError
            There is no such folder.
        ValueError
            It is something else, of another format version, or damaged.
        """
        return self.load(path, lambda *found: found, sizes=sizes, contents=contents, progress=progress)

    def load(
        self,
        path: str | os.PathLike[str],
        use: Callable[[Path, Info], Used],
        *,
        sizes: bool = True,
        contents: Sequence[str] = (),
        progress: StepProgress | None = None,
    ) -> Used:
        """Return what ``use`` makes of what `read` returns.

        Where another process replaced the folder before its files were opened, those that are there now are
        read instead; what is open by then stays as it is.

        Parameters
        ----------
        path, sizes, contents, progress
            As for `read`.
        use : callable
            Opens files of the folder. What it raises for a file that is missing or damaged is raised only if
            the folder is still the same.

        Raises FileNotFoundError, ValueError: as for `read`.
        """
        for _ in range(_TRIES):
            before = self._home(path)
            try:
                return use(*self._read(path, before, sizes, contents, progress))
            except (OSError, ValueError):
                if before == self._home(path):
                    raise
        raise TimeoutError(f"{self.noun}: {str(path)!r} is replaced all the time; read it when that is over")

    def stamp(self, path: str | os.PathLike[str]) -> tuple[str, int, int] | None:
        """Return what is another when another content has taken a folder's place; None of none."""
        try:
            meta = versions.home(at_home(path)) / self.meta
            facts = os.stat(meta)
        except (OSError, ValueError):
            return None
        return str(meta), facts.st_ino, facts.st_mtime_ns

    def _home(self, path: str | os.PathLike[str]) -> Path:
        """Return where a folder's content is."""
        folder = existing(path, self.noun)
        try:
            return versions.home(folder)
        except ValueError as error:
            raise self.damaged(path, str(error)) from None

    def _read(
        self,
        path: str | os.PathLike[str],
        folder: Path,
        sizes: bool,
        contents: Sequence[str],
        progress: StepProgress | None,
    ) -> tuple[Path, Info]:
        """Return a content's folder, and what its ``meta.json`` says; see `read`."""
        shown, meta = repr(str(path)), folder / self.meta
        if not meta.is_file():
            what = f"a folder without {self.meta}" if at_home(path).is_dir() else "a file"
            raise ValueError(f"{self.noun}: {shown} is {what}, no {self.name}; {self.make}")
        try:
            record = parsed(meta.read_bytes(), self.meta)
        except ValueError:
            raise self.damaged(path, f"{self.meta} is no JSON") from None
        if not isinstance(record, dict) or record.get("format") != self.name:
            raise ValueError(f"{self.noun}: {shown} is no {self.name} (its {self.meta} is of something else)")
        if record.get("version") != self.version:
            raise ValueError(
                f"{self.noun}: {shown} has format version {record.get('version')!r}, this setwise reads "
                f"{self.version}; {self.again}, or use the setwise that built it"
            )
        if record.pop("checksum", None) != digest(record):
            raise self.damaged(path, f"{self.meta} was altered")
        known = {entry.name for entry in fields(self.info)}
        if set(record) != known or not all(map(self._is_file, record["files"])):
            raise self.damaged(path, f"{self.meta} lacks entries or has unknown ones")
        info = self.info(**record)
        faults = faults_of(folder, info.files) if sizes else {}
        if not faults and contents:
            read = {name: facts for name, facts in info.files.items() if is_among(name, contents)}
            faults = faults_of(folder, read) or alterations_of(folder, read, progress)
        for name, fault in faults.items():
            raise self.damaged(path, f"{name} {fault}")
        return folder, info

    def verify(self, path: str | os.PathLike[str], progress: StepProgress | None = None) -> Info:
        """Read every file of a folder and compare its checksum.

        Parameters
        ----------
        path : path-like
        progress : callable, optional
            Called with "checking", the bytes read and all bytes.

        Raises FileNotFoundError, ValueError: as for `read`, or a file is not what was written.
        """
        return self.read(path, contents=("*",), progress=progress)[1]

    def write(
        self,
        folder: Path,
        facts: Mapping[str, Any],
        files: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Info:
        """Write ``meta.json``, in one step where there is one already.

        ``facts`` are the entries of ``info`` that no `FolderInfo` has; ``files`` what `measure` has returned
        for each file, by name: by default all are measured.
        """
        if files is None:
            names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*"))
            files = {name: measure(folder / name) for name in names if self._is_file(name)}
        saved = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        head = {"format": self.name, "version": self.version, "setwise": __version__, "saved": saved}
        record = {**head, **facts, "files": {name: dict(one) for name, one in files.items()}}
        write_json(folder / self.meta, {**record, "checksum": digest(record)}, force=True)
        return self.info(**record)

    def check_target(self, path: str | os.PathLike[str], *, force: bool, argument: str = "out") -> Path:
        """Return where a folder will go, refusing before any work what could not be written after it.

        Raises FileExistsError: it is there and ``force`` is not given, or it is something else;
        FileNotFoundError, NotADirectoryError, PermissionError: its parent is missing or not writable, or it
        is a file.
        """
        target = self.check_growing(path, argument=argument)
        shown = repr(str(path))
        if not checks.flag("force", force) and target.exists():
            raise FileExistsError(f"{argument}: {shown} exists; add --force (force=True) to replace it")
        asked_for(target)
        return target

    def check_growing(self, path: str | os.PathLike[str], *, argument: str = "out") -> Path:
        """Return where a folder is or will be that files are added to: a new one, an empty one, or ours.

        Raises FileExistsError: it holds something else; FileNotFoundError, NotADirectoryError,
        PermissionError: its parent is missing or not writable, or it is a file.
        """
        target = place_of(path, argument)
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(f"{argument}: {str(path)!r} is a file; name a folder")
        check_folder(target if target.exists() else target.parent, argument)
        if target.exists() and not versions.is_free(target) and not self.is_ours(target):
            raise FileExistsError(
                f"{argument}: {str(path)!r} is no {self.name}, so nothing replaces it; name another folder"
            )
        return target

    @contextlib.contextmanager
    def new_folder(
        self, path: str | os.PathLike[str], *, force: bool, argument: str = "out"
    ) -> Iterator[Path]:
        """Give a hidden folder to write into, which becomes what ``path`` holds if all went well.

        Whatever interrupts this, nothing is left of it and what was there is as it was.

        Raises FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError: as for `check_target`;
        TimeoutError: another process is still writing it after ten minutes.
        """

        def check() -> Path:
            return self.check_target(path, force=force, argument=argument)

        with versions.new_content(check(), check, argument) as part:
            yield part

    @contextlib.contextmanager
    def changing(self, path: str | os.PathLike[str]) -> Iterator[None]:
        """Hold a saved folder, so that nobody else replaces it between reading and writing it.

        Raises FileNotFoundError, ValueError: as for `read`; TimeoutError: another process is still writing it
        after ten minutes.
        """
        self.read(path, sizes=False)
        with versions.writing(Path(os.path.realpath(at_home(path))), self.noun):
            yield

    def damaged(self, path: str | os.PathLike[str], what: str) -> ValueError:
        """Return the error of a folder that is not as it was written."""
        return ValueError(f"{self.noun}: {str(path)!r} is damaged: {what}; {self.again}")

    def is_ours(self, folder: Path) -> bool:
        """Return whether a folder's ``meta.json`` is of this format, of any version."""
        try:
            record = parsed((versions.home(folder) / self.meta).read_bytes(), self.meta)
        except (OSError, ValueError):
            return False
        return isinstance(record, dict) and record.get("format") == self.name

    def _is_file(self, name: str) -> bool:
        """Return whether a file of this name may be in such a folder."""
        return ".." not in Path(name).parts and is_among(name, self.files)
