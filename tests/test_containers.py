"""The one door for arrays: every container that is taken, and one clear line for each that is not."""

from decimal import Decimal

import numpy as np
import pytest
import scipy.sparse

import setwise
from optional import lazily, needs
from setwise.containers import as_matrix, to_numpy
from setwise.queries import as_query

pa = lazily("pyarrow")
torch = lazily("torch")


FLOATS = ["float16", "float32", "float64"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
ROWS = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]


# --- taken --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_numpy_of_every_dtype_is_a_view(dtype):
    X = np.array(ROWS, dtype)
    found = as_matrix(X)
    assert found.dtype == X.dtype
    assert np.shares_memory(found, X)
    assert np.array_equal(found, X)


def test_wide_floats_are_converted_and_foreign_byte_orders_read():
    assert as_matrix(np.array(ROWS, np.longdouble)).dtype == np.float64
    for code in (">f2", ">f4", ">f8", ">i2", ">i4", ">i8"):
        found = as_matrix(np.array(ROWS, code))
        assert np.array_equal(found, ROWS)


def test_decimals_and_numbers_as_objects_are_numbers():
    rows = [[Decimal("1.5"), 2], [3.25, np.int8(-1)]]
    expected = [[1.5, 2.0], [3.25, -1.0]]
    frame = np.array(rows, object)
    for data in (rows, frame, [np.array(row, object) for row in rows]):
        assert as_matrix(data).tolist() == expected
    assert setwise.select(np.eye(2), 1, relevance=[Decimal("0.1"), Decimal("0.9")]).indices.tolist() == [1]
    with pytest.raises(TypeError, match=r"vectors: row 0 has True \(bool\)"):
        as_matrix(np.array([[True, 1], [2, 3]], object))


def test_views_of_any_stride_are_not_copied():
    X = np.arange(240.0).reshape(20, 12)
    for view in (X[::2], X[:, ::3], X.T, X[::-1], np.asfortranarray(X), np.broadcast_to(X[0], (5, 12))):
        found = as_matrix(view)
        assert np.shares_memory(found, view)
        assert np.array_equal(found, view)


@pytest.mark.parametrize("dtype", [*FLOATS, "int8", "int64"])
def test_memory_maps_stay_on_disk(tmp_path, dtype):
    np.save(tmp_path / "x.npy", np.array(ROWS, dtype))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    found = as_matrix(mapped)
    assert np.shares_memory(found, mapped)
    assert np.array_equal(found, ROWS)


@needs("torch")
@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8"]
)
def test_torch_tensors_share_their_memory(dtype):
    tensor = torch.tensor(ROWS, dtype=getattr(torch, dtype))
    found = as_matrix(tensor)
    assert found.dtype == dtype
    assert np.array_equal(found, ROWS)
    assert np.shares_memory(found, tensor.numpy())


@needs("torch")
def test_torch_bfloat16_gradients_and_views():
    values = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(as_matrix(values.bfloat16()), values.bfloat16().float().numpy())
    assert np.array_equal(as_matrix(values.requires_grad_()), values.detach().numpy())
    assert np.array_equal(as_matrix(values.detach().T), values.detach().numpy().T)
    assert np.array_equal(as_matrix(torch.nn.Parameter(values.detach())), values.detach().numpy())


@needs("pyarrow")
@pytest.mark.parametrize("name", ["float16", "float32", "float64", "int8", "int64", "uint16"])
def test_arrow_fixed_size_lists_share_their_memory(name):
    flat = np.arange(1, 13).astype(name)
    column = pa.FixedSizeListArray.from_arrays(pa.array(flat), 3)
    found = as_matrix(column)
    assert np.array_equal(found, ROWS)
    assert found.dtype == flat.dtype
    assert np.shares_memory(found, column.flatten().to_numpy())


