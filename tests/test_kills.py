"""Every writing command, killed at random moments; ``python -m tests.kills`` says what is looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kills
from optional import installed, needs

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes that are killed are forked"),
    pytest.mark.skipif(
        not installed("typer", "sklearn", "pyarrow", "faiss", "filelock"),
        reason="commands that write need them",
    ),
]


FEW = ["catalog add", "finetune", "finetune epochs"]
EVERY = [pytest.mark.slow, needs("torch", "transformers", "peft")]


@pytest.mark.parametrize(("times", "names"), [(1, FEW), pytest.param(25, [], marks=EVERY)])
def test_commands_that_are_killed(times, names):
    words = [sys.executable, "-m", "tests.kills", str(times), str(times), *names]
    done = subprocess.run(words, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(names or kills.COMMANDS)
