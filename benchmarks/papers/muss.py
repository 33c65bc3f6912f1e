"""MUSS's tables and figures, both versions, on a games shop with later purchases, and on questions.

    python -m benchmarks.papers.muss                     # every part, a few minutes each
    python -m benchmarks.papers.muss --part tables       # Tables 2 and 6: k-DPP, MMR, DGDS, ablations
    python -m benchmarks.papers.muss --part reading      # Table 3, with the packaged model as reader
    python -m benchmarks.papers.muss --part sizes choices  # Tables 4, 7 and 8
    python -m benchmarks.papers.muss --part maps         # quality, spread and objective over λ and λ_c; t-SNE
    python -m benchmarks.papers.muss --part time         # against n, k' and threads
    python -m benchmarks.papers.muss --part categories rises users
    python -m benchmarks.papers.muss --tiny

λ of the paper is 1 - diversity, λ_c is 1 - cluster_diversity.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
from benchmarks import data, published
from benchmarks.papers import record
from benchmarks.papers.muss_data import games, measured
from benchmarks.papers.muss_reading import reading
from benchmarks.papers.muss_tables import LAMBDAS, categories, choices, held_out, rises, sizes, tables
from benchmarks.papers.record import Record, Row
from numpy.typing import NDArray

import setwise


def maps(keep: Record) -> None:
    """Quality, spread and objective over λ and λ_c, and the chosen items among the others by t-SNE."""
    found = games(keep)
    k, clusters = (20, 12) if keep.options.tiny else (500, 100)
    catalog = setwise.Catalog.build(found.vectors, found.quality, clusters=clusters)
    values = np.array(
        [
            [
                measured(
                    [catalog],
                    None,
                    k,
                    lam,
                    {"method": "muss", "clusters": clusters // 2, "cluster_diversity": 1 - one},
                )[0, 1:4]
                for one in LAMBDAS
            ]
            for lam in LAMBDAS
        ]
    )
    names = ("F", "Q", "D")
    lines: list[Row] = []
    for place, lam in enumerate(LAMBDAS):
        line: Row = {"λ": lam}
        for measure, name in enumerate(names):
            for column in (0, 2, 4):
                line[f"{name}, λ_c {LAMBDAS[column]}"] = float(values[place, column, measure])
        lines.append(line)
    keep.table(
        "MUSS, Figures 4 to 7: objective, quality and diversity over λ and λ_c",
        lines,
        f"The games shop, {len(found.vectors):,} items, k = {k}, {clusters} clusters, half of them kept; "
        "the picture has "
        "every λ_c.",
        digits=4,
    )
    moves = np.ptp(values[:, :, 0], axis=1)
    keep.claim(
        "For a fixed λ the objective is nearly the same at every λ_c.",
        bool(moves.max() <= 0.01),
        f"It moves by {moves.max():.4f} at most (at λ = {LAMBDAS[int(moves.argmax())]}).",
    )
    if not keep.options.tiny:
        _draw_maps(keep, values, names)
        _draw_items(keep, catalog, found.vectors)


def _draw_maps(keep: Record, values: NDArray[np.float64], names: Sequence[str]) -> None:
    """Draw a map a measure."""
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(1, len(names), figsize=(11, 3.2), layout="constrained")
    for place, (panel, name) in enumerate(zip(panels, names, strict=True)):
        shown = panel.imshow(values[:, :, place], origin="lower", cmap="viridis")
        panel.set_xticks(range(len(LAMBDAS)), LAMBDAS)
        panel.set_yticks(range(len(LAMBDAS)), LAMBDAS)
        panel.set_xlabel("λ_c")
        panel.set_ylabel("λ")
        panel.set_title({"F": "objective F", "Q": "quality Q", "D": "diversity D"}[name])
        figure.colorbar(shown, ax=panel, shrink=0.85)
    figure.savefig(record.IMAGES / "papers-muss-maps.png", dpi=80)
    pyplot.close(figure)
    keep.picture("papers-muss-maps.png", "Objective, quality and diversity of MUSS over λ and λ_c")


def _draw_items(keep: Record, catalog: setwise.Catalog, vectors: NDArray[Any], others: int = 1900) -> None:
    """Draw 100 chosen items among others, by t-SNE, as the papers' Figures 3 and 4."""
    from sklearn.manifold import TSNE

    pyplot = _pyplot()
    chosen = catalog.select(100, diversity=0.1, method="muss", clusters=50).positions
    drawn = np.random.default_rng(keep.options.seed).permutation(len(vectors))[:others]
    rows = np.unique(np.concatenate([chosen, drawn]))
    unit = vectors[rows] / np.linalg.norm(vectors[rows], axis=1, keepdims=True)
    placed = TSNE(perplexity=30, init="pca", random_state=keep.options.seed).fit_transform(unit)
    figure, panel = pyplot.subplots(figsize=(6, 5), layout="constrained")
    dots = panel.scatter(*placed.T, c=catalog.quality[rows], s=6, cmap="viridis")
    panel.scatter(*placed[np.isin(rows, chosen)].T, s=40, facecolors="none", edgecolors="#d62728")
    panel.set_xticks([])
    panel.set_yticks([])
    figure.colorbar(dots, ax=panel, label="quality", shrink=0.85)
    figure.savefig(record.IMAGES / "papers-muss-items.png", dpi=80)
    pyplot.close(figure)
    keep.picture(
        "papers-muss-items.png",
        f"100 items that MUSS selects (red) among {len(rows):,} of the shop, by t-SNE",
    )


