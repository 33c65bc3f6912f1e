"""The docs say what the code does: the table of solvers is the registry."""

from __future__ import annotations

import re
from pathlib import Path

import kills
from setwise.objectives import NAMES
from setwise.solvers import REGISTRY, SOLVERS, label_of, solver_of

ROOT = Path(__file__).resolve().parents[1]


def test_table_of_solvers_is_the_registry():
    page = (ROOT / "docs" / "solvers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)`" + r" \| (\w+)" * (len(NAMES) + 2) + r" \|", page, re.MULTILINE)
    assert rows, f"the table has no column for each of {', '.join(NAMES)}"
    told = {name: tuple(cell == "yes" for cell in cells) for name, *cells in rows}
    known = {}
    for name in SOLVERS:
        serving = [solver_of(objective, name) for objective in NAMES]
        able = {(one.include, one.groups) for one in serving if one is not None}
        known[name] = (*(one is not None for one in serving), *able.pop())
        assert not able, f"{name}: include or groups hang on the objective; the table has one cell for all"
    assert told == known
    assert {name for _, name in REGISTRY} == set(known)


def test_the_readme_says_the_same_of_each_solver():
    """One row may be of several solvers; `auto`'s names what it runs."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    told = {}
    rows = re.findall(r"^\| (`.*?)" + r" \| ([^|]+?)" * (len(NAMES) + 2) + r" \|$", page, re.MULTILINE)
    assert rows, f"the table has no column for each of {', '.join(NAMES)}"
    for solvers, *cells in rows:
        for name in re.findall(r"`([\w-]+)`", solvers.partition("(")[0]):
            told[name] = [cell.strip("`") for cell in cells]
    assert set(told) == set(SOLVERS)
    for name, cells in told.items():
        serving = [solver_of(objective, name) for objective in NAMES]
        for objective, one, cell in zip(NAMES, serving, cells[:-2], strict=True):
            yes = label_of(objective, name) if name == "auto" else "yes"
            assert cell == ("no" if one is None else yes), (name, objective)
        able = next(one for one in serving if one is not None)
        assert cells[-2:] == ["yes" if can else "no" for can in (able.include, able.groups)], name


def test_readme_names_the_two_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in readme
    assert "make test" in readme


def test_every_row_about_reliability_has_its_test():
    faults, _, killed = (ROOT / "docs/reliability.md").read_text().partition("\n## Kills")
    killed = killed.partition("\n## ")[0]
    assert len([line for line in killed.splitlines() if line.startswith("| `")]) == len(kills.COMMANDS)
    rows = [line for line in faults.splitlines() if line.startswith("| ")]
    shown = [re.search(r"`(tests/[\w/]+\.py)::(test_\w+)` \|$", line) for line in rows[2:]]
    assert all(shown)
    assert len(shown) > 20
    for file, name in (found.groups() for found in shown):
        assert f"\ndef {name}(" in (ROOT / file).read_text(), f"{file} has no {name}"
