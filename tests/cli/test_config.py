"""Habits: settings from a file, completion in the shell, -V, and what is logged."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest

import setwise


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SETWISE_CONFIG", raising=False)


@pytest.fixture
def settings(run, corpus):
    """Return a function that gives the settings of a run with the words given."""

    def settings(*words):
        ran = run("retrieve", corpus, "school", "--json", "--no-cache", *words)
        assert (ran.code, ran.err) == (0, "")
        return json.loads(ran.out)["settings"]

    return settings


TOML = """
[retrieve]
k = 2
diversity = 0.7
model = "lsa"
exclude = ["p0", "p1"]
drop-duplicates = true
max_per_group = 1
group = "topic"

[index.build]
storage = "float16"
"""


@pytest.mark.parametrize("name", ["setwise.toml", "pyproject.toml"])
def test_a_files_settings_are_defaults(run, settings, corpus, tmp_path, monkeypatch, name):
    text = (
        TOML
        if name == "setwise.toml"
        else TOML.replace("[retrieve]", "[tool.setwise.retrieve]").replace(
            "[index.build]", "[tool.setwise.index.build]"
        )
    )
    (tmp_path / name).write_text(text)
    found = settings()
    assert (found["k"], found["diversity"], found["max_per_group"]) == (2, 0.7, 1)
    assert found["exclude"] == ["p0", "p1"]
    assert settings("-k", 1, "--diversity", 0)["diversity"] == 0
    run("index", "build", corpus, "--out", "ix", "--model", "lsa")
    assert json.loads(run("index", "info", "ix", "--json").out)["dtype"] == "float16"
    ran = run("retrieve", "ix", "school", "--json", "--exclude", "p3", "--group", "topic")
    assert ran.err.startswith("setwise: group: --group goes with --corpus")
    (tmp_path / "other.toml").write_text("[retrieve]\nk = 1\nmodel = 'lsa'")
    monkeypatch.setenv("SETWISE_CONFIG", "other.toml")
    assert settings()["k"] == 1
    monkeypatch.setenv("SETWISE_CONFIG", "none")
    assert settings("--model", "lsa")["k"] == 10


def test_its_own_file_comes_before_the_projects(settings, tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.setwise.retrieve]\nk = 3\n")
    (tmp_path / "setwise.toml").write_text("[retrieve]\nk = 4\nmodel = 'lsa'\n")
    assert settings()["k"] == 4


def test_a_project_without_settings_is_none(settings, tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.other]\nk = 3\n")
    assert settings("--model", "lsa")["k"] == 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[retrieve]\ndiversty = 1",
            "config: setwise.toml has 'diversty' in [retrieve], which is no option; did you mean 'div",
        ),
        (
            "[retreive]\nk = 1",
            "config: setwise.toml has 'retreive' at the top, which is no command; did you",
        ),
        ("k = 1", "config: setwise.toml has 'k' at the top, which is no command"),
        (
            "[index.biuld]\n",
            "config: setwise.toml has 'biuld' in [index], which is no command; did you mean",
        ),
        ("retrieve = 1", "config: setwise.toml: 'retrieve' is a command; write its options under [retrieve]"),
        ("[retrieve.k]\n", "config: setwise.toml: 'k' in [retrieve] is an option, not a table"),
        ("[retrieve", "config: setwise.toml is no TOML ("),
        ("[retrieve]\nk = 'five'", "Invalid value for '-k'"),
    ],
)
def test_what_is_no_setting_is_one_line(refused, corpus, tmp_path, text, message):
    (tmp_path / "setwise.toml").write_text(text)
    assert refused("retrieve", corpus, "school", "--model", "lsa").startswith(message)


def test_a_file_that_the_environment_names_must_be_there(refused, corpus, monkeypatch):
    monkeypatch.setenv("SETWISE_CONFIG", "none.toml")
    assert (
        refused("retrieve", corpus, "school") == "SETWISE_CONFIG: no file 'none.toml'; name another, or none"
    )


def test_the_version_and_the_module(run):
    assert run("-V").out == run("--version").out == f"setwise {setwise.__version__}\n"
    done = subprocess.run([sys.executable, "-m", "setwise", "-V"], capture_output=True, text=True)
    assert done.stdout == f"setwise {setwise.__version__}\n"


@pytest.mark.parametrize(
    ("words", "at", "expected"),
    [("setwise re", 1, {"retrieve"}), ("setwise index ", 2, {"add", "build", "info", "remove", "update"})],
)
def test_the_shell_completes(words, at, expected):
    environment = {"_SETWISE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
    done = subprocess.run(
        [sys.executable, "-m", "setwise"], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert expected <= set(done.stdout.split())
    assert all(word.startswith("re") or " " in words[8:] for word in done.stdout.split())


def test_the_library_logs_and_is_quiet_unless_it_is_asked(run, corpus, caplog):
    words = ("retrieve", corpus, "school", "--model", "lsa", "-k", 2, "--no-cache")
    logger = logging.getLogger("setwise")
    assert run(*words).err == ""
    assert not logger.handlers
    run("index", "build", corpus, "--out", "ix", "--model", "lsa")
    try:
        ran = run("--verbose", "retrieve", "ix", "school", "-k", 2)
    finally:
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
    assert "setwise.index.saved: opened ix: 10 vectors of 10 d, array" in ran.err
    assert "setwise.retrieval.search: 2 of ArrayIndex by frank-wolfe+swap" in ran.err
