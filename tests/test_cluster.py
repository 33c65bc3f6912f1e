"""k-means partitions: every row at its nearest centroid, no empty cluster, radii that hold."""

import numpy as np
import pytest

import setwise
from optional import needs
from reference import make
from reference.muss import nearest as nearest_by_definition
from setwise.cluster import k_means, nearest, random_partition
from setwise.vectors import Vectors


@needs("faiss")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("count", [1, 7, 40])
def test_a_partition_with_radii_that_hold(metric, count, split):
    X, q = make.clustered(n=900, d=8, seed=1, clusters=12)
    vectors = Vectors(X.astype(np.float32), metric, workers=2)
    made = k_means(vectors, count)
    sizes = made.sizes()
    assert len(made) == count
    assert sizes.sum() == 900
    assert sizes.min() >= 1
    rows = vectors.rows(np.arange(900), np.float64)
    for cluster, members in enumerate(made.members()):
        assert (made.labels[members] == cluster).all()
        mean = rows[members].mean(axis=0)
        if metric == "cosine":
            mean /= np.linalg.norm(mean)
            far = 1 - rows[members] @ made.centroids[cluster]
        else:
            far = np.linalg.norm(rows[members] - made.centroids[cluster], axis=1)
        assert np.allclose(mean, made.centroids[cluster], atol=1e-5)
        assert far.max() == pytest.approx(made.radii[cluster], abs=1e-5)
    medians = made.medians(q)
    assert medians[0] == np.median(q[made.labels == 0])
    labels, distances = made.assign(rows)
    expected, far = nearest_by_definition(rows, made.centroids, metric)
    assert np.allclose(distances, far, atol=1e-6)
    assert np.mean(labels == expected) > 0.999


