"""``setwise retrieve``: what it prints, writes, keeps, says on stderr and refuses."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest

QUERY = "should school uniforms be worn?"


@pytest.fixture
def retrieve(run, corpus):
    """Return a function that retrieves from the corpus with the encoder that is always there."""

    def retrieve(*words):
        return run("retrieve", "--corpus", corpus, "--query", QUERY, "--model", "lsa", "-k", 4, *words)

    return retrieve


def test_a_set_as_a_table(retrieve):
    ran = retrieve()
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].strip() == f"“{QUERY}”"
    assert lines[2].split() == ["id", "relevance", "gain", "text"]
    assert [line.split()[:2] for line in lines if line.strip()[:1].isdigit()] == [
        [str(rank), name] for rank, name in enumerate([line.split()[1] for line in lines[4:8]], 1)
    ]
    assert "set    relevance 0." in ran.out
    assert "proof  proven the best possible 4 of 10" in ran.out or "of the best possible 4 of 10" in ran.out
    assert "vectors: lsa (learned from this corpus" in ran.out
    assert "selected by frank-wolfe+swap in" in ran.out
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("columns", ["50", "80", "120"])
def test_no_line_is_wider_than_the_terminal(retrieve, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    for words in ((), ("--compare", "top-k")):
        assert max(map(len, retrieve(*words).out.splitlines())) <= int(columns)


def test_another_solvers_set_beside_it(retrieve):
    ran = retrieve("--compare", "top-k", "--diversity", 0.6)
    assert ran.code == 0
    assert "top-k (4)" in ran.out
    assert "setwise (4)" in ran.out
    assert "less than setwise; " in ran.out
    assert " of 4 differ" in ran.out
    marks = [line[:3].strip() for line in ran.out.splitlines()]
    assert "-" in marks
    same = retrieve("--compare", "top-k", "--diversity", 0)
    assert "the same set as setwise" in same.out


@pytest.mark.parametrize(
    ("words", "proof"),
    [
        (["--objective", "mmr"], "no bound exists for mmr; the scan over all 10 picks exactly the same"),
        (
            ["--objective", "log-det"],
            "no bound exists for log-det; the scan over all 10 picks exactly the same",
        ),
        (["--certify", "none"], "not compared with the best possible set (--certify none)"),
        (["--solver", "exact", "--certify", "full"], "proven the best possible 4 of 10"),
        (
            ["--objective", "mmr", "--solver", "random"],
            "no bound exists for mmr, and nothing is proven of random",
        ),
    ],
)
def test_proofs_in_words(retrieve, words, proof):
    assert proof in retrieve(*words).out


def test_json_is_one_object_with_stable_keys(retrieve):
    ran = retrieve("--json", "--compare", "top-k")
    assert ran.err == ""
    record = json.loads(ran.out)
    assert list(record) == [
        "setwise", "corpus", "query", "settings", "encoder",
        "candidates", "unknown", "duplicates", "set", "compare",
    ]  # fmt: skip
    assert list(record["set"]) == [
        "items", "value", "relevance", "diversity", "closest_pair", "solver", "seconds", "certificate",
    ]  # fmt: skip
    assert list(record["set"]["items"][0]) == [
        "rank", "id", "row", "relevance", "gain", "text", "topic", "score",
    ]  # fmt: skip
    assert list(record["settings"]) == [
        "k", "solver", "diversity", "objective", "sharpness", "metric",
        "relevance_scale", "solver_options",
        "include", "exclude", "max_per_group", "limits", "costs", "budget",
        "max_similarity", "min_gain", "shown", "facets", "where", "time_limit", "seed", "threads",
        "certify",
    ]  # fmt: skip
    assert list(record["set"]["certificate"]) == [
        "upper_bound",
        "gap",
        "optimal",
        "pool_size",
        "pool_sufficient",
        "scope",
    ]
    assert record["settings"]["sharpness"] == 8
    assert record["settings"]["diversity"] == 0.3
    assert record["candidates"] == 10
    assert [item["rank"] for item in record["set"]["items"]] == [1, 2, 3, 4]
    assert record["compare"]["solver"] == "top-k"
    assert record["compare"]["certificate"] is None


@pytest.mark.parametrize("name", ["set.jsonl", "set.csv", "set.parquet", "set.json", "set.npy"])
def test_the_set_in_a_file(retrieve, tmp_path, name):
    out = tmp_path / name
    printed = json.loads(retrieve("--json", "--out", out).out)["set"]["items"]
    ids = [item["id"] for item in printed]
    if name.endswith(".jsonl"):
        assert [json.loads(line) for line in out.read_text().splitlines()] == printed
    elif name.endswith(".csv"):
        assert [line.split(",")[1] for line in out.read_text().splitlines()[1:]] == ids
    elif name.endswith(".parquet"):
        assert pq.read_table(out).to_pylist() == printed
    elif name.endswith(".json"):
        assert [item["id"] for item in json.loads(out.read_text())["set"]["items"]] == ids
    else:
        assert np.load(out).tolist() == [item["row"] for item in printed]
    before = out.read_bytes()
    assert retrieve("--out", out).code == 2
    assert out.read_bytes() == before
    assert retrieve("--out", out, "--force").code == 0


def test_an_existing_output_is_refused_before_any_work(refused, tmp_path):
    out = tmp_path / "set.json"
    out.touch()
    message = refused("retrieve", "--corpus", tmp_path / "missing.jsonl", "--query", "x", "--out", out)
    assert message == f"out: {str(out)!r} exists; add --force to replace it"


def test_the_cache_is_used_until_the_corpus_changes(retrieve, corpus):
    assert ", encoded in " in retrieve().out
    assert ", read from the cache in " in retrieve().out
    assert len(list((corpus.parent / ".setwise-cache").glob("*/meta.json"))) == 1
    corpus.write_text(corpus.read_text().replace("equality", "fairness"))
    assert ", encoded in " in retrieve().out
    assert ", read from the cache in " in retrieve().out


def test_the_cached_set_is_the_same(retrieve):
    first, second = (json.loads(retrieve("--json").out)["set"] for _ in range(2))
    assert first["items"] == second["items"]
    assert first["value"] == second["value"]


def test_excluded_passages_are_not_selected(retrieve, refused, corpus):
    first = [item["id"] for item in json.loads(retrieve("--json").out)["set"]["items"]]
    barred = [word for name in first[:2] for word in ("--exclude", name)]
    again = [item["id"] for item in json.loads(retrieve("-k", 3, "--json", *barred).out)["set"]["items"]]
    assert not set(first[:2]) & set(again)
    words = ["retrieve", "--corpus", corpus, "--query", "school", "--exclude", "zz"]
    assert refused(*words).startswith("exclude: the corpus has no id 'zz'")


def test_no_cache_keeps_nothing(retrieve, corpus):
    retrieve("--no-cache")
    assert os.listdir(corpus.parent) == ["corpus.jsonl"]


def test_a_cache_elsewhere(retrieve, corpus, tmp_path_factory, refused):
    folder = tmp_path_factory.mktemp("elsewhere") / "cache"
    retrieve("--cache", folder)
    assert len(list(folder.glob("*/meta.json"))) == 1
    assert os.listdir(corpus.parent) == ["corpus.jsonl"]
    words = ["retrieve", "--corpus", corpus, "--query", "school", "--cache", folder, "--no-cache"]
    assert refused(*words) == "cache: give --cache or --no-cache, not both"


def test_a_folder_of_texts(run, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Uniforms\n\n==========\nSchool uniforms cost money")
    (tmp_path / "docs" / "b.rst").write_text("Uniforms make pupils equal")
    (tmp_path / "c.txt").write_text("Cats and dogs")
    ran = run("retrieve", "--corpus", tmp_path, "--query", "school uniforms", "-k", 2, "--model", "lsa")
    assert "docs/a.md" in ran.out
    assert "# Uniforms School uniforms cost money" in ran.out
    assert (tmp_path / ".setwise-cache").is_dir()
    again = run("retrieve", "--corpus", tmp_path, "--query", "school uniforms", "-k", 2, "--model", "lsa")
    assert "read from the cache" in again.out


# ---------------------------------------------------------------- numbers that the user brings


def test_own_vectors_and_relevance_run_no_encoder(run, corpus, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("an encoder was asked for")

    monkeypatch.setattr("setwise.retrieval.texts.encoder", refuse)
    ran = run("retrieve", "--corpus", corpus, "--vectors", "vector", "--relevance", "score", "-k", 3)
    assert (ran.code, ran.err) == (0, "")
    assert "vectors: your own, 3 d" in ran.out
    assert os.listdir(corpus.parent) == ["corpus.jsonl"]


def test_own_vectors_and_query_vector(run, corpus, tmp_path, refused):
    np.save(tmp_path / "vectors.npy", np.eye(10, 6, dtype=np.float16) + np.float16(0.1))
    np.save(tmp_path / "query.npy", np.eye(6)[4:5])
    words = ["retrieve", "--corpus", corpus, "--vectors", "vectors.npy", "-k", 1]
    record = json.loads(run(*words, "--query-vector", tmp_path / "query.npy", "--json").out)
    assert [item["id"] for item in record["set"]["items"]] == ["p4"]
    np.save(tmp_path / "bad.npy", np.ones(5))
    message = refused(*words, "--query-vector", tmp_path / "bad.npy")
    assert message == "query-vector: bad.npy has shape (5,), the vectors have 6 d"
    assert "you bring" in refused(*words, "--query", "school")


def test_a_corpus_of_vectors_alone(run, tmp_path, refused):
    np.save(tmp_path / "e.npy", np.eye(5))
    np.save(tmp_path / "q.npy", np.eye(5)[2])
    ran = run("retrieve", "--corpus", tmp_path / "e.npy", "--query-vector", tmp_path / "q.npy", "-k", 2)
    assert ran.code == 0
    assert "text" not in ran.out.splitlines()[2]
    both = run("retrieve", "--corpus", tmp_path / "e.npy", "--query-vector", tmp_path / "q.npy", "-k", 2,
               "--compare", "top-k")  # fmt: skip
    assert both.code == 0
    np.save(tmp_path / "zero.npy", np.zeros((4, 2)))
    np.save(tmp_path / "q2.npy", np.ones(2))
    message = refused(
        "retrieve", "--corpus", tmp_path / "zero.npy", "--query-vector", tmp_path / "q2.npy", "-k", 2
    )
    assert message.startswith("vectors: row 0 is all zero")


def test_a_query_vector_needs_vectors(refused, corpus, tmp_path):
    np.save(tmp_path / "q.npy", np.ones(5))
    message = refused("retrieve", "--corpus", corpus, "--query-vector", tmp_path / "q.npy")
    assert message.startswith("query-vector: it needs --vectors")


def test_warnings_become_notes(run, corpus):
    corpus.write_text(corpus.read_text().replace('"score": 0.', '"score": 1'))
    ran = run("retrieve", "--corpus", corpus, "--relevance", "score", "--model", "lsa", "-k", 3)
    assert ran.code == 0
    assert ran.err.startswith("note: relevance spans ")
    assert ran.err.count("\n") == 1
    scaled = run("retrieve", "--corpus", corpus, "--relevance", "score", "--model", "lsa", "-k", 3,
                 "--relevance-scale", "rank")  # fmt: skip
    assert scaled.err == ""


# ---------------------------------------------------------------- constraints, blanks, duplicates


def test_must_haves_and_groups(retrieve, refused, corpus):
    items = json.loads(retrieve("--include", "p9", "--include", "p6", "--json").out)["set"]["items"]
    assert [item["id"] for item in items[:2]] == ["p9", "p6"]
    record = json.loads(retrieve("--group", "topic", "--max-per-group", 2, "--json").out)
    topics = {item["id"]: "school" if "chool" in item["text"] else "other" for item in record["set"]["items"]}
    assert max(list(topics.values()).count(topic) for topic in ("school", "other")) <= 2
    words = ["retrieve", "--corpus", corpus, "--query", "school", "--model", "lsa"]
    assert refused(*words, "--include", "p99") == "include: the corpus has no id 'p99'; did you mean 'p9'?"
    assert refused(*words, "--group", "topic") == "group: --group and --max-per-group go together"


def test_at_most_so_many_passages_of_a_document(run, refused, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / "docs").mkdir(exist_ok=True)
        sections = [f"# Section {part}\n\nApples and pears, {name} {part}." for part in range(4)]
        (tmp_path / "docs" / f"{name}.md").write_text("\n\n".join(sections))
    words = ("--query", "apples", "-k", 3, "--json", "--per-document", 1)
    run("index", "build", tmp_path / "docs", "--out", tmp_path / "ix", "--model", "lsa")
    for source in (("--corpus", tmp_path / "docs", "--model", "lsa"), ("--index", tmp_path / "ix")):
        ran = run("retrieve", *source, *words)
        assert ran.err == ""
        items = json.loads(ran.out)["set"]["items"]
        assert sorted(item["id"].partition(":")[0] for item in items) == ["a.md", "b.md", "c.md"]
    whole = run("retrieve", "--corpus", tmp_path / "docs", *words[:-2], "--chunk", "file")
    assert sorted(item["id"] for item in json.loads(whole.out)["set"]["items"]) == ["a.md", "b.md", "c.md"]
    source = ("retrieve", "--corpus", tmp_path / "docs", *words)
    assert refused(*source, "--max-per-group", 2).startswith("per_document: documents are the groups then")
    assert refused(*source, "--chunk", "page").startswith("chunk: 'page' is unknown")


def test_blank_texts_are_left_out_and_said(run, tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [
        {"id": f"b{row}", "text": text}
        for row, text in enumerate(["read a file", "", " ", "write a file", "?"])
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    words = ["retrieve", "--corpus", path, "--query", "file", "-k", 2, "--model", "lsa"]
    ran = run(*words)
    assert ran.code == 0
    assert ran.err == "note: 3 texts left out, since the encoder knows no word in them: b1, b2, b4\n"
    record = json.loads(run(*words, "--json").out)
    assert record["unknown"] == ["b1", "b2", "b4"]
    assert record["candidates"] == 2


def test_duplicates_are_said_and_dropped_on_request(run, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,text\nx,read a file\ny,read a file\nz,write a file\n")
    words = ["retrieve", "--corpus", path, "--query", "file", "-k", 2, "--model", "lsa"]
    repeats = "note: 1 text repeats an earlier one word for word"
    assert run(*words).err == f"{repeats}, kept (--drop-duplicates leaves out all but the first): y\n"
    ran = run(*words, "--drop-duplicates")
    assert ran.err == "note: 1 text repeats an earlier one word for word, left out: y\n"
    assert "\x1b" not in ran.out
    record = json.loads(run(*words, "--drop-duplicates", "--json").out)
    assert record["duplicates"] == [{"id": "y", "same_as": "x"}]
    assert sorted(item["id"] for item in record["set"]["items"]) == ["x", "z"]


def test_ids_that_repeat_are_said(run, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,text\nx,read a file\nx,write a file\n")
    ran = run("retrieve", "--corpus", path, "--query", "file", "-k", 1, "--model", "lsa")
    assert ran.err == "note: id: 'x' stands in row 0 and row 1 of a.csv: rows are numbered instead\n"


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-k", "0"], "k: 0 is below 1"),
        (["-k", "11"], "k: 11 is more than the 10 candidates; ask for at most 10"),
        (["--diversity", "1.5"], "diversity: 1.5 is outside [0, 1]"),
        (["--diversity", "nan"], "diversity: nan is outside [0, 1]"),
        (["--objective", "maxsum"], "objective: 'maxsum' is unknown; did you mean 'max-sum'?"),
        (["--solver", "gredy"], "solver: 'gredy' is unknown; did you mean 'greedy'?"),
        (["--compare", "topk"], "compare: 'topk' is unknown; did you mean 'top-k'?"),
        (["--model", "statik"], "model: 'statik' is unknown; did you mean 'static'?"),
        (["--metric", "cosin"], "metric: 'cosin' is unknown; did you mean 'cosine'?"),
        (["--certify", "ful"], "certify: 'ful' is unknown; did you mean 'full'?"),
        (["--relevance-scale", "ranks"], "relevance_scale: 'ranks' is unknown; did you mean 'rank'?"),
        (["--sharpness", "3"], "sharpness: 3 is neither 1 nor an even integer"),
        (["--text", "txt"], "text: corpus.jsonl has no column 'txt'; did you mean 'text'?"),
        (["--relevance", "score"], "query: --query and --relevance say the same thing twice; leave one out"),
        (["--solver", "frank-wolfe", "--objective", "mmr"], "solver: 'frank-wolfe' is not for mmr"),
        (["--threads", "0"], "threads: 0 is below 1"),
        (["--seed", "-1"], "seed: -1 is below 0"),
        (["--out", "set.txt"], "out: 'set.txt' ends in none of"),
        (["--out", "no/such/folder/set.json"], "out: no folder"),
        (
            ["--id", "topic"],
            "id: 'school' stands in line 1 and line 2 of corpus.jsonl; name a column without repeats",
        ),
        (
            ["--relevance-scale", "rank", "--group", "topic", "--max-per-group", "0"],
            "max_per_group: 0 is below 1",
        ),
    ],
)
def test_bad_input_is_one_line(refused, corpus, words, message):
    base = ["retrieve", "--corpus", corpus, "--query", QUERY]
    model = [] if "--model" in words else ["--model", "lsa"]
    assert refused(*base, *model, *words).startswith(message)


def test_a_query_must_be_there_and_known(refused, corpus):
    base = ["retrieve", "--corpus", corpus, "--model", "lsa"]
    assert (
        refused(*base)
        == "query: say what is looked for with --query, --queries, --query-vector or --relevance"
    )
    assert "knows no word of 'xyzzy'; use other words, or another model" in refused(*base, "--query", "xyzzy")
    assert refused(*base, "--query", "") == "query: query 1 is blank; write what to find"


def test_a_damaged_corpus(refused, tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    message = refused("retrieve", "--corpus", tmp_path / "a.parquet", "--query", "x")
    assert message.startswith("corpus: a.parquet is truncated or damaged")
    assert refused("retrieve", "--corpus", tmp_path / "b.csv", "--query", "x").startswith(
        "corpus: no file or folder"
    )


def test_a_refused_run_writes_nothing(refused, corpus, tmp_path):
    refused("retrieve", "--corpus", corpus, "--query", "xyzzy", "--model", "lsa", "--no-cache", "--out",
            tmp_path / "set.json")  # fmt: skip
    assert os.listdir(tmp_path) == ["corpus.jsonl"]


def test_a_limit_without_end_is_null_in_json(run, by_vector, tmp_path):
    for more in ([], ["--out", tmp_path / "set.json"]):
        ran = run(*by_vector, "-k", 2, "--certify", "full", "--time-limit", "inf", "--json", *more)
        assert ran.code == 0
        assert json.loads(ran.out)["settings"]["time_limit"] is None
    assert json.loads((tmp_path / "set.json").read_text())["settings"]["time_limit"] is None
