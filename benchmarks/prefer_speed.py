"""Choosing responses: AMPO's Appendix E, written plainly, against ours, one prompt and thousands.

    python -m benchmarks.prefer_speed
    python -m benchmarks.prefer_speed --prompts 1024 --repeats 3

Generated responses: N = 32 around 8 centers in 384 dimensions, 7 to choose. Both are run in turn in one
process on the same prompts; a ratio is the median of those of neighboring runs, so that whatever else the
machine does weighs on both alike, and prompts a second of processor time are what it would do idle.
Embedding is not part of it; distances and scaling are.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from benchmarks.reporting import heading, table
from numpy.typing import NDArray

Pools = tuple[NDArray[np.float32], NDArray[np.float64]]


def responses(prompts: int, n: int, d: int, *, centers: int = 8, spread: float = 0.7, seed: int = 0) -> Pools:
    """Return generated embeddings (B, N, d) and rewards (B, N)."""
    rng = np.random.default_rng(seed)
    around = rng.standard_normal((prompts, centers, d), dtype=np.float32)
    which = rng.integers(centers, size=(prompts, n))
    noise = spread * rng.standard_normal((prompts, n, d), dtype=np.float32)
    return around[np.arange(prompts)[:, None], which] + noise, rng.random((prompts, n))


def appendix_e(vectors: NDArray[Any], rating: NDArray[np.float64], k: int, start: Any = None) -> float:
    """Return the cost that AMPO's Appendix E ends at, its loop written as it is printed there.

    Its own start is drawn at random; `start` (positions among all but the best response) takes its place.
    """
    from scipy.spatial.distance import cdist

    low, high = np.min(rating), np.max(rating)
    unit = (rating - low) / (high - low) if high > low else np.zeros_like(rating) + 0.5
    top = int(np.argmax(unit))
    vectors, unit = np.delete(vectors, top, axis=0), np.delete(unit, top)
    distances = cdist(vectors, vectors, metric="euclidean")
    distances /= distances.max() if distances.max() > 1e-12 else 1
    w = np.exp(np.mean(unit) - unit)

    def objective(chosen: set[Any]) -> Any:
        return sum(w[i] * min(distances[i, j] for j in chosen) for i in range(len(w)))

    everyone = np.arange(len(unit))
    if start is None:
        start = np.random.default_rng(42).choice(everyone, size=k, replace=False)
    current = set(start)
    cost = objective(current)
    improved = True
    while improved:
        improved = False
        best = (None, None, 0)
        for leaves in list(current):
            for joins in everyone:
                if joins not in current:
                    gain = cost - objective((current - {leaves}) | {joins})
                    if gain > best[2]:
                        best = (leaves, joins, gain)
        if best[2] > 1e-12:
            current.remove(best[0])
            current.add(best[1])
            cost -= best[2]
            improved = True
    return float(objective(current))


def seconds(call: Callable[[], Any]) -> float:
    """Return the wall time of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def against_appendix_e(prompts: int, repeats: int, n: int, d: int, k: int, threads: int) -> None:
    """Time both on the same prompts, side by side, and compare what they end at."""
    from setwise.preference import select_responses, select_responses_many

    embeddings, rewards = responses(prompts, n, d)
    plain: list[float] = []
    lines = []
    options = [("set alone", {"certify": False}), ("set and bound", {})]
    select_responses_many(embeddings[:2], rewards[:2], k)
    for title, option in options:
        ratios, ours = [], []
        for row in range(20):
            theirs = seconds(lambda row=row: appendix_e(embeddings[row], rewards[row], k))
            one = statistics.median(
                seconds(lambda row=row: select_responses(embeddings[row], rewards[row], k, **option))
                for _ in range(3)
            )
            plain.append(theirs)
            ours.append(one)
            ratios.append(theirs / one)
        lines.append(
            [
                "one prompt",
                title,
                1,
                f"{1e3 * statistics.median(ours):.2f}",
                "",
                "",
                f"{statistics.median(ratios):.0f}",
            ]
        )
        for workers in dict.fromkeys((1, threads)):
            rates, busy, ratios = [], [], []
            for repeat in range(repeats):
                theirs = statistics.median(
                    seconds(lambda row=row: appendix_e(embeddings[row], rewards[row], k))
                    for row in range(4 * repeat, 4 * repeat + 4)
                )
                spent = time.process_time()
                many = seconds(
                    lambda workers=workers: select_responses_many(
                        embeddings, rewards, k, threads=workers, **option
                    )
                )
                busy.append(prompts / (time.process_time() - spent))
                rates.append(prompts / many)
                ratios.append(theirs * prompts / many)
            lines.append(
                [
                    f"{prompts} prompts",
                    title,
                    workers,
                    f"{1e3 / statistics.median(rates):.3f}",
                    f"{statistics.median(rates):,.0f}",
                    f"{statistics.median(busy):,.0f}",
                    f"{statistics.median(ratios):.0f}",
                ]
            )
    table(
        f"N = {n}, k = {k}, d = {d}; Appendix E: {1e3 * statistics.median(plain):.1f} ms a prompt",
        ["", "what", "threads", "ms a prompt", "prompts a second", "a second of processor", "times as fast"],
        lines,
    )


