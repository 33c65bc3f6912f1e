"""Each baseline against its definition, written out over all pairs in float64."""

import itertools
import json
import re

import numpy as np
import pytest
from scipy import sparse

from optional import lazily
from reference.objectives import unit_rows
from setwise.finetuning import Distribution, baselines, unbalanced
from setwise.index.array import ArrayIndex
from setwise.vectors import Vectors

counts = lazily("setwise.encode.ngrams", "counts")

WORDS = [f"w{one}" for one in range(60)]


def texts_of(rng, count, favored=(), length=12):
    weight = np.ones(len(WORDS))
    weight[list(favored)] = 8.0
    drawn = rng.choice(len(WORDS), (count, length), p=weight / weight.sum())
    return [" ".join(WORDS[one] for one in row) for row in drawn]


# ---------------------------------------------------------------------- random


def test_random_is_uniform():
    found = baselines.random(7)
    np.testing.assert_allclose(found.dense(), np.full(7, 1 / 7))
    assert isinstance(found, Distribution)
    with pytest.raises(ValueError, match="n: 0 is below 1"):
        baselines.random(0)


# ---------------------------------------------------------------------- LESS


def plain_less(train, examples, rows, subtasks=None):
    labels = [0] * len(examples) if subtasks is None else list(subtasks)
    influence = unit_rows(train) @ unit_rows(examples).T
    names = sorted(set(labels))
    of = [influence[:, [one == label for one in labels]].mean(axis=1) for label in names]
    scores = np.max(of, axis=0)
    return sorted(sorted(range(len(train)), key=lambda row: (-scores[row], row))[:rows])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("subtasks", [None, "three"])
def test_less_equals_its_definition(rng, dtype, subtasks):
    train = (rng.standard_normal((500, 12)) * rng.random((500, 1)) * 9 + 0.1).astype(dtype)
    examples = rng.standard_normal((30, 12))
    labels = None if subtasks is None else rng.choice(["a", "b", "c"], 30)
    found = baselines.less(train, examples, 40, subtasks=labels)
    assert found.indices.tolist() == plain_less(train, examples, 40, labels)
    np.testing.assert_allclose(found.probabilities, 1 / 40)
    assert found.n == 500


def test_less_takes_the_greatest_over_subtasks_not_the_mean(rng):
    train = np.eye(4)[:3]
    examples = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 1.0, 0, 0], [0, 1.0, 0, 0.1]])
    assert baselines.less(train, examples, 1).indices.tolist() == [1]
    both = baselines.less(train, examples, 2, subtasks=[0, 1, 1, 1])
    assert both.indices.tolist() == [0, 1]


def test_less_breaks_ties_by_lowest_row(rng):
    one = rng.standard_normal(33).astype(np.float32)
    train = np.repeat(one[None], 4000, axis=0)
    train[::7] = -one
    found = baselines.less(train, one[None] + 0.1, 1000)
    expected = [row for row in range(4000) if row % 7][:1000]
    assert found.indices.tolist() == expected


def test_less_is_the_same_on_several_threads(rng, split):
    train, examples = rng.standard_normal((3000, 8)).astype(np.float32), rng.standard_normal((20, 8))
    one = baselines.less(train, examples, 100, threads=1)
    two = baselines.less(train, examples, 100, threads=2)
    np.testing.assert_array_equal(one.indices, two.indices)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 0}, "rows: 0 is below 1"),
        ({"rows": 11}, "rows: 11 is above 10"),
        ({"example_features": np.ones((3, 4))}, "example_features: 4 wide where train_features are 3"),
        ({"subtasks": [1, 2]}, "subtasks: expected 5 labels"),
        ({"example_features": np.zeros((3, 3))}, "example_features.*row 0"),
        ({"train_features": np.full((10, 3), np.nan)}, "train_features.*row 0"),
    ],
)
def test_less_names_what_is_wrong(rng, change, message):
    given = {
        "train_features": rng.standard_normal((10, 3)),
        "example_features": rng.standard_normal((5, 3)),
        "rows": 2,
        **change,
    }
    with pytest.raises(ValueError, match=message):
        baselines.less(given.pop("train_features"), given.pop("example_features"), given.pop("rows"), **given)


# ---------------------------------------------------------------------- DSIR


def bag(text, n):
    """The n-grams of a text, as DSIR counts them."""
    words = re.findall(r"\w+|[^\w\s]+", text.lower())
    return [" ".join(words[i : i + size]) for size in range(1, n + 1) for i in range(len(words) - size + 1)]


