"""Small pools, as after a reranker: setwise beside pyversity as released, with and without compiled kernels.

    python benchmarks/small.py                # at 1 and 2 BLAS threads, quiet and beside a busy process
    python benchmarks/small.py --threads 1 --quick

All figures of a row come from one process on the same data, ours and the baseline in turn; times are medians.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A module beside this file bears the name of a standard one: its folder must not be looked in for modules.
sys.path[:] = [str(HERE.parent), *[entry for entry in sys.path if Path(entry or ".").resolve() != HERE]]

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.reporting import busy_processor, heading, run_at, table

SIZES = ((50, 384), (200, 384), (200, 768), (1000, 384), (2000, 384))
KS = (10, 50)
DIVERSITY = 0.3

#: What is compared: its name, the options of `setwise.select`, and pyversity's strategy.
CALLS = (
    ("mmr", {"objective": "mmr", "certify": False}, "mmr"),
    ("max-sum greedy", {"solver": "greedy", "certify": False}, "msd"),
    ("log-det", {"objective": "log-det", "certify": False}, "dpp"),
    ("auto", {"certify": False}, "msd"),
    ("auto, certified", {"certify": True}, "msd"),
    ("auto, sharpness 8, certified", {"certify": True, "sharpness": 8}, "msd"),
)


def in_turn(calls: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Return the median seconds of each call, one after the other in every round."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats + 3):
        for call, times in zip(calls, seconds, strict=True):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
    return [statistics.median(times[3:]) for times in seconds]


def pool(n: int, d: int) -> tuple[Any, Any]:
    """Return clustered rows in single precision, and relevance."""
    import numpy as np

    rng = np.random.default_rng(n + d)
    rows = rng.standard_normal((12, d))[rng.integers(12, size=n)] + rng.standard_normal((n, d))
    return rows.astype(np.float32), rng.random(n)


def one_pool(repeats: int) -> None:
    """Print how many times faster each call is than pyversity's."""
    from pyversity import diversify

    import setwise
    from setwise import kernels

    used = kernels.instructions()
    lines = []
    for (n, d), k in ((size, k) for size in SIZES for k in KS if k < size[0]):
        rows, relevance = pool(n, d)
        for name, options, strategy in CALLS:
            kwargs: dict[str, Any] = {**options, "relevance": relevance, "diversity": DIVERSITY}

            def ours(kwargs: dict[str, Any] = kwargs) -> Any:
                return setwise.select(rows, k, **kwargs)

            def theirs(strategy: str = strategy) -> Any:
                return diversify(rows, relevance, k, strategy=strategy, diversity=DIVERSITY)

            rounds = repeats if "auto" not in name else max(5, repeats // 10)
            fast, peer = in_turn([ours, theirs], rounds)
            kernels.use("0")
            plain, same = in_turn([ours, theirs], max(5, rounds // 4))
            kernels.use(used if used != "numpy" else "0")
            lines.append(
                [f"{n} × {d}", k, name, f"{fast * 1e6:.0f}", f"{peer * 1e6:.0f}", f"{peer / fast:.2f}",
                 f"{same / plain:.2f}"]
            )  # fmt: skip
    columns = ["pool", "k", "call", "µs", "pyversity µs", "times faster", "… without kernels"]
    table(f"One pool (kernels: {used})", columns, lines)


def many_pools(threads: int, count: int) -> None:
    """Print how many times faster `select_many` is than a loop of pyversity's."""
    import numpy as np
    from pyversity import diversify

    import setwise

    rows, relevance = zip(*(pool(200, 384) for _ in range(count)), strict=True)
    stack, levels = np.stack(rows), np.stack(relevance)
    lines = []
    for name, options, strategy in CALLS[:4]:

        def ours(options: dict[str, Any] = options) -> Any:
            return setwise.select_many(
                stack, 10, relevance=levels, diversity=DIVERSITY, threads=threads, **options
            )

        def theirs(strategy: str = strategy) -> Any:
            for one, numbers in zip(stack, levels, strict=True):
                diversify(one, numbers, 10, strategy=strategy, diversity=DIVERSITY)

        fast, peer = in_turn([ours, theirs], 3)
        lines.append([name, f"{fast / count * 1e6:.0f}", f"{peer / count * 1e6:.0f}", f"{peer / fast:.1f}"])
    table(f"{count} pools of 200 × 384, k = 10", ["call", "µs a pool", "pyversity µs", "times faster"], lines)


def main() -> None:
    """Measure at each number of threads, quiet and busy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, not beside a busy process")
    given = parser.parse_args()
    if given.threads is None:
        for threads in (1, 2):
            run_at(threads, __file__, ["--threads", str(threads), *(["--quick"] if given.quick else [])])
        return
    heading()
    for beside in (contextlib.nullcontext, *(() if given.quick else (busy_processor,))):
        with beside():
            if beside is busy_processor:
                print("\nBeside a busy process:")
            one_pool(40 if given.quick else 200)
            many_pools(given.threads, 200 if given.quick else 1000)


if __name__ == "__main__":
    main()