@needs("faiss")
def test_clusters_are_better_than_chance():
    X, _ = make.clustered(n=2000, d=16, seed=2, clusters=20)
    vectors = Vectors(X, "cosine")
    made = k_means(vectors, 20)
    rows = vectors.rows(np.arange(2000), np.float64)
    inside = 1 - np.vecdot(rows, made.centroids[made.labels].astype(np.float64))
    chance = random_partition(2000, 20, seed=0)
    means = np.stack([rows[chance == c].mean(axis=0) for c in range(20)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert inside.mean() < 0.8 * (1 - np.vecdot(rows, means[chance])).mean()


@needs("faiss")
def test_no_cluster_is_empty_among_many_copies():
    X = np.repeat(np.eye(6)[:3], 50, axis=0) + 1e-9
    made = k_means(Vectors(X, "cosine"), 12)
    assert made.sizes().min() >= 1
    assert made.sizes().sum() == 150


@needs("faiss")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_threads_and_blocks_change_nothing(metric, split, monkeypatch):
    """Float sums would differ in their last digits by the order in which threads add their blocks."""
    X, _ = make.clustered(n=3000, d=16, seed=3, clusters=30)
    X = 100 * X
    one = k_means(Vectors(X, metric), 25)
    monkeypatch.setattr("setwise.blocks.BLOCK_BYTES", 1 << 12)
    for workers in (1, 2, 3):
        other = k_means(Vectors(X, metric, workers=workers), 25)
        assert np.array_equal(one.centroids, other.centroids)
        assert np.array_equal(one.labels, other.labels)
        assert np.array_equal(one.radii, other.radii)


@needs("faiss")
@pytest.mark.parametrize(("shift", "scale"), [(0, 1e100), (0, 1e-60), (5e6, 1), (-1e12, 1e3)])
def test_numbers_beyond_float32(shift, scale):
    X, _ = make.clustered(n=600, d=4, seed=4, clusters=6)
    plain = k_means(Vectors(X, "euclidean"), 6)
    moved = k_means(Vectors(shift + scale * X, "euclidean"), 6)
    assert np.array_equal(moved.labels, plain.labels)
    assert np.allclose((moved.centroids - shift) / scale, plain.centroids, atol=1e-4)
    assert np.allclose(moved.radii / scale, plain.radii, atol=1e-4)
    assert moved.centroids.dtype == np.float64


@needs("faiss")
def test_numbers_next_to_nothing():
    """A subnormal number has no finer step than the least there is."""
    X = np.random.default_rng(0).integers(-2000, 2000, (40, 3)) * 5e-324
    found = k_means(Vectors(X, "euclidean"), 3)
    means = np.stack([X[found.labels == label].mean(axis=0) for label in range(3)])
    assert np.abs(found.centroids - means).max() <= 5e-324


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_equally_near_centers_the_lowest_is_taken(metric, dtype):
    """Permutations of one center are equally near to rows of one number, up to rounding."""
    rng = np.random.default_rng(0)
    center = rng.standard_normal(37)
    centers = np.stack([rng.permutation(center) for _ in range(12)]).astype(dtype)
    rows = np.repeat(np.linspace(-2, 2, 40)[:, None], 37, axis=1)
    if metric == "cosine":
        centers /= np.linalg.norm(centers[0])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels, _ = nearest(rows.astype(dtype), centers, metric)
    assert labels.tolist() == [0] * 40


@needs("faiss")
def test_quality_can_join_the_vectors():
    X = np.ones((400, 4)) + 1e-3 * np.random.default_rng(0).standard_normal((400, 4))
    q = np.r_[np.zeros(200), np.ones(200)]
    made = k_means(Vectors(X, "cosine"), 2, quality=q, quality_weight=10.0)
    assert len(set(made.labels[:200].tolist())) == 1
    assert made.labels[0] != made.labels[300]


@needs("faiss")
def test_a_seed_of_numpy_is_that_number():
    X = np.random.default_rng(1).standard_normal((200, 4))
    one, other = (k_means(Vectors(X, "cosine"), 5, seed=seed).labels for seed in (3, np.int64(3)))
    assert (one == other).all()
    given = [setwise.select(X, 5, solver="clustering", seed=seed).indices for seed in (3, np.int64(3))]
    assert (given[0] == given[1]).all()


def test_random_partitions_are_even_and_from_the_seed():
    labels = random_partition(1001, 10, seed=3)
    assert np.bincount(labels).max() - np.bincount(labels).min() == 1
    assert np.array_equal(labels, random_partition(1001, 10, seed=3))
    assert not np.array_equal(labels, random_partition(1001, 10, seed=4))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"clusters": 0}, "clusters: 0"),
        ({"clusters": 21}, "more than the 20 items"),
        ({"clusters": 3, "quality_weight": 1.0}, "needs quality"),
        ({"clusters": 3, "quality_weight": -1.0}, "below 0"),
        ({"clusters": 3, "quality_weight": np.inf}, "quality_weight: inf is not finite"),
        ({"clusters": 3, "quality": np.full(20, 1e300), "quality_weight": 1e300}, "beyond float64"),
        ({"clusters": 3, "seed": -1}, "seed"),
    ],
)
def test_bad_input(options, match):
    with pytest.raises(ValueError, match=match):
        k_means(Vectors(np.random.default_rng(0).random((20, 3))), **options)


@needs("faiss")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_tight_clusters_are_found_from_every_seed(metric):
    """Lloyd's iterations from random rows merge two of five, and split another, for most seeds."""
    for seed in range(25):
        rng = np.random.default_rng(seed)
        label = np.repeat(np.arange(5), 20)
        X = rng.normal(size=(5, 8))[label] + 0.01 * rng.normal(size=(100, 8))
        found = k_means(Vectors(X, metric), 5, seed=seed).labels
        assert len(set(zip(label.tolist(), found.tolist(), strict=True))) == 5


@needs("faiss")
def test_centers_are_no_worse_than_of_another_k_means():
    """Within a tenth of scikit-learn's best of ten starts, for hundreds of clusters and for copies."""
    cluster = pytest.importorskip("sklearn.cluster")
    X, _ = make.clustered(n=3000, d=12, seed=4, clusters=150)
    X = np.vstack([X, X[:300]]).astype(np.float32)
    vectors = Vectors(X, "euclidean")
    made = k_means(vectors, 150)
    cost = ((X - made.centroids[made.labels]) ** 2).sum()
    assert cost < 1.1 * cluster.KMeans(150, n_init=3, random_state=0).fit(X).inertia_