def plain_dsir(raw, target, n, smoothing=1e-8):
    """log importance weights with a bucket of its own for every n-gram."""
    names = {}
    for text in itertools.chain(raw, target):
        for gram in bag(text, n):
            names.setdefault(gram, len(names))

    def counted(texts):
        found = np.zeros((len(texts), len(names)))
        for row, text in enumerate(texts):
            for gram in bag(text, n):
                found[row, names[gram]] += 1
        return found

    R, T = counted(raw), counted(target)
    p, q = R.sum(axis=0) / R.sum(), T.sum(axis=0) / T.sum()
    return R @ (np.log(q + smoothing) - np.log(p + smoothing))


@pytest.mark.parametrize("n", [1, 2])
def test_dsir_equals_its_definition_where_no_bucket_is_shared(rng, n):
    raw, target = texts_of(rng, 40), texts_of(rng, 10, favored=range(5))
    raw += ["Some words, twice: some words!", "!?", ""]
    found = baselines.dsir(raw, target, buckets=2**21, n=n, min_words=0)
    np.testing.assert_allclose(found.log_weights, plain_dsir(raw, target, n), rtol=1e-9, atol=1e-9)
    weights = np.exp(found.log_weights - found.log_weights.max())
    np.testing.assert_allclose(found.probabilities, weights / weights.sum())


def test_dsir_with_shared_buckets_is_the_same_from_counts(rng):
    raw, target = texts_of(rng, 300), texts_of(rng, 20, favored=range(5))
    found = baselines.dsir(raw, target, buckets=50, min_words=0)
    C, T = counts(raw, buckets=50).toarray(), counts(target, buckets=50).toarray()
    p, q = C.sum(axis=0) / C.sum(), T.sum(axis=0) / T.sum()
    np.testing.assert_allclose(found.log_weights, C @ np.log((q + 1e-8) / (p + 1e-8)), rtol=1e-9)
    same = baselines.dsir_counts(counts(raw, buckets=50), counts(target, buckets=50), min_words=0)
    np.testing.assert_allclose(same.log_weights, found.log_weights)


def test_dsir_prefers_texts_like_the_examples(rng):
    raw = texts_of(rng, 400) + texts_of(rng, 100, favored=range(5))
    found = baselines.dsir(raw, texts_of(rng, 50, favored=range(5)), min_words=0)
    assert (found.sample(50, replace=False) >= 400).mean() > 0.9


def test_dsir_reads_streams_in_batches(rng, monkeypatch):
    monkeypatch.setattr("setwise.finetuning.importance._BATCH", 7)
    raw, target = texts_of(rng, 40), texts_of(rng, 10, favored=range(5))
    whole = baselines.dsir(raw, target, min_words=0)
    streamed = baselines.dsir(lambda: (text for text in raw), (text for text in target), min_words=0)
    np.testing.assert_array_equal(whole.log_weights, streamed.log_weights)


def test_dsir_refuses_what_can_be_read_once(rng):
    raw = texts_of(rng, 5)
    with pytest.raises(TypeError, match="an iterator can be read once"):
        baselines.dsir(iter(raw), raw)
    ended = iter(raw)
    with pytest.raises(ValueError, match="5 texts when read first, 0 when read again"):
        baselines.dsir(lambda: ended, raw, min_words=0)


@pytest.mark.parametrize(
    ("raw", "target", "error", "message"),
    [
        ([], ["a"], ValueError, "candidate_texts: no text has a word"),
        (["a"], [" "], ValueError, "example_texts: no text has a word"),
        ("one text", ["a"], TypeError, "candidate_texts: expected many texts"),
        (["a"], "one", TypeError, "example_texts: expected many texts"),
        (["a", None], ["a"], TypeError, "candidate_texts: row 1 is NoneType"),
    ],
)
def test_dsir_names_what_is_wrong(raw, target, error, message):
    with pytest.raises(error, match=message):
        baselines.dsir(raw, target, min_words=0)


def test_dsir_checks_its_parameters():
    for given in ({"smoothing": 0.0}, {"smoothing": float("nan")}, {"buckets": 0}, {"n": 0}):
        with pytest.raises(ValueError, match=next(iter(given))):
            baselines.dsir(["a b"], ["a"], **given)
    with pytest.raises(ValueError, match="example_counts: 4 buckets where candidate_counts have 5"):
        baselines.dsir_counts(sparse.csr_matrix(np.ones((2, 5))), sparse.csr_matrix(np.ones((2, 4))))


