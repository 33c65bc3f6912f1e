"""``setwise compare`` and ``setwise tune``: what they print, write, keep and refuse."""

from __future__ import annotations

import csv
import json
import tomllib

import numpy as np
import pytest

from optional import needs

pytestmark = needs("matplotlib", "pyarrow")


@pytest.fixture
def labeled(tmp_path):
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


def test_a_folder_of_figures_means_and_a_page(run, labeled, tmp_path):
    out = tmp_path / "out"
    words = ("-k", 3, "-k", 5, "--diversity", 0.3, "--method", "MMR", "--out", out)
    ran = run("compare", *labeled, *words)
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
    again = run("compare", *labeled, *words)
    assert again.code == 2
    assert "report.html' exists" in again.err
    assert run("compare", *labeled, *words, "--force").code == 0


def test_what_tune_prints_is_what_retrieve_takes(run, labeled, monkeypatch):
    ran = run("tune", *labeled, "-k", 4, "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["helps"]
    assert found["settings"]["k"] == 4
    low, high = found["interval"]
    assert 0 < low <= found["gain"] <= high
    monkeypatch.setenv("COLUMNS", "40")
    ran = run("tune", *labeled, "-k", 4)
    assert "…" not in ran.out  # fewer measures, none of them cut
    assert "aspect recall: share of the right" in ran.out
    assert "setwise retrieve " in ran.out
    assert "near-duplicate" in ran.out


def test_what_tune_writes_is_what_every_command_reads(run, labeled, tmp_path):
    out = tmp_path / "tuned.toml"
    words = ("-k", 4, "--method", "MMR of 5 k", "--diversity", 0.2, "--out", out)
    ran = run("tune", *labeled, *words)
    assert ran.code == 0, ran.err
    assert "setwise retrieve --diversity 0.2 -k 4 --objective mmr --pool 20" in " ".join(ran.out.split())
    text = out.read_text()
    assert text.startswith("# MMR of 5 k, diversity 0.2 at k = 4")
    assert tomllib.loads(text) == {"retrieve": {"diversity": 0.2, "k": 4, "objective": "mmr", "pool": 20}}
    corpus, _, *vectors, _, _ = labeled
    np.save(tmp_path / "one.npy", np.load(tmp_path / "asked.npy")[0])
    asking = ("--corpus", corpus, *vectors, "--query-vector", tmp_path / "one.npy", "--json")
    found = json.loads(run("--config", out, "retrieve", *asking).out)["settings"]
    assert (found["k"], found["diversity"], found["objective"]) == (4, 0.2, "mmr")
    assert json.loads(run(f"--config={out}", "retrieve", *asking, "-k", 2).out)["settings"]["k"] == 2
    assert "exists; add --force" in run("tune", *labeled, *words).err
    assert run("--config", tmp_path / "no.toml", "demo").err.startswith("setwise: config: no file ")


def test_without_questions_tune_says_whether_the_corpus_repeats_itself(run, labeled, tmp_path):
    corpus, _, *vectors, _, _ = labeled
    ran = run("tune", corpus, *vectors, "-k", 4)
    assert ran.code == 0, ran.err
    said = " ".join(ran.out.split())
    # Every passage has four near-copies, so all are asked about something that is repeated.
    assert said.startswith("selecting by diversity has something to do here: 100 % of the queries")
    assert said.endswith("(asked by 180 of the corpus's own passages)")
    rng = np.random.default_rng(1)
    apart = [{"id": row, "vector": rng.standard_normal(64).tolist()} for row in range(50)]
    (tmp_path / "apart.jsonl").write_text("".join(json.dumps(one) + "\n" for one in apart))
    assert run("tune", tmp_path / "apart.jsonl", *vectors).out.startswith("top-k hardly repeats itself here")
    assert "go with labeled questions" in run("tune", corpus, *vectors, "--diversity", 0.2).err
    assert "go with labeled questions" in run("tune", corpus, *vectors, "--out", tmp_path / "t.toml").err


def test_a_catalog_is_tuned_by_what_users_took(run, tmp_path):
    """Every user takes one item of each of two kinds, and quality alone shows only the first kind."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1], 40)
    X = np.eye(2)[kind] + 0.001 * rng.random((80, 2))
    quality = np.where(kind == 0, 0.6, 0.5) + 0.05 * rng.random(80)
    best = [np.flatnonzero(kind == one)[np.argsort(-quality[kind == one])][:5] for one in (0, 1)]
    items = [
        {"id": f"i{row}", "vector": X[row].tolist(), "quality": float(quality[row])} for row in range(80)
    ]
    users = [{"items": [f"i{rng.choice(best[0])}", f"i{rng.choice(best[1])}"]} for _ in range(30)]
    for name, lines in (("items", items), ("taken", users)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    shop, out = tmp_path / "shop", tmp_path / "tuned.toml"
    built = run(
        "catalog", "build", tmp_path / "items.jsonl", "--vectors", "vector", "--clusters", 4, "--out", shop
    )
    assert built.code == 0, built.err
    words = ("catalog", "tune", shop, tmp_path / "taken.jsonl", "-k", 10)
    ran = run(*words, "--method", "greedy", "--diversity", 0.3, "--out", out)
    assert ran.code == 0, ran.err
    assert "greedy, diversity 0.3 at k = 10" in ran.out
    assert tomllib.loads(out.read_text()) == {
        "catalog": {"select": {"diversity": 0.3, "k": 10, "method": "greedy"}}
    }
    chosen = json.loads(run("--config", out, "catalog", "select", shop, "--json").out)
    assert len(chosen["set"]["items"]) == 10
    (tmp_path / "taken.jsonl").write_text((json.dumps({"items": ["i1", "nowhere"]}) + "\n") * 5)
    assert "'nowhere', which is no id" in run(*words).err
    (tmp_path / "taken.jsonl").write_text(json.dumps({"items": ["i1"]}) + "\n")
    few = "note: intervals over 5 questions or groups of them say little; label 10 or more"
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(one) + "\n" for one in users[:5]))
    assert few in run("catalog", "tune", shop, tmp_path / "few.jsonl", "-k", 10, "--method", "greedy").err
    assert "folds: 5 of 1 groups of questions; bring more\n" in run(*words).err
    (tmp_path / "taken.jsonl").write_text(json.dumps({"items": "i1"}) + "\n")
    assert "items are no list of ids" in run(*words).err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--method", "mmr"),
            "methods: 'mmr' is unknown; did you mean 'MMR'? (one of 'max-sum, sharpness 8', ",
        ),
        (("--diversity", 1.5), "diversities: 1.5 is outside"),
        (("-k", 181), "k: 181 is more than"),
        (("--missing", "skip"), "missing: 'skip' is unknown"),
    ],
)
def test_what_is_refused(run, labeled, tmp_path, words, message):
    ran = run("compare", *labeled, *words, "--out", tmp_path / "out")
    assert ran.code == 2
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_answer_that_is_not_there(run, labeled, tmp_path):
    with open(tmp_path / "asked.jsonl", "a") as file:
        file.write(json.dumps({"id": "more", "query": "x", "answers": [["p1", "p999"]]}) + "\n")
    np.save(tmp_path / "asked.npy", np.concatenate([np.load(tmp_path / "asked.npy"), np.ones((1, 16))]))
    ran = run("tune", *labeled, "-k", 4)
    assert ran.code == 2
    assert "'more' has the answer 'p999', which is no id of the corpus (1 of 182 are not)" in ran.err
    drop = ("-k", 4, "--missing", "drop", "--method", "MMR", "--diversity", 0.2)
    assert run("tune", *labeled, *drop).code == 0
    lines = (tmp_path / "asked.jsonl").read_text()
    (tmp_path / "asked.jsonl").write_text(lines.replace('["p1", "p999"]', '["p999"]'))
    ran = run("tune", *labeled, *drop)
    assert ran.code == 0
    assert "1 of 13 are left out: they have not an answer that is an id of the corpus" in ran.err
