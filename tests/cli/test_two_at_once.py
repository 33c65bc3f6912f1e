"""Two runs of one command to one new place: exactly one writes it, all of it, and the other says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

#: A command that waits with its outputs written, until it is told to give them their names.
HELD = """
import os, sys, time
real = os.fsync

def held(number):
    real(number)
    print("written", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.01)

os.fsync = held
from setwise.cli import main
main()
"""


def _prefer(folder):
    row = {"prompt": "Hi", "responses": ["Hello!", "No.", "Go away."], "rewards": [1.0, 0.1, 0.0]}
    (folder / "in.jsonl").write_text(json.dumps(row))
    words = ["prefer", "--responses", "in.jsonl", "-k", "1", "--model", "lsa", "--out", "out.jsonl"]
    return words, ["out.jsonl"]


def _finetune(folder):
    rows = [{"text": f"row {row}", "vector": [row, row % 3]} for row in range(60)]
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    outputs = ["rows.jsonl", "indices.npy", "drawn.csv"]
    named = [word for pair in zip(("--out", "--indices", "--drawn"), outputs, strict=True) for word in pair]
    words = ["finetune", "--repository", "in.jsonl", "--examples", "in.jsonl", "--vectors", "vector"]
    return [*words, "--example-vectors", "vector", "--rows", "5", *named], outputs


def _index(folder):
    np.save(folder / "in.npy", np.random.default_rng(0).standard_normal((60, 4)))
    return ["index", "build", "in.npy", "--out", "out"], ["out"]


@pytest.mark.parametrize(
    "command",
    [pytest.param(_prefer, marks=pytest.mark.slow), _finetune, pytest.param(_index, marks=pytest.mark.slow)],
)
def test_two_runs_to_one_new_place(tmp_path, command):
    words, outputs = command(tmp_path)
    before = set(os.listdir(tmp_path))
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", HELD, *words, *seed],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ((("--seed", "0"), ("--seed", "1")) if command is not _index else ((), ()))
    ]
    try:
        for one in runs:
            assert one.stdout.readline() == "written\n", one.communicate()[1]
        assert not any((tmp_path / name).exists() for name in outputs)
        (tmp_path / "go").touch()
        told = [one.communicate()[1] for one in runs]
    finally:
        for one in runs:
            one.kill()
    assert sorted(one.returncode for one in runs) == [0, 2]
    loser = next(noted for one, noted in zip(runs, told, strict=True) if one.returncode == 2)
    assert loser.splitlines()[-1].startswith("setwise: ")
    assert "exists; add --force" in loser.splitlines()[-1]
    assert "was written" not in loser  # not by this one
    assert set(os.listdir(tmp_path)) == before | set(outputs) | {"go"}


def test_an_interruption_after_the_output_says_what_is_there(tmp_path, run, monkeypatch):
    from setwise.cli import prefer_output

    def late(*words):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prefer_output, "print_summary", late)
    words, _ = _prefer(tmp_path)
    done = run(*words)
    assert done.code == 130
    assert done.err.splitlines()[-1] == (
        f"setwise: interrupted; '{tmp_path}/out.jsonl' was written before that, whole"
    )
