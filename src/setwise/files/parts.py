"""Unfinished files and folders: hidden beside what they become, named for who writes them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: How an unfinished file or folder is named: ``.NAME.HOST~PROCESS~RUN~TOKEN.part``.
PART = re.compile(r"\..*\.(?P<host>[^.~]*)~(?P<process>\d{1,9})~(?P<run>[0-9a-f]{8})~[0-9a-f]{8}\.part")

#: Errors of a full disk.
_FULL = (errno.ENOSPC, errno.EDQUOT)

#: Tells this run from an earlier one that had the same host and process: a container's, started again.
_RUN = secrets.token_hex(4)


class NoRoom(OSError):
    """A disk is full."""


def part_for(target: Path) -> Path:
    """Return a name beside ``target`` for what is to become it, which no other run uses."""
    return target.with_name(f".{target.name}.{_host()}~{os.getpid()}~{_RUN}~{secrets.token_hex(4)}.part")


def kept_for(target: Path) -> Path:
    """Return a name beside ``target`` for what it was, as long as it may have to be that again."""
    return part_for(target.with_name(f"{target.name}.before"))


@contextlib.contextmanager
def room_for(place: str | os.PathLike[str]) -> Iterator[None]:
    """Say in one line what was to be written where the disk turns out to be full.

    Raises NoRoom: the disk has no room, or a quota leaves none; its ``errno`` is that of the system's own
    error.
    """
    try:
        yield
    except NoRoom:  # the place that is named already is the nearer one
        raise
    except Exception as error:
        number, told = getattr(error, "errno", None), str(error)
        if number is None:  # NumPy and torch tell of a write that was cut short in words alone, others why
            short = " requested and " in told or ". unexpected pos " in told
            number = next((one for one in _FULL if short or os.strerror(one) in told), None)
        if number not in _FULL:
            raise
        full = NoRoom(f"the disk has no room for {os.fspath(place)!r}; make some, or name another place")
        full.errno = number
        raise full from None


@contextlib.contextmanager
def scratch(folder: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Give a hidden folder, by default among temporary files, for what is needed for a while.

    What killed runs have left of theirs goes.
    """
    name = Path(tempfile.gettempdir() if folder is None else folder, "setwise")
    remove_dead(name)
    made = part_for(name)
    try:
        with room_for(name.parent):
            made.mkdir(mode=0o700)
            yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def remove_dead(target: Path) -> None:
    """Remove what runs that were killed on this machine have left of their attempts to write ``target``."""
    with contextlib.suppress(OSError):
        for entry in _dead(target):
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def is_half_done(target: Path) -> bool:
    """Return whether a file is there because a run was killed while its outputs appeared: it has two names.

    One that such a run was about to replace has a second name, too, but another (`kept_for`).
    """
    with contextlib.suppress(OSError):
        mine = f".{target.name}.{_host()}~"
        return any(entry.name.startswith(mine) and entry.samefile(target) for entry in _dead(target))
    return False


def _dead(target: Path) -> Iterator[Path]:
    """Yield what runs that were killed on this machine have left of their attempts to write ``target``."""
    if os.name != "posix":  # elsewhere a process cannot be asked whether it is alive without ending it
        return
    for entry in target.parent.glob(f".{_escaped(target.name)}.*.part"):
        found = PART.fullmatch(entry.name)
        if found and found["host"] == _host() and not _is_alive(int(found["process"]), found["run"]):
            yield entry


def _host() -> str:
    """Return this machine's name as it stands in file names."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:32]


def _escaped(name: str) -> str:
    """Return a name for a glob that matches nothing else."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _is_alive(process: int, run: str) -> bool:
    """Return whether a run of this machine goes on; one that may not be asked does."""
    if process == os.getpid():
        return run == _RUN
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
