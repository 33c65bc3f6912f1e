"""Folders that are saved things: whole ones, growing ones, and what killed runs have left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from setwise.files.checksums import digest, is_whole, measure
from setwise.files.folder import FolderFormat, FolderInfo
from setwise.files.parts import PART, part_for, remove_dead
from setwise.files.writing import write_atomic


@dataclass(frozen=True, kw_only=True)
class DiaryInfo(FolderInfo):
    owner: str


DIARY = FolderFormat("diary", 1, DiaryInfo, ("day-*.txt", "photos/*"), "write one", "write it again")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "mine"
    with DIARY.new_folder(path, force=False) as part:
        (part / "day-1.txt").write_text("rain")
        (part / "photos").mkdir()
        (part / "photos" / "a.jpg").write_bytes(b"pixels")
        DIARY.write(part, {"owner": "Ada"})
    return path


def test_what_was_written_is_read(folder):
    home, info = DIARY.read(folder)
    assert (info.format, info.version, info.owner) == ("setwise diary", 1, "Ada")
    assert sorted(info.files) == ["day-1.txt", "photos/a.jpg"]
    assert info.bytes == 10
    assert (home / "day-1.txt").read_text() == "rain"
    assert DIARY.verify(folder) == info
    assert info.to_dict()["files"] == info.files


def test_a_folder_that_grows(tmp_path):
    path = tmp_path / "mine"
    assert DIARY.check_growing(path) == path
    path.mkdir()
    assert DIARY.check_growing(path) == path
    files = {}
    for day in (1, 2):
        name = f"day-{day}.txt"
        (path / name).write_text("rain" * day)
        files[name] = measure(path / name)
        DIARY.write(path, {"owner": "Ada"}, files)
        assert sorted(DIARY.verify(path).files) == sorted(files)
    assert DIARY.check_growing(path) == path
    (path / "day-3.txt").write_text("not finished")
    assert "day-3.txt" not in DIARY.verify(path).files
    assert is_whole(path / "day-1.txt", files["day-1.txt"])
    (path / "day-1.txt").write_text("snow")
    assert not is_whole(path / "day-1.txt", files["day-1.txt"])
    with pytest.raises(ValueError, match=r"day-1.txt was altered .*; write it again"):
        DIARY.read(path, contents=("*.txt",))
    (path / "day-1.txt").unlink()
    with pytest.raises(ValueError, match=r"day-1.txt is missing"):
        DIARY.read(path)
    assert DIARY.read(path, sizes=False)[1].files == files


def test_another_thing_is_not_grown(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="out: .* is no setwise diary, so nothing replaces it"):
        DIARY.check_growing(tmp_path / "mine")
    with pytest.raises(NotADirectoryError, match="is a file; name a folder"):
        DIARY.check_growing(tmp_path / "mine" / "notes.txt")
    with pytest.raises(FileNotFoundError, match="create it first"):
        DIARY.check_growing(tmp_path / "no" / "such")
    with pytest.raises(ValueError, match="out: 'x*' cannot be written here .*name too long"):
        DIARY.check_growing("x" * 300)


@pytest.mark.parametrize("name", ["../day-1.txt", "photos/../../day-1.txt", "day-1.csv", "/day-1.txt"])
def test_names_that_no_such_folder_has(folder, name):
    home, _ = DIARY.read(folder)
    record = json.loads((home / "meta.json").read_text())
    del record["checksum"]
    record["files"][name] = {"bytes": 4, "blake2b": ""}
    (home / "meta.json").write_text(json.dumps({**record, "checksum": digest(record)}))
    with pytest.raises(ValueError, match=r"meta.json lacks entries or has unknown ones"):
        DIARY.read(folder, sizes=False)


def dead_process():
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_killed_runs_left_is_removed(tmp_path):
    target = tmp_path / "a [1].txt"
    mine = part_for(target)
    assert PART.fullmatch(mine.name)["process"] == str(os.getpid())
    gone = mine.with_name(mine.name.replace(f"~{os.getpid()}~", f"~{dead_process()}~"))
    elsewhere = gone.with_name(gone.name.replace("~", "-far~", 1))
    other = part_for(tmp_path / "a 1.txt")
    other = other.with_name(other.name.replace(f"~{os.getpid()}~", f"~{dead_process()}~"))
    for part in (mine, elsewhere, other):
        part.touch()
    gone.mkdir()
    (gone / "half").touch()
    remove_dead(target)
    assert sorted(tmp_path.iterdir()) == sorted([mine, elsewhere, other])
    gone.touch()
    write_atomic(target, lambda stream: stream.write(b"whole"))
    assert not gone.exists()
    assert target.read_bytes() == b"whole"


def test_of_two_that_write_one_new_file_one_does(tmp_path):
    target = tmp_path / "a.txt"

    def late(stream):
        target.write_bytes(b"first")
        stream.write(b"second")

    with pytest.raises(FileExistsError, match="exists; add --force"):
        write_atomic(target, late)
    assert target.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a.txt"]
    write_atomic(target, late, force=True)
    assert target.read_bytes() == b"second"


def test_file_systems_without_second_names(tmp_path, monkeypatch):
    def refuse(*words):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "a.txt"
    write_atomic(target, lambda stream: stream.write(b"first"))
    assert target.read_bytes() == b"first"
    target.unlink()
    with pytest.raises(FileExistsError, match="exists; add --force"):
        write_atomic(target, lambda stream: target.write_bytes(b"mine"))
    assert os.listdir(tmp_path) == ["a.txt"]