@needs("pyarrow")
def test_arrow_columns_of_every_make():
    fixed = pa.array(ROWS, pa.list_(pa.float32(), 3))
    listed = pa.array(ROWS, pa.list_(pa.float64()))
    large = pa.array(ROWS, pa.large_list(pa.float32()))
    for column in (fixed, listed, large):
        assert np.array_equal(as_matrix(column), ROWS)
        assert np.array_equal(as_matrix(column[1:3]), ROWS[1:3])
        chunked = pa.chunked_array([column[:1], column[1:1], column[1:]])
        assert np.array_equal(as_matrix(chunked), ROWS)
        assert np.array_equal(as_matrix(chunked[2:]), ROWS[2:])
        assert np.array_equal(as_matrix(pa.chunked_array([column])), ROWS)
        assert np.array_equal(as_matrix(pa.table({"v": column})["v"]), ROWS)


def list_views(offsets, sizes, view, offset):
    flat = pa.array(np.arange(1, 13, dtype=np.float32))
    return getattr(pa, view).from_arrays(pa.array(offsets, offset), pa.array(sizes, offset), flat)


@needs("pyarrow")
@pytest.mark.parametrize(("view", "offset"), [("ListViewArray", "int32"), ("LargeListViewArray", "int64")])
def test_arrow_list_views_are_read_by_their_views(view, offset):
    """A view may stand anywhere, more than once, and need not be in order."""
    order = list_views([9, 0, 3, 6], [3] * 4, view, offset)
    assert np.array_equal(as_matrix(order), np.array(ROWS)[[3, 0, 1, 2]])
    assert np.array_equal(as_matrix(order[1:3]), np.array(ROWS)[[0, 1]])
    assert np.array_equal(as_matrix(list_views([3, 3], [3, 3], view, offset)), np.array(ROWS)[[1, 1]])
    assert np.array_equal(as_matrix(list_views([6], [3], view, offset)), [ROWS[2]])
    with pytest.raises(ValueError, match="row 1 has 4 entries where row 0 has 2"):
        as_matrix(list_views([0, 2, 6], [2, 4, 3], view, offset))


@needs("pyarrow")
def test_arrow_tensors_keep_their_logical_order():
    tensors = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(tensors)
    assert np.array_equal(to_numpy(column, "x"), tensors)
    assert np.array_equal(to_numpy(pa.chunked_array([column[:1], column[1:]]), "x"), tensors)
    rows = pa.FixedShapeTensorArray.from_numpy_ndarray(np.array(ROWS, np.float64))
    assert np.array_equal(as_matrix(rows), ROWS)
    turned = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), [2, 3], permutation=[1, 0]), column.storage
    )
    assert np.array_equal(to_numpy(turned, "x"), turned.to_numpy_ndarray())


@needs("pyarrow")
def test_arrow_nested_and_encoded_columns():
    nested = pa.array([[ROWS[0], ROWS[1]], [ROWS[2], ROWS[3]]])
    assert np.array_equal(to_numpy(nested, "x"), np.array(ROWS).reshape(2, 2, 3))
    numbers = pa.array([1.5, 2.5, 1.5]).dictionary_encode()
    assert np.array_equal(to_numpy(numbers, "x", flat=True), [1.5, 2.5, 1.5])
    decimals = pa.array([1, 2], pa.decimal128(5, 2))
    assert np.array_equal(to_numpy(decimals, "x", flat=True), [1.0, 2.0])


@needs("pyarrow")
@pytest.mark.parametrize(
    ("column", "message"),
    [
        (lambda: pa.array([{"values": [1.0, 2.0]}]), "its field 'values' as a column of its own"),
        (lambda: pa.array([{"size": 2, "values": [1.0, 2.0]}]), "its field 'values' as a column of its own"),
        (lambda: pa.array([b"\x01\x02"]), "packed bits or bytes"),
        (lambda: pa.array([b"\x01\x02"], pa.binary(2)), "packed bits or bytes"),
        (lambda: pa.array([[b"\x01"]]), "packed bits or bytes"),
        (lambda: pa.array([["a"]]), "got string"),
    ],
)
def test_arrow_columns_of_other_things_say_the_mend(column, message):
    with pytest.raises(TypeError, match=message):
        as_matrix(column())


