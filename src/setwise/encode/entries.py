"""The entries of a folder of encoded texts: what each holds, which there are, and which have to go."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from setwise.files.folder import META, FolderFormat, FolderInfo
from setwise.files.locking import locked

#: What a folder keeps, at most: the entries unused for longest go first, the one just used never does.
KEPT_BYTES, KEPT_SECONDS = 20 * 10**9, 90 * 86_400

#: How an entry is named; nothing else in the folder is ours to remove.
_ENTRY = re.compile(r"[a-z0-9-]*-[0-9a-f]{24}")

#: An entry's vectors of all texts while it is made, the final ones, the texts they are of, and what a fitted
#: encoder has learned.
GROWING, VECTORS, ROWS, STATE = "growing.npy", "vectors.npy", "rows.npy", "encoder.npz"


@dataclass(frozen=True, kw_only=True)
class EntryInfo(FolderInfo):
    """What an entry's ``meta.json`` says.

    Attributes
    ----------
    encoder : str
        Its key.
    """

    encoder: str
    texts: int


FORMAT = FolderFormat(
    "cache entry",
    1,
    EntryInfo,
    (VECTORS, ROWS, STATE),
    make="encoding texts makes one",
    again="it is made anew",
)


@dataclass(frozen=True)
class Entry:
    """The encoded texts of one corpus, as a cache holds them.

    Attributes
    ----------
    used : float
        When a run used it last, in seconds since 1970.
    whole : bool
        False where a run that made it was interrupted, or makes it now.
    """

    used: float
    bytes: int
    path: Path
    whole: bool


def entries(folder: Path) -> list[Entry]:
    """Return what a cache holds, if there is one; the entry that was used last comes first."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if _ENTRY.fullmatch(path.name) and path.is_dir():
            with contextlib.suppress(OSError):
                facts = [file.stat() for file in path.iterdir()]
                used = max((one.st_mtime for one in facts), default=path.stat().st_mtime)
                whole = (path / META).is_file()
                found.append(Entry(used, sum(one.st_size for one in facts), path, whole))
    return sorted(found, key=lambda entry: (-entry.used, entry.path))


def prune(
    folder: Path, kept: Path | None = None, *, size: int | None = None, age: float | None = None
) -> list[Entry]:
    """Remove the entries that no run has used for so long, and those unused for longest above a size in all.

    Parameters
    ----------
    kept : Path, optional
        An entry that stays, whatever its size. Those that other runs make or open stay, too.
    size : int, optional
        Bytes; by default `KEPT_BYTES`.
    age : float, optional
        Seconds; by default `KEPT_SECONDS`.

    Returns
    -------
    list of Entry
        Those that are gone.
    """
    size, age = KEPT_BYTES if size is None else size, KEPT_SECONDS if age is None else age
    total, now = 0, time.time()
    gone = []
    for entry in entries(folder):
        total += entry.bytes
        if entry.path == kept or (total <= size and now - entry.used < age):
            continue
        with contextlib.suppress(OSError), locked(entry.path, "cache"):
            shutil.rmtree(entry.path)
            gone.append(entry)
    return gone
