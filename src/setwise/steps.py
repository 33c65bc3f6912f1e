"""Work that waits for others (a database, a model), written once: run here, or awaited.

Such work is a generator. It yields each wait as a `Step`, and is sent what the step returned, or thrown what
it raised.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
Work = Generator["Step", Any, T]


class Step(NamedTuple):
    """A call that can be made here, and what can be awaited in its place."""

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]

    @classmethod
    def of(
        cls, call: Callable[..., Any], acall: Callable[..., Awaitable[Any]], *args: Any, **options: Any
    ) -> Step:
        """Return the step of a function and its asynchronous twin, with the same arguments."""
        return cls(partial(call, *args, **options), partial(acall, *args, **options))


def run(work: Work[T], check: Callable[[], object] | None = None) -> T:
    """Do work, making every call here; `check` is called before each, and ends the work by what it raises."""
    done, taken = _next(work, None)
    while not done:
        answer, error = None, None
        if check is not None:
            check()
        try:
            answer = taken.call()
        except Exception as raised:
            error = raised
        done, taken = _next(work, answer, error)
    found: T = taken
    return found


async def arun(work: Work[T]) -> T:
    """Do work without blocking the event loop: calls are awaited, what lies between them runs on a thread."""
    import asyncio

    done, taken = await asyncio.to_thread(_next, work, None)
    while not done:
        answer, error = None, None
        try:
            answer = await taken.acall()
        except Exception as raised:
            error = raised
        done, taken = await asyncio.to_thread(_next, work, answer, error)
    found: T = taken
    return found


def _next(work: Work[Any], answer: Any, error: Exception | None = None) -> tuple[bool, Any]:
    """Take work on to its next step, or to its end and result."""
    try:
        return False, work.send(answer) if error is None else work.throw(error)
    except StopIteration as end:
        return True, end.value
