"""A catalog's selection with limits: kept by the methods that can, refused by the others."""

import numpy as np
import pyarrow as pa
import pytest

import setwise

RNG = np.random.default_rng(2)
N = 120
X, Q = RNG.standard_normal((N, 8)).astype(np.float32), RNG.random(N)
IDS = np.arange(N) * 3
SHOP, KIND = (np.arange(N) // 6).tolist(), [("a", "b", "c")[row % 3] for row in range(N)]


@pytest.fixture(scope="module")
def catalog():
    fields = pa.table({"shop": SHOP, "kind": KIND})
    return setwise.Catalog.build(X, Q, clusters=6, ids=IDS, fields=fields)


@pytest.mark.parametrize("method", ["auto", "frank-wolfe+swap", "greedy"])
def test_limits_are_kept(catalog, method):
    sel = catalog.select(12, method=method, limits={"shop": 1, "kind": (3, 5)}, exclude=[3], certify=True)
    rows = (sel.ids // 3).tolist()
    assert len({SHOP[row] for row in rows}) == 12
    assert all(3 <= [KIND[row] for row in rows].count(kind) <= 5 for kind in "abc")
    assert 1 not in rows
    assert sel.certificate.upper_bound >= sel.value
    plain = setwise.select(X, 12, relevance=Q, diversity=0.1, exclude=[1], certify="full")
    assert sel.value <= plain.certificate.upper_bound
    assert [one.member for one in sel.explain(2).chosen] == sel.ids.tolist()


def test_labels_by_hand_and_one_group(catalog):
    sel = catalog.select(9, groups=SHOP, max_per_group=1)
    assert len({SHOP[row] for row in (sel.ids // 3).tolist()}) == 9
    near = catalog.select(6, max_similarity=0.3)
    E = X / np.linalg.norm(X, axis=1, keepdims=True)
    among = E[near.ids // 3] @ E[near.ids // 3].T
    assert among[~np.eye(6, dtype=bool)].max() <= 0.3 + 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "muss", "limits": {"kind": (1, 9)}}, "limits: the 'muss' method cannot honor it; use"),
        ({"method": "k-dpp", "max_similarity": 0.9}, "max_similarity: "),
        ({"limits": {"colour": 1}}, "limits\\['colour'\\]: the catalog has no column 'colour'"),
        ({"groups": SHOP[:5], "max_per_group": 1}, "groups: expected 120 labels, one an item, got 5"),
        ({"limits": {"kind": (9, 9)}}, "limits: kind: 27 candidates must be in a set of k = 12"),
    ],
)
def test_what_cannot_be_kept_is_refused(catalog, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        catalog.select(12, **options)
