"""A first hour with a folder of 3,000 files: build, ask, append, update, remove, ask again."""

from __future__ import annotations

import json
import random
import re
import time

import pytest

TOPICS = {
    "gardens": ["soil", "compost", "tomatoes", "pruning", "roses", "seeds", "watering", "frost"],
    "ships": ["harbor", "anchor", "sails", "tides", "navigation", "cargo", "lighthouse", "crew"],
    "kitchens": ["bread", "oven", "yeast", "flour", "knives", "soup", "spices", "salt"],
    "trains": ["rails", "signals", "locomotive", "station", "timetable", "freight", "bridge", "tunnel"],
    "stars": ["telescope", "orbit", "comet", "galaxy", "planet", "eclipse", "spectrum", "dust"],
}


def write(folder, number, draw):
    """Write one file of two or three sections; return how many passages it has."""
    topic = list(TOPICS)[number % len(TOPICS)]
    words, parts = TOPICS[topic], draw.randint(2, 3)
    sections = []
    for part in range(parts):
        chosen = draw.sample(words, 4)
        sections.append(f"## {chosen[0].title()}\n\nNote {number}.{part} on {topic}: {', '.join(chosen)}.")
    place = folder / topic
    place.mkdir(exist_ok=True)
    text = f"# Notes on {topic} {number}\n\n" + "\n\n".join(sections) + "\n"
    (place / f"{number:04}.md").write_text(text, encoding="utf-8")
    return parts


def counts(ran):
    """Return the numbers of a summary line by what they count."""
    assert (ran.code, ran.err) == (0, "")
    found = re.findall(r"(\d[\d,]*) ([a-z]+)", ran.out)
    return {what: int(number.replace(",", "")) for number, what in found}


@pytest.mark.slow
def test_a_folder_of_three_thousand_files(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notes = tmp_path / "notes"
    notes.mkdir()
    draw = random.Random(0)
    passages = [write(notes, number, draw) for number in range(3000)]
    ran = run("index", "build", "notes", "--out", "ix")
    assert counts(ran)["texts"] == sum(passages)

    def ask(*words):
        ran = run("retrieve", "ix", "steering by the stars at sea", "-k", 8, "--json", *words)
        assert (ran.code, ran.err) == (0, "")
        return json.loads(ran.out)["set"]["items"]

    first = ask("--per-document", 1)
    assert len({item["file"] for item in first}) == 8
    assert all(item["file"].startswith(("ships/", "stars/")) for item in first)
    only = ask("--where", "file like 'stars/%' and title like '%Orbit'")
    assert {item["title"].rpartition(" ")[2] for item in only} == {"Orbit"}

    # a file more: what is new is encoded, and nothing else
    fresh = notes / "ships" / "sextant.md"
    fresh.write_text("# The sextant\n\nSteering by the stars at sea needs a sextant and a clear night.\n")
    began = time.perf_counter()
    said = counts(run("index", "update", "ix", "notes"))
    assert (said["added"], said["text"], said["unchanged"]) == (1, 1, sum(passages))
    assert time.perf_counter() - began < 60
    assert ask()[0]["id"] == "ships/sextant.md"

    # files that changed and files that are gone
    passages[:4] = [write(notes, number, draw) for number in range(4)]
    (notes / "gardens" / "0005.md").unlink()
    (notes / "ships" / "0006.md").rename(notes / "ships" / "moved.md")
    said = counts(run("index", "update", "ix", "notes"))
    assert said["texts"] <= sum(passages[:4])  # what was moved is not encoded
    said = counts(run("index", "remove", "ix", "--where", "file like 'stars/%' or file = 'ships/sextant.md'"))
    stars = sum(passages[4::5])
    assert said["removed"] == stars + 1
    assert not [item for item in ask() if item["file"].startswith("stars/") or "sextant" in item["file"]]
    assert json.loads(run("index", "info", "ix", "--verify", "--json").out)["n"] == (
        sum(passages) - passages[5] - stars
    )
    (tmp_path / "queries.txt").write_text("baking bread\nwhen does the train leave\n")
    lines = run("retrieve", "ix", "--queries", "queries.txt", "-k", 3, "--json").out.splitlines()
    topics = [{item["file"].split("/")[0] for item in json.loads(line)["set"]["items"]} for line in lines]
    assert topics == [{"kitchens"}, {"trains"}]
