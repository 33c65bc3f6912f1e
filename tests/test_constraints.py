"""Must-have rows and group quotas: the best feasible set by score, and a clear no to what cannot be met."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import setwise
from helpers import constraints_of


@st.composite
def instances(draw):
    """(n, k, scores, include, groups, max_per_group), feasible or not."""
    n = draw(st.integers(1, 9))
    k = draw(st.integers(1, n))
    scores = np.array(draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n)), np.float64)
    include = draw(st.lists(st.integers(0, n - 1), max_size=k, unique=True))
    groups = quota = None
    if draw(st.booleans()):
        groups = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
        quota = draw(st.integers(1, 3))
    return n, k, scores, include, groups, quota


def feasible_sets(n, k, include, groups, quota):
    """Every set that keeps the constraints."""
    for chosen in itertools.combinations(range(n), k):
        if not set(include) <= set(chosen):
            continue
        if groups is not None:
            labels = [groups[row] for row in chosen]
            if max(map(labels.count, labels)) > quota:
                continue
        yield chosen


@given(instances())
def test_best_is_the_best_of_every_feasible_set(instance):
    """Largest sum of scores; or a refusal exactly where no set is feasible."""
    n, k, scores, include, groups, quota = instance
    sets = list(feasible_sets(n, k, include, groups, quota))
    if not sets:
        with pytest.raises(ValueError, match=r"^(include|max_per_group): "):
            constraints_of(n, k, include, groups, quota)
        return
    constraints = constraints_of(n, k, include, groups, quota)
    found = constraints.best(scores)
    assert tuple(sorted(found.tolist())) in sets
    assert scores[found].sum() == max(scores[list(chosen)].sum() for chosen in sets)
    assert (np.diff(scores[found]) <= 0).all()
    assert constraints.feasible(found)
    for chosen in itertools.combinations(range(n), k):
        assert constraints.feasible(np.array(chosen)) == (chosen in sets)


@given(instances(), st.randoms(use_true_random=False))
def test_best_among_some_candidates_alone(instance, random):
    """`ids` restricts to a pool that holds the must-have rows; positions in the pool come back."""
    n, k, scores, include, groups, quota = instance
    ids = np.array(sorted({*include, *random.sample(range(n), random.randint(0, n))}), np.int64)
    sets = [S for S in feasible_sets(n, k, include, groups, quota) if set(S) <= set(ids.tolist())]
    if not sets:
        return
    found = constraints_of(n, k, include, groups, quota).best(scores[ids], ids)
    assert tuple(sorted(ids[found].tolist())) in sets
    assert scores[ids[found]].sum() == max(scores[list(chosen)].sum() for chosen in sets)


@pytest.mark.parametrize("quota", [1, 3])
def test_best_among_many_of_one_group(quota):
    """The quota is met far down the ranking: 5,000 of the best 5,000 share a group."""
    rng = np.random.default_rng(0)
    scores = -np.arange(6000.0)
    groups = np.zeros(6000, int)
    groups[5000:] = 1 + rng.integers(30, size=1000)
    constraints = constraints_of(6000, 20, [5900], groups, quota)
    found = constraints.best(scores)
    expected, counts = {5900}, np.bincount(groups[[5900]], minlength=40)
    for row in range(6000):
        if len(expected) < 20 and row != 5900 and counts[groups[row]] < quota:
            expected.add(row)
            counts[groups[row]] += 1
    assert set(found.tolist()) == expected


def test_ties_go_to_the_lowest_row():
    scores = np.zeros(8)
    assert np.array_equal(constraints_of(8, 3).best(scores), [0, 1, 2])
    assert np.array_equal(np.sort(constraints_of(8, 3, [6]).best(scores)), [0, 1, 6])
    groups = [0, 0, 0, 1, 1, 2, 2, 2]
    assert np.array_equal(constraints_of(8, 3, (), groups, 1).best(scores), [0, 3, 5])
    assert np.array_equal(np.sort(constraints_of(8, 3, [7], groups, 1).best(scores)), [0, 3, 7])


def test_rank_in_group_and_blocked():
    constraints = constraints_of(6, 2, (), list("abacab"), 2)
    rows = np.array([0, 2, 1, 4, 3, 5])
    assert np.array_equal(constraints.rank_in_group(rows), [0, 1, 0, 2, 0, 1])
    assert not constraints.blocked(np.array([], np.int64)).any()
    assert np.array_equal(constraints.blocked(np.array([0, 2])), [1, 0, 1, 0, 1, 0])
    assert np.array_equal(constraints.blocked(np.array([0, 2]), np.array([1, 4])), [0, 1])
    free = constraints_of(6, 2)
    assert not free.any
    assert not free.blocked(np.array([0, 1])).any()
    assert np.array_equal(free.rank_in_group(rows), np.zeros(6))


@pytest.mark.parametrize(
    "labels",
    [
        ["x", "y", "x", "z"],
        [0, 1, 0, 2],
        [0.5, 1.5, 0.5, 2.5],
        np.array([3, 1, 3, 0], np.uint8),
        [True, False, True, False],
        [b"x", b"y", b"x", b"z"],
        np.array(["x", "y", "x", "z"], object),
    ],
)
def test_labels_of_any_kind(labels):
    constraints = constraints_of(4, 2, (), labels, 1)
    assert np.array_equal(constraints.codes == constraints.codes[0], [1, 0, 1, 0])
    assert set(constraints_of(4, 2, [2], labels, 1).best(np.arange(4.0)[::-1]).tolist()) == {1, 2}


@pytest.mark.parametrize(
    "include", [[3, 1], (3, 1), np.array([3, 1], np.int8), range(3, 0, -2), iter([3, 1])]
)
def test_must_have_rows_of_any_kind(include):
    assert np.array_equal(constraints_of(5, 3, include).include, [3, 1])


def test_labels_are_told_apart_by_what_they_are():
    """1 and "1" are two labels, and columns of other packages give theirs."""
    pandas = pytest.importorskip("pandas")
    arrow = pytest.importorskip("pyarrow")
    words = ["a", "b", "a", "c", "b"]
    expected = [0, 1, 0, 2, 1]
    dates = np.array(["2020", "2021", "2020", "2022", "2021"], "datetime64[ns]")
    for labels in (
        words,
        np.array(words),
        pandas.Series(words),
        pandas.Categorical(words),
        arrow.array(words),
        dates,
    ):
        codes = constraints_of(5, 3, groups=labels, max_per_group=2).codes
        assert np.array_equal(np.unique(codes, return_inverse=True)[1], expected)
    codes = constraints_of(3, 3, groups=[1, "1", "a"], max_per_group=1).codes
    assert len(set(codes.tolist())) == 3
    with pytest.raises(ValueError, match="groups: row 1 has no label"):
        constraints_of(3, 2, groups=pandas.Series([1, None, 2], dtype="Int64"), max_per_group=1)


BAD = [
    ({"include": [5]}, ValueError, "include: 5 is not a row of the 5 candidates"),
    ({"include": [-1]}, ValueError, "include: -1 is not a row of the 5 candidates"),
    ({"include": [1, 2, 1]}, ValueError, "include: row 1 is named twice"),
    ({"include": [0, 1, 2, 3]}, ValueError, "include: 4 rows do not fit into k = 3"),
    ({"include": [0.0]}, TypeError, "include: expected row numbers"),
    ({"include": [True, False]}, TypeError, r"include: .* got True; of a mask pass np.flatnonzero"),
    ({"include": {1: "seen"}}, TypeError, "include: expected row numbers, got {1: 'seen'}"),
    ({"groups": dict.fromkeys(range(6), "a"), "max_per_group": 1}, TypeError, "groups: expected one label"),
    ({"groups": set("abcdef"), "max_per_group": 1}, TypeError, "groups: expected one label a candidate, got"),
    ({"include": ["a"]}, TypeError, "include: expected row numbers"),
    ({"include": "a"}, TypeError, "include: expected row numbers"),
    ({"include": [[0, 1]]}, TypeError, "include: expected row numbers"),
    ({"include": 2}, TypeError, "include: expected row numbers"),
    ({"include": None}, TypeError, "include: expected row numbers"),
    ({"groups": [0] * 5}, ValueError, "max_per_group: needed with groups"),
    ({"max_per_group": 2}, ValueError, "groups: needed with max_per_group"),
    (
        {"groups": [0] * 4, "max_per_group": 3},
        ValueError,
        r"groups: expected 5 labels, one a candidate, got shape \(4,\)",
    ),
    (
        {"groups": np.zeros((5, 2)), "max_per_group": 3},
        ValueError,
        r"groups: expected 5 labels, .* got shape \(5, 2\)",
    ),
    (
        {"groups": [0, 1, np.nan, 2, 3], "max_per_group": 1},
        ValueError,
        r"groups: row 2 has no label \(nan\); give it a label",
    ),
    (
        {"groups": np.array([0, 1, np.nan, 2, 3]), "max_per_group": 1},
        ValueError,
        "groups: row 2 is NaN; give it a label",
    ),
    (
        {"groups": ["a", "b", float("nan"), "a", "c"], "max_per_group": 1},
        ValueError,
        r"groups: row 2 has no label \(nan\)",
    ),
    ({"groups": [0, "a", None, 2, 3], "max_per_group": 1}, ValueError, "groups: row 2 has no label"),
    (
        {"groups": np.array(["2020", "NaT", "2021", "2022", "2023"], "datetime64[D]"), "max_per_group": 1},
        ValueError,
        "groups: row 1 is NaT",
    ),
    (
        {"groups": np.ma.masked_equal([0, 1, 2, 3, 4], 3), "max_per_group": 1},
        ValueError,
        "groups: row 3 has no label",
    ),
    (
        {"groups": ["a", ["b", "c"], "d", "e", "f"], "max_per_group": 1},
        TypeError,
        "groups: row 1 has list .*; a label is a string or a number",
    ),
    ({"groups": range(5), "max_per_group": 0}, ValueError, "max_per_group: 0 is below 1"),
    ({"groups": range(5), "max_per_group": 1.0}, TypeError, "max_per_group: expected an integer, got 1.0"),
    (
        {"groups": range(5), "max_per_group": True},
        TypeError,
        "max_per_group: expected an integer, got a bool",
    ),
    (
        {"groups": [0, 0, 0, 1, 1], "max_per_group": 1},
        ValueError,
        "max_per_group: with at most 1 of each of 2 groups only 2 candidates may be chosen, fewer than k = 3",
    ),
    (
        {"groups": list("aabcd"), "max_per_group": 1, "include": [0, 1]},
        ValueError,
        "include: 2 rows of group .*'a'.*, above max_per_group",
    ),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_what_cannot_be_met_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        constraints_of(5, 3, **options)
    with pytest.raises(error, match=message):
        setwise.select(np.eye(5), 3, **options)


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
def test_constraints_that_leave_no_choice(objective):
    rng = np.random.default_rng(0)
    X, r = rng.standard_normal((9, 12)), rng.random(9)
    sel = setwise.select(X, 3, relevance=r, objective=objective, include=[8, 0, 4])
    assert np.array_equal(sel.indices, [8, 0, 4])
    groups = [0, 1, 1, 1, 1, 1, 1, 1, 2]
    sel = setwise.select(X, 3, relevance=r, objective=objective, groups=groups, max_per_group=1, include=[5])
    assert sel.indices[0] == 5
    assert set(sel.indices.tolist()) == {0, 5, 8}
    one_each = setwise.select(X, 9, relevance=r, objective=objective, groups=np.arange(9), max_per_group=1)
    assert set(one_each.indices.tolist()) == set(range(9))
    if objective == "max-sum":
        assert sel.certificate.upper_bound >= sel.value


def test_a_quota_that_never_binds_changes_nothing():
    rng = np.random.default_rng(0)
    X, r = rng.standard_normal((300, 8)), rng.random(300)
    for objective in ("max-sum", "mmr", "log-det"):
        free = setwise.select(X, 7, relevance=r, objective=objective)
        loose = setwise.select(
            X, 7, relevance=r, objective=objective, groups=np.arange(300) % 3, max_per_group=7
        )
        assert np.array_equal(free.indices, loose.indices)


@pytest.mark.parametrize("wish", [{"costs": [1.0] * 60, "budget": 3}, {"k": 5, "min_gain": 0.1}])
def test_a_set_of_any_size_is_refused_where_exclude_leaves_no_item(wish):
    rng = np.random.default_rng(0)
    X, worth = rng.standard_normal((60, 8)), rng.random(60)
    asked = {"k": None, **wish}
    with pytest.raises(ValueError, match="^exclude: it leaves no item"):
        setwise.select(X, relevance=worth, exclude=range(60), **asked)
    with pytest.raises(ValueError, match="^query 0: exclude: it leaves no item"):
        setwise.select_many(X, relevance=[worth, worth], exclude=[list(range(60)), [1]], **asked)
    with pytest.raises(ValueError, match="^relevance: -inf and exclude leave no item"):
        setwise.select(X, relevance=np.r_[worth[:30], np.full(30, -np.inf)], exclude=range(30), **asked)
