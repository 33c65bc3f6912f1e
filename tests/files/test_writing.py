"""Tables out: whole or not at all, and nothing replaced unasked."""

from __future__ import annotations

import json
import os
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optional import needs
from setwise.files import (
    check_output,
    read_table,
    write_array,
    write_atomic,
    write_json,
    write_table,
)
from setwise.files.writing import growing_list, growing_table

COLUMNS = {"id": ["a", "b"], "rank": [1, 2], "text": ['x, "y"\nz', "ü"]}


@needs("pyarrow")
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_what_is_written_reads_back(tmp_path, name):
    path = tmp_path / name
    write_table(path, COLUMNS)
    table = read_table(path, COLUMNS)
    assert table.texts("text") == COLUMNS["text"]
    assert table.labels("id", "id") == COLUMNS["id"]
    assert table.numbers("rank", "rank").tolist() == COLUMNS["rank"]
    assert os.listdir(tmp_path) == [name]


@needs("pyarrow")
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_any_text_reads_back(tmp_path_factory, name, texts):
    path = tmp_path_factory.mktemp("texts") / name
    write_table(path, {"row": list(range(len(texts))), "text": texts})
    assert read_table(path, ["row", "text"]).texts("text") == texts


def test_json_and_npy(tmp_path):
    write_table(tmp_path / "a.json", COLUMNS)
    assert json.loads((tmp_path / "a.json").read_text())[1] == {"id": "b", "rank": 2, "text": "ü"}
    write_json(tmp_path / "b.json", {"x": [1, None]})
    assert json.loads((tmp_path / "b.json").read_text()) == {"x": [1, None]}
    write_array(tmp_path / "a.npy", np.arange(3))
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"out: .npy holds one array"):
        write_table(tmp_path / "c.npy", COLUMNS)


def test_nothing_is_replaced_without_force(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("precious")
    for writing in (
        lambda: write_table(path, COLUMNS),
        lambda: write_atomic(path, lambda stream: stream.write(b"x")),
        lambda: check_output(path, force=False),
    ):
        with pytest.raises(FileExistsError, match=r"a\.jsonl' exists; .*force=True"):
            writing()
        assert path.read_text() == "precious"
    write_table(path, COLUMNS, force=True)
    assert path.read_text().startswith('{"id": "a"')


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full"), MemoryError, SystemExit])
@pytest.mark.parametrize("before", [None, "precious"])
def test_no_partial_file_is_left(tmp_path, error, before):
    path = tmp_path / "a.jsonl"
    if before is not None:
        path.write_text(before)

    def fail(stream):
        stream.write(b"half")
        stream.flush()
        raise error

    with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever it is, it comes through
        write_atomic(path, fail, force=True)
    assert os.listdir(tmp_path) == ([] if before is None else ["a.jsonl"])
    assert before is None or path.read_text() == before


def test_values_that_json_cannot_hold_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_table(tmp_path / "a.jsonl", {"x": [1.0, float("nan")]})
    assert os.listdir(tmp_path) == []


def test_a_name_appears_only_with_the_whole_content(tmp_path):
    path = tmp_path / "a.json"
    seen = []

    def watch(stream):
        stream.write(b"[]")
        seen.append(path.exists())

    write_atomic(path, watch)
    assert seen == [False]
    assert path.read_text() == "[]"


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    write_json(tmp_path / "link.json", 1, force=True)
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "1\n"


def test_permissions_follow_the_umask(tmp_path):
    mask = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", 1)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640


def test_outputs_that_cannot_be_are_refused_before_any_work(tmp_path):
    with pytest.raises(ValueError, match=r"out: .* ends in none of \.jsonl, \.csv, \.parquet, \.json, \.npy"):
        check_output(tmp_path / "a.txt", force=False)
    with pytest.raises(FileNotFoundError, match="create it first"):
        check_output(tmp_path / "no" / "a.json", force=False)
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        check_output(tmp_path / "folder.json", force=True)
    for name in ("x" * 300, "x" * 240, "a\0b"):  # the second is too long with what it has until it is whole
        with pytest.raises(ValueError, match="drawn: .* here.*; name another"):
            check_output(tmp_path / f"{name}.json", force=True, argument="drawn")
    with pytest.raises(TypeError, match="drawn: expected a path, got int"):
        check_output(5, force=True, argument="drawn")
    for name, told in (("", "empty"), ("  ", "blank")):
        with pytest.raises(ValueError, match=f"drawn: the path is {told}; name a file or folder"):
            check_output(name, force=True, argument="drawn")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="out: .*file' is a file; name a folder"):
        check_output(tmp_path / "file" / "a.json", force=True)
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        check_output(tmp_path, force=True)
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        check_output(f"{tmp_path}/new.json/", force=True)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no such file system")
def test_a_folder_that_takes_no_file_is_refused_whatever_its_mode_says():
    with pytest.raises(PermissionError, match="out: folder '/proc' is not writable"):
        check_output("/proc/a.json", force=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="is not writable"):
        check_output(tmp_path / "a.json", force=False)


PARTS = [
    {"id": [1, 2], "gain": [None, None], "size": [1, 2], "share": [1, 2], "text": ["a,\n", "é\u2028"]},
    {"id": [], "gain": [], "size": [], "share": [], "text": []},
    {"id": [3, 4], "gain": [0.5, None], "size": [2**63, 5], "share": [0.5, 1.0], "text": ["", '"']},
    {"id": [5], "gain": [1.0], "size": [7], "share": [3], "text": [None]},
]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("group", [1, 3, 100])
def test_a_table_that_grows_is_the_table_written_at_once(tmp_path, monkeypatch, kind, group):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr("setwise.files.writing.GROUP", group)
    whole, grown = tmp_path / f"whole.{kind}", tmp_path / f"grown.{kind}"
    write_table(whole, {name: [one for part in PARTS for one in part[name]] for name in PARTS[0]})
    with growing_table(grown) as add:
        for part in PARTS:
            add(part)
        assert not grown.exists()
    if kind == "parquet":
        from setwise.extras.arrow import parquet

        assert parquet.read_table(grown) == parquet.read_table(whole)
        assert parquet.ParquetFile(grown).num_row_groups == {1: 3, 3: 2, 100: 1}[group]
    else:
        assert grown.read_bytes() == whole.read_bytes()


def test_a_list_that_grows_is_the_list_written_at_once(tmp_path):
    for number, values in enumerate([[], [{"a": [1, "x\u2028y\n"]}], [1, [], {"b": {}}]]):
        whole, grown = tmp_path / f"whole{number}.json", tmp_path / f"grown{number}.json"
        write_json(whole, values)
        with growing_list(grown) as add:
            for one in values:
                add(one)
        assert grown.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("later", [["a"], [-1]])
def test_a_table_that_grows_into_several_kinds_is_refused(tmp_path, monkeypatch, later):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("setwise.files.writing.GROUP", 1)

    def grow():
        with growing_table(tmp_path / "a.parquet") as add:
            add({"n": [2**63]})
            add({"n": later})

    with pytest.raises(ValueError, match="^out: column 'n' holds values of several kinds"):
        grow()
    assert list(tmp_path.iterdir()) == []
