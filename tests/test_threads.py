"""Threads: BLAS is given back as it was, callers may run beside each other, and a fork finds its feet."""

import itertools
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import setwise
from setwise import threads


def blas_threads():
    """How many threads each BLAS library uses, of those that have one setting for all Python threads."""
    return [
        library["num_threads"]
        for library in threadpool_info()
        if library["user_api"] == "blas" and library.get("threading_layer") != "openmp"
    ]


@pytest.fixture
def two_blas_threads():
    """BLAS on two threads, whatever OMP_NUM_THREADS says."""
    with threadpool_limits(2, user_api="blas"):
        if set(blas_threads()) != {2}:
            pytest.skip("this BLAS does not take two threads")
        yield


def in_child(script, timeout=60):
    """Run a script in a fresh interpreter; what it prints, or a failure if it hangs."""
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        pytest.fail(f"still running after {timeout} s")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# --- run and count ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "workers", "least"), [(10, 3, 1), (10, 3, 4), (10, 3, 11), (1, 4, 1), (7, 7, 1), (0, 2, 1)]
)
def test_run_cuts_rows_evenly_and_in_order(n, workers, least):
    parts = threads.run_ranges(lambda start, stop: (start, stop), n, workers, least=least)
    assert parts[0][0] == 0
    assert parts[-1][1] == n
    assert all(before[1] == after[0] for before, after in itertools.pairwise(parts))
    sizes = [stop - start for start, stop in parts]
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == max(1, min(workers, n // least))


def test_run_hands_on_errors():
    def fail(start, stop):
        raise OSError(f"{start}")

    for workers in (1, 3):
        with pytest.raises(OSError, match="0"):
            threads.run_ranges(fail, 9, workers)
    assert threads.run_ranges(lambda start, stop: stop - start, 9, 3) == [3, 3, 3]


def test_count(two_blas_threads):
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert threads.thread_count(5) == 5
    assert threads.thread_count() == min(2, available)
    with threads.one_blas_thread():
        assert threads.thread_count() == min(2, available)
    with threadpool_limits(1, user_api="blas"):
        assert threads.thread_count() == 1


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "threads: 0 is below 1"),
        (-2, ValueError, "threads: -2 is below 1"),
        (True, TypeError, "threads: expected an integer, got a bool"),
        (2.0, TypeError, "threads: expected an integer, got 2.0"),
        ("2", TypeError, "threads: expected an integer, got '2'"),
    ],
)
def test_bad_thread_counts(value, error, message):
    with pytest.raises(error, match=message):
        setwise.select(np.eye(3), 1, threads=value)
    with pytest.raises(error, match=message):
        setwise.select_many(np.eye(3), 1, queries=np.eye(3), threads=value)


# --- BLAS ---------------------------------------------------------------------------------------------------


def test_blas_is_held_to_one_thread_and_given_back(two_blas_threads):
    with threads.one_blas_thread():
        assert set(blas_threads()) == {1}
        with threads.one_blas_thread():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {2}


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ZeroDivisionError])
@pytest.mark.parametrize(("solver", "metric"), [("frank-wolfe", "cosine"), ("greedy", "euclidean")])
def test_an_interruption_gives_blas_back(two_blas_threads, error, solver, metric):
    """Wherever a selection ends, even by Ctrl-C amid a solver that is not compiled."""
    X = np.random.default_rng(0).standard_normal((300, 8))
    seen = []

    def stop(text):
        seen.append(set(blas_threads()))
        raise error

    with pytest.raises(error):
        setwise.select(X, 5, query=X[0], solver=solver, metric=metric, progress=stop)
    assert seen == [{1}]
    assert set(blas_threads()) == {2}
    assert len(setwise.select(X, 5, query=X[0], solver=solver)) == 5
    assert set(blas_threads()) == {2}


def test_bad_input_gives_blas_back(two_blas_threads):
    X = np.random.default_rng(0).standard_normal((30, 4))
    for options in ({"solver": "nope"}, {"query": np.zeros(4)}):
        with pytest.raises(ValueError, match=":"):
            setwise.select(X, 3, **options)
    with pytest.raises(ValueError, match=":"):
        setwise.select_many(X, 3, queries=np.full((2, 4), np.nan))
    assert set(blas_threads()) == {2}


