"""What the commands on saved folders share: a bar of steps, and lines on a folder's files."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any


def seconds_to_verify(verify: Callable[[str, Callable[[str, int, int], None]], object], path: str) -> float:
    """Read and compare every file of a folder, with a bar; return the seconds it took."""
    began = time.perf_counter()
    with step_bar() as tell:
        verify(path, tell)
    return time.perf_counter() - began


def print_record(found: Any, verified: float | None) -> None:
    """Print what a folder's meta.json says as one JSON object."""
    from setwise.cli import output

    record = {**found.to_dict(), "bytes": found.bytes, "verified": None if verified is None else True}
    output.print_json(record)


def file_facts(found: Any, verified: float | None) -> dict[str, str]:
    """Return the lines on a folder's files: their sizes, and that they are whole where that was verified."""
    from setwise.cli import output

    sizes = ", ".join(f"{name} {size_of(int(facts['bytes']))}" for name, facts in found.files.items())
    lines = {"size": f"{size_of(found.bytes)}: {sizes}"}
    if verified is not None:
        took = output.milliseconds(verified)
        lines["verified"] = f"its {len(found.files)} files are as they were written ({took})"
    return lines


def size_of(count: int) -> str:
    """Return a number of bytes as a person reads it."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 999.5 * size else f"{count / size:,.0f} {unit}"
    return f"{count} bytes"


@contextlib.contextmanager
def step_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show steps as a bar on stderr, if somebody is looking; it is gone when the work is done."""
    if not sys.stderr.isatty():
        yield lambda step, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    look = (
        SpinnerColumn(),
        TextColumn("{task.description:<9}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*look, console=Console(stderr=True), transient=True) as bar:
        task: list[Any] = []

        def tell(step: str, done: int, total: int) -> None:
            known = total > 1
            count = f"{done:,} of {total:,}" if known and step != "checking" else ""
            if not task or bar.tasks[-1].description != step:
                for old in task:
                    bar.remove_task(old)
                task[:] = [bar.add_task(step, total=total if known else None, count=count)]
            bar.update(task[0], completed=done, total=total if known else None, count=count)

        yield tell
