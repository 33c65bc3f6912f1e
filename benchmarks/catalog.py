"""k = 500 of up to two million items: MUSS, DGDS and Frank-Wolfe against the published MMR.

    python benchmarks/catalog.py                       # 2,000,000 × 256 and 100,000 × 1024, 2 BLAS threads
    python benchmarks/catalog.py --n 250000 --dim 256
    python benchmarks/catalog.py --only labeled       # catalogs with labels
    python benchmarks/catalog.py --only ray            # over shards, in processes and on Ray
    python benchmarks/catalog.py --only disk           # 2,000,000 × 1024 float16 in a file of 4.1 GB

The published MMR is greedy selection with one pass over all items a pick (MUSS Algorithm 1, the sum of
distances kept up), single precision, on the same threads and data in the same process. Clusters are built
once and are not counted; every figure is of one call with new qualities.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A neighbor bears the name of a standard module: this folder must not be where modules are looked for.
sys.path[:] = [str(HERE.parent), *[entry for entry in sys.path if Path(entry or ".").resolve() != HERE]]

import argparse
import statistics
import warnings
from typing import Any

import numpy as np
from benchmarks.reporting import heading, run_at, table, timed

K = 500
DIVERSITIES = (0.1, 0.5)
METHODS: list[tuple[str, dict[str, Any]]] = [
    ("frank-wolfe+swap", {}),
    ("muss", {}),
    ("dgds", {}),
    ("muss-random-clusters", {}),
    ("muss-random-partition", {}),
    ("greedy", {}),
    ("top-k", {}),
    ("random", {}),
]


def qualities(labels: Any, seed: int = 0) -> Any:
    """Return skewed qualities in [0, 1] that differ by cluster and by item, as predicted click rates do."""
    rng = np.random.default_rng(seed)
    base = rng.beta(2, 6, int(labels.max()) + 1)[labels]
    return np.clip(base + 0.15 * rng.standard_normal(len(labels)), 0.0, 1.0)


def methods(n: int, d: int, clusters: int) -> None:
    """Every method's value and time at both diversities."""
    from benchmarks import data, published

    import setwise

    rows, _ = data.clustered(n, d, queries=1)
    seconds, catalog = timed(lambda: setwise.Catalog.build(rows, np.ones(n), clusters=clusters), 1)
    catalog.set_quality(qualities(catalog.clusters.labels))
    relevance = catalog.quality.astype(np.float32)
    lines = []
    for t in DIVERSITIES:
        mmr, chosen = timed(lambda t=t: published.greedy(rows, relevance, K, t), 1)
        theirs = published.value(rows, relevance, chosen, t)
        lines.append([t, "published MMR (k passes)", f"{theirs:.5f}", "1", f"{mmr:.2f}", "1", ""])
        for name, options in METHODS:
            given = {"clusters": clusters // 2} if name.startswith("muss") else {}
            cost, found = timed(
                lambda t=t, name=name, given=given, options=options: catalog.select(
                    K, diversity=t, method=name, **given, **options
                ),
                3,
            )
            stages = ", ".join(
                f"{stage[8:]} {taken:.2f}"
                for stage, taken in found.stats.items()
                if stage.startswith("seconds_")
            )
            lines.append(
                [
                    t,
                    name,
                    f"{found.value:.5f}",
                    f"{found.value / theirs:.4f}",
                    f"{cost:.2f}",
                    f"{mmr / cost:.0f}",
                    stages,
                ]
            )
    table(
        f"{n:,} × {d}, k = {K}, {clusters} clusters (built in {seconds:.0f} s), half of them kept, k' = 50",
        ["diversity", "method", "objective", "of MMR's", "seconds", "times faster than MMR", "stages, s"],
        lines,
    )


def growth(n: int, d: int) -> None:
    """Query time at a fixed number of items a cluster."""
    from benchmarks import data

    import setwise

    rows, _ = data.clustered(n, d, queries=1)
    lines = []
    for size in [n // part for part in (16, 8, 4, 2, 1)]:
        clusters = max(8, size // 10_000)
        catalog = setwise.Catalog.build(rows[:size], np.ones(size), clusters=clusters)
        catalog.set_quality(qualities(catalog.clusters.labels))
        cells = []
        for name in ("muss", "frank-wolfe+swap"):
            given = {"clusters": min(clusters, 8)} if name == "muss" else {}
            cost = statistics.median(
                timed(
                    lambda name=name, given=given, catalog=catalog: catalog.select(K, method=name, **given), 3
                )[0]
                for _ in range(1)
            )
            cells.append(f"{cost * 1e3:.0f}")
        lines.append([f"{size:,}", clusters, *cells])
    table(
        f"time of a query in ms at 10,000 items a cluster, 8 clusters kept, {d} dimensions, diversity 0.1",
        ["n", "clusters", "muss", "frank-wolfe+swap"],
        lines,
    )


def labeled(folder: Path, seeds: int = 5) -> None:
    """Every method on catalogs with labels, over seeds; and what m, l, k' and the rest change."""
    from benchmarks import labeled as sets

    import setwise

    try:
        vectors, quality, labels = sets.games(folder)
        loaded = [("games: items of a shop, label = bought next by another user", vectors, quality, labels)]
        loaded.append(("books: titles and authors, rating", *sets.books(folder), None))
    except FileNotFoundError as missing:
        print(f"\nthe labeled catalogs are left out: {missing.args[0].name} is not here")
        return
    every = [name for name, _ in METHODS] + ["clustering"]
    for title, vectors, quality, labels in loaded:
        catalogs = [setwise.Catalog.build(vectors, quality, clusters=100, seed=seed) for seed in range(seeds)]
        lines = []
        for t in DIVERSITIES:
            for name in every:
                given = {"clusters": 50} if name.startswith("muss") else {}
                lines.append([t, name, *_figures(catalogs, labels, t, method=name, **given)])
        columns = ["precision@500 %", "objective", "quality", "diversity", "ms"]
        table(
            f"{title}; {len(vectors):,} items, k = {K}, 100 clusters, 50 kept, {seeds} seeds "
            "(± standard error)",
            ["diversity", "method", *columns],
            lines,
        )
        lines = []
        for change in (
            {"clusters": 10},
            {"clusters": 25},
            {"clusters": 50},
            {"clusters": 100},
            {"per_cluster": 10, "clusters": 50},
            {"per_cluster": 25, "clusters": 50},
            {"cluster_diversity": 0.1, "clusters": 50},
            {"cluster_diversity": 0.9, "clusters": 50},
            {"top_up": False, "clusters": 50},
            {"final_quality_scale": 0.5, "clusters": 50},
            {"criterion": "min", "clusters": 50},
        ):
            what = ", ".join(f"{key} {value}" for key, value in change.items())
            lines.append([what, *_figures(catalogs, labels, 0.5, method="muss", **change)])
        for count in (25, 400):
            others = [
                setwise.Catalog.build(vectors, quality, clusters=count, seed=seed) for seed in range(seeds)
            ]
            found = _figures(others, labels, 0.5, method="muss", clusters=count // 2)
            lines.append([f"{count} clusters built, half kept", *found])
        table(f"{title.partition(':')[0]}: muss at diversity 0.5 with", ["", *columns], lines)


def _figures(catalogs: list[Any], labels: Any, t: float, **options: Any) -> list[str]:
    """Return precision, objective, quality, diversity and time over seeds as text."""
    cells: list[list[float]] = [[] for _ in range(5)]
    for seed, catalog in enumerate(catalogs):
        cost, found = timed(
            lambda catalog=catalog, seed=seed: catalog.select(K, diversity=t, seed=seed, **options), 1
        )
        hits = float("nan") if labels is None else 100 * float(labels[found.indices].mean())
        values = (hits, found.value, found.relevance, found.diversity, cost * 1e3)
        for cell, value in zip(cells, values, strict=True):
            cell.append(value)
    shown = []
    for cell, digits in zip(cells, (1, 4, 4, 4, 0), strict=True):
        mean = statistics.fmean(cell)
        if mean != mean:  # no labels
            shown.append("")
            continue
        error = statistics.stdev(cell) / len(cell) ** 0.5 if len(cell) > 1 else 0.0
        shown.append(f"{mean:.{digits}f} ± {error:.{digits}f}")
    return shown


def main() -> None:
    """Run the tables in a process with the asked number of threads."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--n", type=int, help="items, instead of the sizes of the tables")
    parser.add_argument("--dim", type=int, help="dimensions; 256, 128 with --only ray, 1024 with --only disk")
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--only", choices=("labeled", "ray", "disk"), help="one part alone")
    parser.add_argument(
        "--steps", type=int, default=10, help="picks of the published MMR, with --only disk (500: all)"
    )
    parser.add_argument("--scratch", type=Path, help="where the file of --only disk goes meanwhile")
    parser.add_argument("--tables", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.tables:
        run_at(arguments.threads, __file__, ["--tables", *sys.argv[1:]])
        return
    warnings.simplefilter("ignore")
    heading()
    n, d = arguments.n, arguments.dim
    if arguments.only == "labeled":
        labeled(arguments.data)
    elif arguments.only == "ray":
        from benchmarks.catalog_shards import elsewhere

        elsewhere([n] if n else [125_000, 250_000, 500_000], d or 128, K, qualities)
    elif arguments.only == "disk":
        from benchmarks.catalog_disk import on_disk

        n = n or 2_000_000
        steps = max(2, min(K, arguments.steps))
        on_disk(n, d or 1024, K, max(16, n // 10_000), steps, qualities, arguments.scratch)
    elif n:
        methods(n, d or 256, max(16, n // 10_000))
    else:
        methods(100_000, 1024, 200)
        methods(2_000_000, d or 256, 200)
        growth(2_000_000, d or 256)
        labeled(arguments.data)


if __name__ == "__main__":
    main()
