"""Metrics against values worked out by hand and against plain definitions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import setwise
from setwise import metrics

ASPECTS = {"cost": [4, 7], "safety": [1, 2], "time": [9]}


def plain_alpha_dcg(ranked, aspects, alpha):
    """Clarke et al. 2008, one loop a sum."""
    seen = [0] * len(aspects)
    total = 0.0
    for place, one in enumerate(ranked, start=1):
        gain = 0.0
        for number, ids in enumerate(aspects):
            if one in ids:
                gain += (1 - alpha) ** seen[number]
                seen[number] += 1
        total += gain / math.log2(1 + place)
    return total


def plain_alpha_ndcg(ranked, aspects, k, alpha):
    """The ratio to the greedy ideal, which is built here by trying each candidate at each place."""
    order = []
    left = sorted({one for ids in aspects for one in ids}, key=str, reverse=True)
    while left and len(order) < k:
        values = [plain_alpha_dcg([*order, one], aspects, alpha) for one in left]
        best = next(place for place, value in enumerate(values) if value >= max(values) - 1e-12)
        order.append(left.pop(best))
    return plain_alpha_dcg(ranked[:k], aspects, alpha) / plain_alpha_dcg(order, aspects, alpha)


def plain_distances(X, metric):
    """The distances of all pairs, one at a time."""
    found = []
    for a, b in itertools.combinations(np.asarray(X, np.float64), 2):
        if metric == "cosine":
            found.append(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        else:
            found.append(np.linalg.norm(a - b))
    return found


judgments = st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=5), min_size=1, max_size=6)
rankings = st.permutations(range(12)).flatmap(lambda order: st.integers(1, 12).map(lambda s: order[:s]))


# ---------------------------------------------------------------------- right answers


def test_precision_and_recall_by_hand():
    assert metrics.precision([3, 1, 8, 5], [1, 5, 6]) == 0.5
    assert metrics.precision([3, 1, 8, 5], [1, 5, 6], k=2) == 0.5
    assert metrics.precision([3, 1], [1, 5, 6], k=5) == 0.2
    assert metrics.precision([], [1], k=5) == 0
    assert metrics.precision([1], []) == 0
    assert metrics.recall([3, 1, 8, 5], [1, 5, 6]) == pytest.approx(2 / 3)
    assert metrics.recall([3, 1, 8, 5], [1, 5, 6], k=3) == pytest.approx(1 / 3)
    assert metrics.recall([], [1]) == 0


def test_all_support_by_hand():
    assert metrics.all_support([3, 1, 8], [8, 3]) is True
    assert metrics.all_support([3, 1, 8], [8, 3], k=2) is False
    assert metrics.all_support([], [8]) is False


def test_aspect_recall_by_hand():
    assert metrics.aspect_recall([4, 7, 1], ASPECTS) == pytest.approx(2 / 3)
    assert metrics.aspect_recall([4, 7, 1], ASPECTS, k=2) == pytest.approx(1 / 3)
    assert metrics.aspect_recall([4, 7, 1], list(ASPECTS.values())) == pytest.approx(2 / 3)
    assert metrics.aspect_recall([0], ASPECTS) == 0
    assert metrics.aspect_recall([], ASPECTS) == 0


def test_alpha_ndcg_by_hand():
    """Gains 1, 1/2, 1 against the ideal 1, 1, 1/2."""
    got = metrics.alpha_ndcg(["a", "b", "c"], [["a", "b"], ["c"]])
    second = 1 / math.log2(3)
    assert got == pytest.approx((1 + second / 2 + 1 / 2) / (1 + second + 1 / 4))
    assert metrics.alpha_ndcg(["a", "c", "b"], [["a", "b"], ["c"]]) == pytest.approx(1)
    assert metrics.alpha_ndcg(["x", "y"], [["a", "b"], ["c"]]) == 0
    # a candidate that gives two aspects, and a selection shorter than k
    assert metrics.alpha_ndcg(["a"], [["a"], ["a", "b"]], k=2) == pytest.approx(2 / (2 + second / 2))
    # alpha = 1 counts no repetition; alpha = 0 counts each in full
    assert metrics.alpha_ndcg(["a", "b"], [["a", "b"]], alpha=1) == pytest.approx(1)
    assert metrics.alpha_ndcg(["a", "x"], [["a", "b"]], alpha=0) == pytest.approx(1 / (1 + second))


def test_greedy_ideal_can_be_missed():
    """What the docstring warns of: at alpha 1, the greedy ideal here takes three candidates where two do."""
    aspects = [["big", "left"], ["big", "left"], ["big", "right"], ["big", "right"], ["left"], ["right"]]
    wide = metrics.alpha_ndcg(["left", "right"], aspects, alpha=1)
    assert wide == pytest.approx((3 + 3 / math.log2(3)) / (4 + 1 / math.log2(3)))
    assert wide > 1


@given(rankings, judgments, st.integers(1, 14), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_answers_against_plain_definitions(ranked, aspects, k, alpha):
    relevant = {one for ids in aspects for one in ids}
    found = set(ranked[:k]) & relevant
    assert metrics.precision(ranked, relevant, k) == pytest.approx(len(found) / k)
    assert metrics.recall(ranked, relevant, k) == pytest.approx(len(found) / len(relevant))
    assert metrics.all_support(ranked, relevant, k) == (found == relevant)
    covered = sum(any(one in ids for one in ranked[:k]) for ids in aspects)
    assert metrics.aspect_recall(ranked, aspects, k) == pytest.approx(covered / len(aspects))
    got = metrics.alpha_ndcg(ranked, aspects, k, alpha=alpha)
    assert got == pytest.approx(plain_alpha_ndcg(ranked, aspects, k, alpha), abs=1e-12)


@given(rankings, judgments)
def test_names_of_ids_do_not_matter(ranked, aspects):
    """Integers, NumPy integers, strings and arrays of objects give the same figures."""
    expected = [f(ranked, aspects) for f in (metrics.aspect_recall, metrics.alpha_ndcg)]
    words = np.array([str(one) for one in ranked], object)
    named = [[str(one) for one in ids] for ids in aspects]
    arrays = {number: np.array(ids) for number, ids in enumerate(aspects)}
    for form, judged in ((words, named), (np.array(ranked), arrays), (ranked, [set(ids) for ids in aspects])):
        assert metrics.aspect_recall(form, judged) == expected[0]
    assert metrics.alpha_ndcg(words, named) == expected[1]
    assert metrics.alpha_ndcg(np.array(ranked), arrays) == expected[1]


@given(judgments)
def test_one_aspect_each_is_recall(aspects):
    relevant = sorted({one for ids in aspects for one in ids})
    ranked = [3, 0, 7, 11]
    single = [[one] for one in relevant]
    assert metrics.aspect_recall(ranked, single) == metrics.recall(ranked, relevant)


def test_a_selection_serves_as_it_is(rng):
    X = rng.standard_normal((40, 8))
    sel = setwise.select(X, 5, query=X[0], diversity=0.3)
    assert metrics.recall(sel, sel.indices[:2]) == 1
    assert metrics.precision(sel, sel.indices[:2]) == 0.4
    assert metrics.aspect_recall(sel, [sel.indices[:1], [99]]) == 0.5
    assert metrics.ilad(X[sel.indices]) == pytest.approx(sel.diversity)


# ---------------------------------------------------------------------- spread of the members


def test_distances_by_hand():
    X = [[2, 0], [0, 3], [0, 1]]
    assert metrics.ilad(X) == pytest.approx(2 / 3)
    assert metrics.ilmd(X) == pytest.approx(0)
    assert metrics.ilad(X, metric="euclidean") == pytest.approx((math.sqrt(13) + math.sqrt(5) + 2) / 3)
    assert metrics.ilmd(X, metric="euclidean") == pytest.approx(2)
    assert metrics.ilad([[1, 0], [-1, 0]]) == pytest.approx(2)
    assert metrics.ilad([[0.1, 0.3]] * 7) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int8])
def test_distances_against_all_pairs(rng, metric, dtype):
    X = (rng.standard_normal((9, 5)) * 20).astype(dtype)
    pairs = plain_distances(X, metric)
    assert metrics.ilad(X, metric=metric) == pytest.approx(np.mean(pairs))
    assert metrics.ilmd(X, metric=metric) == pytest.approx(min(pairs))


def test_coverage_by_hand_and_against_all_pairs(rng):
    assert metrics.coverage([[1, 0], [0, 5], [1, 1]], [0]) == pytest.approx((1 + 0 + math.sqrt(0.5)) / 3)
    X = rng.standard_normal((300, 6))
    E = X / np.linalg.norm(X, axis=1, keepdims=True)
    chosen = [5, 17, 200]
    assert metrics.coverage(X, chosen) == pytest.approx((E @ E[chosen].T).max(axis=1).mean())
    assert metrics.coverage(X, range(300)) == pytest.approx(1)


def test_catalog_coverage_by_hand():
    assert metrics.catalog_coverage([[0, 1], np.array([1, 2])], 6) == 0.5
    assert metrics.catalog_coverage([], 6) == 0
    assert metrics.catalog_coverage([[]], 6) == 0


# ---------------------------------------------------------------------- labels


def test_entropy_and_balance_by_hand():
    assert metrics.entropy(["for", "for"]) == 0
    assert metrics.entropy(["for", "against"]) == pytest.approx(math.log(2))
    assert metrics.entropy([1, 1, 1, 2]) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert metrics.balance(["for", "against"], ["for", "against"]) == pytest.approx(1)
    assert metrics.balance(["for", "for"], {"for", "against"}) == 0
    assert metrics.balance(["a", "b"], ["a", "b", "c", "d"]) == pytest.approx(0.5)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_entropy_against_its_definition(labels):
    shares = [labels.count(label) / len(labels) for label in set(labels)]
    assert metrics.entropy(labels) == pytest.approx(
        sum(-share * math.log(share) for share in shares), abs=1e-12
    )
    assert 0 <= metrics.balance(labels, range(5)) <= 1 + 1e-12


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metrics.precision([], [1]), ValueError, "selected: empty.*pass k"),
        (lambda: metrics.alpha_ndcg([], ASPECTS), ValueError, "selected: empty.*pass k"),
        (lambda: metrics.recall([1, 2, 1], [1]), ValueError, "selected: 1 stands twice"),
        (lambda: metrics.recall([1], [1], k=0), ValueError, "k: 0 is below 1"),
        (lambda: metrics.recall([1], [1], k=1.5), TypeError, "k: expected an integer"),
        (lambda: metrics.recall([1], []), ValueError, "relevant: empty.*leave the query out"),
        (lambda: metrics.all_support([1], []), ValueError, "relevant: empty"),
        (lambda: metrics.recall("abc", [1]), TypeError, "selected: expected a list or array of ids, got str"),
        (lambda: metrics.recall([1], 3), TypeError, "relevant: expected a list or array of ids, got int"),
        (lambda: metrics.recall(np.eye(2), [1]), ValueError, r"selected: expected shape \(s,\)"),
        (lambda: metrics.recall([[1], [2]], [1]), TypeError, "selected: expected ids, got a list"),
        (lambda: metrics.recall([1], ["1"]), TypeError, "relevant: holds str ids and selected int"),
        (lambda: metrics.aspect_recall([1], [["1"]]), TypeError, "aspects: holds str ids and selected int"),
        (lambda: metrics.aspect_recall([1], []), ValueError, "aspects: empty"),
        (lambda: metrics.aspect_recall([1], {"a": [1], "b": []}), ValueError, r"aspects\['b'\]: empty"),
        (lambda: metrics.aspect_recall([1], [1, 2]), TypeError, r"aspects\[0\]: expected a list or array"),
        (
            lambda: metrics.aspect_recall([1], "ab"),
            TypeError,
            "aspects: expected a collection of ids an aspect",
        ),
        (
            lambda: metrics.alpha_ndcg([1], [[1]], alpha=1.1),
            ValueError,
            r"alpha: expected a number in \[0, 1\]",
        ),
        (lambda: metrics.alpha_ndcg([1], [[1]], alpha=math.nan), ValueError, "alpha"),
        (lambda: metrics.alpha_ndcg([1], [[1]], alpha="a"), ValueError, "alpha"),
        (lambda: metrics.ilad([[1, 0]]), ValueError, "vectors: one row has no distance"),
        (lambda: metrics.ilmd([[1, 0]]), ValueError, "vectors: one row has no distance"),
        (lambda: metrics.ilad([[1, 0], [0, 0]]), ValueError, "vectors: row 1 is all zero"),
        (lambda: metrics.ilad([[1, 0], [0, math.nan]]), ValueError, "vectors: row 1 has NaN"),
        (
            lambda: metrics.ilad(np.eye(2), metric="cosin"),
            ValueError,
            "metric: 'cosin'.*did you mean 'cosine'",
        ),
        (lambda: metrics.coverage(np.eye(3), []), ValueError, "selected: empty"),
        (lambda: metrics.coverage(np.eye(3), [3]), ValueError, "selected: row 3 is not one of the 3"),
        (lambda: metrics.coverage(np.eye(3), [0.5]), TypeError, "selected: expected rows"),
        (lambda: metrics.catalog_coverage([[0], [-1]], 3), ValueError, r"selections\[1\]: row -1"),
        (lambda: metrics.catalog_coverage([[0]], 0), ValueError, "n: 0 is below 1"),
        (lambda: metrics.entropy([]), ValueError, "labels: empty"),
        (lambda: metrics.balance(["a"], ["a"]), ValueError, "classes: 1 given"),
        (lambda: metrics.balance(["c"], ["a", "b"]), ValueError, "labels: 'c' is none of the 2 classes"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_effective_number_of_members_by_hand(rng):
    assert metrics.vendi_score(np.eye(5)) == pytest.approx(5)
    assert metrics.vendi_score(np.ones((5, 3))) == pytest.approx(1)
    pairs = np.repeat(np.eye(3), 2, axis=0)
    for order in (0, 0.5, 1, 2, np.inf):
        assert metrics.vendi_score(pairs, order=order) == pytest.approx(3)
    X = rng.standard_normal((12, 4))
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    shares = np.linalg.eigvalsh(unit @ unit.T / 12)
    shares = shares[shares > 1e-12]
    assert metrics.vendi_score(X) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert metrics.vendi_score(X, order=2) == pytest.approx(1 / (shares**2).sum())
    assert metrics.vendi_score(X, order=np.inf) == pytest.approx(1 / shares.max())


def test_dc_score_against_its_definition(rng):
    X = rng.standard_normal((7, 3))
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    for temperature in (0.05, 1.0):
        soft = np.exp(unit @ unit.T / temperature)
        expected = np.trace(soft / soft.sum(axis=1, keepdims=True))
        assert metrics.dc_score(X, temperature=temperature) == pytest.approx(expected)
    assert metrics.dc_score(np.ones((4, 2)), temperature=1e-9) == pytest.approx(1)
    assert metrics.dc_score(np.eye(4), temperature=1e-9) == pytest.approx(4)
