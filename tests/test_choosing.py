"""Limits, budgets, unlikeness, what was shown: at every door, kept or refused in one line that names them."""

import itertools
from functools import partial

import numpy as np
import pytest

import setwise
from reference.objectives import unit_rows
from setwise import retrieval
from setwise.feasible import Feasible
from setwise.files import Corpus
from setwise.limits import Limit
from setwise.objectives import MaxSum, Objective, Terms

N = 36
RNG = np.random.default_rng(3)
X, R = RNG.standard_normal((N, 12)).astype(np.float32), RNG.random(N)
DOCUMENT = (np.arange(N) // 4).tolist()
DOMAIN = [("news", "blog", "code")[row % 3] for row in range(N)]
COSTS = (20 + np.arange(N) * 37 % 90).astype(float)
WISHES = {
    "limits": {
        "groups": {"document": DOCUMENT, "domain": DOMAIN},
        "limits": {"document": 1, "domain": (1, 3)},
    },
    "shares": {"groups": {"domain": DOMAIN}, "shares": {"domain": {"news": 0.5, "blog": 0.5}}},
    "budget": {"costs": COSTS, "budget": 250.0},
    "max_similarity": {"max_similarity": 0.35},
    "shown": {"shown": X[:3]},
    "min_gain": {"min_gain": 0.3},
}


def assert_kept(wish, rows):
    E = unit_rows(X)
    if wish == "limits":
        assert len({DOCUMENT[row] for row in rows}) == len(rows)
        assert all(1 <= [DOMAIN[row] for row in rows].count(label) <= 3 for label in set(DOMAIN))
    if wish == "shares":
        assert sorted(DOMAIN[row] for row in rows) == ["blog"] * 3 + ["news"] * 3
    if wish == "budget":
        assert len(rows) > 0
        assert COSTS[rows].sum() <= 250
    if wish == "max_similarity":
        assert max(E[i] @ E[j] for i, j in itertools.combinations(rows, 2)) <= 0.35
    if wish == "shown":
        assert not set(rows) & {0, 1, 2}
    if wish not in ("budget", "min_gain"):
        assert len(rows) == 6


# --- every door, every objective ----------------------------------------------------------------------------


def by_select(k, **options):
    return setwise.select(X, k, relevance=R, **options).indices


def by_select_many(k, **options):
    both = setwise.select_many(X, k, relevance=np.stack([R, R[::-1]]), **options)
    assert len(both) == 2
    return both[0].indices


def by_pools(k, **options):
    options = {name: twice(name, value) for name, value in options.items()}
    pools = setwise.select_many(
        np.concatenate([X, X]), k, relevance=np.r_[R, R], offsets=[0, N, 2 * N], **options
    )
    assert pools[0].indices.tolist() == pools[1].indices.tolist()
    return pools[1].indices


def twice(name, value):
    if name == "groups":
        return {one: [*labels, *labels] for one, labels in value.items()}
    return np.r_[value, value] if name == "costs" else value


def by_retrieve(k, **options):
    return setwise.retrieve(X[7], setwise.Index.from_array(X), k, **options).ids


def by_diversify(k, **options):
    return setwise.diversify(np.arange(N), k, relevance=R, vectors=X, **options).ids


def by_corpus(k, **options):
    return np.array(retrieval.retrieve_texts(Corpus(None, list(range(N)), vectors=X), X[7], k, **options).ids)


DOORS = [by_select, by_select_many, by_pools, by_retrieve, by_diversify, by_corpus]


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det", "max-min", "facets"])
@pytest.mark.parametrize("door", DOORS)
def test_every_door_keeps_every_wish(door, objective):
    more = {"facets": X[[9, 20, 31]]} if objective == "facets" else {}
    more |= {} if door is by_select else {"certify": False}  # proofs know nothing of doors
    for wish, options in WISHES.items():
        if (wish, objective) == ("min_gain", "max-min"):
            with pytest.raises(ValueError, match="min_gain: max-min cannot honor it"):
                door(6, objective=objective, **options)
            continue
        found = door(6, objective=objective, **options, **more)
        assert_kept(wish, found.tolist())
    spent = door(None, objective=objective, **WISHES["budget"], **more)
    assert_kept("budget", spent.tolist())


def test_the_doors_agree():
    for options in WISHES.values():
        one = setwise.select(X, 6, query=X[7], diversity=0.3, sharpness=8, **options)
        other = setwise.retrieve(X[7], setwise.Index.from_array(X), 6, diversity=0.3, sharpness=8, **options)
        assert sorted(one.indices.tolist()) == sorted(other.ids.tolist())
        assert one.value == pytest.approx(other.value, rel=1e-6)


def test_all_wishes_at_once():
    every = {name: value for options in WISHES.values() for name, value in options.items()} | WISHES["limits"]
    every.pop("shares", None)
    found = setwise.select(X, 6, relevance=R, **every).indices.tolist()
    assert_kept("budget", found)
    assert not set(found) & {0, 1, 2}
    assert len({DOCUMENT[row] for row in found}) == len(found)


def test_one_limit_without_a_least_is_max_per_group():
    one = setwise.select(X, 6, relevance=R, groups=DOMAIN, max_per_group=2)
    other = setwise.select(X, 6, relevance=R, groups={"domain": DOMAIN}, limits={"domain": 2})
    assert one.indices.tolist() == other.indices.tolist()
    assert one.solver == other.solver == "frank-wolfe+swap"


def test_stored_fields_limit_and_cost():
    class Stored(setwise.index.array.ArrayIndex):
        def values(self, ids, field):
            return [
                {"document": DOCUMENT, "domain": DOMAIN, "tokens": COSTS.tolist()}[field][row] for row in ids
            ]

    index = Stored(X)
    found = setwise.retrieve(X[7], index, 6, limits={"document": 1, "domain": (1, 3)}).ids
    assert_kept("limits", found.tolist())
    assert_kept("budget", setwise.retrieve(X[7], index, costs="tokens", budget=250).ids.tolist())


def test_what_was_shown_is_never_returned_and_counts():
    index = setwise.Index.from_array(X)
    first = setwise.retrieve(X[7], index, 5)
    for shown in (first.ids, X[first.ids]):
        second = setwise.retrieve(X[7], index, 5, shown=shown)
        assert not set(first.ids.tolist()) & set(second.ids.tolist())
    E = unit_rows(X)
    near = [
        (
            E[setwise.select(X, 5, relevance=np.zeros(N), shown=X[:1], shown_weight=weight).indices] @ E[0]
        ).mean()
        for weight in (0.0, 1.0, 5.0)
    ]
    assert near[0] > near[1] > near[2]


def test_an_objective_of_ones_own_keeps_wishes():
    class Nearest(Objective):
        name = "nearest"

        def terms(self, vectors, relevance):
            mean = float(np.mean(relevance))
            return Terms((1 - self.diversity) * mean, mean, 0.0)

        def gains(self, vectors, relevance, chosen):
            return (1 - self.diversity) * np.asarray(relevance)

    for wish in ("limits", "budget", "max_similarity"):
        assert_kept(
            wish, setwise.select(X, 6, relevance=R, objective=Nearest(), **WISHES[wish]).indices.tolist()
        )


# --- greedy is greedy among what can still be made feasible -------------------------------------------------


@pytest.mark.parametrize("objective", ["mmr", "log-det"])
@pytest.mark.parametrize("seed", range(12))
def test_greedy_takes_the_best_that_some_feasible_set_has(objective, seed):
    rng = np.random.default_rng(seed)
    n, k = 8, 4
    rows, relevance = rng.standard_normal((n, 5)), rng.random(n)
    groups = {"a": rng.integers(0, 3, n).tolist(), "b": rng.integers(0, 3, n).tolist()}
    options = {"groups": groups, "limits": {"a": (1, 2), "b": (0, 2)}, "max_similarity": 0.75}
    near = unit_rows(rows) @ unit_rows(rows).T

    def keeps(chosen):
        for name, (least, most) in options["limits"].items():
            held = [sum(groups[name][row] == label for row in chosen) for label in set(groups[name])]
            if min(held) < least or max(held) > most:
                return False
        return all(near[i, j] <= 0.75 for i, j in itertools.combinations(chosen, 2))

    sets = [set(chosen) for chosen in itertools.combinations(range(n), k) if keeps(chosen)]
    if not sets:
        with pytest.raises(ValueError, match=r"^(limits|max_similarity)"):
            setwise.select(rows, k, relevance=relevance, objective=objective, **options)
        return
    goal, taken = setwise.objectives.make(objective), []
    for _ in range(k):
        able = [row for row in range(n) if row not in taken and any({*taken, row} <= one for one in sets)]
        gains = goal.gains(unit_rows(rows), relevance, unit_rows(rows)[taken] if taken else np.empty((0, 5)))
        taken.append(max(able, key=lambda row: gains[row]))
    found = setwise.select(rows, k, relevance=relevance, objective=objective, **options)
    assert found.indices.tolist() == taken


# --- what cannot be kept is named ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"groups": {"a": DOMAIN}, "limits": {"a": (3, 3)}},
            "limits: a: 9 candidates must be in a set of k = 6",
        ),
        (
            {"groups": {"a": DOMAIN}, "limits": {"a": (0, 1), "b": 1}},
            "limits: no labels 'b'; pass groups={'b': ",
        ),
        ({"groups": ["b"] * 60, "limits": {"b": 1}}, "limits: no labels 'b'; pass groups={'b': "),
        (
            {"groups": {"a": ["x"] * 35 + ["y"]}, "limits": {"a": (2, 6)}},
            "limits: a: 2 of 'y' must be in the set",
        ),
        (
            {"groups": {"a": DOMAIN, "b": DOCUMENT}, "limits": {"a": (0, 1), "b": 9}},
            "limits: a: only 3 candidates",
        ),
        ({"costs": COSTS}, "budget: needed with costs"),
        ({"budget": 3}, "costs: needed with budget"),
        ({"costs": COSTS, "budget": 10}, "budget: 10 buys nothing; the cheapest candidate costs "),
        ({"costs": COSTS * 0, "budget": 10}, "costs: row 0 costs 0; a cost is above 0"),
        ({"costs": COSTS[:5], "budget": 10}, "costs: expected 36 numbers"),
        (
            {"max_similarity": -0.9},
            r"max_similarity: only \d+ of the 6 asked for are possible; ask for at most",
        ),
        ({"max_similarity": np.nan}, "max_similarity: nan is not finite"),
        ({"max_similarity": 0.9, "metric": "euclidean"}, "max_similarity: it is a cosine"),
        ({"shown": X[:2], "shown_weight": -1}, "shown_weight: -1 is below 0"),
        ({"shown_weight": 0.5, "min_gain": 0.1}, "shown: needed with shown_weight"),
        ({"shown": X}, "shown: only 0 of the 6 asked for are possible"),
        ({"shown": X[:2], "include": [1]}, "include: row 1 is one that was shown"),
        ({"min_gain": "x"}, "min_gain: expected a number"),
        (
            {"groups": {"a": DOMAIN}, "shares": {"a": {"news": 0.7, "blog": 0.7}}},
            "shares: those of a sum up to 1.4",
        ),
        ({"groups": {"a": DOMAIN}, "shares": {"a": {"nws": 0.5}}}, "shares: no candidate has a 'nws'"),
        ({"groups": {"a": DOMAIN}, "limits": {"a": (2, 1)}}, "limits: a: 1 is below 2"),
        ({"groups": DOMAIN, "max_per_group": 1, "limits": {"a": 1}}, "max_per_group: not with limits"),
        (
            {"max_similarity": 0.5, "solver": "frank-wolfe"},
            "max_similarity: the 'frank-wolfe' solver cannot honor it",
        ),
        (
            {"min_gain": 0.5, "solver": "top-k"},
            "min_gain: the 'top-k' solver cannot honor it; use one of auto",
        ),
        ({"min_gain": 0.5, "objective": "coverage"}, "min_gain: coverage cannot honor it"),
    ],
)
def test_what_cannot_be_kept_is_named(options, message):
    with pytest.raises((ValueError, TypeError), match=f"^({message})"):
        setwise.select(X, 6, relevance=R, **options)


