"""select_many: a loop of select, for each of its three shapes of work."""

import itertools
import warnings

import numpy as np
import pytest

import setwise
from helpers import MEASURES, quiet, with_value
from optional import lazily, needs
from reference import make

pa = lazily("pyarrow")
torch = lazily("torch")


CASES = [("max-sum", metric, sharpness) for metric, sharpness in MEASURES] + [
    (name, metric, 1) for name in ("mmr", "log-det") for metric in ("cosine", "euclidean")
]
cases = pytest.mark.parametrize(("objective", "metric", "sharpness"), CASES)


def proven(selection):
    """The certificate's bound and whether the set is proven best, as numbers; NaN for what there is not."""
    bound = getattr(selection.certificate, "upper_bound", None)
    return [np.nan if bound is None else bound, float(getattr(selection.certificate, "optimal", False))]


def assert_same(many, loop, where=None, tolerance=1e-9):
    """The same selections: indices, and everything that is told of them but the time."""
    assert isinstance(many, list)
    assert len(many) == len(loop)
    for position, (one, other) in enumerate(zip(many, loop, strict=True)):
        assert np.array_equal(one.indices, other.indices), (position, where)
        assert np.allclose(one.gains, other.gains, atol=tolerance)
        assert one.value == pytest.approx(other.value, abs=tolerance)
        assert one.relevance == pytest.approx(other.relevance, abs=tolerance)
        assert one.diversity == pytest.approx(other.diversity, abs=tolerance)
        assert one.solver == other.solver
        assert (one.certificate is None) == (other.certificate is None)
        assert proven(one) == pytest.approx(proven(other), rel=1e-4, abs=1e-6, nan_ok=True)


def pools_of(sizes, d=12, seed=0, kind="clustered", dtype="float32"):
    """Ragged pools as one matrix, relevance and offsets."""
    made = [make.ALL[kind](n=int(n), d=d, seed=seed + number) for number, n in enumerate(sizes)]
    X = np.concatenate([X for X, _ in made]).astype(dtype)
    r = np.concatenate([r for _, r in made])
    return X, r, np.concatenate([[0], np.cumsum(sizes)])


SIZES = np.array([40, 7, 25, 25, 60, 12, 7, 33])


# --- the three shapes ---------------------------------------------------------------------------------------


@cases
@pytest.mark.parametrize("certify", [False, True])
@pytest.mark.parametrize("solver", ["auto", "greedy"])
def test_ragged_pools(objective, metric, sharpness, certify, solver):
    X, r, offsets = pools_of(SIZES)
    queries = np.random.default_rng(0).standard_normal((len(SIZES), 12))
    for t, by_query in itertools.product((0.0, 0.3), (False, True)):
        options = {
            "diversity": t,
            "objective": objective,
            "metric": metric,
            "sharpness": sharpness,
            "certify": certify,
            "solver": solver,
        }
        given = {"queries": queries} if by_query else {"relevance": r}
        many = quiet(setwise.select_many, X, 6, offsets=offsets, **given, **options)
        loop = []
        for pool in range(len(SIZES)):
            rows = slice(offsets[pool], offsets[pool + 1])
            given = {"query": queries[pool]} if by_query else {"relevance": r[rows]}
            loop.append(quiet(setwise.select, X[rows], 6, **given, **options))
        assert_same(many, loop, (t, by_query))


