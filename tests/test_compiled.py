"""The compiled kernels: they select what NumPy does, to the last index, and alike on every processor."""

import contextlib
import itertools
import warnings
from functools import partial

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import setwise
from setwise import kernels
from setwise.kernels import pools
from setwise.objectives.transport import Transport
from setwise.preference.responses.batches import distances_of
from setwise.solvers import matching
from setwise.solvers.k_medoids import dual, search
from setwise.solvers.k_medoids.stack import Stack
from setwise.vectors import Vectors

pytestmark = pytest.mark.skipif(not kernels.installed(), reason="no compiled kernels are installed here")

SETS = ("baseline", "avx2", "avx512")
MEASURES = (("mmr", 1), ("max-sum", 1), ("max-sum", 8), ("log-det", 1))


@pytest.fixture(autouse=True)
def _as_before():
    """Use the widest kernels whatever the environment says, and leave what computes as it was."""
    before = kernels.instructions()
    kernels.use()
    yield
    kernels.use("0" if before == "numpy" else before)


def under(name, function):
    """Return what a function does with some instructions; skip where they do not run here."""
    try:
        kernels.use(name)
    except ValueError as error:
        pytest.skip(str(error))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function()


@pytest.fixture(scope="module")
def runnable():
    """The instruction sets that run here, the oldest first."""
    found = []
    for name in SETS:
        with contextlib.suppress(ValueError):
            kernels.use(name)
            found.append(name)
    return found


def candidates(seed, dtype):
    """Rows in clusters; by turns with copies, near copies, or small integers; and their relevance."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(3, 200)), int(rng.integers(1, 90))
    X = rng.standard_normal((6, d))[rng.integers(6, size=n)] + 0.5 * rng.standard_normal((n, d))
    r = rng.random(n)
    if seed % 4 == 1:  # copies, and few levels of relevance
        X, r = X[rng.integers(n, size=n)], r.round(1)
    elif seed % 4 == 2:  # copies but for the last digits
        X = X[rng.integers(n, size=n)] + 1e-7 * rng.standard_normal((n, d))
    elif seed % 4 == 3:
        X, r = rng.integers(-2, 3, (n, d)).astype(float), rng.integers(3, size=n) / 2
        X[~X.any(axis=1)] = 1
    return X.astype(dtype), r, rng


def wishes(n, k, rng, turn):
    """Constraints by turns: none, must-have rows, barred rows, groups."""
    if turn == 1:
        return {"include": rng.permutation(n)[: min(k, 2)]}
    if turn == 2:
        return {"exclude": rng.permutation(n)[: min(n - k, 5)]}
    if turn == 3:
        return {"groups": np.arange(n) % 3, "max_per_group": -(-k // 3)}
    return {}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_greedy_selection_is_that_of_numpy(runnable, dtype):
    """Every objective that kernels know, under constraints, at near-ties, with and without a query."""
    compared = 0
    for seed in range(16):
        X, r, rng = candidates(seed, dtype)
        k = int(rng.integers(1, min(len(X), 25) + 1))
        try:
            options = wishes(len(X), k, rng, seed // 4 % 4)
            setwise.select(X, k, solver="top-k", **options)
        except ValueError:
            continue
        query = X[0].astype(float) + 0.1
        for told, (objective, sharpness), t in itertools.product(
            ({"relevance": r}, {"query": query}, {}), MEASURES, (0.0, 0.3, 1.0)
        ):
            call = partial(
                setwise.select, X, k, **told, **options, objective=objective, sharpness=sharpness,
                diversity=t, solver="greedy", certify=False,
            )  # fmt: skip
            plain = under("0", call)
            assert plain.stats["kernel"] == "numpy"
            for name in runnable:
                found = under(name, call)
                place = name, seed, told.keys(), objective, sharpness, t, options
                assert found.stats["kernel"] == "compiled"
                assert found.indices.tolist() == plain.indices.tolist(), place
                assert found.value == pytest.approx(plain.value, rel=1e-9, abs=1e-9), place
            compared += 1
    assert compared > 350


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_default_solver_finds_what_numpy_finds(runnable, dtype):
    """Frank-Wolfe, greedy selection and exchanges, at near-ties and where nearly every set is as good."""
    compared = 0
    for seed in range(12):
        X, r, rng = candidates(seed, dtype)
        k = int(rng.integers(2, min(len(X) - 1, 25) + 1))
        options = wishes(len(X), k, rng, 2 * (seed // 4 % 2))
        query = X[0].astype(float) + 0.1
        for told, sharpness, t in itertools.product(
            ({"relevance": r}, {"query": query}, {}), (1, 2, 8), (0.3, 1.0)
        ):
            try:
                call = partial(
                    setwise.select, X, k, **told, **options, sharpness=sharpness, diversity=t, certify=False
                )
                plain = under("0", call)
            except ValueError:
                continue
            for name in runnable:
                found = under(name, call)
                place = name, seed, told.keys(), sharpness, t, options
                if seed % 4 == 2 and sharpness > 1:  # near copies differ by less than the search tells apart
                    assert found.value == pytest.approx(plain.value, rel=1e-9), place
                else:
                    assert found.indices.tolist() == plain.indices.tolist(), place
                    assert found.stats["swaps"] == plain.stats.get("swaps", 0), place
            compared += found.stats["kernel"] == "compiled" != plain.stats["kernel"]
    assert compared > 150


def test_a_greedy_start_among_near_copies_is_numpys(runnable):
    """Four copies to the seventh digit and one other row: which copies join it, rounding alone decides."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((2, 58))[[0, 0, 0, 1, 0]] + 1e-7 * rng.standard_normal((5, 58))
        call = partial(setwise.select, X.astype(np.float32), 3, diversity=0.5, certify=False)
        plain = under("0", call)
        for name in runnable:
            assert under(name, call).indices.tolist() == plain.indices.tolist(), (name, seed)