def test_log_weights_of_long_texts_stay_in_order():
    """exp(-5000) is 0 in float64; drawing without replacement must go on past it, in order of weight."""
    logs = np.array([-5000.0, 0.0, -1e6, -2000.0, -9000.0])
    found = baselines.Importance.of(logs)
    assert found.probabilities.tolist() == [0, 1, 0, 0, 0]
    assert found.sample(5, replace=False).tolist() == [1, 3, 0, 4, 2]
    assert set(found.sample(20)) == {1}
    assert found.effective == 1.0


def test_gumbel_draws_follow_the_weights(rng):
    """Sampling without replacement draws one row after the other in proportion to what is left."""
    logs = np.log([0.5, 0.3, 0.15, 0.05])
    found = baselines.Importance.of(logs + 800.0)  # exp would overflow
    drawn = [tuple(found.sample(2, seed=seed, replace=False)) for seed in range(4000)]
    for pair in itertools.permutations(range(4), 2):
        p = np.exp(logs)
        expected = p[pair[0]] * p[pair[1]] / (1 - p[pair[0]])
        error = np.sqrt(expected * (1 - expected) / len(drawn))
        assert abs(drawn.count(pair) / len(drawn) - expected) < 4.5 * error


@pytest.mark.parametrize("logs", [[], [0.0, np.nan], [np.inf], [[[0.0]]], [[0.0], [np.nan]]])
def test_log_weights_are_checked(logs):
    with pytest.raises(ValueError, match="log_weights"):
        baselines.Importance.of(np.array(logs))


def test_millions_of_weights(rng):
    found = baselines.Importance.of(rng.normal(scale=400.0, size=2_000_000))
    assert abs(found.probabilities.sum() - 1) < 1e-9
    drawn = found.sample(1000, replace=False)
    assert len(set(drawn.tolist())) == 1000
    best = np.argsort(-found.log_weights)[:1100]
    assert np.isin(drawn, best).mean() > 0.95  # weights this far apart leave chance no say


def released(tmp_path, raw, targets, **options):
    """The authors' package: its log weights and which rows its length filter keeps, and itself."""
    package = pytest.importorskip("data_selection")
    names = {"raw": raw, **targets}
    for name, texts in names.items():
        lines = (json.dumps({"text": text}) + "\n" for text in texts)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    files = [str(tmp_path / f"{name}.jsonl") for name in names]
    made = package.HashedNgramDSIR(
        files[:1], files[1:], cache_dir=str(tmp_path / "cache"), num_proc=1, **options
    )
    made.fit_importance_estimator(num_tokens_to_fit="all")
    made.compute_importance_weights()
    kept = made.perexample_metadata_filter(np.load(made.perexample_metadata_dir / "0.npy"))
    return np.load(made.log_importance_weights_dir / "0.npy"), kept, made


def test_dsir_is_that_of_the_released_package(rng, tmp_path):
    """Weights, the floor of 100 words, and separate targets; in so many buckets that no two n-grams meet."""
    words = np.array([f"w{number}" for number in range(16)])
    raw = [" ".join(rng.choice(words, size=int(size))) for size in rng.integers(90, 112, 60)]
    targets = {name: [" ".join(rng.choice(words[part], size=50)) for _ in range(9)] for name, part in
               (("a", slice(0, 6)), ("b", slice(4, 12)))}  # fmt: skip
    both = [*targets["a"], *targets["b"]]
    theirs, kept, _ = released(tmp_path, raw, {"both": both}, num_buckets=2**20)
    assert 0 < kept.sum() < 60
    with pytest.warns(
        UserWarning, match=f"{60 - kept.sum()} of 60 texts have fewer than 100 words; left out"
    ):
        ours = baselines.dsir(raw, both, buckets=2**20)
    np.testing.assert_array_equal(ours.indices, np.flatnonzero(kept))
    np.testing.assert_allclose(ours.log_weights, theirs[kept], rtol=1e-9)
    labels = ["a"] * 9 + ["b"] * 9
    theirs, kept, made = released(
        tmp_path, raw, targets, num_buckets=2**20, min_example_length=95, separate_targets=True
    )
    with pytest.warns(UserWarning, match="fewer than 95 words"):
        ours = baselines.dsir(raw, both, buckets=2**20, min_words=95, targets=labels)
    np.testing.assert_allclose(ours.log_weights, theirs[kept].T, rtol=1e-9)
    np.testing.assert_allclose(ours.shares, made.target_proportions)
    # what each target is given: by log weights this far apart, the best of what the targets before have left
    shares = {"b": 2, "a": 6}
    ours = baselines.dsir(raw, both, buckets=2**20, min_words=0, targets=labels, shares=shares)
    first = np.argsort(-ours.log_weights[0])[:9]
    second = [row for row in np.argsort(-ours.log_weights[1]) if row not in first][:3]
    drawn = ours.sample(12, replace=False)
    assert len(set(drawn.tolist())) == 12
    expected = set(ours.indices[[*first, *second]].tolist())
    assert len(expected & set(drawn.tolist())) >= 10


