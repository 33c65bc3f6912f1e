"""Work written once: run here, or awaited with what lies between the waits on a thread."""

import asyncio
import threading

import pytest

from setwise.steps import Step, arun, run


def twice(kind):
    """A function and its asynchronous twin that tell which was called."""

    def call(value):
        return "called", kind, value

    async def acall(value):
        await asyncio.sleep(0)
        return "awaited", kind, value

    return call, acall


def adding(seen):
    first = yield Step.of(*twice("first"), 1)
    seen.append(threading.get_ident())
    second = yield Step.of(*twice("second"), 2)
    return first, second


def nested(seen):
    return [(yield from adding(seen)), (yield from adding(seen))]


def test_steps_are_called_in_order():
    assert run(adding([])) == (("called", "first", 1), ("called", "second", 2))
    assert run(nested([])) == [run(adding([]))] * 2


def test_steps_are_awaited_and_the_loop_is_left_alone():
    seen = []

    async def many():
        return await asyncio.gather(*(arun(nested(seen)) for _ in range(5)))

    expected = ("awaited", "first", 1), ("awaited", "second", 2)
    assert asyncio.run(many()) == [[expected, expected]] * 5
    assert len(seen) == 10
    assert threading.get_ident() not in seen


def test_work_without_a_step():
    def work():
        return 7
        yield

    assert run(work()) == asyncio.run(arun(work())) == 7


def test_errors_of_steps_and_of_work():
    def failing(*_):
        raise KeyError("step")

    async def afailing(*_):
        raise KeyError("step")

    def work(in_step):
        yield Step.of(failing, afailing) if in_step else Step.of(*twice("fine"), 0)
        raise ValueError("work")

    for in_step, error in ((True, KeyError), (False, ValueError)):
        with pytest.raises(error, match="step" if in_step else "work"):
            run(work(in_step))
        with pytest.raises(error, match="step" if in_step else "work"):
            asyncio.run(arun(work(in_step)))
