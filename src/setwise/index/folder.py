"""The folder that a saved index is: what its files are, that they are whole, and how it appears at once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from setwise.files.names import existing

FORMAT, VERSION = "setwise index", 1

META = "meta.json"

#: Every file that may stand beside ``meta.json``.
VECTORS, ROWS, FAISS, ENCODER = FILES = ("vectors.npy", "rows.parquet", "index.faiss", "encoder.npz")

#: Bytes that are read at once where a checksum is computed.
_CHUNK = 1 << 22

#: Called with the step, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], object]


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
        return {"format": FORMAT, "version": VERSION, **asdict(self)}


def read_info(path: str | os.PathLike[str]) -> tuple[Path, Info]:
    """Return a saved index's folder and what its ``meta.json`` says, its files being there and of their size.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such folder, it is no saved index, of another format version, or damaged.
    """
    folder = existing(path, "index")
    meta = folder / META
    if not folder.is_dir() or not meta.is_file():
        what = "a file" if not folder.is_dir() else f"a folder without {META}"
        raise ValueError(
            f"index: {str(path)!r} is {what}, no setwise index; make one with setwise index build"
        )
    try:
        record = json.loads(meta.read_bytes())
    except ValueError:
        raise _damaged(path, f"{META} is no JSON") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"index: {str(path)!r} is no setwise index (its {META} is of something else)")
    if record.get("version") != VERSION:
        raise ValueError(
            f"index: {str(path)!r} has format version {record.get('version')!r}, this setwise reads "
            f"{VERSION}; build it again, or use the setwise that built it"
        )
    checksum = record.pop("checksum", None)
    if checksum != _digest(record):
        raise _damaged(path, f"{META} was altered")
    del record["format"], record["version"]
    if set(record) != {field.name for field in fields(Info)} or not set(record["files"]) <= set(FILES):
        raise _damaged(path, f"{META} lacks entries or has unknown ones")
    info = Info(**record)
    for name, facts in info.files.items():
        file = folder / name
        if not file.is_file():
            raise _damaged(path, f"{name} is missing")
        if file.stat().st_size != facts["bytes"]:
            raise _damaged(path, f"{name} has {file.stat().st_size:,} bytes instead of {facts['bytes']:,}")
    return folder, info


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
    folder, info = read_info(path)
    done = 0
    for name, facts in info.files.items():
        before = done

        def tell(read: int, before: int = before) -> None:
            if progress is not None:
                progress("checking", before + read, info.bytes)

        if _checksum(folder / name, tell) != facts["blake2b"]:
            raise _damaged(path, f"{name} was altered (its checksum differs)")
        done += int(facts["bytes"])
    return info


def write_info(folder: Path, facts: Mapping[str, Any]) -> Info:
    """Measure a folder's files, reach the disk with them, and write ``meta.json``.

    Parameters
    ----------
    folder : Path
    facts : mapping
        Everything of `Info` but ``files``.
    """
    files: dict[str, dict[str, Any]] = {}
    for name in FILES:
        file = folder / name
        if file.exists():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
            files[name] = {"bytes": file.stat().st_size, "blake2b": _checksum(file)}
    info = Info(**facts, files=files)
    record = info.to_dict()
    record["checksum"] = _digest(record)
    with (folder / META).open("xb") as stream:
        stream.write(json.dumps(record, ensure_ascii=False, indent=2).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    return info


def check_target(path: str | os.PathLike[str], *, force: bool, argument: str = "out") -> Path:
    """Return where a saved index will go, refusing before any work what could not be written after it.

    Raises
    ------
    FileExistsError
        It is there and ``force`` is not given, or it is something else than a saved index.
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
    if names and not _is_ours(target):
        raise FileExistsError(
            f"{argument}: {shown} is no setwise index, so nothing replaces it; name another folder"
        )
    if not force:
        raise FileExistsError(f"{argument}: {shown} exists; add --force (force=True) to replace it")
    strange = [name for name in names if name != META and name not in FILES]
    if strange:
        raise FileExistsError(
            f"{argument}: {shown} also holds {strange[0]!r}, which is no part of an index; move it elsewhere"
        )
    return target


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str], *, force: bool, argument: str = "out") -> Iterator[Path]:
    """Give a hidden folder beside ``path`` to write into, which takes that name if all went well.

    Whatever interrupts this, nothing is left of it and an index that was there is as it was.

    Raises
    ------
    FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError
        As for `check_target`.
    """
    target = check_target(path, force=force, argument=argument)
    token = secrets.token_hex(4)
    part = target.with_name(f".{target.name}.{token}.part")
    old = target.with_name(f".{target.name}.{token}.old")
    try:
        part.mkdir()
        yield part
        if check_target(path, force=force, argument=argument).exists():
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


def _is_ours(folder: Path) -> bool:
    """Return whether a folder's ``meta.json`` is that of a saved index, of any version."""
    try:
        record = json.loads((folder / META).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("format") == FORMAT


def _damaged(path: str | os.PathLike[str], what: str) -> ValueError:
    return ValueError(f"index: {str(path)!r} is damaged: {what}; build it again")


def _digest(record: Mapping[str, Any]) -> str:
    """Return a checksum of ``meta.json``'s own content."""
    return hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=16).hexdigest()


def _checksum(file: Path, tell: Callable[[int], object] | None = None) -> str:
    digest, read = hashlib.blake2b(digest_size=16), 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            read += len(chunk)
            if tell is not None:
                tell(read)
    return digest.hexdigest()
