"""Words and numbers as a person sees them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from setwise import Certificate, Selection
from setwise.cli import output
from setwise.cli.output import Status, enough, milliseconds, one_line, plain, proof
from setwise.cli.set_output import middle, print_hits
from setwise.retrieval import Passages

UNBOUNDED = "no bound exists for mmr"
SAME = "the scan over all 11,112 picks exactly the same"


def selection(certificate, solver="greedy"):
    return Selection(np.arange(10), np.zeros(10), 1.0, 1.0, 1.0, certificate, solver, 0.1)


@pytest.mark.parametrize(
    ("certificate", "line"),
    [
        (Certificate(1.0, 0.0, True, 20, True), "proven the best possible 10 of 11,112"),
        (Certificate(1.1, 0.00057, False, 20, True), "within 0.057 % of the best possible 10 of 11,112"),
        (Certificate(1.1, 0.0312, False, 20, True), "within 3.2 % of the best possible 10 of 11,112"),
        (Certificate(None, None, False, 9, True), f"{UNBOUNDED}; {SAME}"),
        (Certificate(None, None, False, 9, False), f"{UNBOUNDED}, and nothing is proven of greedy"),
        (None, "not compared with the best possible set (--certify none)"),
    ],
)  # fmt: skip
def test_certificates_in_words(certificate, line):
    told = proof(selection(certificate), 11_112, "mmr")
    assert told.plain == line
    assert (told.style == "green") == line.startswith(("proven", "within", f"{UNBOUNDED}; the scan"))


RETURNED = "relative to what the index returns"


def returned(*facts):
    return Certificate(*facts, "returned")


@pytest.mark.parametrize(
    ("certificate", "line"),
    [
        (returned(1.0, 0.0, True, 20, True), f"proven the best possible 10 of 99, {RETURNED}"),
        (returned(1.1, 0.02, False, 20, True), f"within 2.0 % of the best possible 10 of 99, {RETURNED}"),
        (
            returned(None, None, False, 9, True),
            f"{UNBOUNDED}; the scan over all that the index returns picks exactly the same",
        ),
        (returned(None, None, False, 9, False), f"{UNBOUNDED}, and nothing is proven of greedy"),
    ],
)
def test_certificates_of_an_index_in_words(certificate, line):
    assert proof(selection(certificate), 99, "mmr").plain == line


def test_a_page_is_proven_beside_the_pages_before():
    known = Certificate(1.1, 0.02, False, 20, True)
    assert (
        proof(selection(known), 99, "mmr", 20).plain
        == "within 2.0 % of the best 10 of 99 to add to the 20 before"
    )


@pytest.mark.parametrize(
    ("certificate", "pool", "line"),
    [
        (Certificate(1.0, 0.0, True, 99, True), "auto", "looked at 99 of 99: all there are"),
        (
            Certificate(1.1, 0.02, False, 20, True),
            "auto",
            "looked at 20 of 99: enough, no other would change the set",
        ),
        (
            returned(None, None, False, 20, True),
            20,
            "looked at 20 of 99: enough, no other that the index would return would change the set",
        ),
        (
            Certificate(1.1, 0.02, False, 20, False),
            "auto",
            "looked at 20 of 99: others could improve the set by at most 2.0 %",
        ),
        (
            Certificate(None, None, False, 20, False),
            20,
            "looked at 20 of 99: may be too few; --pool auto fetches until it is enough",
        ),
        (None, 20, "not checked whether enough candidates were fetched (--certify none)"),
    ],
)  # fmt: skip
def test_whether_enough_was_fetched_in_words(certificate, pool, line):
    assert enough(selection(certificate), 99, pool) == line


def test_times():
    assert (milliseconds(0.0123), milliseconds(0.9994), milliseconds(1.26)) == ("12 ms", "999 ms", "1.3 s")


#: Red, a new title, the cursor home (in two spellings), a reversed line, half a character.
HOSTILE = "a\x1b[31mb\x1b]0;title\x07c\x9b2Jd\r\x08e\u202ef\ud800g"


def test_no_command_to_a_terminal_gets_through(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)  # no colors of its own
    harmless = "a[31mb]0;titlec2Jd efg"
    assert plain(HOSTILE) == harmless
    output.note(HOSTILE)
    output.print_line(HOSTILE, HOSTILE)
    output.print_facts(HOSTILE, HOSTILE, {HOSTILE: HOSTILE})
    hits = Passages(
        selection=selection(Certificate(1.0, 0.0, True, 20, True)),
        rows=np.arange(10),
        ids=[HOSTILE] * 10,
        texts=[HOSTILE] * 10,
        relevances=np.ones(10),
        cosines=np.eye(10),
    )
    print_hits(hits, 11, "max-sum", f"{HOSTILE} [/closed] [bold]kept[/bold]")
    shown = "".join(capsys.readouterr())
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert f"note: {harmless}\n" in shown
    assert shown.count("31m") >= 25
    assert "[/closed] [bold]kept[/bold]" in shown


def test_json_escapes_what_would_command_a_terminal(capsys):
    output.print_json({"id": HOSTILE, "text": "schön"})
    (line,) = capsys.readouterr().out.splitlines()
    assert line.isprintable()
    assert "schön" in line
    assert json.loads(line) == {"id": HOSTILE, "text": "schön"}


def test_texts_on_one_line():
    assert one_line("Heading\n=======\n\ta  b\x1b[31mc\x00") == "Heading a b[31mc"


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Mn", "Me", "Cf"]), max_size=60), st.integers(8, 40)
)
def test_names_are_cut_in_theirmiddle(name, width):
    shown = middle(name, width, "bold").plain
    assert cell_len(shown) <= width
    if cell_len(name) <= width:
        assert shown == name
    else:
        assert shown.partition("…")[2] in name
        assert name.endswith(shown.rpartition("…")[2])


def test_no_status_where_nobody_looks(capsys):
    with Status() as status:
        status._began -= 10
        status.tell("working")
        status.encoding(1, 2)
    assert capsys.readouterr() == ("", "")


def test_a_status_on_a_terminal_comes_late_and_goes(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Status() as status:
        status.tell("early")
        assert status._line is None
        status._began -= 10
        status.encoding(1, 2000)
        assert status._line.status == "encoding 1 of 2,000 texts"


@pytest.fixture
def inputs(corpus, tmp_path):
    """Files that commands read, by name."""
    rows = [
        {"prompt": f"Q{row}?", "responses": ["a", "b c", "d e f"], "rewards": [3, 2, 1]} for row in (1, 2)
    ]
    (tmp_path / "responses.jsonl").write_text("\n".join(map(json.dumps, rows)))
    np.save(tmp_path / "query.npy", [0.0, 1.0, 1.0])
    (tmp_path / "bars.jsonl").write_text(json.dumps({"id": "p1"}))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"query": "school"}))
    return {file.name: file for file in tmp_path.iterdir()}


READS = [
    ("retrieve --corpus corpus.jsonl --vectors vector --query-vector query.npy -k 2", "corpus.jsonl"),
    ("retrieve --corpus corpus.jsonl --vectors vector --query-vector query.npy -k 2", "query.npy"),
    (
        "retrieve --corpus corpus.jsonl --queries queries.jsonl --model ngrams --no-cache",
        "queries.jsonl",
    ),
    ("catalog select cat -k 2 --exclude-from bars.jsonl", "bars.jsonl"),
    ("catalog select cat -k 2 --quality corpus.jsonl --quality-column score", "corpus.jsonl"),
    ("encode corpus.jsonl --model ngrams --no-cache", "corpus.jsonl"),
    ("finetune --repository corpus.jsonl --examples bars.jsonl --rows 2 --method nearest", "corpus.jsonl"),
    ("prefer select --responses responses.jsonl -k 1 --model lsa", "responses.jsonl"),
    ("prefer generate --prompts responses.jsonl --server http://127.0.0.1:9", "responses.jsonl"),
]


@pytest.mark.parametrize(("words", "source"), READS)
def test_what_is_read_is_not_replaced(refused, run, inputs, tmp_path, monkeypatch, words, source):
    """By none of its names: --force replaces what an earlier run wrote, not what this one is to read."""
    monkeypatch.chdir(tmp_path)
    if words.startswith("catalog"):
        words_to_build = "catalog build corpus.jsonl --vectors vector --quality score --out cat --clusters 2"
        assert run(*words_to_build.split()).code == 0
    file = inputs[source]
    before = file.read_bytes()
    (tmp_path / f"link{file.suffix}").symlink_to(file)
    (tmp_path / f"other{file.suffix}").hardlink_to(file)
    for out in (source, f"../{tmp_path.name}/{source}", file, f"link{file.suffix}", f"other{file.suffix}"):
        told = refused(*words.split(), "--out", out, "--force")
        assert re.match(r"out: .* is (the file that .* is read from; name another|read as )", told)
        assert file.read_bytes() == before


def test_a_file_beside_a_report_is_not_replaced_unasked(refused, inputs, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "means.csv").write_text("mine")
    words = ("compare", inputs["corpus.jsonl"], inputs["bars.jsonl"], "--out", tmp_path / "out")
    assert "means.csv' exists; add --force" in refused(*words)


def test_ids_stay_on_the_narrowest_terminal_and_whole_in_a_pipe(run, corpus, tmp_path, monkeypatch):
    np.save(tmp_path / "query.npy", [0.0, 1.0, 1.0])
    words = ("retrieve", "--corpus", corpus, "--vectors", "vector", "--query-vector", tmp_path / "query.npy")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    narrow = re.sub(r"\x1b\[[0-9;]*m", "", run(*words, "-k", 2).out)
    assert re.search(r"^ 1   p\d .*\n(.*\n)* 2   p\d ", narrow, re.MULTILINE)
    assert max(map(len, narrow.splitlines())) <= 20
    monkeypatch.delenv("FORCE_COLOR")
    name = "long " * 20 + "name"
    corpus.write_text(json.dumps({"id": name, "text": "apples", "vector": [1, 2, 3]}))
    assert f" 1   {name}   " in run(*words, "-k", 1).out


def test_ids_and_conditions_where_the_locale_lacks_a_letter(run, tmp_path):
    """As words come there: bytes that the encoding has not, each for itself."""
    rows = [{"id": name, "text": f"{name} apples", "kind": name} for name in ("ä", "ö")]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    index = tmp_path / "ix"
    assert run("index", "build", tmp_path / "rows.jsonl", "--out", index, "--model", "ngrams").code == 0
    given = "ö".encode().decode("ascii", "surrogateescape")
    words = ("retrieve", index, "-q", "apples", "-k", 1, "--json")
    for more in (("--include", given), (f"--include={given}",), ("--where", f"kind = '{given}'")):
        assert json.loads(run(*words, *more).out)["set"]["items"][0]["id"] == "ö"
    assert run("index", "remove", index, given).code == 0
    assert json.loads(run(*words).out)["set"]["items"][0]["id"] == "ä"
