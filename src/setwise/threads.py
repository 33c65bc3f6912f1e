"""Threads: BLAS held to one on small operands, row blocks of long scans spread over workers."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from setwise import checks

T = TypeVar("T")

_executors: dict[int, ThreadPoolExecutor] = {}
_lock = threading.RLock()
_blas: tuple[int, list[Any], list[Any]] = (-1, [], [])
_pins = 0
_unpinned: list[tuple[Any, int]] = []  # libraries, and their threads before the first context began
_here = threading.local()  # of each thread: contexts it is in, and whether it is a worker


#: Packages that bring a BLAS library of their own.
BRING = ("scipy.linalg", "faiss", "torch", "sklearn")


def _controllers() -> tuple[list[Any], list[Any]]:
    """Return the handles of the loaded BLAS libraries, looked for when packages that bring one appear.

    First those whose setting is the process's, then those on OpenMP, whose setting is each Python thread's.
    """
    global _blas
    bring = sum(map(sys.modules.__contains__, BRING))
    if _blas[0] != bring and not _pins:
        from threadpoolctl import ThreadpoolController

        found = ThreadpoolController().select(user_api="blas").lib_controllers
        own = [getattr(one, "threading_layer", "") == "openmp" for one in found]
        process = [one for one, is_own in zip(found, own, strict=True) if not is_own]
        _blas = (bring, process, [one for one, is_own in zip(found, own, strict=True) if is_own])
    return _blas[1:]


def _set(library: Any, number: int) -> None:
    """Set a library's threads from whichever Python thread this is.

    threadpoolctl lets one Python thread alone set them; here the lock and the count below see to it that
    threads do not undo each other's setting.
    """
    getattr(library, "_real_set_num_threads", library.set_num_threads)(number)


def _give_back(before: list[tuple[Any, int]]) -> None:
    """Set libraries as they were."""
    for library, number in before:
        if number != 1:
            _set(library, number)


def _after_fork() -> None:
    """In a forked child: other threads' workers and contexts are gone."""
    global _lock, _pins
    _executors.clear()
    _lock = threading.RLock()
    pinned, _pins = _pins, getattr(_here, "pins", 0)
    if pinned and not _pins:
        _give_back(_unpinned)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


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
                _unpinned = _pin(own=False)
            _pins += 1
            _here.pins = getattr(_here, "pins", 0) + 1
            if _here.pins == 1:
                _here.unpinned = _pin(own=True)

    def __exit__(self, *_: object) -> None:
        global _pins
        with _lock:
            _pins -= 1
            _here.pins -= 1
            if _here.pins == 0:
                _give_back(_here.unpinned)
            if _pins == 0:
                _give_back(_unpinned)


def _pin(*, own: bool) -> list[tuple[Any, int]]:
    """Hold libraries to one thread and return what they had before.

    With `own` those whose setting is each Python thread's, else those whose setting is the process's.
    """
    before = [(library, library.num_threads) for library in _controllers()[own]]
    for library, number in before:
        if number != 1:
            _set(library, 1)
    return before


def thread_count(threads: int | None = None) -> int:
    """Return how many workers to use.

    Parameters
    ----------
    threads : int, optional
        As the caller asked, at least 1. None means what BLAS is set to (so ``OMP_NUM_THREADS`` is
        honored), never more than the processors this process may run on.
    """
    if threads is not None:
        return checks.integer("threads", threads, least=1)
    with _lock:
        blas = (
            [number for _, number in _unpinned]
            if _pins
            else [library.num_threads for libraries in _controllers() for library in libraries]
        )
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([available, *[number for number in blas if number]]))


def run_ranges(task: Callable[[int, int], T], n: int, workers: int, *, least: int = 1) -> Sequence[T]:
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
    if parts == 1 or getattr(_here, "worker", False):  # a worker that waited for workers might wait for ever
        return [task(0, n)]
    cuts = [n * part // parts for part in range(parts + 1)]
    with _lock:
        executor = _executors.get(workers)
        if executor is None:
            executor = _executors[workers] = ThreadPoolExecutor(workers, thread_name_prefix="setwise")

    def work(start: int, stop: int) -> T:
        _here.worker = True
        return task(start, stop)

    return list(executor.map(work, cuts[:-1], cuts[1:]))


def beside(task: Callable[[int], T], start: int, stop: int, workers: int) -> list[T]:
    """Run ``task(position)`` for each position of a range, some beside each other; results in order."""
    parts = run_ranges(
        lambda first, last: [task(start + position) for position in range(first, last)],
        stop - start,
        workers,
    )
    return [found for part in parts for found in part]