@cases
@pytest.mark.parametrize("certify", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_equal_pools(objective, metric, sharpness, certify, dtype):
    X, r, _ = pools_of([30] * 9, dtype=dtype)
    stacked, relevance = X.reshape(9, 30, 12), r.reshape(9, 30)
    queries = np.random.default_rng(0).standard_normal((9, 12))
    options = {"objective": objective, "metric": metric, "sharpness": sharpness, "certify": certify}
    options["diversity"] = 0.4
    many = quiet(setwise.select_many, stacked, 8, relevance=relevance, **options)
    pairs = zip(stacked, relevance, strict=True)
    assert_same(many, [quiet(setwise.select, rows, 8, relevance=own, **options) for rows, own in pairs])
    many = quiet(setwise.select_many, stacked, 8, queries=queries, **options)
    pairs = zip(stacked, queries, strict=True)
    assert_same(many, [quiet(setwise.select, rows, 8, query=query, **options) for rows, query in pairs])


@cases
@pytest.mark.parametrize("n", [50, 5000])
def test_one_matrix_many_queries(objective, metric, sharpness, n):
    """More queries than are scanned together, fewer too."""
    X, _ = make.clustered(n=n, d=12, seed=1, clusters=20)
    X = X.astype(np.float32)
    queries = np.random.default_rng(0).standard_normal((19 if n == 50 else 3, 12))
    options = {"objective": objective, "metric": metric, "sharpness": sharpness, "diversity": 0.3}
    many = quiet(setwise.select_many, X, 6, queries=queries, **options)
    assert_same(many, [quiet(setwise.select, X, 6, query=query, **options) for query in queries])


@cases
def test_one_matrix_many_relevances(objective, metric, sharpness):
    X, _ = make.clustered(n=80, d=12, seed=1)
    relevance = np.random.default_rng(0).random((5, 80))
    options = {"objective": objective, "metric": metric, "sharpness": sharpness, "diversity": 0.3}
    many = quiet(setwise.select_many, X, 6, relevance=relevance, **options)
    assert_same(many, [quiet(setwise.select, X, 6, relevance=row, **options) for row in relevance])
    assert_same(quiet(setwise.select_many, X, 6, relevance=relevance[0], **options), many[:1])


# --- keywords -----------------------------------------------------------------------------------------------


@needs("faiss")
@pytest.mark.parametrize("solver", ["frank-wolfe", "swap", "exact", "top-k", "random", "clustering"])
def test_every_solver(solver):
    X, r, offsets = pools_of([14, 12, 20])
    options = {"solver": solver, "diversity": 0.3, "seed": 3}
    many = quiet(setwise.select_many, X, 4, offsets=offsets, relevance=r, **options)
    cuts = list(itertools.pairwise(offsets))
    assert_same(many, [quiet(setwise.select, X[a:b], 4, relevance=r[a:b], **options) for a, b in cuts])


@pytest.mark.parametrize("scale", ["minmax", "zscore", "rank"])
def test_scales_are_each_pools_own(scale):
    X, r, offsets = pools_of(SIZES)
    r = r * np.repeat(10.0 ** np.arange(len(SIZES)), SIZES)
    options = {"relevance_scale": scale, "diversity": 0.4}
    many = quiet(setwise.select_many, X, 5, offsets=offsets, relevance=r, **options)
    cuts = list(itertools.pairwise(offsets))
    assert_same(many, [quiet(setwise.select, X[a:b], 5, relevance=r[a:b], **options) for a, b in cuts])
    matrix = X[: SIZES[0]]
    queries = np.random.default_rng(0).standard_normal((4, 12))
    many = quiet(setwise.select_many, matrix, 5, queries=queries, **options)
    loop = [quiet(setwise.select, matrix, 5, query=query, **options) for query in queries]
    assert_same(many, loop, tolerance=1e-6)  # the scale is measured on float32 scans


def test_constraints():
    X, r, offsets = pools_of(SIZES)
    labels = np.random.default_rng(0).permutation(np.arange(len(X)) % 5)
    options = {"diversity": 0.4, "max_per_group": 3}
    many = quiet(setwise.select_many, X, 5, offsets=offsets, relevance=r, groups=labels, **options)
    cuts = list(itertools.pairwise(offsets))
    loop = [
        quiet(setwise.select, X[a:b], 5, relevance=r[a:b], groups=labels[a:b], **options) for a, b in cuts
    ]
    assert_same(many, loop)

    matrix, labels = X[:40], labels[:40]
    queries = np.random.default_rng(0).standard_normal((4, 12))
    options |= {"groups": labels, "include": [30, 2]}
    many = quiet(setwise.select_many, matrix, 5, queries=queries, **options)
    assert_same(many, [quiet(setwise.select, matrix, 5, query=query, **options) for query in queries])

    stacked, r3 = X[:36].reshape(3, 12, 12), r[:36].reshape(3, 12)
    labels = np.arange(36).reshape(3, 12) % 5
    many = setwise.select_many(stacked, 5, relevance=r3, groups=labels, max_per_group=2)
    for number in range(3):
        one = setwise.select(stacked[number], 5, relevance=r3[number], groups=labels[number], max_per_group=2)
        assert np.array_equal(many[number].indices, one.indices)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_any_number_of_threads(threads, split):
    X, r, offsets = pools_of(SIZES)
    for options in ({"certify": False}, {"certify": True}, {"objective": "mmr"}):
        one = quiet(setwise.select_many, X, 5, offsets=offsets, relevance=r, threads=1, **options)
        assert_same(
            quiet(setwise.select_many, X, 5, offsets=offsets, relevance=r, threads=threads, **options), one
        )
    matrix, _ = make.clustered(n=5000, d=12, seed=1, clusters=20)
    queries = np.random.default_rng(0).standard_normal((4, 12))
    options = {"queries": queries, "solver": "greedy", "certify": False}
    one = setwise.select_many(matrix, 5, threads=1, **options)
    assert_same(setwise.select_many(matrix, 5, threads=threads, **options), one)


def test_many_pools_span_batches():
    """More pools than one batch holds, of very different sizes."""
    sizes = np.random.default_rng(0).integers(5, 400, 150)
    X, r, offsets = pools_of(sizes, d=24)
    for objective in ("max-sum", "mmr", "log-det"):
        options = {"objective": objective, "certify": False, "diversity": 0.3}
        many = quiet(setwise.select_many, X, 5, offsets=offsets, relevance=r, **options)
        cuts = list(itertools.pairwise(offsets))
        assert_same(
            many, [quiet(setwise.select, X[a:b], 5, relevance=r[a:b], **options) for a, b in cuts], objective
        )


@cases
@pytest.mark.parametrize("k", [1, 7])
def test_k_1_and_k_n(objective, metric, sharpness, k):
    X, r, offsets = pools_of([7, 7, 9])
    for t in (0.0, 0.5, 1.0):
        options = {
            "objective": objective,
            "metric": metric,
            "sharpness": sharpness,
            "diversity": t,
            "certify": False,
        }
        many = quiet(setwise.select_many, X, k, offsets=offsets, relevance=r, **options)
        cuts = list(itertools.pairwise(offsets))
        assert_same(many, [quiet(setwise.select, X[a:b], k, relevance=r[a:b], **options) for a, b in cuts], t)


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det"])
@pytest.mark.parametrize("kind", ["duplicates", "ties", "integers", "low-rank"])
def test_ties_go_the_same_way(objective, kind):
    """Duplicates and exact ties; without relevance; at the kernel's rank."""
    sizes = [12, 15, 20, 30]
    X, r, offsets = pools_of(sizes, d=8, kind=kind)
    cuts = list(itertools.pairwise(offsets))
    for certify, solver, t in itertools.product((False, True), ("auto", "greedy"), (0.0, 0.3, 1.0)):
        options = {"objective": objective, "certify": certify, "solver": solver, "diversity": t}
        many = quiet(setwise.select_many, X, 6, offsets=offsets, relevance=r, **options)
        loop = [quiet(setwise.select, X[a:b], 6, relevance=r[a:b], **options) for a, b in cuts]
        for one, other in zip(many, loop, strict=True):
            assert np.array_equal(one.indices, other.indices), options
        many = quiet(setwise.select_many, X, 6, offsets=offsets, **options)
        loop = [quiet(setwise.select, X[a:b], 6, **options) for a, b in cuts]
        for one, other in zip(many, loop, strict=True):
            assert np.array_equal(one.indices, other.indices), options


def test_objective_objects_are_each_pools_own():
    """The Gaussian kernel's bandwidth is that of the pool."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5, 30, 4)) * np.array([1, 10, 100, 0.1, 5.0])[:, None, None]
    r = rng.random((5, 30))
    many = setwise.select_many(X, 6, relevance=r, objective="log-det", metric="euclidean", diversity=0.5)
    loop = [
        setwise.select(X[i], 6, relevance=r[i], objective="log-det", metric="euclidean", diversity=0.5)
        for i in range(5)
    ]
    assert_same(many, loop)


@needs("pyarrow", "torch")
def test_containers():
    X, r, offsets = pools_of([20, 20, 20])
    stacked = X.reshape(3, 20, 12)
    first = setwise.select_many(stacked, 5, relevance=r.reshape(3, 20), certify=False)
    column = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), 12)
    for many in (
        setwise.select_many(
            torch.from_numpy(stacked), 5, relevance=torch.from_numpy(r).reshape(3, 20), certify=False
        ),
        setwise.select_many(stacked.tolist(), 5, relevance=r.reshape(3, 20).tolist(), certify=False),
        setwise.select_many(column, 5, relevance=r, offsets=offsets.tolist(), certify=False),
        setwise.select_many(column, 5, relevance=r, offsets=torch.from_numpy(offsets), certify=False),
        setwise.select_many(stacked[::-1][::-1], 5, relevance=r.reshape(3, 20), certify=False),
    ):
        for one, other in zip(many, first, strict=True):
            assert np.array_equal(one.indices, other.indices)


# --- refused, with the pool or query named ------------------------------------------------------------------


V, R, OFFSETS = pools_of([10, 8, 12])
QUERIES = np.random.default_rng(0).standard_normal((3, 12))
STACK, RS = V[:24].reshape(3, 8, 12), R[:24].reshape(3, 8)

BAD = [
    ((V, 9), {"offsets": OFFSETS}, ValueError, "k: 9 is more than the 8 candidates of pool 1"),
    ((STACK, 9), {}, ValueError, "k: 9 is more than the 8 candidates of pool 0"),
    ((V, 31), {"queries": QUERIES}, ValueError, "k: 31 is more than the 30 candidates; ask for at most 30"),
    ((V, 3), {}, ValueError, "queries: needed, or relevance of shape"),
    ((V, 0), {"queries": QUERIES}, ValueError, "k: 0 is below 1"),
    ((V, 2.0), {"queries": QUERIES}, TypeError, "k: expected an integer, got 2.0"),
    (
        (V, 3),
        {"queries": QUERIES, "relevance": RS},
        ValueError,
        "relevance: pass relevance or queries, not both",
    ),
    ((V, 3), {"queries": QUERIES[:, :5]}, ValueError, r"queries.*: expected 12 numbers"),
    ((V, 3), {"queries": QUERIES[0]}, ValueError, r"queries: expected shape \(n, d\), got \(12,\)"),
    ((V, 3), {"queries": with_value(QUERIES, (1, 4), np.nan)}, ValueError, r"queries\[1\]: has NaN or Inf"),
    (
        (V, 3),
        {"queries": with_value(QUERIES, 2, 0.0)},
        ValueError,
        r"queries\[2\]: all zero has no direction",
    ),
    (
        (V, 3),
        {"queries": QUERIES[:2], "offsets": OFFSETS},
        ValueError,
        "queries: expected one for each of 3 pools",
    ),
    ((STACK, 3), {"queries": QUERIES[:2]}, ValueError, "queries: expected one for each of 3 pools, got 2"),
    ((V, 3), {"relevance": R[:20], "offsets": OFFSETS}, ValueError, "relevance: expected 30 numbers"),
    ((STACK, 3), {"relevance": RS[:2]}, ValueError, r"relevance: expected shape \(3, 8\), got \(2, 8\)"),
    (
        (V, 3),
        {"relevance": np.ones((2, 7))},
        ValueError,
        r"relevance: expected shape \(m, 30\), got \(2, 7\)",
    ),
    (
        (V, 3),
        {"relevance": with_value(np.ones((2, 30)), (1, 4), np.nan)},
        ValueError,
        r"relevance\[1\]: row 4 is NaN",
    ),
    ((STACK, 3), {"relevance": with_value(RS, (2, 5), np.nan)}, ValueError, r"relevance\[2\]: row 5 is NaN"),
    ((with_value(STACK, (2, 5, 1), np.nan), 3), {}, ValueError, r"vectors\[2\]: row 5 has NaN"),
    ((with_value(V, (12, 1), np.inf), 3), {"offsets": OFFSETS}, ValueError, "vectors: row 12 has Inf"),
    ((with_value(V, 12, 0.0), 3), {"offsets": OFFSETS}, ValueError, "vectors: row 12 is all zero"),
    ((STACK, 3), {"offsets": OFFSETS}, ValueError, r"offsets: not with vectors of shape \(m, n, d\)"),
    ((V, 3), {"offsets": [0, 10, 18, 29]}, ValueError, "offsets: must run from 0 to n = 30, got 0 to 29"),
    ((V, 3), {"offsets": [1, 10, 30]}, ValueError, "offsets: must run from 0 to n = 30, got 1 to 30"),
    ((V, 3), {"offsets": [0, 10, 10, 30]}, ValueError, "offsets: pool 1 is empty; offsets must ascend"),
    ((V, 3), {"offsets": [0, 20, 10, 30]}, ValueError, "offsets: pool 1 .*offsets must ascend"),
    ((V, 3), {"offsets": [0.0, 30.0]}, TypeError, r"offsets: expected m \+ 1 integers, from 0 to n"),
    ((V, 3), {"offsets": np.ma.masked_array([0, 30], [0, 1])}, TypeError, r"offsets: expected m \+ 1"),
    ((V, 3), {"offsets": [0]}, TypeError, r"offsets: expected m \+ 1 integers"),
    ((V, 3), {"offsets": 30}, TypeError, r"offsets: expected m \+ 1 integers"),
    (
        (V, 3),
        {"offsets": OFFSETS, "include": [0]},
        ValueError,
        "include: with pools, pass a list of rows for each of the 3",
    ),
    ((V, 3), {"offsets": OFFSETS, "include": 0}, (ValueError, TypeError), "include: "),
    ((V, 3), {"offsets": OFFSETS, "groups": [0] * 30}, ValueError, "max_per_group: needed with groups"),
    ((V, 3), {"offsets": OFFSETS, "max_per_group": 1}, ValueError, "groups: needed with max_per_group"),
    (
        (V, 3),
        {"offsets": OFFSETS, "groups": [0] * 20, "max_per_group": 3},
        ValueError,
        "groups: expected 30 labels",
    ),
    (
        (V, 3),
        {"offsets": OFFSETS, "groups": [0] * 30, "max_per_group": 2},
        ValueError,
        "pool 0.*only 2 candidates may be chosen",
    ),
    (
        (V, 3),
        {"offsets": OFFSETS, "groups": [*range(18), *[0] * 12], "max_per_group": 2},
        ValueError,
        "pool 2.*only 2 candidates may be chosen",
    ),
    ((STACK, 3), {"groups": np.zeros((2, 8)), "max_per_group": 3}, ValueError, "groups: expected "),
    (
        (V, 3),
        {"queries": QUERIES, "solver": "frank-wolf"},
        ValueError,
        "solver: 'frank-wolf' is unknown; did you mean",
    ),
    (
        (V, 3),
        {"queries": QUERIES, "objective": "mmr", "solver": "exact"},
        ValueError,
        "solver: 'exact' is not for mmr",
    ),
    ((V, 3), {"offsets": OFFSETS, "certify": "maybe"}, ValueError, "certify: "),
    ((V, 3), {"offsets": OFFSETS, "seed": -1}, ValueError, "seed: -1 is below 0"),
    ((V, 3), {"offsets": OFFSETS, "diversity": 1.5}, ValueError, "diversity: 1.5 is outside"),
    ((V, 3), {"offsets": OFFSETS, "relevance_scale": "log"}, ValueError, "relevance_scale: 'log' is unknown"),
    ((np.ones((0, 4, 2)), 1), {}, ValueError, "vectors: empty"),
    ((np.ones((4, 0, 2)), 1), {}, ValueError, "vectors: empty"),
    ((np.ones((4, 2, 0)), 1), {}, ValueError, "vectors: rows have no entries"),
    ((np.ones((2, 2, 2, 2)), 1), {"queries": QUERIES}, ValueError, "vectors: expected shape"),
    ((np.ones(5), 1), {"queries": QUERIES}, ValueError, "vectors: expected shape"),
    ((np.ones((2, 3, 4), bool), 1), {}, TypeError, "vectors: dtype bool cannot be used"),
    (([[[1, 2], [3, 4]], [[5, 6]]], 1), {}, ValueError, "vectors: row 1 has 1 entries where row 0 has 2"),
]


@pytest.mark.parametrize(("arguments", "options", "error", "message"), BAD)
@pytest.mark.parametrize("certify", [False, True])
def test_bad_input_is_refused_by_name(arguments, options, error, message, certify):
    with pytest.raises(error, match=message):
        setwise.select_many(*arguments, **{"certify": certify, **options})


def test_a_mistyped_keyword():
    with pytest.raises(TypeError, match="unexpected keyword argument 'query'"):
        setwise.select_many(V, 3, query=QUERIES)


# --- what each query wishes by itself -----------------------------------------------------------------------


def wished(m, n, seed=0):
    """Barred rows, must-have rows, labels and relevance of m users over n items, -inf among it."""
    rng = np.random.default_rng(seed)
    exclude = [rng.choice(n, size, replace=False).tolist() for size in rng.integers(0, 6, m)]
    include = [[row for row in rng.choice(n, 2, replace=False).tolist() if row not in out] for out in exclude]
    scores = rng.random((m, n))
    for user, kept in enumerate(include):
        gone = rng.choice(n, 5, replace=False)
        scores[user, np.setdiff1d(gone, kept)] = -np.inf
    return exclude, include, rng.integers(0, 4, (m, n)), scores


@cases
@pytest.mark.parametrize("certify", [False, True])
def test_each_query_has_its_own_wishes(objective, metric, sharpness, certify):
    m, n = 5, 40
    X, _ = make.clustered(n=n, d=12, seed=1)
    exclude, include, labels, scores = wished(m, n)
    options = {"objective": objective, "metric": metric, "sharpness": sharpness, "certify": certify}
    queries = np.random.default_rng(1).standard_normal((m, 12))
    for more in ({}, {"include": include}, {"groups": labels, "max_per_group": 3}):
        own = [{name: (rows if name == "max_per_group" else rows[user]) for name, rows in more.items()}
               for user in range(m)]  # fmt: skip
        many = quiet(setwise.select_many, X, 6, relevance=scores, exclude=exclude, **more, **options)
        loop = [
            quiet(setwise.select, X, 6, relevance=scores[user], exclude=exclude[user], **own[user], **options)
            for user in range(m)
        ]
        assert_same(many, loop, more)
        for user, one in enumerate(many):
            assert not set(one.indices.tolist()) & {*exclude[user], *np.flatnonzero(scores[user] == -np.inf)}
        by_query = quiet(setwise.select_many, X, 6, queries=queries, exclude=exclude, **more, **options)
        loop = [
            quiet(setwise.select, X, 6, query=queries[user], exclude=exclude[user], **own[user], **options)
            for user in range(m)
        ]
        assert_same(by_query, loop, more, tolerance=1e-6)


def test_the_ways_to_bar_rows_are_one():
    m, n = 4, 30
    X, _ = make.clustered(n=n, d=8, seed=3)
    exclude, _, _, scores = wished(m, n, seed=2)
    scores[:] = np.random.default_rng(0).random((m, n))
    mask = np.zeros((m, n), bool)
    for user, rows in enumerate(exclude):
        mask[user, rows] = True
    never = np.where(mask, -np.inf, scores)
    first = setwise.select_many(X, 5, relevance=scores, exclude=exclude)
    exclude[0] = None if not exclude[0] else exclude[0]
    for given, options in [
        (scores, {"exclude": mask}),
        (never, {}),
        (scores, {"exclude": [None if rows is None else set(rows) for rows in exclude]}),
        (scores, {"exclude": tuple(map(tuple, (rows or () for rows in exclude)))}),
    ]:
        assert_same(setwise.select_many(X, 5, relevance=given, **options), first)
    stacked = np.broadcast_to(X, (m, *X.shape))
    assert_same(setwise.select_many(stacked, 5, relevance=never), first)
    assert_same(setwise.select_many(stacked, 5, relevance=scores, exclude=exclude), first)
    flat = setwise.select_many(
        np.concatenate([X] * m), 5, relevance=never.ravel(), offsets=np.arange(m + 1) * n, certify=False
    )
    assert [one.indices.tolist() for one in flat] == [
        one.indices.tolist() for one in setwise.select_many(X, 5, relevance=never, certify=False)
    ]


@pytest.mark.parametrize("scale", ["minmax", "zscore", "rank"])
def test_never_is_not_a_number_of_the_scale(scale):
    X, _ = make.clustered(n=20, d=6, seed=0)
    r = np.random.default_rng(0).random(20)
    r[[3, 9]] = -np.inf
    one = quiet(setwise.select, X, 4, relevance=r, relevance_scale=scale)
    other = quiet(
        setwise.select,
        X,
        4,
        relevance=np.where(np.isfinite(r), r, 0.5),
        exclude=[3, 9],
        relevance_scale=scale,
    )
    assert_same([one], [other])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"exclude": [[1], [2]]}, "exclude: expected one list for each of 3 queries, got 2"),
        ({"exclude": [[1], [2], [30]]}, "query 2: exclude: 30 is not a row of the 20 candidates"),
        (
            {"exclude": [[1], [2], []], "include": [[1], [3], []]},
            "query 0: include: row 1 is in exclude, too",
        ),
        (
            {"exclude": [[], [], [*range(18)]]},
            "query 2: k: 3 is more than the 2 candidates that exclude leaves",
        ),
    ],
)
def test_wishes_that_cannot_be_are_named_by_query(options, text):
    X = np.random.default_rng(0).standard_normal((20, 4))
    with pytest.raises(ValueError, match=text):
        setwise.select_many(X, 3, relevance=np.ones((3, 20)), **options)


def test_never_that_cannot_be():
    X = np.random.default_rng(0).standard_normal((6, 4))
    r = np.ones(6)
    r[[0, 2]] = -np.inf
    with pytest.raises(ValueError, match="include: row 2 has relevance -inf, which is never"):
        setwise.select(X, 3, relevance=r, include=[2])
    with pytest.raises(ValueError, match="k: 5 is more than the 4 candidates that are not barred"):
        setwise.select(X, 5, relevance=r)
    with pytest.raises(ValueError, match="relevance: all 6 are -inf"):
        setwise.select(X, 1, relevance=np.full(6, -np.inf))
    r[4] = np.inf
    with pytest.raises(ValueError, match="relevance: row 4 is Inf"):
        setwise.select(X, 1, relevance=r)
    many = np.ones((2, 6))
    many[1, [0, 1, 2, 3]] = -np.inf
    with pytest.raises(ValueError, match="query 1: k: 3 is more than the 2 candidates that are not barred"):
        setwise.select_many(X, 3, relevance=many)
    with pytest.raises(ValueError, match="pool 1: k: 3 is more than the 2 candidates that are not barred"):
        setwise.select_many(np.stack([X, X]), 3, relevance=many)


@needs("faiss")
@pytest.mark.parametrize("gap", [False, True])
def test_what_is_told_of_each_row_is_cut_into_pools(gap):
    """Relevance to facets, by as many names as vectors are wide, too; and the labels of parts."""
    rng = np.random.default_rng(0)
    X, r = rng.standard_normal((40, 8)).astype("f4"), rng.random(40)
    if gap:
        r[5] = np.nan
    table, named = rng.random((40, 3)), {f"facet {number}": rng.random(40) for number in range(8)}
    labels = np.arange(40) % 4
    calls = [
        lambda part: {"objective": "facets", "facets": table[part]},
        lambda part: {"objective": "facets", "facets": {name: one[part] for name, one in named.items()}},
        lambda part: {"solver": "multilevel", "solver_options": {"partition": labels[part]}},
    ]
    for told in calls:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            many = setwise.select_many(
                X, 3, offsets=[0, 20, 40], relevance=r, missing="drop", **told(slice(None))
            )
            for part, found in zip((slice(0, 20), slice(20, 40)), many, strict=True):
                alone = setwise.select(X[part], 3, relevance=r[part], missing="drop", **told(part))
                assert found.indices.tolist() == alone.indices.tolist()
