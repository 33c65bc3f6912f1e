"""Files that belong together: all of them appear, or none, wherever writing ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from setwise.asked import asked_for, watched
from setwise.files import write_json
from setwise.files.outputs import together
from setwise.files.parts import part_for, remove_dead

NAMES = ("a.json", "b.json", "c.json")


def write(folder, number, *, force=False, late=lambda outputs: None, names=NAMES):
    with together() as outputs:
        for name in names:
            write_json(folder / name, [name, number], force=force, among=outputs)
        late(outputs)


def held(folder):
    return {name: (folder / name).read_text() for name in os.listdir(folder)}


def test_all_appear_at_the_end(tmp_path):
    with together() as outputs:
        for name in NAMES:
            write_json(tmp_path / name, name, among=outputs)
        assert all(name.endswith(".part") for name in os.listdir(tmp_path))
    assert held(tmp_path) == {name: f'"{name}"\n' for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_none_appears_where_one_is_there_by_then(tmp_path, name):
    def late(outputs):
        (tmp_path / name).write_text("another run's")

    with pytest.raises(FileExistsError, match=rf"{name}' exists; add --force"):
        write(tmp_path, 1, late=late)
    assert held(tmp_path) == {name: "another run's"}


def test_none_appears_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path, 1, late=lambda outputs: write_json(tmp_path / "d.json", float("nan"), among=outputs))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("call", ["link", "replace"])
@pytest.mark.parametrize("names", [NAMES, NAMES[:1]])
def test_an_interruption_between_two_names(tmp_path, monkeypatch, names, call, there, links):
    """Ctrl-C just after each step that gives a file its name: all are as they were."""
    before, real = {}, {name: getattr(os, name) for name in ("link", "replace")}
    if there and not links:
        pytest.skip("without second names, what is replaced cannot be kept")
    if there:
        write(tmp_path, 1, names=names)
        before = held(tmp_path)
    count = 0

    def interrupted(step):
        def act(*words, **more):
            nonlocal count
            count += 1
            done = count > step  # what takes steps back is not interrupted
            if call == "link" and not links:
                raise PermissionError
            real[call](*words, **more)
            if not done and count == step:
                raise KeyboardInterrupt

        return act

    if not links:
        monkeypatch.setattr(os, "link", interrupted(0) if call == "link" else _refuse)
    step, stopped = 0, True
    while stopped and step < 10:
        step, count = step + 1, 0
        monkeypatch.setattr(os, call, interrupted(step))
        try:
            write(tmp_path, 2, force=there, names=names)
            stopped = False
        except KeyboardInterrupt:
            assert held(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert all(text.split()[-2] == "2" for text in held(tmp_path).values())


@pytest.mark.skipif(os.name != "posix", reason="whether another process is alive is asked on POSIX alone")
@pytest.mark.parametrize("call", ["link", "unlink"])
@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("there", [False, True])
def test_a_kill_while_outputs_appear_leaves_nothing_that_stops_the_same_call(tmp_path, call, step, there):
    """Half of them once stood there, and the same call was refused; nothing that is whole goes unasked."""
    if there:
        write(tmp_path, 1)
    child = os.fork()
    if not child:
        inner, count = getattr(os, call), 0

        def killed(*words, **more):
            nonlocal count
            count += 1
            inner(*words, **more)
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

        setattr(os, call, killed)
        write(tmp_path, 2, force=there)
        os._exit(0)
    os.waitpid(child, 0)
    was = {name: text for name, text in held(tmp_path).items() if name in NAMES}
    if there or call == "unlink":  # then all had appeared
        with pytest.raises(FileExistsError, match="add --force"):
            write(tmp_path, 3)
        assert {name: text for name, text in held(tmp_path).items() if name in NAMES} == was
        write(tmp_path, 3, force=True)
    else:
        write(tmp_path, 3)
    assert sorted(os.listdir(tmp_path)) == sorted(NAMES)
    assert all(text.split()[-2] == "3" for text in held(tmp_path).values())


def _refuse(*words):
    raise PermissionError


@pytest.mark.parametrize("step", range(1, 7))
def test_an_interruption_while_what_is_left_is_removed(tmp_path, monkeypatch, step):
    write(tmp_path, 1)
    unlink, count = Path.unlink, 0

    def interrupted(self, **more):
        nonlocal count
        count += 1
        unlink(self, **more)
        if count == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, 2, force=True)
    assert sorted(os.listdir(tmp_path)) == sorted(NAMES)


def test_one_that_cannot_be_kept_is_replaced_or_as_it_was(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", 1)
    replace = os.replace

    def interrupted(*words):
        replace(*words)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", _refuse)
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_json(tmp_path / "a.json", 2, force=True)
    assert held(tmp_path) == {"a.json": "2\n"}


def test_what_was_asked_for_and_is_written(tmp_path):
    old, new, never, folder = (tmp_path / name for name in ("old", "new", "never", "folder"))
    old.write_text("1")
    folder.mkdir()
    (folder / "current").write_text("content-1\n")
    asked_for(old)  # nobody wants to know
    with watched() as written:
        for path in (old, new, never, folder):
            asked_for(path)
        assert written() == []
        write_json(new, 1)
        assert written() == [new]
        write_json(old, 2, force=True)
        write_json(folder / "current", "content-2", force=True)
        assert written() == [old, new, folder]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere processes cannot be asked whether they live")
def test_leftovers_of_an_earlier_run_of_the_same_process(tmp_path):
    """A container that is started again has the host and the process of before."""
    target = tmp_path / "a.json"
    mine = part_for(target)
    run = mine.name.split("~")[2]
    earlier = mine.with_name(mine.name.replace(run, "0" * 8))
    other = mine.with_name(mine.name.replace(f"~{os.getpid()}~", f"~{os.getppid()}~"))
    script = "import sys; from pathlib import Path; from setwise.files.parts import part_for;"
    script += " part_for(Path(sys.argv[1])).mkdir()"
    subprocess.run([sys.executable, "-c", script, str(target)], check=True)
    for path in (mine, earlier, other):
        path.touch()
    assert len(os.listdir(tmp_path)) == 4
    remove_dead(target)
    assert sorted(tmp_path.iterdir()) == sorted([mine, Path(other)])
