"""The quality benchmark: loading its sets, and what is said where one is missing; its statistics."""

import json
from pathlib import Path

import numpy as np
import pytest

import setwise
from benchmark_modules import part

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def truth():
    return part("truth")


@pytest.fixture(scope="module")
def evidence():
    return part("evidence")


@pytest.fixture(scope="module")
def quality():
    return part("quality")


def write_lines(path, entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), encoding="utf-8"
    )


def test_every_set_says_which_file_is_missing(truth, tmp_path):
    for name in truth.SETS:
        with pytest.raises(truth.AbsentError, match=r"no such file; pass --data FOLDER") as caught:
            truth.load(name, tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_that_is_a_file_is_missing_too(truth, tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(truth.AbsentError, match="no such file"):
        truth.load("perspectrum", tmp_path / "data")


def test_vectors_missing_beside_the_texts(truth, tmp_path):
    write_lines(tmp_path / "perspectrum" / "perspectives.jsonl", [{"pid": 5, "text": "a"}])
    with pytest.raises(truth.AbsentError, match=r"minilm_perspectives\.npy: no such file"):
        truth.load("perspectrum", tmp_path)


def test_unknown_set(truth, tmp_path):
    with pytest.raises(ValueError, match="set: 'trec' is unknown"):
        truth.load("trec", tmp_path)


def test_perspectrum_rows_and_clusters(truth, tmp_path):
    place = tmp_path / "perspectrum"
    # a line separator inside a text is no end of line
    write_lines(place / "perspectives.jsonl", [{"pid": pid, "text": "a\u2028b"} for pid in (7, 3, 9, 4)])
    clusters = [{"pids": [9]}, {"pids": [3, 7]}, {"pids": [4, 4]}]
    claims = [
        {"cid": 1, "text": "several", "clusters": clusters},
        {"cid": 2, "text": "few", "clusters": clusters[:2]},
    ]
    write_lines(place / "claims.jsonl", claims)
    np.save(place / "minilm_perspectives.npy", np.arange(1, 9, dtype=np.float16).reshape(4, 2))
    np.save(place / "minilm_claims.npy", np.eye(2, dtype=np.float16))
    several = truth.load("perspectrum", tmp_path)
    (question,) = several.questions
    assert [rows.tolist() for rows in question.aspects] == [[2], [0, 1], [3]]
    assert question.pool is None
    assert question.vector.tolist() == [1, 0]
    np.testing.assert_allclose(np.linalg.norm(several.vectors, axis=1), 1, atol=1e-6)
    (question,) = truth.load("perspectrum-few", tmp_path).questions
    assert (question.text, len(question.aspects), question.vector.tolist()) == ("few", 2, [0, 1])


def test_argkp_takes_one_side_of_a_topic(truth, tmp_path):
    place = tmp_path / "argkp2021"
    sides = [(1, ["x"]), (-1, ["y"]), (1, []), (1, ["x", "z"])]
    write_lines(
        place / "arguments.jsonl",
        [{"topic": "t", "stance": stance, "text": "a", "key_points": points} for stance, points in sides],
    )
    (place / "topics.json").write_text('["t"]', encoding="utf-8")
    np.save(place / "minilm_arguments.npy", np.ones((4, 2), np.float16))
    np.save(place / "minilm_topics.npy", np.ones((1, 2), np.float16))
    first, second = truth.load("argkp2021", tmp_path).questions
    assert (first.pool.tolist(), [rows.tolist() for rows in first.aspects]) == ([0, 2, 3], [[0, 3], [3]])
    assert (second.pool.tolist(), [rows.tolist() for rows in second.aspects]) == ([1], [[1]])
    assert first.group == second.group == "t"


# ---------------------------------------------------------------------- statistics


def measured_set(evidence, differences, groups, random=0.0):
    """A set on which top-k finds half of all answers; `differences` (diversities, questions) come on top."""
    top = np.full((1, len(groups), 6), 0.5)
    others = np.full((len(differences), len(groups), 6), 0.5)
    others[:, :, :2] += np.asarray(differences)[:, :, None]
    drawn, best = np.full_like(top, random), np.ones_like(top)
    return evidence.Measured(
        name="made",
        about="made",
        k=10,
        configurations=[(label, None) for label in evidence.BASELINES]
        + [("auto", round(0.1 * (step + 1), 1)) for step in range(len(differences))],
        values=np.concatenate([top, drawn, best, others]),
        groups=np.asarray(groups),
        proven={},
    )


def test_intervals_are_those_of_the_mean(evidence, rng):
    """With many questions the bootstrap agrees with the normal interval."""
    values = rng.standard_normal((2, 400, 3)) + 0.2
    low, high = evidence.intervals(values, np.arange(400))
    half = 1.96 * values.std(axis=1, ddof=1) / 20
    np.testing.assert_allclose(low, values.mean(axis=1) - half, atol=0.02)
    np.testing.assert_allclose(high, values.mean(axis=1) + half, atol=0.02)


def test_intervals_draw_whole_groups(evidence, rng):
    """Each question counted four times over tells no more than once."""
    values = rng.standard_normal((1, 100, 2))
    once = evidence.intervals(values, np.arange(100))
    again = evidence.intervals(np.repeat(values, 4, axis=1), np.repeat(np.arange(100), 4))
    np.testing.assert_allclose(once, again, atol=1e-12)


def test_halves_part_whole_groups(evidence):
    groups = np.repeat(np.arange(7), 3)
    for seed in range(5):
        first, second = evidence.halves(groups, seed)
        assert not (first & second).any()
        assert (first | second).all()
        assert not set(groups[first]) & set(groups[second])
        assert len(set(groups[first])) == 4


def test_the_choice_harms_nowhere(evidence, rng):
    noise = rng.normal(0, 0.05, 60)
    helps = measured_set(evidence, [0.05 + noise, 0.20 + noise, 0.30 + noise], np.arange(60))
    harms = measured_set(evidence, [0.01 + noise, 0.0 + noise, -0.10 + noise], np.arange(60))
    every = [np.ones(60, bool)] * 2
    best, gains = evidence.choose([helps, harms], "auto", every)
    assert best == 0.2
    assert set(gains) == {0.0, 0.1, 0.2}
    assert evidence.choose([harms], "auto", every[:1])[0] == 0.1
    down = measured_set(evidence, [-0.2 + noise], np.arange(60))
    assert evidence.choose([down], "auto", every[:1]) == (0.0, {0.0: 0.0})


def test_a_set_where_random_does_as_well_counts_for_harm_alone(evidence, rng):
    noise = rng.normal(0, 0.05, 60)
    idle = measured_set(evidence, [0.3 + noise, 0.4 + noise, -0.3 + noise], np.arange(60), random=0.6)
    plain = measured_set(evidence, [0.02 + noise, 0.01 + noise, 0.30 + noise], np.arange(60))
    best, gains = evidence.choose([idle, plain], "auto", [np.ones(60, bool)] * 2)
    assert best == 0.1
    assert gains[0.1] == pytest.approx(0.02 + noise.mean())
    assert 0.3 not in gains


def test_frontier(evidence):
    made = measured_set(evidence, [[0.1, 0.1], [0.2, 0.2], [0.15, 0.15]], [0, 1])
    made.values[3:, :, 2] = np.array([0.6, 0.55, 0.5])[:, None]  # ILAD; top-k's is 0.5
    assert evidence.frontier(made, 0) == [("auto", 0.1), ("auto", 0.2)]


# ---------------------------------------------------------------------- baselines and proofs


def test_oracle_covers_before_it_repeats(truth, quality):
    aspects = tuple(np.array(rows) for rows in ([3, 4], [4, 5], [9]))
    question = truth.Question("q", "g", np.ones(2, np.float32), aspects)
    ids = np.array([0, 5, 3, 4, 9, 7, 1])
    # 4 gives two answers, 9 the third; 5 and 3 repeat one each, in order of relevance
    assert quality.oracle(question, ids, 5).tolist() == [4, 9, 5, 3, 0]


def test_a_pool_said_to_suffice_does(quality, rng):
    """Where it is said that no outsider helps, no exchange with any raises the value."""
    said = 0
    for _ in range(60):
        E = rng.standard_normal((60, 6))
        E /= np.linalg.norm(E, axis=1, keepdims=True)
        relevance = E @ E[0]
        order = np.argsort(-relevance)
        E, relevance = E[order], relevance[order]
        t = float(rng.uniform(0.05, 0.6))
        goal = setwise.objectives.MaxSum(t, sharpness=8)
        chosen = setwise.select(E[:20], 4, query=E[0], diversity=t, sharpness=8).indices
        if not quality.sufficient(E[chosen], E[0], relevance[19], t, 8):
            continue
        said += 1
        value = goal.terms(E[chosen], relevance[chosen]).value
        for place in range(4):
            for other in range(20, 60):
                tried = chosen.copy()
                tried[place] = other
                assert goal.terms(E[tried], relevance[tried]).value <= value + 1e-9
    assert said > 10
    assert not quality.sufficient(E[:4], E[0], -1.0, 0.1, 1)
