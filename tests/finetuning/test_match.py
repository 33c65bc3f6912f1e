"""`setwise.finetuning.match` against the LP, the paper's algorithms and all distances."""

import inspect
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import setwise
from optional import lazily
from reference import tsds
from setwise.finetuning import Match, MatchParameters, match, sweep
from setwise.finetuning.repository_vectors import RepositoryVectors

faiss = lazily("faiss")


def rows(seed, n, d=6, copies=0, spread=0.03):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    if copies:
        X[-copies:] = X[0] + spread * rng.normal(size=(copies, d))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def distances_of(Q, X):
    return np.sqrt(((np.asarray(Q, float)[:, None] - np.asarray(X, float)[None]) ** 2).sum(-1))


@pytest.mark.parametrize("regularizer", ["kde", "uniform", "tv"])
@pytest.mark.parametrize("diversity", [0.0, 0.05, 0.4, 0.9, 1.0])
def test_equals_the_linear_program(regularizer, diversity):
    X, Q = rows(0, 15, copies=5), rows(1, 4)
    found = match(X, Q, diversity=diversity, regularizer=regularizer, kernel_width=0.2, scale=1.0)
    assert isinstance(found, Match)
    assert found.complete
    rho = tsds.density(X, 0.2) if regularizer == "kde" else np.ones(15)
    d = distances_of(Q, X)
    assert found.value == pytest.approx(tsds.lp_value(d, rho, diversity, 1.0, regularizer), abs=1e-9)
    assert found.probabilities.sum() == pytest.approx(1.0, abs=1e-12)
    goal = setwise.objectives.transport.Transport(diversity, regularizer=regularizer, scale=1.0)
    # The even plan is not written out: every example gives each candidate the same.
    plan = found.plan.toarray() if diversity < 1.0 else np.tile(found.dense() / 4, (4, 1))
    terms = goal.terms(plan, d, rho)
    assert terms.value == pytest.approx(found.value, abs=1e-12)
    assert terms.cost == pytest.approx(found.transport_cost, abs=1e-12)
    assert terms.regularization == pytest.approx(found.regularization, abs=1e-12)
    np.testing.assert_allclose(plan.sum(axis=0), found.dense(), atol=1e-12)
    np.testing.assert_allclose(found.nearest, d.min(axis=1), atol=1e-12)
    np.testing.assert_allclose(found.costs.mean(), found.transport_cost, rtol=1e-12)
    np.testing.assert_allclose(found.densities, rho[found.indices], rtol=1e-12)


def with_copies(seed=3, n=9, each=(4, 1, 3, 1)):
    """Rows of which some stand several times, in any order."""
    X = np.repeat(rows(seed, n, 3), np.resize(each, n), axis=0)
    return X[np.random.default_rng(seed).permutation(len(X))]


@pytest.mark.parametrize("regularizer", ["kde", "uniform", "tv"])
@pytest.mark.parametrize("diversity", [0.0, 0.1, 0.4, 0.8, 0.95, 1.0])
def test_copies_that_are_searched_as_one_give_the_linear_programs_value(regularizer, diversity):
    X, Q = with_copies(), rows(1, 3, 3)
    n = len(X)
    found = match(X, Q, diversity=diversity, regularizer=regularizer, kernel_width=0.6, scale=1.0)
    assert found.stats["copies"] == n - 9
    assert found.complete
    rho, d = tsds.density(X, 0.6) if regularizer == "kde" else np.ones(n), distances_of(Q, X)
    assert found.value == pytest.approx(tsds.lp_value(d, rho, diversity, 1.0, regularizer), abs=1e-9)
    plan = found.plan.toarray() if found.entries is not None else np.tile(found.dense() / 3, (3, 1))
    goal = setwise.objectives.transport.Transport(diversity, regularizer=regularizer, scale=1.0)
    assert goal.terms(plan, d, rho).value == pytest.approx(found.value, abs=1e-12)
    np.testing.assert_allclose(plan.sum(axis=0), found.dense(), atol=1e-12)
    np.testing.assert_allclose(found.densities, rho[found.indices], rtol=1e-9)
    if found.entries is not None:
        np.testing.assert_array_equal(found.neighborhoods, (plan > 0).sum(axis=1))
    for row in X:  # copies share alike
        assert len(np.unique(found.dense()[(row == X).all(axis=1)])) == 1


