"""A catalog's sets for other objectives than max-sum, and with wishes: what `select` says of the same."""

import numpy as np
import pyarrow as pa
import pytest

import setwise
from setwise.objectives import MaxSum

RNG = np.random.default_rng(4)
N = 90
X, Q = RNG.standard_normal((N, 6)).astype(np.float32), RNG.random(N)
IDS = np.array([f"s{row}" for row in range(N)])
COLUMNS = {
    "shop": (np.arange(N) // 6).tolist(),
    "price": RNG.integers(1, 9, N).tolist(),
    "battery": RNG.random(N).tolist(),
    "screen": RNG.random(N).tolist(),
}
NUMBERS = np.column_stack([COLUMNS["battery"], COLUMNS["screen"]])

#: What is asked of the catalog, and what is asked of `select` in its rows' terms.
ASKED = {
    "max-min": ({"objective": "max-min", "diversity": 0.5}, {}),
    "max-min, all wishes": (
        {
            "objective": "max-min",
            "limits": {"shop": 1},
            "costs": "price",
            "budget": 30,
            "max_similarity": 0.8,
            "shown": ["s3", "s4"],
            "include": ["s8"],
        },
        {
            "groups": {"shop": COLUMNS["shop"]},
            "costs": COLUMNS["price"],
            "shown": X[[3, 4]],
            "include": [8],
            "exclude": [3, 4],
        },
    ),
    "max-min, exactly": ({"objective": "max-min", "method": "exact"}, {"solver": "exact"}),
    "facets by columns": (
        {"objective": "facets", "facets": ["battery", "screen"], "exclude": ["s5"]},
        {"facets": NUMBERS, "exclude": [5]},
    ),
    "facets by vectors, filtered": (
        {"objective": "facets", "facets": X[:3], "filter": "price > 3", "limits": {"shop": (0, 2)}},
        {"groups": {"shop": COLUMNS["shop"]}, "exclude": np.flatnonzero(np.array(COLUMNS["price"]) <= 3)},
    ),
    "facets by a column and numbers": (
        {"objective": "facets", "facets": {"battery": "battery", "own": NUMBERS[:, 1]}, "min_gain": 0.1},
        {"facets": NUMBERS},
    ),
    "mmr": ({"objective": "mmr", "exclude": ["s0"]}, {"exclude": [0]}),
    "log-det": (
        {"objective": "log-det", "costs": dict(zip(IDS, COLUMNS["price"], strict=True)), "budget": 20},
        {"costs": COLUMNS["price"]},
    ),
    "coverage": ({"objective": "coverage"}, {}),
    "a budget": (
        {"costs": "price", "budget": 25, "sharpness": 8, "diversity": 0.5},
        {"costs": COLUMNS["price"]},
    ),
    "an object": ({"objective": MaxSum(0.4, sharpness=2), "shown": X[:2] + 0.1, "shown_weight": 0.5}, {}),
}


@pytest.fixture(scope="module")
def catalog():
    return setwise.Catalog.build(X, Q, clusters=6, ids=IDS, fields=pa.table(COLUMNS))


@pytest.mark.parametrize("name", ASKED)
def test_a_catalog_selects_what_select_does(catalog, name):
    asked, rows = ASKED[name]
    asked = asked if name == "an object" else {"diversity": 0.3, **asked}
    sel = catalog.select(7, certify=True, **asked)
    same = {key: value for key, value in asked.items() if key not in ("method", "filter")} | rows
    plain = setwise.select(X, 7, relevance=Q, certify=True, **same)
    assert sel.ids.tolist() == IDS[plain.indices].tolist()
    assert sel.value == pytest.approx(plain.value, abs=1e-12)
    if plain.certificate.upper_bound is not None:
        assert sel.certificate.upper_bound == pytest.approx(plain.certificate.upper_bound, abs=1e-9)
    assert sel.method == {"moves": "frank-wolfe+swap"}.get(plain.solver, plain.solver)
    if asked.get("method") != "exact":
        for each in catalog.select_many(7, relevance=np.stack([Q, Q]), certify=True, **asked):
            assert each.ids.tolist() == sel.ids.tolist()
            assert each.method == sel.method


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "muss"}, ValueError, "method: 'muss' is for max-sum; leave it out for max-min"),
        ({"method": "k-dpp"}, ValueError, "method: 'k-dpp' is not for max-min; use one of auto, greedy, "),
        ({"criterion": "min"}, ValueError, "criterion: it is of max-sum"),
        ({"workers": 2}, ValueError, "workers: "),
        ({"min_gain": 0.1}, ValueError, "min_gain: max-min cannot honor it"),
        ({"method": "random", "shown": ["s1"]}, ValueError, "shown: the 'random' method cannot honor it; "),
        ({"shown": ["s1"], "include": ["s1"]}, ValueError, "include: 's1' is in shown, too"),
        ({"shown": ["x"]}, KeyError, "\"shown: 'x' is not in the catalog"),
        ({"costs": "prize", "budget": 3}, ValueError, "costs: the catalog has no column 'prize'"),
        ({"costs": {"s1": 2}, "budget": 3}, ValueError, "costs: no number for 's0'"),
        ({"objective": "facets", "facets": ["size"]}, ValueError, r"facets\['size'\]: the catalog has no"),
        ({"objective": MaxSum(0.3, metric="euclidean")}, ValueError, "objective: it measures euclidean, the"),
    ],
)
def test_what_a_catalog_cannot_do_is_refused_in_its_own_words(catalog, options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        catalog.select(7, **{"objective": "max-min", **options})
    if not {"criterion", "workers"} & set(options):
        with pytest.raises(error, match=f"^{message}"):
            catalog.select_many(7, queries=X[:2], **{"objective": "max-min", **options})


def test_the_exact_method_names_itself_where_it_cannot_search():
    many = setwise.Catalog.build(RNG.random((200, 3)) + 0.1, RNG.random(200), clusters=3)
    with pytest.raises(ValueError, match="^method: 'exact' can search 192 candidates, got 200; use 'auto'"):
        many.select(5, objective="max-min", method="exact")
