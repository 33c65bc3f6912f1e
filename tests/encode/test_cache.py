"""The cache: used while nothing changed, gone on with, made anew when damaged, shared by several runs."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from optional import lazily, needs
from setwise.encode import cache
from setwise.encode import entries as kept
from setwise.encode.cache import encode_blocks, encode_texts
from setwise.encode.entries import prune
from setwise.files.folder import META
from setwise.files.locking import locked

LSA = lazily("setwise.encode.lsa", "LSA")

pytestmark = needs("sklearn")

TEXTS = [f"text {number} about {word}" for number in range(40) for word in ("cats", "dogs", "stocks")]


class Counting:
    """An encoder that counts the texts it is given; "none" is a text without a word."""

    def __init__(self, key="counting", stop=None):
        self.key = self.name = key
        self.seen, self.stop = 0, stop

    def encode(self, texts, progress=None):
        if self.stop is not None and self.seen >= self.stop:
            raise KeyboardInterrupt
        self.seen += len(texts)
        return np.array([[len(text), 1] if text != "none" else [0, 0] for text in texts], np.float32)


def entries(folder):
    """The folders of a cache's entries."""
    return [entry for entry in folder.iterdir() if entry.is_dir()]


def blocks_of(texts, size):
    return lambda: (texts[start : start + size] for start in range(0, len(texts), size))


# ---------------------------------------------------------------- used while nothing changed


@pytest.mark.parametrize("encoder", [Counting, LSA], ids=["counting", "lsa"])
def test_a_second_run_reads_the_cache(tmp_path, encoder):
    direct = encode_texts(TEXTS, encoder())
    first = encode_texts(TEXTS, encoder(), tmp_path)
    second = encode_texts(TEXTS, encoder(), tmp_path)
    assert (direct.cached, first.cached, second.cached) == (False, False, True)
    for found in (first, second):
        np.testing.assert_array_equal(found.vectors, direct.vectors)
        assert found.rows.tolist() == list(range(len(TEXTS)))
        assert found.encoder.name == direct.encoder.name
        queries = ["cats and stocks", "unknown"]
        np.testing.assert_array_equal(found.encoder.encode(queries), direct.encoder.encode(queries))
    assert [name.split(".")[-1] for name in os.listdir(tmp_path)] == [entries(tmp_path)[0].name]


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder = Counting()
    assert not encode_texts(TEXTS, encoder).cached
    assert not encode_texts(TEXTS, encoder).cached
    assert encoder.seen == 2 * len(TEXTS)
    assert os.listdir(tmp_path) == []


def test_texts_without_a_word_have_no_vector(tmp_path):
    texts = ["none", *TEXTS[:3], "none", "none", *TEXTS[3:6]]
    for folder in (None, tmp_path, tmp_path):
        found = encode_texts(texts, Counting(), folder)
        assert found.rows.tolist() == [1, 2, 3, 6, 7, 8]
        assert found.unknown.tolist() == [0, 4, 5]
        assert found.vectors[:, 0].tolist() == [len(text) for text in texts if text != "none"]
    assert found.cached
    for folder in (None, tmp_path):
        nothing = encode_texts(["none"] * 4, Counting(), folder)
        assert nothing.vectors.shape == (0, 2)
        assert nothing.unknown.tolist() == [0, 1, 2, 3]
    assert len(entries(tmp_path)) == 1


def test_no_texts_give_no_vectors(tmp_path):
    class Empty(Counting):
        def encode(self, texts, progress=None):
            return np.zeros((len(texts), 2), np.float32)

    assert encode_texts([], Empty(), tmp_path).vectors.shape == (0, 2)


def test_an_encoder_that_gives_nan_is_refused(tmp_path):
    class Broken(Counting):
        def encode(self, texts, progress=None):
            return np.full((len(texts), 2), [1.0, np.nan], np.float32)

    for folder in (None, tmp_path):
        with pytest.raises(ValueError, match="model: counting gives NaN for text 0"):
            encode_texts(TEXTS, Broken(), folder)


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (lambda n: np.ones((n + 1, 2), np.float32), r"float32 of shape \(41, 2\) for 40 texts"),
        (lambda n: np.ones(n, np.float32), r"float32 of shape \(40,\)"),
        (lambda n: np.ones((n, n % 3 + 1), np.float32), r"float32 of shape \(3, 1\) for 3 texts"),
        (lambda n: np.full((n, 2), "a"), "<U1 of shape"),
        (lambda n: None, "object of shape"),
    ],
)
def test_an_encoder_that_gives_no_vector_a_text_is_refused(tmp_path, made, shown):
    """One row too many was once written over by the next texts' first."""

    class Broken(Counting):
        chunk = 40

        def encode(self, texts, progress=None):
            return made(len(texts))

    for folder in (None, tmp_path):
        with pytest.raises(ValueError, match=rf"model: counting gives {shown}.*a vector of numbers a text"):
            encode_texts(TEXTS[:43], Broken(), folder)


