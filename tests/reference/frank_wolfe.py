"""CCBQP Algorithm 1, with dense matrices."""

import numpy as np

from .objectives import similarity_matrix


def top_k(values, k):
    """The indices of the k largest, largest first, ties by lowest index."""
    return np.argsort(-np.asarray(values), kind="stable")[:k]


def frank_wolfe(X, r, k, t, sharpness=1, tol=1e-9, max_iter=200, penalty=2.0):
    """CCBQP Algorithm 1 from x = k/n: (indices, iterations, history of f of Eq. 4).

    Line numbers are the paper's. It stops where the gap <∇f, s - x> is at most tol * max(1, |<∇f, x>|);
    the indices are the top k of x, by x descending, then index. At k = 1 Eq. 2 is 0 for every set, so the
    most relevant is returned (ARCHITECTURE.md, section 1: k = 1 is relevance alone).
    """
    c = np.asarray(r, dtype=np.float64)
    K = similarity_matrix(X, sharpness)
    n, theta = len(c), 1 - t

    def f(x):
        return theta * (k - 1) * float(c @ x) + (1 - theta) * (penalty * float(x @ x) - float(x @ K @ x))

    if k == 1:
        return top_k(c, 1), 0, [f(np.eye(n)[int(np.argmax(c))])]

    x = np.full(n, k / n)
    history = [f(x)]
    for iteration in range(max_iter):
        Kx = (K * x).sum(axis=1)  # by rows, so that duplicates tie exactly
        gradient = theta * (k - 1) * c + 2 * (1 - theta) * (penalty * x - Kx)  # line 4
        s = np.zeros(n)
        s[top_k(gradient, k)] = 1.0  # line 5
        d = s - x
        gap = float(gradient @ d)
        if gap <= tol * max(1.0, abs(float(gradient @ x))):
            return top_k(x, k), iteration, history
        curvature = 2 * (1 - theta) * (penalty * float(d @ d) - float(d @ K @ d))
        gamma = 1.0 if curvature >= 0 else min(1.0, gap / -curvature)  # Eq. 6
        x = s if gamma == 1.0 else x + gamma * d
        history.append(f(x))
    return top_k(x, k), max_iter, history
