"""Documents cut into passages: where they begin and end, what they stand under, what is refused."""

from __future__ import annotations

import random
import sys

import pytest

from optional import lazily, needs
from setwise.files import read_corpus
from setwise.files.documents import read_passages, split_text
from setwise.files.documents.passages import count_tokens

docx = lazily("docx")

MARKDOWN = """Title
=====

Words before.

## First

### Deep

Under deep.

```sh
# no heading
```

---

## Second ##

Last words."""

REST = """=====
Title
=====

Words before.

First
-----

Deep
~~~~
Under deep.

Second
------
Last words."""

HTML = """<!doctype html><title>Page</title><style>p { color: red }</style>
<nav>Menu</nav>
<h1>Ti<b>tle</b></h1><p>Words
 before.</p>
<h2>First</h2><h3>Deep</h3><p>Under &amp; deep.<br>New line.
<pre>kept <i>as</i>
  it is</pre>
<h2>Second</h2><table><tr><td>Last<td>words.</table><script>alert("x")</script>"""

CODE = '''"""Words before."""
import os


# About first.
@cache
def first(x):
    class Deep: ...


async def second():
    pass
'''


def cut(text, kind, **options):
    return [(one.position, one.title, one.text) for one in split_text(text, kind, **options)]


def test_markdown_is_cut_at_its_headings():
    assert cut(MARKDOWN, ".md") == [
        (1, "Title", "Title\n\nWords before."),
        (6, "Title › First › Deep", "## First\n\n### Deep\n\nUnder deep.\n\n```sh\n# no heading\n```\n\n---"),
        (18, "Title › Second", "## Second ##\n\nLast words."),
    ]


def test_restructured_text_is_cut_at_its_headings():
    assert cut(REST, ".rst") == [
        (2, "Title", "Title\n\nWords before."),
        (7, "Title › First › Deep", "First\n\nDeep\nUnder deep."),
        (14, "Title › Second", "Second\nLast words."),
    ]


def test_html_is_what_a_page_shows():
    assert cut(HTML, ".html") == [
        (3, "Title", "Title\n\nWords before."),
        (5, "Title › First › Deep", "First\n\nDeep\n\nUnder & deep.\n\nNew line.\n\nkept as\n  it is"),
        (8, "Title › Second", "Second\n\nLast words."),
    ]
    assert cut("<title>Page</title>\n<h2>Part</h2>Words", ".html") == [(2, "Page › Part", "Part\n\nWords")]


def test_code_is_cut_at_its_definitions():
    assert cut(CODE, ".py") == [
        (1, "", '"""Words before."""\nimport os'),
        (5, "def first", "# About first.\n@cache\ndef first(x):\n    class Deep: ..."),
        (11, "async def second", "async def second():\n    pass"),
    ]
    assert [title for _, title, _ in cut("package x\n\nfunc (t *T) Go() {\n}\n", ".go")][1:] == [
        "func (t *T) Go"
    ]


def test_a_text_has_no_headings_and_a_passage_may_be_a_paragraph_or_all_of_it():
    text = "# One\n\n  two\nthree\n\n\nfour"
    assert cut(text, ".txt") == [(1, "", text)]
    assert [place for place, _, _ in cut(text, ".txt", chunk="paragraph")] == [1, 3, 7]
    assert cut(text, ".md", chunk="paragraph")[0] == (1, "One", "# One\n\n  two\nthree")
    assert cut(f"\n{text}\n", ".md", chunk="file") == [(2, "One", text)]
    for kind in (".txt", ".md", ".rst", ".html", ".py"):
        assert cut(" \n\n", kind) == []


@needs("semantic_text_splitter")
@pytest.mark.parametrize("kind", [".txt", ".md", ".py"])
def test_long_sections_are_cut_by_size_and_nothing_is_lost(kind):
    draw = random.Random(0)
    words = [f"w{number}" for number in range(3000)]
    text = "".join(word + draw.choice([" ", " ", " ", ". ", "\n", "\n\n"]) for word in words)
    lines = text.splitlines()
    for chunk, overlap in ((50, 0), (50, 20), (300, 0)):
        passages = split_text(text, kind, chunk=chunk, overlap=overlap)
        assert max(count_tokens(one.text) for one in passages) <= chunk
        assert all(one.text.splitlines()[0] in lines[one.position - 1] for one in passages)
        found = [word.strip(".") for one in passages for word in one.text.split()]
        assert list(dict.fromkeys(found)) == words
        assert (len(found) > len(words)) == (overlap > 0)
        assert len(passages) <= 2.5 * count_tokens(text) / (chunk - overlap)


def test_what_a_token_is():
    assert count_tokens("It's two-fold: 3.5 Größe_x") == 11
    assert count_tokens("日本語 ไทย") == 6


