"""Where work runs: local processes that share memory, or Ray. What the work is, is not known here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from setwise import checks
from setwise.engine.base import Engine, opened, shared_rows

__all__ = ["Engine", "at_work", "engine_for", "opened", "shared_rows"]

#: The engine of the job that is under way, and what it was asked for by.
_held: ContextVar[tuple[int | str, Engine] | None] = ContextVar("held", default=None)


def engine_for(workers: int | str) -> Engine:
    """Return an engine.

    Parameters
    ----------
    workers : int or str
        A number of local processes; "ray" for the Ray that is running, else one started here; or the
        address of a Ray cluster.

    Raises
    ------
    TypeError
        ``workers`` is neither.
    ValueError
        It is a number below 1.
    ImportError
        Ray is not installed.
    ConnectionError
        There is no Ray at that address.
    """
    if isinstance(workers, str):
        from setwise.engine.ray import RayEngine

        return RayEngine(None if workers == "ray" else workers)
    from setwise.engine.local import LocalEngine

    return LocalEngine(checks.integer("workers", workers, least=1))


@contextlib.contextmanager
def at_work(workers: int | str) -> Iterator[Engine]:
    """Give the engine of the job that is under way, or one that every step of this job is given.

    A job holds it from before its first step, so that what cannot be had is refused there.

    Raises TypeError, ValueError, ImportError, ConnectionError: as `engine_for`.
    """
    before = _held.get()
    if before is not None and before[0] == workers:
        yield before[1]
        return
    with engine_for(workers) as engine:
        _held.set((workers, engine))
        try:
            yield engine
        finally:
            _held.set(before)