@needs("pyarrow")
def test_later_chunks_have_the_width_of_the_first():
    column = pa.chunked_array([pa.array([[1.0, 2.0]]), pa.array([[1.0, 2.0, 3.0]])])
    with pytest.raises(ValueError, match="all rows need the same length"):
        as_matrix(column)
    column = pa.chunked_array([pa.array([[1.0, 2.0]]), pa.array([[1.0, 2.0], None])])
    with pytest.raises(ValueError, match="vectors: row 2 is null"):
        as_matrix(column)


@needs("pyarrow")
def test_pandas_columns_and_frames():
    pandas = pytest.importorskip("pandas")
    arrays = pandas.Series([np.array(row, np.float32) for row in ROWS], index=[9, 8, 7, 6])
    for column in (arrays, arrays.values, arrays.to_list(), pandas.Series(ROWS)):
        assert np.array_equal(as_matrix(column), ROWS)
    assert as_matrix(arrays).dtype == np.float32
    arrow = pandas.Series(pa.array(ROWS), dtype=pandas.ArrowDtype(pa.list_(pa.float64())))
    assert np.array_equal(as_matrix(arrow), ROWS)
    frame = pandas.DataFrame(ROWS, dtype="float32")
    assert np.array_equal(as_matrix(frame), ROWS)
    nullable = pandas.DataFrame(ROWS).astype("Int64")
    assert np.array_equal(as_matrix(nullable), ROWS)
    assert np.array_equal(as_matrix(nullable.convert_dtypes(dtype_backend="pyarrow")), ROWS)
    missing = pandas.Series([1, None, 3], dtype="Int64")
    with pytest.raises(ValueError, match="relevance: row 1 is NaN"):
        setwise.select(np.eye(3), 1, relevance=missing)


def test_polars_columns_and_frames():
    polars = pytest.importorskip("polars")
    listed = polars.Series("v", [[float(x) for x in row] for row in ROWS])
    assert np.array_equal(as_matrix(listed), ROWS)
    assert np.array_equal(as_matrix(listed.cast(polars.Array(polars.Float32, 3))), ROWS)
    assert as_matrix(listed.cast(polars.List(polars.Float32))).dtype == np.float32
    assert np.array_equal(as_matrix(polars.concat([listed, listed])[1:]), np.vstack([ROWS, ROWS])[1:])
    with pytest.raises(ValueError, match="x: row 0 has a null entry"):
        as_matrix(polars.Series([[1.0, None], [2.0, 3.0]]), "x")
    with pytest.raises(ValueError, match="x: row 1 has"):
        as_matrix(polars.Series([[1.0, 2.0], [], [1.0, 2.0]]), "x")
    with pytest.raises(ValueError, match="x: row 1 has"):
        as_matrix(polars.Series([[1.0, 2.0], [3.0], [1.0, 2.0, 3.0]]), "x")
    assert np.array_equal(as_matrix(polars.DataFrame(ROWS, orient="row")), ROWS)
    assert np.array_equal(to_numpy(polars.Series([1.0, 2.0]), "x", flat=True), [1.0, 2.0])
    with pytest.raises(ValueError, match="vectors: row 1 is null"):
        as_matrix(polars.Series([[1.0], None]))


def test_number_types_of_other_packages():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn):
        found = as_matrix(np.array(ROWS, np.float32).astype(dtype))
        assert found.dtype == np.float32
        assert np.array_equal(found, np.array(ROWS, np.float32).astype(dtype).astype(np.float32))


