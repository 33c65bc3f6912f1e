"""Locks between processes: who writes a file or a folder, while others that would wait."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from setwise.extras import require


@contextlib.contextmanager
def locked(
    path: str | os.PathLike[str],
    argument: str,
    *,
    shown: str | os.PathLike[str] | None = None,
    wait: float = 0.0,
) -> Iterator[None]:
    """Hold ``PATH.lock`` for as long as the context lasts; it is free at once when its process ends.

    A thread may hold one that it holds already.

    Parameters
    ----------
    path : path-like
        What is to be written.
    argument : str
        In messages.
    shown : path-like, optional
        What is named in messages; by default ``path``.
    wait : float
        Seconds to wait for another process or thread that holds it.

    Raises TimeoutError: another still holds it.
    """
    filelock = require("filelock", "catalog", "writing where others may write")
    lock = filelock.FileLock(f"{os.fspath(path)}.lock", is_singleton=True)
    try:
        lock.acquire(timeout=wait)
    except filelock.Timeout:
        raise TimeoutError(
            f"{argument}: {os.fspath(shown or path)!r} is being written by another process; wait until it "
            "is done, or name another"
        ) from None
    try:
        yield
    finally:
        if lock.lock_counter == 1:  # whoever waits for this file sees that it is gone, and makes it anew
            with contextlib.suppress(OSError):
                os.unlink(lock.lock_file)
        lock.release()
