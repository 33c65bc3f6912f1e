"""Disks that are full: real ones, of a few hundred kilobytes. One line says so, and nothing is left."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from optional import installed
from setwise.files.parts import room_for

pytestmark = pytest.mark.skipif(
    not installed("typer", "sklearn", "pyarrow", "faiss", "filelock"), reason="writing needs them"
)

#: Mounts a small disk where only this process and its children see it, and runs commands there; what each
#: leaves is printed. None of them writes elsewhere.
ON_A_SMALL_DISK = """
import io, json, os, subprocess, sys, tempfile
from contextlib import redirect_stderr, redirect_stdout
from setwise.cli import main

place = sys.argv[1]
for size, words in json.loads(sys.stdin.read()):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", place], check=True)
    noted, code = io.StringIO(), None
    with redirect_stderr(noted), redirect_stdout(io.StringIO()):
        try:
            main(words)
        except SystemExit as left:
            code = left.code
    found = [os.path.join(at, name) for at, _, names in os.walk(place) for name in names]
    print(json.dumps([code, noted.getvalue(), [os.path.relpath(one, place) for one in found]]))
    subprocess.run(["umount", "-l", place], check=True)
"""


def apart():
    """What runs a program that may mount disks of its own; None where none may."""
    for words in (["unshare", "-m"], ["unshare", "-Urm"]):
        try:
            tried = subprocess.run([*words, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
        except OSError:
            return None
        if tried.returncode == 0:
            return words
    return None


APART = apart()
needs_mounts = pytest.mark.skipif(APART is None, reason="no small disk can be mounted here")


def ran(place, commands):
    """What commands leave with, say, and leave behind, each on a disk of so many KiB."""
    done = subprocess.run(
        [*APART, sys.executable, "-c", ON_A_SMALL_DISK, place],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@needs_mounts
def test_every_writing_command_on_a_full_disk(tmp_path):
    from setwise.extras.arrow import arrow, parquet

    rng, n = np.random.default_rng(0), 3000
    vectors = rng.standard_normal((n, 32)).astype(np.float32)  # 375 KiB
    np.save(tmp_path / "rows.npy", vectors)
    np.save(tmp_path / "few.npy", vectors[:3])
    rows = {"v": list(vectors), "q": rng.random(n), "name": [f"{row} {'x' * 90}" for row in range(n)]}
    parquet.write_table(arrow.table(rows), tmp_path / "items.parquet")
    texts = [f"{rng.choice(['red', 'blue', 'green'])} glass {row} {'x' * 200}" for row in range(n)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    pool = {"prompt": "p", "responses": texts[:6], "rewards": [1, 2, 3, 4, 5, 6]}
    (tmp_path / "pools.jsonl").write_text((json.dumps(pool) + "\n") * 1000)
    at, place = str(tmp_path), str(tmp_path / "place")
    os.mkdir(place)
    finetune = ["finetune", "--repository", f"{at}/rows.jsonl", "--examples", f"{at}/few.npy"]
    finetune += ["--vectors", f"{at}/rows.npy", "--rows", "3000"]
    build = ["index", "build", f"{at}/rows.npy", "--out", f"{place}/index"]
    catalog = ["catalog", "build", f"{at}/items.parquet", "--vectors", "v", "--quality", "q", "--id", "name"]
    commands = {
        "index": build,
        "index of FAISS": [*build, "--kind", "faiss"],
        "catalog": [*catalog, "--out", f"{place}/catalog"],
        "finetune": [*finetune, "--out", f"{place}/rows.jsonl", "--indices", f"{place}/all.csv"],
        "epochs": [*finetune, "--epochs", "2", "--out", f"{place}/epochs"],
        "prefer": ["prefer", "--responses", f"{at}/pools.jsonl", "-k", "2", "--out", f"{place}/pairs.jsonl"],
    }
    cases = list(itertools.product((100, 420), commands))
    outcomes = ran(place, [(size, commands[name]) for size, name in cases])
    for (size, name), (code, noted, left) in zip(cases, outcomes, strict=True):
        if size == 420 and name == "index":  # there is just enough
            assert (code, noted) == (0, "")
            continue
        assert code == 2, (size, name, noted)
        line = noted.splitlines()[-1]
        assert line.startswith(f"setwise: the disk has no room for '{place}/"), (size, name, noted)
        assert line.endswith("; make some, or name another place")
        assert left == [], (size, name)


@needs_mounts
def test_a_full_cache(tmp_path):
    """A command whose cache has no room does without; where the vectors have no other place, it says so."""
    texts = [f"{'red' if row % 2 else 'blue'} glass {row}" for row in range(600)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "few.jsonl").write_text(json.dumps({"text": texts[0]}) + "\n")
    at, place = str(tmp_path), str(tmp_path / "place")
    os.mkdir(place)
    words = ["--model", "static", "--cache", f"{place}/cache"]
    done, refused = ran(
        place,
        [
            (100, ["retrieve", "--corpus", f"{at}/rows.jsonl", "--query", "red", *words]),
            (100, ["finetune", "--repository", f"{at}/rows.jsonl", "--examples", f"{at}/few.jsonl", *words]),
        ],
    )
    assert (done[0], done[2]) == (0, ["cache/.gitignore"])
    assert refused[0] == 2
    assert refused[1].splitlines()[-1].startswith(f"setwise: the disk has no room for '{place}/cache")
    assert refused[2] == ["cache/.gitignore"]


@needs_mounts
def test_processes_beside_a_small_shared_memory(tmp_path):
    """Docker's /dev/shm has 64 MB: what does not fit there is shared by files, and the set is the same."""
    script = """
import os, subprocess, sys, tempfile
import numpy as np
import setwise
from setwise.engine import local

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    vectors, quality = rng.standard_normal((2000, 64)), rng.random(2000)
    catalog = setwise.Catalog.build(vectors, quality, clusters=10)
    alone = catalog.select(20, method="muss")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", "/dev/shm"], check=True)
    places, written = [], local._written

    def seen(array):
        places.append(written(array))
        return places[-1]

    local._written = seen
    shared = catalog.select(20, method="muss", workers=2)
    assert (shared.indices == alone.indices).all()
    assert str(places[0]).startswith(tempfile.gettempdir()), places
    assert os.listdir("/dev/shm") == os.listdir(tempfile.gettempdir()) == []
    tempfile.tempdir = "/dev/shm"
    try:
        catalog.select(20, method="muss", workers=2)
    except OSError as error:
        print(error)
"""
    (tmp_path / "script.py").write_text(script)
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(
        [*APART, sys.executable, str(tmp_path / "script.py")],
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("workers: there is no room to share")


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),  # torch
        type("SafetensorError", (Exception,), {})("Error while serializing: No space left on device"),
        OSError("100 requested and 12 written"),  # NumPy
    ],
)
def test_what_libraries_say_of_a_full_disk_is_one_line(error):
    def write(place, error):
        with room_for(place):
            raise error

    with pytest.raises(OSError, match="^the disk has no room for 'trained'; make some") as caught:
        write("trained", error)
    assert caught.value.errno == 28
    with pytest.raises(KeyError, match="weight"):
        write("trained", KeyError("weight"))
