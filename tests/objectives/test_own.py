"""An objective of one's own, known by its terms and gains alone, in every call; checked by plain loops."""

import asyncio
import itertools

import numpy as np
import pytest

import setwise
from helpers import assert_feasible
from optional import needs
from reference import make
from setwise.objectives import Objective, Terms
from setwise.objectives.coverage import Coverage
from setwise.objectives.facets import Facets
from setwise.objectives.log_det import LogDet
from setwise.objectives.max_min import MaxMin

SOLVERS = ["auto", "greedy", "swap", "top-k", "random", "clustering"]
metrics = pytest.mark.parametrize("metric", ["cosine", "euclidean"])
solvers = pytest.mark.parametrize("solver", [*SOLVERS[:-1], pytest.param(SOLVERS[-1], marks=needs("faiss"))])


def apart(rows, others, metric):
    """Distances of all to some rows."""
    if metric == "cosine":
        return 1.0 - rows @ others.T
    return np.sqrt(np.square(rows[:, None] - others).sum(axis=2))


class Nearest(Objective):
    """(1 - t) * mean relevance + t * mean distance of a member to the nearest other."""

    name = "nearest"

    def terms(self, vectors, relevance):
        rows = self.rows(vectors)
        between = apart(rows, rows, self.metric)
        np.fill_diagonal(between, np.inf)
        spread = between.min(axis=1).mean() if len(rows) > 1 else 0.0
        mean = np.mean(relevance)
        return Terms((1 - self.diversity) * mean + self.diversity * spread, mean, spread)

    def gains(self, vectors, relevance, chosen):
        gains = (1 - self.diversity) * np.asarray(relevance)
        if len(chosen):
            far = apart(self.rows(vectors), self.rows(chosen), self.metric)
            gains = gains + self.diversity * far.min(axis=1)
        return gains


class Plain:
    """The same by plain loops over all pairs, and what greedy selection makes of it."""

    def __init__(self, X, r, t, metric):
        X = np.asarray(X, np.float64)
        rows = X / np.linalg.norm(X, axis=1)[:, None] if metric == "cosine" else X
        self.D, self.r, self.t = apart(rows, rows, metric), np.asarray(r), t

    def value(self, S):
        nearest = [min(self.D[i, j] for j in S if j != i) for i in S] if len(S) > 1 else [0.0]
        return (1 - self.t) * np.mean(self.r[S]) + self.t * np.mean(nearest)

    def gains(self, S):
        near = self.D[:, S].min(axis=1) if len(S) else 0.0
        return (1 - self.t) * self.r + self.t * near

    def greedily(self, k, among=None, include=(), groups=None, most=None):
        S = list(include)
        while len(S) < k:
            gains = self.gains(S)
            gains[S] = -np.inf
            if among is not None:
                gains[np.setdiff1d(np.arange(len(gains)), among)] = -np.inf
            if groups is not None:
                full = [np.count_nonzero(groups[S] == group) >= most for group in groups]
                gains[full] = -np.inf
            S.append(int(np.flatnonzero(gains >= gains.max() - 1e-12)[0]))
        return S


@metrics
@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("n", [60, 5000])
def test_greedy_is_the_plain_loop(metric, constrained, n):
    X, r = make.clustered(n=n, d=6, seed=1)
    X[40] = X[9]
    r[40] = r[9]
    groups = np.arange(n) % 7
    options = {"include": [5, 3], "groups": groups, "max_per_group": 2} if constrained else {}
    sel = setwise.select(X, 8, relevance=r, objective=Nearest(0.6, metric=metric), **options)
    more = {"include": [5, 3], "groups": groups, "most": 2} if constrained else {}
    if n == 60:
        plain = Plain(X, r, 0.6, metric)
        assert sel.indices.tolist() == plain.greedily(8, **more)
        assert sel.value == pytest.approx(plain.value(sel.indices))
        for step, row in enumerate(sel.indices):
            assert sel.gains[step] == pytest.approx(plain.gains(sel.indices[:step].tolist())[row])
    else:  # more than one pool holds: each pick by the gains of all
        goal = Nearest(0.6, metric=metric)
        for step in range(len(options.get("include", ())), 8):
            gains = goal.gains(X, r, X[sel.indices[:step]])
            gains[sel.indices[:step]] = -np.inf
            if constrained:
                gains[np.bincount(groups[sel.indices[:step]], minlength=7)[groups] >= 2] = -np.inf
            assert gains[sel.indices[step]] >= gains.max() - 1e-12
    assert_feasible(sel.indices, n, 8, **options)
    assert sel.solver == "greedy"
    assert sel.value == pytest.approx(0.4 * sel.relevance + 0.6 * sel.diversity)