def _pyplot() -> Any:
    """Return matplotlib's plotting module, drawing into files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def seconds(keep: Record) -> None:
    """Figures 1 and 8: milliseconds against n, k' and threads, stage by stage."""
    tiny = keep.options.tiny
    k, d = (20, 8) if tiny else (500, 128)
    lines: list[Row] = []
    for n in (400, 800) if tiny else (keep.options.n // 4, keep.options.n // 2, keep.options.n):
        rows, _ = data.clustered(n, d, clusters=50 if tiny else 1000, queries=1)
        clusters = 8 if tiny else 200
        catalog = setwise.Catalog.build(rows, np.ones(n), clusters=clusters)
        rng = np.random.default_rng(0)
        base = rng.beta(2, 6, clusters)[catalog.clusters.labels]
        catalog.set_quality(np.clip(base + 0.15 * rng.standard_normal(n), 0.0, 1.0))
        relevance = catalog.quality.astype(np.float32)
        began = perf_counter()
        picked = published.greedy(rows, relevance, k, 0.5)
        mmr = 1000 * (perf_counter() - began)
        worth = published.value(rows, relevance, picked, 0.5)
        lines.append({"n": n, "method": "MMR, full scans", "threads": 1, "ms": mmr, "objective": worth})
        widest = int(np.bincount(catalog.clusters.labels).max())
        half = {"clusters": clusters // 2}
        for label, options in (
            ("dgds", {"method": "dgds"}),
            ("muss, k' = k/10", {"method": "muss", **half}),
            ("muss, k' = k", {"method": "muss", "per_cluster": min(k, widest), **half}),
            ("greedy (setwise, lazy)", {"method": "greedy"}),
            ("frank-wolfe (setwise)", {"method": "frank-wolfe"}),
        ):
            for threads in (1, 2):
                began = perf_counter()
                chosen = catalog.select(k, diversity=0.5, threads=threads, **options)
                cost = 1000 * (perf_counter() - began)
                line: Row = {
                    "n": n,
                    "method": label,
                    "threads": threads,
                    "ms": cost,
                    "objective": chosen.value,
                }
                lines.append(line | {"MMR's time / this": mmr / cost})
    paper = {"dgds": "5870 / 114", "muss, k' = k/10": "5870 / 73", "muss, k' = k": "5870 / 510"}
    for line in lines:
        line.setdefault("MMR's time / this", 1.0)
        line["paper, s (2M, v2)"] = paper.get(line["method"])
    keep.table(
        f"MUSS, Figures 1 and 8: time against n, k' and threads, k = {k}",
        lines,
        f"Made-up clustered rows of {d} dimensions, λ = λ_c = 0.5, {clusters} clusters built beforehand, "
        "half kept; one "
        "call each, a processor shared with others. MMR keeps the sum of distances up: one full pass a pick.",
        digits=3,
    )
    last = [line for line in lines if line["n"] == lines[-1]["n"]]
    of = {(line["method"], line["threads"]): line for line in last}
    fast, slow = of["muss, k' = k/10", 1], of["muss, k' = k", 1]
    times = fast["MMR's time / this"]
    keep.claim(
        "MUSS has MMR's objective to within a hundredth, and is at least 4.5 times as fast.",
        times >= 4.5 and fast["objective"] >= last[0]["objective"] - 0.01,
        f"At n = {last[0]['n']:,} on one thread {times:.1f} times as fast; "
        f"objective {fast['objective']:.4f}, MMR {last[0]['objective']:.4f}.",
    )
    keep.claim(
        "MUSS is faster than DGDS, and k' = k/10 faster than k' = k at the same objective.",
        fast["ms"] < min(of["dgds", 1]["ms"], slow["ms"]) and fast["objective"] >= slow["objective"] - 0.001,
        f"{fast['ms']:.0f} ms, DGDS {of['dgds', 1]['ms']:.0f}, k' = k {slow['ms']:.0f} ms; objectives "
        f"{fast['objective']:.4f}, {of['dgds', 1]['objective']:.4f}, {slow['objective']:.4f}.",
    )
    lazy = of["greedy (setwise, lazy)", 1]
    keep.claim(
        "setwise's lazy greedy makes MMR's picks without the levels, faster than MUSS.",
        lazy["ms"] <= fast["ms"] and lazy["objective"] >= last[0]["objective"] - 1e-6,
        f"{lazy['ms']:.0f} ms for an objective of {lazy['objective']:.4f}; MUSS {fast['ms']:.0f} ms.",
        ours=True,
    )


PARTS = {
    "tables": tables,
    "reading": reading,
    "sizes": sizes,
    "choices": choices,
    "maps": maps,
    "time": seconds,
    "categories": categories,
    "rises": rises,
    "users": held_out,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this script's options."""
    parser.add_argument("--seeds", type=int, default=2, help="partitions that are averaged over")
    parser.add_argument("--n", type=int, default=100_000, help="items of the part on time")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts."""
    record.run("benchmarks.papers.muss", "MUSS", __doc__, PARTS, arguments, configure)


if __name__ == "__main__":
    main()
