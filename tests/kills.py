"""Commands that are killed at random moments, and what is there after.

    python -m tests.kills TIMES [SEED [COMMAND ...]]

Processes are forked from one that has everything imported, so that a kill falls into the work. A killed run
leaves an output that is whole, or none; the next run finishes it, and clears all that was left.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Command:
    """A command that writes.

    words : of the command line, run in a folder of its own; outputs : what it writes; check : raises where
    they are not whole; again : what it is run with over an output that is there; first : what makes the
    output that it changes; finished : where its output is a folder that it goes on in, the file that says
    that it has ended; kept : what a stopped run may leave beside the output, to go on from.
    """

    words: tuple[str, ...]
    outputs: tuple[str, ...]
    check: Callable[[], object]
    again: tuple[str, ...] | Callable[[], tuple[str, ...]] = ("--force",)
    first: tuple[str, ...] = ()
    finished: str = ""
    kept: tuple[str, ...] = ()

    def over(self) -> tuple[str, ...]:
        """Return what it is run with over an output that is there."""
        return self.again() if callable(self.again) else self.again


def _lines(*names: str) -> Callable[[], object]:
    def check() -> None:
        for name in names:
            rows = [json.loads(line) for line in Path(name).read_text().splitlines()]
            assert rows, name

    return check


def _epochs() -> None:
    from setwise.finetuning.rows.writing import FORMAT

    FORMAT.verify("epochs")


def _index() -> None:
    from setwise.index.folder import FORMAT

    assert FORMAT.verify("index").n in (200, 398, 400)


def _array() -> None:
    assert np.load("encoded.npy").shape[0] == 400


def _settings() -> None:
    import tomllib

    assert tomllib.loads(Path("chosen.toml").read_text())


def _catalog() -> None:
    from setwise.catalog.files import FORMAT

    assert FORMAT.verify("catalog").n in (399, 400, 800)


def _table(name: str) -> Callable[[], object]:
    def check() -> None:
        from setwise.extras.arrow import csv, parquet

        read = parquet.read_table if name.endswith(".parquet") else csv.read_csv
        assert set(read(name).column("query").to_pylist()) == {"blue glass", "old stone"}

    return check


def _figures() -> None:
    assert sorted(os.listdir("figures")) == ["figures.parquet", "means.csv", "report.html"]


def _anew() -> tuple[str, ...]:
    return ("--force",) if os.path.exists("figures/report.html") else ()


def _weights(folder: str) -> Callable[[], object]:
    def check() -> None:
        from safetensors.numpy import load_file

        assert load_file(f"{folder}/model.safetensors")

    return check


def _resumed() -> tuple[str, ...]:
    return ("--resume",) if list(Path("trained").glob("checkpoint-*/trainer_state.json")) else ()


def _cache() -> None:
    """What is left of a cache is used, or made anew."""
    code = ended(forked(RETRIEVE))
    assert code == 0, Path("noted").read_text()


HALF = ("index", "build", "half.npy", "--out", "index")
ASKED = ("rows.jsonl", "questions.jsonl", "--text", "text", "--model", "lsa")
ENCODE = ("encode", "rows.jsonl", "--model", "lsa", "--out", "encoded.npy")
BUILD = ("catalog", "build", "items.parquet", "--vectors", "v", "--quality", "q", "--out", "catalog")
ADD = ("catalog", "add", "catalog", "items.parquet", "--vectors", "v", "--quality", "q")
RETRIEVE = ("retrieve", "--corpus", "rows.jsonl", "--query", "blue glass", "--model", "lsa")
SELECT = ("catalog", "select", "catalog", "-k", "20")
POLICY = ("--model", "policy", "--max-new-tokens", "4")
TRAINED = ("--set", "use_cpu=true", "--batch-size", "4")
LOOP = (
    "--reward",
    "reward.py:good",
    "--iterations",
    "2",
    "-n",
    "6",
    "-k",
    "2",
    "--set",
    "encoder=lsa",
    "--set",
    "training.use_cpu=true",
)
FINETUNE = ("finetune", "--repository", "rows.jsonl", "--examples", "few.jsonl", "--rows", "300")
COMMANDS = {
    "retrieve": Command((*RETRIEVE, "--out", "set.jsonl"), ("set.jsonl",), _lines("set.jsonl")),
    **{
        f"retrieve many to {kind}": Command(
            (*RETRIEVE, "--query", "old stone", "--out", f"sets.{kind}"),
            (f"sets.{kind}",),
            _table(f"sets.{kind}"),
        )
        for kind in ("csv", "parquet")
    },
    "index": Command(("index", "build", "rows.npy", "--out", "index"), ("index",), _index),
    "index add": Command(
        ("index", "add", "index", "other.jsonl", "--vectors", "v"), ("index",), _index, (), HALF
    ),
    "index update": Command(("index", "update", "index", "half.npy"), ("index",), _index, (), HALF),
    "index remove": Command(
        ("index", "remove", "index", "7", "9"),
        ("index",),
        _index,
        (),
        ("index", "build", "rows.npy", "--out", "index"),
    ),
    "encode": Command(ENCODE, ("encoded.npy",), _array),
    "tune": Command(("tune", *ASKED, "--out", "chosen.toml"), ("chosen.toml",), _settings),
    "compare": Command(
        ("compare", *ASKED, "-k", "5", "--out", "figures"),
        ("figures",),
        _figures,
        _anew,
        (),
        "figures/nothing says so",
    ),
    "catalog build": Command(BUILD, ("catalog",), _catalog),
    "catalog add": Command(ADD, ("catalog",), _catalog, (), BUILD),
    "catalog remove": Command(("catalog", "remove", "catalog", "7"), ("catalog",), _catalog, (), BUILD),
    "catalog select": Command((*SELECT, "--out", "chosen.csv"), ("chosen.csv",), lambda: None),
    "catalog tune": Command(
        ("catalog", "tune", "catalog", "users.jsonl", "-k", "20", "--folds", "2", "--out", "chosen.toml"),
        ("chosen.toml",),
        _settings,
    ),
    "cache clear": Command(("cache", "clear", ".setwise-cache"), (".setwise-cache",), _cache, (), RETRIEVE),
    "finetune": Command(
        (*FINETUNE, "--model", "lsa", "--out", "drawn.jsonl", "--indices", "all.csv", "--drawn", "few.npy"),
        ("drawn.jsonl", "all.csv", "few.npy"),
        _lines("drawn.jsonl"),
    ),
    "finetune epochs": Command(
        (*FINETUNE, "--model", "lsa", "--epochs", "3", "--out", "epochs"),
        ("epochs",),
        _epochs,
        (),
        (),
        "epochs/.meta.json",
    ),
    "prefer select": Command(
        ("prefer", "--responses", "pools.jsonl", "-k", "2", "--model", "lsa", "--out", "pairs.jsonl"),
        ("pairs.jsonl",),
        _lines("pairs.jsonl"),
    ),
    "prefer generate": Command(
        ("prefer", "generate", "--prompts", "prompts.jsonl", *POLICY, "-n", "3", "--out", "drawn.jsonl"),
        ("drawn.jsonl",),
        _lines("drawn.jsonl"),
        kept=(".drawn.jsonl.unfinished",),
    ),
    "prefer score": Command(
        (
            "prefer",
            "score",
            "--responses",
            "pools.jsonl",
            "--reward",
            "reward.py:good",
            "--out",
            "scored.jsonl",
        ),
        ("scored.jsonl",),
        _lines("scored.jsonl"),
        kept=(".scored.jsonl.unfinished",),
    ),
    "prefer train": Command(
        ("prefer", "train", "--rows", "groups.jsonl", "--model", "policy", *TRAINED, "--out", "trained"),
        ("trained",),
        _weights("trained"),
        _resumed,
        finished="trained/nothing says so",
    ),
    "prefer loop": Command(
        ("prefer", "loop", "--prompts", "prompts.jsonl", *POLICY, *LOOP, "--out", "run"),
        ("run",),
        _weights("run/iteration-002/checkpoint"),
        (),
        finished="run/nothing says so",
    ),
}

#: Commands that need more than the others do, and what.
HEAVY = ("prefer generate", "prefer train", "prefer loop")


def _sources() -> None:
    """Write what the commands read."""
    from setwise.extras.arrow import arrow, parquet

    rng = np.random.default_rng(0)
    words = [
        "red",
        "green",
        "blue",
        "glass",
        "stone",
        "paper",
        "north",
        "south",
        "old",
        "new",
        "round",
        "flat",
    ]
    texts = [" ".join(rng.choice(words, 6)) + f" {row}" for row in range(400)]
    vectors = rng.standard_normal((400, 8)).astype(np.float32)
    Path("rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    Path("few.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[:3]))
    pools = [
        {"prompt": text, "responses": texts[row : row + 6], "rewards": rng.random(6).tolist()}
        for row, text in enumerate(texts[:100])
    ]
    Path("pools.jsonl").write_text("".join(json.dumps(pool) + "\n" for pool in pools))
    np.save("rows.npy", vectors)
    np.save("half.npy", vectors[:200])
    others = [{"id": row, "v": vectors[row].tolist()} for row in range(200, 400)]
    Path("other.jsonl").write_text("".join(json.dumps(each) + "\n" for each in others))
    questions = [{"query": texts[row], "answers": [[row], [row + 1]]} for row in range(6)]
    Path("questions.jsonl").write_text("".join(json.dumps(each) + "\n" for each in questions))
    users = [{"items": rng.choice(400, 8, replace=False).tolist()} for _ in range(12)]
    Path("users.jsonl").write_text("".join(json.dumps(each) + "\n" for each in users))
    column = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.ravel()), 8)
    parquet.write_table(arrow.table({"v": column, "q": rng.random(400)}), "items.parquet")
    Path("reward.py").write_text(
        "def good(prompts, responses):\n    return [text.split().count('good') for text in responses]\n"
    )
    asked = ("what is it", "what is red", "is it blue", "what is tree")
    Path("prompts.jsonl").write_text("".join(json.dumps({"prompt": one}) + "\n" for one in asked))
    groups = [
        {"prompt": one, "chosen": "good good", "rejected": ["bad", "red bad"], "rewards": [2, 0, 1]}
        for one in asked * 4
    ]
    Path("groups.jsonl").write_text("".join(json.dumps(each) + "\n" for each in groups))


def _policy() -> None:
    """Write a small model, and import what trains it."""
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401

    import setwise.preference.training.run  # noqa: F401

    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).parent))
    import tiny_policy

    tiny_policy.saved("policy")


def forked(words: tuple[str, ...]) -> int:
    """Start a command in a process that has everything imported; return its number."""
    process = os.fork()
    if process:
        return process
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(os.open("noted", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    code = 70
    try:
        from setwise.cli import main

        main(list(words))
    except SystemExit as left:
        code = int(left.code or 0)
    finally:
        os._exit(code)


def ended(process: int, after: float | None = None, number: int = signal.SIGKILL) -> int:
    """Wait for a process, or end it after some seconds; return how it left."""
    if after is not None:
        time.sleep(after)
        os.kill(process, number)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def run(name: str, times: int, rng: random.Random) -> dict[str, int]:
    """Kill a command some times, by SIGKILL and SIGTERM; return what was counted.

    Raises
    ------
    AssertionError
        Something was left that should not be, or was not whole.
    """
    command = COMMANDS[name]
    outputs, kept = list(command.outputs), list(command.kept)
    _remove(outputs + kept)
    before = {*os.listdir(), "noted", ".setwise-cache", *outputs}
    if command.first:
        _finish(command, command.first)
    began = time.monotonic()
    assert ended(forked(command.words)) == 0, Path("noted").read_text()
    whole = time.monotonic() - began
    command.check()
    counts = {"killed": 0, "finished": 0, "there": 0}
    for number in range(times):
        there = bool(command.first) or bool(number % 2)  # over an output that is there, or to a new one
        if command.first or not there:
            _remove(outputs)
            if rng.random() < 0.5:
                _remove([".setwise-cache", *kept])
        if there and not all(map(os.path.exists, outputs)):
            _remove(outputs)
            _finish(command, command.first or command.words)
        how = rng.choice([signal.SIGKILL, signal.SIGTERM])
        words = command.words + (command.over() if there else ())
        killed = set(
            os.listdir()
        )  # with what a run that was killed has left, should this one not get to clear it
        code = ended(forked(words), rng.uniform(0, 1.1 * whole), how)
        noted = Path("noted").read_text()
        assert code in (0, 130, -how), noted
        assert "Traceback" not in noted, noted
        counts["finished" if code == 0 else "killed"] += 1
        found = [each for each in outputs if os.path.exists(each)]
        if code == 130:
            left = set(os.listdir()) - before - set(kept) - killed
            assert not left, f"{name}: SIGTERM left {left}"
            said = "was written before" in noted or "goes on from there" in noted
            assert said or "nothing was written" in noted or "no file was written" in noted, noted
            assert there or command.finished or bool(found) == ("was written before" in noted), (found, noted)
        assert not there or found == outputs, f"{name}: an output that was there is gone"
        if code in (0, 130) or len(outputs) == 1:
            assert found in ([], outputs), f"{name}: {found} of {outputs}"
        if found == outputs and (not command.finished or code == 0 or os.path.exists(command.finished)):
            command.check()
            counts["there"] += 1
    if not command.finished:
        _remove(outputs)
    if command.first:
        _finish(command, command.first)
    _finish(command, command.words + (command.over() if command.finished else ()))
    left = set(os.listdir()) - before
    assert not left, f"{name}: {left} is left"
    return counts


def _finish(command: Command, words: tuple[str, ...]) -> None:
    """Run a command to its end."""
    if words is command.words and command.first and not all(map(os.path.exists, command.outputs)):
        _finish(command, command.first)
    code = ended(forked(words))
    assert code == 0, Path("noted").read_text()
    command.check()


def _remove(names: tuple[str, ...] | list[str]) -> None:
    import shutil

    for name in names:
        if os.path.isdir(name):
            shutil.rmtree(name)
        elif os.path.exists(name):
            os.unlink(name)


def main() -> None:
    """Kill every command that many times."""
    import sklearn.decomposition  # noqa: F401

    from setwise.extras.arrow import csv, parquet  # noqa: F401
    from setwise.extras.faiss import faiss

    faiss.omp_set_num_threads(1)
    times = int(sys.argv[1])
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = os.path.join(folder, "temporary")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(
            folder, "compiled"
        )  # torch's own, made on import
        os.mkdir(tempfile.tempdir)
        os.mkdir(os.path.join(folder, "here"))
        os.chdir(os.path.join(folder, "here"))
        _sources()
        names = sys.argv[3:] or COMMANDS
        if set(names) & set(HEAVY):
            _policy()
        if set(names) & {"catalog select", "catalog tune"}:
            assert ended(forked(BUILD)) == 0
        for name in names:
            counts = run(name, times, rng)
            print(f"{name}: {counts}", flush=True)
            left = os.listdir(tempfile.tempdir)
            assert not left, f"{name}: {left} is left among temporary files"


if __name__ == "__main__":
    main()