def test_limits_that_no_set_keeps_together_are_found_before_work():
    # One or two of a = 0, who both have b = 0; and of each b one or two, so two of a = 1: three have b = 0,
    # or four b = 1.
    labels = {"a": [0, 0, 1, 1, 1, 1], "b": [0, 0, 1, 1, 1, 1]}
    unread = np.full((6, 2), np.nan)  # vectors are refused later
    message = r"^limits: each of a, b can be kept, but not all by one set of k = 4; loosen one"
    with pytest.raises(ValueError, match=message):
        setwise.select(
            unread, 4, groups=labels, limits={"a": (1, 3), "b": (0, 2)}, shares={"a": {0: 0.25, 1: 0.75}}
        )
    with pytest.raises(ValueError, match="^vectors: row 0 has NaN"):
        setwise.select(unread, 4, groups=labels, limits={"a": (1, 3), "b": (0, 2)})


def test_k_is_needed_without_a_budget():
    with pytest.raises(TypeError, match="k: expected an integer, got None; only with a budget"):
        setwise.select(X, None, relevance=R)


def test_a_gain_that_nothing_has_is_an_empty_set():
    found = setwise.select(X, 6, relevance=R, min_gain=9.0)
    assert len(found) == 0
    assert found.value == 0.0
    assert found.certificate.optimal


