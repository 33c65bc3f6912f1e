"""What a set is worth, by the definitions (ARCHITECTURE.md, sections 1 to 3). θ = λ = 1 - t throughout."""

import numpy as np


def unit_rows(X):
    """The rows of X scaled to length 1, in float64."""
    X = np.asarray(X, dtype=np.float64)
    lengths = np.sqrt((X * X).sum(axis=1))
    if not (lengths > 0).all():
        raise ValueError("a zero row has no cosine")
    return X / lengths[:, None]


def cosine_matrix(X):
    """EEᵀ. Parallel rows are exactly ±1, so that duplicates tie exactly and the diagonal is 1."""
    E = unit_rows(X)
    K = np.array([(E * e).sum(axis=1) for e in E])  # row by row: equal rows of E give equal rows of K
    return np.where(np.abs(K) > 1 - 1e-15, np.sign(K), K)


def similarity_matrix(X, sharpness=1):
    """(EEᵀ)^∘p, the cosines to the power `sharpness` (ARCHITECTURE.md, section 1)."""
    return cosine_matrix(X) ** sharpness


def distance_matrix(X, sharpness=1, metric="cosine"):
    """d_ij: 1 - cos^sharpness on unit rows, or the L2 distance (not squared) of the rows as they are."""
    if metric == "cosine":
        return 1.0 - similarity_matrix(X, sharpness)
    if metric == "euclidean":
        if sharpness != 1:
            raise ValueError("sharpness belongs to cosine")
        X = np.asarray(X, dtype=np.float64)
        return np.array([np.sqrt(((X - x) ** 2).sum(axis=1)) for x in X])
    raise ValueError(f"unknown metric {metric!r}")


def mmr_similarity_matrix(X, metric="cosine"):
    """sim(i, u) of MMR: the cosine, or minus the L2 distance."""
    return cosine_matrix(X) if metric == "cosine" else -distance_matrix(X, metric=metric)


def kernel_matrix(X, metric="cosine"):
    """The DPP's K: the cosine Gram matrix, or exp(-||x-y||²/s2) over all the candidates.

    s2 is the mean squared distance between two rows drawn (with replacement) from all the candidates,
    that is 2 * the trace of their population covariance. All rows equal: K = 1 everywhere.
    """
    if metric == "cosine":
        return cosine_matrix(X)
    squared = distance_matrix(X, metric=metric) ** 2
    s2 = 2.0 * np.asarray(X, dtype=np.float64).var(axis=0).sum()
    return np.exp(-squared / s2) if s2 > 0 else np.ones_like(squared)


def max_sum_value(X, r, S, t, sharpness=1, metric="cosine"):
    """MUSS Eq. 2 as means: (value, mean relevance, mean distance over ordered pairs i ≠ j of S).

    value = (1-t) * mean relevance + t * mean distance; the distance is 0 at k = 1.
    """
    S = [int(i) for i in S]
    k = len(S)
    relevance = float(np.mean([float(r[i]) for i in S]))
    distance = 0.0
    if k > 1:
        D = distance_matrix(np.asarray(X)[S], sharpness, metric)
        distance = sum(float(D[a, b]) for a in range(k) for b in range(k) if a != b) / (k * (k - 1))
    return (1 - t) * relevance + t * distance, relevance, distance


def mmr_value(X, r, S, t, metric="cosine"):
    """Mean over the sequence S of (1-t) r_i - t * max over the earlier u of sim(i, u); the first: (1-t) r."""
    S = [int(i) for i in S]
    sim = mmr_similarity_matrix(np.asarray(X)[S], metric)
    scores = [(1 - t) * float(r[S[0]])]
    scores += [(1 - t) * float(r[S[a]]) - t * float(sim[a, :a].max()) for a in range(1, len(S))]
    return float(np.mean(scores))


def log_det_value(X, r, S, t, metric="cosine"):
    """(1-t) Σ r + t log det K_S (ARCHITECTURE.md, section 3). A zero determinant is -inf unless t = 0."""
    S = [int(i) for i in S]
    relevance = sum(float(r[i]) for i in S)
    if t == 0:
        return relevance
    sign, log_det = np.linalg.slogdet(kernel_matrix(X, metric)[np.ix_(S, S)])
    return (1 - t) * relevance + t * (float(log_det) if sign > 0 else -np.inf)


def ccbqp_value(X, r, x, k, t, sharpness=1, penalty=1.0):
    """CCBQP Eq. 2 (penalty 1), or Eqs. 3 and 4 with λ = penalty, at a 0/1 or fractional x with Σx = k.

    θ(k-1) cᵀx + (1-θ) xᵀ(λI - EEᵀ)x, with (EEᵀ)^∘sharpness for EEᵀ.
    """
    x = np.asarray(x, dtype=np.float64)
    K = similarity_matrix(X, sharpness)
    linear = (1 - t) * (k - 1) * float(np.asarray(r, dtype=np.float64) @ x)
    return linear + t * (penalty * float(x @ x) - float(x @ K @ x))


def ccbqp_relaxed_value(X, r, x, k, t, sharpness=1):
    """CCBQP Eq. 4 with λ = 2: the function that Frank-Wolfe climbs."""
    return ccbqp_value(X, r, x, k, t, sharpness, penalty=2.0)
