"""Selection by levels over every kind of index: all of its vectors, or a line that says what would do."""

import numpy as np
import pytest

import setwise
from optional import needs
from setwise.index import Index

RNG = np.random.default_rng(6)
N, D, K = 300, 12, 8
X = RNG.standard_normal((N, D)).astype(np.float32)
X /= np.linalg.norm(X, axis=1, keepdims=True)
QUERY = RNG.standard_normal(D)
LABELS = np.arange(N) % 7
ASKED = ("multilevel", "distributed")


class Searched(Index):
    """A store that gives vectors by searches alone."""

    exact, metric, dim = True, "cosine", D

    def __init__(self, held=None):
        self.held = held or setwise.Index.from_array(X)

    @property
    def size(self):
        return self.held.size

    def search(self, queries, k, **options):
        return self.held.search(queries, k, **options)

    def vectors(self, ids):
        return self.held.vectors(ids)


def expected(solver, rows=None, **wishes):
    """What select says of all of them, or of some rows."""
    rows = np.arange(N) if rows is None else rows
    options = {"partition": LABELS[rows]}
    found = setwise.select(
        X[rows], K, query=QUERY, diversity=0.4, solver=solver, solver_options=options, **wishes
    )
    return rows[found.indices].tolist(), found.value


def of(index, solver, labels=LABELS, **wishes):
    options = {"partition": labels}
    return setwise.retrieve(
        QUERY, index, K, diversity=0.4, sharpness=1, solver=solver, solver_options=options, **wishes
    )


@pytest.mark.parametrize("solver", ASKED)
def test_all_vectors_of_an_index_are_looked_at(solver):
    chosen, value = expected(solver)
    for index in (setwise.Index.from_array(X), Searched()):
        found = of(index, solver)
        assert found.ids.tolist() == chosen
        assert found.value == pytest.approx(value, abs=1e-6)
        assert found.certificate.upper_bound >= value
    kept = np.flatnonzero((LABELS != 2) & ~np.isin(np.arange(N), chosen[:3]))
    some, _ = expected(solver, kept)
    for index in (setwise.Index.from_array(X), Searched()):
        assert of(index, solver, filter=LABELS != 2, exclude=chosen[:3]).ids.tolist() == some
    both = of(
        setwise.Index.from_array(X), solver, include=[int(np.flatnonzero(LABELS == 2)[0])], filter=LABELS != 2
    )
    assert both.ids.tolist()[0] == 2
    assert (LABELS[both.ids[1:]] != 2).all()


@needs("faiss")
@pytest.mark.parametrize("solver", ASKED)
def test_faiss_gives_what_it_holds_or_what_is_beside_it(solver):
    import faiss

    names = np.arange(N)[::-1].astype(np.int64) + 50
    graph = faiss.IndexIDMap2(faiss.IndexHNSWFlat(D, 8, faiss.METRIC_INNER_PRODUCT))
    graph.add_with_ids(X, names)
    kept = np.flatnonzero(LABELS != 2)
    chosen, some = expected(solver)[0], expected(solver, kept)[0]
    labels = {int(name): int(label) for name, label in zip(names, LABELS, strict=True)}
    quantized = faiss.index_factory(D, "IDMap2,SQ8", faiss.METRIC_INNER_PRODUCT)
    quantized.train(X)
    quantized.add_with_ids(X, names)
    for held, beside in ((graph, None), (graph, X), (quantized, X)):
        index = setwise.Index.from_faiss(held, vectors=beside)
        assert of(index, solver, labels).ids.tolist() == names[chosen].tolist()
        assert of(index, solver, labels, filter=names[kept]).ids.tolist() == names[some].tolist()


@needs("faiss", "pyarrow")
@pytest.mark.parametrize("kind", [{}, {"kind": "faiss", "factory": "HNSW8"}])
def test_a_saved_index_is_read_whole(tmp_path, kind):
    from setwise.index.saving import save

    names = np.array([f"n{row}" for row in range(N)])
    save(tmp_path / "saved", X, ids=names.tolist(), columns={"part": LABELS.tolist()}, **kind)
    index = setwise.open_index(tmp_path / "saved")
    for solver in ASKED:
        found = of(index, solver, "part")
        assert found.ids.tolist() == names[expected(solver)[0]].tolist()
        some = expected(solver, np.flatnonzero(LABELS != 2))[0]
        found = of(index, solver, "part", filter="part <> 2")
        assert found.ids.tolist() == names[some].tolist()
        near = [float((X[some[:place]] @ X[some[place]]).max()) for place in range(1, K)]
        assert found.novelty[1:] == pytest.approx(1 - np.array(near), abs=1e-6)
        greedy = of(index, solver, "part", include=["n2"], filter="part <> 2", exclude=[names[some[0]]])
        assert greedy.ids[0] == "n2"
        assert names[some[0]] not in greedy.ids


