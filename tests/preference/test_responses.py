"""Choosing responses: AMPO's Appendix E and its other methods, by brute force and the paper's own loop."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from optional import needs
from reference import ampo
from setwise.preference import ResponseSelection, select_responses, select_responses_many
from setwise.preference.responses.request import METHODS as EVERY
from setwise.preference.responses.request import SOLVERS

#: Those that choose k; "best-vs-worst" chooses one.
METHODS = tuple(method for method in EVERY if method != "best-vs-worst")


def pools(count=12, n=14, d=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, n, d)), rng.normal(size=(count, n)) * 3 + 1


def cost_of(X, r, chosen, positives=1):
    """Eq. 8 of given rows, on Appendix E's scales."""
    left, w, distances = ampo.scaled(X, r, positives)
    return ampo.coverage_cost(distances, w, [int(np.flatnonzero(left == row)[0]) for row in chosen])


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("positives", "negatives", "chosen", "covered_by")
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 3))
def test_the_exact_solver_is_brute_force_on_appendix_es_problem(seed, k, positives):
    X, r = (part[0] for part in pools(1, 9, 3, seed))
    left, w, distances = ampo.scaled(X, r, positives)
    best, least = ampo.brute_force(distances, w, k)
    found = select_responses(X, r, k, solver="exact", positives=positives)
    assert found.cost == pytest.approx(least, abs=1e-9)
    assert found.cost == pytest.approx(cost_of(X, r, found.negatives, positives), abs=1e-9)
    assert sorted(found.negatives.tolist()) == left[list(best)].tolist()
    assert found.positives.tolist() == np.argsort(-r)[:positives].tolist()
    assert found.optimal
    assert found.gap == 0
    assert found.certificate.upper_bound == -found.lower_bound
    assert found.lower_bound == pytest.approx(least, abs=1e-6)
    for solver in ("swap", "greedy"):
        other = select_responses(X, r, k, solver=solver, positives=positives)
        assert other.lower_bound - 1e-9 <= least <= other.cost + 1e-9
        assert other.cost == pytest.approx(cost_of(X, r, other.negatives, positives), abs=1e-9)
        assert other.cost <= (least * (1 + 1e-6) if other.optimal else np.inf)


def test_never_dearer_than_appendix_es_own_run():
    """Our start is better than its random one: on these 60 prompts we are never above its end."""
    for seed in range(60):
        X, r = (part[0] for part in pools(1, 24, 20, seed))
        top, negatives, cost = ampo.opt_select(X, r, 5)
        found = select_responses(X, r, 5)
        assert found.positive == top
        assert cost == pytest.approx(cost_of(X, r, negatives), abs=1e-12)
        assert found.cost <= cost + 1e-9


def test_the_scales_are_appendix_es():
    X, r = (part[0] for part in pools(1, 10, 4))
    found = select_responses(X, r, 3)
    left, w, _ = ampo.scaled(X, r)
    assert found.weights[left] == pytest.approx(w, rel=1e-12)
    assert found.weights[found.positive] == 0
    assert found.covered_by[found.positive] == -1
    for row in left:
        apart = cdist(X[[row]], X[found.negatives])[0]
        assert apart[found.negatives.tolist().index(found.covered_by[row])] == pytest.approx(apart.min())
    # Rewards on any other scale, and vectors moved, turned or scaled, are the same problem.
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0]
    other = select_responses((X @ turn + 3) * 0.01, 50 * r - 7, 3)
    assert same(found, other)
    assert other.cost == pytest.approx(found.cost, rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("certify", [False, True, "full"])
def test_many_are_one_by_one(method, certify):
    X, r = pools(30, 13, 5)
    many = select_responses_many(X, r, 4, method=method, certify=certify, threads=2)
    alone = 1 if method == "random" else 30  # "random" draws for one prompt after another
    for place, found in enumerate(many[:alone]):
        one = select_responses(X[place], r[place], 4, method=method, certify=certify)
        assert same(one, found)
        assert one.lower_bound == (None if not certify else pytest.approx(found.lower_bound, rel=1e-9))
    for place, found in enumerate(many):
        assert isinstance(found, ResponseSelection)
        assert len(set(found.chosen.tolist())) == 4
        assert found.positive == r[place].argmax()
        assert found.positive not in found.chosen
        assert found.cost == pytest.approx(cost_of(X[place], r[place], found.chosen), abs=1e-9)
        _, w, distances = ampo.scaled(X[place], r[place])
        least = ampo.brute_force(distances, w, 4)[1]
        lower = {False: None, True: found.lower_bound, "full": pytest.approx(least, rel=1e-6)}[certify]
        assert found.lower_bound == lower
        assert (found.lower_bound or 0.0) <= least + 1e-9
        assert found.optimal >= (method == "opt-select" and certify == "full")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(METHODS[:3]), st.sampled_from(SOLVERS))
