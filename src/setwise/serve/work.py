"""The work of many requests on a few threads: bounded, batched, and dropped when nobody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from setwise.serve.errors import Refused
from setwise.serve.metrics import Counters
from setwise.serve.settings import Limits

if TYPE_CHECKING:
    from setwise.serve.service import Service

#: Requests that one thread works on together, at most: what waits longer for its neighbors gains no more.
BATCH = 8


class Dropped(Exception):
    """Nobody waits for the work any longer."""


@dataclass(eq=False)
class Task:
    """A piece of work that somebody waits for.

    Attributes
    ----------
    given : object
        What it is done with.
    answer : asyncio.Future
    """

    kind: Solve
    given: Any
    answer: asyncio.Future[Any]
    _dropped: threading.Event = field(default_factory=threading.Event)

    def drop(self) -> None:
        """Say that nobody waits any longer."""
        self._dropped.set()
        self.answer.cancel()

    def check(self, _step: str = "") -> None:
        """End the work where nobody waits for it; called between its steps. Raises Dropped: nobody does."""
        if self._dropped.is_set():
            raise Dropped


#: Does jobs of one kind for a service, on a thread: an answer, or an error, for each.
Solve = Callable[["Service", Sequence[Task]], Sequence[Any]]


class Work:
    """Threads, and what waits for them.

    While all threads are at work jobs wait, and a thread that comes free takes those of one kind together:
    the busier the service, the larger the batches, and no job waits for one to fill.

    Parameters
    ----------
    service : Service
        What the work is done for.
    """

    def __init__(self, limits: Limits, metrics: Counters, service: Service) -> None:
        self._limits, self._metrics, self._service = limits, metrics, service
        self._threads = ThreadPoolExecutor(limits.workers, thread_name_prefix="setwise-serve")
        self._waiting: deque[Task] = deque()
        self._running = self._inside = 0
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether a further request would be refused."""
        return self._closed or self._inside >= self._limits.waiting

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request as long as the context lasts.

        Raises Refused: there are as many as there may be, or the service ends.
        """
        if self._closed:
            raise Refused(503, "the service is shutting down", {"retry-after": "5"})
        if self.full:
            told = f"{self._inside} requests are worked on or wait already; come again in a second"
            raise Refused(429, told, {"retry-after": "1"})
        self._inside += 1
        self._metrics.inside.inc()
        try:
            yield
        finally:
            self._inside -= 1
            self._metrics.inside.dec()

    async def do(self, kind: Solve, given: Any, gone: asyncio.Future[Any]) -> Any:
        """Return what a job's answer is.

        Parameters
        ----------
        kind : callable
            What does such jobs.
        given : object
        gone : asyncio.Future
            Done when nobody waits any longer.

        Raises Dropped: nobody does; Refused: it took too long; Exception: what the work raised.
        """
        loop = asyncio.get_running_loop()
        job = Task(kind, given, loop.create_future())
        self._waiting.append(job)
        self._start()
        try:
            await asyncio.wait(
                {job.answer, gone}, timeout=self._limits.seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if job.answer.done():
                return job.answer.result()
            if gone.done():
                raise Dropped
            told = f"no answer within {self._limits.seconds:g} s; ask for fewer documents, or certify=false"
            raise Refused(504, told)
        finally:
            if not job.answer.done():
                job.drop()
                with contextlib.suppress(ValueError):
                    self._waiting.remove(job)

    def close(self) -> None:
        """Take no more requests, and let go of the threads."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        """Give waiting jobs to threads that are free."""
        while self._waiting and self._running < self._limits.workers:
            batch = self._taken()
            self._running += 1
            self._metrics.batched.observe(len(batch))
            done = asyncio.get_running_loop().run_in_executor(
                self._threads, batch[0].kind, self._service, batch
            )
            done.add_done_callback(partial(self._finish, batch))

    def _taken(self) -> list[Task]:
        """Take the next job off those that wait, with its fair share of those of its kind."""
        first = self._waiting.popleft()
        most = min(BATCH, 1 + len(self._waiting) // self._limits.workers)
        batch = [first, *(job for job in self._waiting if job.kind == first.kind)][:most]
        for job in batch[1:]:
            self._waiting.remove(job)
        return batch

    def _finish(self, batch: list[Task], done: asyncio.Future[Sequence[Any]]) -> None:
        """Hand out what a thread has found, and give it more."""
        self._running -= 1
        error = done.exception()
        answers = [error] * len(batch) if error is not None else done.result()
        for job, answer in zip(batch, answers, strict=True):
            if job.answer.done():
                continue
            if isinstance(answer, BaseException):
                job.answer.set_exception(answer)
            else:
                job.answer.set_result(answer)
        self._start()