@metrics
@solvers
@pytest.mark.parametrize("certify", [True, "full", False])
def test_every_solver_that_serves_any_objective(metric, solver, certify):
    X, r = make.clustered(n=60, d=6, seed=2)
    plain, goal = Plain(X, r, 0.6, metric), Nearest(0.6, metric=metric)
    call = {"relevance": r, "solver": solver, "metric": metric, "certify": certify, "seed": 3}
    sel = setwise.select(X, 7, objective=goal, **call)
    assert_feasible(sel.indices, 60, 7)
    assert sel.solver == ("greedy" if solver == "auto" else solver)
    assert sel.value == pytest.approx(plain.value(sel.indices))
    assert sel.indices.tolist() == plain.greedily(7, among=sel.indices), "in selection order"
    if solver in ("top-k", "random", "clustering"):
        other = setwise.select(X, 7, objective="max-sum", diversity=0.6, **{**call, "certify": False})
        assert set(sel.indices) == set(other.indices)
    assert (sel.certificate is None) == (certify is False)
    if certify:
        certificate = sel.certificate
        assert certificate.upper_bound is certificate.gap is None
        assert not certificate.optimal
        assert certificate.pool_sufficient == (solver in ("auto", "greedy"))


@metrics
@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("n", [18, 60])
def test_exchanges_end_where_none_helps(metric, constrained, n):
    """Up to 16 candidates beside the set all are tried, else the 16 of largest gain."""
    better = 0
    for seed in range(8):
        X, r = make.clustered(n=n, d=4, seed=seed)
        plain, groups = Plain(X, r, 0.7, metric), np.arange(n) % 5
        options = {"include": [11], "groups": groups, "max_per_group": 2} if constrained else {}
        call = {"relevance": r, "objective": Nearest(0.7, metric=metric), **options}
        sel, greedy = (setwise.select(X, 6, solver=solver, **call) for solver in ("swap", "greedy"))
        assert_feasible(sel.indices, n, 6, **options)
        assert sel.value == pytest.approx(plain.value(sel.indices))
        assert sel.value >= greedy.value - 1e-12
        better += sel.value > greedy.value + 1e-9
        for slot in range(len(options.get("include", ())), 6):
            rest = np.delete(sel.indices, slot)
            gains = plain.gains(rest.tolist())
            gains[rest] = -np.inf
            if constrained:
                gains[np.bincount(groups[rest], minlength=5)[groups] >= 2] = -np.inf
            for comes in np.argsort(-gains, kind="stable")[:16]:
                if gains[comes] > -np.inf:
                    assert plain.value(np.append(rest, comes)) <= sel.value + 1e-9
    assert better >= 4


def test_exchanges_find_the_best_set_of_most_small_instances():
    found = 0
    for seed in range(10):
        X, r = make.clustered(n=11, d=3, seed=seed)
        plain = Plain(X, r, 0.7, "cosine")
        best = max(plain.value(list(S)) for S in itertools.combinations(range(11), 4))
        sel = setwise.select(X, 4, relevance=r, objective=Nearest(0.7), solver="swap")
        assert sel.value <= best + 1e-12
        found += sel.value > best - 1e-9
    assert found >= 6


@metrics
@solvers
def test_many_selections_are_those_of_each(metric, solver):
    X, r = make.clustered(n=60, d=6, seed=4)
    call = {"objective": Nearest(0.5, metric=metric), "metric": metric, "solver": solver}
    by_query = setwise.select_many(X, 5, queries=X[:3], **call)
    for query, sel in zip(X[:3], by_query, strict=True):
        alone = setwise.select(X, 5, query=query, **call)
        assert sel.indices.tolist() == alone.indices.tolist()
        assert sel.value == pytest.approx(alone.value)
    for pools in (
        setwise.select_many(X.reshape(3, 20, 6), 5, relevance=r.reshape(3, 20), **call),
        setwise.select_many(X, 5, relevance=r, offsets=[0, 20, 40, 60], **call),
    ):
        for place, sel in enumerate(pools):
            part = slice(20 * place, 20 * place + 20)
            alone = setwise.select(X[part], 5, relevance=r[part], **call)
            assert sel.indices.tolist() == alone.indices.tolist()
            assert sel.certificate == alone.certificate


