"""Threads: BLAS held to one on small operands, row blocks of long scans spread over workers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from setwise import checks

T = TypeVar("T")

_executors: dict[int, ThreadPoolExecutor] = {}
_lock = threading.RLock()
_blas: list[Any] | None = None
_pins = 0
_unpinned: list[int] = []


def _forget_executors() -> None:
    """Drop worker pools inherited over a fork: their threads do not exist in the child."""
    global _lock, _pins
    _executors.clear()
    _lock = threading.RLock()
    _pins = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_executors)


def _controllers() -> list[Any]:
    """Return the handles of the loaded BLAS libraries, found once."""
    global _blas
    if _blas is None:
        from threadpoolctl import ThreadpoolController

        _blas = list(ThreadpoolController().select(user_api="blas").lib_controllers)
    return _blas


class one_blas_thread:
    """Context in which BLAS calls run on the calling thread alone.

    A threaded BLAS call on a small operand waits for its slowest thread: on a busy machine that is a
    scheduler quantum, many times the call itself. Contexts may nest and overlap between threads; the
    setting is given back when the last one ends.
    """

    def __enter__(self) -> None:
        global _pins, _unpinned
        with _lock:
            if _pins == 0:
                libraries = _controllers()
                _unpinned = [library.num_threads for library in libraries]
                for library in libraries:
                    library.set_num_threads(1)
            _pins += 1

    def __exit__(self, *_: object) -> None:
        global _pins
        with _lock:
            _pins -= 1
            if _pins == 0:
                for library, count in zip(_controllers(), _unpinned, strict=True):
                    library.set_num_threads(count)


def count(threads: int | None = None) -> int:
    """Return how many workers to use.

    Parameters
    ----------
    threads : int, optional
        As the caller asked, at least 1. None means what BLAS is set to (so ``OMP_NUM_THREADS`` is
        honoured), never more than the processors this process may run on.
    """
    if threads is not None:
        return checks.integer("threads", threads, least=1)
    with _lock:
        blas = _unpinned if _pins else [library.num_threads for library in _controllers()]
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([available, *[number for number in blas if number]]))


def run(task: Callable[[int, int], T], n: int, workers: int, *, least: int = 1) -> Sequence[T]:
    """Run ``task(start, stop)`` over ranges that cut ``n`` rows evenly, and return the results in order.

    Parameters
    ----------
    task : callable
        Works on rows ``start`` to ``stop``; must be safe to run beside itself.
    n : int
        Rows in all.
    workers : int
        Threads to use; with one, the calling thread does the work.
    least : int
        Fewest rows worth a thread of their own.
    """
    parts = max(1, min(workers, n // max(1, least)))
    if parts == 1:
        return [task(0, n)]
    cuts = [n * part // parts for part in range(parts + 1)]
    with _lock:
        executor = _executors.get(workers)
        if executor is None:
            executor = _executors[workers] = ThreadPoolExecutor(workers, thread_name_prefix="setwise")
    return list(executor.map(task, cuts[:-1], cuts[1:]))
