"""Pictures of a set: the numbers behind them against definitions, and that they are drawn."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from tests.optional import needs

import setwise
from setwise.pictures import Axes, instead


@pytest.fixture
def sel():
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((90, 6))
    vectors[1:9] = vectors[0] + 0.05 * rng.standard_normal((8, 6))
    return setwise.select(vectors, 5, query=vectors[0], diversity=0.5)


@pytest.mark.parametrize("shape", [(30, 5), (5, 30), (1, 3), (4, 1)])
def test_a_map_is_that_of_the_singular_value_decomposition(shape):
    rows = np.random.default_rng(0).standard_normal(shape)
    axes = Axes.of(rows)
    places, share = axes.places(rows), axes.share
    centered = rows - rows.mean(axis=0)
    left, values, _ = np.linalg.svd(centered, full_matrices=False)
    wanted = np.zeros((len(rows), 2))
    wanted[:, : min(2, len(values))] = (left * values)[:, :2]
    assert np.allclose(np.abs(places), np.abs(wanted), atol=1e-9)
    assert np.allclose(places @ places.T, wanted @ wanted.T, atol=1e-9)
    for axis in range(2):
        assert places[np.abs(places[:, axis]).argmax(), axis] >= 0
        part = values[axis] ** 2 / (values**2).sum() if axis < len(values) and values[axis] > 1e-9 else 0.0
        assert share[axis] == pytest.approx(part)


def test_pairs_are_as_alike_as_can_be():
    likeness = np.random.default_rng(0).random((4, 3))
    found = instead(np.arange(4), np.arange(10, 13), likeness)
    best = max(
        sum(likeness[new, old] for old, new in enumerate(order))
        for order in itertools.permutations(range(4), 3)
    )
    assert sum(likeness[new, old - 10] for new, old in found) == pytest.approx(best)
    assert instead(np.arange(0), np.arange(3), np.empty((0, 3))) == []


def test_the_numbers_of_a_map(sel):
    shown = sel.reasoner.map()
    vectors = sel.reasoner.problem.vectors
    relevance = vectors.rows(np.arange(90), np.float64) @ vectors.rows(np.array([0]), np.float64)[0]
    assert shown.places.shape == (90, 2)
    assert shown.chosen.tolist() == shown.names == list(sel)
    assert set(shown.ranked.tolist()) == set(np.argsort(-relevance)[:5].tolist())
    came, gone = {one for one, _ in shown.came}, {one for _, one in shown.came}
    assert came == set(sel) - set(shown.ranked.tolist())
    assert gone == set(shown.ranked.tolist()) - set(sel)
    assert came


def test_the_numbers_of_likeness(sel):
    shown = sel.reasoner.similarity()
    rows = sel.reasoner.problem.vectors.rows(sel.indices, np.float64)
    assert np.allclose(shown.after, rows @ rows.T)
    off = ~np.eye(5, dtype=bool)
    assert shown.after[off].mean() == pytest.approx(1 - sel.diversity)
    assert shown.before[off].mean() > shown.after[off].mean()


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det", "coverage"])
def test_a_frontier_is_that_of_selecting_again(objective):
    rng = np.random.default_rng(2)
    vectors, relevance = rng.standard_normal((50, 5)), rng.random(50)
    wishes = {"relevance": relevance, "objective": objective, "exclude": [3], "include": [7]}
    shown = setwise.select(vectors, 4, diversity=0.4, **wishes).reasoner.frontier([0.0, 0.4, 0.9])
    for diversity, relevant, spread in zip([0.0, 0.4, 0.9], shown.relevance, shown.spread, strict=True):
        again = setwise.select(vectors, 4, diversity=diversity, certify=False, **wishes)
        assert (relevant, spread) == pytest.approx((again.relevance, again.diversity))
    assert shown.here == pytest.approx((0.4, shown.relevance[1], shown.spread[1]))


@needs("matplotlib")
def test_pictures_are_drawn(sel, tmp_path):
    for kind, panels in (("map", 1), ("similarity", 3), ("frontier", 1)):
        figure = sel.plot(kind)
        assert len(figure.axes) == panels
        figure.savefig(tmp_path / f"{kind}.png")
        assert (tmp_path / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
    assert sel.plot("map", axes=figure.axes[0]) is figure
    assert [line.get_xydata().shape for line in sel.plot("frontier", diversities=[0, 1]).axes[0].lines] == [
        (2, 2)
    ]


@needs("matplotlib")
def test_names_in_a_picture_are_no_mathematics():
    ids = np.array([f"$\\frac{{{n}" for n in range(20)], object)
    vectors = np.random.default_rng(0).standard_normal((20, 4))
    shown = setwise.diversify(ids, 3, vectors=vectors, relevance=np.linspace(0, 1, 20)).plot()
    shown.canvas.draw()
    assert ids[19] in [text.get_text() for text in shown.axes[0].texts]


@needs("matplotlib")
def test_what_cannot_be_drawn_is_refused(sel):
    with pytest.raises(ValueError, match="kind: .*'maps'.*map"):
        sel.plot("maps")
    with pytest.raises(ValueError, match="plot: the candidates of this selection are not known"):
        pickle.loads(pickle.dumps(sel)).plot()
    with pytest.raises(ValueError, match="axes: expected 2 to draw in, got 1"):
        sel.plot("similarity", axes=sel.plot().axes[0])
    own = setwise.select(
        np.eye(4), 2, relevance=[0.1, 0.2, 0.3, 0.4], objective=setwise.objectives.MaxSum(0.5)
    )
    with pytest.raises(ValueError, match="plot: an objective of your own has its diversity itself"):
        own.plot("frontier")
