"""MUSS over shards: the selection of a catalog in memory, and of the paper's definition."""

import gc
import tracemalloc

import numpy as np
import pytest

from helpers import value_of
from optional import lazily, needs
from reference import make
from reference.muss import alg1, muss, nearest
from setwise.catalog import Catalog
from setwise.catalog.shards import Shard, reading, select_shards
from setwise.catalog.shards import clusters as over_shards

pa = lazily("pyarrow")
parquet = lazily("pyarrow.parquet")

pytestmark = needs("pyarrow", "faiss")

N, D = 1200, 10
CUTS = [0, 250, 600, 601, 1200]
STARTS = np.array(CUTS[:-1])


@pytest.fixture(scope="module")
def items():
    X, _ = make.clustered(n=N, d=D, seed=4, clusters=25)
    return X.astype(np.float32), np.random.default_rng(1).random(N) ** 2


def as_npy(folder, X, q):
    listed = []
    for number, (a, b) in enumerate(zip(CUTS, CUTS[1:], strict=False)):
        vectors, quality = folder / f"{number}.npy", folder / f"q{number}.npy"
        np.save(vectors, X[a:b])
        np.save(quality, q[a:b])
        listed.append(Shard(str(vectors), str(quality)))
    return listed


def as_parquet(folder, X, q):
    listed = []
    for number, (a, b) in enumerate(zip(CUTS, CUTS[1:], strict=False)):
        table = {
            "id": [f"item {row}" for row in range(a, b)],
            "quality": q[a:b],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(X[a:b].ravel()), D),
        }
        listed.append(str(folder / f"{number}.parquet"))
        parquet.write_table(pa.table(table), listed[-1], row_group_size=100)
    return listed


@pytest.fixture(scope="module")
def shards(items, tmp_path_factory):
    return as_npy(tmp_path_factory.mktemp("npy"), *items)


@pytest.fixture(scope="module")
def tables(items, tmp_path_factory):
    return as_parquet(tmp_path_factory.mktemp("parquet"), *items)


def rows_of(found):
    return (STARTS[found.shards] + found.rows).tolist()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    ("here", "there"),
    [
        ({}, {}),
        (
            {"clusters": 5, "per_cluster": 7, "diversity": 0.6},
            {"kept": 5, "per_cluster": 7, "diversity": 0.6},
        ),
        (
            {"clusters": 20, "cluster_diversity": 0.1, "criterion": "min", "diversity": 0.4},
            {"kept": 20, "cluster_diversity": 0.1, "criterion": "min", "diversity": 0.4},
        ),
        ({"top_up": False, "final_quality_scale": 0.5}, {"top_up": False, "final_quality_scale": 0.5}),
    ],
)
def test_the_catalogs_selection_from_the_same_seed(items, shards, metric, here, there):
    seed = {} if "top_up" in here else {"seed": 3}  # where none is named, too
    catalog = Catalog.build(*items, clusters=20, metric=metric, **seed)
    own = catalog.select(30, method="muss", threads=2, **here)
    found = select_shards(shards, 30, method="muss", clusters=20, metric=metric, **seed, **there)
    assert rows_of(found) == own.indices.tolist()
    assert found.ids.tolist() == found.rows.tolist()
    assert np.array_equal(found.quality, items[1][own.indices])
    assert found.clusters.tolist() == own.clusters.tolist()
    assert found.value == pytest.approx(own.value, abs=1e-6)
    assert found.value == pytest.approx(
        value_of(*items, own.indices, here.get("diversity", 0.1), metric=metric), abs=1e-6
    )
    assert found.union == own.stats["union"]
    made = found.clustering
    assert np.array_equal(made.centroids, catalog.clusters.centroids)
    assert np.array_equal(made.sizes, catalog.clusters.sizes())
    assert np.array_equal(made.medians, catalog.clusters.medians(items[1]))
    assert len(made.kept) == own.stats["partitions"]
    assert np.allclose(made.radii, catalog.clusters.radii[made.kept], atol=1e-6)


