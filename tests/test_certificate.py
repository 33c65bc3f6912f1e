"""Certificates: never below the best set there is, and 'optimal' only where it is that."""

import itertools
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import setwise
from helpers import MEASURES, quiet, value_of
from optional import needs
from reference import make
from reference.brute import best_subset
from reference.greedy import check
from setwise.certificate import Certificate, bounded, percent, unbounded
from setwise.solvers import SOLVERS, solver_of

FOR_MAX_SUM = [name for name in SOLVERS if solver_of("max-sum", name)]
CONSTRAINED = [
    one for one in FOR_MAX_SUM if solver_of("max-sum", one).include and solver_of("max-sum", one).groups
]
measures = pytest.mark.parametrize(("metric", "sharpness"), MEASURES)


def alike(n=12, seed=0):
    """All rows the same, relevance not."""
    rng = np.random.default_rng(seed)
    return np.tile(rng.standard_normal(4), (n, 1)), rng.random(n)


def all_alike(n=12, seed=0):
    """Nothing tells one from another."""
    X, _ = alike(n, seed)
    return X, np.zeros(n)


def line(n=12, seed=0):
    """One dimension: cosines are 1 and -1."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 1)), rng.random(n)


def far(n=12, seed=0):
    """Far from the origin: cosines next to 1, Euclidean distances small beside the coordinates."""
    X, r = make.clustered(n=n, seed=seed)
    return X + 1e6, r


def tiny(n=12, seed=0):
    X, r = make.clustered(n=n, seed=seed)
    return X * 1e-20, r


def negative(n=12, seed=0):
    X, r = make.clustered(n=n, seed=seed)
    return -X, r - 7.0


def wide(n=12, seed=0):
    X, r = make.clustered(n=n, seed=seed)
    return X, r * 1e6


def opposed(n=12, seed=0):
    """Rows and their negatives: cosines down to -1."""
    X, r = make.clustered(n=n // 2, seed=seed)
    return np.concatenate([X, -X]), np.concatenate([r, -r])


DATA = {
    **make.ALL,
    "alike": alike,
    "all alike": all_alike,
    "line": line,
    "far": far,
    "tiny": tiny,
    "negative": negative,
    "wide": wide,
    "opposed": opposed,
}


select = partial(quiet, setwise.select)


def assert_true(sel, best, X, r, t, sharpness, metric):
    """Everything a certificate says, against the best value of every set."""
    allowed = 1e-9 * max(1.0, abs(best))
    certificate = sel.certificate
    value = value_of(X, r, sel.indices, t, sharpness, metric)
    assert sel.value == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert certificate.upper_bound >= best - allowed
    assert certificate.gap >= 0
    from_least = sel.value - (1 - t) * float(np.min(r))
    if abs(from_least) > 1e-6:
        gap = (certificate.upper_bound - sel.value) / abs(from_least)
        assert certificate.gap == pytest.approx(max(0.0, gap), rel=1e-3, abs=1e-8)
    if certificate.optimal:
        assert value >= best - 2 * allowed
        assert certificate.gap == 0
    assert certificate.pool_size <= len(r)


@measures
@pytest.mark.parametrize("kind", list(DATA))
@pytest.mark.parametrize("certify", [True, "full"])
def test_the_bound_is_never_below_the_best(kind, metric, sharpness, certify):
    some = itertools.product([0.1, 0.5, 1.0], (2, 5))
    ends = itertools.product([0.0, 0.5], (1, 12))
    for number, (t, k) in enumerate([*some, *(ends if certify is True else ())]):
        dtype = "f4" if (number + k) % 2 else "f8"
        X, r = DATA[kind](seed=3)
        X = X.astype(dtype)
        best, _ = best_subset(X, r, k, t, sharpness, metric)
        sel = select(X, k, relevance=r, diversity=t, sharpness=sharpness, metric=metric, certify=certify)
        assert_true(sel, best, X, r, t, sharpness, metric)
        if certify == "full":
            assert sel.certificate.optimal, (dtype, t, k)


@needs("faiss")
@pytest.mark.parametrize("solver", FOR_MAX_SUM)
@measures
def test_of_every_solver(solver, metric, sharpness):
    """The bound is on the best set, whoever found the set at hand."""
    X, r = make.clustered(n=11, seed=0)
    for t, k in ((0.3, 3), (0.8, 6)):
        best, _ = best_subset(X, r, k, t, sharpness, metric)
        options = {"relevance": r, "diversity": t, "sharpness": sharpness, "metric": metric}
        sel = select(X, k, solver=solver, certify="full", **options)
        assert_true(sel, best, X, r, t, sharpness, metric)
        is_best = value_of(X, r, sel.indices, t, sharpness, metric) >= best - 1e-9
        assert sel.certificate.optimal == is_best


@pytest.mark.parametrize("certify", [True, "full"])
@measures
def test_under_constraints(certify, metric, sharpness):
    for seed in range(4):
        X, r = make.clustered(n=12, seed=seed)
        labels = make.group_labels(12, 4, seed)
        include = [int(np.argmin(r))]
        for t, k in ((0.2, 2), (0.7, 4)):
            for options in (
                {"include": include},
                {"groups": labels, "max_per_group": 1},
                {"include": include, "groups": labels, "max_per_group": 1},
            ):
                best, _ = best_subset(X, r, k, t, sharpness, metric, **options)
                sel = select(
                    X,
                    k,
                    relevance=r,
                    diversity=t,
                    sharpness=sharpness,
                    metric=metric,
                    certify=certify,
                    **options,
                )
                assert_true(sel, best, X, r, t, sharpness, metric)


@needs("faiss")
@settings(max_examples=150)
@given(st.integers(0, 2**31))
def test_of_anything(seed):
    """Random data, sizes, trade-offs, measures, constraints and solvers."""
    rng = np.random.default_rng(seed)
    kind = list(DATA)[rng.integers(len(DATA))]
    X, r = DATA[kind](n=2 * int(rng.integers(3, 6)), seed=seed % 1000)
    n = len(r)
    k = int(rng.integers(1, n + 1))
    t = float(rng.choice([0.0, 0.05, 0.3, 0.5, 0.8, 1.0]))
    metric, sharpness = MEASURES[rng.integers(4)]
    options = {}
    if rng.random() < 0.3:
        options["include"] = rng.permutation(n)[: min(k, 2)].tolist()
    if rng.random() < 0.3:
        options |= {"groups": rng.integers(0, 4, n), "max_per_group": int(rng.integers(1, 4))}
    solver = str(rng.choice(CONSTRAINED if options else FOR_MAX_SUM))
    try:
        check(n, k, **options)
    except ValueError:
        return
    X = X.astype(rng.choice(["f4", "f8"]))
    best, _ = best_subset(X, r, k, t, sharpness, metric, **options)
    sel = select(
        X,
        k,
        relevance=r,
        diversity=t,
        sharpness=sharpness,
        metric=metric,
        solver=solver,
        certify=True,
        **options,
    )
    assert_true(sel, best, X, r, t, sharpness, metric)


# --- larger -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2000, 3000, 9000])
@measures
def test_no_solver_beats_the_bound(many, metric, sharpness, n):
    X, r = many[0][:n], many[1][:n]
    for t, k in ((0.1, 10), (0.5, 25)):
        options = {"relevance": r, "diversity": t, "metric": metric, "sharpness": sharpness}
        bound = select(X, k, **options).certificate.upper_bound
        for solver in ("auto", "swap", "frank-wolfe", "greedy"):
            assert select(X, k, solver=solver, certify=False, **options).value <= bound + 1e-9


@pytest.mark.slow
@measures
def test_full_effort_tightens_the_bound(many, metric, sharpness):
    X, r = many[0][:3000], many[1][:3000]
    for t, k in ((0.1, 10), (0.5, 25)):
        options = {"relevance": r, "diversity": t, "metric": metric, "sharpness": sharpness}
        some, full = (select(X, k, certify=certify, **options) for certify in (True, "full"))
        assert full.certificate.upper_bound <= some.certificate.upper_bound + 1e-6
        assert full.certificate.upper_bound >= max(some.value, full.value) - 1e-9


@pytest.mark.parametrize(
    ("k", "t", "gap"), [(100, 0.5, 0.001), (25, 0.5, 0.007), (10, 0.3, 0.008), (10, 0.5, 0.035)]
)
def test_gaps_are_small(k, t, gap):
    """The promise of the README, at a tenth of its size."""
    X, r = make.clustered(n=20_000, d=64, seed=0, clusters=100, cone=1.0, spread=0.6)
    sel = select(X.astype(np.float32), k, relevance=r, diversity=t)
    assert 0 <= sel.certificate.gap <= gap


@pytest.mark.parametrize("n", [20, 3000, 20_000])
@pytest.mark.parametrize("sharpness", [1, 8])
def test_nothing_to_tell_apart_is_optimal(n, sharpness):
    """All rows equal and no relevance: every set is the best, of value 0, and rounding is no gap."""
    X = np.tile(np.random.default_rng(0).standard_normal(8), (n, 1)).astype(np.float32)
    sel = select(X, 5, sharpness=sharpness)
    assert np.array_equal(sel.indices, range(5))
    assert sel.value == pytest.approx(0, abs=1e-12)
    assert sel.certificate.upper_bound <= 5e-5
    assert sel.certificate.gap <= 5e-5


@pytest.mark.parametrize("n", [12, 3000])
def test_the_bound_is_at_least_the_value_that_is_reported(n):
    for seed in range(15 if n == 12 else 2):
        X, r = make.clustered(n=n, seed=seed)
        for t, k in itertools.product((0.0, 0.2, 0.7), (1, 2, 5)):
            for solver in ("auto", "frank-wolfe", "exact") if n == 12 else ("auto", "greedy"):
                sel = select(X, k, relevance=r, diversity=t, solver=solver)
                assert sel.certificate.upper_bound >= sel.value


@needs("faiss")
@pytest.mark.parametrize("objective", ["mmr", "log-det"])
def test_of_mmr_and_log_det(many, objective):
    """No bound; but greedy's picks are those of the scan over all, and that is said."""
    X, r = many
    sel = select(X, 10, relevance=r, objective=objective)
    certificate = sel.certificate
    assert certificate.upper_bound is certificate.gap is None
    assert not certificate.optimal
    assert certificate.pool_sufficient
    assert 0 < certificate.pool_size < len(r)
    for solver in ("top-k", "random", "clustering"):
        certificate = select(X, 10, relevance=r, objective=objective, solver=solver).certificate
        assert not certificate.pool_sufficient
        assert certificate.upper_bound is None


