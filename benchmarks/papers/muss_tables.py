"""MUSS on a catalog with labels: Tables 2 and 6, 4, 7 and 8, categories, and whether diversity raises "
"precision."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from benchmarks.labeled import Shop
from benchmarks.papers import muss_paper as paper
from benchmarks.papers.muss_data import FIRST, SLOW, gained, games, measured, ways
from benchmarks.papers.record import Record, Row, told
from numpy.typing import NDArray

import setwise
from setwise import evaluate

LAMBDAS = (0.1, 0.3, 0.5, 0.7, 0.9)
FIGURES = ("precision %", "objective", "quality", "diversity", "ms")


def _of(keep: Record) -> tuple[Shop, list[setwise.Catalog], int]:
    """Return the shop, a catalog of it a seed, and k."""
    found = games(keep)
    clusters = 12 if keep.options.tiny else 100
    catalogs = [
        setwise.Catalog.build(found.vectors, found.quality, clusters=clusters, seed=seed)
        for seed in range(keep.options.seeds)
    ]
    return found, catalogs, 20 if keep.options.tiny else 500


def _about(found: Shop, keep: Record, k: int) -> str:
    """Return what the tables are of."""
    what = "made-up items" if keep.options.tiny else "items of a games shop (Amazon)"
    return (
        f"{len(found.vectors):,} {what}, vectors of {found.vectors.shape[1]} dimensions from histories, "
        "quality the "
        f"logarithm of a count, label: bought next by one of {len(found.later):,} users who gave neither; k "
        f"= {k}"
    )


def tables(keep: Record) -> None:
    """Tables 2 and 6, both versions, at the λ that is best for MMR on the same labels, as the papers "
    "choose it."""
    found, catalogs, k = _of(keep)
    labels, picked = found.bought(), {lam: [] for lam in (*LAMBDAS, 1.0)}
    grid = {
        lam: measured(catalogs[:1], labels, k, lam, {"method": "greedy"}, sets)[0]
        for lam, sets in picked.items()
    }
    keep.table(
        "MUSS, the choice of λ: greedy selection (MMR) on the grid",
        [{"λ": lam, **_figures(values[None])} for lam, values in grid.items()],
        f"{_about(found, keep, k)}. λ = 1 is quality alone (top-k).",
    )
    lam = max(LAMBDAS, key=lambda one: grid[one][0])
    keep.claim(
        "An intermediate λ has a higher precision than quality alone.",
        (gain := gained(labels, picked[lam], picked[1.0]))[1] > 0,
        f"At λ = {lam}, the best on these labels, {told(gain, 2)} points.",
    )
    m = len(catalogs[0].clusters.centroids) // 2
    lines, second = [], {}
    sets: dict[tuple[str, float | None], list[NDArray[np.int64]]] = {}
    for way in ways(m):
        own = sets[way.label, way.cluster_lambda] = []
        values = measured(catalogs[: 1 if way.label in SLOW else None], labels, k, lam, way.options, own)
        second[way.label, way.cluster_lambda] = values.mean(axis=0)
        theirs = paper.HOME.get((way.label, way.cluster_lambda))
        line: Row = {"version": 2, "method": way.label, "λ_c": way.cluster_lambda, **_figures(values)}
        line["paper v1, Home %"] = theirs and theirs[0]
        line["paper v2, Home %"] = theirs and theirs[1]
        line["paper objective"] = theirs and theirs[2]
        line["paper s"] = theirs and theirs[5]
        lines.append(line)
    for one in (0.1, 0.5, 0.9):
        options = {"method": "muss", "cluster_diversity": 1 - one, "clusters": m, **FIRST}
        options["per_cluster"] = min(k, int(np.bincount(catalogs[0].clusters.labels).max()))
        values = measured(catalogs[:1], labels, k, lam, options)
        lines.append({"version": 1, "method": "muss", "λ_c": one, **_figures(values)})
    keep.table(
        f"MUSS, Tables 2 and 6, λ = {lam}",
        lines,
        f"{_about(found, keep, k)}; {2 * m} clusters, {m} kept, k' = k/10 (second version) or k (first). "
        "MMR is greedy "
        "selection by the paper's Algorithm 1, lazily (the same picks as the full scan); k-DPP and "
        "clustering with one seed, the others' means are over "
        f"{keep.options.seeds}. The paper's Home "
        "has 4,737 "
        "items and precomputed click rates as quality; its seconds are on 10 threads.",
    )
    muss = np.array([values for (label, _), values in second.items() if label == "muss"])
    gains = {
        one: gained(labels, rows, sets["MMR", None]) for (label, one), rows in sets.items() if label == "muss"
    }
    keep.claim(
        "MUSS is at least as precise as MMR at every λ_c (Table 2 of the second version: 2 to 4 points "
        "more).",
        all(gain[2] >= 0 for gain in gains.values()),
        "; ".join(f"λ_c {one}: {told(gain, 2)} points" for one, gain in gains.items()) + ".",
    )
    own = [rows for (label, _), each in sets.items() if label == "muss" for rows in each]
    other = max((f"muss (rand.{one})" for one in "AB"), key=lambda label: second[label, None][0])
    gain = gained(labels, own, sets[other, None])
    keep.claim(
        "Greedy selection of clusters and clustering are better than random ones (rand.A, rand.B).",
        gain[1] > 0,
        f"On the mean over λ_c {told(gain, 2)} points against {other}, the more precise of the two.",
    )
    every = np.array(list(second.values()))
    alike = float(np.corrcoef(every[:, 1], every[:, 0])[0, 1])
    keep.claim(
        "A higher objective goes with a higher precision.",
        alike > 0.5,
        f"Correlation over {len(every)} methods: {alike:.2f}.",
    )
    best = second["frank-wolfe (setwise)", None]
    keep.claim(
        "setwise's frank-wolfe has the largest objective of all.",
        bool(best[1] >= every[:, 1].max() - 1e-9),
        f"{best[1]:.5f}, greedy {second['MMR', None][1]:.5f}, MUSS at most {muss[:, 1].max():.5f}.",
        ours=True,
    )
    keep.claim(
        "setwise's frank-wolfe is at least as precise as quality alone.",
        (gain := gained(labels, sets["frank-wolfe (setwise)", None], sets["top-k", None]))[2] >= 0,
        f"{told(gain, 2)} points.",
        ours=True,
    )