def test_contexts_of_two_threads_overlap(two_blas_threads):
    """The last to leave gives BLAS back, whoever came first."""
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with threads.one_blas_thread():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=hold)
    with threads.one_blas_thread():
        other.start()
        assert inside.wait(10)
    assert set(blas_threads()) == {1}
    leave.set()
    other.join(10)
    assert set(blas_threads()) == {2}


def test_any_thread_may_hold_blas_to_one(two_blas_threads):
    """Also one that is not the first to have set it."""
    with threads.one_blas_thread():
        pass
    seen = []

    def look():
        seen.append(set(blas_threads()))
        with threads.one_blas_thread():
            seen.append(set(blas_threads()))
        seen.append(set(blas_threads()))

    other = threading.Thread(target=look)
    other.start()
    other.join(10)
    assert seen == [{2}, {1}, {2}]
    assert set(blas_threads()) == {2}


# --- beside each other --------------------------------------------------------------------------------------


def test_python_threads_may_select_at_once(split):
    """Six threads, each with its own data, objective and worker count: as one after another."""
    rng = np.random.default_rng(0)
    jobs = []
    for number in range(12):
        X = rng.standard_normal((5000, 8)).astype(np.float32)
        options = {
            "query": X[0],
            "diversity": 0.3,
            "objective": ("max-sum", "mmr", "log-det")[number % 3],
            "metric": ("cosine", "euclidean")[number % 2],
            "threads": 1 + number % 3,
        }
        jobs.append((X, options))
    expected = [setwise.select(X, 6, **options).indices for X, options in jobs]
    found = [None] * len(jobs)

    def work(first):
        for number in range(first, len(jobs), 6):
            X, options = jobs[number]
            found[number] = setwise.select(X, 6, **options).indices

    workers = [threading.Thread(target=work, args=(first,)) for first in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one, other)


def test_calls_of_select_many_do_not_wait_for_each_other_for_ever():
    """Fewer queries than workers, so that passes are split again, from several Python threads."""
    script = """
import sys, threading
import numpy as np
import setwise, setwise.vectors
setwise.vectors.THREAD_WORK = 64
rng = np.random.default_rng(0)
V, Q = rng.standard_normal((6000, 8)).astype("f4"), rng.standard_normal((3, 8))
def select(threads):
    found = setwise.select_many(V, 8, queries=Q, threads=threads, solver="greedy", certify=False)
    return [sel.indices.tolist() for sel in found]
expected = select(1)
def go():
    for _ in range(20):
        assert select(4) == expected
threads = [threading.Thread(target=go, daemon=True) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join(15) for thread in threads[:1]]
[thread.join(0.5) for thread in threads[1:]]
print("stuck" if any(thread.is_alive() for thread in threads) else "done")
sys.stdout.flush()
import os
os._exit(0)
"""
    assert in_child(script) == ["done"]


# --- forks --------------------------------------------------------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits
import setwise, setwise.vectors
from setwise import threads
setwise.vectors.THREAD_WORK = 64
def blas():
    return max(l["num_threads"] for l in threadpool_info() if l["user_api"] == "blas")
def select():
    X = np.random.default_rng(0).standard_normal((9000, 8)).astype("f4")
    return setwise.select(X, 5, query=X[0], threads=2, solver="greedy", certify=False).indices.tolist()
def fork(task):
    child = os.fork()
    if child == 0:
        try:
            task()
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.waitpid(child, 0)
"""


@needs_fork
def test_a_child_starts_its_own_workers():
    found = in_child(FORK + "a = select()\nfork(lambda: print(select() == a))\nprint(select() == a)")
    assert found == ["True", "True"]


@needs_fork
def test_a_child_forked_amid_a_selection_is_not_left_with_one_blas_thread():
    """It gets the parent's setting back, at once or when it next leaves a context of its own."""
    script = """
threadpool_limits(2, user_api="blas")
if blas() != 2:
    print(2, 1, 2)
    sys.exit()
context = threads.one_blas_thread()
context.__enter__()
def task():
    context.__exit__(None, None, None)
    print(blas())
    with threads.one_blas_thread():
        print(blas())
    print(blas())
fork(task)
"""
    assert in_child(FORK + script) == ["2", "1", "2"]
