"""The entry point: help, version, and one line for whatever is refused."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

import setwise
from setwise import cli, evaluate


def test_version(run):
    assert run("--version") == (0, f"setwise {setwise.__version__}\n", "")


def test_help_names_the_commands(run):
    ran = run("--help")
    assert ran.code == 0
    assert "retrieve" in ran.out
    assert "demo" in ran.out


@pytest.mark.parametrize("command", ["retrieve", "demo"])
def test_help_of_a_command(run, command):
    ran = run(command, "--help")
    assert ran.code == 0
    assert "--diversity" in ran.out


def test_the_app_runs_under_typers_own_runner(corpus):
    words = ["retrieve", "--corpus", str(corpus), "--query", "school uniforms", "-k", "3", "--model", "lsa"]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.output
    assert (
        "of the best possible 3 of 10" in result.stdout or "proven the best possible 3 of 10" in result.stdout
    )


def test_what_the_parser_refuses(refused):
    assert refused("index", "build", "x") == "Missing option '--out'."
    assert "No such command 'retreive'" in refused("retreive")
    assert "--modle" in refused("retrieve", "--corpus", "x", "--modle", "y")
    assert "Invalid value for '-k'" in refused("retrieve", "--corpus", "x", "-k", "many")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a: b\nc"),
        TypeError("a: b c"),
        FileNotFoundError("a: b c"),
        ImportError("a: b c"),
        OSError("a: b c"),
        KeyError("a: b c"),
    ],
)
def test_one_line_an_error(monkeypatch, refused, error):
    def fail(**_):
        raise error

    monkeypatch.setattr("setwise.files.read_corpus", lambda *_, **__: fail())
    assert refused("retrieve", "--corpus", "x", "--query", "y") == "a: b c"


class Panic(BaseException):
    """What libraries in Rust raise: no Exception."""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (KeyError("a"), "KeyError: 'a'"),
        (KeyError(3), "KeyError: 3"),
        (KeyError(), "KeyError"),
        (AssertionError(), "AssertionError"),
        (RecursionError("too deep\nby far"), "RecursionError: too deep by far"),
        (MemoryError("a\x1b[31mb"), "MemoryError: a[31mb"),
        (Panic("at line 3"), "Panic: at line 3"),
    ],
)
def test_what_nobody_foresaw_is_one_line_and_70(monkeypatch, run, error, told):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("setwise.files.read_corpus", fail)
    words = ["retrieve", "--corpus", "x", "--query", "y"]
    monkeypatch.delenv("SETWISE_TRACEBACK", raising=False)
    line = f"setwise: unexpected {told}; run it again with SETWISE_TRACEBACK=1 to see where\n"
    assert run(*words) == (70, "", line)
    monkeypatch.setenv("SETWISE_TRACEBACK", "1")
    code, out, err = run(*words)
    assert (code, out) == (70, "")
    assert err.startswith("Traceback (most recent call last):\n")
    assert "in fail\n" in err
    assert err.endswith(line)


def test_an_interruption_that_python_wraps_is_one(monkeypatch, run):
    class Interrupting:
        def __set_name__(self, owner, name):
            raise KeyboardInterrupt

    def fail(*_, **__):
        try:
            type("Made", (), {"part": Interrupting()})
        except KeyboardInterrupt as error:  # as it comes from Python 3.12 on
            raise RuntimeError("Error calling __set_name__") from error

    monkeypatch.setattr("setwise.files.read_corpus", fail)
    code, out, err = run("retrieve", "--corpus", "x", "--query", "y")
    assert (code, out) == (130, "")
    assert err == "setwise: interrupted; nothing was written\n"


def test_a_full_disk_behind_stdout_is_one_line(by_vector):
    for more in ([], ["--json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-c", "from setwise.cli import main; main()", *by_vector, "-k2", *more],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert done.returncode == 2
        assert done.stderr == "setwise: [Errno 28] No space left on device\n"


def test_what_a_native_library_prints_is_kept_out_of_the_output():
    """SciPy's HiGHS prints a line now and then, into C's buffer, which is written when the process ends."""
    program = """
import ctypes
from setwise import __main__, cli

def noisy():
    ctypes.CDLL(None).puts(b"noise")
    print("ours")

cli.main = noisy
__main__.main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("ours\n", "noise\n", 0)


def declared(command, path=()):
    """Every option and argument that the commands below one declare, with the command's words."""
    for name, below in getattr(command, "commands", {}).items():
        yield from declared(below, (*path, name))
    if not hasattr(command, "commands"):
        yield from ((path, parameter) for parameter in command.params)


