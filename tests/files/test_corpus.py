"""Corpora: tables, folders and files of text, and arrays; which columns are taken for what."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from optional import lazily, needs
from setwise.files import duplicates, read_corpus

pa = lazily("pyarrow")
pq = lazily("pyarrow.parquet")


def jsonl(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def test_columns_are_found_by_their_names(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"pid": 5, "title": "t", "passage": "p", "text": "x"}])
    corpus = read_corpus(path)
    assert list(corpus.ids) == [5]
    assert corpus.texts == ["x"]
    assert (corpus.vectors, corpus.relevance, corpus.groups, corpus.notes) == (
        *(None, None, None),
        ("ids: column 'pid'",),
    )
    assert read_corpus(path, text="title", id="passage").texts == ["t"]
    assert list(read_corpus(path, text="title", id="passage").ids) == ["p"]


@needs("pyarrow")
def test_the_only_column_of_strings_is_the_text(tmp_path):
    pq.write_table(pa.table({"n": [1, 2], "speech": ["a", "b"]}), tmp_path / "a.parquet")
    corpus = read_corpus(tmp_path / "a.parquet")
    assert corpus.texts == ["a", "b"]
    assert list(corpus.ids) == [0, 1]
    path = jsonl(tmp_path / "b.jsonl", [{"question": "q", "answer": "a"}])
    with pytest.raises(ValueError, match=r"text: b.jsonl has no column .* name one of question, answer"):
        read_corpus(path)
    assert read_corpus(path, text="answer").texts == ["a"]
    # a column that is named for something else is not the text
    assert read_corpus(path, group="answer").texts == ["q"]


def test_a_missing_column_names_the_nearest_and_all(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"pid": 1, "text": "x", "score": 1}])
    for argument, name, near in (
        ("text", "txt", "text"),
        ("relevance", "scores", "score"),
        ("id", "pd", "pid"),
    ):
        with pytest.raises(ValueError, match="has no column") as caught:
            read_corpus(path, **{argument: name})
        assert str(caught.value) == (
            f"{argument}: a.jsonl has no column {name!r}; did you mean {near!r}? (columns: pid, text, score)"
        )


def test_numbers_that_the_caller_brings(tmp_path):
    rows = [
        {"id": i, "text": "x", "v": [i, 1.0], "r": i / 2, "g": "odd" if i % 2 else "even"} for i in range(4)
    ]
    corpus = read_corpus(jsonl(tmp_path / "a.jsonl", rows), vectors="v", relevance="r", group="g")
    np.testing.assert_allclose(corpus.vectors, [[0, 1], [1, 1], [2, 1], [3, 1]])
    np.testing.assert_allclose(corpus.relevance, [0, 0.5, 1, 1.5])
    assert corpus.groups == ["even", "odd", "even", "odd"]


@needs("pyarrow")
def test_vectors_need_no_texts(tmp_path):
    pq.write_table(pa.table({"key": [1, 2], "v": [[1.0, 0.0], [0.0, 1.0]]}), tmp_path / "a.parquet")
    corpus = read_corpus(tmp_path / "a.parquet", vectors="v")
    assert corpus.texts is None
    assert len(corpus) == 2


def test_vectors_in_a_file_beside_the_corpus(tmp_path, monkeypatch):
    path = jsonl(tmp_path / "a.jsonl", [{"text": "x"}, {"text": "y"}])
    np.save(tmp_path / "e.npy", np.eye(2, dtype=np.float16))
    assert read_corpus(path, vectors="e.npy").vectors.shape == (2, 2)
    assert read_corpus(path, vectors=str(tmp_path / "e.npy")).vectors.dtype == np.float16
    np.save(tmp_path / "f.npy", np.eye(3))
    with pytest.raises(ValueError, match=r"vectors: f.npy has 3 rows, a.jsonl has 2; they must match"):
        read_corpus(path, vectors="f.npy")
    np.save(tmp_path / "g.npy", np.zeros(2))
    with pytest.raises(ValueError, match=r"vectors: g.npy has shape \(2,\), expected \(n, d\)"):
        read_corpus(path, vectors="g.npy")
    with pytest.raises(FileNotFoundError, match=r"vectors: no file or folder 'h.npy'"):
        read_corpus(path, vectors="h.npy")


def test_an_array_is_a_corpus(tmp_path):
    np.save(tmp_path / "e.npy", np.eye(3))
    corpus = read_corpus(tmp_path / "e.npy")
    assert list(corpus.ids) == [0, 1, 2]
    assert corpus.texts is None
    with pytest.raises(ValueError, match="leave one of the two out"):
        read_corpus(tmp_path / "e.npy", vectors="e.npy")


def test_ids_that_repeat(tmp_path):
    path = jsonl(
        tmp_path / "a.jsonl", [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}, {"id": "a", "text": "z"}]
    )
    corpus = read_corpus(path)
    assert list(corpus.ids) == [0, 1, 2]
    assert corpus.notes == ("id: 'a' stands in line 1 and line 3 of a.jsonl: rows are numbered instead",)
    with pytest.raises(
        ValueError, match=r"id: 'a' stands in line 1 and line 3 of a.jsonl; name a column without"
    ):
        read_corpus(path, id="id")


def test_ids_that_only_look_different_repeat(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"id": 1, "text": "x"}, {"id": "1", "text": "y"}])
    with pytest.raises(ValueError, match="id: '1' stands in line 1 and line 2"):
        read_corpus(path, id="id")


def test_the_next_known_column_serves_where_the_first_repeats(tmp_path):
    rows = [{"id": 1, "pid": "p", "text": "x"}, {"id": 1, "pid": "q", "text": "y"}]
    corpus = read_corpus(jsonl(tmp_path / "a.jsonl", rows))
    assert list(corpus.ids) == ["p", "q"]
    assert corpus.notes == ("id: 1 stands in line 1 and line 2 of a.jsonl: column 'pid' is used instead",)


@pytest.mark.parametrize(
    ("row", "asked", "told", "first"),
    [
        ({"id": 7, "doc_id": 8}, {}, None, 7),
        ({"_id": 7}, {}, None, 7),
        ({"doc_id": 7, "uid": 8, "movieId": 9}, {}, "ids: column 'doc_id'; others: 'uid', 'movieId'", 7),
        ({"item_id": 7, "valid": 1, "paid": 2}, {}, "ids: rows are numbered; others: 'item_id'", 0),
        ({"item_id": 7}, {"id": "item_id"}, None, 7),
        ({"item_id": 7}, {"group": "item_id"}, None, 0),
        ({"valid": 7}, {}, None, 0),
        ({"id": [7]}, {}, "ids: rows are numbered; others: 'id' (list, which is no id)", 0),
    ],
)
def test_ids_that_were_not_asked_for_are_told(tmp_path, row, asked, told, first):
    corpus = read_corpus(jsonl(tmp_path / "a.jsonl", [{"text": "x", **row}]), **asked)
    assert corpus.notes == (() if told is None else (told,))
    assert list(corpus.ids) == [first]


# ---------------------------------------------------------------- folders and files of text


def test_a_folder_is_read_recursively_in_sorted_order(tmp_path):
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / "z.txt").write_text("last")
    (tmp_path / "a.md").write_text("\ufefffirst")
    (tmp_path / "b" / "deep" / "c.RST").write_text("deep – ü", encoding="utf-8")
    (tmp_path / "b" / "x.bin").write_text("no text")
    (tmp_path / ".git" / "d.txt").write_text("hidden")
    (tmp_path / ".e.txt").write_text("hidden")
    corpus = read_corpus(tmp_path)
    assert list(corpus.ids) == ["a.md", "z.txt", "b/deep/c.RST"]
    assert corpus.texts == ["first", "last", "deep – ü"]


def test_folders_that_hold_no_text(tmp_path):
    with pytest.raises(ValueError, match=r"corpus: folder .* holds no document \(\.txt, .*, or code\)$"):
        read_corpus(tmp_path)
    (tmp_path / "a.jsonl").write_text("{}")
    with pytest.raises(ValueError, match=r"holds no document .*; for a table name it, such as a\.jsonl"):
        read_corpus(tmp_path)


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"corpus: sub/latin\.txt is not UTF-8 \(byte 3\)"):
        read_corpus(tmp_path)


def test_a_text_file_is_its_paragraphs(tmp_path):
    path = tmp_path / "notes.md"
    path.write_text("\n\nfirst line\nsecond line\n \t\n\n  third  \n\nfourth")
    corpus = read_corpus(path)
    assert corpus.texts == ["first line\nsecond line", "third", "fourth"]
    assert list(corpus.ids) == ["notes.md:3", "notes.md:7", "notes.md:9"]
    path.write_text(" \n\n")
    with pytest.raises(ValueError, match=r"corpus: there is no text in notes\.md"):
        read_corpus(path)


def test_texts_have_no_columns(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    for source in (tmp_path, tmp_path / "a.txt"):
        with pytest.raises(ValueError, match=r"relevance: .* has no columns; relevance is for tables"):
            read_corpus(source, relevance="r")


def test_an_unknown_ending(tmp_path):
    (tmp_path / "a.odt").write_text("x")
    with pytest.raises(ValueError, match=r"corpus: 'a\.odt' ends in none of \.parquet, .*, and is no folder"):
        read_corpus(tmp_path / "a.odt")


def test_duplicates_are_exact_and_blanks_do_not_count():
    assert duplicates(["a", "b", "a", "", " ", "", "A", "b", "a"]) == {2: 0, 7: 1, 8: 0}
    assert duplicates([]) == {}


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="links need an operating system that has them")
def test_links_are_followed_within_the_folder_alone(tmp_path):
    folder, other = tmp_path / "docs", tmp_path / "other"
    (folder / "sub").mkdir(parents=True)
    other.mkdir()
    (folder / "sub" / "a.txt").write_text("inside")
    (tmp_path / "secret.txt").write_text("secret")
    (other / "b.txt").write_text("secret")
    for name, leads in {
        "again.txt": "sub/a.txt",
        "out.txt": "../secret.txt",
        "other": "../other",
        "gone.txt": "nothing.txt",
        "round.txt": "round.txt",
    }.items():
        os.symlink(leads, folder / name)
    os.mkfifo(folder / "pipe.txt")
    corpus = read_corpus(folder)
    assert list(corpus.ids) == ["again.txt", "sub/a.txt"]
    assert list(corpus.texts) == ["inside", "inside"]
    assert sorted(corpus.notes) == [
        "links that lead nowhere: gone.txt, round.txt",
        "links that lead out of the folder, not followed: other, out.txt",
        "neither files nor folders of their own: pipe.txt",
    ]
    os.symlink(folder, tmp_path / "linked")  # the folder itself may be named by a link
    assert list(read_corpus(tmp_path / "linked").ids) == ["again.txt", "sub/a.txt"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes need an operating system that has them")
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.npy"])
def test_what_might_never_end_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=f"corpus: .*{name}' is a pipe or a device"):
        read_corpus(tmp_path / name)


def test_a_column_that_is_no_ids_is_refused_with_a_mend_that_helps(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"id": true, "text": "tea"}\n{"id": false, "text": "jam"}\n')
    with pytest.raises(ValueError, match="expected a string or an integer; name another column"):
        read_corpus(tmp_path / "c.jsonl", id="id")
