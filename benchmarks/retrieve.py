"""setwise.retrieve over a million vectors against the published full scans: speed, value, certificates.

    python benchmarks/retrieve.py                 # everything, at 1 and 2 BLAS threads
    python benchmarks/retrieve.py --threads 2 --n 250000

The full-scan Frank-Wolfe and MMR are written plainly here with torch on the CPU, on the same threads. All
figures of a row come from one process on the same data, ours and the baseline in turn; times are medians
over the queries, in units of one relevance scan (``E @ q``) where a table says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A neighbor bears the name of a standard module: this folder must not be where modules are looked for.
sys.path[:] = [str(HERE.parent), *[entry for entry in sys.path if Path(entry or ".").resolve() != HERE]]

import argparse
import os
import statistics
import warnings
from typing import Any

from benchmarks.reporting import busy_processor, heading, run_at, table, timed

KS = (25, 50, 100)
DIVERSITIES = (0.1, 0.3, 0.5)


def torch_frank_wolfe(rows: Any, query: Any, k: int, t: float, most: int = 200) -> Any:
    """CCBQP Algorithm 1 (λ = 2) as published: two products with all rows a step, until the gap is zero.

    The published code stops at a gap of exactly 0, which single precision need not reach: here 1e-6 of it.
    """
    import torch

    n = len(rows)
    relevance = rows @ query
    x = torch.full((n,), k / n)
    linear = (1 - t) * (k - 1) * relevance
    for _ in range(most):
        gradient = linear + 2 * t * (2 * x - rows @ (rows.T @ x))
        vertex = torch.topk(gradient, k).indices
        moved = -x
        moved[vertex] += 1
        gap = float(gradient @ moved)
        if gap <= 1e-6 * abs(float(gradient @ x)):
            break
        along = rows.T @ moved
        bend = 2 * t * (2 * float(moved @ moved) - float(along @ along))
        length = 1.0 if bend >= 0 else min(1.0, gap / -bend)
        x = x + length * moved
    return torch.topk(x, k).indices.numpy()


def torch_mmr(rows: Any, query: Any, k: int, t: float) -> Any:
    """Maximal marginal relevance over all rows, the running maximum kept up: one pass a step."""
    import torch

    base = (1 - t) * (rows @ query)
    chosen = [int(base.argmax())]
    nearest = rows @ rows[chosen[0]]
    base[chosen[0]] = -torch.inf
    while len(chosen) < k:
        place = int((base - t * nearest).argmax())
        chosen.append(place)
        base[place] = -torch.inf
        torch.maximum(nearest, rows @ rows[place], out=nearest)
    return chosen


def array(rows: Any, queries: Any) -> None:
    """The array index against full scans."""
    import torch
    from benchmarks import published

    import setwise

    tensor = torch.from_numpy(rows)
    index = setwise.Index.from_array(rows)
    index.sample()
    lines, losses = [], 0
    for k in KS:
        for t in DIVERSITIES:
            cells: dict[str, list[float]] = {}
            for place, query in enumerate(queries):
                scan, relevance = timed(lambda q=query: rows @ q, 7)
                quick, plain = timed(
                    lambda q=query: setwise.retrieve(q, index, k, diversity=t, sharpness=1, certify=False)
                )
                slow, proven = timed(lambda q=query: setwise.retrieve(q, index, k, diversity=t, sharpness=1))
                sharp, _ = timed(lambda q=query: setwise.retrieve(q, index, k, diversity=t), 1)
                wolfe, theirs = timed(lambda q=query: torch_frank_wolfe(tensor, torch.from_numpy(q), k, t), 1)
                baseline = published.value(rows, relevance, theirs, t)
                ours = published.value(rows, relevance, plain.ids, t)
                losses += ours < baseline - 1e-7
                figures = {
                    "ms": quick * 1e3,
                    "scan": scan * 1e3,
                    "quick": quick / scan,
                    "slow": slow / scan,
                    "sharp": sharp / scan,
                    "wolfe": wolfe / quick,
                    "over": ours - baseline,
                    "over_proven": published.value(rows, relevance, proven.ids, t) - baseline,
                    "gap": 100 * proven.certificate.gap,
                    "sufficient": proven.certificate.pool_sufficient,
                }
                if k == max(KS) and place == 0:
                    figures["mmr"] = (
                        timed(lambda q=query: torch_mmr(tensor, torch.from_numpy(q), k, t), 1)[0] / quick
                    )
                for key, number in figures.items():
                    cells.setdefault(key, []).append(float(number))
            middle = {key: statistics.median(numbers) for key, numbers in cells.items()}
            lines.append(
                [
                    k,
                    t,
                    f"{middle['quick']:.2f}",
                    f"{middle['slow']:.2f}",
                    f"{middle['sharp']:.2f}",
                    f"{middle['wolfe']:.1f}",
                    f"{middle['mmr']:.0f}" if "mmr" in middle else "",
                    f"{min(cells['over']):+.1e}",
                    f"{min(cells['over_proven']):+.1e}",
                    f"{middle['gap']:.3f}",
                    f"{sum(cells['sufficient']):.0f}/{len(queries)}",
                ]
            )
    table(
        f"array index, {len(rows):,} × {rows.shape[1]}: times in scans (one scan: {middle['scan']:.0f} ms)",
        [
            "k",
            "diversity",
            "sharpness 1",
            "sharpness 1, certified",
            "sharpness 8, certified",
            "full-scan FW takes × ours",
            "full-scan MMR takes × ours",
            "value - FW (least)",
            "certified value - FW (least)",
            "gap % (median)",
            "pool sufficient",
        ],
        lines,
    )
    print(f"\ninstances where the uncertified value is below the published Frank-Wolfe's: {losses}")


def approximate(rows: Any, queries: Any, lists: int, probes: tuple[int, ...]) -> None:
    """FAISS IVF over the same rows: latency in scans, value relative to the exact index's."""
    import faiss
    import numpy as np

    import setwise

    exact = setwise.Index.from_array(rows)
    built, ivf = timed(lambda: faiss.index_factory(rows.shape[1], f"IVF{lists},Flat", 0), 1)
    seconds = timed(lambda: ivf.train(np.ascontiguousarray(rows[:: max(1, len(rows) // (100 * lists))])), 1)[
        0
    ]
    seconds += timed(lambda: ivf.add(rows), 1)[0] + built
    lines = []
    best: dict[Any, float] = {}
    for nprobe in probes:
        ivf.nprobe = nprobe
        index = setwise.Index.from_faiss(ivf)
        index.sample()
        for k in KS:
            for t in DIVERSITIES:
                times, ratios, scans = [], [], []
                for place, query in enumerate(queries):
                    key = (k, t, place)
                    if key not in best:
                        best[key] = setwise.retrieve(query, exact, k, diversity=t, sharpness=1).value
                    scans.append(timed(lambda q=query: rows @ q, 5)[0])
                    cost, hits = timed(
                        lambda q=query: setwise.retrieve(
                            q, index, k, diversity=t, sharpness=1, certify=False
                        ),
                        5,
                    )
                    times.append(cost)
                    ratios.append(hits.value / best[key])
                scan = statistics.median(scans)
                lines.append(
                    [
                        nprobe,
                        k,
                        t,
                        f"{statistics.median(times) / scan:.2f}",
                        f"{statistics.median(times) * 1e3:.0f}",
                        f"{100 * statistics.median(ratios):.2f}",
                        f"{100 * min(ratios):.2f}",
                    ]
                )
    table(
        f"FAISS IVF{lists},Flat over the same rows (built in {seconds:.0f} s), sharpness 1, uncertified",
        ["nprobe", "k", "diversity", "scans", "ms", "value, % of the exact index's (median)", "(least)"],
        lines,
    )


def growth(rows: Any, queries: Any) -> None:
    """Time against k and against n."""
    import setwise

    lines = []
    for n in [len(rows) // part for part in (8, 4, 2, 1)]:
        index = setwise.Index.from_array(rows[:n])
        index.sample()
        cells = []
        for k in (25, 50, 100, 200):
            times = [
                timed(
                    lambda q=query, k=k: setwise.retrieve(
                        q, index, k, diversity=0.3, sharpness=1, certify=False
                    ),
                    5,
                )[0]
                for query in queries
            ]
            cells.append(1e3 * statistics.median(times))
        scan = statistics.median(timed(lambda q=query: rows[:n] @ q, 5)[0] for query in queries) * 1e3
        lines.append(
            [f"{n:,}", f"{scan:.1f}", *[f"{cell:.1f}" for cell in cells], f"{cells[2] / cells[1]:.2f}"]
        )
    table(
        "time in ms against n and k (array index, sharpness 1, diversity 0.3, uncertified)",
        ["n", "one scan", "k = 25", "k = 50", "k = 100", "k = 200", "k = 100 / k = 50"],
        lines,
    )


def together(rows: Any, queries: Any) -> None:
    """Many queries at once, and the same calls with another process busy."""
    import numpy as np

    import setwise

    index = setwise.Index.from_array(rows)
    index.sample()
    many = np.concatenate([queries] * 8)[:16]
    lines = []
    for sharpness in (8, 1):
        options = {"diversity": 0.3, "sharpness": sharpness, "certify": False}
        alone = timed(lambda: [setwise.retrieve(q, index, 10, **options) for q in many], 1)[0]
        batch = timed(lambda: setwise.retrieve(many, index, 10, **options), 3)[0]
        lines.append(
            [
                sharpness,
                f"{1e3 * alone / len(many):.1f}",
                f"{1e3 * batch / len(many):.1f}",
                f"{alone / batch:.1f}",
            ]
        )
    table(
        f"{len(many)} queries, k = 10: ms a query",
        ["sharpness", "one by one", "together", "times faster"],
        lines,
    )

    def measure() -> list[float]:
        call = {"diversity": 0.3, "certify": False}
        return [
            1e3 * timed(lambda: setwise.retrieve(queries[0], index, 100, sharpness=1, **call), 7)[0],
            1e3 * timed(lambda: setwise.retrieve(queries[0], index, 100, **call), 7)[0],
            1e3 * timed(lambda: rows @ queries[0], 15)[0],
        ]

    quiet = measure()
    with busy_processor():
        loaded = measure()
    names = ["sharpness 1, k = 100", "sharpness 8, k = 100", "one scan E @ q"]
    table(
        "with another process busy on one of the processors",
        ["call", "quiet ms", "busy ms", "ratio"],
        [[n, f"{a:.1f}", f"{b:.1f}", f"{b / a:.2f}"] for n, a, b in zip(names, quiet, loaded, strict=True)],
    )


def halves(rows: Any, queries: Any) -> None:
    """The same rows in half precision, in memory and in a mapped file, beside single precision."""
    import tempfile

    import numpy as np

    import setwise

    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/rows.npy", rows.astype(np.float16))
        held = {
            "float32, array": rows,
            "float16, array": rows.astype(np.float16),
            "float16, mapped file": np.load(f"{folder}/rows.npy", mmap_mode="r"),
        }
        indexes = {name: setwise.Index.from_array(each) for name, each in held.items()}
        calls = {
            "the 10 nearest": lambda index, q: index.search(q[None], 10),
            "the 1,000 nearest": lambda index, q: index.search(q[None], 1000),
            "retrieve, k = 10": lambda index, q: setwise.retrieve(q, index, 10),
        }
        lines = []
        for call, run in calls.items():
            taken: dict[str, list[float]] = {name: [] for name in indexes}
            for query in queries:
                for _ in range(15):  # in turn
                    for name, index in indexes.items():
                        taken[name].append(timed(lambda i=index, q=query, run=run: run(i, q), 1)[0])
            single, *others = [1e3 * statistics.median(times) for times in taken.values()]
            lines.append([call, f"{single:.1f}", *[f"{other:.1f}, {other / single:.2f}" for other in others]])
    table(
        f"rows in half precision (kernels: {setwise.kernels.instructions()}): ms, and times float32's",
        ["call", *held],
        lines,
    )


def on_device(rows: Any, queries: Any) -> None:
    """The same on a GPU, where there is one."""
    import torch

    import setwise

    if not torch.cuda.is_available():
        print("\nno GPU here: the table for tensors on a device is left out")
        return
    index = setwise.Index.from_torch(torch.from_numpy(rows).to("cuda"))
    array_index = setwise.Index.from_array(rows)
    for one in (index, array_index):
        one.sample()
    lines = []
    for k in KS:
        for t in DIVERSITIES:
            options = {"diversity": t, "sharpness": 1, "certify": False}
            there = timed(lambda: setwise.retrieve(queries[0], index, k, **options), 5)
            here = timed(lambda: setwise.retrieve(queries[0], array_index, k, **options), 3)
            same = there[1].ids.tolist() == here[1].ids.tolist()
            lines.append([k, t, f"{1e3 * there[0]:.1f}", f"{1e3 * here[0]:.1f}", same])
    table(
        f"tensor on {torch.cuda.get_device_name()}: ms",
        ["k", "diversity", "GPU", "CPU", "same set"],
        lines,
    )


def main() -> None:
    """Run the tables for each number of threads in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2], help="BLAS threads, one run each")
    parser.add_argument("--n", type=int, default=1_000_000, help="vectors")
    parser.add_argument("--queries", type=int, default=3)
    parser.add_argument("--only", choices=["array", "faiss", "growth", "together", "halves", "device"])
    parser.add_argument("--tables", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.tables:
        for threads in arguments.threads:
            command = ["--tables", "--n", str(arguments.n), "--queries", str(arguments.queries)]
            run_at(threads, __file__, command + (["--only", arguments.only] if arguments.only else []))
        return
    import torch
    from benchmarks import data

    warnings.simplefilter("ignore")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    heading()
    rows, queries = data.clustered(arguments.n, queries=arguments.queries)
    lists = max(16, int(arguments.n**0.5) // 16 * 16)
    for name, show in (
        ("array", lambda: array(rows, queries)),
        ("faiss", lambda: approximate(rows, queries, lists, (16, 32))),
        ("growth", lambda: growth(rows, queries)),
        ("together", lambda: together(rows, queries)),
        ("halves", lambda: halves(rows, queries)),
        ("device", lambda: on_device(rows, queries)),
    ):
        if arguments.only in (None, name):
            show()


if __name__ == "__main__":
    main()
