"""Objectives by name, and what all of them share."""

import numpy as np
import pytest

import setwise
from setwise.objectives import KINDS, Coverage, Facets, LogDet, MaxMarginal, MaxMin, MaxSum, make


def test_names():
    assert {MaxSum, MaxMarginal, LogDet, Coverage, MaxMin, Facets} <= set(KINDS.values())
    for name, kind in KINDS.items():
        objective = make(name, diversity=0.3, metric="euclidean")
        assert type(objective) is kind
        assert (objective.name, objective.diversity, objective.metric) == (name, 0.3, "euclidean")
        assert make(objective, diversity=0.9) is objective
    assert make("max-sum", sharpness=8).sharpness == 8


@pytest.mark.parametrize(
    ("name", "hint"), [("maxsum", "max-sum"), ("MMR", "mmr"), ("log_det", "log-det"), ("max-summ", "max-sum")]
)
def test_the_nearest_name_is_suggested(name, hint):
    with pytest.raises(ValueError, match=f"objective: '{name}' is unknown; did you mean '{hint}'"):
        make(name)


def test_what_is_no_objective():
    with pytest.raises(ValueError, match=r"objective: 'zzz' is unknown \(one of max-sum, mmr, log-det"):
        make("zzz")
    for thing in (None, 3, MaxSum, ["mmr"]):
        with pytest.raises(TypeError, match="objective: expected one of max-sum, mmr, log-det"):
            make(thing)
    for name in ("mmr", "log-det", "coverage", "max-min"):
        with pytest.raises(ValueError, match=f"sharpness: only max-sum has one; leave it at 1 for {name}"):
            make(name, sharpness=8)


@pytest.mark.parametrize(
    "objective", [MaxSum(0.4, sharpness=2), MaxMarginal(0.4), LogDet(0.4), Coverage(0.4), MaxMin(0.4)]
)
def test_an_object_is_its_name_and_parameters(objective):
    rng = np.random.default_rng(0)
    X, r = rng.standard_normal((40, 8)), rng.random(40)
    sharpness = {"sharpness": 2} if objective.name == "max-sum" else {}
    by_object = setwise.select(X, 5, relevance=r, objective=objective)
    by_name = setwise.select(X, 5, relevance=r, objective=objective.name, diversity=0.4, **sharpness)
    assert np.array_equal(by_object.indices, by_name.indices)
    assert by_object.value == by_name.value


@pytest.mark.parametrize("objective", [MaxSum(), MaxMarginal(), LogDet(), MaxMin()])
@pytest.mark.parametrize("dtype", ["float16", "float32", "int32"])
def test_any_dtype_is_worked_in_float64(objective, dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(1, 50, (6, 8)).astype(dtype)
    wide = X.astype(np.float64)
    assert objective.terms(X, np.arange(6)) == objective.terms(wide, np.arange(6.0))
    assert objective.gains(X, np.arange(6), X[:2]).dtype == np.float64
    assert np.array_equal(objective.gains(X.tolist(), [0] * 6, []), np.zeros(6))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("width", [3, 40])
def test_where_nothing_is_worth_its_place_nothing_is_selected(metric, width):
    X = np.random.default_rng(0).standard_normal((12, width))
    told = {"relevance": np.full(12, -9.0), "metric": metric}
    for objective in ("max-sum", "max-min"):
        found = setwise.select(
            X, 4, **told, objective=objective, diversity=0.1, costs=np.ones(12), budget=5.0
        )
        assert len(found) == 0
        assert found.value == 0.0
    for objective in ("max-sum", "mmr", "log-det"):
        found = setwise.select(X, 4, **told, objective=objective, min_gain=1e9)
        assert len(found) == 0
        assert found.value == 0.0
        assert (found.certificate.upper_bound or 0.0) >= 0.0
