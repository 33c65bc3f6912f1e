"""``setwise compare`` and ``setwise tune``: what they print, write, keep and refuse."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from optional import needs

pytestmark = needs("matplotlib", "pyarrow")


@pytest.fixture
def labelled(tmp_path):
    """Vectors of crowded topics in a table, and questions about them by id."""
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((12, 16))
    facets = topics[:, None] + 0.5 * rng.standard_normal((12, 3, 16))
    X = (facets[:, :, None] + 0.05 * rng.standard_normal((12, 3, 5, 16))).reshape(-1, 16)
    lines = [{"id": f"p{row}", "text": f"passage {row}", "vector": one.tolist()} for row, one in enumerate(X)]
    rows = np.arange(len(X)).reshape(12, 3, 5)
    asked = [
        {
            "id": f"q{t}",
            "query": f"topic {t}",
            "answers": [[f"p{row}" for row in one] for one in rows[t].tolist()],
        }
        for t in range(12)
    ]
    for name, what in (("corpus", lines), ("asked", asked)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in what))
    np.save(tmp_path / "asked.npy", topics + 0.3 * rng.standard_normal((12, 16)))
    return (
        *(tmp_path / "corpus.jsonl", tmp_path / "asked.jsonl", "--vectors", "vector"),
        *("--question-vectors", tmp_path / "asked.npy"),
    )


def test_a_folder_of_figures_means_and_a_page(run, labelled, tmp_path):
    out = tmp_path / "out"
    words = ("-k", 3, "-k", 5, "--diversity", 0.3, "--method", "MMR", "--out", out)
    ran = run("compare", *labelled, *words)
    assert ran.code == 0, ran.err
    assert "k = 3, 12 questions" in ran.out
    assert sorted(one.name for one in out.iterdir()) == ["figures.parquet", "means.csv", "report.html"]
    with open(out / "means.csv", newline="") as file:
        means = list(csv.DictReader(file))
    assert [(one["method"], one["k"]) for one in means] == [
        ("top-k", "3"),
        ("MMR", "3"),
        ("top-k", "5"),
        ("MMR", "5"),
    ]
    assert float(means[1]["aspect recall"]) > float(means[0]["aspect recall"])
    again = run("compare", *labelled, *words)
    assert again.code == 2
    assert "report.html' exists" in again.err
    assert run("compare", *labelled, *words, "--force").code == 0


def test_what_tune_prints_is_what_retrieve_takes(run, labelled):
    ran = run("tune", *labelled, "-k", 4, "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["helps"]
    assert found["settings"]["k"] == 4
    low, high = found["interval"]
    assert 0 < low <= found["gain"] <= high
    ran = run("tune", *labelled, "-k", 4)
    assert "setwise retrieve " in ran.out
    assert "near-duplicate" in ran.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "mmr"), "methods: 'mmr' is unknown"),
        (("--diversity", 1.5), "diversities: 1.5 is outside"),
        (("-k", 181), "k: 181 is more than"),
        (("--missing", "skip"), "missing: 'skip' is unknown"),
    ],
)
def test_what_is_refused(run, labelled, tmp_path, words, message):
    ran = run("compare", *labelled, *words, "--out", tmp_path / "out")
    assert ran.code == 2
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_answer_that_is_not_there(run, labelled, tmp_path):
    with open(tmp_path / "asked.jsonl", "a") as file:
        file.write(json.dumps({"id": "more", "query": "x", "answers": [["p1", "p999"]]}) + "\n")
    np.save(tmp_path / "asked.npy", np.concatenate([np.load(tmp_path / "asked.npy"), np.ones((1, 16))]))
    ran = run("tune", *labelled, "-k", 4)
    assert ran.code == 2
    assert "'more' has the answer 'p999', which is no id of the corpus (1 of 182 are not)" in ran.err
    assert run("tune", *labelled, "-k", 4, "--missing", "drop").code == 0
