"""What a notebook shows of a result: a table and its certificate, and text that is never markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

import setwise
from optional import needs
from setwise import page
from setwise.finetuning import match

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</td></tr></table><iframe src=javascript:alert(1)>",
    "\" onmouseover='alert(1)'",
    "&lt;b&gt; & \x00\x1b[31m \ud800",
    "‮evil",
]


class Reader(HTMLParser):
    """The tags, attributes and text of a page, as a browser would read them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.cells = set(), set(), []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def sound(html):
    """Read a page that has nothing but what is ours."""
    html.encode()  # no half characters
    read = Reader(html)
    assert read.tags <= {"div", "p", "strong", "br", "table", "thead", "tbody", "tr", "th", "td"}
    assert read.attributes <= {"scope", "style", "dir"}
    return read


def test_text_of_documents_is_text_alone():
    names = ["id <b>", *(f"column {one}" for one in HOSTILE)]
    read = sound(page.block(HOSTILE[0], HOSTILE, page.table([(name, HOSTILE) for name in names])))
    printed = [re.sub("[\x00\x1b\ud800]", "\ufffd", name) for name in names]
    assert read.cells[: len(names)] == printed
    assert read.cells[len(names)] == HOSTILE[0]


def test_a_table_says_what_it_leaves_out():
    read = sound(page.table([("n", list(range(25))), ("text", ["x" * 200] * 25), ("f", [1 / 3] * 25)]))
    assert read.cells[3:6] == ["0", "x" * 159 + "…", "0.3333"]
    assert len(read.cells) == 3 * 21
    assert "… 5 more" in page.table([("n", list(range(25)))])
    assert "more" not in page.table([("n", list(range(20)))])
    sound(page.table([]))


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((60, 8))


def test_a_selection(vectors):
    sel = setwise.select(vectors, 5, query=vectors[0])
    html = sel._repr_html_()
    read = sound(html)
    assert read.cells[:3] == ["rank", "position", "gain"]
    assert read.cells[3::3] == ["1", "2", "3", "4", "5"]
    assert read.cells[4::3] == [str(row) for row in sel.indices]
    assert str(sel.certificate) in html


@needs("pyarrow")
def test_what_the_candidates_had_stands_beside_it(vectors):
    import pyarrow

    frame = pyarrow.table({"vector": vectors[:6].tolist(), "said": [*HOSTILE[:4], HOSTILE[5], None]})
    sel = setwise.select(frame, 6, query=vectors[0])
    read = sound(sel._repr_html_())
    assert read.cells[:4] == ["rank", "position", "gain", "said"]
    said = dict(zip(read.cells[5::4], read.cells[7::4], strict=True))
    assert said["0"] == HOSTILE[0]
    assert said["5"] == ""


def test_a_retrieval(vectors):
    index = setwise.Index.from_array(vectors)
    read = sound(setwise.retrieve(vectors[0], index, 3)._repr_html_())
    assert read.cells[:5] == ["rank", "id", "score", "novelty", "gain"]
    assert read.cells[6:8] == ["0", "1"]


@needs("faiss")
def test_a_selection_from_a_catalog(vectors):
    catalog = setwise.Catalog.build(
        vectors, np.linspace(0, 1, 60), clusters=4, ids=[f"<b>{n}" for n in range(60)]
    )
    sel = catalog.select(k=4)
    read = sound(sel._repr_html_())
    assert read.cells[:4] == ["rank", "id", "cluster", "gain"]
    assert read.cells[5::4] == list(sel)


@needs("faiss")
def test_a_match(vectors):
    found = match(vectors, vectors[:3] + 0.01, neighbors=20, density_neighbors=20)
    read = sound(found._repr_html_())
    likely = found.indices[np.argmax(found.probabilities)]
    assert read.cells[:4] == ["row", "probability", "density", str(likely)]
    assert ("incomplete: raise neighbors" in found._repr_html_()) is not found.complete
