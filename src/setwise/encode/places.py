"""Where encoded texts are kept: beside them, in a folder that was named, or in the user's cache."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from setwise.files.names import existing, named
from setwise.files.parts import part_for, remove_dead

FOLDER = ".setwise-cache"


def folder_for(source: Path | None, name: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the folder that a corpus's vectors are kept in.

    Parameters
    ----------
    source : Path or None
        The corpus: a folder keeps its cache in itself, a file beside itself.
    name : path-like, optional
        A folder to use instead; it is made if it is not there.

    Returns
    -------
    Path or None
        Where that place is not writable, a folder in the user's cache; None if that is not either.

    Raises PermissionError: the folder that was asked for is not writable; TypeError, ValueError: it is no
    path, or an empty one.
    """
    if name is not None:
        folder = Path(os.path.expanduser(named(name, "cache", "folder")))
        if not _writable(folder):
            raise PermissionError(
                f"cache: folder {str(name)!r} is not writable; name another, or leave the cache out"
            )
        return folder
    places = [user_folder()]
    if source is not None:
        home = source.resolve()
        places.insert(0, (home if home.is_dir() else home.parent) / FOLDER)
    return next((place for place in places if _writable(place)), None)


def folders_of(path: str | os.PathLike[str] | None = None) -> list[Path]:
    """Return the caches that there may be: a corpus's own, one that is named; else that here and the user's.

    Raises FileNotFoundError: there is no such file or folder.
    """
    if path is None:
        return [Path(FOLDER), user_folder()]
    found = existing(path, "cache")
    beside = (found if found.is_dir() else found.parent) / FOLDER
    return [beside if beside.is_dir() or not found.is_dir() else found]


def user_folder() -> Path:
    """Return setwise's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "setwise"


def _writable(folder: Path) -> bool:
    """Return whether a folder can be made (it is, where it is not there) and written to."""
    try:
        if not folder.exists():
            _make(folder)
    except OSError:
        return False
    return folder.is_dir() and os.access(folder, os.W_OK)


def _make(folder: Path) -> None:
    """Make a folder that git passes over, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_dead(folder)
    part = part_for(folder)
    try:
        part.mkdir()
        (part / ".gitignore").write_text("*\n")
        with contextlib.suppress(OSError):  # another process was first
            os.rename(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
