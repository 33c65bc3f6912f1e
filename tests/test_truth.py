"""The benchmark's labelled sets: what is said where a file is missing, and what is made of small ones."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

SOURCE = Path(__file__).resolve().parents[1] / "benchmarks" / "truth.py"


@pytest.fixture(scope="module")
def truth():
    spec = importlib.util.spec_from_file_location("truth_of_benchmarks", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


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
