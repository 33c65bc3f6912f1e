"""What several test modules need: plain float64 checks on a selection, and problems made for solvers."""

import warnings

import numpy as np

from reference.greedy import RANK_TOLERANCE, allowed
from reference.objectives import distance_matrix, max_sum_value, unit_rows
from setwise.constraints import Constraints
from setwise.objectives import MaxSum
from setwise.relevance import Relevance
from setwise.request import Request
from setwise.solvers.problem import Problem
from setwise.vectors import Vectors

MEASURES = [("cosine", 1), ("cosine", 2), ("cosine", 8), ("euclidean", 1)]
"""(metric, sharpness) that max-sum takes."""


def quiet(function, *arguments, **options):
    """What a call returns, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)


def with_value(array, place, value):
    """A copy with one entry replaced."""
    changed = np.array(array, np.float64)
    changed[place] = value
    return changed


def from_least(data):
    """Vectors and relevance, the latter counted from its least as solvers do."""
    X, r = data
    return X, r - r.min()


def problem_of(
    X, r, k, t=0.3, sharpness=1, metric="cosine", include=(), groups=None, max_per_group=None, objective=None
):
    """A problem for a solver, as `setwise.select` would pose it."""
    vectors = Vectors(X, metric)
    goal = objective or MaxSum(t, sharpness=sharpness, metric=metric)
    request = Request(k=k, objective=goal, include=include, groups=groups, max_per_group=max_per_group)
    relevance = Relevance(np.asarray(r, np.float64), vectors)
    return Problem(vectors, relevance, request, Constraints(len(r), request))


def constraints_of(n, k, include=(), groups=None, max_per_group=None):
    """The constraints of a request for k of n candidates."""
    return Constraints(n, Request(k=k, include=include, groups=groups, max_per_group=max_per_group))


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


class Scan:
    """Greedy selection that looks at all candidates at each step, in float64, O(n d) a step.

    As tests/reference/greedy.py, without the n × n matrix.
    """

    def __init__(
        self, name, X, r, t, sharpness=1, metric="cosine", include=(), groups=None, max_per_group=None
    ):
        self.name, self.t, self.sharpness, self.metric = name, t, sharpness, metric
        self.X, self.r = np.asarray(X, np.float64), np.asarray(r, np.float64)
        self.rows = unit_rows(self.X) if metric == "cosine" else self.X
        self.include, self.groups, self.quota = include, groups, max_per_group
        self.state = np.full(len(self.r), {"max-sum": 0.0, "mmr": -np.inf, "log-det": 1.0}[name])
        self.factors = np.zeros((0, len(self.r)))
        self.bandwidth = 2.0 * self.X.var(axis=0).sum()
        self.S = []

    def scores(self):
        """(scores, what decides), the latter -inf for those that may not be chosen."""
        t, r, state = self.t, self.r, self.state
        score = (1 - t) * r
        if self.name == "log-det" and t > 0:
            free = state >= RANK_TOLERANCE
            score = np.where(free, score + t * np.log(np.where(free, state, 1.0)), -np.inf)
        elif self.S and t > 0:
            score = score + t * state / len(self.S) if self.name == "max-sum" else score - t * state
        lead = r if not self.S and self.name != "log-det" else score
        ok = allowed(len(r), self.S, self.groups, self.quota) & (score > -np.inf)
        return score, np.where(ok, lead, -np.inf)

    def take(self, row):
        """Choose a candidate."""
        self.S.append(int(row))
        rows, metric, state = self.rows, self.metric, self.state
        if metric == "cosine":
            similar = np.vecdot(rows, rows[row])
        else:
            similar = np.sqrt(np.vecdot(rows - rows[row], rows - rows[row]))
        if self.name == "max-sum":
            self.state = state + (1.0 - similar**self.sharpness if metric == "cosine" else similar)
        elif self.name == "mmr":
            self.state = np.maximum(state, similar if metric == "cosine" else -similar)
        elif state[row] >= RANK_TOLERANCE:
            kernel = similar if metric == "cosine" else np.exp(-(similar**2) / self.bandwidth)
            factor = (kernel - self.factors[:, row] @ self.factors) / np.sqrt(state[row])
            self.factors = np.vstack([self.factors, factor])
            self.state = state - factor * factor


def full_scan(name, X, r, k, t, sharpness=1, metric="cosine", **constraints):
    """(indices, gains) of greedy selection by full scans, ties to the lowest index."""
    scan = Scan(name, X, r, t, sharpness, metric, **constraints)
    gains = []
    while len(scan.S) < k:
        score, lead = scan.scores()
        row = scan.include[len(scan.S)] if len(scan.S) < len(scan.include) else int(lead.argmax())
        if len(scan.S) >= len(scan.include) and lead[row] == -np.inf:
            break
        gains.append(float(score[row]))
        scan.take(row)
    return np.array(scan.S, np.int64), np.array(gains)


def assert_greedy(indices, name, X, r, k, t, sharpness=1, metric="cosine", **constraints):
    """Each pick is the best of all there are, to float64 rounding, and the first of those equal to it."""
    scan = Scan(name, X, r, t, sharpness, metric, **constraints)
    include = list(scan.include)
    assert list(indices[: len(include)]) == include
    for step, row in enumerate(indices):
        _, lead = scan.scores()
        if step >= len(include):
            assert lead[row] > -np.inf, f"step {step}: {row} may not be chosen"
            assert lead[row] >= lead.max() - 2e-13 * (1 + abs(lead.max())), (
                f"step {step}: {row} is not the best"
            )
            same = (scan.X[:row] == scan.X[row]).all(axis=1) & (scan.r[:row] == scan.r[row])
            assert not (same & (lead[:row] > -np.inf)).any(), f"step {step}: an earlier row equals {row}"
        scan.take(row)
    if len(indices) < k:
        assert name == "log-det"
        assert scan.scores()[1].max() == -np.inf, "there was more to choose"


def summed_form(X, r, x, k, t, sharpness=1, metric="cosine"):
    """f(x) = (1-t)(k-1) r·x + t xᵀWx with W the distances; k(k-1) F on sets."""
    W = distance_matrix(X, sharpness, metric)
    np.fill_diagonal(W, 0.0)
    return (1 - t) * (k - 1) * float(np.dot(r, x)) + t * float(x @ W @ x)