@needs("torch")
def test_lists_of_tensors():
    values = torch.tensor(ROWS, dtype=torch.float32)
    for rows in ([row.bfloat16() for row in values], [row.clone().requires_grad_() for row in values]):
        assert np.array_equal(as_matrix(rows), ROWS)
        assert np.array_equal(as_matrix(tuple(rows)), ROWS)
    scores = [row.sum().requires_grad_() for row in values.clone().requires_grad_()]
    assert np.array_equal(to_numpy(scores, "relevance", flat=True), [6.0, 15.0, 24.0, 33.0])
    assert np.array_equal(as_matrix(values.to(torch.float8_e4m3fn)), values.to(torch.float8_e4m3fn).float())


@needs("torch")
def test_tensors_with_a_pending_sign_or_conjugation():
    values = torch.tensor(ROWS, dtype=torch.float32)
    negative = torch.complex(values, -values).conj().imag  # a view that is negated when it is read
    assert negative.is_neg()
    assert np.array_equal(as_matrix(negative), ROWS)
    with pytest.raises(TypeError, match="vectors: dtype complex64 cannot be used"):
        as_matrix(torch.complex(values, values).conj())


def test_a_column_of_a_dataset():
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"id": [0, 1, 2, 3], "v": ROWS})
    for column in (dataset["v"], dataset.with_format("numpy")["v"], dataset.with_format("torch")["v"]):
        assert np.array_equal(as_matrix(column), ROWS)
    assert np.array_equal(as_matrix(dataset), ROWS)


def test_lists_tuples_and_what_calls_itself_an_array():
    assert np.array_equal(as_matrix(ROWS), ROWS)
    assert np.array_equal(as_matrix(tuple(map(tuple, ROWS))), ROWS)
    assert np.array_equal(as_matrix([np.array(row) for row in ROWS]), ROWS)

    class Rows:
        def __array__(self, dtype=None, copy=None):
            return np.array(ROWS, dtype)

    assert np.array_equal(as_matrix(Rows()), ROWS)


@needs("pyarrow", "torch")
def test_every_container_gives_the_same_selection():
    """One set of float32 numbers by eight doors."""
    rng = np.random.default_rng(1)
    X, r = rng.standard_normal((60, 8)).astype(np.float32), rng.random(60)
    flat = pa.array(X.reshape(-1))
    doors = [
        X,
        X.astype(">f4"),
        np.asfortranarray(X),
        np.repeat(X, 2, axis=0)[::2],
        torch.from_numpy(X),
        pa.FixedSizeListArray.from_arrays(flat, 8),
        pa.chunked_array([pa.FixedSizeListArray.from_arrays(flat, 8)[a : a + 20] for a in (0, 20, 40)]),
        X.tolist(),
    ]
    first = setwise.select(X, 7, relevance=r)
    for door in doors:
        sel = setwise.select(door, 7, relevance=r)
        assert np.array_equal(sel.indices, first.indices)
        assert sel.value == pytest.approx(first.value, abs=1e-12)
    for relevance in (torch.from_numpy(r), r.tolist(), r[:, None], r[None], r.astype(">f8")):
        assert np.array_equal(setwise.select(X, 7, relevance=relevance).indices, first.indices)


@needs("pyarrow")
def test_relevance_and_query_may_be_arrow_columns():
    rng = np.random.default_rng(1)
    X, r = rng.standard_normal((60, 8)).astype(np.float32), rng.random(60)
    for relevance in (pa.array(r), pa.chunked_array([r[:20], r[20:]])):
        found = setwise.select(X, 7, relevance=relevance)
        assert np.array_equal(found.indices, setwise.select(X, 7, relevance=r).indices)
    found = setwise.select(X, 7, query=pa.array(X[0]))
    assert np.array_equal(found.indices, setwise.select(X, 7, query=X[0]).indices)


# --- refused ------------------------------------------------------------------------------------------------

