"""AMPO's Figures 2 and 5: which responses each strategy rejects, drawn and counted on several prompts.

    python -m benchmarks.papers.ampo                             # AlpacaEval's prompts, half a minute
    python -m benchmarks.papers.ampo --ultrafeedback FOLDER      # the paper's prompts, four completions each
    python -m benchmarks.papers.ampo --tiny

The paper's training tables are those of docs/prefer-training.md and docs/prefer-choices.md, on small models.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from benchmarks import prefer_picture as picture
from benchmarks.papers import record, sets
from benchmarks.papers.record import Record, Row
from benchmarks.prefer_pools import Pool, alpaca_eval, generated
from benchmarks.prefer_quality import clusters_of, coverage_cost

from setwise.preference import select_responses

STRATEGIES = {
    "bottom-k": {"method": "bottom-k"},
    "coreset": {"method": "coreset"},
    "opt-select": {"method": "opt-select", "solver": "swap"},
}


def pictures(keep: Record) -> None:
    """How much of the responses' space each strategy's negatives touch, and three prompts drawn."""
    pools, k, about = _pools(keep)
    lines: list[Row] = []
    found: dict[str, np.ndarray] = {}
    for label, options in STRATEGIES.items():
        values = []
        for pool in pools:
            chosen = select_responses(pool.embeddings, pool.rewards, k, seed=keep.options.seed, **options)
            negatives = [int(one) for one in chosen.negatives]
            labels = clusters_of(pool.embeddings)
            points = pool.embeddings[negatives].astype(np.float64)
            apart = np.linalg.norm(points[:, None] - points[None], axis=2)[np.triu_indices(k, 1)]
            ranks = np.argsort(np.argsort(pool.rewards))[negatives] / (len(pool.rewards) - 1)
            values.append(
                [
                    len(set(labels[negatives])) / min(k, labels.max() + 1),
                    apart.min(),
                    apart.mean(),
                    coverage_cost(pool, int(chosen.positive), negatives),
                    ranks.mean(),
                ]
            )
        found[label] = np.array(values)
        names = (
            "clusters touched",
            "least distance",
            "mean distance",
            "cost (Equation 8)",
            "mean reward rank",
        )
        lines.append({"strategy": label, **dict(zip(names, found[label].mean(axis=0).tolist(), strict=True))})
    keep.table(
        f"AMPO, Figures 2 and 5, k = {k} negatives",
        lines,
        f"{about}. Clusters touched is the share of what could be touched of 8 clusters that no strategy "
        "looks at; "
        "reward rank 0 is the worst response. The paper shows pictures alone.",
    )
    low, core, best = (found[label] for label in STRATEGIES)
    keep.claim(
        "Bottom-k picks responses close to each other; coreset and opt-select cover more of the space.",
        bool(min(core[:, 0].mean(), best[:, 0].mean()) > low[:, 0].mean()),
        f"Clusters touched {low[:, 0].mean():.2f}, coreset {core[:, 0].mean():.2f}, opt-select "
        f"{best[:, 0].mean():.2f}.",
    )
    keep.claim(
        "Opt-select balances coverage with rewards at the extremes: its negatives are nearly as bad as "
        "bottom-k's.",
        bool(best[:, 4].mean() < low[:, 4].mean() + 0.1),
        f"Mean rank of the reward {best[:, 4].mean():.2f}, bottom-k {low[:, 4].mean():.2f}: coverage is "
        "paid for with "
        "negatives that are better than the worst.",
    )
    keep.claim(
        "Opt-select has the least cost of the three on every prompt.",
        bool((best[:, 3] <= np.minimum(low[:, 3], core[:, 3]) + 1e-9).all()),
        f"On {np.mean(best[:, 3] <= np.minimum(low[:, 3], core[:, 3]) + 1e-9):.0%} of {len(pools)} prompts.",
        ours=True,
    )
    if not keep.options.tiny:
        for number, place in enumerate(sets.spread_evenly(len(pools), 3), start=1):
            name = f"papers-ampo-{number}.png"
            picture.draw(pools[place], k, record.IMAGES / name, keep.options.seed)
            keep.picture(name, f"Prompt {number}: what is rejected (red) and chosen (star), by t-SNE")


def _pools(keep: Record) -> tuple[list[Pool], int, str]:
    """Return the prompts' responses, how many to reject, and what they are."""
    if keep.options.ultrafeedback is not None:
        read = sets.ultrafeedback(keep.options.ultrafeedback)
        read = [read[place] for place in sets.spread_evenly(len(read), keep.options.questions)]
        vectors = sets.encoded([text for _, texts, _ in read for text in texts])
        parts = np.split(vectors, np.cumsum([len(texts) for _, texts, _ in read])[:-1])
        pools = [
            Pool(asked, texts, scores, part) for (asked, texts, scores), part in zip(read, parts, strict=True)
        ]
        return (
            pools,
            2,
            f"{len(pools)} instructions of UltraFeedback with their completions and overall scores",
        )
    if keep.options.tiny:
        return generated(4), 4, "4 made-up prompts"
    pools = alpaca_eval(keep.options.data, keep.options.questions, "static", keep.options.seed)
    return (
        pools,
        7,
        f"{len(pools)} prompts of AlpacaEval, 32 of 55 models' responses each (vectors of wordllama)",
    )


PARTS = {"pictures": pictures}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this script's option."""
    parser.add_argument("--ultrafeedback", type=Path, help="folder of UltraFeedback's JSON-lines files")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the part."""
    record.run("benchmarks.papers.ampo", "AMPO", __doc__, PARTS, arguments, configure)


if __name__ == "__main__":
    main()
