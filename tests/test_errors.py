"""Bad calls of select: refused before any work by one line that names the argument and the mend."""

import warnings

import numpy as np
import pytest
import scipy.sparse

import setwise
from helpers import with_value
from optional import installed

rng = np.random.default_rng(0)
X = rng.standard_normal((8, 3))
R = rng.random(8)


NAN = float("nan")

BAD = [
    # k
    ({"k": 0}, ValueError, "k: 0 is below 1"),
    ({"k": -3}, ValueError, "k: -3 is below 1"),
    ({"k": 9}, ValueError, "k: 9 is more than the 8 candidates; ask for at most 8"),
    ({"k": 2.0}, TypeError, r"k: expected an integer, got 2\.0"),
    ({"k": "3"}, TypeError, "k: expected an integer, got '3'"),
    ({"k": True}, TypeError, "k: expected an integer, got a bool"),
    ({"k": None}, TypeError, "k: expected an integer, got None"),
    ({"k": np.array([1, 2])}, TypeError, "k: expected an integer"),
    # diversity
    ({"diversity": 1.5}, ValueError, r"diversity: 1\.5 is outside \[0, 1\] \(0 = relevance alone"),
    ({"diversity": -0.1}, ValueError, r"diversity: -0\.1 is outside \[0, 1\]"),
    ({"diversity": NAN}, ValueError, r"diversity: nan is outside \[0, 1\]"),
    ({"diversity": "a"}, TypeError, r"diversity: expected a number in \[0, 1\], got 'a'"),
    ({"diversity": True}, TypeError, r"diversity: expected a number in \[0, 1\], got True"),
    ({"diversity": None}, TypeError, r"diversity: expected a number in \[0, 1\], got NoneType"),
    ({"diversity": [0.5]}, TypeError, r"diversity: expected a number in \[0, 1\], got list"),
    ({"diversity": 0.5j}, TypeError, r"diversity: expected a number in \[0, 1\], got complex"),
    ({"diversity": np.array([0.2, 0.3])}, TypeError, r"diversity: expected a number in \[0, 1\]"),
    ({"diversity": np.array([0.2])}, TypeError, r"diversity: expected a number in \[0, 1\]"),
    # integers beyond all floats
    ({"diversity": 10**400}, ValueError, r"diversity: inf is outside \[0, 1\]"),
    ({"min_gain": -(10**400)}, ValueError, "min_gain: -inf is not finite"),
    ({"max_similarity": 10**400}, ValueError, "max_similarity: inf "),
    ({"costs": [1] * 8, "budget": 10**400}, ValueError, "budget: inf is not a finite number above 0"),
    ({"sharpness": 10**400}, ValueError, "sharpness: it is more than 2,147,483,648"),
    # names, with the nearest
    (
        {"objective": "max_sum"},
        ValueError,
        "objective: 'max_sum' is unknown; did you mean 'max-sum'.*mmr, log-det, coverage",
    ),
    (
        {"objective": "zzzz"},
        ValueError,
        r"objective: 'zzzz' is unknown \(one of max-sum, mmr, log-det, coverage, max-min, facets\)",
    ),
    (
        {"objective": None},
        TypeError,
        "objective: expected one of max-sum, mmr, log-det, coverage, max-min, facets; got NoneType",
    ),
    ({"solver": "gredy"}, ValueError, "solver: 'gredy' is unknown; did you mean 'greedy'"),
    ({"solver": "multi-level"}, ValueError, "solver: 'multi-level' is unknown; did you mean 'multilevel'"),
    (
        {"solver_options": {"steps": 3}},
        ValueError,
        "solver_options: 'auto' has none; frank-wolfe, multilevel",
    ),
    (
        {"solver": "frank-wolfe", "solver_options": 3},
        TypeError,
        "solver_options: expected a mapping of names",
    ),
    (
        {"solver": "frank-wolfe", "solver_options": {"step": 3}},
        ValueError,
        "solver_options: 'step' is unknown; did you mean 'steps'",
    ),
    (
        {"solver": "frank-wolfe", "solver_options": {"penalty": 1.9}},
        ValueError,
        "solver_options: penalty: 1.9 is below 2",
    ),
    (
        {"solver": "frank-wolfe", "solver_options": {"penalty": 1e308}},
        ValueError,
        "solver_options: penalty: 1e.308 is above 1e.09",
    ),
    (
        {"solver": "frank-wolfe", "solver_options": {"steps": 0}},
        ValueError,
        "solver_options: steps: 0 is below 1",
    ),
    (
        {"solver": "multilevel", "solver_options": {"top_up": "no"}},
        TypeError,
        "solver_options: top_up: expected True or False, got 'no'",
    ),
    (
        {"solver": "multilevel", "solver_options": {"clusters": 99}},
        ValueError,
        "solver_options: clusters: 99 are more",
    ),
    (
        {"solver": "distributed", "solver_options": {"partition": 999}},
        ValueError,
        "solver_options: partition: 999 is more",
    ),
    (
        {"solver": "distributed", "solver_options": {"partition": [1, 2]}},
        ValueError,
        "solver_options: partition: expected 8 labels, one a candidate, got shape",
    ),
    (
        {"solver": "multilevel", "solver_options": {"final_quality_scale": 2}},
        ValueError,
        r"solver_options: final_quality_scale: 2.* is outside \(0, 1\]",
    ),
    ({"solver": None}, TypeError, "solver: expected one of auto, greedy"),
    ({"metric": "euclidian"}, ValueError, "metric: 'euclidian' is unknown; did you mean 'euclidean'"),
    ({"metric": "Cosine"}, ValueError, "metric: 'Cosine' is unknown; did you mean 'cosine'"),
    ({"metric": None}, TypeError, "metric: expected one of cosine, euclidean; got NoneType"),
    (
        {"relevance_scale": "z-score"},
        ValueError,
        "relevance_scale: 'z-score' is unknown; did you mean 'zscore'",
    ),
    ({"relevance_scale": None}, TypeError, "relevance_scale: expected one of none, minmax, zscore, rank"),
    # combinations of names
    (
        {"objective": "mmr", "solver": "frank-wolfe"},
        ValueError,
        "solver: 'frank-wolfe' is not for mmr; use one of auto",
    ),
    (
        {"objective": "log-det", "solver": "exact"},
        ValueError,
        "solver: 'exact' is not for log-det; use one of auto",
    ),
    (
        {"solver": "clustering", "include": [0]},
        ValueError,
        "include: the 'clustering' solver cannot .*; use one of",
    ),
    (
        {"solver": "clustering", "groups": range(8), "max_per_group": 1},
        ValueError,
        "groups: the 'clustering' solver cannot honor it; use one of",
    ),
    # sharpness
    ({"sharpness": 3}, ValueError, "sharpness: 3 is neither 1 nor an even integer"),
    ({"sharpness": 0}, ValueError, "sharpness: 0 is neither 1 nor an even integer"),
    ({"sharpness": -2}, ValueError, "sharpness: -2 is neither 1 nor an even integer"),
    ({"sharpness": 2.5}, TypeError, r"sharpness: expected 1 or an even integer, got 2\.5"),
    ({"sharpness": True}, TypeError, "sharpness: expected 1 or an even integer, got True"),
    ({"sharpness": None}, TypeError, "sharpness: expected 1 or an even integer, got None"),
    ({"sharpness": 8, "metric": "euclidean"}, ValueError, "sharpness: .*metric='cosine' or sharpness=1"),
    ({"sharpness": 8, "objective": "mmr"}, ValueError, "sharpness: only max-sum has one; leave it at 1"),
    ({"sharpness": 8, "objective": "log-det"}, ValueError, "sharpness: only max-sum has one; leave it at 1"),
    # relevance and query
    ({"relevance": R[:5]}, ValueError, r"relevance: expected 8 numbers, one a candidate, got shape \(5,\)"),
    (
        {"relevance": with_value(R, 6, NAN)},
        ValueError,
        "relevance: row 6 is NaN; drop the candidate or pass an imputed",
    ),
    ({"relevance": with_value(R, 2, np.inf)}, ValueError, "relevance: row 2 is Inf; drop the candidate"),
    ({"relevance": list("abcdefgh")}, TypeError, "relevance: row 0 has 'a' \\(str\\)"),
    (
        {"query": [1.0, 2.0]},
        ValueError,
        r"query: expected 3 numbers as in the vectors' rows, got shape \(2,\)",
    ),
    ({"query": [0.0, 0.0, 0.0]}, ValueError, "query: all zero has no direction under cosine; pass another"),
    ({"query": [0.0, NAN, 1.0]}, ValueError, "query: has NaN or Inf; pass finite numbers"),
    ({"query": "what is it"}, TypeError, "query: dtype <U10 cannot be used; pass floats or integers"),
    ({"relevance": R, "query": [1, 2, 3]}, ValueError, "relevance: pass relevance or query, not both"),
    # constraints
    ({"include": [8]}, ValueError, "include: 8 is not a row of the 8 candidates"),
    ({"include": np.ma.masked_array([1, 2], [1, 0])}, TypeError, "include: expected row numbers, got None"),
    ({"diversity": np.True_}, TypeError, "diversity: expected a number in "),
    ({"include": [-1]}, ValueError, "include: -1 is not a row of the 8 candidates"),
    ({"include": [2, 5, 2]}, ValueError, "include: row 2 is named twice"),
    ({"include": [0, 1, 2, 3]}, ValueError, "include: 4 rows do not fit into k = 3"),
    ({"include": [1.5]}, TypeError, "include: expected row numbers"),
    ({"include": 1}, TypeError, "include: expected row numbers"),
    ({"groups": range(8)}, ValueError, "max_per_group: needed with groups"),
    ({"max_per_group": 1}, ValueError, "groups: needed with max_per_group"),
    ({"groups": range(7), "max_per_group": 1}, ValueError, "groups: expected 8 labels, one a candidate"),
    ({"groups": range(8), "max_per_group": 0}, ValueError, "max_per_group: 0 is below 1"),
    ({"groups": range(8), "max_per_group": 1.5}, TypeError, r"max_per_group: expected an integer, got 1\.5"),
    (
        {"groups": [0] * 8, "max_per_group": 2},
        ValueError,
        "max_per_group: with at most 2 of each of 1 groups only 2 candidates may be chosen, fewer than k = 3",
    ),
    (
        {"groups": [0, 0, 1, 2, 3, 4, 5, 6], "max_per_group": 1, "include": [0, 1]},
        ValueError,
        "include: 2 rows of group .*0.*, above max_per_group",
    ),
    # the rest
    ({"threads": 0}, ValueError, "threads: 0 is below 1"),
    ({"threads": 1.0}, TypeError, r"threads: expected an integer, got 1\.0"),
    ({"seed": -1}, ValueError, "seed: -1 is below 0"),
    ({"seed": 0.5}, TypeError, r"seed: expected an integer, got 0\.5"),
    ({"seed": None}, TypeError, "seed: expected an integer, got None"),
    ({"certify": "maybe"}, ValueError, "certify: "),
    ({"certify": 2}, TypeError, "certify: expected False, True or 'full', got 2"),
    # vectors
    (
        {"vectors": with_value(X, (4, 1), NAN)},
        ValueError,
        "vectors: row 4 has NaN; drop it or pass an imputed value",
    ),
    (
        {"vectors": with_value(X, (4, 1), np.inf)},
        ValueError,
        "vectors: row 4 has Inf; drop it or pass a finite",
    ),
    (
        {"vectors": with_value(X, 4, 0.0)},
        ValueError,
        "vectors: row 4 is all zero .*; drop it or pass metric=",
    ),
    ({"vectors": X[0]}, ValueError, r"vectors: expected shape \(n, d\), got \(3,\); .*reshape"),
    ({"vectors": X[:0]}, ValueError, "vectors: empty"),
    ({"vectors": X[:, :0]}, ValueError, r"vectors: rows have no entries \(d = 0\)"),
    ({"vectors": [[1, 2, 3], [1, 2]]}, ValueError, "vectors: row 1 has 2 entries where row 0 has 3"),
    ({"vectors": X.astype(str)}, TypeError, "vectors: dtype <U.* cannot be used; pass floats or integers"),
    (
        {"vectors": scipy.sparse.csr_matrix(X)},
        TypeError,
        "vectors: sparse matrices cannot be used; pass .toarray",
    ),
    ({"vectors": np.ma.masked_greater(X, 0)}, TypeError, "vectors: masked arrays cannot be used; fill"),
]


