"""Near-duplicates dropped among real rows: all pairs, and the rows of each cluster alone.

    python -m benchmarks.finetune_deduplicate [--rows 20000]

Printed is how many rows are dropped, in how much time of a processor, and how many of those that stay are
near-duplicates of another: clusters do not see the pairs on both sides of a border.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from benchmarks import finetune_data as data
from benchmarks.reporting import heading, table

from setwise.finetuning.deduplicate import deduplicate

EPS = 0.05


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    asked = parser.parse_args()
    vectors = data.instructions(asked.rows).vectors
    heading()
    lines = []
    for clusters in (1, round(len(vectors) ** 0.5)):
        began = time.process_time()
        kept = deduplicate(vectors, eps=EPS, clusters=clusters, threads=1).kept
        spent = time.process_time() - began
        rows, pairs = vectors[kept], 0
        for start in range(0, len(rows), 1024):
            near = rows[start : start + 1024] @ rows.T > 1 - EPS
            pairs += int(np.triu(near, start + 1).sum())
        lines.append([f"{clusters}", f"{len(vectors) - len(kept):,}", f"{spent:.1f} s", f"{pairs:,}"])
    table(f"{len(vectors):,} rows, eps = {EPS}", ["clusters", "dropped", "processor", "pairs left"], lines)


if __name__ == "__main__":
    main()
