"""The folder that a saved index is: what its files are, and what ``meta.json`` says of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from setwise.files.folder import FolderFormat, Progress

__all__ = [
    "ENCODER",
    "FAISS",
    "ROWS",
    "VECTORS",
    "Info",
    "Progress",
    "check_target",
    "new_folder",
    "read_info",
    "verify",
    "write_info",
]

#: Every file that may stand beside ``meta.json``.
VECTORS, ROWS, FAISS, ENCODER = FILES = ("vectors.npy", "rows.parquet", "index.faiss", "encoder.npz")


@dataclass(frozen=True)
class Info:
    """What ``meta.json`` says of a saved index.

    Attributes
    ----------
    setwise : str
        The version that wrote it.
    built : str
        When, in UTC.
    source : str or None
        Name of the file or folder it was made from, without its path.
    kind : {"array", "faiss"}
    n, d : int
        Number of vectors, and their width.
    metric : {"cosine", "euclidean"}
    dtype : {"float32", "float16"}
        Of the stored vectors.
    exact : bool
        Whether its searches find the true best.
    ids : {"integers", "strings", "json"}
        How ids are stored; json where there are integers and strings.
    texts, groups : bool
        Whether each vector has a text, a group.
    encoder : mapping or None
        What encodes queries: its ``name``, ``model`` (as `setwise.encode.encoder` takes it, or None) and
        ``key``.
    faiss : mapping or None
        The ``factory`` string, ``lists``, ``nprobe`` and ``ef`` where it has them.
    files : mapping
        Size (``bytes``) and checksum (``blake2b``) of each file.
    """

    setwise: str
    built: str
    source: str | None
    kind: str
    n: int
    d: int
    metric: str
    dtype: str
    exact: bool
    ids: str
    texts: bool
    groups: bool
    encoder: Mapping[str, Any] | None
    faiss: Mapping[str, Any] | None
    files: Mapping[str, Mapping[str, Any]]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(int(one["bytes"]) for one in self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as ``meta.json`` has them."""
        return {**FORMAT.head(), **asdict(self)}


FORMAT = FolderFormat(
    noun="index",
    version=1,
    files=FILES,
    entries=frozenset(field.name for field in fields(Info)),
    make="make one with setwise index build",
    again="build it again",
)


def read_info(path: str | os.PathLike[str]) -> tuple[Path, Info]:
    """Return a saved index's folder and what its ``meta.json`` says, its files being there and of their size.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such folder, it is no saved index, of another format version, or damaged.
    """
    folder, record = FORMAT.read(path)
    return folder, Info(**record)


def verify(path: str | os.PathLike[str], progress: Progress | None = None) -> Info:
    """Read every file of a saved index and compare its checksum.

    Parameters
    ----------
    path : path-like
    progress : callable, optional
        Called with "checking", the bytes done and all bytes.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `read_info`, or a file is not what was written.
    """
    _, info = read_info(path)
    FORMAT.check_files(path, info.files, progress=progress)
    return info


def write_info(folder: Path, facts: Mapping[str, Any]) -> Info:
    """Measure a folder's files, reach the disk with them, and write ``meta.json``.

    Parameters
    ----------
    folder : Path
    facts : mapping
        Everything of `Info` but ``files``.
    """
    return Info(**facts, files=FORMAT.write(folder, facts))


def check_target(path: str | os.PathLike[str], *, force: bool, argument: str = "out") -> Path:
    """Return where a saved index will go, refusing before any work what could not be written after it.

    Raises
    ------
    FileExistsError
        It is there and ``force`` is not given, or it is something else than a saved index.
    FileNotFoundError, NotADirectoryError, PermissionError
        Its parent is missing or not writable, or it is a file.
    """
    return FORMAT.check_target(path, force=force, argument=argument)


def new_folder(
    path: str | os.PathLike[str], *, force: bool, argument: str = "out"
) -> contextlib.AbstractContextManager[Path]:
    """Give a hidden folder to write a saved index into: see `FolderFormat.new_folder`."""
    return FORMAT.new_folder(path, force=force, argument=argument)
