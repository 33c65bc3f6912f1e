"""The outputs that a command was asked for, and which of them it has written: for what it says at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

#: Within `watched`: the outputs that were asked for, and what stood there before.
_asked: ContextVar[dict[Path, object] | None] = ContextVar("asked", default=None)


@contextlib.contextmanager
def watched() -> Iterator[Callable[[], list[Path]]]:
    """Give what returns the outputs asked for so far (`asked_for`) that have been written since."""
    before: dict[Path, object] = {}
    token = _asked.set(before)
    try:
        yield lambda: [path for path, facts in before.items() if _state(path) not in (None, facts)]
    finally:
        _asked.reset(token)


def asked_for(path: Path) -> None:
    """Note that a file or folder is to be written, if anybody wants to know what became of it."""
    asked = _asked.get()
    if asked is not None:
        asked.setdefault(path, _state(path))


def _state(path: Path) -> object:
    """Return what changes when another file, or another content of a folder, takes a place; None if empty."""
    for one in (path / "current", path):
        with contextlib.suppress(OSError):
            facts = one.stat()
            return facts.st_ino, facts.st_mtime_ns if one.is_file() else 0
    return None
