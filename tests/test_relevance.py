"""Relevance: checked, scaled, and exact in float64 where it matters."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

import setwise
from reference.objectives import unit_rows
from setwise.relevance import Relevance, as_relevance
from setwise.vectors import Vectors

SCALES = ["none", "minmax", "zscore", "rank"]


def scaled(values, scale):
    """The values of a relevance scale, for vectors that do not matter."""
    values = np.asarray(values, np.float64)
    return Relevance(values, Vectors(np.ones((len(values), 1))), None, scale).values


def test_scales_by_hand():
    values = [3.0, 1.0, 2.0, 3.0, 11.0]
    assert np.array_equal(scaled(values, "none"), values)
    assert np.allclose(scaled(values, "minmax"), [0.2, 0.0, 0.1, 0.2, 1.0])
    assert np.allclose(scaled(values, "zscore"), (np.array(values) - 4) / np.std(values))
    assert np.allclose(scaled(values, "rank"), [0.625, 0.0, 0.25, 0.625, 1.0])


@pytest.mark.parametrize("scale", SCALES[1:])
@pytest.mark.parametrize("level", [0.0, -7.0, 0.1, 1e6, 1e-9])
def test_constant_relevance_maps_to_zero(scale, level):
    assert np.array_equal(scaled(np.full(9, level), scale), np.zeros(9))
    assert np.array_equal(scaled([level], scale), [0.0])


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30), st.sampled_from(SCALES[1:]))
def test_scales_keep_the_order_and_have_their_range(values, scale):
    found = scaled(values, scale)
    order = np.argsort(values, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    if np.ptp(values) > 1e-3:
        if scale == "zscore":
            assert np.isclose(found.mean(), 0, atol=1e-6)
            assert np.isclose(found.std(), 1)
        elif scale == "minmax":
            assert found.min() == 0
            assert np.isclose(found.max(), 1)
    if scale == "rank":
        expected = (rankdata(values) - 1) / (len(values) - 1) if np.ptp(values) > 0 else np.zeros(len(values))
        assert np.allclose(found, expected)


@pytest.mark.parametrize("scale", ["minmax", "zscore", "rank"])
@pytest.mark.parametrize("unit", [1e-15, 1e-9, 1e9, 1e15])
def test_scales_do_not_depend_on_the_unit(scale, unit):
    values = np.random.default_rng(0).random(50)
    assert np.allclose(scaled(values * unit, scale), scaled(values, scale), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", ["minmax", "zscore", "rank"])
@pytest.mark.parametrize("values", [[0.0, 5e-324], [1e-310, 2e-310, 3e-310], [-1e308, 0.0, 1e308]])
def test_the_smallest_and_the_largest_spans_stay_finite(scale, values):
    with np.errstate(all="ignore"):
        assert np.isfinite(scaled(values, scale)).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("scale", ["none", "minmax", "zscore"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relevance_to_a_query_is_exact_where_asked(metric, scale, dtype):
    """`values` are as exact as `error` says, `at` is exact to float64."""
    rng = np.random.default_rng(0)
    X, query = rng.standard_normal((500, 20)).astype(dtype), rng.standard_normal(20)
    if metric == "cosine":
        query /= np.linalg.norm(query)
        true = unit_rows(X) @ query
    else:
        true = -np.linalg.norm(X.astype(np.float64) - query, axis=1)
    vectors = Vectors(X, metric, query=query)
    known = Relevance(vectors.similarity, vectors, query, scale)
    ids = np.arange(500)
    true = scaled(true, scale)
    assert np.allclose(known.at(ids), true, atol=1e-13)
    assert np.abs(known.values - known.at(ids)).max() <= known.error
    if dtype == "float32" and scale == "none":
        assert known.error < 1e-5
    else:
        assert known.error < 1e-13


@pytest.mark.parametrize("offset", [1e3, 1e5, 1e6])
def test_distance_to_a_query_far_from_the_origin(offset):
    """float32 rows far out lie on a grid; the query need not."""
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((300, 8)) + offset).astype(np.float32)
    query = X[:40].astype(np.float64).mean(axis=0)
    true = -np.linalg.norm(X.astype(np.float64) - query, axis=1)
    vectors = Vectors(X, "euclidean", query=query)
    known = Relevance(vectors.similarity, vectors, query)
    assert np.abs(known.values - true).max() <= max(known.error, 1e-12)
    best = np.argsort(-true, kind="stable")[:10]
    sel = setwise.select(X, 10, query=query, metric="euclidean", diversity=0.0)
    assert set(sel.indices.tolist()) == set(best.tolist())
    assert sel.relevance == pytest.approx(true[best].mean(), rel=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e30, 1e100, 1e300])
def test_a_huge_query_under_euclidean_selects_or_says_why(size):
    X = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    try:
        sel = setwise.select(X, 5, query=np.full(3, size), metric="euclidean")
    except ValueError as error:
        refused = str(error)
    else:
        refused = None
        assert len(set(sel.indices.tolist())) == 5
        assert np.isfinite(sel.value)
    assert refused is None or refused.startswith("query:")


@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_is_a_change_of_relevance_alone(scale):
    """Selecting with a scale is selecting with the scaled numbers."""
    rng = np.random.default_rng(3)
    X, r = rng.standard_normal((200, 8)), rng.standard_normal(200) * 10
    own = {
        "none": r,
        "minmax": (r - r.min()) / np.ptp(r),
        "zscore": (r - r.mean()) / r.std(),
        "rank": (rankdata(r) - 1) / 199,
    }[scale]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for objective in ("max-sum", "mmr", "log-det"):
            found = setwise.select(X, 6, relevance=r, relevance_scale=scale, objective=objective)
            same = setwise.select(X, 6, relevance=own, objective=objective)
            assert np.array_equal(found.indices, same.indices)
            assert found.value == pytest.approx(same.value)
            assert found.relevance == pytest.approx(same.relevance)


@pytest.mark.parametrize("scale", SCALES)
def test_scales_serve_queries_too(scale):
    rng = np.random.default_rng(4)
    X, query = rng.standard_normal((300, 8)), rng.standard_normal(8)
    cosine = unit_rows(X) @ (query / np.linalg.norm(query))
    found = setwise.select(X, 6, query=query, relevance_scale=scale, diversity=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same = setwise.select(X, 6, relevance=cosine, relevance_scale=scale, diversity=0.5)
    assert np.array_equal(found.indices, same.indices)
    assert found.value == pytest.approx(same.value)


# --- the warning --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
def test_a_wide_span_is_named_where_select_was_called(objective):
    X = np.random.default_rng(0).standard_normal((30, 12))
    r = np.linspace(0, 12.5, 30)
    with pytest.warns(UserWarning, match=r"relevance spans 12\.5 .*relevance_scale='minmax'") as caught:
        setwise.select(X, 3, relevance=r, objective=objective)
    assert [warning.filename for warning in caught] == [__file__]


def test_no_warning_without_need():
    X, r = np.random.default_rng(0).standard_normal((30, 12)), np.linspace(0, 12.5, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        setwise.select(X, 3, relevance=np.linspace(-1, 1, 30))
        for scale in ("minmax", "rank"):
            setwise.select(X, 3, relevance=r, relevance_scale=scale)
        for diversity in (0, 1):
            setwise.select(X, 3, relevance=r, diversity=diversity)
        setwise.select(X, 3, query=X[0])
        setwise.select(X, 3)


# --- refused ------------------------------------------------------------------------------------------------

BAD = [
    ([1.0, 2.0], ValueError, r"relevance: expected 3 numbers, one a candidate, got shape \(2,\)"),
    (np.ones((3, 3)), ValueError, r"relevance: expected 3 numbers, .* got shape \(3, 3\)"),
    (1.0, ValueError, r"relevance: expected 3 numbers, .* got shape \(\)"),
    ([1.0, np.nan, 2.0], ValueError, "relevance: row 1 is NaN; drop the candidate or pass an imputed number"),
    ([1.0, 2.0, np.inf], ValueError, "relevance: row 2 is Inf; drop the candidate"),
    (["a", "b", "c"], TypeError, "relevance: row 0 has 'a' \\(str\\)"),
    ([1j, 2, 3], TypeError, "relevance: dtype complex128 cannot be used"),
    ([1.0, None, 2.0], ValueError, "relevance: row 1 is null; drop it or pass a number for it"),
    (np.ma.masked_equal([1.0, 2.0, 3.0], 2.0), TypeError, "relevance: masked arrays cannot be used; fill"),
    ([[1.0], [2.0, 3.0], [4.0]], ValueError, "relevance: row 1 has 2 entries where row 0 has 1"),
]


@pytest.mark.parametrize(("values", "error", "message"), BAD)
def test_what_cannot_be_used_is_refused(values, error, message):
    with pytest.raises(error, match=message):
        as_relevance(values, 3)
    with pytest.raises(error, match=message):
        setwise.select(np.eye(3), 1, relevance=values)


def test_what_can_be_used():
    for values in ([1, 2, 3], np.array([1, 2, 3], np.int8), np.array([[1], [2], [3]]), np.float16([1, 2, 3])):
        found = as_relevance(values, 3)
        assert found.dtype == np.float64
        assert np.array_equal(found, [1.0, 2.0, 3.0])
    assert np.array_equal(as_relevance(np.array([True, False]), 2), [1.0, 0.0])
    mine = np.array([1.0, 2.0])
    assert not np.shares_memory(as_relevance(mine, 2), mine)


def test_relevance_and_query_exclude_each_other():
    with pytest.raises(ValueError, match="relevance: pass relevance or query, not both"):
        setwise.select(np.eye(3), 1, relevance=np.ones(3), query=np.ones(3))


def test_an_unknown_scale():
    with pytest.raises(ValueError, match=r"relevance_scale: 'min-max' is unknown; did you mean 'minmax'\?"):
        setwise.select(np.eye(3), 1, relevance=np.ones(3), relevance_scale="min-max")
