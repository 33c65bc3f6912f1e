"""FAISS indexes of every kind, against NumPy."""

import pytest

pytest.importorskip("faiss")

import faiss
import numpy as np

import setwise
from reference.brute import best_subset
from setwise.index.faiss import FaissIndex

KINDS = ["Flat", "IVF8,Flat", "HNSW16", "SQ8", "IVF8,SQ8", "IDMap,Flat", "IDMap2,HNSW16", "RR16,IVF8,Flat"]


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
    index = faiss.index_factory(16, "IVF8,PQ4x4", faiss.METRIC_INNER_PRODUCT)
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
    for more in ({}, {"vectors": rows * 3}, {"vectors": rows}):
        with pytest.raises(ValueError, match=r"index: the vector of id \d+ has length 3"):
            FaissIndex(flat, **more)
    side = setwise.retrieve(rows[0], FaissIndex(build("Flat", rows), vectors=rows * 3), 5)
    plain = setwise.retrieve(rows[0], setwise.Index.from_array(rows), 5)
    assert np.array_equal(side.ids, plain.ids)


@pytest.mark.parametrize("metric", [faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2])
@pytest.mark.parametrize("kind", ["Flat", "IVF8,Flat", "IDMap,Flat", "HNSW16"])
@pytest.mark.parametrize("length", [0.2, 0.99, 1.01, 4.0])
def test_one_vector_of_another_length_is_found_and_refused(kind, metric, length, rows):
    """By inner product a short one would never be returned, and so never be looked at."""
    odd = rows.copy()
    odd[321] *= length
    start = 5000 if kind.startswith("IDMap") else 0
    index = build(kind, odd, metric, start)
    said = rf"index: the vector of id {321 + start} has length {length:g}, and inner products"
    if kind != "HNSW16":
        for more in ({}, {"vectors": rows}):
            with pytest.raises(ValueError, match=said):
                FaissIndex(index, **more)
        with pytest.raises(ValueError, match=said):
            setwise.retrieve(rows[0], FaissIndex(index, exact=True), 5)
    else:  # approximate: what it returns is looked at
        with pytest.raises(ValueError, match=said):
            FaissIndex(index).vectors([7, 321])
        with pytest.raises(ValueError, match=said):
            setwise.retrieve(rows[0], FaissIndex(index, exact=True), 5)


@pytest.mark.parametrize("kind", ["Flat", "IVF8,Flat", "HNSW16"])
def test_vectors_that_are_not_those_it_holds_are_refused(kind, rows):
    """Their scores are not those that FAISS ranks by."""
    index = FaissIndex(build(kind, rows), vectors=rows[::-1].copy())
    with pytest.raises(ValueError, match=r"index: FAISS scores id \d+ .*, its vector has .*; pass"):
        setwise.retrieve(rows[0], index, 5)


@pytest.mark.parametrize("metric", [faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2])
@pytest.mark.parametrize("spread", [0.0, 9e-4])
def test_certificates_hold_whatever_the_lengths(metric, spread, monkeypatch):
    """Lengths that pass for 1 enter the floor: a vector left out for its length is within the bound."""
    monkeypatch.setattr("setwise.retrieval.ask.FIRST", 4)
    monkeypatch.setattr("setwise.retrieval.ask.TIMES", 1)
    monkeypatch.setattr("setwise.retrieval.plan.GROWTH", 2)
    monkeypatch.setattr("setwise.retrieval.plan.SPARE", 1)
    rng = np.random.default_rng(1)
    optimal = 0
    for _ in range(30):
        center = rng.standard_normal(16)
        X = center + 0.02 * rng.standard_normal((13, 16))
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        stored = (X * rng.uniform(1 - spread, 1 + spread, (13, 1))).astype(np.float32)
        flat = faiss.index_factory(16, "Flat", metric)
        flat.add(stored)
        for t, sharpness in ((0.0, 1), (0.3, 1), (0.6, 1), (0.2, 8)):
            query = center + 0.1 * rng.standard_normal(16)
            hits = setwise.retrieve(query, FaissIndex(flat), 3, diversity=t, sharpness=sharpness)
            relevance = X @ query / np.linalg.norm(query)
            best, _ = best_subset(stored, relevance, 3, t, sharpness)
            assert hits.certificate.scope == "all"
            assert hits.certificate.upper_bound >= best - 1e-7
            if hits.certificate.optimal:
                optimal += 1
                assert hits.value >= best - 1e-7
    assert optimal > 10