@pytest.mark.parametrize("wrong", ["maybe", "Full", "", "true"])
def test_certify_is_one_of_three(wrong):
    with pytest.raises(ValueError, match=r"certify: .*False, True or 'full'"):
        setwise.select(np.eye(3), 1, certify=wrong)


@pytest.mark.parametrize("wrong", [None, 1, 0.5, ["full"]])
def test_certify_of_another_type(wrong):
    with pytest.raises(TypeError, match="certify: expected False, True or 'full', got"):
        setwise.select(np.eye(3), 1, certify=wrong)


@given(st.floats(0, 1e300))
def test_a_percentage_never_claims_more_than_is_proven(gap):
    shown = float(percent(gap).removesuffix(" %")) / 100
    assert shown >= gap * (1 - 1e-15)
    assert shown <= max(gap * 1.11, 1e-5)


@pytest.mark.parametrize(
    ("gap", "shown"),
    [
        (0.0, "0.001 %"),
        (1e-9, "0.001 %"),
        (0.00123, "0.13 %"),
        (0.0012499, "0.13 %"),
        (0.0312, "3.2 %"),
        (0.07, "7.0 %"),
        (0.123000001, "13 %"),
        (0.994, "100 %"),
        (9.957, "996 %"),
    ],
)
def test_percentages(gap, shown):
    assert percent(gap) == shown


