"""Arrays that are written block by block, and gone on with after an interruption."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from optional import needs
from setwise.files.arrays import DAMAGED_ARCHIVE, UnfinishedArray, read_archive, write_rows

ROWS = np.arange(24, dtype=np.float32).reshape(8, 3)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", ">f4", "i1"])
@pytest.mark.parametrize("step", [1, 3, 8])
def test_blocks_of_rows(tmp_path, dtype, step):
    rows = np.asfortranarray(ROWS.astype(dtype))
    write_rows(tmp_path / "a.npy", 8, (rows[at : at + step] for at in range(0, 8, step)))
    found = np.load(tmp_path / "a.npy")
    assert found.dtype == rows.dtype
    assert np.array_equal(found, rows)
    with pytest.raises(FileExistsError):
        write_rows(tmp_path / "a.npy", 8, [rows])
    assert np.array_equal(np.load(tmp_path / "a.npy"), rows)


def test_a_damaged_archive_is_not_left_open(tmp_path):
    np.savez(tmp_path / "a.npz", rows=ROWS)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(DAMAGED_ARCHIVE):
            read_archive(tmp_path / "a.npz")
        gc.collect()
    assert [one.message for one in told if one.category is ResourceWarning] == []


@pytest.mark.parametrize(
    ("blocks", "match"),
    [
        ([ROWS[:4]], "4 rows came instead of 8"),
        ([ROWS, ROWS[:1]], "9 rows came instead of 8"),
        (
            [ROWS[:4], ROWS[4:, :2]],
            r"rows from 4 on are float32 of shape \(2,\), those before float32 of shape \(3,\)",
        ),
        ([ROWS[:4], ROWS[4:].astype("f8")], "rows from 4 on are float64"),
        ([], "0 rows came instead of 8"),
    ],
)
def test_rows_that_do_not_fit_leave_nothing(tmp_path, blocks, match):
    with pytest.raises(ValueError, match=match):
        write_rows(tmp_path / "a.npy", 8, blocks)
    assert os.listdir(tmp_path) == []


def full(*words):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        write_rows(tmp_path / "a.npy", 8, [ROWS])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("able", [True, False])
def test_systems_that_cannot_take_room(tmp_path, monkeypatch, able):
    def refuse(*words):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if able:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    else:
        monkeypatch.delattr(os, "posix_fallocate")
    write_rows(tmp_path / "a.npy", 8, [ROWS])
    assert np.array_equal(np.load(tmp_path / "a.npy"), ROWS)


def begun(path, done=0, **more):
    """Return an array of which an earlier run has written and noted some rows, and written one more."""
    array = UnfinishedArray(path, (8, 3), {"of": "these"}, **more)
    if done:
        array.put(0, ROWS[:done])
        array.note(done)
        array.put(done, np.full((1, 3), -1))
    return array


@needs("filelock")
@pytest.mark.parametrize("done", [0, 3, 7])
@pytest.mark.parametrize(("width", "cut"), [(3, 3), (3, 2), (None, 3)])
def test_gone_on_with_where_it_was_noted(tmp_path, done, width, cut):
    path = tmp_path / "a.npy"
    begun(path, done).close()
    array = UnfinishedArray(path, (8, width), {"of": "these"})
    assert array.done == done
    array.put(done, ROWS[done:, :cut])
    array.put(done, ROWS[done:, cut:], cut)
    array.note(8)
    found = array.finish()
    assert np.array_equal(found, ROWS)
    assert not found.flags.writeable
    assert os.listdir(tmp_path) == ["a.npy"]


@needs("filelock")
def test_other_settings(tmp_path):
    path = tmp_path / "a.npy"
    begun(path, 3).close()
    match = "out: 'a.npy.part' was begun with another of .'these', not 'those'.; delete 'a.npy.part'"
    with pytest.raises(ValueError, match=match):
        UnfinishedArray(path, (8, 3), {"of": "those"})
    array = UnfinishedArray(path, (8, 3), {"of": "those"}, anew=True)
    assert array.done == 0
    array.put(0, -ROWS)
    assert np.array_equal(array.finish(), -ROWS)


@needs("filelock")
@pytest.mark.parametrize("damage", ["cut", "header", "no sidecar", "sidecar", "shape"])
def test_damage(tmp_path, damage):
    path, shape = tmp_path / "a.npy", (8, 3)
    begun(path, 3).close()
    part, sidecar = tmp_path / "a.npy.part", tmp_path / "a.npy.progress.json"
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:-1])
    elif damage == "header":
        part.write_bytes(b"x" + part.read_bytes()[1:])
    elif damage == "no sidecar":
        sidecar.unlink()
    elif damage == "sidecar":
        sidecar.write_text("{")
    else:
        shape = (9, 3)
    with pytest.raises(ValueError, match=r"out: 'a.npy.part' is (damaged|there, but no)"):
        UnfinishedArray(path, shape, {"of": "these"})
    assert UnfinishedArray(path, shape, {"of": "these"}, anew=True).done == 0


@needs("filelock")
def test_one_process_writes_it(tmp_path):
    path = tmp_path / "a.npy"
    array = begun(path, 3)
    script = (
        "import sys; from pathlib import Path; from setwise.files.arrays import UnfinishedArray\n"
        "UnfinishedArray(Path(sys.argv[1]), (8, 3), {'of': 'these'})"
    )
    other = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert "is being written by another process" in other.stderr.splitlines()[-1]
    array.close()
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    assert sorted(os.listdir(tmp_path)) == ["a.npy.part", "a.npy.progress.json"]


@needs("filelock")
def test_a_full_disk_leaves_nothing_to_go_on_with(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", full)
    array = UnfinishedArray(tmp_path / "a.npy", (8, 3), {})
    with pytest.raises(OSError, match="No space left"):
        array.put(0, ROWS)
    array.close()
    monkeypatch.undo()
    assert UnfinishedArray(tmp_path / "a.npy", (8, 3), {}).done == 0
