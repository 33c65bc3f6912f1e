"""``setwise index build``, ``index info`` and ``retrieve --index``: what they print, keep and refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from setwise.files.versions import home

QUERY = "should school uniforms be worn?"


@pytest.fixture
def index(run, corpus, tmp_path):
    """An index of the corpus with groups, by the encoder that is always there."""
    ran = run("index", "build", corpus, "--out", tmp_path / "ix", "--group", "topic", "--model", "lsa")
    assert (ran.code, ran.err) == (0, "")
    return tmp_path / "ix"


@pytest.fixture
def numbers(run, tmp_path):
    """An approximate index of vectors alone, and a query's vector."""
    vectors = np.random.default_rng(0).standard_normal((2000, 8)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    np.save(tmp_path / "q.npy", vectors[7])
    words = ("--kind", "faiss", "--factory", "IVF16,Flat", "--nprobe", 2)
    ran = run("index", "build", tmp_path / "v.npy", "--out", tmp_path / "vx", *words)
    assert (ran.code, ran.err) == (0, "")
    return "--index", tmp_path / "vx", "--query-vector", tmp_path / "q.npy"


def record(ran):
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def ids(ran):
    return [item["id"] for item in record(ran)["set"]["items"]]


# ---------------------------------------------------------------- build


def test_one_summary_line(run, corpus, tmp_path):
    ran = run("index", "build", corpus, "--out", tmp_path / "ix", "--model", "lsa", "--storage", "float16")
    assert (ran.code, ran.err) == (0, "")
    name, facts = ran.out.rstrip("\n").split("  ")
    assert name == "ix"
    texts, width, encoder, search, size, seconds = facts.split(" · ")
    assert (texts, width, encoder, search) == ("10 texts", "10 d float16", "lsa", "exact, by scans")
    assert size.endswith(" kB")
    assert seconds.endswith(" s") or seconds.endswith(" ms")
    assert sorted(os.listdir(tmp_path)) == ["corpus.jsonl", "ix"]
    assert sorted(os.listdir(tmp_path / "ix")) == ["content-1", "current"]
    files = ["encoder.npz", "meta.json", "rows.parquet", "vectors.npy"]
    assert sorted(os.listdir(home(tmp_path / "ix"))) == files


def test_what_is_left_out_is_said(run, tmp_path):
    (tmp_path / "a.csv").write_text("id,text\nx,read a file\ny,\nz,read a file\n")
    ran = run("index", "build", tmp_path / "a.csv", "--out", tmp_path / "ix", "--model", "lsa")
    assert ran.err.splitlines() == [
        "note: 1 text left out, since the encoder knows no word in it: y",
        "note: 1 text repeats an earlier one word for word, kept (--drop-duplicates leaves out all but the "
        "first): z",
    ]
    assert "2 texts" in ran.out
    words = ("--index", tmp_path / "ix", "--query", "file", "-k", 2, "--json")
    assert sorted(ids(run("retrieve", *words))) == ["x", "z"]
    again = ("--model", "lsa", "--drop-duplicates", "--force")
    ran = run("index", "build", tmp_path / "a.csv", "--out", tmp_path / "ix", *again)
    assert "1 text " in ran.out


def test_own_vectors_with_texts(run, corpus, tmp_path):
    np.save(tmp_path / "vectors.npy", np.eye(10, 6) + 0.1)
    np.save(tmp_path / "q.npy", np.eye(6)[4])
    run("index", "build", corpus, "--out", tmp_path / "ix", "--vectors", "vectors.npy")
    words = ("retrieve", "--index", tmp_path / "ix", "-k", 1)
    items = record(run(*words, "--query-vector", tmp_path / "q.npy", "--json"))["set"]["items"]
    assert [(item["id"], item["text"][:8]) for item in items] == [("p4", "Wearing ")]
    assert run(*words, "--query", "school").err.startswith("setwise: query: the index was built from vectors")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "fais"], "kind: 'fais' is unknown; did you mean 'faiss'?"),
        (["--factory", "Flat"], "factory: it is for kind 'faiss', not for 'array'"),
        (["--kind", "faiss", "--factory", "Flut"], "factory: FAISS does not understand 'Flut' for 10 d"),
        (
            ["--kind", "faiss", "--factory", "IVF99,Flat"],
            "factory: 'IVF99,Flat' cannot be built of 10 vectors",
        ),
        (["--kind", "faiss", "--ef", "9"], "ef: 'Flat' is no HNSW index"),
        (["--storage", "int8"], "storage: 'int8' is unknown"),
        (["--metric", "cosin"], "metric: 'cosin' is unknown; did you mean 'cosine'?"),
        (["--model", "statik"], "model: 'statik' is unknown; did you mean 'static'?"),
        (["--text", "txt"], "text: corpus.jsonl has no column 'txt'; did you mean 'text'?"),
        (["--group", "topics"], "group: corpus.jsonl has no column 'topics'; did you mean 'topic'?"),
        (["--threads", "0"], "threads: 0 is below 1"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(refused, corpus, tmp_path, words, message):
    model = [] if "--model" in words else ["--model", "lsa"]
    out = ("--out", tmp_path / "ix")
    assert refused("index", "build", corpus, *out, *model, *words).startswith(message)
    assert os.listdir(tmp_path) == ["corpus.jsonl"]


def test_what_float16_cannot_hold(refused, tmp_path):
    np.save(tmp_path / "v.npy", np.diag([1.0, 1e9]))
    words = ("index", "build", tmp_path / "v.npy", "--out", tmp_path / "ix", "--storage", "float16")
    assert refused(*words) == "storage: row 1 has a number beyond what float16 holds"
    assert os.listdir(tmp_path) == ["v.npy"]


def test_only_an_index_is_replaced(run, refused, corpus, index, tmp_path):
    words = ("index", "build", corpus, "--model", "lsa", "--out")
    assert refused(*words, index) == f"out: {str(index)!r} exists; add --force to replace it"
    assert run(*words, index, "--force").code == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").touch()
    assert "is no setwise index, so nothing replaces it" in refused(*words, tmp_path / "mine", "--force")
    assert os.listdir(tmp_path / "mine") == ["a.txt"]


def test_an_interrupt_leaves_nothing(tmp_path, run):
    """Ctrl-C while the folder is being written, an index that is there included."""
    np.save(tmp_path / "v.npy", np.random.default_rng(0).standard_normal((500, 4)))
    steps = ["training", "indexing", "finishing"]
    code = f"""
import sys, time, setwise.cli.folders as folders
from contextlib import contextmanager
from setwise.cli import main

@contextmanager
def bar():
    def tell(step, done, total):
        if step == wanted:
            print(step, flush=True)
            time.sleep(60)
    yield tell

folders.step_bar = bar
for wanted in {steps}:
    try: main()
    except SystemExit as left: print(left.code, flush=True)
"""
    words = ["index", "build", str(tmp_path / "v.npy"), "--out", str(tmp_path / "ix"), "--kind=faiss"]
    assert run(*words).err == ""
    before = (home(tmp_path / "ix") / "meta.json").read_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", code, *words, "--factory=IVF4,Flat", "--force"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A run in the background passes on that it ignores Ctrl-C; a person's does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        for step in steps:
            assert process.stdout.readline() == f"{step}\n"
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "130\n"
            assert sorted(os.listdir(tmp_path)) == ["ix", "v.npy"]
            assert (home(tmp_path / "ix") / "meta.json").read_bytes() == before
        _, noted = process.communicate(timeout=60)
    assert noted == "setwise: interrupted; nothing was written\n" * len(steps)


# ---------------------------------------------------------------- info


def test_info(run, index, corpus):
    ran = run("index", "info", index)
    assert (ran.code, ran.err) == (0, "")
    head, *lines = ran.out.splitlines()
    assert head == "ix  index of corpus.jsonl"
    facts = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in lines}
    assert facts["vectors"] == "10 × 10, float32, cosine"
    assert facts["search"] == "exact, by scans"
    assert facts["texts"] == "yes"
    assert facts["groups"] == "yes, for --max-per-group"
    assert facts["queries"] == "by text, encoded by lsa (learned from this corpus, 10 d)"
    assert "verified" not in facts
    assert "its 3 files are as they were written" in run("index", "info", index, "--verify").out
    told = record(run("index", "info", index, "--json", "--verify"))
    assert (told["n"], told["d"], told["source"], told["verified"]) == (10, 10, "corpus.jsonl", True)
    assert str(corpus.parent) not in (home(index) / "meta.json").read_text()


