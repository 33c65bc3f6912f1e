"""Small seeded test data. Each maker returns (X, r): rows (n, d) and relevance (n,), in float64."""

import numpy as np

from .objectives import unit_rows


def clustered(n=12, d=6, seed=0, clusters=3, spread=0.4, cone=0.5):
    """Unit rows in clusters, in a cone about a mean, with axes of unequal scale; r = cos to a query."""
    rng = np.random.default_rng(seed)
    scales = 0.8 ** np.arange(d)
    mean = cone * rng.standard_normal(d)
    centers = mean + rng.standard_normal((clusters, d)) * scales
    E = unit_rows(centers[rng.integers(clusters, size=n)] + spread * rng.standard_normal((n, d)) * scales)
    query = unit_rows((centers[0] + spread * rng.standard_normal(d) * scales)[None])[0]
    return E, E @ query


def with_duplicates(n=12, d=6, seed=0, copies=4, **options):
    """`clustered` with `copies` of its rows repeated exactly, relevance too, and shuffled."""
    rng = np.random.default_rng([seed, 1])
    E, r = clustered(n - copies, d, seed, **options)
    rows = rng.permutation(np.concatenate([np.arange(n - copies), rng.integers(n - copies, size=copies)]))
    return E[rows], r[rows]


def with_ties(n=12, d=4, seed=0):
    """± axis vectors (cosines -1, 0, 1) and relevance in quarters: ties are exact, and there are many."""
    rng = np.random.default_rng(seed)
    X = np.zeros((n, d))
    X[np.arange(n), rng.integers(d, size=n)] = rng.choice([-1.0, 1.0], size=n)
    return X, rng.integers(5, size=n) / 4


def integers(n=12, d=3, seed=0, span=3):
    """Integer coordinates in [-span, span], no zero row, not unit; integer relevance 0 to 5."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-span, span + 1, size=(n, d)).astype(np.float64)
    X[~X.any(axis=1), 0] = 1.0
    return X, rng.integers(6, size=n).astype(np.float64)


def low_rank(n=12, d=8, seed=0, rank=3):
    """Unit rows in a subspace of dimension `rank`: a determinantal kernel runs out after that many."""
    rng = np.random.default_rng(seed)
    E = unit_rows(rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d)))
    return E, rng.random(n)


def group_labels(n=12, count=4, seed=0):
    """A group 0 … count-1 for each of n candidates, as even as can be, shuffled."""
    return np.random.default_rng([seed, 2]).permutation(np.arange(n) % count)


ALL = {
    "clustered": clustered,
    "duplicates": with_duplicates,
    "ties": with_ties,
    "integers": integers,
    "low-rank": low_rank,
}
