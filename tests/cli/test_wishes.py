"""``setwise retrieve`` with budgets, limits, what was shown: kept, or refused in one line."""

import json
import re

import pytest

QUERY = "should school uniforms be worn?"


@pytest.fixture(params=["--corpus", "--index"])
def retrieve(request, run, corpus, tmp_path):
    """A function that retrieves from the corpus, or from an index of it, as JSON."""
    source = corpus
    if request.param == "--index":
        source = tmp_path / "index"
        built = run("index", "build", corpus, "--out", source, "--model", "lsa")
        assert built.code == 0, built.err

    def retrieve(*words):
        model = ["--model", "lsa"] if request.param == "--corpus" else []
        ran = run("retrieve", request.param, source, "--query", QUERY, *model, *words, "--json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)["set"]["items"]

    return retrieve


def test_as_many_as_fit(retrieve):
    for unit in ("words", "characters"):
        limit = 25 if unit == "words" else 120
        items = retrieve("--tokens", limit, "--tokenizer", unit)
        spent = sum(len(one["text"].split()) if unit == "words" else len(one["text"]) for one in items)
        assert len(items) > 1
        assert spent <= limit
    assert len(retrieve("--tokens", 25, "-k", 1)) == 1


def test_limits_and_unlikeness(retrieve):
    topics = [one["topic"] for one in retrieve("-k", 3, "--limit", "topic=1:2")]
    assert {topics.count("school"), topics.count("other")} == {1, 2}
    assert len(retrieve("-k", 2, "--max-similarity", 0.99)) == 2


def test_a_solver_is_told(retrieve):
    levels = ("--solver", "multilevel", "--solver-option", "partition=topic", "--solver-option")
    kept = retrieve(
        "-k", 2, *levels, "clusters=1", "--solver-option", "top_up=false", *("--compare", "top-k")
    )
    assert len({one["topic"] for one in kept}) == 1
    assert len(retrieve("-k", 3, "--solver", "frank-wolfe", "--solver-option", "penalty=2.5")) == 3


def test_each_facet_is_answered(retrieve):
    """Which objective it is need not be said; a corpus and an index of it answer alike."""
    asked = ("--facet", "recycling saves energy", "--facet", "patience with children", "--diversity", 0)
    texts = [one["text"] for one in retrieve("-k", 3, *asked)]
    assert any("Recycling" in text for text in texts)
    assert any("patience" in text for text in texts)
    assert len(retrieve("-k", 3, "--objective", "max-min")) == 3


def test_shown_and_worth(retrieve):
    first = [one["id"] for one in retrieve("-k", 2)]
    words = [word for name in first for word in ("--shown", name)]
    assert not set(first) & {one["id"] for one in retrieve("-k", 2, *words)}
    assert len(retrieve("-k", 5, "--min-gain", 0.9)) < 5


def test_why(run, corpus):
    words = ["retrieve", "--corpus", corpus, "-q", QUERY, "--model", "lsa", "-k", 3, "--why"]
    printed = run(*words).out
    assert "left out, the most relevant" in printed
    assert re.search(r"\n    +[a-z]", printed.partition("\nchosen\n")[2])  # what goes on is set in
    assert "repeats p" in printed  # the second spelling of the first text
    beside = run(*words, "--compare", "top-k").out
    assert beside.partition("\nchosen\n")[2].startswith(
        printed.partition("\nchosen\n")[2].partition("\nvec")[0]
    )
    found = json.loads(run(*words, "--json").out)
    assert [one["member"] for one in found["why"]["chosen"]] == [one["id"] for one in found["set"]["items"]]
    assert all(one["relevance"] is not None for one in found["why"]["left_out"])


@pytest.mark.parametrize(
    ("words", "summed"),
    [
        ([], False),
        (["--compare", "top-k"], False),
        (["--objective", "log-det", "--diversity", 0.5], True),
        (["--min-gain", 0.1], True),
    ],
)
def test_what_is_said_of_relevance_is_what_it_is(run, corpus, words, summed):
    words = ["retrieve", "--corpus", corpus, "-q", QUERY, "--model", "lsa", "-k", 3, *words]
    found = json.loads(run(*words, "--json").out)["set"]
    relevance = [one["relevance"] for one in found["items"]]
    known = sum(relevance) / (1 if summed else len(relevance))
    assert found["relevance"] == pytest.approx(known)
    assert f"relevance: {'sum' if summed else 'mean'} over the set" in " ".join(run(*words).out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit", "topic"], "limit: expected COLUMN=MOST or COLUMN=LEAST:MOST, got 'topic'"),
        (["--limit", "topic=1", "--limit", "topic=2"], "limit: 'topic' is named twice"),
        (["--solver-option", "steps=3"], "solver_options: 'auto' has none; frank-wolfe, multilevel, "),
        (["--solver-option", "steps"], "solver-option: expected NAME=VALUE, got 'steps'"),
        (["--limit", "colour=1"], "limit['colour']: the corpus has no column 'colour'"),
        (["--tokens", 9, "--tokenizer", "wrds"], "tokenizer: 'wrds' is unknown; did you mean 'words'?"),
        (["--tokenizer", "words"], "tokenizer: it counts for --tokens"),
        (["--tokens", 1, "--tokenizer", "characters"], "tokens: 1 buys nothing; the cheapest "),
        (["--tokens", 0], "tokens: 0 is below 1"),
        (["--objective", "facets"], "facet: --objective facets covers what --facet names"),
        (["-k", 3, "--max-similarity", -1], "max_similarity: only "),
        (["--shown", "nobody"], "shown: the corpus has no id 'nobody'"),
    ],
)
def test_what_cannot_be(refused, corpus, words, message):
    assert refused("retrieve", "--corpus", corpus, "-q", QUERY, "--model", "lsa", *words).startswith(message)


def test_what_a_corpus_cannot_give_is_said_in_the_commands_words(refused, tmp_path):
    rows = [{"id": f"d{row}", "text": text, "gap": row or None} for row, text in enumerate(["tea", "jam"])]
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for words, told in (
        (["--include", "d1", "--shown", "d1"], "include: 'd1' is in shown, too"),
        (["--tokens", 9, "--tokenizer", "gap"], "tokenizer: id 'd0' has none (None); give it a number"),
        (["--limit", "gap=1"], "limit['gap']: id 'd0' has no label (None); give it a label of its own"),
        (["--facet", "?"], "facet: ngrams (up to 2 words, 10,000 buckets, 512 d) knows no word of '?'; use"),
        (["--per-document", 1], "per_document: the corpus has no labels, and is no documents"),
    ):
        line = refused("retrieve", tmp_path / "few.jsonl", "tea", "-k", 1, "--model", "ngrams", *words)
        assert line.startswith(told)
        assert "setwise." not in line
