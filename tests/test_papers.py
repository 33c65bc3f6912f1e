"""The scripts of the papers' tables: the sets' published layouts, tiny runs, and the page from them."""

import csv
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


def part(name):
    """A module of the benchmarks' folder, which is not installed."""
    sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module(f"benchmarks.papers.{name}")
    finally:
        sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def sets():
    return part("sets")


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


SCRIPTS = {"ccbqp": {"frontier", "time", "lists", "hops", "copies"}}


def test_tiny_runs_and_their_page(tmp_path, capsys):
    pytest.importorskip("wordllama")
    for name, parts in SCRIPTS.items():
        part(name).main(["--tiny", "--out", str(tmp_path / "results")])
        written = {path.stem.partition("-")[2] for path in (tmp_path / "results").glob(f"{name}-*.jsonl")}
        assert written == parts
    page = tmp_path / "results.md"
    part("report").main(["--results", str(tmp_path / "results"), "--page", str(page)])
    text = page.read_text(encoding="utf-8")
    assert text.split("\n\n")[1].startswith("**What does not hold here.**")
    for path in sorted((tmp_path / "results").glob("*.jsonl")):
        head, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert f"`{head['command']}`: {head['date']}" in text
        assert head["command"].startswith("python -m benchmarks.")
        assert "--tiny" in head["command"]
        for line in lines:
            if line.get("claim") and not line["holds"]:
                assert line["claim"].rstrip(".") in text.split("\n\n")[1]
            for value in (line.get("row") or {}).values():
                if isinstance(value, float) and np.isnan(value):
                    pytest.fail(f"{path.name}: a figure is no number: {line}")


def test_a_part_without_its_data_is_left_out(tmp_path, capsys):
    part("ccbqp").main(["--data", str(tmp_path), "--out", str(tmp_path / "results"), "--part", "copies"])
    assert "copies: left out" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