def _figures(values: NDArray[np.float64]) -> Row:
    """Return the means of `measured` by name."""
    return dict(zip(FIGURES, values.mean(axis=0).tolist(), strict=True))


def sizes(keep: Record) -> None:
    """Table 4: clusters built and kept."""
    found, _, k = _of(keep)
    lines = []
    pairs = {(6, 3): (0.0, 0.0), (12, 6): (0.0, 0.0)} if keep.options.tiny else paper.SIZES
    for (built, kept), theirs in pairs.items():
        catalog = setwise.Catalog.build(found.vectors, found.quality, clusters=built)
        options = {"method": "muss", "clusters": kept, "cluster_diversity": 0.3}
        values = measured([catalog], found.bought(), k, 0.7, options)
        line: Row = {"l": built, "m": kept, **_figures(values)}
        lines.append(line | {"paper v1, Home %": theirs[0], "paper v2, Home %": theirs[1]})
    keep.table(
        "MUSS, Table 4: clusters built (l) and kept (m)", lines, f"{_about(found, keep, k)}; λ = λ_c = 0.7."
    )
    hits = [line["precision %"] for line in lines]
    keep.claim(
        "l and m change precision by 5 points at most.",
        max(hits) - min(hits) <= 5,
        f"{min(hits):.1f} to {max(hits):.1f} %.",
    )


def choices(keep: Record) -> None:
    """Tables 7 and 8: what clusters are made of, the sum or the least distance, the k best or not."""
    found, catalogs, k = _of(keep)
    m = len(catalogs[0].clusters.centroids) // 2
    joint = [
        setwise.Catalog.build(found.vectors, found.quality, clusters=2 * m, quality_weight=1.0, seed=seed)
        for seed in range(keep.options.seeds)
    ]
    tried: dict[str, tuple[list[setwise.Catalog], dict[str, Any]]] = {
        "clusters of [x]": (catalogs, {}),
        "clusters of [x, q]": (joint, {}),
        "sum of distances": (catalogs, {}),
        "least distance": (catalogs, {"criterion": "min"}),
        "with the k best": (catalogs, {}),
        "without them": (catalogs, {"top_up": False}),
    }
    labels, lines, sets = found.bought(), [], {label: [] for label in tried}
    for label, (built, more) in tried.items():
        for one in (0.1, 0.5, 0.9):
            options = {"method": "muss", "clusters": m, "cluster_diversity": 1 - one, **more}
            values = measured(built, labels, k, 0.9, options, sets[label])
            lines.append(
                {"": label, "λ_c": one, **_figures(values), "paper, Home %": paper.CHOICES[label][one]}
            )
    keep.table(
        "MUSS, Tables 7 and 8: what else can be chosen",
        lines,
        f"{_about(found, keep, k)}; λ = 0.9; means over {keep.options.seeds} seeds.",
    )
    gain = gained(labels, sets["sum of distances"], sets["least distance"])
    keep.claim(
        "The sum of distances is better than the least distance.",
        gain[1] > 0,
        f"On the mean over λ_c {told(gain, 2)} points.",
    )
    gain = gained(labels, sets["with the k best"], sets["without them"])
    keep.claim(
        "Whether the k best join the last step changes precision by a point at most.",
        max(-gain[1], gain[2]) <= 1,
        f"With them {told(gain, 2)} points.",
    )


#: What tells an item's platform, by its title.
PLATFORMS = ("Xbox 360", "PlayStation 3", "Nintendo DS", "Wii", "PC", "PlayStation 2", "PSP", "Game Boy")


