"""AMPO's algorithms, written plainly: Appendix E's loop, bottom-k, the coverage cost, the programs."""

import itertools

import numpy as np
from scipy import sparse
from scipy.optimize import LinearConstraint, linprog, milp
from scipy.spatial.distance import cdist


def scaled(vectors, rating, positives=1):
    """(rows left, weights, distances) of Appendix E: the best out, rewards and distances scaled to [0, 1].

    With several positives the best m come out (Appendix B, remark).
    """
    vectors, rating = np.asarray(vectors, np.float64), np.asarray(rating, np.float64)
    low, high = rating.min(), rating.max()
    unit = (rating - low) / (high - low) if high > low else np.zeros_like(rating) + 0.5
    best = np.argsort(-rating, kind="stable")[:positives]
    left = np.array([row for row in range(len(rating)) if row not in best], dtype=int)
    if len(left) == 0:
        return left, np.empty(0), np.empty((0, 0))
    distances = cdist(vectors[left], vectors[left])
    distances /= distances.max() if distances.max() > 1e-12 else 1
    return left, np.exp(unit[left].mean() - unit[left]), distances


def coverage_cost(distances, w, chosen, fixed=None):
    """Σ_i w_i min_{j in chosen} A_ij (Eq. 8), and the members' fixed costs."""
    cost = sum(w[i] * min(distances[i, j] for j in chosen) for i in range(len(w)))
    return cost if fixed is None else cost + sum(fixed[j] for j in chosen)


def local_search(distances, w, start):
    """Appendix E's loop from a given start, best exchanges until none gains: (set, cost, exchanges)."""
    everyone = np.arange(len(w))
    current = {int(row) for row in start}
    cost = coverage_cost(distances, w, current)
    exchanges = 0
    improved = True
    while improved:
        improved = False
        best = (None, None, 0)
        for leaves in list(current):
            for joins in everyone:
                if joins not in current:
                    candidate = (current - {leaves}) | {joins}
                    gain = cost - coverage_cost(distances, w, candidate)
                    if gain > best[2]:
                        best = (leaves, joins, gain)
        if best[2] > 1e-12:
            current.remove(best[0])
            current.add(int(best[1]))
            cost -= best[2]
            exchanges += 1
            improved = True
    return sorted(current), cost, exchanges


def opt_select(vectors, rating, k, seed=42):
    """Appendix E from its own random start: (positive, negatives, cost)."""
    left, w, distances = scaled(vectors, rating)
    rng = np.random.default_rng(seed)
    start = rng.choice(len(left), size=k, replace=False) if k < len(left) else np.arange(len(left))
    found, _, _ = local_search(distances, w, start)
    return int(np.argmax(rating)), left[found], coverage_cost(distances, w, found)


def brute_force(distances, w, k, fixed=None, allowed=lambda _: True):
    """(best set, its cost) over all sets of size k."""
    sets = (one for one in itertools.combinations(range(distances.shape[1]), k) if allowed(one))
    return min(((one, coverage_cost(distances, w, one, fixed)) for one in sets), key=lambda pair: pair[1])


def greedy(cost, k, fixed=None, include=()):
    """Each pick the one after which the set costs least; ties to the lowest index."""
    n = cost.shape[1]
    fixed = np.zeros(n) if fixed is None else fixed
    chosen = list(include)
    while len(chosen) < k:
        totals = [
            np.inf if j in chosen else cost[:, [*chosen, j]].min(axis=1).sum() + fixed[[*chosen, j]].sum()
            for j in range(n)
        ]
        chosen.append(int(np.argmin(totals)))
    return chosen


def _program(cost, k, fixed):
    """(objective, equality rows, their right side, links z <= x) of Problem P without its big-M rows."""
    n, m = cost.shape
    objective = np.r_[np.zeros(m) if fixed is None else fixed, cost.ravel()]
    served = sparse.hstack([sparse.csr_array((n, m)), sparse.kron(sparse.eye_array(n), np.ones((1, m)))])
    size = sparse.csr_array(np.r_[np.ones(m), np.zeros(n * m)][None])
    links = sparse.hstack([-sparse.kron(np.ones((n, 1)), sparse.eye_array(m)), sparse.eye_array(n * m)])
    return objective, sparse.vstack([served, size]).tocsr(), np.r_[np.ones(n), k], links.tocsr()


def relaxation(cost, k, fixed=None):
    """The linear relaxation's value, by HiGHS."""
    objective, rows, right, links = _program(cost, k, fixed)
    answer = linprog(objective, links, np.zeros(links.shape[0]), rows, right, bounds=(0, 1), method="highs")
    assert answer.status == 0
    return answer.fun


def program(cost, k, fixed=None):
    """(best set, its cost) by HiGHS on the whole mixed-integer program."""
    objective, rows, right, links = _program(cost, k, fixed)
    m = cost.shape[1]
    answer = milp(
        objective,
        constraints=[LinearConstraint(rows, right, right), LinearConstraint(links, -np.inf, 0)],
        bounds=(0, 1),
        integrality=np.r_[np.ones(m), np.zeros(cost.size)],
        options={"mip_rel_gap": 0.0},
    )
    assert answer.status == 0
    return np.flatnonzero(answer.x[:m] > 0.5), answer.fun


def bottom_k(vectors, rating, k):
    """The k lowest of all but the best; among equals the one least similar to those chosen (section 4.1)."""
    vectors, rating = np.asarray(vectors, np.float64), np.asarray(rating, np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    left = [row for row in range(len(rating)) if row != int(np.argmax(rating))]
    chosen = []
    for _ in range(k):
        lowest = min(rating[row] for row in left)
        equal = [row for row in left if rating[row] == lowest]

        def closest(row):
            pairs = [(vectors[row] @ vectors[one], norms[row] * norms[one]) for one in chosen]
            return max((product / size if size else 0.0 for product, size in pairs), default=0.0)

        pick = min(equal, key=lambda row: (closest(row), row))
        chosen.append(pick)
        left.remove(pick)
    return chosen