def test_what_is_no_encoder_is_refused():
    for other in ("lsa", None, Counting, object()):
        with pytest.raises(TypeError, match="encoder: expected an encoder, with name, key and encode"):
            encode_texts(TEXTS, other)


@pytest.mark.parametrize(
    "change",
    [
        lambda texts: [*texts[:-1], texts[-1] + "!"],
        lambda texts: texts[:-1],
        lambda texts: [*texts, ""],
        lambda texts: texts[::-1],
        lambda texts: [texts[0] + texts[1][:1], texts[1][1:], *texts[2:]],
    ],
)
def test_any_change_of_the_corpus_is_noticed(tmp_path, change):
    encoder = Counting()
    encode_texts(TEXTS, encoder, tmp_path)
    assert not encode_texts(change(TEXTS), encoder, tmp_path).cached


def test_another_encoder_or_version_is_noticed(tmp_path, monkeypatch):
    encode_texts(TEXTS, Counting("a"), tmp_path)
    assert not encode_texts(TEXTS, Counting("b"), tmp_path).cached
    assert encode_texts(TEXTS, Counting("a"), tmp_path).cached
    monkeypatch.setattr(cache, "__version__", "99")
    assert not encode_texts(TEXTS, Counting("a"), tmp_path).cached


def test_what_an_encoder_learns_from_is_noticed(tmp_path):
    encode_texts(TEXTS, LSA(), tmp_path)
    assert not encode_texts(TEXTS, LSA(topics=3), tmp_path).cached
    assert not encode_texts(TEXTS, LSA(seed=1), tmp_path).cached
    fewer = encode_blocks(blocks_of(TEXTS, 50), len(TEXTS), LSA(), tmp_path, learn=60)
    assert (fewer.cached, fewer.learned) == (False, 60)
    same = encode_blocks(blocks_of(TEXTS, 50), len(TEXTS), LSA(), tmp_path, learn=10_000)
    assert (same.cached, same.learned) == (True, len(TEXTS))


# ---------------------------------------------------------------- gone on with


def test_an_interrupted_run_is_gone_on_with(tmp_path):
    texts = ["none" if row % 7 == 3 else text for row, text in enumerate(TEXTS)]
    with pytest.raises(KeyboardInterrupt):
        encode_blocks(blocks_of(texts, 16), len(texts), Counting(stop=48), tmp_path, learn=1)
    second = Counting()
    found = encode_blocks(blocks_of(texts, 11), len(texts), second, tmp_path, learn=1)
    assert (second.seen, found.found) == (len(texts) - 48, 48)
    direct = encode_texts(texts, Counting())
    np.testing.assert_array_equal(found.vectors, direct.vectors)
    np.testing.assert_array_equal(found.rows, direct.rows)


KILLED = """
import os, signal, sys, time
import numpy as np
from pathlib import Path
from setwise.encode import cache
from setwise.encode.cache import encode_blocks

cache._SAVE = 0.0  # note every chunk

class Slow:
    name = key = "slow"
    seen = 0
    def encode(self, texts, progress=None):
        self.seen += len(texts)
        time.sleep(float(sys.argv[2]))
        return np.array([[len(text), 1] if "none" not in text else [0, 0] for text in texts], np.float32)

texts = [("none" if row % 5 == 0 else "x" * (1 + row % 9)) for row in range(600)]
blocks = lambda: (texts[start : start + 20] for start in range(0, 600, 20))
model = Slow()
told = lambda step, done, total: print(step, done, flush=True)
found = encode_blocks(blocks, 600, model, Path(sys.argv[1]), learn=1, progress=told)
rows = [row for row in range(600) if row % 5]
assert found.rows.tolist() == rows, "rows were lost"
assert found.vectors[:, 0].tolist() == [1 + row % 9 for row in rows]
print("seen", model.seen, found.found, flush=True)
"""


