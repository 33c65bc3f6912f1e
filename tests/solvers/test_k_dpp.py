"""k-DPP: the draws have the probabilities of the definition, det(L_Y) over the sum of all sets of k."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chi2

import setwise
from helpers import assert_feasible
from reference import make
from setwise.objectives import LogDet
from setwise.solvers import k_dpp
from setwise.vectors import Vectors

DRAWS = 4_000


def gram_of(X, metric, bandwidth):
    """The kernel by its definition, in float64."""
    if metric == "cosine":
        E = X / np.linalg.norm(X, axis=1)[:, None]
        return E @ E.T
    return np.exp(-((X[:, None] - X[None]) ** 2).sum(axis=2) / bandwidth)


def probabilities(X, r, k, t, metric="cosine", bandwidth=3.0):
    """Every set of k, and the probability exp(value / t) gives it."""
    gram = gram_of(X, metric, bandwidth)
    sets = list(itertools.combinations(range(len(X)), k))
    weights = [
        math.exp((1 - t) / t * r[list(S)].sum()) * max(np.linalg.det(gram[np.ix_(S, S)]), 0.0) for S in sets
    ]
    return sets, np.array(weights) / sum(weights)


def assert_drawn_from(counts, chances):
    """Chi-square at 1e-4: sets expected less than 5 times are counted together."""
    total = counts.sum()
    rare = chances * total < 5
    seen = np.append(counts[~rare], counts[rare].sum())
    due = np.append(chances[~rare], chances[rare].sum()) * total
    seen, due = seen[due > 1e-3], due[due > 1e-3]
    assert seen.sum() == total  # what cannot be drawn was not
    statistic = ((seen - due) ** 2 / due).sum()
    assert statistic < chi2.isf(1e-4, len(seen) - 1)


def counts_of(spectrum, k, sets, seed=0, draws=DRAWS):
    sampler, rng = k_dpp.Sampler(spectrum, k), np.random.default_rng(seed)
    place = {S: number for number, S in enumerate(sets)}
    counts = np.zeros(len(sets))
    for _ in range(draws):
        counts[place[tuple(sorted(sampler.draw(rng)[0].tolist()))]] += 1
    return counts


def spectrum_of(X, r, k, t, metric="cosine", bandwidth=3.0, path="dual"):
    vectors = Vectors(X, metric)
    quality = np.exp((r - r.max()) * (1 - t) / (2 * t))
    if path == "dual":
        return k_dpp.dual(vectors, quality, k)
    return k_dpp.primal(LogDet(t, metric=metric, bandwidth=bandwidth).kernel, vectors, quality, k)


# --- the distribution ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "metric", "n", "d", "k", "t"),
    [
        ("dual", "cosine", 7, 4, 3, 0.4),
        ("dual", "cosine", 6, 4, 2, 1.0),
        ("dual", "cosine", 6, 3, 3, 0.3),  # k is the rank
        ("dual", "cosine", 6, 9, 3, 0.5),  # fewer rows than dimensions
        ("primal", "cosine", 7, 4, 3, 0.4),
        ("primal", "euclidean", 7, 4, 3, 0.4),
        ("primal", "euclidean", 6, 1, 2, 1.0),
    ],
)
def test_draws_have_the_probabilities_of_the_definition(path, metric, n, d, k, t):
    rng = np.random.default_rng(n + d + k)
    X, r = rng.standard_normal((n, d)) + 0.5, rng.random(n)
    sets, chances = probabilities(X, r, k, t, metric)
    counts = counts_of(spectrum_of(X, r, k, t, metric, path=path), k, sets)
    assert_drawn_from(counts, chances)
    for wrong in (probabilities(X, r, k, 0.8 * t, metric)[1], np.full(len(sets), 1 / len(sets))):
        with pytest.raises(AssertionError):  # so many draws would show another distribution
            assert_drawn_from(counts, wrong)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_select_draws_so_too(metric):
    """Through the front door, a seed a draw: the objective's own value over t is the log-likelihood."""
    rng = np.random.default_rng(3)
    X, r = rng.standard_normal((6, 4)), rng.random(6)
    goal = LogDet(0.6, metric=metric, bandwidth=3.0 if metric == "euclidean" else None)
    sets = list(itertools.combinations(range(6), 2))
    values = np.array([goal.terms(X[list(S)], r[list(S)]).value for S in sets])
    weights = np.exp(values / 0.6)
    counts = np.zeros(len(sets))
    for seed in range(800):
        sel = setwise.select(X, 2, relevance=r, objective=goal, solver="k-dpp", seed=seed, certify=False)
        found = sets.index(tuple(sorted(sel.indices.tolist())))
        counts[found] += 1
        assert sel.value == pytest.approx(values[found], abs=1e-9)
    assert_drawn_from(counts, weights / weights.sum())