def test_no_member_is_worth_less_than_the_least_gain():
    for gain in (0.2, 0.5, 0.8):
        found = setwise.select(X, 12, relevance=R, min_gain=gain, certify="full")
        E, t, chosen = unit_rows(X), 0.2, found.indices
        near = E[chosen] @ E[chosen].T - np.eye(len(chosen))
        assert ((1 - t) * R[chosen] + t - 2 * t / 11 * near.sum(axis=1) >= gain - 1e-9).all()


# --- the feasible sets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_the_best_feasible_set_and_its_bound_are_those_of_trying_all(seed):
    rng = np.random.default_rng(seed)
    m, most = int(rng.integers(3, 9)), int(rng.integers(1, 5))
    least = most if seed % 2 else 0
    codes = rng.integers(0, 3, m)
    limit = Limit(
        "a", [0, 1, 2], codes, rng.integers(0, 2, 3) if seed % 3 else np.zeros(3, int), np.full(3, 2)
    )
    alike = np.triu(rng.random((m, m)) < 0.2, 1)
    costs = rng.uniform(0.5, 2, m)
    feasible = Feasible(m, least, most, np.empty(0, np.int64), [limit], costs, 4.0, alike | alike.T)
    scores = rng.standard_normal(m)
    sets = [
        chosen
        for size in range(m + 1)
        for chosen in itertools.combinations(range(m), size)
        if feasible.keeps(np.array(chosen, np.int64))
    ]
    for chosen in sets:  # by definition
        held = np.bincount(codes[list(chosen)], minlength=3)
        assert least <= len(chosen) <= most
        assert (held >= limit.least).all()
        assert (held <= 2).all()
        assert costs[list(chosen)].sum() <= 4.0
        assert not any(alike[i, j] for i, j in itertools.combinations(chosen, 2))
    found = feasible.best(scores)
    if not sets:
        assert found is None
        return
    best = max(scores[list(chosen)].sum() for chosen in sets)
    assert scores[found].sum() == pytest.approx(best)
    shown = feasible.bound(scores)
    assert shown.upper >= best - 1e-12
    for chosen in sets:  # what holding a candidate changes the bound by
        for row in chosen:
            assert scores[list(chosen)].sum() <= shown.upper + min(shown.reduced[row], 0.0) + 1e-9
    for chosen, other in itertools.permutations(sets[:30], 2):
        goes, comes = sorted(set(chosen) - set(other)), sorted(set(other) - set(chosen))
        move = feasible.allows(
            np.array(chosen, np.int64), np.array([goes], np.int64), np.array([comes], np.int64)
        )
        assert move[0]


