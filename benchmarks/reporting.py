"""How the benchmarks time calls, keep a processor busy and print their tables."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def timed(call: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Return the median seconds of a call, and what it returned."""
    seconds, result = [], None
    for _ in range(repeats):
        began = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), result


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a Markdown table."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + "|".join(" --- " for _ in columns) + "|")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    sys.stdout.flush()


def heading() -> None:
    """Print what the figures were measured on."""
    import numpy as np

    import setwise

    print(
        f"\n## {os.environ.get('OMP_NUM_THREADS', 'all')} thread(s); {platform.machine()}, {os.cpu_count()} "
        f"processors; Python {platform.python_version()}, NumPy {np.__version__}, "
        f"setwise {setwise.__version__}"
    )


@contextlib.contextmanager
def busy_processor() -> Iterator[None]:
    """Keep one processor busy with another process."""
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.5)
        yield
    finally:
        spinning.kill()
        spinning.wait()


def run_at(threads: int, script: str, arguments: list[str]) -> None:
    """Run a script in a process of its own with so many BLAS threads."""
    count = str(threads)
    environment = {**os.environ, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}
    subprocess.run([sys.executable, str(Path(script).resolve()), *arguments], env=environment, check=True)