@pytest.mark.parametrize("index", ["exact", "IVF4,Flat"])
@pytest.mark.parametrize("regularizer", ["kde", "uniform"])
@pytest.mark.filterwarnings("ignore:density_neighbors")
def test_more_copies_than_neighbors_share_the_mass(regularizer, index):
    X, Q = rows(30, 400, 5), rows(31, 6, 5)
    many = np.concatenate([X, np.tile(Q[:1], (3_000, 1)), X[:2]]).astype(np.float32)
    found = match(
        many,
        Q,
        neighbors=60,
        regularizer=regularizer,
        kernel_width=0.05,
        scale=1.0,
        diversity=0.2,
        index=index,
    )
    assert found.complete
    p = found.dense()
    assert (p[400:3_400] > 0).all()
    np.testing.assert_array_equal(p[400:3_400], p[400])
    assert p[400:3_400].sum() > 0.9 / 6


def test_more_copies_than_are_counted_are_told(recwarn):
    X, Q = rows(32, 200, 4), rows(33, 2, 4)
    many = np.concatenate([X, np.tile(Q[:1], (40, 1))])
    weigh = "20 are counted, so that together they weigh as 2.0 rows, not one; raise it"
    with pytest.warns(UserWarning, match=f"density_neighbors: a row has 40 copies, of which {weigh}"):
        found = match(many, Q, density_neighbors=20, kernel_width=0.05, scale=1.0)
    np.testing.assert_allclose((1 / found.densities[np.isin(found.indices, range(200, 240))]).sum(), 2.0)
    near = many.copy()
    near[200:] += 1e-4 * rows(34, 40, 4)
    told = "density_neighbors: of a row's near-duplicates 20 are counted, and it has more"
    for workers in (None, 1):
        with pytest.warns(UserWarning, match=told):
            match(near, Q, density_neighbors=20, kernel_width=0.05, scale=1.0, workers=workers)
    recwarn.clear()
    match(near, Q, density_neighbors=40, kernel_width=0.05, scale=1.0)
    match(many, Q, density_neighbors=40, kernel_width=0.05, scale=1.0)
    match(many, Q, density_neighbors=20, kernel_width=0.05, scale=1.0, regularizer="uniform")
    assert not recwarn.list


def test_rows_are_copies_where_all_their_values_are_the_same():
    X = np.zeros((6, 40), np.float32)
    X[1, 7] = X[4, 7] = 1.0  # alike in the columns that are looked at first
    X[2] = -0.0
    X[3, 0] = 2.0
    for candidates in (X, X.astype(np.float64), X.astype(np.int8)):
        fold = RepositoryVectors(candidates).folded().fold
        np.testing.assert_array_equal(fold.kept, [0, 1, 3])
        np.testing.assert_array_equal(fold.group, [0, 1, 0, 2, 1, 0])
        np.testing.assert_array_equal(fold.counts, [3, 2, 1])
    assert RepositoryVectors(X[[0, 1, 3]]).folded().fold is None


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_equals_the_papers_algorithm_on_many_rows(dtype):
    X, Q = rows(2, 1_500, 16, copies=200).astype(dtype), rows(3, 20, 16).astype(dtype)
    found = match(X, Q, diversity=0.4, kernel_width=0.3, scale=2.0, neighbors=300)
    assert found.complete
    assert found.fits
    d = distances_of(Q, X)
    ids = np.argsort(d, axis=1, kind="stable")[:, :300]
    near = np.take_along_axis(d, ids, axis=1)
    rho = tsds.density(np.asarray(X, float), 0.3)
    p, s, _ = tsds.knn_kde(ids, near, rho[ids], 1_500, 0.4, 2.0)
    assert found.limit == pytest.approx(s, rel=1e-9)
    np.testing.assert_allclose(found.dense(), p, atol=1e-9)
    # Densities were counted where they can matter alone, and for the estimate of the whole.
    assert found.stats["densities_counted"] <= 1_500
    assert found.stats["total"] == pytest.approx((1 / rho).sum(), rel=0.05)


