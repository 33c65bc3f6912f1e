"""Many users over one catalog: `select_many` beside a loop of `select`, in one run.

    python benchmarks/many_users.py [--data FOLDER] [--users 30] [--out FILE.json]

With a folder that holds ``games6k`` (items.parquet, sequences.parquet): 16,859 games, their titles as static
vectors, as each user's relevance the scores of 64 factors of all users' histories, and what a user has bought
barred. Without: clustered vectors of that size, and relevance as steep. Process time on one thread, the
better of two runs of each, side by side.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this folder has modules named like the standard library's

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import setwise
from setwise.files import write_json

CASES = [
    {"certify": False},
    {},
    {"sharpness": 8, "certify": False},
    {"sharpness": 8},
    {"diversity": 0.5, "certify": False},
    {"diversity": 0.5},
]


def games(folder: Path, users: int) -> tuple[Any, Any, list[list[int]]]:
    """Return titles' vectors, users' relevance and what each has bought."""
    import pyarrow.parquet as parquet
    from scipy import sparse
    from scipy.sparse.linalg import svds

    from setwise.encode import encoder

    items = parquet.read_table(folder / "items.parquet").to_pydict()
    vectors = encoder("static").encode([title or "game" for title in items["title"]])
    row = {item: place for place, item in enumerate(items["item_id"])}
    histories = [
        [row[item] for item in history]
        for history in parquet.read_table(folder / "sequences.parquet")["history"].to_pylist()
    ]
    who = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    bought = np.concatenate([np.array(history, np.int64) for history in histories])
    counts = sparse.csr_matrix((np.ones(len(bought)), (who, bought)), (len(histories), len(vectors)))
    scaled = counts @ sparse.diags(1.0 / np.sqrt(np.asarray(counts.sum(axis=0)).ravel() + 5.0))
    factors = svds(scaled, 64, random_state=0)[2]
    chosen = [user for user, history in enumerate(histories) if len(history) >= 10][:users]
    scores = (scaled[chosen] @ factors.T) @ factors
    seen = [sorted(set(histories[user])) for user in chosen]
    return vectors, scores / scores.max(axis=1, keepdims=True), seen


def made_up(users: int) -> tuple[Any, Any, list[list[int]]]:
    """Return clustered vectors, relevance of which little counts, and some rows that are barred."""
    rng = np.random.default_rng(0)
    kinds = rng.standard_normal((300, 256))
    vectors = kinds[rng.integers(300, size=16_859)] + 0.8 * rng.standard_normal((16_859, 256))
    seen = [np.sort(rng.choice(16_859, 15, replace=False)).tolist() for _ in range(users)]
    return vectors.astype(np.float32), rng.random((users, 16_859)) ** 12, seen


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the process's seconds and what a call returns."""
    began = time.process_time()
    found = call()
    return time.process_time() - began, found


def main() -> None:
    """Run the cases, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--users", type=int, default=30)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    real = asked.data is not None and (asked.data / "games6k").is_dir()
    vectors, scores, seen = games(asked.data / "games6k", asked.users) if real else made_up(asked.users)
    n, d = vectors.shape
    print(f"{'games' if real else 'made up'}: {n:,} × {d}, {len(scores)} users, k = {asked.k}")
    rows = []
    for options in CASES:
        loops, manys = [], []

        def loop(options: dict[str, Any] = options) -> list[Any]:
            return [
                setwise.select(vectors, asked.k, relevance=own, exclude=barred, threads=1, **options)
                for own, barred in zip(scores, seen, strict=True)
            ]

        def many(options: dict[str, Any] = options) -> list[Any]:
            return setwise.select_many(vectors, asked.k, relevance=scores, exclude=seen, threads=1, **options)

        for _ in range(2):
            loops.append(timed(loop))
            manys.append(timed(many))
        (slow, alone), (fast, together) = min(loops, key=_seconds), min(manys, key=_seconds)
        pairs = list(zip(alone, together, strict=True))
        gaps = [[one.certificate.gap for one in found if one.certificate] for found in (alone, together)]
        rows.append(
            {
                "options": options,
                "loop_ms": 1e3 * slow / len(scores),
                "many_ms": 1e3 * fast / len(scores),
                "ratio": slow / fast,
                "same": sum(set(a.indices.tolist()) == set(b.indices.tolist()) for a, b in pairs),
                "worst": min((b.value - a.value) / abs(a.value) for a, b in pairs),
                "gap_loop": float(np.mean(gaps[0])) if gaps[0] else None,
                "gap_many": float(np.mean(gaps[1])) if gaps[1] else None,
            }
        )
        one = rows[-1]
        print(
            f"{options!s:42} loop {one['loop_ms']:6.2f} ms a user, select_many {one['many_ms']:6.2f}: "
            f"{one['ratio']:5.2f} times; same set {one['same']}/{len(scores)}, worst {one['worst']:+.2%}"
        )
    if asked.out is not None:
        write_json(asked.out, {"real": real, "n": n, "d": d, "k": asked.k, "rows": rows}, force=True)


def _seconds(run: tuple[float, Any]) -> float:
    return run[0]


if __name__ == "__main__":
    main()
