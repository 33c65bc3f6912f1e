"""setwise.select against the published algorithms and pyversity: speed, value, certificates, memory.

    python benchmarks/select.py                 # everything, at 1 and 2 BLAS threads
    python benchmarks/select.py --threads 2 --quick

All figures of a row come from one process on the same data, ours and the baseline in turn; times are
medians, in units of one relevance scan (``E @ q``) where a table says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# This file bears the name of a standard module: its folder must not be where modules are looked for.
sys.path[:] = [str(HERE.parent), *[entry for entry in sys.path if Path(entry or ".").resolve() != HERE]]

import argparse
import json
import os
import resource
import statistics
import subprocess
import warnings
from typing import Any

from benchmarks.reporting import busy_processor, heading, run_at, table, timed

KS = (10, 25, 100)
DIVERSITIES = (0.1, 0.3, 0.5, 0.7)


def max_sum(name: str, rows: Any, queries: Any, ks: tuple[int, ...], results: dict[str, Any]) -> None:
    """Time, value and certificate of the default solver against the published full scans."""
    from benchmarks import published

    import setwise

    lines, losses, records = [], 0, []
    for k in ks:
        for t in DIVERSITIES:
            cells: dict[str, list[float]] = {}
            for query in queries:
                relevance = rows @ query
                scan, _ = timed(lambda query=query: rows @ query, 7)
                quick, plain = timed(
                    lambda query=query: setwise.select(rows, k, query=query, diversity=t, certify=False)
                )
                slow, proven = timed(lambda query=query: setwise.select(rows, k, query=query, diversity=t))
                wolfe, theirs = timed(lambda r=relevance: published.frank_wolfe(rows, r, k, t), 1)
                step, picked = timed(lambda r=relevance: published.greedy(rows, r, k, t), 1)
                baseline = published.value(rows, relevance, theirs, t)
                simple = published.value(rows, relevance, picked, t)
                ours = published.value(rows, relevance, plain.indices, t)
                certificate = proven.certificate
                losses += ours < max(baseline, simple) - 1e-7
                losses += proven.value < max(baseline, simple) - 1e-7
                for key, number in (
                    ("auto", quick / scan),
                    ("certified", slow / scan),
                    ("wolfe", wolfe / scan),
                    ("greedy", step / scan),
                    ("gap", 100 * certificate.gap),
                    ("optimal", certificate.optimal),
                    ("sufficient", certificate.pool_sufficient),
                    ("over_wolfe", ours - baseline),
                    ("over_greedy", ours - simple),
                    ("scan_ms", scan * 1e3),
                ):
                    cells.setdefault(key, []).append(float(number))
            middle = {key: statistics.median(numbers) for key, numbers in cells.items()}
            records.append({"k": k, "diversity": t, **middle, "worst_gap": max(cells["gap"])})
            lines.append(
                [
                    k,
                    t,
                    f"{middle['auto']:.1f}",
                    f"{middle['certified']:.1f}",
                    f"{middle['wolfe']:.1f}",
                    f"{middle['greedy']:.0f}",
                    f"{min(cells['over_wolfe']):+.1e}",
                    f"{min(cells['over_greedy']):+.1e}",
                    f"{middle['gap']:.3f}",
                    f"{max(cells['gap']):.3f}",
                    f"{sum(cells['optimal']):.0f}/{len(queries)}",
                    f"{sum(cells['sufficient']):.0f}/{len(queries)}",
                ]
            )
    table(
        f"max-sum on {name}: times in scans (one scan: {records[0]['scan_ms']:.1f} ms)",
        [
            "k",
            "diversity",
            "auto",
            "auto, certified",
            "published FW",
            "greedy, full scan",
            "value - FW (least)",
            "value - greedy (least)",
            "gap % (median)",
            "gap % (worst)",
            "proven optimal",
            "pool sufficient",
        ],
        lines,
    )
    print(f"\ninstances where auto is below the published Frank-Wolfe or greedy: {losses}")
    results[f"max-sum {name}"] = {"rows": records, "losses": losses}


def full_proof(name: str, rows: Any, queries: Any, results: dict[str, Any]) -> None:
    """How far certify="full" gets, and what it costs."""
    import setwise

    lines = []
    for k, t in ((5, 0.1), (5, 0.3), (10, 0.1), (10, 0.3), (10, 0.5), (25, 0.3), (100, 0.3)):
        seconds, gaps, optimal = [], [], 0
        for query in queries:
            cost, found = timed(
                lambda query=query: setwise.select(rows, k, query=query, diversity=t, certify="full"), 1
            )
            seconds.append(cost)
            gaps.append(100 * found.certificate.gap)
            optimal += found.certificate.optimal
        lines.append(
            [
                k,
                t,
                f"{statistics.median(seconds):.2f}",
                f"{statistics.median(gaps):.4f}",
                f"{max(gaps):.4f}",
                f"{optimal}/{len(queries)}",
            ]
        )
    table(
        f'certify="full" on {name}',
        ["k", "diversity", "seconds (median)", "gap % (median)", "gap % (worst)", "proven optimal"],
        lines,
    )
    results[f"full {name}"] = lines


def lazy(name: str, rows: Any, queries: Any, results: dict[str, Any]) -> None:
    """Lazy greedy against the full scan for mmr, log-det and max-sum: same picks, time ratio."""
    import numpy as np
    from benchmarks import published

    import setwise

    lines = []
    for objective, baseline in (
        ("mmr", published.mmr),
        ("log-det", published.dpp),
        ("max-sum", published.greedy),
    ):
        for k in (10, 100):
            for t in DIVERSITIES:
                ratios, same = [], 0
                for query in queries:
                    relevance = rows @ query
                    theirs, full = timed(
                        lambda r=relevance: r * 0 + (rows @ query), 1
                    )  # the scan counts for both
                    cost, full = timed(lambda r=relevance: baseline(rows, r, k, t), 1)
                    ours, found = timed(
                        lambda query=query: setwise.select(
                            rows,
                            k,
                            query=query,
                            diversity=t,
                            objective=objective,
                            solver="greedy",
                            certify=False,
                        )
                    )
                    ratios.append((cost + theirs) / ours)
                    same += bool(np.array_equal(found.indices, full))
                lines.append(
                    [
                        objective,
                        k,
                        t,
                        f"{statistics.median(ratios):.1f}",
                        f"{min(ratios):.1f}",
                        f"{same}/{len(queries)}",
                    ]
                )
    table(
        f"lazy greedy on {name}: how many times faster than the full scan (single-precision baseline)",
        ["objective", "k", "diversity", "times faster (median)", "(least)", "same picks in order"],
        lines,
    )
    results[f"lazy {name}"] = lines


def small_pools(rows: Any, results: dict[str, Any]) -> None:
    """One small pool at a time, and a thousand of them, against pyversity."""
    import numpy as np
    from pyversity import diversify

    import setwise

    rng = np.random.default_rng(0)
    lines = []
    for n, d in ((200, 768), (1000, 384)):
        pool = rows[:n] if d == rows.shape[1] else np.hstack([rows[:n], rows[n : 2 * n]])[:, :d]
        pool = np.ascontiguousarray(pool / np.linalg.norm(pool, axis=1, keepdims=True))
        relevance = pool @ pool[int(rng.integers(n))]
        for strategy, objective, solver in (
            ("mmr", "mmr", "auto"),
            ("dpp", "log-det", "auto"),
            ("msd", "max-sum", "greedy"),
            ("msd", "max-sum", "auto"),
        ):

            def theirs() -> Any:
                return diversify(pool, relevance, 10, strategy=strategy, diversity=0.3)

            def ours(certify: bool = False) -> Any:
                return setwise.select(
                    pool,
                    10,
                    relevance=relevance,
                    objective=objective,
                    solver=solver,
                    diversity=0.3,
                    certify=certify,
                )

            pairs = [
                (timed(theirs, 5)[0], timed(ours, 5)[0], timed(lambda: ours(True), 5)[0]) for _ in range(41)
            ]
            a, b, c = (statistics.median(column) for column in zip(*pairs, strict=True))
            lines.append(
                [
                    f"{n} × {d}",
                    strategy,
                    f"{objective}, {solver}",
                    f"{a * 1e6:.0f}",
                    f"{b * 1e6:.0f}",
                    f"{a / b:.2f}",
                    f"{c / b:.1f}",
                ]
            )
    table(
        "one small pool, k = 10, µs a call",
        ["pool", "pyversity", "setwise", "pyversity µs", "setwise µs", "times faster", "certified / not"],
        lines,
    )
    results["small"] = lines
    pools = np.ascontiguousarray(rows[:200_000]).reshape(-1, 200, rows.shape[1])[:1000]
    anchors = pools[np.arange(len(pools)), rng.integers(200, size=len(pools))]
    relevance = np.einsum("mnd,md->mn", pools, anchors)
    lines = []
    for strategy, objective, solver in (
        ("mmr", "mmr", "auto"),
        ("dpp", "log-det", "auto"),
        ("msd", "max-sum", "greedy"),
        ("msd", "max-sum", "auto"),
    ):

        def loop() -> Any:
            return [
                diversify(pool, scores, 10, strategy=strategy, diversity=0.3)
                for pool, scores in zip(pools, relevance, strict=True)
            ]

        def many() -> Any:
            return setwise.select_many(
                pools,
                10,
                relevance=relevance,
                objective=objective,
                solver=solver,
                diversity=0.3,
                certify=False,
            )

        many()
        pairs = [(timed(loop, 1)[0], timed(many, 1)[0]) for _ in range(5)]
        a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
        lines.append([strategy, f"{objective}, {solver}", f"{a * 1e3:.0f}", f"{b * 1e3:.0f}", f"{a / b:.1f}"])
    table(
        f"select_many: {len(pools)} pools of 200 × {rows.shape[1]}, k = 10, against pyversity in a loop",
        ["pyversity", "setwise", "pyversity ms", "setwise ms", "times faster"],
        lines,
    )
    results["many"] = lines


def busy(rows: Any, query: Any, results: dict[str, Any]) -> None:
    """The same calls while another process keeps one processor busy."""
    import setwise

    def measure() -> list[float]:
        pool = rows[:1000].copy()
        relevance = pool @ query
        return [
            timed(lambda: setwise.select(rows, 100, query=query, diversity=0.3, certify=False), 7)[0] * 1e3,
            timed(lambda: setwise.select(rows, 100, query=query, diversity=0.3, objective="mmr"), 7)[0] * 1e3,
            timed(lambda: setwise.select(pool, 10, relevance=relevance, objective="mmr"), 101)[0] * 1e3,
            timed(lambda: rows @ query, 15)[0] * 1e3,
        ]

    quiet = measure()
    with busy_processor():
        loaded = measure()
    names = ["auto, k = 100, all rows", "mmr, k = 100, all rows", "mmr, k = 10, 1,000 rows", "one scan E @ q"]
    lines = [
        [label, f"{a:.2f}", f"{b:.2f}", f"{b / a:.2f}"]
        for label, a, b in zip(names, quiet, loaded, strict=True)
    ]
    table(
        "with another process busy on one of the processors", ["call", "quiet ms", "busy ms", "ratio"], lines
    )
    results["busy"] = lines


def memory() -> None:
    """Print the peak memory of selecting from a million rows, beyond the rows themselves (own process)."""
    import numpy as np

    n, d = 1_000_000, 384
    rng = np.random.default_rng(0)
    rows = np.empty((n, d), np.float32)
    for start in range(0, n, 50_000):
        rng.standard_normal(out=rows[start : start + 50_000], dtype=np.float32)
    query = rows[0].copy()
    import setwise

    setwise.select(rows[:5000], 10, query=query)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {}
    for label, options in (
        ("max-sum, auto, certified", {}),
        ("mmr", {"objective": "mmr"}),
        ("log-det", {"objective": "log-det"}),
        ("max-sum, sharpness 8", {"sharpness": 8}),
    ):
        seconds, _ = timed(
            lambda options=options: setwise.select(rows, 100, query=query, diversity=0.3, **options), 1
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        figures[label] = [rows.nbytes >> 20, (peak - before) >> 10, round(seconds, 2)]
    print(json.dumps(figures))


def main() -> None:
    """Run the tables for each number of threads in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2], help="BLAS threads, one run each")
    parser.add_argument("--quick", action="store_true", help="fewer queries, k = 10 and 100 alone")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    parser.add_argument("--part", choices=["tables", "memory"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part == "memory":
        memory()
        return
    if arguments.part is None:
        for threads in arguments.threads:
            command = ["--part", "tables"]
            command += ["--quick"] * arguments.quick
            if arguments.out:
                command += ["--out", str(arguments.out.with_suffix(f".{threads}{arguments.out.suffix}"))]
            run_at(threads, __file__, command)
        return
    tables(arguments.quick, arguments.out)


def tables(quick: bool, out: Path | None) -> None:
    """Run and print every table at the present number of threads."""
    from benchmarks import data

    warnings.simplefilter("ignore")
    heading()
    results: dict[str, Any] = {"threads": os.environ.get("OMP_NUM_THREADS", "all")}
    rows, queries = data.clustered(queries=3)
    ks = (10, 100) if quick else KS
    small_pools(rows, results)
    max_sum("clustered 200,000 × 384", rows, queries, ks, results)
    full_proof("clustered 200,000 × 384", rows, queries[:3], results)
    lazy("clustered 200,000 × 384", rows, queries[:2], results)
    busy(rows, queries[0], results)
    name, real, asked = data.text(queries=3)
    max_sum(name, real, asked, ks, results)
    lazy(name, real, asked[:2], results)
    command = [sys.executable, str(Path(__file__).resolve()), "--part", "memory"]
    figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    table(
        "peak memory beyond the rows: 1,000,000 × 384, k = 100, diversity 0.3",
        ["call", "rows MiB", "beyond MiB", "seconds"],
        [[label, *numbers] for label, numbers in figures.items()],
    )
    results["memory"] = figures
    if out is not None:
        out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