def test_only_the_nearest_near_duplicates_count():
    X, Q = rows(4, 300, copies=100), rows(5, 5)
    found = match(X, Q, diversity=0.5, kernel_width=0.3, density_neighbors=20, scale=1.0)
    rho = tsds.density(X, 0.3, 20)
    np.testing.assert_allclose(found.densities, rho[found.indices], rtol=1e-12)
    assert rho.max() <= 20


@pytest.mark.parametrize("factory", ["IVF16,Flat", "HNSW16", "Flat"])
def test_two_stages_by_a_faiss_factory(factory):
    X, Q = rows(6, 2_000, 12, copies=100).astype(np.float32), rows(7, 8, 12).astype(np.float32)
    settings = {"kernel_width": 0.3, "scale": 1.0, "neighbors": 200, "diversity": 0.3}
    exact = match(X, Q, **settings)
    found = match(X, Q, **settings, index=factory)
    assert found.stats["search"] == factory
    assert found.stats["union"] <= 8 * 200
    assert found.transport_cost <= 1.02 * exact.transport_cost


def test_two_stages_over_an_exact_index_hold_every_true_neighbor():
    X, Q = rows(6, 2_000, 12, copies=100).astype(np.float32), rows(7, 8, 12).astype(np.float32)
    settings = {"kernel_width": 0.3, "scale": 1.0, "neighbors": 200, "diversity": 0.3}
    exact, found = match(X, Q, **settings), match(X, Q, **settings, index="Flat")
    np.testing.assert_allclose(found.nearest, exact.nearest, atol=1e-6)
    # Near-duplicates outside the union do not count, so that the densities may differ.
    assert 0.5 * np.abs(found.dense() - exact.dense()).sum() < 0.05


def test_an_even_plan_is_not_written_out():
    with pytest.raises(ValueError, match="plan: it is even over all candidates"):
        _ = match(rows(0, 15), rows(1, 4), diversity=1.0).plan


def test_faiss_lists_that_run_dry_credit_no_row(tmp_path):
    """FAISS fills up with -1 where the lists that it reads hold too few: the last row must not get them."""
    X = rows(8, 1_000, 8).astype(np.float32)
    X[-1] = -5.0  # far from everything
    index = faiss.index_factory(8, "IVF64,Flat")
    index.train(X)
    index.add(X)
    assert (index.search(X[:5], 300)[1] < 0).any()
    found = match(X, X[:5] + 0.01, index=index, neighbors=300, kernel_width=0.05, diversity=0.2)
    assert 999 not in found.indices
    faiss.write_index(index, str(tmp_path / "lists.faiss"))
    again = match(
        X, X[:5] + 0.01, index=str(tmp_path / "lists.faiss"), neighbors=300, kernel_width=0.05, diversity=0.2
    )
    np.testing.assert_array_equal(again.indices, found.indices)
    assert again.stats["search"] == "saved FAISS index"


