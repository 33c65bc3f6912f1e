"""The first hour in a notebook: a data frame in; a set, its table and its pictures out."""

from __future__ import annotations

import re

import pytest

from optional import lazily, needs

nbclient, nbformat = lazily("nbclient"), lazily("nbformat")

pytestmark = [pytest.mark.slow, needs("nbclient", "nbformat", "ipykernel", "pandas", "matplotlib", "faiss")]

CELLS = {
    "make": """
import numpy as np, pandas as pd, setwise
rng = np.random.default_rng(0)
kinds = rng.integers(6, size=300)
vectors = rng.standard_normal((6, 16))[kinds] + 0.4 * rng.standard_normal((300, 16))
books = pd.DataFrame({"id": [f"book {row}" for row in range(300)], "kind": kinds, "v": list(vectors)})
books["stars"] = rng.random(300)""",
    "table": """
sel = setwise.select(books, 6, relevance="stars", relevance_scale="minmax", diversity=0.4)
sel""",
    "frame": """
chosen = sel.to_pandas()
top = setwise.select(books, 6, relevance="stars", relevance_scale="minmax", diversity=0)
print(chosen["id"].tolist() == books["id"].iloc[sel.indices].tolist(), sel.diversity > top.diversity)""",
    "picture": """
figure = sel.plot("map")
figure""",
    "shelf": """
shelf = setwise.Catalog.build(books, "stars", clusters=6).select(12, diversity=0.3, exclude={"book 3"})
print(set(shelf) <= set(books["id"]) - {"book 3"}, len(shelf))
shelf""",
}


def shown(cell, kind):
    """What a cell's outputs say in one way of showing them."""
    return [one["data"][kind] for one in cell.outputs if kind in one.get("data", {})]


def printed(cell):
    return "".join(one["text"] for one in cell.outputs if one["output_type"] == "stream")


def test_a_first_hour_in_a_notebook(tmp_path):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS.values()])
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = dict(zip(CELLS, book.cells, strict=True))
    (table,) = shown(cells["table"], "text/html")
    assert len(set(re.findall(r"book \d+", table))) == 6
    assert "of the best possible" in table or "proven the best" in table
    assert printed(cells["frame"]) == "True True\n"
    assert shown(cells["picture"], "image/png")
    assert printed(cells["shelf"]) == "True 12\n"
    assert "book " in shown(cells["shelf"], "text/html")[0]