LABELS = {"document": [row % 5 for row in range(20)]}


@pytest.mark.parametrize(
    ("call", "options", "error", "message"),
    [
        (
            "select",
            {"solver": "multilevel", "groups": LABELS, "limits": {"document": 1}},
            ValueError,
            "limits: ",
        ),
        (
            "select",
            {"groups": LABELS, "limits": {"document": 1}, "k": 9},
            ValueError,
            "limits: document: with at",
        ),
        (
            "select",
            {"objective": "coverage", "costs": [1] * 20, "budget": 3},
            ValueError,
            "budget: coverage ca",
        ),
        (
            "select",
            {"objective": MaxSum(0.1), "diversity": 0.9},
            ValueError,
            "diversity: the objective brings",
        ),
        ("select", {"max_similarity": 2}, ValueError, "max_similarity: 2 is no cosine"),
        ("retrieve", {"include": [99]}, KeyError, "'include: 99 is not one of the 20 rows"),
        ("retrieve", {"shown": [99]}, KeyError, "'shown: 99 is not one of the 20 rows"),
        (
            "retrieve",
            {"limits": {"document": 1}},
            ValueError,
            r"limits\['document'\]: the index has no field",
        ),
        ("retrieve", {"costs": "price", "budget": 3}, ValueError, "costs: the index has no field 'price'"),
        (
            "retrieve",
            {"objective": "facets", "facets": ["a"]},
            TypeError,
            "facets: ArrayIndex takes vectors",
        ),
    ],
)
def test_what_is_refused_is_called_as_it_was_given(call, options, error, message):
    X = np.random.default_rng(0).standard_normal((20, 4))
    options = {"k": 4, **options}
    k = options.pop("k")
    index = setwise.Index.from_array(X)
    asked = {"select": partial(setwise.select, X, k), "retrieve": partial(setwise.retrieve, X[0], index, k)}
    with pytest.raises(error, match=f"^{message}"):
        asked[call](**options)


def test_the_limit_that_bars_a_candidate_is_called_by_its_name():
    X = np.random.default_rng(0).standard_normal((20, 4))
    for limits in ({"document": 1}, {"document": (0, 1)}):
        found = setwise.select(X, 5, query=X[0], groups=LABELS, limits=limits)
        assert any("document" in str(why) for why in found.explain().left_out)
