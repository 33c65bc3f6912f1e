"""The outputs that a command was asked for, and which of them it has written: for what it says at its end."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class _Asked:
    """What a command reads and is to write.

    before : the outputs, and what stood there before; written, read : the arguments that name each file there
    is, by device and number, whatever its names are.
    """

    before: dict[Path, object] = field(default_factory=dict)
    written: dict[tuple[int, int], str] = field(default_factory=dict)
    read: dict[tuple[int, int], str] = field(default_factory=dict)


#: What the command within `watched` has asked for.
_asked: ContextVar[_Asked | None] = ContextVar("asked", default=None)


@contextlib.contextmanager
def watched() -> Iterator[Callable[[], list[Path]]]:
    """Give what returns the outputs asked for so far (`asked_for`) that have been written since."""
    asked = _Asked()
    token = _asked.set(asked)
    try:
        yield lambda: [path for path, facts in asked.before.items() if _state(path) not in (None, facts)]
    finally:
        _asked.reset(token)


def asked_for(path: Path, argument: str = "out") -> None:
    """Note that a file or folder is to be written, if anybody wants to know what became of it.

    Raises ValueError: it is a file that is read, too.
    """
    asked = _asked.get()
    if asked is not None:
        asked.before.setdefault(path, _state(path))
        for one in _file(path):
            asked.written[one] = f"{argument}: {path.name!r}"
            _check_apart(asked, one)


def read_from(path: Path | int, argument: str) -> None:
    """Note that a file is read, by its path or its number. Raises ValueError: it is to be replaced, too."""
    asked = _asked.get()
    if asked is not None:
        for one in _file(path):
            asked.read[one] = argument
            _check_apart(asked, one)


def _check_apart(asked: _Asked, one: tuple[int, int]) -> None:
    if one in asked.written and one in asked.read:
        raise ValueError(
            f"{asked.written[one]} is the file that {asked.read[one]} is read from; name another"
        )


def _file(path: Path | int) -> Iterator[tuple[int, int]]:
    """Yield what tells a file from all others, links followed; nothing where there is no file."""
    with contextlib.suppress(OSError):
        facts = os.stat(path)
        if stat.S_ISREG(facts.st_mode):
            yield facts.st_dev, facts.st_ino


def _state(path: Path) -> object:
    """Return what changes when another file, or another content of a folder, takes a place; None if empty."""
    for one in (path / "current", path):
        with contextlib.suppress(OSError):
            facts = one.stat()
            return facts.st_ino, facts.st_mtime_ns if one.is_file() else 0
    return None
