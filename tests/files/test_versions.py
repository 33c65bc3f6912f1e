"""Folders that are replaced in one step: killed at every step, written by two at once, read meanwhile."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing import get_context

import pytest

from setwise.files import versions
from setwise.files.folder import FolderFormat, FolderInfo

pytest.importorskip("filelock")


@dataclass(frozen=True, kw_only=True)
class NotesInfo(FolderInfo):
    number: int


NOTES = FolderFormat("notebook", 1, NotesInfo, ("first.txt", "second.txt"), "write one", "write it again")


def write(path, number, *, force=True):
    """Save two files that belong together."""
    with NOTES.new_folder(path, force=force) as part:
        for name in NOTES.files:
            (part / name).write_text(f"{number} " * 1000)
        NOTES.write(part, {"number": number})


def number_in(path):
    """Return the number that all of a notebook has."""

    def number(folder, info):
        texts = [(folder / name).read_text() for name in NOTES.files]
        assert {int(word) for text in texts for word in text.split()} == {info.number}
        return info.number

    return NOTES.load(path, number, contents=("*",))


#: What changes a file system, one by one.
STEPS = [
    *((os, name) for name in ("rename", "replace", "link", "mkdir", "unlink", "fsync")),
    (shutil, "rmtree"),
]


def dying(path, number, step, before, end):
    """Save a notebook in a process that ends at a step: just before what it does, or just after."""
    count = 0

    def counted(call):
        def run(*words, **more):
            nonlocal count
            count += 1
            here = count == step
            if here and before:
                end()
            try:
                return call(*words, **more)
            finally:
                if here and not before:
                    end()

        return run

    for module, name in STEPS:
        setattr(module, name, counted(getattr(module, name)))
    with contextlib.suppress(KeyboardInterrupt):
        write(path, number)
        os._exit(0)
    os._exit(9)


def killed():
    os._exit(9)


def interrupted():
    raise KeyboardInterrupt


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes that die are forked")
@pytest.mark.parametrize("end", [killed, interrupted])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_killed_at_any_step(tmp_path, there, before, end):
    """The old notebook or the new one, whole, and the next writer clears what is left."""
    path, step, outcomes, died = tmp_path / "notes", 0, [], True
    fork = get_context("forkserver")  # of a small process: to copy all that pytest has loaded takes long
    fork.set_forkserver_preload([__name__])
    if there:
        write(path, 3)
    while died:
        step += 1
        if not there:
            shutil.rmtree(path, ignore_errors=True)
        child = fork.Process(target=dying, args=(path, 2, step, before, end))
        child.start()
        child.join()
        died = child.exitcode != 0
        outcomes.append(number_in(path) if path.exists() else None)
        write(path, 3)
        assert number_in(path) == 3
        assert len([name for name in os.listdir(path) if name.startswith("content-")]) == 1
        assert set(os.listdir(path)) <= {*versions_of(path), "current"}
        assert os.listdir(tmp_path) == ["notes"]
    old = 3 if there else None
    assert set(outcomes) == {old, 2}
    assert outcomes == sorted(outcomes, key=lambda found: found == 2)  # one step makes the difference
    assert step > 8


def versions_of(path):
    return [versions.home(path).name]


def write_often(path, start):
    for number in range(start, start + 10_000):
        write(path, number)


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    path = tmp_path / "notes"
    spawn, seen = get_context("spawn"), set()
    write(path, 0)
    for start in range(0, 30 * 10_000, 10_000):
        child = spawn.Process(target=write_often, args=(path, start + 1))
        child.start()
        while number_in(path) < start + 1:
            time.sleep(0.01)
        time.sleep(0.0005 * (start // 10_000))
        child.kill()
        child.join()
        seen.add(number_in(path))
    assert len(seen) == 30
    write(path, 1)
    assert sorted(os.listdir(path)) == [versions.home(path).name, "current"]
    assert os.listdir(tmp_path) == ["notes"]


def test_readers_while_another_saves(tmp_path):
    path = tmp_path / "notes"
    write(path, 0)
    done, found = threading.Event(), []

    def read():
        while not done.is_set():
            found.append(number_in(path))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 30):
        write(path, number)
    done.set()
    for reader in readers:
        reader.join()
    assert len(set(found)) > 5
    assert number_in(path) == 29


def test_what_is_open_stays_as_it_was(tmp_path):
    path = tmp_path / "notes"
    write(path, 1)
    stream = NOTES.load(path, lambda folder, _: (folder / "first.txt").open())
    write(path, 2)
    with stream:
        assert stream.read().split()[0] == "1"


def test_of_two_new_ones_one_appears(tmp_path):
    path, both, outcomes = tmp_path / "notes", threading.Barrier(2), []

    def save(number):
        try:
            with NOTES.new_folder(path, force=False) as part:
                for name in NOTES.files:
                    (part / name).write_text(f"{number} ")
                NOTES.write(part, {"number": number})
                both.wait(60)
            outcomes.append(number)
        except FileExistsError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=save, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [outcome for outcome in outcomes if isinstance(outcome, int)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert (len(won), len(lost)) == (1, 1)
    assert lost[0].endswith("exists; add --force (force=True) to replace it")
    assert number_in(path) == won[0]
    assert os.listdir(tmp_path) == ["notes"]


def test_one_that_appeared_meanwhile_is_replaced_by_force(tmp_path):
    path = tmp_path / "notes"
    with NOTES.new_folder(path, force=True) as part:
        for name in NOTES.files:
            (part / name).write_text("2 ")
        NOTES.write(part, {"number": 2})
        write(path, 1, force=False)
    assert number_in(path) == 2
    assert sorted(os.listdir(path)) == ["content-2", "current"]
    assert os.listdir(tmp_path) == ["notes"]


def test_an_empty_folder_is_filled(tmp_path):
    path = tmp_path / "notes"
    path.mkdir()
    inode = path.stat().st_ino
    with pytest.raises(FileExistsError, match="add --force"):
        write(path, 1, force=False)
    write(path, 1)
    assert number_in(path) == 1
    assert path.stat().st_ino == inode  # it may be where a volume is mounted


def test_a_writer_waits_for_another(tmp_path, monkeypatch):
    path = tmp_path / "notes"
    write(path, 1)
    script = (
        "import sys, pathlib, time\n"
        "from setwise.files import versions\n"
        "with versions.writing(pathlib.Path(sys.argv[1]), 'out'):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script, str(path)], **pipes) as other:
        assert other.stdout.readline() == "held\n"
        monkeypatch.setattr(versions, "WAIT", 0.2)
        with pytest.raises(TimeoutError, match=f"out: '{path}' is being written by another process"):
            write(path, 2)
        assert number_in(path) == 1  # reading needs no lock
        other.send_signal(signal.SIGKILL)
    write(path, 2)
    assert number_in(path) == 2


@pytest.mark.parametrize("text", ["content-7", "", "../elsewhere", "content-1/..", "\xff"])
def test_a_damaged_name_of_the_current_content(tmp_path, text):
    path = tmp_path / "notes"
    write(path, 1)
    (path / "current").write_text(text, encoding="latin-1")
    with pytest.raises(
        ValueError, match="notebook: .*(is damaged: current names no content|without meta.json)"
    ):
        NOTES.read(path)


def test_a_copied_and_a_moved_folder(tmp_path):
    write(tmp_path / "notes", 1)
    shutil.copytree(tmp_path / "notes", tmp_path / "copied")
    os.rename(tmp_path / "notes", tmp_path / "moved")
    os.symlink(tmp_path / "moved", tmp_path / "linked")
    write(tmp_path / "linked", 2)
    assert [number_in(tmp_path / name) for name in ("copied", "moved", "linked")] == [1, 2, 2]
    assert (tmp_path / "linked").is_symlink()
