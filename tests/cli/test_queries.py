"""Many queries, standard input and output: one answer a query, streamed, in the order of the questions."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import weakref

import numpy as np
import pytest

from setwise.encode.lsa import LSA
from setwise.files import read_table

QUERIES = ["school uniforms", "free expression", "wild animals"]


@pytest.fixture
def stdin(monkeypatch):
    """Return a function that puts bytes on standard input."""

    def put(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))

    return put


@pytest.fixture(params=["corpus", "index"])
def source(request, run, corpus, tmp_path):
    """What is retrieved from."""
    if request.param == "corpus":
        return "--corpus", corpus, "--model", "lsa", "--no-cache"
    assert run("index", "build", corpus, "--out", tmp_path / "ix", "--model", "lsa").code == 0
    return "--index", tmp_path / "ix"


def records(ran):
    assert (ran.code, ran.err) == (0, "")
    return [json.loads(line) for line in ran.out.splitlines()]


def sets(found):
    return [[(item["id"], item["relevance"]) for item in record["set"]["items"]] for record in found]


def test_every_way_to_ask_gives_what_single_queries_give(run, source, stdin, tmp_path, monkeypatch):
    words = ("retrieve", *source, "-k", 3, "--json")
    single = [records(run(*words, "--query", query))[0] for query in QUERIES]
    loads = []
    monkeypatch.setattr(LSA, "__init__", _counted(LSA.__init__, loads))
    repeated = records(run(*words, *(word for query in QUERIES for word in ("--query", query))))
    assert len(loads) == 1
    assert sets(repeated) == sets(single)
    assert [record["query"] for record in repeated] == QUERIES
    assert [record["query_id"] for record in repeated] == [1, 2, 3]
    (tmp_path / "q.txt").write_text("\n".join([*QUERIES[:2], "", QUERIES[2]]))
    found = records(run(*words, "--queries", tmp_path / "q.txt"))
    assert sets(found) == sets(single)
    assert [record["query_id"] for record in found] == [1, 2, 4]
    rows = "\n".join(
        json.dumps({"qid": f"q{at}", "text": "no", "query": one}) for at, one in enumerate(QUERIES)
    )
    stdin(rows.encode())
    found = records(run(*words, "--queries", "-"))
    assert sets(found) == sets(single)
    assert [record["query_id"] for record in found] == ["q0", "q1", "q2"]
    stdin("\n".join(QUERIES).encode())
    assert sets(records(run(*words, "--queries=-"))) == sets(single)


def test_columns_of_queries_that_were_not_asked_for_are_told(run, corpus, tmp_path):
    (tmp_path / "q.jsonl").write_text(json.dumps({"title": "t", "text": QUERIES[0], "user_id": 7}))
    ran = run("retrieve", corpus, "--queries", tmp_path / "q.jsonl", "-k", 2, "--model", "lsa", "--no-cache")
    assert ran.code == 0
    assert ran.err == (
        "note: queries: column 'text'; others: 'title'\n"
        "note: queries: ids: rows are numbered; others: 'user_id'\n"
    )


def _counted(function, calls):
    def counted(*words, **more):
        calls.append(1)
        return function(*words, **more)

    return counted


def test_places_stand_for_options(run, source):
    by_option = records(run("retrieve", *source, "-k", 3, "--json", "--query", QUERIES[0]))
    model = source[2:]
    by_place = records(run("retrieve", source[1], QUERIES[0], *model, "-k", 3, "--json"))
    assert sets(by_place) == sets(by_option)
    both = records(run("retrieve", source[1], *QUERIES, *model, "-k", 3, "--json"))
    assert sets(both)[:1] == sets(by_option)
    assert len(both) == 3


def test_tables_follow_each_other(run, source):
    ran = run("retrieve", *source, "-k", 2, "-q", QUERIES[0], "-q", QUERIES[1])
    assert ran.code == 0
    places = [ran.out.index(f"“{query}”") for query in QUERIES[:2]]
    assert places == sorted(places)
    assert ran.out.count("proof") == 2
    assert ran.out.count("selected by") == 1


def test_the_sets_of_many_queries_in_one_file(run, refused, source, tmp_path):
    words = ("retrieve", *source, "-k", 2, *(word for query in QUERIES for word in ("-q", query)))
    found = records(run(*words, "--json", "--out", tmp_path / "a.json"))
    assert json.loads((tmp_path / "a.json").read_text()) == found
    run(*words, "--out", tmp_path / "a.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [(row["query_id"], row["query"], row["rank"]) for row in rows] == [
        (number, query, rank) for number, query in enumerate(QUERIES, 1) for rank in (1, 2)
    ]
    assert [row["id"] for row in rows] == [name for one in sets(found) for name, _ in one]
    for kind in ("csv", "parquet"):
        run(*words, "--out", tmp_path / f"a.{kind}")
        table = read_table(tmp_path / f"a.{kind}", ["query", "rank", "id"])
        for name in ("query", "rank", "id"):
            assert [str(one) for one in table.values(name)] == [str(row[name]) for row in rows]
    assert refused(*words, "--out", tmp_path / "a.npy").startswith("out: a .npy file holds one set")


def test_sets_are_written_as_they_are_found(run, source, tmp_path, monkeypatch):
    """No set stays in memory, queries are encoded in parts, and what ends early leaves no file."""
    from setwise.cli import answers
    from setwise.files import writing

    monkeypatch.setattr(answers, "_TOGETHER", 3)
    (tmp_path / "q.txt").write_text("\n".join(QUERIES[number % 3] for number in range(40)))
    words = ("retrieve", *source, "-k", 2, "--queries", tmp_path / "q.txt", "--out", tmp_path / "a.jsonl")
    alive, most, as_lines = weakref.WeakSet(), [], writing.as_lines
    made, kept = [], answers.Passages.__init__

    def noted(self, *given, **more):
        kept(self, *given, **more)
        alive.add(self)

    def counted(columns):
        most.append(len(alive))
        made.append(None)
        if len(made) == stop:
            raise KeyboardInterrupt
        return as_lines(columns)

    monkeypatch.setattr(answers.Passages, "__init__", noted)
    monkeypatch.setattr(writing, "as_lines", counted)
    stop = 30
    before = sorted(os.listdir(tmp_path))
    ran = run(*words)
    assert ran.code == 130
    assert ran.err.endswith("interrupted after 29 of 40 queries; no file was written\n")
    assert sorted(os.listdir(tmp_path)) == before
    stop = 0
    assert run(*words).code == 0
    assert 0 < max(most) <= 20  # those that an index has found together
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["query_id"] for row in rows] == [number for number in range(1, 41) for _ in (1, 2)]
    assert [row["query"] for row in rows[::2]] == [QUERIES[number % 3] for number in range(40)]
    first = [(row["id"], row["relevance"]) for row in rows[:6]]
    assert [(row["id"], row["relevance"]) for row in rows[6:12]] == first


def test_vectors_of_several_queries(run, corpus, tmp_path):
    np.save(tmp_path / "q.npy", np.array([[1, 0, 1], [0, 3, 1]], np.float32))
    words = ("retrieve", "--corpus", corpus, "--vectors", "vector", "-k", 2, "--json")
    found = records(run(*words, "--query-vector", tmp_path / "q.npy"))
    np.save(tmp_path / "one.npy", np.array([0, 3, 1], np.float32))
    (alone,) = records(run(*words, "--query-vector", tmp_path / "one.npy"))
    assert [record["query_id"] for record in found] == [1, 2]
    assert sets(found)[1:] == sets([alone])


def test_a_corpus_from_standard_input_and_a_set_to_standard_output(run, corpus, stdin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("--query", QUERIES[0], "--model", "lsa", "-k", 3)
    run("retrieve", "--corpus", corpus, *words, "--out", tmp_path / "set.jsonl", "--no-cache")
    stdin(corpus.read_bytes())
    ran = run("retrieve", "-", *words, "--out", "-")
    assert ran.code == 0
    assert ran.out == (tmp_path / "set.jsonl").read_text()
    assert "proof" in ran.err
    stdin(b"Apples are red.\n\nPears are green.")
    ran = run(
        "retrieve", "--corpus=-", "--query", "apples", "--model", "lsa", "-k", 1, "--json", "--no-cache"
    )
    assert json.loads(ran.out)["set"]["items"][0]["id"] == "standard-input.txt:1"
    stdin(corpus.read_bytes())
    assert run("index", "build", "-", "--out", tmp_path / "ix", "--model", "lsa").code == 0
    assert json.loads(run("index", "info", tmp_path / "ix", "--json").out)["n"] == 10
    assert sorted(os.listdir(tmp_path)) == ["corpus.jsonl", "ix", "set.jsonl"]


def test_other_commands_read_and_write_the_streams_too(run, refused, stdin, tmp_path):
    items = [{"id": f"i{row}", "vector": [row % 3, row % 5, 1.0], "quality": row / 20} for row in range(20)]
    stdin("\n".join(map(json.dumps, items)).encode())
    assert run("catalog", "build", "-", "--out", tmp_path / "shop", "--clusters", 3).code == 0
    ran = run("catalog", "select", tmp_path / "shop", "-k", 3, "--out", "-")
    assert ran.code == 0
    assert [json.loads(line)["rank"] for line in ran.out.splitlines()] == [1, 2, 3]
    (tmp_path / "task.jsonl").write_text('{"text": "apples keep in the cellar"}\n')
    rows = [{"text": f"{word} number {row}"} for row in range(10) for word in ("apples", "trains")]
    stdin("\n".join(map(json.dumps, rows)).encode())
    words = ("--examples", tmp_path / "task.jsonl", "--rows", 4, "--model", "lsa")
    ran = run("finetune", "--repository", "-", *words, "--out", "-")
    assert ran.code == 0
    assert all(json.loads(line) in rows for line in ran.out.splitlines())
    assert len(ran.out.splitlines()) == 4
    assert "note: wrote standard-output.jsonl\n" in ran.err
    stdin(b'{"text": 3}')
    said = refused("retrieve", "-", "school", "-k", 1)
    assert "standard-input.jsonl" in said
    assert os.sep not in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--queries", "none.txt"], "queries: no file or folder 'none.txt'"),
        (["--queries", "empty.txt"], "queries: empty.txt has none; write one a line"),
        (["--queries", "blank.jsonl"], "query: blank.jsonl, query 2 is blank; write what to find"),
        (["--queries", "numbers.jsonl"], "queries: numbers.jsonl has no column of queries (columns: n)"),
        (["--queries", "latin.txt"], "queries: latin.txt is not UTF-8"),
        (["--queries", "good.txt", "-q", "x"], "query: --query and --queries say the same thing twice"),
        (["-q", "school", "-q", "??"], "query: lsa (learned from this corpus, 10 d) knows no word of '??'"),
        (["-q", " "], "query: query 1 is blank"),
        (["--queries", "-", "--query-vector=-"], "standard input: it is named twice"),
        ([], "query: say what is looked for with --query, --queries, --query-vector or --relevance"),
    ],
)
def test_questions_that_cannot_be_asked(refused, corpus, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.txt").write_text("school")
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "blank.jsonl").write_text('{"query": "a"}\n{"query": " "}')
    (tmp_path / "numbers.jsonl").write_text('{"n": 1}')
    said = refused("retrieve", "--corpus", corpus, "--model", "lsa", "--no-cache", "-k", 2, *words)
    assert said.startswith(message)


def test_an_id_that_is_a_dash_is_no_stream(run, tmp_path):
    rows = [{"id": name, "text": text} for name, text in (("-", "school"), ("a", "school bus"), ("b", "zoo"))]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    words = ("retrieve", "--corpus", tmp_path / "rows.jsonl", "-q", "school", "-k", 1, "--json")
    for option, kept in (("--include=-", "-"), ("--exclude=-", "a")):
        ran = run(*words, "--model", "ngrams", "--no-cache", option)
        assert json.loads(ran.out)["set"]["items"][0]["id"] == kept


def test_a_folder_does_not_go_to_standard_output(refused, corpus):
    assert refused("index", "build", corpus, "--out", "-").startswith("out: it is a folder, which cannot go")


def test_an_interrupt_says_how_far_it_came_and_leaves_whole_lines(by_vector, tmp_path):
    np.save(tmp_path / "query.npy", np.ones((100_000, 3), np.float32))
    with subprocess.Popen(
        [sys.executable, "-m", "setwise", *by_vector, "-k2", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        lines += process.stdout.read().splitlines()  # communicate leaves out what came along with the third
        err = process.stderr.read()
    assert process.returncode == 130
    assert [json.loads(line)["query_id"] for line in lines] == list(range(1, len(lines) + 1))
    told = [f"{count:,} of 100,000 queries; no file was written" for count in (len(lines), len(lines) - 1)]
    assert err.strip().removeprefix("setwise: interrupted after ") in told


def test_a_query_is_read_as_utf8_whatever_the_locale(corpus):
    words = ["retrieve", corpus, "--query", "école", "-k", "1", "--model", "static", "--no-cache", "--json"]
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ran = subprocess.run(
        [sys.executable, "-m", "setwise", *words], env=plain, capture_output=True, check=True
    )
    assert json.loads(ran.stdout)["query"] == "école"
