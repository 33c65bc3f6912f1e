"""The choice of each method on one prompt, drawn by t-SNE as in AMPO's Figure 2."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from benchmarks.prefer_pools import Pool
from benchmarks.prefer_quality import clusters_of, coverage_cost

_PANELS = [
    ("bottom-k", {"method": "bottom-k"}),
    ("coreset", {"method": "coreset"}),
    ("opt-select", {"method": "opt-select", "solver": "swap"}),
]


def typical(pools: Sequence[Pool], k: int) -> Pool:
    """Return the pool on which what opt-select saves over bottom-k is the median, so not the best one."""
    from setwise.preference import select_responses_many

    given = [pool.embeddings for pool in pools], [pool.rewards for pool in pools], k
    saved = [
        low.cost / best.cost
        for low, best in zip(
            select_responses_many(*given, method="bottom-k", certify=False),
            select_responses_many(*given, certify=False),
            strict=True,
        )
    ]
    return pools[int(np.argsort(saved)[len(saved) // 2])]


def draw(pool: Pool, k: int, path: Path, seed: int = 0) -> None:
    """Draw a pool three times, with the positive and the negatives that each method chooses."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from sklearn.manifold import TSNE

    from setwise.preference import select_responses

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        placed = TSNE(perplexity=min(8, len(pool.rewards) - 1), init="pca", random_state=seed).fit_transform(
            pool.embeddings.astype(np.float64)
        )
    labels = clusters_of(pool.embeddings)
    figure, panels = pyplot.subplots(1, len(_PANELS), figsize=(11, 4.1), layout="constrained")
    for panel, (name, options) in zip(panels, _PANELS, strict=True):
        chosen = select_responses(pool.embeddings, pool.rewards, k, seed=seed, **options)
        negatives = [int(one) for one in chosen.negatives]
        positive = int(chosen.positive)
        dots = panel.scatter(
            *placed.T, c=pool.rewards, cmap="viridis", s=46, edgecolors="white", linewidths=0.6
        )
        panel.scatter(*placed[negatives].T, s=190, facecolors="none", edgecolors="#d62728", linewidths=2)
        panel.scatter(*placed[positive], s=230, marker="*", color="#2ca02c", edgecolors="black", zorder=3)
        touched = len(set(labels[negatives]))
        cost = coverage_cost(pool, positive, negatives)
        panel.set_title(name, fontsize=13, fontweight="bold")
        panel.set_xlabel(f"cost {cost:.2f} · {touched} of {labels.max() + 1} clusters", fontsize=11)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.margins(0.1)
    bar = figure.colorbar(dots, ax=panels, shrink=0.85, pad=0.01)
    bar.set_label("reward (logit)")
    figure.suptitle(
        textwrap.shorten(f"★ chosen   ○ rejected   “{' '.join(pool.prompt.split())}”", 105), fontsize=11
    )
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
