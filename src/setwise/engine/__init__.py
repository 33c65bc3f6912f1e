"""Where work runs: local processes that share memory, or Ray. What the work is, is not known here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from setwise import checks
from setwise.engine.base import Engine, opened, shared_rows

__all__ = ["Engine", "at_work", "engine_for", "opened", "shared_rows"]

#: The engines of jobs that are under way, each with what it was asked for by.
_held: ContextVar[tuple[tuple[int | str, Engine], ...]] = ContextVar("held", default=())


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
    for asked, engine in _held.get():
        if asked == workers:
            yield engine
            return
    with engine_for(workers) as engine:
        own = (workers, engine)
        _held.set((*_held.get(), own))
        try:
            yield engine
        finally:  # jobs need not end in the order in which they began
            _held.set(tuple(one for one in _held.get() if one is not own))
