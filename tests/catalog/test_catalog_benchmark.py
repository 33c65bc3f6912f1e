"""The catalog's benchmark: what stays on disk and what runs elsewhere, at a small size."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmark_modules import part

ROOT = Path(__file__).resolve().parents[2]


def qualities(labels):
    return np.random.default_rng(0).random(len(labels))


def rows_of(printed):
    """The table's rows: cells by row."""
    lines = [line for line in printed.splitlines() if line.startswith("| 0.")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("steps", [5, 20])
def test_vectors_on_disk(capsys, tmp_path, monkeypatch, steps):
    disk = part("catalog_disk")
    monkeypatch.setattr(disk, "BLOCK", 700)
    disk.on_disk(3000, 16, 20, 8, steps, qualities, tmp_path)
    printed = capsys.readouterr().out
    assert "3,000 × 16 float16 in a mapped file" in printed
    rows = rows_of(printed)
    assert [row[1].partition(":")[0] for row in rows[:4]] == [
        *("published MMR", "greedy", "frank-wolfe+swap", "muss"),
    ]
    # What was not run to its end says so, and states no objective of its own.
    assert ("EXTRAPOLATED" in rows[0][1]) == (steps < 20)
    assert ("greedy's" in rows[0][2]) == (steps < 20)
    assert [row[3] for row in rows if row[1] == "greedy"] == ["1.0000", "1.0000"]
    assert list(tmp_path.iterdir()) == []


def test_a_published_mmr_of_another_set_is_no_baseline(tmp_path, monkeypatch):
    disk = part("catalog_disk")
    monkeypatch.setattr(disk, "_published", lambda rows, lengths, quality, steps, t: np.arange(steps))
    with pytest.raises(AssertionError, match="share . of 10 picks"):
        disk.on_disk(2000, 8, 20, 4, 10, qualities, tmp_path)


def test_no_room_for_the_file(tmp_path, monkeypatch):
    disk = part("catalog_disk")
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda name: SimpleNamespace(free=1000))
    with pytest.raises(SystemExit, match="GB are needed"):
        disk.on_disk(2000, 8, 20, 4, 10, qualities, tmp_path)


@pytest.mark.slow
def test_shards_on_ray(capsys):
    pytest.importorskip("ray")
    part("catalog_shards").elsewhere([4000], 8, 20, qualities)
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("| 4,000")]
    assert [row.split("|")[2].strip() for row in rows] == ["muss", "dgds"]