def test_ragged_prompts_are_one_by_one(seed, method, solver):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(5, 15, size=8)
    X = [rng.standard_normal((n, 4)).astype(np.float32) for n in sizes]
    r = [rng.normal(size=n).round(1) for n in sizes]
    many = select_responses_many(X, r, 3, method=method, solver=solver, positives=2)
    for vectors, rewards, found in zip(X, r, many, strict=True):
        alone = select_responses(vectors, rewards, 3, method=method, solver=solver, positives=2)
        assert same(found, alone)
        assert found.weights.shape == found.covered_by.shape == found.rewards.shape == rewards.shape


def test_batches_of_any_size(monkeypatch):
    from setwise.preference.responses import batches as response_batches

    X, r = pools(25, 12, 4)
    whole = select_responses_many(X, r, 3)
    monkeypatch.setattr(response_batches, "BATCH", 300)
    small = select_responses_many(X, r, 3, threads=3)
    assert all(same(one, other) for one, other in zip(whole, small, strict=True))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7), st.booleans())
def test_bottom_k_and_its_ties(seed, k, zeros):
    rng = np.random.default_rng(seed)
    X, r = rng.standard_normal((10, 3)), rng.integers(3, size=10).astype(float)
    if zeros:
        X[rng.integers(10, size=2)] = 0.0
    found = select_responses(X, r, k, method="bottom-k", certify=False)
    assert found.negatives.tolist() == ampo.bottom_k(X, r, k)


def test_coreset_takes_the_lowest_of_each_cluster():
    rng = np.random.default_rng(0)
    centers = 40 * np.eye(5)
    label = np.r_[np.arange(5), rng.integers(5, size=25)]
    X, r = centers[label] + rng.standard_normal((30, 5)), rng.random(30)
    r[0] = 2.0
    rest = np.arange(1, 30)
    lowest = {int(rest[label[rest] == c][r[rest[label[rest] == c]].argmin()]) for c in range(5)}
    hits = [
        set(select_responses(X, r, 5, method="coreset", seed=s).negatives.tolist()) == lowest
        for s in range(8)
    ]
    assert sum(hits) >= 6  # k-means may start two centers in one cluster
    again = select_responses(X, r, 5, method="coreset", seed=3)
    assert same(again, select_responses(X, r, 5, method="coreset", seed=3))


def test_random_goes_by_the_seed():
    X, r = pools(40, 12, 3)
    one = select_responses_many(X, r, 3, method="random", seed=1)
    assert all(
        same(a, b)
        for a, b in zip(one, select_responses_many(X, r, 3, method="random", seed=1, threads=2), strict=True)
    )
    two = select_responses_many(X, r, 3, method="random", seed=2)
    assert sum(same(a, b) for a, b in zip(one, two, strict=True)) < 5
    assert len({tuple(found.chosen.tolist()) for found in one}) > 20


def test_negatives_stand_in_selection_order():
    X, r = (part[0] for part in pools(1, 20, 4))
    found = select_responses(X, r, 6)
    left, w, distances = ampo.scaled(X, r)
    members = [int(np.flatnonzero(left == row)[0]) for row in found.negatives]
    for size in range(6):
        costs = [ampo.coverage_cost(distances, w, [*members[:size], other]) for other in members[size:]]
        assert costs[0] <= min(costs) + 1e-12


