"""TSDS as its paper writes it: Problem RT as a linear program, and Algorithms 1 and 2 with their heap."""

import heapq

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array


def density(X, width, neighbors=None):
    """ρ_j: kernel sums over the nearest candidates of each, itself among them."""
    d = np.sqrt(((X[:, None] - X[None]) ** 2).sum(-1))
    kernel = np.maximum(1 - (d / width) ** 2, 0)
    return -np.sort(-kernel, axis=1)[:, :neighbors].sum(axis=1)


def lp_value(d, rho, diversity, scale, regularizer):
    """The least value of Problem RT, by HiGHS over γ and its distance from even."""
    M, N = d.shape
    alpha = 1 - diversity
    cost, size = (alpha / scale) * d.ravel(), M * N
    sums = coo_array((np.ones(size), (np.repeat(np.arange(M), N), np.arange(size))), shape=(M, size))
    if regularizer == "tv":
        # |γ - 1/(MN)| = u, u ≥ ±(γ - 1/(MN))
        even = np.full(size, 1 / (M * N))
        eye = np.eye(size)
        A = np.block([[eye, -eye], [-eye, -eye]])
        b = np.concatenate([even, -even])
        c = np.concatenate([cost, np.full(size, 0.5 * diversity)])
        eq = np.hstack([sums.toarray(), np.zeros((M, size))])
    else:
        even = np.tile(1 / rho / (M * (1 / rho).sum()), M)
        weight = np.tile(rho, M) * M
        # G ≥ ± M ρ (γ - even)
        A = np.vstack(
            [
                np.hstack([np.diag(weight), -np.ones((size, 1))]),
                np.hstack([-np.diag(weight), -np.ones((size, 1))]),
            ]
        )
        b = np.concatenate([weight * even, -weight * even])
        c = np.append(cost, diversity)
        eq = np.hstack([sums.toarray(), np.zeros((M, 1))])
    found = linprog(c, A_ub=A, b_ub=b, A_eq=eq, b_eq=np.full(M, 1 / M), bounds=(0, None), method="highs")
    assert found.status == 0, found.message
    return found.fun


def knn_uniform(ids, d, n, diversity, scale):
    """Algorithm 1 on prefetched neighbors: (probabilities, K)."""
    M, L = d.shape
    alpha = 1 - diversity
    K = 1
    while K < L and alpha / scale * (d[:, K : K + 1] - d[:, :K]).sum() < (1 - alpha) * M:
        K += 1
    p = np.zeros(n)
    for i in range(M):
        for k in range(K):
            p[ids[i, k]] += 1 / (K * M)
    return p, K


def knn_kde(ids, d, rho, n, diversity, scale):
    """Algorithm 2 on prefetched neighbors, with its heap; ``rho`` is (M, L): (probabilities, s, whole)."""
    M, L = d.shape
    alpha = 1 - diversity
    whole, cost = np.zeros(M, int), np.zeros(M)
    heap = [(1 / rho[i, 0], i) for i in range(M)]
    heapq.heapify(heap)
    total = 0.0
    s = None
    while heap:
        s, i = heapq.heappop(heap)
        whole[i] += 1
        K = whole[i]
        if K >= L:
            break
        total -= cost[i]
        cost[i] = ((d[i, K] - d[i, :K]) / rho[i, :K]).sum()
        total += cost[i]
        if alpha / scale * total >= (1 - alpha) * M:
            break
        if K < L:
            heapq.heappush(heap, (s + 1 / rho[i, K], i))
    p = np.zeros(n)
    for i in range(M):
        left = 1 / M
        for k in range(whole[i]):
            share = 1 / (M * s * rho[i, k])
            p[ids[i, k]] += share
            left -= share
        if whole[i] < L:
            p[ids[i, whole[i]]] += left
    return p, s, whole


def theorem_a1(d, diversity, scale):
    """The plan of Theorem A.1, dense."""
    M, N = d.shape
    threshold = np.inf if diversity == 1 else diversity * scale / (1 - diversity)
    plan = np.zeros((M, N))
    for i in range(M):
        order = np.argsort(d[i], kind="stable")
        for j in order[1:]:
            if d[i, j] - d[i, order[0]] < threshold:
                plan[i, j] = 1 / (M * N)
        plan[i, order[0]] = 1 / M - plan[i].sum()
    return plan