def test_info_of_faiss(run, numbers):
    out = run("index", "info", numbers[1]).out
    assert "approximate, by FAISS IVF16,Flat, 2 of 16 lists a search" in out
    assert "by vector alone (--query-vector)" in out


def test_damage_is_one_line(refused, index, tmp_path):
    assert "no file or folder" in refused("index", "info", tmp_path / "missing")
    assert "no setwise index" in refused("index", "info", tmp_path)
    data = bytearray((home(index) / "vectors.npy").read_bytes())
    data[-1] ^= 1
    (home(index) / "vectors.npy").write_bytes(data)
    assert "vectors.npy was altered" in refused("index", "info", index, "--verify")
    (home(index) / "vectors.npy").write_bytes(data[:-4])
    for words in (("index", "info"), ("retrieve", "--query", QUERY, "--index")):
        assert "vectors.npy has" in refused(*words, index)


# ---------------------------------------------------------------- retrieve


def test_the_same_set_as_from_the_corpus(run, corpus, index, monkeypatch):
    words = ("--query", QUERY, "-k", 4, "--json")
    own = ids(run("retrieve", "--corpus", corpus, "--model", "lsa", *words))
    monkeypatch.setattr("setwise.encode.lsa.LSA.fit", lambda *_: pytest.fail("the corpus was encoded again"))
    assert ids(run("retrieve", "--index", index, *words)) == own


