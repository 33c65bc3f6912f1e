"""Folders whose content is replaced in one step: each content has its own folder, one file names the current.

Whoever reads finds the old content or the new one, whole, and keeps what it has opened. One process writes at
a time. What a killed one leaves is never read, and goes with the next that writes.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from setwise.files.locking import locked
from setwise.files.parts import PART, part_for, remove_dead, room_for
from setwise.files.writing import write_atomic

#: The file that names the current content.
CURRENT = "current"

#: How contents are named.
_CONTENT = re.compile(r"content-(\d{1,9})")

#: What a writer holds, within the folder.
_WRITER = ".writer"

#: Seconds that a writer waits for another.
WAIT = 600.0


def home(folder: Path) -> Path:
    """Return where a folder's content is: the folder itself where no file names another place.

    Raises ValueError: the file names something else than a content.
    """
    name = _current(folder)
    if name is None:
        return folder
    if not _CONTENT.fullmatch(name):
        raise ValueError(f"{CURRENT} names no content")
    return folder / name


def is_free(folder: Path) -> bool:
    """Return whether a folder holds nothing but what killed runs have left."""
    left = (PART, re.compile(re.escape(f"{_WRITER}.lock")), _CONTENT)
    return all(any(one.fullmatch(name) for one in left) for name in os.listdir(folder))


def writing(folder: Path, argument: str) -> contextlib.AbstractContextManager[None]:
    """Return a context in which no other process or thread writes a folder that is there.

    Raises TimeoutError: another is still writing after `WAIT` seconds.
    """
    return locked(folder / _WRITER, argument, shown=folder, wait=WAIT)


@contextlib.contextmanager
def new_content(target: Path, check: Callable[[], object], argument: str) -> Iterator[Path]:
    """Give a hidden folder to write into, which becomes what ``target`` holds if all went well.

    Whatever interrupts this, what was there is as it was.

    Parameters
    ----------
    target : Path
        A folder, or the name of one that is not there.
    check : callable
        Raises where ``target`` must not be replaced; called when all is written, and again if another process
        has made it meanwhile.
    argument : str
        In messages.

    Raises TimeoutError: another process is still writing it after `WAIT` seconds.
    """
    with contextlib.ExitStack() as held:
        there = target.is_dir()
        if there:
            held.enter_context(writing(target, argument))
        beside = target / "content" if there else target
        remove_dead(beside)
        part = part_for(beside)
        try:
            with room_for(target):
                part.mkdir()
                yield part
                check()
                if there or not _appear(part, target):
                    check()
                    with writing(target, argument):
                        _replace(part, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _appear(part: Path, target: Path) -> bool:
    """Let a folder with a written content appear whole; return False if one has appeared meanwhile."""
    whole = part_for(target)
    whole.mkdir()
    try:
        first = whole / "content-1"
        os.rename(part, first)
        _name(first)
        try:
            os.rename(whole, target)
        except OSError:
            if not target.exists():
                raise
            os.rename(first, part)
            return False
        _reach_disk(target.parent)
        return True
    finally:
        shutil.rmtree(whole, ignore_errors=True)


def _replace(part: Path, target: Path) -> None:
    """Make a written content the current one of a folder, and remove the others."""
    numbers = [int(found[1]) for name in os.listdir(target) if (found := _CONTENT.fullmatch(name))]
    try:
        fresh = target / f"content-{max(numbers, default=0) + 1}"
        os.rename(part, fresh)
        _name(fresh)
    finally:
        current = _current(target)
        for name in os.listdir(target) if current is not None else []:
            if _CONTENT.fullmatch(name) and name != current:
                shutil.rmtree(target / name, ignore_errors=True)


def _name(content: Path) -> None:
    """Name a content as the current one of its folder, in one step."""
    _reach_disk(content.parent)
    text = f"{content.name}\n".encode()
    write_atomic(content.parent / CURRENT, lambda stream: stream.write(text), force=True)


def _current(folder: Path) -> str | None:
    """Return the name of a folder's current content, or None where it names none."""
    try:
        return (folder / CURRENT).read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _reach_disk(folder: Path) -> None:
    """Reach the disk with the names in a folder, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
