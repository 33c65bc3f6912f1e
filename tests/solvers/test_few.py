"""Where few sets are left, each is looked at."""

import itertools

import numpy as np
import pytest

from setwise.solvers import few


def test_it_is_the_best_of_every_set(monkeypatch):
    rng = np.random.default_rng(0)
    for _ in range(150):
        m = int(rng.integers(2, 10))
        k = int(rng.integers(1, m))
        rows = rng.standard_normal((m, 3))
        rows /= np.linalg.norm(rows, axis=1)[:, None]
        distances = 1 - (rows @ rows.T) ** int(rng.choice([1, 2, 8]))
        np.fill_diagonal(distances, 0.0)
        linear, weight = rng.random(m) * rng.choice([0.0, 0.1, 5.0]), rng.random()
        values = {
            chosen: linear[list(chosen)].sum() + weight * distances[np.ix_(chosen, chosen)].sum()
            for chosen in itertools.combinations(range(m), k)
        }
        best, some = max(values.values()), values[tuple(sorted(rng.permutation(m)[:k].tolist()))]
        chosen, proven = few.best_set(linear, distances, weight, k, some + 1e-12, 1e-12)
        assert proven
        found = some if chosen is None else values[tuple(chosen.tolist())]
        assert found == pytest.approx(best, abs=2e-12)
    monkeypatch.setattr(few, "PARTS", 3)
    assert few.best_set(np.zeros(8), 1.0 - np.eye(8), 0.5, 4, 0.0, 1e-12) == (None, False)


def test_equal_sets_go_by_position():
    distances = 1.0 - np.eye(6)
    chosen, _ = few.best_set(np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0]), distances, 0.5, 2, 0.0, 1e-12)
    assert chosen.tolist() == [0, 2]
    chosen, _ = few.best_set(np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0]), distances, 0.5, 5, 0.0, 1e-12)
    assert chosen.tolist() == [0, 2, 3, 4, 5]
