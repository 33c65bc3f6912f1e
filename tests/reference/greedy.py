"""The greedy methods by full scans. Each returns (indices, gains) in selection order.

A gain is the item's score when it was taken, `include`d items too. Ties go to the lowest index.
"""

from collections import Counter

import numpy as np

from .objectives import distance_matrix, kernel_matrix, mmr_similarity_matrix

RANK_TOLERANCE = 1e-6
"""A conditional variance d² below this is 0: the item lies in the span of those taken."""


def check(n, k, include=(), groups=None, max_per_group=None):
    """Raise ValueError where no k-set holds `include` and keeps to `max_per_group`."""
    include = [int(i) for i in include]
    if not 1 <= k <= n or len(include) > k or len(set(include)) < len(include):
        raise ValueError("k or include cannot be met")
    if any(not 0 <= i < n for i in include):
        raise ValueError("include: no such candidate")
    if (groups is None) != (max_per_group is None):
        raise ValueError("groups and max_per_group go together")
    if groups is not None:
        sizes = Counter(np.asarray(groups).tolist())
        taken = Counter(np.asarray(groups)[include].tolist())
        if max(taken.values(), default=0) > max_per_group:
            raise ValueError("include breaks max_per_group")
        if sum(min(size, max_per_group) for size in sizes.values()) < k:
            raise ValueError("the groups cannot fill k")
    return include


def allowed(n, S, groups=None, max_per_group=None):
    """Which candidates may join S: those outside it whose group is not full (include counts too)."""
    ok = np.ones(n, dtype=bool)
    ok[S] = False
    if groups is not None:
        groups = np.asarray(groups)
        for label, count in Counter(groups[S].tolist()).items():
            if count >= max_per_group:
                ok[groups == label] = False
    return ok


def _run(n, k, score, include, groups, max_per_group, taken=lambda i: None):
    """Take `include`, then the best `score(S)` of the allowed, until k or until none is above -inf."""
    include = check(n, k, include, groups, max_per_group)
    S, gains = [], []
    while len(S) < k:
        scores, order = score(S)
        if len(S) < len(include):
            best = include[len(S)]
        else:
            ok = allowed(n, S, groups, max_per_group) & (scores > -np.inf)
            if not ok.any():
                break
            best = int(np.argmax(np.where(ok, order, -np.inf)))  # argmax: the lowest index among ties
        S.append(best)
        gains.append(float(scores[best]))
        taken(best)
    return np.array(S, dtype=np.int64), np.array(gains)


def max_sum_greedy(X, r, k, t, sharpness=1, metric="cosine", include=(), groups=None, max_per_group=None):
    """MUSS Algorithm 1 with the mean distance ('in practice'): argmax (1-t) r_j + t * mean_{u∈S} d_ju.

    The first is the most relevant, at t = 1 too; its gain is (1-t) r.
    """
    r = np.asarray(r, dtype=np.float64)
    D = distance_matrix(X, sharpness, metric)

    def score(S):
        if not S:
            return (1 - t) * r, r
        scores = (1 - t) * r + t * D[:, S].mean(axis=1)
        return scores, scores

    return _run(len(r), k, score, include, groups, max_per_group)


def mmr(X, r, k, t, metric="cosine", include=(), groups=None, max_per_group=None):
    """Carbonell and Goldstein: argmax (1-t) r_i - t * max_{u∈S} sim(i, u) over every u selected.

    The first is the most relevant, at t = 1 too; its gain is (1-t) r.
    """
    r = np.asarray(r, dtype=np.float64)
    sim = mmr_similarity_matrix(X, metric)

    def score(S):
        if not S:
            return (1 - t) * r, r
        scores = (1 - t) * r - t * sim[:, S].max(axis=1)
        return scores, scores

    return _run(len(r), k, score, include, groups, max_per_group)


def dpp(X, r, k, t, metric="cosine", include=(), groups=None, max_per_group=None):
    """Chen et al. 2018, greedy MAP by incremental Cholesky: argmax (1-t) r_i + t log d_i².

    The first is argmax (1-t) r_i + t log K_ii. A d² below RANK_TOLERANCE counts as 0, which is -inf: such
    an item is never chosen, and where all the allowed are such the result is shorter than k. At t = 0
    the determinant has no say: the k most relevant.
    """
    r = np.asarray(r, dtype=np.float64)
    K = kernel_matrix(X, metric)
    d2 = np.diag(K).copy()
    rows = np.zeros((len(r), 0))  # the Cholesky rows c_i

    def score(S):
        if t == 0:
            return r, r
        scores = np.full(len(r), -np.inf)
        free = d2 >= RANK_TOLERANCE
        scores[free] = (1 - t) * r[free] + t * np.log(d2[free])
        return scores, scores

    def taken(j):
        nonlocal d2, rows
        if d2[j] >= RANK_TOLERANCE:  # else a dependent `include`d item: it adds no direction
            e = (K[j] - (rows * rows[j]).sum(axis=1)) / np.sqrt(d2[j])
            rows = np.column_stack([rows, e])
            d2 = d2 - e * e

    return _run(len(r), k, score, include, groups, max_per_group, taken)