def test_a_set_as_a_table(run, index):
    ran = run("retrieve", "--index", index, "--query", QUERY, "-k", 4)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].strip() == f"“{QUERY}”"
    assert lines[2].split() == ["id", "relevance", "gain", "text"]
    assert "of 10" in ran.out.partition("proof")[2]
    assert "pool   looked at 10 of 10: all there are" in ran.out
    assert "index: ix, 10 × 10; lsa (learned from this corpus, 10 d)" in ran.out
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("columns", ["50", "80", "120"])
def test_no_line_is_wider_than_the_terminal(run, index, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    for words in ((), ("--compare", "top-k")):
        out = run("retrieve", "--index", index, "--query", QUERY, "-k", 4, *words).out
        assert max(map(len, out.splitlines())) <= int(columns)


@pytest.mark.parametrize(
    ("words", "proof", "pool"),
    [
        ([], ", relative to what the index returns", ": enough, no other that the index would return would"),
        (
            ["--objective", "mmr"],
            "no bound exists for mmr; the scan over all that the index returns picks exactly the same",
            ": enough, no other that the index would return would",
        ),
        (["--pool", "10", "--diversity", "0.9"], "within ", "; --pool auto fetches until it is enough"),
        (["--certify", "none"], "not compared", "not checked whether enough candidates were fetched"),
        (
            ["--solver", "top-k", "--pool", "10"],
            "no bound from this pool, and nothing is proven of top-k",
            "may be too few; --pool auto",
        ),
    ],
)
def test_proofs_and_pools_in_words(run, numbers, monkeypatch, words, proof, pool):
    monkeypatch.setenv("COLUMNS", "160")
    ran = run("retrieve", *numbers, "-k", 5, *words)
    lines = {line.split("  ")[0]: line for line in ran.out.splitlines()}
    assert proof in lines["proof"]
    assert pool in lines["pool"]
    assert "index: vx, 2,000 × 8, FAISS IVF16,Flat" in ran.out


def test_json_is_one_object_with_stable_keys(run, index):
    told = record(
        run("retrieve", "--index", index, "--query", QUERY, "-k", 3, "--json", "--compare", "top-k")
    )
    assert list(told) == [
        "setwise", "index", "query", "settings", "encoder", "candidates", "set", "compare", "cursor",
    ]  # fmt: skip
    assert list(told["settings"]) == [
        "k", "solver", "diversity", "objective", "sharpness", "solver_options", "include", "exclude",
        "max_per_group", "limits", "costs", "budget", "max_similarity", "min_gain", "shown", "facets",
        "where", "offset", "after", "pool", "time_limit", "seed", "threads", "certify",
    ]  # fmt: skip
    assert list(told["set"]["items"][0]) == [
        "rank", "id", "row", "relevance", "gain", "text", "topic", "score",
    ]  # fmt: skip
    assert told["settings"]["sharpness"] == 8
    assert told["candidates"] == 10
    assert told["compare"]["solver"] == "top-k"
    assert told["set"]["certificate"]["scope"] == "all"


def test_another_solvers_set_beside_it(run, index):
    ran = run(
        "retrieve", "--index", index, "--query", QUERY, "-k", 4, "--compare", "top-k", "--diversity", 0.6
    )
    assert "top-k (4)" in ran.out
    assert "less than setwise; " in ran.out
    assert "looked at 10 of 10: all there are" in ran.out


def test_must_haves_exclusions_and_groups(run, index):
    words = ("retrieve", "--index", index, "--query", QUERY, "-k", 4, "--json")
    assert ids(run(*words, "--include", "p9", "--include", "p6"))[:2] == ["p9", "p6"]
    first = ids(run(*words))
    assert not set(ids(run(*words, "--exclude", first[0], "--exclude", first[1]))) & set(first[:2])
    items = record(run(*words, "--max-per-group", 2))["set"]["items"]
    topics = ["school" if "chool" in item["text"] else "other" for item in items]
    assert max(topics.count(topic) for topic in topics) <= 2


def test_pages(run, index):
    words = ("retrieve", "--index", index, "--query", QUERY, "-k", 4)
    pages = [ids(run(*words, "--json", "--offset", offset)) for offset in (0, 4)]
    assert len({*pages[0], *pages[1]}) == 8
    out = run(*words, "--offset", 4).out
    assert "5   p" in out.replace(pages[1][0], "p")
    assert "to add to the 4 before" in out
    cursor = record(run(*words, "--json"))["cursor"]
    assert ids(run(*words, "--json", "--after", cursor)) == pages[1]
    assert run(*words, "--after", cursor).out.splitlines()[1:-1] == out.splitlines()[1:-1]
    far = run(*words, "--offset", 10**18)
    assert far.code == 2
    assert "offset: 1000000000000000000 is past 32 pages of 4" in far.err
    past = run(*words, "--offset", 12)
    assert past.code == 0
    assert "note: nothing to show: the set is empty" in past.err


def test_the_set_in_a_file(run, index, tmp_path):
    words = ("retrieve", "--index", index, "--query", QUERY, "-k", 3)
    for name in ("set.jsonl", "set.json", "set.npy", "set.parquet"):
        ran = run(*words, "--out", tmp_path / name)
        assert (ran.code, ran.err) == (0, f"note: wrote {tmp_path / name}\n")
        assert run(*words, "--out", tmp_path / name).code == 2
    rows = [json.loads(line) for line in (tmp_path / "set.jsonl").read_text().splitlines()]
    assert [row["row"] for row in rows] == np.load(tmp_path / "set.npy").tolist()


def test_fewer_than_asked_for_is_said(run, index):
    words = [word for row in range(8) for word in ("--exclude", f"p{row}")]
    ran = run("retrieve", "--index", index, "--query", QUERY, "-k", 4, *words)
    assert ran.code == 0
    assert ran.err.startswith("note: k: only 2 of the 4 asked for")
    both = run("retrieve", "--index", index, "--query", QUERY, "-k", 4, "--compare", "top-k", *words)
    assert (both.code, both.err) == (0, ran.err)
    everything = [word for row in range(10) for word in ("--exclude", f"p{row}")]
    ran = run("retrieve", "--index", index, "--query", QUERY, "-k", 4, *everything)
    assert ran.code == 0
    assert ran.err.startswith("note: nothing in the index")
    ran = run("retrieve", "--index", index, "--query", QUERY, "-k", 4, "--json", *everything)
    assert record(ran)["set"]["items"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-k", "11"], "k: 11 is more than the 10 of the index; ask for at most 10"),
        (["-k", "0"], "k: 0 is below 1"),
        (["--include", "p99"], "include: the index has no id 'p99'; did you mean 'p9'?"),
        (["--exclude", "x"], "exclude: the index has no id 'x'"),
        (["--exclude", "p1", "--exclude", "p1"], "exclude: 'p1' is named twice"),
        (["--exclude", "p1", "--include", "p1"], "include: 'p1' is in exclude, too"),
        (["--pool", "many"], "pool: 'many' is neither auto nor a number"),
        (["--pool", "3", "-k", "4"], "pool: 3 is below 4"),
        (["--offset", "-1"], "offset: -1 is below 0"),
        (["--offset", "4", "--compare", "top-k"], "compare: it compares first pages"),
        (["--after", "nonsense"], "after: nonsense is no cursor"),
        (["--solver", "random"], "solver: 'random' needs all candidates"),
        (["--solver", "gredy"], "solver: 'gredy' is unknown; did you mean 'greedy'?"),
        (["--sharpness", "3"], "sharpness: 3 is neither 1 nor an even integer"),
        (["--diversity", "1.5"], "diversity: 1.5 is outside [0, 1]"),
        (["--corpus", "x"], "index: --corpus and --index are two sources; leave one out"),
        (["--model", "lsa"], "model: --model goes with --corpus; an index has it from when it was built"),
        (["--metric", "cosine"], "metric: --metric goes with --corpus"),
        (["--group", "topic"], "group: --group goes with --corpus"),
        (["--drop-duplicates"], "drop_duplicates: --drop-duplicates goes with --corpus"),
        (
            ["--relevance", "score"],
            "relevance: --relevance goes with --corpus; an index is searched by a query",
        ),
        (["--no-cache"], "no_cache: --no-cache goes with --corpus; an index needs no cache"),
        (["--query-vector", "q.npy"], "query: --query and --query-vector say the same thing twice"),
    ],
)
def test_bad_queries_are_one_line(refused, index, words, message):
    assert refused("retrieve", "--index", index, "--query", QUERY, *words).startswith(message)