@metrics
@pytest.mark.parametrize("solver", ["auto", "greedy", "swap", "top-k"])
@pytest.mark.parametrize("pool", ["auto", 30])
def test_retrieval_by_it(metric, solver, pool):
    X, _ = make.clustered(n=3000, d=6, seed=5)
    X, query = X.astype(np.float32), np.random.default_rng(0).standard_normal(6)
    query /= np.linalg.norm(query)
    index, goal = setwise.Index.from_array(X, metric=metric), Nearest(0.3, metric=metric)
    found = setwise.retrieve(query, index, 5, objective=goal, solver=solver, pool=pool)
    looked = np.arange(3000) if pool == "auto" else np.sort(index.fetch(query[None], pool)[0].ids)
    alone = setwise.select(X[looked], 5, query=query, objective=goal, solver=solver)
    assert found.ids.tolist() == looked[alone.indices].tolist()
    assert found.value == pytest.approx(alone.value, abs=1e-6)
    assert found.solver == alone.solver
    assert found.certificate.upper_bound is None
    assert found.certificate.pool_sufficient == (pool == "auto" and solver in ("auto", "greedy"))


@metrics
def test_retrieval_by_searches_constraints_and_pages(metric):
    """Where an index cannot be read whole, searches go on until all there is has been seen."""
    X, _ = make.clustered(n=3000, d=6, seed=5)
    X, query = X.astype(np.float32), np.random.default_rng(0).standard_normal(6)
    query /= np.linalg.norm(query)
    index, goal = setwise.Index.from_array(X, metric=metric), Nearest(0.3, metric=metric)
    for options in (
        {"exclude": [7, 1150]},
        {"exclude": [7], "include": [9], "groups": np.arange(3000) % 5, "max_per_group": 1},
    ):
        found = setwise.retrieve(query, index, 5, objective=goal, **options)
        alone = setwise.select(X, 5, query=query, objective=goal, **options)
        assert found.ids.tolist() == alone.indices.tolist()
        assert found.certificate.pool_sufficient
        assert found.certificate.pool_size == 3000 - len(options["exclude"])
    first = setwise.select(X, 10, query=query, objective=goal)
    page = setwise.retrieve(query, index, 5, objective=goal, offset=5)
    assert page.ids.tolist() == first.indices[5:].tolist()
    same = asyncio.run(setwise.aretrieve(query, index, 5, objective=goal))
    assert same.ids.tolist() == first.indices[:5].tolist()
    r = np.random.default_rng(1).random(50)
    chosen = setwise.diversify(
        range(50), 4, relevance=r, vectors=X[:50], objective=goal, metric=metric, relevance_scale="none"
    )
    assert chosen.ids.tolist() == Plain(X[:50], r, 0.3, metric).greedily(4)


def test_what_does_not_serve_it_is_refused_with_what_does():
    call = {"relevance": np.arange(9.0), "objective": Nearest()}
    for solver in ("frank-wolfe", "exact", "k-dpp", "k-means"):
        with pytest.raises(
            ValueError, match=rf"^solver: '{solver}' is not for nearest; use one of "
        ) as refused:
            setwise.select(np.eye(9), 2, solver=solver, **call)
        assert str(refused.value).partition("use one of ")[2] == ", ".join(SOLVERS)
    index = setwise.Index.from_array(np.eye(9))
    for solver in ("random", "clustering"):
        with pytest.raises(
            ValueError,
            match=f"^solver: '{solver}' needs all candidates, and a search returns a few; use one of "
            "auto, greedy, swap, top-k$",
        ):
            setwise.retrieve(np.ones(9), index, 2, objective=Nearest(), solver=solver)


def test_one_that_is_of_all_candidates_is_no_use_to_a_search():
    class OfAll(Nearest):
        name = "of-all"
        of_all = True

    index = setwise.Index.from_array(np.eye(5))
    with pytest.raises(ValueError, match="^objective: of-all is of all candidates, and a search"):
        setwise.retrieve(np.ones(5), index, 2, objective=OfAll())