def name_of(options):
    """A readable test name."""
    return " ".join(f"{name}={np.asarray(value, object).reshape(-1)[:1]}" for name, value in options.items())


@pytest.mark.parametrize(("options", "error", "message"), BAD, ids=[name_of(options) for options, *_ in BAD])
def test_a_bad_call_is_refused(options, error, message):
    """The exact type, one line, and nothing but the line."""
    if options.get("solver") == "multilevel" and not installed("faiss"):
        pytest.skip("it makes its clusters before it can refuse their number")
    call = {"vectors": X, "k": 3, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match=f"^{message}") as refused:
            setwise.select(call.pop("vectors"), call.pop("k"), **call)
    assert refused.type is error
    text = str(refused.value)
    assert "\n" not in text
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    "options",
    [
        {"diversty": 0.5},
        {"lambda_mult": 0.5},
        {"scale": "minmax"},
        {"top_k": 3},
        {"max_per_groups": 1},
    ],
)
def test_a_mistyped_keyword_is_refused(options):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{next(iter(options))}'"):
        setwise.select(X, 3, **options)


def test_options_are_keyword_only():
    with pytest.raises(TypeError, match="positional argument"):
        setwise.select(X, 3, R)
    with pytest.raises(TypeError, match="positional argument"):
        setwise.select_many(X, 3, R)


