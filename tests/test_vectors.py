"""Checking, normalizing and scanning vectors: right for every dtype, without a second copy of the data."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import setwise
from reference.objectives import unit_rows
from setwise import kernels
from setwise.blocks import widen_half
from setwise.top import top_k
from setwise.vectors import Vectors

torch = pytest.importorskip("torch")

FLOATS = ["float16", "float32", "float64"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
SINGLE = {"float16", "float32", "int8", "int16", "uint8", "uint16"}
"""dtypes that float32 holds exactly."""


def rows_of(dtype, n=300, d=10, seed=0):
    """Rows of any dtype, none of them zero."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal((n, d)).astype(dtype)
    low = 1 if np.dtype(dtype).kind == "u" else -100
    X = rng.integers(low, 100, (n, d)).astype(dtype)
    X[~X.any(axis=1), 0] = 1
    return X


# --- right for every dtype ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_rows_scan_products_top_against_numpy(dtype, metric):
    X = rows_of(dtype)
    exact = unit_rows(X) if metric == "cosine" else X.astype(np.float64)
    vectors = Vectors(X, metric)
    assert vectors.dtype == (np.float32 if dtype in SINGLE else np.float64)
    assert (vectors.n, vectors.d) == X.shape
    near = {"rtol": 2e-6, "atol": 2e-6 * np.abs(exact).max() ** 2 * 10}
    if vectors.dtype == np.float64:
        near = {"rtol": 1e-12, "atol": 1e-12 * np.abs(exact).max() ** 2 * 10}
    ids = np.array([5, 0, 299, 17])
    assert np.allclose(vectors.rows(ids), exact[ids], **near)
    assert vectors.rows(ids).dtype == vectors.dtype
    assert np.allclose(vectors.rows(slice(3, 9)), exact[3:9], **near)
    assert np.allclose(vectors.rows(ids, np.float64), exact[ids], rtol=1e-15, atol=1e-15)

    weights = np.random.default_rng(1).standard_normal((3, 10))
    true = exact @ weights.T
    scanned = vectors.scan(weights[0])
    assert scanned.dtype == vectors.dtype
    assert np.allclose(scanned, true[:, 0], **near)
    products = np.full((300, 3), np.nan)

    def take(start, stop, found):
        products[start:stop] = found

    vectors.products(weights, take)
    assert np.allclose(products, true, **near)
    blocks = np.full(X.shape, np.nan)

    def keep(start, stop, rows):
        blocks[start:stop] = rows

    vectors.map_blocks(keep)
    assert np.allclose(blocks, exact, **near)
    best = top_k(scanned, 7)
    assert set(best.tolist()) == set(np.argsort(-true[:, 0])[:7].tolist())


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_similarity_to_a_query_is_cosine_or_minus_distance(dtype):
    X, query = rows_of(dtype), np.random.default_rng(2).standard_normal(10) * 20
    unit = query / np.linalg.norm(query)
    single = dtype in SINGLE
    cosine = Vectors(X, "cosine", query=unit).similarity
    assert cosine.dtype == np.float64
    assert np.allclose(cosine, unit_rows(X) @ unit, atol=1e-6 if single else 1e-14)
    distance = np.linalg.norm(X.astype(np.float64) - query, axis=1)
    found = Vectors(X, "euclidean", query=query).similarity
    assert np.allclose(-found, distance, rtol=1e-6 if single else 1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_strides_and_byte_orders_change_nothing(dtype):
    X = rows_of(dtype, 200, 12)
    weights = np.random.default_rng(1).standard_normal(12)
    plain = Vectors(X)
    wide = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    for view in (wide, np.asfortranarray(X), X[::-1][::-1], X.astype(X.dtype.newbyteorder(">"))):
        other = Vectors(view)
        assert np.allclose(other.scan(weights), plain.scan(weights), rtol=1e-5, atol=1e-6)
        assert np.array_equal(other.rows(slice(0, 200), np.float64), plain.rows(slice(0, 200), np.float64))
        assert np.array_equal(other.scale, plain.scale)
        first, second = setwise.select(X, 5, query=weights), setwise.select(view, 5, query=weights)
        assert np.array_equal(first.indices, second.indices)
        assert first.value == second.value
        assert first.certificate == second.certificate
        assert first.stats == second.stats  # none is left to a slower way


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_small_whole_numbers_are_selected_from_as_the_floats_they_are(dtype):
    X = rows_of("float32", 60, 12)
    X = np.round(np.abs(X) * 60).astype(dtype)
    query = np.arange(12.0)
    first, second = setwise.select(X, 5, query=query), setwise.select(X.astype(np.float32), 5, query=query)
    assert np.array_equal(first.indices, second.indices)
    assert first.certificate == second.certificate
    assert first.stats == second.stats


def test_float16_is_scanned_as_float32():
    X = rows_of("float16")
    weights = np.random.default_rng(1).standard_normal(10)
    wide = Vectors(X.astype(np.float32)).scan(weights)
    np.testing.assert_allclose(Vectors(X).scan(weights), wide, atol=1e-6 * np.abs(wide).max())


def test_unit_float32_rows_serve_as_they_are():
    X = unit_rows(rows_of("float32")).astype(np.float32)
    vectors = Vectors(X)
    assert np.shares_memory(vectors.rows(slice(0, 300)), X)
    assert not np.shares_memory(Vectors(X * 2).rows(slice(0, 300)), X)


@pytest.mark.parametrize("factor", [1e-44, 1e-40, 1e-30, 1e-20, 1e20, 1e30, 1e38])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_subnormal_and_huge_rows_are_good_rows(factor, metric):
    """float32 squares would leave their range; the direction and the distances are still exact."""
    X = np.random.default_rng(0).uniform(0.5, 2.0, (40, 6))
    X[::2] *= -1
    X = (X * factor).astype(np.float32)
    r = np.random.default_rng(1).random(40)
    wide = X.astype(np.float64)
    if metric == "cosine":
        assert np.allclose(Vectors(X).rows(np.arange(40), np.float64), unit_rows(wide), atol=1e-15)
        assert np.allclose(
            Vectors(X, query=unit_rows(wide[:1])[0]).similarity, unit_rows(wide) @ unit_rows(wide)[0]
        )
    t = 0.5 if metric == "cosine" else min(1.0, 1 / (1 + factor))
    for options in ({"solver": "greedy"}, {"objective": "mmr"}, {"objective": "log-det"}, {}):
        sel = setwise.select(X, 6, relevance=r, metric=metric, diversity=t, **options)
        same = setwise.select(wide, 6, relevance=r, metric=metric, diversity=t, **options)
        assert np.array_equal(sel.indices, same.indices)
        assert np.isfinite(sel.value)


def test_one_odd_row_among_ordinary_ones():
    X = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    X[7] *= 1e-30
    X[31] *= 1e30
    exact = unit_rows(X.astype(np.float64))
    vectors = Vectors(X, query=exact[0])
    assert np.allclose(vectors.rows(np.arange(50), np.float64), exact, atol=1e-15)
    assert np.allclose(vectors.similarity, exact @ exact[0], atol=1e-14)
    assert np.allclose(vectors.scan(exact[1]), exact @ exact[1], atol=1e-14)


def test_float16_subnormals():
    X = (np.random.default_rng(0).integers(1, 8, (30, 4)) * 2.0**-24).astype(np.float16)
    assert np.allclose(Vectors(X).rows(np.arange(30)), unit_rows(X.astype(np.float64)), atol=1e-6)


def test_widen_half_is_numpys_conversion_for_every_number():
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    assert len(finite) == 63488
    wide = widen_half(finite)
    assert wide.dtype == np.float32
    assert np.array_equal(wide.view(np.uint32), finite.astype(np.float32).view(np.uint32))
    for values in (
        every,
        every.reshape(256, 256),
        every[::3],
        every[np.isinf(every)],
        every[np.isnan(every)],
    ):
        assert np.array_equal(widen_half(values), values.astype(np.float32), equal_nan=True)
    for number in every[~np.isfinite(every)][::97]:
        block = np.array([[1.0, number]], np.float16)
        assert np.array_equal(widen_half(block), block.astype(np.float32), equal_nan=True)
    assert widen_half(np.empty((0, 3), np.float16)).shape == (0, 3)


# --- the same on any number of threads ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_threads_do_not_change_a_scan(dtype, metric, split):
    X = rows_of(dtype, 3001, 7)
    query = np.random.default_rng(2).standard_normal(7)
    query /= np.linalg.norm(query)
    one, two = (Vectors(X, metric, query=query, workers=workers) for workers in (1, 2))
    assert np.array_equal(one.similarity, two.similarity)
    assert np.array_equal(one.scan(query), two.scan(query))


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_threads_do_not_change_a_selection(objective, metric, split):
    X = rows_of("float32", 9000, 12)
    options = {"query": X[3], "diversity": 0.4, "metric": metric, "objective": objective}
    one = setwise.select(X, 15, threads=1, **options)
    for threads in (2, 3):
        other = setwise.select(X, 15, threads=threads, **options)
        assert np.array_equal(one.indices, other.indices)
        assert np.allclose(one.gains, other.gains, rtol=1e-12, atol=1e-12)


# --- nothing is copied whole, nothing is written to ---------------------------------------------------------


def peak_of(task):
    """The most memory that NumPy and Python held beyond what they held before, in bytes."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    task()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("float16", {}),
        ("float32", {}),
        ("float64", {}),
        ("int8", {"objective": "log-det"}),
        ("float16", {"objective": "mmr"}),
        ("float32", {"sharpness": 8}),
        ("float32", {"objective": "mmr"}),
        ("float32", {"objective": "log-det"}),
    ],
)
def test_a_memory_map_is_never_copied(tmp_path, dtype, options):
    """30,000 rows are read in blocks: the peak is the pool and O(n), a fraction of one float32 copy."""
    n, d = 30_000, 256
    X = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", dtype, (n, d))
    rng = np.random.default_rng(0)
    centers = rng.integers(-60, 60, (20, d))
    for start in range(0, n, 5000):
        noise = rng.integers(-30, 30, (5000, d))
        X[start : start + 5000] = centers[rng.integers(20, size=5000)] + noise
    X.flush()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    query = centers[0]
    setwise.select(mapped[:3000], 5, query=query, **options)  # imports
    copy = n * d * (8 if dtype == "float64" else 4)
    peak = peak_of(lambda: setwise.select(mapped, 10, query=query, diversity=0.2, certify=False, **options))
    assert peak < 0.6 * copy
    vectors = Vectors(mapped)
    assert np.shares_memory(vectors.raw, mapped)
    weights = rng.standard_normal(d)
    assert peak_of(lambda: vectors.scan(weights)) < 0.15 * copy
    assert peak_of(lambda: Vectors(mapped, query=weights / np.linalg.norm(weights))) < 0.15 * copy


def test_a_big_endian_memory_map_is_not_copied_either(tmp_path):
    X = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", ">f4", (20_000, 256))
    X[:] = np.random.default_rng(0).standard_normal((1, 256))
    X.flush()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert peak_of(lambda: Vectors(mapped)) < 0.5 * X.nbytes


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_input_is_read_only_and_stays_as_it_was(dtype, metric):
    X, r = rows_of(dtype, 400, 6), np.random.default_rng(0).random(400)
    groups, query = np.arange(400) % 40, X[0].astype(np.float64)
    include = np.array([7, 3])
    kept = [array.copy() for array in (X, r, groups, query, include)]
    for array in (X, r, groups, query, include):
        array.flags.writeable = False
    for objective in ("max-sum", "mmr", "log-det"):
        options = {"metric": metric, "objective": objective, "include": include}
        setwise.select(X, 8, relevance=r, groups=groups, max_per_group=1, **options)
        setwise.select(X, 8, query=query, relevance_scale="minmax", **options)
    setwise.select(X, 8, relevance=r, solver="clustering", metric=metric)
    setwise.select(X, 8, relevance=r, solver="exact", metric=metric, diversity=0.05)
    setwise.select_many(X, 3, offsets=[0, 100, 250, 400], relevance=r, metric=metric, certify=False)
    for array, before in zip((X, r, groups, query, include), kept, strict=True):
        assert np.array_equal(array, before)


def test_torch_tensors_are_not_written_to():
    X = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    X /= X.norm(dim=1, keepdim=True)
    before = X.clone()
    for sharpness in (1, 8):
        setwise.select(X, 5, query=X[0], sharpness=sharpness)
    assert torch.equal(X, before)


# --- refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("row", [0, 17, 4999])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_nan_and_inf_name_the_first_bad_row(dtype, row, metric):
    for value, message in [
        (np.nan, f"vectors: row {row} has NaN; drop it or pass an imputed value"),
        (np.inf, f"vectors: row {row} has Inf; drop it or pass a finite value"),
        (-np.inf, f"vectors: row {row} has Inf"),
    ]:
        X = rows_of(dtype, 5000, 64)
        X[row:, 5] = value
        with pytest.raises(ValueError, match=message):
            Vectors(X, metric)
        with pytest.raises(ValueError, match=message):
            setwise.select(X, 3, query=np.ones(64), metric=metric)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint8"])
def test_zero_rows_have_no_cosine(dtype):
    X = rows_of(dtype, 400, 6)
    X[23] = X[300] = 0
    with pytest.raises(
        ValueError, match=r"vectors: row 23 is all zero .*; drop it or pass metric='euclidean'"
    ):
        Vectors(X)
    assert np.array_equal(
        setwise.select(X, 3, relevance=np.arange(400), metric="euclidean", diversity=0.0), [399, 398, 397]
    )


def test_bad_rows_are_told_from_odd_ones():
    """A tiny row is good, NaN elsewhere is not."""
    X = rows_of("float32", 100, 4)
    X[3] *= 1e-30
    X[60, 1] = np.nan
    with pytest.raises(ValueError, match="row 60 has NaN"):
        Vectors(X)


@pytest.mark.parametrize("factor", [1e-170, 1e200])
def test_entries_beyond_float64s_squares_are_refused(factor):
    X = rows_of("float64", 10, 3)
    X[4] *= factor
    with pytest.raises(ValueError, match=r"vectors: row 4 has entries beyond .*; rescale"):
        Vectors(X)


def test_an_unknown_metric():
    with pytest.raises(ValueError, match=r"metric: 'cosin' is unknown; did you mean 'cosine'\?"):
        setwise.select(np.eye(3), 1, metric="cosin")
    with pytest.raises(TypeError, match="metric: expected one of cosine, euclidean"):
        setwise.select(np.eye(3), 1, metric=None)


# --- top_k and samples --------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.integers(0, 40), st.sampled_from(["f4", "f8"])
)
def test_top_k_is_a_stable_sort(values, k, dtype):
    scores = np.array(values, dtype)
    k = min(k, len(scores))
    found = top_k(scores, k)
    assert found.dtype == np.int64
    assert np.array_equal(found, np.argsort(-scores, kind="stable")[:k])


def test_top_k_with_infinities():
    scores = np.array([-np.inf, 1.0, np.inf, -np.inf, 1.0])
    for k in range(6):
        assert np.array_equal(top_k(scores, k), np.argsort(-scores, kind="stable")[:k])


@pytest.mark.parametrize("unit", [False, True])
def test_a_sample_follows_the_rows_when_they_move(rng, unit):
    X, r = rows_of("float32", 4000, 8), rng.random(4000)
    X = unit_rows(X).astype(np.float32) if unit else X
    order = rng.permutation(4000)
    for values in (r, np.zeros(4000)):
        here = Vectors(X).sample(500, values)
        there = Vectors(X[order]).sample(500, values[order])
        assert set(here.tolist()) == set(order[there].tolist())
        assert 350 < len(here) < 650


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8"])
def test_rows_that_do_not_count_are_as_if_cut_out(metric, dtype):
    """In every way of reading, for data whose rows only their entries tell apart."""
    rng = np.random.default_rng(0)
    X = rng.integers(1, 90, (3000, 8)).astype(dtype)
    kept = np.flatnonzero(rng.random(3000) < 0.7)
    probe = rng.standard_normal(8)
    some, cut = Vectors(X, metric, query=probe, kept=kept), Vectors(X[kept], metric, query=probe)
    assert (some.n, some.d, some.dtype) == (cut.n, cut.d, cut.dtype)
    ids = np.array([0, 5, len(kept) - 1])
    assert np.array_equal(some.places(ids), kept[ids])
    assert np.array_equal(some.rows(ids), cut.rows(ids))
    assert np.array_equal(some.rows(slice(3, 40)), cut.rows(slice(3, 40)))
    assert np.array_equal(some.scan(probe), cut.scan(probe))
    assert np.array_equal(some.similarity, cut.similarity)
    assert np.array_equal(some.queried(-probe).similarity, cut.queried(-probe).similarity)
    assert np.array_equal(some.sample(400, np.zeros(some.n)), cut.sample(400, np.zeros(cut.n)))
    read = [np.zeros((some.n, 8)), np.zeros((some.n, 8))]
    for vectors, into in zip((some, cut), read, strict=True):
        vectors.map_blocks(lambda start, stop, block, into=into: into.__setitem__(slice(start, stop), block))
    assert np.array_equal(*read)
    assert read[0].any(axis=1).all()


def test_relevance_is_as_precise_without_kernels():
    """Many rows as well as few: what is selected does not hang on what is installed."""
    X = rows_of("float32", n=9000, d=40)
    query = np.random.default_rng(1).standard_normal(40)
    before = kernels.instructions()
    kernels.use("0")
    try:
        found = Vectors(X, "cosine", query=query / np.linalg.norm(query)).similarity
    finally:
        kernels.use("0" if before == "numpy" else before)
    wide = X.astype(np.float64)
    right = wide @ query / np.linalg.norm(wide, axis=1) / np.linalg.norm(query)
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-14)