@pytest.mark.parametrize("positives", [1, 3])
def test_split_by_the_mean(positives):
    for seed in range(20):
        X, r = (part[0] for part in pools(1, 16, 4, seed))
        plain = select_responses(X, r, 6, positives=positives)
        found = select_responses(X, r, 6, positives=positives, split="mean")
        taken = np.concatenate([plain.positives, plain.negatives])
        mean = r[taken].mean()
        assert set(found.positives.tolist()) == {int(row) for row in taken if r[row] > mean}
        assert set(found.negatives.tolist()) == {int(row) for row in taken if r[row] <= mean}
        assert (np.diff(r[found.positives]) <= 0).all()
        assert np.array_equal(found.chosen, plain.chosen)
        assert found.cost == plain.cost


def test_constant_rewards_weigh_alike():
    X, _ = (part[0] for part in pools(1, 9, 3))
    found = select_responses(X, np.full(9, 7.0), 3)
    assert found.positives.tolist() == [0]
    assert found.weights.tolist() == [0.0] + [1.0] * 8
    assert found.cost == pytest.approx(cost_of(X, np.full(9, 7.0), found.negatives), abs=1e-12)
    split = select_responses(X, np.full(9, 7.0), 3, split="mean")
    assert split.positives.tolist() == [0]
    assert set(split.negatives.tolist()) == set(found.negatives.tolist())


@pytest.mark.parametrize("method", METHODS)
def test_identical_responses_cost_nothing(method):
    r = np.arange(8.0)
    found = select_responses(np.full((8, 3), 0.1), r, 3, method=method)
    assert len(set(found.negatives.tolist())) == 3
    assert found.cost == 0
    assert found.lower_bound == 0
    assert found.optimal
    assert found.covered_by[found.negatives].tolist() == found.negatives.tolist()
    assert 7 not in found.negatives


def test_a_cost_of_nothing_is_proven():
    """As many different responses as are chosen: the cost is 0, and no bound below 0 is reported."""
    rng = np.random.default_rng(12)
    for _ in range(40):
        X = rng.integers(0, 2, size=(6, 2)).astype(float)
        r = rng.integers(0, 3, size=6).astype(float)
        for k in range(1, 5):
            for found in (select_responses(X, r, k), select_responses(X, r, k, method="coreset")):
                assert 0 <= found.lower_bound <= found.cost
                assert found.optimal == (found.gap == 0)
                assert found.optimal >= (found.cost == 0)


def test_a_bound_is_told_as_what_may_be_saved():
    X, r = (part[0] for part in pools(1, 14, 4))
    found = select_responses(X, r, 4, method="random")
    assert found.lower_bound < found.cost
    share = float(re.search(r"no other choice costs over ([\d.]+) % less", found.explain())[1])
    assert found.cost * (1 - share / 100) <= found.lower_bound * 1.01
    best = select_responses(X, r, 4, solver="exact")
    assert best.cost >= found.cost * (1 - (share + 0.1) / 100)


@pytest.mark.parametrize("method", METHODS[:3])
def test_padding_beside_vectors_far_from_the_origin_changes_nothing(method):
    rng = np.random.default_rng(0)
    X = [1e6 + rng.standard_normal((n, 3)) for n in rng.integers(6, 16, size=60)]
    r = [rng.standard_normal(len(rows)) for rows in X]
    many = select_responses_many(X, r, 4, method=method)
    for vectors, rewards, found in zip(X, r, many, strict=True):
        alone = select_responses(vectors, rewards, 4, method=method)
        assert same(found, alone)


