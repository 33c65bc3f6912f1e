"""The small models against plain ones, and the choice against cases whose answer is known."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark_modules import part
from optional import needs
from setwise.finetuning import Distribution

surrogate = part("finetune_surrogate")
Choice, LanguageModel, Words = surrogate.Choice, surrogate.LanguageModel, surrogate.Words
choose, f1_after = surrogate.choose, surrogate.f1_after

SENTENCES = ["the cat sat on the mat", "the dog sat", "A cat, a dog!", "", "the cat sat on the dog"]


def plain_model(texts, V, order, D):
    """p(word | history) by the recursion as it is written, over dictionaries."""
    counts = [Counter() for _ in range(order + 1)]
    for text in texts:
        padded = [V + 1] * (order - 1) + list(text)
        for at in range(order - 1, len(padded)):
            for size in range(1, order + 1):
                counts[size][tuple(padded[at - size + 1 : at + 1])] += 1

    def p(word, history):
        lower = p(word, history[1:]) if history else 1 / (V + 1)
        after = {gram: c for gram, c in counts[len(history) + 1].items() if gram[:-1] == tuple(history)}
        total = sum(after.values())
        if not total:
            return lower
        own = after.get((*history, word), 0)
        return (max(own - D, 0) + D * len(after) * lower) / total

    return p


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_equal_the_recursion(order):
    words = Words(buckets=11)
    train, held = words.encode(SENTENCES), words.encode(["the dog sat on the cat", "zebra mat"])
    model = LanguageModel(words, train, order=order, discount=0.6)
    p = plain_model([text.tolist() for text in train], 11, order, 0.6)
    expected = []
    for text in held:
        padded = [12] * (order - 1) + text.tolist()
        expected += [p(padded[at], padded[at - order + 1 : at]) for at in range(order - 1, len(padded))]
    np.testing.assert_allclose(model.log_probabilities(held), np.log(expected))
    assert model.perplexity(held) == pytest.approx(np.exp(-np.mean(np.log(expected))))


@given(
    st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=1, max_size=5),
    st.lists(st.integers(0, 4), min_size=0, max_size=3),
    st.integers(1, 3),
)
def test_probabilities_of_all_words_sum_to_one(texts, history, order):
    words = Words(buckets=5)
    model = LanguageModel(words, [np.array([*text, words.end]) for text in texts], order=order)
    total = 0.0
    for word in range(6):  # five words and the end
        p = model.log_probabilities([np.array([*history, word], np.int64)])[-1]
        total += np.exp(p)
    assert total == pytest.approx(1.0)


def test_a_text_given_twice_counts_twice():
    words = Words()
    one = words.encode(["a b", "a c"])
    twice = LanguageModel(words, [one[0], one[0], one[1]])
    once = LanguageModel(words, one)
    assert twice.perplexity(one[:1]) < once.perplexity(one[:1])


def test_words_are_the_same_in_every_encoder_and_case():
    (one,), (two,) = (
        Words(buckets=1000).encode(["Ünïcode CASE, 3.5!"]),
        Words(buckets=1000).encode(["ünïcode case, 3.5!"]),
    )
    np.testing.assert_array_equal(one, two)
    assert len(one) == 8
    assert one[-1] == 1000


def test_the_largest_vocabulary_has_distinct_keys():
    words = Words(buckets=(1 << 20) - 2)
    last = np.array([words.buckets - 1] * 3 + [words.end])
    model = LanguageModel(words, [last])
    p = plain_model([last.tolist()], words.buckets, 3, 0.75)
    start = words.start
    expected = p(words.buckets - 1, [start, start])
    assert np.exp(model.log_probabilities([last])[0]) == pytest.approx(expected)


def corpus(rng, n=600):
    """Half of the texts are about one half of the words, the rest about the other half."""
    near = rng.random(n) < 0.5
    words = np.array([f"w{one}" for one in range(400)])
    texts = [" ".join(rng.choice(words[:200] if one else words[200:], 15)) for one in near]
    return texts, near


def test_the_distribution_that_fits_the_validation_texts_is_chosen(rng):
    texts, near = corpus(rng)
    held = [text for text, one in zip(*corpus(rng), strict=True) if one]
    found = choose(
        {
            "all": Distribution.uniform(np.arange(600), 600),
            "far": Distribution.uniform(np.flatnonzero(~near), 600),
            "near": Distribution.uniform(np.flatnonzero(near), 600),
        },
        texts,
        held,
        rows=100,
    )
    assert found.measure == "perplexity"
    assert found.names[found.best] == "near"
    assert found.tied == (2,)
    assert found.mean[2] < found.mean[0] < found.mean[1]
    assert "near" in repr(found)
    assert "best" in repr(found).splitlines()[3]


def test_a_spread_distribution_beats_one_of_a_few_repeated_texts(rng):
    texts, near = corpus(rng)
    rows = np.flatnonzero(near)
    held = [text for text, one in zip(*corpus(rng), strict=True) if one]
    found = choose(
        [Distribution.uniform(rows[:5], 600), Distribution.uniform(rows, 600)], texts, held, rows=100
    )
    assert found.best == 1
    assert found.names == ("0", "1")


def test_equal_distributions_are_tied(rng):
    texts, _ = corpus(rng, 100)
    same = [Distribution.uniform(np.arange(100), 100)] * 2
    found = choose(same, texts, texts[:20], rows=30)
    assert found.tied == (0, 1)
    np.testing.assert_array_equal(found.scores[0], found.scores[1])
    again = choose(same, texts, texts[:20], rows=30)
    np.testing.assert_array_equal(found.scores, again.scores)


def test_errors_are_those_of_the_mean():
    found = Choice(("a", "b"), np.array([[1.0, 2.0, 3.0], [2.0, 2.5, 3.0]]), "macro F1")
    np.testing.assert_allclose(found.error, [1 / np.sqrt(3), 0.5 / np.sqrt(3)])
    assert found.best == 1
    assert found.tied == (0, 1)


def labeled(rng, n=300, d=5):
    centers = np.eye(d)[:3] * 3
    y = rng.integers(3, size=n)
    return centers[y] + rng.standard_normal((n, d)), np.array(["a", "b", "c"])[y]


@needs("sklearn")
def test_labeled_vectors_are_scored_by_macro_f1(rng):
    X, y = labeled(rng)
    V, truth = labeled(rng, 200)
    found = choose(
        {
            "one class": Distribution.uniform(np.flatnonzero(y == "a"), 300),
            "all": Distribution.over(np.ones(300)),
        },
        X,
        V,
        rows=60,
        labels=y,
        validation_labels=truth,
    )
    assert found.measure == "macro F1"
    assert found.best == 1
    share = (truth == "a").mean()
    np.testing.assert_allclose(found.scores[0], 2 * share / (1 + share) / 3)  # all are guessed to be a
    assert found.mean[1] > 0.8


@needs("sklearn")
def test_f1_is_sklearns_over_the_classes_of_the_truth(rng):
    from sklearn.linear_model import LogisticRegression

    X, y = labeled(rng)
    V, truth = labeled(rng, 100)
    guess = LogisticRegression(C=10.0, max_iter=1000).fit(X, y).predict(V)
    each = []
    for one in "abc":
        both = ((guess == one) & (truth == one)).sum()
        each.append(2 * both / ((guess == one).sum() + (truth == one).sum()))
    assert f1_after(X, y, V, truth) == pytest.approx(np.mean(each))


TWO = [Distribution.uniform(np.arange(4), 4)]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([], ["a"], ["a"]), {}, ValueError, "distributions: there is none"),
        ((TWO, ["a"] * 5, ["a"]), {}, ValueError, "'0' is over 4 rows, candidates has 5"),
        ((TWO, ["a"] * 4, []), {}, ValueError, "validation: empty"),
        ((TWO, ["a"] * 4, "a"), {}, TypeError, "validation: expected many texts"),
        ((TWO, ["a"] * 4, [[1.0]]), {}, TypeError, "validation: expected texts"),
        ((TWO, ["a"] * 4, ["a"]), {"rows": 0}, ValueError, "rows: 0 is below 1"),
        ((TWO, ["a"] * 4, ["a"]), {"seeds": 1}, ValueError, "seeds: 1 is below 2"),
        ((TWO, ["a"] * 4, ["a"]), {"rows": 5, "replace": False}, ValueError, "n: 5 is above the 4 rows"),
        ((TWO, np.ones((4, 2)), np.ones((1, 2))), {}, ValueError, "labels: vectors need labels"),
        (
            (TWO, np.ones((4, 2)), np.ones((1, 3))),
            {"labels": [0] * 4, "validation_labels": [0]},
            ValueError,
            "validation: 3 wide",
        ),
        (
            (TWO, np.ones((4, 2)), np.ones((1, 2))),
            {"labels": [0] * 3, "validation_labels": [0]},
            ValueError,
            "labels: expected 4",
        ),
        (
            (TWO, np.full((4, 2), np.nan), np.ones((1, 2))),
            {"labels": [0] * 4, "validation_labels": [0]},
            ValueError,
            r"candidates: row \d has NaN",
        ),
    ],
)
def test_bad_input_is_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        choose(*arguments, **{"rows": 2, **options})


def test_bad_models_are_refused():
    words = Words()
    with pytest.raises(ValueError, match="texts: there is none"):
        LanguageModel(words, [])
    for given_ in ({"order": 4}, {"order": 0}, {"discount": 1.0}, {"discount": 0.0}):
        with pytest.raises(ValueError, match=next(iter(given_))):
            LanguageModel(words, words.encode(["a"]), **given_)
    with pytest.raises(ValueError, match="buckets"):
        Words(buckets=1 << 20)
    with pytest.raises(TypeError, match="row 1 is int"):
        words.encode(["a", 3])