@pytest.mark.parametrize("workers", [1, "processes"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_given_centroids_by_definition(items, shards, metric, workers, request):
    X, q = items
    centroids = X[::77].astype(np.float64) * 1.01
    t, m, inside, k = 0.35, 6, 8, 25
    labels, _ = nearest(X.astype(np.float64), centroids, metric)
    counted = np.unique(labels)
    labels = np.searchsorted(counted, labels)
    medians = np.array([np.median(q[labels == c]) for c in range(len(counted))])
    kept = alg1(centroids[counted], medians, np.arange(len(counted)), m, 0.5, metric)
    expected, _ = muss(X, q, labels, k, t, m, inside, 0.5, metric, kept=kept)
    found = select_shards(
        shards,
        k,
        method="muss",
        diversity=t,
        clusters=centroids,
        kept=m,
        per_cluster=inside,
        metric=metric,
        workers=workers if workers == 1 else request.getfixturevalue(workers),
    )
    assert rows_of(found) == expected.tolist()
    assert found.clusters.tolist() == labels[expected].tolist()
    assert sorted(found.clustering.kept.tolist()) == sorted(kept.tolist())
    assert np.array_equal(found.clustering.medians, medians)


def test_parquet_processes_and_small_batches_change_nothing(items, tables, shards, monkeypatch, processes):
    options = {"method": "muss", "clusters": 15, "diversity": 0.5, "seed": 1}
    one = select_shards(shards, 40, **options)
    two = select_shards(tables, 40, workers=processes, **options)
    assert rows_of(two) == rows_of(one)
    assert two.ids.tolist() == [f"item {row}" for row in rows_of(one)]
    assert two.value == one.value
    monkeypatch.setattr(reading, "BATCH", 37)
    monkeypatch.setattr(reading, "_GATHERED", 3)
    assert rows_of(select_shards(tables, 40, **options)) == rows_of(one)


@pytest.mark.parametrize("dtype", ["float16", "int8", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_stored_types(items, tmp_path, dtype, order):
    X = np.asarray(np.round(items[0] * 40), dtype, order=order)
    X[~X.any(axis=1)] = 1
    catalog = Catalog.build(X, items[1], clusters=10)
    found = select_shards(as_npy(tmp_path, X, items[1]), 20, method="muss", clusters=10)
    assert rows_of(found) == catalog.select(20, method="muss").indices.tolist()


def test_clusters_that_come_out_empty(tmp_path):
    X = np.repeat(np.eye(D, dtype=np.float32)[:3], 400, axis=0)
    X += 1e-4 * np.random.default_rng(0).standard_normal(X.shape).astype(np.float32)
    X[:150] = X[0]
    q = np.random.default_rng(2).random(N)
    listed = as_npy(tmp_path, X, q)
    # None of k-means' clusters is empty: the largest are halved, as in memory.
    own = Catalog.build(X, q, clusters=40).select(20, method="muss", diversity=0.5)
    found = select_shards(listed, 20, method="muss", clusters=40, diversity=0.5)
    assert len(found.clustering) == 40
    assert found.clustering.sizes.min() >= 1
    assert rows_of(found) == own.indices.tolist()
    # Of given centroids, those that no row is nearest to are left out.
    far = np.vstack([np.eye(D)[:3], -np.ones((2, D)), np.eye(D)[5:6]])
    found = select_shards(listed, 20, method="muss", clusters=far, kept=3)
    assert found.clustering.sizes.tolist() == [400, 400, 400]


def test_empty_clusters_are_filled_over_shards_as_in_memory(items, shards, monkeypatch):
    """Centers that leave clusters empty, by both paths."""

    def learn(sample, clusters, *, spherical, seed):
        return np.vstack([sample[:4], np.repeat(-sample[:1] * 1e3, clusters - 4, axis=0)])

    for module in ("cluster", "catalog.shards.clusters"):
        monkeypatch.setattr(f"setwise.{module}.learn_centers", learn)
    catalog = Catalog.build(*items, clusters=9, metric="euclidean")
    found = select_shards(shards, 30, method="muss", clusters=9, metric="euclidean", diversity=0.5)
    assert found.clustering.sizes.min() >= 1
    assert np.array_equal(found.clustering.sizes, catalog.clusters.sizes())
    assert np.array_equal(found.clustering.centroids, catalog.clusters.centroids)
    assert rows_of(found) == catalog.select(30, method="muss", diversity=0.5).indices.tolist()


def test_a_shard_is_read_in_blocks(tmp_path, monkeypatch):
    """What a worker holds does not depend on the shard's size."""
    peaks = []
    monkeypatch.setattr(reading, "BATCH", 256)
    for n in (4_000, 32_000):
        X = np.random.default_rng(0).standard_normal((n, 64)).astype(np.float32)
        np.save(tmp_path / "x.npy", X)
        one = reading.StoredShard(str(tmp_path / "x.npy"), "x", n, 64, "<f4")
        centers = X[:20].copy()
        del X
        over_shards.assign_shard((one, centers, None, None, "cosine"))
        gc.collect()  # what other tests left would be counted when it goes
        tracemalloc.start()
        labels, _ = over_shards.assign_shard((one, centers, None, None, "cosine"))
        peaks.append(tracemalloc.get_traced_memory()[1] - labels.nbytes)
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]
    assert max(peaks) < 2e6  # the larger shard has 8 MB


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"method": "mus"}, ValueError, "did you mean 'muss'"),
        ({"per_shard": 5}, ValueError, "per_shard: muss has none"),
        ({"method": "dgds", "clusters": 5}, ValueError, "clusters: dgds has none"),
        ({"method": "dgds", "clusters": None, "kept": 5}, ValueError, "kept: dgds has none"),
        ({"method": "dgds", "clusters": None, "per_cluster": 5}, ValueError, "per_cluster: dgds has none"),
        ({"method": "dgds", "clusters": None, "scratch": "."}, ValueError, "scratch: dgds has none"),
        ({"k": 1201}, ValueError, "k: 1201 is more than the 1200 items"),
        ({"clusters": 1201}, ValueError, "clusters: 1201 are more than the 1200 items"),
        ({"clusters": 0}, ValueError, "clusters: 0"),
        ({"clusters": np.ones((3, 4))}, ValueError, "centroids have 4 entries, the shards' vectors 10"),
        ({"clusters": np.full((3, D), np.nan)}, ValueError, "clusters: row 0 has NaN"),
        ({"clusters": np.ones(3)}, ValueError, "clusters: expected shape"),
        ({"kept": 11}, ValueError, "kept: 11 are more than the 10 clusters"),
        ({"kept": 0}, ValueError, "kept: 0"),
        ({"per_cluster": 1000}, ValueError, "largest cluster's"),
        ({"per_cluster": 1, "kept": 2, "top_up": False}, ValueError, "fewer than k = 20"),
        ({"cluster_diversity": 2}, ValueError, "cluster_diversity"),
        ({"final_quality_scale": 0}, ValueError, "final_quality_scale"),
        ({"seed": -1}, ValueError, "seed"),
        ({"scratch": "nowhere"}, FileNotFoundError, "scratch: no folder 'nowhere'"),
        ({"metric": "dot"}, ValueError, "metric"),
    ],
)
def test_bad_input(shards, options, error, match):
    with pytest.raises(error, match=match):
        select_shards(shards, **{"k": 20, "method": "muss", "clusters": 10, **options})


