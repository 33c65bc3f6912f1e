"""``setwise demo``, and the corpus it gathers."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from optional import needs
from setwise.cli.demo import LIBRARY_QUERIES, QUERIES, beside_the_point, inbox
from setwise.cli.docstrings import standard_library
from setwise.retrieval import prepare

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


@pytest.mark.slow
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
@pytest.mark.parametrize("library_too", [False, True])
def test_the_demo_shows_both_sets_and_their_proofs(run, library, monkeypatch, columns, library_too):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(library))
    monkeypatch.setenv("COLUMNS", columns)
    ran = run("demo", "--model", "lsa", "--no-cache", *(["--library"] if library_too else []))
    assert (ran.code, ran.err) == (0, "")
    asked = LIBRARY_QUERIES if library_too else QUERIES
    for query in asked:
        assert f"“{query}”" in ran.out
    assert ran.out.count("top-k (5)") == ran.out.count("setwise (5)") == len(asked)
    assert ran.out.count("the best possible 5 of") == len(asked)
    assert "vectors: lsa" in ran.out
    assert max(map(len, ran.out.splitlines())) <= int(columns)


@needs("wordllama")
@pytest.mark.parametrize("query", QUERIES)
def test_the_plain_ranking_repeats_itself_and_the_set_does_not(query):
    """What the demo shows: of the most relevant some say the same, of the set none do, at little cost."""
    candidates = prepare(inbox())
    probe = candidates.encode(query)
    wish = {"diversity": 0.6, "exclude": beside_the_point(candidates, probe, 5)}
    ranked = candidates.select(probe, 5, solver="top-k", certify=False, **wish)
    found = candidates.select(probe, 5, certify="full", **wish)
    assert len(ranked.echoes) >= 2
    assert not found.echoes
    assert found.selection.certificate.optimal
    assert found.relevances.min() >= 0.3 * ranked.relevances.max() - 1e-6
    assert found.selection.relevance > 0.7 * ranked.selection.relevance


def test_what_is_beside_the_point_is_never_among_the_k_most_relevant():
    candidates = prepare(inbox(), "lsa")
    probe = candidates.encode("iceland")
    ranked = candidates.select(probe, 9, solver="top-k", certify=False)
    assert not set(ranked.ids) & set(beside_the_point(candidates, probe, 9))
    assert len(beside_the_point(candidates, probe, 1)) > len(beside_the_point(candidates, probe, 40))


def test_a_query_of_ones_own(run, library, monkeypatch, refused):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(library))
    mine = ("demo", "--library", "--query", "delete a folder", "-k", 3, "--model", "lsa")
    ran = run(*mine, "--diversity", 0.5)
    assert "“delete a folder”" in ran.out
    assert "setwise (3)" in ran.out
    assert "at diversity 0.5" in ran.out
    assert "read from the cache" in run(*mine).out
    assert refused("demo", "--diversity", 2).startswith("diversity: 2.0 is outside [0, 1]")
    assert refused("demo", "-k", 99999).startswith("k: 99999 is more than the 64 messages to a shop")
    assert refused("demo", "--model", "x").startswith("model: 'x' is unknown")


@needs("wordllama")
def test_the_demo_as_it_is_run(run):
    ran = run("demo", "-q", "lost parcel")
    assert (ran.code, ran.err) == (0, "")
    assert "64 messages to a shop" in ran.out
    assert "parcel" in ran.out
    assert "\x1b" not in ran.out
