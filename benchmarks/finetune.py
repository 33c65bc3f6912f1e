"""The matching of a repository to examples: against the published heap loop, and how it grows.

    python benchmarks/finetune.py [--threads 2] [--only assignment|whole|large] [--rows 1000000]

assignment  Algorithm 2 of TSDS as published (a heap over all queries' next candidates) and ours, on the same
            neighbors and densities, side by side.
whole       1,000,000 × 256, up to 1,000 examples: the time of each stage and the peak of memory.
large       10,000 examples with 5,000 neighbors each: the peak of memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A module named select stands beside this file and would hide the standard library's.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]

import argparse
import heapq
import resource
import subprocess
import tempfile
import time

import numpy as np

sys.path.append(str(HERE))
from numpy.typing import NDArray

from data import clustered
from reporting import heading, run_at, table, timed


def published(
    ids: NDArray[np.int64],
    d: NDArray[np.float64],
    inverse: NDArray[np.float64],
    n: int,
    alpha: float,
    c: float,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Algorithm 2 (KNN-KDE) as the paper writes it, kinder than plain; ``inverse`` is 1/ρ.

    The cost of each query is kept up in O(1) a step, where the paper sums it anew, and arrays become lists
    first, which a loop reads faster.
    """
    far, weights = d.tolist(), inverse.tolist()
    m, reach = ids.shape
    whole, cost = [0] * m, [0.0] * m
    held, paid = [0.0] * m, [0.0] * m
    heap = [(weights[i][0], i) for i in range(m)]
    heapq.heapify(heap)
    total, bound = 0.0, (1.0 - alpha) * m * c / alpha
    s = 0.0
    while heap:
        s, i = heapq.heappop(heap)
        k = whole[i]
        held[i] += weights[i][k]
        paid[i] += weights[i][k] * far[i][k]
        whole[i] = k = k + 1
        if k >= reach:
            break
        grown = far[i][k] * held[i] - paid[i]
        total += grown - cost[i]
        cost[i] = grown
        if total >= bound:
            break
        heapq.heappush(heap, (s + weights[i][k], i))
    p = np.zeros(n)
    for i in range(m):
        full = inverse[i, : whole[i]] / (m * s)
        np.add.at(p, ids[i, : whole[i]], full)
        if whole[i] < reach:
            p[ids[i, whole[i]]] += 1.0 / m - full.sum()
    return p, np.array(whole)


def published_uniform(
    ids: NDArray[np.int64], d: NDArray[np.float64], n: int, alpha: float, c: float
) -> tuple[NDArray[np.float64], int]:
    """Algorithm 1 (KNN-Uniform) as the paper writes it: K grows by one until the sum passes the bound."""
    m, reach = d.shape
    size, before = 1, d[:, 0].copy()
    while size < reach and alpha / c * (d[:, size] * size - before).sum() < (1.0 - alpha) * m:
        before += d[:, size]
        size += 1
    p = np.zeros(n)
    np.add.at(p, ids[:, :size].ravel(), 1.0 / (size * m))
    return p, size