@pytest.mark.parametrize(("n", "k", "spread"), [(700, 40, 1.0), (300, 60, 1e-3), (900, 30, 0.05)])
def test_exchanges_where_every_outsider_is_a_rival_are_numpys(runnable, n, k, spread):
    """Rows all about as far from each other: single precision rules few out, and none where all are close."""
    for seed in range(3):
        rng = np.random.default_rng([n, seed])
        X = rng.standard_normal(48) * (1.0 - spread) + spread * rng.standard_normal((n, 48))
        call = partial(
            setwise.select, X.astype(np.float32), k, relevance=spread**2 * rng.random(n), diversity=0.7,
            certify=False,
        )  # fmt: skip
        plain = under("0", call)
        for name in runnable:
            found = under(name, call)
            assert found.indices.tolist() == plain.indices.tolist(), (name, seed)
            assert found.stats["swaps"] == plain.stats.get("swaps", 0), (name, seed)


@pytest.mark.parametrize("n", [2100, 2600, 17_000])
def test_among_thousands_as_well(runnable, n):
    """Pools of some candidates: what the relaxation gives, rounded, and exchanged from several starts."""
    for seed in range(5 if n < 10_000 else 2):
        rng = np.random.default_rng([n, seed])
        X = rng.standard_normal((9, 16))[rng.integers(9, size=n)] + 0.5 * rng.standard_normal((n, 16))
        r = rng.random(n)
        if seed == 1:
            X, r = X[rng.integers(n // 3, size=n)], r.round(2)
        elif seed == 3:
            X = X[rng.integers(n // 2, size=n)] + 1e-7 * rng.standard_normal((n, 16))
        X = X.astype("float16" if seed == 2 else "float32")
        told = {"relevance": r} if seed % 2 else {"query": X[0].astype(float) + 0.1}
        call = partial(
            setwise.select, X, 4 + 9 * seed, **told, diversity=(0.3, 0.7, 1.0)[seed % 3],
            sharpness=(1, 1, 2)[(n + seed) % 3], certify=bool(seed % 2),
        )  # fmt: skip
        plain = under("0", call)
        for name in {runnable[0], runnable[-1]}:
            found = under(name, call)
            assert (found.stats["kernel"], plain.stats["kernel"]) == ("compiled", "numpy")
            assert found.indices.tolist() == plain.indices.tolist(), (name, seed)
            assert found.value == pytest.approx(plain.value, rel=1e-9)
            if seed % 2:
                bounds = [one.certificate.upper_bound for one in (found, plain)]
                assert bounds[0] == pytest.approx(bounds[1], rel=1e-6)
                assert min(bounds) >= found.value


def test_a_bound_is_what_numpy_proves(runnable):
    """Of the default solver's sets and of greedy selection's: the relaxation takes the same steps."""
    proven = 0
    for seed in range(8):
        X, r, rng = candidates(seed, ("float32", "float16", "float64")[seed % 3])
        k = int(rng.integers(2, min(len(X) - 1, 25) + 1))
        options = {"exclude": [0]} if seed > 4 and k < len(X) - 1 else {}
        told = {"query": X[0].astype(float) + 0.1} if seed % 3 == 0 else {"relevance": r}
        for solver, sharpness, t in itertools.product(("auto", "greedy"), (1, 8), (0.3, 1.0)):
            call = partial(
                setwise.select, X, k, **told, **options, solver=solver, sharpness=sharpness, diversity=t
            )
            plain = under("0", call)
            bound = plain.certificate.upper_bound
            for name in runnable:
                found, place = under(name, call), (name, seed, solver, sharpness, t)
                if found.indices.tolist() != plain.indices.tolist():
                    assert seed % 4 == 2, place  # near copies: see above
                    continue
                assert found.certificate.upper_bound == pytest.approx(bound, rel=1e-9), place
                assert found.certificate.optimal == plain.certificate.optimal
                proven += found.stats["kernel"] == "compiled" and found.stats.get("relaxations", 0) == 1
    assert proven > 40 * len(runnable)


@pytest.mark.parametrize("name", [*SETS, "0"])
def test_where_relevance_alone_proves_a_set_nothing_is_relaxed(name):
    X, _, _ = candidates(0, "float32")
    r = np.arange(len(X), 0.0, -1.0)
    call = partial(setwise.select, X, 5, relevance=r, sharpness=8)
    sure, unsure = under(name, partial(call, diversity=0.3)), under(name, partial(call, diversity=0.98))
    assert sure.certificate.optimal
    best = under(name, partial(call, diversity=0.3, solver="exact"))
    assert sorted(sure.indices) == sorted(best.indices)
    assert ("relaxations" in sure.stats, "relaxations" in unsure.stats) == (False, True)
    assert unsure.certificate.upper_bound >= unsure.value


@pytest.mark.parametrize("told", ["relevance", "queries"])
def test_many_pools_find_what_each_finds_by_itself(told):
    """The default solver in one call; pools with ties and copies are left to others, a bad row is refused."""
    rng = np.random.default_rng(4)
    cuts = np.cumsum([0, *rng.integers(12, 60, size=12)])
    X = rng.standard_normal((cuts[-1], 9)).astype(np.float32)
    X[cuts[3] : cuts[4]] = X[cuts[3]]
    r = rng.random(cuts[-1])
    r[cuts[5] : cuts[6]] = r[cuts[5] : cuts[6]].round(1)
    given = {"relevance": r} if told == "relevance" else {"queries": rng.standard_normal((12, 9))}
    for sharpness, threads in ((1, 1), (8, 2)):
        options = {"sharpness": sharpness, "diversity": 0.4, "certify": False}
        many = setwise.select_many(X, 6, offsets=cuts, threads=threads, **given, **options)
        for pool, (start, stop) in enumerate(itertools.pairwise(cuts.tolist())):
            own = {"relevance": r[start:stop]} if told == "relevance" else {"query": given["queries"][pool]}
            one = setwise.select(X[start:stop], 6, **own, **options)
            assert many[pool].indices.tolist() == one.indices.tolist(), (pool, sharpness)
            assert many[pool].value == pytest.approx(one.value, rel=1e-12)
            assert many[pool].stats == one.stats
    X[cuts[7] + 2] = np.nan
    with pytest.raises(ValueError, match=f"row {cuts[7] + 2} has NaN"):
        setwise.select_many(X, 6, offsets=cuts, **given, **options)


WISHES = (
    {"max_similarity": 0.9},
    {"shown": np.eye(3, 12)},
    {"min_gain": 0.3},
    {"groups": {"side": ["left", "right"] * 20}, "limits": {"side": (2, 4)}},
    {"costs": np.linspace(1, 2, 40), "budget": 5.0},
)


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: next(reversed(wish)))
@pytest.mark.parametrize(
    ("objective", "solver"), [("max-sum", "greedy"), ("max-sum", "auto"), ("mmr", "greedy")]
)
def test_a_wish_that_kernels_do_not_know_is_left_to_numpy(objective, solver, wish):
    rng = np.random.default_rng(5)
    X, r = rng.standard_normal((40, 12)).astype(np.float32), rng.random(40)
    told = {"relevance": r, "objective": objective, "solver": solver, "certify": False, **wish}
    found = [under(use, partial(setwise.select, X, 6, **told)) for use in (None, "0")]
    assert found[0].stats["kernel"] == "numpy"
    assert found[0].indices.tolist() == found[1].indices.tolist()
    many = under(None, partial(setwise.select_many, X, 6, offsets=[0, 40], **told))
    assert many[0].indices.tolist() == found[1].indices.tolist()


@pytest.mark.parametrize("name", SETS[1:])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_instruction_set_gives_the_same_bits(name, dtype):
    rng = np.random.default_rng(0)
    for d in (*range(1, 70), 127, 128, 129, 383, 768, 1100):
        X, query = rng.standard_normal((3, d)).astype(dtype), rng.standard_normal(d)

        def measured(X=X, query=query):
            squares, cosines = np.empty(3), np.empty(3)
            kernels.measure(X, squares, query, cosines)
            return squares.tolist(), cosines.tolist()

        assert under(name, measured) == under("baseline", measured), d


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_are_measured_by_their_definition(dtype):
    """Of any width, the last of a buffer that ends with them; also halves below the normal range."""
    rng = np.random.default_rng(1)
    for d in range(1, 1101, 7):
        X = rng.standard_normal((3, d)).astype(dtype)
        X[0] *= np.dtype(dtype).type(2.0**-14)
        query, squares, cosines = rng.standard_normal(d), np.empty(3), np.empty(3)
        kernels.measure(X, squares, query, cosines)
        wide = X.astype(np.float64)
        np.testing.assert_allclose(squares, (wide * wide).sum(axis=1), rtol=1e-13)
        np.testing.assert_allclose(cosines * np.sqrt(squares), wide @ query, rtol=1e-11, atol=1e-12)


def test_halves_are_scanned_by_their_definition(runnable):
    """Of any width and step, also halves below the normal range; to the same bits with any instructions."""
    rng = np.random.default_rng(4)
    for d in (*range(1, 70), 127, 128, 129, 383, 768, 1100):
        wide = np.zeros((9, d + 3), np.float16)
        rows = wide[::2, 1 : d + 1]
        rows[:] = rng.standard_normal((5, d))
        rows[1] *= np.float16(2.0**-14)
        other, found = rng.standard_normal(d).astype(np.float32), np.empty(5, np.float32)
        bits = {under(name, lambda: kernels.scan(rows, other, found) or found.tobytes()) for name in runnable}  # noqa: B023
        assert len(bits) == 1, d
        exact, size = rows.astype(np.float64) @ other, np.abs(rows.astype(np.float64)) @ np.abs(other)
        assert (np.abs(found - exact) <= (d / 16 + 8) * np.finfo(np.float32).eps * size).all(), d


@pytest.mark.parametrize("kept", [None, np.arange(0, 500, 3)])
def test_vectors_of_halves_score_alike_with_and_without_kernels(kept):
    rows = np.random.default_rng(5).standard_normal((500, 37)).astype(np.float16)
    query = np.random.default_rng(6).standard_normal(37)
    compiled, plain = (
        under(name, lambda: Vectors(rows, kept=kept, workers=2).scan(query)) for name in (None, "0")
    )
    np.testing.assert_allclose(compiled, plain, atol=1e-6 * np.abs(plain).max())


def test_a_scan_of_anything_else_is_refused():
    rows, other, products = np.ones((4, 3), np.float16), np.ones(3, np.float32), np.empty(4, np.float32)
    kernels.scan(rows, other, products)
    assert products.tolist() == [3.0] * 4
    for wrong in (
        (rows.astype(np.float32), other, products),
        (rows[:, ::2], other, products),
        (rows, other[:2], products),
        (rows, other.astype(np.float64), products),
        (rows, other, products[:3]),
        (rows, other, products.astype(np.float64)),
        (rows, None, products),
        (rows, other, None),
    ):
        with pytest.raises((ValueError, BufferError)):
            kernels.scan(*wrong)


def arrays():
    """The same rows, told in other ways."""
    X = np.random.default_rng(2).standard_normal((60, 21)).astype(np.float32)
    apart = np.zeros((120, 50), np.float32)
    apart[::2, 3:24] = X
    gaps = np.zeros((60, 42), np.float32)
    gaps[:, ::2] = X
    odd = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape)
    fixed = X.copy()
    fixed.flags.writeable = False
    return X, {
        "steps between rows": apart[::2, 3:24],
        "rows from the last": X[::-1].copy()[::-1],
        "columns first": np.asfortranarray(X),
        "gaps within rows": gaps[:, ::2],
        "not aligned": odd,
        "not writable": fixed,
        "the other byte order": X.astype(X.dtype.newbyteorder()),
    }


@pytest.mark.parametrize("kind", arrays()[1])
def test_rows_in_any_layout(kind):
    X, ways = arrays()
    r = np.random.default_rng(3).random(len(X))
    told = {"relevance": r, "solver": "greedy", "certify": False}
    for objective, sharpness in MEASURES:
        one, other = (
            setwise.select(rows, 9, objective=objective, sharpness=sharpness, **told)
            for rows in (X, ways[kind])
        )
        assert one.indices.tolist() == other.indices.tolist()
    assert setwise.select(X, 9, query=X[4], objective="mmr").indices[0] == 4


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
def test_bad_rows_are_refused_by_name_as_by_numpy(dtype, bad):
    X = np.random.default_rng(4).standard_normal((30, 19)).astype(dtype)
    X[17, slice(None) if bad == 0.0 else 11] = bad

    def refused():
        with pytest.raises(ValueError, match="row 17") as caught:
            Vectors(X, "cosine", query=np.ones(19))
        return str(caught.value)

    assert refused() == under("0", refused)


def test_what_is_asked_for_is_what_is_used():
    kernels.use("0")
    assert (kernels.available(), kernels.instructions()) == (False, "numpy")
    with pytest.raises(ValueError, match="SETWISE_KERNELS: no kernels for 'mmx' run here"):
        kernels.use("mmx")
    assert not kernels.available()
    kernels.use("baseline")
    assert (kernels.available(), kernels.instructions()) == (True, "baseline")


def test_arguments_that_do_not_fit_are_refused():
    """The module checks what could make it read or write where it must not."""
    X, n = np.ones((5, 3)), 5
    squares, relevance = np.full(n, 3.0), np.zeros(n)
    right = {"rows": X, "squares": squares, "relevance": relevance, "k": 2}
    options = {"objective": "mmr", "diversity": 0.5, "sharpness": 1}
    assert pools.greedy(**right, **options)[1].tolist() == [[0, 1]]
    wrong = {
        "rows": [X[:4], X.astype(int), X[0], X[:, ::2]],
        "kept": [np.array([0, 1, 2, 3, 5]), np.array([0, 1, 2, 3, -1]), np.arange(4)],
        "squares": [squares[:4], squares.astype(np.float32), np.full(10, 3.0)[::2]],
        "relevance": [relevance[:4], relevance.astype(np.float32)],
        "k": [6, 0],
        "cuts": [np.array([0, 4]), np.array([1, 5]), np.array([0, 4, 5]), np.array([0, 6, 5]), np.array([0])],
        "first": [np.array([5]), np.array([-1])],
        "groups": [np.array([0, 1, 2, 3, 5]), np.arange(4), np.array([0, 1, 2, 3, -1])],
    }
    wrong["queries"] = [np.ones(2), np.ones((2, 3))]
    for name, values in wrong.items():
        for value in values:
            with pytest.raises((ValueError, BufferError)):
                pools.greedy(**{**right, **options, name: value})
    with pytest.raises(ValueError):  # noqa: PT011 - of the module itself
        pools.greedy(**{**right, **options, "squares": None, "kept": np.arange(n)})
    wrong_order = [np.arange(4), np.array([0, 1, 2, 3, 5]), np.array([0, 1, 2, 3, -1])]
    single = {"rows": X.astype(np.float32), "order": np.arange(n), "squares": squares}
    single |= {"relevance": relevance, "k": 2, "diversity": 0.5, "sharpness": 1, "with_greedy": True}
    assert pools.exchange(**single)[0].tolist() == [0, 1]
    for name, values in {
        "rows": [X[:4], single["rows"][:, ::2]],
        "order": wrong_order,
        "starts": [np.array([[0, 5]]), np.array([[0, 1, 2]]), np.array([[0, -1], [0, 1]])],
        "start": [
            (np.array([0, 5]), np.ones(2)),
            (np.array([-1]), np.ones(1)),
            (np.array([2, 9]), np.ones(2)),
        ],
        "squares": [squares[:4]],
        "kept": wrong_order,
        "relevance": [relevance[:4]],
        "k": [0, 5, 6],
        "sharpness": [0],
    }.items():
        for value in values:
            with pytest.raises((ValueError, BufferError)):
                pools.exchange(**{**single, name: value, "rounds": 2 * (name == "start")})
    many = {
        "rows": single["rows"],
        "relevance": np.linspace(0.0, 1.0, n),
        "cuts": np.array([0, n]),
        "k": 2,
        "diversity": 0.5,
    }
    many |= {"sharpness": 1, "with_greedy": True, "fine": (0.0, np.inf)}
    assert pools.exchange_each(**many)[0].tolist() == [2]
    for name, values in {
        "rows": [X, single["rows"][:4]],
        "relevance": [relevance[:4]],
        "cuts": [np.array([0, 4]), np.array([1, 5]), np.array([0, 3, 5]), np.array([0])],
        "k": [0, 5],
        "sharpness": [0],
        "queries": [np.ones((1, 2))],
    }.items():
        for value in values:
            with pytest.raises((ValueError, BufferError)):
                pools.exchange_each(**{**many, name: value})
    for squares, query, cosines in ((np.empty(4), None, None), (np.empty(5), np.ones(2), np.empty(5))):
        with pytest.raises(ValueError):  # noqa: PT011 - of the module itself
            kernels.measure(X, squares, query, cosines)


def stacks():
    """k-medoids problems: padded, with fixed costs, with copies of candidates and costs of few levels."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        b, n, m = rng.integers(1, [6, 40, 40])
        k = int(rng.integers(1, m + 1))
        cost = (
            rng.random((b, n, m)) if seed % 4 < 2 else rng.integers(0, 4, (b, n, m)) * rng.random((b, n, 1))
        )
        if seed % 4 == 3:
            cost = cost[:, :, rng.integers(m, size=m)]
        free = np.argsort(rng.random((b, m)), axis=1) >= rng.integers(0, m - k + 1)
        yield k, cost, free, None if seed % 3 else rng.standard_normal((b, m))


def test_medoids_and_their_bounds_are_numpys_to_the_bit(runnable):
    def found():
        for k, cost, free, fixed in stacks():
            stack = Stack(cost, free, fixed)
            first = search.greedy(stack, k)
            places, swaps = search.swap(stack, first)
            climbed = dual.ascend(stack, places, steps=40)
            again = dual.ascend(stack, places, steps=12, prices=climbed.prices)
            yield [first, places, swaps, *climbed, *again, search.arrange(stack, places)]

    plain = under("0", lambda: list(found()))
    for name in runnable:
        for ours, theirs in zip(under(name, lambda: list(found())), plain, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(one, other)


def test_medoids_of_shapes_that_do_not_belong_together_are_refused():
    cost, own, sizes, places = np.ones((2, 5, 4)), np.zeros((2, 4)), np.zeros(2), np.zeros((2, 3), np.int64)
    run = kernels.native().medoids
    for task, given in itertools.product(range(3), ((cost[:1], own), (cost, own[:, :3].copy()))):
        with pytest.raises(ValueError, match="do not belong together"):
            run(task, *given, sizes, places, 3, 1, np.zeros((2, 5)), False, sizes.copy())
    with pytest.raises(ValueError, match="do not belong together"):
        run(1, cost, own, sizes, places + 4, 3, 1, None, False, None)
    with pytest.raises(ValueError, match="do not belong together"):
        run(2, cost, own, sizes, places, 3, 1, None, False, None)


def test_distances_of_responses_are_those_of_their_definition():
    """In every type, far from the origin, with copies, near copies and rows that do not count."""
    for seed in range(36):
        rng = np.random.default_rng(seed)
        b, n, d = rng.integers(1, [4, 20, 40])
        X = 10.0 ** rng.integers(-2, 2) * rng.standard_normal((b, n, d)) + 100 * (seed % 2)
        X = X[:, rng.integers(n, size=n)] + 1e-5 * (seed % 3) * rng.standard_normal((b, n, d))
        X = X.astype((np.float64, np.float32, np.float16)[seed // 2 % 3])
        free = rng.random((b, n)) < 0.8
        free[:, 0] = True
        products, apart = distances_of(X, free)
        for row, vectors in enumerate(X.astype(np.float64)):
            expected = cdist(vectors, vectors) * np.outer(free[row], free[row])
            np.testing.assert_allclose(apart[row], expected, rtol=1e-9, atol=1e-300)
            centered = vectors - vectors[free[row]].mean(axis=0)
            size = np.square(centered).sum(axis=1).max()
            np.testing.assert_allclose(products[row], centered @ centered.T, atol=1e-12 * size + 1e-300)
    for odd in (np.nan, np.inf, 1e200):
        wide = X.astype(np.float64)
        wide[0, 0, 0] = odd
        with pytest.raises(FloatingPointError):
            distances_of(wide, free)


def test_plans_of_transport_are_numpys_to_the_bit():
    """With neighbors that run out or do not, in any number at a time, with ties, and over strided tables."""
    ended = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        m, reach = rng.integers(1, [30, 300])
        near = np.sort(rng.random((m, 2 * reach)) ** (1 + seed % 3), axis=1)[:, : int(reach)]
        weights = rng.random(near.shape) + 0.05 if seed % 4 else 1.0 / rng.integers(1, 4, near.shape)
        near = near.round(1) if seed % 5 == 0 else near
        goal = Transport(float(rng.random()), scale=float(10.0 ** -rng.integers(4)))
        total = None if seed % 2 else float(weights.sum() / m)

        cut = int(rng.integers(1, reach + 1))

        def plan(near=near, weights=weights, goal=goal, total=total, cut=cut):
            sums = matching.Sums(near, even=False)
            sums.extend(weights[:, :cut])
            first = matching.capped(sums, goal, least_total=1.0, total=None)
            if cut < near.shape[1]:
                sums.extend(weights[:, cut:])
            return first, matching.capped(sums, goal, least_total=1.0, total=total)

        for ours, plain in zip(under(None, plan), under("0", plan), strict=True):
            for name in ("limit", "remainder", "complete", "starts", "mass", "whole"):
                np.testing.assert_array_equal(getattr(ours, name), getattr(plain, name))
            ended.append(ours.complete)
    assert 100 < sum(ended) < 230


def test_transport_over_shapes_that_do_not_belong_together_is_refused():
    run, rows = kernels.native().transport, np.ones((3, 4))
    for odd in (
        (rows, rows[:2], 4),
        (rows, rows[:, :3], 4),
        (rows, rows, 5),
        (rows, rows, 0),
        (rows.astype(np.float32), rows, 4),
    ):
        with pytest.raises(ValueError, match="do not belong together"):
            run(*odd, 1.0, -1.0, np.empty(3, np.int64), np.empty(3))
