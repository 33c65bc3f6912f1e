"""FAISS indexes of every kind, against NumPy."""

import pytest

pytest.importorskip("faiss")

import faiss
import numpy as np

import setwise
from setwise.index.faiss import FaissIndex

KINDS = ["Flat", "IVF8,Flat", "HNSW16", "SQ8", "IVF8,SQ8", "IDMap,Flat", "IDMap2,HNSW16", "OPQ4,IVF8,Flat"]


@pytest.fixture(scope="module")
def rows():
    X = np.random.default_rng(3).standard_normal((900, 16)).astype(np.float32)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def build(kind, rows, metric=faiss.METRIC_INNER_PRODUCT, start=0):
    index = faiss.index_factory(16, kind, metric)
    index.train(rows)
    if kind.startswith("IDMap"):
        index.add_with_ids(rows, np.arange(start, start + len(rows)))
    else:
        index.add(rows)
    if "IVF" in kind:
        faiss.extract_index_ivf(index).nprobe = 8
    return index


@pytest.mark.parametrize("metric", [faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2])
@pytest.mark.parametrize("kind", KINDS)
def test_search_by_any_weights(kind, metric, rows):
    start = 5000 if kind.startswith("IDMap") else 0
    index = FaissIndex(build(kind, rows, metric, start))
    weights = np.random.default_rng(0).standard_normal((4, 16)) * [[0.2], [1], [5], [30]]
    scores, ids = index.search(weights, 10)
    true = weights @ rows.T
    loose = 1.5 if "SQ8" in kind else 2e-3
    assert np.allclose(scores, np.take_along_axis(true, ids - start, 1), atol=loose)
    best = np.argsort(-true, axis=1)[:, :10] + start
    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids.tolist(), best.tolist(), strict=True)])
    assert overlap == 1.0 if index.exact else overlap >= 0.8
    vectors = index.vectors(ids[0])
    assert np.allclose(vectors, rows[ids[0] - start], atol=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_filters_and_exclusions_act_inside_the_search(kind, rows):
    start = 5000 if kind.startswith("IDMap") else 0
    index = FaissIndex(build(kind, rows, start=start))
    allowed = np.arange(100, 140) + start
    scores, ids = index.search(rows[:2], 60, filter=allowed, exclude=allowed[:5])
    found = ids[0][ids[0] >= 0]
    assert set(found.tolist()) <= set(allowed[5:].tolist())
    assert len(found) == 35 or "HNSW" in kind
    assert np.isneginf(scores[ids == -1]).all()
    hits = setwise.retrieve(rows[0], index, 5, filter=allowed, exclude=allowed[:5])
    assert set(hits.ids.tolist()) <= set(allowed[5:].tolist())


def test_minus_one_never_leaves(rows):
    flat = build("IVF8,Flat", rows)
    faiss.extract_index_ivf(flat).nprobe = 1
    index = FaissIndex(flat)
    scores, ids = index.search(rows[:20], 800)
    assert (ids == -1).any()
    assert np.isneginf(scores[ids == -1]).all()
    for found in index.fetch(rows[:20], 800):
        assert (found.ids >= 0).all()
        assert len(found.vectors) == len(found) < 800
    for hits in setwise.retrieve(rows[:20], index, 25, sharpness=1, diversity=0.5):
        assert len(set(hits.ids.tolist())) == 25
        assert hits.ids.min() >= 0
        assert hits.certificate.scope == "returned"
        assert "relative to what the index returns" in str(hits.certificate)


def test_exactness_is_judged_by_type(rows):
    assert FaissIndex(build("Flat", rows)).exact
    assert FaissIndex(build("IDMap,Flat", rows)).exact
    assert FaissIndex(build("IVF8,Flat", rows)).exact  # all lists are probed
    assert not FaissIndex(build("HNSW16", rows)).exact
    assert not FaissIndex(build("SQ8", rows)).exact
    assert FaissIndex(build("HNSW16", rows), exact=True).exact


def test_side_storage_serves_what_cannot_be_reconstructed(rows):
    index = faiss.index_factory(16, "IVF8,PQ4", faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    found = FaissIndex(index, vectors=rows)
    assert np.array_equal(found.vectors([3, 1]), rows[[3, 1]])
    lsh = faiss.IndexLSH(16, 64)
    lsh.add(rows)
    with pytest.raises(ValueError, match=r"inner product nor L2|pass vectors=|has length"):
        FaissIndex(lsh).vectors([0])


def test_vectors_of_other_lengths_are_refused(rows):
    flat = faiss.IndexFlatIP(16)
    flat.add(rows * 3)
    with pytest.raises(ValueError, match="has length 3"):
        setwise.retrieve(rows[0], FaissIndex(flat), 5)
    side = setwise.retrieve(rows[0], FaissIndex(build("Flat", rows), vectors=rows * 3), 5)
    plain = setwise.retrieve(rows[0], setwise.Index.from_array(rows), 5)
    assert np.array_equal(side.ids, plain.ids)


def test_euclidean_is_l2(rows):
    flat = faiss.IndexFlatL2(16)
    flat.add(rows * 3)
    index = FaissIndex(flat, metric="euclidean")
    scores, ids = index.search(rows[:2], 4)
    far = np.linalg.norm(rows[:2, None] - 3 * rows[None], axis=2)
    assert np.allclose(scores, -np.sort(far, axis=1)[:, :4], atol=1e-4)
    with pytest.raises(ValueError, match="L2"):
        FaissIndex(build("Flat", rows), metric="euclidean")
    assert len(setwise.retrieve(rows[0], index, 6)) == len(ids[0]) + 2


def test_saved_indexes_and_fields(rows, tmp_path):
    path = str(tmp_path / "a.faiss")
    faiss.write_index(build("HNSW16", rows), path)
    index = setwise.Index.from_faiss(path, fields={"document": np.arange(900) // 3})
    hits = setwise.retrieve(rows[0], index, 12, groups="document", max_per_group=1)
    assert len(set((hits.ids // 3).tolist())) == 12


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda X: FaissIndex(X), TypeError, "faiss.Index"),
        (lambda X: FaissIndex(faiss.IndexFlatIP(16)), ValueError, "empty"),
        (lambda X: FaissIndex(faiss.index_factory(16, "IVF8,Flat")), ValueError, "not trained"),
        (lambda X: FaissIndex(build("Flat", X), vectors=X[:5]), ValueError, "one row a stored vector"),
        (lambda X: FaissIndex(build("Flat", X)).vectors([900]), KeyError, "900"),
        (lambda X: FaissIndex(build("IDMap,Flat", X)).vectors([901]), KeyError, "901"),
        (lambda X: FaissIndex(build("Flat", X)).search(X[:1], 3, filter=["a"]), TypeError, "filter"),
        (lambda X: FaissIndex(build("Flat", X)).values([1], "colour"), ValueError, "no field"),
    ],
)
def test_bad_input(rows, make, error, match):
    with pytest.raises(error, match=match):
        make(rows)


def test_an_id_stored_twice_is_refused(rows):
    index = faiss.index_factory(16, "IDMap,Flat", faiss.METRIC_INNER_PRODUCT)
    index.add_with_ids(rows[:3], np.array([7, 8, 7]))
    with pytest.raises(ValueError, match="id 7 is stored more than once"):
        FaissIndex(index)