@needs("docx")
def test_a_docx_file(tmp_path):
    document = docx.Document()
    document.add_heading("Title", 0)
    document.add_paragraph("Words before.")
    document.add_heading("First", 2)
    document.add_paragraph("Under first.")
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    document.save(str(tmp_path / "a.docx"))
    passages = read_passages(tmp_path / "a.docx")
    assert [(one.position, one.title, one.text) for one in passages] == [
        (1, "Title", "Title\n\nWords before."),
        (3, "Title › First", "First\n\nUnder first.\n\nleft right"),
    ]


def pdf(*pages):
    """Return a PDF file with a line a page."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects += [
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>"
            f"/Contents {5 + 2 * number} 0 R>>",
            f"<</Length {len(stream)}>>stream\n{stream}\nendstream",
        ]
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj{body}endobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(data)}\n%%EOF"
    return data + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode()


@needs("pypdf")
def test_a_pdf_file_is_its_pages(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf("First page.", "Second page."))
    passages = read_passages(tmp_path / "a.pdf", chunk="paragraph")
    assert [(one.position, one.text) for one in passages] == [(1, "First page."), (2, "Second page.")]


@pytest.mark.parametrize(
    "name", [pytest.param("a.pdf", marks=needs("pypdf")), pytest.param("a.docx", marks=needs("docx"))]
)
def test_a_damaged_file_is_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind")
    kind = name[2:].upper()
    with pytest.raises(
        ValueError, match=rf"^corpus: {name} is no {kind} that can be read \(.*\); leave it out$"
    ) as caught:
        read_corpus(tmp_path)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "module", "extra", "words"),
    [
        ("a.pdf", "pypdf", "documents", "reading a.pdf needs pypdf"),
        ("a.docx", "docx", "documents", "reading a.docx needs docx"),
        ("a.txt", "semantic_text_splitter", "text", "cutting long texts into passages needs"),
    ],
)
def test_a_missing_package_is_one_line(tmp_path, monkeypatch, name, module, extra, words):
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_text("words " * 500)
    with pytest.raises(ImportError, match=rf"^{words}.*: pip install 'setwise\[{extra}\]'"):
        read_corpus(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk": 7}, "chunk: 7 is below 8"),
        ({"chunk": "files"}, "chunk: 'files' is unknown; did you mean 'file'?"),
        ({"chunk": 20, "overlap": 20}, "overlap: 20 is above 19"),
        ({"overlap": -1}, "overlap: -1 is below 0"),
        (
            {"chunk": "file", "overlap": 1},
            "overlap: passages are not cut by size (chunk 'file'); leave it out",
        ),
        ({"kind": ".exe"}, "kind: '.exe' is unknown"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match="chunk|overlap|kind") as caught:
        split_text("words", **options)
    assert str(caught.value).startswith(message)


def test_a_folder_has_its_passages_with_file_title_and_position(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "guide.md").write_text(MARKDOWN)
    (tmp_path / "note.txt").write_text("A note.")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    corpus = read_corpus(tmp_path)
    assert corpus.ids == ["note.txt", "sub/guide.md:1", "sub/guide.md:6", "sub/guide.md:18"]
    assert corpus.columns == {
        "file": ["note.txt", *["sub/guide.md"] * 3],
        "title": ["", "Title", "Title › First › Deep", "Title › Second"],
        "position": [1, 1, 6, 18],
    }
    assert corpus.groups == corpus.columns["file"]
    assert corpus.notes == ("files that are no documents, passed over: 1 .png",)
    assert read_corpus(tmp_path, chunk="file").ids == ["note.txt", "sub/guide.md"]


@needs("semantic_text_splitter")
def test_passages_that_begin_on_one_line_have_ids_of_their_own(tmp_path):
    (tmp_path / "a.txt").write_text("word " * 20)
    corpus = read_corpus(tmp_path, chunk=8)
    assert corpus.ids == ["a.txt:1", "a.txt:1.2", "a.txt:1.3"]


def test_a_tables_other_columns_are_kept(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"id": 1, "text": "x", "year": 2020, "lang": "en", "v": [1, 2]}\n{"id": 2, "text": "y"}\n'
    )
    assert read_corpus(path).columns == {"year": [2020, None], "lang": ["en", None]}


@needs("pyarrow")
def test_a_csv_files_numbers_are_numbers(tmp_path):
    (tmp_path / "a.csv").write_text("id,text,year,price,zip,name\n1,x,2020,1.5,007,a\n2,y,,2,8,\n")
    assert read_corpus(tmp_path / "a.csv").columns == {
        "year": [2020, None],
        "price": [1.5, 2.0],
        "zip": ["007", "8"],
        "name": ["a", None],
    }
