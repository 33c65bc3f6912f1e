"""Where work runs: local processes that share memory, or Ray. What the work is, is not known here."""

from __future__ import annotations

from setwise import checks
from setwise.engine.base import Engine, opened, shared_rows

__all__ = ["Engine", "engine_for", "opened", "shared_rows"]


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