def categories(keep: Record) -> None:
    """Selection inside each category, as the second version describes its use; the shop's platforms."""
    found, _, k = _of(keep)
    k = k // 5
    labels, lines, gains = found.bought(), [], []
    for name in PLATFORMS:
        pattern = re.compile(rf"\b{name}\b")
        rows = np.array([row for row, title in enumerate(found.titles) if pattern.search(title)], np.int64)
        if len(rows) < 2 * k:
            continue
        clusters = max(4, len(rows) // 30)
        own = [setwise.Catalog.build(found.vectors[rows], found.quality[rows], clusters=clusters)]
        line: Row = {"category": name, "items": len(rows)}
        sets: dict[str, list[NDArray[np.int64]]] = {}
        for label, lam, options in (
            ("top-k", 0.9, {"method": "top-k"}),
            ("random", 0.9, {"method": "random"}),
            ("MMR, λ 0.9", 0.9, {"method": "greedy"}),
            ("muss, λ 0.9", 0.9, {"method": "muss"}),
            ("MMR, λ 0.5", 0.5, {"method": "greedy"}),
            ("muss, λ 0.5", 0.5, {"method": "muss"}),
        ):
            sets[label] = []
            line[f"{label}, %"] = float(measured(own, labels[rows], k, lam, options, sets[label])[0, 0])
        lines.append(line)
        gains.append([sets["muss, λ 0.9"][0], sets["top-k"][0], rows])
    keep.table(
        f"MUSS, category by category, k = {k}",
        lines,
        f"{_about(found, keep, k)}, of each platform that is named in titles.",
        digits=1,
    )
    these, those = ([rows[each[side]] for *each, rows in gains] for side in (0, 1))
    gain = gained(labels, these, those)
    apart = [gained(labels, [one], [other])[1:] for one, other in zip(these, those, strict=True)]
    keep.claim(
        "Inside categories, MUSS at λ = 0.9 is more precise than quality alone.",
        gain[1] > 0,
        f"{told(gain, 2)} points on the mean of {len(lines)} categories; beyond its interval more in "
        f"{sum(low > 0 for low, _ in apart)} of them, less in {sum(high < 0 for _, high in apart)}.",
    )


def rises(keep: Record) -> None:
    """Does precision rise with diversity anywhere: the next purchase, the last three and five, λ by λ."""
    found, catalogs, k = _of(keep)
    methods = {
        "MMR": {"method": "greedy"},
        "muss": {"method": "muss"},
        "frank-wolfe": {"method": "frank-wolfe"},
    }
    base = catalogs[0].select(k, method="top-k").positions
    chosen = {
        (label, lam): catalogs[0].select(k, diversity=1 - lam, threads=1, **options).positions
        for label, options in methods.items()
        for lam in (0.3, 0.5, 0.7, 0.9, 0.95)
    }
    lines, above, below = [], 0, 0
    for steps in (1, 3, 5):
        labels = found.bought(steps)
        for (label, lam), rows in chosen.items():
            gain, low, high = gained(labels, [rows], [base])
            above, below = above + (low > 0), below + (high < 0)
            line: Row = {"last purchases": steps, "method": label, "λ": lam}
            line["top-k, %"] = float(100 * labels[base].mean())
            lines.append(line | {"less top-k, points": [gain, low, high]})
    keep.table(
        "Does precision rise with diversity?",
        lines,
        f"{_about(found, keep, k)}. Precision less that of quality alone, with its 95 % interval (bootstrap "
        "over the items of the sets).",
        digits=2,
    )
    keep.claim(
        "Precision rises with diversity: beyond the interval in more cases than chance would have it (1 in "
        "20).",
        above > len(lines) / 20,
        f"Of {len(lines)} cases it rises beyond the interval in {above} and falls in {below}.",
    )


def held_out(keep: Record) -> None:
    """λ and the method chosen on some users and judged on others, instead of the best on the same labels."""
    found, catalogs, k = _of(keep)
    with_items = [each[-5:].tolist() for each in found.later if len(each)]
    places = np.unique(np.linspace(0, len(with_items) - 1, 15 * keep.options.questions).astype(int))
    users = [with_items[place] for place in places]
    compared = evaluate.compare_catalog(catalogs[0], users, k=k, diversities=(0.05, 0.1, 0.3, 0.5))
    tuned = evaluate.tune(compared, measure="recall", methods=evaluate.CATALOG_METHODS)
    means, (low, high) = compared.of("recall").mean(axis=1), compared.intervals["recall"]
    differences = compared.differences("recall").mean(axis=1)
    keep.table(
        f"MUSS, λ by cross-validation over users, k = {k}",
        [
            {
                "method": one.method,
                "λ": 1 - one.diversity,
                "recall": float(means[place]),
                "less top-k": [float(differences[place]), float(low[place]), float(high[place])],
            }
            for place, one in enumerate(compared.configurations)
        ],
        f"{_about(found, keep, k)}. Recall is the mean share of a user's last five purchases that is in the "
        "set, over "
        f"{len(users)} of the users. What cross-validation in five parts makes of it: {tuned}.",
        digits=4,
    )
    keep.claim(
        "A λ below 1 that is chosen on some users shows more of what other users buy than quality alone.",
        tuned.helps,
        f"Held-out recall {tuned.gain:+.4f} [{tuned.low:+.4f}, {tuned.high:+.4f}] over {tuned.top:.4f}.",
    )