def assignment(n: int) -> None:
    """Time both algorithms on the same neighbors, for neighborhoods of several sizes."""
    from setwise.finetuning import MatchParameters, Neighborhood
    from setwise.objectives.transport import Transport
    from setwise.solvers import matching

    rows, examples = clustered(n, 128, queries=1_000, seed=3)
    rows[-n // 50 :] = rows[np.arange(n // 50) % 20]  # near-duplicates: 20 rows, many times
    lines = []
    for regularizer in ("kde", "uniform"):
        parameters = MatchParameters(regularizer=regularizer, neighbors=2_000, scale=5.0, kernel_width=0.1)
        hood = Neighborhood.of(rows, examples, parameters)
        near = hood.near
        if regularizer == "kde":
            hood._weigh(hood.reach)
            inverse = 1.0 / hood._densities[near.ids]
        for diversity in (0.05, 0.2, 0.4, 0.6, 0.75, 0.8, 0.85):
            alpha = 1.0 - diversity
            goal = Transport(diversity, regularizer=regularizer)

            def ours(goal: Transport = goal, kde: bool = regularizer == "kde") -> tuple[object, object]:
                sums = matching.Sums(near.distances, even=not kde, workers=2)
                if kde:
                    sums.extend(inverse)
                plan = matching.capped(sums, goal, least_total=float(n), total=None)
                return plan, np.bincount(plan.entries(near.ids), plan.mass, minlength=n)

            ours_seconds, (plan, found) = timed(ours, 5)
            if not plan.complete:
                lines.append([regularizer, diversity, "neighbors ran out", "", "", "", ""])
                continue
            if regularizer == "kde":
                theirs_seconds, (p, whole) = timed(
                    lambda a=alpha: published(near.ids, near.distances, inverse, n, a, 5.0), 3
                )
                size = float(whole.mean())
            else:
                theirs_seconds, (p, whole_size) = timed(
                    lambda a=alpha: published_uniform(near.ids, near.distances, n, a, 5.0), 1
                )
                size = float(whole_size)
            lines.append(
                [
                    regularizer,
                    diversity,
                    f"{size:,.0f}",
                    f"{1e3 * theirs_seconds:,.0f} ms",
                    f"{1e3 * ours_seconds:,.0f} ms",
                    f"{theirs_seconds / ours_seconds:.1f}",
                    f"{np.abs(found - p).max():.1e}",
                ]
            )
    table(
        f"Assignment: published loop / ours; {n:,} rows, M = 1,000, L = 2,000, same neighbors and densities",
        [
            "regularizer",
            "diversity",
            "neighborhood",
            "published",
            "ours",
            "ratio",
            "largest difference of p",
        ],
        lines,
    )


def measured(n: int, d: int, m: int, reach: int, width: float, folder: str) -> list[str]:
    """Match in a process of its own over a memory map; return the row of the table."""
    script = f"""
import resource, sys, time
import numpy as np
from setwise.finetuning import match
X = np.load({str(Path(folder) / "rows.npy")!r}, mmap_mode="r")
Q = np.load({str(Path(folder) / "examples.npy")!r})[:{m}]
began = time.perf_counter()
found = match(X, Q, neighbors={reach}, scale=5.0, kernel_width={width}, diversity=0.4, index="exact")
whole = time.perf_counter() - began
s = found.seconds
print(whole, s["search"], s["density"], s["assignment"], found.neighborhoods.mean(), found.complete,
      found.stats["densities_counted"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    whole, searched, density, assigned = (float(one) for one in out[:4])
    peak = int(out[7]) / 2**20
    file = n * d * 4 / 2**30
    return [
        f"{n:,} × {d}",
        f"{m:,}",
        f"{reach:,}",
        f"{float(out[4]):,.0f}" + ("" if out[5] == "True" else " (ran out)"),
        f"{whole:.1f} s",
        f"{searched:.1f} s",
        f"{density:.1f} s",
        f"{assigned:.2f} s",
        f"{(searched + density) / whole:.1%}",
        f"{int(out[6]):,}",
        f"{peak:.1f} GiB, of which the file {file:.1f}",
        f"{m * reach * 8 / 2**30:.2f} GiB",
    ]


COLUMNS = [
    "repository",
    "examples",
    "neighbors",
    "neighborhood",
    "all",
    "neighbor search",
    "near-duplicate search",
    "assignment",
    "searches' share",
    "densities counted",
    "peak memory",
    "M·L numbers",
]


def prepared(n: int, d: int, m: int, folder: str) -> None:
    """Write clustered rows, 1 % of them copied a little off, and examples."""
    rows, examples = clustered(n, d, queries=m, seed=5)
    rng = np.random.default_rng(0)
    copies = rng.choice(n, n // 100, replace=False)
    rows[copies] = rows[rng.integers(n, size=len(copies) // 10).repeat(10)[: len(copies)]]
    rows[copies] += rng.standard_normal((len(copies), d), dtype=np.float32) * 1e-3
    np.save(Path(folder) / "rows.npy", rows)
    np.save(Path(folder) / "examples.npy", examples)


def whole(n: int) -> None:
    """Show the stages' times over numbers of examples."""
    with tempfile.TemporaryDirectory() as folder:
        prepared(n, 256, 1_000, folder)
        lines = [measured(n, 256, m, 2_000, 0.1, folder) for m in (125, 250, 500, 1_000)]
    table(f"The whole match over a memory map of {n:,} × 256", COLUMNS, lines)


def large(n: int) -> None:
    """Show the peak of memory of many examples with many neighbors."""
    with tempfile.TemporaryDirectory() as folder:
        prepared(n, 64, 10_000, folder)
        lines = [measured(n, 64, 10_000, 5_000, 0.1, folder)]
    table("Many examples with many neighbors", COLUMNS, lines)


def main() -> None:
    """Run the sections asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["assignment", "whole", "large"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.inside:
        run_at(asked.threads, __file__, [*sys.argv[1:], "--inside"])
        return
    heading()
    began = time.perf_counter()
    if asked.only in (None, "assignment"):
        assignment(min(asked.rows, 100_000))
    if asked.only in (None, "whole"):
        whole(asked.rows)
    if asked.only in (None, "large"):
        large(min(asked.rows, 200_000))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\n{time.perf_counter() - began:.0f} s in all; peak {peak:.1f} GiB")


if __name__ == "__main__":
    main()