def test_it_is_fitted_to_the_candidates():
    class Central(Nearest):
        """Distances count less where candidates spread more."""

        name = "central"
        scale = None

        def fitted(self, vectors):
            other = Central(self.diversity, metric=self.metric)
            other.scale = float(np.std(vectors.rows(slice(0, vectors.n))))
            return other

        def gains(self, vectors, relevance, chosen):
            return super().gains(vectors, np.asarray(relevance) * self.scale, chosen)

    X, r = make.clustered(n=30, d=4, seed=6)
    scale = float(np.std(X / np.linalg.norm(X, axis=1)[:, None]))
    sel = setwise.select(X, 4, relevance=r, objective=Central(0.5))
    assert sel.indices.tolist() == Plain(X, r * scale, 0.5, "cosine").greedily(4)


def test_a_gain_of_minus_infinity_bars_a_candidate():
    class Positive(Nearest):
        name = "positive"
        shortage = "all others are negative"

        def gains(self, vectors, relevance, chosen):
            gains = super().gains(vectors, relevance, chosen)
            return np.where(np.asarray(relevance) > 0, gains, -np.inf)

    X, _ = make.clustered(n=12, d=4, seed=7)
    r = np.linspace(-1, 1, 12)
    sel = setwise.select(X, 5, relevance=r, objective=Positive(0.5))
    assert (sel.indices >= 6).all()
    with pytest.warns(UserWarning, match="^positive: only 6 of the 8 asked for are selected, all"):
        sel = setwise.select(X, 8, relevance=r, objective=Positive(0.5))
    assert sorted(sel.indices.tolist()) == list(range(6, 12))


def test_what_is_wrong_with_it_is_said_in_one_line():
    class NoName(Nearest):
        name = ""

    class Taken(Nearest):
        name = "mmr"

    class Bare(Nearest):
        name = "bare"

        def __init__(self):
            pass

    class Wrong(Nearest):
        name = "wrong"

        def __init__(self, found):
            super().__init__(0.5)
            self.found = found

        def gains(self, vectors, relevance, chosen):
            return self.found(len(vectors))

    X = np.eye(6)
    for goal, kind, message in (
        (NoName(), TypeError, "objective: NoName has no name; give the class one"),
        (Taken(), ValueError, "objective: Taken has the name 'mmr' of another; give it one of its own"),
        (Bare(), TypeError, r"objective: Bare has no diversity or metric; call super\(\).__init__"),
        (
            Wrong(lambda n: np.zeros(n + 1)),
            TypeError,
            r"objective: gains of 'wrong' are float64 of shape \(7,\) ",
        ),
        (Wrong(lambda n: ["a"] * n), TypeError, "objective: gains of 'wrong' are <U1 of shape"),
        (
            Wrong(lambda n: np.full(n, np.nan)),
            ValueError,
            "objective: gains of 'wrong' are NaN for row 0; return",
        ),
    ):
        with pytest.raises(kind, match=f"^{message}"):
            setwise.select(X, 2, objective=goal)


def test_the_objectives_by_name_give_the_same_by_their_gains_alone():
    """What they override (scores, order, values) is what the defaults do, faster."""

    class Slow(Objective):
        name = "slow"

        def __init__(self, fast):
            super().__init__(fast.diversity, metric=fast.metric)
            self.fast = fast

        def terms(self, vectors, relevance):
            return self.fast.terms(vectors, relevance)

        def gains(self, vectors, relevance, chosen):
            gains = self.fast.gains(vectors, relevance, chosen)
            return gains if len(chosen) else np.asarray(relevance) * 1.0

    X, r = make.clustered(n=50, d=8, seed=8)
    for name, metric in itertools.product(("max-sum", "mmr", "log-det"), ("cosine", "euclidean")):
        fast = setwise.objectives.make(name, diversity=0.4, metric=metric).fitted(
            setwise.vectors.Vectors(X, metric)
        )
        for solver in ("greedy", "top-k", "random"):
            call = {"relevance": r, "solver": solver, "certify": False}
            one, other = (setwise.select(X, 6, objective=goal, **call) for goal in (fast, Slow(fast)))
            assert one.indices.tolist() == other.indices.tolist(), (name, metric, solver)
            assert one.value == pytest.approx(other.value)
            assert np.allclose(one.gains[1:], other.gains[1:])


def test_the_objectives_of_setwise_are_not_to_be_subclassed():
    """Their solvers rely on their formulas; an objective of one's own starts from `Objective`."""
    assert all(getattr(one, "__final__", False) for one in (Coverage, LogDet, Facets, MaxMin))