def test_k_1_is_drawn_by_quality():
    rng = np.random.default_rng(4)
    X, r = rng.standard_normal((6, 3)), rng.random(6)
    chances = np.exp(r * 0.7 / 0.3)
    counts = counts_of(spectrum_of(X, r, 1, 0.3), 1, [(i,) for i in range(6)])
    assert_drawn_from(counts, chances / chances.sum())


def test_quality_over_many_magnitudes():
    """Items a millionth as likely as the best: eigenvalues over 12 magnitudes and more."""
    rng = np.random.default_rng(5)
    X, r = rng.standard_normal((6, 4)), np.array([0.0, 0.1, 15.0, 0.2, 30.0, 0.3])
    sets, chances = probabilities(X, r, 3, 0.5)
    assert_drawn_from(counts_of(spectrum_of(X, r, 3, 0.5), 3, sets), chances)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_rows_are_never_drawn_together(metric):
    rng = np.random.default_rng(6)
    X = np.repeat(rng.standard_normal((5, 8)), 4, axis=0)
    for seed in range(200):
        sel = setwise.select(
            X, 5, objective="log-det", diversity=1.0, solver="k-dpp", metric=metric, seed=seed
        )
        assert sorted(sel.indices // 4) == [0, 1, 2, 3, 4]
    drawn = {
        tuple(
            setwise.select(X, 3, objective="log-det", diversity=1.0, solver="k-dpp", metric=metric, seed=seed)
        )
        for seed in range(20)
    }
    assert len(drawn) > 10
    with pytest.raises(ValueError, match="k: 6 is more than the kernel's numerical rank; ask for at most 5"):
        setwise.select(X, 6, objective="log-det", diversity=1.0, solver="k-dpp", metric=metric)


# --- elementary symmetric polynomials -----------------------------------------------------------------------


def exact_elementary(numbers, k):
    """By the recurrence in rational numbers."""
    found = [Fraction(1)] + [Fraction(0)] * k
    for number in numbers:
        for degree in range(k, 0, -1):
            found[degree] += Fraction(float(number)) * found[degree - 1]
    return found


def log_of(fraction):
    """The logarithm of a rational number of any size."""
    return math.log(fraction.numerator) - math.log(fraction.denominator)


def test_polynomials_are_the_sums_over_all_sets():
    numbers = np.random.default_rng(0).random(8) * 3
    table = k_dpp.log_elementary(np.log(numbers), 5)
    assert table.shape == (9, 6)
    for j, degree in itertools.product(range(9), range(6)):
        total = sum(math.prod(S) for S in itertools.combinations(numbers[:j].tolist(), degree))
        assert math.exp(table[j, degree]) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("order", ["ascending", "descending", "mixed"])
def test_polynomials_over_many_magnitudes(order):
    """To 1e-10 in the logarithm, against rational arithmetic; their products leave float64's range."""
    rng = np.random.default_rng(1)
    numbers = np.sort(10.0 ** rng.uniform(-14, 14, 120))
    numbers = {"ascending": numbers, "descending": numbers[::-1], "mixed": rng.permutation(numbers)}[order]
    table = k_dpp.log_elementary(np.log(numbers), 100)
    for degree, total in enumerate(exact_elementary(numbers, 100)):
        assert table[-1, degree] == pytest.approx(log_of(total), rel=1e-13, abs=1e-10)


def test_polynomials_of_degree_500():
    table = k_dpp.log_elementary(np.zeros(1000), 500)  # 1,000 ones: binomial coefficients
    assert np.isfinite(table[-1]).all()
    assert table[-1, 500] == pytest.approx(math.log(math.comb(1000, 500)), rel=1e-12)


# --- the spectrum -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [9, 5000, 20000])
def test_the_dual_has_the_kernels_eigenvalues_and_orthonormal_vectors(n):
    """Several blocks and waves of them; fewer rows than dimensions."""
    rng = np.random.default_rng(0)
    X, quality = rng.standard_normal((n, 16)), np.exp(rng.random(n))
    found = k_dpp.dual(Vectors(X), quality, 5)
    B = X / np.linalg.norm(X, axis=1)[:, None] * quality[:, None]
    expected = np.sort(np.linalg.svd(B, compute_uv=False))
    assert np.allclose(np.sort(np.exp(found.logs)), expected**2, rtol=1e-10)
    U = found.rows(slice(0, n), np.arange(len(found.logs)))
    assert np.allclose(U.T @ U, np.eye(min(n, 16)), atol=1e-10)
    assert np.allclose((U * np.exp(found.logs)) @ U[:7].T, B @ B[:7].T, atol=1e-9)


def test_dual_and_primal_agree():
    rng = np.random.default_rng(2)
    X, r = rng.standard_normal((40, 12)), rng.random(40)
    one, two = (spectrum_of(X, r, 5, 0.3, path=path) for path in ("dual", "primal"))
    assert np.allclose(np.sort(one.logs)[-12:], np.sort(two.logs)[-12:], atol=1e-9)
    assert len(one.logs) == 12


# --- the front door -----------------------------------------------------------------------------------------


def test_a_selection_like_any_other():
    X, r = make.clustered(n=300, d=24, seed=0, clusters=9)
    sel = setwise.select(X, 12, relevance=r, objective="log-det", diversity=0.3, solver="k-dpp", seed=5)
    assert_feasible(sel.indices, 300, 12)
    assert sel.solver == "k-dpp"
    assert sel.certificate.upper_bound is None
    assert not sel.certificate.pool_sufficient
    assert not sel.certificate.optimal
    assert sel.stats["rank"] == 24
    assert sel.stats["proposals"] >= 12
    goal = LogDet(0.3)
    assert sel.value == pytest.approx(goal.terms(X[sel.indices], r[sel.indices]).value)
    assert sel.gains.sum() == pytest.approx(sel.value)
    best = setwise.select(X, 12, relevance=r, objective="log-det", diversity=0.3)
    drawn = setwise.select(X, 12, relevance=r, objective="log-det", diversity=0.3, solver="random")
    assert drawn.value < sel.value < best.value


def test_the_seed_decides_and_threads_do_not():
    X, r = make.clustered(n=30_000, d=32, seed=0, clusters=9)
    X = X.astype(np.float32)
    options = {"relevance": r, "objective": "log-det", "diversity": 0.3, "solver": "k-dpp"}
    sets = [setwise.select(X, 10, seed=7, threads=threads, **options) for threads in (1, 2, 3)]
    assert all(np.array_equal(sets[0].indices, one.indices) for one in sets)
    assert len({tuple(setwise.select(X, 10, seed=seed, **options)) for seed in range(5)}) == 5


def test_a_query_gives_the_relevance():
    X, _ = make.clustered(n=200, d=16, seed=1)
    E = X / np.linalg.norm(X, axis=1)[:, None]
    options = {"objective": "log-det", "diversity": 0.05, "solver": "k-dpp"}
    for seed in range(5):
        by_query = setwise.select(X.astype(np.float32), 6, query=X[3], seed=seed, **options)
        given = setwise.select(X, 6, relevance=E @ E[3], seed=seed, **options)
        assert set(by_query) == set(given)


@pytest.mark.parametrize(("d", "k"), [(64, 50), (64, 64), (128, 100)])
def test_twenty_thousand_candidates(d, k):
    rng = np.random.default_rng(0)
    X, r = rng.standard_normal((20_000, d)).astype(np.float32), rng.random(20_000)
    sel = setwise.select(X, k, relevance=r, objective="log-det", diversity=0.3, solver="k-dpp")
    assert_feasible(sel.indices, 20_000, k)
    assert sel.stats["proposals"] < 20 * k * math.log(k)
    assert sel.seconds < 5


def test_little_diversity_is_nearly_top_k():
    rng = np.random.default_rng(0)
    X, r = rng.standard_normal((1000, 32)), rng.permutation(1000) / 1000
    options = {"relevance": r, "objective": "log-det", "solver": "k-dpp"}
    sel = setwise.select(X, 8, diversity=2e-4, **options)
    assert set(sel) == set(np.argsort(-r)[:8])
    even = setwise.select(X, 8, diversity=1.0, **options)
    assert r[even.indices].mean() < 0.9


@pytest.mark.parametrize("t", [1e-6, 5e-324, 0.5, 1.0])
def test_all_candidates_are_one_set(t):
    """Whatever their relevance, even where it would leave float64."""
    X = np.random.default_rng(0).standard_normal((7, 9))
    for metric in ("cosine", "euclidean"):
        sel = setwise.select(
            X,
            7,
            relevance=np.linspace(0, 1, 7),
            objective="log-det",
            diversity=t,
            solver="k-dpp",
            metric=metric,
        )
        assert set(sel) == set(range(7))


@pytest.mark.parametrize("shape", ["ragged", "stacked", "queries", "relevances"])
def test_select_many_is_select_for_each(shape):
    rng = np.random.default_rng(0)
    X, r = rng.standard_normal((60, 8)), rng.random(60)
    options = {"objective": "log-det", "diversity": 0.3, "solver": "k-dpp", "seed": 3}
    if shape == "ragged":
        many = setwise.select_many(X, 4, offsets=[0, 15, 40, 60], relevance=r, **options)
        cuts = [slice(0, 15), slice(15, 40), slice(40, 60)]
        loop = [setwise.select(X[part], 4, relevance=r[part], **options) for part in cuts]
    elif shape == "stacked":
        many = setwise.select_many(X.reshape(3, 20, 8), 4, relevance=r.reshape(3, 20), **options)
        cuts = [slice(start, start + 20) for start in (0, 20, 40)]
        loop = [setwise.select(X[part], 4, relevance=r[part], **options) for part in cuts]
    elif shape == "queries":
        many = setwise.select_many(X, 4, queries=X[:3], **options)
        loop = [setwise.select(X, 4, query=query, **options) for query in X[:3]]
    else:
        many = setwise.select_many(X, 4, relevance=np.stack([r, -r]), **options)
        loop = [setwise.select(X, 4, relevance=values, **options) for values in (r, -r)]
    assert [one.solver for one in many] == ["k-dpp"] * len(loop)
    for one, other in zip(many, loop, strict=True):
        assert np.array_equal(one.indices, other.indices)
        assert one.value == pytest.approx(other.value)


# --- refused ------------------------------------------------------------------------------------------------


def draw(X, k, **options):
    return setwise.select(X, k, **{"objective": "log-det", "diversity": 0.5, "solver": "k-dpp", **options})


def test_diversity_0_has_no_determinant():
    with pytest.raises(
        ValueError, match="^diversity: 0 leaves no determinant to draw by; use solver='top-k'"
    ):
        draw(np.eye(4), 2, diversity=0)


def test_k_above_the_dimensions():
    X = np.random.default_rng(0).standard_normal((50, 6))
    with pytest.raises(
        ValueError, match="^k: 7 is more than the kernel's rank, at most 6 with vectors of 6 d"
    ):
        draw(X, 7)
    assert len(draw(X, 6)) == 6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [40, 3000])