BAD_NUMPY = [
    (np.array([["a", "b"]]), TypeError, r"vectors: dtype <U1 cannot be used; pass floats"),
    (np.array([[b"a", b"b"]]), TypeError, r"vectors: dtype .* cannot be used; pass floats"),
    (np.ones((2, 2), bool), TypeError, r"vectors: dtype bool cannot be used; pass floats"),
    (np.ones((2, 2), complex), TypeError, r"vectors: dtype complex128 cannot be used; pass floats"),
    (np.full((2, 2), "1", object), TypeError, r"vectors: row 0 has '1' \(str\); pass floats"),
    (np.ones((2, 2), "datetime64[s]"), TypeError, r"vectors: dtype datetime64.* cannot be used"),
    (np.ma.masked_equal(np.eye(2), 0), TypeError, r"vectors: masked arrays cannot be used; fill"),
    ([np.eye(2)[0], np.ma.masked_equal([0, 1], 0)], TypeError, r"vectors: row 1: masked arrays cannot be"),
    (np.ones(3), ValueError, r"vectors: expected shape \(n, d\), got \(3,\); .*reshape"),
    (np.ones((2, 2, 2)), ValueError, r"vectors: expected shape \(n, d\), got \(2, 2, 2\)"),
    (np.float64(3), ValueError, r"vectors: expected shape \(n, d\), got \(\)"),
    (np.ones((0, 3)), ValueError, r"vectors: empty"),
    (np.ones((3, 0)), ValueError, r"vectors: rows have no entries"),
    ([[1, 2], [3]], ValueError, r"vectors: row 1 has 1 entries where row 0 has 2"),
    ([[1, 2], [3, 4], 5], ValueError, r"vectors: row 2 has .* where row 0 has 2"),
    ([[1.0, 2.0], [1.0, None]], ValueError, r"vectors: row 1 has a null entry; drop it"),
    ([[1.0, 2.0], [3.0, "x"]], TypeError, r"vectors: row 1 has 'x' \(str\); pass floats or integers"),
    ("abc", TypeError, r"vectors: dtype <U3 cannot be used"),
    (None, TypeError, r"vectors: dtype object cannot be used"),
    ({"a": 1}, TypeError, r"vectors: dtype object cannot be used"),
    (
        scipy.sparse.csr_matrix(np.eye(2)),
        TypeError,
        r"vectors: sparse matrices cannot be used; pass .toarray",
    ),
    (scipy.sparse.coo_array(np.eye(2)), TypeError, r"vectors: sparse matrices cannot be used"),
]


@pytest.mark.parametrize(("data", "error", "message"), BAD_NUMPY)
def test_what_cannot_be_used_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        as_matrix(data)
    with pytest.raises(error, match=message):
        setwise.select(data, 1)