def test_exactness_is_asked_at_every_retrieval(rows):
    index = build("IVF8,Flat", rows)
    found = FaissIndex(index)
    assert setwise.retrieve(rows[0], found, 5).certificate.scope == "all"
    index.nprobe = 1
    assert not found.exact
    assert setwise.retrieve(rows[0], found, 5).certificate.scope == "returned"
    index.nprobe = 8
    assert setwise.retrieve(rows[0], found, 5).certificate.scope == "all"
    late = FaissIndex(index := build("IVF8,Flat", np.concatenate([rows, rows[:1] * 0.5])), exact=False)
    late._promised = None
    index.nprobe = 8
    with pytest.raises(ValueError, match="has length 0.5"):
        setwise.retrieve(rows[5], late, 5)


def assert_is_of(index, X, ids, query, **options):
    """Retrieval over an index chooses what it chooses over an array of the rows that are left."""
    array = setwise.Index.from_array(X)
    for more in ({"sharpness": 1, "diversity": 0.9}, {"diversity": 0.3}):
        found = setwise.retrieve(query, index, 6, **more, **options)
        assert set(found.ids.tolist()) == set(ids[setwise.retrieve(query, array, 6, **more).ids].tolist())
    assert np.array_equal(index.vectors(ids), X)
    assert sorted(index.sample().ids.tolist()) == sorted(ids.tolist())
    assert index.size == len(X)


@pytest.mark.parametrize("kind", ["Flat", "IVF8,Flat", "IDMap,Flat", "IDMap2,Flat", "IVF8,SQ8"])
def test_vectors_may_be_removed_and_added(kind, rows):
    start = 5000 if kind.startswith("IDMap") else 0
    native = build(kind, rows[:600], start=start)
    index = FaissIndex(native)
    ids, held = np.arange(600) + start, rows[:600]
    index.sample()
    gone = setwise.retrieve(rows[3], index, 6, sharpness=1, diversity=0.9).ids
    assert native.remove_ids(gone) == 6
    keep = ~np.isin(ids, gone)
    held = held[keep]
    ids = np.arange(594) if kind == "Flat" else ids[keep]
    loose = "SQ8" in kind
    if not loose:
        assert_is_of(index, held, ids, rows[3])
    if kind != "Flat":
        with pytest.raises(KeyError, match=str(gone[0])):
            index.vectors([gone[0]])
        with pytest.raises(KeyError, match=str(gone[0])):
            setwise.retrieve(rows[3], index, 6, include=[int(gone[0])])
    new = np.arange(6) + 7000
    if kind == "Flat":
        native.add(rows[600:606])
        new = np.arange(594, 600)
    else:
        native.add_with_ids(rows[600:606], new)
    assert setwise.retrieve(rows[602], index, 1).ids.tolist() == [new[2]]
    if not loose:
        assert_is_of(index, np.concatenate([held, rows[600:606]]), np.concatenate([ids, new]), rows[602])
    native.reset()
    with pytest.raises(ValueError, match="k: 1 is more than the 0 vectors"):
        setwise.retrieve(rows[0], index, 1)


def test_vectors_beside_an_index_that_has_changed(rows):
    native = build("Flat", rows)
    index = FaissIndex(native, vectors=rows)
    native.remove_ids(np.array([4]))
    for call in (lambda: setwise.retrieve(rows[0], index, 5), lambda: index.vectors([3]), index.sample):
        with pytest.raises(ValueError, match=r"it holds 899 vectors now, vectors= has 900; wrap both anew"):
            call()
    native.add(rows[4:5])  # as many as before, in another order
    with pytest.raises(ValueError, match=r"FAISS scores id \d+ .*, its vector has .*; pass"):
        setwise.retrieve(rows[10], index, 5)
    lists = build("IVF8,Flat", rows)
    index = FaissIndex(lists, vectors=rows)
    lists.remove_ids(np.array([4]))
    assert 4 not in setwise.retrieve(rows[4], index, 5).ids
    with pytest.raises(KeyError, match="no id 4"):
        index.vectors([3, 4])
    lists.add(rows[4:5])  # takes the id of the last one
    for _ in range(2):
        with pytest.raises(ValueError, match="id 899 is stored more than once"):
            setwise.retrieve(rows[4], index, 5)


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


def test_a_file_is_opened_by_any_path_or_refused_in_one_line(rows, tmp_path):
    whole, cut, text = tmp_path / "whole.faiss", tmp_path / "cut.faiss", tmp_path / "text.faiss"
    faiss.write_index(build("Flat", rows), str(whole))
    cut.write_bytes(whole.read_bytes()[:1000])
    text.write_text("no index")
    for path in (whole, str(whole)):
        assert setwise.Index.from_faiss(path).size == 900
    for path in (cut, text, tmp_path):
        told = f"^index: {path.name} is damaged, or no FAISS index; save it again by faiss.write_index$"
        with pytest.raises(ValueError, match=told):
            setwise.Index.from_faiss(path)
    told = "^index: no file or folder '.*whole.fais'; did you mean 'whole.faiss'\\?$"
    with pytest.raises(FileNotFoundError, match=told):
        setwise.Index.from_faiss(str(whole)[:-1])


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
        (
            lambda X: FaissIndex(build("IDMap,Flat", X, start=9)).search(
                X[:1], 3, filter=np.ones(len(X), bool)
            ),
            TypeError,
            "filter: a mask is over ids 0 … n - 1, and the index has others",
        ),
        (
            lambda X: FaissIndex(build("Flat", X), fields={"kind": "ab"}).values([1, 2], "kind"),
            ValueError,
            "groups: field 'kind' has no value for id 2",
        ),
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