def test_an_open_index_and_memory_maps_and_shards_give_the_same(tmp_path):
    X, Q = rows(9, 1_200, 10, copies=60).astype(np.float32), rows(10, 6, 10).astype(np.float32)
    settings = {"kernel_width": 0.3, "neighbors": 150, "diversity": 0.3, "scale": 1.0}
    whole = match(X, Q, **settings)
    np.save(tmp_path / "all.npy", X)
    np.save(tmp_path / "a.npy", X[:500])
    np.save(tmp_path / "b.npy", X[500:])
    for given in (
        np.load(tmp_path / "all.npy", mmap_mode="r"),
        [tmp_path / "a.npy", str(tmp_path / "b.npy")],
        [X[:700], X[700:]],
    ):
        found = match(given, Q, **settings)
        np.testing.assert_array_equal(found.indices, whole.indices)
        np.testing.assert_array_equal(found.probabilities, whole.probabilities)
    index = setwise.Index.from_array(X, metric="euclidean")
    found = match(X, Q, index=index, **settings)
    np.testing.assert_allclose(found.nearest, whole.nearest)
    twice = np.concatenate([X, X[::-1]])
    found = match(twice, Q, index=setwise.Index.from_array(twice, metric="euclidean"), **settings)
    np.testing.assert_array_equal(found.dense()[:1_200], found.dense()[:1_199:-1])


@pytest.mark.filterwarnings("ignore:density_neighbors")
@pytest.mark.parametrize("workers", [1, 2, pytest.param("ray", marks=pytest.mark.slow)])
def test_workers_find_the_same(workers, tmp_path, monkeypatch, processes):
    X, Q = rows(11, 3_000, 12, copies=300).astype(np.float32), rows(12, 30, 12).astype(np.float32)
    X[1_100:1_400] = X[:300]
    Q[:3] = X[-3:]  # among copies, whose density is not 1
    settings = {
        "kernel_width": 0.4,
        "neighbors": 400,
        "diversity": 0.2,
        "scale": 1.0,
        "density_neighbors": 50,
    }
    monkeypatch.setattr("setwise.finetuning.neighbors.PLAIN", 0)  # large data's way
    alone = match(X, Q, **settings)
    np.save(tmp_path / "a.npy", X[:1_250])
    np.save(tmp_path / "b.npy", X[1_250:])
    files = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for given in [X, files] if workers == 1 else [[files[0], X[1_250:]]]:  # processes take a second each
        found = match(given, Q, workers=workers, **settings)
        np.testing.assert_array_equal(found.indices, alone.indices)
        np.testing.assert_allclose(found.probabilities, alone.probabilities, rtol=1e-12)
        np.testing.assert_allclose(found.densities, alone.densities, rtol=1e-12)


def test_too_few_neighbors_warn_and_say_so():
    X, Q = rows(13, 2_000), rows(14, 10)
    with pytest.warns(UserWarning, match=r"neighbors: 20 ran out .* raise neighbors \(to 40 first\)"):
        found = match(X, Q, neighbors=20, diversity=0.8)
    assert not found.complete
    assert "incomplete" in repr(found)
    assert found.neighborhoods.max() <= 20


@pytest.mark.parametrize("regularizer", ["kde", "uniform"])
def test_most_of_the_repository_as_neighbors_is_not_enough_past_half_of_it(regularizer):
    X, Q = rows(40, 40, 3), rows(41, 2, 3)
    settings = {"diversity": 0.95, "regularizer": regularizer, "scale": 2.0, "kernel_width": 0.01}
    with pytest.warns(UserWarning, match=r"neighbors: 36 ran out .* raise neighbors \(to 40 first\)"):
        found = match(X, Q, neighbors=36, **settings)
    assert not found.complete
    assert found.fits is False
    best = tsds.lp_value(distances_of(Q, X), np.ones(40), 0.95, 2.0, regularizer)
    assert found.value > best + 1e-3
    whole = match(X, Q, neighbors=40, **settings)
    assert whole.complete
    assert whole.value == pytest.approx(best, abs=1e-9)
    near = match(X, Q, neighbors=36, **{**settings, "diversity": 0.0})
    assert near.complete  # each example's nearest row is the optimum whatever lies further out