def test_near_duplicates_lose_nothing_far_from_the_origin():
    rng = np.random.default_rng(0)
    X = 1e3 + np.repeat(rng.standard_normal((4, 5)), 4, axis=0) + 1e-7 * rng.standard_normal((16, 5))
    X[3] = X[2]
    r = rng.random(16)
    found = select_responses(X, r, 6, solver="exact")
    assert found.cost == pytest.approx(cost_of(X, r, found.negatives), rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_all_that_are_left(method):
    X, r = (part[0] for part in pools(1, 6, 3))
    found = select_responses(X, r, 5, method=method)
    assert sorted([found.positive, *found.negatives.tolist()]) == list(range(6))
    assert found.cost == 0
    assert found.optimal


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64"])
def test_any_numbers(dtype):
    X, r = (part[0] for part in pools(1, 12, 5))
    X = (X * 4).astype(dtype)
    found = select_responses(X, r.astype(np.float32), 4, solver="exact")
    assert found.cost == pytest.approx(cost_of(X.astype(np.float64), r.astype(np.float32), found.negatives))
    assert same(found, select_responses(X.tolist(), r.astype(np.float32).tolist(), 4, solver="exact"))
    before = X.copy()
    select_responses_many(X[None], r[None], 4, method="bottom-k")
    assert np.array_equal(before, X)


@needs("sklearn")
def test_texts_are_encoded_once_and_shown():
    texts = ["The sky is blue today.", "Blue is the sky.", "Cats purr when content.", "", "A cat purrs.", ""]
    r = [0.9, 0.2, 0.5, 0.1, 0.3, 0.15]
    found = select_responses(None, r, 3, texts=texts, model="lsa", solver="exact")
    assert found.positive == 0
    empty = [row for row in found.negatives if not texts[row]]
    assert len(empty) == 1, "one empty text stands for the other"
    assert found.covered_by[3] == found.covered_by[5] == empty[0]
    assert '"The sky is blue today."' in found.explain()
    many = select_responses_many(None, [r, r[:5]], 2, texts=[texts, texts[:5]], model="lsa")
    assert [len(one.rewards) for one in many] == [6, 5]
    shown = select_responses(np.eye(6), r, 3, texts=texts)
    assert shown.texts == texts
    with pytest.raises(ValueError, match="no text has a word|word"):
        select_responses(None, r, 3, texts=[""] * 6, model="lsa")


def test_what_a_person_and_a_file_get():
    X, r = (part[0] for part in pools(1, 14, 4))
    found = select_responses(X, r, 4)
    text = found.explain()
    assert text.count("\n") == 5
    assert f"+ {found.positive:>3}  reward" in text
    for row in found.negatives:
        others = (found.covered_by == row).sum() - 1
        assert (
            f"- {row:>3}  reward {r[row]:.4g}, stands for {f'{others} more' if others else 'itself'}" in text
        )
    assert "1 positive, 4 negatives of 14 responses" in text
    assert f"coverage cost {found.cost:.4f}" in repr(found)
    kept = json.loads(json.dumps(found.to_dict()))
    assert kept["negatives"] == found.negatives.tolist()
    assert kept["cost"] == found.cost
    assert kept["gap"] == found.gap
    bare = select_responses(X, r, 4, certify=False)
    assert bare.certificate is bare.gap is bare.lower_bound is None
    assert not bare.optimal
    for array in (found.negatives, found.weights, found.covered_by, found.rewards):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_too_few_responses():
    X = [np.eye(6)[:n] for n in (6, 3, 5, 0)]
    r = [np.arange(float(n)) for n in (6, 3, 5, 0)]
    with pytest.raises(
        ValueError,
        match=r"^k: 3 negatives and 1 positive are more than the 3 responses of prompt 1; ask for at most 2"
        ", or pass too_few='skip'$",
    ):
        select_responses_many(X, r, 3)
    found = select_responses_many(X, r, 3, too_few="skip")
    assert [one is None for one in found] == [False, True, False, True]
    assert same(found[2], select_responses(X[2], r[2], 3))
    assert select_responses_many(X[1:2], r[1:2], 3, too_few="skip") == [None]


@pytest.mark.parametrize(
    ("X", "r", "options", "kind", "match"),
    [
        (np.eye(4), [1, 2, 3], {}, ValueError, "embeddings: 4 responses, but rewards has 3"),
        (np.eye(4), [1, 2, np.nan, 3], {}, ValueError, "rewards: row 2 is nan; drop it or give it a finite"),
        (np.eye(4), [1, 2, np.inf, 3], {}, ValueError, "rewards: row 2 is inf"),
        (np.eye(4), [1, 2, 1e200, 3], {}, ValueError, "rewards: row 2 is 1e\\+200"),
        (np.eye(4), ["a"] * 4, {}, TypeError, "rewards: row 0 has 'a'"),
        (np.eye(4), [[1, 2, 3, 4]], {}, ValueError, "rewards: expected one number a response"),
        (np.eye(4), None, {}, TypeError, "rewards: dtype object cannot be used.* no NoneType"),
        (np.full((4, 2), np.nan), [1, 2, 3, 4], {}, ValueError, "embeddings: row 0 has NaN"),
        (np.diag([1, 1, np.inf, 1]), [1, 2, 3, 4], {}, ValueError, "embeddings: row 2 has Inf"),
        (
            np.diag([1, 1e160, 1, 1]),
            [1, 2, 3, 4],
            {},
            ValueError,
            "embeddings: row 1 has Inf or an entry beyond",
        ),
        (np.eye(4)[0], [1, 2, 3, 4], {}, ValueError, r"embeddings: expected shape \(N, d\)"),
        (np.eye(4, dtype=bool), [1, 2, 3, 4], {}, TypeError, "embeddings: dtype bool"),
        (None, [1, 2, 3, 4], {}, ValueError, "embeddings: needed, or texts to encode"),
        (None, [1, 2], {"texts": "ab"}, TypeError, "texts: expected a list of responses"),
        (None, [1, 2], {"texts": ["a", 3]}, TypeError, "texts: row 1 is int, not a string"),
        (None, [1, 2], {"texts": ["a"]}, ValueError, "texts: 1 responses, but rewards has 2"),
        (np.eye(4), [1, 2, 3, 4], {"k": 4}, ValueError, "k: 4 negatives and 1 positive are more.*at most 3$"),
        (np.eye(4), [1, 2, 3, 4], {"positives": 4}, ValueError, "sample more responses$"),
        (np.eye(1), [1], {"k": 1}, ValueError, "more than the 1 responses; sample more responses$"),
        (np.empty((0, 3)), [], {}, ValueError, "more than the 0 responses; sample more responses$"),
        (np.eye(4), [1, 2, 3, 4], {"k": 0}, ValueError, "k: 0 is below 1"),
        (np.eye(4), [1, 2, 3, 4], {"positives": 0}, ValueError, "positives: 0 is below 1"),
        (np.eye(4), [1, 2, 3, 4], {"method": "optselect"}, ValueError, "did you mean 'opt-select'"),
        (np.eye(4), [1, 2, 3, 4], {"solver": "milp"}, ValueError, "solver: 'milp' is unknown"),
        (np.eye(4), [1, 2, 3, 4], {"split": "median"}, ValueError, "split: 'median' is unknown"),
        (np.eye(4), [1, 2, 3, 4], {"certify": "yes"}, ValueError, "certify: expected"),
        (np.eye(4), [1, 2, 3, 4], {"seed": -1}, ValueError, "seed: -1 is below 0"),
        (np.eye(4), [1, 2, 3, 4], {"model": "word2vec"}, ValueError, "model: 'word2vec' is unknown"),
    ],
)
def test_bad_input(X, r, options, kind, match):
    with pytest.raises(kind, match=match):
        select_responses(X, r, options.pop("k", 2), **options)


@pytest.mark.parametrize(
    ("X", "r", "match"),
    [
        (np.ones((2, 4, 3)), np.ones((3, 4)), "embeddings: 2 prompts, but rewards have 3"),
        (np.ones((2, 4, 3)), np.ones((2, 5)), r"embeddings\[0\]: 4 responses, but rewards\[0\] has 5"),
        (np.ones((4, 3)), np.ones((2, 4)), r"embeddings: expected shape \(B, N, d\), got \(4, 3\)"),
        (
            [np.ones((4, 3)), np.ones((4, 2))],
            np.ones((2, 4)),
            r"embeddings\[1\]: 2 dimensions where others have 3",
        ),
        ([], [], "rewards: empty"),
        ([np.eye(4)] * 2, [[1, 2, 3, 4], [1, 2, np.nan, 4]], r"rewards\[1\]: row 2 is nan"),
        ([np.eye(4)] * 2, np.array([[1, 2, 3, 4], [1, 2, np.nan, 4]]), r"rewards\[1\]: row 2 is nan"),
        ([np.eye(4), np.full((4, 4), np.nan)], np.ones((2, 4)), r"embeddings\[1\]: row 0 has NaN"),
        ([np.eye(4)[:3], np.eye(4)], np.ones((2, 4)), r"embeddings\[0\]: 3 responses"),
    ],
)
def test_bad_input_of_many(X, r, match):
    with pytest.raises(ValueError, match=match):
        select_responses_many(X, r, 2)
    with pytest.raises(TypeError, match="embeddings: expected an array .* got an iterator"):
        select_responses_many((rows for rows in X), [[1, 2, 3]], 2)
    with pytest.raises(ValueError, match="too_few: 'drop' is unknown"):
        select_responses_many(np.ones((1, 4, 2)), np.ones((1, 4)), 2, too_few="drop")


def test_an_exact_search_that_runs_out_of_time_says_so(monkeypatch):
    rng = np.random.default_rng(2)
    X, r = rng.standard_normal((60, 2)), rng.normal(size=60)
    from setwise.solvers.k_medoids import exact

    unproven = exact.Exact(np.arange(6), 0.0, 1)
    monkeypatch.setattr(exact, "best_set", lambda stack, k, start, **_: unproven._replace(places=start))
    monkeypatch.setattr("setwise.preference.responses.batches.STEPS", 1)
    with pytest.warns(UserWarning, match="stopped after 60 seconds without a proof for 1 of the prompts"):
        found = select_responses(X, r, 6, solver="exact")
    assert not found.optimal


def test_the_exact_solver_refuses_what_it_cannot_search(monkeypatch):
    from setwise.solvers.k_medoids import exact

    monkeypatch.setattr(exact, "LARGEST", 20)
    with pytest.raises(ValueError, match="'exact' can search 20 responses, got 30"):
        select_responses(
            np.random.default_rng(0).standard_normal((30, 3)), np.arange(30.0), 3, solver="exact"
        )


# ---------------------------------------------------------------- other choices


def test_best_vs_worst_and_sigma_are_their_definitions():
    rng = np.random.default_rng(4)
    for _ in range(20):
        vectors, rewards = rng.standard_normal((12, 5)), rng.normal(3, 2, 12)
        pair = select_responses(vectors, rewards, 1, method="best-vs-worst")
        assert (pair.positive, pair.negatives.tolist()) == (int(rewards.argmax()), [int(rewards.argmin())])
        sweet = select_responses(vectors, rewards, 3, method="sigma")
        away = np.abs(rewards - (rewards.mean() - 2 * rewards.std()))
        away[sweet.positive] = np.inf
        assert sweet.negatives.tolist() == np.argsort(away)[:3].tolist()
    with pytest.raises(ValueError, match="k: method='best-vs-worst' rejects the one worst"):
        select_responses(vectors, rewards, 3, method="best-vs-worst")


def written_out(vectors, rewards, chosen, weight, printed):
    """The cost of a choice: by Appendix E, or by Equations 6 to 8 as they are printed."""
    top = int(np.argmax(rewards))
    points = [i for i in range(len(rewards)) if printed or i != top]
    scaled = (rewards - rewards.min()) / (rewards.max() - rewards.min())
    distances = cdist(vectors, vectors)
    if not printed:
        distances = distances / distances[np.ix_(points, points)].max()
    weights = np.exp(weight * (scaled[points].mean() - scaled[points]))
    return float(weights @ distances[np.ix_(points, chosen)].min(axis=1))


@pytest.mark.parametrize("printed", [False, True])
@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
def test_every_cost_is_the_least_of_all_sets(weight, printed):
    from itertools import combinations

    rng = np.random.default_rng(8)
    for _ in range(6):
        vectors, rewards = rng.standard_normal((9, 3)), rng.random(9)
        found = select_responses(
            vectors,
            rewards,
            3,
            solver="exact",
            reward_weight=weight,
            formulation="equation-8" if printed else "appendix-e",
        )
        others = [i for i in range(9) if i != found.positive]
        costs = {
            one: written_out(vectors, rewards, list(one), weight, printed) for one in combinations(others, 3)
        }
        assert found.cost == pytest.approx(min(costs.values()))
        assert found.cost == pytest.approx(costs[tuple(sorted(found.negatives.tolist()))])
        assert found.optimal


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_a_weight_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match="reward_weight: .* is (not finite|outside)"):
        select_responses(np.eye(4), [1, 2, 3, 4], 2, reward_weight=value)


def test_booleans_are_rewards():
    found = select_responses(np.eye(4), np.array([False, True, False, False]), 2)
    assert found.positive == 1
    assert found.rewards.tolist() == [0.0, 1.0, 0.0, 0.0]