def start(folder, pause):
    words = [sys.executable, "-c", KILLED, str(folder), str(pause)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_runs_leave_what_they_have_done_and_no_row_too_many(tmp_path):
    """A killed run once left rows of zeros that a later one took for texts without a word."""
    rng = np.random.default_rng(0)
    for _ in range(4):
        process = start(tmp_path, 0.05)
        lines = int(rng.integers(1, 5))  # of 30, so that some are left for every run
        read = [process.stdout.readline() for _ in range(30 + lines)]
        assert read[-1].startswith("encoding")
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()
    done = start(tmp_path, 0)
    out, error = done.communicate(timeout=60)
    assert done.returncode == 0, error
    seen, found = map(int, out.splitlines()[-1].split()[1:])
    assert seen + found == 600
    assert found > 0
    assert [name for name in os.listdir(tmp_path) if name.endswith(".lock")] == []


def test_runs_that_overlap_encode_once_and_all_have_the_vectors(tmp_path):
    """One of two once died."""
    runs = [start(tmp_path, 0.02) for _ in range(3)]
    seen = []
    for run in runs:
        out, error = run.communicate(timeout=120)
        assert run.returncode == 0, error
        seen.append(tuple(map(int, out.splitlines()[-1].split()[1:])))
    assert sorted(seen) == [(0, 600), (0, 600), (600, 0)]


def test_a_run_that_waits_says_so(tmp_path):
    told = []
    encode_texts(TEXTS, Counting(), tmp_path)
    (entry,) = entries(tmp_path)
    hold = "import sys, time\nfrom setwise.files.locking import locked\n" + (
        f"with locked({str(entry)!r}, 'cache'):\n    print('held', flush=True)\n    sys.stdin.readline()\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold], stdin=-1, stdout=-1, text=True)
    assert holder.stdout.readline() == "held\n"

    def tell(step, done, total):
        told.append(step)
        if step == "waiting for another run":
            holder.communicate("\n")

    found = encode_blocks(blocks_of(TEXTS, 50), len(TEXTS), Counting(), tmp_path, learn=1, progress=tell)
    assert found.cached
    assert told.count("waiting for another run") == 1


def test_a_run_killed_while_it_finishes_does_not_encode_again(tmp_path, monkeypatch):
    texts = [*TEXTS, "none"]

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "write_rows", stop)
    with pytest.raises(KeyboardInterrupt):
        encode_texts(texts, Counting(), tmp_path)
    monkeypatch.undo()
    second = Counting()
    (entry,) = entries(tmp_path)
    for left in ("growing.npy.progress.json", "growing.npy.part.lock", ".rows.npy.host~1~0~0.part"):
        (entry / left).write_text("{}")  # as a kill leaves it that comes a step later, or between two links
    assert encode_texts(texts, second, tmp_path).cached
    assert second.seen == 0
    assert sorted(os.listdir(entry)) == [META, "rows.npy", "vectors.npy"]
    assert encode_texts(texts, second, tmp_path).unknown.tolist() == [len(TEXTS)]


def test_rows_that_were_never_written_are_no_texts(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        encode_blocks(blocks_of(TEXTS, 16), len(TEXTS), Counting(stop=48), tmp_path, learn=1)
    (entry,) = entries(tmp_path)
    note = entry / "growing.npy.progress.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "done": len(TEXTS)}))
    with pytest.raises(OSError, match="has lost vectors that were written; run again"):
        encode_blocks(blocks_of(TEXTS, 16), len(TEXTS), Counting(), tmp_path, learn=1)
    found = encode_blocks(blocks_of(TEXTS, 16), len(TEXTS), Counting(), tmp_path, learn=1)
    np.testing.assert_array_equal(found.vectors, encode_texts(TEXTS, Counting()).vectors)


# ---------------------------------------------------------------- never trusted when damaged


@pytest.mark.parametrize("name", ["vectors.npy", "rows.npy", "encoder.npz", META])
@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "missing"])
def test_a_damaged_entry_is_made_anew(tmp_path, name, damage):
    first = encode_texts(TEXTS, LSA(), tmp_path)
    vectors = np.array(first.vectors)
    (entry,) = entries(tmp_path)
    data = bytearray((entry / name).read_bytes())
    data[len(data) // 2] ^= 1
    shown = {"truncated": data[: len(data) * 2 // 3], "empty": b"", "flipped": data}
    if damage == "missing":
        (entry / name).unlink()
    else:
        (entry / name).write_bytes(bytes(shown[damage]))
    second = encode_texts(TEXTS, LSA(), tmp_path)
    assert second.found == 0
    np.testing.assert_array_equal(second.vectors, vectors)
    assert encode_texts(TEXTS, LSA(), tmp_path).cached


def test_whoever_has_vectors_open_keeps_them_while_others_make_them_anew(tmp_path):
    first = encode_texts(TEXTS, Counting(), tmp_path)
    expected = encode_texts(TEXTS, Counting()).vectors
    (entry,) = entries(tmp_path)
    (entry / "rows.npy").write_bytes(b"")
    assert not encode_texts(TEXTS, Counting(), tmp_path).cached
    np.testing.assert_array_equal(first.vectors, expected)


def test_an_entry_never_unpickles(tmp_path):
    encode_texts(TEXTS, LSA(), tmp_path)
    (entry,) = entries(tmp_path)
    buffer = io.BytesIO()
    np.save(buffer, np.array([print], object), allow_pickle=True)
    with zipfile.ZipFile(entry / "encoder.npz", "w") as file:
        file.writestr("terms.npy", buffer.getvalue())
    kept.FORMAT.write(entry, {"encoder": LSA().key, "texts": len(TEXTS)})
    found = encode_texts(TEXTS, LSA(), tmp_path)
    assert not found.cached
    assert found.encoder.encode(["cats"]).any()


def test_a_full_disk_does_not_stop_the_work(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert encode_texts(TEXTS, Counting(), tmp_path).vectors.shape == (len(TEXTS), 2)
    with pytest.raises(OSError, match="the disk has no room"):
        encode_blocks(blocks_of(TEXTS, 50), len(TEXTS), Counting(), tmp_path, learn=1)


# ---------------------------------------------------------------- pruned


def aged(folder, texts, days):
    """Make an entry that was used last so many days ago; return its folder."""
    before = set(entries(folder))
    encode_texts(texts, Counting(), folder)
    (entry,) = set(entries(folder)) - before
    for file in entry.iterdir():
        os.utime(file, (time.time() - days * 86_400,) * 2)
    return entry


def test_what_is_unused_for_long_goes_and_other_files_stay(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "rows.npy").write_text("not ours")
    (tmp_path / "notes-000000000000000000000000").write_text("a file")
    old, fresh = aged(tmp_path, TEXTS, 91), aged(tmp_path, TEXTS[1:], 89)
    encode_texts(TEXTS[2:], Counting(), tmp_path)
    assert not old.exists()
    assert fresh.exists()
    assert len(entries(tmp_path)) == 3
    assert (tmp_path / "mine" / "rows.npy").exists()
    assert (tmp_path / "notes-000000000000000000000000").exists()


def test_above_a_size_the_longest_unused_goes_first(tmp_path, monkeypatch):
    made = [aged(tmp_path, [*TEXTS, str(days)], days) for days in (4, 1, 3, 2)]
    size = sum(file.stat().st_size for file in made[0].iterdir())
    encode_texts([*TEXTS, "4"], Counting(), tmp_path)  # used now
    monkeypatch.setattr(kept, "KEPT_BYTES", int(2.5 * size))
    prune(tmp_path)
    assert [entry.exists() for entry in made] == [True, True, False, False]
    monkeypatch.setattr(kept, "KEPT_BYTES", 0)
    prune(tmp_path, kept=made[1])
    assert [entry.exists() for entry in made] == [False, True, False, False]


def test_unfinished_entries_go_too_but_none_that_is_in_use(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        encode_blocks(blocks_of(TEXTS, 16), len(TEXTS), Counting(stop=48), tmp_path, learn=1)
    (entry,) = entries(tmp_path)
    monkeypatch.setattr(kept, "KEPT_BYTES", 0)
    hold = f"from setwise.files.locking import locked\nwith locked({str(entry)!r}, 'cache'):\n"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold + "    print('held', flush=True)\n    input()"],
        stdin=-1,
        stdout=-1,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    prune(tmp_path)
    assert entry.exists()
    holder.communicate("\n")
    prune(tmp_path)
    assert not entry.exists()
    with locked(entry, "cache"):
        pass
