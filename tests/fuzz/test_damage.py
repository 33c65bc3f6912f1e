"""A few hundred of the damaged files that ``python -m tests.fuzz.damage`` makes without end."""

from __future__ import annotations

import os

import damage
import pytest

from optional import installed

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork")
    or not installed("pyarrow", "faiss", "sklearn", "typer", "docx", "pypdf", "filelock", "lxml"),
    reason="damaged files are read in forked processes, by everything that reads files",
)


def test_damaged_files_are_refused_or_read(tmp_path):
    for kind, facts in damage.KINDS.items():
        counts, faults = damage.run(kind, 12, 0, str(tmp_path))
        assert faults == []
        assert counts["read"] + counts["refused"] == 12
        assert (counts["refused"] > 0) is not facts.whole


@pytest.mark.parametrize(
    ("kind", "seed", "how"),
    [
        ("faiss", 100083, "refused"),  # a ZIP version that nobody has
        ("faiss", 101659, "refused"),  # and a method
        ("index", 101478, "refused"),  # a column with fewer values than rows
        ("index", 6564, "refused"),  # JSON nested too deeply
        ("faiss", 7100819, "refused"),  # a member of an archive that is no array
        (".jsonl", 6266, "read"),  # an integer beyond all floats as a reward
        (".json", 8506, "read"),  # and in a column that need not be read as numbers
    ],
)
def test_damage_that_once_was_a_fault(tmp_path, kind, seed, how):
    counts, faults = damage.run(kind, 1, seed, str(tmp_path))
    assert faults == []
    assert counts == {how: 1}


def test_a_death_and_a_fault_are_told(tmp_path, monkeypatch):
    def read(path):
        size = path.stat().st_size
        if size > 400:  # grown
            os.abort()
        if size < 300:  # cut
            raise KeyError("what nobody foresaw")

    monkeypatch.setitem(damage.KINDS, ".npy", damage.Kind(damage.KINDS[".npy"].make, (read,)))
    _, faults = damage.run(".npy", 40, 0, str(tmp_path))
    assert any("died: SIGABRT" in fault for fault in faults)
    assert any("KeyError: 'what nobody foresaw'" in fault for fault in faults)
