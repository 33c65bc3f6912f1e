"""What the commands on saved folders share: a bar of steps, and what a folder is."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from setwise.files.folder import FolderFormat, FolderInfo

Info = TypeVar("Info", bound="FolderInfo")


def print_info(
    path: str,
    format: FolderFormat[Info],
    describe: Callable[[Info], tuple[str, dict[str, str]]],
    *,
    check: bool,
    as_json: bool,
) -> None:
    """Print what a saved folder says of itself, and whether its files are whole where that is to be checked.

    Parameters
    ----------
    format : FolderFormat
    describe : callable
        Returns what the folder is, and lines about it by their names.
    check : bool
        Read and compare every file, with a bar.
    as_json : bool
        Print all that the folder says as one JSON object instead.
    """
    from setwise.cli import output

    _, found = format.read(path)
    took = None
    if check:
        began = time.perf_counter()
        with step_bar() as tell:
            format.verify(path, tell)
        took = time.perf_counter() - began
    if as_json:
        record = {**found.to_dict(), "bytes": found.bytes, "verified": True if check else None}
        output.print_json(record)
        return
    what, lines = describe(found)
    sizes = ", ".join(f"{name} {size_of(int(facts['bytes']))}" for name, facts in found.files.items())
    lines["saved"] = f"{found.saved[:16].replace('T', ' ')} UTC by setwise {found.setwise}"
    lines["size"] = f"{size_of(found.bytes)}: {sizes}"
    if took is not None:
        whole = f"its {len(found.files)} files are as they were written"
        lines["verified"] = f"{whole} ({output.milliseconds(took)})"
    output.print_facts(Path(path).resolve().name, what, lines)


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
            bar.update(task[0], completed=done, total=total if known else None)
            speed = bar.tasks[-1].speed
            rate = "" if not (count and speed) else f", {speed:,.0f}/s" if speed >= 10 else f", {speed:.2g}/s"
            bar.update(task[0], count=count + rate)

        yield tell
