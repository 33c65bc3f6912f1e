"""MUSS and DGDS by their definitions, over given partitions: plain loops, float64."""

import numpy as np

from .greedy import max_sum_greedy, mmr
from .objectives import distance_matrix


def alg1(X, q, rows, k, t, metric="cosine", criterion="sum"):
    """Algorithm 1 over some rows (ascending): rows in selection order."""
    rows = np.asarray(rows)
    k = min(k, len(rows))
    pick = max_sum_greedy if criterion == "sum" else mmr
    return rows[pick(np.asarray(X)[rows], np.asarray(q)[rows], k, t, metric=metric)[0]]


def muss(
    X, q, labels, k, t, m, inside, t_c, metric="cosine", top_up=True, scale=1.0, criterion="sum", kept=None
):
    """Algorithm 2: (rows in selection order, kept clusters)."""
    X, q = np.asarray(X, np.float64), np.asarray(q, np.float64)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True) if metric == "cosine" else X
    count = int(labels.max()) + 1
    means = np.stack([unit[labels == c].mean(axis=0) for c in range(count)])
    medians = np.array([np.median(q[labels == c]) for c in range(count)])
    if kept is None:
        kept = np.arange(count) if m >= count else alg1(means, medians, np.arange(count), m, t_c, metric)
    union = [alg1(X, q, np.flatnonzero(labels == c), inside, t, metric, criterion) for c in kept]
    if top_up:
        union.append(np.argsort(-q, kind="stable")[:k])
    union = np.unique(np.concatenate(union))
    return alg1(X, q * scale, union, k, t, metric, criterion), kept


def nearest(X, centroids, metric="cosine"):
    """The nearest centroid of each row and its distance, by the whole matrix."""
    both = np.vstack([X, centroids])
    far = distance_matrix(both, 1, metric)[: len(X), len(X) :]
    return far.argmin(axis=1), far.min(axis=1)
