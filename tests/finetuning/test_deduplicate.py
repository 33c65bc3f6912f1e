"""Near-duplicates against brute force within clusters; exact copies wherever they are."""

import numpy as np
import pytest

from reference.objectives import unit_rows
from setwise.finetuning import Distribution, copies
from setwise.finetuning import deduplicate as module
from setwise.finetuning.deduplicate import deduplicate


def families(rng, groups=60, most=5, d=16, noise=0.02):
    """Rows in groups of near-duplicates, shuffled, and each row's group."""
    centers = unit_rows(rng.standard_normal((groups, d)))
    sizes = rng.integers(1, most + 1, groups)
    labels = np.repeat(np.arange(groups), sizes)
    X = unit_rows(centers[labels] + noise * rng.standard_normal((len(labels), d)))
    order = rng.permutation(len(X))
    return X[order].astype(np.float32), labels[order]


def plain(X, eps, order):
    """Visit rows in an order; drop a row if a kept one is more similar than 1 - eps. All pairs, float64."""
    E = unit_rows(X)
    kept, leader = [], np.arange(len(X))
    for row in order:
        close = [(float(E[row] @ E[one]), one) for one in kept]
        best = max(close, default=(-1.0, -1), key=lambda pair: pair[0])
        if best[0] > 1 - eps:
            leader[row] = best[1]
        else:
            kept.append(row)
    return np.sort(kept), leader


def check(found, X, eps):
    """What holds for any result: fixed points, no dropped row without a kept one that close."""
    E = unit_rows(X)
    assert found.representative.shape == (len(X),)
    np.testing.assert_array_equal(found.kept, np.unique(found.representative))
    np.testing.assert_array_equal(found.representative[found.kept], found.kept)
    close = np.vecdot(E, E[found.representative])
    assert (close > 1 - max(eps, 1e-6) - 1e-6).all()


@pytest.mark.parametrize("eps", [0.002, 0.02, 0.3])
def test_equals_brute_force_over_all_pairs(rng, eps):
    X, _ = families(rng)
    found = deduplicate(X, eps=eps, keep="first", clusters=1)
    kept, leader = plain(X, eps, range(len(X)))
    np.testing.assert_array_equal(found.kept, kept)
    np.testing.assert_array_equal(found.representative, leader)
    assert 1 < len(kept) < len(X)


@pytest.mark.parametrize("keep", ["far", "near", "first"])
@pytest.mark.parametrize("clusters", [1, 4])
def test_equals_brute_force_within_clusters_and_keeps_the_row_asked_for(rng, monkeypatch, keep, clusters):
    monkeypatch.setattr(module, "_BLOCK", 7)  # a cluster takes many blocks
    X, _ = families(rng)
    seen = {}
    parted = module._parted
    monkeypatch.setattr(module, "_parted", lambda *given: seen.setdefault("labels", parted(*given)))
    found = deduplicate(X, eps=0.02, keep=keep, clusters=clusters)
    labels, away = seen["labels"]
    E = unit_rows(X)
    center = np.stack([unit_rows(E[labels == one].mean(axis=0)[None])[0] for one in range(clusters)])
    np.testing.assert_allclose(away, 1 - np.vecdot(E, center[labels]), atol=0.02)
    assert len(np.unique(labels)) == clusters
    leader = np.arange(len(X))
    for one in range(clusters):
        members = np.flatnonzero(labels == one)
        key = {"far": -away, "near": away, "first": 0 * away}[keep][members]
        order = members[np.argsort(key, kind="stable")]
        _, local = plain(X[order], 0.02, range(len(order)))
        leader[order] = order[local]
    np.testing.assert_array_equal(found.representative, leader)
    check(found, X, 0.02)


def test_no_two_kept_rows_are_near_duplicates_and_each_group_keeps_one(rng):
    X, labels = families(rng, noise=0.005)
    found = deduplicate(X, eps=0.02)
    G = unit_rows(X[found.kept]) @ unit_rows(X[found.kept]).T
    assert (G - 2 * np.eye(len(G))).max() <= 0.98 + 1e-6
    assert len(found.kept) == len(np.unique(labels))
    np.testing.assert_array_equal(labels[found.representative], labels)
    sizes = np.bincount(labels)
    assert sorted(map(len, found.groups)) == sorted(sizes[sizes > 1].tolist())
    for rows in found.groups:
        assert rows[0] in found.kept
        assert len(set(labels[rows])) == 1
        assert rows[1:].tolist() == sorted(rows[1:].tolist())


