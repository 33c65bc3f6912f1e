"""Real processes that are ended from outside while they write: nothing is left, and one line says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from setwise import cli

#: A command that, once its output's bytes are on the way to the disk, says so and goes no further. It sleeps
#: in short steps: a signal that comes just before a system call is seen after it.
STALLED = """
import os, time

def stalled(_):
    print("writing", flush=True)
    while True:
        time.sleep(0.01)

os.fsync = stalled
from setwise.cli import main
main()
"""


def _prefer(folder):
    row = {"prompt": "Hi", "responses": ["Hello!", "No.", "Go away."], "rewards": [1.0, 0.1, 0.0]}
    (folder / "in.jsonl").write_text(json.dumps(row))
    return ["prefer", "--responses", "in.jsonl", "-k", "1", "--model", "ngrams", "--out", "out.jsonl"]


def _finetune(folder):
    np.save(folder / "in.npy", np.random.default_rng(0).standard_normal((60, 4)))
    return ["finetune", "--repository", "in.npy", "--examples", "in.npy", "--indices", "out.npy"]


def _index(folder):
    np.save(folder / "in.npy", np.random.default_rng(0).standard_normal((60, 4)))
    return ["index", "build", "in.npy", "--out", "out"]


COMMANDS = {"prefer": _prefer, "finetune": _finetune, "index build": _index}


def ended(words, folder, number):
    """Run a stalled command and send it a signal; return what it left with."""
    with subprocess.Popen(
        [sys.executable, "-c", STALLED, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A run in the background passes on what it ignores; a person's ignores nothing.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as process:
        try:
            assert process.stdout.readline() == "writing\n", process.communicate()[1]
            begun = sorted(os.listdir(folder))
            process.send_signal(number)
            _, noted = process.communicate()
        finally:
            process.kill()
    return process.returncode, noted, begun


@pytest.mark.parametrize(
    ("command", "name"),
    [*((command, "SIGTERM") for command in COMMANDS), ("finetune", "SIGHUP"), ("finetune", "SIGINT")],
)
def test_a_signal_while_writing_leaves_nothing(tmp_path, command, name):
    words = COMMANDS[command](tmp_path)
    before = sorted(os.listdir(tmp_path))
    code, noted, begun = ended(words, tmp_path, getattr(signal, name))
    assert [each for each in begun if each.endswith(".part")], "it was not writing yet"
    assert (code, noted) == (130, "setwise: interrupted; nothing was written\n")
    assert sorted(os.listdir(tmp_path)) == before


def test_outside_of_a_command_signals_are_as_they_were(run, monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "_run", lambda _: seen.append(signal.getsignal(signal.SIGTERM)))
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # another package may have set its own
    try:
        assert run("--help").code == 0
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.default_int_handler]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_a_signal_that_is_ignored_or_handled_stays_so(run, monkeypatch, handler):
    seen = []
    monkeypatch.setattr(cli, "_run", lambda _: seen.append(signal.getsignal(signal.SIGTERM)))
    before = signal.signal(signal.SIGTERM, handler)
    try:
        assert run("--help").code == 0
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [handler]


def test_a_command_runs_in_a_thread_too(monkeypatch):
    codes = []
    monkeypatch.setattr(cli, "_run", lambda _: 0)

    def call():
        with pytest.raises(SystemExit) as left:
            cli.main(["--help"])
        codes.append(left.value.code)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert codes == [0]


class Interrupted:
    """What is interrupted while it is destroyed, where Python drops the interrupt."""

    def __del__(self):
        raise KeyboardInterrupt


def test_an_interrupt_that_python_drops_comes_again(run, monkeypatch):
    def work(_):
        Interrupted()
        for _ in range(1000):
            time.sleep(0.01)

    monkeypatch.setattr(cli, "_run", work)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        done = run("--help")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done.code == 130
    assert "Traceback" not in done.err