def test_k_above_the_rank_of_rounded_vectors(dtype, n):
    """Directions that are only the rounding of a product are not drawn."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 10)).astype(dtype) @ rng.standard_normal((10, 30)).astype(dtype)
    r = rng.random(n)
    for t in (0.1, 0.5, 1.0):
        with pytest.raises(
            ValueError, match="k: 11 is more than the kernel's numerical rank; ask for at most 10"
        ):
            draw(X, 11, relevance=r, diversity=t)
        assert len(draw(X, 10, relevance=r, diversity=t)) == 10


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_relevance_that_leaves_too_few(metric):
    X = np.random.default_rng(0).standard_normal((20, 10))
    r = np.arange(20) / 10
    with pytest.raises(ValueError, match="^diversity: so low that relevance leaves only 1 of 4 directions"):
        draw(X, 4, relevance=r, diversity=1e-4, metric=metric)


def test_too_many_for_the_gaussian_kernel():
    X = np.random.default_rng(0).standard_normal((k_dpp.DENSE + 1, 3))
    with pytest.raises(ValueError, match=f"^vectors: 4001 candidates are too many .* at most {k_dpp.DENSE}"):
        draw(X, 2, metric="euclidean")


def test_too_much_work(monkeypatch):
    monkeypatch.setattr(k_dpp, "WORK", 1e4)
    X = np.random.default_rng(0).standard_normal((200, 10))
    with pytest.raises(ValueError, match="^vectors: decomposing 200 × 10 takes 2e.04 multiplications"):
        draw(X, 2)


@pytest.mark.parametrize("objective", ["max-sum", "mmr"])
def test_other_objectives_and_constraints(objective):
    X = np.random.default_rng(0).standard_normal((10, 6))
    with pytest.raises(ValueError, match=f"^solver: 'k-dpp' is not for {objective}"):
        draw(X, 2, objective=objective)
    with pytest.raises(ValueError, match="^include: the 'k-dpp' solver cannot honor it"):
        draw(X, 2, include=[1])
    with pytest.raises(ValueError, match="^groups: the 'k-dpp' solver cannot honor it"):
        draw(X, 2, groups=np.arange(10), max_per_group=1)


def test_retrieve_does_not_take_it():
    index = setwise.Index.from_array(np.random.default_rng(0).standard_normal((50, 6)))
    with pytest.raises(ValueError, match="^solver: 'k-dpp' needs all candidates"):
        setwise.retrieve(np.ones(6), index, 3, objective="log-det", solver="k-dpp")