def test_dsir_says_that_all_texts_are_too_short():
    with pytest.raises(ValueError, match=r"none of the 2 texts has 100 words \(the longest has 3\)"):
        baselines.dsir(["a b c", "d"], ["a b"])
    with pytest.raises(ValueError, match="targets: 3 labels for 2 examples"):
        baselines.dsir(["a b c", "d"], ["a b", "d"], targets="xyz", min_words=0)
    with pytest.raises(ValueError, match="shares: they name"):
        baselines.dsir(["a b c", "d"], ["a b", "d"], targets="xy", shares={"x": 1}, min_words=0)
    with pytest.raises(ValueError, match="shares: they go with targets"):
        baselines.dsir(["a b c", "d"], ["a b", "d"], shares={"x": 1}, min_words=0)


# ---------------------------------------------------------------------- nearest


def plain_nearest(candidates, examples, rows, metric):
    E, Q = np.asarray(candidates, np.float64), np.asarray(examples, np.float64)
    if metric == "cosine":
        score = unit_rows(Q) @ unit_rows(E).T
    else:
        score = -np.linalg.norm(Q[:, None] - E[None], axis=2)
    taken = []
    while True:
        for own in score:
            free = [row for row in range(len(E)) if row not in taken]
            taken.append(max(free, key=lambda row: own[row]))
            if len(taken) == rows:
                return sorted(taken)


# ---------------------------------------------------------------------- doubly greedy, unbalanced transport


def test_doubly_greedy_takes_the_rows_most_similar_to_any_example(rng):
    X, Q = rng.standard_normal((200, 5)).astype(np.float32), rng.standard_normal((6, 5))
    best = (unit_rows(X) @ unit_rows(Q).T).max(axis=1)
    found = baselines.doubly_greedy(X, Q, 30)
    assert set(found.indices) == set(np.argsort(-best, kind="stable")[:30])
    # One example with many rows near it takes them all, where turns would give each example its own.
    crowd = np.vstack([np.tile(Q[:1], (40, 1)) + 1e-3 * rng.standard_normal((40, 5)), X])
    assert baselines.doubly_greedy(crowd, Q, 40).indices.tolist() == list(range(40))


@pytest.mark.parametrize("relaxation", [1e-4, 0.01, 0.1])
def test_uot_is_the_plan_of_pot(rng, monkeypatch, relaxation):
    ot = pytest.importorskip("ot")
    monkeypatch.setattr(unbalanced, "_HELD", 128)  # many blocks
    X, Q = rng.standard_normal((150, 4)), rng.standard_normal((7, 4))
    cost = (1 - unit_rows(Q) @ unit_rows(X).T) / 2
    plan = ot.unbalanced.sinkhorn_unbalanced(
        np.full(7, 1 / 7),
        np.full(150, 1 / 150),
        cost,
        0.01,
        (float("inf"), relaxation),
        reg_type="kl",
        numItermax=20_000,
        stopThr=1e-14,
    )
    data = Vectors(X, "cosine")
    mass = unbalanced._received(data, unit_rows(Q), 0.01, relaxation)
    np.testing.assert_allclose(mass, plan.sum(axis=0), rtol=1e-7)
    assert mass.sum() == pytest.approx(1.0)
    found = baselines.uot(X, Q, 20, relaxation=relaxation)
    assert set(found.indices) == set(np.argsort(-plan.sum(axis=0), kind="stable")[:20])
    copies = np.tile(X[plan.sum(axis=0).argmax()], (50, 1))
    assert baselines.uot(copies, Q, 9).indices.tolist() == list(range(9))


