"""Catalogs on disk, and as items come and go: what comes back is what went in, whole or refused."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from multiprocessing import get_context

import numpy as np
import pytest

import setwise
import setwise.cluster
from setwise.catalog import files as catalog_files
from setwise.files.checksums import digest
from setwise.files.versions import home

N, D = 600, 12


def make(n=N, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((8, D)) * 2
    vectors = centers[rng.integers(8, size=n)] + rng.standard_normal((n, D))
    return vectors.astype(np.float32), rng.random(n)


@pytest.fixture
def catalog():
    return setwise.Catalog.build(*make(), clusters=10)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "shop"


def same(one, other):
    assert one.ids.tolist() == other.ids.tolist()
    assert one.clusters.tolist() == other.clusters.tolist()
    # To rounding: the compiled kernels take arrays, and NumPy what is mapped.
    assert one.value == pytest.approx(other.value, rel=1e-13)
    assert one.gains.tolist() == pytest.approx(other.gains.tolist(), rel=1e-12)


def check_radii(catalog):
    """Every radius is the largest distance of a member to its centroid."""
    rows = catalog._items.vectors.rows(slice(None), np.float64)
    centers = catalog.clusters.centroids[catalog.clusters.labels].astype(np.float64)
    if catalog.clusters.metric == "cosine":
        away = 1 - np.vecdot(rows, centers)
    else:
        away = np.linalg.norm(rows - centers, axis=1)
    found = np.zeros(len(catalog.clusters))
    np.maximum.at(found, catalog.clusters.labels, away)
    assert np.allclose(catalog.clusters.radii, found, atol=1e-5)


# ---------------------------------------------------------------- save and load


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8"])
def test_the_same_selections_after_loading(place, metric, dtype):
    vectors, quality = make()
    catalog = setwise.Catalog.build((vectors * 8).astype(dtype), quality, clusters=10, metric=metric)
    catalog.save(place)
    loaded = setwise.Catalog.load(place)
    assert len(loaded) == N
    assert loaded._items.vectors.raw.dtype == dtype
    for method in ("muss", "dgds", "frank-wolfe"):
        same(catalog.select(20, method=method), loaded.select(20, method=method))
    proof = catalog.select(20, certify=True), loaded.select(20, certify=True)
    first, second = (one.certificate for one in proof)
    assert first.upper_bound == pytest.approx(second.upper_bound, rel=1e-12)
    assert (first.optimal, first.pool_size, first.pool_sufficient) == (
        second.optimal,
        second.pool_size,
        second.pool_sufficient,
    )


def test_unit_vectors_and_short_ones(place):
    vectors, quality = make()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for rows in (unit, vectors * 1e-30):
        catalog = setwise.Catalog.build(rows, quality, clusters=10)
        catalog.save(place, force=True)
        loaded = setwise.Catalog.load(place)
        assert (loaded._items.vectors.unit, loaded._items.vectors.dtype) == (
            catalog._items.vectors.unit,
            catalog._items.vectors.dtype,
        )
        same(catalog.select(20), loaded.select(20))


def test_every_attribute_of_the_vectors_is_restored(catalog, place):
    """What `Vectors` keeps of its check is all there without one."""
    catalog.save(place)
    loaded, own = setwise.Catalog.load(place)._items.vectors, catalog._items.vectors
    assert set(vars(own)) <= set(vars(loaded))
    assert np.array_equal(loaded.scale, own.scale)
    assert loaded._finite


def test_vectors_stay_on_disk(catalog, place, monkeypatch):
    catalog.save(place)
    reads = []
    blocks = setwise.vectors.Vectors._blocks
    monkeypatch.setattr(
        setwise.vectors.Vectors, "_blocks", lambda *words: reads.append(words) or blocks(*words)
    )
    raw = setwise.Catalog.load(place)._items.vectors.raw
    assert isinstance(raw.base, np.memmap)
    assert not reads


def test_vectors_are_written_in_blocks(place, monkeypatch):
    monkeypatch.setattr(catalog_files, "_CHUNK", 100 * D)
    vectors, quality = make()
    for given in (vectors, np.asfortranarray(vectors), vectors[::-1], vectors.astype(">f4")):
        setwise.Catalog.build(given, quality, clusters=3).save(place, force=True)
        stored = np.load(home(place) / "vectors.npy")
        assert np.array_equal(stored, given)
        assert stored.dtype == given.dtype


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (np.arange(N, dtype=np.uint8 if N < 256 else np.uint16) + 5, "integers"),
        (list(range(-N, 0)), "integers"),
        ([f"né{row}" for row in range(N)], "strings"),
        (np.array([f"i{row}" for row in range(N)], object), "strings"),
    ],
)
def test_ids_come_back_as_they_were(place, ids, kind):
    setwise.Catalog.build(*make(), clusters=5, ids=ids).save(place)
    loaded = setwise.Catalog.load(place)
    assert loaded.ids.tolist() == list(ids)
    assert catalog_files.FORMAT.read(place)[1].ids == kind
    assert not [
        name for name in os.listdir(place) if name == ("ids.npy" if kind == "strings" else "ids.parquet")
    ]
    loaded.save(place, force=True)
    assert setwise.Catalog.load(place).ids.tolist() == list(ids)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([*range(N - 1), "x"], TypeError, "integers or strings can be saved, not int and str"),
        (np.array([2**64 + row for row in range(N)], object), ValueError, "beyond 64 bits"),
        (np.array(["\ud83d", *map(str, range(1, N))], object), ValueError, "half of a surrogate pair"),
    ],
)
def test_ids_that_cannot_be_saved(place, ids, error, message):
    catalog = setwise.Catalog.build(*make(), clusters=5, ids=ids)
    with pytest.raises(error, match=message):
        catalog.save(place)
    assert not os.listdir(place.parent)


def test_new_quality_is_saved(catalog, place):
    catalog.set_quality(np.arange(N) / N)
    catalog.save(place)
    assert np.array_equal(setwise.Catalog.load(place).quality, np.arange(N) / N)


def test_a_catalog_saved_over_itself(catalog, place):
    catalog.save(place)
    loaded = setwise.Catalog.load(place)
    loaded.save(place, force=True)
    same(catalog.select(20), loaded.select(20))
    same(catalog.select(20), setwise.Catalog.load(place).select(20))
    assert os.listdir(place.parent) == ["shop"]


# ---------------------------------------------------------------- what is refused


def test_where_nothing_is_written(catalog, place, tmp_path):
    catalog.save(place)
    with pytest.raises(FileExistsError, match=r"path: .* exists; add --force \(force=True\)"):
        catalog.save(place)
    with pytest.raises(FileNotFoundError, match="create it first"):
        catalog.save(tmp_path / "no" / "such")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").touch()
    with pytest.raises(FileExistsError, match="is no setwise catalog, so nothing replaces it"):
        catalog.save(tmp_path / "photos", force=True)
    (place / "mine.txt").touch()
    catalog.save(place, force=True)
    assert sorted(os.listdir(place)) == ["content-2", "current", "mine.txt"]


def test_an_index_is_no_catalog(tmp_path, catalog):
    from setwise.index.saved import open_index
    from setwise.index.saving import save

    save(tmp_path / "ix", np.eye(3))
    with pytest.raises(ValueError, match="no setwise catalog"):
        setwise.Catalog.load(tmp_path / "ix")
    with pytest.raises(FileExistsError, match="no setwise catalog, so nothing replaces it"):
        catalog.save(tmp_path / "ix", force=True)
    catalog.save(tmp_path / "shop")
    with pytest.raises(ValueError, match="no setwise index"):
        open_index(tmp_path / "shop")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_was_there_stays_if_writing_fails(catalog, place, monkeypatch, error):
    catalog.save(place)
    before = (home(place) / "meta.json").read_bytes()

    def fail(*words, **more):
        raise error

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(error):
        catalog.save(place, force=True)
    assert os.listdir(place.parent) == ["shop"]
    assert (home(place) / "meta.json").read_bytes() == before


def test_another_version(catalog, place):
    catalog.save(place)
    meta = json.loads((home(place) / "meta.json").read_text())
    (home(place) / "meta.json").write_text(json.dumps({**meta, "version": 9}))
    with pytest.raises(ValueError, match="catalog: .* has format version 9, this setwise reads 3"):
        setwise.Catalog.load(place)
    (home(place) / "meta.json").write_text(json.dumps({**meta, "n": N - 1}))
    with pytest.raises(ValueError, match=r"meta.json was altered; build it again"):
        setwise.Catalog.load(place)
    (home(place) / "meta.json").unlink()
    with pytest.raises(ValueError, match=r"a folder without meta.json, no setwise catalog"):
        setwise.Catalog.load(place)
    with pytest.raises(FileNotFoundError, match="did you mean 'shop'"):
        setwise.Catalog.load(place.with_name("shob"))


@pytest.mark.parametrize(
    "name",
    [
        "vectors.npy",
        "scales.npy",
        "quality.npy",
        "labels.npy",
        "centroids.npy",
        "radii.npy",
        "ids.npy",
        "joint.npy",
    ],
)
def test_truncated_missing_and_altered_files(catalog, place, name):
    if name == "joint.npy":
        catalog = setwise.Catalog.build(*make(), clusters=10, quality_weight=1.0)
    catalog.save(place)
    catalog_files.FORMAT.verify(place)
    data = (home(place) / name).read_bytes()
    (home(place) / name).write_bytes(data[:-3])
    with pytest.raises(ValueError, match=f"{name} has .* bytes instead of "):
        setwise.Catalog.load(place)
    (home(place) / name).write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    with pytest.raises(ValueError, match=f"{name} was altered"):
        catalog_files.FORMAT.verify(place)
    refused = pytest.raises(ValueError, match=f"{name} was altered")
    with nullcontext() if name == "vectors.npy" else refused:  # of these the size alone is compared
        setwise.Catalog.load(place)
    (home(place) / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        setwise.Catalog.load(place)


def test_files_that_do_not_belong_together(catalog, place):
    catalog.save(place)
    vectors = np.load(home(place) / "vectors.npy")
    np.save(home(place) / "vectors.npy", vectors.astype(np.int32))
    with pytest.raises(ValueError, match=r"vectors.npy holds int32 of shape \(600, 12\) instead of float32"):
        setwise.Catalog.load(place)
    np.save(home(place) / "vectors.npy", vectors)
    meta = json.loads((home(place) / "meta.json").read_text())
    del meta["checksum"], meta["unit"]
    (home(place) / "meta.json").write_text(json.dumps({**meta, "checksum": digest(meta)}))
    with pytest.raises(ValueError, match=r"meta.json lacks entries"):
        setwise.Catalog.load(place)


# ---------------------------------------------------------------- add and remove


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("saved", [False, True])
def test_added_items_join_the_nearest_cluster(place, metric, saved):
    vectors, quality = make()
    catalog = setwise.Catalog.build(vectors[:500], quality[:500], clusters=10, metric=metric)
    if saved:
        catalog.save(place)
        catalog = setwise.Catalog.load(place)
    old = catalog.clusters
    catalog.add(vectors[500:] * 3, quality[500:])
    assert len(catalog) == len(catalog.quality) == len(catalog.ids) == N
    assert catalog.ids.tolist() == list(range(N))
    assert np.array_equal(catalog.quality, quality)
    rows, centers = catalog._items.vectors.rows(slice(500, N)).astype(np.float64), old.centroids
    if metric == "cosine":
        nearest = (rows @ centers.T).argmax(axis=1)
    else:
        nearest = ((rows[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
    assert np.array_equal(catalog.clusters.labels[500:], nearest)
    assert np.array_equal(catalog.clusters.labels[:500], old.labels)
    assert np.array_equal(catalog.clusters.centroids, old.centroids)
    assert (catalog.clusters.radii >= old.radii).all()
    check_radii(catalog)
    assert len(catalog.select(50, method="muss")) == 50
    catalog.save(place, force=True)
    same(catalog.select(30), setwise.Catalog.load(place).select(30))


def nearest_of_both(rows, quality, labels, weight, new, fresh):
    """The cluster whose mean of [x, sqrt(w) q] is nearest, by the whole matrix of distances, float64."""
    both = np.column_stack([rows, np.sqrt(weight) * quality])
    means = np.stack([both[labels == cluster].mean(axis=0) for cluster in range(labels.max() + 1)])
    asked = np.column_stack([new, np.sqrt(weight) * fresh])
    return np.linalg.norm(asked[:, None] - means, axis=2).argmin(axis=1)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize(
    ("metric", "weight"), [("cosine", 0.5), ("cosine", 20.0), ("euclidean", 300.0), ("euclidean", 3000.0)]
)
def test_added_items_are_assigned_by_quality_too(place, metric, saved, weight):
    vectors, quality = make()
    options = {"clusters": 10, "metric": metric}
    catalog = setwise.Catalog.build(vectors[:500], quality[:500], quality_weight=weight, **options)
    catalog.set_quality(np.zeros(500))  # this hour's says nothing of how clusters were made
    if saved:
        catalog.save(place)
        catalog = setwise.Catalog.load(place)
    old = catalog.clusters
    catalog.add(vectors[500:] * 3, quality[500:])
    new = vectors[500:].astype(np.float64) * 3
    rows = vectors[:500].astype(np.float64)
    if metric == "cosine":
        rows, new = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows, new))
    nearest = nearest_of_both(rows, quality[:500], old.labels, weight, new, quality[500:])
    assert np.array_equal(catalog.clusters.labels[500:], nearest)
    alone, _ = setwise.cluster.nearest(new, old.centroids, metric)
    assert (alone != nearest).any()  # vectors alone say otherwise
    assert (catalog.clusters.radii >= old.radii).all()
    check_radii(catalog)
    emptied = catalog.clusters.members()[4]
    catalog.remove(emptied)
    assert np.array_equal(catalog.clusters.joint, np.delete(old.joint, 4, axis=0))
    catalog.save(place, force=True)
    again = setwise.Catalog.load(place)
    assert (again.clusters.quality_weight, len(again.clusters)) == (weight, 9)
    again.add(vectors[emptied[:3]], quality[emptied[:3]])
    check_radii(again)


def test_clusters_of_quality_need_it_to_assign():
    vectors, quality = make()
    made = setwise.Catalog.build(vectors, quality, clusters=5, quality_weight=1.0).clusters
    with pytest.raises(ValueError, match="quality: clusters were made of vectors and quality"):
        made.assign(vectors[:2])
    plain = setwise.Catalog.build(vectors, quality, clusters=5)
    assert (plain.clusters.joint, plain.clusters.quality_weight) == (None, 0.0)


def test_an_added_item_can_be_selected(catalog):
    catalog.add([np.ones(D)], [50.0], ids=[1234])
    for method in ("muss", "dgds", "frank-wolfe", "top-k"):
        assert 1234 in catalog.select(5, method=method).ids


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ((np.ones((2, 3)), [1, 1]), ValueError, "rows have 3 entries, the catalog's have 12"),
        ((np.ones((2, D)), [1]), ValueError, "quality"),
        ((np.ones((2, D)), [1, -1]), ValueError, "quality: row 1 is -1"),
        ((np.ones((2, D)), [1, 1], [7, 7]), ValueError, "ids: 7 is named 2 times"),
        ((np.ones((2, D)), [1, 1], [900, 7]), ValueError, r"ids: 7 \(row 1\) is in the catalog already"),
        ((np.ones((2, D)), [1, 1], [900]), ValueError, "ids: expected 2"),
        ((np.ones((2, D)), [1, 1], ["a", "b"]), TypeError, "catalog's ids are integers, these are strings"),
        ((np.zeros((2, D)), [1, 1]), ValueError, "vectors: row 0 is all zero"),
        ((np.full((2, D), np.nan), [1, 1]), ValueError, "vectors: row 0 has NaN"),
        ((np.full((2, D), 1e60), [1, 1]), ValueError, "row 0 has a number that float32"),
    ],
)
def test_what_cannot_be_added(catalog, words, error, message):
    before = catalog.select(10)
    with pytest.raises(error, match=message):
        catalog.add(*words)
    assert len(catalog) == N
    same(before, catalog.select(10))


def test_types_and_ids_of_added_items():
    vectors, quality = make()
    small = setwise.Catalog.build((vectors * 8).astype(np.int8), quality, clusters=3)
    small.add([[3.0] * D], [1])
    assert small._items.vectors.raw.dtype == np.int8
    with pytest.raises(ValueError, match="row 0 has a number that int8"):
        small.add([[0.5] * D], [1])
    named = setwise.Catalog.build(vectors, quality, clusters=3, ids=[f"i{row}" for row in range(N)])
    with pytest.raises(ValueError, match="new items need their own; pass ids"):
        named.add([[3.0] * D], [1])
    named.add([[3.0] * D], [1], ids=["a long name"])
    assert named.ids[-1] == "a long name"
    wide = setwise.Catalog.build(vectors, quality, clusters=3, ids=np.arange(N, dtype=np.uint64))
    wide.add([[3.0] * D], [1], ids=np.array([2**60 + 1], np.uint64))
    assert (wide.ids.dtype, wide.ids[-1]) == (np.int64, 2**60 + 1)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("ids", [None, [f"i{row}" for row in range(N)]])
def test_removed_items_are_gone(place, metric, ids):
    vectors, quality = make()
    catalog = setwise.Catalog.build(vectors, quality, clusters=10, metric=metric, ids=ids)
    catalog.save(place)
    catalog = setwise.Catalog.load(place)
    old, names = catalog.clusters, catalog.ids
    emptied = old.members()[4]
    gone = np.union1d(emptied, np.arange(0, N, 7))
    kept = np.setdiff1d(np.arange(N), gone)
    catalog.remove(names[gone][::-1])
    assert catalog.ids.tolist() == names[kept].tolist()
    assert np.array_equal(catalog.quality, quality[kept])
    assert np.array_equal(catalog._items.vectors.raw, vectors[kept])
    assert len(catalog.clusters) == 9
    assert catalog.clusters.sizes().min() > 0
    others = np.delete(old.centroids, 4, axis=0)
    assert np.array_equal(catalog.clusters.centroids, others)
    before = old.labels[kept]
    assert np.array_equal(catalog.clusters.labels, before - (before > 4))
    check_radii(catalog)
    assert len(catalog.select(50, method="muss", clusters=9)) == 50


def test_what_cannot_be_removed(catalog):
    with pytest.raises(KeyError, match="ids: 700 is not in the catalog"):
        catalog.remove([3, 700])
    with pytest.raises(TypeError, match="these are strings"):
        catalog.remove(["3"])
    with pytest.raises(TypeError, match="expected a sequence"):
        catalog.remove(3)
    with pytest.raises(ValueError, match="these are all items"):
        catalog.remove(catalog.ids)
    catalog.remove([])
    catalog.remove([3, 3])
    assert len(catalog) == N - 1
    with pytest.raises(KeyError, match="ids: 3 is not"):
        catalog.remove([3])


def test_items_added_and_removed_again(catalog):
    before = catalog.select(30, method="muss")
    catalog.add(make(50, seed=1)[0], np.ones(50))
    catalog.remove(range(N, N + 50))
    check_radii(catalog)
    same(before, catalog.select(30, method="muss"))


# ---------------------------------------------------------------- at once


def add_in_turn(place, first, count):
    for row in range(first, first + count):
        with setwise.Catalog.edit(place) as catalog:
            catalog.add(np.ones((1, D), np.float32), [0.5], ids=[10_000 + row])


def test_two_that_add_lose_nothing(catalog, place):
    catalog.save(place)
    others = [get_context("spawn").Process(target=add_in_turn, args=(place, row, 5)) for row in (0, 100)]
    for other in others:
        other.start()
    add_in_turn(place, 200, 5)
    for other in others:
        other.join()
        assert other.exitcode == 0
    found = setwise.Catalog.load(place)
    assert set(found.ids.tolist()) == {*range(N), *(10_000 + a + b for a in (0, 100, 200) for b in range(5))}
    assert len(found) == N + 15


def test_edit_saves_what_was_changed_alone(catalog, place):
    catalog.save(place)
    with setwise.Catalog.edit(place) as one:
        assert len(one) == N
    assert home(place).name == "content-1"

    def fail():
        with setwise.Catalog.edit(place) as one:
            one.add(np.ones((1, D), np.float32), [0.5])
            one.remove([N + 7])

    with pytest.raises(KeyError):
        fail()
    assert len(setwise.Catalog.load(place)) == N
    with setwise.Catalog.edit(place) as one:
        one.set_quality(np.ones(N))
    assert setwise.Catalog.load(place).quality.tolist() == [1.0] * N
    with pytest.raises(FileNotFoundError), setwise.Catalog.edit(place / "no"):
        pass
    assert sorted(os.listdir(place)) == ["content-2", "current"]


def test_a_loaded_catalog_stays_when_another_is_saved(catalog, place):
    catalog.save(place)
    loaded = setwise.Catalog.load(place)
    setwise.Catalog.build(*make(seed=1), clusters=4).save(place, force=True)
    same(catalog.select(20, method="muss"), loaded.select(20, method="muss"))
