"""What a type checker says of calls: their results are known, and a mistyped option is an error."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from optional import needs

ROOT = Path(__file__).resolve().parents[1]

SNIPPET = """
import asyncio
import numpy as np
import setwise
import setwise.finetuning
from setwise.preference import select_responses

index = setwise.Index.from_array(np.eye(3))
one = np.zeros(3)
grid = np.zeros((2, 3))
reveal_type(setwise.retrieve("a query", index, 2))
reveal_type(setwise.retrieve([0.1, 0.2, 0.3], index))
reveal_type(setwise.retrieve(one, index, filter=[1], groups=["a", "b", "c"], max_per_group=1))
reveal_type(setwise.retrieve(["a", "b"], index, 2, exclude=[0]))
reveal_type(setwise.retrieve([[0.1, 0.2, 0.3]], index, 2))
reveal_type(setwise.retrieve(grid, index, 2, diversity=0.5, certify="full"))
async def later() -> None:
    reveal_type(await setwise.aretrieve("a query", index, 2))
    reveal_type(await setwise.aretrieve(grid, index, 2))
    await setwise.aretrieve(one, index, 2, diversty=0.5)
setwise.retrieve(one, index, 2, diversty=0.5)
setwise.retrieve(one, index, 2, diversity="much")
setwise.retrieve(one, index, "2")
setwise.retrieve(3, index)
matched = setwise.finetuning.match(grid, grid, diversity=0.4)
reveal_type(matched)
setwise.finetuning.match(grid, grid, diversty=0.4)
reveal_type(select_responses(grid, [0.5, 0.1], 1))
select_responses(grid, [0.5, 0.1], 1, methd="coreset")
"""

SAID = [
    *("(11) Retrieved", "(12) Retrieved", "(13) Retrieved"),
    *("(14) list[Retrieved]", "(15) list[Retrieved]", "(16) list[Retrieved]"),
    *("(18) Retrieved", "(19) list[Retrieved]", "(20) error", "(21) error", "(22) error", "(23) error"),
    *("(24) error", "(26) Match", "(27) error", "(28) ResponseSelection", "(29) error"),
]


@pytest.mark.slow
@needs("mypy")
def test_results_are_known_and_mistyped_options_are_errors(tmp_path):
    (tmp_path / "snippet.py").write_text(SNIPPET)
    words = (
        "--strict",
        "--hide-error-context",
        "--no-error-summary",
        "--config-file=",
        "--follow-imports=silent",
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *words, "--cache-dir", str(tmp_path / "cache"), "snippet.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    found = {}
    for line in done.stdout.splitlines():
        name, number, kind, text = line.split(":", 3)
        assert name == "snippet.py", line
        told = text.split('"')[1] if "Revealed" in text else kind.strip()
        if told != "note":
            found.setdefault(int(number), re.sub(r"\bsetwise(\.\w+)*\.", "", told))
    assert [f"({number}) {told}" for number, told in sorted(found.items())] == SAID, done.stdout
