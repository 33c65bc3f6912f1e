"""Coverage problems full of candidates that serve alike, and what is chosen in them."""

from __future__ import annotations

import functools
import json
import sys
import warnings

import numpy as np
from threadpoolctl import threadpool_info

import setwise
from setwise.preference import select_responses_many

WAYS = [("opt-select", "swap"), ("opt-select", "greedy"), ("opt-select", "exact")]
WAYS += [("coreset", "swap"), ("bottom-k", "swap")]


def problems():
    """Copies, corners of a simplex (all equally far) and points of a grid, with few levels of reward."""
    rng = np.random.default_rng(0)
    for number in range(9):
        n, k = int(rng.integers(9, 40)), int(rng.integers(1, 7))
        copies = rng.standard_normal((n // 3, 7))[rng.integers(0, n // 3, n)]
        grid = rng.integers(1, 4, (n, 3)).astype(float)
        yield (copies, np.eye(n), grid)[number % 3], rng.integers(0, 3, n).astype(float), k


@functools.cache
def choices():
    """What each way of choosing takes, by name."""
    found = {}
    for number, (rows, scores, k) in enumerate(problems()):
        for method, solver in WAYS:
            made = select_responses_many(rows[None], scores[None], k, method=method, solver=solver)
            found[f"{number} {method} {solver}"] = made[0].negatives.tolist()
        for solver in ("auto", "greedy", "swap", "exact"):
            found[f"{number} coverage {solver}"] = coverage(rows, scores, k, solver)
    for n in (600, 2100):  # a table of all distances, and of a sample of them
        rows = np.random.default_rng(n).standard_normal((n // 3, 8)).astype(np.float32)
        for solver in ("greedy", "swap"):
            found[f"{n} coverage {solver}"] = coverage(np.tile(rows, (3, 1)), np.zeros(n), 5, solver)
    return found


def coverage(rows, relevance, k, solver):
    """What `setwise.select` takes."""
    selected = setwise.select(
        rows, k, relevance=relevance, objective="coverage", solver=solver, diversity=0.7, certify=True
    )
    return selected.indices.tolist()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kernels = sorted({each["architecture"] for each in threadpool_info() if "architecture" in each})
    json.dump({"kernels": kernels, "choices": choices()}, sys.stdout)