class Refuses:
    """A container whose own conversion fails, as a tensor on a device does."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("not on this device")


def test_what_refuses_to_be_an_array_is_one_line():
    message = r"^vectors: cannot be read as an array \(RuntimeError: not on this device\)$"
    for data in (Refuses(), [Refuses(), Refuses()]):
        with pytest.raises(TypeError, match=message):
            as_matrix(data)
    with pytest.raises(TypeError, match="^relevance: cannot be read as an array"):
        setwise.select(np.eye(3), 1, relevance=Refuses())


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([np.ones(2), None, np.ones(2)], ValueError, "vectors: row 1 is null; drop it"),
        ([np.ones(2), np.ones(3)], ValueError, "vectors: row 1 has 3 entries where row 0 has 2"),
        ([np.ones(2), "ab"], TypeError, "vectors: row 1 is str, expected numbers"),
        ([b"\x01\x02", b"\x03\x04"], TypeError, "vectors: row 0 is bytes.*np.unpackbits"),
        ([np.ones(2), {"a": 1}], TypeError, "vectors: row 1 is dict, expected numbers"),
    ],
)
def test_cells_that_are_no_vectors_are_named(rows, error, message):
    column = np.empty(len(rows), object)
    column[:] = rows
    with pytest.raises(error, match=message):
        as_matrix(column)
    pandas = pytest.importorskip("pandas")
    with pytest.raises(error, match=message):
        as_matrix(pandas.Series(rows))


def test_an_empty_list_is_called_empty():
    with pytest.raises(ValueError, match="vectors: empty"):
        as_matrix([])


BAD_TORCH = [
    (lambda: torch.ones(2, 2, dtype=torch.bool), TypeError, "vectors: dtype bool cannot be used"),
    (lambda: torch.ones(2, 2, dtype=torch.complex64), TypeError, "vectors: dtype complex64 cannot be used"),
    (
        lambda: torch.ones(2, 2, device="meta"),
        TypeError,
        r"vectors: the tensor is on meta; pass its \.cpu\(\)",
    ),
    (lambda: torch.ones(3), ValueError, r"vectors: expected shape \(n, d\), got \(3,\)"),
    (lambda: torch.ones(0, 3), ValueError, "vectors: empty"),
    (lambda: torch.eye(2).to_sparse(), TypeError, "vectors: .*sparse"),
]


@needs("torch")
@pytest.mark.parametrize(("data", "error", "message"), BAD_TORCH)
def test_tensors_that_cannot_be_used(data, error, message):
    with pytest.raises(error, match=message):
        as_matrix(data())


BAD_ARROW = [
    (
        lambda: pa.array([1.0, 2.0]),
        TypeError,
        "vectors: expected an Arrow column of lists of numbers, got double",
    ),
    (lambda: pa.array(["a"]), TypeError, "vectors: expected an Arrow column of lists of numbers, got string"),
    (lambda: pa.table({"v": ["a"]}), TypeError, "vectors: no column of the frame holds vectors, and 'v'"),
    (
        lambda: pa.array([["a", "b"]]),
        TypeError,
        "vectors: expected an Arrow column of lists of numbers, got string",
    ),
    (
        lambda: pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)),
        ValueError,
        "vectors: row 1 is null; drop it",
    ),
    (lambda: pa.array([[1.0, 2.0], None], pa.list_(pa.float32())), ValueError, "vectors: row 1 is null"),
    (
        lambda: pa.array([[1.0, 2.0], [3.0, None]], pa.list_(pa.float32(), 2)),
        ValueError,
        "vectors: row 1 has a null entry; drop it or pass an imputed value",
    ),
    (lambda: pa.array([[1.0, 2.0], [3.0]]), ValueError, "vectors: row 1 has 1 entries where row 0 has 2"),
    (lambda: pa.array([], pa.list_(pa.float32(), 2)), ValueError, "vectors: empty"),
    (lambda: pa.chunked_array([], pa.list_(pa.float32(), 2)), ValueError, "vectors: empty"),
]


@needs("pyarrow")
@pytest.mark.parametrize(("data", "error", "message"), BAD_ARROW)
def test_arrow_that_cannot_be_used(data, error, message):
    with pytest.raises(error, match=message):
        as_matrix(data())


@needs("pyarrow")
def test_a_null_entry_in_ragged_lists_is_placed_right():
    column = pa.array([[1.0, 2.0, 3.0, 4.0], [5.0], [6.0, None]])
    with pytest.raises(ValueError, match=r"row [12] has (a null entry|1 entries)"):
        as_matrix(column)


def test_messages_name_the_argument():
    with pytest.raises(TypeError, match=r"^examples: dtype bool"):
        as_matrix(np.ones((2, 2), bool), "examples")
    with pytest.raises(TypeError, match=r"^examples: masked"):
        to_numpy(np.ma.masked_equal(np.eye(2), 0), "examples")


# --- queries ------------------------------------------------------------------------------------------------


@needs("torch")
def test_queries_are_float64_and_of_unit_length_under_cosine():
    for query in (
        [3, 4],
        np.array([3, 4], np.int8),
        np.array([[3.0, 4.0]]),
        torch.tensor([3.0, 4.0]).bfloat16(),
    ):
        assert np.allclose(as_query(query, 2, "cosine"), [0.6, 0.8], atol=1e-15)
        assert np.array_equal(as_query(query, 2, "euclidean"), [3.0, 4.0])
    for size in (1e-320, 1e-200, 1e200, 1.5e308):
        assert np.allclose(as_query([size, size], 2, "cosine"), 0.5**0.5, rtol=1e-2)
    assert np.array_equal(as_query([0, 0], 2, "euclidean"), [0.0, 0.0])


def test_a_query_is_never_modified():
    query = np.array([3.0, 4.0])
    as_query(query, 2, "cosine")
    as_query(query, 2, "euclidean")[0] = 7
    assert np.array_equal(query, [3.0, 4.0])


BAD_QUERIES = [
    ([1.0, 2.0, 3.0], ValueError, r"query: expected 2 numbers as in the vectors' rows, got shape \(3,\)"),
    (1.0, ValueError, r"query: expected 2 numbers .* got shape \(\)"),
    (np.eye(2), ValueError, r"query: expected 2 numbers .* got shape \(2, 2\)"),
    ([1.0, np.nan], ValueError, "query: has NaN or Inf; pass finite"),
    ([1.0, np.inf], ValueError, "query: has NaN or Inf; pass finite"),
    ([0.0, 0.0], ValueError, "query: all zero has no direction under cosine; pass another, or metric="),
    (["a", "b"], TypeError, "query: row 0 has 'a' \\(str\\); pass floats"),
    ([True, False], TypeError, "query: dtype bool cannot be used"),
    ([1j, 2], TypeError, "query: dtype complex128 cannot be used"),
]


@pytest.mark.parametrize(("query", "error", "message"), BAD_QUERIES)
def test_queries_that_cannot_be_used(query, error, message):
    with pytest.raises(error, match=message):
        as_query(query, 2, "cosine")
    with pytest.raises(error, match=message):
        setwise.select(np.eye(2), 1, query=query)


@needs("torch")
@pytest.mark.parametrize("kind", ["conjugate", "negative", "gradient", "reversed"])
def test_tensors_that_numpy_cannot_be_made_of_at_once(kind):
    """Flags that PyTorch keeps beside the numbers; rows that are named by such tensors, too."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 4))
    held = {
        "conjugate": lambda values: torch.tensor(values + 0j).conj().real,
        "negative": lambda values: torch._neg_view(torch.tensor(-values)),
        "gradient": lambda values: torch.tensor(np.asarray(values, float)).requires_grad_(),
        "reversed": lambda values: torch.tensor(values[::-1].copy()).numpy()[::-1],
    }[kind]
    expected = setwise.select(X, 4, query=X[0], diversity=0.5, include=[3])
    found = setwise.select(held(X), 4, query=held(X[0]), diversity=0.5, include=[3])
    assert found.indices.tolist() == expected.indices.tolist()
    rows = held(np.array([3]))
    if kind in ("negative", "reversed"):
        named = setwise.select(X, 4, query=X[0], diversity=0.5, include=rows)
        assert named.indices.tolist() == expected.indices.tolist()
    else:  # of floats
        with pytest.raises(TypeError, match="include: expected row numbers"):
            setwise.select(X, 4, query=X[0], include=rows)


class Raises:
    """What its own conversion to an array fails for."""

    ndim, shape = 2, (3, 2)

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 3

    def __iter__(self):
        raise self.error

    def __array__(self, dtype=None, copy=None):
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("a\nb"), RecursionError("deep"), KeyError("k"), OSError("o")])
@pytest.mark.parametrize("argument", ["vectors", "relevance", "query"])
def test_a_conversion_that_raises_is_one_line_that_names_the_argument(argument, error):
    given = {"vectors": np.eye(3), argument: Raises(error)}
    with pytest.raises((TypeError, ValueError), match=f"^{argument}: .*") as caught:
        setwise.select(given.pop("vectors"), 1, **given)
    assert "\n" not in str(caught.value)