def test_other_refusals(refused, corpus, index, numbers, tmp_path):
    assert refused("retrieve", "--query", "x") == (
        "corpus: say what to retrieve from: a corpus or an index, first or with --corpus or --index"
    )
    assert refused("retrieve", "--index", index).startswith("query: say what is looked for")
    assert "knows no word of 'xyzzy'" in refused("retrieve", "--index", index, "--query", "xyzzy")
    assert "was built from vectors alone" in refused("retrieve", *numbers[:2], "--query", "x")
    np.save(tmp_path / "bad.npy", np.ones(5))
    message = refused("retrieve", *numbers[:2], "--query-vector", tmp_path / "bad.npy")
    assert message == "query-vector: bad.npy has shape (5,), the vectors have 8 d"
    assert "has no groups" in refused("retrieve", *numbers, "--max-per-group", 1)
    for option in (("--pool", "5"), ("--offset", "2")):
        message = refused("retrieve", "--corpus", corpus, "--query", "x", *option)
        assert message.endswith(f"{option[0]} goes with --index; build one with setwise index build")


def test_a_bar_on_a_terminal(corpus, tmp_path):
    """Progress shows on a terminal and nowhere else."""
    import pty

    mine, theirs = pty.openpty()
    words = ["index", "build", str(corpus), "--out", str(tmp_path / "ix"), "--model", "static"]
    with subprocess.Popen(
        [sys.executable, "-c", "from setwise.cli import main; main()", *words],
        stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        with os.fdopen(mine, "rb", buffering=0) as terminal:
            try:  # read while it runs: a terminal holds 4096 bytes, and who writes more waits
                while part := terminal.read(4096):
                    shown += part
            except OSError:  # the other end is closed
                pass
        printed = process.stdout.read()
    assert process.returncode == 0
    assert b"reading" in shown
    assert b"10 texts" in printed.replace(b"\xc2\xb7", b"")


# ---------------------------------------------------------------- a living index


@pytest.fixture
def folder(run, tmp_path):
    """A folder of documents, and its index."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for name in ("apples", "trains", "ships"):
        sections = [f"# Part {part}\n\nMore {name} of kind {name[0]}{part}." for part in range(3)]
        (notes / f"{name}.md").write_text("\n\n".join(sections))
    ran = run("index", "build", notes, "--out", tmp_path / "ix", "--model", "lsa")
    assert (ran.code, ran.err) == (0, "")
    return notes


def test_a_folder_changes_and_its_index_follows(run, folder, tmp_path):
    index = tmp_path / "ix"

    def said(*words):
        ran = run("index", *words)
        assert (ran.code, ran.err) == (0, "")
        return ran.out.split("  ", 1)[1].rpartition(" · ")[0]

    (folder / "planes.md").write_text("# Wings\n\nMore ships of kind p0.")
    assert said("update", index, folder) == "1 added · 9 unchanged · 1 text encoded · now 10"
    (folder / "ships.md").write_text("One more ship of kind s9.")
    (folder / "apples.md").unlink()
    changed = "1 added · 6 removed · 4 unchanged · 1 text encoded · now 5"
    assert said("update", index, folder) == changed
    assert said("update", index, folder) == "5 unchanged · 0 texts encoded · now 5"
    (tmp_path / "extra.txt").write_text("More trains of kind t0.")
    assert said("add", index, tmp_path / "extra.txt") == "1 added · 5 unchanged · 1 text encoded · now 6"
    gone = ("--where", "file = 'trains.md' and position > 1")
    assert said("remove", index, *gone) == "2 removed · 4 unchanged · 0 texts encoded · now 4"
    assert said("remove", index, "planes.md") == "1 removed · 3 unchanged · 0 texts encoded · now 3"
    words = ("retrieve", "--index", index, "--query", "trains", "-k", 3, "--json")
    items = record(run(*words))["set"]["items"]
    assert {item["id"]: (item["file"], item["title"], item["position"]) for item in items} == {
        "trains.md:1": ("trains.md", "Part 0", 1),
        "ships.md": ("ships.md", "", 1),
        "extra.txt": ("extra.txt", "", 1),
    }
    assert "columns  file (string), title (string), position (int64)" in " ".join(
        run("index", "info", index).out.replace("   ", "  ").split("\n")
    )


def test_a_condition_leaves_fewer_candidates(run, refused, corpus, tmp_path):
    run("index", "build", corpus, "--out", tmp_path / "ix", "--model", "lsa")
    sources = {"--corpus": (corpus, "--model", "lsa", "--no-cache"), "--index": (tmp_path / "ix",)}
    found = {}
    for option, words in sources.items():
        words = ("retrieve", option, *words, "--query", "school", "-k", 3)
        items = record(run(*words, "--where", "score <= 0.5 or topic = 'other'", "--json"))["set"]["items"]
        assert all(item["score"] <= 0.5 or item["topic"] == "other" for item in items)
        assert len(items) == 3
        found[option] = [item["id"] for item in items]
        assert refused(*words, "--where", "scor < 1").startswith(
            "where: there is no column 'scor'; did you mean"
        )
        assert refused(*words, "--where", "score > 9").startswith("where: nothing of the 10")
    assert found["--corpus"] == found["--index"]
    words = ("--corpus", corpus, "--model", "lsa", "--query", "school", "-k", 3, "--where", "score > 0.85")
    assert refused("retrieve", *words) == "k: 3 is more than the 2 candidates; ask for at most 2"
    words = (*words[:-2], "--where", "score < 0.5", "--include", "p0")
    assert refused("retrieve", *words).endswith("candidates: it does not fulfil 'score < 0.5'")


def test_columns_of_ones_own_stand_in_every_output(run, tmp_path):
    (tmp_path / "a.csv").write_text("id,text,rank,year\nx,red apples,gold,2020\ny,green pears,,\n")
    words = ("--query", "apples", "--model", "lsa", "-k", 2, "--no-cache")
    run("retrieve", "--corpus", tmp_path / "a.csv", *words, "--out", tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["rank"], row["corpus_rank"], row["year"]) for row in rows] == [
        (1, "gold", 2020),
        (2, None, None),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["remove", "IX"], "ids: say which rows to remove, by their ids or by --where"),
        (["remove", "IX", "shops.md"], "ids: the index has no id 'shops.md'"),
        (
            ["add", "IX", "NOTES"],
            "ids: the index has 'apples.md:1' already (and 8 more); setwise index update",
        ),
        (["update", "IX", "none"], "corpus: no file or folder 'none'"),
        (["update", "none", "NOTES"], "index: no file or folder 'none'"),
    ],
)
def test_changes_that_cannot_be_made(refused, folder, tmp_path, words, message):
    places = {"IX": tmp_path / "ix", "NOTES": folder}
    assert refused("index", *(places.get(word, word) for word in words)).startswith(message)