def test_a_chain_keeps_a_row_close_to_each_dropped_one():
    angles = np.deg2rad([0, 5, 10, 15, 20])
    X = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = deduplicate(X, eps=1 - np.cos(np.deg2rad(6)), keep="first")
    assert found.kept.tolist() == [0, 2, 4]
    check(found, X, 1 - np.cos(np.deg2rad(6)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_exact_copies_are_found_across_clusters(rng, dtype):
    X = (rng.standard_normal((300, 8)) * 20).astype(dtype)
    X[X.any(axis=1) == 0] = 1
    copies = rng.integers(300, size=100)
    Y = np.vstack([X, X[copies]])
    found = deduplicate(Y, eps=0.0, clusters=40)
    assert found.exact == len(Y) - len(np.unique(Y, axis=0))
    _, first, inverse = np.unique(Y, axis=0, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(found.representative, first[inverse.ravel()])
    assert f"dropped {found.exact} exact and 0 near" in repr(found)


def test_rows_that_share_a_hash_are_compared(rng, monkeypatch):
    monkeypatch.setattr(copies, "_hash", lambda words: np.zeros(len(words), np.uint64))
    X = rng.standard_normal((50, 4))
    assert deduplicate(X, eps=0.0).exact == 0
    assert deduplicate(np.vstack([X, X[:1]]), eps=0.0).representative[50] == 0


def test_minus_zero_is_zero_and_a_multiple_is_a_near_copy():
    X = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    found = deduplicate(X, eps=0.01, keep="first")
    assert found.representative.tolist() == [0, 0, 0, 3]
    assert found.exact == 1


def test_copies_by_the_thousand_do_not_hide_the_rest(rng):
    X, _ = families(rng, groups=200, most=2, noise=0.003)
    many = np.vstack([X, np.repeat(X[:3], 2000, axis=0)])
    found = deduplicate(many, eps=0.01, clusters=10)
    assert found.exact == 6000
    alone = deduplicate(X, eps=0.01, clusters=1)
    # Pairs on the border of two clusters may be missed; nothing else may differ.
    assert set(alone.kept) <= set(found.kept) | set(alone.representative[found.kept])
    assert len(found.kept) <= len(alone.kept) * 1.1
    check(found, many, 0.01)


def test_reordering_rows_keeps_the_same(rng):
    X, _ = families(rng)
    order = rng.permutation(len(X))
    X = np.asarray(X, np.float64)
    one, two = deduplicate(X, eps=0.02), deduplicate(X[order], eps=0.02)
    assert sorted(order[two.kept].tolist()) == one.kept.tolist()


def test_by_default_many_rows_are_parted_and_few_are_not(rng, monkeypatch):
    counts = []
    parted = module._parted
    monkeypatch.setattr(
        module,
        "_parted",
        lambda rows, ids, count, seed: counts.append(count) or parted(rows, ids, count, seed),
    )
    X = rng.standard_normal((600, 8))
    deduplicate(X)
    monkeypatch.setattr(module, "ALL_PAIRS", 500)
    deduplicate(X)
    assert counts == [1, 24]


def test_a_memory_map_and_the_same_seed_give_the_same(rng, tmp_path):
    X, _ = families(rng)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    one, two = deduplicate(X, clusters=5, seed=3), deduplicate(mapped, clusters=5, seed=3)
    np.testing.assert_array_equal(one.representative, two.representative)


def test_a_distribution_over_kept_rows_becomes_one_over_all(rng):
    X, _ = families(rng)
    found = deduplicate(X, eps=0.02)
    weights = rng.random(len(found.kept))
    whole = found.restore(Distribution.over(weights))
    assert whole.n == len(X)
    np.testing.assert_allclose(whole.dense()[found.kept], weights / weights.sum())
    assert set(whole.sample(100)) <= set(found.kept)
    with pytest.raises(ValueError, match=r"match vectors\[kept\]"):
        found.restore(Distribution.over(np.ones(len(X))))


def test_one_row():
    found = deduplicate(np.ones((1, 3)))
    assert found.kept.tolist() == [0]
    assert found.groups == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eps": -0.1}, "eps"),
        ({"eps": 1.5}, "eps"),
        ({"eps": float("nan")}, "eps"),
        ({"keep": "last"}, "keep: 'last' is unknown"),
        ({"clusters": 0}, "clusters: 0 is below 1"),
        ({"clusters": 11}, "clusters: 11 is above 10"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_parameters_are_named(rng, given, message):
    with pytest.raises(ValueError, match=message):
        deduplicate(rng.standard_normal((10, 3)), **given)


def test_bad_rows_are_named(rng):
    X = rng.standard_normal((10, 3))
    X[4] = 0
    with pytest.raises(ValueError, match="row 4"):
        deduplicate(X)
    X[4, 0] = np.nan
    with pytest.raises(ValueError, match="row 4"):
        deduplicate(X)
