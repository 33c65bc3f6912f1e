"""Why each was chosen or left out: by trying every exchange, from every door."""

import itertools
import json

import numpy as np
import pytest

import setwise
from reference.objectives import max_sum_value, unit_rows

RNG = np.random.default_rng(5)
N = 14
X, R = RNG.standard_normal((N, 5)), RNG.random(N)
X[1] = X[0] + 0.01
E = unit_rows(X)


def test_changes_are_those_of_the_best_exchange():
    found = setwise.select(X, 4, relevance=R, diversity=0.4, certify=False)
    chosen = found.indices.tolist()
    why = found.explain(N)
    assert [one.member for one in why.chosen] == chosen
    assert sorted(one.member for one in why.left_out) == sorted(set(range(N)) - set(chosen))
    assert (np.diff([one.relevance for one in why.left_out]) <= 0).all()

    def value(rows):
        return max_sum_value(X, R, rows, 0.4)[0]

    for one in why:
        others = [row for row in chosen if row != one.member]
        near = {row: E[row] @ E[one.member] for row in others}
        assert one.nearest == max(near, key=near.get)
        assert one.similarity == pytest.approx(max(near.values()))
        assert one.relevance == pytest.approx(R[one.member])
        if one.chosen:
            best = max(value([*others, row]) for row in range(N) if row not in chosen)
        else:
            best = max(value([*(row for row in chosen if row != goes), one.member]) for goes in chosen)
        assert one.change == pytest.approx(best - value(chosen))
        assert one.barred == ""


def test_what_bars_is_named():
    labels = {"kind": (np.arange(N) % 2).tolist(), "part": (np.arange(N) // 5).tolist()}
    wishes = {"groups": labels, "limits": {"kind": 2, "part": (1, 2)}, "max_similarity": 0.9}
    found = setwise.select(X, 4, relevance=R, **wishes)
    chosen = set(found.indices.tolist())
    for one in found.explain(N).left_out:
        beside = any(E[one.member] @ E[row] > 0.9 for row in chosen)
        full = {
            name
            for name in labels
            if sum(labels[name][row] == labels[name][one.member] for row in chosen) == 2
        }
        assert one.barred.startswith("max_similarity") == beside
        if not beside:
            assert (one.barred == "") == (not full)
            assert all(name in one.barred for name in list(full)[:1] if "kind" not in full)
    spent = setwise.select(X, relevance=R, costs=np.arange(1, N + 1), budget=20)
    assert any(one.barred.startswith("the budget, of which ") for one in spent.explain(N).left_out)


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det", "coverage", "max-min", "facets"])
def test_every_objective_explains(objective):
    more = {"facets": X[[5, 6]]} if objective == "facets" else {}
    why = setwise.select(X, 4, relevance=R, objective=objective, include=[3], **more).explain(5)
    assert len(why) == 9
    assert str(why).count("\n") == 10
    assert json.loads(json.dumps(why.to_dict()))["chosen"][0]["member"] == 3
    assert why.chosen[0].change is None  # it must be in the set


def test_ids_are_named_at_every_door():
    names = [f"d{row}" for row in range(N)]
    why = setwise.diversify(names, 4, relevance=R, vectors=X).explain(3)
    assert {one.member for one in why} <= set(names)
    assert {one.nearest for one in why} <= {one.member for one in why.chosen}
    hits = setwise.retrieve(X[2], setwise.Index.from_array(X), 4)
    assert [one.member for one in hits.explain().chosen] == hits.ids.tolist()
    second = hits.next()
    assert [one.member for one in second.explain().chosen] == second.ids.tolist()


def test_ids_are_named_where_an_index_returns_a_part():
    """Candidates of a search stand elsewhere than in the index."""
    rng = np.random.default_rng(0)
    many = rng.standard_normal((1500, 8))
    index = setwise.Index.from_array(many)
    for options in (
        {},
        {"objective": "mmr"},
        {"solver": "greedy"},
        {"exclude": [2]},
        {"max_similarity": 0.9},
    ):
        hits = setwise.retrieve(many[2], index, 4, **options)
        why = hits.explain(3)
        assert [one.member for one in why.chosen] == hits.ids.tolist(), options
        assert not {one.member for one in why.left_out} & set(hits.ids.tolist())
        cosines = many @ many[2] / np.linalg.norm(many, axis=1) / np.linalg.norm(many[2])
        for one in why:
            assert one.relevance == pytest.approx(cosines[one.member]), options


def test_a_table_and_what_is_not_known():
    pandas = pytest.importorskip("pandas")
    found = setwise.select(X, 4, relevance=R)
    table = found.explain(5).to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert table["chosen"].tolist() == [True] * 4 + [False] * 5
    with pytest.raises(ValueError, match="most: -1 is below 0"):
        found.explain(-1)
    pickle = pytest.importorskip("pickle")
    with pytest.raises(ValueError, match="^explain: the candidates of this selection are not known"):
        pickle.loads(pickle.dumps(found)).explain()


def test_sets_of_one_and_of_all():
    assert setwise.select(X, 1, relevance=R).explain(2).chosen[0].nearest is None
    assert setwise.select(X, N, relevance=R).explain().left_out == []
    assert not list(itertools.islice(setwise.select(X, 3, relevance=R, min_gain=9).explain(0), 1))


def test_what_must_be_in_a_set_of_any_size_cannot_be_left_out():
    X = np.random.default_rng(3).standard_normal((9, 4))
    options = {"relevance": np.linspace(1, 0, 9), "costs": np.ones(9)}
    for include in ([8], [2, 8]):
        sel = setwise.select(X, None, budget=len(include) + 1.0, include=include, **options)
        change = {why.member: why.change for why in sel.explain(9).chosen}
        assert [change[row] for row in include] == [None] * len(include)
        (other,) = set(sel.indices.tolist()) - set(include)
        less = setwise.select(X, None, budget=float(len(include)), include=include, **options)
        assert less.indices.tolist() == include
        assert change[other] < 0