def test_an_index_that_returns_too_few_is_what_the_advice_is_about():
    X, Q = rows(42, 400).astype(np.float32), rows(43, 1).astype(np.float32)
    index = faiss.index_factory(6, "IVF40,Flat")
    index.cp.min_points_per_centroid = 1
    index.train(X)
    index.add(X)
    index.nprobe = 1
    with pytest.warns(UserWarning, match="the index returned no more: raise its nprobe or ef"):
        found = match(X, Q, index=index, neighbors=200, diversity=0.95)
    assert found.short_of_index
    assert "search the index wider" in repr(found)
    assert not match(X, Q, neighbors=200).short_of_index


def test_a_few_rows_print_nothing(capfd):
    match(rows(0, 7), rows(1, 2), diversity=0.1)
    assert capfd.readouterr() == ("", "")


def test_a_sweep_searches_once_and_equals_single_matches(tmp_path):
    X, Q = rows(15, 1_500, copies=100), rows(16, 12)
    settings = {"kernel_width": 0.1, "scale": 1.0, "neighbors": 1_000}
    found = sweep(X, Q, (0.7, 0.1, 0.4), **settings)
    for one, diversity in zip(found, (0.7, 0.1, 0.4), strict=True):
        alone = match(X, Q, diversity=diversity, **settings)
        np.testing.assert_array_equal(one.indices, alone.indices)
        np.testing.assert_allclose(one.probabilities, alone.probabilities, rtol=1e-12)
    sizes = {row["diversity"]: row["neighborhood"] for row in found.rows()}
    assert sizes[0.1] < sizes[0.4] < sizes[0.7]
    assert "0.40" in found.table()
    assert found.plot(tmp_path / "sweep.png").stat().st_size > 10_000
    with pytest.raises(FileExistsError):
        found.plot(tmp_path / "sweep.png")
    with pytest.raises(ValueError, match=r"path: .* ends in none of .png"):
        found.plot(tmp_path / "sweep.txt")


def test_auto_parameters():
    X, Q = 7.0 * rows(17, 2_000, 32, copies=300, spread=0.001), 7.0 * rows(18, 5, 32)
    found = match(X, Q, scale="auto", kernel_width="auto", diversity=0.3)
    assert found.scale == pytest.approx(35.0)
    apart = distances_of(X[:1_000], X[:1_000])
    np.fill_diagonal(apart, np.inf)
    assert 0.05 * 7 < found.kernel_width < np.median(apart.min(axis=1)) / 2
    assert found.densities.max() == pytest.approx(1 / (1 / 301), rel=0.02) or found.densities.max() < 301


def test_python_scales_by_itself_as_the_command_does():
    X, Q = rows(17, 300, 8), rows(18, 4, 8)
    plain, spelled = match(X, Q), match(X, Q, scale="auto", kernel_width="auto")
    assert (plain.scale, plain.kernel_width) == (spelled.scale, spelled.kernel_width)
    # In other units the same rows are chosen, which fixed numbers for unit vectors would not do.
    larger = match(1_000.0 * X, 1_000.0 * Q)
    np.testing.assert_array_equal(larger.indices, plain.indices)
    np.testing.assert_allclose(larger.probabilities, plain.probabilities, rtol=1e-9)
    asked = {name: each.default for name, each in inspect.signature(match).parameters.items()}
    for one in fields(MatchParameters):
        assert asked[one.name] == one.default, one.name


