"""Where work runs: lost workers, errors, and memory that is given back."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from setwise.engine import at_work, engine_for, local, opened, shared_rows
from setwise.engine.local import LocalEngine


@pytest.fixture(scope="module")
def items():
    rng = np.random.default_rng(0)
    return rng.standard_normal((900, 12)).astype(np.float32), rng.random(900)


def test_a_mapped_file_is_shared_by_its_name(items, tmp_path):
    np.save(tmp_path / "rows.npy", items[0])
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    engine = LocalEngine(2)
    with shared_rows(engine, mapped) as shared:
        assert shared.path == str(tmp_path / "rows.npy")
    for part in (mapped[10:], mapped[::-1], mapped[:, ::-1]):  # none of these is the file
        with shared_rows(engine, part) as shared:
            assert np.array_equal(opened(shared), part)
    os.remove(tmp_path / "rows.npy")  # another has taken its place: the map still has the rows
    with shared_rows(engine, mapped) as shared:
        assert np.array_equal(opened(shared), mapped)


def lost_once(argument):
    """A partition whose worker dies the first time."""
    marker = Path(argument)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return marker.name


def always_lost(argument):
    os.kill(os.getpid(), signal.SIGKILL)


def failing(argument):
    raise ValueError(f"no {argument}")


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")  # one that has ended may not have been waited for
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def slow(argument):
    time.sleep(argument)
    return argument


def test_a_lost_workers_partition_is_run_again(tmp_path):
    names = [str(tmp_path / name) for name in "abc"]
    with LocalEngine(2) as engine:
        assert engine.map(lost_once, names) == list("abc")
        assert engine.map(slow, [0.0, 0.0]) == [0.0, 0.0]


@pytest.mark.slow
def test_a_partition_that_always_loses_its_worker_is_given_up():
    with LocalEngine(2) as engine, pytest.raises(RuntimeError, match="lost 4 times"):
        engine.map(always_lost, [1, 2])


def test_what_a_partition_raises_comes_back():
    with LocalEngine(2) as engine:
        with pytest.raises(ValueError, match="no 3"):
            engine.map(failing, [3])
        assert engine.map(slow, [0.2, 0.0, 0.1]) == [0.2, 0.0, 0.1]


def own_process(argument):
    return os.getpid()


def test_processes_stay_until_the_engine_is_closed():
    with LocalEngine(1) as engine:
        assert engine.map(own_process, [0]) == [os.getpid()]
    with LocalEngine(2) as engine:
        first, second = (set(engine.map(own_process, range(4))) for _ in range(2))
        assert first & second
        assert len(first | second) <= 2
        assert os.getpid() not in first
    for process in first | second:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


@pytest.mark.parametrize("shape", [(900, 12), (7,), (3, 2, 2)])
def test_shared_memory_is_given_back(shape):
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    with LocalEngine(2).share(array) as shared:
        assert np.array_equal(opened(shared), array)
        assert os.path.exists(shared.path)
    assert not os.path.exists(shared.path)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks up which file is allocated")
def test_where_memory_for_sharing_is_full(items, tmp_path, monkeypatch):
    """Room is taken before anything is written, so that a full one is an error and not a signal."""
    allocate = os.posix_fallocate

    def refuse(descriptor, offset, size):
        if any(os.readlink(f"/proc/self/fd/{descriptor}").startswith(folder) for folder in full):
            raise OSError(errno.ENOSPC, "No space left on device")
        allocate(descriptor, offset, size)

    monkeypatch.setattr(local, "IN_MEMORY", str(tmp_path / "memory"))
    (tmp_path / "memory").mkdir()
    full = {local.IN_MEMORY}
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "disk"))
    (tmp_path / "disk").mkdir()
    with LocalEngine(2).share(items[0]) as shared:
        assert Path(shared.path).parent == tmp_path / "disk"
        assert np.array_equal(opened(shared), items[0])
    full.add(str(tmp_path))
    with pytest.raises(OSError, match="workers: there is no room to share 43,200 bytes"):
        LocalEngine(2).share(items[0]).__enter__()
    assert os.listdir(tmp_path / "memory") == os.listdir(tmp_path / "disk") == []


def test_workers_end_with_a_process_that_was_killed():
    code = (
        "import os, time; from setwise.engine.local import LocalEngine\n"
        "from multiprocessing import active_children\n"
        "engine = LocalEngine(2); engine.map(time.sleep, [0.01])\n"
        "print(*(one.pid for one in active_children()), flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    workers = list(map(int, parent.stdout.readline().split()))
    assert workers
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_running, workers))
    parent.stdout.close()


def test_jobs_that_end_in_another_order_leave_no_engine_behind():
    one, other = at_work(1), at_work(2)
    first, second = one.__enter__(), other.__enter__()
    with at_work(1) as again:
        assert again is first
    one.__exit__(None, None, None)
    with at_work(2) as again:
        assert again is second
    other.__exit__(None, None, None)
    for workers, before in ((1, first), (2, second)):
        with at_work(workers) as again:
            assert again is not before


def test_what_is_no_engine():
    with pytest.raises(TypeError, match="workers"):
        engine_for(1.5)
    with pytest.raises(ValueError, match="workers: 0"):
        engine_for(0)


def test_an_unreachable_ray_is_one_clear_error():
    ray = pytest.importorskip("ray")
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(ConnectionError, match=r"workers: no Ray at '127\.0\.0\.1:1'"):
        engine_for("127.0.0.1:1")
    for address in ("127.0.0.1:x", "127.0.0.1:-1", ":6379", "ray://127.0.0.1:99999"):
        with pytest.raises(ConnectionError, match=r"workers: no Ray at .* \(a host and a port"):
            engine_for(address)
