"""The docs say what the code does: the table of solvers is the registry."""

from __future__ import annotations

import re
from pathlib import Path

from setwise.objectives import NAMES
from setwise.solvers import SOLVERS

ROOT = Path(__file__).resolve().parents[1]


def test_table_of_solvers_is_the_registry():
    page = (ROOT / "docs" / "solvers.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `([\w-]+)` \| (\w+) \| (\w+) \| (\w+) \| (\w+) \| (\w+) \| (\w+) \|", page, re.MULTILINE
    )
    told = {name: tuple(cell == "yes" for cell in cells) for name, *cells in rows}
    objectives = NAMES
    known = {
        name: (*(objective in able.objectives for objective in objectives), able.include, able.groups)
        for name, able in SOLVERS.items()
    }
    assert told == known


def test_readme_names_the_two_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in readme
    assert "make test" in readme
