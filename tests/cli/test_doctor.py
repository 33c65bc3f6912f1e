"""``setwise doctor``: what it says is there is there, and what it says would be missing is."""

from __future__ import annotations

import importlib
import json
import sys
import tomllib
import types
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import typer

from setwise import kernels
from setwise.cli import app

examining = importlib.import_module("setwise.cli.doctor")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def extras():
    """The extras that the project declares, each with the names of its packages."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return {
        name: {one.split(">=")[0].split("[")[0] for one in packages}
        for name, packages in declared.items()
        if name != "all"
    }


def test_every_command_and_only_known_extras(extras):
    commands = typer.main.get_command(app).commands
    assert set(examining.COMMANDS) == set(commands)
    assert {extra for uses in examining.COMMANDS.values() for extra in uses} <= set(extras)


def test_what_is_said_is_so(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run("doctor", "--json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert found["base"]["numpy"] == np.__version__
    why = kernels.reason()
    said = {"installed": kernels.installed(), "instructions": kernels.instructions(), "reason": why}
    assert found["kernels"] == said
    assert bool(why) != kernels.available()
    assert found["threads"] >= 1
    assert found["caches"][".setwise-cache"] == {"entries": 0, "bytes": 0}
    for one in found["extras"].values():
        for package, version in one["packages"].items():
            if version is None:
                assert package in one["lacks"]
            else:
                assert version == metadata.version(package)
    told = run("doctor").out
    for word in ("kernels", "threads", "cache", "retrieve", "prefer", np.__version__):
        assert word in told


def test_kernels_of_another_version_are_left_alone_and_named(run, monkeypatch):
    """A module that was compiled before the Python beside it was changed takes other arguments."""
    old = types.ModuleType("setwise.kernels._native")
    monkeypatch.setitem(sys.modules, "setwise.kernels._native", old)
    with pytest.warns(UserWarning, match="from another version of setwise; install it again"):
        found, why = kernels._load()
    assert found is None
    monkeypatch.setattr(kernels, "_installed", None)
    monkeypatch.setattr(kernels, "_native", None)
    monkeypatch.setattr(kernels, "_lacking", why)
    assert "NumPy computes: compiled from another version" in " ".join(run("doctor").out.split())
    old.INTERFACE = kernels.INTERFACE
    assert kernels._load() == (old, "")


def test_what_would_be_missing_is_named_with_its_mend(run, monkeypatch):
    """Where packages are absent or too old, for what needs them and for what can do without."""
    there = {
        "typer": "0.15",
        "rich": "13.7",
        "scikit-learn": "1.4.9",
        "wordllama": "0.4.0",
        "pyarrow": "17.0.0",
    }
    needs = [
        'typer>=0.15; extra == "cli"',
        'rich>=13.7; extra == "cli"',
        'scikit-learn>=1.5; extra == "text"',
        'wordllama>=0.4.0; extra == "text"',
        'pyarrow>=17; extra == "arrow"',
        'pypdf>=5.0; extra == "documents"',
        "psycopg[binary]>=3.2; extra == 'pgvector'",
        'setwise[cli,text]; extra == "all"',
        "numpy>=2.0",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: needs)
    monkeypatch.setattr(examining, "_version", there.get)
    found = examining.examined()
    assert {name: one["lacks"] for name, one in found["extras"].items()} == {
        "arrow": [],
        "cli": [],
        "documents": ["pypdf"],
        "pgvector": ["psycopg"],
        "text": ["scikit-learn>=1.5"],
    }
    assert found["commands"]["demo"] == "cannot run: pip install 'setwise[text]'"
    there["scikit-learn"] = "1.10.0rc1"
    found = examining.examined()
    assert found["commands"]["demo"] == found["commands"]["doctor"] == "runs"
    assert found["commands"]["retrieve"] == "runs, but for PDF and DOCX (setwise[documents])"
    lines = run("doctor").out.splitlines()
    assert "extra documents  lacks pypdf: pip install 'setwise[documents]'" in lines
    assert "command retrieve  runs, but for PDF and DOCX (setwise[documents])" in lines
    monkeypatch.setattr(metadata, "requires", lambda name: None)
    assert examining.examined()["commands"]["demo"].startswith("not known")