def test_a_bound_below_the_value_is_rounding_and_a_gap_within_it_is_none():
    given_ = {"size": 1.0, "rounding": 1e-9, "pool_size": 7, "sufficient": True}
    assert bounded(0.5, 0.5 - 1e-12, **given_) == Certificate(0.5, 0.0, True, 7, True)
    assert bounded(0.5, 0.5 + 1e-9, **given_) == Certificate(0.5 + 1e-9, 0.0, True, 7, True)
    assert bounded(-0.5, -0.4, **given_) == Certificate(-0.4, pytest.approx(0.2), False, 7, True)
    assert bounded(1e-8, 0.3, **given_).gap == pytest.approx(0.3), "relative to the terms, not to nothing"
    assert bounded(0.5, np.inf, **given_) == unbounded(7, True) == Certificate(None, None, False, 7, True)
    assert bounded(0.5, 0.6, **given_, scope="returned").scope == "returned"
    assert bounded(0.5, 0.6, **given_).at_least(0.7).upper_bound == 0.7
    assert bounded(0.5, 0.6, **given_).at_least(0.55).upper_bound == 0.6
    assert unbounded(7, False).at_least(0.7).upper_bound is None
    assert bounded(0.5, 0.6, **given_).moved(2.0) == Certificate(2.6, pytest.approx(0.2), False, 7, True)
    assert unbounded(7, False).moved(2.0) == unbounded(7, False)


def test_words_of_what_is_proven():
    whole, part = (Certificate(None, None, False, 20, True, scope) for scope in ("all", "returned"))
    assert (
        whole.explain(5, 99, "mmr", "greedy")
        == "no bound exists for mmr; the scan over all 99 picks exactly the same"
    )
    assert "the scan over all that the index returns picks" in part.explain(5, 99, "mmr", "greedy")
    assert whole.explain_pool(99) == "looked at 20 of 99: enough, no other would change the set"
    assert part.explain_pool(99).endswith("enough, no other that the index would return would change the set")
    assert whole.explain_pool(20) == "looked at 20 of 20: all there are"
    assert str(part).endswith("(looked closely at 20), relative to what the index returns")
    assert str(whole).endswith("(looked closely at 20)")
    assert (
        Certificate(1.0, 0.0, True, 20, True).explain(5, 99, "max-sum", "auto")
        == "proven the best possible 5 of 99"
    )
    page = Certificate(1.0, 0.1, False, 20, False)
    assert (
        page.explain(5, 99, "max-sum", "auto", 10)
        == "within 10 % of the best 5 of 99 to add to the 10 before"
    )
    assert page.explain_pool(99) == "looked at 20 of 99: others could improve the set by at most 10 %"


def test_certificates_are_made_in_one_place():
    """What they say and when is changed there alone."""
    package = Path(setwise.__file__).parent
    makers = [
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        if re.search(r"\bCertificate\(", file.read_text(encoding="utf-8"))
    ]
    assert makers == ["certificate.py"]
