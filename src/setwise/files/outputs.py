"""Outputs that belong together: all of them appear, or none does."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from setwise.files.names import at_home, named
from setwise.files.parts import is_half_done, kept_for, part_for, remove_dead, room_for


def place_of(path: str | os.PathLike[str], argument: str) -> Path:
    """Return where an output will stand, links followed.

    Raises TypeError: it is no path; ValueError: it is empty, or no file can have that name here, or one that
    it has until it is whole.
    """
    named(path, argument)
    try:
        target = Path(os.path.realpath(at_home(path)))
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            os.lstat(kept_for(target))  # the longest name that is needed
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{argument}: {str(path)[:60]!r} cannot be written here ({reason}); name another"
        ) from None
    return target


def check_folder(folder: Path, argument: str) -> None:
    """Refuse a folder that no file can be written into: what may be written is tried, and leaves no trace.

    Raises FileNotFoundError, NotADirectoryError: it is missing, or none; PermissionError: it takes no file.
    """
    if not folder.is_dir():
        if folder.exists():
            raise NotADirectoryError(f"{argument}: {str(folder)!r} is a file; name a folder")
        raise FileNotFoundError(f"{argument}: no folder {str(folder)!r}; create it first")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(
            f"{argument}: folder {str(folder)!r} is not writable ({error.strerror}); name another"
        ) from None


class Outputs:
    """Files that are written one after the other and appear together, once all are; see `together`."""

    def __init__(self) -> None:
        self._parts: list[tuple[Path, Path, bool]] = []

    def write(
        self, path: str | os.PathLike[str], write: Callable[[IO[bytes]], object], *, force: bool
    ) -> None:
        """Write a file, which has another name until all are written; see `write_atomic`."""
        with self.opened(path, force=force) as stream:
            write(stream)

    @contextlib.contextmanager
    def opened(self, path: str | os.PathLike[str], *, force: bool) -> Iterator[IO[bytes]]:
        """Give a file to write to as it comes, which has another name until all are written."""
        target = Path(os.path.realpath(at_home(path)))
        force = force or is_half_done(target)
        if target.exists() and not force:
            raise _is_there(path)
        remove_dead(target)
        part = part_for(target)
        self._parts.append((part, target, force))
        with room_for(path), part.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())

    def appear(self) -> None:
        """Give every file its name; where one cannot have it, all is as it was."""
        written = {target: part.stat().st_ino for part, target, _ in self._parts}
        before: dict[Path, Path] = {}
        try:
            for part, target, force in self._parts:
                if force and target.exists():
                    before[target] = kept_for(target)
                    _linked(target, before[target])
                if force or not _linked(part, target):
                    os.replace(part, target)
        except BaseException:
            for target, inode in written.items():
                kept = before.get(target)
                if kept is not None and kept.exists():
                    os.replace(kept, target)
                elif kept is None and target.exists() and target.stat().st_ino == inode:
                    target.unlink()
            raise
        finally:
            _remove(before.values())

    def drop(self) -> None:
        """Remove what has not appeared."""
        _remove(part for part, _, _ in self._parts)


@contextlib.contextmanager
def together() -> Iterator[Outputs]:
    """Write files that belong together: all appear when the context ends without an error, else none does.

    Raises FileExistsError: one is there by then that may not be replaced.
    """
    outputs = Outputs()
    try:
        yield outputs
        outputs.appear()
    finally:
        outputs.drop()


def _remove(paths: Iterable[Path]) -> None:
    """Remove files that may be gone: all of them, also where an interruption comes between two."""
    with contextlib.ExitStack() as every:
        for path in paths:
            every.callback(path.unlink, missing_ok=True)


def _is_there(path: str | os.PathLike[str]) -> FileExistsError:
    return FileExistsError(f"{os.fspath(path)!r} exists; add --force (force=True) to replace it")


def _linked(part: Path, target: Path) -> bool:
    """Give a file a second name that nothing has yet; return False where the file system has no such names.

    Raises FileExistsError: something has that name.
    """
    try:
        os.link(part, target)
    except OSError:
        if target.exists():
            raise _is_there(target) from None
        return False
    return True
