"""What each way to choose negatives is worth on the same pools: coverage, clusters, rewards, repetition."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from benchmarks.prefer_pools import Pool
from benchmarks.reporting import table
from numpy.typing import NDArray

#: Methods and their solvers, in the order of the tables.
METHODS: list[tuple[str, str, dict[str, Any]]] = [
    ("random", "", {"method": "random"}),
    ("bottom-k", "", {"method": "bottom-k"}),
    ("sigma", "", {"method": "sigma"}),
    ("best-vs-worst", "", {"method": "best-vs-worst"}),
    ("coreset", "", {"method": "coreset"}),
    ("opt-select", "greedy", {"method": "opt-select", "solver": "greedy"}),
    ("opt-select", "swap", {"method": "opt-select", "solver": "swap"}),
    ("opt-select", "exact", {"method": "opt-select", "solver": "exact"}),
]

#: Clusters that a pool is cut into to count those touched: more than k, so that no method can touch all.
CLUSTERS = 10

#: Cosine from which two responses count as near-duplicates.
NEAR = 0.95


def coverage_cost(pool: Pool, positive: int, negatives: Sequence[int]) -> float:
    """Return the cost of negatives by its definition (AMPO, Equation 8 and Appendix E)."""
    rest = [one for one in range(len(pool.rewards)) if one != positive]
    low, high = pool.rewards.min(), pool.rewards.max()
    scaled = (pool.rewards[rest] - low) / (high - low) if high > low else np.full(len(rest), 0.5)
    points = pool.embeddings[rest].astype(np.float64)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    distances /= distances.max() or 1.0
    weights = np.exp(scaled.mean() - scaled)
    return float(weights @ distances[:, [rest.index(one) for one in negatives]].min(axis=1))


def clusters_of(embeddings: NDArray[Any], clusters: int = CLUSTERS) -> NDArray[np.int64]:
    """Return a label a response: agglomerative clusters by average distance, which no method looks at."""
    from sklearn.cluster import AgglomerativeClustering

    count = min(clusters, len(embeddings))
    labels: NDArray[np.int64] = AgglomerativeClustering(count, linkage="average").fit_predict(embeddings)
    return labels


def measure(pools: Sequence[Pool], k: int, seed: int = 0) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Return for each method an array of shape (pools, measures); see `COLUMNS`."""
    from setwise.preference import select_responses_many

    labels = [clusters_of(pool.embeddings) for pool in pools]
    found: dict[tuple[str, str], Any] = {}
    for method, solver, options in METHODS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[method, solver] = select_responses_many(
                [pool.embeddings for pool in pools],
                [pool.rewards for pool in pools],
                1 if method == "best-vs-worst" else k,
                certify=solver == "exact",
                seed=seed,
                **options,
            )
    best = [one.cost for one in found["opt-select", "exact"]]
    measured = {}
    for name, selections in found.items():
        rows = []
        for pool, label, selection, least in zip(pools, labels, selections, best, strict=True):
            negatives = [int(one) for one in selection.negatives]
            cost = coverage_cost(pool, int(selection.positive), negatives)
            if not math.isclose(cost, selection.cost, rel_tol=1e-5):
                raise AssertionError(f"{name}: the cost is {cost} by definition, not {selection.cost}")
            points = pool.embeddings[negatives].astype(np.float64)
            near = points @ points.T >= NEAR
            repeats = np.tril(near, -1).any(axis=1).mean()
            rank = np.argsort(np.argsort(pool.rewards, kind="stable"), kind="stable") / (
                len(pool.rewards) - 1
            )
            rows.append(
                [
                    cost,
                    100 * (cost / least - 1) if least else 0.0,
                    len(set(label[negatives])),
                    pool.rewards[negatives].mean(),
                    100 * rank[negatives].mean(),
                    100 * (rank[negatives] > 0.75).mean(),
                    100 * repeats,
                ]
            )
        measured[name] = np.array(rows)
    return measured


COLUMNS = [
    "coverage cost ↓",
    "above the best, % ↓",
    f"clusters touched, of {CLUSTERS} ↑",
    "mean reward of negatives ↓",
    "their mean rank, % ↓",
    "of them in the best quarter, % ↓",
    "near-duplicates, % ↓",
]
_DIGITS = (3, 1, 2, 2, 1, 1, 1)


def report(title: str, pools: Sequence[Pool], k: int, seed: int = 0) -> None:
    """Print the table of a set of pools."""
    measured = measure(pools, k, seed)
    lines = []
    for (method, solver), values in measured.items():
        cells = []
        for column, digits in zip(values.T, _DIGITS, strict=True):
            error = statistics.stdev(column) / math.sqrt(len(column)) if len(column) > 1 else 0.0
            cells.append(f"{column.mean():.{digits}f} ± {error:.{digits}f}")
        lines.append([method, solver, *cells])
    table(f"{title}; k = {k}, {len(pools)} prompts (± standard error)", ["method", "solver", *COLUMNS], lines)
    bottom, chosen = measured["bottom-k", ""], measured["opt-select", "swap"]
    solved = measured["opt-select", "swap"][:, 1] < 1e-6
    print(
        f"\nopt-select (swap) has the best possible cost on {solved.mean():.0%} of prompts, and touches more "
        f"clusters than bottom-k on {(chosen[:, 2] > bottom[:, 2]).mean():.0%}, fewer on "
        f"{(chosen[:, 2] < bottom[:, 2]).mean():.0%}."
    )


#: Ways to say which responses count as positives.
_SPLITS: list[dict[str, Any]] = [
    {},
    {"positives": 4},
    {"positives": 8},
    {"split": "mean"},
]


def report_splits(title: str, pools: Sequence[Pool], k: int) -> None:
    """Print how often opt-select rejects good responses, by what counts as a positive; and repeated texts."""
    from setwise.preference import select_responses_many

    lines = []
    for options in _SPLITS:
        found = select_responses_many(
            [pool.embeddings for pool in pools],
            [pool.rewards for pool in pools],
            k,
            certify=False,
            **options,
        )
        good = [
            (pool.rewards[one.negatives] > np.quantile(pool.rewards, 0.75)).mean()
            for pool, one in zip(pools, found, strict=True)
        ]
        error = statistics.stdev(good) / math.sqrt(len(good)) if len(good) > 1 else 0.0
        lines.append(
            [
                ", ".join(f"{name} {value}" for name, value in options.items()) or "positives 1",
                f"{statistics.fmean(len(one.positives) for one in found):.1f}",
                f"{statistics.fmean(len(one.negatives) for one in found):.1f}",
                f"{100 * statistics.fmean(good):.1f} ± {100 * error:.1f}",
            ]
        )
    columns = ["", "positives", "negatives", "negatives in the best quarter, % ↓"]
    table(f"{title}: opt-select by what counts as a positive, k = {k}", columns, lines)
    if any(pool.texts is None for pool in pools):
        return
    for method in ("opt-select", "bottom-k"):
        found = select_responses_many(
            [pool.embeddings for pool in pools],
            [pool.rewards for pool in pools],
            k,
            method=method,
            certify=False,
        )
        both = repeated = 0
        for pool, one in zip(pools, found, strict=True):
            assert pool.texts is not None
            rejected = [pool.texts[place] for place in one.negatives]
            both += pool.texts[one.positive] in rejected
            repeated += len(set(rejected)) < len(rejected)
        print(
            f"\nrepeated responses not left out: {method} rejects the very text that is chosen on {both} of "
            f"{len(pools)} prompts, and a text twice on {repeated}"
        )