@pytest.mark.parametrize("columns", ["40", "80"])
def test_names_of_options_are_whole_in_help(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    out = run("finetune", "--help").out
    assert "--example-text-column" in out
    assert "--cluster-diversity" in run("catalog", "select", "--help").out
    assert ("╭" in out) == (columns == "80")


def test_every_line_of_help_says_what_it_does():
    found = [one for one in declared(typer.main.get_command(cli.app)) if one[1].name != "help"]
    assert len(found) > 60
    for path, parameter in found:
        line = parameter.help
        assert line, (path, parameter.name)
        assert line[-1] in ".…", line
        assert len(line.split()) > 2, line
        assert not line.startswith("Of "), line
        assert "so many" not in line, line
        assert parameter.metavar is not None, f"{path} {parameter.name}: what stands for its value?"


@pytest.mark.parametrize(
    ("path", "called"), [("tune", evaluate.compare), ("catalog tune", evaluate.compare_catalog)]
)
def test_the_diversities_that_are_tried_are_those_of_help(path, called):
    command = typer.main.get_command(cli.app)
    for word in path.split():
        command = command.commands[word]
    (shown,) = [one.show_default for one in command.params if one.name == "diversity"]
    tried = inspect.signature(called).parameters["diversities"].default
    assert shown == ", ".join(map(str, tried))


def test_an_interrupt_is_one_line_and_130(monkeypatch, run, corpus, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("setwise.files.writing.os.fsync", interrupt)
    out = tmp_path / "set.jsonl"
    ran = run(
        "retrieve", "--corpus", corpus, "--query", "school", "--model", "lsa", "--no-cache", "--out", out
    )
    assert (ran.code, ran.out, ran.err.strip()) == (130, "", "setwise: interrupted; nothing was written")
    assert os.listdir(tmp_path) == ["corpus.jsonl"]


def command(*words, **more):
    code = "from setwise.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more,
    )  # fmt: skip


def test_a_real_process(by_vector, tmp_path):
    out = tmp_path / "set.csv"
    with command(*by_vector, "-k", 3, "--out", out) as process:
        shown, noted = process.communicate(timeout=60)
    assert process.returncode == 0, noted
    assert "School uniforms" in shown
    assert "\x1b" not in shown + noted
    assert noted == f"note: wrote {out}\n"
    assert len(out.read_text().splitlines()) == 4


def test_a_real_interrupt(tmp_path):
    """Ctrl-C while the corpus is being read from a pipe that never ends."""
    pipe = tmp_path / "slow.jsonl"
    pipe.write_text('{"text": "x"}\n')
    code = (
        "import time, setwise.files.reading as reading\n"
        "def slow(path):\n"
        "    print('reading', flush=True)\n"
        "    time.sleep(60)\n"
        "    yield 1, {}\n"
        "reading.json_rows = slow\n"
        "from setwise.cli import main; main()"
    )
    words = [
        "retrieve",
        "--corpus",
        str(pipe),
        "--query",
        "x",
        "-k",
        "1",
        "--out",
        str(tmp_path / "set.json"),
    ]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A run in the background passes on that it ignores Ctrl-C; a person's does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout.readline() == "reading\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, noted = process.communicate(timeout=60)
    assert process.returncode == 130
    assert noted.strip() == "setwise: interrupted; nothing was written"
    assert os.listdir(tmp_path) == ["slow.jsonl"]


def told(command):
    """What the help of a command and of those below it begins with."""
    return [command.help, *map(told, getattr(command, "commands", {}).values())]


def test_help_is_fast_and_whole_where_docstrings_are_dropped_and_imports_nothing_heavy(run):
    code = (
        "import json, sys, typer\n"
        "from setwise import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = ('sklearn', 'torch', 'wordllama', 'pyarrow', 'scipy', 'numpy', 'faiss')\n"
        "told = lambda one: [one.help, *map(told, getattr(one, 'commands', {}).values())]\n"
        "found = [name for name in heavy if name in sys.modules]\n"
        "print(json.dumps([found, told(typer.main.get_command(cli.app))]), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stderr) == [[], told(typer.main.get_command(cli.app))]
    assert ran.stdout == run("--help").out


@pytest.mark.parametrize("how", ["--json", "--full"])
def test_an_encoding_that_lacks_a_character_is_no_error(corpus, by_vector, how):
    corpus.write_text('{"id": "🐟", "text": "fish — café", "vector": [0, 1, 1]}\n', encoding="utf-8")
    words = [*by_vector, "-k", "1", how]
    ran = subprocess.run(
        [sys.executable, "-m", "setwise", *words],
        check=False,
        capture_output=True,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert ran.returncode == 0, ran.stderr
    told = ran.stdout.decode("ascii")
    if how == "--json":
        (item,) = json.loads(told.splitlines()[0])["set"]["items"]
        assert (item["id"], item["text"]) == ("🐟", "fish — café")
    else:
        assert "caf\\xe9" in told


@pytest.mark.skipif(os.name != "posix", reason="streams are closed by a POSIX shell")
def test_closed_streams_are_no_defect(corpus, by_vector):
    start = f"{sys.executable} -m setwise"
    ran = [
        subprocess.run(f"{start} {rest}", shell=True, check=False, capture_output=True, timeout=60)
        for rest in (f"retrieve {corpus} --queries - <&-", f"{' '.join(by_vector)} -k 1 >&-")
    ]
    assert [one.returncode for one in ran] == [2, 0], ran
    assert b"standard input: it is closed" in ran[0].stderr
    assert b"unexpected" not in ran[1].stderr
