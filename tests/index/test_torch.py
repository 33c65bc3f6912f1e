"""The index over a tensor: CPU always, and a GPU where there is one, against the array's."""

import numpy as np
import pytest

import setwise
from optional import lazily, needs

torch = lazily("torch")

pytestmark = needs("torch")


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    return request.param


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(3).standard_normal((3000, 16)).astype(np.float32) + 0.4


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_search_is_the_arrays(rows, device, metric, dtype, monkeypatch):
    monkeypatch.setattr("setwise.index.torch.BLOCK", 700)
    tensor = torch.from_numpy(rows).to(device, getattr(torch, dtype))
    same = setwise.Index.from_array(tensor.float().cpu().numpy(), metric=metric)
    index = setwise.Index.from_torch(tensor, metric=metric)
    queries = np.random.default_rng(0).standard_normal((3, 16)) * 4
    allowed = np.arange(3000) % 3 > 0
    for options in ({}, {"filter": allowed}, {"filter": np.flatnonzero(allowed), "exclude": [1, 2]}):
        scores, ids = index.search(queries, 20, **options)
        expected, places = same.search(queries, 20, **options)
        assert np.allclose(scores, expected, atol=1e-4, rtol=1e-4)
        assert np.array_equal(ids, places)
    assert np.array_equal(
        index.search(queries, 9, filter=torch.from_numpy(allowed).to(device))[1],
        same.search(queries, 9, filter=allowed)[1],
    )
    scores, ids = index.search(queries, 3005)
    assert (ids[:, 3000:] == -1).all()
    assert np.isneginf(scores[:, 3000:]).all()


@pytest.mark.parametrize(
    ("objective", "sharpness"), [("max-sum", 1), ("max-sum", 8), ("mmr", None), ("log-det", None)]
)
def test_sets_are_the_arrays(rows, device, objective, sharpness):
    index = setwise.Index.from_torch(torch.from_numpy(rows).to(device))
    array = setwise.Index.from_array(rows)
    for t in (0.1, 0.4):
        options = {"diversity": t, "objective": objective, "sharpness": sharpness}
        for one, other in zip(
            setwise.retrieve(rows[:3], index, 12, **options),
            setwise.retrieve(rows[:3], array, 12, **options),
            strict=True,
        ):
            assert one.value == pytest.approx(other.value, abs=1e-5)
            assert one.ids.tolist() == other.ids.tolist()
            assert one.certificate.scope == "all"


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda T: setwise.Index.from_torch(T.numpy()), TypeError, "torch.Tensor"),
        (lambda T: setwise.Index.from_torch(T[0]), ValueError, "shape"),
        (lambda T: setwise.Index.from_torch(T.int()), TypeError, "dtype"),
        (lambda T: setwise.Index.from_torch(T * torch.nan), ValueError, "row 0 has NaN"),
        (lambda T: setwise.Index.from_torch(T * 0), ValueError, "row 0 is all zero"),
        (lambda T: setwise.Index.from_torch(T).vectors([3000]), KeyError, "3000"),
        (lambda T: setwise.Index.from_torch(T).search(T[:1, :3], 2), ValueError, "expected 16 numbers"),
        (lambda T: setwise.Index.from_torch(T).search(T[:1], 2, filter=[True]), ValueError, "mask"),
        (lambda T: setwise.Index.from_torch(T).values([0], "a"), ValueError, "no field"),
    ],
)
def test_bad_input(rows, make, error, match):
    with pytest.raises(error, match=match):
        make(torch.from_numpy(rows))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_rows_that_cannot_be_used_are_left_out_on_request(rows, device, metric):
    spoilt = rows.copy()
    spoilt[7] = 0.0
    spoilt[40, 3] = np.nan
    spoilt[2999, 0] = np.inf
    tensor = torch.from_numpy(spoilt).to(device)
    first = 7 if metric == "cosine" else 40
    with pytest.raises(ValueError, match=f"tensor: row {first} .*missing='drop'"):
        setwise.Index.from_torch(tensor, metric=metric)
    with pytest.raises(ValueError, match="missing: an index cannot append"):
        setwise.Index.from_torch(tensor, missing="append")
    with pytest.raises(ValueError, match="tensor: none of the 2 rows can be used"):
        setwise.Index.from_torch(torch.zeros((2, 3)), missing="drop")
    with pytest.warns(UserWarning, match=rf"tensor: \d of 3,000 rows are left out \(row {first} "):
        index = setwise.Index.from_torch(tensor, metric=metric, missing="drop")
    with pytest.warns(UserWarning, match="left out"):
        array = setwise.Index.from_array(spoilt, metric=metric, missing="drop")
    assert index.size == array.size == len(rows) - (3 if metric == "cosine" else 2)
    query, allowed = rows[40] * 2, np.arange(3000) < 60
    for options in ({}, {"filter": allowed}, {"exclude": [5]}, {"filter": range(60), "exclude": [1, 40]}):
        scores, ids = index.search(query[None], 3000, **options)
        expected, places = array.search(query[None], 3000, **options)
        assert ids[0, :20].tolist() == places[0, :20].tolist()
        assert sorted(ids[0].tolist()) == sorted(places[0].tolist())
        np.testing.assert_allclose(scores, expected, atol=1e-4, rtol=1e-4)
        hits, same = (setwise.retrieve(query, one, 6, **options) for one in (index, array))
        assert hits.ids.tolist() == same.ids.tolist()
    drawn = index.sample()
    assert not {40, 2999} & set(drawn.ids.tolist())
    with pytest.raises(KeyError, match="row 2999 cannot be used"):
        index.vectors([1, 2999])


def test_rows_far_from_zero_are_measured_by_differences():
    rows = (np.random.default_rng(0).standard_normal((40, 3)) + 3e3).astype(np.float32)
    index = setwise.Index.from_torch(torch.from_numpy(rows), metric="euclidean")
    scores, _ = index.search(rows[:2].astype(float), 40)
    away = np.linalg.norm(rows[:2, None].astype(float) - rows, axis=2)
    np.testing.assert_allclose(-scores, np.sort(away), rtol=1e-5, atol=1e-7)
    assert setwise.retrieve(rows[0], index, 3, diversity=0.0).certificate.optimal
