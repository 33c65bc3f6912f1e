"""``setwise demo``, and the corpus it gathers."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from setwise.cli.demo import QUERIES
from setwise.cli.docstrings import standard_library

LONG = "This docstring is long enough to say something about what it is."


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A small library: a few real modules, and what must not be read."""
    home = tmp_path_factory.mktemp("library")
    real = Path(sysconfig.get_path("stdlib"))
    for name in ("threading.py", "queue.py", "zipfile.py", "shutil.py", "pathlib.py", "xml/sax/handler.py"):
        if (real / name).exists():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_bytes((real / name).read_bytes())
    return home


def test_the_real_library_has_thousands_of_docstrings():
    corpus = standard_library()
    assert len(corpus) > 2500
    assert len(set(corpus.ids)) == len(set(corpus.texts)) == len(corpus)
    assert {"threading", "threading.Thread.join", "shutil.copyfile"} <= set(corpus.ids)
    assert not any(str(name).startswith(("test.", "idlelib.", "site-packages")) for name in corpus.ids)
    assert min(map(len, corpus.texts)) >= 40


def test_what_is_public_and_documented_is_taken(tmp_path):
    (tmp_path / "package" / "test").mkdir(parents=True)
    (tmp_path / "package" / "__init__.py").write_text(f'"""{LONG} package"""')
    (tmp_path / "package" / "mod.py").write_text(
        f'''
class A:
    """{LONG} A"""
    async def method(self):
        """{LONG} method

            indented
        end
        """
        def inner():
            """{LONG} inner"""
    def _private(self):
        """{LONG} private"""
    class B:
        """{LONG} B"""
def short(): "short"
def again():
    """{LONG} A"""
'''
    )
    (tmp_path / "package" / "test" / "mod.py").write_text(f'"""{LONG} test"""')
    (tmp_path / "broken.py").write_text("def (:")
    (tmp_path / "binary.py").write_bytes(b"\xff\x00")
    corpus = standard_library(folder=tmp_path)
    assert dict(zip(corpus.ids, corpus.texts, strict=True)) == {
        "package": f"{LONG} package",
        "package.mod.A": f"{LONG} A",
        "package.mod.A.method": f"{LONG} method\n\n    indented\nend",
        "package.mod.A.B": f"{LONG} B",
    }


def test_sources_are_never_run(tmp_path):
    (tmp_path / "mod.py").write_text(f'"""{LONG}"""\nraise SystemExit("ran")')
    assert list(standard_library(folder=tmp_path).ids) == ["mod"]


def test_a_python_without_sources(tmp_path):
    with pytest.raises(FileNotFoundError, match="corpus: no Python sources in"):
        standard_library(folder=tmp_path)


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_demo_shows_both_sets_and_their_proofs(run, library, monkeypatch, columns):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(library))
    monkeypatch.setenv("COLUMNS", columns)
    ran = run("demo", "--model", "lsa", "--no-cache")
    assert (ran.code, ran.err) == (0, "")
    for query in QUERIES:
        assert f"“{query}”" in ran.out
    assert ran.out.count("top-k (6)") == ran.out.count("setwise (6)") == len(QUERIES)
    assert ran.out.count("the best possible 6 of") == len(QUERIES)
    assert "vectors: lsa" in ran.out
    assert max(map(len, ran.out.splitlines())) <= int(columns)


def test_a_query_of_ones_own(run, library, monkeypatch, refused):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(library))
    ran = run("demo", "--query", "delete a folder", "-k", 3, "--diversity", 0.5, "--model", "lsa")
    assert "“delete a folder”" in ran.out
    assert "setwise (3)" in ran.out
    assert "at diversity 0.5" in ran.out
    again = run("demo", "--query", "delete a folder", "-k", 3, "--model", "lsa")
    assert "read from the cache" in again.out
    assert refused("demo", "--diversity", 2).startswith("diversity: 2.0 is outside [0, 1]")
    assert refused("demo", "-k", 99999).startswith("k: 99999 is more than the ")
    assert refused("demo", "--model", "x").startswith("model: 'x' is unknown")


def test_the_demo_as_a_real_process(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", "from setwise.cli import main; main()", "demo", "-q", "parse a date and time"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "docstrings of Python's standard library" in ran.stdout
    assert "datetime.datetime.strptime" in ran.stdout or "strptime" in ran.stdout
    assert "\x1b" not in ran.stdout