def test_nothing_passes_a_filter_and_fewer_than_k():
    index = setwise.Index.from_array(X)
    with pytest.warns(UserWarning, match="nothing in the index passes the filter"):
        assert len(of(index, "multilevel", filter=np.zeros(N, bool))) == 0
    with pytest.warns(UserWarning, match="k: only 3 of the 8 asked for"):
        assert sorted(of(index, "distributed", filter=[4, 9, 11]).ids.tolist()) == [4, 9, 11]


@needs("faiss")
def test_a_store_of_too_many_is_refused_and_a_pool_is_looked_at():
    big = RNG.standard_normal((17_000, D)).astype(np.float32)
    store = Searched(setwise.Index.from_array(big))
    with pytest.raises(
        ValueError, match="^solver: 'multilevel' looks at all vectors, and a Searched has more"
    ):
        setwise.retrieve(QUERY, store, K, solver="multilevel")
    found = setwise.retrieve(QUERY, store, K, solver="multilevel", pool=500, sharpness=1, diversity=0.4)
    near = np.sort(np.argsort(-(big @ QUERY) / np.linalg.norm(big, axis=1))[:500])
    plain = setwise.select(big[near], K, query=QUERY, diversity=0.4, solver="multilevel")
    assert found.ids.tolist() == near[plain.indices].tolist()


def test_a_page_after_others_keeps_those_that_a_filter_does_not_pass():
    """What must be in the set or was on an earlier page is looked at whatever the filter."""
    index, passes = setwise.Index.from_array(X), np.arange(N) >= 200
    first = of(index, "multilevel", filter=passes, include=[3])
    unfiltered = of(index, "multilevel")
    assert first.ids[0] == 3
    assert not passes[unfiltered.ids].all()
    pages = [
        (first, first.next()),
        (first, of(index, "multilevel", filter=passes, include=[3], offset=K)),
        (unfiltered, of(index, "multilevel", filter=passes, after=unfiltered.cursor)),
    ]
    for before, page in pages:
        had = before.ids.tolist()
        rows = np.union1d(np.flatnonzero(passes), had)
        both = setwise.select(
            X[rows],
            2 * K,
            query=QUERY,
            diversity=0.4,
            include=np.searchsorted(rows, had),
            solver="multilevel",
            solver_options={"partition": LABELS[rows]},
        )
        assert page.ids.tolist() == rows[both.indices[K:]].tolist()


@needs("faiss", "pyarrow")
def test_an_offset_reaches_the_page_after_where_ids_are_in_any_order(tmp_path):
    import faiss

    from setwise.index.saving import save

    plain = of(setwise.Index.from_array(X), "multilevel", offset=K)
    assert len(plain.ids) == K
    mixed = RNG.permutation(N).astype(np.int64) + 50
    mapped = faiss.IndexIDMap2(faiss.IndexFlatIP(D))
    mapped.add_with_ids(X, mixed)
    labels = dict(zip(mixed.tolist(), LABELS.tolist(), strict=True))
    for beside in (None, X):
        found = of(setwise.Index.from_faiss(mapped, vectors=beside), "multilevel", labels, offset=K)
        assert found.ids.tolist() == mixed[plain.ids].tolist()
    names = np.array([f"z{row:03}" for row in mixed])
    save(tmp_path / "saved", X, ids=names.tolist(), columns={"part": LABELS.tolist()})
    found = of(setwise.open_index(tmp_path / "saved"), "multilevel", "part", offset=K)
    assert found.ids.tolist() == names[plain.ids].tolist()
    flat = faiss.IndexFlatIP(D)
    flat.add(X)
    asked = {"filter": np.arange(100, 200), "include": [3], "offset": K}
    beside = of(setwise.Index.from_faiss(flat, vectors=X), "multilevel", **asked)
    assert beside.ids.tolist() == of(setwise.Index.from_array(X), "multilevel", **asked).ids.tolist()


@needs("faiss", "pyarrow")
@pytest.mark.parametrize("solver", ASKED)
def test_nothing_passes_a_filter_of_what_faiss_holds(tmp_path, solver):
    import faiss

    from setwise.index.saving import save

    for kind, ranked in (("cosine", faiss.IndexFlatIP), ("euclidean", faiss.IndexFlatL2)):
        flat = ranked(D)
        flat.add(X)
        for beside in (None, X):
            index = setwise.Index.from_faiss(flat, vectors=beside, metric=kind)
            for none in ({"filter": np.arange(0)}, {"exclude": range(N)}):
                with pytest.warns(UserWarning, match="nothing in the index passes the filter"):
                    found = setwise.retrieve(QUERY, index, K, solver=solver, **none)
                assert len(found) == 0
    save(tmp_path / "saved", X, columns={"part": LABELS.tolist()}, kind="faiss", factory="Flat")
    with pytest.warns(UserWarning, match="nothing in the index passes the filter"):
        found = of(setwise.open_index(tmp_path / "saved"), solver, "part", filter="part = 9")
    assert len(found) == 0
