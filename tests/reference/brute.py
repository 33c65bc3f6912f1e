"""The best max-sum set there is: by trying every set, and by MILP."""

import itertools

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from .greedy import check
from .objectives import distance_matrix, max_sum_value


def best_subset(X, r, k, t, sharpness=1, metric="cosine", include=(), groups=None, max_per_group=None):
    """(best F of MUSS Eq. 2, its set ascending), over every k-set that keeps the constraints; n ≤ 14.

    Among sets within 1e-12 of the best, the lexicographically smallest.
    """
    r = np.asarray(r, dtype=np.float64)
    n = len(r)
    if n > 14:
        raise ValueError("brute force is for n up to 14")
    include = check(n, k, include, groups, max_per_group)
    sets = np.array(list(itertools.combinations(range(n), k)))  # in lexicographic order
    keep = np.ones(len(sets), dtype=bool)
    for i in include:
        keep &= (sets == i).any(axis=1)
    if groups is not None:
        groups = np.asarray(groups)
        for label in set(groups.tolist()):
            keep &= (groups[sets] == label).sum(axis=1) <= max_per_group
    sets = sets[keep]
    if len(sets) == 0:
        raise ValueError("no set keeps the constraints")

    values = (1 - t) * r[sets].mean(axis=1)
    if k > 1:
        D = distance_matrix(X, sharpness, metric)
        pairs = sum(D[sets[:, a], sets[:, b]] for a, b in itertools.combinations(range(k), 2))
        values = values + t * 2 * pairs / (k * (k - 1))
    best = values.max()
    first = int(np.flatnonzero(values >= best - 1e-12)[0])
    return float(best), sets[first].astype(np.int64)


def best_value_milp(X, r, k, t, sharpness=1, metric="cosine", include=(), groups=None, max_per_group=None):
    """(best F of MUSS Eq. 2, a set that has it, ascending) by HiGHS: a check on brute force, n up to ~20.

    Each product x_i x_j is a variable y_ij in [0, 1] with y_ij ≤ x_i, y_ij ≤ x_j, y_ij ≥ x_i + x_j - 1;
    Σ_j y_ij = (k-1) x_i holds on sets too and tightens the relaxation.
    """
    r = np.asarray(r, dtype=np.float64)
    n = len(r)
    include = check(n, k, include, groups, max_per_group)
    pairs = list(itertools.combinations(range(n), 2)) if k > 1 else []
    size = n + len(pairs)

    gain = np.zeros(size)
    gain[:n] = (1 - t) * r / k
    D = distance_matrix(X, sharpness, metric)
    rows, lower, upper = [], [], []

    def constrain(entries, low, high):
        row = np.zeros(size)
        for column, coefficient in entries:
            row[column] += coefficient
        rows.append(row)
        lower.append(low)
        upper.append(high)

    constrain([(i, 1) for i in range(n)], k, k)
    for p, (i, j) in enumerate(pairs, start=n):
        gain[p] = t * 2 * D[i, j] / (k * (k - 1))
        constrain([(p, 1), (i, -1)], -np.inf, 0)
        constrain([(p, 1), (j, -1)], -np.inf, 0)
        constrain([(p, 1), (i, -1), (j, -1)], -1, np.inf)
    for i in range(n) if pairs else ():
        row = [(p, 1) for p, pair in enumerate(pairs, start=n) if i in pair]
        constrain([*row, (i, -(k - 1))], 0, 0)
    if groups is not None:
        for label in set(np.asarray(groups).tolist()):
            constrain([(i, 1) for i in range(n) if groups[i] == label], -np.inf, max_per_group)

    least = np.zeros(size)
    least[include] = 1
    result = milp(
        -gain,
        constraints=LinearConstraint(np.array(rows), lower, upper),
        integrality=np.arange(size) < n,
        bounds=Bounds(least, np.ones(size)),
        options={"mip_rel_gap": 0.0},
    )
    if result.x is None:
        raise ValueError(result.message)
    S = np.flatnonzero(result.x[:n] > 0.5)
    return max_sum_value(X, r, S, t, sharpness, metric)[0], S
