"""What several test modules need: plain float64 checks on a selection, and problems made for solvers."""

import numpy as np
from reference.greedy import RANK_TOLERANCE, allowed
from reference.objectives import distance_matrix, max_sum_value, unit_rows

from setwise import api
from setwise.objectives import MaxSum

MEASURES = [("cosine", 1), ("cosine", 2), ("cosine", 8), ("euclidean", 1)]
"""(metric, sharpness) that max-sum takes."""


def problem_of(
    X, r, k, t=0.3, sharpness=1, metric="cosine", include=(), groups=None, max_per_group=None, objective=None
):
    """A checked problem, as `setwise.select` would hand it to a solver."""
    return api.prepare(
        X,
        k,
        objective or MaxSum(t, sharpness=sharpness, metric=metric),
        relevance=r,
        query=None,
        relevance_scale="none",
        include=include,
        groups=groups,
        max_per_group=max_per_group,
        seed=0,
        workers=1,
        stacklevel=1,
    )


def assert_feasible(indices, n, k, include=(), groups=None, max_per_group=None):
    """k distinct rows of n, must-have rows first and in order, no group above its quota."""
    indices = np.asarray(indices)
    assert indices.dtype == np.int64
    assert indices.shape == (k,)
    assert len(set(indices.tolist())) == k
    assert indices.min() >= 0
    assert indices.max() < n
    assert indices[: len(include)].tolist() == [int(row) for row in include]
    if groups is not None:
        _, counts = np.unique(np.asarray(groups)[indices], return_counts=True)
        assert counts.max() <= max_per_group


def distances_to(X, rows, sharpness=1, metric="cosine"):
    """Distances of all to some rows, (n, m), float64; zero to oneself."""
    X = np.asarray(X, np.float64)
    if metric == "cosine":
        E = unit_rows(X)
        D = 1.0 - np.stack([np.vecdot(E, E[row]) for row in rows], axis=1) ** sharpness
    else:
        D = np.stack([np.sqrt(np.vecdot(X - X[row], X - X[row])) for row in rows], axis=1)
    D[rows, np.arange(len(rows))] = 0.0
    return D


def best_exchange(X, r, S, t, sharpness=1, metric="cosine", include=(), groups=None, max_per_group=None):
    """By how much the best single exchange with any candidate raises F; below 0 where none does."""
    S, r = np.asarray(S), np.asarray(r, np.float64)
    n, k = len(r), len(S)
    D = distances_to(X, S, sharpness, metric)
    total = D.sum(axis=1)
    base = (1 - t) * r / k + (2 * t * total / (k * (k - 1)) if k > 1 else 0.0)
    change = base[:, None] - base[S] - (2 * t / (k * (k - 1)) * D if k > 1 else 0.0)
    change[S] = -np.inf
    change[:, np.isin(S, include)] = -np.inf
    if groups is not None:
        groups = np.asarray(groups)
        full = np.array([(groups[S] == label).sum() >= max_per_group for label in groups])
        change[full[:, None] & (groups[:, None] != groups[S])] = -np.inf
    return float(change.max()) if n > k else -np.inf


def value_of(X, r, S, t, sharpness=1, metric="cosine"):
    """F of MUSS Eq. 2."""
    return max_sum_value(X, r, S, t, sharpness, metric)[0]


def full_scan(
    name, X, r, k, t, sharpness=1, metric="cosine", include=(), groups=None, max_per_group=None
):
    """Greedy selection that looks at all candidates at each step, float64, O(n d) a step.

    As tests/reference/greedy.py, without the n × n matrix. Returns indices and gains.
    """
    X, r = np.asarray(X, np.float64), np.asarray(r, np.float64)
    rows = unit_rows(X) if metric == "cosine" else X
    n = len(r)
    bandwidth = 2.0 * X.var(axis=0).sum()

    def column(i):
        if metric == "cosine":
            return np.vecdot(rows, rows[i])
        return np.sqrt(np.vecdot(rows - rows[i], rows - rows[i]))

    state = np.zeros(n)
    state[:] = {"max-sum": 0.0, "mmr": -np.inf, "log-det": 1.0}[name]
    factors = np.zeros((0, n))
    S, gains = [], []
    while len(S) < k:
        if name == "log-det" and t > 0:
            score = np.full(n, -np.inf)
            free = state >= RANK_TOLERANCE
            score[free] = (1 - t) * r[free] + t * np.log(state[free])
        elif not S or t == 0:
            score = (1 - t) * r
        elif name == "max-sum":
            score = (1 - t) * r + t * state / len(S)
        else:
            score = (1 - t) * r - t * state
        lead = r if not S and name != "log-det" else score
        if len(S) < len(include):
            best = int(include[len(S)])
        else:
            ok = allowed(n, S, groups, max_per_group) & (score > -np.inf)
            if not ok.any():
                break
            best = int(np.where(ok, lead, -np.inf).argmax())
        S.append(best)
        gains.append(score[best])
        similar = column(best)
        if name == "max-sum":
            state = state + (1.0 - similar**sharpness if metric == "cosine" else similar)
        elif name == "mmr":
            state = np.maximum(state, similar if metric == "cosine" else -similar)
        elif state[best] >= RANK_TOLERANCE:
            kernel = similar if metric == "cosine" else np.exp(-(similar**2) / bandwidth)
            factor = (kernel - factors[:, best] @ factors) / np.sqrt(state[best])
            factors = np.vstack([factors, factor])
            state = state - factor * factor
    return np.array(S, np.int64), np.array(gains)


def summed_form(X, r, x, k, t, sharpness=1, metric="cosine"):
    """f(x) = (1-t)(k-1) r·x + t xᵀWx with W the distances; k(k-1) F on sets."""
    W = distance_matrix(X, sharpness, metric)
    np.fill_diagonal(W, 0.0)
    return (1 - t) * (k - 1) * float(np.dot(r, x)) + t * float(x @ W @ x)
