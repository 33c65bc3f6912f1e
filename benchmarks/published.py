"""The baselines as published: full scans over all candidates, plain NumPy on BLAS's own threads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


def value(rows: Rows, relevance: NDArray[np.float32], chosen: NDArray[np.int64], t: float) -> float:
    """Return max-sum's value of a set in float64."""
    k = len(chosen)
    members = rows[chosen].astype(np.float64)
    members /= np.linalg.norm(members, axis=1, keepdims=True)
    total = members.sum(axis=0)
    return float(
        (1 - t) * relevance[chosen].astype(np.float64).mean() + t * (1 - (total @ total - k) / (k * (k - 1)))
    )


def frank_wolfe(
    rows: Rows, relevance: NDArray[np.float32], k: int, t: float, most: int = 200
) -> NDArray[np.int64]:
    """CCBQP Algorithm 1 with λ = 2 from x = k/n, until the gap is zero to single precision."""
    n = len(rows)
    x = np.full(n, np.float32(k / n))
    pulled = rows.sum(axis=0) * np.float32(k / n)
    linear = np.float32((1 - t) * (k - 1)) * relevance
    for _ in range(most):
        gradient = linear + np.float32(2 * t) * (2 * x - rows @ pulled)
        vertex = np.argpartition(-gradient, k - 1)[:k]
        moved = -x
        moved[vertex] += 1
        gap = float(gradient @ moved)
        if gap <= 1e-6 * abs(float(gradient @ x)):
            break
        ahead = rows[vertex].sum(axis=0) - pulled
        bend = 2 * t * (2 * float(moved @ moved) - float(ahead @ ahead))
        length = 1.0 if bend >= 0 else min(1.0, gap / -bend)
        x += np.float32(length) * moved
        pulled = pulled + np.float32(length) * ahead
    return np.argpartition(-x, k - 1)[:k]


def greedy(rows: Rows, relevance: NDArray[np.float32], k: int, t: float) -> NDArray[np.int64]:
    """MUSS Algorithm 1 under cosine, one pass a step (E v is kept up, not k columns)."""
    chosen = [int(relevance.argmax())]
    total = rows[chosen[0]].copy()
    base = np.float32(1 - t) * relevance
    for step in range(1, k):
        score = base + np.float32(t) * (1 - (rows @ total) / np.float32(step))
        score[chosen] = -np.inf
        chosen.append(int(score.argmax()))
        total += rows[chosen[-1]]
    return np.array(chosen)


def mmr(rows: Rows, relevance: NDArray[np.float32], k: int, t: float) -> NDArray[np.int64]:
    """Maximal marginal relevance with the running maximum kept up: one pass a step."""
    chosen = [int(relevance.argmax())]
    nearest = rows @ rows[chosen[0]]
    base = np.float32(1 - t) * relevance
    base[chosen[0]] = -np.inf
    for _ in range(1, k):
        place = int((base - np.float32(t) * nearest).argmax())
        chosen.append(place)
        base[place] = -np.inf
        if len(chosen) < k:
            np.maximum(nearest, rows @ rows[place], out=nearest)
    return np.array(chosen)


def dpp(rows: Rows, relevance: NDArray[np.float32], k: int, t: float) -> NDArray[np.int64]:
    """Greedy MAP by incremental Cholesky (Chen et al. 2018) over all candidates: n × k numbers kept."""
    n = len(rows)
    columns = np.zeros((n, k), np.float32)
    residual = np.ones(n, np.float32)
    base = np.float32(1 - t) * relevance
    chosen: list[int] = []
    for step in range(k):
        place = int((base + np.float32(t) * np.log(np.maximum(residual, 1e-10))).argmax())
        chosen.append(place)
        base[place] = -np.inf
        if step + 1 < k:
            found = rows @ rows[place] - columns[:, :step] @ columns[place, :step]
            found /= np.sqrt(max(float(residual[place]), 1e-10))
            columns[:, step] = found
            residual -= found * found
    return np.array(chosen)
