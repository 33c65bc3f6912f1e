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

#: Commands, one a line on standard input. Once an output's bytes are on the way to the disk, one says so and
#: goes no further. It sleeps in short steps: a signal that comes just before a system call is seen after it.
STALLED = """
import os, sys, time

def stalled(_):
    print("writing", flush=True)
    while True:
        time.sleep(0.01)

os.fsync = stalled
from setwise.cli import main
while words := sys.stdin.readline().split():
    try: main(words)
    except SystemExit as left: print(left.code, flush=True)
"""


def _prefer(folder):
    row = {"prompt": "Hi", "responses": ["Hello!", "No.", "Go away."], "rewards": [1.0, 0.1, 0.0]}
    (folder / "in.jsonl").write_text(json.dumps(row | {"embeddings": [[0, 1], [1, 0], [1, 1]]}))
    return ["prefer", "--responses", "in.jsonl", "-k", "1", "--out", "out.jsonl"]


def _finetune(folder):
    np.save(folder / "in.npy", np.random.default_rng(0).standard_normal((60, 4)))
    return ["finetune", "--repository", "in.npy", "--examples", "in.npy", "--indices", "out.npy"]


def _index(folder):
    np.save(folder / "in.npy", np.random.default_rng(0).standard_normal((60, 4)))
    return ["index", "build", "in.npy", "--out", "out"]


COMMANDS = {"prefer": _prefer, "finetune": _finetune, "index build": _index}


def test_a_signal_while_writing_leaves_nothing(tmp_path):
    """One process for all: what it loads takes longer than the commands."""
    words = {command: make(tmp_path) for command, make in COMMANDS.items()}
    before = sorted(os.listdir(tmp_path))
    sent = [*((command, signal.SIGTERM) for command in COMMANDS)]
    sent += [("finetune", signal.SIGHUP), ("finetune", signal.SIGINT)]
    with subprocess.Popen(
        [sys.executable, "-c", STALLED],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A run in the background passes on what it ignores; a person's ignores nothing.
        preexec_fn=lambda: [signal.signal(number, signal.SIG_DFL) for _, number in sent],
    ) as process:
        try:
            for command, number in sent:
                print(*words[command], file=process.stdin, flush=True)
                assert process.stdout.readline() == "writing\n", process.communicate()[1]
                begun = [name for name in os.listdir(tmp_path) if name.endswith(".part")]
                assert begun, "it was not writing yet"
                process.send_signal(number)
                assert process.stdout.readline() == "130\n"
                assert sorted(os.listdir(tmp_path)) == before
            _, noted = process.communicate()
        finally:
            process.kill()
    assert noted == "setwise: interrupted; nothing was written\n" * len(sent)


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