def costs(prompts: int, n: int, d: int, k: int) -> None:
    """Compare where Appendix E and our exchanges end, from the same start and each from its own."""
    from setwise.preference import select_responses_many
    from setwise.preference.responses.batches import scale
    from setwise.preference.responses.request import ResponseRequest
    from setwise.solvers.k_medoids.search import swap

    embeddings, rewards = responses(prompts, n, d, seed=1)
    scaled = scale(embeddings, rewards.copy(), np.full(prompts, n), ResponseRequest(k=k))
    rng = np.random.default_rng(0)
    start = np.stack([rng.choice(n - 1, size=k, replace=False) for _ in range(prompts)])
    top = rewards.argmax(axis=1)[:, None]
    ends = scaled.stack.totals(swap(scaled.stack, start + (start >= top))[0])
    theirs = np.array([appendix_e(embeddings[row], rewards[row], k, start[row]) for row in range(prompts)])
    own = np.array([appendix_e(embeddings[row], rewards[row], k) for row in range(prompts)])
    ours = np.array([one.cost for one in select_responses_many(embeddings, rewards, k)])
    above = 100 * (own / ours - 1)
    table(
        f"Costs on {prompts} prompts",
        ["", "result"],
        [
            ["same start: largest difference of the ends", f"{np.abs(ends - theirs).max():.1e}"],
            ["own starts: Appendix E above ours, mean", f"{above.mean():.3f} %"],
            ["own starts: Appendix E above ours, largest", f"{above.max():.2f} %"],
            ["own starts: prompts where ours is dearer", int((ours > own + 1e-9).sum())],
        ],
    )


def exact(repeats: int) -> None:
    """Time the exact solver, and compare exchanges with the least cost."""
    from setwise.preference import select_responses

    lines = []
    for n, k, d, centers, title in (
        (32, 7, 384, 8, "8 centers"),
        (64, 8, 384, 8, "8 centers"),
        (64, 8, 384, 64, "no centers"),
        (64, 8, 3, 64, "no centers"),
    ):
        embeddings, rewards = responses(max(repeats, 5), n, d, centers=centers, seed=2)
        taken, gaps, proven = [], [], 0
        for vectors, rating in zip(embeddings, rewards, strict=True):
            began = time.perf_counter()
            best = select_responses(vectors, rating, k, solver="exact")
            taken.append(time.perf_counter() - began)
            swapped = select_responses(vectors, rating, k, certify=False)
            proven += best.optimal
            gaps.append(100 * (swapped.cost / best.cost - 1))
        lines.append(
            [
                f"N = {n}, k = {k}, d = {d}, {title}",
                f"{statistics.median(taken):.3f}",
                f"{max(taken):.3f}",
                f"{proven} of {len(taken)}",
                f"{statistics.mean(gaps):.3f} %",
                f"{max(gaps):.2f} %",
            ]
        )
    table(
        "The exact solver, and how far exchanges end above it",
        ["responses", "median s", "largest s", "proven", "swap above, mean", "largest"],
        lines,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    heading()
    against_appendix_e(given.prompts, given.repeats, 32, 384, 7, given.threads)
    costs(min(given.prompts, 40), 32, 384, 7)
    exact(given.repeats)


if __name__ == "__main__":
    main()
