"""Local processes: vectors in memory that all of them map, one BLAS thread each."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from setwise.engine.base import RETRIES, Engine, OnDisk
from setwise.files.arrays import write_rows
from setwise.files.parts import part_for, remove_dead
from setwise.threads import one_blas_thread

#: What keeps a worker's libraries on one thread: the processes are the parallelism.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)

#: Where shared arrays lie in memory, on systems that have such a folder.
IN_MEMORY = "/dev/shm"

_starting = threading.Lock()


class LocalEngine(Engine):
    """Processes on this machine, started afresh (spawned), so that nothing of the caller is copied.

    They stay from one `map` to the next, until `close`.

    Parameters
    ----------
    workers : int
        Processes; with one, this process itself does the work.
    """

    def __init__(self, workers: int) -> None:
        self.workers = self.slots = workers
        self._pool: ProcessPoolExecutor | None = None

    def map(
        self, function: Callable[[Any], Any], arguments: Sequence[Any], *, accelerated: bool = False
    ) -> list[Any]:
        if self.workers == 1:
            with one_blas_thread():
                return [function(argument) for argument in arguments]
        results: dict[int, Any] = {}
        for _ in range(1 + RETRIES):
            left = [place for place in range(len(arguments)) if place not in results]
            if not left:
                break
            futures = self._submitted(function, {place: arguments[place] for place in left})
            try:
                for place, future in futures.items():
                    with contextlib.suppress(BrokenProcessPool):
                        results[place] = future.result()
            except BaseException:
                self.close(wait=False)
                raise
            if len(results) < len(arguments):
                self.close()  # a pool that has lost a process takes no more work
        if len(results) < len(arguments):
            raise RuntimeError(
                f"workers: a process was lost {1 + RETRIES} times over, out of memory perhaps; take fewer"
            )
        return [results[place] for place in range(len(arguments))]

    def _submitted(self, function: Callable[[Any], Any], arguments: dict[int, Any]) -> dict[int, Future[Any]]:
        """Hand arguments to the processes; those that are lacking are started."""
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, mp_context=spawn, initializer=_end_with_parent)
        futures: dict[int, Future[Any]] = {}
        # A process may be lost before all is handed over: what is left is in the next round.
        with _environment(ONE_THREAD), _main_left_alone(), contextlib.suppress(BrokenProcessPool):
            for place, argument in arguments.items():
                futures[place] = self._pool.submit(function, argument)
        return futures

    def close(self, wait: bool = True) -> None:
        """End the processes; without waiting, what was not begun is left undone."""
        if self._pool is not None:
            self._pool.shutdown(wait=wait, cancel_futures=not wait)
            self._pool = None

    @contextlib.contextmanager
    def share(self, array: NDArray[Any]) -> Iterator[Any]:
        if self.workers == 1:
            yield array
            return
        file = _written(array)
        try:
            yield OnDisk(str(file))
        finally:
            with contextlib.suppress(
                OSError
            ):  # some systems keep a file that is mapped; the next run removes it
                file.unlink()


def _end_with_parent() -> None:
    """Let this worker end where the process that has started it was killed: nobody else would tell it to."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _written(array: NDArray[Any]) -> Path:
    """Return a file with an array: in memory where there is room for it, else among temporary files.

    Raises OSError: there is no room anywhere.
    """
    step = max(1, (64 << 20) // max(1, array.nbytes // len(array)))
    for folder in filter(os.path.isdir, (IN_MEMORY, tempfile.gettempdir())):
        name = Path(folder, "setwise-shared")
        remove_dead(name)
        file = part_for(name)
        with contextlib.suppress(OSError):  # its room is taken before any of it is written
            blocks = (array[start : start + step] for start in range(0, len(array), step))
            write_rows(file, len(array), blocks)
            return file
    raise OSError(
        f"workers: there is no room to share {array.nbytes:,} bytes with processes, in {IN_MEMORY} or "
        f"{tempfile.gettempdir()}; use threads (no workers), or name a folder with TMPDIR"
    )


@contextlib.contextmanager
def _main_left_alone() -> Iterator[None]:
    """Start processes that do not run the caller's script again.

    A spawned process imports the main module first, for functions defined there; ours are in modules of
    their own, and a script without ``if __name__ == "__main__"`` would start itself over.
    """
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    with _starting:
        try:
            for name in kept:
                setattr(main, name, None)
            yield
        finally:
            for name, value in kept.items():
                setattr(main, name, value)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for processes that start meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