@pytest.mark.parametrize("write", [as_npy, as_parquet])
@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda X, q: X.__setitem__((705, 3), np.nan), r"3\.(npy|parquet): vectors: row 104 has NaN"),
        (lambda X, q: X.__setitem__(600, 0.0), r"2\.(npy|parquet): vectors: row 0 is all zero"),
        (lambda X, q: q.__setitem__(251, -1.0), r"1\.(npy|parquet): quality: row 1 is -1"),
    ],
)
def test_bad_rows_are_named_by_shard(items, tmp_path, monkeypatch, write, spoil, match):
    monkeypatch.setattr(reading, "BATCH", 50)
    X, q = (part.copy() for part in items)
    spoil(X, q)
    listed = write(tmp_path, X, q)
    with pytest.raises(ValueError, match=match):
        select_shards(listed, 20, method="muss", clusters=4)
    with pytest.raises(ValueError, match=match):  # also where no sample has seen the row before
        select_shards(listed, 20, method="muss", clusters=items[0][:4])


def test_shards_that_do_not_belong_together(items, shards, tmp_path):
    np.save(tmp_path / "wide.npy", np.ones((5, D + 1)))
    np.save(tmp_path / "flat.npy", np.ones(5))
    np.save(tmp_path / "q.npy", np.ones(5))
    with pytest.raises(ValueError, match=r"wide\.npy has vectors of 11 entries, .*0\.npy of 10"):
        select_shards([*shards, Shard(str(tmp_path / "wide.npy"), str(tmp_path / "q.npy"))], 5, method="muss")
    with pytest.raises(ValueError, match="needs a file of qualities"):
        select_shards([str(tmp_path / "wide.npy")], 5, method="muss")
    with pytest.raises(ValueError, match=r"flat\.npy: .*expected shape"):
        select_shards([Shard(str(tmp_path / "flat.npy"), str(tmp_path / "q.npy"))], 5, method="muss")
    for rows in ([[1.0, 2.0], [1.0, 2.0, 3.0, 4.0]], [[1.0, 2.0], None]):
        parquet.write_table(pa.table({"vector": rows, "quality": [1.0, 2.0]}), tmp_path / "ragged.parquet")
        for method in ("muss", "dgds"):
            with pytest.raises(ValueError, match=r"ragged\.parquet: every item needs a vector of the same"):
                select_shards([tmp_path / "ragged.parquet"], 1, method=method)
    with pytest.raises(ValueError, match="expected 1 numbers"):
        select_shards([Shard(shards[2].path, shards[0].quality)], 1, method="muss")


def test_nothing_is_left_in_the_scratch_folder(tables, tmp_path):
    found = select_shards(tables, 20, method="muss", clusters=10, scratch=tmp_path)
    assert len(found) == 20
    assert list(tmp_path.iterdir()) == []
    lost = str(tmp_path / "gone" / "0.npy")
    with pytest.raises(FileNotFoundError, match="scratch: a worker has no folder"):
        reading.store((Shard(tables[0]), lost, reading.Columns("vector", "quality", "id")))
