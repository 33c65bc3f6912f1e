"""The result types: what they are to NumPy, to JSON, to pickle and to a reader."""

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest

import setwise
from setwise import Certificate, Selection


@pytest.fixture
def sel():
    rng = np.random.default_rng(0)
    return setwise.select(rng.standard_normal((60, 8)), 12, relevance=rng.random(60), diversity=0.4)


def test_it_is_its_indices(sel):
    assert len(sel) == 12
    assert list(sel) == sel.indices.tolist()
    assert all(type(row) is int for row in sel)
    assert np.array_equal(np.asarray(sel), sel.indices)
    assert np.asarray(sel, np.float32).dtype == np.float32
    assert np.array_equal(np.array(sel), sel.indices)
    assert not np.shares_memory(np.array(sel, copy=True), sel.indices)
    assert sel[0] == sel.indices[0]
    assert np.array_equal(sel[:3], sel.indices[:3])
    assert np.array_equal(np.arange(60)[sel], sel.indices)
    assert sel.indices[3] in sel


def test_types_and_shapes(sel):
    assert sel.indices.dtype == np.int64
    assert sel.gains.dtype == np.float64
    assert sel.indices.shape == sel.gains.shape == (12,)
    for number in (sel.value, sel.relevance, sel.diversity, sel.seconds):
        assert type(number) is float
    assert sel.seconds > 0
    assert type(sel.solver) is str
    assert sel.value == pytest.approx(0.6 * sel.relevance + 0.4 * sel.diversity, abs=1e-15)
    certificate = sel.certificate
    assert type(certificate.upper_bound) is type(certificate.gap) is float
    assert type(certificate.optimal) is type(certificate.pool_sufficient) is bool
    assert type(certificate.pool_size) is int


def test_frozen(sel):
    for name in ("indices", "value", "certificate"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(sel, name, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        sel.certificate.gap = 0.0


def test_frozen_throughout(sel):
    """What a caller does to the array it gets cannot change the selection."""
    before = sel.indices.copy()
    for array in (sel.indices, sel.gains, np.asarray(sel)):
        try:
            array[0] = 7
        except ValueError:
            continue
    assert np.array_equal(sel.indices, before)


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
@pytest.mark.parametrize("certify", [False, True])
def test_to_dict_is_json(objective, certify):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 8))
    sel = setwise.select(X, 5, relevance=rng.random(60), objective=objective, certify=certify)
    found = json.loads(json.dumps(sel.to_dict(), allow_nan=False))
    assert found["indices"] == sel.indices.tolist()
    assert found["gains"] == sel.gains.tolist()
    for name in ("value", "relevance", "diversity", "solver", "seconds"):
        assert found[name] == getattr(sel, name)
    assert found["stats"] == dict(sel.stats)
    if certify:
        assert found["certificate"] == dataclasses.asdict(sel.certificate)
    else:
        assert found["certificate"] is None


def test_copies_and_pickles(sel):
    for other in (copy.copy(sel), copy.deepcopy(sel), pickle.loads(pickle.dumps(sel))):
        assert np.array_equal(other.indices, sel.indices)
        assert other.to_dict() == sel.to_dict()


def test_a_repr_to_read(sel):
    text = repr(sel)
    assert text.startswith("Selection of 12 by frank-wolfe+swap: [")
    assert "4 more" in text
    for row in sel.indices[:8]:
        assert str(row) in text
    for number in (f"{sel.value:.5f}", f"{sel.relevance:.4f}", f"{sel.diversity:.4f}"):
        assert number in text
    assert str(sel.certificate) in text
    short = Selection(np.array([3]), np.array([0.5]), 0.5, 0.5, 0.0, None, "greedy", 0.001)
    assert "[3]" in repr(short)
    assert "more" not in repr(short)
    assert "no certificate" in repr(short)


@pytest.mark.parametrize(
    ("certificate", "text"),
    [
        (Certificate(1.0, 0.0, True, 5, True), "proven the best possible set"),
        (Certificate(1.0, 1e-9, False, 5, True), "within 0.001 % of the best possible set"),
        (Certificate(1.0, 0.00123, False, 5, True), "within 0.13 % of the best possible set"),
        (Certificate(1.0, 0.5, False, 5, True), "within 50 % of the best possible set"),
        (
            Certificate(None, None, False, 5000, True),
            "proven identical to the scan over all candidates .*5,000",
        ),
        (Certificate(None, None, False, 5, False), "nothing proven"),
    ],
)
def test_certificates_read_well(certificate, text):
    import re

    assert re.fullmatch(text + r"\)?", str(certificate))


@pytest.mark.parametrize(
    "how", [copy.copy, copy.deepcopy, lambda sel: pickle.loads(pickle.dumps(sel)), dataclasses.replace]
)
@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
def test_what_a_set_is_worth_need_not_be_asked_for_first(objective, how):
    """Greedy selection leaves it until it is asked for: of one pool, of many, and of what is made of them."""
    rng = np.random.default_rng(1)
    X, r = rng.standard_normal((60, 8)).astype(np.float32), rng.random(60)
    asked = {"objective": objective, "solver": "greedy", "diversity": 0.4, "certify": False}
    rows = X.astype(float) / np.linalg.norm(X.astype(float), axis=1)[:, None]
    for sel in (
        setwise.select(X, 12, relevance=r, **asked),
        setwise.select_many(X[None], 12, relevance=r[None], **asked)[0],
    ):
        made = how(sel)
        gains, terms = setwise.objectives.make(objective, diversity=0.4).evaluate(
            rows[sel.indices], r[sel.indices]
        )
        assert made.gains == pytest.approx(gains)
        assert not sel.gains.flags.writeable
        assert (made.value, made.relevance, made.diversity) == pytest.approx(terms)
        assert type(made.value) is float
        assert not hasattr(made, "worth")
