"""The catalogs that MUSS is tried on, and one selection measured."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from benchmarks.labeled import Shop, shop
from benchmarks.papers.record import CACHE, Record, paired
from numpy.typing import NDArray

import setwise


def games(keep: Record) -> Shop:
    """Return the games shop with vectors of 512 dimensions (k-DPP needs more than k); tiny: a made-up one."""
    if keep.options.tiny:
        return made_up()
    path = CACHE / "games-512.npz"
    if not path.exists():
        found = shop(keep.options.data, dim=512)
        CACHE.mkdir(exist_ok=True)
        unfinished = path.with_suffix(".part.npz")
        np.savez(
            unfinished,
            vectors=found.vectors,
            quality=found.quality,
            titles=np.array(found.titles),
            later=np.concatenate(found.later),
            lengths=[len(each) for each in found.later],
        )
        unfinished.replace(path)
    with np.load(path) as kept:
        later = np.split(kept["later"], np.cumsum(kept["lengths"])[:-1])
        return Shop(kept["vectors"], kept["quality"], kept["titles"].tolist(), later)


def made_up(n: int = 240, d: int = 48, users: int = 60, seed: int = 0) -> Shop:
    """Return a shop of made-up items in clusters; users buy by quality."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((8, d))
    rows = centers[rng.integers(8, size=n)] + 0.5 * rng.standard_normal((n, d))
    quality = rng.beta(2, 4, n)
    chances = quality / quality.sum()
    later = [rng.choice(n, 6, replace=False, p=chances) for _ in range(users)]
    titles = [f"Item {row} for {('PC', 'Wii', 'Xbox 360')[row % 3]}" for row in range(n)]
    return Shop(rows.astype(np.float32), quality, titles, later)


@dataclass(frozen=True)
class Way:
    """How a table's row selects: what `Catalog.select` is told."""

    label: str
    options: dict[str, Any]
    cluster_lambda: float | None = None


#: Those that take long: one seed has to do.
SLOW = ("k-dpp", "clustering")

#: What the first version does otherwise: k items a cluster, no k best, quality halved in the last step.
FIRST = {"top_up": False, "final_quality_scale": 0.5}


def ways(m: int, cluster_lambdas: tuple[float, ...] = (0.1, 0.5, 0.9)) -> list[Way]:
    """Return the rows of Tables 2, 3 and 6, by the second version, with m clusters kept."""
    kept = {"clusters": m}
    return [
        Way("top-k", {"method": "top-k"}),
        Way("random", {"method": "random"}),
        Way("k-dpp", {"method": "k-dpp"}),
        Way("clustering", {"method": "clustering"}),
        Way("MMR", {"method": "greedy"}),
        Way("dgds", {"method": "dgds"}),
        Way("muss (rand.A)", {"method": "muss-random-clusters", **kept}),
        Way("muss (rand.B)", {"method": "muss-random-partition", **kept}),
        *(
            Way("muss", {"method": "muss", "cluster_diversity": 1 - one, **kept}, one)
            for one in cluster_lambdas
        ),
        Way("frank-wolfe (setwise)", {"method": "frank-wolfe"}),
    ]


def measured(
    catalogs: list[setwise.Catalog],
    labels: NDArray[Any] | None,
    k: int,
    lam: float,
    options: dict[str, Any],
    sets: list[NDArray[np.int64]] | None = None,
) -> NDArray[np.float64]:
    """Return precision in %, objective, quality, diversity and milliseconds, a row a catalog (seed).

    The rows that were chosen are added to `sets`.
    """
    found = []
    for seed, catalog in enumerate(catalogs):
        began = perf_counter()
        chosen = catalog.select(k, diversity=1 - lam, seed=seed, threads=1, **options)
        cost = 1000 * (perf_counter() - began)
        if sets is not None:
            sets.append(chosen.positions)
        hits = np.nan if labels is None else 100 * labels[chosen.positions].mean()
        found.append([hits, chosen.value, chosen.relevance, chosen.diversity, cost])
    return np.array(found)


def gained(
    labels: NDArray[Any], these: list[NDArray[np.int64]], those: list[NDArray[np.int64]]
) -> list[float]:
    """Return what the mean precision of some sets is above that of others, in points, with its 95 % interval.

    The interval is by the bootstrap over the items of the sets: an item counts by the share of these sets
    that hold it less that of those, times its label less their mean.
    """
    weights = np.zeros(len(labels))
    for sign, sets in ((100.0, these), (-100.0, those)):
        for rows in sets:
            weights[rows] += sign / (len(rows) * len(sets))
    items = np.unique(np.concatenate([*these, *those]))
    parts = len(items) * weights[items] * (labels[items] - labels[items].mean())
    return paired(parts, np.zeros(len(items)))