def test_uot_names_what_is_wrong(rng):
    X, Q = rng.standard_normal((9, 4)), rng.standard_normal((3, 4))
    with pytest.raises(ValueError, match="rows: 10 is above 9"):
        baselines.uot(X, Q, 10)
    with pytest.raises(ValueError, match="examples: 3 wide where the candidates are 4"):
        baselines.uot(X, Q[:, :3], 2)
    with pytest.raises(ValueError, match="entropy: 0 is not"):
        baselines.uot(X, Q, 2, entropy=0)
    with pytest.raises(ValueError, match=r"entropy: 0\.0005 is below 0\.002"):
        baselines.uot(X, Q, 2, entropy=0.0005)
    with pytest.warns(UserWarning, match="relaxation: not converged in 1,000 steps"):
        baselines.uot(X, Q, 2, relaxation=10.0)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("rows", [1, 5, 60, 300])
def test_nearest_equals_its_definition(rng, metric, rows):
    X, Q = rng.standard_normal((300, 6)), rng.standard_normal((9, 6))
    found = baselines.nearest(X, Q, rows, metric=metric)
    assert found.indices.tolist() == plain_nearest(X, Q, rows, metric)
    assert found.n == 300


def test_nearest_looks_deeper_where_examples_share_neighbors(rng):
    X = rng.standard_normal((300, 6))
    Q = np.repeat(rng.standard_normal((1, 6)), 40, axis=0)
    found = baselines.nearest(X, Q, 100)
    assert found.indices.tolist() == np.sort(np.argsort(-(unit_rows(X) @ unit_rows(Q[:1])[0]))[:100]).tolist()


def test_nearest_searches_examples_in_batches(rng, monkeypatch):
    X, Q = rng.standard_normal((300, 6)), rng.standard_normal((9, 6))
    whole = baselines.nearest(X, Q, 50)
    monkeypatch.setattr(baselines, "_SCORES", 650)
    np.testing.assert_array_equal(baselines.nearest(X, Q, 50).indices, whole.indices)


def test_nearest_of_an_index_passes_over_what_is_not_found(rng):
    faiss = pytest.importorskip("faiss")
    X = unit_rows(rng.standard_normal((400, 6))).astype(np.float32)
    Q = unit_rows(rng.standard_normal((5, 6))).astype(np.float32)
    quantizer = faiss.IndexFlatIP(6)
    index = faiss.IndexIVFFlat(quantizer, 6, 40, faiss.METRIC_INNER_PRODUCT)
    index.train(X)
    index.add(X)
    index.nprobe = 1
    reached = set(index.search(Q, 400)[1].ravel().tolist()) - {-1}
    assert -1 in index.search(Q, 400)[1]
    from setwise import Index

    found = baselines.nearest(Index.from_faiss(index), Q, len(reached))
    assert set(found.indices.tolist()) == reached
    assert 399 in reached or 399 not in found.indices  # -1 is not the last row
    with pytest.raises(ValueError, match=f"finds {len(reached)} different rows in all, 400 are asked for"):
        baselines.nearest(Index.from_faiss(index), Q, 400)


def test_nearest_takes_an_index_as_an_array(rng):
    X, Q = rng.standard_normal((300, 6)), rng.standard_normal((9, 6))
    one, two = baselines.nearest(X, Q, 50), baselines.nearest(ArrayIndex(X), Q, 50)
    np.testing.assert_array_equal(one.indices, two.indices)


@pytest.mark.parametrize(
    ("candidates", "examples", "rows", "message"),
    [
        (np.ones((4, 3)), np.ones((2, 2)), 1, "examples: 2 wide where the candidates are 3"),
        (np.ones((4, 3)), np.ones((2, 3)), 5, "rows: 5 is above 4"),
        (np.ones((4, 3)), np.zeros((2, 3)), 1, "examples.*row 0"),
    ],
)
def test_nearest_names_what_is_wrong(candidates, examples, rows, message):
    with pytest.raises(ValueError, match=message):
        baselines.nearest(candidates, examples, rows)


# ---------------------------------------------------------------------- all alike


def test_every_baseline_samples_and_repeats_alike(rng):
    X, Q = rng.standard_normal((60, 6)), rng.standard_normal((9, 6))
    raw = texts_of(rng, 60)
    every = [
        baselines.random(60),
        baselines.less(X, Q, 20),
        baselines.dsir(raw, raw[:5], min_words=0),
        baselines.nearest(X, Q, 20),
    ]
    for found in every:
        assert found.n == 60
        assert found.probabilities.sum() == pytest.approx(1)
        np.testing.assert_array_equal(found.sample(9, seed=1), found.sample(9, seed=1))
        first = next(iter(found.epochs(9, 2, seed=1, replace=False)))
        np.testing.assert_array_equal(first, found.sample(9, seed=1, replace=False))