def test_refused_before_any_work(monkeypatch):
    """No solver is started for a call whose last argument is bad."""
    from setwise import api

    def never(*arguments):
        raise AssertionError("a solver was started")

    monkeypatch.setattr(api, "run", never)
    for options in ({"certify": "maybe"}, {"seed": -1}, {"threads": 0}, {"solver": "x"}, {"include": [99]}):
        with pytest.raises(ValueError, match=f"^{next(iter(options))}: "):
            setwise.select(X, 3, **options)


def test_the_end_of_the_kernels_rank_is_a_warning():
    with pytest.warns(
        UserWarning, match="log-det: only 3 of the 5 asked for are selected, the kernel's rank"
    ):
        sel = setwise.select(X, 5, relevance=R, objective="log-det", diversity=0.5)
    assert len(sel) == len(sel.gains) == 3
    assert np.isfinite(sel.gains).all()


def test_what_looks_odd_and_is_fine():
    """Integers of NumPy, a diversity of 0 and 1 as integers, a query as a row, labels as text."""
    assert len(setwise.select(X, np.int64(3), diversity=1)) == 3
    assert len(setwise.select(X, np.uint8(3), diversity=np.float32(0.5))) == 3
    assert len(setwise.select(X, 3, diversity=0, seed=np.int32(4), threads=np.int64(1))) == 3
    assert len(setwise.select(X, 3, query=X[:1])) == 3
    assert len(setwise.select(X, 3, groups=list("aabbccdd"), max_per_group=1)) == 3
    assert len(setwise.select(X, 3, include=())) == len(setwise.select(X, 3, include=np.array([], int))) == 3
    assert setwise.select(X, 3, certify=np.bool_(False)).certificate is None