def test_a_scale_far_from_the_datas_is_said():
    X, Q = 20.0 * rows(17, 300, 8), 20.0 * rows(18, 4, 8)
    with pytest.warns(UserWarning, match=r"scale: 5 is far from the 100 that 'auto' takes"):
        match(X, Q, scale=5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        match(X, Q, scale=20.0, diversity=0.1)


def test_the_width_of_marked_near_duplicates():
    marked = np.array([[0.0, 0], [3, 4], [0, 1], [10, 10], [10, 12]])
    assert setwise.finetuning.kernel_width(marked[:3]) == 5.0
    assert setwise.finetuning.kernel_width(marked, groups=[[0, 2], [3, 4]]) == 2.0
    with pytest.raises(ValueError, match="mark at least two rows"):
        setwise.finetuning.kernel_width(marked[:1])
    with pytest.raises(ValueError, match="exact copies"):
        setwise.finetuning.kernel_width(np.ones((3, 2)))


def test_a_repository_of_copies_is_sampled_evenly():
    X = np.tile(rows(19, 1), (50, 1))
    for regularizer in ("kde", "uniform"):
        found = match(X, rows(20, 3), regularizer=regularizer, kernel_width=0.1)
        np.testing.assert_allclose(found.dense(), 1 / 50)
        assert found.complete
    assert found.fits is False


def test_fewer_candidates_than_neighbors_are_all_used():
    found = match(rows(21, 7), rows(22, 3), diversity=0.4, scale=0.6)
    assert found.neighbors == 7
    assert found.complete


def test_near_duplicates_share_one_rows_probability():
    X, Q = rows(23, 500, 8), rows(24, 10, 8)
    plain = match(X, Q, kernel_width=0.01, diversity=0.3, scale=1.0)
    busiest = plain.indices[plain.probabilities.argmax()]
    many = np.concatenate([X, np.tile(X[busiest], (99, 1))])
    found = match(many, Q, kernel_width=0.01, diversity=0.3, scale=1.0).dense()
    share = found[busiest] + found[500:].sum()
    assert share == pytest.approx(plain.probabilities.max(), rel=0.05)
    uniform = match(many, Q, regularizer="uniform", diversity=0.3, scale=1.0).dense()
    assert uniform[busiest] + uniform[500:].sum() > 3 * share


def bad(**change):
    return {"candidates": rows(0, 20), "examples": rows(1, 3), **change}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"examples": rows(0, 3, 4)}, "examples: they have 4 dimensions, the candidates 6"),
        ({"candidates": np.empty((0, 6))}, "candidates: "),
        ({"examples": np.empty((0, 6))}, "examples: "),
        ({"candidates": np.full((4, 6), np.nan)}, "candidates: row 0 has NaN"),
        ({"kernel_width": 0.0}, "kernel_width: 0 is not a finite number above 0"),
        ({"kernel_width": -1}, "kernel_width: -1 is not"),
        ({"kernel_width": 1e200}, "kernel_width: the square of 1e+200 is no float64".replace("+", "[+]")),
        ({"candidates": 1e20 * rows(0, 50), "scale": "auto"}, "too far for float32; scale the vectors"),
        ({"kernel_width": "wide"}, "kernel_width: expected a number above 0 or 'auto'"),
        ({"scale": 0}, "scale: 0 is not"),
        ({"scale": float("nan")}, "scale: nan is not"),
        ({"neighbors": 1}, "neighbors: 1 is below 2"),
        ({"density_neighbors": 0}, "density_neighbors: 0 is below 1"),
        ({"diversity": 1.2}, "diversity: 1.2 is outside"),
        ({"regularizer": "kd"}, "regularizer: 'kd' is unknown; did you mean 'kde'"),
        ({"index": "IVFx"}, "index: FAISS does not understand 'IVFx' for 6 d (could not parse"),
        ({"index": "saved"}, "try Flat, HNSW32 or IVF1024,Flat, or a saved index that is there"),
        ({"index": "IVF4,Flat", "workers": 2}, "workers: parts are searched exactly"),
        ({"candidates": np.tile(rows(0, 1), (9, 1)), "kernel_width": "auto"}, "only copies of one row"),
        ({"candidates": [rows(0, 4), rows(1, 4, 5)]}, "candidates: part 1 has 5 dimensions, the first has 6"),
        ({"seed": -1}, "seed: -1 is below 0"),
        ({"index": setwise.Index.from_array(rows(0, 9))}, "index: it holds 9 × 6, the candidates are 20 × 6"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        match(**bad(**change))


def test_wrong_types_are_refused():
    for change in ({"diversity": "high"}, {"neighbors": 2.5}, {"index": 7}, {"kernel_width": True}):
        with pytest.raises(TypeError):
            match(**bad(**change))
    with pytest.raises(ValueError, match="give at least one"):
        sweep(rows(0, 9), rows(1, 2), ())
    with pytest.raises(FileNotFoundError):
        match(["missing.npy"], rows(0, 2))
    for missing in ("./missing", Path("missing.faiss")):
        with pytest.raises(FileNotFoundError, match="index: no file or folder"):
            match(rows(0, 9), rows(0, 2), index=missing)


def test_nothing_warns_when_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        match(rows(0, 500), rows(1, 5), diversity=0.1, scale=1.0)


@pytest.mark.parametrize("regularizer", ["kde", "uniform"])
@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("diversity", [0.0, 0.1, 0.4, 0.8, 1.0])
def test_quality_weighs_rows_as_in_the_linear_program(regularizer, copies, seed, diversity):
    X = with_copies(seed) if copies else rows(seed, 15, 3, copies=5)
    Q, n = rows(50 + seed, 3, 3), len(X)
    quality = np.random.default_rng(seed).uniform(0.2, 3.0, n)
    settings = {"diversity": diversity, "regularizer": regularizer, "scale": 1.0}
    found = match(X, Q, quality=quality, kernel_width=0.4, **settings)
    assert found.complete
    density = tsds.density(X, 0.4) if regularizer == "kde" else np.ones(n)
    rho, d = density * quality.mean() / quality, distances_of(Q, X)
    assert found.value == pytest.approx(tsds.lp_value(d, rho, diversity, 1.0, regularizer), abs=1e-9)
    plan = found.plan.toarray() if found.entries is not None else np.tile(found.dense() / 3, (3, 1))
    goal = setwise.objectives.transport.Transport(diversity, regularizer="kde", scale=1.0)
    assert goal.terms(plan, d, rho).value == pytest.approx(found.value, abs=1e-12)
    np.testing.assert_allclose(plan.sum(axis=0), found.dense(), atol=1e-12)
    np.testing.assert_allclose(found.densities, density[found.indices], rtol=1e-9)
    if regularizer == "kde":  # the same of densities that are known
        given = match(X, Q, densities=density, quality=quality, **settings)
        np.testing.assert_allclose(given.dense(), found.dense(), atol=1e-12)
        assert given.value == pytest.approx(found.value, abs=1e-12)
        np.testing.assert_allclose(given.densities, found.densities, rtol=1e-9)
        assert given.stats["densities_counted"] == 0


def test_quality_and_densities_that_cannot_be_are_refused():
    X, Q = rows(0, 20), rows(1, 3)
    for change, message in (
        ({"quality": np.zeros(20)}, "quality: row 0 has 0.0, expected a finite number above 0"),
        ({"quality": np.ones(19)}, r"quality: expected one number a row, shape \(20,\); got \(19,\)"),
        ({"densities": np.full(20, np.nan)}, "densities: row 0 has nan"),
        ({"densities": np.full(20, 5e-324)}, "densities: row 0 has 5e-324"),  # 1 over it is infinite
        ({"quality": np.full(20, 1e308)}, r"quality: row 0 has 1e\+308"),  # and so is a sum of these
        ({"quality": np.ones(20), "regularizer": "tv"}, "quality: it weighs rows under kde and uniform"),
        ({"densities": np.ones(20), "regularizer": "uniform"}, "densities: they go with kde"),
    ):
        with pytest.raises(ValueError, match=message):
            match(X, Q, **change)
    with pytest.raises(TypeError, match=r"^quality: row 0 has .good. \(str\); pass floats"):
        match(X, Q, quality=["good"] * 20)