@pytest.mark.parametrize("metric", [faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2])
@pytest.mark.parametrize("first", [-900, -450, -1])
def test_negative_ids_are_ids(rows, metric, first):
    """FAISS pads with -1; a hash of 64 bits is negative as often as not."""
    index = faiss.IndexIDMap2(faiss.IndexFlat(16, metric))
    names = np.arange(first, first + 900)
    index.add_with_ids(rows, names)
    held = FaissIndex(index)
    array = setwise.Index.from_array(rows)
    for options in ({}, {"exclude": [2, 5]}, {"include": [7]}):
        mine = {name: names[value].tolist() for name, value in options.items()}
        found, same = (
            setwise.retrieve(rows[3], one, 6, **wish) for one, wish in ((held, mine), (array, options))
        )
        assert found.ids.tolist() == names[same.ids].tolist()
    assert sorted(held.fetch(rows[:1], 2000)[0].ids.tolist()) == names.tolist()
    assert np.allclose(held.vectors(names[:3]), rows[:3])


@pytest.mark.parametrize("kind", ["PQ2x4", "Flat,RFlat", "LSH"])
def test_what_cannot_filter_says_so(kind, rows):
    index = FaissIndex(build(kind, rows, faiss.METRIC_L2), metric="euclidean")
    for given in ({"exclude": [3]}, {"filter": np.arange(9)}):
        with pytest.raises(
            ValueError, match=f"^{next(iter(given))}: Index.* cannot filter inside its search"
        ):
            index.search(rows[:1], 3, **given)


def test_the_floor_allows_for_what_faiss_loses(monkeypatch):
    """Distances of many queries at once are sums of products, which lose digits far from the origin."""
    monkeypatch.setattr(faiss.cvar, "distance_compute_blas_threshold", 20)
    rng = np.random.default_rng(0)
    far = (100 + rng.standard_normal((1500, 8))).astype(np.float32)
    index = faiss.IndexFlatL2(8)
    index.add(far)
    queries = far[:25] + 0.3 * rng.standard_normal((25, 8))
    found = FaissIndex(index, metric="euclidean").fetch(queries, 400)
    lost = 0
    for query, one in zip(queries, found, strict=True):
        others = np.delete(far.astype(np.float64), one.ids, axis=0)
        best = -np.linalg.norm(others - query, axis=1).min()
        lost += best > one.scores[-1]
        assert best <= one.floor
    assert lost


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize(("kind", "nprobe"), [("IVF4,Flat", 4), ("IVF4,Flat", 2), ("IDMap,Flat", 0)])
def test_rows_replaced_by_as_many(kind, nprobe, other):
    """No ghost of what was removed is drawn, found or read, whether the id that comes is new or the same."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((60, 6)).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    index = faiss.index_factory(6, kind, faiss.METRIC_INNER_PRODUCT)
    if nprobe:
        index.cp.min_points_per_centroid, index.nprobe = 1, nprobe
    index.train(X)
    index.add_with_ids(X, np.arange(60))
    mine, query = FaissIndex(index), X[7].astype(np.float64)
    live = dict(enumerate(X))
    for turn in range(4):
        hits = setwise.retrieve(query, mine, 5, diversity=0.9, sharpness=1)
        drawn = mine.sample()
        assert set(hits.ids.tolist()) <= set(live)
        np.testing.assert_allclose(hits.scores, [live[one] @ query for one in hits.ids.tolist()], atol=1e-5)
        assert set(drawn.ids.tolist()) == set(live) == set(mine.everything().ids.tolist())
        np.testing.assert_allclose(drawn.vectors, [live[one] for one in drawn.ids.tolist()], atol=1e-6)
        # One that was found, and the last, which stays what it was, go and come again.
        gone, last = int(hits.ids[-1]), list(live)[-1]
        index.remove_ids(np.array([gone, last]))
        back = np.array([gone + 100 * other, last])
        rows = np.stack([X[(gone + 11 + turn) % 60], live[last]])
        del live[gone]
        index.add_with_ids(rows, back)
        kept = live.pop(last)
        live |= {int(back[0]): rows[0], last: kept}
    with pytest.raises(KeyError, match="no id 999"):
        mine.vectors([999])
    if other:
        with pytest.raises(KeyError, match=f"include: .*{gone}"):
            setwise.retrieve(query, mine, 5, include=[gone])
