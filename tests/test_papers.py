"""The scripts of the papers' tables: the sets' published layouts, tiny runs, and the page from them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from benchmark_modules import part
from optional import needs

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def sets():
    return part("papers.sets")


def passages(folder):
    with (folder / "psgs_w100.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["id", "text", "title"])
        writer.writerow([1, "A spy film of 1962 with Sean Connery.", "Dr. No"])
        writer.writerow([2, 'The "second" one, also with Connery.', "From Russia with Love"])
        writer.writerow([3, "It says Goldfinger\tand more, in 1964.", "Goldfinger (film)"])


def test_qampari_as_published(sets, tmp_path):
    passages(tmp_path)
    listed = [("Dr. No", ["Dr No"]), ("From Russia With Love", []), ("Never made", [])]
    entry = {
        "qid": "1__wikidata_simple__dev",
        "question_text": "In which films did Sean Connery act?",
        "answer_list": [
            {"answer_text": text, "aid": str(place), "aliases": [text, *more], "proof": [], "answer_url": ""}
            for place, (text, more) in enumerate(listed)
        ],
        "entities": [{"entity_text": "Sean Connery", "aliases": []}],
    }
    (tmp_path / "dev_data.jsonl").write_text(json.dumps(entry) + "\n", encoding="utf-8")
    texts = sets.passages(tmp_path)
    assert texts[1] == 'From Russia with Love. The "second" one, also with Connery.'
    (asked,) = sets.qampari(tmp_path, texts)
    assert asked.text == "In which films did Sean Connery act?"
    assert asked.answers == (("Dr. No", "Dr No"), ("From Russia With Love",), ("Never made",))
    assert [one.tolist() for one in asked.aspects] == [[0], [1]]


def test_asqa_as_published(sets, tmp_path):
    passages(tmp_path)
    entry = {
        "ambiguous_question": "When did the film come out?",
        "qa_pairs": [
            {"question": "When was Dr. No?", "short_answers": ["1962"], "context": "", "wikipage": None},
            {"question": "And Goldfinger?", "short_answers": ["in 1964", "1964"], "context": ""},
        ],
        "wikipages": [],
        "annotations": [{"long_answer": "1962 and 1964.", "knowledge": []}],
    }
    nowhere = {**entry, "qa_pairs": [{"question": "?", "short_answers": ["1970"], "context": ""}]}
    (tmp_path / "ASQA.json").write_text(json.dumps({"train": {}, "dev": {"7": entry, "8": nowhere}}))
    (asked,) = sets.asqa(tmp_path, sets.passages(tmp_path))
    assert [one.tolist() for one in asked.aspects] == [[0], [2]]


def test_ultrafeedback_as_published(sets, tmp_path):
    def completion(text, score):
        return {"model": "m", "response": text, "overall_score": score, "fine-grained_score": 4.0}

    four = [completion(text, score) for text, score in zip("abcd", (7.5, 2, 9, 1), strict=True)]
    lines = [
        {"source": "sharegpt", "instruction": "write", "models": [], "completions": four},
        {"source": "sharegpt", "instruction": "few", "models": [], "completions": four[:2]},
        {"source": "sharegpt", "instruction": "one unscored", "completions": [*four[:3], {"response": "x"}]},
    ]
    (tmp_path / "sharegpt.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    ((instruction, texts, scores),) = sets.ultrafeedback(tmp_path)
    assert (instruction, texts, scores.tolist()) == ("write", list("abcd"), [7.5, 2.0, 9.0, 1.0])


def test_absent_files_are_named(sets, tmp_path):
    for reading in (lambda: sets.passages(tmp_path), lambda: sets.ultrafeedback(tmp_path)):
        with pytest.raises(FileNotFoundError) as caught:
            reading()
        assert str(tmp_path) in str(caught.value)


SCRIPTS = {
    "papers.ccbqp": {"frontier", "time", "lists", "hops", "copies"},
    "papers.muss": {
        *("tables", "reading", "sizes", "choices", "maps", "time", "categories", "rises", "users"),
    },
    "papers.tsds": {"example", "tasks", "labels", "epochs", "copies", "whole", "ablations"},
    "papers.ampo": {"pictures"},
    "leaderboard": {"board"},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The lines of every script's tiny run."""
    folder = tmp_path_factory.mktemp("papers") / "results"
    board = part("leaderboard")
    with pytest.MonkeyPatch.context() as patch:
        few = {
            name: board.RIVALS[name] for name in board.RIVALS if name.startswith(("setwise", "pyversity M"))
        }
        few.pop("setwise.select")
        patch.setattr(board, "RIVALS", few)
        patch.setattr(board, "_claims", lambda keep, lines: None)  # they speak of every rival
        for name in SCRIPTS:
            part(name).main(
                ["--tiny", "--seeds", "1", "--out", str(folder)]
                if name == "papers.tsds"
                else ["--tiny", "--out", str(folder)]
            )
    return folder


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@needs("wordllama", "sklearn", "faiss")
def test_every_part_runs_on_a_tiny_slice(results):
    for name, parts in SCRIPTS.items():
        stem = name.rpartition(".")[2]
        assert {path.stem.partition("-")[2] for path in results.glob(f"{stem}-*.jsonl")} == parts
    for path in results.glob("*.jsonl"):
        head, *lines = lines_of(path)
        assert head["command"].startswith("python -m benchmarks.")
        assert "--tiny" in head["command"]
        rows = [line["row"] for line in lines if "row" in line]
        assert rows
        for row in rows:
            assert not any(isinstance(value, float) and np.isnan(value) for value in row.values()), (
                path,
                row,
            )


@needs("wordllama", "sklearn", "faiss")
def test_the_page_opens_with_what_does_not_hold(results, tmp_path):
    page = tmp_path / "results.md"
    part("papers.report").main(["--results", str(results), "--page", str(page)])
    text = page.read_text(encoding="utf-8")
    opening = text.partition("\nEvery paper that")[0]
    assert opening.splitlines()[2] == "**What does not hold here.**"
    for path in results.glob("*.jsonl"):
        head, *lines = lines_of(path)
        assert f"`{head['command']}`: {head['date']}" in text
        for claim in (line for line in lines if "claim" in line):
            assert (claim["claim"].rstrip(".") in opening) == (not claim["holds"])
            assert claim["found"] in text


def test_what_a_set_is_valued_by():
    """A set by each objective, against the definitions written out for two members at a right angle."""
    board = part("leaderboard")
    vectors = np.eye(3, dtype=np.float32)[None]
    given = board.Arrays(
        "", vectors, np.array([[0.6, 0.8, 0.0]], np.float32), [(np.array([0]), np.array([2]))], 2
    )
    found = board.valued(given, [[0, 1]])
    assert found["aspect recall"] == 0.5
    assert found["mean relevance"] == pytest.approx(0.7)
    assert found["ILAD"] == found["least distance (GIST)"] == 1
    assert found["max-sum (CCBQP, MUSS)"] == pytest.approx(0.5 * 0.7 + 0.5)
    assert found["max-sum, sharpness 8"] == pytest.approx(0.8 * 0.7 + 0.2)
    assert found["facility location"] == pytest.approx(2 / 3)


def test_a_part_without_its_data_is_left_out(tmp_path, capsys):
    part("papers.ccbqp").main(
        ["--data", str(tmp_path), "--out", str(tmp_path / "results"), "--part", "copies"]
    )
    assert "copies: left out" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
